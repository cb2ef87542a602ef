"""Units: the smallest pieces of a text that a mention may begin or end with. Ships to the Hub; standard library only."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Letters, digits and single other characters; of the letters, A-Z begin a unit after any others ("m|RNA", "p|53",
# "Ikappa|B", "Δ|F|508", but "Sjögren").
_UNIT = re.compile(r"[A-Z]+[^\W\d_A-Z]*|[^\W\d_A-Z]+|\d+|[^\w\s]|_")
_JOINER = "\u200d"

KINDS = ("pretoken", "token")
"""What a unit can be, see `find_units`."""


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before: a combining mark or variation selector, a joiner, the later parts of a
    Hangul syllable, an emoji's colour or tag."""
    return (
        unicodedata.category(character)[0] == "M"
        or character in ("\u200c", _JOINER)
        or any(
            first <= character <= last
            for first, last in ("\u1160\u11ff", "\ud7b0\ud7ff", "🏻🏿", "\U000e0020\U000e007f")
        )
    )


def continuations(text: str) -> set[int]:
    """The places in the text that belong to the character before: its marks, and what a joiner ties to it. White space has
    none."""
    if text.isascii():
        return set()
    marks = "".join(map(re.escape, filter(_continues, set(text))))
    return {m.start() for m in re.finditer(rf"(?<=\S)[{marks}]|(?<={_JOINER})\S", text)} if marks else set()


def find_pieces(pattern: re.Pattern, text: str) -> list[tuple[int, int]]:
    """Where a pattern is found, as half-open ranges, if each letter with its marks is one character, so that composed (NFC)
    and decomposed (NFD) text have the same pieces."""
    inside = continuations(text)
    if not inside:
        return [m.span() for m in pattern.finditer(text)]
    starts = [*(place for place in range(len(text)) if place not in inside), len(text)]
    shown = "".join(unicodedata.normalize("NFC", text[start:end])[0] for start, end in pairwise(starts))
    return [(starts[m.start()], starts[m.end()]) for m in pattern.finditer(shown)]


def find_units(text: str, offsets, kind: str = "pretoken", passages=()) -> list[tuple[int, int]]:
    """The units of a run of tokens as half-open token ranges, in order; each token with text is in one.

    A unit begins and ends with a token that has text: a lone word-start marker between two units is in neither, so that it
    is no part of a mention's borders. Tokens that share a character (bytes of it, its marks) are in the same unit.

    Args:
        text: the whole document.
        offsets: each token's characters in it, half-open; at least one token.
        kind: "pretoken": a unit begins at a token that begins after white space, at a change between letters, digits and
            other characters, at any other character, or at a letter of A-Z after one beyond A-Z; "token": at every token.
        passages: tokens, but for the first, with which a passage begins; units of two passages have nothing in common.
    """
    units: list[tuple[int, int]] = []
    for first, last in pairwise([0, *passages, len(offsets)]):
        units += [(first + start, first + end) for start, end in _units(text, offsets[first:last], kind)]
    return units or [(0, len(offsets))]  # only tokens without text; there is always a unit


def _units(text: str, offsets, kind: str) -> list[tuple[int, int]]:
    begin, end = offsets[0][0], offsets[-1][1]
    if kind == "pretoken":
        own = {begin + start for start, _ in find_pieces(_UNIT, text[begin:end])}
    else:
        own = {start for start, _ in offsets} - {begin + place for place in continuations(text[begin:end])}
    units: list[tuple[int, int]] = []
    before = -1
    for position, (start, end) in enumerate(offsets):
        if start == end:
            continue
        if not units or (start > before and start in own):
            units.append((position, position + 1))
        else:
            units[-1] = (units[-1][0], position + 1)
        before = start
    return units


def first_tokens(offsets, passages=()) -> list[int]:
    """1 for each token that begins after a gap in the text or at a passage's border, 0 for the rest; arguments as for
    `find_units`."""
    ends = [-1, *(end for _, end in offsets[:-1])]
    gaps = [int(start > end) for (start, _), end in zip(offsets, ends, strict=True)]
    for passage in passages:
        gaps[passage] = 1
    return gaps


BEGINS, ENDS = 1, 2


def unit_borders(units, offsets, tagged) -> list[int]:
    """Where mentions read off tags may begin (bit `BEGINS`) and end (bit `ENDS`) so that none does inside a unit.

    Args:
        units: of the tokens, as `find_units` gives them. offsets: as for `find_units`.
        tagged: 1 for each token that carries a tag; one without belongs to the tag before it.
    Returns:
        the bits of each token, 0 for those without a tag, and for a tag of tokens without text.
    """
    starts, ends = {start for start, _ in units}, {end for _, end in units}
    places = [position for position, own in enumerate(tagged) if own]
    borders = [0] * len(offsets)
    for begin, stop in zip(places, [*places[1:], len(offsets)], strict=True):
        text = [position for position in range(begin, stop) if offsets[position][0] < offsets[position][1]]
        if text:
            borders[begin] = BEGINS * (text[0] in starts) | ENDS * (text[-1] + 1 in ends)
    return borders
