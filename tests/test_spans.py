"""The span grid: units of any tokenizer, the factorised projection against the concatenation, decoding against enumeration."""

from __future__ import annotations

import functools
import itertools
import unicodedata

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.modeling.spans import SpanEmbedding, SpanParts, read_cells, span_mask, take_units
from mosaic_ner.modeling.units import KINDS, continuations, find_units
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.training.encoders import load_encoder_parts
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

TOKENIZERS = ("wordpiece", "bytes", "unigram")
PIECES = [
    "mRNA", "p53", "IkappaB", " ", "  ", "\n", ". ", "(", ")", "-", "_", "é", "e\u0301", "\u200b", "𝒜", "🧬", "ﬁ", "你好",
    "Sjögren", "ΔF508", "Ca²⁺", "α", "\u00a0", "\ufeff", "١٢", "X", "x" * 30,
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=40), st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=30).map("".join)
)
relaxed = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


@functools.cache
def windower(name: str) -> Windower:
    """WordPiece; byte-level BPE, with several tokens for one character; Unigram with lone word-start markers, as T5's."""
    corpus = [d.text for d in load_demo_corpora()["demo_all"]["train"][:30]]
    if name == "wordpiece":
        tokenizer = load_encoder_parts("scratch", corpus, layers=1, hidden_size=32).tokenizer
    else:
        backend = Tokenizer(models.BPE() if name == "bytes" else models.Unigram())
        shared = {"special_tokens": ["<pad>", "</s>", "<unk>"], "show_progress": False}
        if name == "bytes":
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            trainer = trainers.BpeTrainer(
                vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **shared
            )
        else:
            backend.pre_tokenizer = pre_tokenizers.Metaspace()
            trainer = trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", **shared)
        backend.train_from_iterator(corpus, trainer)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
    return Windower(tokenizer, 100_000, 2)


def window_of(name: str, text: str):
    """The text as one window; None where it has no token."""
    found = windower(name)([text])[0]
    return found[0] if found else None


def surfaces(window, kind="pretoken") -> list[str]:
    units = window.units(kind)
    return [window.text[window.offsets[s][0] : window.offsets[e - 1][1]] for s, e in units]


# ---- units


@every_tokenizer
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the mRNA of p53", "the m RNA of p 53"),
        ("anti-BRCA1 (IkappaB)", "anti - BRCA 1 ( Ikappa B )"),
        ("RNAse HeLa mRNAs", "RNAse He La m RNAs"),
        ("a_b C.1", "a _ b C . 1"),
        ("Sjo and VELOSIS", "Sjo and VELOSIS"),
    ],
)
def test_units_begin_at_gaps_kinds_of_characters_and_capitals(name, text, expected):
    found = surfaces(window_of(name, text))
    if name != "bytes":  # units are made of tokens, and a token may cross what would be a boundary
        assert "".join(found) == expected.replace(" ", "")
        assert len(found) <= len(expected.split())
    else:
        assert found == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sjögren naïve", ["Sjögren", "naïve"]),
        ("ΔF508", ["Δ", "F", "508"]),
        ("TNFα Ca²⁺", ["TNFα", "Ca²", "⁺"]),
        ("cancer 🧬🧬 α", ["cancer", "🧬", "🧬", "α"]),
        ("αβ١٢", ["αβ", "١٢"]),
        ("  e\u0301", ["e\u0301"]),
    ],
)
def test_units_beyond_ascii(text, expected):
    assert surfaces(window_of("bytes", text)) == expected


@every_tokenizer
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_units_still_has_a_grid(name, kind):
    for text in ("", " ", " \n "):
        window = window_of(name, text)
        if window is not None:
            assert window.units(kind) == [(0, len(window.input_ids))]


