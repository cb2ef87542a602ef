"""What all file formats share: errors, the report of everything not represented, line reading, record bookkeeping.

Use `mosaic_ner.data_builders.formats`; this file is its foundation.
"""

from __future__ import annotations

import gzip
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import UserError

logger = logging.getLogger(__name__)

BOM = b"\xef\xbb\xbf"
POLICIES = ("strict", "lenient", "published")
REPEATED_IDS = ("error", "index")
_SEPARATORS = str.maketrans("\t\n\r", "   ")

# cause → (what the percentage in the summary refers to, meaning)
CAUSES = {
    "text_mismatch": ("mention", "the mention's text in the file is not the text at its offsets; offsets kept"),
    "outside_text": ("mention", "the mention is empty or reaches outside the text; dropped"),
    "duplicate_mention": ("mention", "the same offsets, type and identifiers again in one document; kept once"),
    "discontinuous": ("mention", "the mention has several pieces; dropped"),
    "iob1_start": ("mention", "an I- tag that continues nothing; read as the start of a mention"),
    "repeated_id": ("document", "the document id occurred before in the file; told apart by its index"),
    "empty_document": ("document", "the document has no text but white space; kept"),
    "missing_blank_line": ("document", "a PubTator record follows another without a blank line; read as a new record"),
    "no_annotation_file": ("document", "a brat .txt without its .ann; read as a document without mentions"),
    "relation": ("", "relations between mentions; not kept"),
    "extra_field": ("", "a cell after the identifiers of a PubTator mention; not kept"),
    "infon_not_kept": ("", "an infon of an annotation or sentence that has no place in a mention; not kept"),
    "not_kept": ("", "a brat line other than T and N (relation, event, attribute, note); not kept"),
    "empty_token": ("", "an IOB line whose first cell is empty; dropped"),
    "crlf": ("file", "lines end with CR LF; in plain text and brat the CR stays part of the text"),
    "bom": ("file", "the file starts with a byte order mark; stripped"),
    "score_not_written": ("mention", "the format has no place for a prediction's score"),
    "identifiers_not_written": ("mention", "the format has no place for concept identifiers"),
    "identifier_split": ("mention", "an identifier contains ';' and will be read back as two"),
    "nested_not_written": ("mention", "the mention overlaps a longer or earlier one, which IOB2 cannot express"),
    "blank_mention_not_written": ("mention", "the mention covers only white space, which IOB2 cannot express"),
    "mention_trimmed": ("mention", "the mention starts or ends with white space, which IOB2 cannot express"),
    "infons_not_written": ("document", "the format has no place for the document's infons"),
    "article_not_written": ("document", "the format has no place for an article id that differs from the document's"),
    "passages_not_written": ("document", "the format cannot express these passages"),
    "text_respaced": ("document", "IOB2 keeps tokens, not spacing: the text read back differs in white space"),
    "resplit_token": ("", "a token was cut at a mention's boundary"),
    "whitespace_replaced": ("", "characters of line ends replaced by one space each, so that offsets hold"),
    "character_replaced": ("", "characters that the format cannot hold replaced one by one, so that offsets hold"),
}


class FormatError(UserError):
    """A file (or a document to be written) that does not follow its format.

    Args:
        path: the file.
        expected, got: what the format asks for and what is there.
        remedy: what to do next.
        line: line number from 1, where there is one.
        document: id of the document, where known.
    """

    def __init__(self, path, expected: str, got: str, remedy: str, *, line: int | None = None, document=None):
        self.path, self.line, self.document = str(path), line, document
        where = f"{path}:{line}" if line is not None else str(path)
        if document is not None:
            where += f": document {document!r}"
        super().__init__(f"{where}: expected {expected}, got {got}; {remedy}")


