"""Writers: one document at a time to a file, a packed file or a brat folder, complete or not at all."""

from __future__ import annotations

import gzip
import io
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mosaic_ner.modeling.document import Document

from .base import Reading
from .bioc_write import (
    bioc_json_footer,
    bioc_json_header,
    bioc_json_record,
    bioc_xml_footer,
    bioc_xml_header,
    bioc_xml_record,
    collection_of,
)
from .brat_write import BratWriter, FolderWriter
from .detect import FORMATS, choice, format_of_name, stem_of, unknown_ending
from .iob2_write import iob2_record
from .jsonl_write import jsonl_record
from .label_studio import label_studio_footer, label_studio_header, label_studio_record, labelling_config, types_of
from .pubtator import pubtator_record
from .report import FormatError, ReadReport
from .streams import open_binary
from .xmi import TYPE_SYSTEM, XmiWriter, type_system, xmi_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Codec:
    """How a single-file format is written; `record(document, report, number of documents before it)`; `header` and `footer`:
    the collection that the documents come from, None for another, and the report."""

    record: Callable[[Document, ReadReport, int], str]
    header: Callable[[Any, ReadReport], str] | None = None
    footer: Callable[[Any, ReadReport], str] | None = None


_CODECS = {
    "pubtator": _Codec(pubtator_record),
    "bioc_xml": _Codec(bioc_xml_record, bioc_xml_header, bioc_xml_footer),
    "bioc_json": _Codec(bioc_json_record, bioc_json_header, bioc_json_footer),
    "jsonl": _Codec(jsonl_record),
    "iob2": _Codec(iob2_record),
    "label_studio": _Codec(label_studio_record, label_studio_header, label_studio_footer),
    "xmi": _Codec(xmi_record),
}
FOLDERS: dict[str, type[FolderWriter]] = {"brat": BratWriter, "xmi": XmiWriter}
"""Formats of a folder of files, one or two a document. (A file of XMI holds one document.)"""


class DocumentWriter:
    """Writes documents to a binary (or text) handle, one at a time, and can go on where an earlier run stopped.

    The header is written before the first document, or at the end of a file without any. To resume, cut the file at a
    `position` that was noted after `write`, and pass the number of documents written until then; the bytes equal an
    uninterrupted write. `report` counts what the format could not hold.

    Args:
        handle: open for writing, at the place to go on; not closed unless `owned`.
        format: a name in `FORMATS` that can be written to a single file.
        documents_written: documents already in the file.
        owned: close the handle in `close`.

    Raises:
        FormatError: the format is unknown or cannot be written.
    """

    def __init__(self, handle, format: str, documents_written: int = 0, *, owned: bool = False):
        self._codec = _codec(format, getattr(handle, "name", "<stream>"))
        self._handle, self._owned, self._is_text = handle, owned, isinstance(handle, io.TextIOBase)
        self.format, self.documents_written, self.report = format, documents_written, ReadReport()
        self._header_done, self._closed = documents_written > 0, False
        self._collection = self._latest = None

    @property
    def position(self) -> int:
        """Bytes of the file so far, flushed."""
        self.flush()
        return self._handle.tell()

    def _put(self, text: str) -> None:
        self._handle.write(text if self._is_text else text.encode("utf-8"))

    def remember(self, document: Document) -> None:
        """Note the collection of a document that is written, or was, before an interruption: that of the first is written;
        of another, or where the format has no place for any, what it says is counted as lost."""
        found = collection_of(document)
        if found is None or found is self._latest:
            return
        self._latest, self._collection = found, self._collection or found
        lost = found != self._collection if self._codec.header else any(found.head.values())
        if lost:
            self.report.add("collection_not_written", document.name, ", ".join(found.head))

    def header(self) -> None:
        """Write what stands before the first document, unless that is done."""
        if not self._header_done and self._codec.header:
            self._put(self._codec.header(self._collection, self.report))
        self._header_done = True

    def write(self, document: Document) -> None:
        """Append a document.

        Raises:
            FormatError: the format cannot hold it; nothing of it is written.
        """
        record = self._codec.record(document, self.report, self.documents_written)
        self.remember(document)
        self.header()
        self._put(record)
        self.documents_written += 1
        self.report.documents += 1
        self.report.mentions += len(document.mentions)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._handle.flush()

    def footer(self) -> None:
        """Write what closes the file; nothing can be appended afterwards."""
        self.header()
        if self._codec.footer:
            self._put(self._codec.footer(self._collection, self.report))
        self.flush()

    def close(self, *, complete: bool = True) -> None:
        """Write the footer if `complete`, and close the handle if it is owned."""
        if self._closed:
            return
        self._closed = True
        if complete:
            self.footer()
        if self._owned:
            self._handle.close()

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(self, kind, value, trace) -> None:
        # After an error the file stays partial, so that it is not taken for a complete one and can be resumed.
        self.close(complete=kind is None)


