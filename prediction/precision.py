"""A trained model, ready to predict in a precision: what commands that annotate texts begin with."""

from __future__ import annotations

import logging

import torch
from mosaic_ner.modeling.inference import MentionPredictor, Shard
from mosaic_ner.modeling.precision import set_precision

from .loading import load

logger = logging.getLogger(__name__)


def load_predictor(
    name_or_path: str | None = None,
    precision: str = "float32",
    *,
    encoder: str | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 16,
    shard: Shard | None = None,
) -> MentionPredictor:
    """A trained model as a function of documents; `.model` and `.windower` are the predictor's.

    Args:
        name_or_path, encoder: as for `loading.load`.
        precision: see `PredictionOptions`.
        device: default: the first GPU, or else the CPU.
        batch_size: windows per batch.
        shard: this process's part.
    Raises:
        ModelError, ArgumentError: as for `loading.load`, or a precision that the device doesn't have.
    """
    model, tokenizer = load(name_or_path, encoder)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    prepare(model, precision)
    return MentionPredictor(model, tokenizer, batch_size, shard)


def prepare(model, precision: str = "float32") -> str:
    """Converts a trained model in place, for prediction; returns the precision, which "auto" leaves open."""
    chosen = set_precision(model, precision)
    if precision == "auto":
        logger.info("precision: %s", chosen)
    return chosen
