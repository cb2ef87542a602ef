"""modeling/handler.py over HTTP, as an inference endpoint serves it: in a process that can't import the package."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers_handler import SERVER, publish, stock_model
from helpers_run import environment
from mosaic_ner.modeling import handler
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from test_remote_code import HEAD, rows_of, same
from transformers import BertForTokenClassification, pipeline

FLAT, NESTED, EXACT, STOCK = "aioner", "joint_ib", "exact", "stock"


@pytest.fixture(scope="module")
def texts(demo_corpora):
    """Short ones: one with other scripts and signs of two code units, an empty one."""
    demo = [d.text for d in demo_corpora["demo_all"]["test"][:3]]
    return [*demo[:2], "𝔤𝔢𝔫𝔢 β-ΣΧ\u0301 " + demo[2] + " \u200b", "", "BRCA1 causes velosis.", "x"]


@pytest.fixture(scope="module")
def long(demo_corpora):
    """A text of 3,000 words."""
    words = " ".join(d.text for d in demo_corpora["demo_all"]["train"]).split(" ")
    assert len(words) >= 3000
    return " ".join(words[:3000])


@pytest.fixture(scope="module")
def models(trained_dir, build_bundle):
    """name → (model, tokenizer) in this process."""
    bundle = build_bundle(family="joint_ib", lively=True)
    exact = build_bundle(family="joint_ib", lively=True)
    return {
        FLAT: load(str(trained_dir)),
        NESTED: (bundle.model, bundle.tokenizer),
        EXACT: (exact.model.double(), exact.tokenizer),
    }


@pytest.fixture(scope="module")
def folders(models, tiny_parts, tmp_path_factory):
    """name → published folder."""
    place = tmp_path_factory.mktemp("published")
    for name, (model, tokenizer) in models.items():
        model.save_pretrained(place / name, **({"inference_only": True} if model.training_modules else {}))
        tokenizer.save_pretrained(place / name)
        publish(place / name)
    stock_model(place / STOCK, tiny_parts.tokenizer)
    return {name: place / name for name in (*models, STOCK)}


@pytest.fixture(scope="module")
def served(folders, tmp_path_factory):
    """Port of a server of the folders."""
    place = tmp_path_factory.mktemp("endpoint")
    (place / "server.py").write_text(HEAD + SERVER, encoding="utf-8")
    with (place / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, place / "server.py", *map(str, folders.values())], cwd=place, text=True,
            env=environment(HF_MODULES_CACHE=str(place / "modules"), PYTHONPATH="", MPLCONFIGDIR=str(place)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        try:
            line = process.stdout.readline()
            log.seek(0)
            assert line, log.read()[-4000:]
            yield int(line)
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


@pytest.fixture(scope="module")
def ask(served):
    """Function: name, request (an object or bytes) → status, answer."""

    def post(name: str, request=None, method: str = "POST") -> tuple[int, object]:
        connection = http.client.HTTPConnection("127.0.0.1", served, timeout=120)
        try:
            body = request if isinstance(request, bytes) else json.dumps(request).encode()
            connection.request(method, f"/{name}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    return post


@pytest.fixture(scope="module")
def found(ask, texts):
    """Function: name, parameters → the mentions of all the short texts, asked for at once."""
    answers = {}

    def post(name: str, **parameters):
        key = json.dumps([name, parameters])
        if key not in answers:
            status, answers[key] = ask(name, {"inputs": texts, "parameters": parameters})
            assert status == 200, answers[key]
        return answers[key]

    return post


def here(models, name, texts, **parameters):
    """What this process finds."""
    return rows_of(MentionPredictor(*models[name]), texts, **parameters)


# ---- answers


@pytest.mark.parametrize("name", [FLAT, NESTED, EXACT])
def test_a_batch_gets_what_the_training_process_finds(found, models, texts, name):
    expected = here(models, name, texts)
    assert len(expected[0]) > 2
    assert len(expected[2]) > 2
    same(found(name), expected)
    for text, rows in zip(texts, found(name), strict=True):
        assert all(text[row["start"] : row["end"]] == row["word"] for row in rows)


@pytest.mark.parametrize("name", [FLAT, NESTED])
def test_a_document_of_3000_words_is_read_to_its_end(ask, models, long, name):
    status, answer = ask(name, {"inputs": long})
    assert status == 200
    assert len(answer) > 50
    assert answer[-1]["end"] > 0.9 * len(long)
    same([answer], here(models, name, [long]))


@pytest.mark.parametrize("name", [FLAT, NESTED, EXACT, STOCK])
def test_a_text_alone_gets_what_it_gets_among_others(ask, found, texts, name):
    alone = [ask(name, {"inputs": text}) for text in texts]
    assert [status for status, _ in alone] == [200] * len(texts)
    same([answer for _, answer in alone], found(name))


def test_nested_mentions_are_told(found):
    spans = {(row["start"], row["end"]) for row in found(NESTED)[0]}
    assert any(a != b and a[0] <= b[0] and b[1] <= a[1] for a in spans for b in spans)


@pytest.mark.parametrize("name", [FLAT, NESTED])
@pytest.mark.parametrize(
    "parameters",
    [{"corpus": "demo_gene"}, {"threshold": None}, {"corpus": "demo_chem", "threshold": None}],
    ids=["corpus", "threshold", "both"],
)
def test_parameters_do_what_they_do_in_the_pipeline(found, models, texts, name, parameters):
    if "threshold" in parameters:  # the median of the scores without one
        rows = here(models, name, texts, **(parameters | {"threshold": 0.0}))
        scores = sorted(row["score"] for part in rows for row in part)
        parameters = parameters | {"threshold": scores[len(scores) // 2]}
    expected = here(models, name, texts, **parameters)
    assert 0 < sum(map(len, expected)) < sum(map(len, here(models, name, texts)))
    same(found(name, **parameters), expected)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (FLAT, {"tasks": ["Gene"]}),
        (NESTED, {"tasks": ["demo_chem", "demo_disease"]}),
        (NESTED, {"tasks": ["demo_chem", "demo_disease"], "types": "native"}),
        (NESTED, {"corpus": "demo_disease", "types": "native"}),
    ],
)
def test_tasks_and_own_types_can_be_asked_for(found, models, texts, name, asked):
    same(found(name, **asked), here(models, name, texts, **asked))
    assert found(name, **asked) != found(name)
    if "types" in asked:
        assert {row["entity_group"] for rows in found(name, **asked) for row in rows} & {"SpecificDisease", "Modifier"}
        assert (
            found(name, **asked | {"types": "shared"}) == found(name, **asked | {"types": None}) != found(name, **asked)
        )


@pytest.mark.parametrize("name", [FLAT, STOCK])
def test_the_number_of_windows_at_once_changes_nothing(found, name):
    same(found(name, window_batch_size=3), found(name))


@pytest.mark.parametrize("name", [FLAT, STOCK])
def test_null_and_simple_are_as_good_as_nothing(ask, found, texts, name):
    given = {"threshold": None, "window_batch_size": None, "aggregation_strategy": "simple"}
    assert found(name, **given) == found(name)
    request = {"inputs": texts, "parameters": None, "options": {"wait_for_model": True}}
    assert ask(name, request) == (200, found(name))


def test_precision_is_that_of_the_folder(ask):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = {"class": "JointIBForNER", "device": device}
    assert ask(NESTED, method="GET") == (200, model | {"dtype": "torch.float32"})
    assert ask(EXACT, method="GET") == (200, model | {"dtype": "torch.float64"})


def test_concurrent_requests_get_the_answers_they_get_alone(ask, texts):
    requests = [(name, {"inputs": text}) for name in (FLAT, NESTED, STOCK) for text in texts[:3]]
    expected = [ask(*request) for request in requests]
    assert {status for status, _ in expected} == {200}
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda request: ask(*request), requests * 3))
    assert answers == expected * 3


# ---- stock exports


def test_a_stock_export_is_run_by_the_stock_pipeline_and_cut_nowhere(ask, found, folders, texts, long):
    assert ask(STOCK, method="GET")[1]["class"] == "BertForTokenClassification"
    stock = pipeline("ner", model=str(folders[STOCK]), aggregation_strategy="simple")
    seen = found(STOCK)
    fitting = [n for n, text in enumerate(texts) if len(stock.tokenizer(text)["input_ids"]) <= 64]
    assert len(fitting) < len(texts)
    for number in fitting:
        expected = [
            (m["entity_group"], m["start"], m["end"], round(float(m["score"]), 4)) for m in stock(texts[number])
        ]
        assert [tuple(m[k] for k in ("entity_group", "start", "end", "score")) for m in seen[number]] == expected
    assert sum(len(seen[number]) for number in fitting) > 1
    status, answer = ask(STOCK, {"inputs": long})
    assert status == 200
    assert max(m["end"] for m in stock(long)) < 0.1 * len(long)  # cut, by itself
    assert answer[-1]["end"] > 0.99 * len(long)
    assert all(long[m["start"] : m["end"]] == m["word"] for m in answer)


def test_a_stock_export_takes_a_threshold(found):
    seen, kept = found(STOCK), found(STOCK, threshold=0.9)
    assert kept == [[m for m in rows if m["score"] >= 0.9] for rows in seen]
    assert 0 < sum(map(len, kept)) < sum(map(len, seen))


@pytest.mark.parametrize("parameters", [{"corpus": "demo_gene"}, {"tasks": ["Gene"]}, {"types": "native"}])
def test_a_stock_export_has_neither_corpora_nor_tasks(ask, parameters):
    status, answer = ask(STOCK, {"inputs": "x", "parameters": parameters})
    assert status == 400
    assert "a stock export has one answer" in answer["error"]
    assert "threshold" in answer["error"]


# ---- wrong requests

WRONG = {
    "bad json": (b'{"inputs": "x"', "delimiter"),
    "no inputs": ({"text": "x"}, "inputs"),
    "not an object": (["inputs"], "expected a JSON object"),
    "unknown key": ({"inputs": "x", "parameter": {}}, 'unknown \'parameter\'; expected "inputs" and "parameters"'),
    "null": ({"inputs": None}, "inputs: expected a text or a list of texts, got null"),
    "number": ({"inputs": 7}, "inputs: expected a text or a list of texts, got a number"),
    "object": ({"inputs": {"text": "x"}}, "inputs: expected a text or a list of texts, got an object"),
    "empty list": ({"inputs": []}, "got an empty list"),
    "not a text": ({"inputs": ["x", 7, "y"]}, "inputs[1]: expected a text, got a number"),
    "nested": ({"inputs": [["x"]]}, "inputs[0]: expected a text, got a list"),
    "too many texts": ({"inputs": ["x"] * 1001}, "1001 texts, at most 1000 at once"),
    "too long": ({"inputs": ["x" * 1_500_000, "y" * 500_001]}, "2000001 characters, at most 2000000 at once"),
    "parameters": ({"inputs": "x", "parameters": ["corpus"]}, "parameters: expected a JSON object, got a list"),
}
WRONG_PARAMETERS = [
    ({"treshold": 0.5}, "unknown 'treshold'; expected corpus, tasks, types, threshold, window_batch_size"),
    ({"threshold": "0.5"}, "threshold: expected a number from 0 to 1, got '0.5'"),
    ({"threshold": True}, "threshold: expected a number from 0 to 1, got True"),
    ({"threshold": 1.1}, "threshold: expected a number from 0 to 1, got 1.1"),
    ({"threshold": -1}, "threshold: expected a number from 0 to 1, got -1"),
    ({"threshold": float("nan")}, "threshold: expected a number from 0 to 1, got nan"),
    ({"window_batch_size": 0}, "window_batch_size: expected a whole number from 1 to 256, got 0"),
    ({"window_batch_size": 257}, "window_batch_size: expected a whole number from 1 to 256, got 257"),
    ({"window_batch_size": 2.0}, "window_batch_size: expected a whole number from 1 to 256, got 2.0"),
    ({"window_batch_size": True}, "window_batch_size: expected a whole number from 1 to 256, got True"),
    ({"corpus": "demo_gen"}, "unknown corpus 'demo_gen'; did you mean 'demo_gene'?"),
    ({"corpus": ["demo_gene"]}, "corpus: expected a name, got a list"),
    ({"tasks": "Gene"}, "tasks: expected a list of names, got 'Gene'"),
    ({"tasks": []}, "tasks: expected a list of names, got []"),
    ({"tasks": ["Gene", 1]}, "tasks: expected a list of names, got ['Gene', 1]"),
    ({"tasks": ["Gen"]}, "unknown task 'Gen'; this model has "),
    ({"tasks": ["Gene"], "corpus": "demo_gene"}, "corpus and tasks: expected one of them"),
    ({"types": "nativ"}, "types: expected shared or native, got 'nativ'"),
    ({"types": ["native"]}, "types: expected shared or native, got ['native']"),
    ({"tasks": ["Gene"], "types": "native"}, "task 'Gene' of this model tells shared types only"),
    ({"corpus": "demo_gene", "types": "native"}, "shared types only for corpus 'demo_gene'"),
    ({"types": "native"}, "types is 'native'; expected a corpus or tasks with it"),
    ({"aggregation_strategy": "first"}, "aggregation_strategy: mentions come whole"),
    ({"stride": 3}, "unknown 'stride'"),
]


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", [FLAT, STOCK])
def test_wrong_requests_are_told_what_is_wrong(ask, name, case):
    request, message = WRONG[case]
    status, answer = ask(name, request)
    assert status == 400
    assert list(answer) == ["error"]
    assert message in answer["error"] or case in ("no inputs", "not an object")  # which the server itself refuses


@pytest.mark.parametrize(("parameters", "message"), WRONG_PARAMETERS)
@pytest.mark.parametrize("text", ["BRCA1 causes velosis.", ""])
def test_wrong_parameters_are_told_what_is_wrong(ask, text, parameters, message):
    status, answer = ask(FLAT, {"inputs": text, "parameters": parameters})
    assert status == 400
    assert message in answer["error"]


def test_an_unknown_task_of_a_nested_model_is_told_for_a_text_without_words(ask):
    status, answer = ask(NESTED, {"inputs": "", "parameters": {"tasks": ["demo_gen"], "types": "native"}})
    assert (status, answer["error"].partition(";")[0]) == (400, "unknown task 'demo_gen'")


def test_the_server_goes_on_after_errors(ask, found, texts):
    before = found(FLAT)
    for request, _ in WRONG.values():
        ask(FLAT, request)
    assert ask(FLAT, {"inputs": texts}) == (200, before)


@pytest.mark.parametrize(("data", "message"), [(["inputs"], "got a list"), ({}, "got nothing"), (None, "got null")])
def test_what_a_server_may_let_through_is_refused_too(folders, data, message):
    served_here = handler.EndpointHandler(folders[STOCK])
    with pytest.raises(handler.RequestError, match=message):
        served_here(data)


# ---- wrong folders


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(handler.FolderError, match=r"no config\.json"):
        handler.EndpointHandler(tmp_path)


@pytest.mark.parametrize(
    "code", ["other/repo--modeling_aioner.AIONERForTokenClassification", "../code.Model", "gone.Model", "Model"]
)
@pytest.mark.parametrize("where", ["auto_map", "custom_pipelines"])
def test_code_from_elsewhere_is_not_trusted(folders, tmp_path, where, code):
    shutil.copytree(folders[FLAT], tmp_path / "model")
    (tmp_path / "code.py").write_text("raise SystemExit('ran')")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    if where == "auto_map":
        config["auto_map"]["AutoConfig"] = code
    else:
        config["custom_pipelines"]["token-classification"]["impl"] = code
    file.write_text(json.dumps(config))
    with pytest.raises(handler.FolderError, match="which is not in the folder") as error:
        handler.EndpointHandler(str(tmp_path / "model"))
    assert repr(code) in str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"auto_map": null}',
        '{"auto_map": {"AutoModel": ["a.B", null]}}',
        '{"custom_pipelines": {"ner": {}}}',
        '{"custom_pipelines": {"ner": ["a.B"]}}',
        '{"custom_pipelines": {"ner": {"impl": 5}}}',
    ],
    ids=lambda config: config[:40],
)
def test_a_malformed_config_is_refused(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(handler.FolderError, match=r"config\.json: expected a published model's"):
        handler.EndpointHandler(tmp_path)


def test_a_stock_export_has_to_say_how_long_its_windows_are(folders, tmp_path):
    shutil.copytree(folders[STOCK], tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": int(1e30)}))
    with pytest.raises(handler.FolderError, match="model_max_length"):
        handler.EndpointHandler(tmp_path / "model")


def test_the_folder_of_the_file_is_the_default(folders, tmp_path, monkeypatch):
    shutil.copytree(folders[STOCK], tmp_path / "model")
    monkeypatch.setattr(handler, "__file__", str(tmp_path / "model" / "handler.py"))
    assert type(handler.EndpointHandler().pipeline.model) is BertForTokenClassification
