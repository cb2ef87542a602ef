"""The number format that an encoder computes in; what comes after it has float32. Ships to the Hub."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HALVES = ("bfloat16", "float16")
PRECISIONS = ("auto", "float32", *HALVES)
"""Those of PyTorch's own arithmetic."""


def best_precision(device: torch.device | str) -> str:
    """The fastest precision that is safe: bfloat16 on CUDA and where a CPU has instructions for it, else float32."""
    if torch.device(device).type == "cpu":
        native = torch.cpu.get_capabilities()
        return "bfloat16" if native.get("avx512_bf16") or native.get("amx_bf16") or native.get("bf16") else "float32"
    return "bfloat16" if torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def resolve(precision: str, device: torch.device | str) -> str:
    """The precision, "auto" being the best one of the device.

    Raises:
        ValueError: it is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    return best_precision(device) if precision == "auto" else precision


def set_precision(model: nn.Module, precision: str = "float32") -> str:
    """Converts a trained model in place, for prediction: its encoder's weights to the precision, all else to float32. Weights
    more exact than float32 stay as they are where float32 is asked for.

    Args:
        model: one of the families, on its device.
        precision: one of `PRECISIONS`.
    Returns:
        The precision that was chosen.
    Raises:
        ValueError: an unknown precision.
    """
    precision = resolve(precision, model.device)
    if precision in HALVES:
        model.float()
        model.encoder = _halved(model.encoder, precision)
    else:
        model.to(torch.promote_types(model.dtype, torch.float32))
    return precision


@contextmanager
def predicting_in(model: nn.Module, precision: str | None) -> Iterator[None]:
    """As `set_precision`, for as long as the context lasts, of a model in training: a copy of the encoder is converted.

    Args:
        precision: None or float32: nothing is changed.
    """
    own, precision = model.encoder, resolve(precision or "float32", model.device)
    try:
        if precision in HALVES:
            model.encoder = _halved(copy.deepcopy(own), precision)
        yield
    finally:
        model.encoder = own


def _halved(encoder: nn.Module, precision: str) -> nn.Module:
    encoder = encoder.to(getattr(torch, precision))
    encoder.register_forward_hook(_widened)
    return encoder


def _widened(module: nn.Module, inputs, output):
    """The encoder's output in the precision of what comes after it."""
    output.last_hidden_state = output.last_hidden_state.float()
    return output
