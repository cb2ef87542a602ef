"""What all readers share: one file being read, record bookkeeping, offsets; and what all writers share.

Use `mosaic_ner.data_builders.formats`; this file is its foundation.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mosaic_ner.modeling.document import Document, Mention, Passage

from .report import FormatError, ReadReport
from .units import CODE_POINTS, UNITS, Ruler, Tally, best_unit

logger = logging.getLogger(__name__)

POLICIES = ("strict", "lenient", "published")
REPEATED_IDS = ("error", "index")
_SEPARATORS = str.maketrans("\t\n\r", "   ")
# Digits of the largest offset; a longer number is damage.
_MAX_DIGITS = 15
_FEW = 20  # one in so many mentions may misfit before nobody would call the file's offsets right


class UnitError(FormatError):
    """Offsets count another unit than was said: every mention of the file is meant so, skipping one mends nothing."""


@dataclass(frozen=True)
class SourcedDocument(Document):
    """A document with what its file held beside it, for a writer of the same format; `source` is the format's own, `path`
    the file, `relations` how many there are in `source`."""

    source: Any = field(default=None, compare=False, repr=False)
    path: str = field(default="", compare=False, repr=False)
    relations: int = field(default=0, compare=False, repr=False)


@dataclass
class Reading:
    """One file being read: where it is, how it is to be read, and which record ids it has had.

    The set of ids is the only thing that grows with the file (about 150 bytes a document); finding repeats needs it.

    Args:
        path, stem: the file, and its name without ending.
        corpus, policy, repeated_ids, annotated_types, offset_unit, entity_type, type_infon, tag_column: as for
            `read_documents`.
        gold: whether annotations are read; without, they are neither kept nor judged.
        skip: whether a record that can't be read is skipped and counted instead of ending everything.
        keep_source: whether documents are `SourcedDocument`s.
        again: reads the same file once more under another `Reading`, to find its offset unit; None where it can't be.
        tally: set in such a second reading.
        collection: what the file says around its documents, as the format has it.
    """

    path: str
    stem: str
    corpus: str = "user"
    policy: str = "strict"
    repeated_ids: str = "error"
    annotated_types: frozenset[str] | None = None
    report: ReadReport = field(default_factory=ReadReport)
    offset_unit: str = CODE_POINTS
    entity_type: str | None = None
    type_infon: str = "type"
    tag_column: int | None = None
    gold: bool = True
    skip: bool = False
    keep_source: bool = False
    again: Callable[[Reading], Iterator[Document]] | None = None
    tally: Tally | None = None
    collection: Any = None
    _used: set = field(default_factory=set)
    _next: dict = field(default_factory=dict)
    _surveyed: list = field(default_factory=list)
    _ruler: Ruler | None = None

    def of(self, path: str) -> Reading:
        """The same reading, of another file: counts and ids are shared."""
        return replace(self, path=str(path))

    def error(self, expected, got, remedy, *, line=None, document=None) -> FormatError:
        """The error to raise for damage that no policy lets pass."""
        return FormatError(self.path, expected, got, remedy, line=line, document=document)

    def where(self, line=None, document=None) -> str:
        """`file:line document id`, for examples in the report."""
        return self.path + (f":{line}" if line is not None else "") + (f" {document}" if document is not None else "")

    def note(self, cause: str, detail: str = "", *, line=None, document=None, count: int = 1) -> None:
        """Count something that every policy accepts."""
        self.report.add(cause, self.where(line, document), detail, count)

    def fault(
        self, cause: str, expected: str, got: str, *, line=None, document=None, remedy: str | None = None
    ) -> None:
        """Count a fault unless the policy is "strict".

        Raises:
            FormatError: the policy is "strict".
        """
        if self.policy == "strict":
            remedy = remedy or "correct the file"
            remedy += f", or pass policy='lenient' (--policy lenient) to have it counted as {cause!r}"
            raise self.error(expected, got, remedy, line=line, document=document)
        self.note(cause, got, line=line, document=document)

    def records(self, builders: Iterable[Callable[[], Document | None]]) -> Iterator[Document]:
        """The documents that the builders make; with `skip` those that fail are counted and left out."""
        for build in builders:
            try:
                document = build()
            except RecursionError as error:
                failure = self.error("values nested less deeply", "too deep a nesting", "correct the file")
                if not self.skip:
                    raise failure from error
                self.report.add_bad("bad_record", failure)
                continue
            except UnitError:
                raise
            except FormatError as error:
                if not self.skip:
                    raise
                self.report.add_bad("bad_record", error)
                continue
            if document is not None:
                yield document

    def span(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Offsets of the file as code points of the text; (-1, -1) where one lies inside a character."""
        if self.offset_unit == CODE_POINTS:
            return start, end
        if self._ruler is None or self._ruler.text is not text:
            self._ruler = Ruler(text, self.offset_unit)
        first, last = self._ruler.index(start), self._ruler.index(end)
        return (-1, -1) if first is None or last is None else (first, last)

    def joined(self, text: str, pieces: list[tuple[int, int]]) -> tuple[int, int] | None:
        """The span from the first to the last piece where only white space lies between them, else None; in the file's
        unit."""
        pieces = sorted(pieces)
        for (_, left), (right, _) in itertools.pairwise(pieces):
            start, end = self.span(text, left, right)
            if right > left and (start < 0 or text[start:end].strip()):
                return None
        return pieces[0][0], max(end for _, end in pieces)

    def mention(
        self,
        text: str,
        span: tuple[int, int],
        type: str,
        surface: str | None,
        identifiers=(),
        score=None,
        *,
        line,
        id,
        lines: str | None = None,
    ) -> Mention | None:
        """A checked mention, or None when it lies outside the text and the policy lets that pass.

        Args:
            span: start and end in the file's unit.
            surface: the mention's text as the file gives it (None: not given). White space compares equal, because the
                line formats cannot write all of it.
            lines: the text with its line ends, where they differ from what the file's offsets count.
        Raises:
            UnitError: the offsets fit in another unit, under every policy.
        """
        start, end = self.span(text if lines is None else lines, *span)
        self.report.mentions += 1
        if not type:
            raise self.error("an entity type", "an empty one", "name the mention's type", line=line, document=id)
        inside = 0 <= start < end <= len(text)
        found = text[start:end] if inside else ""
        fits = inside and (surface is None or _same(found, surface))
        if self.tally is not None and surface:
            self.tally.fits += fits
            self.tally.misfits += not fits
        if not fits and surface:
            self._check_unit(surface, span, found, line, id)
        if not inside:
            got = f"{type} [{span[0]}, {span[1]}) of {surface!r}"
            self.fault(
                "outside_text", f"a mention inside the text of {len(text)} characters", got, line=line, document=id
            )
            return None
        if not fits:
            expected = f"the text at [{span[0]}, {span[1]}), {_shorten(found)}, as the text of {type}"
            self.fault("text_mismatch", expected, _shorten(surface), line=line, document=id)
        return Mention(start, end, type, tuple(identifiers), score)

    def _check_unit(self, surface: str, span: tuple[int, int], found: str, line, id) -> None:
        """Refuse offsets that another unit explains, or that are wrong throughout.

        Where few mentions misfit and another unit fits nearly all, "lenient" counts them, and a warning names the unit.
        """
        first = not self._surveyed
        if not (tallies := self.survey()):
            return
        own, best = tallies[0], best_unit(tallies)
        got = f"{surface!r:.80} at [{span[0]}, {span[1]}), where the text is {_shorten(found)}; of {own.fits + own.misfits}"
        got += f" mentions {own.fits} fit"
        if best is not None:
            whole = "all" if not best.misfits else f"{best.fits} of {best.fits + best.misfits}"
            got += f", and {whole} do in another unit: the offsets look like {UNITS[best.unit]}"
            remedy = f"pass offset_unit={best.unit!r} (--offset_unit {best.unit}), which converts them"
            error = self._unit_error(f"offsets in {UNITS[self.offset_unit]}", got, remedy, line, id)
            few = (own.misfits + own.broken) * _FEW <= own.fits
            if self.policy == "strict" or not (few and best.misfits + best.broken):
                raise error
            if first:
                logger.warning("%s", error)
        elif self.policy == "strict" and own.misfits > 1 and own.misfits * 4 > own.fits:
            remedy = "correct the file: the mentions' texts and offsets belong to different texts"
            raise self._unit_error("the mentions' texts at their offsets", got, remedy, line, id)

    def misplaced(self, error: FormatError) -> FormatError:
        """The error to raise for a part that does not lie where the file says: with the unit in which it does."""
        best = best_unit(tallies) if (tallies := self.survey()) else None
        if best is None:
            return error
        remedy = f"pass offset_unit={best.unit!r} (--offset_unit {best.unit}), which converts them"
        got = f"{error.got}: the offsets look like {UNITS[best.unit]}"
        return self._unit_error(f"offsets in {UNITS[self.offset_unit]}", got, remedy, error.line, error.document)

    def _unit_error(self, expected, got, remedy, line, document) -> UnitError:
        return UnitError(self.path, expected, got, remedy, line=line, document=document)

    def survey(self) -> list[Tally]:
        """How all mentions of the file fit in this unit, then in each other; empty where the file can't be read again.

        It is done once a file, and not for the corpora of this package, whose faults are known.
        """
        if self.tally is not None or self.again is None or self.policy == "published":
            return []
        if not self._surveyed:
            enough = None
            for unit in (self.offset_unit, *(unit for unit in UNITS if unit != self.offset_unit)):
                tally = Tally(unit, enough=enough)
                second = Reading(
                    self.path, self.stem, policy="lenient", repeated_ids="index", offset_unit=unit, skip=True, tally=tally,
                    entity_type=self.entity_type, type_infon=self.type_infon, tag_column=self.tag_column,
                )  # fmt: skip
                try:
                    for _ in self.again(second):
                        if tally.hopeless:
                            break
                except FormatError:
                    tally.broken += 1
                tally.broken += second.report.bad_count
                self._surveyed.append(tally)
                if enough is None:
                    enough = (tally.misfits + tally.broken) // 2
        return self._surveyed

    def claim(self, corpus: str, id: str, index: int | None, line: int | None) -> int:
        """The record's index: its own, or its number of earlier records with the same id."""
        key = (corpus, id)
        wanted = 0 if index is None else index
        if (key, wanted) not in self._used:
            self._used.add((key, wanted))
            return wanted
        if self.repeated_ids == "error":
            remedy = (
                "give records ids of their own, or pass repeated_ids='index' (--repeated_ids index) to tell them apart by "
                "their order"
            )
            raise self.error("each document id once", f"{id!r} again", remedy, line=line, document=id)
        self.note("repeated_id", line=line, document=id)
        free = self._next.get(key, 1)
        while (key, free) in self._used:
            free += 1
        self._used.add((key, free))
        self._next[key] = free + 1
        return free

    def document(
        self, id: str, text: str, mentions: Iterable[Mention], *, line=None, source=None, relations=0, **fields
    ) -> Document:
        """The finished record: mentions once each in reading order, index assigned, oddities counted."""
        if not id:
            raise self.error("a document id", "an empty one", "give every record an id", line=line)
        mentions = list(mentions)
        unique = dict.fromkeys(mentions)
        if len(unique) < len(mentions):
            repeats = Counter(mentions) - Counter(dict.fromkeys(unique, 1))
            example = next(iter(repeats))
            detail = f"{example.type} [{example.start}, {example.end})"
            self.note("duplicate_mention", detail, line=line, document=id, count=len(mentions) - len(unique))
        corpus = fields.pop("corpus", self.corpus)
        index = self.claim(corpus, id, fields.pop("index", None), line)
        if not text.strip():
            self.note("empty_document", line=line, document=id)
        fields.setdefault("annotated_types", self.annotated_types)
        self.report.documents += 1
        made = dict(id=id, corpus=corpus, text=text, index=index, **fields)
        document = Document(**made)
        if self.keep_source:
            document = SourcedDocument(**made, source=source, path=self.path, relations=relations)
        return document.with_mentions(unique)


