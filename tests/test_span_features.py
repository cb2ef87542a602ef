"""Gold cells of the span grid: each mention is a cell or counted, unknown is never negative, and cells decode to the gold."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, load_demo_corpora
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Windower, keep_flat
from mosaic_ner.training.features import IGNORE
from mosaic_ner.training.span_cvae import Features
from test_spans import windower as tokenizer_of

REAL_LOOKING = [
    "Loss of IkappaBα and p53-null (TNFα/IL-6) cells in Sjögren's syndrome. ",
    "The c.1521_1523delCTT (p.Phe508del, ΔF508) variant of CFTR. ",
    "Zn²⁺ or Ca²⁺-dependent BRCA1/2 mRNA in HeLa cells; 5-HT1A receptors 🧬 α-synuclein. ",
]
relaxed = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def demo_strings() -> list[str]:
    return [d.text[:300] for documents in load_demo_corpora().values() for d in documents["train"][:5]]


@pytest.fixture(scope="module")
def model(build_bundle):
    """For its config and its features; tests that change the config copy it."""
    return build_bundle(family="span_cvae").model


def builder(model, name="wordpiece", max_tokens=24, **options) -> Features:
    """Training features with a tokenizer of test_spans.py, and config options changed."""
    model = copy.copy(model)
    model.config = copy.deepcopy(model.config)
    for option, value in options.items():
        setattr(model.config, option, value)
    windower = Windower(tokenizer_of(name).tokenizer, max_tokens, 3, overlap=min(4, max_tokens // 5))
    return Features(model, windower, DEMO_LABEL_SPACE)


def document(text: str, *mentions: tuple, corpus: str = "demo_disease") -> Document:
    found = []
    for surface, name in mentions:
        start = text.index(surface)
        found.append(Mention(start, start + len(surface), name))
    return Document("1", corpus, text, tuple(found))


def char_units(window, kind) -> list[tuple[int, int]]:
    return [(window.offsets[s][0], window.offsets[e - 1][1]) for s, e in window.units(kind)]


def cause_of(mention, windows, config) -> str | None:
    """Why the owning window's grid has no cell for the mention, told in characters."""
    owner = next((w for w in windows if w.own_start <= mention.start < w.own_end), None)
    if owner is None:
        return "token_boundary"
    tokens = [o for o in owner.offsets if o[0] < o[1]]
    if mention.start not in {s for s, _ in tokens} or mention.end not in {e for _, e in tokens}:
        inside = owner.offsets[0][0] <= mention.start and mention.end <= owner.offsets[-1][1]
        return "token_boundary" if inside else "window_cut"
    units = char_units(owner, config.units)
    if mention.start not in {s for s, _ in units} or mention.end not in {e for _, e in units}:
        return "unit_boundary"
    inside = [u for u in units if mention.start <= u[0] and u[1] <= mention.end]
    return "too_wide" if len(inside) > config.max_span_width else None


def sorted_out(mentions, windows, config) -> tuple[list[Mention], dict[Mention, str]]:
    """The mentions that have a cell, and the others with their cause."""
    usable, lost = {}, {}
    for mention in sorted(set(mentions), key=lambda m: m.key):
        cause = cause_of(mention, windows, config)
        if cause is None and (mention.start, mention.end) in usable:
            cause = "second_type"
        if cause is None:
            usable[mention.start, mention.end] = mention
        else:
            lost[mention] = cause
    return list(usable.values()), lost


def expected_cells(window, usable, lost, config, numbers, corpus) -> dict[int, int]:
    """cell → label of all spans of a window but the negatives, span by span."""
    units, widest = char_units(window, config.units), config.max_span_width
    at = {
        (units[i][0], units[i + w][1]): i * widest + w
        for i in range(len(units))
        for w in range(widest)
        if i + w < len(units)
    }
    exact = {(m.start, m.end): m for m in usable}
    unseen = [m for m in usable if (m.start, m.end) not in at]
    unseen += [m for m, cause in lost.items() if cause in ("token_boundary", "window_cut", "unit_boundary")]
    out = {}
    for span, cell in at.items():
        inside = [u for u in units if span[0] <= u[0] and u[1] <= span[1]]
        if span in exact:
            out[cell] = numbers[corpus, exact[span].type]
        elif any(m.start < e and s < m.end for m in unseen for s, e in inside):
            out[cell] = IGNORE
    return out  # fmt: skip


