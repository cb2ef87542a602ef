"""Which windows an epoch sees, and in which order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import torch
from mosaic_ner.data_builders.options import ArgumentError
from torch.utils.data import Sampler


class MixtureSampler(Sampler[int]):
    """Draws from groups (tasks, corpora) at set rates and puts windows of like length into the same batch.

    Every epoch takes `rates[group]` times the group's windows: 1 takes each once, 0.25 a new quarter each epoch (so that
    four epochs see all), 3 each three times. Deterministic by seed and epoch, hence equal on every process.

    Where `grouped`, a batch holds windows of one group and the batches of one update come from different groups, as in
    CVAE-NER's training (Oi and Miwa 2025, appendix A: 16 windows of one corpus, four corpora per update). No batch is
    short: a group's count is rounded up to whole batches, and the next epoch goes on where the last one ended.

    Args:
        lengths: tokens of each window.
        groups: name of each window's group.
        batch_size: windows per batch: over all processes, or where `grouped` of one process.
        rates: group → rate; groups not named have 1.
        seed: of the shuffle.
        spread: batches whose windows are sorted together; larger means less padding and less random batches.
        grouped: only windows of one group in a batch.
        per_update: batches per update where `grouped`: gradient accumulation steps × processes.
    Raises:
        ArgumentError: rates of unknown groups or below 0, `per_update` below 1.
    """

    def __init__(
        self,
        lengths,
        groups,
        batch_size: int,
        rates: dict[str, float] | None = None,
        seed: int = 0,
        spread: int = 32,
        grouped: bool = False,
        per_update: int = 1,
    ):
        unknown = set(rates or {}) - set(groups)
        if unknown:
            raise ArgumentError(
                f"--sampling_rates names {sorted(unknown)}, but the groups are {sorted(set(groups))}; give rates of these, or "
                "none: '{}' (with teachers there are other groups than without: docs/completed_labels.md)"
            )
        if any(rate < 0 for rate in (rates or {}).values()):
            raise ArgumentError(f"--sampling_rates must not be negative: {rates}")
        if per_update < 1:
            raise ArgumentError(f"per_update, the batches of one update, must be at least 1, but is {per_update}")
        self.lengths = lengths
        self.members: dict[str, list[int]] = {}
        for index, group in enumerate(groups):
            self.members.setdefault(group, []).append(index)
        self.rates = {g: (rates or {}).get(g, 1.0) for g in self.members}
        self.batch_size = batch_size
        self.seed = seed
        self.spread = spread
        self.grouped = grouped
        self.per_update = per_update
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def _count(self, group: str) -> int:
        """Windows that an epoch draws: rounded up, so that a small group at a low rate is drawn at all."""
        count = math.ceil(self.rates[group] * len(self.members[group]) - 1e-9)
        return -(-count // self.batch_size) * self.batch_size if self.grouped else count

    def __len__(self) -> int:
        return sum(self._count(group) for group in self.members)

    def _drawn(self, group: str) -> list[int]:
        members = self.members[group]
        begin = self.epoch * self._count(group)  # draws are counted from the beginning of training, without gaps
        end = begin + self._count(group)
        out: list[int] = []
        for turn in range(
            begin // len(members), -(-end // len(members))
        ):  # each turn is one shuffle of the whole group
            order = torch.randperm(len(members), generator=self._generator(turn, group)).tolist()
            low, high = max(begin - turn * len(members), 0), min(end - turn * len(members), len(members))
            out += [members[i] for i in order[low:high]]
        return out

    def _generator(self, turn: int, name: str) -> torch.Generator:
        # A stable number for the name: Python's hash changes from process to process.
        salt = sum((i + 1) * b for i, b in enumerate(name.encode()))
        return torch.Generator().manual_seed(((self.seed * 1_000_003 + turn) * 1_000_003 + salt) % 2**63)

    def __iter__(self) -> Iterator[int]:
        generator = self._generator(self.epoch, "\0order")
        drawn = {group: self._drawn(group) for group in self.members}
        if not self.grouped:
            for batch in self._batches([i for part in drawn.values() for i in part], generator):
                yield from batch
            return
        batches = {group: self._batches(part, generator) for group, part in drawn.items()}
        for group in self._schedule(Counter({g: len(b) for g, b in batches.items()}), generator):
            yield from batches[group].pop()

    def _batches(self, drawn: list[int], generator: torch.Generator) -> list[list[int]]:
        """Batches of windows of like length, in random order."""
        drawn = [drawn[i] for i in torch.randperm(len(drawn), generator=generator).tolist()]
        size = self.batch_size * self.spread
        batches = []
        for begin in range(0, len(drawn), size):
            pool = sorted(drawn[begin : begin + size], key=lambda i: self.lengths[i], reverse=True)
            batches += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        return _shuffled(batches, self.batch_size, generator)

    def _schedule(self, left: Counter[str], generator: torch.Generator) -> list[str]:
        """Each batch's group, the groups of an update as different as `left` (group → batches) allows.

        Updates are filled from the last one, which may be short: so whatever it leaves fits into whole updates. A group
        with a batch for every update still to fill must be in each; the others are drawn by the batches they have left.
        """
        updates: list[list[str]] = []
        for to_fill in range(-(-left.total() // self.per_update), 0, -1):
            size = left.total() - (to_fill - 1) * self.per_update
            chosen = [g for g, count in left.most_common() if count >= to_fill][:size]
            others = [g for g, count in left.items() if 0 < count < to_fill]
            if draws := min(size - len(chosen), len(others)):
                weights = torch.tensor([left[g] for g in others], dtype=torch.float64)
                chosen += [others[i] for i in torch.multinomial(weights, draws, generator=generator).tolist()]
            left.subtract(chosen)
            while len(chosen) < size:  # too few groups left: some come twice
                chosen += [group for group, _ in left.most_common(1)]
                left.subtract(chosen[-1:])
            updates.append([chosen[i] for i in torch.randperm(size, generator=generator).tolist()])
        # Those filled first have the most groups: in this order, small groups could come at one end of an epoch only.
        return [group for update in _shuffled(updates, self.per_update, generator) for group in update]


def _shuffled(parts: list[list], size: int, generator: torch.Generator) -> list[list]:
    """The parts in random order; one shorter than `size`, of which there is at most one, comes last."""
    short = [part for part in parts if len(part) < size]
    full = [part for part in parts if len(part) == size]
    return [*(full[i] for i in torch.randperm(len(full), generator=generator).tolist()), *short]


def balanced_rates(groups) -> dict[str, float]:
    """Rates under which an epoch draws equally many windows from each group, and as many in all as a group has on average.

    So the probability to draw a window is inversely proportional to the size of its group (Ruano et al. 2025, section 3.3).

    Args:
        groups: name of each window's group.
    """
    sizes = Counter(groups)
    return {group: sum(sizes.values()) / len(sizes) ** 2 / size for group, size in sizes.items()}


def padding_share(lengths: list[int], batch_size: int) -> float:
    """Share of padding among the tokens of consecutive batches, 0..1."""
    used = total = 0
    for begin in range(0, len(lengths), batch_size):
        part = lengths[begin : begin + batch_size]
        used += sum(part)
        total += max(part) * len(part)
    return 1 - used / total if total else 0.0
