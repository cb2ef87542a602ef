"""The model in the box: its figures, its training data, its examples."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from helpers_run import ROOT
from mosaic_ner.data_builders.corpora import CORPORA
from mosaic_ner.data_builders.options import DataOptions, specs
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.integrity import check_folder
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.options import IN_THE_BOX
from mosaic_ner.prediction.tag import tag
from mosaic_ner.training.bundle import restore
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.results import Results

sys.path.insert(0, str(ROOT / "benchmarks"))
import paragraphs

REAL = ROOT.parent / "shared" / "corpora"


def real(test):
    """Reads the real corpora."""
    return pytest.mark.real(pytest.mark.skipif(not REAL.is_dir(), reason="no real corpora in ../shared")(test))


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.read(IN_THE_BOX)


@pytest.fixture(scope="module")
def data(results):
    """The run's documents, as its settings say."""
    known = {name: value for name, value in results.settings.items() if name in specs(DataOptions)}
    return load_run_data(DataOptions(**(known | {"data_dir": str(REAL)})), results.settings["seed"])


@real
def test_its_f1_on_biored_is_what_the_card_says(results, data):
    bundle = restore(str(IN_THE_BOX), data.space)
    evaluator = Evaluator(MentionPredictor(bundle.model, bundle.tokenizer), data.space)
    f1 = evaluator.evaluate(data.test["biored"]).report["overall"]["f1"]
    assert f1 == pytest.approx(results.test["biored"]["overall"]["f1"], abs=0.002)
    assert f1 > 0.85


@real
def test_no_scored_document_taught_it(data):
    taught = [d for part in data.train.values() for d in part]
    articles, texts = {d.article for d in taught}, {_letters(d) for d in taught}
    scored = [*data.test["biored"], *data.validation["biored"]]
    assert len(scored) == 200
    assert not [d.id for d in scored if d.article in articles or _letters(d) in texts]


def _letters(document: Document) -> str:
    return "".join(filter(str.isalnum, document.text.lower()))


def test_it_was_trained_on_what_its_card_lists(results):
    assert set(results.data["train"]) <= set(CORPORA)
    assert set(results.completion["labels"]) <= set(results.data["train"])
    assert sum(p.stat().st_size for p in IN_THE_BOX.iterdir()) < 50e6
    card = (IN_THE_BOX / "README.md").read_text(encoding="utf-8")
    for corpus in results.data["train"]:
        assert CORPORA[corpus].licence in card


def test_its_code_is_the_packages():
    check_folder(IN_THE_BOX, strict=True)


def test_the_documentation_shows_its_answers(capsys):
    """The README's table and spaCy's lines, as they are printed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command, _, shown = re.search(r'`mosaic-ner tag "(.*?)"`(.*?)```\n(.*?)\n```', text, re.DOTALL).groups()
    assert str(tag(command)) == shown
    page = (ROOT / "docs" / "spacy.md").read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL).groups()
    importlib.import_module("mosaic_ner.prediction.spacy_component")  # which spaCy finds where the package is installed
    exec(code, {})
    assert capsys.readouterr().out == shown


def test_its_mistakes_in_our_paragraphs_are_those_on_the_card():
    documents = paragraphs.read_paragraphs()
    assert len(documents) == 10
    assert {m.type for d in documents for m in d.mentions} == {
        "Gene",
        "Disease",
        "Chemical",
        "Variant",
        "Species",
        "CellLine",
    }
    found = MentionPredictor(*load())([d.text for d in documents])
    listed = paragraphs.limits(documents, found)
    assert listed == (IN_THE_BOX / "limits.md").read_text(encoding="utf-8")
    assert Path(IN_THE_BOX / "README.md").read_text(encoding="utf-8").count(listed.splitlines()[-1]) == 1
