"""mention_f1, the `evaluate` module: the trainer's figures, partially annotated corpora, batches, processes, errors."""

from __future__ import annotations

import importlib.util
import random
import threading
from pathlib import Path

import evaluate
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_ner.modeling.document import Mention
from mosaic_ner.training.metrics import score_mentions

FOLDER = Path(__file__).resolve().parents[1] / "hub" / "metrics" / "mention_f1"
ROW = ("precision", "recall", "f1", "support", "predicted")
GOLD = [[{"start": 0, "end": 4, "type": "Gene"}, {"start": 0, "end": 9, "type": "Disease"}], []]
FOUND = [[{"start": 0, "end": 4, "type": "Gene"}], [{"start": 3, "end": 5, "type": "Species"}]]


def load(cache, *config, **options):
    return evaluate.load(str(FOLDER), *config, cache_dir=str(cache), **options)


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return load(tmp_path_factory.mktemp("metric"))


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    return load(tmp_path_factory.mktemp("partial"), "partial")


def rows(documents) -> list[list[dict]]:
    """Mentions as the module takes them."""
    return [[{"start": m.start, "end": m.end, "type": m.type} for m in mentions] for mentions in documents]


def check(found: dict, expected: dict) -> None:
    """The module's figures are the scorer's, to the last bit."""
    assert {name: found[name] for name in ROW} == expected["overall"]
    assert found["per_type"] == expected["per_type"]
    seen = [row for row in expected["per_type"].values() if row["support"] + row["predicted"]]
    for name in ROW[:3]:
        assert found[f"macro_{name}"] == (sum(row[name] for row in seen) / len(seen) if seen else 0.0)


MENTIONS = st.builds(
    lambda start, length, kind: Mention(start, start + length, kind),
    st.integers(0, 4),
    st.integers(1, 4),
    st.sampled_from(["Gene", "Disease", "µ-type"]),
)
DOCUMENTS = st.lists(st.tuples(st.lists(MENTIONS, max_size=6), st.lists(MENTIONS, max_size=6)), max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, st.none() | st.lists(st.sampled_from(["Gene", "Disease", "Absent"]), unique=True))
def test_the_figures_are_the_scorers(metric, documents, types):
    # Few positions, so nested mentions, duplicates, one span under two types and empty documents all occur.
    gold, found = [d[0] for d in documents], [d[1] for d in documents]
    got = metric.compute(predictions=rows(found), references=rows(gold), types=types)
    check(got, score_mentions(gold, found, types))
    kept = {m.type for mentions in gold for m in mentions} if types is None else set(types)
    for name, side in (("predictions", found), ("references", gold)):
        left_out = [{m.key for m in mentions if m.type not in kept} for mentions in side]
        assert got[f"ignored_{name}"] == sum(map(len, left_out))


def damaged(documents, seed=0):
    """The gold mentions of documents with some lost, some moved, some renamed and some twice."""
    rng, out = random.Random(seed), []
    for document in documents:
        mentions = []
        for m in document.mentions:
            roll = rng.random()
            if roll < 0.6:
                mentions += [m] * rng.choice([1, 1, 2])
            elif roll < 0.8:
                mentions.append(Mention(m.start, m.end + rng.choice([-1, 1]) if m.end - m.start > 1 else m.end, m.type))
            elif roll < 0.9:
                mentions.append(Mention(m.start, m.end, rng.choice(["Gene", "Chemical", "Modifier"])))
        rng.shuffle(mentions)
        out.append(mentions)
    return out


def test_each_demo_corpus_has_the_scorers_figures(metric, demo_corpora):
    for splits in demo_corpora.values():
        documents = splits["test"]
        gold, found = [list(d.mentions) for d in documents], damaged(documents)
        types = sorted(documents[0].annotated_types)
        expected = score_mentions(gold, found, types)
        assert 0 < expected["overall"]["f1"] < 1
        check(metric.compute(predictions=rows(found), references=rows(gold), types=types), expected)
        for start in range(0, len(gold), 7):
            metric.add_batch(predictions=rows(found[start : start + 7]), references=rows(gold[start : start + 7]))
        check(metric.compute(types=types), expected)


def test_partially_annotated_corpora_in_one_call(partial, demo_corpora):
    """What a document's corpus doesn't annotate counts on neither side; the rest is pooled over corpora."""
    documents = [d for splits in demo_corpora.values() for d in splits["validation"]]
    gold, found = [list(d.mentions) for d in documents], damaged(documents, 1)
    for document, mentions in zip(documents, found, strict=True):
        mentions += [Mention(0, 1, t) for t in ("Gene", "Modifier", "Unheard") if t not in document.annotated_types]
    own = [sorted(d.annotated_types) for d in documents]
    kept = [[m for m in mentions if m.type in types] for mentions, types in zip(found, own, strict=True)]
    assert kept != found
    expected = score_mentions(gold, kept, {t for types in own for t in types})
    got = partial.compute(predictions=rows(found), references=rows(gold), annotated_types=own)
    check(got, expected)
    assert got["ignored_predictions"] == sum(
        len({m.key for m in all_} - {m.key for m in some}) for all_, some in zip(found, kept, strict=True)
    )
    pieces = zip(rows(found), rows(gold), own, strict=True)
    for prediction, reference, types in pieces:
        partial.add(prediction=prediction, reference=reference, annotated_types=types)
    assert partial.compute() == got


