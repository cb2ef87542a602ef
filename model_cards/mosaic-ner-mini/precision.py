"""The number format that an encoder computes in; what comes after it has float32. Ships to the Hub."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from .batching import rounded_up

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


class ByLength(nn.Module):
    """An encoder that reads each row of a batch padded to a length of its own, its tokens rounded up, not to the batch's. Rows
    of one length go through it together; on CPUs products compute each row alike, however many there are.

    Args:
        encoder: what gives `last_hidden_state`.
        multiple, most: as for `batching.rounded_up`.
    """

    def __init__(self, encoder: nn.Module, multiple: int, most: int):
        super().__init__()
        self.encoder, self.multiple, self.most = encoder, multiple, most

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **kwargs) -> BaseModelOutput:
        """The hidden states, (B, S, H), 0 beyond a row's length.

        Args:
            input_ids, attention_mask: (B, S) int64, S rounded up, padding at the end.
        """
        lengths = [rounded_up(length, self.multiple, self.most) for length in attention_mask.sum(1).tolist()]
        hidden = None
        for length in sorted(set(lengths)):
            rows = torch.tensor([row for row, own in enumerate(lengths) if own == length])
            inputs = {"input_ids": input_ids[rows, :length], "attention_mask": attention_mask[rows, :length]}
            found = self.encoder(**inputs, **kwargs).last_hidden_state
            if hidden is None:
                hidden = found.new_zeros(*input_ids.shape, found.shape[2])
            hidden[rows, :length] = found
        return BaseModelOutput(last_hidden_state=hidden)


@contextmanager
def predicting_in(model: nn.Module, precision: str | None) -> Iterator[None]:
    """As `set_precision`, for as long as the context lasts, of a model in training: a copy of the encoder is converted.
    Whatever is made of the encoder inside, it is the model's own again at the end.

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
