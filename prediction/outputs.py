"""Where predictions go: one file, a brat folder, or a folder of the same files as the input's."""

from __future__ import annotations

import os
import shutil
from collections import deque
from pathlib import Path

from mosaic_ner.data_builders.formats import (
    DocumentWriter,
    ReadReport,
    detect_format,
    parts_of,
    write_beside,
    write_each,
)
from mosaic_ner.data_builders.formats.brat_write import brat_pair
from mosaic_ner.data_builders.formats.detect import WRITTEN_AS, format_of_name
from mosaic_ner.data_builders.formats.writing import FOLDERS
from mosaic_ner.modeling.document import Document

from .resumable_output import Journal, JournalError, ResumableOutput, note_unwritable, open_at


def open_output(source: str, target: str, key: dict, resume: bool, format: str | None, skip: bool):
    """What takes the annotated documents of `source`, in their order, and puts them in their place at the end.

    A target without an ending, or a folder, gets brat files, or, where the source is a folder, a file for each of its files;
    one that ends in .xmi becomes a folder of XMI files.
    Where the target's ending tells no format, it has the source's.

    Args:
        source, target: `--predict_input` and `--predict_output`.
        key, resume, skip: as for `ResumableOutput`.
        format: that of the source, None for what it is found to be.
    """
    path = Path(target)
    if path.is_dir() or (not path.suffix and format_of_name(path) is None):
        if Path(source).is_dir():
            return FolderOutput(path, key, resume, Path(source), format, skip)
        return FolderFormatOutput(path, key, resume, skip, "brat")
    if format_of_name(path) == "xmi":
        return FolderFormatOutput(path, key, resume, skip, "xmi")
    own = format_of_name(path)
    if own in (None, "text") and not Path(source).is_dir():
        found = format or detect_format(source)
        own = found if found not in WRITTEN_AS else None
    elif own in (None, "text"):
        own = None
    return ResumableOutput(target, key, resume, own if own not in FOLDERS else None, skip)


def _free(path: Path) -> None:
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise JournalError(f"{path}: exists and is not an empty folder; remove it or choose another name")


class FolderFormatOutput:
    """Writes a folder of files of each document, under another name until it is complete; as `ResumableOutput`."""

    def __init__(self, path: Path, key: dict, resume: bool, skip: bool, format: str):
        _free(path)
        self.path, self.skip = path, skip
        self.journal = Journal(path, key, resume)
        state = self.journal.state
        self.done = state["documents"] if state else 0
        partial = self.journal.partial
        if not state and partial.exists():
            shutil.rmtree(partial)
        self.writer = FOLDERS[format](partial)
        self._names = partial / ".names"  # of the files of the documents so far, one a line
        if state:
            self.journal.check(self._names, state["bytes"])
            with self._names.open("r+b") as handle:
                handle.truncate(state["bytes"])
            self.writer.taken(self._names.read_text(encoding="utf-8").splitlines())
        note_unwritable(self.report, state)

    @property
    def report(self) -> ReadReport:
        """What the format could not hold."""
        return self.writer.report

    def passed(self, document: Document) -> None:
        """A document that an interrupted run has written."""

    def write(self, documents: list[Document]) -> None:
        """Adds a piece; after it returns, a continuation starts behind it."""
        write_each(self.writer, documents, self.skip)
        with self._names.open("a", encoding="utf-8") as handle:
            handle.writelines(f"{name}\n" for name in self.writer.new_names())
            handle.flush()
            os.fsync(handle.fileno())
        self.done += len(documents)
        size, lost = self._names.stat().st_size, self.report.counts["unwritable"]
        self.journal.write(documents=self.done, bytes=size, unwritable=lost)

    def close(self) -> str:
        """Puts the folder in its place; returns what the format could not hold, readable."""
        self._names.unlink(missing_ok=True)
        if self.path.is_dir():
            self.path.rmdir()
        os.replace(self.journal.partial, self.path)
        self.journal.path.unlink(missing_ok=True)
        return self.report.summary() if self.report.counts else ""


