"""Scores against a loop over all pairs, against seqeval, and against the independent scorer."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.formats import write_documents
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.windowing import keep_flat, lost_by_windows
from mosaic_ner.training.metrics import document_f1, nested_recall, score_mentions, seqeval_report

SCORER = Path(__file__).resolve().parents[1].parent / "shared" / "tools" / "score_pubtator.py"

mention = st.builds(
    lambda s, n, t: Mention(s, s + n, t),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from(["Gene", "Drug", "Cell"]),
)
documents = st.lists(st.tuples(st.lists(mention, max_size=6), st.lists(mention, max_size=6)), min_size=1, max_size=5)


def looped(gold, predicted, types) -> dict[str, tuple[int, int, int]]:
    """type → (correct, predicted, support), comparing every pair and striking out what was seen before."""
    counts = {t: [0, 0, 0] for t in types}
    for wanted, got in zip(gold, predicted, strict=True):
        for column, mentions in ((1, got), (2, wanted)):
            seen = []
            for m in mentions:
                here = (m.start, m.end, m.type)
                if m.type in types and here not in seen:
                    seen.append(here)
                    counts[m.type][column] += 1
                    if column == 1 and any((w.start, w.end, w.type) == here for w in wanted):
                        counts[m.type][0] += 1
    return {t: tuple(c) for t, c in counts.items()}


def ratios(correct, predicted, support) -> dict:
    p, r = correct / predicted if predicted else 0.0, correct / support if support else 0.0
    f1 = 2 * p * r / (p + r) if p + r else 0.0
    return {"precision": p, "recall": r, "f1": f1, "support": support, "predicted": predicted}


@settings(max_examples=300, deadline=None)
@given(documents, st.sets(st.sampled_from(["Gene", "Drug", "Cell"]), min_size=1))
def test_scores_are_those_of_the_loop(pairs, types):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    counts = looped(gold, predicted, types)
    report = score_mentions(gold, predicted, types)
    assert report["per_type"] == {t: pytest.approx(ratios(*c)) for t, c in counts.items()}
    assert report["overall"] == pytest.approx(ratios(*map(sum, zip(*counts.values(), strict=True))))
    per_document = [ratios(*map(sum, zip(*looped([g], [p], types).values(), strict=True))) for g, p in pairs]
    expected = [row["f1"] if row["support"] + row["predicted"] else 1.0 for row in per_document]
    assert document_f1(gold, predicted, types) == pytest.approx(expected)


@settings(max_examples=300, deadline=None)
@given(documents, st.sets(st.sampled_from(["Gene", "Drug", "Cell"]), min_size=1))
def test_nested_mentions_are_those_of_the_loop(pairs, types):
    nested = []
    for wanted, got in pairs:
        own = list({m.key for m in wanted if m.type in types})
        said = [m.key for m in got]
        for a in own:
            inside = any(b != a and b[0] <= a[0] and a[1] <= b[1] for b in own)
            around = any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in own)
            nested += [a in said] if inside or around else []
    row = {"recall": sum(nested) / len(nested), "support": len(nested), "found": sum(nested)} if nested else None
    assert nested_recall([g for g, _ in pairs], [p for _, p in pairs], types) == row


def test_nested_by_hand():
    inner, outer, apart = Mention(4, 6, "Gene"), Mention(0, 9, "Cell"), Mention(20, 25, "Gene")
    crossing, twin = Mention(24, 30, "Gene"), Mention(20, 25, "Drug")
    types = {"Gene", "Cell"}
    assert nested_recall([[inner, apart], [outer]], [[], []], types) is None  # in two documents; and twin is of no type
    assert nested_recall([[apart, crossing, twin]], [[apart]], types) is None
    assert nested_recall([[inner, outer, apart]], [[outer, apart]], types) == {"recall": 0.5, "support": 2, "found": 1}
    found = nested_recall([[apart, crossing, twin]], [[apart]], {"Gene", "Drug"})
    assert found == {"recall": 0.5, "support": 2, "found": 1}


@settings(max_examples=50, deadline=None)
@given(documents, st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(pairs, shuffle: random.Random):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    expected = score_mentions(gold, predicted, ["Gene", "Drug"])
    mixed = [p * 2 for p in predicted], [g * 3 for g in gold]
    for part in (*mixed[0], *mixed[1]):
        shuffle.shuffle(part)
    order = list(range(len(gold)))
    shuffle.shuffle(order)
    assert score_mentions([mixed[1][i] for i in order], [mixed[0][i] for i in order], ["Drug", "Gene"]) == expected


def test_by_hand():
    gold = [[Mention(0, 5, "Gene"), Mention(6, 9, "Gene"), Mention(6, 9, "Drug")], []]
    predicted = [
        [Mention(0, 5, "Gene", score=0.3), Mention(6, 8, "Gene"), Mention(6, 9, "Gene")],
        [Mention(0, 5, "Drug")],
    ]
    report = score_mentions(gold, predicted, ["Gene", "Drug", "Cell"])
    assert report["per_type"]["Gene"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "f1": 0.8, "support": 2, "predicted": 3}
    )
    assert report["per_type"]["Drug"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1, "predicted": 1}
    assert report["per_type"]["Cell"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0, "predicted": 0}
    assert report["overall"] == pytest.approx(
        {"precision": 0.5, "recall": 2 / 3, "f1": 4 / 7, "support": 3, "predicted": 4}
    )


def test_the_same_place_in_another_document_is_no_match():
    gold, predicted = [[Mention(0, 5, "Gene")], []], [[], [Mention(0, 5, "Gene")]]
    assert score_mentions(gold, predicted)["overall"]["f1"] == 0


def test_types_that_the_corpus_does_not_annotate_are_ignored_on_both_sides():
    gold = [[Mention(0, 5, "Gene"), Mention(7, 9, "Drug")]]
    predicted = [[Mention(0, 5, "Gene"), Mention(20, 25, "Drug"), Mention(30, 35, "Cell")]]
    report = score_mentions(gold, predicted, ["Gene"])
    assert report["overall"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1, "predicted": 1}
    assert list(report["per_type"]) == ["Gene"]
    assert score_mentions(gold, predicted)["overall"]["predicted"] == 2  # by default the types in gold
    assert document_f1(gold, predicted, ["Gene"]) == [1.0]


def test_a_prediction_for_another_number_of_documents_is_an_error():
    with pytest.raises(ValueError, match="2 gold documents, but predictions for 1"):
        score_mentions([[], []], [[]])


# ---- seqeval


def disturbed(documents, types, seed: int = 0) -> list[list[Mention]]:
    """Gold with mentions left out, put under another type and added, never overlapping."""
    chance = random.Random(seed)
    found = []
    for d in documents:
        kept = []
        for m in d.mentions:
            draw = chance.random()
            if draw < 0.7:
                kept.append(m)
            elif draw < 0.85:
                kept.append(Mention(m.start, m.end, chance.choice(sorted(types))))
        found.append(kept)
    return found


def test_seqeval_agrees_where_tags_can_express_everything(shared_bundle, demo_corpora):
    windower = shared_bundle.features.windower
    documents = [
        d
        for d in demo_corpora["demo_all"]["test"][:30]
        if not lost_by_windows(d, windower([d.text])[0]) and not keep_flat(d.mentions)[1]
    ]
    assert len(documents) > 20
    types = {"Gene", "Disease", "Chemical", "Species"}
    predicted = disturbed(documents, types)
    gold = [d.mentions for d in documents]
    texts = [d.text for d in documents]
    headline = score_mentions(gold, predicted, types)["overall"]
    assert 0.5 < headline["f1"] < 0.95
    second = seqeval_report(texts, gold, predicted, windower, types)
    assert second == pytest.approx({k: headline[k] for k in ("precision", "recall", "f1", "support")})
    one_type = seqeval_report(texts, gold, predicted, windower, {"Gene"})
    assert one_type["support"] == score_mentions(gold, predicted, ["Gene"])["overall"]["support"]
    assert one_type["f1"] == pytest.approx(score_mentions(gold, predicted, ["Gene"])["overall"]["f1"])


def test_seqeval_leaves_out_what_tags_cannot_express(shared_bundle):
    text = "The breast cancer of mice."
    gold = [[Mention(4, 17, "Disease"), Mention(11, 17, "Disease")]]
    report = seqeval_report([text], gold, [[Mention(4, 17, "Disease")]], shared_bundle.features.windower, {"Disease"})
    assert report == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert score_mentions(gold, [[Mention(4, 17, "Disease")]])["overall"]["recall"] == 0.5
    nothing = seqeval_report([text], [[]], [[]], shared_bundle.features.windower, {"Disease"})
    assert nothing == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


# ---- the independent scorer


@pytest.mark.real
@pytest.mark.skipif(not SCORER.exists(), reason="the independent scorer is not here")
@pytest.mark.parametrize("types", [None, ["Gene"], ["Gene", "Species"]])
def test_the_independent_scorer_gives_the_same_numbers(demo_corpora, tmp_path, types):
    documents = demo_corpora["demo_all"]["test"]
    predicted = disturbed(documents, {"Gene", "Disease", "Chemical", "Species"}, seed=2)
    write_documents(documents, tmp_path / "gold.PubTator")
    answers = [d.with_mentions(found) for d, found in zip(documents, predicted, strict=True)]
    write_documents(answers, tmp_path / "predicted.PubTator")
    command = [sys.executable, SCORER, tmp_path / "gold.PubTator", tmp_path / "predicted.PubTator", "--json"]
    command += ["--types", ",".join(types)] if types else []
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    report = score_mentions([d.mentions for d in documents], predicted, types)
    assert json.loads(output) == {
        name: pytest.approx(row) for name, row in {"overall": report["overall"], **report["per_type"]}.items()
    }
    assert report["overall"]["f1"] < 1
