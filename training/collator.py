"""Features → padded batches for the Trainer."""

from __future__ import annotations

import torch
from mosaic_ner.modeling.batching import pad_batch


class NERCollator:
    """Pads a list of features; hides a share of the words from the model, so that it learns to use the context.

    Args:
        pad_token_id: padding of `input_ids`.
        keys: the features that the model takes; None takes all.
        masking: probability (0..1) that a token with a label is replaced by the mask token. Labels stay.
        mask_token_id: needed when `masking` is above 0.

    Raises:
        ValueError: masking without a mask token.
    """

    def __init__(
        self,
        pad_token_id: int,
        keys: tuple[str, ...] | None = None,
        masking: float = 0.0,
        mask_token_id: int | None = None,
    ):
        if masking and mask_token_id is None:
            raise ValueError("token_masking needs a tokenizer with a mask token; set token_masking to 0")
        self.pad_token_id = pad_token_id
        self.keys = keys
        self.masking = masking
        self.mask_token_id = mask_token_id

    def __call__(self, features: list[dict]) -> dict:
        if self.keys is not None:
            features = [{k: f[k] for k in self.keys} for f in features]
        batch = pad_batch(features, self.pad_token_id)
        if self.masking:
            hidden = (torch.rand(batch["labels"].shape) < self.masking) & (batch["labels"] >= 0)
            batch["input_ids"] = batch["input_ids"].masked_fill(hidden, self.mask_token_id)
        return batch