def _same(found: str, surface: str) -> bool:
    """Whether two spellings of a mention differ in line ends and tabs alone, which the line formats cannot write."""
    if found.translate(_SEPARATORS) == surface.translate(_SEPARATORS):
        return True
    across = ("\n" in found or "\r" in found) and found == found.strip()
    return across and found.split() == surface.split()


def _shorten(text: str, limit: int = 80) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def parse_integer(cell, reading: Reading, what: str, *, line=None, document=None) -> int:
    """A decimal integer in ASCII digits (or already an int)."""
    if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) < 10**_MAX_DIGITS:
        return cell
    if not isinstance(cell, str) or not re.fullmatch(rf"-?[0-9]{{1,{_MAX_DIGITS}}}", cell.strip(" ")):
        remedy = "offsets are decimal numbers of characters (code points)"
        raise reading.error(f"{what} as a number", f"{cell!r:.80}", remedy, line=line, document=document)
    return int(cell)


def split_identifiers(cell: str) -> tuple[str, ...]:
    """Concept identifiers are separated by ';' alone, so that joining them restores the cell."""
    return tuple(cell.split(";")) if cell else ()


# --- writing ---------------------------------------------------------------------------------------------------------


def write_error(document: Document, format: str, expected: str, got: str, remedy: str) -> FormatError:
    """The error for a document that a format cannot hold."""
    return FormatError(f"writing {format}", expected, got, remedy, document=document.id)


