"""Synonyms: own invented names and documents, brute-force twins, and the real files."""

from __future__ import annotations

import configparser
import gzip
import json
import random
import re
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.data_builders import synonyms as module
from mosaic_ner.data_builders.corpora import get_corpus, read_split
from mosaic_ner.data_builders.synonyms import (
    UMLS_COLUMNS,
    SynonymError,
    Synonyms,
    collect,
    coverage,
    coverage_table,
    from_obo,
    from_training_documents,
    from_umls,
    mention_texts,
    normalise_name,
)
from mosaic_ner.modeling.document import Document, Mention

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
CORPORA, SLIM = SHARED / "corpora", SHARED / "ontologies" / "DO_cancer_slim.obo"

FEVERS = {"1": ["Blue  Fever", "azure fever", "BF"], "2": ["bf", "banana fruit"], "3": ["lonely"]}

OBO = """format-version: 1.2
ontology: own
import: http://example.invalid/other.obo

[Term]
id: OWN:1
name: Blue fever
synonym: "azure  Fever" EXACT []
synonym: "BF" EXACT OWN:abbreviation []
synonym: "fever" BROAD []

[Term]
id: OWN:2
name: old fever
synonym: "ancient fever" EXACT []
is_obsolete: true

[Term]
id: OWN:3
"""


def document(*mentions: tuple[str, str, str], corpus: str = "own", id: str = "1") -> Document:
    """A document of nothing but mentions: (text, type, identifiers separated by blanks)."""
    text, found = "", []
    for surface, type, identifiers in mentions:
        found.append(Mention(len(text), len(text) + len(surface), type, tuple(identifiers.split())))
        text += surface + " "
    return Document(id, corpus, text, tuple(found))


def row(cui: str, name: str, **fields: str) -> str:
    values = {"CUI": cui, "LAT": "ENG", "SAB": "MSH", "STR": name, "SUPPRESS": "N"} | fields
    return "".join(f"{values.get(column, '')}|" for column in UMLS_COLUMNS) + "\n"


ROWS = [
    row("C1", "Blue fever"),
    row("C2", "bf", SAB="SNOMEDCT_US"),
    row("C1", "BF", SAB="SNOMEDCT_US"),
    row("C1", "fièvre bleue", LAT="FRE"),
    row("C1", "obsolete fever", SUPPRESS="O"),
    row("C1", "edited fever", SUPPRESS="Y"),
    row("C1", "suppressed fever", SUPPRESS="E"),
    row("C2", "banana\u2028fruit"),
    row("C3", "yellow fever"),
    row("C3", "amber fever"),
]


def umls(path: Path, rows=ROWS) -> Path:
    path.write_bytes("".join(rows).encode())
    return path


def obo(path: Path, text: str = OBO) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


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


def test_choosing_is_decided_by_the_generator_and_reaches_every_synonym():
    synonyms = Synonyms(FEVERS)
    drawn = [synonyms.choose("BF", random.Random(seed)) for seed in range(50)]
    assert drawn == [Synonyms(dict(reversed(FEVERS.items()))).choose("bf", random.Random(seed)) for seed in range(50)]
    assert set(drawn) == set(synonyms["bf"])


def test_choosing_for_a_text_without_synonyms_draws_nothing():
    generator = random.Random(3)
    assert Synonyms(FEVERS).choose("lonely", generator) is None
    assert generator.getstate() == random.Random(3).getstate()


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


TRAINING = [document(("blue fever", "Disease", "D1"), ("azure fever", "Disease", "D1"), ("quartz", "Chemical", "D2"))]
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
    with pytest.raises(SynonymError, match=r"own.obo: .* needs pronto.*pip install 'mosaic-ner\[ontologies\]'"):
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
