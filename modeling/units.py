"""Units: the smallest pieces of a text that a mention may begin or end with. Ships to the Hub; standard library only."""

from __future__ import annotations

import re

# Letters, digits and single other characters; of the letters, A-Z begin a unit after any others ("m|RNA", "p|53",
# "Ikappa|B", "Δ|F|508", but "Sjögren").
_UNIT = re.compile(r"[A-Z]+[^\W\d_A-Z]*|[^\W\d_A-Z]+|\d+|[^\w\s]|_")

KINDS = ("pretoken", "token")
"""What a unit can be, see `find_units`."""


def find_units(text: str, offsets, kind: str = "pretoken") -> list[tuple[int, int]]:
    """The units of a run of tokens as half-open token ranges, in order; each token with text is in one.

    A unit begins and ends with a token that has text: a lone word-start marker between two units is in neither, so that it
    is no part of a mention's borders. Tokens that share their first character (bytes of it) are in the same unit.

    Args:
        text: the whole document.
        offsets: each token's characters in it, half-open; at least one token.
        kind: "pretoken": a unit begins at a token that begins after white space, at a change between letters, digits and
            other characters, at any other character, or at a letter of A-Z after one beyond A-Z; "token": at every token.
    """
    begin = offsets[0][0]
    own = {begin + m.start() for m in _UNIT.finditer(text[begin : offsets[-1][1]])} if kind == "pretoken" else ()
    units: list[tuple[int, int]] = []
    before = -1
    for position, (start, end) in enumerate(offsets):
        if start == end:
            continue
        if not units or (start > before and (kind == "token" or start in own)):
            units.append((position, position + 1))
        else:
            units[-1] = (units[-1][0], position + 1)
        before = start
    return units or [(0, len(offsets))]  # only tokens without text; there is always a unit


def first_tokens(offsets) -> list[int]:
    """1 for each token that begins after a gap in the text, 0 for the rest; `offsets` as for `find_units`."""
    ends = [-1, *(end for _, end in offsets[:-1])]
    return [int(start > end) for (start, _), end in zip(offsets, ends, strict=True)]
