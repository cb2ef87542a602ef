"""Features of windows → a batch of tensors. Ships to the Hub."""

from __future__ import annotations

import torch
from torch import Tensor


def rounded_up(length: int, multiple: int, most: int) -> int:
    """A multiple of `multiple` that holds the length, which is `most` at most; none is longer than that."""
    return max(length, min(-(-length // multiple) * multiple, most))


def pad_batch(
    features: list[dict[str, list[int]]], padding: dict[str, int], multiple: int = 1, most: int = 0
) -> dict[str, Tensor]:
    """Pads features to the longest of the batch.

    Args:
        features: dicts of equal keys; lists of ints, and lists of these, are padded at the end, single ints are stacked.
        padding: key → padding value, 0 for others; each key is padded to its own longest.
        multiple, most: what the numbers of tokens, and of units (`unit_…`), are rounded up to, see `rounded_up`.
    Returns:
        int64 tensors (B, longest), (B, longest, widest) or (B,), and `attention_mask` (B, S) int64; keys ending in `_mask` are
        bool but for that one.
    """
    batch = {}
    lengths = [len(f["input_ids"]) for f in features]
    tokens = rounded_up(max(lengths), multiple, most)
    for key, first in features[0].items():
        if isinstance(first, int):
            batch[key] = torch.tensor([f[key] for f in features])
            continue
        value = padding.get(key, 0)
        own = [len(f[key]) for f in features]
        longest = tokens if own == lengths else max(own)
        if key.startswith("unit_"):
            longest = rounded_up(longest, multiple, most)
        elif key.startswith("type_"):  # as many as there are types, and be it as many as tokens
            longest = max(own)
        if any(isinstance(item, list) for f in features for item in f[key][:1]):
            widest = max(len(item) for f in features for item in f[key])
            rows = [[item + [value] * (widest - len(item)) for item in f[key]] for f in features]
            rows = [row + [[value] * widest] * (longest - len(row)) for row in rows]
        else:
            rows = [f[key] + [value] * (longest - len(f[key])) for f in features]
        batch[key] = torch.tensor(rows, dtype=torch.bool if key.endswith("_mask") else torch.long)
    batch["attention_mask"] = (torch.arange(tokens) < torch.tensor(lengths).unsqueeze(1)).long()
    return batch
