"""Readers and writers: PubTator, BioC XML and JSON, brat standoff, IOB2, JSON lines, plain text.

    for document in read_documents("corpus.pubtator"): ...
    report = write_documents(documents, "predictions.bioc.xml")

Readers stream: apart from the ids seen, memory does not grow with the file. Offsets are code points of `Document.text`.
`.gz` files are unpacked on the fly. Mentions come in reading order.

Policies (`policy=`)
--------------------
"strict" (default) ends at the first fault; "lenient" counts faults and repairs nothing. "published" is "lenient" for the
corpora of this package.
"cause" is the key in `ReadReport.counts`.

| what is found                                     | strict           | lenient                | cause              |
|---------------------------------------------------|------------------|------------------------|--------------------|
| mention text differs from the text at its offsets | error            | kept, offsets as given | text_mismatch      |
| mention empty or outside the text                 | error            | dropped                | outside_text       |
| PubTator record without a blank line before it    | error            | read                   | missing_blank_line |
| PubTator mention with a seventh cell              | error            | cell dropped           | extra_field        |
| IOB line with an empty token                      | error            | line dropped           | empty_token        |
| brat .txt without .ann                            | error            | no mentions            | no_annotation_file |
| the same mention twice in a document              | kept once        | kept once              | duplicate_mention  |
| mention of several pieces (BioC, brat)            | dropped          | dropped                | discontinuous      |
| I- tag without a mention before it                | starts a mention | starts a mention       | iob1_start         |
| document without text                             | kept             | kept                   | empty_document     |
| relation                                          | dropped          | dropped                | relation           |
| annotation's infon without a place in `Mention`   | dropped          | dropped                | infon_not_kept     |
| brat line other than T and N                      | dropped          | dropped                | not_kept           |
| CR LF line ends                                   | accepted         | accepted               | crlf               |
| byte order mark                                   | stripped         | stripped               | bom                |

An error under both policies: wrong number of cells, an offset that is no number, a line before its title or of another
record, an unknown JSON key or IOB tag, not UTF-8, not well-formed, passages that overlap, offsets that count
UTF-8 bytes or UTF-16 units.

A document id that occurs again is judged by `repeated_ids`: "error" (default under "strict") or "index" (default
otherwise): `Document.index` counts the earlier records with that id, and the report counts `repeated_id`. Files of
passages that share an article's id, such as NLM-Chem's, are read with `repeated_ids="index"`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import nearest

from .base import CAUSES, POLICIES, REPEATED_IDS, FormatError, Reading, ReadReport, open_binary
from .bioc import (
    JSON_FOOTER,
    JSON_HEADER,
    XML_FOOTER,
    XML_HEADER,
    bioc_json_record,
    bioc_xml_record,
    read_bioc_json,
    read_bioc_xml,
)
from .brat import BratWriter, read_brat
from .iob2 import iob2_record, read_iob2
from .jsonl import jsonl_record, read_genia_jsonl, read_jsonl, read_text_files
from .pubtator import pubtator_record, read_pubtator

__all__ = [
    "CAUSES",
    "FORMATS",
    "BratWriter",
    "DocumentWriter",
    "FormatError",
    "ReadReport",
    "detect_format",
    "open_writer",
    "read_documents",
    "write_documents",
]

logger = logging.getLogger(__name__)

# name → (endings in lower case, description)
FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "pubtator": ((".pubtator", ".pubtator.txt"), "PubTator: ID|t|title, ID|a|abstract, tab-separated mentions"),
    "bioc_xml": ((".bioc.xml", ".xml"), "BioC XML collection"),
    "bioc_json": ((".bioc.json", ".json"), "BioC JSON collection"),
    "jsonl": ((".jsonl",), "one JSON document a line; holds all that a Document holds"),
    "brat": ((".ann",), "brat standoff: a folder of .txt and .ann files, or one of them"),
    "iob2": ((".iob2", ".iob", ".bio", ".conll", ".tsv"), "IOB2: token and tag a line, a blank line after a sentence"),
    "text": ((".txt",), "plain text: a file is one document; or a folder of .txt files (reading only)"),
    "genia_jsonl": ((), "GENIA's JSON lines with token offsets (reading only; never guessed from the name)"),
}

_READERS: dict[str, Callable[[BinaryIO, Reading], Iterator[Document]]] = {
    "pubtator": read_pubtator,
    "bioc_xml": read_bioc_xml,
    "bioc_json": read_bioc_json,
    "jsonl": read_jsonl,
    "iob2": read_iob2,
    "genia_jsonl": read_genia_jsonl,
}


@dataclass(frozen=True)
class _Codec:
    """How a single-file format is written; `record(document, report, number of documents before it)`."""

    record: Callable[[Document, ReadReport, int], str]
    header: str = ""
    footer: str = ""


_CODECS = {
    "pubtator": _Codec(pubtator_record),
    "bioc_xml": _Codec(bioc_xml_record, XML_HEADER, XML_FOOTER),
    "bioc_json": _Codec(bioc_json_record, JSON_HEADER, JSON_FOOTER),
    "jsonl": _Codec(jsonl_record),
    "iob2": _Codec(iob2_record),
}


def _choice(value: str, known: Iterable[str], what: str, path) -> str:
    if value not in known:
        raise FormatError(
            path,
            f"a {what} of {', '.join(known)}",
            repr(value),
            f"pass one of these{nearest(value, known, listing=False)}",
        )
    return value


def _endings() -> list[tuple[str, str]]:
    """(ending, format), longest ending first."""
    pairs = [(ending, name) for name, (endings, _) in FORMATS.items() for ending in endings]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def detect_format(path: str | Path) -> str:
    """The format that the file's ending (before `.gz`) names, or that the folder's files have.

    Raises:
        FormatError: the ending is unknown; the message lists the known ones and the nearest.
    """
    path = Path(path)
    if path.is_dir():
        suffixes = {file.suffix for file in path.iterdir() if not file.name.startswith(".")}
        if ".ann" in suffixes:
            return "brat"
        if suffixes == {".txt"}:
            return "text"
        got = f"a folder with {', '.join(sorted(suffixes)) or 'no files'}"
        raise FormatError(path, "a folder of .txt and .ann files (brat) or of .txt files alone", got, "give one file")
    name = path.name.lower().removesuffix(".gz")
    for ending, format in _endings():
        if name.endswith(ending):
            return format
    known = [ending for ending, _ in _endings()]
    got = Path(name).suffix
    remedy = f"rename the file or pass format= (one of {', '.join(FORMATS)}){nearest(got, known, listing=False)}"
    raise FormatError(path, f"a file ending of {', '.join(sorted(known))}", repr(got) if got else "none", remedy)


def _stem(path: Path) -> str:
    """The file name without its ending and `.gz`."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    ending = next((ending for ending, _ in _endings() if name.lower().endswith(ending)), Path(name).suffix)
    return (name[: -len(ending)] if ending else name) or name


