"""The component of spaCy: equal to the predictor, exact where tokens aren't, saved with its pipeline."""

from __future__ import annotations

import configparser
import subprocess
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
import spacy
from helpers_run import environment
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.prediction.spacy_component import SpacyNER
from spacy.tokens import Doc, DocBin

ROOT = Path(__file__).resolve().parents[1]
CORPORA = ROOT.parent / "shared" / "corpora"
LEAST = 0.97  # score; the model finds thousands of mentions in a text


@pytest.fixture(scope="module")
def folder(build_bundle, tmp_path_factory):
    """A lively model with nested mentions."""
    place = tmp_path_factory.mktemp("spacy") / "model"
    bundle = build_bundle(family="joint_ib", lively=True)
    bundle.model.double().save_pretrained(place)  # in float64 the other texts of a batch change no digit of a score
    bundle.tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def texts(demo_corpora):
    found = [d.text for d in demo_corpora["demo_all"]["test"][:4]]
    long = " ".join(d.text for d in demo_corpora["demo_all"]["train"][:12])
    return ["𝔤𝔢𝔫𝔢  velosis/IL-2alpha\n\n" + found[0], "", *found[1:], long, " \n"]


@pytest.fixture(scope="module")
def expected(folder, texts):
    """What the predictor finds: (start, end, type, score) of each text."""
    found = MentionPredictor(*load(str(folder)))(texts)
    return [[(m.start, m.end, m.type, round(m.score, 4)) for m in mentions if m.score >= LEAST] for mentions in found]


def pipeline_of(folder, **config):
    nlp = spacy.blank("en")
    nlp.add_pipe("mosaic_ner", config={"model": str(folder), "threshold": LEAST, **config})
    return nlp


def rows(doc: Doc) -> list[tuple]:
    return [(m["start"], m["end"], m["type"], m["score"]) for m in doc._.mosaic_ner]


@pytest.fixture(scope="module")
def docs(folder, texts):
    return list(pipeline_of(folder).pipe(texts, batch_size=4))


def check(doc: Doc) -> None:
    """What holds of every document: spans are the mentions' tokens, entities don't overlap, counts add up."""
    assert rows(doc) == sorted(rows(doc), key=lambda row: row[:3])
    group, counts = doc.spans["mosaic_ner"], doc._.mosaic_ner_counts
    owner, smallest = [token for token in doc for _ in token.text_with_ws], {}  # of each character
    for mention in doc._.mosaic_ner:
        first, last = owner[mention["start"]], owner[mention["end"] - 1]
        own = (mention["span_start"], mention["span_end"])
        assert own == (first.idx, last.idx + len(last))
        smallest.setdefault((*own, mention["type"]), []).append(mention)
    assert [(s.start_char, s.end_char, s.label_) for s in group] == sorted(smallest)
    for span in group:
        own = smallest[span.start_char, span.end_char, span.label_]
        assert span._.mosaic_ner == max(own, key=lambda mention: mention["score"])
        assert span._.mosaic_ner_score == max(mention["score"] for mention in own)
    entities = {(e.start_char, e.end_char, e.label_) for e in doc.ents}
    assert entities <= set(smallest)
    assert counts == {
        "mentions": len(doc._.mosaic_ner),
        "expanded_to_tokens": sum(m["start"] != m["span_start"] or m["end"] != m["span_end"] for m in doc._.mosaic_ner),
        "same_tokens": len(doc._.mosaic_ner) - len(group),
        "not_in_ents": len(group) - len(doc.ents),
    }
    lengths = {token: len(entity) for entity in doc.ents for token in range(entity.start, entity.end)}
    for span in group:  # what isn't an entity overlaps one that is at least as long
        assert max(lengths.get(token, 0) for token in range(span.start, span.end)) >= len(span)


def test_whole_documents_give_the_predictors_mentions(docs, texts, expected):
    assert [doc.text for doc in docs] == texts
    assert [rows(doc) for doc in docs] == expected
    assert expected[-2][-1][1] > 0.9 * len(texts[-2]) > 800
    for doc in docs:
        check(doc)


def test_mentions_inside_tokens_are_expanded_and_counted(docs):
    counts = [doc._.mosaic_ner_counts for doc in docs]
    assert sum(c["expanded_to_tokens"] for c in counts)
    assert sum(c["not_in_ents"] for c in counts)
    assert counts[1] == dict.fromkeys(counts[1], 0)


def test_one_text_is_as_good_as_many(folder, docs, texts):
    nlp = pipeline_of(folder)
    assert [rows(nlp(text)) for text in texts[:3]] == [rows(doc) for doc in docs[:3]]


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(UserError, match="expected 0 to 1"):
        spacy.blank("en").add_pipe("mosaic_ner", config={"threshold": 3})


def test_settings_reach_the_model(folder, texts):
    model, tokenizer = load(str(folder))
    found = MentionPredictor(model, tokenizer)(texts[:1], model.tasks_for("demo_disease", "native"))[0]
    wanted = [(m.start, m.end, m.type, round(m.score, 4)) for m in found if m.score >= 0.5]
    asked = {"corpus": "demo_disease", "types": "native", "threshold": 0.5}
    assert rows(pipeline_of(folder, **asked)(texts[0])) == wanted != []
    with pytest.raises(ValueError, match="unknown corpus 'demo_diseas'"):
        pipeline_of(folder, corpus="demo_diseas")(texts[0])
    with pytest.raises(ModelError, match="no-such-folder"):
        pipeline_of("./no-such-folder")(texts[0])


