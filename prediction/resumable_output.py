"""Annotated collections written piece by piece: atomic at the end, resumable after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from mosaic_ner.data_builders.formats import DocumentWriter, detect_format
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
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path] if path.exists() else []
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as handle:
            digest.update(handle.read(_SAMPLE))
            handle.seek(max(0, size - _SAMPLE))
            digest.update(handle.read(_SAMPLE))
    return digest.hexdigest()[:16] if files else ""


class ResumableOutput:
    """Writes documents to `<path>.partial` and renames it at the end; a journal beside it tells how far it came.

    The journal is replaced (atomically) after each flushed piece, so after a kill at any moment the partial file is cut
    back to the last complete piece, and the finished file equals that of an uninterrupted run byte for byte.

    Args:
        path: the file to write; its ending tells the format.
        key: what must be the same for a continuation to make sense (input, model, options), JSON-ready.
        resume: continue where an interrupted run stopped; without it an unfinished output is an error.
    Raises:
        JournalError: there is an unfinished output and `resume` is not set, or it was made with another `key`.
    """

    def __init__(self, path: str, key: dict, resume: bool = False):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.journal = self.path.with_name(self.path.name + ".journal.json")
        self.format = detect_format(self.path)
        if self.format in ("brat", "text", "genia_jsonl") or self.path.suffix.lower() == ".gz":
            raise JournalError(
                f"{path}: predictions go to one uncompressed file; name it .pubtator, .xml, .json, .jsonl or .iob2"
            )
        self.key = key
        self.done = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.journal.exists():
            state = json.loads(self.journal.read_text(encoding="utf-8"))
            if not resume:
                raise JournalError(
                    f"{self.partial} is an unfinished output ({state['documents']} documents); continue it with --resume, "
                    f"or delete it and {self.journal.name} to start again"
                )
            if state["key"] != key:
                changed = [k for k in key if state["key"].get(k) != key[k]]
                raise JournalError(
                    f"{self.partial} was made with another {', '.join(changed)}; delete it to start again"
                )
            size = self.partial.stat().st_size if self.partial.exists() else 0
            if size < state["bytes"]:
                raise JournalError(
                    f"{self.partial} has {size} bytes, but {self.journal.name} says {state['bytes']}; delete both to start "
                    "again"
                )
            self.done = state["documents"]
            kept = state["bytes"] if self.done else 0  # without a document the header is written again
            self.handle = self.partial.open("r+b")
            self.handle.truncate(kept)
            self.handle.seek(kept)
        else:
            self.handle = self.partial.open("wb")
        self.writer = DocumentWriter(self.handle, self.format, documents_written=self.done)
        self.writer.header()

    def write(self, documents: list[Document]) -> None:
        """Adds a piece; after it returns, a continuation starts behind it."""
        for document in documents:
            self.writer.write(document)
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.done += len(documents)
        state = {"documents": self.done, "bytes": self.handle.tell(), "key": self.key}
        fresh = self.journal.with_name(self.journal.name + ".new")
        fresh.write_text(json.dumps(state), encoding="utf-8")
        os.replace(fresh, self.journal)

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
        self.journal.unlink(missing_ok=True)
        return self.writer.report.summary() if self.writer.report.counts else ""