def read_documents(
    path: str | Path | BinaryIO,
    format: str | None = None,
    *,
    corpus: str = "user",
    policy: str = "strict",
    report: ReadReport | None = None,
    annotated_types: Iterable[str] | None = None,
    repeated_ids: str | None = None,
) -> Iterator[Document]:
    """The documents of a file or folder, one at a time.

    Args:
        path: a file, a folder (brat, plain text), or a binary handle (then `format` is needed; it is not closed).
        format: a name in `FORMATS`; by default what the file's ending says.
        corpus: the documents' corpus, unless the file (JSONL) says.
        policy: "strict", "lenient" or, for the corpora of this package, "published"; see the module's table.
        report: counts everything that is not represented; complete once the iterator is exhausted.
        annotated_types: types annotated exhaustively, unless the file (JSONL) says; by default none.
        repeated_ids: "error" or "index"; by default the policy's.

    Raises:
        FormatError: at once for a wrong argument, while iterating for a fault in the file.
        FileNotFoundError: there is no such file.
    """
    is_handle = not isinstance(path, (str, Path))
    name = str(getattr(path, "name", "<stream>")) if is_handle else str(path)
    _choice(policy, POLICIES, "policy", name)
    repeated_ids = repeated_ids or ("error" if policy == "strict" else "index")
    _choice(repeated_ids, REPEATED_IDS, "repeated_ids", name)
    if not is_handle and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    guessed = format is None
    if guessed and is_handle:
        raise FormatError(name, "a format for a handle", "none", f"pass format= (one of {', '.join(FORMATS)})")
    format = detect_format(path) if guessed else _choice(format, FORMATS, "format", name)
    types = frozenset([annotated_types] if isinstance(annotated_types, str) else annotated_types or ())
    report = ReadReport() if report is None else report
    reading = Reading(name, _stem(Path(name)), corpus, policy, repeated_ids, types, report)
    if format in ("brat", "text"):
        if is_handle:
            raise FormatError(name, f"a path for {format}", "a handle", "pass the path of the file or folder")
        return read_brat(Path(path), reading) if format == "brat" else _read_text(Path(path), reading, guessed)
    if not is_handle and Path(path).is_dir():
        raise FormatError(name, f"a file for the format {format}", "a folder", "read its files one by one")
    return _read_file(path, is_handle, format, reading)


