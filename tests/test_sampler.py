"""The mixture sampler: what an epoch sees, in which batches, on every process alike."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from mosaic_ner.modeling.sampler import MixtureSampler, padding_share
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
        "from mosaic_ner.modeling.sampler import MixtureSampler as S;"
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


def test_a_small_group_at_a_low_rate_is_drawn_and_none_is_skipped():
    sampler = MixtureSampler([5] * 47, ["a"] * 40 + ["b"] * 7, 4, {"a": 1.0, "b": 0.1})
    seen = []
    for epoch in range(7):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler) == 41
        seen += [i for i in drawn if i >= 40]
    assert sorted(seen) == list(range(40, 47))
