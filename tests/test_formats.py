"""Round trips, any Unicode, resuming and streaming of the readers and writers."""

import gzip
import io
import json
import re
import tempfile
from pathlib import Path

import bioc.biocjson
import bioc.biocxml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.formats import (
    DocumentWriter,
    FormatError,
    ReadReport,
    open_writer,
    read_documents,
    write_documents,
)
from mosaic_ner.modeling.document import Document, Mention, Passage

SINGLE_FILE = ("pubtator", "bioc_xml", "bioc_json", "jsonl", "iob2")
ENDING = {
    "pubtator": ".PubTator",
    "bioc_xml": ".bioc.xml",
    "bioc_json": ".json",
    "jsonl": ".jsonl",
    "iob2": ".tsv",
    "brat": "",
}
# Astral, combining, line separators, zero width, tabs, controls, markup: what offsets and line formats trip over.
ODD = "\U0001d6fc\U0001f9ec\u0301\u2028\u2029\x85\u200b\ufeff\t\n\r\x0b\x1c\x00\xa0&<>|;\"'\\"
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def texts(extra=ODD, **characters):
    characters.setdefault("exclude_categories", ["Cs"])
    alphabet = st.one_of(st.sampled_from("ab AB 1-."), st.sampled_from(extra), st.characters(**characters))
    return st.text(alphabet, min_size=1, max_size=40)


@st.composite
def documents(draw, text=None, passages=False):
    """Documents with distinct ids to be set by the test, nested and overlapping mentions, identifiers and scores."""
    text = draw(texts() if text is None else text)
    spans = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))).filter(lambda span: span[0] < span[1])
    mentions = [
        Mention(
            *span,
            draw(st.sampled_from(["Gene", "Disease", "cell_line"])),
            tuple(draw(st.lists(st.sampled_from(["MESH:D1", "77", "a|b,c", "*"]), max_size=2))),
            draw(st.one_of(st.none(), st.integers(0, 10_000).map(lambda n: n / 10_000))),
        )
        for span in draw(st.lists(spans, max_size=5))
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4))) if passages else []
    kinds = ["title", "abstract", "paragraph"]
    parts = tuple(Passage(a, b, k, (("n", k),)) for a, b, k in zip(cuts, cuts[1:], kinds, strict=False))
    return Document("1", "user", text, passages=parts).with_mentions(dict.fromkeys(mentions))