def _read_text(path: Path, reading: Reading, guessed: bool) -> Iterator[Document]:
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    documents = read_text_files(files, reading)
    for document in documents:
        first = document.text.partition("\n")[0]
        if guessed and first.partition("|")[2].startswith("t|") and "|" not in first.partition("|")[0]:
            remedy = "pass format='pubtator', or format='text' if it is text after all"
            raise reading.error("plain text", "what looks like PubTator", remedy, line=1)
        yield document


def _read_file(source, is_handle: bool, format: str, reading: Reading) -> Iterator[Document]:
    with contextlib.nullcontext(source) if is_handle else open_binary(source) as handle:
        try:
            yield from _READERS[format](handle, reading)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            remedy = "the file is damaged or not compressed: fetch it again, or drop .gz from its name"
            raise reading.error("a complete gzip file", str(error), remedy) from error


class DocumentWriter:
    """Writes documents to a binary (or text) handle, one at a time, and can go on where an earlier run stopped.

    The header is written when `documents_written` is 0, and only then. To resume, cut the file at a `position` that was
    noted after `write`, and pass the number of documents written until then; the bytes equal an uninterrupted write.
    `report` counts what the format could not hold.

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

    @property
    def position(self) -> int:
        """Bytes of the file so far, flushed."""
        self.flush()
        return self._handle.tell()

    def _put(self, text: str) -> None:
        self._handle.write(text if self._is_text else text.encode("utf-8"))

    def header(self) -> None:
        """Write the header unless it is there."""
        if not self._header_done:
            self._put(self._codec.header)
            self._header_done = True

    def write(self, document: Document) -> None:
        """Append a document.

        Raises:
            FormatError: the format cannot hold it; nothing of it is written.
        """
        record = self._codec.record(document, self.report, self.documents_written)
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
        self._put(self._codec.footer)
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
    _choice(format, FORMATS, "format", path)
    if format == "text":
        remedy = f"write one of {', '.join(_CODECS)}, brat"
        raise FormatError(path, "a format that holds mentions", "plain text, which would lose them", remedy)
    if format not in _CODECS:
        what = "a folder; use open_writer" if format == "brat" else "for reading only"
        raise FormatError(path, f"a format of {', '.join(_CODECS)}", f"{format!r}, which is {what}", "choose another")
    return _CODECS[format]


def open_writer(
    path_or_handle, format: str | None = None, *, documents_written: int = 0, position: int | None = None
) -> DocumentWriter | BratWriter:
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
    format = detect_format(path) if format is None else format
    if format == "brat":
        return BratWriter(path, documents_written)
    _codec(format, path)
    packed = path.name.lower().endswith(".gz")
    if not documents_written:
        return DocumentWriter(_create(path, packed), format, owned=True)
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


def _create(path: Path, packed: bool) -> BinaryIO:
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


def write_documents(documents: Iterable[Document], path: str | Path, format: str | None = None) -> ReadReport:
    """Write all documents; the file (or, for brat, the folder) appears under its name only when it is complete.

    Returns:
        what the format could not hold.

    Raises:
        FormatError: a document cannot be written; an existing file stays as it was.
        FileExistsError: a brat folder exists and is not empty.
    """
    path = Path(path)
    format = _format_to_write(path, format)
    partial = _free_name(path)
    if format == "brat" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path}: exists and is not an empty folder; remove it or choose another name")
    try:
        if format == "brat":
            writer = BratWriter(partial)
        else:
            writer = DocumentWriter(_create(partial, path.name.lower().endswith(".gz")), format, owned=True)
        with writer:
            for document in documents:
                writer.write(document)
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    lost = {cause: count for cause, count in writer.report.counts.items() if cause == "nested_not_written"}
    if lost:
        logger.warning("%s: %s", path, writer.report.summary())
    return writer.report


def _format_to_write(path: Path, format: str | None) -> str:
    if format is None:
        # A folder to be made has no ending; brat is the only format that writes one.
        format = "brat" if not path.suffix or path.is_dir() else detect_format(path)
    if format != "brat":
        _codec(format, path)
    return format


def _free_name(path: Path) -> Path:
    """A name beside `path` that is not taken."""
    candidates = (path.with_name(f".{path.name}.{os.getpid()}.{n}.partial") for n in itertools.count())
    return next(candidate for candidate in candidates if not candidate.exists())