class ReadReport:
    """Counts, by cause, of everything a file holds that is not (or not exactly) represented; see `CAUSES`.

    `documents` and `mentions` are totals seen, dropped ones included; `examples` keeps the first few of each cause.
    """

    max_examples = 3

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.documents = 0
        self.mentions = 0

    def add(self, cause: str, where: str, detail: str = "", count: int = 1) -> None:
        """Count `cause`; `where` is `file:line` or a document name, `detail` what was seen there."""
        self.counts[cause] += count
        if len(self.examples[cause]) < self.max_examples:
            self.examples[cause].append(f"{where}: {detail}" if detail else where)

    def merge(self, other: ReadReport) -> None:
        """Add another report's counts and, as far as there is room, its examples."""
        self.counts.update(other.counts)
        self.documents += other.documents
        self.mentions += other.mentions
        for cause, examples in other.examples.items():
            self.examples[cause].extend(examples[: self.max_examples - len(self.examples[cause])])

    def to_dict(self, examples: bool = True) -> dict:
        """Plain types only, for JSON.

        Args:
            examples: with the places of the first faults, which name files of this machine and quote their text.
        """
        out = {"documents": self.documents, "mentions": self.mentions, "counts": dict(self.counts)}
        if examples:
            out["examples"] = {cause: list(places) for cause, places in self.examples.items()}
        return out

    def summary(self) -> str:
        """Readable lines, most frequent cause first, with percentages of the mentions or documents seen."""
        lines = [f"{self.documents:,} documents, {self.mentions:,} mentions"]
        for cause, count in self.counts.most_common():
            unit, meaning = CAUSES.get(cause, ("", cause))
            total = {"mention": self.mentions, "document": self.documents}.get(unit, 0)
            share = f" ({100 * count / total:.2f}% of {total:,} {unit}s)" if total else ""
            lines.append(f"  {cause}: {count:,}{share}: {meaning}; e.g. {self.examples[cause][0]}")
        return "\n".join(lines)


@dataclass
class Reading:
    """One file being read: where it is, how strictly, and which record ids it has had.

    The set of ids is the only thing that grows with the file (about 150 bytes a document); finding repeats needs it.
    """

    path: str
    stem: str
    corpus: str = "user"
    policy: str = "strict"
    repeated_ids: str = "error"
    annotated_types: frozenset[str] = frozenset()
    report: ReadReport = field(default_factory=ReadReport)
    _used: set = field(default_factory=set)
    _next: dict = field(default_factory=dict)

    def error(self, expected, got, remedy, *, line=None, document=None) -> FormatError:
        """The error to raise for damage that no policy lets pass."""
        return FormatError(self.path, expected, got, remedy, line=line, document=document)

    def where(self, line=None, document=None) -> str:
        """`file:line document id`, for examples in the report."""
        return self.path + (f":{line}" if line is not None else "") + (f" {document}" if document is not None else "")

    def note(self, cause: str, detail: str = "", *, line=None, document=None, count: int = 1) -> None:
        """Count something that every policy accepts."""
        self.report.add(cause, self.where(line, document), detail, count)

    def fault(self, cause: str, expected: str, got: str, *, line=None, document=None) -> None:
        """Count a fault unless the policy is "strict".

        Raises:
            FormatError: the policy is "strict".
        """
        if self.policy == "strict":
            remedy = f"correct the file, or pass policy='lenient' (--policy lenient) to have it counted as {cause!r}"
            raise self.error(expected, got, remedy, line=line, document=document)
        self.note(cause, got, line=line, document=document)

    def mention(
        self, text: str, span: tuple[int, int], type: str, surface: str | None, identifiers=(), score=None, *, line, id
    ) -> Mention | None:
        """A checked mention, or None when it lies outside the text and the policy lets that pass.

        `surface` is the mention's text as the file gives it (None: not given). Tabs and line ends in the text compare
        equal to spaces, because the line formats cannot write them.
        """
        start, end = span
        self.report.mentions += 1
        if not type:
            raise self.error("an entity type", "an empty one", "name the mention's type", line=line, document=id)
        if not 0 <= start < end <= len(text):
            got = f"{type} [{start}, {end}) of {surface!r}"
            self.fault(
                "outside_text", f"a mention inside the text of {len(text)} characters", got, line=line, document=id
            )
            return None
        found = text[start:end]
        if surface is not None and found.translate(_SEPARATORS) != surface.translate(_SEPARATORS):
            expected = f"the text at [{start}, {end}), {_shorten(found)}, as the text of {type}"
            self.fault("text_mismatch", expected, _shorten(surface), line=line, document=id)
        return Mention(start, end, type, tuple(identifiers), score)

    def claim(self, corpus: str, id: str, index: int | None, line: int | None) -> int:
        """The record's index: its own, or its number of earlier records with the same id."""
        key = (corpus, id)
        wanted = 0 if index is None else index
        if (key, wanted) not in self._used:
            self._used.add((key, wanted))
            return wanted
        if self.repeated_ids == "error":
            remedy = "give records ids of their own, or pass repeated_ids='index' to tell them apart by their order"
            raise self.error("each document id once", f"{id!r} again", remedy, line=line, document=id)
        self.note("repeated_id", line=line, document=id)
        free = self._next.get(key, 1)
        while (key, free) in self._used:
            free += 1
        self._used.add((key, free))
        self._next[key] = free + 1
        return free

    def document(self, id: str, text: str, mentions: Iterable[Mention], *, line=None, **fields) -> Document:
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
        if not text.strip():
            self.note("empty_document", line=line, document=id)
        corpus = fields.pop("corpus", self.corpus)
        index = self.claim(corpus, id, fields.pop("index", None), line)
        fields.setdefault("annotated_types", self.annotated_types)
        self.report.documents += 1
        return Document(id=id, corpus=corpus, text=text, index=index, **fields).with_mentions(unique)


