"""Every fault of a file: what each policy does about it, and what the message says."""

import json

import pytest
from mosaic_ner.data_builders.formats import (
    CAUSES,
    FORMATS,
    FormatError,
    ReadReport,
    detect_format,
    open_writer,
    read_documents,
    write_documents,
)
from mosaic_ner.modeling.document import Document, Mention, Passage


def failure(path, format=None, **options):
    with pytest.raises(FormatError) as caught:
        list(read_documents(path, format, **options))
    return caught.value


def file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def bioc(text, *annotations, offset=0):
    """A BioC JSON collection of one document of one passage; annotations are (offset, length, text)."""
    items = [
        {"id": "1", "infons": {"type": "G"}, "text": t, "locations": [{"offset": a, "length": n}]}
        for a, n, t in annotations
    ]
    passages = [{"offset": offset, "infons": {}, "text": text, "annotations": items}]
    return json.dumps({"documents": [{"id": "7", "infons": {}, "passages": passages}]})


XML = "<collection><document><id>7</id>{}</document></collection>"
PASSAGE = "<passage><offset>{}</offset><text>{}</text>{}</passage>"
IOB = "a\tO\n\nb\tB-X\n"

# name of the file, content, line, document, parts of the message
DAMAGE = {
    "cells": ("x.pubtator", "1|t|ab\n1\t0\t1\n", 2, "1", ["5 or 6 tab-separated", "3 cells", "stray tab"]),
    "letters": ("x.pubtator", "1|t|ab\n1\tx\t1\ta\tG\n", 2, "1", ["start offset", "'x'", "code points"]),
    "digits": ("x.pubtator", "1|t|ab\n1\t0\t１\ta\tG\n", 2, "1", ["end offset", "'１'"]),
    "no type": ("x.pubtator", "1|t|ab\n1\t0\t1\ta\t\n", 2, "1", ["an entity type", "empty"]),
    "no title": ("x.pubtator", "1\t0\t1\ta\tG\n", 1, None, ["title line ID|t|title", "blank line"]),
    "abstract first": ("x.pubtator", "1|a|ab\n", 1, "1", ["title line 1|t| first"]),
    "two abstracts": ("x.pubtator", "1|t|a\n1|a|b\n1|a|c\n", 3, "1", ["one abstract"]),
    "abstract of another": ("x.pubtator", "1|t|a\n2|a|b\n", 2, "2", ["a line of '1'", "line 1"]),
    "mention of another": ("x.pubtator", "1|t|a\n\n2|t|b\n1\t0\t1\tb\tG\n", 4, "2", ["a line of '2'", "one of '1'"]),
    "latin-1": ("x.pubtator", b"1|t|ab\n1|a|caf\xe9\n", 2, None, ["0xe9 at byte offset 14", "iconv -f WINDOWS-1252"]),
    "utf-16": ("x.pubtator", "1|t|a\n".encode("utf-16"), 1, None, ["byte offset 0", "iconv -f UTF-16"]),
    "latin-1 text": ("x.txt", b"\xef\xbb\xbfcaf\xe9", None, None, ["0xe9", "UTF-8"]),
    "tag": ("x.tsv", "a\tO\nb\tQ-X\n", 2, None, ["O, B-type or I-type", "'Q-X'", "IOBES", "tag_column"]),
    "one cell": ("x.tsv", "a\tO\nb\n", 2, None, ["a token and a tag", "'b'"]),
    "late docstart": ("x.tsv", "a\tO\n\n-DOCSTART-\n", 3, None, ["-DOCSTART- from the first line"]),
    "json": ("x.jsonl", '{"id": "1",\n', 1, None, ["a JSON object", "column", "one complete JSON object a line"]),
    "array": ("x.jsonl", "[]\n", 1, None, ["as a JSON object", "[]"]),
    "key": ("x.jsonl", '{"id": "1", "text": "", "mention": []}', 1, "1", ["'mention'", "did you mean 'mentions'"]),
    "mention key": (
        "x.jsonl", '{"id": "1", "text": "a", "mentions": [{"start": 0, "end": 1, "types": "G"}]}', 1, "1",
        ["only the keys start, end", "'types'", "did you mean 'type'"],
    ),
    "missing": ("x.jsonl", '\n{"id": "1"}', 2, "1", ["the key 'text'", "add it"]),
    "value": ("x.jsonl", '{"id": 1.5, "text": ""}', 1, "1.5", ["'id' of a record of type str", "got 1.5"]),
    "truth": ("x.jsonl", '{"id": "1", "text": "", "index": true}', 1, "1", ["'index'", "True"]),
    "passage": ("x.jsonl", '{"id": "1", "text": "", "passages": [{"start": 0, "end": 1}]}', 1, "1", ["[0, 1)"]),
    "id": ("x.jsonl", '{"id": "", "text": ""}', 1, None, ["a document id", "empty"]),
    "not json": ("x.json", "{", None, None, ["valid JSON"]),
    "no documents": ("x.json", '{"a": {"documents": []}}', None, None, ["'documents'", "jsonl"]),
    "overlap": (
        "x.xml", XML.format(PASSAGE.format(0, "abc", "") + PASSAGE.format(2, "d", "")), 1, "7",
        ["at 3 or later", "offset 2", "without overlap"],
    ),
    "gap": ("x.xml", XML.format(PASSAGE.format(10**9, "abc", "")), 1, "7", ["a gap of at most", "1000000000"]),
    "no offset": ("x.xml", XML.format("<passage><text>a</text></passage>"), 1, "7", ["passage's offset", "None"]),
    "markup": ("x.xml", XML.format(PASSAGE.format(0, "a <i>b</i>", "")), 1, None, ["text in <text>", "<i>"]),
    "not xml": ("x.xml", "<collection>\n<document>", 2, None, ["well-formed XML"]),
    "html": ("x.xml", "<html/>", None, None, ["<collection>", "<html>"]),
    "bytes": ("x.json", bioc("ββ A", (5, 1, "A")), None, "7", ["code points", "offsets look like UTF-8 bytes"]),
    "utf-16 units": ("x.json", bioc("𝛼𝛼 AB", (5, 2, "AB")), None, "7", ["offsets look like UTF-16 code units"]),
    "bytes in a late passage": (
        "x.json", bioc("éé A", (105, 1, "A"), offset=100), None, "7", ["offsets look like UTF-8 bytes"],
    ),
    "gzip": ("x.jsonl.gz", b"{}", None, None, ["gzip", "drop .gz"]),
}  # fmt: skip


