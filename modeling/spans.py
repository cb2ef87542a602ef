"""The grid of candidate spans that the span families share: units, embeddings, decoding. Ships to the Hub.

A window's tokens are joined into *units*, the pieces of text between candidate boundaries; a span is 1…W consecutive units,
and cell (i, w) of the grid (B, U, W) is the span of the units i to i + w. B windows, S tokens, U units, W the widest span,
H and d features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .modeling_ner import at_least_float32
from .windowing import Window


def take_units(hidden: Tensor, positions: Tensor) -> Tensor:
    """The vectors at given tokens.

    Args:
        hidden: (B, S, H) float. positions: (B, U) int64 token positions, -1 for padding (position 0 is taken).
    Returns:
        (B, U, H).
    """
    rows = torch.arange(len(positions), device=positions.device).unsqueeze(1) * hidden.shape[1]
    return hidden.flatten(0, 1).index_select(0, (rows + positions.clamp(min=0)).flatten()).view(*positions.shape, -1)


def tokens_as_units(hidden: Tensor, attention_mask: Tensor | None, before: int, after: int) -> Tensor:
    """Each token between the special ones as a unit: (B, U) int64 positions, -1 after a window's last.

    Args:
        hidden: (B, S, H) float. attention_mask: (B, S) int64, None without padding.
        before, after: special tokens at the beginning and the end of each window.
    """
    count = hidden.shape[1] if attention_mask is None else attention_mask.sum(1, keepdim=True)
    positions = torch.arange(before, hidden.shape[1], device=hidden.device).expand(len(hidden), -1)
    return positions.masked_fill(positions >= count - after, -1)


def span_mask(unit_mask: Tensor, widest: int) -> Tensor:
    """(B, U, W) bool: the cells whose spans lie inside their window.

    Args:
        unit_mask: (B, U) bool, True on the window's units, which come first.
        widest: W.
    """
    device = unit_mask.device
    last = torch.arange(unit_mask.shape[1], device=device).unsqueeze(1) + torch.arange(widest, device=device)
    return last < unit_mask.sum(1).view(-1, 1, 1)


def joined(widths: Iterable[Tensor]) -> Tensor:
    """(B, U, W, d): the vectors (B, U - w, d) of the spans of each width w + 1, one after the other; zeros where there are no
    such spans."""
    parts = list(widths)
    units = parts[0].shape[1]
    return torch.stack([nn.functional.pad(part, (0, 0, 0, units - part.shape[1])) for part in parts], 2)


class SpanParts(NamedTuple):
    """A linear map of [x_start ; x_end ; Φ(width)] before it is added up: `start`, `end` (B, U, d), `width` (W, d) or, where
    each window has a map of its own, (B, 1, W, d) float."""

    start: Tensor
    end: Tensor
    width: Tensor

    def through(self, linear: nn.Linear) -> SpanParts:
        """The parts of `linear` of the sums: once per unit and width instead of once per span, and equal to it."""
        weight = linear.weight
        return SpanParts(
            linear(self.start), nn.functional.linear(self.end, weight), nn.functional.linear(self.width, weight)
        )

    def through_own(self, weight: Tensor, bias: Tensor) -> SpanParts:
        """As `through`, with a layer for each window: weight (B, e, d), bias (B, e)."""
        weight = weight.mT
        width = (self.width @ weight).unsqueeze(1)
        return SpanParts(torch.baddbmm(bias.unsqueeze(1), self.start, weight), self.end @ weight, width)

    def widths(self) -> Iterator[Tensor]:
        """The sums of the spans of each width w + 1, (B, U - w, d): small enough for a CPU's caches, as all spans are not."""
        units = self.start.shape[1]
        for width in range(self.width.shape[-2]):
            yield self.end[:, width:] + self.start[:, : max(0, units - width)] + self.width[..., width, :]

    def grid(self) -> Tensor:
        """The sums of all spans, (B, U, W, d); zeros outside `span_mask` of units that are all there."""
        return joined(self.widths())


class SpanEmbedding(nn.Module):
    """h = Linear([x_start ; x_end ; Φ(width)]) (CVAE-NER eq. 1, after Zhong and Chen 2021), factorised.

    A x_start + B x_end + C Φ(width) + b, with each product computed once per unit or width; exactly the concatenation's
    result, at about 1/W of its cost.

    Args:
        hidden_size: H. span_size: d. widest: W. width_size: size of the learnt embedding Φ of the width.
    """

    def __init__(self, hidden_size: int, span_size: int, widest: int, width_size: int):
        super().__init__()
        self.start = nn.Linear(hidden_size, span_size)
        self.end = nn.Linear(hidden_size, span_size, bias=False)
        self.width = nn.Linear(width_size, span_size, bias=False)
        self.widths = nn.Embedding(widest, width_size)

    def forward(self, first: Tensor, last: Tensor) -> SpanParts:
        """
        Args:
            first, last: (B, U, H) float, the vectors of each unit's first and last token.
        """
        return SpanParts(self.start(first), self.end(last), self.width(self.widths.weight))


