"""Units: the smallest pieces of a text that a mention may begin or end with. Ships to the Hub; standard library only."""

from __future__ import annotations

import re

from .windowing import Window

# Letters, digits and single other characters; of the letters, A-Z begin a unit after any others ("m|RNA", "p|53",
# "Ikappa|B", "Δ|F|508", but "Sjögren").
_UNIT = re.compile(r"[A-Z]+[^\W\d_A-Z]*|[^\W\d_A-Z]+|\d+|[^\w\s]|_")


def find_units(window: Window, boundaries: str = "word") -> list[tuple[int, int]]:
    """The window's units as half-open token ranges, in order; each token with text is in one.

    A unit begins and ends with a token that has text: a lone word-start marker between two units is in neither, so that it
    is no part of a mention's borders. Tokens that share their first character (bytes of it) are in the same unit.

    Args:
        window: of any tokenizer.
        boundaries: "word": a unit begins at a token that begins after white space, at a change between letters, digits and
            other characters, at any other character, or at a letter of A-Z after one beyond A-Z; "token": at every token.
    """
    begin = window.char_start
    own = {begin + m.start() for m in _UNIT.finditer(window.text[begin : window.char_end])}
    units: list[tuple[int, int]] = []
    before = -1
    for position, (start, end) in enumerate(window.offsets):
        if start == end:
            continue
        if not units or (start > before and (boundaries == "token" or start in own)):
            units.append((position, position + 1))
        else:
            units[-1] = (units[-1][0], position + 1)
        before = start
    return units or [(0, len(window.offsets))]  # only tokens without text; the grid is never empty