def _shorten(text: str, limit: int = 80) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def decode(raw: bytes, reading: Reading, offset: int = 0, line: int | None = None) -> str:
    """UTF-8 bytes as text; `offset` is where in the file they start, in bytes.

    Raises:
        FormatError: they are not UTF-8; the message names the byte and the likely encoding.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = offset == 0 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        source = "UTF-16" if utf16 else "WINDOWS-1252"
        remedy = f"convert the file, for example: iconv -f {source} -t UTF-8 (if it is {source}, which is a guess)"
        got = f"byte 0x{raw[error.start]:02x} at byte offset {offset + error.start}"
        raise reading.error("UTF-8", got, remedy, line=line) from error


def read_lines(handle: BinaryIO, reading: Reading) -> Iterator[tuple[int, str]]:
    r"""(line number from 1, line without its end), one at a time. Only \n and \r\n end a line, no other character."""
    offset, crlf = 0, False
    for number, raw in enumerate(handle, 1):
        start = offset
        offset += len(raw)
        if number == 1 and raw.startswith(BOM):
            raw, start = raw[len(BOM) :], len(BOM)
            reading.note("bom")
        line = decode(raw, reading, start, number)
        if line.endswith("\r\n") and not crlf:
            crlf = True
            reading.note("crlf", line=number)
        yield number, line.removesuffix("\n").removesuffix("\r")


def read_text(path: Path, reading: Reading) -> str:
    """A whole text file, a byte order mark stripped, line ends untouched (offsets count them)."""
    with open_binary(path) as handle:
        raw = handle.read()
    if raw.startswith(BOM):
        reading.note("bom", document=path.name)
        raw = raw[len(BOM) :]
    if b"\r\n" in raw:
        reading.note("crlf", document=path.name)
    return decode(raw, reading)


def open_binary(path) -> IO[bytes]:
    """A file for reading, `.gz` unpacked on the fly."""
    return gzip.open(path, "rb") if str(path).lower().endswith(".gz") else open(path, "rb")


def parse_integer(cell, reading: Reading, what: str, *, line=None, document=None) -> int:
    """A decimal integer in ASCII digits (or already an int)."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    if not isinstance(cell, str) or not re.fullmatch(r"-?[0-9]+", cell.strip(" ")):
        remedy = "offsets are decimal numbers of characters (code points)"
        raise reading.error(f"{what} as a number", repr(cell), remedy, line=line, document=document)
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


SURROGATES = re.compile("[\ud800-\udfff]")


def join_identifiers(document: Document, mention: Mention, report: ReadReport) -> str:
    """Identifiers joined with ';'."""
    if any(";" in identifier for identifier in mention.identifiers):
        report.add("identifier_split", document.name, repr(mention.identifiers))
    return ";".join(mention.identifiers)


def count_losses(document: Document, report: ReadReport, *kept: str) -> None:
    """Count what the document carries and a format drops; `kept`: score, identifiers, infons, article."""
    losses = {
        "score": sum(m.score is not None for m in document.mentions),
        "identifiers": sum(bool(m.identifiers) for m in document.mentions),
        "infons": int(bool(document.infons)),
        "article": int(document.article != document.id),
    }
    for name, count in losses.items():
        if count and name not in kept:
            report.add(f"{name}_not_written", document.name, count=count)


def passage_tuple(passages: Iterable[tuple[int, int, str]]) -> tuple[Passage, ...]:
    """Passages without infons from (start, end, kind)."""
    return tuple(Passage(start, end, kind) for start, end, kind in passages)
