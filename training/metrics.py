"""Exact-match scoring in characters, and seqeval on token tags as a second opinion."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import accumulate

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.windowing import Windower, align, keep_flat
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2


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
    return {"overall": score_row(*totals), "per_type": {t: score_row(*counts[t]) for t in sorted(types)}}


def score_row(correct: float, predicted: int, support: int, found: float | None = None) -> dict:
    """Precision, recall and F1 of so many correct predictions; `found`, if it differs, is how many gold mentions they are."""
    precision = correct / predicted if predicted else 0.0
    recall = (correct if found is None else found) / support if support else 0.0
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


def error_split(gold: list, predicted: list, types) -> dict:
    """The false positives as category and span errors (Nguyen, Miwa and Ananiadou 2023, section 5.2), and the misses likewise.

    A false positive with the span of a gold mention is a *category* error: no gold mention of that span has its type. Any
    other is a *span* error: `boundary` where it overlaps a gold mention of its type, `both` where it overlaps only those of
    other types, `spurious` where it overlaps none. The causes exclude each other, in this order: a false positive with the
    span of a gold mention is no boundary error, even if it also overlaps one of its own type.

    A missed gold mention is told apart in the same way by the predictions, right or wrong: of its span under other types
    only (`category`; here also one span with two gold types of which one is found), overlapping under its type (`boundary`),
    overlapping under others only (`both`), or none (`unseen`).

    The paper's Table 6 counts the two classes. Its Table 5, the "percentage of span errors in false positives" of corpora
    with one type, can't be of the false positives: there, all of them are span errors. It is of all predictions, 1 - precision:
    for each of its eight values there are whole numbers that give it together with Table 4's F1 and Table 1's gold mentions
    (to 0.01), which with shares of the gold mentions is so for three only. Both shares are given here. Its numbers for GENIA
    in Table 6 are not to be compared with: with 4,259 false positives of exact matches and 4,274 gold mentions, F1 can't pass
    66.8, and Table 4 has 78.0.

    Args:
        gold, predicted: as for `score_mentions`.
        types: those that count; mentions of others are no mentions here, on either side.
    Returns:
        `{"predicted", "support", "correct": numbers of mentions, "false_positives": {"total", "category", "span",
        "boundary", "both", "spurious"}, "missed": {"total", "category", "span", "boundary", "both", "unseen"},
        "span_share_of_false_positives", "span_share_of_predictions": 0..1, None without any}`. In both splits, total =
        category + span, and span is the sum of its three parts; predicted - correct and support - correct are the totals.
    Raises:
        ValueError: not the same number of documents.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold documents, but predictions for {len(predicted)}")
    types = set(types)
    support = said = correct = 0
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for wanted, got in zip(gold, predicted, strict=True):
        want = {m.key for m in wanted if m.type in types}
        have = {m.key for m in got if m.type in types}
        support, said, correct = support + len(want), said + len(have), correct + len(want & have)
        wrong += _causes(have - want, want)
        missed += _causes(want - have, have)
    false_positives = _split(wrong, "spurious")
    span, total = false_positives["span"], false_positives["total"]
    return {
        "predicted": said,
        "support": support,
        "correct": correct,
        "false_positives": false_positives,
        "missed": _split(missed, "unseen"),
        "span_share_of_false_positives": span / total if total else None,
        "span_share_of_predictions": span / said if said else None,
    }


def _causes(unmatched: set, others: set) -> Counter:
    """How many of a document's unmatched (start, end, type) have which cause, given all keys of the other side."""
    found: Counter[str] = Counter()
    if not unmatched:
        return found
    spans = {(start, end) for start, end, _ in others}
    by_type = defaultdict(set)
    for start, end, name in others:
        by_type[name].add((start, end))
    anything, same = _reach(spans), {name: _reach(own) for name, own in by_type.items()}
    for start, end, name in unmatched:
        if (start, end) in spans:
            found["category"] += 1
        elif name in same and _overlaps(start, end, *same[name]):
            found["boundary"] += 1
        else:
            found["both" if _overlaps(start, end, *anything) else "apart"] += 1
    return found


def _reach(spans: set) -> tuple[list[int], list[int]]:
    """The starts in order, and how far any span reaches that begins at each or before."""
    order = sorted(spans)
    return [start for start, _ in order], list(accumulate((end for _, end in order), max))


def _overlaps(start: int, end: int, starts: list[int], furthest: list[int]) -> bool:
    # Of the spans that begin before this one ends, the one that reaches furthest overlaps it if any does.
    before = bisect_left(starts, end)
    return before > 0 and furthest[before - 1] > start


def _split(causes: Counter, apart: str) -> dict:
    span = causes["boundary"] + causes["both"] + causes["apart"]
    row = {"total": causes["category"] + span, "category": causes["category"], "span": span}
    return row | {"boundary": causes["boundary"], "both": causes["both"], apart: causes["apart"]}


def document_f1(gold: list, predicted: list, types) -> list[float]:
    """F1 of each document (1 where neither side has a mention), for paired tests between systems."""
    out = []
    for wanted, got in zip(gold, predicted, strict=True):
        want = {m.key for m in wanted if m.type in types}
        have = {m.key for m in got if m.type in types}
        both = len(want) + len(have)
        out.append(2 * len(want & have) / both if both else 1.0)
    return out


def seqeval_report(documents: list[Document], gold: list, predicted: list, windower: Windower, types) -> dict:
    """seqeval's strict IOB2 figures over the model's own tokens.

    Mentions that tokens or flat tags can't express are absent from both sides here, so recall can lie above the headline's.
    """
    truth, guess = [], []
    for windows, wanted, got in zip(windower(documents), gold, predicted, strict=True):
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
