"""brat standoff: a folder with a .txt and an .ann file for each document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from mosaic_ner.modeling.document import Document

from .base import (
    SURROGATES,
    Reading,
    ReadReport,
    count_losses,
    parse_integer,
    read_text,
    replace_characters,
    require,
    write_error,
)

_SPAN = re.compile(r"(.+?) (-?[0-9]+ -?[0-9]+(?:;-?[0-9]+ -?[0-9]+)*)", re.DOTALL)
_NORMALISATION = re.compile(r"\S+ (\S+) (.*)", re.DOTALL)
_LINE_ENDS = re.compile(r"[\t\n\r]")
_REPEATED = re.compile(r"(.+)\+record([1-9][0-9]*)", re.DOTALL)  # a "+" of the id itself is written %2B
_MAX_NAME = 240  # bytes; file systems allow 255, temporary files and ".ann" need some


def read_brat(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a folder in the order of their file names, or the one document of a .txt or .ann file."""
    if path.is_dir():
        stems = {file.stem for file in path.iterdir() if file.suffix in (".txt", ".ann")}
        files = [path / f"{stem}.txt" for stem in sorted(stems)]
        if not files:
            raise reading.error("files *.txt and *.ann", "none", "give the folder that holds them")
    else:
        files = [path.with_suffix(".txt")]
    for file in files:
        yield _read_pair(file, reading)


def _read_pair(txt: Path, reading: Reading) -> Document:
    id, index = _id_of(txt)
    if not txt.exists():
        remedy = "offsets are meaningless without the text: put it beside the .ann file"
        raise reading.error(f"the text {txt.name}", "an .ann file alone", remedy, document=id)
    text = read_text(txt, reading)
    ann = txt.with_name(f"{txt.stem}.ann")
    if not ann.exists():
        reading.fault("no_annotation_file", f"{ann.name} beside {txt.name} (it may be empty)", "none", document=id)
        return reading.document(id, text, (), index=index)
    found, identifiers = {}, {}
    # Lines end with LF alone; a U+2028 in a mention's text is no line end.
    for number, line in enumerate(read_text(ann, reading).split("\n"), 1):
        line = line.removesuffix("\r")
        if line.startswith("T"):
            key, row = _entity(line, number, id, reading)
            if row is not None:
                found[key] = row
        elif line.startswith("N"):
            target, identifier = _normalisation(line, number, id, reading)
            identifiers.setdefault(target, []).append(identifier)
        elif line.strip():
            reading.note("not_kept", line[:80], line=number, document=f"{ann.name}")
    mentions = []
    for key, (span, type, surface, number) in found.items():
        ids = identifiers.get(key, ())
        mentions.append(reading.mention(text, span, type, surface, ids, line=number, id=id))
    return reading.document(id, text, (mention for mention in mentions if mention is not None), index=index)


def _entity(line: str, number: int, id: str, reading: Reading):
    """(key, ((start, end), type, surface, line)) of a T line; (key, None) when it has several pieces."""
    cells = line.split("\t", 2)
    match = _SPAN.fullmatch(cells[1]) if len(cells) > 1 else None
    if match is None:
        expected = "T<number>, tab, type start end, tab, text"
        remedy = "separate the three by tabs; offsets are characters"
        raise reading.error(expected, repr(line[:80]), remedy, line=number, document=id)
    pieces = match[2].split(";")
    if len(pieces) > 1:
        reading.report.mentions += 1
        reading.note("discontinuous", line[:80], line=number, document=id)
        return cells[0], None
    start, end = (parse_integer(cell, reading, "an offset", line=number, document=id) for cell in pieces[0].split(" "))
    return cells[0], ((start, end), match[1], cells[2] if len(cells) > 2 else None, number)