def test_entities_that_were_there_stay(folder, texts, docs):
    nlp = pipeline_of(folder)
    ruler = nlp.add_pipe("entity_ruler", before="mosaic_ner")
    entity = docs[2].ents[0]
    ruler.add_patterns([{"label": "Mine", "pattern": entity.text.split()[0]}])
    doc = nlp(texts[2])
    mine = [e for e in doc.ents if e.label_ == "Mine"]
    assert mine
    assert mine[0]._.mosaic_ner is None
    assert mine[0]._.mosaic_ner_score is None
    assert rows(doc) == rows(docs[2])
    assert len(doc.spans["mosaic_ner"]) == len(docs[2].spans["mosaic_ner"])
    assert doc._.mosaic_ner_counts["not_in_ents"] == len(doc.spans["mosaic_ner"]) - (len(doc.ents) - len(mine))


def test_two_models_stand_side_by_side(folder, texts, docs):
    nlp = pipeline_of(folder)
    nlp.add_pipe("mosaic_ner", name="diseases", config={"model": str(folder), "corpus": "demo_disease"})
    doc = nlp(texts[2])
    assert {m["pipe"] for m in doc._.mosaic_ner} == {"mosaic_ner", "diseases"}
    assert len(doc.spans["mosaic_ner"]) == len(docs[2].spans["mosaic_ner"])
    count = len(doc._.mosaic_ner)
    for _, component in nlp.pipeline:  # again: nothing doubles
        doc = component(doc)
    assert len(doc._.mosaic_ner) == count


def test_a_document_is_saved_with_all_of_it(docs):
    again = list(DocBin(docs=docs, store_user_data=True).get_docs(docs[0].vocab))
    assert [rows(doc) for doc in again] == [rows(doc) for doc in docs]
    for doc in again:
        check(doc)


def test_a_pipeline_is_saved_with_its_model(folder, texts, expected, tmp_path):
    """The folder that the config names is gone when the pipeline is loaded."""
    copy = tmp_path / "copy"
    copy.symlink_to(folder)
    nlp = pipeline_of(copy)
    nlp.to_disk(tmp_path / "saved")
    copy.unlink()
    nlp = spacy.load(tmp_path / "saved")
    assert [rows(doc) for doc in nlp.pipe(texts)] == expected
    assert "mosaic_ner" in spacy.load(tmp_path / "saved", disable=["mosaic_ner"]).disabled


def test_spacy_finds_the_component_and_waits_for_transformers(tmp_path):
    """The entry point of setup.cfg names the factory, and importing it, which every `spacy.blank` does, is quick."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    points = dict(
        map(str.strip, line.split("=")) for line in setup["options.entry_points"]["spacy_factories"].split("\n") if line
    )
    module, _, name = points["mosaic_ner"].partition(":")
    assert isinstance(
        getattr(import_module(module), name)(spacy.blank("en"), "x", None, None, None, None, 0.0), SpacyNER
    )
    code = f"import sys, {module}; print('transformers' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=True
    )
    assert ran.stdout.strip() == "False"


@pytest.mark.real
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the real corpora are not in ../shared")
def test_real_abstracts_lose_nothing(folder):
    """The gold mentions of real documents, given by a stand-in for the model."""
    documents = list(islice(read_documents(CORPORA / "pubtator" / "BioRED_Test.PubTator"), 30))
    component = SpacyNER("mosaic_ner", None, {})
    by_text = {
        d.text: [
            {"start": m.start, "end": m.end, "entity_group": m.type, "score": 1.0, "word": d.surface(m)}
            for m in d.mentions
        ]
        for d in documents
    }
    component._pipeline = lambda given: [by_text[text] for text in given]
    nlp = spacy.blank("en")
    total = 0
    for doc, document in zip(component.pipe(map(nlp.make_doc, by_text)), documents, strict=True):
        check(doc)
        assert [(m["start"], m["end"], m["type"]) for m in doc._.mosaic_ner] == [m.key for m in document.mentions]
        total += len(document.mentions)
    assert total > 500


def test_a_document_made_of_another_has_no_wrong_mentions(docs):
    whole = docs[0]
    part = whole[4:].as_doc(copy_user_data=True)
    assert whole._.mosaic_ner
    assert part._.mosaic_ner == []
    assert all(span._.mosaic_ner is None for span in part.ents)
    assert part._.mosaic_ner_counts["mentions"] == 0


def test_a_pipeline_in_bytes_has_its_model(folder, texts, expected):
    nlp = spacy.blank("en")
    nlp.add_pipe("mosaic_ner", config={"model": str(folder)})
    data = nlp.to_bytes()
    again = spacy.blank("en")
    again.add_pipe("mosaic_ner", config={"model": "nowhere"})
    again.from_bytes(data)
    found = [(r["start"], r["end"], r["type"]) for r in again(texts[0])._.mosaic_ner]
    assert found == [(r["start"], r["end"], r["type"]) for r in nlp(texts[0])._.mosaic_ner] != []
