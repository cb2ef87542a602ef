"""Sources of synonyms: concept identifiers of the training documents, UMLS, ontologies; all together."""

from __future__ import annotations

import configparser
import gzip
import re
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from helpers_synonyms import OBO, ROWS, TRAINING, document, obo, row, umls
from mosaic_ner.data_builders.extras import ExtraError
from mosaic_ner.data_builders.synonym_index import mention_texts
from mosaic_ner.data_builders.synonym_sources import (
    SynonymError,
    collect,
    from_obo,
    from_training_documents,
    from_umls,
)
from mosaic_ner.data_builders.synonyms import coverage

ROOT = Path(__file__).resolve().parents[1]
SLIM = ROOT.parent / "shared" / "ontologies" / "DO_cancer_slim.obo"


def test_mentions_that_share_an_identifier_are_synonyms():
    training = [
        document(("Blue fever", "Disease", "D1"), ("quartz", "Chemical", "D2")),
        document(("azure  fever", "Symptom", " D1"), ("BLUE fever", "Disease", "D1"), id="2"),
    ]
    assert dict(from_training_documents(training)) == {"azure fever": ("blue fever",), "blue fever": ("azure fever",)}
    assert dict(from_training_documents(reversed(training))) == dict(from_training_documents(training))
    assert from_training_documents(training).provenance("blue fever") == {"azure fever": ("corpora",)}
    assert dict(from_training_documents(training, wanted=["Azure fever"])) == {"azure fever": ("blue fever",)}


def test_identifiers_are_those_of_their_corpus():
    training = [document(("blue fever", "Disease", "D1")), document(("azure fever", "Disease", "D1"), corpus="other")]
    assert dict(from_training_documents(training)) == {}


def test_bare_numbers_are_those_of_their_type():
    training = [document(("catgene", "Gene", "9685"), ("cat", "Species", "9685"), ("Felis", "Species", "9685"))]
    assert dict(from_training_documents(training)) == {"cat": ("felis",), "felis": ("cat",)}


@pytest.mark.parametrize("identifier", ["", "-", "-1", "MESH:-", "MESH:-1", "None", "CUI-less", "N/A", "null"])
def test_placeholders_are_no_identifiers(identifier):
    counts = Counter()
    training = [document(("blue fever", "Disease", identifier), ("quartz", "Chemical", identifier))]
    assert dict(from_training_documents(training, counts=counts)) == {}
    assert counts == {"mentions": 2, "without_identifier": 2}


@pytest.mark.parametrize("identifier", ["D1|D2", "D1,D2", "D1+D2", "D1 D2", "MESH:D1,MESH:D2"])
def test_mentions_of_several_concepts_make_no_synonyms(identifier):
    counts = Counter()
    training = [document(("red and blue fever", "Disease", identifier), ("both fevers", "Disease", identifier))]
    assert dict(from_training_documents(training, counts=counts)) == {}
    assert counts == {"mentions": 2, "composite": 2}


def test_a_placeholder_beside_an_identifier_does_not_make_it_composite():
    training = [document(("blue fever", "Disease", "- D1"), ("azure fever", "Disease", "D1"))]
    assert set(from_training_documents(training)) == {"blue fever", "azure fever"}


def test_the_organism_of_a_cell_line_is_not_its_name():
    counts = Counter()
    lines = [("Xyz-1", "CellLine", "9606"), ("Qrs-2", "CellLine", "9606")]
    known = [("Abc-3", "CellLine", "CVCL_1"), ("Abc 3", "CellLine", "CVCL_1")]
    synonyms = from_training_documents([document(*lines, *known)], counts=counts)
    assert set(synonyms) == {"abc-3", "abc 3"}
    assert counts == {"mentions": 4, "organism_only": 2}


EVALUATION = [
    document(("secret fever", "Disease", "D1"), ("blue fever", "Disease", "D1"), id="e"),
    document(("crystal", "Chemical", "D2"), ("quartz", "Chemical", "D2"), id="f"),
]


