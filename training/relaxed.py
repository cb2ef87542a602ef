"""Relaxed scores beside the exact one, and scores of what training didn't hold.

The exact score takes a mention with one character too many for two errors. These say how much of it is boundary and how much
is type. Every gold mention is matched by at most one prediction and every prediction by at most one gold mention.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mosaic_ner.modeling.document import Document, normalise_name
from scipy.optimize import linear_sum_assignment

from .metrics import score_mentions, score_row

MEASURES = ("near", "type", "partial", "boundary")
"""How two mentions match: `near`, of one type and together at most one character apart at their ends; `type`, of one type and
overlapping; `partial`, overlapping, under any types, for half a match unless the spans are equal; `boundary`, of equal spans,
under any types. HunFlair2 (Sänger et al. 2024) scores by `near`; the others are those of SemEval-2013 Task 9."""
UNSEEN = ("unseen_mentions", "unseen_words")
"""Parts of the exact score: mentions whose text is no mention of the training documents, and mentions with a word that no
training document contains."""

Key = tuple[int, int, str]
"""(start, end, type)"""

_WORD = re.compile(r"[^\W_]+")


def distance(one: Key, other: Key) -> int:
    """How many characters the starts and the ends of two mentions are apart, together."""
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def credit(measure: str, gold: Key, predicted: Key) -> float:
    """What a pair of mentions counts by one of `MEASURES`: 0, 0.5 or 1."""
    if gold[0] >= predicted[1] or predicted[0] >= gold[1]:
        return 0.0
    if measure == "partial":
        return 1.0 if gold[:2] == predicted[:2] else 0.5
    if measure == "boundary":
        return float(gold[:2] == predicted[:2])
    return float(gold[2] == predicted[2] and (measure == "type" or distance(gold, predicted) <= 1))


def matches(gold: Iterable[Key], predicted: Iterable[Key], measure: str) -> list[tuple[Key, Key]]:
    """The pairs of a document's gold and predicted mentions, each in one pair at most.

    As many pairs of credit 1 as there can be; then as many of 0.5; then as many of one type; then those whose ends are
    nearest. Neither the order of the mentions nor their number in the input matters.

    Args:
        measure: one of `MEASURES`.
    """
    found = []
    for wanted, got in _clusters(set(gold), set(predicted)):
        if len(wanted) == len(got) == 1:
            found += [(wanted[0], got[0])] if credit(measure, wanted[0], got[0]) else []
            continue
        # Whole numbers, so that each rank outweighs all lower ones of the cluster together.
        pairs = min(len(wanted), len(got)) + 1
        near, half = 2048 * pairs, 2048 * pairs * pairs

        def rank(one: Key, other: Key, same=near, half=half, whole=half * pairs) -> int:
            worth = credit(measure, one, other)
            return worth and (whole if worth == 1 else half) + same * (one[2] == other[2]) + _nearness(one, other)

        ranks = [[rank(one, other) for other in got] for one in wanted]
        rows, columns = linear_sum_assignment(ranks, maximize=True)
        found += [(wanted[i], got[j]) for i, j in zip(rows, columns, strict=True) if ranks[i][j]]
    return found


def _nearness(one: Key, other: Key) -> int:
    return max(0, 2047 - distance(one, other))


def _clusters(gold: set[Key], predicted: set[Key]) -> Iterator[tuple[list[Key], list[Key]]]:
    """Gold and predicted mentions of one document by runs of characters that they cover together, each in order."""
    end, sides = 0, ([], [])
    for key, side in sorted([(key, 0) for key in gold] + [(key, 1) for key in predicted]):
        if key[0] >= end:
            if all(sides):
                yield sides
            sides = ([], [])
        sides[side].append(key)
        end = max(end, key[1])
    if all(sides):
        yield sides


def relaxed_scores(gold: list, predicted: list, types) -> dict[str, dict]:
    """Scores by each of `MEASURES`, as `metrics.score_mentions` gives them for the exact match.

    A type's recall is of its gold mentions and its precision of its predictions, whatever the type of the other half of the
    pair: `boundary` and `partial` match across types.

    Args:
        gold, predicted, types: as for `metrics.score_mentions`.
    Returns:
        measure → `{"overall": row, "per_type": {type: row}}`
    Raises:
        ValueError: not the same number of documents.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold documents, but predictions for {len(predicted)}")
    types = set(types)
    sides = [[{m.key for m in mentions if m.type in types} for mentions in part] for part in (gold, predicted)]
    support, said = (Counter(name for keys in part for _, _, name in keys) for part in sides)
    out = {}
    for measure in MEASURES:
        found, right = Counter(), Counter()
        for want, have in zip(*sides, strict=True):
            for one, other in matches(want, have, measure):
                worth = credit(measure, one, other)
                found[one[2]] += worth
                right[other[2]] += worth
        out[measure] = {
            "overall": score_row(found.total(), said.total(), support.total()),
            "per_type": {t: score_row(right[t], said[t], support[t], found[t]) for t in sorted(types)},
        }
    return out


class Seen:
    """What training documents hold: the texts of their gold mentions and their words.

    Args:
        documents: of training, of any corpora and types, as they were before teachers completed them.
    """

    def __init__(self, documents: Iterable[Document]):
        self.mentions: set[str] = set()
        self.words: set[str] = set()
        for document in documents:
            self.mentions |= {normalise_name(document.surface(m)) for m in document.mentions}
            self.words |= _words(document.text)

    @classmethod
    def of(cls, train: Mapping[str, list[Document]]) -> Seen | None:
        """Of a run's training documents by corpus; None where it has none."""
        return cls(d for part in train.values() for d in part) if train else None

    def __eq__(self, other) -> bool:
        return isinstance(other, Seen) and (self.mentions, self.words) == (other.mentions, other.words)

    __hash__ = None

    def without(self, what: str, document: Document) -> Document:
        """The document with the mentions of one of `UNSEEN` only."""
        return document.with_mentions(m for m in document.mentions if self.unseen(what, document.surface(m)))

    def unseen(self, what: str, text: str) -> bool:
        """Whether a mention's text is one of `UNSEEN`."""
        if what == UNSEEN[0]:
            return normalise_name(text) not in self.mentions
        return not _words(text) <= self.words


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def unseen_scores(gold: Sequence[Document], predicted: Sequence[Document], types, seen: Seen) -> dict[str, dict]:
    """Exact-match scores of each of `UNSEEN`: gold and predicted mentions with other texts are left out, on both sides.

    Args:
        gold, predicted: the same documents. types: as for `metrics.score_mentions`.
    """
    return {
        what: score_mentions(*([seen.without(what, d).mentions for d in part] for part in (gold, predicted)), types)
        for what in UNSEEN
    }