@pytest.mark.parametrize("policy", ["strict", "lenient"])
@pytest.mark.parametrize(("name", "content", "line", "document", "parts"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_an_error_under_every_policy(name, content, line, document, parts, policy, tmp_path):
    path = file(tmp_path, name, content)
    error = failure(path, policy=policy)
    assert (error.path, error.line, error.document) == (str(path), line, document)
    message = str(error)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    for part in [*parts, "expected", "got"]:
        assert part in message


# name of the file, content, cause, parts of the strict message, mentions kept under "lenient"
FAULTS = {
    "mismatch": ("x.pubtator", "1|t|ab\n1\t0\t1\tb\tG\n", "text_mismatch", ["'a'", "'b'"], [Mention(0, 1, "G")]),
    "outside": ("x.pubtator", "1|t|ab\n1\t1\t3\tb\tG\n", "outside_text", ["2 characters", "[1, 3)"], []),
    "negative": ("x.pubtator", "1|t|ab\n1\t-1\t1\ta\tG\n", "outside_text", ["[-1, 1)"], []),
    "empty": ("x.pubtator", "1|t|ab\n1\t1\t1\t\tG\n", "outside_text", ["[1, 1)"], []),
    "extra": ("x.pubtator", "1|t|a\n1\t0\t1\ta\tG\t5\tn\n", "extra_field", ["'n'"], [Mention(0, 1, "G", ("5",))]),
    "json outside": (
        "x.jsonl", '{"id": "1", "text": "a", "mentions": [{"start": 0, "end": 2, "type": "G"}]}', "outside_text",
        ["[0, 2)"], [],
    ),
    "bioc mismatch": ("x.json", bioc("β A", (0, 1, "A")), "text_mismatch", ["'β'", "'A'"], [Mention(0, 1, "G")]),
    "bioc outside": ("x.json", bioc("ab", (1, 5, "b")), "outside_text", ["[1, 6)"], []),
    "token": ("x.tsv", "\tO\nb\tB-G\n", "empty_token", ["first cell"], [Mention(0, 1, "G")]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "cause", "parts", "mentions"), FAULTS.values(), ids=FAULTS)
def test_faults_are_errors_when_strict_and_counted_when_published(name, content, cause, parts, mentions, tmp_path):
    path = file(tmp_path, name, content)
    message = str(failure(path))
    for part in [*parts, "policy='lenient'", cause]:
        assert part in message
    report = ReadReport()
    (document,) = read_documents(path, policy="lenient", report=report)
    assert list(document.mentions) == mentions
    assert report.counts == {cause: 1}
    assert report.mentions == 1


# name of the file, content, counts under any policy, mentions of the first document
ACCEPTED = {
    "relation": ("x.pubtator", "1|t|ab\n1\tCID\tD1\tD2\n1\tBind\t12\tD2\tNovel\n", {"relation": 2}, 0),
    "crlf": ("x.pubtator", "1|t|ab\r\n1\t0\t2\tab\tG\r\n\r\n", {"crlf": 1}, 1),
    "bom": ("x.pubtator", "\ufeff1|t|ab\n1\t0\t2\tab\tG", {"bom": 1}, 1),
    "duplicate": (
        "x.pubtator",
        "1|t|ab\n1\t0\t1\ta\tG\n1\t0\t1\ta\tG\n1\t0\t1\ta\tG\t5\n",
        {"duplicate_mention": 1},
        2,
    ),
    "empty": ("x.pubtator", "1|t| \n1|a|\n", {"empty_document": 1}, 0),
    "iob1": ("x.tsv", "a\tI-G\nb\tI-G\nc\tI-H\n\n", {"iob1_start": 2}, 2),
    "no location": ("x.xml", XML.format(PASSAGE.format(0, "abc", '<annotation id="4"/>')), {"no_location": 1}, 0),
    "bom json": ("x.json", "\ufeff" + bioc("ab", (0, 1, "a")), {"bom": 1}, 1),
}


@pytest.mark.parametrize("policy", ["strict", "lenient"])
@pytest.mark.parametrize(("name", "content", "counts", "mentions"), ACCEPTED.values(), ids=ACCEPTED)
def test_oddities_are_accepted_and_counted(name, content, counts, mentions, policy, tmp_path):
    report = ReadReport()
    document = next(documents := read_documents(file(tmp_path, name, content), policy=policy, report=report))
    assert list(documents) == []
    assert len(document.mentions) == mentions
    assert report.counts == counts
    assert set(counts) <= set(CAUSES)


def test_a_record_without_a_blank_line_before_it(tmp_path):
    path = file(tmp_path, "x.pubtator", "1|t|a\n1\t0\t1\ta\tG\n2|t|b\n")
    assert (failure(path).line, failure(path).document) == (3, "2")
    report = ReadReport()
    first, second = read_documents(path, policy="lenient", report=report)
    assert (first.id, len(first.mentions), second.id) == ("1", 1, "2")
    assert report.counts == {"missing_blank_line": 1}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("x.pubtator", "1|t|a\n\n1|t|b\n\n1|t|c\n", 3),
        ("x.jsonl", '{"id": "1", "text": "a"}\n{"id": "1", "text": "b"}\n{"id": "1", "text": "c"}\n', 2),
        ("x.conll", "-DOCSTART- (1)\na\tO\n-DOCSTART- (1)\nb\tO\n-DOCSTART- (1)\nc\tO\n", 3),
    ],
)
def test_repeated_ids(name, content, line, tmp_path):
    path = file(tmp_path, name, content)
    for error in (failure(path), failure(path, policy="lenient", repeated_ids="error")):
        assert (error.line, error.document) == (line, "1")
        assert "repeated_ids='index'" in str(error)
    report = ReadReport()
    documents = list(read_documents(path, repeated_ids="index", report=report))
    assert [(d.text, d.index) for d in documents] == [("a", 0), ("b", 1), ("c", 2)]
    assert report.counts == {"repeated_id": 2}
    assert list(read_documents(path, policy="lenient")) == documents


