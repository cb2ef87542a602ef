"""One corpus: its files, its splits, its article ids, and how a split is read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError

from .citations import CITATIONS
from .formats import ReadReport, read_documents

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
PUBLISHED_SPLIT = (
    "the published train, dev and test sets; AIONER joins train and dev in one file, the ids of {} part them again"
)
SUBFOLDERS = ("", "pubtator", "iob", "genia")
"""`data_dir` may hold the files themselves, or these folders with the files."""


class CorpusError(UserError):
    """An unknown corpus or split, or an article id that doesn't fit the corpus's pattern."""


class MissingFileError(UserError, FileNotFoundError):
    """A corpus file that isn't there; the message names the file, its URL and the option to pass."""


@dataclass(frozen=True)
class SourceFile:
    """One published file.

    Attributes:
        name: the file's name in its distribution.
        format: a format of `read_documents`.
        url: where the file is published; may be an archive.
        aliases: other names that the file is kept under.
        member: the file or folder in the archive, where `url` is one.
        member_format: the format of `member`.
        ids: the file beside it that lists the ids of the split's records, one a line; empty where all are the split's.
        ids_url: where that list is published.
    """

    name: str
    format: str
    url: str
    aliases: tuple[str, ...] = ()
    member: str = ""
    member_format: str = ""
    ids: str = ""
    ids_url: str = ""

    @property
    def needed(self) -> dict[str, str]:
        """Name → URL of all that the split is read from."""
        return {self.name: self.url} | ({self.ids: self.ids_url} if self.ids else {})

    def find(self, data_dir: str | Path) -> tuple[Path, str] | None:
        """The file in `data_dir` or one of its `SUBFOLDERS`, and its format; None if it or its list isn't there."""
        names = [(name, self.format) for name in (self.name, *self.aliases)]
        if self.member:
            # The archive unpacked in `data_dir`, with or without its outermost folder.
            names += [(self.member, self.member_format), (self.member.split("/", 1)[-1], self.member_format)]
        for folder in SUBFOLDERS:
            for name, format in names:
                path = Path(data_dir) / folder / name
                if path.exists() and (not self.ids or path.with_name(self.ids).exists()):
                    return path, format
        return None


@dataclass(frozen=True)
class Corpus:
    """One corpus as this package reads it.

    Attributes:
        files: split → file. BioRED's train and validation are two parts of one file; `validation_ids` tells them apart.
        types: native types, as the files spell them, that the corpus annotates exhaustively.
        id_space: what the ids are (`pmid`, `pmcid`, `medline`); empty where records have no article id at all.
        text: unit of text, as the papers name it (abstracts, full texts, ...).
        split_policy: where the splits come from.
        licence: as its authors publish it.
        article_pattern: regular expression; its first group is the article's id within a record's id.
        renamed: the files' types → `types`, where these differ. Mentions of other types are left out.
        once: whether a record that repeats an id of its file is left out.
        of: the corpus whose files these are, with its citation.
    """

    name: str
    title: str
    files: dict[str, SourceFile]
    types: tuple[str, ...]
    id_space: str
    text: str
    split_policy: str
    licence: str
    homepage: str
    article_pattern: str = r"(.+)"
    validation_ids: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    once: bool = False
    of: str = ""

    @property
    def citation(self) -> str:
        """BibTeX of the corpus."""
        return CITATIONS[self.of or self.name]

    @property
    def splits(self) -> list[str]:
        """The splits this corpus has, in the order train, validation, test."""
        return [split for split in SPLITS if split in self.files]

    def article(self, document: Document, split: str) -> str:
        """The id by which leakage is judged, with its namespace, e.g. `pmid:10491763` or `pmcid:4304731`.

        A record without an article id gets one of its own, because equal running numbers are no overlap.

        Raises:
            CorpusError: the record's id doesn't fit the corpus's pattern.
        """
        if not self.id_space:
            return f"{self.name}.{split}:{document.id}#{document.index}"
        match = re.fullmatch(self.article_pattern, document.article)
        if match is None:
            raise CorpusError(
                f"{document.name}: expected an article id of the form {self.article_pattern!r} ({self.id_space}), "
                f"got {document.article!r}; is this a file of {self.title}?"
            )
        return f"{self.id_space}:{match.group(1)}"

    def has(self, document_id: str, split: str) -> bool:
        """Whether a record of the split's file belongs to the split."""
        if not self.validation_ids or split == "test":
            return True
        return (document_id in self.validation_ids) == (split == "validation")


