"""What the text of an element is, for PubMed's and JATS's XML: the characters that a reader of the article sees, in order.

Inline markup (`<i>`, `<sup>`, links) gives its characters and nothing else: `Ca<sup>2+</sup>` is "Ca2+". White space with a
line end or a tab in it becomes one space, other spaces stay. A citation's raised number stands apart from the word before
it, and so does a formula that has a line of its own. Of a formula in MathML the symbols are text; one in TeX or a picture
alone gives nothing and is counted.
"""

from __future__ import annotations

import re

from .base import Reading
from .xmlstream import entity, name_of

_SPACES = re.compile("[ \t\n\r]{2,}|[\t\n\r]")
_EDGES = " \t\n\r"
_HIDDEN = frozenset({
    "annotation", "annotation-xml", "tex-math", "graphic", "inline-graphic", "object-id", "alt-text", "long-desc", "index-term",
    "private-char", "media", "label",
})  # fmt: skip
_APART = frozenset(["disp-formula", "DispFormula", "break"])
_FORMULAS = frozenset(["disp-formula", "inline-formula", "DispFormula"])
_NOTES = frozenset(["bibr", "fn", "table-fn", "aff"])


def tidy(text: str) -> str:
    """The text with each stretch of white space that holds a line end or a tab as one space, and none at its ends."""
    if "\n" in text or "\t" in text or "\r" in text:
        text = _SPACES.sub(lambda match: " " if match[0].strip(" ") else match[0], text)
    return text.strip(_EDGES)


def plain(element, reading: Reading) -> str:
    """All text of an element, tidied."""
    if not len(element):
        return tidy(element.text or "")
    return "".join(tidy(piece) for piece in flow(element, reading))


def flow(element, reading: Reading, blocks: frozenset = frozenset(), floats: frozenset = frozenset()) -> list:
    """An element's text as pieces (not tidied), with the blocks in it between them and the floats in it at the end.

    Args:
        blocks: names of elements that end the text before them, such as lists.
        floats: names of those that stand somewhere else on the page, such as figures.
    """
    pieces, out, aside = [], [], []

    def end() -> None:
        if pieces:
            out.append("".join(pieces))
            pieces.clear()

    def walk(node, math: bool) -> None:
        add(node.text, math)
        for child in node:
            name = name_of(child)
            if not name:
                pieces.append(entity(child, reading))
            elif name in floats:
                aside.append(child)
            elif name in blocks:
                end()
                out.append(child)
            elif name not in _HIDDEN:
                apart = name in _APART or _is_note(child, name)
                pieces.append("\n" if apart else "")
                before = len(pieces)
                walk(child, math or name == "math")
                if name in _FORMULAS and not "".join(pieces[before:]).strip():
                    reading.note("formula_not_read", line=child.sourceline)
                pieces.append("\n" if name in _APART else "")
            add(child.tail, math)

    def add(text: str | None, math: bool) -> None:
        if text:
            pieces.append(text.strip(_EDGES) if math else text)

    walk(element, name_of(element) == "math")
    end()
    return out + aside


def _is_note(element, name: str) -> bool:
    """Whether an element is the raised number of a citation or note: <sup> with <xref> first in it, or the other way round."""
    if name not in ("sup", "xref") or not len(element) or (element.text or "").strip():
        return False
    inner = element[0]
    xref = element if name == "xref" else inner
    return {name, name_of(inner)} == {"sup", "xref"} and xref.get("ref-type") in _NOTES


class Text:
    """A document's text and passages, put together: one space stands between two passages."""

    def __init__(self):
        self.pieces, self.passages, self.length = [], [], 0

    def add(self, text: str, kind: str, infons: tuple[tuple[str, str], ...] = ()) -> None:
        """Appends a passage, unless it is empty."""
        if not text:
            return
        start = self.length + 1 if self.pieces else 0
        self.pieces.append(text)
        self.length = start + len(text)
        self.passages.append((start, self.length, kind, infons))

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.pieces)
