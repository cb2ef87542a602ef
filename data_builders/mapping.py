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
COLUMNS = ("corpus", "native_type", "shared_type", "aioner_type", "sruner_type", "source", "note")
# A user's own table may leave out the rest: it has no paper to cite and usually one scheme.
REQUIRED_COLUMNS = COLUMNS[:3]
SCHEMES = {"shared": "shared_type", "aioner": "aioner_type", "sruner": "sruner_type"}
NO_COUNTERPART = "-"
# BioRED's six, which CVAE-NER and AIONER map everything else to.
SHARED_TYPES = ("Gene", "Disease", "Chemical", "Species", "Variant", "CellLine")
# What SRU-NER's multi-task experiment has beside them (Table 8). The packaged table may name these; in a user's table
# they are types like any other new one, so that a slip of the pen doesn't become one of them.
SRUNER_TYPES = ("CellType", "DNA", "RNA")


class MappingError(LabelError):
    """A mapping table that cannot be read; the message starts with file and line."""


@dataclass(frozen=True)
class MappingRow:
    """One row of the table; the type of a scheme is None where the table has `-`."""

    corpus: str
    native_type: str
    shared_type: str | None
    aioner_type: str | None
    sruner_type: str | None
    source: str = ""
    note: str = ""
    where: str = ""

    def type_in(self, scheme: str) -> str | None:
        """The type that the native type is in a scheme of `SCHEMES`."""
        return getattr(self, SCHEMES[scheme])


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
        scheme: `shared` (CVAE-NER Table 7, all types), `aioner` (AIONER section 2.1: a type that AIONER does not
            train on has no counterpart, e.g. everything but variants in tmVar3) or `sruner` (the eight merged types of
            SRU-NER's multi-task experiment, section 3.5 and Table 8; for BioRED's family, which its section 3.6 uses,
            the same as `shared`).
        extra: a second table with a user's own corpora. Its rows are appended; a row for a (corpus, native type) that
            `path` has too replaces it, and that is logged. Only the first three columns are required; without a
            column for a scheme, its type is the shared one.
        new_types: shared types that the tables may name beyond `SHARED_TYPES` (and, in the packaged table,
            `SRUNER_TYPES`). Any other is an error, as a misspelt type would otherwise become a new one, unless the
            table maps a native type of that very name to it.

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
        corpora.setdefault(row.corpus, {})[row.native_type] = row.type_in(scheme)
    return LabelSpace(corpora)


def read_mapping_rows(path: str | Path | None = None, known: Iterable[str] = SHARED_TYPES) -> list[MappingRow]:
    """All rows of a table, sources and notes included; `known` are the shared types it may name.

    The packaged table may name `SRUNER_TYPES` too.

    Raises:
        MappingError: as `load_label_mapping`.
    """
    path = Path(path) if path is not None else DEFAULT_PATH
    known = [*known, *(SRUNER_TYPES if path == DEFAULT_PATH else ())]
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
    _check_types(rows, known)
    return rows


def _checked_header(path: Path, header: list[str]) -> list[str]:
    header = [name.strip() for name in header]
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        raise MappingError(
            f"{path}:1: expected the tab-separated columns {', '.join(COLUMNS)} "
            f"(all but the first three are optional), "
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
    for name in SCHEMES.values():
        values[name] = values.get(name) or values["shared_type"]
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
    known = [*known, *(r.native_type for r in rows if r.native_type in {r.type_in(scheme) for scheme in SCHEMES})]
    for row in rows:
        for scheme, column in SCHEMES.items():
            value = row.type_in(scheme)
            if value is not None and value not in known:
                raise MappingError(
                    f"{row.where}: {column} {value!r} is no known shared type{nearest(value, known)}; "
                    f"to add it as a new one, map a native type {value!r} to it or pass new_types=[{value!r}]"
                )
