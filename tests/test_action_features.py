"""Gold actions: each mention is written or counted, unknown is never negative, and predictions under them are the gold."""

from __future__ import annotations

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.transitions import EOA, SH, decode
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Windower, align
from mosaic_ner.training.sruner import Features
from test_span_features import annotated, cause_of, char_units, document, relaxed
from test_spans import windower as tokenizer_of


@pytest.fixture(scope="module")
def model(build_bundle):
    """For its config and its features; tests that change the config copy it."""
    return build_bundle(family="sruner").model


def builder(model, name="wordpiece", max_tokens=24, **options) -> Features:
    """Training features with a tokenizer of test_spans.py, and config options changed."""
    model = copy.copy(model)
    model.config = copy.deepcopy(model.config)
    for option, value in options.items():
        setattr(model.config, option, value)
    windower = Windower(tokenizer_of(name).tokenizer, max_tokens, 3, overlap=min(4, max_tokens // 5))
    return Features(model, windower, DEMO_LABEL_SPACE)


def cross(a: Mention, b: Mention) -> bool:
    return a.type == b.type and (a.start < b.start < a.end < b.end or b.start < a.start < b.end < a.end)


def written(feature, units, types) -> set[Mention]:
    """The mentions of the gold actions, in characters."""
    steps = [[] for _ in range(max(feature["gold_steps"]) + 1)]
    for step, action in zip(feature["gold_steps"], feature["gold_actions"], strict=True):
        steps[step].append((action, 1.0))
    assert [a for step in steps for a, _ in step if a in (SH, EOA)] == [SH] * len(units) + [EOA]
    return {Mention(units[s][0], units[e - 1][1], types[kind][1]) for s, e, kind, _ in decode(steps)}


@pytest.mark.parametrize("name", ["wordpiece", "bytes", "unigram"])
@settings(relaxed, max_examples=60)
@given(annotated(), st.sampled_from(KINDS), st.integers(16, 48))
def test_each_mention_is_written_or_counted_and_nothing_unknown_is_negative(model, name, made, kind, max_tokens):
    features = builder(model, name, max_tokens, units=kind)
    types = features.model.config.types
    windows = features.windower([made.text])[0]
    dataset = features.build([made])
    limits = SimpleNamespace(units=kind, max_span_width=10**6)
    lost = {m: cause_of(m, windows, limits) for m in {Mention(m.start, m.end, m.type) for m in made.mentions}}
    counted, owned = Counter(cause for cause in lost.values() if cause), set()
    for window, feature in zip(windows, dataset, strict=True):
        units = char_units(window, kind)
        gold = written(feature, units, types)
        assert gold <= {m for m, cause in lost.items() if cause is None}
        assert not any(cross(a, b) for a in gold for b in gold)
        own = {m for m, cause in lost.items() if cause is None and window.owns(m)}
        for mention in own - gold:  # only what crosses one that is written here
            assert any(cross(mention, other) for other in gold)
        owned |= own & gold
        # Every mention of which the window shows something is among the gold or leaves its type open, there and only there.
        open_to = set()
        for m in lost:
            touched = [n for n, (s, e) in enumerate(units) if s < m.end and m.start < e]
            if m not in gold and touched:
                number = types.index((made.corpus, m.type))
                open_to |= {(p, 2 * number + act) for p in [*touched, touched[-1] + 1] for act in (2, 3)}
        assert set(zip(feature["unclear_places"], feature["unclear_actions"], strict=True)) == open_to
    row = features.coverage.to_dict()[made.corpus]
    crossing = row["lost"].pop("crossing", 0)
    assert row["lost"] == counted
    assert row["mentions"] == len(lost)
    # A mention may be written by its own window alone, though a window that sees another one of an earlier owner drops it.
    assert len(owned) <= row["represented"] == len(lost) - counted.total() - crossing
    assert crossing <= sum(any(cross(a, b) for b in lost) for a in lost)
    again = builder(model, name, max_tokens, units=kind)
    assert again.report([[made]]) == features.coverage.to_dict() | {
        made.corpus: row | {"lost": row["lost"] | ({"crossing": crossing} if crossing else {})}
    }


# ---- by hand


def places_of(features, made) -> tuple[list[str], list[set[Mention]], list[dict[str, set[int]]]]:
    """Units of the windows, their gold, and per window type → the places where its actions are open."""
    types = features.model.config.types
    units, gold, unclear = [], [], []
    for window, feature in zip(features.windower([made.text])[0], features.build([made]), strict=True):
        own = char_units(window, features.model.config.units)
        units.append([made.text[s:e] for s, e in own])
        gold.append(written(feature, own, types))
        unclear.append({})
        for place, action in zip(feature["unclear_places"], feature["unclear_actions"], strict=True):
            unclear[-1].setdefault(types[(action - 2) // 2][1], set()).add(place)
    return units, gold, unclear


def test_around_a_border_inside_a_unit_the_type_is_open_and_others_are_not(model):
    features = builder(model, "bytes", 100)
    made = document("in breast cancers of mice", ("cancer", "Modifier"), ("breast", "Modifier"))
    units, gold, unclear = places_of(features, made)
    assert units == [["in", "breast", "cancers", "of", "mice"]]
    assert gold == [{Mention(3, 9, "Modifier")}]
    assert unclear == [{"Modifier": {2, 3}}]
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"unit_boundary": 1}


def test_a_mention_cut_by_its_window_is_open_in_every_window_that_shows_some_of_it(model):
    text = "cancer " * 40
    features = builder(model, "bytes", 24, units="token")
    made = Document("1", "demo_disease", text, (Mention(0, len(text) - 1, "Modifier"),))
    units, gold, unclear = places_of(features, made)
    assert len(units) > 2
    assert gold == [set()] * len(units)
    for own, open_to in zip(units, unclear, strict=True):
        assert open_to == {"Modifier": set(range(len(own) + 1))}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"window_cut": 1}


def test_of_two_that_cross_the_second_is_counted_and_open(model):
    features = builder(model, "bytes", 100)
    made = document("some breast cancer cells", ("breast cancer", "Modifier"), ("cancer cells", "Modifier"))
    _, gold, unclear = places_of(features, made)
    assert gold == [{Mention(5, 18, "Modifier")}]
    assert unclear == [{"Modifier": {2, 3, 4}}]
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"crossing": 1}
    both = document("some breast cancer cells", ("breast cancer", "Modifier"), ("cancer cells", "SpecificDisease"))
    _, gold, unclear = places_of(builder(model, "bytes", 100), both)
    assert (len(gold[0]), unclear) == (2, [{}])


def test_two_types_of_one_span_and_nested_mentions_are_all_written(model):
    features = builder(model, "bytes", 100)
    made = document(
        "severe breast cancer",
        ("breast cancer", "Modifier"), ("breast cancer", "SpecificDisease"), ("cancer", "Modifier"), ("breast", "Modifier"),
    )  # fmt: skip
    _, gold, unclear = places_of(features, made)
    assert gold == [set(made.mentions)]
    assert unclear == [{}]
    assert features.coverage.to_dict()["demo_disease"] | {"lost": {}} == features.coverage.to_dict()["demo_disease"]


def test_flat_models_count_what_is_nested_and_are_trained_on_it(model):
    features = builder(model, "bytes", 100, flat=True)
    made = document("severe breast cancer", ("breast cancer", "Modifier"), ("cancer", "Modifier"))
    assert places_of(features, made)[1] == [set(made.mentions)]
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"nested": 1}


