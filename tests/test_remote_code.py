"""A saved model on a machine that has only torch and transformers: another process, another folder, no mosaic_ner."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers_run import shell
from helpers_sruner import calm
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load

HEAD = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mosaic_ner", "run_ner", "seqeval"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Blocker())
try:
    import mosaic_ner
    raise SystemExit("mosaic_ner can be imported")
except ImportError:
    pass
import torch
torch.set_num_threads(1)
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline
"""

PROGRAM = """
source, folder, again = sys.argv[1:]
texts = json.load(open(source))
out = {}

def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None

out["without_trust"] = error_of(lambda: AutoModel.from_pretrained(folder, trust_remote_code=False))
out["pipeline_without_trust"] = error_of(
    lambda: pipeline("token-classification", model=folder, trust_remote_code=False)
)

def look(folder):
    seen = {}
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    seen["config"] = [type(config).__name__, type(config).__module__.split(".")[0], config.labels.shared_types]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    seen["ids"] = tokenizer("BRCA1 causes velosis.")["input_ids"]
    logits = []
    for auto in (AutoModel, AutoModelForTokenClassification):
        model = auto.from_pretrained(folder, trust_remote_code=True).eval()
        with torch.inference_mode():
            logits.append(model(**tokenizer("BRCA1 causes velosis.", return_tensors="pt")).logits)
    seen["logits"] = logits[0].double().sum().item()
    seen["same_logits"] = torch.equal(*logits)
    seen["class"] = [type(model).__name__, type(model).__module__.split(".")[0]]
    for task in ("token-classification", "ner"):
        ner = pipeline(task, model=folder, trust_remote_code=True)
        seen[task] = ner(texts)
    seen["type"] = type(ner).__name__
    return seen, model, tokenizer, ner

out["first"], model, tokenizer, ner = look(folder)
out["alone"] = [ner(text) for text in texts]
out["batched"] = pipeline("ner", model=folder, trust_remote_code=True, batch_size=4)(texts)
out["called_batched"] = ner(texts, batch_size=2)
out["window_batches"] = ner(texts, window_batch_size=3)
out["generator"] = list(ner(t for t in texts))
out["threshold"] = ner(texts, threshold=0.6)
out["high"] = ner(texts[0], threshold=1)
out["corpus"] = ner(texts, corpus="demo_gene")
out["tasks"] = ner(texts, tasks=["Gene"])
out["shared"] = ner(texts, corpus="demo_gene", types="shared")
out["unknown_argument"] = error_of(lambda: ner(texts, treshold=0.5))
out["unknown_corpus"] = error_of(lambda: ner(texts, corpus="demo_gen"))
out["unknown_task"] = error_of(lambda: ner(texts, tasks=["Gen"]))
out["unknown_types"] = error_of(lambda: ner(texts, corpus="demo_gene", types="nativ"))
native = {"corpus": "demo_gene"}, {"tasks": ["Gene"]}, {}
out["native"] = [error_of(lambda: ner(texts, types="native", **asked)) for asked in native]
out["no_text"] = error_of(lambda: ner(7))
out["empty"] = [ner(""), ner("  ")]
model.save_pretrained(again)
tokenizer.save_pretrained(again)
out["again"] = look(again)[0]
"""

TAIL = """
assert not any(name.split(".")[0] == "mosaic_ner" for name in sys.modules)
print("RESULT" + json.dumps(out))
"""


@pytest.fixture(scope="module")
def texts(demo_corpora):
    demo = [d.text for d in demo_corpora["demo_all"]["test"][:6]]
    long = " ".join(" ".join(d.text for d in demo_corpora["demo_all"]["train"]).split(" ")[:3000])
    return [demo[0], long, *demo[1:], "𝔤𝔢𝔫𝔢 " + demo[2], "x"]


@pytest.fixture(scope="module")
def here(trained_dir, texts):
    """What this process, which has the package, finds: per text the pipeline's rows."""
    predictor = MentionPredictor(*load(str(trained_dir)))

    def rows(names=None):
        tasks = predictor.model.tasks_named(names) if names else predictor.model.tasks_for()
        return [
            [
                {
                    "entity_group": m.type, "score": round(m.score, 4), "word": t[m.start : m.end],
                    "start": m.start, "end": m.end,
                }
                for m in predictor([t], tasks)[0]
            ]
            for t in texts
        ]  # fmt: skip

    return rows