def one_type(corpus: Corpus, ids: str, name: str, title: str, types: dict[str, str], *notes: str) -> Corpus:
    """A corpus's published splits with one type; a repeated record is left out.

    Args:
        corpus: whose training file holds the development set, too.
        ids: the file beside this one with the ids of the development set.
        types: the files' types → the type here.
    """
    return replace(
        corpus,
        name=name,
        title=title,
        files={"train": corpus.files["train"], "validation": corpus.files["train"], "test": corpus.files["test"]},
        types=tuple(dict.fromkeys(types.values())),
        renamed=tuple(types.items()),
        validation_ids=frozenset(Path(__file__).with_name(ids).read_text(encoding="ascii").split()),
        split_policy=PUBLISHED_SPLIT.format(ids),
        notes=notes,
        once=True,
        of=corpus.name,
    )


def read_split(
    corpus: Corpus,
    split: str,
    path: str | Path,
    *,
    format: str | None = None,
    ids: str | Path | None = None,
    clean_suffix: bool = False,
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Documents of one split, straight from its file, one in memory at a time.

    Known faults of the published files are counted in `report` and kept (policy "published"). The counts are those of the
    whole file, also where train and validation share it (BioRED).

    Args:
        path: the file (or folder) of the split.
        format: the format of `path`; the corpus's own when None.
        ids: the list of the split's ids, for a corpus that has one; the file of its name beside `path` when None.
        clean_suffix: remove "cell(s)" from the end of mentions, see `without_cell_suffix`.

    Raises:
        FormatError: the file cannot be read.
        CorpusError: a record's id doesn't fit the corpus.
    """
    file = corpus.files[split]
    listed = None
    if file.ids:
        listed = frozenset((Path(ids) if ids else Path(path).with_name(file.ids)).read_text(encoding="utf-8").split())
    documents = read_documents(
        path,
        format or file.format,
        corpus=corpus.name,
        policy="published",
        report=report,
        annotated_types=frozenset(corpus.types),
        repeated_ids="index",
    )
    renamed, found = dict(corpus.renamed), set()
    for number, document in enumerate(documents, 1):
        if listed is not None:
            found.add(document.id)
        if corpus.once and document.index:
            continue
        if renamed:
            mentions = (replace(m, type=renamed[m.type]) for m in document.mentions if m.type in renamed)
            document = document.with_mentions(list(dict.fromkeys(mentions)))
        if corpus.has(document.id, split) and (listed is None or document.id in listed):
            if not corpus.id_space:
                # The reader takes such ids from the file's name, which differs in the download cache.
                document = replace(document, id=f"{Path(file.name).stem}:{number}")
            document = replace(document, article=corpus.article(document, split))
            yield without_cell_suffix(document) if clean_suffix else document
    if absent := sorted((listed or frozenset()) - found):
        logger.warning(
            "%s (%s): %d of the %d ids in %s are in no record of %s, e.g. %s",
            corpus.name, split, len(absent), len(listed), file.ids, file.name, absent[0],
        )  # fmt: skip


_CELL_SUFFIX = re.compile(r"[\s-]+cells?$", re.IGNORECASE)


def without_cell_suffix(document: Document) -> Document:
    """AIONER's revision of BioID (section 2.1): mentions lose a final "cell" or "cells"; nothing else changes.

    In BioID as first published, about 30% of the mentions have the suffix. AIONER's files have none.
    """
    mentions = []
    for mention in document.mentions:
        surface = document.surface(mention)
        kept = _CELL_SUFFIX.sub("", surface)
        mentions.append(replace(mention, end=mention.start + len(kept)) if kept else mention)
    return document.with_mentions(mentions)
