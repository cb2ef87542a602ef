"""Kinds of ../shared/cases that reach the model, on inputs of our own: passages, surrogates, whole collections."""

from __future__ import annotations

import itertools
import json

import pytest
from helpers_formats import collection, file, passage, read
from helpers_handler import stock_model
from helpers_run import fails
from mosaic_ner.data_builders.formats import FORMATS, read_documents
from mosaic_ner.data_builders.formats.detect import OPTIONS
from mosaic_ner.data_builders.options import ArgumentError, DataOptions
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.handler import EndpointHandler
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.pipeline_ner import NERPipeline
from mosaic_ner.prediction.annotate import annotate_file
from mosaic_ner.prediction.options import PredictionOptions
from mosaic_ner.prediction.tagger import Tagger

BROKEN = "The \ud835gene of \udc00 breast cancer\ud83d in mice was given aspirin."
MENDED = "The \ufffdgene of \ufffd breast cancer\ufffd in mice was given aspirin."
FAMILIES = ("aioner", "span_cvae", "joint_ib", "sruner")


def annotated(bundle, source, target, **how):
    """Predicts a file with a model; (documents, report's lines)."""
    options = PredictionOptions(predict_input=str(source), predict_output=str(target), **how)
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    assert annotate_file(Tagger(predictor), options, "no model", DataOptions()) == 0
    return list(read_documents(target))


# --- halves of surrogate pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_in_memory_are_read_as_files_are(build_bundle, family, caplog, tmp_path):
    bundle = build_bundle(family=family, lively=True)
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    texts = ["Mice.", BROKEN, "Aspirin."]
    expected = predictor(["Mice.", MENDED, "Aspirin."])
    assert expected[1]
    assert not caplog.text
    assert predictor(texts) == expected
    assert "text 1: 3 halves of surrogate pairs" in caplog.text
    assert "the first is at character 4" in caplog.text
    document = Document("7", "demo_all", BROKEN, (Mention(22, 28, "Disease"),))
    assert predictor([document]) == [expected[1]]
    assert "demo_all:7: 3 halves" in caplog.text
    dataset = bundle.features.build([document])
    assert len(dataset) > 0
    assert bundle.features.coverage.to_dict()["demo_all"]["share"] == 1.0
    caplog.clear()
    rows = NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer)(texts)
    assert [[(m["start"], m["end"]) for m in row] for row in rows] == [
        [(m.start, m.end) for m in own] for own in expected
    ]
    assert [m["word"] for m in rows[1]] == [MENDED[m.start : m.end] for m in expected[1]]
    assert caplog.text.count("3 halves of surrogate pairs") == 1
    lines = "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    documents = annotated(bundle, file(tmp_path, "in.jsonl", lines), tmp_path / "out.jsonl")
    assert [d.text for d in documents] == ["Mice.", MENDED, "Aspirin."]
    assert [[m.key for m in d.mentions] for d in documents] == [[m.key for m in own] for own in expected]


@pytest.mark.parametrize("kind", ["family", "stock"])
def test_an_endpoint_reads_them_so(saved_model_dir, tiny_parts, tmp_path, kind, caplog):
    folder = saved_model_dir
    if kind == "stock":
        stock_model(folder := tmp_path / "stock", tiny_parts.tokenizer)
    handler = EndpointHandler(folder)
    expected = handler({"inputs": ["Mice.", MENDED]})
    assert handler({"inputs": ["Mice.", BROKEN]}) == expected
    assert "inputs[1]: 3 halves of surrogate pairs" in caplog.text
    json.dumps(expected, ensure_ascii=False).encode()


# --- passages ---------------------------------------------------------------------------------------------------------

PARTS = ["Reduced by nir", "lazole in BRC", "A1 of mice", "(", "p53", ")", "Velo", "sis"] * 4
PLACES = [sum(map(len, PARTS[:n])) for n in range(len(PARTS) + 1)]


def contents() -> dict[str, str]:
    """The same document in every format that has passages of any kind."""
    node = {"id": "1", "passages": [passage(text, offset=at) for text, at in zip(PARTS, PLACES, strict=False)]}
    own = {"id": "1", "text": "".join(PARTS)}
    own["passages"] = [{"start": start, "end": end} for start, end in itertools.pairwise(PLACES)]
    passages = "".join(
        f"<passage><offset>{at}</offset><text>{text}</text></passage>" for text, at in zip(PARTS, PLACES, strict=False)
    )
    xml = f"<collection><document><id>1</id>{passages}</document></collection>"
    return {"in.json": collection(node), "in.jsonl": json.dumps(own), "in.xml": xml}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["in.json", "in.jsonl", "in.xml"])
