"""Parquet files: a row a document. Columns are a JSON line's keys: `text`, or `title` and `abstract`; `id`, `pmid`, …"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from mosaic_ner.modeling.document import Document

from .base import Reading
from .jsonl import record_of

MAGIC = "PAR1"
_ROWS = 256  # in memory at a time


def read_parquet(handle, reading: Reading) -> Iterator[Document]:
    """Documents, one a row. Columns that a document has no place for are counted (`key_not_kept`)."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # it would take its time of every other format's start

    try:
        file = pq.ParquetFile(handle)
        if not {"text", "title", "tokens"} & set(file.schema_arrow.names):
            got = f"the columns {', '.join(file.schema_arrow.names)}"[:300]
            raise reading.error("a column 'text', or 'title' and 'abstract'", got, "rename the column of the texts")
        yield from reading.records(_rows(file, reading))
    except (pa.ArrowException, OSError) as error:
        raise reading.error("a Parquet file", str(error)[:200], "fetch it again, or say its --format") from error


def _rows(file, reading: Reading) -> Iterator[Callable[[], Document]]:
    number = 0
    for batch in file.iter_batches(batch_size=_ROWS):
        for row in batch.to_pylist():
            number += 1
            value = {key: _plain(key, item) for key, item in row.items() if item is not None}
            yield partial(record_of, value, reading, None, number)


def _plain(key: str, item):
    """Infons as pairs of texts, as JSON has them; this package's data sets have objects with a key and a value."""
    if key == "infons" and isinstance(item, list):
        return [[pair["key"], pair["value"]] if isinstance(pair, dict) else pair for pair in item]
    if isinstance(item, list) and item and isinstance(item[0], dict):
        return [{name: _plain(name, part) for name, part in value.items() if part is not None} for value in item]
    return item
