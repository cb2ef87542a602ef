"""brat standoff, written: a folder with a .txt and an .ann file for each document."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from mosaic_ner.modeling.document import Document

from .base import count_losses, replace_characters, require, write_error
from .report import ReadReport
from .streams import SURROGATES

_LINE_ENDS = re.compile(r"[\t\n\r]")
_MAX_NAME = 240  # bytes; file systems allow 255, temporary files and ".ann" need some


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
    count_losses(document, report, "identifiers", "score")
    if document.passages:
        report.add("passages_not_written", document.name, f"{len(document.passages)} passages")
    text = replace_characters(document.text, SURROGATES, "\ufffd", "character_replaced", report, document)
    if text.startswith("\ufeff"):  # read as a byte order mark, it would shift all offsets
        report.add("character_replaced", document.name, "1 characters")
        text = f" {text[1:]}"
    lines, normalisations, notes = [], 0, 0
    for number, mention in enumerate(document.mentions, 1):
        type = require(document, "brat", "entity type", mention.type, r"[\s;\ud800-\udfff]")
        surface = _LINE_ENDS.sub(" ", text[mention.start : mention.end])
        lines.append(f"T{number}\t{type} {mention.start} {mention.end}\t{surface}\n")
        for identifier in mention.identifiers:
            normalisations += 1
            require(document, "brat", "identifier", f"={identifier}", r"[\t\n\r\ud800-\udfff]")
            lines.append(f"N{normalisations}\tReference T{number} {identifier}\t{surface}\n")
        if mention.score is not None:
            notes += 1
            lines.append(f"#{notes}\tAnnotatorNotes T{number}\tscore {mention.score:.4f}\n")
    return text, "".join(lines)


class FolderWriter:
    """Writes the files of each document into a folder; the same interface as `DocumentWriter`.

    Names depend on id and index alone, so writing a document again after an interruption replaces its own files.
    """

    def __init__(self, folder: str | Path, documents_written: int = 0):
        self.folder, self.documents_written, self.report = Path(folder), documents_written, ReadReport()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names: set[str] = set()
        self._new: list[str] = []

    def contents(self, document: Document) -> dict[str, str]:
        """The content of each of the document's files by its ending; the format's own."""
        raise NotImplementedError

    def taken(self, names: list[str]) -> None:
        """Files that an earlier writer of the same folder wrote: no other document gets their names."""
        self._names.update(name.lower() for name in names)
        self.documents_written = len(names)

    def new_names(self) -> list[str]:
        """The names given since this was asked last."""
        names, self._new = self._new, []
        return names

    @property
    def position(self) -> int:
        """Always 0: a folder has no byte position, and resuming needs none."""
        return 0

    def header(self) -> None:
        """Nothing: a folder has no header."""

    footer = flush = close = header

    def write(self, document: Document) -> None:
        """Write the document's files.

        Raises:
            FormatError: the document cannot be expressed.
        """
        self.report.documents += 1
        self.report.mentions += len(document.mentions)
        contents = self.contents(document)
        index = document.index
        # Documents of several files may share id and index. Names are compared as file systems that ignore case do.
        while (name := file_stem(document, index)).lower() in self._names:
            index += 1
        self._names.add(name.lower())
        self._new.append(name)
        for suffix, content in contents.items():
            (self.folder / (name + suffix)).write_bytes(content.encode("utf-8"))
        self.documents_written += 1

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class BratWriter(FolderWriter):
    """Writes one .txt/.ann pair a document into a folder."""

    def contents(self, document: Document) -> dict[str, str]:
        """The content of each of the document's files by its ending."""
        return dict(zip((".txt", ".ann"), brat_pair(document, self.report), strict=True))