def test_jsonl_records_with_an_index_of_their_own_are_not_repeats(tmp_path):
    records = [{"id": "1", "text": "b", "index": 1}, {"id": "1", "text": "a"}]
    path = file(tmp_path, "x.jsonl", "\n".join(map(json.dumps, records)))
    assert [(d.text, d.index) for d in read_documents(path)] == [("b", 1), ("a", 0)]


def test_brat_keeps_entities_and_counts_the_rest(tmp_path):
    file(tmp_path, "x.txt", "ab\ncd")
    lines = [
        "T1\tG 0 4\tab c",
        "T2\tG 0 1;3 4\ta c",
        "N1\tReference T1 NCBI:5 x\tab",
        "R1\tr Arg1:T1 Arg2:T2",
        "#1\tn T1\tx",
    ]
    file(tmp_path, "x.ann", "\n".join(lines))
    for path in (tmp_path, tmp_path / "x.ann"):
        report = ReadReport()
        (document,) = read_documents(path, report=report)
        assert document.mentions == (Mention(0, 4, "G", ("NCBI:5 x",)),)
        assert report.counts == {"discontinuous": 1, "not_kept": 2}


def test_brat_needs_both_files(tmp_path):
    file(tmp_path, "x.ann", "T1\tG 0 1\ta")
    assert "the text x.txt" in str(failure(tmp_path))
    (tmp_path / "x.ann").rename(tmp_path / "y.ann")
    file(tmp_path, "y.txt", "a")
    file(tmp_path, "z.txt", "b")
    assert "z.ann beside z.txt" in str(failure(tmp_path))
    report = ReadReport()
    assert [len(d.mentions) for d in read_documents(tmp_path, policy="lenient", report=report)] == [1, 0]
    assert report.counts == {"no_annotation_file": 1}
    error = failure(file(tmp_path, "y.ann", "T1 G 0 1 a") and tmp_path / "y.ann")
    assert (error.line, error.document) == (1, "y")
    assert "separate the three by tabs" in str(error)


