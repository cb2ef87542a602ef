"""Relaxed scores against an enumeration of all pairings and against nervaluate; what training didn't hold, against loops."""

from __future__ import annotations

import json
import random
from itertools import combinations, permutations

import pytest
from helpers_run import results
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.analysis.table import main as table
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.training.metrics import score_mentions
from mosaic_ner.training.relaxed import MEASURES, UNSEEN, Seen, credit, distance, matches, relaxed_scores, unseen_scores

TYPES = ("Gene", "Drug")
key = st.builds(lambda s, n, t: (s, s + n, t), st.integers(0, 9), st.integers(1, 5), st.sampled_from(TYPES))
keys = st.lists(key, max_size=4)


def mentions(found) -> list[Mention]:
    return [Mention(*k) for k in found]


def worth(measure: str, a: tuple, b: tuple) -> float:
    """What a pair counts, from the sets of its characters."""
    one, other = set(range(*a[:2])), set(range(*b[:2]))
    if not one & other:
        return 0
    same = a[2] == b[2]
    return {
        "near": float(same and len(one ^ other) <= 1),
        "type": float(same),
        "partial": 1.0 if one == other else 0.5,
        "boundary": float(one == other),
    }[measure]


def pairings(gold: list, predicted: list):
    """All ways to pair some of the one with some of the other."""
    for size in range(min(len(gold), len(predicted)) + 1):
        for some in combinations(gold, size):
            for others in permutations(predicted, size):
                yield list(zip(some, others, strict=True))


@settings(max_examples=150, deadline=None)
@given(keys, keys)
def test_matches_are_the_best_of_all_pairings(gold, predicted):
    for measure in MEASURES:
        best = (0, 0, 0, 0)
        for pairs in pairings(sorted(set(gold)), sorted(set(predicted))):
            values = [worth(measure, *pair) for pair in pairs]
            if all(values):
                nearness = sum(2047 - distance(*pair) for pair in pairs)
                best = max(best, (values.count(1), values.count(0.5), sum(a[2] == b[2] for a, b in pairs), nearness))
        found = matches(gold, predicted, measure)
        assert len({g for g, _ in found}) == len({p for _, p in found}) == len(found)
        values = [worth(measure, *pair) for pair in found]
        assert values == [credit(measure, *pair) for pair in found]
        assert all(values)
        nearness = sum(2047 - distance(*pair) for pair in found)
        assert best == (values.count(1), values.count(0.5), sum(a[2] == b[2] for a, b in found), nearness)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_scores_are_ordered_and_ignore_the_order_of_mentions(pairs, generator):
    gold, predicted = [mentions(g) for g, _ in pairs], [mentions(p) for _, p in pairs]
    found, exact = relaxed_scores(gold, predicted, TYPES), score_mentions(gold, predicted, TYPES)
    for part in ([exact, *(found[m] for m in ("near", "type"))], [exact, found["boundary"], found["partial"]]):
        f1 = [scores["overall"]["f1"] for scores in part]
        assert f1 == sorted(f1)
    for measure in MEASURES:
        rows = found[measure]["per_type"].values()
        overall = found[measure]["overall"]
        assert (overall["support"], overall["predicted"]) == (
            exact["overall"]["support"],
            exact["overall"]["predicted"],
        )
        for share, size in (("recall", "support"), ("precision", "predicted")):
            assert sum(r[share] * r[size] for r in rows) == pytest.approx(overall[share] * overall[size])
    shuffled = [[generator.sample(part, len(part)) + part[:1] for part in side] for side in (gold, predicted)]
    assert relaxed_scores(*shuffled, TYPES) == found


def test_by_hand():
    gold = [mentions([(0, 5, "Gene"), (10, 20, "Gene"), (30, 40, "Drug"), (50, 55, "Drug")])]
    predicted = [mentions([(0, 6, "Gene"), (10, 20, "Drug"), (28, 40, "Drug"), (70, 75, "Gene"), (0, 5, "Other")])]
    found = relaxed_scores(gold, predicted, TYPES)
    assert {m: found[m]["overall"]["recall"] * 4 for m in MEASURES} == {
        "near": 1, "type": 2, "partial": 2, "boundary": 1,
    }  # fmt: skip
    assert found["boundary"]["per_type"]["Gene"] == {
        "precision": 0, "recall": 0.5, "f1": 0, "support": 2, "predicted": 2,
    }  # fmt: skip
    with pytest.raises(ValueError, match="1 gold documents"):
        relaxed_scores(gold, [], TYPES)


def test_one_prediction_is_no_match_for_two():
    """A gold mention counts once, and the pairing doesn't waste a match that another mention needs."""
    gold, predicted = [(0, 4, "Gene"), (6, 9, "Gene")], [(0, 9, "Gene")]
    assert len(matches(gold, predicted, "type")) == len(matches(predicted, gold, "type")) == 1
    wide = [(0, 8, "Gene"), (0, 3, "Gene")]
    assert len(matches([(0, 4, "Gene"), (5, 8, "Gene")], wide, "type")) == 2  # the first comes to the second


