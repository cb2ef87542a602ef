"""The label-mapping table against the papers, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from mosaic_ner.data_builders import mapping
from mosaic_ner.data_builders.corpora import CORPORA, TEN
from mosaic_ner.data_builders.mapping import (
    COLUMNS,
    SHARED_TYPES,
    SRUNER_TYPES,
    MappingError,
    load_label_mapping,
    read_mapping_rows,
)
from mosaic_ner.modeling.label_space import NEGATIVE

# CVAE-NER Table 7, turned round; the types in its caption have no counterpart.
TABLE_7 = {
    "bc5cdr": {"Disease": "Disease", "Chemical": "Chemical"},
    "bioid": {"CellLine": "CellLine"},
    "gnormplus": {"Gene": "Gene", "FamilyName": "Gene", "DomainMotif": None},
    "linnaeus": {"Species": "Species"},
    "ncbi_disease": dict.fromkeys(["DiseaseClass", "SpecificDisease", "CompositeMention", "Modifier"], "Disease"),
    "nlm_chem": {"Chemical": "Chemical", "NonStandardRef": None, "OTHER": None},
    "nlm_gene": {"Gene": "Gene", "FamilyName": "Gene"}
    | dict.fromkeys(["Cell", "DomainMotif", "ChromosomeLocation"], None),
    "s800": {"Species": "Species"},
    "tmvar3": dict.fromkeys(
        ["DNAMutation", "ProteinMutation", "OtherMutation", "AcidChange", "SNP", "DNAAllele", "ProteinAllele"],
        "Variant",
    )
    | {t: t for t in ["Disease", "Gene", "Species", "CellLine"]},
}
HEADER = "\t".join(COLUMNS) + "\n"


def table(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text(header + "".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_ten_corpora_have_the_papers_47_labels():
    space = load_label_mapping().restricted_to(TEN)
    natives = [(c, t) for c, t in space.labels if t != NEGATIVE]
    assert (len(natives), len(space.labels) - len(natives), len(space.labels)) == (37, 10, 47)


def test_shared_types_are_biored_s_in_order():
    space = load_label_mapping()
    assert tuple(space.shared_types) == SHARED_TYPES == tuple(space.native_types("biored"))
    assert next(iter(space.corpora)) == "biored"
    assert tuple(load_label_mapping(scheme="aioner").shared_types) == SHARED_TYPES


@pytest.mark.parametrize("corpus", TABLE_7)
def test_shared_scheme_is_table_7(corpus):
    assert load_label_mapping().corpora[corpus] == TABLE_7[corpus]


def test_aioner_scheme_uses_tmvar3_for_variants_only_and_the_rest_like_table_7():
    aioner, shared = load_label_mapping(scheme="aioner"), load_label_mapping()
    assert aioner.shared_types_of("tmvar3") == ["Variant"]
    assert aioner.shared_types_of("gnormplus") == aioner.shared_types_of("nlm_gene") == ["Gene"]
    assert aioner.shared("nlm_gene", "FamilyName") == "Gene"
    for corpus in set(TEN) - {"tmvar3"}:
        assert aioner.corpora[corpus] == shared.corpora[corpus]
    for corpus in set(CORPORA) - set(TEN):
        assert aioner.shared_types_of(corpus) == []


# SRU-NER Table 8, the six corpora of its multi-task experiment under this package's names.
TABLE_8 = {
    "bc2gm": {"GENE": "Gene"},
    "mtl_bc4chemd": {"Chemical": "Chemical"},
    "mtl_bc5cdr": {"Disease": "Disease", "Chemical": "Chemical"},
    "mtl_jnlpba": {"protein": "Gene", "DNA": "DNA", "RNA": "RNA", "cell_type": "CellType", "cell_line": "CellLine"},
    "mtl_linnaeus": {"Species": "Species"},
    "mtl_ncbi_disease": {"Disease": "Disease"},
}


SCAI = ("scai_chemicals", "scai_disease")


def test_sruner_scheme_is_table_8_with_eight_merged_of_eleven_types():
    space = load_label_mapping(scheme="sruner")
    assert {c: space.corpora[c] for c in TABLE_8} == TABLE_8
    six = space.restricted_to(TABLE_8)
    assert sum(len(types) for types in six.corpora.values()) == 11
    assert set(six.shared_types) == {"Gene", "Chemical", "Disease", "Species", "CellLine", *SRUNER_TYPES}
    assert space.corpora["genia"] == space.corpora["jnlpba"] == TABLE_8["mtl_jnlpba"]
    assert {c for c in CORPORA if c not in TEN} == {*TABLE_8, "genia", "jnlpba", "conll2003", "medmentions", *SCAI}


def test_corpora_of_other_experiments_share_what_sru_ner_measures_and_nothing_in_the_other_schemes():
    sruner = load_label_mapping(scheme="sruner")
    assert sruner.corpora["conll2003"] == {t: t for t in ("PER", "ORG", "LOC", "MISC")}  # Table 7
    assert {t: s for t, s in sruner.corpora["medmentions"].items() if s} == {"T103": "Chemical"}  # Table 10
    assert len(sruner.corpora["medmentions"]) == 21
    assert [sruner.shared_types_of(corpus) for corpus in SCAI] == [["Chemical"], ["Disease"]]  # Table 9
    for scheme in ("shared", "aioner"):
        space = load_label_mapping(scheme=scheme)
        assert not any(space.shared_types_of(corpus) for corpus in ("conll2003", "medmentions", *SCAI))


def test_sruner_scheme_is_the_shared_one_for_the_ten():
    sruner, shared = load_label_mapping(scheme="sruner"), load_label_mapping()
    for corpus in TEN:
        assert sruner.corpora[corpus] == shared.corpora[corpus]


def test_sru_ner_s_own_types_are_in_no_other_scheme_and_in_no_table_but_the_packaged_one(tmp_path):
    for scheme in ("shared", "aioner"):
        assert not set(load_label_mapping(scheme=scheme).shared_types) & set(SRUNER_TYPES)
    own = table(tmp_path / "own.tsv", "mine\tcell\t-\t-\tCellType\tme\t")
    with pytest.raises(MappingError, match=r"own\.tsv:2: sruner_type 'CellType' is no known shared type"):
        load_label_mapping(scheme="sruner", extra=own)
    # Named as for any new type: passed, or mapped from a native type of the same name.
    assert load_label_mapping(scheme="sruner", extra=own, new_types=SRUNER_TYPES).shared("mine", "cell") == "CellType"
    named = table(tmp_path / "named.tsv", "mine\tCellType\t-\t-\tCellType\tme\t", "mine\tcell\t-\t-\tCellType\tme\t")
    assert load_label_mapping(scheme="sruner", extra=named).shared("mine", "cell") == "CellType"


def test_a_misspelt_type_in_the_packaged_table_s_columns_is_an_error(tmp_path, monkeypatch):
    lines = mapping.DEFAULT_PATH.read_text(encoding="utf-8")
    copy = tmp_path / "label_mapping.tsv"
    copy.write_text(lines.replace("CellType", "CellTyp", 1), encoding="utf-8")
    monkeypatch.setattr(mapping, "DEFAULT_PATH", copy)
    with pytest.raises(MappingError, match=r"sruner_type 'CellTyp' .* did you mean 'CellType'"):
        load_label_mapping()


def test_a_table_without_the_scheme_s_column_means_the_shared_type(tmp_path):
    own = table(tmp_path / "own.tsv", "a\tb\tGene\t-", header="corpus\tnative_type\tshared_type\taioner_type\n")
    assert load_label_mapping(own, "sruner").corpora == {"a": {"b": "Gene"}}
    assert load_label_mapping(own, "aioner").corpora == {"a": {"b": None}}


def test_every_row_has_a_source_and_every_corpus_of_the_table_is_built_with_those_types():
    rows = read_mapping_rows()
    assert all(row.source for row in rows)
    space = load_label_mapping()
    assert list(space.corpora) == list(CORPORA)
    for name, corpus in CORPORA.items():
        assert set(space.native_types(name)) == set(corpus.types)


def test_extra_rows_are_added_and_replace_packaged_ones(tmp_path, caplog):
    extra = table(
        tmp_path / "own.tsv",
        "mine\tillness\tDisease",
        "mine\tPlant\tPlant",
        "jnlpba\tprotein\tGene",
        header="corpus\tnative_type\tshared_type\n",
    )
    space = load_label_mapping(extra=extra)
    assert space.corpora["mine"] == {"illness": "Disease", "Plant": "Plant"}
    assert space.shared("jnlpba", "protein") == "Gene"
    assert space.shared_types == [*SHARED_TYPES, "Plant"]
    assert load_label_mapping(scheme="aioner", extra=extra).shared("mine", "illness") == "Disease"
    assert "own.tsv:4: replaces the mapping of jnlpba:protein" in caplog.text


def test_new_types_are_declared_or_an_error(tmp_path):
    extra = table(tmp_path / "own.tsv", "mine\tillness\tDiseas\t-\t-\tme\t")
    with pytest.raises(MappingError, match=r"own\.tsv:2: shared_type 'Diseas' .* did you mean 'Disease'"):
        load_label_mapping(extra=extra)
    assert load_label_mapping(extra=extra, new_types=["Diseas"]).shared("mine", "illness") == "Diseas"


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([], "corpus\ttype\tshared_type\n", r"own\.tsv:1: expected the tab-separated columns corpus, native_type"),
        ([], "", r"own\.tsv:1: expected the tab-separated columns .* got nothing"),
        (["a\tb"], HEADER, r"own\.tsv:2: expected 7 tab-separated fields .* got 2"),
        (["a\tb\t\t-\t-\tme\t"], HEADER, r"own\.tsv:2: empty shared_type; .*'-'"),
        (
            ["a\tb\t-\t-\t-\tme\t", "", "a\tb\tGene\t-\t-\tme\t"],
            HEADER,
            r"own\.tsv:4: a:b is mapped twice, first at .*:2",
        ),
        (["a\tb\tGene\tGnee\t-\tme\t"], HEADER, r"own\.tsv:2: aioner_type 'Gnee' .* did you mean 'Gene'"),
        (["a\tb\tGene\t-\tGnee\tme\t"], HEADER, r"own\.tsv:2: sruner_type 'Gnee' .* did you mean 'Gene'"),
    ],
)
def test_bad_tables_name_file_and_line(tmp_path, lines, header, message):
    with pytest.raises(MappingError, match=message):
        load_label_mapping(table(tmp_path / "own.tsv", *lines, header=header))


def test_missing_table_wrong_encoding_and_unknown_scheme(tmp_path):
    with pytest.raises(MappingError, match="no such mapping table"):
        load_label_mapping(tmp_path / "nowhere.tsv")
    bad = tmp_path / "latin.tsv"
    bad.write_bytes(HEADER.encode() + "a\tb\tGene\t-\t-\tDoğan\t\n".encode("iso8859_9"))
    with pytest.raises(MappingError, match="not UTF-8"):
        load_label_mapping(bad)
    with pytest.raises(MappingError, match="did you mean 'aioner'"):
        load_label_mapping(scheme="aionar")


def test_a_byte_order_mark_and_crlf_are_accepted(tmp_path):
    path = tmp_path / "windows.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + "a\tb\tGene\t-\t-\tme\tnote\n").replace("\n", "\r\n").encode())
    assert load_label_mapping(path).corpora == {"a": {"b": "Gene"}}