class MeanSpanProjection(nn.Module):
    """Linear(s) of s = [v_first ; mean(v_first..v_last) ; v_last] (joint IB, eq. 1) for all spans, factorised.

    The projection of a mean is a mean of projections, and so a difference of their prefix sums: each product is computed once
    per token or unit, exactly the concatenation's result at a fraction of its cost.

    Args:
        hidden_size: H. size: d.
    """

    def __init__(self, hidden_size: int, size: int):
        super().__init__()
        self.first = nn.Linear(hidden_size, size)
        self.mean = nn.Linear(hidden_size, size, bias=False)
        self.last = nn.Linear(hidden_size, size, bias=False)

    def widths(self, hidden: Tensor, starts: Tensor, ends: Tensor, widest: int) -> Iterator[Tensor]:
        """
        Args:
            hidden: (B, S, H) float. starts, ends: (B, U) int64, the first and the last token of each unit; -1 pads.
            widest: W.
        Yields:
            (B, U - w, d) float, the spans of each width w + 1; finite values without meaning where units are padding.
        """
        before, upto = _prefix_sums(self.mean(hidden), starts, ends)
        first, last = self.first(take_units(hidden, starts)), self.last(take_units(hidden, ends))
        for width in range(widest):
            units = max(0, starts.shape[1] - width)
            # Beyond the window the sum is that of the tokens before the span, taken from 0: its mean is finite and small, too.
            count = (ends[:, width:] - starts[:, :units] + 1).abs().clamp(min=1)
            mean = (upto[:, width:] - before[:, :units]).mul_(count.to(upto.dtype).reciprocal_().unsqueeze(2))
            yield mean.to(hidden.dtype).add_(last[:, width:]).add_(first[:, :units])

    def forward(self, hidden: Tensor, starts: Tensor, ends: Tensor, widest: int) -> Tensor:
        """Arguments as for `widths`: (B, U, W, d) float, all spans; cells outside `span_mask` hold finite values."""
        return joined(self.widths(hidden, starts, ends, widest))


def mean_spans(hidden: Tensor, starts: Tensor, ends: Tensor, rows: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """s of eq. 1 of some spans.

    Args:
        hidden, starts, ends: as for `MeanSpanProjection`.
        rows, first, last: (N,) int64, each span's window, first and last unit.
    Returns:
        (N, 3 H) float.
    """
    before, upto = _prefix_sums(hidden, starts, ends)
    count = (ends[rows, last] - starts[rows, first] + 1).unsqueeze(1)
    mean = ((upto[rows, last] - before[rows, first]) / count).to(hidden.dtype)
    return torch.cat([hidden[rows, starts[rows, first]], mean, hidden[rows, ends[rows, last]]], 1)


def _prefix_sums(hidden: Tensor, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """(B, U, H), at least float32 (half precision would lose a mean in the sums): those of all tokens before each unit, and of
    all up to its end."""
    sums = nn.functional.pad(at_least_float32(hidden).cumsum(1), (0, 0, 1, 0))
    return take_units(sums, starts), take_units(sums, ends + 1)


def bar_passages(values: Tensor, windows: list[Window], kind: str, barred: float) -> Tensor:
    """A decoded grid without the spans that cross the border of a passage.

    Args:
        values: (B, U, W) or (B, U, W, M), of each window's units of this kind.
        barred: the value of such cells.
    """
    found = [window.unit_passages(kind) for window in windows]
    if not any(found):
        return values
    values, widest = values.clone(), values.shape[2]
    for row, passages in zip(values, found, strict=True):
        for passage in passages:
            for first in range(max(0, passage - widest + 1), passage):
                row[first, passage - first :] = barred
    return values


def read_cells(labels: Tensor, scores: Tensor, flat: bool) -> list[list[tuple[int, int, int, float]]]:
    """The spans of a decoded grid.

    Args:
        labels: (B, U, W) int64, negative where there is no mention. scores: (B, U, W) float.
        flat: take spans greedily by score (the wider, then the earlier of equal ones), leaving out what overlaps one taken.
    Returns:
        Per window (first unit, one past the last unit, label, score), in order of position.
    """
    found: list[list[tuple[int, int, int, float]]] = [[] for _ in range(len(labels))]
    window, first, width = (labels >= 0).nonzero(as_tuple=True)
    chosen, chances = labels[window, first, width], scores[window, first, width]
    for row, start, wide, label, score in zip(
        window.tolist(), first.tolist(), width.tolist(), chosen.tolist(), chances.tolist(), strict=True
    ):
        found[row].append((start, start + wide + 1, label, score))
    return [_without_overlaps(spans) for spans in found] if flat else found


def _without_overlaps(spans: list[tuple[int, int, int, float]]) -> list[tuple[int, int, int, float]]:
    taken = 0  # a bit per unit
    kept = []
    for span in sorted(spans, key=lambda s: (-s[3], s[0] - s[1], s[0])):
        units = ((1 << (span[1] - span[0])) - 1) << span[0]
        if not taken & units:
            taken |= units
            kept.append(span)
    return sorted(kept)
