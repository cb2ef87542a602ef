"""The slot memory against the paper's equations, with the whole matrix rewritten at every step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.modeling.slot_memory import SHORT, ShortSlotState, SlotMemory, SlotState

SIZE, LATENTS = 5, 3


def memory_of(context: int, latents: int = LATENTS, train_scale: bool = True) -> SlotMemory:
    """Random everywhere, in float64."""
    memory = SlotMemory(SIZE, latents, context, train_scale, dropout=0.0).double()
    generator = torch.Generator().manual_seed(context)
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.double))
    return memory


def textbook(memory: SlotMemory, slots, vectors, pointers) -> torch.Tensor:
    """Section 3.3 for one window: slots (Q, d), vectors (T, d), pointers T numbers → (T, d)."""
    state, out = slots, []
    for vector, pointer in zip(vectors, pointers, strict=True):
        one_hot = torch.eye(len(slots), dtype=slots.dtype)[pointer]
        state = state + torch.outer(one_hot, vector)
        positions = []
        for q in range(len(slots)):
            distance = q - pointer
            near = abs(distance) <= memory.context
            positions.append(memory.positions[distance + memory.context if near else -1])
        placed = memory.scale * state + torch.stack(positions)
        attention = memory.latents @ torch.diag(memory.score_scale) @ placed.T
        weights = attention.max(0).values.softmax(0)
        out.append(weights @ (state @ torch.diag(memory.output_scale)))
    return torch.stack(out)


def compare(memory, schedules, block, spare=0, seed=0):
    """Both, forward and backward, over a batch.

    Args:
        schedules: per window (slots, pointers), of different lengths.
        spare: padding slots that even the longest window has.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    batch, steps = len(schedules), max(len(pointers) for _, pointers in schedules)
    count = max(n for n, _ in schedules) + spare
    slots, vectors, weights = random(batch, count, SIZE), random(steps, batch, SIZE), random(steps, batch, SIZE)
    mask = torch.arange(count) < torch.tensor([[n] for n, _ in schedules])
    slots[~mask] *= 1e3
    slots.requires_grad_()
    vectors.requires_grad_()
    trained = [slots, vectors, *(p for p in memory.parameters() if p.requires_grad)]

    words = random(batch, count, 2).requires_grad_()
    trained.append(words)
    state, got, following = memory.start(slots, mask, words, block), [], []
    with torch.no_grad():
        short = memory.start(slots, mask, words)
    assert isinstance(short, ShortSlotState)
    after = []
    for step in range(steps):
        running = torch.tensor([step < len(p) for _, p in schedules])
        pointer = torch.tensor([p[min(step, len(p) - 1)] for _, p in schedules])
        after.append(pointer)
        read, word = state.step(state.wide(vectors[step]), pointer)
        assert torch.isfinite(read).all()
        got.append(read.where(running.unsqueeze(1), 0))
        with torch.no_grad():
            again = short.step(short.wide(vectors[step]), pointer)
        torch.testing.assert_close(again[0].where(running.unsqueeze(1), 0), got[-1], rtol=0, atol=1e-10)
        assert torch.equal(again[1], word)
        assert torch.equal(word, words[torch.arange(batch), pointer + 1])
        following.append(word)
    got = torch.stack(got)

    expected = torch.zeros_like(got)
    for row, (n, pointers) in enumerate(schedules):
        part = textbook(memory, slots[row, :n], vectors[: len(pointers), row], pointers)
        expected = expected + torch.nn.functional.pad(part, (0, 0, 0, steps - len(part))).unsqueeze(1) * (
            torch.arange(batch) == row
        ).view(1, -1, 1)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    following = torch.stack(following)
    one = torch.autograd.grad((got * weights).sum() + following.square().sum(), trained)
    read = torch.stack([words[torch.arange(batch), p + 1] for p in after])
    other = torch.autograd.grad((expected * weights).sum() + read.square().sum(), trained)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert (one[0][~mask] == 0).all()  # padding is never read
    return got


