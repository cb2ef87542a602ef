"""The slot-based recurrent unit (Ruano et al. 2025, section 3.3), a step of which costs what changes. Ships to the Hub.

B windows, Q slots (the words and a slot before and after them), d features, J latent vectors, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SlotMemory(nn.Module):
    """C⁽ᵗ⁺¹⁾ = C⁽ᵗ⁾ + δ_p Ωᵀ; h = wᵀ (C D₁) with w = softmax_q max_j [L D₂ (α C + P(p))ᵀ].

    Args:
        size: d.
        latents: J.
        context: slots on either side of p that have positions of their own; all beyond share one.
        train_scale: whether α is trained; it starts at 1.
        dropout: on the latent vectors and on the positions, drawn once a batch, so that all its steps see the same.
    """

    def __init__(self, size: int, latents: int, context: int, train_scale: bool = True, dropout: float = 0.2):
        super().__init__()
        self.context = context
        self.output_scale = nn.Parameter(torch.ones(size))  # the diagonal of D1
        self.score_scale = nn.Parameter(torch.ones(size))  # the diagonal of D2
        self.latents = nn.Parameter(torch.zeros(latents, size))
        self.positions = nn.Parameter(torch.zeros(2 * context + 2, size))
        self.scale = nn.Parameter(torch.ones(()), requires_grad=train_scale)
        self.dropout = nn.Dropout(dropout)

    def start(self, slots: Tensor, mask: Tensor, block: int = 32) -> SlotState:
        """The memory before the first step.

        Args:
            slots: C⁽⁰⁾, (B, Q, d) float. mask: (B, Q) bool, True on a window's own slots, which come first.
            block: steps between two rearrangements (see SlotState); it changes nothing but the speed.
        """
        return SlotState(self, slots, mask, block)


class SlotState:
    """The memory of a batch at some step. What it keeps never changes in place, so gradients flow through all steps.

    Only one row of C changes in a step, so L D₂ α Cᵀ is kept and one column of it updated; L D₂ Pᵀ depends on distances alone
    and is tabulated. Reading is a softmax over all slots, whose scores shift whenever the pointer moves, but it is taken
    apart: for the slots far behind the pointer, never to be written again, and those ahead, not written yet, the sums of
    e^score and of e^score C are known for every pointer beforehand, from a few matrix products for a whole block of slots. A
    step then reads some tens of slots around the pointer, whatever the length of the window.
    """

    def __init__(self, memory: SlotMemory, slots: Tensor, mask: Tensor, block: int):
        latents = memory.dropout(memory.latents) * memory.score_scale
        self.memory, self.slots, self.mask, self.block = memory, slots, mask, block
        self.writer = (memory.scale * latents).t()  # (d, J): what a vector adds to the scores of its slot
        self.places = memory.dropout(memory.positions) @ latents.t()  # (2 h + 2, J)
        self.first_scores = slots @ self.writer
        self.steps = 0
        self.low, self.high = 0, 0  # the slots that steps read themselves
        self.content, self.scores = slots[:, :0], self.first_scores[:, :0]  # theirs, (B, high - low, d) and (…, J)
        # Written in this block: (B, n, d) and the slots (B, n). Neighbours of equal size are joined, as the digits of a
        # binary counter carry, so there are few of them.
        self.written: list[tuple[Tensor, Tensor]] = []
        # For each pointer from `low` on, over the slots from the second after it on, and all below `low`: greatest score
        # (B, Q - low, 1), sums of e^(score - greatest) (…, 1) and of that times C (…, d).
        self.sums = self._ahead()

    def step(self, vector: Tensor, slot: Tensor, pointer: Tensor, running: Tensor | None = None) -> Tensor:
        """Writes and reads.

        Args:
            vector: Ω, (B, d) float.
            slot: (B,) int64, where it is added: the pointer's or the next.
            pointer: (B,) int64, p, from where distances count. It never falls, and rises by 1 at most.
            running: (B,) bool, the windows whose result still matters; default: all.
        Returns:
            h, (B, d) float.
        """
        running = torch.ones_like(pointer, dtype=torch.bool) if running is None else running
        if self.steps % self.block == 0:
            self._rearrange(pointer[running])
        self.steps += 1
        slot, pointer = slot.where(running, self.low), pointer.where(running, self.low)  # the others may be behind
        self._write(vector, slot - self.low)
        numbers = torch.arange(self.low, self.high, device=pointer.device)
        distance = numbers - pointer.unsqueeze(1)
        scores = (self.scores + self.places[self._row(distance)]).max(2).values
        scores = scores.masked_fill((distance > 1) | ~self.mask[:, self.low : self.high], _nothing(scores))
        place = (pointer - self.low).view(-1, 1, 1)
        greatest, total, read = (s.gather(1, place.expand(-1, 1, s.shape[2])).squeeze(1) for s in self.sums)
        top = torch.maximum(greatest, scores.detach().amax(1, keepdim=True))
        share = (greatest - top).exp()
        weights = (scores - top).exp()
        read = torch.baddbmm((read * share).unsqueeze(1), weights.unsqueeze(1), self.content)
        for vectors, places in self.written:
            read = torch.baddbmm(read, weights.gather(1, places).unsqueeze(1), vectors)
        return read.squeeze(1) / (total * share + weights.sum(1, keepdim=True)) * self.memory.output_scale

    def _row(self, distance: Tensor) -> Tensor:
        """Rows of the table of positions; beyond the context there is one for all."""
        context = self.memory.context
        return (distance + context).where(distance.abs() <= context, 2 * context + 1)

    def _write(self, vector: Tensor, place: Tensor) -> None:
        batch, latents = len(vector), self.scores.shape[2]
        added = (vector @ self.writer).unsqueeze(1)
        self.scores = self.scores.scatter_add(1, place.view(batch, 1, 1).expand(batch, 1, latents), added)
        self.written.append((vector.unsqueeze(1), place.unsqueeze(1)))
        while len(self.written) > 1 and self.written[-1][1].shape == self.written[-2][1].shape:
            late, early = self.written.pop(), self.written.pop()
            self.written.append((torch.cat([early[0], late[0]], 1), torch.cat([early[1], late[1]], 1)))

    def _rearrange(self, pointer: Tensor) -> None:
        """Settles what was written, sums up the slots that no window will write again, and takes in those that the next
        block of steps may reach."""
        for vectors, places in self.written:
            self.content = self.content.scatter_add(1, places.unsqueeze(2).expand_as(vectors), vectors)
        self.written = []
        if not len(pointer):
            return
        lowest, highest = torch.stack(pointer.aminmax()).tolist()
        high = max(self.high, min(self.slots.shape[1], highest + self.block + 2))
        self.content = torch.cat([self.content, self.slots[:, self.high : high]], 1)
        self.scores = torch.cat([self.scores, self.first_scores[:, self.high : high]], 1)
        done = max(lowest - self.low, 0)
        if done:
            self._behind(self.content[:, :done], self.scores[:, :done], lowest)
        self.content, self.scores = self.content[:, done:], self.scores[:, done:]
        self.low, self.high = self.low + done, high

    def _ahead(self) -> tuple[Tensor, Tensor, Tensor]:
        """The sums over the slots not written yet."""
        count, parts = self.slots.shape[1], []
        numbers = torch.arange(count, device=self.slots.device)
        for begin in range(0, count, self.block):
            pointers, ahead = numbers[begin : begin + self.block], numbers[begin:]
            scores = self._grid(self.first_scores[:, begin:], ahead, pointers)
            known = (ahead >= pointers.unsqueeze(1) + 2) & self.mask[:, begin:].unsqueeze(1)
            parts.append(_sums(scores.masked_fill(~known, _nothing(scores)), self.slots[:, begin:]))
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    def _behind(self, content: Tensor, scores: Tensor, end: int) -> None:
        """Adds the slots `low` to `end` to the sums of the pointers from `end` on; none is before it any more."""
        numbers = torch.arange(self.slots.shape[1], device=self.slots.device)
        grid = self._grid(scores, numbers[self.low : end], numbers[end:])
        grid = grid.masked_fill(~self.mask[:, self.low : end].unsqueeze(1), _nothing(grid))
        old, new = [s[:, end - self.low :] for s in self.sums], _sums(grid, content)
        top = torch.maximum(old[0], new[0])
        shares = (old[0] - top).exp(), (new[0] - top).exp()
        self.sums = (top, *(a * shares[0] + b * shares[1] for a, b in zip(old[1:], new[1:], strict=True)))

    def _grid(self, scores: Tensor, numbers: Tensor, pointers: Tensor) -> Tensor:
        """(B, pointers, numbers): each slot's score seen from each pointer."""
        places = self.places[self._row(numbers - pointers.unsqueeze(1))]
        return (scores.unsqueeze(1) + places).max(3).values


def _nothing(scores: Tensor) -> float:
    """The score of no slot at all: finite, so that no inf - inf arises, and beyond any real one in every dtype."""
    return torch.finfo(scores.dtype).min / 2


def _sums(scores: Tensor, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Greatest score, and the sums of e^(score - greatest) and of that times the content, over the last dimension."""
    top = scores.detach().amax(2, keepdim=True)
    weights = (scores - top).exp() * (scores > _nothing(scores))
    return top, weights.sum(2, keepdim=True), weights @ content
