"""IOB files: one token and its tag a line, a blank line after each sentence, lines that begin documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from mosaic_ner.modeling.document import Document, Mention

from .base import Reading
from .streams import Undecodable, read_lines

_DOCSTART = re.compile(r"-DOCSTART-(\s.*)?")
_DOCSTART_ID = re.compile(r"-DOCSTART-\s+\((.*)\)(\s+\S+)*", re.DOTALL)
# "###MEDLINE:1", "# doc_id = 1", "# newdoc id = 1", "#PMID: 1", "### doc 1"
_NAMED = re.compile(
    r"#+\s*(?:(?:new)?doc(?:ument)?(?:[ _-]?(?:id|no|number|name))?|medline|pubmed(?:[ _-]?id)?|pm(?:c?id|c)|article[ _-]?id)"
    r"\s*(?:[:=]\s*|\s)(\S.*)",
    re.IGNORECASE,
)
_NEW = re.compile(r"#+\s*new\s?doc\s*", re.IGNORECASE)
_TAG = re.compile(r"(?:[BIESLU])(?:-(.+))?", re.DOTALL)
_HEADER = {
    "token", "tokens", "word", "words", "text", "form", "tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags",
    "ner-tag", "bio", "iob", "iob2", "entity", "pos", "sentence", "sentence #", "sentence_id",
}  # fmt: skip


@dataclass
class Row:
    """A line of an IOB file: its cells, how they are parted, and which one is the tag (None: there is none)."""

    line: int
    cells: list[str]
    separator: str
    tag: int | None = None


@dataclass
class IobSource:
    """What an IOB file says of a document beside its text: the line that begins it, and the rows between blank lines."""

    start: str | None
    sentences: list[list[Row]]


@dataclass
class _Part:
    """The lines of a document, until it is complete."""

    id: str
    line: int | None = None
    start: str | None = None
    sentences: list[list[Row | Undecodable]] = field(default_factory=lambda: [[]])


def row_cells(line: str) -> list[str]:
    """A line's cells without white space at its end."""
    line = line.rstrip(" \t")
    return line.split("\t") if "\t" in line else re.split(" +", line)


def is_tag(cell: str) -> bool:
    """Whether a cell is a tag of IOB, IOBES or BILOU, with or without a type."""
    return cell == "O" or _TAG.fullmatch(cell) is not None


def is_header(cells: list[str]) -> bool:
    """Whether cells are names of columns."""
    names = [cell.strip().lower() in _HEADER for cell in cells]
    return len(cells) > 1 and not is_tag(cells[-1]) and (names[0] or cells[0] in ("", "#")) and names[-1]


def comment(line: str, columns: int | None = None, tag: int = -1) -> str | None:
    """The line without its marks where it is none of a token: an id for a line that names a document, else ""; None for a
    token's line.

    A token that begins with `#` has a tag: in a line of two cells, or of as many as the line before.

    Args:
        columns: cells of the line before, if it is a token's.
        tag: which cell has the tag.
    """
    if _DOCSTART.fullmatch(line):
        named = _DOCSTART_ID.fullmatch(line)
        return named[1] if named else ""
    if not line.startswith("#") or "\t" in line.rstrip(" \t"):
        return None
    named, cells = _NAMED.fullmatch(line.rstrip()), row_cells(line)
    if not named and (not line.strip("# ") or (len(cells) == 2 and is_tag(cells[1]))):
        return None
    if columns == len(cells) > 1 and tag < columns and is_tag(cells[tag]) and not (named and not cells[0].strip("#")):
        return None
    return named[1].strip() if named else ""


def _begins(line: str) -> bool:
    return bool(_DOCSTART.fullmatch(line) or _NAMED.fullmatch(line.rstrip()) or _NEW.fullmatch(line))


def read_iob2(handle, reading: Reading) -> Iterator[Document]:
    """Documents of an IOB file: those that lines such as `-DOCSTART-` or `###MEDLINE:1` begin, or every sentence if the file
    has no such lines.

    Ids are those that the lines name, else the file's name, ":" and the number of the document from 1. Text is the tokens
    joined with spaces, the sentences joined with line ends.
    """
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    with_starts, part, number, first, columns = None, None, 0, True, None
    tag = -1 if reading.tag_column is None else reading.tag_column - 1
    for line_number, line in read_lines(handle, reading):
        named = None if isinstance(line, Undecodable) else comment(line, columns, tag)
        if named is not None and _begins(line):
            if with_starts is False:
                remedy = "start the file with such a line, or remove them: each sentence is then a document"
                expected = f"{line.split()[0][:40]} from the first line on, or never"
                raise reading.error(expected, "one here", remedy, line=line_number)
            if with_starts:
                yield partial(_document, part, reading)
            with_starts, number = True, number + 1
            part = _Part(named or f"{reading.stem}:{number}", line_number, line)
        elif named is not None:
            reading.note("comment", line[:80], line=line_number)
        elif line.strip():
            with_starts = bool(with_starts)
            if first and not isinstance(line, Undecodable) and is_header(row_cells(line)):
                reading.note("header", line[:80], line=line_number)
                first = False
                continue
            first = False
            if part is None:
                number += 1
                part = _Part(f"{reading.stem}:{number}", line_number)
            row = line if isinstance(line, Undecodable) else _cells(line, line_number)
            columns = columns if isinstance(row, Undecodable) else len(row.cells)
            part.sentences[-1].append(row)
        elif with_starts:
            part.sentences.append([])
        elif part is not None:
            yield partial(_document, part, reading)
            part = None
    if part is not None:
        yield partial(_document, part, reading)


