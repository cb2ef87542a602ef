"""Annotated collections as Parquet: a table of mentions, one of documents and one of deleted citations (docs/scale.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from mosaic_ner.data_builders.formats import SourcedDocument

_RECORD = [
    pa.field("document_id", pa.string(), nullable=False),
    pa.field("version", pa.int32()),
    pa.field("file", pa.string(), nullable=False),
    pa.field("record", pa.int64(), nullable=False),
]
"""What names a record: its id, PubMed's version of it, the input's file, and its place in the shard, from 0."""
MENTIONS = pa.schema(
    [
        *_RECORD,
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("identifiers", pa.list_(pa.string()), nullable=False),
        pa.field("passage", pa.string()),
        pa.field("section_type", pa.string()),
    ]
)
"""A row a mention; `start` and `end` are characters (code points) of the document's text, half-open."""
DOCUMENTS = pa.schema(
    [
        *_RECORD,
        pa.field("characters", pa.int32(), nullable=False),
        pa.field("mentions", pa.int32(), nullable=False),
        pa.field("pmid", pa.string()),
        pa.field("pmcid", pa.string()),
        pa.field("doi", pa.string()),
    ]
)
"""A row a document, those without mentions included."""
DELETED = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("version", pa.int32()),
        pa.field("file", pa.string(), nullable=False),
    ]
)
"""A row a citation that a PubMed file deletes."""
SCHEMAS = {"deleted": DELETED, "mentions": MENTIONS, "documents": DOCUMENTS}
"""In the order in which a shard's tables are put in their place: the documents' last, which views begin with."""


def _version(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else None


def _file(path: str, root: str | None) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/") if root else os.path.basename(path)


def _valid(name: str) -> str:
    """A file's name in UTF-8, with question marks for bytes that are none."""
    return name.encode("utf-8", "replace").decode()


def rows(documents: Iterable[SourcedDocument], first: int, root: str | None = None) -> dict[str, pa.Table]:
    """The tables of consecutive documents.

    Args:
        first: the place of the first document in the shard, from 0.
        root: the folder that names of files begin in; default: each file's own.
    """
    mentions, records = [], []
    for number, document in enumerate(documents, first):
        infons = dict(document.infons)
        name = (document.id, _version(infons.get("version")), _valid(_file(document.path, root)), number)
        ids = {"pmid": document.id} if "version" in infons else {}
        ids |= {"pmcid": document.id} if document.id.startswith("PMC") else {}
        own = [infons.get(key, ids.get(key)) for key in ("pmid", "pmcid", "doi")]
        records.append((*name, len(document.text), len(document.mentions), *own))
        passages = iter(sorted(document.passages, key=lambda p: p.start))
        passage = next(passages, None)
        for m in document.mentions:
            while passage is not None and passage.end <= m.start:
                passage = next(passages, None)
            inside = passage is not None and passage.start <= m.start
            section = dict(passage.infons).get("section_type") if inside else None
            score = None if m.score is None else round(float(m.score), 4)
            mentions.append(
                (*name, m.start, m.end, document.surface(m), m.type, score, list(m.identifiers),
                 passage.kind if inside else None, section)
            )  # fmt: skip
    return {"mentions": _table(mentions, MENTIONS), "documents": _table(records, DOCUMENTS)}


def joined(parts: Iterable[pa.Table]) -> pa.Table:
    """Tables of consecutive rows as one."""
    return pa.concat_tables(parts).combine_chunks()


def deleted_rows(deleted: Iterable[tuple[str, str, str]]) -> pa.Table:
    """The table of (PMID, version, file)."""
    return _table([(id, _version(version), file) for id, version, file in deleted], DELETED)


def _table(items: list[tuple], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*items, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def write_table(path: Path, parts: Iterable[pa.Table], schema: pa.Schema) -> None:
    """A file with a row group for each part that has rows; equal parts give equal bytes."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            if part.num_rows:
                writer.write_table(part)


def release() -> None:
    """Gives back what pyarrow keeps of freed tables, which would be part of the next shard's peak of memory."""
    pa.default_memory_pool().release_unused()


def read_table(path: Path) -> pa.Table:
    """All rows of a file."""
    return pq.ParquetFile(path).read()
