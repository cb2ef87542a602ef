"""One document, one answer: the same words have the same type all over a document. Ships to the Hub; standard library only."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from .document import Mention
from .units import continuations

_BRACKETS = re.compile(r"\(\s*([^()]*?)\s*(?:[;,][^()]*)?\)")
_SENTENCE_END = re.compile(r"[.;:!?]\s|[()]")
_REACH = 200
"""Characters before the brackets in which a long form is looked for."""
_EXACT = 4
"""Characters up to which upper and lower case tell names apart (CAT and cat)."""


def definitions(text: str) -> list[tuple[int, int, int, int]]:
    """Abbreviations that the text defines as "long form (SF)": start and end of the long form and of the short form (Schwartz
    and Hearst 2003, A simple algorithm for identifying abbreviation definitions in biomedical text)."""
    found = []
    for match in _BRACKETS.finditer(text):
        short = match[1]
        if not (
            2 <= len(short) <= 10 and len(short.split()) <= 2 and short[0].isalnum() and re.search("[^\\W\\d_]", short)
        ):
            continue
        end = len(text[: match.start()].rstrip())
        begin = max(0, end - _REACH)
        begin = max((m.end() for m in _SENTENCE_END.finditer(text, begin, end)), default=begin)
        words = [m.start() for m in re.finditer(r"\S+", text[begin:end])]
        if not words:
            continue
        begin += words[-min(len(short) + 5, 2 * len(short), len(words))]
        start = _long_form(short, text[begin:end])
        if start is not None and end - begin - start > len(short):
            found.append((begin + start, end, *match.span(1)))
    return found


def _long_form(short: str, before: str) -> int | None:
    """Where in the words before the bracket the long form begins: each letter and digit of the short form is found, from the
    right, its first one at the beginning of a word."""
    place = len(before)
    for number in range(len(short) - 1, -1, -1):
        wanted = short[number].lower()
        if not wanted.isalnum():
            continue
        place -= 1
        while place >= 0 and (
            before[place].lower() != wanted or (number == 0 and place > 0 and before[place - 1].isalnum())
        ):
            place -= 1
        if place < 0:
            return None
    return place


class _Answers:
    """Mentions without overlap, by span."""

    def __init__(self, mentions: list[Mention]):
        self.found = {(m.start, m.end): m for m in mentions}
        self.spans = sorted(self.found)

    def free(self, span: tuple[int, int]) -> bool:
        """Whether a span is one of them or overlaps none."""
        before = bisect_left(self.spans, (span[1],))
        return span in self.found or not (before and self.spans[before - 1][1] > span[0])

    def put(self, mention: Mention) -> None:
        span = mention.start, mention.end
        if span not in self.found:
            insort(self.spans, span)
        self.found[span] = mention

    def drop(self, span: tuple[int, int]) -> None:
        if self.found.pop(span, None):
            self.spans.remove(span)


def one_answer(text: str, mentions: list[Mention], passages=()) -> list[Mention]:
    """Makes the answers for the same words agree over a document.

    An abbreviation that the text defines has the type of its long form, wherever it stands. Then the scores of the same words
    are pooled: their mean over all places where no other mention is in the way, 0 where they weren't found. From 0.5 on, all
    these places are mentions, of the type with the largest sum and with that mean; below, none is. Words that occur once stay
    as they are. Up to 4 characters, upper and lower case differ.

    Args:
        text: the whole document.
        mentions: found in it, without overlap, with scores.
        passages: (start, end) of passages; no mention crosses one's border.
    Returns:
        mentions without overlap, in order.
    """
    answers, inside = _Answers(mentions), continuations(text)
    borders = sorted({place for passage in passages for place in passage})
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter of several in lower case: places would move
        lowered = text

    def places(start: int, end: int) -> list[tuple[int, int]]:
        where = lowered if end - start > _EXACT else text
        spans = _whole_words(where, where[start:end])
        return [span for span in spans if span[1] not in inside and not _crosses(span, borders)]

    ends = {m.end: m for m in mentions}
    for _, end, *short in definitions(text):
        if long := ends.get(end):
            for start, stop in places(*short):
                known = answers.found.get((start, stop))
                if known is None and answers.free((start, stop)):
                    answers.put(replace(long, start=start, end=stop, identifiers=()))
                elif known is not None and known.type != long.type:
                    answers.put(replace(known, type=long.type))
    groups = defaultdict(list)
    for (start, end), mention in answers.found.items():
        groups[(lowered if end - start > _EXACT else text)[start:end]].append(mention)
    for _, group in sorted(groups.items(), key=lambda item: (-len(item[0]), item[0])):
        own = {(m.start, m.end) for m in group}
        spans = sorted(own.union(p for p in places(group[0].start, group[0].end) if answers.free(p)))
        if len(spans) < 2:
            continue
        sums = defaultdict(float)
        for mention in group:
            sums[mention.type] += mention.score
        kind = max(sorted(sums), key=lambda name: sums[name])
        mean = sums[kind] / len(spans)
        for span in spans:
            if mean < 0.5:
                answers.drop(span)
            elif span in own:
                answers.put(replace(answers.found[span], type=kind, score=mean))
            elif answers.free(span):
                answers.put(Mention(*span, kind, score=mean))
    return [answers.found[span] for span in answers.spans]


def _whole_words(text: str, words: str) -> Iterator[tuple[int, int]]:
    """Where words stand that no letter or digit continues on either side."""
    start = text.find(words)
    while start >= 0:
        end = start + len(words)
        if not (start and text[start - 1].isalnum()) and not text[end : end + 1].isalnum():
            yield start, end
        start = text.find(words, start + 1)


def _crosses(span: tuple[int, int], borders: list[int]) -> bool:
    after = bisect_left(borders, span[0] + 1)
    return after < len(borders) and borders[after] < span[1]
