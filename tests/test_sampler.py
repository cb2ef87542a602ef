"""The mixture sampler: what an epoch sees, in which batches, on every process alike."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.training.sampler import MixtureSampler, balanced_rates, padding_share
from torch.utils.data import DataLoader

GROUPS = ["a"] * 40 + ["b"] * 16 + ["c"] * 7
LENGTHS = [5 + (7 * i) % 23 for i in range(len(GROUPS))]


def epoch(number: int = 0, **options) -> list[int]:
    sampler = MixtureSampler(LENGTHS, GROUPS, **({"batch_size": 4} | options))
    sampler.set_epoch(number)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def test_without_rates_an_epoch_is_every_window_once():
    for number in range(3):
        assert sorted(epoch(number)) == list(range(len(GROUPS)))


@pytest.mark.parametrize("number", [0, 1, 5])
def test_counts_per_group_follow_the_rates(number):
    drawn = epoch(number, rates={"a": 0.25, "b": 3, "c": 0})
    assert Counter(GROUPS[i] for i in drawn) == {"a": 10, "b": 48}
    assert Counter(i for i in drawn if GROUPS[i] == "a").most_common(1)[0][1] == 1
    assert {n for _, n in Counter(i for i in drawn if GROUPS[i] == "b").items()} == {3}


def test_at_a_quarter_four_epochs_see_every_window_once():
    rates = {"a": 0.25, "b": 0.25}
    for begin in (0, 4):
        drawn = [i for n in range(begin, begin + 4) for i in epoch(n, rates=rates) if GROUPS[i] != "c"]
        assert sorted(drawn) == list(range(56))
    parts = [{i for i in epoch(n, rates=rates) if GROUPS[i] == "a"} for n in range(8)]
    assert parts[0] != parts[4]  # the next four epochs are cut differently


def test_the_order_is_set_by_seed_and_epoch_alone():
    assert epoch(2, seed=1) == epoch(2, seed=1)
    orders = [epoch(n, seed=s) for s in (0, 1, 2) for n in (0, 1, 2)]
    assert len({tuple(o) for o in orders}) == 9
    sampler = MixtureSampler(LENGTHS, GROUPS, 4, {"a": 0.5}, seed=3)
    first = list(sampler)
    assert list(sampler) == first  # drawing changes nothing
    torch.manual_seed(99)
    assert list(sampler) == first  # nor does the global generator
    state = torch.random.get_rng_state()
    list(sampler)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_order_does_not_depend_on_hash_randomisation():
    code = (
        "from mosaic_ner.training.sampler import MixtureSampler as S;"
        "print(list(S(list(range(60)), ['gene'] * 30 + ['disease'] * 30, 4, {'gene': 0.5}, seed=7)))"
    )
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    expected = list(MixtureSampler(list(range(60)), ["gene"] * 30 + ["disease"] * 30, 4, {"gene": 0.5}, seed=7))
    assert output.stdout.strip() == str(expected)


def test_two_processes_share_the_windows_of_one():
    """As accelerate deals out batches: together, step by step, the processes see what one sees."""
    rates = {"a": 0.5}
    parts = []
    for process in (0, 1):
        sampler = MixtureSampler(LENGTHS, GROUPS, 8, rates)
        loader = DataLoader(list(range(len(GROUPS))), batch_size=4, sampler=sampler, collate_fn=list)
        parts.append(list(prepare_data_loader(loader, num_processes=2, process_index=process, put_on_device=False)))
    one = epoch(0, batch_size=8, rates=rates)
    steps = [[*first, *second] for first, second in zip(*parts, strict=True)]
    assert steps[:-1] == [one[i : i + 8] for i in range(0, len(one) - 8, 8)][: len(steps) - 1]
    assert set().union(*steps) == set(one)


def test_batches_are_of_like_length_and_not_in_order_of_length():
    generator = torch.Generator().manual_seed(0)
    # Windows of packed sentences: most are nearly full, a tail is short.
    full = torch.randint(180, 257, (600,), generator=generator).tolist()
    short = torch.randint(5, 180, (400,), generator=generator).tolist()
    lengths = full + short
    groups = ["a", "b"] * 500
    drawn = list(MixtureSampler(lengths, groups, 16))
    assert padding_share([lengths[i] for i in drawn], 16) < 0.1
    shuffled = torch.randperm(1000, generator=generator).tolist()
    assert padding_share([lengths[i] for i in shuffled], 16) > 0.2
    longest = [max(lengths[i] for i in drawn[n : n + 16]) for n in range(0, 1000, 16)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)
    assert len({groups[i] for i in drawn[:16]}) == 2  # a batch mixes the corpora


def test_the_short_batch_comes_last():
    drawn = epoch(0, batch_size=8)  # 63 windows
    assert len(drawn) % 8
    batches = [drawn[i : i + 8] for i in range(0, len(drawn), 8)]
    spans = [max(LENGTHS[i] for i in b) - min(LENGTHS[i] for i in b) for b in batches]
    assert max(spans) < 8  # had a short batch stood before others, all behind it would straddle two


def test_padding_share_by_hand():
    assert padding_share([4, 2, 3, 3], 2) == pytest.approx(2 / 14)
    assert padding_share([], 2) == 0


def test_errors():
    with pytest.raises(ValueError, match=r"\['d'\], but the groups are \['a', 'b', 'c'\]"):
        MixtureSampler(LENGTHS, GROUPS, 4, {"d": 1})
    with pytest.raises(ValueError, match="must not be negative"):
        MixtureSampler(LENGTHS, GROUPS, 4, {"a": -1})
    with pytest.raises(ValueError, match=r"per_update.* must be at least 1, but is 0"):
        MixtureSampler(LENGTHS, GROUPS, 4, grouped=True, per_update=0)


def test_a_small_group_at_a_low_rate_is_drawn_and_none_is_skipped():
    sampler = MixtureSampler([5] * 47, ["a"] * 40 + ["b"] * 7, 4, {"a": 1.0, "b": 0.1})
    seen = []
    for epoch in range(7):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler) == 41
        seen += [i for i in drawn if i >= 40]
    assert sorted(seen) == list(range(40, 47))


def cut(indices: list, size: int) -> list[list]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]


def batch_groups(drawn: list[int], groups: list[str], batch_size: int) -> list[str]:
    """Each batch's group; fails if a batch is short or mixed."""
    batches = cut(drawn, batch_size)
    assert all(len(batch) == batch_size and len({groups[i] for i in batch}) == 1 for batch in batches)
    return [groups[batch[0]] for batch in batches]


