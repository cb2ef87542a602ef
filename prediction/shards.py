"""One input, one shard of the output: whole or not at all, in pieces so that an interrupted one goes on.

A piece is a run of `PIECE` chunks of documents. It is written under another name and renamed when it is complete; so is the
shard that is made of all pieces, and the receipt that says that the shard is there. So any number of workers, some of them
killed, write the same files, byte for byte, and none of them waits for another.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.data_builders.formats import (
    DocumentWriter,
    FormatError,
    ReadReport,
    detect_format,
    read_documents,
    write_each,
)
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError

from . import integrity
from .inputs import Source, is_address, local
from .tagger import CHUNK, Tagger, tasks_of

PIECE = 16
"""Chunks of documents in a piece."""
TEXTS = {"pubtator": "pubtator", "bioc.xml": "bioc_xml", "jsonl": "jsonl"}
"""Endings of single files → their formats; each may be packed (`.gz`)."""
WRITTEN = ("parquet", *(ending + packed for ending in TEXTS for packed in ("", ".gz")))
"""What a shard can be written as."""
DONE, WORK = "_done", "_work"


class DiskFullError(UserError):
    """There is no room for the output."""


@dataclass(frozen=True)
class Job:
    """What the shards of a run have in common; plain values, so that another machine does the same.

    Args:
        output: the folder, which all workers see.
        write: one of `WRITTEN`.
        model: a folder or a Hub id; None: the default model.
        corpus, types, threshold: as for `Tagger`.
        batch_size: windows that go through the model at once.
        chunk: documents whose windows are batched together.
        strict: whether a record that can't be read, or written, ends its shard; else it is left out and counted.
        precision: of the encoder, one of `options.PRECISIONS`.
    """

    output: str
    write: str = "parquet"
    model: str | None = None
    corpus: str | None = None
    types: tuple[str, ...] = ()
    threshold: float = 0.0
    batch_size: int = 16
    chunk: int = CHUNK
    strict: bool = False
    precision: str = "float32"

    def tagger(self) -> Tagger:
        """The model, on a GPU if there is one."""
        from transformers.utils.logging import disable_progress_bar

        from .precision import load_predictor

        disable_progress_bar()
        predictor = load_predictor(self.model, self.precision, batch_size=self.batch_size)
        return Tagger(predictor, tasks_of(predictor.model, self.corpus), self.types, self.threshold)


def receipt_of(source: Source, output: str | Path) -> dict | None:
    """What a complete shard says of itself; None while it isn't complete."""
    path = Path(output) / DONE / f"{source.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def receipts_of(output: Path) -> dict[str, dict]:
    """Shard → its receipt, of all that are complete."""
    paths = sorted((output / DONE).rglob("*.json"))
    names = [path.relative_to(output / DONE).with_suffix("").as_posix() for path in paths]
    return {n: json.loads(path.read_text(encoding="utf-8")) for n, path in zip(names, paths, strict=True)}


def annotate_shard(
    source: Source, job: Job, tagger: Tagger, tell: Callable[[int], None] = lambda count: None
) -> dict | None:
    """Writes the shard of a source, or those of its pieces that are missing and asked for.

    Args:
        tell: called with the number of documents after each chunk.
    Returns:
        The shard's receipt; None where other workers haven't written their pieces yet; `{"failed": …}` where the input
        can't be read.
    Raises:
        DiskFullError: nothing more can be written; nothing incomplete is left under a shard's name.
    """
    if (receipt := receipt_of(source, job.output)) is not None:
        return receipt
    with _room(job.output):
        try:
            shard = _Shard(source, job)
            done = shard.annotate(tagger, tell)
        except (FormatError, FileNotFoundError) as error:
            if receipt := receipt_of(source, job.output):  # another worker was quicker, and took its pieces away
                return receipt
            return {"failed": str(error)}
        return shard.finish() if done else None