def _codec(format: str, path) -> _Codec:
    choice(format, FORMATS, "format", path)
    if format == "text":
        remedy = f"write one of {', '.join(_CODECS)}, brat"
        raise FormatError(path, "a format that holds mentions", "plain text, which would lose them", remedy)
    if format not in _CODECS:
        what = "a folder; use open_writer" if format == "brat" else "for reading only"
        raise FormatError(path, f"a format of {', '.join(_CODECS)}", f"{format!r}, which is {what}", "choose another")
    return _CODECS[format]


def open_writer(
    path_or_handle, format: str | None = None, *, documents_written: int = 0, position: int | None = None
) -> DocumentWriter | FolderWriter:
    """A writer for a path or an open handle.

    A path is created, or, with `documents_written` above 0, cut to `position` bytes and continued.

    Raises:
        FormatError: the format is unknown or cannot be written; a file is to be resumed without a position, is shorter
            than it, or is compressed.
    """
    if not isinstance(path_or_handle, (str, Path)):
        if format is None:
            raise FormatError(
                "<stream>", "a format for a handle", "none", f"pass format= (one of {', '.join(_CODECS)})"
            )
        return DocumentWriter(path_or_handle, format, documents_written)
    path = Path(path_or_handle)
    format = format_to_write(path, format)
    if format in FOLDERS:
        return FOLDERS[format](path, documents_written)
    _codec(format, path)
    packed = path.name.lower().endswith(".gz")
    if not documents_written:
        return DocumentWriter(create(path, packed), format, owned=True)
    size = path.stat().st_size
    if position is None or packed or size < position:
        got = "a .gz file" if packed else f"position {position} in a file of {size} bytes"
        raise FormatError(
            path, "a file to resume and the position to cut it at", got, "start again from the first document"
        )
    handle = open(path, "r+b")  # noqa: SIM115 (the writer closes it)
    handle.truncate(position)
    handle.seek(position)
    return DocumentWriter(handle, format, documents_written, owned=True)


def create(path: Path, packed: bool) -> BinaryIO:
    """A new file; a packed one carries neither name nor time, so that equal documents give equal bytes."""
    return _Packed(path) if packed else open(path, "wb")


class _Packed(gzip.GzipFile):
    """A gzip file that closes the file beneath it."""

    def __init__(self, path: Path):
        self._beneath = open(path, "wb")  # noqa: SIM115 (closed in close)
        super().__init__(filename="", mode="wb", fileobj=self._beneath, mtime=0)

    def close(self) -> None:
        super().close()
        self._beneath.close()


def write_each(writer, documents: Iterable[Document], skip: bool) -> None:
    """Writes documents; with `skip` those that the format can't hold are counted in the writer's report.

    Raises:
        FormatError: a document can't be written.
    """
    for document in documents:
        try:
            writer.write(document)
        except FormatError as error:
            if not skip:
                raise
            writer.report.add_bad("unwritable", error)


def write_documents(
    documents: Iterable[Document], path: str | Path, format: str | None = None, skip_bad: bool = False
) -> ReadReport:
    """Write all documents; the file (or, for brat and XMI, the folder) appears under its name only when it is complete.

    Args:
        skip_bad: leave out documents that can't be written, and say so in what is returned.
    Returns:
        what the format could not hold.

    Raises:
        FormatError: a document cannot be written; an existing file stays as it was.
        FileExistsError: the folder exists and is not empty.
    """
    path = Path(path)
    format = format_to_write(path, format)
    partial = _free_name(path)
    if format in FOLDERS and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path}: exists and is not an empty folder; remove it or choose another name")
    try:
        if format in FOLDERS:
            writer = FOLDERS[format](partial)
        else:
            writer = DocumentWriter(create(partial, path.name.lower().endswith(".gz")), format, owned=True)
        with writer:
            write_each(writer, documents, skip_bad)
        os.replace(partial, path)
        write_beside(path, format)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    lost = {cause: count for cause, count in writer.report.counts.items() if cause == "nested_not_written"}
    if lost:
        logger.warning("%s: %s", path, writer.report.summary())
    return writer.report


def write_beside(path: Path, format: str) -> None:
    """Writes what a program needs beside a finished file: Label Studio's labelling interface, INCEpTION's type system."""
    if format == "label_studio":
        with open_binary(path) as handle:
            types = types_of(handle, Reading(str(path), path.name))
        path.with_name(f"{stem_of(path)}.labels.xml").write_text(labelling_config(types), encoding="utf-8")
    elif format == "xmi" and path.is_file():
        path.with_name(TYPE_SYSTEM).write_text(type_system(), encoding="utf-8")


def format_to_write(path: str | Path, format: str | None = None) -> str:
    """The format of a file to be written: that given, else what its ending says; a name without ending is a brat folder.

    Raises:
        FormatError: it is unknown or cannot be written.
    """
    path = Path(path)
    if format is None:
        # A folder to be made has no ending; brat is the only format that writes one.
        format = "brat" if not path.suffix or path.is_dir() else format_of_name(path)
    if format is None:
        raise unknown_ending(path)
    if format not in FOLDERS:
        _codec(format, path)
    return format


def _free_name(path: Path) -> Path:
    """A name beside `path` that is not taken."""
    candidates = (path.with_name(f".{path.name}.{os.getpid()}.{n}.partial") for n in itertools.count())
    return next(candidate for candidate in candidates if not candidate.exists())
