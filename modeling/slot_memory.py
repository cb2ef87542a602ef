"""The slot-based recurrent unit (Ruano et al. 2025, section 3.3), a step of which costs what changes. Ships to the Hub.

B windows, Q slots (the words and a slot before and after them), d features, J latent vectors, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHORT = 96
"""Slots up to which reading all of them costs less than keeping sums."""


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

    def start(self, slots: Tensor, mask: Tensor, words: Tensor, block: int | None = None) -> SlotState | ShortSlotState:
        """The memory before the first step.

        Args:
            slots: C⁽⁰⁾, (B, Q, d) float. mask: (B, Q) bool, True on a window's own slots, which come first.
            words: (B, Q, n) float, of which each step is given the one after the pointer.
            block: steps between two summations (see SlotState), or 0 for none; it changes nothing but the speed. Default:
                16, or none for short windows where no gradient is wanted.
        """
        if block is None:
            block = 0 if slots.shape[1] <= SHORT and not torch.is_grad_enabled() else 16
        return SlotState(self, slots, mask, words, block) if block else ShortSlotState(self, slots, mask, words)

    def tables(self) -> tuple[Tensor, Tensor]:
        """What a vector adds to the scores of its slot, (d, J), and L D₂ Pᵀ by position, (2 h + 2, J)."""
        latents = self.dropout(self.latents) * self.score_scale
        return (self.scale * latents).t(), self.dropout(self.positions) @ latents.t()

    def by_distance(self, places: Tensor, reach: int) -> Tensor:
        """(2 reach + 1, J): the rows of L D₂ Pᵀ for the distances -reach to reach; beyond the context there is one for all."""
        distance = torch.arange(-reach, reach + 1, device=places.device)
        return places[(distance + self.context).where(distance.abs() <= self.context, 2 * self.context + 1)]


def _wide(vectors: Tensor, weight: float, writer: Tensor) -> Tensor:
    return torch.cat([nn.functional.pad(vectors, (0, 1), value=weight), vectors @ writer], -1)


class SlotState:
    """The memory of a batch at some step. What it keeps never changes in place, so gradients flow through all steps.

    Only one row of C changes in a step, so L D₂ α Cᵀ is kept and one column of it updated; L D₂ Pᵀ depends on distances alone
    and is tabulated. Reading is a softmax over all slots, whose scores shift whenever the pointer moves, but it is taken
    apart. In a block of n steps each window's pointer moves over n slots at most, and only those are written. For all
    others, the sums of e^score and of e^score C are known for each of the n pointers when the block begins, from one pass
    over the memory; a step then reads n slots, whatever the length of the window.
    """

    def __init__(self, memory: SlotMemory, slots: Tensor, mask: Tensor, words: Tensor, block: int):
        self.memory, self.block, self.steps = memory, block, 0
        self.batch, self.count, self.size = slots.shape
        self.writer, places = memory.tables()
        # A block that begins near the end reaches beyond the last slot.
        self.slots = nn.functional.pad(self.wide(slots, 1.0), (0, 0, 0, block + 1))
        self.words = nn.functional.pad(words, (0, 0, 0, block + 1))
        self.mask = nn.functional.pad(mask, (0, block + 1))
        device = slots.device
        self.reach = self.count + block
        self.places = memory.by_distance(places, self.reach)
        self.rows = torch.arange(self.batch, device=device)
        self.moves = torch.arange(block, device=device)
        distance = self.moves - self.moves.unsqueeze(1)
        self.near_places = self.places[distance + self.reach]  # (block, block, J)
        self.within_reach = distance < 1  # the pointer's slot, and those before
        self.low = self.near = None

    def wide(self, vectors: Tensor, weight: float = 0.0) -> Tensor:
        """Vectors with what they add to the sum of weights and to the scores of their slot.

        Args:
            vectors: (…, d) float.
            weight: 1 for slots; 0 for what is written to them.
        Returns:
            (…, d + 1 + J).
        """
        return _wide(vectors, weight, self.writer)

    def step(self, vector: Tensor, pointer: Tensor) -> tuple[Tensor, Tensor]:
        """Writes and reads.

        Args:
            vector: Ω, (B, d + 1 + J) float, made by `wide` or a weighted sum of such.
            pointer: (B,) int64, p: the slot that Ω is added to, and from where distances count. It never falls, and rises by
                1 at most.
        Returns:
            h, (B, d) float, and the word after the pointer, (B, n).
        """
        if self.steps % self.block == 0:
            self._begin_block(pointer)
        self.steps += 1
        ahead = pointer - self.low
        place = ahead.view(-1, 1, 1).expand(-1, 1, vector.shape[1])
        self.near = self.near.scatter_add(1, place, vector.unsqueeze(1))
        content, scores = self.near[..., : self.size + 1], self.near[..., self.size + 1 :]
        weights = (scores + self.near_places[ahead]).amax(2) + self.barred[self.rows, ahead]
        greatest = self.greatest[self.rows, ahead]
        top = torch.maximum(greatest, weights.detach().amax(1, keepdim=True))
        read = self.sums[self.rows, ahead] * (greatest - top).exp()
        read = torch.baddbmm(read.unsqueeze(1), (weights - top).exp().unsqueeze(1), content).squeeze(1)
        following = self.near_words[self.rows, ahead + 1]
        return read[:, :-1] / read[:, -1:] * self.memory.output_scale, following

    def _begin_block(self, pointer: Tensor) -> None:
        """Puts back what the last block has written, and sums up what this one will not write."""
        if self.near is not None:
            self.slots = self.slots.scatter(1, self._places(self.slots, self.block), self.near)
        self.low = pointer
        self.near = self.slots.gather(1, self._places(self.slots, self.block))
        self.near_words = self.words.gather(1, self._places(self.words, self.block + 1))
        # Finite, so that no inf - inf arises, and beyond any real score.
        nothing = torch.finfo(self.slots.dtype).min / 2
        there = self.within_reach & self.mask.gather(1, pointer.unsqueeze(1) + self.moves).unsqueeze(1)
        self.barred = torch.zeros_like(there, dtype=self.slots.dtype).masked_fill_(~there, nothing)
        slots = self.slots[:, : self.count]
        scores = _MaxPlus.apply(slots[..., self.size + 1 :], self.places, self.reach - pointer, self.block)
        # The slots that this block may write, up to the pointer's; the rest of the window is known.
        number = torch.arange(self.count, device=pointer.device)
        behind = number < pointer.unsqueeze(1)
        ahead = number > (pointer.unsqueeze(1) + self.moves).unsqueeze(2)
        known = (behind.unsqueeze(1) | ahead) & self.mask[:, : self.count].unsqueeze(1)
        scores = scores.masked_fill(~known, nothing)
        self.greatest = scores.detach().amax(2, keepdim=True)
        self.sums = ((scores - self.greatest).exp() * known) @ slots[..., : self.size + 1]

    def _places(self, values: Tensor, count: int) -> Tensor:
        """(B, count, n) int64: so many slots from the one where the block began, for values (B, Q, n)."""
        numbers = torch.arange(count, device=values.device)
        return (self.low.unsqueeze(1) + numbers).unsqueeze(2).expand(-1, -1, values.shape[2])


class ShortSlotState:
    """As SlotState, without gradients, for windows so short that each step may read all slots; it changes in place."""

    def __init__(self, memory: SlotMemory, slots: Tensor, mask: Tensor, words: Tensor):
        self.memory, self.words = memory, words
        _, count, self.size = slots.shape
        self.writer, places = memory.tables()
        self.slots = self.wide(slots, 1.0)
        numbers = torch.arange(count, device=slots.device)
        self.rows = torch.arange(len(slots), device=slots.device)
        self.places = memory.by_distance(places, count)[numbers - numbers.unsqueeze(1) + count]  # (pointer, slot, J)
        nothing = torch.finfo(slots.dtype).min / 2  # finite, as in SlotState
        self.barred = torch.zeros_like(mask, dtype=slots.dtype).masked_fill_(~mask, nothing)

    def wide(self, vectors: Tensor, weight: float = 0.0) -> Tensor:
        """As SlotState's."""
        return _wide(vectors, weight, self.writer)

    def step(self, vector: Tensor, pointer: Tensor) -> tuple[Tensor, Tensor]:
        """As SlotState's."""
        self.slots[self.rows, pointer] += vector
        content, scores = self.slots[..., : self.size], self.slots[..., self.size + 1 :]
        weights = (scores + self.places[pointer]).amax(2).add_(self.barred).softmax(1)
        read = torch.bmm(weights.unsqueeze(1), content).squeeze(1)
        return read * self.memory.output_scale, self.words[self.rows, pointer + 1]