def grouped(
    batches: dict[str, int], per_update: int, batch_size: int = 2, number: int = 0, seed: int = 0
) -> list[list]:
    """The groups of each update, of groups with so many batches."""
    groups = [group for group, count in batches.items() for _ in range(count * batch_size)]
    sampler = MixtureSampler([1] * len(groups), groups, batch_size, seed=seed, grouped=True, per_update=per_update)
    sampler.set_epoch(number)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    assert sorted(drawn) == list(range(len(groups)))  # whole batches, rate 1: each window once
    return cut(batch_groups(drawn, groups, batch_size), per_update)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    rates=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), min_size=6, max_size=6),
    batch_size=st.integers(1, 5),
    per_update=st.integers(1, 4),
)
def test_grouped_batches_are_pure_and_nothing_is_lost(sizes, rates, batch_size, per_update):
    names = "abcdef"[: len(sizes)]
    groups = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    rates = dict(zip(names, rates, strict=False))
    lengths = [(7 * i) % 11 for i in range(len(groups))]
    sampler = MixtureSampler(lengths, groups, batch_size, rates, grouped=True, per_update=per_update)
    seen: Counter[int] = Counter()
    for number in range(1, 4):
        sampler.set_epoch(number - 1)
        drawn = list(sampler)
        assert len(drawn) == len(sampler)
        batches = Counter(batch_groups(drawn, groups, batch_size))
        seen.update(drawn)
        for name, size in zip(names, sizes, strict=True):
            windows = batches[name] * batch_size
            assert rates[name] * size <= windows < rates[name] * size + 1 + batch_size
            assert (windows == 0) == (rates[name] == 0)
            # Epochs follow one another without gaps: no window is a whole turn ahead of another.
            times = [seen[i] for i, group in enumerate(groups) if group == name]
            assert sum(times) == number * windows
            assert max(times) - min(times) <= 1


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    per_update=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_the_groups_of_an_update_differ_wherever_they_can(counts, per_update, seed):
    updates = grouped(dict(zip("abcdefgh", counts, strict=False)), per_update, seed=seed)
    different = [len(set(update)) for update in updates]
    sizes = [len(update) for update in updates]
    assert sizes[:-1] == [per_update] * (len(updates) - 1)
    # Maximum flow from the groups through at most one batch of each to the updates, by its minimum cut.
    cuts = [
        sum(part[:j]) + sum(min(count, len(updates) - j) for count in counts)
        for part in (sizes, sizes[::-1])
        for j in range(len(updates) + 1)
    ]
    assert sum(different) == min(cuts)
    if max(counts) <= len(updates) and (sizes[-1] == per_update or counts.count(len(updates)) <= sizes[-1]):
        assert different == sizes


