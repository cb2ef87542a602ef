"""Mentions as HTML: nested and overlapping ones in one text, their legend, their table. Standard library only.

Everything that comes from a text, a model or a file is escaped here and nowhere else.
"""

from __future__ import annotations

import heapq
import html
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from mosaic_ner.modeling.document import Mention

SHEET, PAGE_SHEET = (Path(__file__).with_name(name) for name in ("highlight.css", "page.css"))
COLOURS = 8
"""Colours of the style sheet (Okabe and Ito's, which colour-blind readers can tell apart)."""
BORDERS = ("solid", "dashed", "dotted")
"""What tells types apart that share a colour."""
WHERE = {"both": "Both", "a": "Only A", "b": "Only B"}


def escape(text: str) -> str:
    """The text as HTML shows it, also where a page's templates would read `${…}` or `{{…}}`."""
    return html.escape(text).translate({ord(character): f"&#{ord(character)};" for character in "${`"})


def style_of(kind: str, types: Sequence[str]) -> str:
    """CSS classes of a type: its colour, and from the ninth type on another border."""
    number = types.index(kind) if kind in types else len(types)
    return f"mn-c{number % COLOURS} mn-{BORDERS[number // COLOURS % len(BORDERS)]}"


def mark(
    text: str,
    mentions: Iterable[Mention],
    types: Sequence[str],
    stretch: tuple[int, int] | None = None,
    stressed: Container[tuple[int, int, str]] | None = None,
) -> str:
    """The text with a box around each mention, boxes within boxes.

    Mentions that cross are cut where the one that began first ends: HTML can't cross. The pieces are open where they were
    cut, and the last one has the label. The text between the tags is the text as it was: labels come from the style sheet.

    Args:
        types: the order of the types' colours.
        stretch: the characters to show, with the mentions inside them; None: all.
        stressed: keys of the mentions that stand out; None: all of them.
    """
    first, last = stretch or (0, len(text))
    mentions = [m for m in mentions if first <= m.start and m.end <= last]
    # An enclosing mention opens before those inside it.
    waiting = [(m.start, -m.end, number, False) for number, m in enumerate(mentions)]
    heapq.heapify(waiting)
    parts: list[str] = []
    ends: list[int] = []  # of the open boxes, innermost last
    position, deepest = first, 0
    while waiting or ends:
        start = waiting[0][0] if waiting else last
        if ends and ends[-1] <= start:
            end = ends.pop()
            parts += [escape(text[position:end]), "</mark>"]
            position = end
            continue
        _, minus_end, number, continued = heapq.heappop(waiting)
        end = -minus_end
        cut = bool(ends) and ends[-1] < end
        if cut:
            heapq.heappush(waiting, (ends[-1], minus_end, number, True))
            end = ends[-1]
        parts += [escape(text[position:start]), _open(mentions[number], types, continued, cut, stressed)]
        position = start
        ends.append(end)
        deepest = max(deepest, len(ends))
    parts.append(escape(text[position:last]))
    return f'<div class="mn-text mn-depth{min(deepest, 6)}" dir="auto">{"".join(parts)}</div>'


def _open(mention: Mention, types: Sequence[str], continued: bool, cut: bool, stressed) -> str:
    kind = escape(mention.type)
    classes = f"mn-m {style_of(mention.type, types)}" + " mn-continued" * continued + " mn-cut" * cut
    classes += " mn-faint" * (stressed is not None and mention.key not in stressed)
    place = f'data-start="{mention.start}" data-end="{mention.end}"'
    tip = f"{kind}, characters {mention.start} to {mention.end}, score {_score(mention)}"
    return f'<mark class="{classes}" data-type="{kind}" {place} title="{tip}">'


def _score(mention: Mention) -> str:
    return "–" if mention.score is None else f"{mention.score:.3f}"


def summary(mentions: Sequence[Mention]) -> str:
    """How many mentions of which types there are."""
    types = len({m.type for m in mentions})
    if not mentions:
        return '<p class="mn-summary">No mention was found.</p>'
    return f'<p class="mn-summary"><b>{count(len(mentions), "mention")}</b> of {count(types, "type")}</p>'


