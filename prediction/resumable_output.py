"""Annotated collections written piece by piece: atomic at the end, resumable after an interruption."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from mosaic_ner.data_builders.formats import (
    DocumentWriter,
    ReadReport,
    format_to_write,
    write_beside,
    write_each,
)
from mosaic_ner.data_builders.formats.detect import WRITTEN_AS
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError

_SAMPLE = 1 << 20


class JournalError(UserError):
    """An interrupted output that can't be continued as asked."""


def fingerprint(path: str | Path) -> str:
    """A short digest of a file, or of a folder's files: names, sizes, and the first and last MiB of each.

    Args:
        path: what is not there (a Hub id) has an empty one.
    """
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.exists() else []
    digest = hashlib.sha256()
    for file in files:
        size, name = file.stat().st_size, file.relative_to(path).as_posix() if path.is_dir() else file.name
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as handle:
            digest.update(handle.read(_SAMPLE))
            handle.seek(max(0, size - _SAMPLE))
            digest.update(handle.read(_SAMPLE))
    return digest.hexdigest()[:16] if files else ""


class GzipPieces:
    """A binary file that is packed piece by piece: each flush ends a member, so that it can be cut between two.

    Members carry no time: equal pieces give equal bytes.
    """

    def __init__(self, handle: BinaryIO):
        self._handle, self._waiting = handle, []

    def write(self, data: bytes) -> None:
        self._waiting.append(data)

    def flush(self) -> None:
        if self._waiting:
            self._handle.write(gzip.compress(b"".join(self._waiting), mtime=0))
            self._waiting = []
        self._handle.flush()

    def tell(self) -> int:
        self.flush()
        return self._handle.tell()

    def fileno(self) -> int:
        return self._handle.fileno()

    def close(self) -> None:
        self.flush()
        self._handle.close()


def open_at(path: Path, kept: int | None) -> BinaryIO | GzipPieces:
    """A file to write: a new one, or the first `kept` bytes of one that is there. `.gz` is packed."""
    if kept is None:
        handle = path.open("wb")
    else:
        handle = path.open("r+b")
        handle.truncate(kept)
        handle.seek(kept)
    return GzipPieces(handle) if path.name.removesuffix(".partial").lower().endswith(".gz") else handle


class Journal:
    """How far an output came, in a small file beside it that is replaced atomically.

    Args:
        path: the output.
        key: what must be the same for a continuation to make sense, JSON-ready.
        resume: continue; without it an unfinished output is an error.
    Raises:
        JournalError: there is an unfinished output and `resume` is not set, or it was made with another `key`.
    """

    def __init__(self, path: Path, key: dict, resume: bool):
        self.partial = path.with_name(path.name + ".partial")
        self.path = path.with_name(path.name + ".journal.json")
        self.key, self.state = key, None
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        state = json.loads(self.path.read_text(encoding="utf-8"))
        if not resume:
            raise JournalError(
                f"{self.partial} is an unfinished output ({state['documents']} documents); continue it with --resume, "
                f"or delete it and {self.path.name} to start again"
            )
        if state["key"] != key:
            changed = [k for k in key if state["key"].get(k) != key[k]]
            raise JournalError(f"{self.partial} was made with another {', '.join(changed)}; delete it to start again")
        self.state = state

    def check(self, file: Path, kept: int) -> None:
        """Raises JournalError if a file is shorter than the journal says."""
        size = file.stat().st_size if file.exists() else 0
        if size < kept:
            raise JournalError(f"{file} has {size} bytes, but {self.path.name} says {kept}; delete both to start again")

    def write(self, **state) -> None:
        """Notes a state, which `state` is in a continuation."""
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps(state | {"key": self.key}), encoding="utf-8")
        os.replace(fresh, self.path)


def note_unwritable(report: ReadReport, state: dict | None) -> None:
    """Counts the documents that an interrupted run left out."""
    if state and state.get("unwritable"):
        report.add("unwritable", "before the interruption", count=state["unwritable"])


class ResumableOutput:
    """Writes documents to `<path>.partial` and renames it at the end; a journal beside it tells how far it came.

    The journal is replaced (atomically) after each flushed piece, so after a kill at any moment the partial file is cut
    back to the last complete piece, and the finished file equals that of an uninterrupted run byte for byte.

    Args:
        path: the file to write; its ending tells the format.
        key: what must be the same for a continuation to make sense (input, model, options), JSON-ready.
        resume: continue where an interrupted run stopped; without it an unfinished output is an error.
        format: the file's format where its ending tells none.
        skip: leave out documents that the format can't hold, and count them.
    Raises:
        JournalError: there is an unfinished output and `resume` is not set, or it was made with another `key`.
    """

    def __init__(self, path: str, key: dict, resume: bool = False, format: str | None = None, skip: bool = False):
        self.path, self.skip = Path(path), skip
        self.format = writable_format(self.path, format)
        self.journal_file = Journal(self.path, key, resume)
        self.partial, self.journal, state = self.journal_file.partial, self.journal_file.path, self.journal_file.state
        self.done = state["documents"] if state else 0
        kept = None
        if state:
            kept = state["bytes"]
            self.journal_file.check(self.partial, kept)
        self.handle = open_at(self.partial, kept)
        written = state.get("written", self.done) if state else 0
        self.writer = DocumentWriter(self.handle, self.format, documents_written=written)
        note_unwritable(self.writer.report, state)

    @property
    def report(self) -> ReadReport:
        """What the format could not hold."""
        return self.writer.report

    def passed(self, document: Document) -> None:
        """A document that an interrupted run has written."""
        self.writer.remember(document)

    def write(self, documents: list[Document]) -> None:
        """Adds a piece; after it returns, a continuation starts behind it."""
        write_each(self.writer, documents, self.skip)
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.done += len(documents)
        self.journal_file.write(
            documents=self.done,
            bytes=self.handle.tell(),
            written=self.writer.documents_written,
            unwritable=self.report.counts["unwritable"],
        )

    def close(self) -> str:
        """Completes the file and puts it in its place.

        Returns:
            What the format could not hold, readable; empty if nothing was lost.
        """
        self.writer.footer()
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.handle.close()
        os.replace(self.partial, self.path)
        write_beside(self.path, self.format)
        self.journal.unlink(missing_ok=True)
        return self.report.summary() if self.report.counts else ""


def writable_format(path: Path, format: str | None = None) -> str:
    """The format of a single file to write.

    Raises:
        JournalError: its ending tells none that a single file can have, and `format` neither.
    """
    named = format or (format_to_write(path) if path.suffix.lower() not in (".txt", ".ann") else None)
    if named is None or named in WRITTEN_AS:
        raise JournalError(
            f"{path}: predictions go to one file; name it .pubtator, .xml, .json, .jsonl or .iob2 (and .gz after it), or give "
            "a folder for brat"
        )
    return named