def test_where_groups_are_too_few_the_largest_come_again():
    assert [Counter(update) for update in grouped({"a": 9, "b": 3}, 4)] == [Counter(a=3, b=1)] * 3
    assert grouped({"a": 3}, 2) == [["a", "a"], ["a"]]
    assert grouped({}, 2) == []


def test_a_small_group_does_not_always_come_at_the_same_end_of_an_epoch():
    for large in (20, 21):
        epochs = [grouped({"a": large, "b": 1}, 3, number=n) for n in range(12)]
        assert len({n for updates in epochs for n, update in enumerate(updates) if "b" in update}) > 2


def test_grouped_order_is_set_by_seed_and_epoch_alone():
    counts = {"a": 9, "b": 7, "c": 5, "d": 2}
    orders = [grouped(counts, 3, seed=s, number=n) for s in (0, 1) for n in (0, 1)]
    assert len({str(order) for order in orders}) == 4
    torch.manual_seed(99)
    assert grouped(counts, 3, seed=1, number=1) == orders[-1]
    sampler = MixtureSampler(LENGTHS, GROUPS, 4, grouped=True, per_update=2)
    state = torch.random.get_rng_state()
    first = list(sampler)
    assert list(sampler) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_a_group_smaller_than_a_batch_fills_one_from_its_next_turn():
    groups = ["a"] * 32 + ["b"] * 3
    drawn = list(MixtureSampler([5] * 35, groups, 16, grouped=True, per_update=3))
    assert Counter(batch_groups(drawn, groups, 16)) == {"a": 2, "b": 1}
    assert sorted(Counter(i for i in drawn if i >= 32).values()) == [5, 5, 6]