# --- choosing formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.PubTator", "pubtator"), ("a.pubtator.txt", "pubtator"), ("a.XML", "bioc_xml"), ("a.bioc.xml", "bioc_xml"),
        ("a.bioc.json", "bioc_json"), ("a.json.gz", "bioc_json"), ("a.jsonl", "jsonl"), ("a.ann", "brat"),
        ("a.iob2", "iob2"), ("a.tsv", "iob2"), ("a.b.txt", "text"),
    ],
)  # fmt: skip
def test_formats_follow_from_the_ending(name, format):
    assert detect_format(name) == format


def test_wrong_arguments_fail_at_once_and_name_the_nearest(tmp_path):
    path = file(tmp_path, "x.pubtater", "")
    with pytest.raises(FormatError, match=r"'\.pubtater'.*did you mean '\.pubtator'") as caught:
        read_documents(path)
    assert all(ending in str(caught.value) for endings, _ in FORMATS.values() for ending in endings)
    with pytest.raises(FormatError, match="did you mean 'pubtator'"):
        read_documents(path, "pubtatr")
    with pytest.raises(FormatError, match="did you mean 'published'"):
        read_documents(path, "pubtator", policy="publish")
    with pytest.raises(FormatError, match="error, index"):
        read_documents(path, "pubtator", repeated_ids="both")
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_documents(tmp_path / "nothing.txt")
    with pytest.raises(FormatError, match=r"a folder with \.pubtater"):
        read_documents(tmp_path)


def test_pubtator_named_txt_is_not_taken_for_text(tmp_path):
    path = file(tmp_path, "corpus.txt", "1|t|title\n1|a|abstract\n")
    report = ReadReport()
    assert [d.text for d in read_documents(path, report=report)] == ["title abstract"]
    assert report.counts == {"format_by_content": 1}
    assert [d.text for d in read_documents(path, "text")] == ["1|t|title\n1|a|abstract\n"]


