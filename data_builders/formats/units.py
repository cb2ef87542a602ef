"""Offsets in other units than code points: how they are converted, and which unit a file's mentions fit."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

CODE_POINTS = "code_points"
_WIDE = {"utf16": re.compile("[\U00010000-\U0010ffff]"), "utf8": re.compile("[^\x00-\x7f]")}
_LINE_ENDS = {"crlf_once": re.compile("(?<=\r)\n"), "crlf_twice": re.compile("(?<!\r)\n|\r(?!\n)")}
# unit → what messages call it; units are combinations of what a character counts and what a line end counts
UNITS = {
    CODE_POINTS: "code points",
    "utf16": "UTF-16 code units",
    "utf8": "UTF-8 bytes",
    "crlf_once": "code points with CR LF counted as one",
    "crlf_twice": "code points with each line end counted as two (CR LF)",
    "utf16_crlf_once": "UTF-16 code units with CR LF counted as one",
    "utf16_crlf_twice": "UTF-16 code units with each line end counted as two (CR LF)",
    "utf8_crlf_once": "UTF-8 bytes with CR LF counted as one",
    "utf8_crlf_twice": "UTF-8 bytes with each line end counted as two (CR LF)",
}


def _extra(text: str, unit: str) -> list[tuple[int, int]]:
    """(index, how much more than one it counts) of each character that doesn't count one."""
    if unit == CODE_POINTS:
        return []
    kind = unit.partition("_")[0]
    found = []
    if kind in _WIDE and not text.isascii():
        for match in _WIDE[kind].finditer(text):
            width = 2 if kind == "utf16" else len(match[0].encode("utf-8", "surrogatepass"))
            found.append((match.start(), width - 1))
    for name, pattern in _LINE_ENDS.items():
        if unit.endswith(name):
            found += [(match.start(), -1 if name == "crlf_once" else 1) for match in pattern.finditer(text)]
    return sorted(found)


def width(text: str, unit: str) -> int:
    """How long the text is in the unit."""
    return len(text) + sum(more for _, more in _extra(text, unit))


class Ruler:
    """Where the offsets of a unit lie in a text."""

    def __init__(self, text: str, unit: str):
        self.text, self.unit = text, unit
        self._ends, self._after, total = [], [], 0
        for index, more in _extra(text, unit):
            total += more
            self._ends.append(index + 1 + total)  # the offset behind the character
            self._after.append((total, more))

    def index(self, offset: int) -> int | None:
        """The code point at an offset; None for an offset inside a character."""
        place = bisect_right(self._ends, offset)
        index = offset - (self._after[place - 1][0] if place else 0)
        if place < len(self._ends):
            more = self._after[place][1]
            start = self._ends[place] - 1 - more  # the offset of the next wide character
            if offset > start:
                return None
        return index


@dataclass
class Tally:
    """How a file's mentions fit in a unit: their texts stand at their offsets, or don't; `broken`: unreadable records."""

    unit: str
    fits: int = 0
    misfits: int = 0
    broken: int = 0
    enough: int | None = None

    @property
    def hopeless(self) -> bool:
        """Whether it is worse than what is known already."""
        return self.enough is not None and self.misfits + self.broken > self.enough


def best_unit(tallies: list[Tally]) -> Tally | None:
    """The unit that the mentions fit where they don't fit the first tally's: all of them, or all but a few; None if none
    does."""
    own, *others = tallies
    wrong = own.misfits + own.broken
    if not wrong:
        return None
    better = [t for t in others if t.misfits + t.broken <= wrong / 2 and t.fits > own.fits and not t.hopeless]
    return min(better, key=lambda t: (t.misfits + t.broken, -t.fits), default=None)
