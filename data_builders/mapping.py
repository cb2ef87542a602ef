"""The label-mapping table: which native type of which corpus is which shared type, and who says so."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.modeling.label_space import LabelError, LabelSpace, nearest

logger = logging.getLogger(__name__)

DEFAULT_PATH = Path(__file__).with_name("label_mapping.tsv")
COLUMNS = ("corpus", "native_type", "shared_type", "aioner_type", "source", "note")
# A user's own table may leave out the rest: it has no paper to cite and usually one scheme.
REQUIRED_COLUMNS = COLUMNS[:3]
SCHEMES = {"shared": "shared_type", "aioner": "aioner_type"}
NO_COUNTERPART = "-"
# BioRED's six, which CVAE-NER and AIONER map everything else to.
SHARED_TYPES = ("Gene", "Disease", "Chemical", "Species", "Variant", "CellLine")


class MappingError(LabelError):
    """A mapping table that cannot be read; the message starts with file and line."""


@dataclass(frozen=True)
class MappingRow:
    """One row of the table; `shared_type` and `aioner_type` are None where the table has `-`."""

    corpus: str
    native_type: str
    shared_type: str | None
    aioner_type: str | None
    source: str = ""
    note: str = ""
    where: str = ""


def load_label_mapping(
    path: str | Path | None = None,
    scheme: str = "shared",
    *,
    extra: str | Path | None = None,
    new_types: Iterable[str] = (),
) -> LabelSpace:
    """Reads the mapping table into a `LabelSpace`, corpora and types in the table's order.

    Args:
        path: the table; the packaged `label_mapping.tsv` when None.
        scheme: `shared` (CVAE-NER Table 7, all types) or `aioner` (AIONER section 2.1: a type that AIONER does not
            train on has no counterpart, e.g. everything but variants in tmVar3).
        extra: a second table with a user's own corpora. Its rows are appended; a row for a (corpus, native type) that
            `path` has too replaces it, and that is logged. Only the first three columns are required; without an
            `aioner_type` column it is the shared type.
        new_types: shared types that the tables may name beyond `SHARED_TYPES`. Any other is an error, as a misspelt
            type would otherwise become a new one, unless the table maps a native type of that very name to it.

    Raises:
        MappingError: wrong columns, a missing or repeated row, an unknown shared type, an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise MappingError(f"unknown scheme {scheme!r}{nearest(scheme, SCHEMES)}")
    known = (*SHARED_TYPES, *new_types)
    rows = {(row.corpus, row.native_type): row for row in read_mapping_rows(path, known)}
    if extra is not None:
        for row in read_mapping_rows(extra, known):
            key = (row.corpus, row.native_type)
            if key in rows:
                logger.warning("%s: replaces the mapping of %s:%s", row.where, *key)
            rows[key] = row
    corpora: dict[str, dict[str, str | None]] = {}
    for row in rows.values():
        corpora.setdefault(row.corpus, {})[row.native_type] = _cell(row, scheme)
    return LabelSpace(corpora)


def read_mapping_rows(path: str | Path | None = None, known: Iterable[str] = SHARED_TYPES) -> list[MappingRow]:
    """All rows of a table, sources and notes included; `known` are the shared types it may name.

    Raises:
        MappingError: as `load_label_mapping`.
    """
    path = Path(path) if path is not None else DEFAULT_PATH
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = _checked_header(path, next(reader, []))
            rows = [_row(path, reader.line_num, header, cells) for cells in reader if any(cells)]
    except FileNotFoundError:
        raise MappingError(f"{path}: no such mapping table; expected columns {', '.join(COLUMNS)}") from None
    except UnicodeDecodeError as error:
        raise MappingError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    _check_repeats(rows)
    _check_types(rows, list(known))
    return rows


def _checked_header(path: Path, header: list[str]) -> list[str]:
    header = [name.strip() for name in header]
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        raise MappingError(
            f"{path}:1: expected the tab-separated columns {', '.join(COLUMNS)} (the last three are optional), "
            f"got {', '.join(header) or 'nothing'}"
        )
    return header


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> MappingRow:
    where = f"{path}:{line}"
    if len(cells) != len(header):
        raise MappingError(
            f"{where}: expected {len(header)} tab-separated fields ({', '.join(header)}), got {len(cells)}"
        )
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for name in REQUIRED_COLUMNS:
        if not values[name]:
            raise MappingError(f"{where}: empty {name}; a type without a counterpart is written {NO_COUNTERPART!r}")
    values["aioner_type"] = values.get("aioner_type") or values["shared_type"]
    for name in SCHEMES.values():
        values[name] = None if values[name] == NO_COUNTERPART else values[name]
    return MappingRow(**values, where=where)


def _check_repeats(rows: list[MappingRow]) -> None:
    first: dict[tuple[str, str], MappingRow] = {}
    for row in rows:
        earlier = first.setdefault((row.corpus, row.native_type), row)
        if earlier is not row:
            raise MappingError(f"{row.where}: {row.corpus}:{row.native_type} is mapped twice, first at {earlier.where}")


def _check_types(rows: list[MappingRow], known: list[str]) -> None:
    # A native type mapped to its own name declares a new shared type; a slip of the pen doesn't look like that.
    known = [*known, *(row.native_type for row in rows if row.native_type == row.shared_type)]
    for row in rows:
        for scheme, column in SCHEMES.items():
            value = _cell(row, scheme)
            if value is not None and value not in known:
                raise MappingError(
                    f"{row.where}: {column} {value!r} is no known shared type{nearest(value, known)}; "
                    f"to add it as a new one, map a native type {value!r} to it or pass new_types=[{value!r}]"
                )


def _cell(row: MappingRow, scheme: str) -> str | None:
    return row.shared_type if scheme == "shared" else row.aioner_type