def write_and_read(document, format, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x" + ENDING[format])
        report = write_documents([document], path, format)
        (back,) = read_documents(path, format, **options)
    return back, report


def scores(document):
    return [mention.score for mention in document.mentions]


def example(number=0, **fields):
    """A document that every format holds exactly, apart from what the test adds."""
    text = "BRCA1 in mice\nA β-globin variant"
    mentions = (Mention(0, 5, "Gene", ("672",)), Mention(9, 13, "Species"), Mention(16, 24, "Gene", ("3043", "x")))
    return Document(f"d{number}", "user", text, mentions, **fields)


# --- identity ---------------------------------------------------------------------------------------------------------


@PROPERTY
@given(documents(passages=True), st.text(min_size=1, max_size=9), st.integers(0, 3))
def test_jsonl_holds_all_of_a_document(document, id, index):
    document = Document(
        id, "corpus", document.text, document.mentions, frozenset({"Gene", "x"}), index, "article", document.passages,
        (("k", "1"), ("k", "2")),
    )  # fmt: skip
    back, report = write_and_read(document, "jsonl")
    assert back == document
    assert scores(back) == scores(document)
    assert not report.counts


def test_jsonl_replaces_lone_surrogates_and_leaves_defaults_out(tmp_path):
    plain = Document("1", "user", "a")
    write_documents([plain, Document("2", "user", "a\ud800b")], tmp_path / "x.jsonl")
    assert json.loads((tmp_path / "x.jsonl").read_bytes().splitlines()[0]) == {"id": "1", "text": "a", "mentions": []}
    report = ReadReport()
    assert [d.text for d in read_documents(tmp_path / "x.jsonl", report=report)] == ["a", "a\ufffdb"]
    assert report.counts == {"lone_surrogate": 1}


@PROPERTY
@given(documents(passages=True))
def test_bioc_json_keeps_text_mentions_passages_and_scores(document):
    back, report = write_and_read(document, "bioc_json")
    assert (back.text, back.mentions, back.passages) == (document.text, document.mentions, document.passages)
    assert scores(back) == scores(document)
    assert not report.counts


@PROPERTY
@given(documents(passages=True))
def test_bioc_xml_keeps_everything_but_characters_that_xml_lacks(document):
    back, report = write_and_read(document, "bioc_xml")
    lacking = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
    assert back.text == lacking.sub(" ", document.text)
    assert (back.mentions, back.passages) == (document.mentions, document.passages)
    assert scores(back) == scores(document)
    assert report.counts["character_replaced"] == len(lacking.findall(document.text))


@PROPERTY
@given(documents())
def test_pubtator_keeps_offsets_whatever_the_text(document):
    back, report = write_and_read(document, "pubtator")
    assert back.text == re.sub("[\n\r]", " ", document.text)
    assert back.mentions == document.mentions
    assert report.counts["score_not_written"] == sum(score is not None for score in scores(document))
    again, report = write_and_read(back, "pubtator")
    assert again == back
    assert not report.counts


@PROPERTY
@given(documents())
def test_brat_keeps_text_and_mentions(document):
    back, _ = write_and_read(document, "brat")
    assert (back.id, back.text, back.mentions) == (document.id, document.text, document.mentions)


@PROPERTY
@given(documents())
def test_iob2_keeps_every_mention_it_does_not_count(document):
    back, report = write_and_read(document, "iob2")
    assert "".join(back.text.split()) == "".join(document.text.split())
    lost = report.counts["nested_not_written"] + report.counts["blank_mention_not_written"]
    assert len(back.mentions) == len(document.mentions) - lost
    assert report.counts["text_respaced"] == (back.text != document.text)
    surfaces = {"".join(document.surface(m).split()) for m in document.mentions}
    assert {"".join(back.surface(m).split()) for m in back.mentions} <= surfaces
    again, report = write_and_read(back, "iob2")
    assert again == back
    assert not report.counts


@pytest.mark.parametrize("format", [*SINGLE_FILE, "brat"])
def test_reading_what_was_written_from_a_file_is_the_identity(format, tmp_path):
    """A file's documents survive a second trip whole, ids, passages and order included."""
    write_documents([example(n) for n in range(12)], tmp_path / "a", format)
    first = list(read_documents(tmp_path / "a", format, corpus="c", annotated_types=["Gene"]))
    write_documents(first, tmp_path / "b", format)
    second = list(read_documents(tmp_path / "b", format, corpus="c", annotated_types=["Gene"]))
    assert first == second
    assert {document.id for document in first} == {f"d{n}" for n in range(12)}
    assert {document.corpus for document in first} == {"c"}
    assert {document.annotated_types for document in first} == {frozenset({"Gene"})}
    assert [len(document.mentions) for document in first] == [3] * 12


@pytest.mark.parametrize("format", ["pubtator", "bioc_xml", "bioc_json", "jsonl", "iob2", "brat"])
def test_records_that_share_an_id_are_told_apart_by_index(format, tmp_path):
    documents = [Document("7", "user", f"text {n}", index=n) for n in range(3)]
    write_documents(documents, tmp_path / "x", format)
    back = list(read_documents(tmp_path / "x", format, repeated_ids="index"))
    assert [(d.id, d.index, d.text) for d in back] == [("7", 0, "text 0"), ("7", 1, "text 1"), ("7", 2, "text 2")]


def test_pubtator_title_ends_at_the_passage_else_at_the_first_line_end(tmp_path):
    passages = (Passage(0, 3, "title"), Passage(4, 11, "abstract"))
    documents = [
        Document("1", "user", "One two\nsix", passages=passages),
        Document("2", "user", "One two\nsix"),
        Document("3", "user", "One two"),
        Document("4", "user", "One two\n"),
    ]
    write_documents(documents, tmp_path / "x.pubtator")
    assert (tmp_path / "x.pubtator").read_text().split("\n\n")[:-1] == [
        "1|t|One\n1|a|two six", "2|t|One two\n2|a|six", "3|t|One two\n3|a|", "4|t|One two \n4|a|",
    ]  # fmt: skip


def test_pubtator_abstract_may_contain_tabs_and_bars(tmp_path):
    path = tmp_path / "x.pubtator"
    path.write_text("1|t|A|t|b\tc\n1|a|x\t0\t1\ty\n1\t2\t5\tt|b\tGene\t5|6;,\n1\t8\t11\tx 0\tGene\n")
    (document,) = read_documents(path)
    assert document.text == "A|t|b\tc x\t0\t1\ty"
    assert document.mentions == (Mention(2, 5, "Gene", ("5|6", ",")), Mention(8, 11, "Gene"))


def test_identifiers_are_split_at_semicolons_alone(tmp_path):
    path = tmp_path / "x.pubtator"
    path.write_text("1|t|ab\n1\t0\t1\ta\tGene\tMESH:D1|D2,x; y;\n1\t1\t2\tb\tGene\t\n")
    (document,) = read_documents(path)
    assert [mention.identifiers for mention in document.mentions] == [("MESH:D1|D2,x", " y", ""), ()]
    write_documents([document], tmp_path / "y.pubtator")
    assert list(read_documents(tmp_path / "y.pubtator")) == [document]


def test_docstart_lines_separate_documents_and_sentences_are_joined_by_line_ends(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("-DOCSTART- -X- O\n\nA NN B-G\nb NN I-G\n\nC NN B-G\n-DOCSTART- (id 9)\nd NN O\n")
    one, two = read_documents(path)
    assert (one.id, one.text, one.mentions) == ("x:1", "A b\nC", (Mention(0, 3, "G"), Mention(4, 5, "G")))
    assert (two.id, two.text, two.mentions) == ("id 9", "d", ())


def test_iob2_cuts_tokens_at_mentions_and_counts_what_it_cannot_express(tmp_path):
    document = Document("1", "user", "p53-null -DOCSTART-").with_mentions(
        [Mention(0, 3, "Gene"), Mention(1, 3, "Gene"), Mention(3, 4, "Other")]
    )
    report = write_documents([document], tmp_path / "x.iob")
    tokens = (tmp_path / "x.iob").read_text().split("\n")[1:6]
    assert tokens == ["p53\tB-Gene", "-\tB-Other", "null\tO", "-\tO", "DOCSTART-\tO"]
    assert (report.counts["resplit_token"], report.counts["nested_not_written"]) == (3, 1)


def test_genia_token_offsets_become_characters(tmp_path):
    mentions = [
        {"start": 0, "end": 2, "entity_type": "DNA", "text": "jun B"},
        {"start": 0, "end": 1, "entity_type": "P"},
    ]
    record = {"tokens": ["jun", "B", "x"], "doc_id": "M:1", "sent_id": "M:1-0", "entity_mentions": mentions}
    (tmp_path / "g").write_text(json.dumps(record))
    (document,) = read_documents(tmp_path / "g", "genia_jsonl")
    assert (document.id, document.article, document.text) == ("M:1-0", "M:1", "jun B x")
    assert document.mentions == (Mention(0, 3, "P"), Mention(0, 5, "DNA"))


def test_brat_file_names_are_safe_and_turn_back_into_ids(tmp_path):
    ids = ["../a/b", "x:1", "ü %41", "a+1", "a", "A"]
    write_documents([Document(id, "user", "t") for id in ids], tmp_path / "out")
    assert all(re.fullmatch(r"[A-Za-z0-9._%+ -]+", file.name) for file in (tmp_path / "out").iterdir())
    back = list(read_documents(tmp_path / "out", repeated_ids="index"))
    assert sorted(document.id for document in back) == sorted(ids)


def test_plain_text_is_one_document_a_file_with_offsets_as_in_the_file(tmp_path):
    (tmp_path / "b.txt").write_bytes("\ufeffone\r\ntwo".encode())
    (tmp_path / "a.txt").write_text("three")
    report = ReadReport()
    assert [(d.id, d.text) for d in read_documents(tmp_path, report=report)] == [("a", "three"), ("b", "one\r\ntwo")]
    assert report.counts == {"bom": 1, "crlf": 1}
    assert [d.text for d in read_documents(tmp_path / "a.txt")] == ["three"]


# --- BioC as others write and read it ---------------------------------------------------------------------------------


BIOC = """<?xml version="1.0"?><!DOCTYPE collection SYSTEM "BioC.dtd"><collection><source>s</source><date/><key/>
<document><id>9</id><infon key="journal">J</infon>
<passage><infon key="section">T</infon><infon key="type">title</infon><offset>2</offset><text>&#946;A<!-- c --> b</text>
 <annotation id="1"><infon key="type">Gene</infon><infon key="NCBI Gene">1;2</infon><infon key="note">n</infon>
  <location offset="2" length="2"/><text>&#946;A</text></annotation>
 <annotation id="2"><infon key="type">Gene</infon><location offset="2" length="1"/><location offset="5" length="1"/>
  <text>x</text></annotation>
 <relation id="R1"><node refid="1" role=""/></relation></passage>
<passage><offset>8</offset><sentence><offset>8</offset><text>One.</text></sentence>
 <sentence><offset>13</offset><text>Two.</text><annotation id="3"><infon key="type">N</infon>
 <infon key="score">0.25</infon><location offset="13" length="3"/><text>Two</text></annotation></sentence></passage>
</document></collection>"""


def test_bioc_passages_stand_at_their_offsets(tmp_path):
    (tmp_path / "x.xml").write_text(BIOC)
    report = ReadReport()
    (document,) = read_documents(tmp_path / "x.xml", report=report)
    assert document.text == "  βA b  One. Two."
    assert document.mentions == (Mention(2, 4, "Gene", ("1", "2")), Mention(13, 16, "N"))
    assert scores(document) == [None, 0.25]
    assert document.passages == (Passage(2, 6, "title", (("section", "T"),)), Passage(8, 17))
    assert document.infons == (("journal", "J"),)
    assert report.counts == {"infon_not_kept": 1, "discontinuous": 1, "relation": 1}
    assert report.mentions == 3


def test_the_bioc_package_reads_what_is_written(tmp_path):
    document = example(article="PMC1", infons=(("k", "v"),))
    write_documents([document, document], tmp_path / "x.bioc.xml")
    write_documents([document, document], tmp_path / "x.json")
    with open(tmp_path / "x.bioc.xml", "rb") as xml, open(tmp_path / "x.json", encoding="utf-8") as js:
        for collection in (bioc.biocxml.load(xml), bioc.biocjson.load(js)):
            found = [
                (a.infons["type"], a.total_span.offset, a.text) for a in collection.documents[1].passages[0].annotations
            ]
            assert found == [(m.type, m.start, document.surface(m)) for m in document.mentions]
    assert next(iter(read_documents(tmp_path / "x.json"))) == document


@pytest.mark.parametrize("wrap", ["[{}]", '{{"PubTator3": {}}}'])
def test_bioc_json_of_public_services_is_read(wrap, tmp_path):
    node = {"id": 5, "infons": {"year": 2020}, "passages": [{"offset": 0, "text": "ab", "infons": {"type": "title"}}]}
    inner = json.dumps({"documents": [node]}) if wrap.startswith("[") else json.dumps([node])
    (tmp_path / "x.json").write_text(wrap.format(inner))
    (document,) = read_documents(tmp_path / "x.json")
    assert (document.id, document.text, document.infons) == ("5", "ab", (("year", "2020"),))


# --- writing in pieces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", SINGLE_FILE)
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_resumed_writing_equals_uninterrupted_writing(format, stop, tmp_path):
    documents = [example(n) for n in range(4)]
    write_documents(documents, tmp_path / "whole", format)
    writer = open_writer(tmp_path / "part", format)
    position = 0
    for number, document in enumerate(documents[: stop + 1]):
        writer.write(document)
        if number + 1 == stop:
            position = writer.position
    writer.close(complete=False)
    with open_writer(tmp_path / "part", format, documents_written=stop, position=position) as writer:
        for document in documents[stop:]:
            writer.write(document)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("format", SINGLE_FILE)
def test_no_documents_still_make_a_readable_file(format, tmp_path):
    write_documents([], tmp_path / "x", format)
    assert list(read_documents(tmp_path / "x", format)) == []


def test_brat_documents_written_again_replace_their_files(tmp_path):
    with open_writer(tmp_path, "brat") as writer:
        writer.write(Document("1", "user", "old"))
    with open_writer(tmp_path, "brat", documents_written=0) as writer:
        writer.write(Document("1", "user", "new"))
    assert [d.text for d in read_documents(tmp_path)] == ["new"]


def test_a_text_handle_gets_the_same_characters():
    binary, text = io.BytesIO(), io.StringIO()
    for handle in (binary, text):
        with DocumentWriter(handle, "bioc_json") as writer:
            writer.write(example())
    assert binary.getvalue().decode() == text.getvalue()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.pubtator"
    path.write_text("old")
    with pytest.raises(FormatError, match="document id"):
        write_documents([example(), Document("a|b", "user", "t")], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_gz_files_are_written_reproducibly_and_read(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_documents([example()], tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).startswith(b'{"id": "d0"')
    assert list(read_documents(tmp_path / "a.jsonl.gz")) == [example()]


# --- streaming --------------------------------------------------------------------------------------------------------


class Counting(io.RawIOBase):
    """A readable that says how much was taken from it."""

    def __init__(self, data):
        self.data, self.taken = io.BytesIO(data), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        count = self.data.readinto(buffer)
        self.taken += count
        return count


@pytest.mark.parametrize("format", SINGLE_FILE)
def test_the_first_document_comes_before_the_file_is_read(format):
    whole = io.BytesIO()
    with DocumentWriter(whole, format) as writer:
        for number in range(4000):
            writer.write(example(number))
    raw = Counting(whole.getvalue())
    found = read_documents(io.BufferedReader(raw), format)
    assert raw.taken == 0
    assert next(found).id == "d0"
    assert raw.taken < 150_000 < len(whole.getvalue()) / 2
    assert sum(1 for _ in found) == 3999
    assert raw.taken == len(whole.getvalue())