def test_no_prediction_of_a_file_crosses_passages_that_stand_back_to_back(build_bundle, family, name, tmp_path):
    # With the hidden layer the tagger's random weights find mentions across the places, if nothing bars them.
    bundle = build_bundle(family=family, lively=True, **({"hidden_size": 16} if family == "aioner" else {}))
    path = file(tmp_path, name, contents()[name])
    (document,) = annotated(bundle, path, tmp_path / name.replace("in", "out"))
    assert (document.text, [p.end for p in document.passages]) == ("".join(PARTS), PLACES[1:])
    assert document.mentions
    assert not [m for m in document.mentions if any(m.start < place < m.end for place in PLACES)]
    plain = MentionPredictor(bundle.model, bundle.tokenizer)([document.text])[0]
    assert [m for m in plain if any(m.start < place < m.end for place in PLACES)]
    rows = NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer)(
        [{"text": document.text, "passages": list(itertools.pairwise(PLACES))}, document.text]
    )
    assert [[(m["start"], m["end"]) for m in row] for row in rows] == [
        [(m.start, m.end) for m in found] for found in (document.mentions, plain)
    ]


def test_a_title_and_an_abstract_are_passages(tmp_path):
    path = file(tmp_path, "x.pubtator", "1|t|Severe nir\n1|a|lazole in mice\n")
    assert [d.borders for d in read(path)[0]] == [(10,)]


@pytest.mark.parametrize(
    ("passages", "message"),
    [([[0]], "expected"), ([[0, 9]], "outside"), ([[2, 1]], "outside"), ([["0", "1"]], "expected"), ([5], "expected")],
)
def test_wrong_passages_are_refused(bundle, passages, message):
    ner = NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer)
    with pytest.raises(ValueError, match=message):
        ner({"text": "Mice.", "passages": passages})
    with pytest.raises(ValueError, match="a text and its passages"):
        ner({"text": "Mice.", "pasages": passages})
    assert ner({"text": "Mice."}) == ner("Mice.")


# --- options that have no effect on a format --------------------------------------------------------------------------

SMALL = {
    "in.pubtator": "1|t|velosis\n1|a|\n1\t0\t7\tvelosis\tD\n", "in.tsv": "velosis\tB-D\n",
    "in.jsonl": '{"id": "1", "text": "velosis"}', "in.txt": "velosis", "in.json": contents()["in.json"],
}  # fmt: skip
HAVE = {
    "offset_unit": {"in.pubtator", "in.jsonl", "in.json"}, "entity_type": {"in.tsv", "in.jsonl", "in.json"},
    "type_infon": {"in.jsonl", "in.json"}, "tag_column": {"in.tsv"},
}  # fmt: skip
VALUES = {"offset_unit": "utf16", "entity_type": "D", "type_infon": "kind", "tag_column": 2}


@pytest.mark.parametrize("option", list(HAVE))
@pytest.mark.parametrize("name", list(SMALL))
def test_options_without_effect_are_refused_by_name(option, name, tmp_path):
    path = file(tmp_path, name, SMALL[name])
    options = DataOptions(**{option: VALUES[option]})
    if name in HAVE[option]:
        assert options.reading(str(path))[option] == VALUES[option]
        return
    with pytest.raises(ArgumentError, match=f"--{option} has no effect on files of the format"):
        options.reading(str(path))
    with pytest.raises(ArgumentError, match=f"--{option} has no effect"):
        DataOptions(**{option: VALUES[option], "train_file": str(path)}).reading(str(path))
    other = file(tmp_path, f"other/{next(iter(HAVE[option]))}", SMALL[next(iter(HAVE[option]))])
    options.reading(str(path), str(other))  # it has one on the other
    file(tmp_path, f"other/{name}", SMALL[name])
    options.reading(str(other.parent))


def test_they_are_refused_in_training_and_prediction(bundle, tmp_path):
    path = file(tmp_path, "in.tsv", "velosis\tB-D\n")
    with pytest.raises(ArgumentError, match="--offset_unit has no effect"):
        load_run_data(DataOptions(train_file=str(path), offset_unit="utf8"))
    options = PredictionOptions(predict_input=str(path), predict_output=str(tmp_path / "out.tsv"))
    with pytest.raises(ArgumentError, match="--type_infon has no effect"):
        annotate_file(
            Tagger(MentionPredictor(bundle.model, bundle.tokenizer)), options, "m", DataOptions(type_infon="kind")
        )
    assert [p.name for p in tmp_path.iterdir()] == ["in.tsv"]


def test_options_of_files_need_a_file(capsys):
    for option in (("--offset_unit", "utf8"), ("--format", "jsonl"), ("--tag_column", "2")):
        message = fails(capsys, "--corpora", "demo", *option)
        assert f"{option[0]} has no effect without a file of yours" in message


def test_formats_of_options_are_those_of_the_package():
    assert set(OPTIONS) == set(HAVE)
    assert {name for names in OPTIONS.values() for name in names} <= set(FORMATS)