def test_grouped_batches_are_of_like_length():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 257, (960,), generator=generator).tolist()
    groups = ["a", "b", "c"] * 320
    drawn = list(MixtureSampler(lengths, groups, 16, grouped=True, per_update=3))
    assert padding_share([lengths[i] for i in drawn], 16) < 0.1
    longest = [max(lengths[i] for i in batch) for batch in cut(drawn, 16)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize("more", [0, 1])
def test_two_processes_take_batches_of_different_groups_in_each_step(more):
    batches = {"a": 4, "b": 4, "c": 3, "d": 3, "e": 2 + more}
    groups = [group for group, count in batches.items() for _ in range(4 * count)]
    lengths = [5 + (7 * i) % 23 for i in range(len(groups))]
    parts = []
    for process in (0, 1):
        sampler = MixtureSampler(lengths, groups, 4, grouped=True, per_update=4)
        loader = DataLoader(list(range(len(groups))), batch_size=4, sampler=sampler, collate_fn=list)
        loader = prepare_data_loader(loader, num_processes=2, process_index=process, put_on_device=False)
        parts.append([batch_groups(batch, groups, 4)[0] for batch in loader])
    steps = list(zip(*parts, strict=True))
    assert len(steps) == 8 + more  # accelerate fills an odd step with the epoch's first batch, which is pure too
    assert all(one != other for one, other in steps[:8])
    updates = [[*one, *other] for one, other in zip(steps[:8:2], steps[1:8:2], strict=True)]
    assert all(len(set(update)) == 4 for update in updates)
    seen = [group for step in steps for group in step]
    assert Counter(seen[: len(seen) - more]) == batches
    assert seen[len(seen) - more :] == seen[:more]


# ---- every group equally often


def balanced(sizes: list[int], epochs: int, **options) -> tuple[list[str], list[list[int]]]:
    """The group of each window, of groups with so many, and what the epochs draw under balanced rates."""
    groups = [name for name, size in zip("abcdef", sizes, strict=False) for _ in range(size)]
    lengths = [5 + (7 * i) % 23 for i in range(len(groups))]
    sampler = MixtureSampler(lengths, groups, 4, balanced_rates(groups), **options)
    drawn = []
    for number in range(epochs):
        sampler.set_epoch(number)
        drawn.append(list(sampler))
        assert len(drawn[-1]) == len(sampler)
    return groups, drawn


def test_balanced_rates_by_hand():
    # Nine windows of three groups, three of a group on average: one from each.
    assert balanced_rates(["a", "b", "a", "a", "a", "a", "a", "b", "c"]) == pytest.approx(
        {"a": 1 / 6, "b": 1 / 2, "c": 1}
    )
    assert balanced_rates(["a"] * 5) == {"a": 1}
    assert balanced_rates([]) == {}


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_balanced_every_group_is_drawn_equally_often_and_as_many_as_one_has_on_average(sizes):
    groups, epochs = balanced(sizes, 3)
    share = Fraction(sum(sizes), len(sizes) ** 2)
    for drawn in epochs:
        counts = Counter(groups[i] for i in drawn)
        assert set(counts.values()) == {math.ceil(share)}
        assert counts.keys() == set(groups)
        assert 0 <= len(drawn) - Fraction(sum(sizes), len(sizes)) < len(sizes)
    seen = Counter(i for drawn in epochs for i in drawn)
    for name in set(groups):  # within a group every window as often as any other
        times = [seen[i] for i, group in enumerate(groups) if group == name]
        assert max(times) - min(times) <= 1


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    per_update=st.integers(1, 4),
)
def test_balanced_grouped_batches_are_as_many_of_each_group(sizes, per_update):
    groups, epochs = balanced(sizes, 3, grouped=True, per_update=per_update)
    share = math.ceil(Fraction(sum(sizes), len(sizes) ** 2))
    for drawn in epochs:
        counts = Counter(batch_groups(drawn, groups, 4))
        assert counts == dict.fromkeys(groups, -(-share // 4))
        for update in cut(batch_groups(drawn, groups, 4), per_update):
            assert len(set(update)) == min(len(update), len(sizes))  # as different as they can be


def test_balanced_small_groups_come_several_times_an_epoch_and_large_ones_over_several_epochs():
    groups, epochs = balanced([60, 3, 3], 6)  # eight of each an epoch
    for begin in (0, 3):
        seen = Counter(i for drawn in epochs[begin : begin + 3] for i in drawn)
        assert [seen[i] for i, group in enumerate(groups) if group != "a"] == [8] * 6  # 24 draws are eight whole turns
        assert max(seen[i] for i, group in enumerate(groups) if group == "a") == 1
    for drawn in epochs:
        assert set(Counter(i for i in drawn if groups[i] == "b").values()) <= {2, 3, 4}


def test_seeds_of_any_size():
    orders = [list(MixtureSampler(LENGTHS, GROUPS, 4, seed=seed)) for seed in (1, 20240101, 2**31)]
    assert all(sorted(order) == list(range(len(LENGTHS))) for order in orders)
    assert orders[0] != orders[1]
