"""The corpora table, the statistics against the papers and ../shared/corpora/README.md, and the data card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.data_builders.corpora import CORPORA, DEV_IDS_PATH, TEN, CorpusError, get_corpus, read_split
from mosaic_ner.data_builders.data_card import (
    AIONER_TABLE_1,
    CARD_PATH,
    EXPLAINED,
    NOT_EXPLAINED,
    TABLE_5,
    TABLE_6,
    built_statistics,
    data_card,
    main,
    statistics,
)
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.windowing import split_sentences

REAL = Path(__file__).resolve().parents[2] / "shared" / "corpora"

# ../shared/corpora/README.md: documents, mentions in the file, nested pairs, mentions whose offsets don't fit the text.
README = {
    ("biored", "train+validation"): (500, 16884, 0, 0),
    ("biored", "test"): (100, 3535, 0, 0),
    ("bc5cdr", "train"): (1000, 18974, 0, 0),
    ("bc5cdr", "test"): (500, 9796, 0, 0),
    ("bioid", "train"): (9704, 4137, 0, 1),
    ("bioid", "test"): (3993, 1453, 0, 0),
    ("gnormplus", "train"): (432, 5793, 0, 35),
    ("gnormplus", "test"): (262, 4849, 2, 4),
    ("linnaeus", "train"): (80, 2321, 0, 0),
    ("linnaeus", "test"): (20, 576, 0, 0),
    ("ncbi_disease", "train"): (693, 5932, 0, 1),
    ("ncbi_disease", "test"): (100, 960, 0, 0),
    ("nlm_chem", "test"): (3428, 12411, 0, 0),
    ("nlm_gene", "train"): (450, 13797, 86, 11),
    ("nlm_gene", "test"): (100, 3053, 18, 0),
    ("s800", "train"): (639, 3053, 0, 0),
    ("s800", "test"): (160, 739, 0, 0),
    ("tmvar3", "train"): (342, 7957, 0, 21),
    ("tmvar3", "test"): (158, 4625, 1, 0),
    ("jnlpba", "train"): (2000, 51301, 0, 0),
    ("jnlpba", "test"): (404, 8662, 0, 0),
    ("genia", "validation"): (1765, 4714, 444, 0),
}


def real(test):
    """Marks a test that reads the real corpora; it is skipped without them."""
    return pytest.mark.real(pytest.mark.skipif(not REAL.is_dir(), reason="no real corpora in ../shared")(test))


def test_the_ten_and_the_dev_ids():
    assert [name for name in CORPORA if name in TEN] == list(TEN) == list(TABLE_6)
    ids = DEV_IDS_PATH.read_text(encoding="ascii").split()
    assert len(ids) == len(set(ids)) == 100
    biored = get_corpus("biored")
    assert biored.files["train"] == biored.files["validation"]
    assert biored.has(ids[0], "validation")
    assert not biored.has(ids[0], "train")
    assert biored.has(ids[0], "test")


def test_table_5_adds_up():
    for row in TABLE_5.values():
        assert sum(n for name, n in row.items() if name not in ("documents", "all")) == row["all"]


@pytest.mark.parametrize(
    ("corpus", "id", "article"),
    [
        ("biored", "10491763", "pmid:10491763"),
        ("bioid", "43047311009", "pmcid:4304731"),
        ("linnaeus", "2567314", "pmcid:2567314"),
        ("nlm_chem", "16336672", "pmid:16336672"),
        ("jnlpba", "98281994-2", "medline:98281994"),
        ("genia", "MEDLINE:93061407", "medline:93061407"),
        ("bc2gm", "BC2GM_train:7", "bc2gm.train:BC2GM_train:7#0"),
    ],
)
def test_article_rules(corpus, id, article):
    assert get_corpus(corpus).article(Document(id, corpus, "text"), "train") == article


def test_unknown_corpus_gets_the_nearest():
    with pytest.raises(CorpusError, match="did you mean 'ncbi_disease'"):
        get_corpus("ncbi-disease")


def test_statistics_count_nested_pairs():
    mentions = [Mention(0, 10, "A"), Mention(0, 4, "B"), Mention(5, 10, "B"), Mention(6, 12, "A"), Mention(12, 13, "A")]
    counts = statistics([Document("1", "c", "x" * 20, tuple(mentions)), Document("1", "c", "y", index=1)])
    assert (counts.documents, counts.articles, counts.characters, counts.mentions) == (2, 1, 21, 5)
    assert counts.nested_pairs == 2
    assert counts.types == {"A": 3, "B": 2}


def test_bc4chemd_is_read_from_a_folder_by_the_types_and_splits_of_its_row(tmp_path):
    sentences = {"train": "Brominated\tB-Chemical\ndust\tI-Chemical\n.\tO\n", "devel": "No\tO\nsalt\tB-Chemical\n"}
    for part, text in sentences.items():
        (tmp_path / f"BC4CHEMD_{part}.tsv").write_text(text + "\n" + "of\tO\nzinc\tB-Chemical\n\n")
    documents = load_corpus("mtl_bc4chemd", tmp_path, tmp_path / "cache")
    assert set(documents) == {"train", "validation"}
    first, second = documents["train"]
    assert (first.text, [first.surface(m) for m in first.mentions]) == ("Brominated dust .", ["Brominated dust"])
    assert [m.key for m in second.mentions] == [(3, 7, "Chemical")]
    assert first.annotated_types == {"Chemical"}
    assert len({d.article for split in documents.values() for d in split}) == 4
    urls = [file.url for file in get_corpus("mtl_bc4chemd").files.values()]
    assert [url.split("/data/")[1] for url in urls] == [f"BC4CHEMD/{n}.tsv" for n in ("train", "devel", "test")]


CONLL = """-DOCSTART- -X- -X- O