@st.composite
def annotated(draw):
    """A document with mentions anywhere, many of them nested, crossing, repeated or with borders inside of words."""
    text = draw(st.sampled_from([*demo_strings(), *REAL_LOOKING]))
    text += draw(st.sampled_from(["", *REAL_LOOKING]))
    corpus = draw(st.sampled_from(["demo_disease", "demo_all", "demo_chem"]))
    types = st.sampled_from(DEMO_LABEL_SPACE.native_types(corpus))
    edges = sorted(
        {i for i in range(len(text) + 1) if i in (0, len(text)) or text[i - 1].isalnum() != text[i].isalnum()}
    )
    place = st.one_of(st.sampled_from(edges), st.integers(0, len(text)))
    near = st.tuples(st.sampled_from(edges), st.integers(1, 12), types).map(
        lambda t: (t[0], next((e for e in edges if e >= t[0] + t[1]), len(text)), t[2])
    )
    pairs = draw(st.lists(st.one_of(near, near, st.tuples(place, place, types)), max_size=10))
    mentions = [Mention(min(a, b), max(a, b), name) for a, b, name in pairs if a != b]
    return Document("1", corpus, text, tuple(mentions + draw(st.sampled_from([[], mentions[:2]]))))  # fmt: skip


@pytest.mark.parametrize("name", ["wordpiece", "bytes", "unigram"])
@relaxed
@given(annotated(), st.sampled_from(KINDS), st.sampled_from([2, 4, 10]), st.booleans(), st.integers(16, 48))
@example(document("cancer 🧬 cells", ("cancer", "Modifier"), ("cancer", "SpecificDisease")), "pretoken", 4, True, 24)
def test_each_mention_is_a_cell_or_counted_and_nothing_unknown_is_negative(
    model, name, made, kind, widest, flat, max_tokens
):
    features = builder(model, name, max_tokens, units=kind, max_span_width=widest, flat=flat)
    config, numbers = features.model.config, features.numbers
    windows = features.windower([made.text])[0]
    dataset = features.build([made])
    assert len(dataset) == len(windows)
    assert set(dataset.groups) <= {made.corpus}
    usable, lost = sorted_out(made.mentions, windows, config)
    for window, feature in zip(windows, dataset, strict=True):
        cells = feature["cells"]
        assert len(set(cells)) == len(cells) == len(feature["cell_labels"])
        wanted = expected_cells(window, usable, lost, config, numbers, made.corpus)
        assert dict(zip(cells, feature["cell_labels"], strict=True)) == wanted

    nested = len(keep_flat(usable)[1]) if flat else 0
    row = features.coverage.to_dict()[made.corpus]
    assert row["mentions"] == len({m.key for m in made.mentions})
    assert row["lost"] == dict(Counter([*lost.values(), *["nested"] * nested]))
    assert row["represented"] == len(usable) - nested
    assert row["outside_scheme"] == 0
    again = builder(model, name, max_tokens, units=kind, max_span_width=widest, flat=flat)
    assert again.report([[made]]) == features.coverage.to_dict()


# ---- the same by hand


def cells_of(features, made) -> tuple[list[str], dict[tuple[int, int], str | None]]:
    """The units of a document of one window, and (first, last unit) → native type, None where it is left out."""
    (window,) = features.windower([made.text])[0]
    (feature,) = features.build([made])
    widest = features.model.config.max_span_width
    names = {number: native for (_, native), number in features.numbers.items()} | {IGNORE: None}
    labels = zip(feature["cells"], feature["cell_labels"], strict=True)
    units = [made.text[s:e] for s, e in char_units(window, features.model.config.units)]
    return units, {(cell // widest, cell // widest + cell % widest): names[label] for cell, label in labels}


def test_two_types_of_one_span_are_one_cell_and_the_second_is_counted(model):
    features = builder(model, "bytes", 100)
    made = document("a severe cancer", ("cancer", "SpecificDisease"), ("cancer", "Modifier"))
    units, cells = cells_of(features, made)
    assert cells == {(units.index("cancer"), units.index("cancer")): "Modifier"}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"second_type": 1}


def test_what_is_inside_a_mention_that_is_too_wide_is_negative(model):
    features = builder(model, "bytes", 100, max_span_width=2)
    units, cells = cells_of(features, document("severe breast cancer cells", ("severe breast cancer", "Modifier")))
    assert len(units) == 4
    assert cells == {}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"too_wide": 1}


