"""Synonyms: the index against a brute-force twin, coverage, the command, and the real corpora."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers_synonyms import document, obo, umls
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.data_builders import synonyms as module
from mosaic_ner.data_builders.corpora import get_corpus, read_split
from mosaic_ner.data_builders.synonym_index import Synonyms
from mosaic_ner.data_builders.synonym_sources import from_training_documents
from mosaic_ner.data_builders.synonyms import coverage, coverage_table
from mosaic_ner.modeling.document import normalise_name

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"

FEVERS = {"1": ["Blue  Fever", "azure fever", "BF"], "2": ["bf", "banana fruit"], "3": ["lonely"]}


def test_a_text_is_found_in_any_case_and_spacing_and_is_not_its_own_synonym():
    synonyms = Synonyms(FEVERS)
    assert synonyms[" BLUE\tfever\n"] == ("azure fever", "bf")
    assert synonyms["bf"] == ("azure fever", "banana fruit", "blue fever")
    assert [concept.identifier for concept in synonyms.concepts("BF")] == ["1", "2"]


def test_texts_without_a_synonym_are_not_in_the_mapping():
    synonyms = Synonyms(FEVERS)
    assert list(synonyms) == ["azure fever", "banana fruit", "bf", "blue fever"]
    assert len(synonyms) == 4
    assert "Azure Fever" in synonyms
    assert "lonely" not in synonyms
    assert synonyms.get("lonely", ()) == ()
    assert synonyms.concepts("lonely") == () == synonyms.sources_of("lonely")
    with pytest.raises(KeyError, match="'lonely' has no synonym in own"):
        synonyms["lonely"]


def test_names_that_normalise_to_the_same_are_one():
    assert dict(Synonyms({"1": ["Blue fever", "blue FEVER", " ", ""]})) == {}


def test_only_wanted_texts_are_kept_with_all_their_synonyms():
    synonyms = Synonyms(FEVERS, wanted=["Banana fruit", "lonely", "unknown"])
    assert dict(synonyms) == {"banana fruit": ("bf",)}


NAMES = st.sampled_from(["a", "A", "b", " b", "c c", "c  c", "D", "e", ""])
CONCEPTS = st.dictionaries(st.sampled_from("12345"), st.lists(NAMES, max_size=4))


@given(CONCEPTS, CONCEPTS, st.none() | st.lists(NAMES))
def test_twin(first, second, wanted):
    """Every pair of names of every concept, looked at one by one."""
    synonyms = Synonyms.merged(Synonyms(first, "x", wanted), Synonyms(second, "y", wanted))
    expected: dict[str, dict[str, list[str]]] = {}
    for source, concepts in (("x", first), ("y", second)):
        for names in concepts.values():
            names = [re.sub(" +", " ", name).strip().lower() for name in names]
            for one in names:
                for other in names:
                    asked = wanted is None or one in [re.sub(" +", " ", w).strip().lower() for w in wanted]
                    if one and other and one != other and asked:
                        given_by = expected.setdefault(one, {}).setdefault(other, [])
                        given_by += [] if source in given_by else [source]
    assert {text: synonyms.provenance(text) for text in synonyms} == {
        text: {name: tuple(sources) for name, sources in names.items()} for text, names in expected.items()
    }
    assert dict(synonyms) == {text: tuple(sorted(names)) for text, names in expected.items()}


def test_merged_sources_are_remembered_and_their_order_changes_no_synonym():
    one, two = Synonyms(FEVERS, "one"), Synonyms({"9": ["BF", "blue fever", "cobalt fever"]}, "two")
    merged = Synonyms.merged(one, two)
    assert merged.provenance("bf") == {
        "azure fever": ("one",),
        "banana fruit": ("one",),
        "blue fever": ("one", "two"),
        "cobalt fever": ("two",),
    }
    assert merged.sources_of("cobalt fever") == ("two",)
    assert merged.sources == ("one", "two")
    # Concepts of two sources are not joined: `azure fever` and `cobalt fever` share none.
    assert "cobalt fever" not in merged["azure fever"]
    assert dict(Synonyms.merged(two, one)) == dict(merged) == dict(Synonyms.merged(merged, merged))
    assert dict(Synonyms.merged()) == {}


SYNONYMS = Synonyms.merged(
    Synonyms({"1": ["blue fever", "bf"]}, "x"), Synonyms({"1": ["blue fever", "azure"], "2": ["quartz", "q"]}, "y")
)
SPLITS = {
    "own": {
        "train": [
            document(("Blue fever", "Disease", ""), ("blue fever", "Disease", ""), ("rash", "Disease", "")),
            document(("QUARTZ", "Chemical", ""), id="2"),
        ],
        "test": [document(id="3")],
    }
}


def test_coverage_counts_every_mention_and_a_mention_of_two_sources_once():
    report = coverage(SYNONYMS, SPLITS)
    train = report["own"]["train"]
    assert (train["documents"], train["mentions"]) == (2, 4)
    assert train["covered"] == {"x": 2, "y": 3, "total": 3}
    assert train["syn_cov"] == {"x": 0.5, "y": 0.75, "total": 0.75}
    assert train["types"]["Disease"]["covered"] == {"x": 2, "y": 2, "total": 2}
    assert train["types"]["Chemical"]["syn_cov"] == {"x": 0.0, "y": 1.0, "total": 1.0}
    assert report["own"]["test"]["syn_cov"] == {"x": None, "y": None, "total": None}
    assert json.loads(json.dumps(report)) == report


def test_coverage_table():
    lines = coverage_table(coverage(SYNONYMS, SPLITS)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["own", "train", "all", "2", "4", "50.00%", "75.00%", "75.00%"],
        ["own", "train", "Chemical", "1", "0.00%", "100.00%", "100.00%"],
        ["own", "train", "Disease", "3", "66.67%", "66.67%", "66.67%"],
        ["own", "test", "all", "1", "0", "–", "–", "–"],
    ]
    assert "Syn_cov total" in lines[0]
    assert coverage_table({}) == "no mentions\n"


TITLE = "Blue fever is also called azure fever in this invented title about nothing that anyone has written before."


def pubtator(path: Path, *ids: str) -> None:
    """Records of an own text with two mentions of one concept; texts differ by their id."""
    records = []
    for id in ids:
        rows = [f"{id}|t|{TITLE} {id}", f"{id}|a|", f"{id}\t0\t10\tBlue fever\tDisease\tD1"]
        records.append("\n".join([*rows, f"{id}\t26\t37\tazure fever\tDisease\tD1", ""]))
    path.write_text("\n".join(records) + "\n", encoding="utf-8")


def ran(capsys, *arguments) -> dict:
    assert module.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command(tmp_path, capsys):
    pubtator(tmp_path / "BC5CDR_TrainDev.PubTator", "101", "102")
    pubtator(tmp_path / "BC5CDR_Test.PubTator", "103")
    files = ["--umls", umls(tmp_path / "MRCONSO.RRF"), "--obo", obo(tmp_path / "own.obo")]
    result = ran(capsys, "--corpora", "bc5cdr", "--data_dir", tmp_path, *files)
    test = result["coverage"]["bc5cdr"]["test"]
    assert test["covered"] == {"corpora": 2, "umls": 1, "obo:own": 2, "total": 2}
    assert result["read"]["corpora"] == {"mentions": 4}
    assert module.main(["--corpora", "bc5cdr", "--data_dir", str(tmp_path), *map(str, files)]) == 0
    printed = capsys.readouterr().out
    assert ["bc5cdr", "test", "all", "1", "2", "100.00%", "50.00%", "100.00%", "100.00%"] in [
        line.split() for line in printed.splitlines()
    ]
    assert "umls: 10 rows" in printed


def test_command_takes_evaluation_documents_out_of_training(tmp_path, capsys):
    pubtator(tmp_path / "BC5CDR_TrainDev.PubTator", "101")
    pubtator(tmp_path / "NCBIdisease_Test.PubTator", "101")
    result = ran(capsys, "--corpora", "bc5cdr", "ncbi_disease", "--data_dir", tmp_path)
    assert result["read"] == {"removed_training_documents": 1, "corpora": {}}
    assert result["coverage"]["bc5cdr"]["train"]["covered"] == {"corpora": 0, "total": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpora", "bc5dcr"], "unknown corpus 'bc5dcr'; did you mean 'bc5cdr'"),
        (["--corpora", "bc5cdr"], "expected BC5CDR_TrainDev.PubTator, BC5CDR_Test.PubTator of .* got none; give their"),
    ],
)
def test_command_errors(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        module.main([*arguments, "--data_dir", str(tmp_path)])
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.real
@pytest.mark.skipif(not CORPORA.exists(), reason="the real corpora are not in ../shared")
@pytest.mark.parametrize("name", ["ncbi_disease", "bc5cdr"])
def test_real_corpora_against_a_twin(name):
    """Coverage counted from the files' cells: a test mention's text is another's text of the same single concept."""
    corpus, read = get_corpus(name), {}
    for split in ("train", "test"):
        path, format = corpus.files[split].find(CORPORA)
        read[split] = list(read_split(corpus, split, path, format=format))
    texts: dict[str, set[str]] = {}
    for line in corpus.files["train"].find(CORPORA)[0].read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if len(cells) == 6 and re.fullmatch(r"[A-Z]+\d+|OMIM:\d+|\d+", cells[5]):
            texts.setdefault(cells[5], set()).add(" ".join(cells[3].lower().split()))
    known = set().union(*(found for found in texts.values() if len(found) > 1))
    synonyms = from_training_documents(read["train"])
    # NCBI disease's one mention whose cell isn't its text is no name of its own.
    assert len(set(synonyms) ^ known) <= 1
    row = coverage(synonyms, {name: read})[name]["test"]
    texts = [normalise_name(document.surface(mention)) for document in read["test"] for mention in document.mentions]
    assert row["mentions"] == len(texts)
    assert abs(row["covered"]["total"] - sum(text in known for text in texts)) <= 1