def test_several_processes_collect_together(tmp_path, demo_corpora):
    """As on two processes of one machine: each adds its documents, the first has the scores of all."""
    documents = demo_corpora["demo_all"]["test"]
    gold, found = rows(d.mentions for d in documents), rows(damaged(documents))
    parts = [load(tmp_path, num_process=2, process_id=i, experiment_id="two") for i in range(2)]
    scores: dict[int, dict | None] = {}

    def collect(i):
        parts[i].add_batch(predictions=found[i::2], references=gold[i::2])
        scores[i] = parts[i].compute()

    threads = [threading.Thread(target=collect, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert scores[1] is None
    assert scores[0] == load(tmp_path, experiment_id="one").compute(predictions=found, references=gold)


def test_what_a_pipeline_returns_goes_in_as_it_is(metric):
    found = [[{"entity_group": "Gene", "start": 0, "end": 4, "word": "PAX6", "score": 0.9}], []]
    assert metric.compute(predictions=found, references=GOLD)["per_type"]["Gene"]["f1"] == 1.0


def test_nothing_gives_zeros(metric):
    for documents in ([], [[], []]):
        got = metric.compute(predictions=documents, references=documents)
        assert got["per_type"] == {}
        assert {v for k, v in got.items() if k != "per_type"} == {0}


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            [[{"start": 0, "end": 4}], []],
            r"predictions\[0\]\[0\]: expected .*\"type\": str.*, got \{'start': 0, 'end': 4",
        ),
        (
            [[], [{"start": 4, "end": 4, "type": "Gene"}]],
            r"predictions\[1\]\[0\]: expected 0 <= start < end .*\[4, 4\)",
        ),
        ([[{"start": -1, "end": 4, "type": "Gene"}], []], r"got \[-1, 4\)"),
        ([[{"start": 0.5, "end": 4, "type": "Gene"}], []], "expected .*int"),
        ([[{"start": "0", "end": 4, "type": "Gene"}], []], "expected .*int"),
        ([[{"start": 0, "end": 4, "type": 7}], []], "expected .*str"),
        ([[(0, 4, "Gene")], []], r"predictions\[0\]\[0\]: expected .*, got tuple"),
        (["abc", []], r"predictions\[0\]: expected a list, one per document, got str"),
        ("abc", "predictions: expected a list with one list per document, got str"),
        ([[]], "expected one list per document in every column, got 1 predictions, 2 references"),
    ],
)
def test_wrong_input_is_named_and_leaves_the_module_usable(metric, predictions, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=predictions, references=GOLD)
    assert metric.compute(predictions=FOUND, references=GOLD)["f1"] == pytest.approx(2 / 3)


def test_wrong_options_are_named(metric, partial, tmp_path):
    with pytest.raises(ValueError, match=r"evaluate\.load\(…, 'partial'\)"):
        metric.compute(predictions=FOUND, references=GOLD, annotated_types=[["Gene"], []])
    with pytest.raises(ValueError, match="expected a list of types, got the string 'Gene'"):
        metric.compute(predictions=FOUND, references=GOLD, types="Gene")
    with pytest.raises(ValueError, match="'types' is for the default configuration"):
        partial.compute(predictions=FOUND, references=GOLD, annotated_types=[["Gene"], []], types=["Gene"])
    with pytest.raises(ValueError, match=r"annotated_types\[1\]: expected a list"):
        partial.compute(predictions=FOUND, references=GOLD, annotated_types=[["Gene"], "Gene"])
    with pytest.raises(ValueError, match=r"annotated_types\[0\]: expected the names of types, got 3"):
        partial.compute(predictions=FOUND, references=GOLD, annotated_types=[[3], []])
    with pytest.raises(ValueError, match=r"missing.*annotated_types"):
        partial.compute(predictions=FOUND, references=GOLD)
    with pytest.raises(ValueError, match="no configuration 'partia'"):
        load(tmp_path, "partia")


def test_the_space_has_what_evaluate_spaces_have(metric):
    _, header, text = (FOLDER / "README.md").read_text(encoding="utf-8").split("---", 2)
    front = yaml.safe_load(header)
    assert front["sdk"] == "gradio"
    assert (FOLDER / front["app_file"]).is_file()
    assert {"evaluate", "metric"} <= set(front["tags"])
    needed = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    assert "evaluate" in needed
    assert "datasets" in needed
    # What the page promises of its example is so.
    code = text.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code.replace('"hub/metrics/mention_f1"', repr(str(FOLDER))), names)
    got = names["metric"].compute(predictions=names["found"], references=names["gold"])
    assert (got["f1"], got["macro_f1"]) == (0.5, 0.5)
    assert [got["per_type"][t]["f1"] for t in ("Gene", "Disease")] == [1.0, 0.0]
    assert all(f"**{name}**" in text for name in got if name not in ROW[:3])


def test_the_page_scores_and_shows_errors(monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # the folder stays as it is published
    spec = importlib.util.spec_from_file_location("mention_f1_app", FOLDER / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    assert app.score('[[{"start": 0, "end": 2, "type": "A"}]]', '[[{"start": 0, "end": 2, "type": "A"}]]')["f1"] == 1
    with pytest.raises(app.gr.Error, match="Expecting value"):
        app.score("[[", "[[]]")
    with pytest.raises(app.gr.Error, match="expected a list"):
        app.score("[3]", "[[]]")