def require(document: Document, format: str, what: str, value: str, forbidden: str) -> str:
    """`value`, checked not to be empty and to hold no character that the regular expression class `forbidden` names."""
    if not value or re.search(forbidden, value):
        expected = f"a {what} without {forbidden} (as a regular expression) and not empty"
        raise write_error(document, format, expected, repr(value), "rename it, or write JSONL, which holds any")
    return value


def replace_characters(
    text: str, pattern: re.Pattern, new: str, cause: str, report: ReadReport, document: Document
) -> str:
    """`text` with each matching character replaced by the one character `new`, counted: offsets hold."""
    text, count = pattern.subn(new, text)
    if count:
        report.add(cause, document.name, f"{count} characters", count)
    return text


def join_identifiers(document: Document, mention: Mention, report: ReadReport) -> str:
    """Identifiers joined with ';'."""
    if any(";" in identifier for identifier in mention.identifiers):
        report.add("identifier_split", document.name, repr(mention.identifiers))
    return ";".join(mention.identifiers)


def count_losses(document: Document, report: ReadReport, *kept: str) -> None:
    """Count what the document carries and a format drops; `kept`: which of these it keeps."""
    losses = {
        "score": sum(m.score is not None for m in document.mentions),
        "identifiers": sum(bool(m.identifiers) for m in document.mentions),
        "infons": int(bool(document.infons)),
        "article": int(document.article != document.id),
        "annotated_types": int(document.annotated_types is not None),
        "unclear": len(document.unclear),
        "relations": document.relations if isinstance(document, SourcedDocument) else 0,
    }
    for name, count in losses.items():
        if count and name not in kept:
            report.add(f"{name}_not_written", document.name, count=count)


def passage_tuple(passages: Iterable[tuple[int, int, str]]) -> tuple[Passage, ...]:
    """Passages without infons from (start, end, kind)."""
    return tuple(Passage(start, end, kind) for start, end, kind in passages)
