"""IOB2, written: from any document, or line for line as the document's IOB file had it."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from mosaic_ner.modeling.document import Document, Mention

from .base import SourcedDocument, count_losses, replace_characters, require
from .iob2 import IobSource, Row
from .report import ReadReport
from .streams import SURROGATES


def iob2_record(document: Document, report: ReadReport, number: int) -> str:
    """One document after its `-DOCSTART- (id)` line.

    Tokens are runs of other characters than white space, cut where a mention starts or ends. A document that was read from
    an IOB file comes back line for line, with other tags.

    Raises:
        FormatError: the id or a type holds a character that would break the line.
    """
    count_losses(document, report)
    if isinstance(document, SourcedDocument) and isinstance(document.source, IobSource):
        return _as_it_came(document, document.source, report)
    if document.passages:
        report.add("passages_not_written", document.name, f"{len(document.passages)} passages")
    id = require(document, "iob2", "document id", document.id, r"[\n\r\ud800-\udfff]")
    text = replace_characters(document.text, SURROGATES, "\ufffd", "character_replaced", report, document)
    mentions = _flat(document, report)
    lines, written = [f"-DOCSTART- ({id})\n"], []
    for start, end in _sentences(text, mentions):
        tokens = list(_tokens(text, start, end, mentions, document, report))
        if tokens:
            lines += ["\n" if written else "", *(f"{token}\t{tag}\n" for token, tag in tokens)]
            written.append(" ".join(token for token, _ in tokens))
    if "\n".join(written) != text:
        report.add("text_respaced", document.name)
    return "".join(lines) + "\n"


def _flat(document: Document, report: ReadReport) -> list[Mention]:
    """The mentions that one layer of tags can express, in order: the outermost of those that overlap."""
    kept: list[Mention] = []
    for mention in sorted(document.mentions, key=lambda m: (m.start, -m.end)):
        require(document, "iob2", "entity type", mention.type, r"[\t\n\r\ud800-\udfff]")
        surface = document.surface(mention)
        detail = f"{mention.type} [{mention.start}, {mention.end}) {surface!r:.80}"
        if not surface.strip():
            report.add("blank_mention_not_written", document.name, detail)
        elif kept and mention.start < kept[-1].end:
            report.add("nested_not_written", document.name, detail)
        else:
            kept.append(mention)
            if surface != surface.strip():
                report.add("mention_trimmed", document.name, detail)
    return kept


def _sentences(text: str, mentions: list[Mention]) -> Iterator[tuple[int, int]]:
    """Spans between line ends; a line end inside a mention is no sentence end, or the mention would be cut."""
    inside = {place for mention in mentions for place in range(mention.start, mention.end)}
    start = 0
    for match in re.finditer("\n", text):
        if match.start() not in inside:
            yield start, match.start()
            start = match.end()
    yield start, len(text)


def _tokens(text: str, start: int, end: int, mentions: list[Mention], document, report) -> Iterator[tuple[str, str]]:
    """(token, tag) of the sentence [start, end) of the text."""
    own = [mention for mention in mentions if start <= mention.start and mention.end <= end]
    bounds = sorted({place for mention in own for place in (mention.start, mention.end)})
    inside = {place: mention for mention in own for place in range(mention.start, mention.end)}
    seen = set()
    for match in re.compile(r"\S+").finditer(text, start, end):
        begin, stop = match.span()
        cuts = [begin, *bounds[bisect_right(bounds, begin) : bisect_left(bounds, stop)], stop]
        if match[0] == "-DOCSTART-" and len(cuts) == 2:
            cuts.insert(1, begin + 1)  # as one token it would start a document
        if len(cuts) > 2:
            report.add("resplit_token", document.name, match[0][:80], len(cuts) - 2)
        for left, right in itertools.pairwise(cuts):
            mention = inside.get(left)
            if mention is None:
                yield text[left:right], "O"
            else:
                yield text[left:right], ("I-" if mention in seen else "B-") + mention.type
                seen.add(mention)


def _as_it_came(document: Document, source: IobSource, report: ReadReport) -> str:
    """The input's lines with the tags of the document's mentions, each widened to whole tokens."""
    rows = [row for sentence in source.sentences for row in sentence]
    ends = list(itertools.accumulate((len(row.cells[0]) + 1 for row in rows), initial=0))[1:]
    starts, ends = [0, *ends], [end - 1 for end in ends]
    tags = ["O"] * len(rows)
    for mention in sorted(document.mentions, key=lambda m: (m.start, -m.end)):
        require(document, "iob2", "entity type", mention.type, r"[\t\n\r\ud800-\udfff]")
        first = bisect_right(ends, mention.start)
        last = bisect_left(starts, mention.end, 0, len(rows)) - 1
        detail = f"{mention.type} [{mention.start}, {mention.end}) {document.surface(mention)!r:.80}"
        if first > last:
            report.add("blank_mention_not_written", document.name, detail)
        elif any(tag != "O" for tag in tags[first : last + 1]):
            report.add("nested_not_written", document.name, detail)
        else:
            if (starts[first], ends[last]) != (mention.start, mention.end):
                report.add("widened_to_token", document.name, detail)
            tags[first : last + 1] = ["B-" + mention.type] + ["I-" + mention.type] * (last - first)
    written = iter(tags)
    blocks = ["".join(_line(row, next(written)) for row in sentence) for sentence in source.sentences]
    return "\n".join(blocks) + "\n" if source.start is None else f"{source.start}\n" + "\n".join(blocks)


def _line(row: Row, tag: str) -> str:
    cells = list(row.cells)
    if row.tag is None:
        cells.append(tag)
    else:
        cells[row.tag] = tag
    # A type with a space would be another cell.
    separator = row.separator if " " not in tag else "\t"
    return separator.join(cells) + "\n"