def _cells(line: str, number: int) -> Row:
    stripped = line.rstrip(" \t")
    separator = "\t" if "\t" in stripped else " "
    return Row(number, row_cells(line), separator)


def _check(row: Row | Undecodable, reading: Reading, id: str) -> Row | None:
    """The row with its tag's column; None for an empty token that the policy lets pass."""
    if isinstance(row, Undecodable):
        raise row.error
    cells, column = row.cells, reading.tag_column
    row.tag = column - 1 if column is not None else len(cells) - 1 if len(cells) > 1 else None
    if reading.gold and (row.tag is None or not 0 < row.tag < len(cells)):
        remedy = "separate token and tag by a tab or a space"
        shown = repr(row.separator.join(cells)[:80])
        expected = "a token and a tag" if column is None else f"a tag in column {column}"
        raise reading.error(expected, shown, remedy, line=row.line)
    if reading.gold and not is_tag(cells[row.tag]):
        seen = ", ".join(f"{n}: {cell[:30]!r}" for n, cell in enumerate(cells, 1))
        remedy = f"the tag is the last cell of {seen}; pass tag_column=N (--tag_column N) for another one"
        raise reading.error(
            "a tag O, B-type or I-type (or of IOBES, BILOU)", repr(cells[row.tag][:80]), remedy, line=row.line
        )
    if not cells[0]:
        reading.fault("empty_token", "a token in the first cell", "an empty one", line=row.line)
        return None
    return row


def _document(part: _Part, reading: Reading) -> Document:
    sentences = [[kept for row in rows if (kept := _check(row, reading, part.id))] for rows in part.sentences]
    source = IobSource(part.start, sentences)
    sentences = [rows for rows in sentences if rows]
    if not reading.gold:
        _find_tags([row for rows in sentences for row in rows], reading.tag_column)
    texts = [" ".join(row.cells[0] for row in rows) for rows in sentences]
    text, mentions = "\n".join(texts), []
    if reading.gold:
        position = 0
        for rows, sentence in zip(sentences, texts, strict=True):
            tags = [(row.cells[0], row.cells[row.tag], row.line) for row in rows]
            for start, end, type, _ in tagged_spans(tags, reading, part.id):
                mentions.append(Mention(position + start, position + end, type))
            position += len(sentence) + 1
        reading.report.mentions += len(mentions)
    return reading.document(part.id, text, mentions, line=part.line, source=source)


def _find_tags(rows: list[Row], column: int | None) -> None:
    """Where tags that nobody reads stand, so that others take their place: the last column that has nothing else."""
    width = min((len(row.cells) for row in rows), default=0)
    if column is None:
        from_end = [-1, *range(width - 1, 0, -1)] if width > 1 else []
        column = next((n for n in from_end if all(is_tag(row.cells[n]) for row in rows)), None)
    else:
        column = column - 1 if 0 < column - 1 < width else None
    for row in rows:
        row.tag = column if column is None or column >= 0 else len(row.cells) - 1


def tagged_spans(
    tags: list[tuple[str, str, int | None]], reading: Reading, id: str
) -> Iterator[tuple[int, int, str, int | None]]:
    """(start, end, type, line) of the mentions that a sentence's tags mark, in characters of its tokens joined by spaces.

    Args:
        tags: token, tag and line of each.
    Raises:
        FormatError: a tag has no type, and `entity_type` names none.
    """
    position, open_span = 0, None  # (start, end, type, line)
    for token, tag, line in tags:
        end = position + len(token)
        kind, type = tag[0] if tag != "O" else "O", tag[2:]
        if kind != "O" and not type:
            if reading.entity_type is None:
                remedy = "pass entity_type= (--entity_type NAME) to say which type they all have"
                raise reading.error("a tag with a type, as B-Disease", repr(tag), remedy, line=line, document=id)
            type = reading.entity_type
        continues = open_span is not None and kind in "IEL" and type == open_span[2]
        if open_span is not None and not continues:
            yield open_span
            open_span = None
        if continues:
            open_span = (open_span[0], end, type, open_span[3])
        elif kind != "O":
            if kind in "IEL":
                reading.note("iob1_start", f"{token} {tag}", line=line, document=id)
            open_span = (position, end, type, line)
        if kind in "ESLU" and open_span is not None:
            yield open_span
            open_span = None
        position = end + 1
    if open_span is not None:
        yield open_span
