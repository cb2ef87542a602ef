"""Answers to a text in their sentences, for pages that show how they differ."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.windowing import split_sentences
from mosaic_ner.prediction import highlight

LONGEST = 400
"""Characters shown on either side of what differs."""


@lru_cache(maxsize=64)
def sentences(text: str) -> list[tuple[int, int]]:
    """`split_sentences`, once for the differences of a text."""
    return split_sentences(text)


def sentence_of(text: str, stretch: tuple[int, int]) -> tuple[int, int]:
    """The characters of the sentences that a stretch lies in, without white space at their ends."""
    spans = sentences(text)
    starts = [start for start, _ in spans]
    start = spans[bisect_right(starts, stretch[0]) - 1][0]
    end = spans[bisect_right(starts, stretch[1] - 1) - 1][1]
    start, end = max(start, stretch[0] - LONGEST), min(end, stretch[1] + LONGEST)
    shown = text[start:end]
    return start + len(shown) - len(shown.lstrip()), end - len(shown) + len(shown.rstrip())


def answers(
    text: str, stretch: tuple[int, int], sides: Iterable[tuple[str, Iterable[Mention], set]], types: Sequence[str]
) -> str:
    """The same stretch of a text under several answers, one below the other.

    Args:
        stretch: of characters, as `sentence_of` gives it.
        sides: (who answers, the mentions of the text, keys of those that stand out).
        types: the order of the types' colours.
    """
    rows = []
    for name, mentions, stressed in sides:
        marked = highlight.mark(text, mentions, types, stretch, stressed)
        rows.append(f'<div class="mn-answer"><b>{highlight.escape(name)}</b>{marked}</div>')
    return "".join(rows)


def bar(parts: Sequence[tuple[str, float, str]], label: str) -> str:
    """A bar of stacked parts.

    Args:
        parts: (name, number, CSS colour), in order. label: what a screen reader says it is.
    """
    total, left, shapes = sum(number for _, number, _ in parts) or 1, 0.0, []
    for name, number, colour in parts:
        width = 100 * number / total
        title = f"<title>{highlight.escape(name)}: {number:,} ({width:.1f}%)</title>"
        shapes.append(f'<rect x="{left:.3f}" y="0" width="{width:.3f}" height="10" fill="{colour}">{title}</rect>')
        left += width
    said = highlight.escape(label)
    opened = f'<svg class="mn-bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{said}">'
    return f"{opened}{''.join(shapes)}</svg>"


def key(parts: Iterable[tuple[str, str]]) -> str:
    """What the colours of a plot mean: (name, CSS colour)."""
    items = "".join(f'<li><i style="background:{colour}"></i>{highlight.escape(name)}</li>' for name, colour in parts)
    return f'<ul class="mn-key">{items}</ul>'


def number(value) -> tuple[str, str]:
    """A cell of `highlight.grid` that holds a number."""
    return (f"{value:,}" if isinstance(value, int) else str(value), "mn-number")


def words(value: str) -> tuple[str, str]:
    """A cell of `highlight.grid` that holds text."""
    return highlight.escape(value), ""