def begins_unit(text: str, at: int) -> bool:
    """Whether a unit may begin at a character, told from this and the one before."""

    def kind(c: str) -> str:
        return "digit" if c.isdecimal() else "letter" if c.isalnum() else "space" if c.isspace() else "other"

    def letter(place: int) -> str:
        """The character with its marks, as one."""
        first = max(p for p in range(place + 1) if p not in inside)
        last = next((p for p in range(place + 1, len(text)) if p not in inside), len(text))
        return unicodedata.normalize("NFC", text[first:last])[0]

    inside, capitals = continuations(text), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if at in inside:
        return False
    before, here = kind(letter(at - 1)) if at else "space", kind(letter(at))
    if here == "space":
        return False
    capital = letter(at) in capitals and (not at or letter(at - 1) not in capitals)
    return before != here or here == "other" or (here == "letter" and capital)


@every_tokenizer
@pytest.mark.parametrize("kind", KINDS)
@relaxed
@given(texts)
@example("cancer 🧬 α\u200bβ")
@example("IkappaB,e\u0301 C_2")
def test_units_hold_every_token_with_text_once_and_split_where_they_should(name, kind, text):
    window = window_of(name, text)
    spoken = [i for i, (s, e) in enumerate(window.offsets) if s < e] if window else []
    if not spoken:
        return
    units = find_units(text, window.offsets, kind)
    assert units == window.units(kind)
    inside = [i for s, e in units for i in range(s, e)]
    assert inside == sorted(set(inside))
    assert set(spoken) <= set(inside)
    for start, end in units:
        assert start in spoken
        assert end - 1 in spoken
    starts = {s for s, _ in units}
    assert spoken[0] in starts
    for before, here in itertools.pairwise(spoken):
        apart = window.offsets[here][0] > window.offsets[before][0]
        allowed = kind == "token" and window.offsets[here][0] not in continuations(text)
        allowed |= kind == "pretoken" and begins_unit(text, window.offsets[here][0])
        assert (here in starts) == (apart and allowed)


def test_units_are_those_of_the_window_and_not_of_the_text_before_it():
    windows = Windower(windower("bytes").tokenizer, 20, 2, overlap=2)(["abcdefgh" * 30])[0]
    assert len(windows) > 3
    for window in windows:
        assert window.units("pretoken") == [(0, len(window.input_ids))]


def test_a_window_finds_its_units_once():
    window = window_of("bytes", "the mRNA of p53")
    assert window.units("pretoken") is window.units("pretoken")
    assert len(window.units("token")) > len(window.units("pretoken"))


# ---- vectors of units


def test_vectors_are_taken_at_the_positions_and_padding_takes_the_first():
    hidden = torch.randn(3, 7, 5)
    positions = torch.tensor([[0, 6, 3, -1], [2, -1, -1, -1], [5, 4, 4, 1]])
    taken = take_units(hidden, positions)
    for row, unit in itertools.product(range(3), range(4)):
        assert torch.equal(taken[row, unit], hidden[row, max(positions[row, unit], 0)])
    assert torch.equal(take_units(hidden.transpose(0, 1).contiguous().transpose(0, 1), positions), taken)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_mask_holds_the_spans_inside_their_windows(counts, widest):
    units = torch.arange(max(counts)) < torch.tensor(counts).unsqueeze(1)
    mask = span_mask(units, widest)
    assert mask.dtype == torch.bool
    expected = [[[i + w < n for w in range(widest)] for i in range(max(counts))] for n in counts]
    assert mask.tolist() == expected


# ---- the factorised projection


def concatenated(embedding: SpanEmbedding) -> nn.Linear:
    """The textbook's one layer over [x_start ; x_end ; Φ(width)]."""
    parts = [embedding.start.weight, embedding.end.weight, embedding.width.weight]
    linear = nn.Linear(sum(p.shape[1] for p in parts), len(parts[0]), dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.cat(parts, 1))
        linear.bias.copy_(embedding.start.bias)
    return linear