class _MaxPlus(torch.autograd.Function):
    """max_j (scores[b, q, j] + places[first[b] - i + q, j]) for i below `count`: (B, count, Q).

    Its gradient is one entry for each of these, not J, and the sums (B, count, Q, J) are made piece by piece: on the CPU
    within the caches. On CUDA the gradient is summed in no fixed order, so its last bits may differ from run to run.
    """

    @staticmethod
    def forward(ctx, scores: Tensor, places: Tensor, first: Tensor, count: int) -> Tensor:
        batch, slots, latents = scores.shape
        training = any(ctx.needs_input_grad)
        if scores.device.type == "cpu":
            # Latents come first: there, a CPU takes the greatest of many rows at once. Row k of the view holds the places of
            # all slots, seen from the pointer count - 1 - k.
            views = places.t().contiguous().unfold(1, slots, 1)
            columns = scores.transpose(1, 2).contiguous().unsqueeze(2)  # (B, J, 1, Q)
            part = max(1, 2**17 // (slots * latents))
            values = scores.new_empty(batch, count, slots)
            best = torch.empty(batch, count, slots, dtype=torch.long) if training else None
            for row, start in enumerate((first - count + 1).tolist()):
                for begin in range(0, count, part):
                    end = min(begin + part, count)
                    sums = columns[row] + views[:, start + begin : start + end]
                    if training:
                        torch.max(sums, 0, out=(values[row, begin:end], best[row, begin:end]))
                    else:
                        torch.amax(sums, 0, out=values[row, begin:end])
            values = values.flip(1)
            best = best.flip(1) if training else None
        else:
            part = max(1, 2**25 // (count * slots * latents))
            pieces = zip(scores.split(part), _rows(first, count, slots).split(part), strict=True)
            values, best = map(torch.cat, zip(*(places[r].add_(s.unsqueeze(1)).max(3) for s, r in pieces), strict=True))
        if training:
            ctx.save_for_backward(first, best)
            ctx.shape = places.shape
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor):
        first, best = ctx.saved_tensors
        batch, count, slots = best.shape
        height, latents = ctx.shape
        for_scores = gradient.new_zeros(batch, slots, latents)
        for_scores.scatter_add_(2, best.transpose(1, 2), gradient.transpose(1, 2))
        for_places = gradient.new_zeros(height * latents)
        cells = _rows(first, count, slots) * latents + best
        for_places.index_add_(0, cells.flatten(), gradient.flatten())
        return for_scores, for_places.view(height, latents), None, None


def _rows(first: Tensor, count: int, slots: int) -> Tensor:
    """(B, count, slots) int64: the rows of the places."""
    steps, numbers = torch.arange(count, device=first.device), torch.arange(slots, device=first.device)
    return first.view(-1, 1, 1) - steps.view(-1, 1) + numbers
