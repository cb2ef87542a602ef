"""Features → padded batches for the Trainer."""

from __future__ import annotations

from .modeling_ner import pad_batch


class NERCollator:
    """Pads a list of features.

    Args:
        pad_token_id: padding of `input_ids`.
        keys: the features that the model takes; None takes all.
    """

    def __init__(self, pad_token_id: int, keys: tuple[str, ...] | None = None):
        self.pad_token_id = pad_token_id
        self.keys = keys

    def __call__(self, features: list[dict]) -> dict:
        if self.keys is not None:
            features = [{k: f[k] for k in self.keys} for f in features]
        return pad_batch(features, self.pad_token_id)
