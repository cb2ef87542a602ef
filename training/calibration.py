"""Scores that say how often a mention is right: fitted on validation documents, measured on all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from mosaic_ner.modeling.inference import calibrated
from scipy.optimize import minimize

from .evaluator import Measured

BINS = 15
LEAST = 50
"""Predicted mentions below which nothing is fitted."""


def fit(scores: np.ndarray, correct: np.ndarray) -> list[float] | None:
    """Slope and intercept (a, b) of p = σ(a·logit(score) + b), by the likelihood of what was right (Platt 1999, with his
    targets, which leave room where all or none was right). Temperature scaling (Guo et al. 2017) is b = 0.

    Args:
        scores: (N,) float, 0..1, of predicted mentions. correct: (N,) bool, whether each is a gold mention.
    Returns:
        `[a, b]`; None for fewer than `LEAST` mentions, or if higher scores aren't right more often.
    """
    if len(scores) < LEAST:
        return None
    right = correct.sum()
    targets = np.where(correct, (right + 1) / (right + 2), 1 / (len(correct) - right + 2))
    logits = _logit(scores)

    def loss(line: np.ndarray) -> float:
        values = line[0] * logits + line[1]
        return float(np.mean(np.logaddexp(0.0, values) - targets * values))

    slope, intercept = (float(value) for value in minimize(loss, [1.0, 0.0]).x)
    return [slope, intercept] if slope > 0 else None


def _logit(scores: np.ndarray) -> np.ndarray:
    kept = np.clip(scores.astype(float), 1e-6, 1 - 1e-6)
    return np.log(kept / (1 - kept))


def reliability(scores: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """The expected calibration error over bins of equal mass (Nguyen and O'Connor 2015; Guo et al. 2017, eq. 3).

    Returns:
        `{"ece": 0..1, "bins": [[mentions, mean score, share that is right], …]}` in order of scores; at most `BINS`.
    """
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    bins = [[len(part), float(scores[part].mean()), float(correct[part].mean())] for part in parts]
    error = sum(size * abs(score - share) for size, score, share in bins) / max(1, len(scores))
    return {"ece": error, "bins": bins}


def scored(measured: Iterable[Measured]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all predicted mentions, and whether each is a gold mention."""
    pairs = []
    for part in measured:
        for gold, predicted in zip(part.gold, part.predicted, strict=True):
            keys = {m.key for m in gold.mentions}
            pairs += [(m.score, m.key in keys) for m in predicted.mentions]
    return np.array([p[0] for p in pairs], dtype=float), np.array([p[1] for p in pairs], dtype=bool)


def calibrate(config, measured: dict[str, dict[str, Measured]]) -> None:
    """Fits the config's `calibration`, of a model that has none, to all validation documents.

    Args:
        config: of the model that was measured. measured: split → corpus → what `Evaluator.evaluate` gave.
    """
    config.calibration = fit(*scored(measured["validation"].values()))


def add_reliability(line: list[float] | None, measured: dict[str, dict[str, Measured]]) -> None:
    """Adds `calibration` to every report: the expected calibration error and its bins, and as `uncalibrated` the same of the
    scores before a calibration by `line` that was fitted to these measurements."""
    for part in (part for corpora in measured.values() for part in corpora.values()):
        scores, correct = scored([part])
        found = reliability(scores, correct)
        if line:
            found = reliability(np.array([calibrated(s, line) for s in scores]), correct) | {"uncalibrated": found}
        part.report["calibration"] = found