@contextmanager
def _room(output: str) -> Iterator[None]:
    """Says in the project's words that a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = (
            f"{output}: no room is left ({error.strerror}); make room and start the same command again: it goes on"
        )
        raise DiskFullError(message) from error


class _Shard:
    """The places and the pieces of a shard."""

    def __init__(self, source: Source, job: Job):
        self.source, self.job, self.output = source, job, Path(job.output)
        self.content = source.content()
        # Pieces of an input that has changed since, or was read in another format, are none of this shard's.
        told = "\0".join([source.name, source.format or "", self.content]).encode("utf-8", "surrogateescape")
        self.work = self.output / WORK / hashlib.sha256(told).hexdigest()[:32]
        self.work.mkdir(parents=True, exist_ok=True)
        self.report, self.first, self.documents = ReadReport(), None, 0
        self.read_as = source.format
        self.around = ReadReport()
        """What the format has no place for of the collection around the documents."""
        self.piece = PIECE * job.chunk
        self.packed = job.write.endswith(".gz")
        self.format = TEXTS.get(job.write.removesuffix(".gz"))

    def _read(self) -> Iterator[Document]:
        strict = self.job.strict
        for path in self.source.paths:
            with local(path) as file:
                self.read_as = self.source.format or detect_format(file)
                yield from read_documents(
                    file,
                    self.source.format,
                    policy="strict" if strict else "lenient",
                    report=self.report,
                    gold=False,
                    skip_bad=not strict,
                    keep_source=True,
                    repeated_ids="index",
                    root=self.source.root,
                )
            if is_address(path):  # not the place of its copy
                self.report.bad[:] = [line.replace(str(file), path) for line in self.report.bad]

    def annotate(self, tagger: Tagger, tell) -> bool:
        """Writes the missing pieces that are asked for; returns whether all pieces are there then."""
        numbers: deque[int] = deque()  # of the pieces that the chunks on their way belong to

        def wanted() -> Iterator[Document]:
            mine = False
            for index, document in enumerate(self._read()):
                self.first, self.documents = self.first or document, index + 1
                number = index // self.piece
                if not index % self.piece:
                    mine = number % self.source.parts == self.source.part and not self._there(number)
                if mine:
                    if not index % self.job.chunk:
                        numbers.append(number)
                    yield document

        piece = None
        for chunk in tagger.stream(wanted(), self.job.chunk):
            number = numbers.popleft()
            if piece is None or piece.number != number:
                self._write_piece(piece)
                piece = _Piece(self, number)
            piece.add(chunk)
            tell(len(chunk))
        self._write_piece(piece)
        return all(self._there(n) for n in range(-(-self.documents // self.piece)))

    def _there(self, number: int) -> bool:
        return (self.work / f"{number:06d}.json").exists()

    def _write_piece(self, piece: _Piece | None) -> None:
        if piece is None:
            return
        base = self.work / f"{piece.number:06d}"
        if self.format is None:
            from . import tables

            for kind in piece.tables[0]:
                with self._whole(base.with_suffix(f".{kind}")) as new:
                    tables.write_table(new, [tables.joined(part[kind] for part in piece.tables)], tables.SCHEMAS[kind])
            tables.release()
        else:
            with self._whole(base.with_suffix(".text")) as new:
                new.write_bytes(self._pack(piece.buffer.getvalue()))
        with self._whole(base.with_suffix(".json")) as new:
            new.write_text(json.dumps(piece.said(), sort_keys=True), encoding="utf-8")

    def _pack(self, data: bytes) -> bytes:
        return gzip.compress(data, mtime=0) if self.packed and data else data

    @contextmanager
    def _whole(self, path: Path) -> Iterator[Path]:
        """A name to write to; what stands there in the end gets its own name, on the disk, or is gone after an error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self.work / f"{uuid.uuid4().hex}.partial"
        try:
            yield new
            with new.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)

    def finish(self) -> dict:
        """Puts the pieces together, writes the receipt, and takes the pieces away."""
        bases = [f"{number:06d}" for number in range(-(-self.documents // self.piece))]
        try:
            said = [json.loads((self.work / f"{base}.json").read_text(encoding="utf-8")) for base in bases]
            files = self._tables(bases) if self.format is None else self._text(bases)
        except FileNotFoundError:  # another worker put the shard together, and took the pieces away
            if (receipt := receipt_of(self.source, self.output)) is not None:
                return receipt
            raise
        kinds, lost = Counter(), self.report.counts + self.around.counts
        for piece in said:
            kinds.update(piece["types"])
            lost.update(piece["lost"])
        bad = [*self.report.bad, *(line for piece in said for line in piece["bad"])][: ReadReport.max_bad]
        receipt = {
            "input": [os.path.basename(path) for path in self.source.paths][:1] + ["…"] * (len(self.source.paths) > 1),
            "content": self.content,
            "format": self.read_as,
            "documents": self.documents,
            "without mentions": sum(piece["without"] for piece in said),
            "mentions": sum(kinds.values()),
            "types": dict(sorted(kinds.items())),
            "deleted": len(self.report.deleted),
            "missing": sum(lost[cause] for cause in ReadReport.BAD),
            "causes": dict(sorted(lost.items())),
            "bad": bad,
            "files": {str(path.relative_to(self.output)): digest(path) for path in files},
        }
        with self._whole(self.output / DONE / f"{self.source.name}.json") as new:
            new.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(self.work, ignore_errors=True)
        return receipt

    def _tables(self, bases: list[str]) -> list[Path]:
        from . import tables

        def parts(kind: str) -> Iterator:
            if kind == "deleted":
                yield tables.deleted_rows(self.report.deleted)
            else:
                yield from (tables.read_table(self.work / f"{base}.{kind}") for base in bases)

        written = [self.output / kind / f"{self.source.name}.parquet" for kind in tables.SCHEMAS]
        for path, (kind, schema) in zip(written, tables.SCHEMAS.items(), strict=True):
            with self._whole(path) as new:
                tables.write_table(new, parts(kind), schema)
        tables.release()
        return written

    def _text(self, bases: list[str]) -> list[Path]:
        written = []
        if self.report.deleted:
            path = self.output / f"{self.source.name}.deleted.tsv"
            lines = ["pmid\tversion\tfile", *("\t".join(row) for row in self.report.deleted)]
            with self._whole(path) as new:
                new.write_text("\n".join(lines) + "\n", encoding="utf-8")
            written.append(path)
        path = self.output / f"{self.source.name}.{self.job.write}"
        with self._whole(path) as new, new.open("wb") as handle:
            buffer = io.BytesIO()
            writer = DocumentWriter(buffer, self.format)
            if self.first is not None:
                writer.remember(self.first)
            writer.header()
            handle.write(self._pack(buffer.getvalue()))
            for base in bases:
                with (self.work / f"{base}.text").open("rb") as piece:
                    shutil.copyfileobj(piece, handle)
            begun = buffer.tell()
            writer.footer()
            handle.write(self._pack(buffer.getvalue()[begun:]))
            self.around = writer.report
            if self.packed and not handle.tell():
                handle.write(gzip.compress(b"", mtime=0))
        return [*written, path]


class _Piece:
    """What a piece will hold, chunk by chunk: documents themselves would take many times the memory."""

    def __init__(self, shard: _Shard, number: int):
        self.shard, self.number, self.count, self.without = shard, number, 0, 0
        self.kinds: Counter[str] = Counter()
        self.tables: list[dict] = []
        if shard.format is not None:
            self.buffer = io.BytesIO()
            # The header comes with the shard, and so does what the format has no place for of the collection.
            self.writer = DocumentWriter(self.buffer, shard.format, documents_written=1)
            self.writer.remember(shard.first)
            self.writer.report = ReadReport()

    def add(self, documents: list[Document]) -> None:
        """Takes a chunk."""
        if self.shard.format is None:
            from . import tables

            first = self.number * self.shard.piece + self.count
            self.tables.append(tables.rows(documents, first, self.shard.source.root))
        else:
            write_each(self.writer, documents, skip=not self.shard.job.strict)
        self.count += len(documents)
        self.without += sum(not document.mentions for document in documents)
        self.kinds.update(mention.type for document in documents for mention in document.mentions)

    def said(self) -> dict:
        """Its part of the shard's receipt."""
        report = ReadReport() if self.shard.format is None else self.writer.report
        return {"types": self.kinds, "lost": report.counts, "bad": report.bad, "without": self.without}


def digest(path: Path) -> dict:
    """A file's size and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": integrity.digest(path)}
