"""How two sets of mentions of one text differ: gold and predicted, or the answers of two corpora or runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mosaic_ner.modeling.document import Mention
from mosaic_ner.training.relaxed import matches

TYPE, BOUNDARY, BOTH, MISSED, SPURIOUS = "type", "boundary", "type and boundary", "missed", "spurious"
KINDS = (BOUNDARY, TYPE, BOTH, MISSED, SPURIOUS)
STEPS = ((TYPE, "boundary"), (BOUNDARY, "type"), (BOTH, "partial"))
"""Kind → the measure of `training.relaxed` by which what is left is paired, in this order."""


@dataclass(frozen=True)
class Difference:
    """A mention of either side without its like on the other.

    Args:
        kind: one of `KINDS`. A pair of equal characters differs in `type`, one of equal type in `boundary`; `missed` is on the
            one side only, `spurious` on the other only.
        one, other: the mentions; None where there is none.
    """

    kind: str
    one: Mention | None
    other: Mention | None

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """Those that there are."""
        return tuple(m for m in (self.one, self.other) if m is not None)

    @property
    def stretch(self) -> tuple[int, int]:
        """The characters of its mentions, together."""
        return min(m.start for m in self.mentions), max(m.end for m in self.mentions)


def differences(one: Iterable[Mention], other: Iterable[Mention]) -> list[Difference]:
    """What differs, in reading order. Mentions of equal characters and type are alike; of the others, those of equal characters
    are paired first, then overlapping ones of one type, then any that overlap, each in one pair at most."""
    ours, theirs = {m.key: m for m in one}, {m.key: m for m in other}
    left, right = set(ours) - set(theirs), set(theirs) - set(ours)
    found = []
    for kind, measure in STEPS:
        for a, b in matches(left, right, measure):
            found.append(Difference(kind, ours[a], theirs[b]))
            left.remove(a)
            right.remove(b)
    found += [Difference(MISSED, ours[a], None) for a in left]
    found += [Difference(SPURIOUS, None, theirs[b]) for b in right]
    return sorted(found, key=lambda d: (d.stretch, KINDS.index(d.kind), [m.key for m in d.mentions]))


def extras(text: str, longer: tuple[int, int], shorter: tuple[int, int]) -> tuple[str, str]:
    """What a span has before and after another one, without white space at the border; empty where it has nothing."""
    return text[longer[0] : shorter[0]].strip(), text[shorter[1] : longer[1]].strip()