def textbook(embedding, linear, first, last, after=None):
    """(B, U, W, d) by a loop over all spans; zero where a span leaves the window."""
    batch, units, _ = first.shape
    widest = embedding.widths.num_embeddings
    rows = []
    for b, i, w in itertools.product(range(batch), range(units), range(widest)):
        if i + w < units:
            out = linear(torch.cat([first[b, i], last[b, i + w], embedding.widths.weight[w]]))
            rows.append(out if after is None else after(out))
        else:
            rows.append(torch.zeros((after or linear).out_features, dtype=first.dtype))
    return torch.stack(rows).view(batch, units, widest, -1)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(("units", "widest"), [(6, 3), (2, 5), (1, 1)])
def test_the_factorised_projection_is_that_of_the_concatenation(units, widest, through):
    torch.manual_seed(units)
    embedding = SpanEmbedding(5, 4, widest, 3).double()
    after = nn.Linear(4, 6).double() if through else None
    linear = concatenated(embedding)
    inputs = [torch.randn(2, units, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    mask = span_mask(torch.ones(2, units, dtype=torch.bool), widest).unsqueeze(3)
    parts = embedding(*inputs)
    grid = (parts.through(after) if through else parts).grid()
    assert torch.isfinite(grid).all()
    expected = textbook(embedding, linear, *inputs, after)
    torch.testing.assert_close(grid * mask, expected, rtol=0, atol=1e-10)

    weights = torch.randn_like(expected)
    shared = [*inputs, embedding.widths.weight, *(after.parameters() if through else [])]
    own = [embedding.start.weight, embedding.end.weight, embedding.width.weight, embedding.start.bias]
    fast = torch.autograd.grad((grid * mask * weights).sum(), [*shared, *own])
    slow = torch.autograd.grad((expected * weights).sum(), [*shared, linear.weight, linear.bias])
    slow = [*slow[:-2], *slow[-2].split([5, 5, 3], 1), slow[-1]]
    for one, other in zip(fast, slow, strict=True):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_the_sums_leave_the_parts_as_they_were():
    parts = SpanParts(torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.randn(3, 3))
    before = [p.clone() for p in parts]
    once = parts.grid()
    assert torch.equal(once, parts.grid())
    assert all(map(torch.equal, parts, before))


# ---- reading the grid


@st.composite
def grids(draw):
    units, widest, rows = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    cell = st.tuples(st.integers(-1, 2), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
    cells = draw(st.lists(cell, min_size=rows * units * widest, max_size=rows * units * widest))
    labels = torch.tensor([c[0] for c in cells]).view(rows, units, widest)
    labels = labels.masked_fill(~span_mask(torch.ones(rows, units, dtype=torch.bool), widest), -1)
    return labels, torch.tensor([c[1] for c in cells]).view(rows, units, widest)


def listed(labels, scores):
    return [
        (i, i + w + 1, label, scores[i][w]) for i, row in enumerate(labels) for w, label in enumerate(row) if label >= 0
    ]


def greedy(spans):
    """Again and again the best of what overlaps nothing taken."""
    taken, left = [], list(spans)
    while left:
        best = max(left, key=lambda s: (s[3], s[1] - s[0], -s[0]))
        taken.append(best)
        left = [s for s in left if s[1] <= best[0] or best[1] <= s[0]]
    return sorted(taken)


@given(grids())
@settings(max_examples=200, deadline=None)
def test_reading_is_greedy_or_takes_all(grid):
    labels, scores = grid
    every = [listed(*row) for row in zip(labels.tolist(), scores.tolist(), strict=True)]
    assert read_cells(labels, scores, flat=False) == every
    assert read_cells(labels, scores, flat=True) == [greedy(row) for row in every]


def test_a_better_span_beats_a_wider_one_and_equal_ones_go_by_width_then_place():
    labels = torch.full((1, 4, 3), -1)
    scores = torch.zeros(1, 4, 3)
    for first, width, label, score in ((0, 2, 0, 0.5), (1, 0, 1, 0.75), (2, 1, 2, 0.5), (3, 0, 3, 0.5)):
        labels[0, first, width], scores[0, first, width] = label, score
    assert read_cells(labels, scores, True) == [[(1, 2, 1, 0.75), (2, 4, 2, 0.5)]]
    assert len(read_cells(labels, scores, False)[0]) == 4
