"""Readers and writers: PubTator, BioC XML and JSON, brat standoff, IOB, JSON lines, Label Studio, UIMA CAS XMI; readers: PubMed
XML, JATS, Parquet, text.

    for document in read_documents("corpus.pubtator"): ...
    report = write_documents(documents, "predictions.bioc.xml")

A file's format is told by its content, or else by its ending. Readers stream: apart from the ids seen, memory does not grow
with the file. Offsets are code points of `Document.text`; files that count otherwise are read with `offset_unit`. Packed files
are unpacked on the fly. Mentions come in reading order.

Policies (`policy=`)
--------------------
"strict" (default) ends at the first fault; "lenient" counts faults and repairs nothing. "published" is "lenient" for the
corpora of this package. "cause" is the key in `ReadReport.counts`.

| what is found                                     | strict             | lenient                | cause               |
|---------------------------------------------------|--------------------|------------------------|---------------------|
| mention text differs from the text at its offsets | error              | kept, offsets as given | text_mismatch       |
| mention empty or outside the text                 | error              | dropped                | outside_text        |
| PubTator record without a blank line before it    | error              | read                   | missing_blank_line  |
| PubTator mention with a seventh cell              | error              | cell dropped           | extra_field         |
| PubTator line of three cells                      | error              | dropped                | short_row           |
| annotation without a type                         | error              | dropped                | no_type             |
| IOB line with an empty token                      | error              | line dropped           | empty_token         |
| brat .txt without .ann                            | error              | no mentions            | no_annotation_file  |
| annotation without a location (BioC)              | dropped            | dropped                | no_location         |
| the same mention twice in a document              | kept once          | kept once              | duplicate_mention   |
| the same brat id twice                            | both kept          | both kept              | repeated_mention_id |
| mention of pieces with text between (BioC, brat)  | dropped            | dropped                | discontinuous       |
| I-, E- or L- tag without a mention before it      | starts a mention   | starts a mention       | iob1_start          |
| document without text                             | kept               | kept                   | empty_document      |
| document without an id                            | named by its place | named by its place     | missing_id          |
| half of a pair of surrogates                      | U+FFFD for it      | U+FFFD for it          | lone_surrogate      |
| relation                                          | dropped            | dropped                | relation            |
| annotation's infon without a place in `Mention`   | dropped            | dropped                | infon_not_kept      |
| key of a JSON record without a place              | dropped            | dropped                | key_not_kept        |
| brat line other than T, N and a score             | dropped            | dropped                | not_kept            |
| annotation of another layer (XMI)                 | dropped            | dropped                | annotation_not_kept |
| region that is no label of characters (L. Studio) | dropped            | dropped                | region_not_kept     |
| several annotations of a task (Label Studio)      | a document each    | a document each        | several_annotators  |
| version of a task beside those read               | dropped            | dropped                | other_version       |
| task with predictions alone                       | they are read      | they are read          | prediction_read     |
| task with neither                                 | no types annotated | no types annotated     | not_annotated       |
| comment line, header of an IOB file               | dropped            | dropped                | comment, header     |
| CR LF or CR line ends                             | accepted           | accepted               | crlf, cr            |
| byte order mark                                   | stripped           | stripped               | bom                 |
| citation that PubMed deleted                      | listed             | listed                 | deleted_citation    |
| title or abstract in another language (PubMed)    | not read           | not read               | other_language      |
| reference, article within one (JATS)              | not read           | not read               | reference, sub_…    |
| formula that is TeX or a picture                  | not read           | not read               | formula_not_read    |
| content of another format than the ending says    | believed           | believed               | format_by_content   |
| file of no known format in a folder               | left out           | left out               | file_not_read       |

An error under both policies: wrong number of cells, an offset that is no number, a line before its title or of another
record, an unknown IOB tag, not UTF-8, not well-formed, passages that overlap, offsets that all fit in another unit (or nearly
all, where many don't fit in this one).

With `gold=False` annotations are neither read nor judged, with `skip_bad=True` a record that can't be read is counted
(`bad_record`) and left out, and a file that breaks keeps what was before (`broken_file`): so prediction reads.

A document id that occurs again is judged by `repeated_ids`: "error" (default under "strict") or "index" (default
otherwise): `Document.index` counts the earlier records with that id, and the report counts `repeated_id`. Files of
passages that share an article's id, such as NLM-Chem's, are read with `repeated_ids="index"`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mosaic_ner.modeling.document import Document

from .base import POLICIES, REPEATED_IDS, Reading, SourcedDocument, UnitError
from .bioc import read_bioc_xml
from .brat import brat_files, files_of, read_brat
from .brat_write import BratWriter
from .detect import FORMATS, choice, detect_format, format_of_name, is_beside, named_so, no_pipe, stem_of
from .iob2 import read_iob2
from .jats import read_jats
from .jsonl import read_genia_jsonl, read_json, read_jsonl, read_text_files
from .label_studio import read_label_studio
from .parquet import read_parquet
from .pubmed import read_pubmed
from .pubtator import read_pubtator
from .report import CAUSES, FormatError, ReadReport
from .scai import read_scai
from .streams import GzipBomb, open_binary
from .units import CODE_POINTS, UNITS
from .writing import DocumentWriter, format_to_write, open_writer, write_beside, write_documents, write_each
from .xmi import XmiWriter, read_xmi

__all__ = [
    "CAUSES",
    "FORMATS",
    "UNITS",
    "BratWriter",
    "DocumentWriter",
    "FormatError",
    "ReadReport",
    "SourcedDocument",
    "XmiWriter",
    "detect_format",
    "format_of_name",
    "format_to_write",
    "formats_of",
    "open_writer",
    "parts_of",
    "read_documents",
    "write_beside",
    "write_documents",
    "write_each",
]

_READERS = {
    "pubtator": read_pubtator,
    "bioc_xml": read_bioc_xml,
    "bioc_json": read_json,
    "jsonl": read_jsonl,
    "iob2": read_iob2,
    "genia_jsonl": read_genia_jsonl,
    "pubmed": read_pubmed,
    "jats": read_jats,
    "parquet": read_parquet,
    "scai": read_scai,
    "label_studio": read_label_studio,
    "xmi": read_xmi,
}


def read_documents(
    path: str | Path | BinaryIO,
    format: str | None = None,
    *,
    corpus: str = "user",
    policy: str = "strict",
    report: ReadReport | None = None,
    annotated_types: Iterable[str] | None = None,
    repeated_ids: str | None = None,
    offset_unit: str = CODE_POINTS,
    entity_type: str | None = None,
    type_infon: str = "type",
    tag_column: int | None = None,
    gold: bool = True,
    skip_bad: bool = False,
    keep_source: bool = False,
    root: str | Path | None = None,
) -> Iterator[Document]:
    """The documents of a file or folder, one at a time.

    Args:
        path: a file, a folder (with its subfolders, files of any formats), or a binary handle (then `format` is needed; it is
            not closed).
        format: a name in `FORMATS`; by default what the file's content says, or else its ending.
        corpus: the documents' corpus, unless the file (JSONL) says.
        policy: "strict", "lenient" or, for the corpora of this package, "published"; see the module's table.
        report: counts everything that is not represented; complete once the iterator is exhausted.
        annotated_types: types annotated exhaustively, unless the file (JSONL) says; by default what the corpus annotates.
        repeated_ids: "error" or "index"; by default the policy's.
        offset_unit: what the file's offsets count, a name in `UNITS`; they are converted to code points.
        entity_type: the type of IOB tags without one.
        type_infon: the key of the infon that says an annotation's type (BioC).
        tag_column: the column of the tag, from 1 (IOB); by default the last.
        gold: whether annotations are read; without, they are neither kept nor judged.
        skip_bad: skip records that can't be read, and what follows a break in a file, and count them (`ReadReport.bad`).
        keep_source: give `SourcedDocument`s, from which a writer of the same format restores what a `Document` has no place
            for: BioC's collection, sentences and relations, IOB's lines.
        root: the folder that a file is read as a part of: ids that are file names begin with the subfolder, and a file that
            can't be read at all is skipped as a record is.

    Raises:
        FormatError: at once for a wrong argument, while iterating for a fault in the file.
        FileNotFoundError: there is no such file.
    """
    is_handle = not isinstance(path, (str, Path))
    name = str(getattr(path, "name", "<stream>")) if is_handle else str(path)
    choice(policy, POLICIES, "policy", name)
    repeated_ids = repeated_ids or ("error" if policy == "strict" and not skip_bad else "index")
    choice(repeated_ids, REPEATED_IDS, "repeated_ids", name)
    choice(offset_unit, UNITS, "offset_unit", name)
    if not is_handle and not no_pipe(Path(path)).exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if format is None and is_handle:
        raise FormatError(name, "a format for a handle", "none", f"pass format= (one of {', '.join(FORMATS)})")
    if format is not None:
        choice(format, FORMATS, "format", name)
    if is_handle and format in ("brat", "text"):
        raise FormatError(name, f"a path for {format}", "a handle", "pass the path of the file or folder")
    types = [annotated_types] if isinstance(annotated_types, str) else annotated_types
    types = None if types is None else frozenset(types)
    report = ReadReport() if report is None else report
    stem = stem_of(Path(name)).encode("utf-8", "replace").decode()
    reading = Reading(
        name, stem, corpus, policy, repeated_ids, types, report, offset_unit, entity_type, type_infon, tag_column, gold,
        skip_bad, keep_source,
    )  # fmt: skip
    if is_handle:
        return _from_handle(path, format, reading)
    if Path(path).is_dir():
        return _from_parts(_parts(Path(path), format, report), reading)
    if root is not None:
        root = Path(root)
        reading.stem = _stem_in(root, Path(path))
    return _from_path(Path(path), format or detect_format(path), reading, guessed=format is None, root=root)


def parts_of(folder: str | Path, format: str | None = None, report: ReadReport | None = None) -> list[tuple[Path, str]]:
    """(file, format) of what `read_documents` reads in a folder, in its order; a brat document's is its .txt file.

    Args:
        report: counts the files that aren't read.
    Raises:
        FormatError: there is nothing to read.
    """
    return _parts(Path(folder), format, ReadReport() if report is None else report)


def formats_of(path: str | Path, format: str | None = None) -> set[str]:
    """The formats of what `read_documents` reads in a file or folder."""
    if Path(path).is_dir():
        return {found for _, found in parts_of(path, format)}
    return {format or detect_format(path)}


def _parts(folder: Path, format: str | None, report: ReadReport) -> list[tuple[Path, str]]:
    files, parts, others = files_of(folder), [], []
    pairs = (
        {file for file in brat_files(folder) if file.with_suffix(".ann").exists()}
        if format in (None, "brat")
        else set()
    )
    for file in files:
        if is_beside(file):
            continue
        if file.with_suffix(".txt") in pairs and file.suffix in (".txt", ".ann"):
            if file.suffix == ".ann":
                parts.append((file.with_suffix(".txt"), "brat"))
            continue
        if format is not None:
            own = file.suffix == ".txt" if format == "brat" else format_of_name(file) == format
            (parts.append((file, format)) if own or format not in ("brat", "text", "xmi") else others.append(file))
            continue
        try:
            parts.append((file, detect_format(file)))
        except FormatError:
            others.append(file)
    if pairs and all(found in ("brat", "text") for _, found in parts):
        # A brat folder: a text without annotations is a document whose .ann file is missing.
        parts = [(file, "brat" if file.suffix == ".txt" else found) for file, found in parts]
    if not parts:
        suffixes = sorted({file.suffix for file in files})
        got = f"a folder with {', '.join(suffixes) or 'no files'}"
        remedy = "give one file, or pass format= (--format)"
        raise FormatError(folder, "a folder with files of a known format, such as .txt and .ann", got, remedy)
    for file in others:
        report.add("file_not_read", str(file))
    return sorted(parts, key=lambda part: part[0].relative_to(folder).with_suffix("").parts)


def _from_parts(parts: list[tuple[Path, str]], reading: Reading) -> Iterator[Document]:
    root = Path(reading.path)
    if {format for _, format in parts} == {"brat"}:
        reading.again = partial(read_brat, root)
        yield from read_brat(root, reading)
        return
    for file, format in parts:
        own = reading.of(file)
        own.stem = _stem_in(root, file)
        own._surveyed = []
        yield from _from_path(file, format, own, guessed=False, root=root)


def _stem_in(root: Path, file: Path) -> str:
    return "/".join([*file.relative_to(root).parts[:-1], stem_of(file)])


def _from_path(
    path: Path, format: str, reading: Reading, *, guessed: bool, root: Path | None = None
) -> Iterator[Document]:
    named = format_of_name(path)
    if guessed and not named_so(path, format) and (named, format) not in ((None, format), ("text", "brat")):
        reading.note("format_by_content", f"{format}, not {named}")
    if format == "brat":
        read = partial(read_brat, path, root=root)
    elif format == "text":
        read = partial(read_text_files, [(path, reading.stem)])
    else:
        read = partial(_opened, path, format)
    reading.again = read
    yield from _guarded(read, reading, whole=root is None)


def _opened(path: Path, format: str, reading: Reading) -> Iterator[Document]:
    with open_binary(path) as handle:
        yield from _READERS[format](handle, reading)


def _from_handle(handle: BinaryIO, format: str, reading: Reading) -> Iterator[Document]:
    if getattr(handle, "seekable", bool)():
        start = handle.tell()

        def again(second: Reading) -> Iterator[Document]:
            here = handle.tell()
            handle.seek(start)
            try:
                yield from _READERS[format](handle, second)
            finally:
                handle.seek(here)

        reading.again = again
    yield from _guarded(partial(_READERS[format], handle), reading)


def _guarded(read, reading: Reading, whole: bool = True) -> Iterator[Document]:
    """The documents that `read` gives; where a file breaks, those before it are kept if bad records are skipped, and a file
    of which nothing could be read is an error if it is the `whole` input."""
    count = reading.report.documents + reading.report.bad_count
    try:
        yield from read(reading)
    except (EOFError, gzip.BadGzipFile, zlib.error, GzipBomb) as error:
        remedy = "the file is damaged or not compressed: fetch it again, or drop .gz from its name"
        failure = reading.error("a complete gzip file", str(error), remedy)
    except FileNotFoundError:
        raise
    except OSError as error:
        failure = reading.error("a file that can be read", error.strerror or str(error), "see to its permissions")
    except UnitError:
        raise
    except FormatError as error:
        failure = error
    else:
        return
    if not reading.skip or (whole and reading.report.documents + reading.report.bad_count == count):
        raise failure
    reading.report.add_bad("broken_file", failure)