def test_all_spans_that_overlap_a_border_inside_a_unit_are_left_out(model):
    features = builder(model, "bytes", 100, max_span_width=3)
    made = document("in breast cancers of mice", ("cancer", "Modifier"), ("breast", "Modifier"))
    units, cells = cells_of(features, made)
    assert units == ["in", "breast", "cancers", "of", "mice"]
    overlapping = {(i, j): None for i in range(5) for j in range(i, 5) if i <= 2 <= j < i + 3}
    assert cells == overlapping | {(1, 1): "Modifier"}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"unit_boundary": 1}


def test_a_mention_cut_by_its_window_is_left_out_in_both(model):
    text = "x" * 30 + "cancer" * 40
    features = builder(model, "bytes", 24, units="token")
    made = Document("1", "demo_disease", text, (Mention(0, len(text), "Modifier"),))
    assert len(features.windower([text])[0]) > 2
    for feature in features.build([made]):
        units = len(feature["unit_starts"])
        every = {i * 10 + w for i in range(units) for w in range(10) if i + w < units}
        assert set(feature["cells"]) == every
        assert set(feature["cell_labels"]) == {IGNORE}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {"window_cut": 1}


def test_a_lone_word_start_marker_costs_no_mention(model):
    text = "a cancer 🧬 cancer"
    features = builder(model, "unigram", 100)
    (window,) = features.windower([text])[0]
    assert any(s == e and window.offsets[i - 1][1] == 8 for i, (s, e) in enumerate(window.offsets))
    units, cells = cells_of(features, document(text, ("cancer", "Modifier"), ("🧬", "Modifier")))
    assert {units[i]: name for (i, j), name in cells.items() if i == j} == {"cancer": "Modifier", "🧬": "Modifier"}
    assert features.coverage.to_dict()["demo_disease"]["lost"] == {}


def test_types_without_a_shared_type_are_labels_of_their_own(model, demo_corpora):
    features = builder(model, max_tokens=64)
    dataset = features.build(demo_corpora["demo_chem"]["train"][:20])
    seen = {label for feature in dataset for label in feature["cell_labels"]}
    assert features.numbers["demo_chem", "OTHER"] in seen
    assert seen - {IGNORE} == {features.numbers["demo_chem", t] for t in ("Chemical", "OTHER")}
    assert features.coverage.to_dict()["demo_chem"]["outside_scheme"] == 0


def test_an_unknown_type_is_an_error_with_a_hint(model):
    made = document("a cancer", ("cancer", "Modifiers"))
    with pytest.raises(LabelError, match="did you mean 'Modifier'"):
        builder(model).build([made])
    with pytest.raises(LabelError, match="did you mean 'Modifier'"):
        builder(model).report([[made]])


# ---- there and back


