"""PubTator: `ID|t|title`, `ID|a|abstract`, tab-separated mention lines, a blank line after each record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from mosaic_ner.modeling.document import Document

from .base import (
    SURROGATES,
    Reading,
    ReadReport,
    count_losses,
    join_identifiers,
    parse_integer,
    passage_tuple,
    read_lines,
    replace_characters,
    require,
    split_identifiers,
)

# Recognised before any tab is looked at: abstracts may contain tabs. An id contains neither tab nor bar.
_TEXT_LINE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_LINE_ENDS = re.compile(r"[\n\r]")
_SURFACE = re.compile(r"[\t\n\r]")
_BLANK = " \t"


@dataclass
class _Record:
    """The lines of one record, kept until its text is complete."""

    id: str
    line: int
    title: str
    abstract: str | None = None
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


def read_pubtator(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """Documents of a PubTator file, one in memory at a time.

    Text is title + " " + abstract, or the title alone when the abstract is empty. Passages are "title" and "abstract".
    """
    record = None
    for number, line in read_lines(handle, reading):
        match = _TEXT_LINE.fullmatch(line)
        if match and match[2] == "t":
            if record is not None:
                got = f"the title of {match[1]!r} directly after a line of {record.id!r}"
                reading.fault("missing_blank_line", "a blank line between records", got, line=number, document=match[1])
                yield _finish(record, reading)
            record = _Record(match[1], number, match[3])
        elif match:
            _add_abstract(record, match, number, reading)
        elif not line.strip(_BLANK):
            if record is not None:
                yield _finish(record, reading)
            record = None
        else:
            _add_row(record, line, number, reading)
    if record is not None:
        yield _finish(record, reading)


def _add_abstract(record: _Record | None, match: re.Match, number: int, reading: Reading) -> None:
    remedy = "a record is one |t| line, at most one |a| line, then its mentions, all with the same id"
    if record is None or record.abstract is not None or match[1] != record.id:
        if record is None:
            expected = f"the title line {match[1]}|t| first"
        elif match[1] != record.id:
            expected = f"a line of {record.id!r}, the record that began on line {record.line}"
        else:
            expected = "one abstract a record"
        raise reading.error(expected, f"an abstract line of {match[1]!r}", remedy, line=number, document=match[1])
    record.abstract = match[3]


def _add_row(record: _Record | None, line: str, number: int, reading: Reading) -> None:
    cells = line.split("\t")
    remedy = "a record starts with ID|t|title; a blank line separates records"
    if record is None:
        raise reading.error("a title line ID|t|title", repr(line[:80]), remedy, line=number)
    if cells[0] != record.id:
        expected = f"a line of {record.id!r}, the record that began on line {record.line}"
        raise reading.error(expected, f"one of {cells[0][:80]!r}", remedy, line=number, document=record.id)
    record.rows.append((number, cells))


def _is_relation(cells: list[str]) -> bool:
    """Four cells (ID, type, argument, argument), or BioRED's five, the last saying whether it is novel."""
    return len(cells) == 4 or (len(cells) == 5 and cells[4] in ("Novel", "No") and not cells[1].isdigit())


def _finish(record: _Record, reading: Reading) -> Document:
    split = len(record.title)
    text, passages = record.title, [(0, split, "title")]
    if record.abstract:
        text = f"{record.title} {record.abstract}"
        passages.append((split + 1, len(text), "abstract"))
    mentions = []
    for number, cells in record.rows:
        if _is_relation(cells):
            reading.note("relation", "\t".join(cells[1:]), line=number, document=record.id)
            continue
        mention = _mention(cells, text, record.id, number, reading)
        if mention is not None:
            mentions.append(mention)
    return reading.document(record.id, text, mentions, line=record.line, passages=passage_tuple(passages))


def _mention(cells: list[str], text: str, id: str, number: int, reading: Reading):
    expected = "5 or 6 tab-separated cells (ID, start, end, text, type[, identifiers])"
    if not 5 <= len(cells) <= 7:
        raise reading.error(
            expected, f"{len(cells)} cells", "look for a missing or stray tab", line=number, document=id
        )
    if len(cells) == 7:
        reading.fault("extra_field", expected, f"a seventh, {cells[6]!r}", line=number, document=id)
    start = parse_integer(cells[1], reading, "the start offset", line=number, document=id)
    end = parse_integer(cells[2], reading, "the end offset", line=number, document=id)
    identifiers = split_identifiers(cells[5]) if len(cells) > 5 else ()
    return reading.mention(text, (start, end), cells[4], cells[3], identifiers, line=number, id=id)


def _split(document: Document, text: str) -> int | None:
    """Length of the title, or None when all of the text is title.

    Both parts are separated by one white-space character and the second is not empty, else reading back would change
    the text.
    """
    splits = []
    if len(document.passages) > 1 and document.passages[0].start == 0:
        end = document.passages[0].end
        if document.passages[1].start == end + 1 and text[end : end + 1] in (" ", "\n", "\r", "\t"):
            splits.append(end)
    splits.append(text.find("\n"))
    return next((split for split in splits if 0 <= split < len(text) - 1), None)


def pubtator_record(document: Document, report: ReadReport, number: int) -> str:
    """One record with its closing blank line.

    Raises:
        FormatError: the id, a type or an identifier holds a character that would break the line.
    """
    count_losses(document, report, "identifiers")
    id = require(document, "pubtator", "document id", document.id, r"[|\t\n\r\ud800-\udfff]")
    split = _split(document, document.text)
    text = replace_characters(document.text, _LINE_ENDS, " ", "whitespace_replaced", report, document)
    text = replace_characters(text, SURROGATES, "\ufffd", "character_replaced", report, document)
    if split is None:
        title, abstract, spans = text, "", [(0, len(text), "title")]
    else:
        if text[split] == "\t":  # read back as the space between title and abstract
            report.add("whitespace_replaced", document.name, "a tab between title and abstract")
        title, abstract = text[:split], text[split + 1 :]
        spans = [(0, split, "title"), (split + 1, len(text), "abstract")]
    if document.passages and document.passages != passage_tuple(spans):
        report.add("passages_not_written", document.name, f"{len(document.passages)} passages")
    rows = "".join(_rows(document, id, report))
    return f"{id}|t|{title}\n{id}|a|{abstract}\n{rows}\n"


def _rows(document: Document, id: str, report: ReadReport) -> Iterator[str]:
    for mention in document.mentions:
        type = require(document, "pubtator", "entity type", mention.type, r"[\t\n\r\ud800-\udfff]")
        surface = SURROGATES.sub("\ufffd", _SURFACE.sub(" ", document.surface(mention)))
        cells = [id, str(mention.start), str(mention.end), surface, type]
        identifiers = join_identifiers(document, mention, report)
        if identifiers:
            cells.append(require(document, "pubtator", "identifier", identifiers, r"[\t\n\r\ud800-\udfff]"))
        yield "\t".join(cells) + "\n"
