"""Category and span errors: against a loop over all pairs, by hand, in the report, the table and the card."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from helpers_run import results
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.analysis.table import build_errors, main
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.hub import card as card_module
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.training import families
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.metrics import error_split, score_mentions
from mosaic_ner.training.results import Results

TYPES = ("Gene", "Drug", "Cell")
PARTS = ("boundary", "both", "apart")
mention = st.builds(lambda s, n, t: Mention(s, s + n, t), st.integers(0, 14), st.integers(1, 6), st.sampled_from(TYPES))
documents = st.lists(st.tuples(st.lists(mention, max_size=9), st.lists(mention, max_size=9)), max_size=4)


def looped(mentions, others, types) -> Counter:
    """The causes of those that aren't among the others, comparing every pair."""
    causes = Counter()
    others = [m for m in others if m.type in types]
    for start, end, name in {m.key for m in mentions if m.type in types} - {m.key for m in others}:
        # Two stretches overlap where they have a character in common.
        met = {o.type for o in others if set(range(o.start, o.end)) & set(range(start, end))}
        if any((o.start, o.end) == (start, end) for o in others):
            causes["category"] += 1
        else:
            causes["boundary" if name in met else "both" if met else "apart"] += 1
    return causes


def as_row(causes: Counter, apart: str) -> dict:
    counts = {apart if key == "apart" else key: causes[key] for key in PARTS}
    return {"total": sum(causes.values()), "category": causes["category"], "span": sum(counts.values()), **counts}


@settings(max_examples=400, deadline=None)
@given(documents, st.sets(st.sampled_from(TYPES)))
def test_the_split_is_that_of_the_loop_and_adds_up(pairs, types):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    found = error_split(gold, predicted, types)
    assert found["false_positives"] == as_row(sum((looped(p, g, types) for g, p in pairs), Counter()), "spurious")
    assert found["missed"] == as_row(sum((looped(g, p, types) for g, p in pairs), Counter()), "unseen")
    overall = score_mentions(gold, predicted, types)["overall"]
    assert (found["predicted"], found["support"]) == (overall["predicted"], overall["support"])
    assert found["false_positives"]["total"] == found["predicted"] - found["correct"]
    assert found["missed"]["total"] == found["support"] - found["correct"]
    for row in (found["false_positives"], found["missed"]):
        assert row["total"] == row["category"] + row["span"]
    # Seen from the other side, what is missed is too much.
    mirrored = error_split(predicted, gold, types)["false_positives"]
    mirrored["unseen"] = mirrored.pop("spurious")
    assert mirrored == found["missed"]
    if (
        len(types) == 1
    ):  # all false positives are span errors, as the paper says; their share of the predictions is 1 - P
        assert found["false_positives"]["category"] == found["false_positives"]["both"] == 0
        if found["predicted"]:
            assert found["span_share_of_predictions"] == pytest.approx(1 - overall["precision"])


NESTED = [Mention(0, 10, "Gene"), Mention(4, 6, "Drug")]


