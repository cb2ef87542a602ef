"""Mentions ↔ actions of the transition system (Ruano et al. 2025, section 3.1). Ships to the Hub; standard library only.

Reading words from left to right, TR(e) opens a mention of type e before the next word, RE(e) closes the last opened one after
the last word read, SH reads a word, EOA ends. Any nesting can be written so: same start, same end, equal spans of different
types. Only mentions of one type that cross cannot.
"""

from __future__ import annotations

from collections import Counter

SH, EOA = 0, 1
"""Numbers of the two actions without a type."""


def action_count(types: int) -> int:
    """2 M + 2 actions for M types."""
    return 2 * types + 2


def transition(kind: int) -> int:
    """Number of TR of the type."""
    return 2 + 2 * kind


def reduction(kind: int) -> int:
    """Number of RE of the type."""
    return 3 + 2 * kind


def without_crossing(mentions: list[tuple[int, int, int]]) -> tuple[list, list]:
    """Splits mentions into those that can be written together and those that cross one kept of their type.

    Args:
        mentions: (first word, one past the last word, type).
    Returns:
        (kept, crossing); of two that cross, the earlier is kept, of the same start the longer.
    """
    kept: dict[int, list[tuple[int, int, int]]] = {}
    crossing = []
    for mention in sorted(set(mentions), key=lambda m: (m[0], -m[1], m[2])):
        start, end, kind = mention
        if any(s < start < e < end for s, e, _ in kept.get(kind, ())):
            crossing.append(mention)
        else:
            kept.setdefault(kind, []).append(mention)
    return sorted(m for own in kept.values() for m in own), crossing


def without_crowding(mentions: list[tuple[int, int, int]], limit: int) -> tuple[list, list]:
    """Splits mentions, none of a type crossing, so that no more than `limit` steps are needed between two words.

    Args:
        mentions: (first word, one past the last word, type), without repeats.
        limit: steps.
    Returns:
        (kept, crowded); where there are too many, the shortest go.
    """
    kept, crowded = list(mentions), []
    while True:
        opening, closing = Counter((s, k) for s, _, k in kept), Counter((e, k) for _, e, k in kept)
        places = {p for p, k in opening | closing if _steps(closing[p, k], opening[p, k]) > limit}
        if not places:
            return sorted(kept), crowded
        crowded.append(min((m for m in kept if places & set(m[:2])), key=lambda m: (m[1] - m[0], m)))
        kept.remove(crowded[-1])


def _steps(closes: int, opens: int) -> int:
    """Steps that so many RE and TR of one type take between two words: the last RE and the first TR share one."""
    return max(closes, max(closes - 1, 0) + opens)


def encode(mentions: list[tuple[int, int, int]], words: int) -> list[list[int]]:
    """The actions that write the mentions.

    Args:
        mentions: (first word, one past the last word, type), half-open, without repeats; none of a type cross.
        words: how many there are.
    Returns:
        Steps of one or more actions. SH and EOA have steps of their own, as many SH as there are words, EOA at the end;
        TR and RE of different types between the same two words share steps, a step's RE coming before its TR.
    Raises:
        ValueError: a mention beyond the words, without words, or crossing another of its type.
    """
    opening: dict[int, dict[int, int]] = {}
    closing: dict[int, dict[int, int]] = {}
    for start, end, kind in mentions:
        if not 0 <= start < end <= words:
            raise ValueError(f"a mention of words {start} to {end}, but there are words 0 to {words}")
        opening.setdefault(start, {})[kind] = opening.get(start, {}).get(kind, 0) + 1
        closing.setdefault(end, {})[kind] = closing.get(end, {}).get(kind, 0) + 1
    if without_crossing(mentions)[1]:
        raise ValueError(f"mentions of one type cross: {without_crossing(mentions)[1]}")
    steps: list[list[int]] = []
    for place in range(words + 1):
        ends, starts = closing.get(place, {}), opening.get(place, {})
        between: list[list[int]] = []
        for kind in sorted(ends.keys() | starts.keys()):
            closes, opens = ends.get(kind, 0), starts.get(kind, 0)
            first = max(closes - 1, 0)  # the last RE and the first TR share a step
            between += [[] for _ in range(_steps(closes, opens) - len(between))]
            for step in range(closes):
                between[step].append(reduction(kind))
            for step in range(first, first + opens):
                between[step].append(transition(kind))
        steps += between
        if place < words:
            steps.append([SH])
    return [*steps, [EOA]]


def decode(steps, passages=()) -> list[tuple[int, int, int, float]]:
    """The mentions that actions write: the inverse of `encode`, for any actions at all.

    Args:
        steps: each a list of (action, score); a step with SH or EOA counts as nothing else. Ends at EOA.
        passages: words with which a passage begins; what is open when they are read is no mention.
    Returns:
        (first word, one past the last word, type, mean score of its TR and its RE), sorted, the best of equal ones. An RE
        without an open mention, or right after its TR, does nothing; what is never closed is no mention.
    """
    found: dict[tuple[int, int, int], float] = {}
    opened: dict[int, list[tuple[int, float]]] = {}
    words = 0
    for step in steps:
        actions = dict(step)
        if EOA in actions:
            break
        if SH in actions:
            if words in passages:
                opened = {kind: [o for o in own if o[0] == words] for kind, own in opened.items()}
            words += 1
            continue
        for action, score in sorted(actions.items(), key=lambda a: a[0] % 2 == 0):
            kind = (action - 2) // 2
            if action == transition(kind):
                opened.setdefault(kind, []).append((words, score))
            elif opened.get(kind) and opened[kind][-1][0] < words:
                start, first = opened[kind].pop()
                key = (start, words, kind)
                found[key] = max(found.get(key, 0.0), (first + score) / 2)
    return [(*key, score) for key, score in sorted(found.items())]