@pytest.mark.parametrize(
    ("format", "document", "part"),
    [
        ("pubtator", Document("a\tb", "user", "t"), "document id"),
        ("pubtator", Document("1", "user", "t", (Mention(0, 1, "a\tb"),)), "entity type"),
        ("pubtator", Document("1", "user", "t", (Mention(0, 1, "G", ("a\nb",)),)), "identifier"),
        ("bioc_xml", Document("\x00", "user", "t"), "document id"),
        ("bioc_xml", Document("1", "user", "t", infons=(("k", "\x01"),)), "infon"),
        ("iob2", Document("1", "user", "t", (Mention(0, 1, "a\tb"),)), "entity type"),
        ("brat", Document("1", "user", "t", (Mention(0, 1, "cell line"),)), "entity type"),
        ("brat", Document("x" * 300, "user", "t"), "240 bytes"),
        ("jsonl", Document("", "user", "t"), "document id"),
    ],
)
def test_documents_that_a_format_cannot_hold(format, document, part, tmp_path):
    with pytest.raises(FormatError, match=part) as caught:
        write_documents([document], tmp_path / "x", format)
    assert caught.value.document == document.id
    assert "JSONL" in str(caught.value) or format == "jsonl"
    assert list(tmp_path.iterdir()) == []


def test_formats_that_cannot_be_written(tmp_path):
    with pytest.raises(FormatError, match=r"plain text, which would lose them; write one of pubtator"):
        write_documents([], tmp_path / "x.txt")
    with pytest.raises(FormatError, match="for reading only"):
        open_writer(tmp_path / "x", "genia_jsonl")
    (tmp_path / "b").mkdir()
    file(tmp_path / "b", "x.ann", "")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_documents([], tmp_path / "b")


def test_resuming_needs_a_position_inside_the_file(tmp_path):
    path = file(tmp_path, "x.jsonl", "12345")
    for position in (None, 6):
        with pytest.raises(FormatError, match="file of 5 bytes"):
            open_writer(path, documents_written=1, position=position)
    assert path.read_text() == "12345"


# --- reports ----------------------------------------------------------------------------------------------------------


def test_losses_of_writing_are_counted(tmp_path):
    document = Document(
        "1", "user", "a\nb \ud800",
        (Mention(0, 1, "G", ("x;y",), 0.5),), article="2", infons=(("k", "v"),),
        passages=(Passage(0, 2), Passage(1, 3)),
    )  # fmt: skip
    assert write_documents([document], tmp_path / "x.pubtator").counts == {
        "score_not_written": 1, "infons_not_written": 1, "article_not_written": 1, "identifier_split": 1,
        "whitespace_replaced": 1, "character_replaced": 1, "passages_not_written": 1,
    }  # fmt: skip
    assert [d.text for d in read_documents(tmp_path / "x.pubtator")] == ["a b \ufffd"]
    report = write_documents([document], tmp_path / "x.xml")
    assert report.counts == {"identifier_split": 1, "character_replaced": 1, "passages_not_written": 1}
    assert not write_documents([document], tmp_path / "x.jsonl").counts


def test_nested_mentions_left_out_of_iob2_are_logged(tmp_path, caplog):
    document = Document("1", "user", "a b", (Mention(0, 1, "G"), Mention(0, 3, "G")))
    write_documents([document], tmp_path / "x.iob")
    assert "nested_not_written: 1 (50.00% of 2 mentions)" in caplog.text
    assert [d.mentions for d in read_documents(tmp_path / "x.iob")] == [(Mention(0, 3, "G"),)]


def test_reports_add_up():
    one, two = ReadReport(), ReadReport()
    one.documents, one.mentions, two.mentions = 1, 30, 10
    for number in range(5):
        one.add("text_mismatch", f"x:{number}", "detail")
    two.add("text_mismatch", "y:1", count=5)
    two.add("own cause", "z")
    two.merge(one)
    assert two.counts == {"text_mismatch": 10, "own cause": 1}
    assert two.examples["text_mismatch"] == ["y:1", "x:0: detail", "x:1: detail"]
    assert "1 documents, 40 mentions" in two.summary()
    assert "text_mismatch: 10 (25.00% of 40 mentions)" in two.summary()
    assert json.loads(json.dumps(two.to_dict()))["counts"] == {"text_mismatch": 10, "own cause": 1}