@pytest.mark.parametrize(
    ("gold", "predicted", "wrong", "missed"),
    [
        ([Mention(3, 8, "Gene")], [Mention(3, 8, "Drug")], ["category"], ["category"]),
        ([Mention(3, 8, "Gene")], [Mention(3, 9, "Gene")], ["boundary"], ["boundary"]),
        ([Mention(3, 8, "Gene")], [Mention(4, 5, "Drug")], ["both"], ["both"]),
        ([Mention(3, 8, "Gene")], [Mention(8, 9, "Gene")], ["spurious"], ["unseen"]),  # they only touch
        ([], [Mention(3, 8, "Gene")], ["spurious"], []),
        ([Mention(3, 8, "Gene")], [], [], ["unseen"]),
        ([Mention(3, 8, "Gene")], [Mention(3, 8, "Gene", score=0.4)] * 2, [], []),
        # One span with two gold types, of which one is found; and another span with three, of which none is wrong.
        ([Mention(3, 8, "Gene"), Mention(3, 8, "Drug")], [Mention(3, 8, "Gene")], [], ["category"]),
        ([Mention(3, 8, "Gene")], [Mention(3, 8, "Gene"), Mention(3, 8, "Drug")], ["category"], []),
        # The span of the inner mention under the type of the outer one: a category error before a boundary error.
        (NESTED, [*NESTED, Mention(4, 6, "Gene")], ["category"], []),
        (NESTED, [*NESTED, Mention(5, 6, "Gene"), Mention(6, 7, "Drug")], ["boundary", "both"], []),
        # A long mention that begins far before hides behind shorter ones.
        ([Mention(0, 90, "Gene"), Mention(5, 6, "Gene"), Mention(70, 75, "Cell")], [Mention(80, 95, "Gene")],
         ["boundary"], ["boundary", "unseen", "unseen"]),
        # Mentions of other types are no mentions here.
        ([Mention(3, 8, "Gene"), Mention(20, 25, "Site")], [Mention(20, 25, "Gene"), Mention(3, 8, "Site")],
         ["spurious"], ["unseen"]),
    ],
)  # fmt: skip
def test_each_cause_by_hand(gold, predicted, wrong, missed):
    found = error_split([gold], [predicted], TYPES)
    for row, expected in ((found["false_positives"], wrong), (found["missed"], missed)):
        counts = {key: n for key, n in row.items() if n and key not in ("total", "span")}
        assert counts == Counter(expected)


def test_shares_and_documents_by_hand():
    gold = [[Mention(0, 4, "Gene"), Mention(6, 9, "Drug")], [Mention(20, 25, "Gene")]]
    predicted = [
        [Mention(0, 4, "Gene"), Mention(6, 9, "Gene"), Mention(20, 25, "Gene")],  # the last is in the other document
        [Mention(21, 25, "Gene"), Mention(19, 21, "Drug")],
    ]
    assert error_split(gold, predicted, set(TYPES)) == {
        "predicted": 5, "support": 3, "correct": 1,
        "false_positives": {"total": 4, "category": 1, "span": 3, "boundary": 1, "both": 1, "spurious": 1},
        "missed": {"total": 2, "category": 1, "span": 1, "boundary": 1, "both": 0, "unseen": 0},
        "span_share_of_false_positives": 3 / 4, "span_share_of_predictions": 3 / 5,
    }  # fmt: skip
    nothing = error_split([[]], [[]], TYPES)
    assert nothing["span_share_of_false_positives"] is nothing["span_share_of_predictions"] is None
    right = error_split(gold, gold, TYPES)
    assert (right["span_share_of_false_positives"], right["span_share_of_predictions"]) == (None, 0)
    with pytest.raises(ValueError, match="1 gold documents, but predictions for 2"):
        error_split([[]], [[], []], TYPES)


# ---- the report


@pytest.mark.parametrize("family", families.names())
def test_the_report_of_every_family_has_the_errors_of_its_headline(build_bundle, demo_corpora, family):
    bundle = build_bundle(family=family, lively=True, trained=["demo_disease"])
    evaluator = Evaluator(MentionPredictor(bundle.model, bundle.tokenizer), DEMO_LABEL_SPACE)
    gold = demo_corpora["demo_disease"]["validation"][:6]
    measured = evaluator.evaluate(gold, full=True)
    pair = [[list(d.mentions) for d in side] for side in (measured.gold, measured.predicted)]
    assert measured.report["errors"] == error_split(*pair, {"Disease"})
    assert measured.report["errors"]["support"] == measured.report["overall"]["support"] > 0
    assert measured.report["errors"]["predicted"] == measured.report["overall"]["predicted"] > 0
    assert "errors" not in evaluator.evaluate(gold).report


def test_a_run_writes_them(trained_dir):
    found = results(trained_dir)
    for report in [*found["test"].values(), *found["validation"].values()]:
        overall, errors = report["overall"], report["errors"]
        assert (errors["predicted"], errors["support"]) == (overall["predicted"], overall["support"])
        assert errors["correct"] == round(overall["precision"] * overall["predicted"])
    assert any(report["errors"]["false_positives"]["total"] for report in found["test"].values())


