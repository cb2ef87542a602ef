"""Which windows an epoch sees, and in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from .arguments import ArgumentError


class MixtureSampler(Sampler[int]):
    """Draws from groups (tasks, corpora) at set rates and puts windows of like length into the same batch.

    Every epoch takes `rates[group]` times the group's windows: 1 takes each once, 0.25 a new quarter each epoch (so that
    four epochs see all), 3 each three times. Deterministic by seed and epoch, hence equal on every process.

    Args:
        lengths: tokens of each window.
        groups: name of each window's group.
        batch_size: windows per batch, over all processes.
        rates: group → rate; groups not named have 1.
        seed: of the shuffle.
        spread: batches whose windows are sorted together; larger means less padding and less random batches.
    """

    def __init__(
        self, lengths, groups, batch_size: int, rates: dict[str, float] | None = None, seed: int = 0, spread=32
    ):
        unknown = set(rates or {}) - set(groups)
        if unknown:
            raise ArgumentError(f"--sampling_rates names {sorted(unknown)}, but the groups are {sorted(set(groups))}")
        if any(rate < 0 for rate in (rates or {}).values()):
            raise ArgumentError(f"--sampling_rates must not be negative: {rates}")
        self.lengths = lengths
        self.members: dict[str, list[int]] = {}
        for index, group in enumerate(groups):
            self.members.setdefault(group, []).append(index)
        self.rates = {g: (rates or {}).get(g, 1.0) for g in self.members}
        self.batch_size = batch_size
        self.seed = seed
        self.spread = spread
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def _count(self, group: str) -> int:
        """Windows that an epoch draws: rounded up, so that a small group at a low rate is drawn at all."""
        return math.ceil(self.rates[group] * len(self.members[group]) - 1e-9)

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
        return torch.Generator().manual_seed((self.seed * 1_000_003 + turn) * 1_000_003 + salt)

    def __iter__(self) -> Iterator[int]:
        drawn = [i for group in self.members for i in self._drawn(group)]
        generator = self._generator(self.epoch, "\0order")
        drawn = [drawn[i] for i in torch.randperm(len(drawn), generator=generator).tolist()]
        size = self.batch_size * self.spread
        batches = []
        for begin in range(0, len(drawn), size):
            pool = sorted(drawn[begin : begin + size], key=lambda i: self.lengths[i], reverse=True)
            batches += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        short = [b for b in batches if len(b) < self.batch_size]  # at most one, the last; it stays last
        full = [b for b in batches if len(b) == self.batch_size]
        order = torch.randperm(len(full), generator=generator).tolist()
        for batch in [*(full[i] for i in order), *short]:
            yield from batch


def padding_share(lengths: list[int], batch_size: int) -> float:
    """Share of padding among the tokens of consecutive batches, 0..1."""
    used = total = 0
    for begin in range(0, len(lengths), batch_size):
        part = lengths[begin : begin + batch_size]
        used += sum(part)
        total += max(part) * len(part)
    return 1 - used / total if total else 0.0
