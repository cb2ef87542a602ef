"""A visitor's file in, the same file annotated out: PubTator, BioC XML, BioC JSON."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.data_builders.formats import CAUSES, ReadReport, read_documents, write_documents
from mosaic_ner.hub.space.taggers import SpaceError
from mosaic_ner.modeling.document import Document, Mention

ENDINGS = {
    ".bioc.xml": "bioc_xml",
    ".bioc.json": "bioc_json",
    ".pubtator.txt": "pubtator",
    ".xml": "bioc_xml",
    ".json": "bioc_json",
    ".pubtator": "pubtator",
    ".txt": "pubtator",
}
"""Endings of files, the longer before the shorter, and their formats; the page takes no plain text as a file."""


class _Upload(io.BytesIO):
    """A file in memory, under the name that its owner gave it: messages show that one, not a temporary one."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name


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
    content: bytes,
    name: str,
    folder: Path,
    find: Callable[[str], list[Mention]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Annotated:
    """Replaces the mentions of a file by those that are found; ids, passages and texts stay.

    Known faults of published files (see the policy "lenient" of the formats) don't stop it: the remarks count them.

    Args:
        content: the file. name: its name, whose ending tells the format.
        folder: gets the annotated file.
        find: text → mentions.
        progress: told the number of documents done and the number of all.
    Raises:
        SpaceError: an unknown ending, or no document.
        FormatError: the file doesn't follow its format.
    """
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), None)
    if ending is None:
        raise SpaceError(
            f"{name}: expected a PubTator file (.pubtator, .txt), BioC XML (.xml) or BioC JSON (.json), uncompressed. "
            "Rename or convert it."
        )
    format, report = ENDINGS[ending], ReadReport()
    documents = list(read_documents(_Upload(content, name), format, policy="lenient", report=report))
    if not documents:
        raise SpaceError(f"{name}: expected at least one document, got none. Check that it is the right file.")
    annotated = []
    for number, document in enumerate(documents):
        progress(number, len(documents))
        annotated.append(document.with_mentions(find(document.text)))
    path = folder / annotated_name(name, ending)
    written = write_documents(annotated, path, format)
    remarks = []
    if replaced := sum(len(d.mentions) for d in documents):
        remarks.append(f"The file's own mentions ({replaced:,}) are replaced by the model's.")
    for verb, counted in (("reading", report), ("writing", written)):
        remarks += [f"In {verb}: {n:,} × {CAUSES[c][1]}." for c, n in counted.counts.most_common() if c in CAUSES]
    return Annotated(path, annotated, remarks)


def annotated_name(name: str, ending: str) -> str:
    """`notes.bioc.xml` → `notes.annotated.bioc.xml`; a .txt of PubTator is called so."""
    stem, own = name[: -len(ending)], name[-len(ending) :]
    return f"{stem or 'file'}.annotated{'.pubtator.txt' if ending == '.txt' else own}"
