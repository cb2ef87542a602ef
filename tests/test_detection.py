"""Which format a file is taken for where its words look like another's, and files that are read by pieces."""

from __future__ import annotations

import json
import os
import threading

import pytest
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents, write_documents
from mosaic_ner.data_builders.formats.detect import format_of_content
from mosaic_ner.modeling.document import Document, Mention

BIOC = {"source": "", "date": "", "key": "", "infons": {}, "documents": [
    {"id": "1", "infons": {}, "passages": [
        {"offset": 0, "infons": {}, "text": "Role of B-cell lymphoma.", "annotations": [], "relations": [], "sentences": []}
    ], "annotations": [], "relations": []}
]}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "Role of B-cell lymphoma 2 in cancer.\n", "Role of B-cell lymphoma 2 in cancer.\n"),
        ("a.txt", "Expression of E-cadherin", "Expression of E-cadherin"),
        ("a.txt", "lm() says Pr(>|t|) = 0.01, and |a| is\n1", "lm() says Pr(>|t|) = 0.01, and |a| is\n1"),
        ("a.jsonl", json.dumps({"id": "1", "text": "Role of B-cell lymphoma."}), "Role of B-cell lymphoma."),
        ("a.jsonl", json.dumps({"id": "1", "text": "A model with |t| > 2"}), "A model with |t| > 2"),
        ("a.json", json.dumps(BIOC), "Role of B-cell lymphoma."),
    ],
)
def test_words_that_look_like_tags_or_titles_make_no_format(tmp_path, name, content, text):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert [d.text for d in read_documents(tmp_path / name)] == [text]


def test_tags_and_titles_are_still_told(tmp_path):
    for content, expected in (
        ("p53\tB-Gene\n", "iob2"),
        ("BRCA1 B-Gene\nis O\nit O\n", "iob2"),
        ("my doc 1|t|Title\nmy doc 1|a|Abstract\n", "pubtator"),
    ):
        (tmp_path / "x").write_text(content)
        assert format_of_content(tmp_path / "x") == expected


@pytest.mark.parametrize("format", [None, "jsonl"])
def test_the_start_of_a_pipe_is_not_lost(tmp_path, format):
    pipe = tmp_path / "a.jsonl"
    os.mkfifo(pipe)
    # A reader that opened it would wait for a writer, and this one for a reader.
    writer = threading.Thread(target=lambda: pipe.open("w").close(), daemon=True)
    writer.start()
    with pytest.raises(FormatError, match=r"got a pipe; .*pipe it to `mosaic-ner tag -`"):
        list(read_documents(pipe, format))


def test_all_texts_of_a_folder_are_read_beside_brat_pairs(tmp_path):
    for name in ("a.txt", "B.TXT", "d.md"):
        (tmp_path / name).write_text("Aspirin helps.")
    (tmp_path / "a.ann").write_text("T1\tChemical 0 7\tAspirin\n")
    assert [d.id for d in read_documents(tmp_path, policy="lenient")] == ["B", "a"]
    report = ReadReport()
    assert [d.id for d in read_documents(tmp_path, "text", report=report)] == ["B", "a"]
    assert report.counts["file_not_read"] == 2  # a.ann, d.md


@pytest.mark.parametrize("padding", range(48))
def test_halves_of_a_pair_are_put_together_wherever_a_piece_ends(tmp_path, padding):
    alpha = "&#xD835;&#xDEFC;"
    body = f"{'x' * padding}{alpha}-synuclein (P &lt; 0.05) "
    text = body * 3000
    plain = text.replace(alpha, "\U0001d6fc").replace("&lt;", "<")
    (tmp_path / "a.xml").write_text(
        "<collection><source/><date/><key/><document><id>1</id><passage><offset>0</offset>"
        f"<text>{text}</text></passage></document></collection>"
    )
    report = ReadReport()
    (document,) = read_documents(tmp_path / "a.xml", report=report)
    assert document.text == plain
    assert not report.counts["lone_surrogate"]


def test_a_bioc_annotation_without_an_id_is_written_as_xml(tmp_path):
    content = json.loads(json.dumps(BIOC))
    content["documents"][0]["passages"][0]["annotations"] = [
        {"infons": {"type": "Cell"}, "locations": [{"offset": 8, "length": 6}], "text": "B-cell"}
    ]
    (tmp_path / "a.json").write_text(json.dumps(content))
    documents = list(read_documents(tmp_path / "a.json", keep_source=True))
    write_documents(documents, tmp_path / "a.bioc.xml")
    (again,) = read_documents(tmp_path / "a.bioc.xml")
    assert again.mentions == (Mention(8, 14, "Cell"),)


def test_what_a_document_declares_is_counted_where_a_format_loses_it(tmp_path):
    unclear = (Mention(0, 7, "Gene"),)
    document = Document("1", "own", "Aspirin", (), annotated_types=frozenset({"Gene"}), unclear=unclear)
    for name, lost in (("a.pubtator", 1), ("a.bioc.xml", 1), ("a.jsonl", 0)):
        report = write_documents([document], tmp_path / name)
        assert report.counts["annotated_types_not_written"] == report.counts["unclear_not_written"] == lost, name


def test_a_text_that_begins_with_a_byte_order_mark_keeps_its_offsets_in_brat(tmp_path):
    document = Document("1", "own", "\ufeffAspirin", (Mention(1, 8, "Chemical"),))
    report = write_documents([document], tmp_path / "out", "brat")
    (again,) = read_documents(tmp_path / "out")
    assert [again.surface(m) for m in again.mentions] == ["Aspirin"]
    assert report.counts["character_replaced"] == 1
