"""PubTator: `ID|t|title`, `ID|a|abstract`, tab-separated mention lines, a blank line after each record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from mosaic_ner.modeling.document import Document

from .base import (
    Reading,
    count_losses,
    join_identifiers,
    parse_integer,
    passage_tuple,
    replace_characters,
    require,
    split_identifiers,
)
from .report import FormatError, ReadReport
from .streams import SURROGATES, Undecodable, read_lines

# Recognised before any tab is looked at: abstracts may contain tabs. An id contains neither tab nor bar.
_TEXT_LINE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_LINE_ENDS = re.compile(r"[\n\r]")
_SURFACE = re.compile(r"[\t\n\r]")
_BLANK = " \t"
# What begins a line after a lone carriage return, which may also stand in a text
_LINE_START = re.compile(r"[^|\t\r\n]+\|[ta]\||[^|\t\r\n ]+\t[^\r\n]*\t|[ \t]*[\r\n]?$")
_WORD = re.compile(r"[^\W\d_][^\W\d]+(?:[ -][^\W\d]+)*")  # the name of a relation


@dataclass
class _Record:
    """The lines of one record, kept until its text is complete; `damage` is the first thing wrong with them."""

    id: str
    line: int
    title: str
    abstract: str | None = None
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    damage: FormatError | None = None
    glued: bool = False


def read_pubtator(handle, reading: Reading) -> Iterator[Document]:
    """Documents of a PubTator file, one in memory at a time.

    Text is title + " " + abstract, or the title alone when the abstract is empty. Passages are "title" and "abstract".
    """
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    record = None
    for number, line in read_lines(handle, reading, _LINE_START):
        match = _TEXT_LINE.fullmatch(line)
        if match and match[2] == "t":
            if record is not None:
                yield partial(_finish, record, reading)
            record = _Record(match[1], number, match[3], glued=record is not None)
        elif not line.strip(_BLANK):
            if record is not None:
                yield partial(_finish, record, reading)
            record = None
            continue
        elif record is None:  # a record without its title
            record = _Record(match[1] if match else "", number, "")
            if match:
                record.damage = _misplaced_abstract(None, match, number, reading)
            else:
                got, remedy = repr(line[:80]), "a record starts with ID|t|title; a blank line separates records"
                record.damage = reading.error("a title line ID|t|title", got, remedy, line=number)
        elif record.damage is None and match:
            record.damage = _misplaced_abstract(record, match, number, reading)
            record.abstract = match[3]
        elif record.damage is None:
            _add_row(record, line, number, reading)
        if isinstance(line, Undecodable) and record.damage is None:
            record.damage = line.error
        if record.damage is not None and not reading.skip:
            raise record.damage
    if record is not None:
        yield partial(_finish, record, reading)


def _misplaced_abstract(record: _Record | None, match: re.Match, number: int, reading: Reading) -> FormatError | None:
    remedy = "a record is one |t| line, at most one |a| line, then its mentions, all with the same id"
    if record is None:
        expected = f"the title line {match[1]}|t| first"
    elif match[1] != record.id:
        expected = f"a line of {record.id!r}, the record that began on line {record.line}"
    elif record.abstract is not None:
        expected = "one abstract a record"
    else:
        return None
    return reading.error(expected, f"an abstract line of {match[1]!r}", remedy, line=number, document=match[1])


def _add_row(record: _Record, line: str, number: int, reading: Reading) -> None:
    cells = line.split("\t")
    if cells[0] != record.id and (reading.gold or len(cells) == 1):
        expected = f"a line of {record.id!r}, the record that began on line {record.line}"
        remedy = "a record starts with ID|t|title; a blank line separates records"
        record.damage = reading.error(expected, f"one of {cells[0][:80]!r}", remedy, line=number, document=record.id)
    elif reading.gold:
        record.rows.append((number, cells))


def _is_relation(cells: list[str]) -> bool:
    """ID, type, argument, argument, and what tools add: novelty (BioRED's), a score, evidence."""
    if len(cells) == 4:
        return not cells[1].strip("-").isdigit()
    return len(cells) > 4 and _WORD.fullmatch(cells[1]) is not None


def _finish(record: _Record, reading: Reading) -> Document:
    if record.damage is not None:
        raise record.damage
    if record.glued:
        got = f"the title of {record.id!r} directly after a line of another record"
        expected = "a blank line between records"
        reading.fault("missing_blank_line", expected, got, line=record.line, document=record.id)
    split = len(record.title)
    text, lines, passages = record.title, None, [(0, split, "title")]
    if record.abstract:
        text = f"{record.title} {record.abstract}"
        lines = f"{record.title}\n{record.abstract}"
        passages.append((split + 1, len(text), "abstract"))
    mentions = []
    for number, cells in record.rows:
        if _is_relation(cells):
            reading.note("relation", "\t".join(cells[1:]), line=number, document=record.id)
            continue
        mention = _mention(cells, text, lines, record.id, number, reading)
        if mention is not None:
            mentions.append(mention)
    return reading.document(record.id, text, mentions, line=record.line, passages=passage_tuple(passages))


def _mention(cells: list[str], text: str, lines: str | None, id: str, number: int, reading: Reading):
    expected = "5 or 6 tab-separated cells (ID, start, end, text, type[, identifiers])"
    if len(cells) == 3 and not (cells[1].isdigit() and cells[2].isdigit()):
        got = f"three cells, {chr(9).join(cells)!r:.80}, as a relation of names has them"
        reading.fault("short_row", expected, got, line=number, document=id)
        return None
    if not 5 <= len(cells) <= 7:
        raise reading.error(
            expected, f"{len(cells)} cells", "look for a missing or stray tab", line=number, document=id
        )
    if len(cells) == 7:
        reading.fault("extra_field", expected, f"a seventh, {cells[6]!r}", line=number, document=id)
    start = parse_integer(cells[1], reading, "the start offset", line=number, document=id)
    end = parse_integer(cells[2], reading, "the end offset", line=number, document=id)
    identifiers = split_identifiers(cells[5]) if len(cells) > 5 else ()
    return reading.mention(text, (start, end), cells[4], cells[3], identifiers, line=number, id=id, lines=lines)


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
