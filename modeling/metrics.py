"""Exact-match scoring in characters, and seqeval on token tags as a second opinion."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from .windowing import Windower, align, keep_flat


def score_mentions(gold: list, predicted: list, types=None) -> dict:
    """Micro-averaged precision, recall and F1 of exact matches on (document, start, end, type), as sets.

    Args:
        gold: for each document its gold mentions (anything with `key` → (start, end, type)).
        predicted: for each document, in the same order, its predicted mentions.
        types: the types that the corpus annotates; others are ignored on both sides. Default: those in gold.
    Returns:
        `{"overall": row, "per_type": {type: row}}`, a row being precision, recall, f1 (0..1), support, predicted.
    Raises:
        ValueError: not the same number of documents.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold documents, but predictions for {len(predicted)}")
    types = {m.type for mentions in gold for m in mentions} if types is None else set(types)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for wanted, got in zip(gold, predicted, strict=True):
        want = {m.key for m in wanted if m.type in types}
        have = {m.key for m in got if m.type in types}
        for column, keys in enumerate((want & have, have, want)):
            for _, _, name in keys:
                counts[name][column] += 1
    totals = [sum(c[i] for c in counts.values()) for i in range(3)]
    return {"overall": _row(*totals), "per_type": {t: _row(*counts[t]) for t in sorted(types)}}


def _row(correct: int, predicted: int, support: int) -> dict:
    precision = correct / predicted if predicted else 0.0
    recall = correct / support if support else 0.0
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": support, "predicted": predicted}


def nested_recall(gold: list, predicted: list, types) -> dict | None:
    """How many of the nested gold mentions are found, exactly: those that lie inside or contain another gold mention.

    A mention lies inside another if its span is part of, or the same as, the other's: two types on one span are nested in
    each other. Mentions that only cross are not nested.

    Args:
        gold, predicted: as for `score_mentions`.
        types: those that count; mentions of others are no mentions here, on either side.
    Returns:
        `{"recall": 0..1, "support": nested gold mentions, "found": how many of them}`; None if there are none.
    """
    support = found = 0
    for wanted, got in zip(gold, predicted, strict=True):
        # Before a mention in this order is everything that can contain it, after it all that it can contain.
        order = sorted({m.key for m in wanted if m.type in types}, key=lambda key: (key[0], -key[1], key[2]))
        furthest = list(accumulate((end for _, end, _ in order), max))
        nearest = list(accumulate((end for _, end, _ in reversed(order)), min))[::-1]
        nested = {
            key
            for i, key in enumerate(order)
            if (i > 0 and furthest[i - 1] >= key[1]) or (i + 1 < len(order) and nearest[i + 1] <= key[1])
        }
        support += len(nested)
        found += len(nested & {m.key for m in got})
    return {"recall": found / support, "support": support, "found": found} if support else None


def document_f1(gold: list, predicted: list, types) -> list[float]:
    """F1 of each document (1 where neither side has a mention), for paired tests between systems."""
    out = []
    for wanted, got in zip(gold, predicted, strict=True):
        want = {m.key for m in wanted if m.type in types}
        have = {m.key for m in got if m.type in types}
        both = len(want) + len(have)
        out.append(2 * len(want & have) / both if both else 1.0)
    return out


def seqeval_report(texts: list[str], gold: list, predicted: list, windower: Windower, types) -> dict:
    """seqeval's strict IOB2 figures over the model's own tokens.

    Mentions that tokens or flat tags can't express are absent from both sides here, so recall can lie above the headline's.
    """
    truth, guess = [], []
    for windows, wanted, got in zip(windower(list(texts)), gold, predicted, strict=True):
        for window in windows:
            truth.append(_tags(window, [m for m in wanted if m.type in types]))
            guess.append(_tags(window, [m for m in got if m.type in types]))
    if not any(tag != "O" for row in truth + guess for tag in row):
        return {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    report = classification_report(truth, guess, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    row = report["micro avg"]
    return {
        "precision": float(row["precision"]),
        "recall": float(row["recall"]),
        "f1": float(row["f1-score"]),
        "support": int(row["support"]),
    }


def _tags(window, mentions) -> list[str]:
    tags = ["O"] * len(window.input_ids)
    for span, mention in align(window, keep_flat([m for m in mentions if window.owns(m)])[0]):
        tags[span.start : span.end] = [f"I-{mention.type}"] * (span.end - span.start)
        tags[span.start] = f"B-{mention.type}"
    return tags
