"""Parquet files as documents: rows of this package's data sets, of other people's, and what can't be read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from helpers_formats import predicted
from mosaic_ner.data_builders.builder import FEATURES, document_to_example
from mosaic_ner.data_builders.formats import FormatError, ReadReport, detect_format, read_documents
from mosaic_ner.modeling.document import Document, Mention, Passage


def written(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def test_rows_of_our_data_sets_come_back_whole(demo_corpora, tmp_path):
    documents = demo_corpora["demo_all"]["test"][:300]
    passages = (Passage(0, 4, "title", (("a", "b"), ("a", "c"))), Passage(5, 9, "abstract"))
    documents[1] = Document(
        "p", "demo_all", "Some text", (Mention(0, 4, "Gene", ("1", "2")),), frozenset({"Gene"}), 3, "x", passages, (("k", "v"),)
    )  # fmt: skip
    path = tmp_path / "documents.parquet"
    Dataset.from_list([document_to_example(d) for d in documents], features=FEATURES).to_parquet(path)
    assert detect_format(path) == "parquet"
    assert list(read_documents(path)) == documents


def test_rows_of_other_data_sets(tmp_path):
    path = written(tmp_path / "a", [
        {"pmid": 5, "title": "Velosis", "abstract": "in mice.", "year": 1999},
        {"pmid": 6, "title": "Mice", "abstract": None, "year": None},
        {"pmid": 7, "title": "Spiran", "abstract": "", "year": 2000},
    ])  # fmt: skip
    report = ReadReport()
    found = list(read_documents(path, report=report, policy="lenient"))
    found = [(d.id, d.text, len(d.passages)) for d in found]
    assert found == [("5", "Velosis in mice.", 2), ("6", "Mice", 1), ("7", "Spiran", 1)]
    assert report.counts["key_not_kept"] == 2


def test_prediction_reads_them(tmp_path):
    path = written(tmp_path / "in.parquet", [{"id": "a", "text": "Mice with velosis."}, {"id": "b", "text": "None."}])
    predicted(path, tmp_path / "out.jsonl")
    assert [len(d.mentions) for d in read_documents(tmp_path / "out.jsonl")] == [2, 0]


def test_what_can_not_be_read(tmp_path):
    path = written(tmp_path / "in.parquet", [{"id": "a", "body": "x"}])
    with pytest.raises(FormatError, match="the columns id, body; rename"):
        list(read_documents(path))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match="expected a Parquet file"):
        list(read_documents(path))
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": None}, {"id": "c", "text": "z"}]
    path, report = written(tmp_path / "gap.parquet", rows), ReadReport()
    assert [d.id for d in read_documents(path, policy="lenient", skip_bad=True, report=report)] == ["a", "c"]
    assert report.counts["bad_record"] == 1