# ---- the table


ERRORS = {
    "predicted": 40, "support": 50, "correct": 32,
    "false_positives": {"total": 8, "category": 2, "span": 6, "boundary": 3, "both": 1, "spurious": 2},
    "missed": {"total": 18, "category": 2, "span": 16, "boundary": 4, "both": 5, "unseen": 7},
    "span_share_of_false_positives": 0.75, "span_share_of_predictions": 0.15,
}  # fmt: skip
RIGHT = ERRORS | {
    "predicted": 32, "false_positives": dict.fromkeys(ERRORS["false_positives"], 0),
    "span_share_of_false_positives": None, "span_share_of_predictions": 0.0,
}  # fmt: skip


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]


def run_folder(path, test: dict, validation: dict):
    """A run with corpus → its errors, None as of earlier versions."""
    path.mkdir()
    splits = {"test": test, "validation": validation}
    content = {k: {c: {"errors": e} if e else {} for c, e in part.items()} for k, part in splits.items()}
    content["settings"] = {}
    (path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_row_per_run(tmp_path, capsys):
    runs = [
        run_folder(tmp_path / "one", {"a": ERRORS}, {"b": RIGHT}),
        run_folder(tmp_path / "two", {"a": RIGHT}, {"b": ERRORS}),
    ]
    header, _, *rows = cells(build_errors(runs, "a"))
    assert header == [
        "run", "gold", "predictions", "false positives", "category", "span", "boundary", "both", "spurious",
        "span errors of false positives", "span errors of predictions",
    ]  # fmt: skip
    one, two = ["50", "40", "8", "2", "6", "3", "1", "2", "75.00", "15.00"], ["50", "32", *"000000", "-", "0.00"]
    assert rows == [["one", *one], ["two", *two]]
    main([*map(str, runs), "--errors", "--corpus", "a"])
    assert capsys.readouterr().out == build_errors(runs, "a")
    main([*map(str, runs), "--errors", "--corpus", "b", "--split", "validation"])
    printed = capsys.readouterr().out
    assert "Errors on the validation documents of b." in printed
    assert cells(printed)[2:] == [["one", *two], ["two", *one]]


def test_runs_without_the_figures_end_with_a_message(tmp_path, capsys):
    new = run_folder(tmp_path / "new", {"a": ERRORS}, {})
    old = run_folder(tmp_path / "old", {"a": None}, {"a": None})
    for argv, message in (
        ([new, old, "--errors", "--corpus", "a"], "measure the model again"),
        ([old, "--errors", "--corpus", "a", "--split", "validation"], "`run_ner.py --model_name_or_path …`"),
        ([new, "--errors", "--corpus", "b"], "was not tested on 'b'; it has a"),
        ([old, "--errors", "--corpus", "b", "--split", "validation"], "was not validated on 'b'; it was on a"),
        ([tmp_path, "--errors"], "is not the folder of a finished run"),
        ([new, "--split", "test"], "--split needs --errors"),
        ([new, "--errors", "--choices"], "not allowed with"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, argv)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


# ---- the card


def test_the_card_has_them_where_the_results_do(trained_dir):
    found = Results.read(trained_dir)
    found.test["demo_gene"]["errors"] = ERRORS
    text = str(card_module.build_card(found, "name"))
    assert "\n\n### Errors\n\nFalse positives by what" in text
    assert "| demo_gene | false positives | 8 | 2 | 6 | 3 | 1 | 2 |" in text
    assert "| demo_gene | missed | 18 | 2 | 16 | 4 | 5 | 7 |\n" in text
    assert "| demo_disease | missed |" in text
    assert "\n\n\n" not in text
    for report in found.test.values():
        del report["errors"]  # as in results of earlier versions
    assert "### Errors" not in str(card_module.build_card(found, "name"))
