"""Overlap between training and evaluation: own small documents, and the published numbers on the real corpora."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.data_builders.corpora import CORPORA, TEN, read_split
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.data_builders.overlap import article_key, normalise, part_overlap
from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import LabelSpace

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "corpora"
TITLE = "A short title."
ABSTRACT = (
    "Patients with a rare deficiency of the enzyme were given the drug for twelve weeks, and most of them recovered."
)
OTHER = (
    "Nothing in this sentence about the growth of yeast on plates without sugar occurs anywhere else in the test files."
)


def document(id: str, text: str, *mentions: Mention, corpus: str = "own", **fields) -> Document:
    return Document(id, corpus, text, tuple(mentions), **fields)


def remove_overlap(training, evaluation, mode="remove", **options):
    """What stays in training, and the report."""
    kept, _, report = part_overlap(training, evaluation, dict.fromkeys(evaluation, mode), **options)
    return kept, report


def removed(training: Document, evaluation: Document, **options) -> dict[str, int]:
    kept, report = remove_overlap({"train": [training]}, {"own/test": [evaluation]}, **options)
    found = report.training["train"]
    assert len(kept["train"]) == 1 - found.found
    assert report.evaluation["own/test"].covered == report.evaluation["own/test"].covered_by["train"] == found.found
    return {cause: count for cause, count in found.causes.items() if count}


@pytest.mark.parametrize(
    ("training", "evaluation", "same"),
    [
        ("pmid:12", "pmid:12", True),
        ("pmid:12", "pmid:13", False),
        ("pmid:12", "pmcid:12", False),
        # A number alone may count from 0 in every file: the texts decide.
        ("12", "pmid:12", False),
        ("pmcid:12", "12", False),
        ("12", "12", False),
        ("PMC12", "pmcid:12", True),
        ("PMC12", "pmid:12", False),
        ("PMID:12", "pmid: 12", True),
        ("MEDLINE:93061407", "medline:93061407", True),
        ("study:a", "study:a", True),
        # Two files named train.tsv, whose records the reader numbered.
        ("train:12", "train:12", False),
        ("bc2gm.train:BC2GM_train:1#0", "bc2gm.test:BC2GM_test:1#0", False),
    ],
)
def test_article_ids_match_within_their_namespace(training, evaluation, same):
    found = removed(document("a", OTHER, article=training), document("b", ABSTRACT, article=evaluation))
    assert found == ({"by_id": 1} if same else {})


def test_article_key():
    assert article_key("pmid:1") == ("pmid", "1")
    assert article_key("PMC:1") == article_key("pmc1") == ("pmcid", "1")
    assert article_key("10.1093/bib/bbac282") == ("", "10.1093/bib/bbac282")


def test_text_matches_whatever_its_case_spacing_punctuation_and_width():
    changed = ABSTRACT.upper().replace(" ", "\n  ").replace(",", " —").replace("DRUG", "ｄｒｕｇ")
    assert normalise(changed) == normalise(ABSTRACT)
    assert removed(document("pmid:1", changed), document("pmid:2", ABSTRACT)) == {"by_text": 1}
    assert removed(document("pmid:1", OTHER), document("pmid:2", ABSTRACT)) == {}


def test_short_texts_are_not_compared():
    assert removed(document("pmid:1", "Materials and methods"), document("pmid:2", "Materials and methods")) == {}
    assert removed(document("pmid:1", TITLE), document("pmid:2", TITLE), min_characters=5) == {"by_text": 1}


def test_a_long_passage_alone_matches_and_a_short_one_does_not():
    text = f"{TITLE} {ABSTRACT}"
    passages = (Passage(0, len(TITLE), "title"), Passage(len(TITLE) + 1, len(text), "abstract"))
    whole = document("pmid:1", text, passages=passages)
    assert removed(whole, document("pmid:2", ABSTRACT)) == {"by_text": 1}
    assert removed(document("pmid:2", ABSTRACT), whole) == {"by_text": 1}
    other = f"{TITLE} {OTHER}"
    passages = (Passage(0, len(TITLE), "title"), Passage(len(TITLE) + 1, len(other), "abstract"))
    assert removed(whole, document("pmid:3", other, passages=passages)) == {}


def test_a_sentence_without_article_id_is_found_inside_a_text_both_ways():
    sentence = document("mtl.train:s:1#0", ABSTRACT.replace(",", " ,"))
    article = document("pmid:1", f"{OTHER} {ABSTRACT} {OTHER}")
    assert removed(sentence, article) == removed(article, sentence) == {"by_sentence": 1}
    # Articles with ids of their own are compared whole: a shared sentence is no overlap.
    assert removed(document("pmid:2", ABSTRACT), article) == {}


def test_a_users_record_that_holds_a_whole_article_is_found():
    article = document("pmid:1", f"{TITLE}\n{ABSTRACT}")
    for text in (
        f"{article.text} Copyright 2020 The Authors.",
        f"Journal of Own Things. {article.text}\nKeywords: drug",
    ):
        assert removed(document("record 7", text), article) == {"by_sentence": 1}
        assert removed(document("pmid:2", text), article) == {}  # another article, which quotes it


def test_keep_removes_nothing_reports_the_same_and_warns(caplog):
    training, evaluation = {"a": [document("1", ABSTRACT)]}, {"a/test": [document("1", ABSTRACT)]}
    without, report = remove_overlap(training, evaluation)
    assert without == {"a": []}
    assert "keep" not in caplog.text.lower()
    kept, kept_report = remove_overlap(training, evaluation, "keep")
    assert kept == training
    assert "KEPT" in caplog.text
    assert kept_report.kept
    for name in ("causes", "found_mentions", "articles"):
        assert getattr(kept_report.training["a"], name) == getattr(report.training["a"], name)
    assert kept_report.evaluation["a/test"].copying() == report.evaluation["a/test"].copying()
    assert kept_report.to_dict()["training"]["a"]["removed_documents"] == 0
    assert report.to_dict()["training"]["a"]["removed_documents"] == 1


def test_mentions_are_compared_by_shared_type_in_documents_of_the_same_text():
    labels = LabelSpace(
        {"train": {"FamilyName": "Gene", "Motif": None}, "test": {"Gene": "Gene", "Species": "Species"}}
    )
    training = [
        document("1", ABSTRACT, Mention(0, 8, "FamilyName"), Mention(16, 20, "Motif"), corpus="train"),
        document("2", " " + OTHER, Mention(0, 7, "FamilyName"), corpus="train"),
    ]
    evaluation = [
        document("1", ABSTRACT, Mention(0, 8, "Gene"), Mention(16, 20, "Species"), corpus="test"),
        document("2", OTHER, Mention(0, 7, "Gene"), corpus="test"),
    ]
    _, report = remove_overlap({"train": training}, {"test/test": evaluation}, labels=labels)
    found = report.evaluation["test/test"]
    assert (found.documents, found.covered, found.mentions, found.mentions_in_training) == (2, 2, 3, 1)
    assert report.training["train"].found_mentions == 3


def test_copying_scores_the_training_annotations_of_the_same_text():
    labels = LabelSpace(
        {
            "one": {"FamilyName": "Gene", "Motif": None, "Cell": "CellLine"},
            "two": {"Gene": "Gene"},
            "test": {"Gene": "Gene", "Species": "Species"},
        }
    )
    right, wrong = Mention(0, 8, "FamilyName"), Mention(9, 13, "FamilyName")
    unshared, not_in_test = Mention(16, 20, "Motif"), Mention(21, 26, "Cell")
    one = [
        document("1", ABSTRACT, right, wrong, unshared, not_in_test, corpus="one"),
        document("2", " " + OTHER, Mention(1, 8, "FamilyName"), corpus="one"),  # covered, but another text
    ]
    two = [document("1", ABSTRACT, Mention(0, 8, "Gene"), Mention(30, 35, "Gene"), corpus="two")]
    evaluation = [
        document("1", ABSTRACT, Mention(0, 8, "Gene"), Mention(16, 20, "Species"), corpus="test"),
        document("2", OTHER, Mention(0, 7, "Gene"), corpus="test"),
    ]
    _, report = remove_overlap({"one": one, "two": two}, {"test/test": evaluation}, labels=labels)
    found = report.evaluation["test/test"]
    assert (found.covered, found.mentions, found.mentions_in_training, found.copied) == (2, 3, 1, 3)
    scores = {"precision": 1 / 3, "recall": 1 / 3, "f1": pytest.approx(1 / 3), "predicted": 3}
    assert found.copying() == report.to_dict()["evaluation"]["test/test"]["copying"] == scores
    assert "copying them alone scores P 33.3, R 33.3, F1 33.3" in report.summary().splitlines()[-1]
    # Without a mapping all types count, as they are called.
    _, report = remove_overlap({"one": one, "two": two}, {"test/test": evaluation})
    found = report.evaluation["test/test"]
    assert (found.mentions, found.mentions_in_training, found.copied) == (3, 1, 6)
    assert found.copying()["f1"] == pytest.approx(2 / 9)


def test_copying_nothing_scores_nothing():
    _, report = remove_overlap({"a": [document("1", ABSTRACT, Mention(0, 8, "X"))]}, {"b/test": [document("2", OTHER)]})
    assert report.evaluation["b/test"].copying() == {"precision": 0, "recall": 0, "f1": 0, "predicted": 0}
    assert "copying" not in report.summary()


def test_report_is_json_and_its_summary_has_a_line_for_each_corpus_and_set():
    training = {"a": [document("1", ABSTRACT, Mention(0, 8, "X")), document("2", OTHER)], "b": []}
    _, report = remove_overlap(training, {"c/test": [document("1", ABSTRACT)], "c/validation": []})
    data = json.loads(json.dumps(report.to_dict()))
    assert data["training"]["a"] == {
        "documents": 2,
        "mentions": 1,
        "found": 1,
        "by_id": 1,
        "by_text": 0,
        "by_sentence": 0,
        "removed_documents": 1,
        "removed_mentions": 1,
        "equal_ids": 0,
        "articles": ["1"],
    }
    assert data["evaluation"]["c/test"]["covered_by"] == {"a": 1, "b": 0}
    lines = report.summary().splitlines()
    assert [line.split(":")[0] for line in lines] == ["a", "b", "c/test", "c/validation"]
    assert "removed 1 of 2 documents" in lines[0]


@pytest.fixture(scope="module")
def real():
    """Corpus → split → documents of the ten."""
    if not REAL.is_dir():
        pytest.skip("no real corpora in ../shared")
    documents = {}
    for name in TEN:
        corpus = CORPORA[name]
        found = {split: file.find(REAL) for split, file in corpus.files.items()}
        documents[name] = {s: list(read_split(corpus, s, f[0], format=f[1])) for s, f in found.items() if f}
    return documents


@pytest.mark.real
def test_biored_overlaps_with_each_file_as_measured(real):
    others = {f"{name}/{split}": docs for name in TEN[1:] for split, docs in real[name].items()}
    _, report = remove_overlap(others, {"biored/test": real["biored"]["test"]})
    found = {name: count for name, count in report.evaluation["biored/test"].covered_by.items() if count}
    assert found == {
        "bc5cdr/train": 21,
        "bc5cdr/test": 13,
        "gnormplus/train": 5,
        "ncbi_disease/train": 1,
        "nlm_gene/train": 21,
        "nlm_gene/test": 3,
        "tmvar3/train": 24,
        "tmvar3/test": 12,
    }


@pytest.mark.real
def test_training_files_hold_72_test_and_64_dev_documents_and_1805_test_mentions(real):
    training = {name: splits["train"] for name, splits in real.items() if "train" in splits}
    evaluation = {f"biored/{split}": real["biored"][split] for split in ("validation", "test")}
    kept, report = remove_overlap(training, evaluation, labels=load_label_mapping())
    test, validation = report.evaluation["biored/test"], report.evaluation["biored/validation"]
    assert (test.covered, test.documents) == (72, 100)
    assert (validation.covered, validation.documents) == (64, 100)
    assert (test.mentions_in_training, test.mentions) == (1805, 3535)
    copying = [round(100 * test.copying()[key], 1) for key in ("precision", "recall", "f1")]
    assert copying == [96.8, 51.1, 66.9]
    assert kept["biored"] == training["biored"]
    assert sum(map(len, kept.values())) == sum(map(len, training.values())) - report.found
    again, none = remove_overlap(kept, evaluation)
    assert (again, none.found) == (kept, 0)


@pytest.mark.real
def test_removal_by_text_alone_finds_what_removal_by_id_finds(real):
    """The ids are right: without them the texts say the same."""
    training = {name: splits["train"] for name, splits in real.items() if "train" in splits}
    nameless = {name: [_renamed(d) for d in docs] for name, docs in training.items()}
    evaluation = {"biored/test": real["biored"]["test"]}
    _, by_id = remove_overlap(training, evaluation)
    _, by_text = remove_overlap(nameless, evaluation)
    assert {n: o.found for n, o in by_text.training.items()} == {n: o.found for n, o in by_id.training.items()}
    assert all(o.causes["by_id"] == 0 for o in by_text.training.values())


def _renamed(document: Document) -> Document:
    return Document(**{**vars(document), "article": f"pmid:none-{document.id}-{document.index}"})


@pytest.mark.real
def test_genia_and_jnlpba_share_their_articles(tmp_path):
    if not REAL.is_dir():
        pytest.skip("no real corpora in ../shared")
    jnlpba = load_corpus("jnlpba", REAL, tmp_path)
    genia = load_corpus("genia", REAL, tmp_path)["validation"]
    _, report = remove_overlap({"jnlpba": jnlpba["train"] + jnlpba["test"]}, {"genia/validation": genia})
    assert report.evaluation["genia/validation"].covered == len(genia) == 1765
    assert report.training["jnlpba"].causes["by_id"] >= 199


def test_shared_documents_leave_what_is_scored_where_training_keeps_them(caplog):
    """One model can be measured on all test sets: BioRED's documents leave training, others' shared ones aren't scored."""
    shared, both = document("pmid:1", ABSTRACT), document("pmid:2", OTHER)
    training = {"a": [shared, both]}
    evaluation = {
        "b/test": [document("pmid:2", OTHER)],
        "c/test": [document("pmid:1", ABSTRACT), document("pmid:2", OTHER)],
    }
    kept, scored, report = part_overlap(training, evaluation, {"b/test": "remove", "c/test": "evaluation"})
    assert kept == {"a": [shared]}  # the other is in b's test set
    assert scored["b/test"] == evaluation["b/test"]
    assert scored["c/test"] == evaluation["c/test"][1:]  # pmid:2 is in no training set any more
    assert not report.kept
    found = report.to_dict()
    assert (found["training"]["a"]["found"], found["training"]["a"]["removed_documents"]) == (2, 1)
    assert (found["evaluation"]["c/test"]["covered"], found["evaluation"]["c/test"]["not_scored"]) == (2, 1)
    assert found["evaluation"]["c/test"]["mode"] == "evaluation"
    assert "KEPT" not in caplog.text
    assert "1 of them are not scored" in report.summary()


def test_equal_ids_of_different_texts_are_no_overlap_but_told(caplog):
    training = {"own": [document("0", ABSTRACT), document("1", "Quite another text. " * 5)]}
    kept, _, report = part_overlap(training, {"own/test": [document("0", OTHER)]})
    assert kept == training
    assert report.training["own"].equal_ids == 1
    assert "--article_ids" in caplog.text


def test_equal_ids_of_the_same_short_text_are_overlap():
    assert removed(document("0", TITLE), document("0", TITLE.upper())) == {"by_id": 1}
    assert removed(document("0", TITLE), document("1", TITLE)) == {}