def test_nervaluate_agrees_where_nothing_competes_and_never_finds_more():
    nervaluate = pytest.importorskip("nervaluate", reason="needs Python 3.11")
    names = {"strict": None, "ent_type": "type", "partial": "partial", "exact": "boundary"}
    generator = random.Random(5)

    def places(count: int, apart: int) -> list[tuple]:
        starts = [(i * apart if apart else generator.randrange(40)) + generator.randrange(4) for i in range(count)]
        return [(s, s + generator.randint(2, 6), generator.choice(TYPES)) for s in starts]

    for apart in (12, 0):  # one gold mention and one prediction every 12 characters, or anything anywhere
        sides = [[sorted(set(places(8, apart))) for _ in range(60)] for _ in range(2)]
        own = [[generator.sample(part, generator.randrange(1, len(part))) for part in side] for side in sides]
        rows = [[[{"label": t, "start": s, "end": e - 1} for s, e, t in sorted(d)] for d in side] for side in own]
        report = nervaluate.Evaluator(*rows, tags=list(TYPES), loader="dict").evaluate()
        gold, predicted = ([mentions(d) for d in side] for side in own)
        found = relaxed_scores(gold, predicted, TYPES) | {None: score_mentions(gold, predicted, TYPES)}
        for theirs, ours in names.items():
            pairs = [(report["overall"][theirs], found[ours]["overall"])]
            if ours in (None, "type"):  # theirs by type has no other types on either side
                pairs += [(report["entities"][t][theirs], found[ours]["per_type"][t]) for t in TYPES]
            for row, mine in pairs:
                assert (row.possible, row.actual) == (mine["support"], mine["predicted"])
                if apart:
                    assert [row.precision, row.recall, row.f1] == pytest.approx(
                        [mine[k] for k in ("precision", "recall", "f1")]
                    )
                assert mine["f1"] >= row.f1 - 1e-9


def test_what_training_did_not_hold():
    trained = [Document("1", "a", "Old  gene and new drug.", (Mention(0, 9, "Gene"),))]
    text = "OLD GENE, new gene, new drug, p53."
    spots = [(0, 8), (10, 18), (20, 28), (30, 33)]
    gold = Document("2", "b", text, tuple(Mention(*s, "Drug") for s in spots))
    seen = Seen(trained)
    assert [[seen.unseen(what, gold.surface(m)) for m in gold.mentions] for what in UNSEEN] == [
        [False, True, True, True],
        [False, False, False, True],
    ]
    found = unseen_scores([gold], [gold.with_mentions(gold.mentions[:3])], ("Drug",), seen)
    assert found["unseen_mentions"]["overall"]["recall"] == pytest.approx(2 / 3)
    assert found["unseen_mentions"]["overall"]["precision"] == 1
    assert found["unseen_words"]["overall"] == {
        "precision": 0, "recall": 0, "f1": 0, "support": 1, "predicted": 0,
    }  # fmt: skip


def test_a_run_has_them_and_the_table_shows_them(trained_dir, capsys):
    report = results(trained_dir)["test"]["demo_all"]
    data = load_run_data(DataOptions(corpora=results(trained_dir)["settings"]["corpora"]))
    texts = {d.surface(m).lower() for part in data.train.values() for d in part for m in d.mentions}
    gold = [d.surface(m).lower() for d in data.test["demo_all"] for m in d.mentions]
    relaxed = report["relaxed"]
    assert set(relaxed) == {*MEASURES, *UNSEEN}
    assert relaxed["unseen_mentions"]["overall"]["support"] == sum(text not in texts for text in gold)
    assert relaxed["type"]["overall"]["f1"] >= relaxed["near"]["overall"]["f1"] >= report["overall"]["f1"] > 0
    table([str(trained_dir), "--relaxed", "--corpus", "demo_all"])
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith(f"| {trained_dir.name} | all "))
    figures = [report["overall"], *(relaxed[m]["overall"] for m in (*MEASURES, *UNSEEN))]
    cells = [f"{100 * r['f1']:.2f}" if r["support"] + r["predicted"] else "-" for r in figures]
    assert [c.strip() for c in row.strip("|").split("|")][2:] == cells
    assert "### Relaxed scores" in (trained_dir / "README.md").read_text(encoding="utf-8")
    assert row.split("|", 2)[2] in (trained_dir / "README.md").read_text(encoding="utf-8")


def test_runs_of_earlier_versions_have_no_figures(trained_dir, tmp_path, capsys):
    content = results(trained_dir)
    content["test"]["demo_all"].pop("relaxed")
    (tmp_path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    table([str(tmp_path), "--relaxed", "--corpus", "demo_all"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {tmp_path.name} ")]
    assert rows
    assert all(row.endswith("| - " * 6 + "|") for row in rows)
