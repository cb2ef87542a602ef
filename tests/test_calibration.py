"""Calibrated scores: the fit, the error over bins, and that they change no mention."""

from __future__ import annotations

from math import exp, log
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_run import results, run
from helpers_search import SMALL
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.analysis import reliability as reliability_plot
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, calibrated
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.calibration import BINS, LEAST, add_reliability, calibrate, fit, reliability
from mosaic_ner.training.evaluator import Measured
from mosaic_ner.training.results import Results, ResultsError

probabilities = st.floats(0, 1)


@given(probabilities, probabilities, st.floats(0.01, 5), st.floats(-5, 5))
def test_calibration_keeps_the_order_and_gives_probabilities(one, other, slope, intercept):
    low, high = (calibrated(score, [slope, intercept]) for score in sorted((one, other)))
    assert 0 <= low <= high <= 1


def test_the_identity_and_a_value_by_hand():
    assert calibrated(0.3, [1.0, 0.0]) == pytest.approx(0.3)
    assert calibrated(0.8, [0.5, -1.0]) == pytest.approx(1 / (1 + exp(1.0 - 0.5 * log(4))))


def test_the_fit_finds_the_line_that_made_the_data():
    draw = np.random.default_rng(0)
    scores = draw.uniform(0.5, 1, 20_000)
    correct = draw.uniform(size=len(scores)) < [calibrated(s, [0.5, -1.0]) for s in scores]
    line = fit(scores, correct)
    assert line == pytest.approx([0.5, -1.0], abs=0.08)
    better = np.array([calibrated(s, line) for s in scores])
    assert reliability(better, correct)["ece"] < 0.02 < 0.2 < reliability(scores, correct)["ece"]


def test_nothing_is_fitted_to_few_mentions_or_to_scores_that_mislead():
    scores, correct = np.linspace(0.1, 0.9, LEAST), np.arange(LEAST) >= LEAST // 2
    assert fit(scores, correct)[0] > 0
    assert fit(scores[1:], correct[1:]) is None
    assert fit(scores, ~correct) is None


@given(st.lists(st.tuples(probabilities, st.booleans()), max_size=80))
def test_the_error_is_the_mean_gap_over_bins(pairs):
    scores, correct = (np.array([p[i] for p in pairs], dtype=kind) for i, kind in ((0, float), (1, bool)))
    found = reliability(scores, correct)
    assert sum(row[0] for row in found["bins"]) == len(pairs)
    assert len(found["bins"]) == min(BINS, len(pairs))
    sizes = [row[0] for row in found["bins"]]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    ordered, start, error = sorted(pairs, key=lambda p: p[0]), 0, 0.0
    for size, mean, share in found["bins"]:
        part = ordered[start : start + size]
        start += size
        assert mean == pytest.approx(sum(p[0] for p in part) / size)
        error += abs(sum(p[0] for p in part) - size * share)
    assert found["ece"] == pytest.approx(error / max(1, len(pairs)))


def _measured(scores, right) -> Measured:
    text = "x" * len(scores)
    said = [Mention(i, i + 1, "T", score=score) for i, score in enumerate(scores)]
    gold = [m for m, ok in zip(said, right, strict=True) if ok]
    return Measured({}, [Document("1", "c", text, tuple(gold))], [Document("1", "c", text, tuple(said))], [1.0])


def test_validation_documents_alone_are_fitted():
    draw = np.random.default_rng(1)
    scores = draw.uniform(0.5, 1, 1000)
    found = {"test": {"c": _measured(scores, scores > 2)}, "validation": {"c": _measured(scores, scores > 0.8)}}
    config = SimpleNamespace(calibration=None)
    calibrate(config, found)
    assert config.calibration == fit(scores, scores > 0.8)
    add_reliability(config.calibration, found)
    report = found["validation"]["c"].report["calibration"]
    assert report["ece"] < report["uncalibrated"]["ece"]
    assert found["test"]["c"].report["calibration"]["ece"] > 0.4


def test_a_config_refuses_what_would_turn_the_order_round():
    for wrong in ([1.0], [0.0, 1.0], [-1.0, 0.0]):
        with pytest.raises(ValueError, match="expected \\[a, b\\], a above 0"):
            AIONERConfig(calibration=wrong)


def test_a_trained_model_says_calibrated_scores_for_the_same_mentions(tmp_path, demo_corpora, tiny_encoder_dir):
    model = ["--family", "aioner", "--encoder", tiny_encoder_dir, "--max_tokens", "64", "--learning_rate", "0.01"]
    run(*SMALL, *model, "--output_dir", tmp_path)
    network, tokenizer = load(str(tmp_path))
    line = network.config.calibration
    assert line is not None
    texts = [d.text for d in demo_corpora["demo_gene"]["test"][:20]]
    told = MentionPredictor(network, tokenizer)(texts)
    network.config.calibration = None
    plain = MentionPredictor(network, tokenizer)(texts)
    assert told == plain
    assert [m.score for d in told for m in d] == [calibrated(m.score, line) for d in plain for m in d]
    report = results(tmp_path)["validation"]["demo_gene"]["calibration"]
    assert report["ece"] < report["uncalibrated"]["ece"]


def test_the_plot_shows_every_corpus_before_and_after(tmp_path, monkeypatch):
    bins = {"ece": 0.1, "bins": [[5, 0.2, 0.3], [5, 0.8, 0.7]]}
    found = Results(
        {}, test={"a": {"calibration": bins | {"uncalibrated": bins}}, "b": {"calibration": bins}, "old": {}}
    )
    drawn = []
    monkeypatch.setattr(reliability_plot, "save", lambda figure, path: drawn.append(figure))
    reliability_plot.draw(found, tmp_path / "x.png")
    (axes,) = drawn[0].axes
    lines = axes.get_lines()[1:]
    assert [line.get_label() for line in lines] == ["a, before: ECE 0.100", "a: ECE 0.100", "b: ECE 0.100"]
    assert all([*line.get_xdata()] == [0.2, 0.8] and [*line.get_ydata()] == [0.3, 0.7] for line in lines)
    with pytest.raises(ResultsError, match="evaluate the model again"):
        reliability_plot.draw(Results({}, test={"old": {}}), tmp_path / "x.png")