def schedule(moves: list[int], first: int = 0, spare: int = 0):
    """(slots, pointers) of a window whose pointer rises by `moves`."""
    pointers = [first]
    for move in moves:
        pointers.append(pointers[-1] + move)
    return pointers[-1] + 2 + spare, pointers


@pytest.mark.parametrize("block", [1, 2, 3, 32])
@pytest.mark.parametrize("context", [0, 2, 50])
def test_windows_of_different_lengths_and_speeds(block, context):
    every = [1] * 14
    slow = [0, 0, 1] * 4
    bursts = [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0]
    compare(memory_of(context), [schedule(moves) for moves in (every, slow, bursts, [], [0, 0])], block)


@pytest.mark.parametrize("block", [1, 3, 32])
def test_a_window_alone_or_beside_much_longer_ones_with_more_padding(block):
    window = schedule([0, 1, 1, 0, 1])
    memory = memory_of(2)
    compare(memory, [window], block)
    compare(memory, [window, schedule([1] * 40)], block, spare=7)


def test_a_pointer_may_stand_still_longer_than_a_block_and_never_reach_the_end():
    compare(memory_of(3), [schedule([0] * 20, spare=30), schedule([1] * 20)], 4)


def test_one_latent_vector_and_a_scale_that_is_not_trained():
    memory = memory_of(2, latents=1, train_scale=False)
    assert not memory.scale.requires_grad
    compare(memory, [schedule([1] * 6), schedule([0, 1, 0])], 2)


@st.composite
def schedules(draw):
    out = []
    for _ in range(draw(st.integers(1, 4))):
        moves = draw(st.lists(st.integers(0, 1), max_size=18))
        out.append(schedule(moves, first=draw(st.integers(0, 3)), spare=draw(st.integers(0, 5))))
    return out


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(1, 9), st.integers(0, 4), st.integers(0, 3), st.integers(0, 100))
def test_any_schedule(made, block, context, spare, seed):
    compare(memory_of(context), made, block, spare, seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_large_scores_and_small_types_stay_finite(dtype):
    memory = memory_of(2).to(dtype)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    slots = torch.full((2, 9, SIZE), 30.0, dtype=dtype)
    state = memory.start(slots, mask, slots, block=2)
    for step in range(7):
        pointer = torch.tensor([step, min(step, 2)])
        read, _ = state.step(state.wide(torch.full((2, SIZE), 9.0, dtype=dtype)), pointer)
        assert read.dtype == dtype
        assert torch.isfinite(read).all()


def test_windows_are_read_whole_only_where_short_and_without_gradients():
    memory = memory_of(2)
    for count, short in ((SHORT, True), (SHORT + 1, False)):
        slots, mask = torch.zeros(1, count, SIZE).double(), torch.ones(1, count, dtype=torch.bool)
        assert isinstance(memory.start(slots, mask, slots), SlotState)
        with torch.no_grad():
            assert isinstance(memory.start(slots, mask, slots), ShortSlotState if short else SlotState)
            assert isinstance(memory.start(slots, mask, slots, block=8), SlotState)


def test_dropout_is_drawn_once_for_all_steps():
    memory = memory_of(2)
    memory.dropout.p = 0.5
    torch.manual_seed(0)
    slots, zero, place = torch.randn(1, 6, SIZE).double(), torch.zeros(1, SIZE).double(), torch.zeros(1).long()
    mask = torch.ones(1, 6, dtype=torch.bool)
    state = memory.train().start(slots, mask, slots)
    reads = [state.step(state.wide(zero), place)[0] for _ in range(3)]
    torch.testing.assert_close(reads[0], reads[2], rtol=0, atol=1e-12)
    other = memory.start(slots, mask, slots)
    assert not torch.allclose(reads[0], other.step(other.wide(zero), place)[0])
    memory.eval()
    expected = textbook(memory, slots[0], zero, [0])
    state = memory.start(slots, mask, slots)
    torch.testing.assert_close(state.step(state.wide(zero), place)[0], expected)