def count(number: int, noun: str) -> str:
    """`1 mention`, `2 mentions`."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def legend(mentions: Iterable[Mention], types: Sequence[str]) -> str:
    """The types that were found, with their colours and numbers, the most frequent first."""
    items = [
        f'<li><span class="mn-chip {style_of(kind, types)}">{escape(kind)}</span> {number:,}</li>'
        for kind, number in Counter(m.type for m in mentions).most_common()
    ]
    return f'<ul class="mn-legend" aria-label="Types found">{"".join(items)}</ul>' if items else ""


def table(text: str, mentions: Iterable[Mention], types: Sequence[str]) -> str:
    """A row per mention: its text, type, offsets in code points, score."""
    rows = [[*_cells(text, m, types), (_score(m), "mn-number")] for m in mentions]
    return grid(["Mention", "Type", "Start", "End", "Score"], rows)


def _cells(text: str, mention: Mention, types: Sequence[str]) -> list[tuple[str, str]]:
    chip = f'<span class="mn-chip {style_of(mention.type, types)}">{escape(mention.type)}</span>'
    surface = f"<bdi>{escape(text[mention.start : mention.end])}</bdi>"
    return [
        (surface, "mn-surface"), (chip, ""), (str(mention.start), "mn-number"), (str(mention.end), "mn-number"),
    ]  # fmt: skip


def grid(header: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A table. Cells are (HTML, CSS class), and the header's are HTML; nothing without rows."""
    if not rows:
        return ""
    styles = [style for _, style in rows[0]]
    top = "".join(f'<th scope="col" class="{style}">{name}</th>' for name, style in zip(header, styles, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{style}">{cell}</td>' for cell, style in row) + "</tr>" for row in rows
    )
    return f'<div class="mn-scroll"><table class="mn-table"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def result(text: str, mentions: Sequence[Mention], types: Sequence[str]) -> str:
    """Everything about one text: summary, legend, the marked text, the table."""
    parts = [summary(mentions), legend(mentions, types), mark(text, mentions, types), table(text, mentions, types)]
    return f'<section class="mn-result">{"".join(parts)}</section>'


def comparison(
    text: str, a: Sequence[Mention], b: Sequence[Mention], types: Sequence[str], titles: Sequence[str]
) -> str:
    """Two answers to one text: each marked, and whose mention each is. Equal: the same characters and type.

    Args:
        titles: what A and B are.
    """
    scores_a, scores_b = {m.key: m for m in a}, {m.key: m for m in b}
    rows, counts = [], Counter({where: 0 for where in WHERE})
    for key in sorted({*scores_a, *scores_b}):
        own_a, own_b = scores_a.get(key), scores_b.get(key)
        where = "both" if own_a and own_b else "a" if own_a else "b"
        counts[where] += 1
        scores = [(_score(m) if m else "", "mn-number") for m in (own_a, own_b)]
        label = f'<span class="mn-where mn-where-{where}">{WHERE[where]}</span>'
        rows.append([(label, ""), *_cells(text, own_a or own_b, types), *scores])
    found = (
        f"<b>{counts['both']:,}</b> found by both, <b>{counts['a']:,}</b> only by A, <b>{counts['b']:,}</b> only by B"
    )
    sides = "".join(
        f'<section class="mn-side"><h4><span class="mn-letter">{letter}</span> {escape(title)}</h4>'
        f"{mark(text, mentions, types)}</section>"
        for letter, title, mentions in zip("AB", titles, (a, b), strict=True)
    )
    parts = [
        f'<p class="mn-summary">{found}</p>', legend([*a, *b], types), f'<div class="mn-sides">{sides}</div>',
        grid(["Found by", "Mention", "Type", "Start", "End", "A", "B"], rows),
    ]  # fmt: skip
    return f'<section class="mn-result">{"".join(parts)}</section>'


def types_table(mentions: Iterable[Mention], types: Sequence[str]) -> str:
    """How many mentions there are of each type."""
    rows = [
        [(f'<span class="mn-chip {style_of(kind, types)}">{escape(kind)}</span>', ""), (f"{number:,}", "mn-number")]
        for kind, number in Counter(m.type for m in mentions).most_common()
    ]
    return grid(["Type", "Number"], rows)


def alert(message: str) -> str:
    """What went wrong, where the result would be."""
    return f'<div class="mn-alert" role="alert"><b>Not done.</b> {escape(message)}</div>'


def note(message: str) -> str:
    """A quiet remark."""
    return f'<p class="mn-note">{escape(message)}</p>'


def fragment(body: str) -> str:
    """HTML with its style, as a notebook shows it among other things."""
    style = "".join(sheet.read_text(encoding="utf-8") for sheet in (SHEET, PAGE_SHEET))
    return f'<style>{style}</style><div class="mn-page">{body}</div>'


def page(title: str, body: str) -> str:
    """A whole page in one file, which asks nothing of other servers."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
    top = f'<header class="mn-head"><h1>{escape(title)}</h1></header>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body class="mn-body">{fragment(top + body)}</body></html>\n'
