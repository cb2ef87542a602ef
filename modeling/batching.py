"""Features of windows → a batch of tensors. Ships to the Hub."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_batch(features: list[dict[str, list[int]]], padding: dict[str, int]) -> dict[str, Tensor]:
    """Pads features to the longest of the batch.

    Args:
        features: dicts of equal keys; lists of ints, and lists of these, are padded at the end, single ints are stacked.
        padding: key → padding value, 0 for others; each key is padded to its own longest.
    Returns:
        int64 tensors (B, longest), (B, longest, widest) or (B,), and `attention_mask` (B, S) int64; keys ending in `_mask` are
        bool but for that one.
    """
    batch = {}
    for key, first in features[0].items():
        if isinstance(first, int):
            batch[key] = torch.tensor([f[key] for f in features])
            continue
        value = padding.get(key, 0)
        longest = max(len(f[key]) for f in features)
        if any(isinstance(item, list) for f in features for item in f[key][:1]):
            widest = max(len(item) for f in features for item in f[key])
            rows = [[item + [value] * (widest - len(item)) for item in f[key]] for f in features]
            rows = [row + [[value] * widest] * (longest - len(row)) for row in rows]
        else:
            rows = [f[key] + [value] * (longest - len(f[key])) for f in features]
        batch[key] = torch.tensor(rows, dtype=torch.bool if key.endswith("_mask") else torch.long)
    lengths = torch.tensor([len(f["input_ids"]) for f in features])
    batch["attention_mask"] = (torch.arange(batch["input_ids"].shape[1]) < lengths.unsqueeze(1)).long()
    return batch
