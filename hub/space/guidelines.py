"""One text under several guidelines, side by side, and where they disagree, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction import highlight

Answer = tuple[str, AbstractSet[str], Sequence[Mention]]
"""A guideline's title, the types that are annotated under it, the mentions found."""
NOT_ANNOTATED = '<span class="mn-note">not annotated</span>'
NOTHING = '<span class="mn-note">–</span>'


def side_by_side(text: str, answers: Sequence[Answer], types: Sequence[str]) -> str:
    """The text marked under each guideline, and a row for each stretch that any of them marks.

    Guidelines disagree about a stretch where their types of it differ, or one has none, among those under which any of its
    types is annotated: of the others nothing is known. Where that is only one of them, nobody agrees.

    Args:
        types: the order of the types' colours.
    """
    found = [{} for _ in answers]
    for own, (_, _, mentions) in zip(found, answers, strict=True):
        for mention in mentions:
            own.setdefault((mention.start, mention.end), []).append(mention.type)
    rows, disputed = [], 0
    for start, end in sorted({place for own in found for place in own}):
        said = [tuple(sorted(own.get((start, end), ()))) for own in found]
        named = {name for kinds in said for name in kinds}
        knows = [bool(named & annotated) for _, annotated, _ in answers]
        differ = len({kinds for kinds, known in zip(said, knows, strict=True) if known}) > 1
        verdict = "differ" if differ else "agree" if sum(knows) > 1 else "only one"
        disputed += differ
        rows.append([
            (f'<span class="mn-where{" mn-where-a" * differ}">{verdict}</span>', ""),
            (f"<bdi>{highlight.escape(text[start:end])}</bdi>", "mn-surface"),
            (str(start), "mn-number"), (str(end), "mn-number"),
            *((_cell(kinds, known, types), "") for kinds, known in zip(said, knows, strict=True)),
        ])  # fmt: skip
    titles = [highlight.escape(title) for title, _, _ in answers]
    summary = f"<b>{highlight.count(len(rows), 'stretch').replace('stretchs', 'stretches')}</b> of text, "
    summary += f"<b>{disputed:,}</b> about which guidelines disagree"
    sides = "".join(
        f'<section class="mn-side"><h4>as {title}</h4>{highlight.mark(text, mentions, types)}</section>'
        for title, (_, _, mentions) in zip(titles, answers, strict=True)
    )
    everything = [mention for _, _, mentions in answers for mention in mentions]
    parts = [
        f'<p class="mn-summary">{summary if rows else "No mention was found."}</p>', highlight.legend(everything, types),
        f'<div class="mn-sides">{sides}</div>', highlight.grid(["Guidelines", "Mention", "Start", "End", *titles], rows),
    ]  # fmt: skip
    return f'<section class="mn-result">{"".join(parts)}</section>'


def _cell(kinds: Sequence[str], known: bool, types: Sequence[str]) -> str:
    if not known:
        return NOT_ANNOTATED
    chips = [
        f'<span class="mn-chip {highlight.style_of(kind, types)}">{highlight.escape(kind)}</span>' for kind in kinds
    ]
    return " ".join(chips) or NOTHING
