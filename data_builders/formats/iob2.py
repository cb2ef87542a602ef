"""IOB2: one token and its tag a line, a blank line after each sentence, `-DOCSTART-` lines between documents."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import BinaryIO

from mosaic_ner.modeling.document import Document, Mention

from .base import SURROGATES, Reading, ReadReport, count_losses, read_lines, replace_characters, require

_DOCSTART = re.compile(r"-DOCSTART-(\s.*)?")
_DOCSTART_ID = re.compile(r"-DOCSTART-\s+\((.*)\)(\s+\S+)*", re.DOTALL)

Sentence = list[tuple[int, str, str]]  # (line number, token, tag)


def read_iob2(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """Documents of an IOB2 file: those between `-DOCSTART-` lines, or every sentence if the file has no such lines.

    Ids are those in brackets, `-DOCSTART- (id)`, else the file's name, ":" and the number of the document from 1. Text
    is the tokens joined with spaces, the sentences joined with line ends.
    """
    with_docstart, sentences, sentence, id, first, number = None, [], [], "", None, 0
    for line_number, line in read_lines(handle, reading):
        if _DOCSTART.fullmatch(line):
            if with_docstart is False:
                remedy = "start the file with -DOCSTART-, or remove those lines: each sentence is then a document"
                raise reading.error("-DOCSTART- from the first line on, or never", "one here", remedy, line=line_number)
            if with_docstart:
                yield _document(id, [*sentences, sentence], reading, first)
            with_docstart, sentences, sentence, first, number = True, [], [], line_number, number + 1
            named = _DOCSTART_ID.fullmatch(line)
            id = named[1] if named and named[1] else f"{reading.stem}:{number}"
        elif line.strip():
            with_docstart = bool(with_docstart)
            first = first or line_number
            sentence += _row(line, line_number, reading)
        elif with_docstart:
            sentences.append(sentence)
            sentence = []
        elif sentence:
            number += 1
            yield _document(f"{reading.stem}:{number}", [sentence], reading, first)
            sentence, first = [], None
    if with_docstart:
        yield _document(id, [*sentences, sentence], reading, first)
    elif sentence:
        yield _document(f"{reading.stem}:{number + 1}", [sentence], reading, first)


def _row(line: str, number: int, reading: Reading) -> Sentence:
    """The line's token and tag (its first and last cell); nothing for an empty token that the policy lets pass."""
    cells = line.split("\t") if "\t" in line else line.split(" ")
    token, tag = cells[0], cells[-1]
    if len(cells) < 2:
        remedy = "separate token and tag by a tab or a space"
        raise reading.error("a token and a tag", repr(line[:80]), remedy, line=number)
    if tag != "O" and not re.fullmatch(r"[BI]-.+", tag, re.DOTALL):
        remedy = "the tag is the last cell; convert other schemes (IOBES, BILOU) to IOB2"
        raise reading.error("a tag O, B-type or I-type", repr(tag[:80]), remedy, line=number)
    if not token:
        reading.fault("empty_token", "a token in the first cell", "an empty one", line=number)
        return []
    return [(number, token, tag)]


def _document(id: str, sentences: list[Sentence], reading: Reading, line: int | None) -> Document:
    spans: list[tuple[int, int, str, int]] = []
    texts, position = [], 0
    for sentence in filter(None, sentences):
        texts.append(" ".join(token for _, token, _ in sentence))
        open_type = None
        for number, token, tag in sentence:
            end, type = position + len(token), tag[2:]
            if tag == "O":
                open_type = None
            elif tag[0] == "I" and type == open_type:
                start, _, _, first = spans[-1]
                spans[-1] = (start, end, type, first)
            else:
                if tag[0] == "I":
                    reading.note("iob1_start", f"{token} {tag}", line=number, document=id)
                spans.append((position, end, type, number))
                open_type = type
            position = end + 1
    text = "\n".join(texts)
    mentions = [reading.mention(text, (a, b), type, None, line=number, id=id) for a, b, type, number in spans]
    return reading.document(id, text, mentions, line=line)


# --- writing ---------------------------------------------------------------------------------------------------------


def iob2_record(document: Document, report: ReadReport, number: int) -> str:
    """One document after its `-DOCSTART- (id)` line.

    Tokens are runs of other characters than white space, cut where a mention starts or ends.

    Raises:
        FormatError: the id or a type holds a character that would break the line.
    """
    count_losses(document, report)
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
    bounds = {place for mention in own for place in (mention.start, mention.end)}
    inside = {place: mention for mention in own for place in range(mention.start, mention.end)}
    seen = set()
    for match in re.compile(r"\S+").finditer(text, start, end):
        cuts = [match.start(), *sorted(b for b in bounds if match.start() < b < match.end()), match.end()]
        if match[0] == "-DOCSTART-" and len(cuts) == 2:
            cuts.insert(1, match.start() + 1)  # as one token it would start a document
        if len(cuts) > 2:
            report.add("resplit_token", document.name, match[0][:80], len(cuts) - 2)
        for left, right in itertools.pairwise(cuts):
            mention = inside.get(left)
            if mention is None:
                yield text[left:right], "O"
            else:
                yield text[left:right], ("I-" if mention in seen else "B-") + mention.type
                seen.add(mention)
