"""A visitor's file in, the same file annotated out: of any format that `mosaic-ner --do_predict` reads, read as it reads."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.data_builders.formats import (
    CAUSES,
    FORMATS,
    FormatError,
    ReadReport,
    detect_format,
    format_of_name,
    read_documents,
    write_documents,
)
from mosaic_ner.data_builders.formats.detect import WRITTEN_AS, stem_of
from mosaic_ner.data_builders.formats.streams import GzipBomb, open_binary
from mosaic_ner.hub.space.taggers import SpaceError
from mosaic_ner.modeling.document import Document, Mention


@dataclass(frozen=True)
class Annotated:
    """An annotated file.

    Args:
        path: where it is.
        documents: with predicted mentions.
        remarks: what its reader and writer counted, as readable lines.
    """

    path: Path
    documents: list[Document]
    remarks: list[str]


def annotate_file(
    source: Path,
    folder: Path,
    find: Callable[[Document], list[Mention]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Annotated:
    """Replaces the mentions of a file by those that are found; ids, passages and texts stay.

    Its content tells the format, or else its ending; its own annotations are not read. Records that can't be read are left
    out; the remarks count them, and whatever else is not as it should be (see the policy "lenient" of the formats).

    Args:
        source: the file; messages show its name alone.
        folder: gets the annotated file: in the same format, or another for one that can't be written.
        find: document → mentions.
        progress: told the number of documents done and the number of all.
    Raises:
        SpaceError: no document.
        FormatError: the file is of no known format, or nothing of it can be read.
    """
    report = ReadReport()
    try:
        format = detect_format(source)
        read = read_documents(
            source, format, policy="lenient", report=report, gold=False, skip_bad=True, keep_source=True
        )
        documents = list(read)
    except FormatError as error:
        place = {"line": error.line, "document": error.document}
        raise FormatError(source.name, error.expected, error.got, error.remedy, **place) from error
    if not documents:
        raise SpaceError(f"{source.name}: expected at least one document, got none. Check that it is the right file.")
    annotated = []
    for number, document in enumerate(documents):
        progress(number, len(documents))
        annotated.append(document.with_mentions(find(document)))
    written_format = WRITTEN_AS.get(format, format)
    path = folder / annotated_name(source.name, written_format)
    written = write_documents(annotated, path, written_format, skip_bad=True)
    remarks = [f"Left out: {line.replace(str(source), source.name)}" for line in (*report.bad, *written.bad)]
    for verb, counted in (("reading", report), ("writing", written)):
        remarks += [f"In {verb}: {n:,} × {CAUSES[c][1]}." for c, n in counted.counts.most_common() if c in CAUSES]
    return Annotated(path, annotated, remarks)


def size_of(path: Path, most: int) -> int:
    """Bytes of a file, unpacked; those of one that has more than `most` are not all counted."""
    size = 0
    # A break is said when the file is read.
    with contextlib.suppress(EOFError, zlib.error, gzip.BadGzipFile, GzipBomb), open_binary(path) as handle:
        while size <= most and (piece := handle.read1(1 << 16)):
            size += len(piece)
    return size


def annotated_name(name: str, format: str) -> str:
    """`notes.bioc.xml` → `notes.annotated.bioc.xml`; a .txt of PubTator is called .pubtator.txt."""
    stem, endings = stem_of(Path(name)), FORMATS[format][0]
    own = name[len(stem) :]
    if format_of_name(name) != format:
        own = next((ending for ending in endings if own and ending.endswith(own.lower())), endings[0])
    return f"{stem[:80]}.annotated{own}"  # a name may have 255 bytes