class Told:
    """A model whose scores are the gold cells': mentions earlier in `order` are more probable."""

    def __init__(self, features: Features, documents, order):
        self.model, self.config, self.encoder = features.model, features.model.config, features.model.encoder
        self.device, self.training = torch.device("cpu"), False
        self.tasks_for, self.decode = self.model.tasks_for, self.model.decode
        self.best_labels, self.padding = self.model.best_labels, self.model.padding
        self.rank = {m.key: number for number, m in enumerate(order)}
        self.told = {}
        rows = iter(features.build(documents))
        self.mentions = [{(m.start, m.end): m for m in reversed(sorted(d.mentions))} for d in documents]
        for windows in features.windower([d.text for d in documents]):
            for window in windows:
                self.told[window.document, window.index] = next(rows)

    def eval(self):
        pass

    def train(self, mode=True):
        pass

    def features(self, window, task):
        told = self.told[window.document, window.index]
        out = self.model.features(window, task)
        out["cells"] = [c for c, label in zip(told["cells"], told["cell_labels"], strict=True) if label >= 0]
        out["cell_labels"] = [label for label in told["cell_labels"] if label >= 0]
        units, widest = char_units(window, self.config.units), self.config.max_span_width
        out["ranks"] = []
        for cell in out["cells"]:
            span = units[cell // widest][0], units[cell // widest + cell % widest][1]
            out["ranks"].append(self.rank[self.mentions[window.document][span].key])
        return out

    def __call__(self, unit_starts, corpus_ids, cells, cell_labels, ranks, **kwargs):
        widest, labels = self.config.max_span_width, self.config.labels.labels
        _, columns = self.config.outputs
        logits = torch.zeros(*unit_starts.shape, widest, self.config.num_labels)
        for row, corpus in enumerate(corpus_ids.tolist()):
            name = self.config.tasks[corpus].name
            logits[row, :, :, columns[labels.index((name, "NEGATIVE"))]] = 4.0
            for cell, label, rank in zip(*(t[row].tolist() for t in (cells, cell_labels, ranks)), strict=True):
                if cell >= 0:
                    logits[row, cell // widest, cell % widest, columns[label]] = 8 - 0.01 * rank
        return NEROutput(logits=logits)


def there_and_back(features, documents, order, tasks) -> list[list[tuple]]:
    """Keys of the mentions that the gold cells of each document decode to."""
    predictor = MentionPredictor(Told(features, documents, order), features.windower.tokenizer, batch_size=4)
    predictor.windower = features.windower
    return [[m.key for m in mentions] for mentions in predictor([d.text for d in documents], tasks)]


@pytest.mark.parametrize("name", ["wordpiece", "bytes", "unigram"])
@pytest.mark.parametrize("flat", [False, True])
@settings(relaxed, max_examples=50)
@given(annotated(), st.sampled_from(KINDS), st.sampled_from([3, 10]))
def test_gold_cells_decode_to_the_mentions_that_can_be_had(model, name, flat, made, kind, widest):
    # Which of a chain of crossing mentions wins depends on how much of it a window sees: flat ones see all of it.
    options = {"max_tokens": 800 if flat else 24, "units": kind, "max_span_width": widest, "flat": flat}
    features = builder(model, name, **options)
    usable, _ = sorted_out(made.mentions, features.windower([made.text])[0], features.model.config)
    order = sorted(usable, key=lambda m: (m.start - m.end, m.start, m.type))
    expected = keep_flat(usable)[0] if flat else usable
    found = there_and_back(features, [made], order, features.model.tasks_for(made.corpus, "native"))[0]
    assert found == sorted(m.key for m in expected)
    row = features.coverage.to_dict()[made.corpus]
    assert row["represented"] == len(found)


@pytest.mark.parametrize("mode", ["native", "shared"])
@pytest.mark.parametrize("labels_per", ["corpus", "shared"])
@pytest.mark.parametrize("corpus", list(DEMO_LABEL_SPACE.corpora))
def test_the_demo_corpora_come_back_under_the_names_asked_for(build_bundle, demo_corpora, corpus, labels_per, mode):
    features = build_bundle(family="span_cvae", labels_per=labels_per).features
    documents = demo_corpora[corpus]["train"][:12]
    order = sorted({m for d in documents for m in d.mentions}, key=lambda m: (m.start - m.end, m.start, m.type))
    task = replace(features.model.config.task(corpus), types=mode)
    found = there_and_back(features, documents, order, [task])
    windows = features.windower([d.text for d in documents])
    known = mode == "native" and labels_per == "corpus"
    count = 0
    for d, own, got in zip(documents, windows, found, strict=True):
        kept, _ = keep_flat(sorted_out(d.mentions, own, features.model.config)[0])
        names = {t: t if known else DEMO_LABEL_SPACE.shared(corpus, t) or t for t in {m.type for m in kept}}
        assert got == sorted((m.start, m.end, names[m.type]) for m in kept)
        count += len(got)
    assert count == features.coverage.to_dict()[corpus]["represented"] > 20
