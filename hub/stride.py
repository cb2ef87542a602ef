"""How much of a long text the stock pipeline reads twice."""

from __future__ import annotations

MOST = 64
"""Tokens that two stretches of a text share, where the encoder reads at least four times as many."""


def stride_for(longest: int) -> int:
    """The `stride` of the stock pipeline: tokens that two stretches of a text share.

    Args:
        longest: tokens that the encoder reads at once, special ones included; the tokenizer's `model_max_length`.
    """
    return min(MOST, longest // 4)
