"""Nested and overlapping mentions from a model into files of every format and back; IOB2 says what it can't hold."""

from __future__ import annotations

import logging
from itertools import combinations, product

import pytest
from helpers_run import messages, run
from helpers_sruner import SMALL, calm, follow_gold, steps_of
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.tagger import Tagger

ENDINGS = [".pubtator", ".bioc.xml", ".bioc.json", ".jsonl", ""]  # the last is a folder of brat files
BATCH = 8


def target(folder, ending):
    return folder / f"out{ending}"


def keys(documents) -> dict[str, list]:
    return {d.id: [m.key for m in d.mentions] for d in documents}


def relations(documents) -> set[str]:
    """How mentions of one text lie to one another."""
    found = set()
    for document in documents:
        for a, b in combinations(sorted(document.mentions, key=lambda m: (m.start, -m.end)), 2):
            if b.start < a.end:
                same = "same start" if a.start == b.start else "same end" if a.end == b.end else "inside"
                found.add("equal" if (a.start, a.end) == (b.start, b.end) else "crossing" if b.end > a.end else same)
                found.add("of one type" if a.type == b.type else "of two types")
    return found


EVERY = {"equal", "same start", "same end", "inside", "crossing", "of one type", "of two types"}


# ---- mentions that are known


TEXT = "severe velosis of old mice cells"
FOUND = [
    ("severe velosis", "SpecificDisease"),
    ("velosis", "SpecificDisease"),
    ("velosis of old mice", "Modifier"),
    ("old", "Modifier"),
    ("old mice cells", "SpecificDisease"),
    ("mice", "Modifier"),
    ("mice", "SpecificDisease"),
]


@pytest.fixture
def followed(build_bundle, monkeypatch):
    """A predicted document with `FOUND`, which its model was made to choose."""
    gold = [Mention(TEXT.index(s), TEXT.index(s) + len(s), name) for s, name in FOUND]
    bundle = build_bundle(**SMALL)
    (feature,) = bundle.features.build([Document("1", "demo_disease", TEXT, tuple(gold))])
    assert not feature["unclear_places"]
    follow_gold(bundle.model, monkeypatch, [steps_of(feature)])
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    tasks = bundle.model.tasks_named(["demo_disease"], "native")
    ((document,),) = Tagger(predictor, tasks).stream([Document("1", "user", TEXT)], 4)
    assert [m.key for m in document.mentions] == sorted(m.key for m in gold)
    assert relations([document]) == EVERY
    return document


@pytest.mark.parametrize("ending", ENDINGS)
def test_known_nested_mentions_are_read_back_as_they_were_found(followed, tmp_path, ending):
    report = write_documents([followed], target(tmp_path, ending))
    assert set(report.counts) <= {"score_not_written"}
    (back,) = read_documents(target(tmp_path, ending))
    assert back.text == TEXT
    assert [m.key for m in back.mentions] == [m.key for m in followed.mentions]
    if not report.counts:
        assert [m.score for m in back.mentions] == pytest.approx([m.score for m in followed.mentions], abs=1e-4)


def test_iob2_keeps_the_outermost_and_counts_the_rest(followed, tmp_path, caplog):
    report = write_documents([followed], tmp_path / "out.iob2")
    (back,) = read_documents(tmp_path / "out.iob2")
    assert [(back.surface(m), m.type) for m in back.mentions] == [
        ("severe velosis", "SpecificDisease"),
        ("old mice cells", "SpecificDisease"),
    ]
    lost = len(followed.mentions) - 2
    assert report.counts["nested_not_written"] == lost == 5
    assert f"nested_not_written: {lost} ({100 * lost / (lost + 2):.2f}% of {lost + 2} mentions)" in caplog.text


# ---- the command line, with whatever a model finds


@pytest.fixture(scope="module")
def model_dir(build_bundle, tmp_path_factory):
    """An untrained model that finds mentions of every type everywhere."""
    folder = tmp_path_factory.mktemp("sruner")
    bundle = build_bundle(family="sruner", lively=True)
    calm(bundle.model)
    bundle.save(folder)
    return folder


@pytest.fixture(scope="module")
def collection(demo_corpora):
    texts = [d.text for d in demo_corpora["demo_all"]["test"][:4]]
    texts += ["𝔤𝔢𝔫𝔢 " + texts[1][:90].replace(" ", " \U0001f9ec ", 2), "velosis\u200b of \u200b mice", "x"]
    return [Document(f"d{n}", "user", text) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def expected(model_dir, collection):
    """The documents with what the model finds."""
    predictor = MentionPredictor(*load(str(model_dir)), batch_size=BATCH)
    found = [d for part in Tagger(predictor).stream(collection, 3) for d in part]
    assert relations(found) == EVERY
    return found


def predict(model, source, output, *more):
    run("--do_predict", "--model_name_or_path", model, "--predict_input", source, "--predict_output", output,
        "--predict_chunk", "3", "--per_device_eval_batch_size", str(BATCH), *more)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_nested_predictions_are_read_back_whole(model_dir, collection, expected, tmp_path, caplog, ending):
    source, output = tmp_path / "in.jsonl", target(tmp_path, ending)
    write_documents(collection, source)
    if ending:
        predict(model_dir, source, output)
    else:
        assert not write_documents(expected, output).counts
    back = list(read_documents(output))
    assert sorted(keys(back).items()) == sorted(keys(expected).items())
    assert {d.id: d.text for d in back} == {d.id: d.text for d in collection}
    assert "nested_not_written" not in messages(caplog)


def test_a_corpus_s_own_types_are_written_nested(model_dir, collection, tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.pubtator"
    write_documents(collection, source)
    predict(model_dir, source, output, "--predict_corpus", "demo_disease", "--prediction_mode", "native")
    back = list(read_documents(output))
    predictor = MentionPredictor(*load(str(model_dir)), batch_size=BATCH)
    parts = Tagger(predictor, predictor.model.tasks_named(["demo_disease"], "native")).stream(collection, 3)
    assert keys(back) == keys(d for part in parts for d in part)
    assert {m.type for d in back for m in d.mentions} == {"SpecificDisease", "Modifier"}
    assert "equal" in relations(back)


def squeezed(document) -> set[tuple[int, int, str]]:
    """The mentions, in characters that are no white space: IOB2 doesn't keep the spacing."""
    return {
        (len("".join(document.text[: m.start].split())), len("".join(document.text[: m.end].split())), m.type)
        for m in document.mentions
    }


def test_the_command_line_says_how_many_nested_mentions_iob2_left_out(
    model_dir, collection, expected, tmp_path, caplog
):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.iob2"
    write_documents(collection, source)
    with caplog.at_level(logging.WARNING):
        predict(model_dir, source, output)
    back = list(read_documents(output))
    assert [d.id for d in back] == [d.id for d in collection]
    lost = 0
    for got, found in zip(back, expected, strict=True):
        kept, every = squeezed(got), squeezed(found)
        assert len(every) == len(found.mentions)
        assert kept <= every
        assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(kept, 2))
        overlapping = {a for a, b in product(every - kept, kept) if a[0] < b[1] and b[0] < a[1]}
        assert overlapping == every - kept  # nothing is left out that could have stayed
        lost += len(overlapping)
    total = sum(len(d.mentions) for d in expected)
    assert 0 < lost < total
    (warning,) = [r.getMessage() for r in caplog.records if "could not hold everything" in r.getMessage()]
    assert f"nested_not_written: {lost:,} ({100 * lost / total:.2f}% of {total:,} mentions)" in warning
    assert str(output) in warning