def test_evaluation_documents_change_nothing():
    alone = collect(TRAINING, mention_texts(TRAINING))
    synonyms = collect(TRAINING, mention_texts([*TRAINING, *EVALUATION]))
    report = coverage(synonyms, {"own": {"train": TRAINING, "test": EVALUATION}})
    assert dict(synonyms) == dict(alone) == {"azure fever": ("blue fever",), "blue fever": ("azure fever",)}
    # A mention of an evaluation document is covered where its text is one of training, not by its identifier.
    assert report["own"]["test"]["covered"] == {"corpora": 1, "total": 1}
    # The documents would have changed it, had they been given as training documents.
    leaked = from_training_documents([*TRAINING, *EVALUATION])
    assert leaked["blue fever"] == ("azure fever", "secret fever")
    assert leaked["quartz"] == ("crystal",)


def test_umls_names_of_the_wanted_concepts(tmp_path):
    counts = Counter()
    synonyms = from_umls(umls(tmp_path / "MRCONSO.RRF"), ["BF", "lonely"], counts=counts)
    assert dict(synonyms) == {"bf": ("banana fruit", "blue fever")}
    assert synonyms.sources == ("umls",)
    assert [concept.identifier for concept in synonyms.concepts("bf")] == ["C2", "C1"]
    assert counts == {"rows": 10, "other_language": 1, "suppressed": 3, "concepts": 2}


def test_umls_filters(tmp_path):
    path = umls(tmp_path / "MRCONSO.RRF")
    assert from_umls(path, ["bf"], vocabularies=["SNOMEDCT_US"]).get("bf") is None
    assert from_umls(path, ["blue fever"], vocabularies=["MSH"], languages=None)["blue fever"] == ("fièvre bleue",)
    assert from_umls(path, ["bf"], languages=["ENG", "FRE"])["bf"] == ("banana fruit", "blue fever", "fièvre bleue")
    # A name that the filters leave out finds no concept either.
    assert dict(from_umls(path, ["fièvre bleue", "obsolete fever"])) == {}


def test_umls_compressed(tmp_path):
    plain, packed = umls(tmp_path / "MRCONSO.RRF"), tmp_path / "MRCONSO.RRF.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert dict(from_umls(packed, ["bf", "amber fever"])) == dict(from_umls(plain, ["bf", "amber fever"]))


def test_umls_is_streamed(tmp_path):
    path = umls(tmp_path / "MRCONSO.RRF", [*ROWS, *(row(f"C{n}", f"name {n} " * 20) for n in range(10, 20_000))])
    from_umls(path, ["bf"])
    tracemalloc.start()
    from_umls(path, ["bf"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 10


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*ROWS[:2], "C1|ENG|P\n"],
            r"RRF:3: expected 18 fields \(CUI, .*, CVF\), each followed by '\|', got 3; is this",
        ),
        ([ROWS[0], row("C1", "a|b")], "RRF:2: expected 18 fields .* got 20"),
        ([ROWS[0][:-20]], "RRF:1: expected 18 fields"),
        (["\n"], "RRF:1: expected 18 fields"),
        ([row("", "blue fever")], "RRF:1: expected a CUI in the first field"),
        ([], "RRF: expected rows with LAT 'ENG', got none"),
        ([row("C1", "bleu", LAT="FRE")], "RRF: expected rows with LAT 'ENG', got none; known: FRE"),
    ],
)
def test_umls_faults(tmp_path, rows, message):
    with pytest.raises(SynonymError, match=message):
        from_umls(umls(tmp_path / "MRCONSO.RRF", rows), ["bf"])


