"""Linear-chain conditional random field, batched and masked (AIONER section 2.3, eq. 1-3). Ships to the Hub.

Positions outside `mask` (special tokens, task tags, padding) are outside the chain: they contribute no score, no
transition and no gradient, wherever they stand. All computation is in float32 or wider, also under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        """log of the sum over all label sequences of exp(s), for left-aligned chains: (B,)."""
        alpha = self.start + emissions[:, 0]
        for t in range(1, emissions.shape[1]):
            step = torch.logsumexp(alpha.unsqueeze(2) + self.transitions, dim=1) + emissions[:, t]
            alpha = torch.where(mask[:, t : t + 1], step, alpha)
        total = torch.logsumexp(alpha + self.end, dim=1)
        return torch.where(mask[:, 0], total, torch.zeros_like(total))

    @torch.no_grad()
    def viterbi(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The best label sequence (eq. 3).

        Args:
            emissions: (B, S, L) float.
            mask: (B, S) bool.
        Returns:
            (B, S) int64; 0 outside the mask.
        """
        original = mask
        emissions, mask, order = _left_align(emissions, mask)
        length = emissions.shape[1]
        alpha = self.start + emissions[:, 0]
        same = torch.arange(self.num_labels, device=emissions.device).expand_as(alpha)
        back = []
        for t in range(1, length):
            best, argbest = (alpha.unsqueeze(2) + self.transitions).max(dim=1)
            inside = mask[:, t : t + 1]
            alpha = torch.where(inside, best + emissions[:, t], alpha)
            back.append(torch.where(inside, argbest, same))
        label = (alpha + self.end).argmax(1, keepdim=True)
        path = [label]
        for pointers in reversed(back):
            label = pointers.gather(1, label)
            path.append(label)
        tags = torch.cat(path[::-1], dim=1).masked_fill(~mask, 0)
        return torch.zeros_like(original, dtype=torch.long).scatter(1, order, tags).masked_fill(~original, 0)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """p(y_t = l | X) by the forward-backward algorithm.

        Args:
            emissions: (B, S, L) float.
            mask: (B, S) bool.
        Returns:
            (B, S, L) float in 0..1, summing to 1 inside the mask and 0 outside.
        """
        original = mask
        emissions, mask, order = _left_align(emissions, mask)
        with torch.autocast(emissions.device.type, enabled=False):  # matrix products would be in half precision
            product = self._chances(emissions, mask)
        out = product.new_zeros(*original.shape, self.num_labels)
        out = out.scatter(1, order.unsqueeze(2).expand_as(product), product)
        return out * original.unsqueeze(2)

    def _chances(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Marginals of left-aligned chains: (B, S, L)."""
        # In the probability domain, rescaled at each step, both recursions are matrix products; the rescaling cancels
        # in the normalised product. The largest score is taken out first so that exp can't overflow.
        transitions, start, end = (p.to(emissions.dtype) for p in (self.transitions, self.start, self.end))
        # Never quite 0: a transition that the scores rule out must not wipe out a whole chain in float32.
        step = (transitions - transitions.max()).exp().clamp(min=1e-30)
        emitted = (emissions - emissions.amax(2, keepdim=True)).exp()
        tiny = torch.finfo(emissions.dtype).tiny
        length = emissions.shape[1]
        alpha = (start - start.max()).exp() * emitted[:, 0]
        alphas = [alpha]
        for t in range(1, length):
            alpha = (alpha / alpha.sum(1, keepdim=True).clamp(min=tiny)) @ step * emitted[:, t]
            alphas.append(alpha)
        final = (end - end.max()).exp().expand_as(alpha)
        beta = final
        betas = [beta]
        for t in range(length - 1, 0, -1):
            onward = (emitted[:, t] * beta) @ step.T
            onward = onward / onward.sum(1, keepdim=True).clamp(min=tiny)
            beta = torch.where(mask[:, t : t + 1], onward, final)
            betas.append(beta)
        product = torch.stack(alphas, 1) * torch.stack(betas[::-1], 1)
        return product / product.sum(2, keepdim=True).clamp(min=tiny)


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