def test_an_unknown_type_is_an_error_with_a_hint(model):
    made = document("a cancer", ("cancer", "Modifiers"))
    with pytest.raises(LabelError, match="did you mean 'Modifier'"):
        builder(model).build([made])


def test_units_of_features_are_those_of_the_gold_steps(model, demo_corpora):
    features = builder(model)
    documents = demo_corpora["demo_gene"]["train"][:10]
    aligned = 0
    for document_, windows in zip(documents, features.windower([d.text for d in documents]), strict=True):
        for window, feature in zip(windows, features.build([document_]), strict=True):
            words = sum(action == SH for action in feature["gold_actions"])
            assert len(feature["unit_starts"]) == len(feature["unit_ends"]) == words + 2
            assert feature["unit_starts"][0] == feature["unit_ends"][0] == 0
            assert feature["unit_starts"][-1] == feature["unit_ends"][-1] == len(feature["input_ids"]) - 1
            aligned += len(align(window, document_.mentions))
    assert aligned > 20


def test_what_needs_too_many_actions_between_two_words_is_counted_and_open(model):
    features = builder(model, "bytes", 100, max_actions=3)
    words = ("one", "one two", "one two three", "one two three four", "one two three four five")
    made = document("one two three four five", *((text, "Modifier") for text in words))
    _, gold, unclear = places_of(features, made)
    assert {m.end for m in gold[0]} == {13, 18, 23}
    assert unclear == [{"Modifier": {0, 1, 2}}]
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"crowded": 2}