def test_umls_that_is_not_there_needs_a_licence(tmp_path):
    for path, got in ((tmp_path / "MRCONSO.RRF", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(
            SynonymError, match=f"{path}: expected UMLS's MRCONSO.RRF, got {got}; UMLS needs a licence .*"
        ):
            from_umls(path, ["bf"])


def test_umls_that_is_damaged(tmp_path):
    packed, latin = tmp_path / "MRCONSO.RRF.gz", tmp_path / "latin.RRF"
    packed.write_bytes(gzip.compress("".join(ROWS).encode())[:-20])
    with pytest.raises(SynonymError, match=r"RRF.gz:\d+: expected a whole gzip file, .* download it again"):
        from_umls(packed, ["bf"])
    packed.write_bytes("".join(ROWS).encode())
    with pytest.raises(SynonymError, match=r"RRF.gz:1: expected a whole gzip file"):
        from_umls(packed, ["bf"])
    latin.write_bytes("".join(ROWS[:4]).encode("latin-1"))
    with pytest.raises(SynonymError, match=r"latin.RRF:4: expected UTF-8, got .* at byte \d+ of the line"):
        from_umls(latin, ["bf"])


def test_a_misspelt_vocabulary_is_an_error(tmp_path):
    with pytest.raises(SynonymError, match="SAB 'MESH', got none; did you mean 'MSH'"):
        from_umls(umls(tmp_path / "MRCONSO.RRF"), ["bf"], vocabularies=["SNOMEDCT_US", "MESH"])


def test_ontology_terms_and_exact_synonyms(tmp_path):
    counts = Counter()
    synonyms = from_obo(obo(tmp_path / "own.2026.obo"), counts=counts)
    assert dict(synonyms) == {
        "azure fever": ("bf", "blue fever"),
        "bf": ("azure fever", "blue fever"),
        "blue fever": ("azure fever", "bf"),
    }
    assert synonyms.sources == ("obo:own",)
    assert counts == {"terms": 3, "obsolete": 1, "other_scope": 1}
    assert dict(from_obo(tmp_path / "own.2026.obo", ["BF"])) == {"bf": ("azure fever", "blue fever")}


def test_ontology_scopes_and_compression(tmp_path):
    packed = tmp_path / "own.obo.gz"
    packed.write_bytes(gzip.compress(OBO.encode()))
    assert from_obo(packed, scopes=["BROAD"])["blue fever"] == ("fever",)
    assert from_obo(packed, scopes=["BROAD", "EXACT"])["blue fever"] == ("azure fever", "bf", "fever")
    with pytest.raises(SynonymError, match="unknown synonym scope 'EXCAT'; did you mean 'EXACT'"):
        from_obo(packed, scopes=["EXCAT"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OBO + "name blue\n", r"own.obo:20: expected an ontology that pronto can read, got"),
        ("hello\n", r"own.obo: expected an ontology that pronto can read, got"),
        ("", r"own.obo: expected an ontology that pronto can read, got"),
        (OBO + "is_a: OWN:7\n", r"own.obo: expected all terms .* got none with id 'OWN:7'; imports are not loaded"),
    ],
)
def test_ontology_faults(tmp_path, text, message):
    with pytest.raises(SynonymError, match=message):
        from_obo(obo(tmp_path / "own.obo", text))


def test_an_ontology_that_is_not_there(tmp_path):
    with pytest.raises(
        SynonymError, match=r"none.obo: expected an OBO file, got no such file; ontologies are at https"
    ):
        from_obo(tmp_path / "none.obo")


def test_without_pronto_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pronto", None)
    with pytest.raises(ExtraError, match=r"own.obo: .* needs pronto.*pip install 'mosaic-ner\[ontologies\]'"):
        from_obo(obo(tmp_path / "own.obo"))


def test_the_extra_is_declared():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    assert "pronto" in extras["ontologies"]
    assert "pronto" in extras["test"]
    assert "pronto" not in setup["options"]["install_requires"]


def test_all_sources_together(tmp_path):
    counts = {}
    synonyms = collect(
        TRAINING,
        ["Blue fever", "quartz"],
        umls=umls(tmp_path / "MRCONSO.RRF"),
        obo=[obo(tmp_path / "own.obo")],
        counts=counts,
    )
    assert synonyms.sources == ("corpora", "umls", "obo:own")
    assert synonyms.provenance("blue fever") == {"azure fever": ("corpora", "obo:own"), "bf": ("umls", "obo:own")}
    assert set(synonyms) == {"blue fever"}
    assert set(counts) == set(synonyms.sources)


@pytest.mark.real
@pytest.mark.skipif(not SLIM.exists(), reason="the ontology is not in ../shared")
def test_real_ontology_against_a_twin():
    """The file's own lines, read by hand."""
    expected: dict[str, set[str]] = {}
    for stanza in SLIM.read_text(encoding="utf-8").split("\n\n"):
        if "[Term]" in stanza and "is_obsolete: true" not in stanza:
            names = re.findall(r"^name: (.*)$", stanza, re.M)
            names += re.findall(r'^synonym: "((?:[^"\\]|\\.)*)" EXACT', stanza, re.M)
            names = {" ".join(re.sub(r"\\(.)", r"\1", name).lower().split()) for name in names}
            for name in names if len(names) > 1 else ():
                expected.setdefault(name, set()).update(names - {name})
    counts = Counter()
    synonyms = from_obo(SLIM, counts=counts)
    assert dict(synonyms) == {name: tuple(sorted(others)) for name, others in expected.items()}
    assert len(synonyms) > 1000
    assert counts["obsolete"] == 1