def _normalisation(line: str, number: int, id: str, reading: Reading) -> tuple[str, str]:
    """(key of the T line, identifier) of an N line."""
    cells = line.split("\t")
    match = _NORMALISATION.fullmatch(cells[1]) if len(cells) > 1 else None
    if match is None:
        expected = "N<number>, tab, Reference T<number> database:identifier, tab, text"
        remedy = "separate the three by tabs"
        raise reading.error(expected, repr(line[:80]), remedy, line=number, document=id)
    return match[1], match[2]


def _id_of(txt: Path) -> tuple[str, int | None]:
    """Id and index that a file name stands for: those `file_stem` wrote, else the name itself."""
    match = _REPEATED.fullmatch(txt.stem)
    if match and _unquoted(match[1]) is not None:
        return _unquoted(match[1]), int(match[2])
    plain = _unquoted(txt.stem)
    return (txt.stem if plain is None else plain), None


def _unquoted(stem: str) -> str | None:
    plain = unquote(stem)
    return plain if quote(plain, safe=" ") == stem else None


def file_stem(document: Document, index: int) -> str:
    """A file name that any file system takes and `read_brat` turns back into id and index.

    Raises:
        FormatError: the id is empty or too long for a file name.
    """
    stem = quote(require(document, "brat", "document id", document.id, "[\ud800-\udfff]"), safe=" ")
    if len(stem) > _MAX_NAME:
        got = f"{len(stem)} bytes (characters that are not safe in file names take three or more)"
        raise write_error(document, "brat", f"an id of at most {_MAX_NAME} bytes", got, "shorten it or write JSONL")
    return f"{stem}+record{index}" if index else stem


def brat_pair(document: Document, report: ReadReport) -> tuple[str, str]:
    """The contents of the .txt and the .ann file.

    Raises:
        FormatError: a type holds white space, which brat's lines cannot express.
    """
    count_losses(document, report, "identifiers")
    if document.passages:
        report.add("passages_not_written", document.name, f"{len(document.passages)} passages")
    text = replace_characters(document.text, SURROGATES, "\ufffd", "character_replaced", report, document)
    lines, normalisations = [], 0
    for number, mention in enumerate(document.mentions, 1):
        type = require(document, "brat", "entity type", mention.type, r"[\s;\ud800-\udfff]")
        surface = _LINE_ENDS.sub(" ", text[mention.start : mention.end])
        lines.append(f"T{number}\t{type} {mention.start} {mention.end}\t{surface}\n")
        for identifier in mention.identifiers:
            normalisations += 1
            require(document, "brat", "identifier", f"={identifier}", r"[\t\n\r\ud800-\udfff]")
            lines.append(f"N{normalisations}\tReference T{number} {identifier}\t{surface}\n")
    return text, "".join(lines)


class BratWriter:
    """Writes one .txt/.ann pair a document into a folder; the same interface as `DocumentWriter`.

    Names depend on id and index alone, so writing a document again after an interruption replaces its own files.
    """

    def __init__(self, folder: str | Path, documents_written: int = 0):
        self.folder, self.documents_written, self.report = Path(folder), documents_written, ReadReport()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names: set[str] = set()

    @property
    def position(self) -> int:
        """Always 0: a folder has no byte position, and resuming needs none."""
        return 0

    def header(self) -> None:
        """Nothing: a folder has no header."""

    footer = flush = close = header

    def write(self, document: Document) -> None:
        """Write the document's two files.

        Raises:
            FormatError: the document cannot be expressed.
        """
        self.report.documents += 1
        self.report.mentions += len(document.mentions)
        text, annotations = brat_pair(document, self.report)
        index = document.index
        # Documents of several files may share id and index. Names are compared as file systems that ignore case do.
        while (name := file_stem(document, index)).lower() in self._names:
            index += 1
        self._names.add(name.lower())
        for suffix, content in ((".txt", text), (".ann", annotations)):
            (self.folder / (name + suffix)).write_bytes(content.encode("utf-8"))
        self.documents_written += 1

    def __enter__(self) -> BratWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