class FolderOutput:
    """Writes a file of the same name and format for each file of a folder, brat files for plain text; as `ResumableOutput`.

    A format that can't be written is written as `WRITTEN_AS` says, under an ending of that.
    Documents are told apart by the files that they were read from: `source.path` of each, in the order of `parts_of`.
    """

    def __init__(self, path: Path, key: dict, resume: bool, source: Path, format: str | None, skip: bool):
        _free(path)
        self.path, self.skip, self.report = path, skip, ReadReport()
        parts = parts_of(source, format)
        self.waiting = deque(_targets(source, parts))
        self.journal = Journal(path, key, resume)
        state = self.journal.state
        self.done, self.writer, self.handle, self.file = 0, None, None, None
        partial = self.journal.partial
        if state:
            self.done = state["documents"]
            while self.waiting and len(parts) - len(self.waiting) < state["files"]:
                self.file = self.waiting.popleft()
            if state["bytes"] is not None:
                target = partial / self.file[1]
                self.journal.check(target, state["bytes"])
                self.handle = open_at(target, state["bytes"])
                self.writer = DocumentWriter(self.handle, self._format(), documents_written=state["written"])
            note_unwritable(self.report, state)
        elif partial.exists():
            shutil.rmtree(partial)
        self._total = len(parts)

    def _format(self) -> str:
        return self.file[2] if self.file[2] == "xmi" else WRITTEN_AS.get(self.file[2], self.file[2])

    def _next(self) -> None:
        """Ends the file that is being written and begins the next one."""
        self._end()
        self.file = self.waiting.popleft()
        target = self.journal.partial / self.file[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.file[2] not in ("brat", "text"):
            self.handle = open_at(target, None)
            self.writer = DocumentWriter(self.handle, self._format())

    def _end(self) -> None:
        if self.writer is not None:
            self.writer.footer()
            self.handle.flush()
            os.fsync(self.handle.fileno())
            self.handle.close()
            write_beside(self.journal.partial / self.file[1], self._format())
            self.report.merge(self.writer.report)
        self.writer = self.handle = None

    def passed(self, document: Document) -> None:
        """A document that an interrupted run has written."""
        if self.writer is not None and str(self.file[0]) == document.path:
            self.writer.remember(document)

    def write(self, documents: list[Document]) -> None:
        """Adds a piece; after it returns, a continuation starts behind it."""
        for document in documents:
            while self.file is None or str(self.file[0]) != document.path:
                self._next()
            if self.writer is not None:
                write_each(self.writer, [document], self.skip)
            else:
                write_each(_Pair(self.journal.partial / self.file[1], self.report), [document], self.skip)
        self.done += len(documents)
        place = None
        if self.writer is not None:
            self.handle.flush()
            os.fsync(self.handle.fileno())
            place = self.handle.tell()
        written = self.writer.documents_written if self.writer is not None else 0
        lost = self.report.counts["unwritable"] + (self.writer.report.counts["unwritable"] if self.writer else 0)
        files = self._total - len(self.waiting)
        self.journal.write(documents=self.done, files=files, bytes=place, written=written, unwritable=lost)

    def close(self) -> str:
        """Completes the last file and puts the folder in its place; returns what was lost, readable."""
        while self.waiting:
            self._next()
        self._end()
        if self.path.is_dir():
            self.path.rmdir()
        self.journal.partial.mkdir(exist_ok=True)
        os.replace(self.journal.partial, self.path)
        self.journal.path.unlink(missing_ok=True)
        return self.report.summary() if self.report.counts else ""


def _targets(source: Path, parts: list[tuple[Path, str]]) -> list[tuple[Path, Path, str]]:
    """The files of a folder, their names in the output folder, and their formats.

    Raises:
        JournalError: two of them would get one name.
    """
    found, taken = [], {}
    for file, format in parts:
        target = _target(file.relative_to(source), format)
        if other := taken.get(target):
            raise JournalError(
                f"{other} and {file} would both become {target}; give one another name, or annotate them into two folders"
            )
        taken[target] = file
        found.append((file, target, format))
    return found


def _target(name: Path, format: str) -> Path:
    packed = name.suffix.lower() == ".gz"
    bare = name.with_suffix("") if packed else name
    if format in ("brat", "text"):  # written unpacked
        return bare
    if format == "parquet":
        return bare.with_suffix(".jsonl")
    if bare.suffix.lower() == ".nxml":  # JATS's own ending; BioC is no JATS
        bare = bare.with_suffix(".xml")
    return bare.with_name(bare.name + name.suffix) if packed else bare


class _Pair:
    """Writes a document as the .txt and .ann file of the given name."""

    def __init__(self, txt: Path, report: ReadReport):
        self.txt, self.report = txt, report

    def write(self, document: Document) -> None:
        """Raises FormatError if the format can't hold the document; then nothing is written."""
        text, annotations = brat_pair(document, self.report)
        self.report.documents += 1
        self.report.mentions += len(document.mentions)
        self.txt.write_bytes(text.encode("utf-8"))
        self.txt.with_suffix(".ann").write_bytes(annotations.encode("utf-8"))
