"""Outputs written piece by piece: nothing under the final name before the end, the same bytes after an interruption."""

from __future__ import annotations

import json

import pytest
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.prediction.resumable_output import JournalError, ResumableOutput, fingerprint

KEY = {"model": "m", "input": "i"}
ENDINGS = [".pubtator", ".xml", ".json", ".jsonl", ".iob2"]
DOCUMENTS = [
    Document("1", "user", "Case of TP53 𝔤 here.", (Mention(8, 12, "Gene", score=0.5),)),
    Document("2", "user", "Nothing"),
    Document("3", "user", "é𝔤 BRCA1", (Mention(3, 8, "Gene", score=0.25),)),
    Document("4", "user", "The end of TP53.", (Mention(11, 15, "Gene", score=1.0),)),
]


def write_all(path) -> bytes:
    output = ResumableOutput(path, KEY)
    output.write(DOCUMENTS)
    output.close()
    return path.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_an_interrupted_output_continues_to_the_same_bytes(tmp_path, ending, stop):
    whole = write_all(tmp_path / f"whole{ending}")
    path = tmp_path / f"torn{ending}"
    first = ResumableOutput(path, KEY)
    if stop:
        first.write(DOCUMENTS[:stop])
    first.handle.write(b"half a docum")  # killed in the middle of the next piece
    first.handle.close()
    assert not path.exists()
    second = ResumableOutput(path, KEY, resume=True)
    assert second.done == stop
    if stop < len(DOCUMENTS):
        second.write(DOCUMENTS[stop:])
    assert not path.exists()
    second.close()
    assert path.read_bytes() == whole
    assert {p.name for p in tmp_path.iterdir()} == {f"whole{ending}", f"torn{ending}"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_equals_one_written_at_once(tmp_path, ending):
    write_documents(DOCUMENTS, tmp_path / f"once{ending}")
    assert write_all(tmp_path / f"pieces{ending}") == (tmp_path / f"once{ending}").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_documents_at_all(tmp_path, ending):
    path = tmp_path / f"none{ending}"
    output = ResumableOutput(path, KEY)
    output.close()
    assert list(read_documents(path)) == []


def torn(path):
    output = ResumableOutput(path, KEY)
    output.write(DOCUMENTS[:2])
    output.handle.close()


def test_an_unfinished_output_is_not_overwritten_without_being_told_to(tmp_path):
    torn(tmp_path / "out.jsonl")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(JournalError, match=r"out\.jsonl\.partial is an unfinished output \(2 documents\).*--resume"):
        ResumableOutput(tmp_path / "out.jsonl", KEY)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_another_model_or_input_is_refused(tmp_path):
    torn(tmp_path / "out.jsonl")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(JournalError, match="made with another model; delete it"):
        ResumableOutput(tmp_path / "out.jsonl", KEY | {"model": "n"}, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_damaged_partial_file_is_refused(tmp_path, damage):
    torn(tmp_path / "out.jsonl")
    partial = tmp_path / "out.jsonl.partial"
    if damage == "gone":
        partial.unlink()
    else:
        partial.write_bytes(partial.read_bytes()[:-3])
    with pytest.raises(JournalError, match=r"bytes, but out\.jsonl\.journal\.json says"):
        ResumableOutput(tmp_path / "out.jsonl", KEY, resume=True)


def test_the_journal_points_at_the_end_of_a_whole_document(tmp_path):
    torn(tmp_path / "out.jsonl")
    state = json.loads((tmp_path / "out.jsonl.journal.json").read_text())
    assert (state["documents"], state["key"]) == (2, KEY)
    assert (tmp_path / "out.jsonl.partial").read_bytes()[: state["bytes"]].count(b"\n") == 2


def test_resume_without_anything_to_resume_begins_at_the_start(tmp_path):
    output = ResumableOutput(tmp_path / "out.jsonl", KEY, resume=True)
    assert output.done == 0
    output.write(DOCUMENTS)
    output.close()
    assert [d.id for d in read_documents(tmp_path / "out.jsonl")] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", ["out.txt", "out.ann"])
def test_formats_that_are_no_single_plain_file_are_refused(tmp_path, name):
    with pytest.raises(JournalError, match=r"name it \.pubtator"):
        ResumableOutput(tmp_path / name, KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_document_that_the_format_cannot_hold_leaves_the_rest_to_resume(tmp_path):
    path = tmp_path / "out.pubtator"
    output = ResumableOutput(path, KEY)
    output.write(DOCUMENTS[:1])
    with pytest.raises(ValueError, match="x"):
        output.write([Document("a|b\tx", "user", "x")])
    output.handle.close()
    assert not path.exists()
    assert ResumableOutput(path, KEY, resume=True).done == 1


def test_what_a_format_cannot_hold_is_told(tmp_path):
    nested = Document("1", "user", "TP53 gene", (Mention(0, 4, "Gene"), Mention(0, 9, "Gene")))
    output = ResumableOutput(tmp_path / "out.iob2", KEY)
    output.write([nested])
    assert "nested_not_written" in output.close() or (tmp_path / "out.iob2").exists()


def test_fingerprints_tell_contents_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    same = fingerprint(tmp_path / "a")
    assert fingerprint(tmp_path / "a") == same
    (tmp_path / "a").write_bytes(b"x" * 2_999_999 + b"y")
    changed = fingerprint(tmp_path / "a")
    assert changed != same
    folder = fingerprint(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    assert fingerprint(tmp_path) != folder
    assert fingerprint("some/hub-id") == ""
