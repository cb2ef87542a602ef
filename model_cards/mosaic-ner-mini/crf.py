"""Linear-chain conditional random field, batched and masked (AIONER section 2.3, eq. 1-3). Ships to the Hub.

Positions outside `mask` (special tokens, task tags, padding) are outside the chain: they contribute no score, no
transition and no gradient, wherever they stand. All computation is in float32 or wider, also under autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEAST = -1e4
"""Of a step that is no way, in logarithms: its exponential is 0."""


class CRF(nn.Module):
    """Transition scores T (eq. 1) with scores for the first and the last label of a chain.

    Args:
        num_labels: L, the number of labels.
    """

    def __init__(self, num_labels: int):
        super().__init__()
        self.num_labels = num_labels
        self.transitions = nn.Parameter(torch.empty(num_labels, num_labels))  # [from, to]
        self.start = nn.Parameter(torch.empty(num_labels))
        self.end = nn.Parameter(torch.empty(num_labels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small random scores, as for a linear layer's weights."""
        for parameter in (self.transitions, self.start, self.end):
            nn.init.uniform_(parameter, -0.1, 0.1)

    def log_likelihood(self, emissions: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """log p(y|X) of eq. 2.

        Args:
            emissions: (B, S, L) float scores P.
            labels: (B, S) int64; anything outside the mask is ignored.
            mask: (B, S) bool, True inside the chain; each row may be empty and may have gaps.
        Returns:
            (B,) float, at most 0; 0 for an empty chain.
        """
        emissions, mask, order = _left_align(emissions, mask)
        labels = labels.gather(1, order).masked_fill(~mask, 0)
        with torch.autocast(emissions.device.type, enabled=False):  # it would multiply in its narrower type
            return self._score(emissions, labels, mask) - self.log_partition(emissions, mask)

    def _score(self, emissions: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """s(X, y) of eq. 1 for left-aligned chains: (B,)."""
        weight = mask.to(emissions.dtype)
        score = (emissions.gather(2, labels.unsqueeze(2)).squeeze(2) * weight).sum(1)
        steps = self.transitions.to(emissions.dtype)[labels[:, :-1], labels[:, 1:]]
        score = score + (steps * weight[:, 1:]).sum(1)
        last = labels.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
        ends = self.start.to(emissions.dtype)[labels[:, 0]] + self.end.to(emissions.dtype)[last]
        return score + ends * weight[:, 0]

    def log_partition(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """log of the sum over all label sequences of exp(s), for left-aligned chains: (B,).

        Neighbouring steps are joined pairwise, in log S rounds over all positions at once: position by position, a GPU would
        wait for S launches.
        """
        first, norm = self.start + emissions[:, 0], emissions.new_zeros(len(emissions))
        steps = self.transitions + emissions[:, 1:].unsqueeze(
            2
        )  # (B, S - 1, L, L), from a label to the next position's
        stay = torch.full_like(self.transitions, LEAST).fill_diagonal_(0)
        steps = torch.where(mask[:, 1:, None, None], steps, stay)
        while steps.shape[1]:
            steps, rest = steps[:, : steps.shape[1] // 2 * 2], steps[:, steps.shape[1] // 2 * 2 :]
            if not steps.shape[1]:
                first = _join(first.unsqueeze(1), rest.squeeze(1)).squeeze(1)
                break
            steps = torch.cat([_join(steps[:, ::2], steps[:, 1::2]), rest], 1)
            # Float32 keeps differences of scores only where they are small.
            largest = steps.detach().amax((2, 3), keepdim=True)
            steps, norm = steps - largest, norm + largest.sum((1, 2, 3))
        total = torch.logsumexp(first + self.end, dim=1) + norm
        return torch.where(mask[:, 0], total, torch.zeros_like(total))

    def steps(self) -> Tensor:
        """All scores that depend on two labels, (L + 1, L + 1) float, from a row to a column. Label L is outside the chain:
        the last row has the scores of first labels, the last column those of last ones."""
        table = nn.functional.pad(self.transitions, (0, 1, 0, 1))
        table[-1, :-1], table[:-1, -1] = self.start, self.end
        return table


def _join(left: Tensor, right: Tensor) -> Tensor:
    """log of the matrix product of exp(left) (…, n, L) and exp(right) (…, L, L). A label is left by a step of its own, so
    nothing underflows whose transition scores are less than 80 apart."""
    rows, columns = left.detach().amax(-1, keepdim=True), right.detach().amax(-2, keepdim=True)
    product = (left - rows).exp() @ (right - columns).exp()
    return product.clamp(min=torch.finfo(product.dtype).tiny).log() + rows + columns


def _on_cpu(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Computes there whatever has to go position by position: a GPU waits for launches (0.95 of AIONER's time on an H200)."""

    @wraps(compute)
    def computed(steps: Tensor, emissions: Tensor, mask: Tensor, borders: Tensor) -> Tensor:
        return compute(steps.cpu(), emissions.cpu(), mask.cpu(), borders.cpu()).to(mask.device)

    return computed


@torch.no_grad()
@_on_cpu
def best_path(steps: Tensor, emissions: Tensor, mask: Tensor, borders: Tensor) -> Tensor:
    """The best label sequence (eq. 3), by the Viterbi algorithm, where scores of steps depend on where in the text they are.

    Args:
        steps: (4, L + 1, L + 1) float, tables as of `CRF.steps`; -inf rules a step out. Into a position of the chain goes
            table (borders of the one before & 2) | (its own borders & 1), where outside the chain both bits count as set.
        emissions: (B, S, L) float.
        mask: (B, S) bool, True inside the chain.
        borders: (B, S) int64, 0 to 3; anything outside the mask is ignored.
    Returns:
        (B, S) int64; 0 outside the mask.
    """
    chain = _Aligned.of(steps, emissions, mask, borders)
    best = chain.steps[:, -1, :-1].index_select(0, chain.kinds[0]) + chain.emissions[0]
    bests = [best]  # of each label, what the best way to it scores
    transitions = _from_first(chain.steps)
    for emitted, kind in zip(chain.emissions[1:], chain.kinds[1:], strict=False):
        best = _ways(best, transitions, kind).amax(0) + emitted
        bests.append(best)
    last, rows = (chain.count - 1).clamp(min=0), torch.arange(len(mask), device=mask.device)
    ends = chain.steps[:, :-1, -1].index_select(0, chain.kinds[chain.count, rows])
    final = label = (torch.stack(bests)[last, rows] + ends).argmax(1)
    path = [label]
    into, width = transitions.permute(1, 2, 0).flatten(0, 1).contiguous(), emissions.shape[2]
    for position in range(len(bests) - 1, 0, -1):
        ways = bests[position - 1] + into.index_select(0, chain.kinds[position] * width + label)
        label = torch.where(last >= position, ways.argmax(1), final)
        path.append(label)
    tags = torch.stack(path[::-1], 1)
    return torch.zeros_like(mask, dtype=torch.long).scatter(1, chain.order, tags).masked_fill(~mask, 0)


@torch.no_grad()
@_on_cpu
def marginals(steps: Tensor, emissions: Tensor, mask: Tensor, borders: Tensor) -> Tensor:
    """p(y_t = l | X) among the sequences that are not ruled out, by the forward-backward algorithm.

    Args:
        steps, emissions, mask, borders: as for `best_path`; some sequence must not be ruled out.
    Returns:
        (B, S, L) float in 0..1, summing to 1 inside the mask and 0 outside.
    """
    chain = _Aligned.of(steps, emissions, mask, borders)
    kinds, length, width = len(steps), len(chain.emissions), emissions.shape[2]
    # The backward pass is a forward pass over the reversed chain with transposed tables: both run as one batch.
    places = torch.arange(length + 1, device=mask.device).unsqueeze(1)
    turned = (chain.count - 1 - places[:-1]).clamp(min=0).unsqueeze(2).expand(-1, -1, width)
    both = torch.cat([chain.emissions, chain.emissions.gather(0, turned)], 1)
    which = torch.cat([chain.kinds, kinds + chain.kinds.gather(0, (chain.count - places).clamp(min=0))], 1)
    tables = torch.cat([chain.steps, chain.steps.transpose(1, 2)])
    transitions = _from_first(tables)
    # Of each label, what all ways to it score together, before its emission. In logarithms, since the sequences that are ruled
    # out may outweigh the others by any factor. The largest is taken out at each step, so that float32 keeps differences.
    reached, least = tables[:, -1, :-1].index_select(0, which[0]), torch.finfo(both.dtype).min
    arrived = [reached]
    for emitted, kind in zip(both[:-1], which[1:], strict=False):
        ways = _ways(reached + emitted, transitions, kind)
        largest = ways.amax(0).clamp(min=least)  # finite where no way is left
        reached = _sum(ways.sub_(largest).exp_()).log().add_(largest)
        reached -= reached.amax(1, keepdim=True)
        arrived.append(reached)
    forward, backward = torch.stack(arrived).chunk(2, 1)
    chances = (forward + chain.emissions + backward.gather(0, turned)).softmax(2).transpose(0, 1)
    out = chances.new_zeros(*mask.shape, width)
    out = out.scatter(1, chain.order.unsqueeze(2).expand_as(chances), chances)
    return out.masked_fill(~mask.unsqueeze(2), 0)


def _from_first(steps: Tensor) -> Tensor:
    """(from, tables, to) of tables' transitions: the fastest order to take sums and maxima over the first label."""
    return steps[:, :-1, :-1].transpose(0, 1).contiguous()


def _ways(scores: Tensor, transitions: Tensor, kind: Tensor) -> Tensor:
    """(from, B, to): what each label's scores (B, L) and the step from it make, with the tables (B,) int64."""
    return transitions.index_select(1, kind).add_(scores.T.unsqueeze(2))


def _sum(values: Tensor) -> Tensor:
    """Over the first dimension, overwriting the values. The order of `Tensor.sum` depends on how many columns there are, and so
    its last bits on a window's companions in the batch."""
    size = len(values)
    while size > 1:
        half = size // 2
        values[:half] += values[size - half : size]
        size -= half
    return values[0]


class _Aligned(NamedTuple):
    """Chains from position 0 on, without gaps, position first: `emissions` (S', B, L), `kinds` (S' + 1, B) int64, the table of
    the step into each position and of the one after the last, `steps` as given, `order` (B, S') and `count` (B,) int64."""

    steps: Tensor
    emissions: Tensor
    kinds: Tensor
    order: Tensor
    count: Tensor

    @classmethod
    def of(cls, steps: Tensor, emissions: Tensor, mask: Tensor, borders: Tensor) -> _Aligned:
        emissions, inside, order = _left_align(emissions, mask)
        borders = borders.gather(1, order).masked_fill(~inside, 3)
        kinds = (nn.functional.pad(borders, (1, 0), value=3) & 2) | (nn.functional.pad(borders, (0, 1), value=3) & 1)
        aligned = emissions.transpose(0, 1).contiguous(), kinds.T.contiguous()
        return cls(steps.to(emissions.dtype), *aligned, order, mask.sum(1))


def _left_align(emissions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moves each chain's positions to the front, in order, and cuts the common padding.

    Returns:
        emissions (B, S', L) in float32 or wider, mask (B, S'), order (B, S') int64: the original position of each.
    """
    order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)
    longest = max(int(mask.sum(1).max()), 1)
    order = order[:, :longest]
    emissions = emissions if emissions.dtype == torch.float64 else emissions.float()
    emissions = emissions.gather(1, order.unsqueeze(2).expand(-1, -1, emissions.shape[2]))
    return emissions, mask.gather(1, order), order