Nolan NNP {0}-NP {0}-PER
Brook NNP I-NP I-PER
left VBD {0}-VP O
Oslo NNP {0}-NP {0}-LOC
Bergen NNP B-NP B-LOC
. . O O

He PRP {0}-NP O

-DOCSTART- -X- -X- O

Rain NNP {0}-NP {0}-MISC

"""


def test_conll_2003_is_read_alike_in_the_tags_of_the_shared_task_and_of_the_archive(tmp_path):
    """IOB1 under the shared task's names, IOB2 under the archive's; two mentions of a type side by side stay two."""
    read = []
    for tag, names in (("I", ("eng.train", "eng.testa", "eng.testb")), ("B", ("train.txt", "valid.txt", "test.txt"))):
        folder = tmp_path / tag
        folder.mkdir()
        for name in names:
            (folder / name).write_text(CONLL.format(tag))
        read.append(load_corpus("conll2003", folder, tmp_path / "cache"))
    assert read[0] == read[1]
    first, second = read[0]["validation"]
    assert first.text == "Nolan Brook left Oslo Bergen .\nHe"
    found = [(first.surface(m), m.type) for m in first.mentions]
    assert found == [("Nolan Brook", "PER"), ("Oslo", "LOC"), ("Bergen", "LOC")]
    assert (second.text, second.article) == ("Rain", "conll2003.validation:conll2003_valid:2#0")
    assert first.annotated_types == {"PER", "ORG", "LOC", "MISC"}


def test_jnlpba_of_the_multi_task_collection_is_abstracts_with_a_sentence_a_line(tmp_path):
    abstract = "-DOCSTART-\tO\n\nmiR-9\tB-RNA\nfalls\tO\n\nIn\tO\nHeLa\tB-cell_line\ncells\tI-cell_line\n\n"
    for part, count in (("train", 3), ("devel", 2), ("test", 1)):
        (tmp_path / f"JNLPBA_{part}.tsv").write_text(abstract * count)
    splits = load_corpus("mtl_jnlpba", tmp_path, tmp_path / "cache")
    assert {split: len(documents) for split, documents in splits.items()} == {"train": 3, "validation": 2, "test": 1}
    assert splits["test"][0].text == "miR-9 falls\nIn HeLa cells"
    assert [splits["test"][0].surface(m) for m in splits["test"][0].mentions] == ["miR-9", "HeLa cells"]
    assert [split_sentences(d.text) for d in splits["validation"]] == [[(0, 12), (12, 25)]] * 2


def test_scai_s_texts_are_spaced_as_their_offsets_say_and_in_latin_1(tmp_path):
    rows = ["###\t7", "3\u00b5g\t5\t8\t3\u00b5g salt\t|B-SUM", "salt\t9\t13\t\t|I-SUM", ",\t13\t14\t\t|O"]
    rows += ["zinc\t16\t20\tzinc\t|B-IUPAC", "iron\t20\t24\tiron\t|B-IUPAC", "", "###\t8", "no\t0\t2\t\t|O", ""]
    rows += ["###\t9", "salt\t0\t4\tsalt\t|B-SUM"]
    path = tmp_path / "chemicals-test-corpus-27-04-2009-v3.iob"
    path.write_bytes("\r\n".join(rows).encode("latin-1"))
    for part, ids in (("train", "8"), ("dev", "9"), ("test", "7\n")):
        (tmp_path / f"scai_chemicals.{part}").write_text(ids)
    splits = load_corpus("scai_chemicals", tmp_path, tmp_path / "cache")
    (document,) = splits["test"]
    assert (document.text, document.article) == ("3\u00b5g salt,  zinciron", "pmid:7")
    found = [(document.surface(m), m.type) for m in document.mentions]
    assert found == [("3\u00b5g salt", "SUM"), ("zinc", "IUPAC"), ("iron", "IUPAC")]
    assert [d.text for d in splits["train"]] == ["no"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zinc\t0\t4\t|B-IUPAC", "expected token, start, end, mention and a tag"),
        ("zinc\t0\t4\tzinc\t|X", "expected token, start, end, mention and a tag"),
        ("zinc\t0\tfour\tzinc\t|O", "expected an offset as a number"),
        ("zinc\t0\t4\tzinc\t|O\nsalt\t99999\t100003\t\t|O", "expected at most 10000 characters between two tokens"),
    ],
)
def test_lines_that_are_not_scai_s_are_errors_with_their_place(tmp_path, line, message):
    path = tmp_path / "a.iob"
    path.write_text(f"###\t7\n{line}\n")
    with pytest.raises(FormatError, match=rf"a\.iob:[23]: document '7': {message}"):
        list(read_documents(path, "scai"))
    path.write_text(line)
    with pytest.raises(FormatError, match=r"a\.iob:1: expected ### and an id before the first token"):
        list(read_documents(path, "scai"))


@pytest.fixture(scope="module")
def built():
    return built_statistics(REAL)


@real
@pytest.mark.parametrize(("name", "split"), README)
def test_files_hold_what_their_readme_says(name, split):
    corpus, report = get_corpus(name), ReadReport()
    first, *rest = split.split("+")
    path, format = corpus.files[first].find(REAL)
    documents = list(read_split(corpus, first, path, format=format, report=report))
    for other in rest:
        documents += read_split(corpus, other, path, format=format)
    counts = statistics(documents)
    faults = report.counts["text_mismatch"] + report.counts["outside_text"]
    assert (report.documents, report.mentions, counts.nested_pairs, faults) == README[name, split]
    assert (counts.documents, counts.mentions + report.counts["outside_text"]) == README[name, split][:2]
    assert set(counts.types) <= set(corpus.types)
    assert not set(report.counts) - {"text_mismatch", "outside_text", "repeated_id"}


@real
def test_biored_is_table_5(built):
    splits, _ = built["biored"]
    for split, published in TABLE_5.items():
        counts = {"documents": splits[split].documents, "all": splits[split].mentions} | splits[split].types
        assert counts == published


@real
def test_sizes_are_table_6_or_explained(built):
    for name, published in TABLE_6.items():
        full = "full texts" in get_corpus(name).text
        size = sum(s.articles if full else s.documents for s in built[name][0].values())
        assert size == published or (name, published, size) in EXPLAINED
    differ = {name for name, published, size in EXPLAINED if TABLE_6[name] == published}
    assert differ == {"nlm_chem", "s800"}
    assert len(AIONER_TABLE_1) == 11


@real
def test_every_native_type_occurs_and_no_other(built):
    for name, (splits, _) in built.items():
        found = {t for counts in splits.values() for t in counts.types}
        assert found == set(get_corpus(name).types if splits else ())  # not every corpus is in ../shared


@real
def test_the_card_is_up_to_date_and_holds_no_path(built, monkeypatch, capsys):
    monkeypatch.setattr("mosaic_ner.data_builders.data_card.built_statistics", lambda *_: built)
    card = data_card(REAL)
    assert card == CARD_PATH.read_text(encoding="utf-8")
    assert NOT_EXPLAINED not in card
    assert not re.search(r"(?<![\w/:.])/(work|tmp|home|root|usr)\b|\.\./", card)
    assert main(["--data_dir", str(REAL)]) == 0
    assert capsys.readouterr().out == card


@real
@pytest.mark.parametrize("name", CORPORA)
def test_the_builder_gives_what_the_files_hold(name, tmp_path):
    corpus = get_corpus(name)
    if not any(file.find(REAL) for file in corpus.files.values()):
        pytest.skip(f"{name} is not in ../shared")
    documents = load_corpus(name, REAL, tmp_path)
    assert documents
    for split, docs in documents.items():
        path, format = corpus.files[split].find(REAL)
        assert docs == list(read_split(corpus, split, path, format=format))


@real
def test_no_mention_of_bioid_s_revision_ends_in_cells(tmp_path):
    plain, clean = (load_corpus("bioid", REAL, tmp_path, clean_suffix=flag) for flag in (False, True))
    assert plain == clean