def elsewhere(place: Path, program: str, content, *folders) -> dict:
    """What a program finds in a fresh process in another folder, without the package.

    Args:
        content: of the JSON file that is its first argument; the folders are the others.
    """
    (place / "content.json").write_text(json.dumps(content), encoding="utf-8")
    (place / "program.py").write_text(HEAD + program + TAIL, encoding="utf-8")
    work = place / "cwd"
    work.mkdir()
    done = shell(
        [place / "program.py", place / "content.json", *folders], work,
        HF_MODULES_CACHE=str(place / "modules"), PYTHONPATH="", MPLCONFIGDIR=str(place),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    before, _, line = done.stdout.rpartition("RESULT")
    assert before == ""  # nothing asks whether to trust the code, nothing chatters
    assert list(work.iterdir()) == []
    return json.loads(line) | {"place": place, "stderr": done.stderr}


@pytest.fixture(scope="module")
def there(trained_dir, texts, tmp_path_factory):
    """What a fresh process in another folder finds, that cannot import the package."""
    place = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(trained_dir, place / "model", ignore=shutil.ignore_patterns("checkpoint-*", "predictions", "runs"))
    return elsewhere(place, PROGRAM, texts, place / "model", place / "again")


def same(got, wanted, tolerance=2e-4):
    """Equal mentions in order; scores equal up to the last printed digit."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert [{k: v for k, v in m.items() if k != "score"} for m in a] == [
            {k: v for k, v in m.items() if k != "score"} for m in b
        ]
        assert [m["score"] for m in a] == pytest.approx([m["score"] for m in b], abs=tolerance)


def test_there_is_something_to_compare(here):
    rows = here()
    assert len(rows[1]) > 50
    assert sum(map(len, rows)) > 100


@pytest.mark.parametrize("which", ["first", "again"])
def test_pipelines_find_what_the_training_process_finds(there, here, which):
    same(there[which]["token-classification"], here())
    same(there[which]["ner"], here())
    assert there[which]["token-classification"] == there[which]["ner"]
    assert there[which]["type"] == "NERPipeline"


@pytest.mark.parametrize("which", ["first", "again"])
def test_models_come_from_the_folders_own_code(there, which):
    assert there[which]["class"] == ["AIONERForTokenClassification", "transformers_modules"]
    assert there[which]["config"][:2] == ["AIONERConfig", "transformers_modules"]
    assert there[which]["config"][2] == ["Gene", "Disease", "Chemical", "Species"]
    assert there[which]["same_logits"]
    assert there[which]["logits"] == pytest.approx(there["first"]["logits"])


def test_the_tokenizer_puts_the_task_tags_around_a_text(there, trained_dir):
    model, _ = load(str(trained_dir))
    prefix, suffix = model.config.task("ALL").prefix_ids, model.config.task("ALL").suffix_ids
    for which in ("first", "again"):
        ids = tuple(there[which]["ids"])
        assert ids[: len(prefix)] == prefix
        assert ids[-len(suffix) :] == suffix
        assert len(prefix) == 2


@pytest.mark.parametrize("way", ["alone", "batched", "called_batched", "window_batches", "generator"])
def test_batching_changes_nothing(there, way):
    same(there[way], there["first"]["ner"])


def test_words_are_the_texts_own_characters(there, texts):
    for text, rows in zip(texts, there["first"]["ner"], strict=True):
        assert all(text[m["start"] : m["end"]] == m["word"] for m in rows)


def test_threshold_leaves_out_the_doubtful(there):
    kept = [[m for m in rows if m["score"] >= 0.6] for rows in there["first"]["ner"]]
    assert there["threshold"] == kept
    assert sum(map(len, kept)) < sum(map(len, there["first"]["ner"]))
    assert there["high"] == []


def test_a_corpus_or_tasks_can_be_asked_for(there, here):
    same(there["corpus"], here(["Gene"]))
    same(there["tasks"], here(["Gene"]))
    assert there["corpus"] != there["first"]["ner"]
    assert there["shared"] == there["corpus"]


def test_mistakes_are_told(there):
    assert "treshold" in there["unknown_argument"]
    assert "threshold" in there["unknown_argument"]
    assert "'demo_gen'" in there["unknown_corpus"]
    assert "'demo_gene'" in there["unknown_corpus"]
    assert "'Gen'" in there["unknown_task"]
    assert "types is 'nativ'; expected 'shared' or 'native'" in there["unknown_types"]
    for message, piece in zip(there["native"], ("corpus 'demo_gene'", "task 'Gene'", "expected a corpus"), strict=True):
        assert piece in message
        assert "LabelError" in message
    assert "expected a text" in there["no_text"]


def test_empty_texts_have_no_mentions(there):
    assert there["empty"] == [[], []]


def test_code_is_not_run_unless_trusted(there):
    assert "trust_remote_code" in there["without_trust"]
    assert "trust_remote_code" in there["pipeline_without_trust"]


def test_a_folder_saved_from_the_loaded_model_is_complete(there, trained_dir):
    again, first = (there["place"] / "again"), Path(trained_dir)
    code = sorted(p.name for p in first.glob("*.py"))
    assert sorted(p.name for p in again.glob("*.py")) == code
    for name in code:
        assert (again / name).read_bytes() == (first / name).read_bytes()
    assert str(there["place"]) not in (again / "config.json").read_text()


# ---- the families whose mentions may be nested, untrained

NESTING = """
source, again, *folders = sys.argv[1:]
texts, few, asked = json.load(open(source))
out = {}

def look(folder):
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    inputs = tokenizer(texts[0][:100], return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits
        plain = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()(**inputs).logits
    ner = pipeline("token-classification", model=folder, trust_remote_code=True)
    batched = pipeline("ner", model=folder, trust_remote_code=True, batch_size=4)
    return model, tokenizer, {
        "class": [type(model).__name__, type(model).__module__.split(".")[0]],
        "pipeline": type(ner).__name__,
        "dtype": str(model.dtype),
        "training_parts": [name for name in model.training_modules if getattr(model, name) is not None],
        "logits": logits.clamp(min=-1e9).flatten().tolist(),
        "same_logits": torch.equal(logits, plain),
        "every": ner(texts),
        "alone": [ner(text) for text in few],
        "batched": batched(few),
        "window_batches": ner(few, window_batch_size=3),
        **{way: ner(few, **arguments) for way, arguments in asked.items()},
    }

for folder in folders:
    model, tokenizer, out[folder.rpartition("/")[2]] = look(folder)
    if folder == folders[0]:
        model.save_pretrained(again, **({"inference_only": True} if model.training_modules else {}))
        tokenizer.save_pretrained(again)
out["again"] = look(again)[2]
"""

ASKED = {
    "default": {},
    "corpus": {"corpus": "demo_gene"},
    "tasks": {"tasks": ["demo_chem", "demo_disease"]},
    "native_tasks": {"tasks": ["demo_chem", "demo_disease"], "types": "native"},
    "native": {"corpus": "demo_disease", "types": "native"},
    "threshold": {"threshold": 0.7},
}
BATCHES = ("alone", "batched", "window_batches")
FAMILIES = {
    "joint_ib": ("JointIBForNER", ["whole", "small"], {"spans.py", "modeling_joint_ib.py"}),
    "span_cvae": ("SpanCVAEForNER", ["whole", "small"], {"spans.py", "modeling_span_cvae.py"}),
    "sruner": (
        "SRUNERForNestedNER",
        ["whole", "exact"],
        {"spans.py", "modeling_sruner.py", "slot_memory.py", "transitions.py"},
    ),
}
LOOKS = [(family, name) for family, (_, names, _) in FAMILIES.items() for name in (*names, "again")]


@pytest.fixture(scope="module")
def nesting_texts(texts):
    """With words that have no tokens, and empty ones; the second has 3,000 words."""
    assert len(texts[1].split(" ")) == 3000
    return [*texts, "BRCA1 \u200b causes \u200bvelosis\u200b \u200b of mice", "\u200b", "", "  "]


@pytest.fixture(scope="module")
def few(nesting_texts):
    """All but the long one."""
    return [*nesting_texts[:1], *nesting_texts[2:]]


@pytest.fixture(scope="module")
def nesting(build_bundle):
    """family → a lively bundle of it."""
    bundles = {family: build_bundle(family=family, lively=True) for family in FAMILIES}
    calm(bundles["sruner"].model)
    return bundles


def saved_as(bundle, name: str):
    """The bundle's model as the folder of that name has it. In "exact", in float64, no rounding can turn one action
    into another, as it could over thousands of steps where batches differ."""
    return copy.deepcopy(bundle.model).double() if name == "exact" else bundle.model


@pytest.fixture(scope="module")
def nesting_there(nesting, nesting_texts, few, tmp_path_factory):
    """family → what a fresh process finds in each folder."""
    found = {}
    for family, (_, names, _) in FAMILIES.items():
        place = tmp_path_factory.mktemp("elsewhere")
        for name in names:
            options = {"inference_only": True} if name == "small" else {}
            saved_as(nesting[family], name).save_pretrained(place / name, **options)
            nesting[family].tokenizer.save_pretrained(place / name)
        folders = [place / name for name in ("again", *names)]
        found[family] = elsewhere(place, NESTING, [nesting_texts, few, ASKED], *folders)
    return found


def rows_of(predictor, texts, corpus=None, tasks=None, types=None, threshold=0.0) -> list[list[dict]]:
    """What the pipeline is to say for these arguments, each text being predicted alone."""
    model = predictor.model
    tasks = model.tasks_named(tasks, types) if tasks else model.tasks_for(corpus, types)
    return [
        [
            {"entity_group": m.type, "score": m.score, "word": t[m.start : m.end], "start": m.start, "end": m.end}
            for m in predictor([t], tasks)[0]
            if m.score >= threshold
        ]
        for t in texts
    ]  # fmt: skip


@pytest.mark.parametrize(("family", "which"), LOOKS)
def test_nesting_models_answer_without_the_package_as_with_it(
    nesting, nesting_there, nesting_texts, few, family, which
):
    name, _, code = FAMILIES[family]
    bundle, seen = nesting[family], nesting_there[family][which]
    model = saved_as(bundle, which)
    assert seen["class"] == [name, "transformers_modules"]
    assert seen["pipeline"] == "NERPipeline"
    assert seen["dtype"] == str(model.dtype)
    assert seen["training_parts"] == (list(model.training_modules) if which == "whole" else [])
    assert seen["same_logits"]
    with torch.inference_mode():
        logits = model(**bundle.tokenizer(nesting_texts[0][:100], return_tensors="pt")).logits.clamp(min=-1e9).flatten()
    torch.testing.assert_close(torch.tensor(seen["logits"]), logits.float(), rtol=1e-4, atol=1e-4)
    predictor = MentionPredictor(model, bundle.tokenizer)
    for way, arguments in ASKED.items():
        expected = rows_of(predictor, few, **arguments)
        assert sum(map(len, expected)) > 20
        assert expected[-2:] == [[], []]
        same(seen[way], expected)
    every = rows_of(predictor, nesting_texts)
    assert len(every[1]) > 500
    same(seen["every"], every)
    assert {row["entity_group"] for rows in seen["tasks"] for row in rows} == {"Chemical", "OTHER", "Disease"}
    types = {row["entity_group"] for rows in seen["native_tasks"] for row in rows}
    assert types <= {"Chemical", "OTHER", "SpecificDisease", "Modifier"}
    assert len(types) > 2
    assert {row["entity_group"] for rows in seen["native"] for row in rows} <= {"SpecificDisease", "Modifier"}
    assert 0 < sum(map(len, seen["threshold"])) < sum(map(len, seen["default"]))
    assert {p.name for p in (nesting_there[family]["place"] / which).glob("*.py")} >= code


@pytest.mark.parametrize("way", BATCHES)
@pytest.mark.parametrize(("family", "which"), [("joint_ib", "whole"), ("span_cvae", "whole"), ("sruner", "exact")])
def test_batching_changes_nothing_in_nesting_models(nesting_there, family, which, way):
    same(nesting_there[family][which][way], nesting_there[family][which]["default"])


@pytest.mark.parametrize(("family", "which"), [look for look in LOOKS if look[0] in ("joint_ib", "sruner")])
def test_nested_and_overlapping_mentions_come_out_of_the_pipeline(nesting_there, nesting_texts, family, which):
    seen = nesting_there[family][which]["every"]
    for rows in (seen[0], seen[1]):
        spans = sorted({(row["start"], -row["end"]) for row in rows})
        pairs = [(a, b) for a, b in itertools.combinations(spans[:60], 2) if b[0] < -a[1]]
        assert any(b[1] >= a[1] for a, b in pairs)  # one inside the other
        assert any(b[1] < a[1] for a, b in pairs)  # across
        assert len(spans) < len(rows)  # two types of one span
    for text, rows in zip(nesting_texts, seen, strict=True):
        assert all(text[row["start"] : row["end"]] == row["word"] for row in rows)
    at = nesting_texts.index("\u200b")
    assert seen[at - 1]  # words without tokens don't keep others from being found
    assert max(row["end"] for row in seen[1]) > 0.9 * len(nesting_texts[1])  # up to the end
