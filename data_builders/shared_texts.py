"""The texts that two corpora share, with the mentions of both in one text's characters."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from mosaic_ner.modeling.document import Document, Mention

from .overlap import MIN_CHARACTERS, TextIndex, normalise


@dataclass
class SharedTexts:
    """What two corpora share.

    Args:
        pairs: (document of the one corpus, document of the other), of one text: that of the one, or the part of it that the
            other has, too. Only mentions inside this part are there.
        moved: names of the other's documents whose text differs in white space, punctuation or case, or is part of the one's,
            or the reverse: their offsets were moved.
        different: names of those with the one's article id and a text that differs in more, which can't be compared.
        outside: corpus → mentions that are partly in what a pair shares, or without a letter, so that they have no place.
    """

    pairs: list[tuple[Document, Document]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    outside: Counter = field(default_factory=Counter)


def shared_texts(
    corpora: dict[str, list[Document]], min_characters: int = MIN_CHARACTERS
) -> dict[tuple[str, str], SharedTexts]:
    """Pairs of corpora → what they share, found as `overlap.part_overlap` finds it; pairs that share nothing are not there.

    Args:
        corpora: corpus → all of its documents.
        min_characters: of a text without an article id, as for `overlap.part_overlap`.
    """
    names = list(corpora)
    index, found = TextIndex(corpora, min_characters), defaultdict(SharedTexts)
    for name in names:
        for document in corpora[name]:
            places = dict.fromkeys(place for places in index.find(document).values() for place in places)
            for one, position in places:
                if names.index(one) < names.index(name):
                    _add(found[one, name], corpora[one][position], document)
    return {(a, b): found[a, b] for a in names for b in names if (a, b) in found}


def _add(found: SharedTexts, one: Document, other: Document) -> None:
    aligned = align(one, other, found.outside)
    if aligned is None:
        found.different.append(other.name)
        return
    if one.text != other.text:
        found.moved.append(other.name)
    found.pairs.append(aligned)


def align(one: Document, other: Document, outside: Counter | None = None) -> tuple[Document, Document] | None:
    """Both documents with the one's text, with the mentions inside what they share; None: neither text is part of the other.

    Letters and digits decide what is shared; white space, punctuation and case may differ. A mention that begins or ends with
    punctuation keeps it where the other text has it, too.

    Args:
        outside: gets the numbers of mentions that have no place, as `SharedTexts.outside`.
    """
    outside = Counter() if outside is None else outside
    if one.text == other.text:
        return one, other
    (left, ours), (right, theirs) = _letters(one.text), _letters(other.text)
    if not left or not right:
        return None
    if (at := left.find(right)) >= 0:
        shift, first, last = at, at, at + len(right)
    elif (at := right.find(left)) >= 0:
        shift, first, last = -at, 0, len(left)
    else:
        return None
    start, end = ours[first], ours[last - 1] + 1
    # Punctuation at its ends belongs to what is shared.
    while end < len(one.text) and not one.text[end].isalnum() and not one.text[end].isspace():
        end += 1
    while start and not one.text[start - 1].isalnum() and not one.text[start - 1].isspace():
        start -= 1
    place = {position: number + shift for number, position in reversed([*enumerate(theirs)])}
    kept, moved = [], []
    for mention in one.mentions:
        if start <= mention.start and mention.end <= end:
            kept.append(mention)
        elif mention.start < end and start < mention.end:
            outside[one.corpus] += 1
    for mention in other.mentions:
        letters = [place[i] for i in range(mention.start, mention.end) if i in place]
        if letters and first <= letters[0] and letters[-1] < last:
            moved.append(_moved(mention, one.text, other.text, ours[letters[0]], ours[letters[-1]] + 1))
        elif not letters or (letters[0] < last and first <= letters[-1]):
            outside[other.corpus] += 1
    return one.with_mentions(kept), replace(
        other.with_mentions(()), text=one.text, passages=(), unclear=(), mentions=tuple(sorted(moved))
    )


def _moved(mention: Mention, ours: str, theirs: str, start: int, end: int) -> Mention:
    """The mention of their text in ours, where its letters are from `start` to `end`."""
    before, after = _edges(theirs[mention.start : mention.end])
    while before and start and ours[start - 1] == before[-1]:
        start, before = start - 1, before[:-1]
    while after and end < len(ours) and ours[end] == after[0]:
        end, after = end + 1, after[1:]
    return replace(mention, start=start, end=end)


def _edges(text: str) -> tuple[str, str]:
    """What stands before the first and after the last letter or digit."""
    letters = [i for i, character in enumerate(text) if normalise(character)]
    return text[: letters[0]], text[letters[-1] + 1 :]


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of a text, normalised one by one, and where each stands in it."""
    pieces = [(letter, i) for i, character in enumerate(text) for letter in normalise(character)]
    return "".join(letter for letter, _ in pieces), [i for _, i in pieces]
