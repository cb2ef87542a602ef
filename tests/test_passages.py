"""A passage's border ends words, sentences and mentions, in training and prediction; a window may hold several passages."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.modeling_aioner import decode_tags
from mosaic_ner.modeling.spans import bar_passages
from mosaic_ner.modeling.transitions import decode, encode, without_crossing
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Windower, lost_by_windows
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.metrics import seqeval_report
from test_spans import TOKENIZERS
from test_spans import windower as tokenizer_of

FAMILIES = {
    "crf": {}, "softmax": {"classifier": "softmax"}, "first_tokens": {"label_first_token_only": True},
    "span_cvae": {"family": "span_cvae"}, "span_cvae_tokens": {"family": "span_cvae", "units": "token"},
    "joint_ib": {"family": "joint_ib"}, "joint_ib_flat": {"family": "joint_ib", "flat": True},
    "sruner": {"family": "sruner", "trained": ["demo_all"]},
}  # fmt: skip
WORDS = ["nir", "lazole", "BRCA", "1", "p53", "in", "mice", "(IL-2)", ".", "e\u0301tude", "X-ray", "αβ", "Severe"]
stretches = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).flatmap(
    lambda words: st.lists(st.sampled_from(["", " ", " ", ". "]), min_size=len(words), max_size=len(words)).map(
        lambda gaps: "".join(itertools.chain(*zip(words, gaps, strict=True))).strip() or "a"
    )
)
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def of_passages(texts: list[str], gap: str = "", mentions=()) -> Document:
    """A document of these passages."""
    passages, text = [], ""
    for part in texts:
        text += gap if text else ""
        passages.append(Passage(len(text), len(text) + len(part)))
        text += part
    return Document("1", "demo_all", text, mentions, passages=tuple(passages))


def crossing(document: Document, mentions) -> list:
    return [m for m in mentions if any(m.start < border < m.end for border in document.borders)]


@pytest.mark.parametrize(
    ("text", "passages", "borders"),
    [
        ("ab", [(0, 1), (1, 2)], (1,)), ("a b", [(0, 1), (2, 3)], (1,)), ("a b", [(0, 3)], ()), ("ab", [], ()),
        ("axb", [(0, 1), (2, 3)], (1, 2)), (" a b ", [(1, 2), (3, 4)], (2,)), ("ab", [(0, 0), (0, 1), (1, 1), (1, 2)], (1,)),
        ("a  b", [(0, 2), (3, 4)], (2,)), ("ab ", [(0, 2), (2, 3)], ()), ("abc", [(0, 3), (1, 2)], (1, 2)),
    ],
)  # fmt: skip
def test_where_the_borders_are(text, passages, borders):
    assert Document("1", "c", text, passages=tuple(Passage(*p) for p in passages)).borders == borders


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("packing", ["packed", "single"])
@relaxed
@given(
    texts=st.lists(stretches, min_size=1, max_size=6),
    gap=st.sampled_from(["", " ", "\n"]),
    max_tokens=st.integers(10, 60),
)
def test_no_token_unit_or_sentence_crosses_a_border(name, packing, texts, gap, max_tokens):
    document = of_passages(texts, gap)
    windower = Windower(tokenizer_of(name).tokenizer, max_tokens, 2, overlap=2, packing=packing)
    windows = windower([document])[0]
    places = [(p.start, p.end) for p in document.passages]
    for window in windows:
        assert len(window.input_ids) <= max_tokens - 2
        for start, end in window.offsets:
            assert start == end or any(first <= start < end <= last for first, last in places)
        for kind in KINDS:
            units = [(window.offsets[s][0], window.offsets[e - 1][1]) for s, e in window.units(kind)]
            inside = [
                n
                for n, unit in enumerate(units)
                if n and any(units[n - 1][1] <= b <= unit[0] for b in document.borders)
            ]
            assert window.unit_passages(kind) == inside
            assert not crossing(document, [Mention(s, e, "") for s, e in units if s < e])
        if packing == "single":
            assert not crossing(document, [Mention(window.char_start, window.char_end, "")])
    alone = [windower([text])[0] for text in texts]
    if gap == "" and packing == "single":  # every window is one of a passage alone
        found = [(w.input_ids, [document.text[s:e] for s, e in w.offsets]) for w in windows]
        assert found == [(w.input_ids, [w.text[s:e] for s, e in w.offsets]) for own in alone for w in own]


def test_a_text_has_no_passages_and_a_blank_between_two_changes_no_token():
    text = "Severe velosis in mice. Nirlazole helps. It was given."
    document = Document("1", "c", text, passages=(Passage(0, 23), Passage(24, len(text))))
    for name in TOKENIZERS:
        windower = Windower(tokenizer_of(name).tokenizer, 200, 2)
        (plain,), (own,) = windower([text])[0], windower([document])[0]
        assert (plain.input_ids, plain.offsets, plain.units("pretoken")) == (
            own.input_ids,
            own.offsets,
            own.units("pretoken"),
        )
        assert plain.passages == ()
        assert [own.offsets[n][1] > 23 for n in range(own.passages[0] - 1, own.passages[0] + 1)] == [False, True]


@pytest.mark.parametrize("name", list(FAMILIES))
def test_no_predicted_mention_crosses_a_border(build_bundle, name):
    bundle = build_bundle(lively=True, **FAMILIES[name])
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    texts = ["Reduced by nir", "lazole in mice", "with BRCA", "1 and p", "53", "e\u0301", "tude", "(", "IL-2", ")"] * 6
    documents = [of_passages(texts), of_passages(texts[:4], " "), of_passages(texts[2:3])]
    found = predictor(documents)
    plain = predictor([d.text for d in documents])
    assert len(found[0]) > 10
    assert [crossing(d, mentions) for d, mentions in zip(documents, found, strict=True)] == [[], [], []]
    assert crossing(documents[0], plain[0])  # without passages, mentions do
    assert [m.key for m in found[2]] == [m.key for m in plain[2]]


@pytest.mark.parametrize("name", list(FAMILIES))
def test_gold_mentions_that_cross_are_counted_and_never_taught(build_bundle, name):
    bundle = build_bundle(**FAMILIES[name])
    gold = (Mention(11, 20, "Chemical"), Mention(24, 28, "Species"))
    document = of_passages(["Reduced by nir", "lazole in mice"], mentions=gold)
    bundle.features.build([document])
    row = bundle.features.coverage.to_dict()["demo_all"]
    assert (row["mentions"], row["lost"]) == (2, {"passage_border": 1})
    assert row["share_in_windows"] == 0.5
    assert lost_by_windows(document, bundle.features.windower([document])[0]) == {gold[0]: "passage_border"}
    assert "passage" in bundle.features.coverage.summary()


def test_what_the_crossing_mention_touches_has_no_target(build_bundle):
    """Neither an entity nor a negative; the same as for other mentions that can't be expressed."""
    document = of_passages(["by nir", "lazole in mice"], mentions=(Mention(3, 12, "Chemical"),))
    bundle = build_bundle()
    (feature, *_) = bundle.features.build([document])
    (window,) = bundle.features.windower([document])[0]
    labels = [label for label, own in zip(feature["labels"], feature["chain_mask"], strict=True) if own]
    ids = [number for number, own in zip(feature["input_ids"], feature["chain_mask"], strict=True) if own]
    assert tuple(ids) == window.input_ids != bundle.features.windower([document.text])[0][0].input_ids
    for (start, end), label in zip(window.offsets, labels, strict=True):
        assert (label == -100) == (start < 12 and end > 3)


def test_an_evaluation_reads_passages(build_bundle):
    bundle = build_bundle(lively=True)
    evaluator = Evaluator(MentionPredictor(bundle.model, bundle.tokenizer), DEMO_LABEL_SPACE)
    texts = ["Reduced by nir", "lazole in mice", "with BRCA", "1 and p", "53", "("] * 6
    document = of_passages(texts, mentions=(Mention(24, 28, "Species"),))
    expected = [m.key for m in evaluator.predictor([document], bundle.model.tasks_for("demo_all"))[0]]
    assert expected
    assert [m.key for m in evaluator.predict([document])[0]] == expected
    assert not crossing(document, evaluator.evaluate([document]).predicted[0].mentions)


# ---- each family's own step against its definition


@relaxed
@given(st.integers(1, 9), st.integers(1, 4), st.lists(st.integers(1, 8), max_size=3))
def test_cells_across_borders_are_barred(units, widest, borders):
    class Told:
        def unit_passages(self, kind):
            return sorted({b for b in borders if b < units})

    values = torch.arange(units * widest * 2).view(1, units, widest, 2)
    found = bar_passages(values, [Told()], "pretoken", -1)
    for first, width in itertools.product(range(units), range(widest)):
        crosses = any(first < border <= first + width for border in Told().unit_passages(""))
        assert (found[0, first, width] == -1).all() == crosses
        assert crosses or (found[0, first, width] == values[0, first, width]).all()


@relaxed
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 5), st.integers(0, 1)), max_size=6), st.sets(st.integers(1, 7))
)
def test_actions_write_the_mentions_that_cross_no_border(mentions, borders):
    mentions, _ = without_crossing([(s, min(s + n, 8), kind) for s, n, kind in mentions])
    steps = [[(action, 1.0) for action in step] for step in encode(mentions, 8)]
    found = {m[:3] for m in decode(steps, borders)}
    assert not any(s < border < e for s, e, _ in found for border in borders)
    whole = {m for m in mentions if not any(m[0] < border < m[1] for border in borders)}
    assert {m[:3] for m in decode(steps)} == set(mentions)
    if len(whole) == len(mentions):
        assert found == whole


def test_a_tag_at_a_border_begins_a_mention():
    tags, names = torch.tensor([[1, 2, 2, 2, 0, 2]]), ["O", "B-G", "I-G"]
    mask = torch.ones_like(tags, dtype=torch.bool)
    begun = torch.tensor([[False, False, True, False, False, False]])
    assert [m[:2] for m in decode_tags(tags, mask.float(), mask, names)[0]] == [(0, 4), (5, 6)]
    assert [m[:2] for m in decode_tags(tags, mask.float(), mask, names, begun)[0]] == [(0, 2), (2, 4), (5, 6)]


def test_seqeval_counts_by_the_same_windows(build_bundle):
    bundle = build_bundle()
    document = of_passages(["nirlazole", "spiran"])
    gold = [(Mention(0, 9, "Chemical"), Mention(9, 15, "Chemical"))]
    report = seqeval_report([document], gold, gold, bundle.features.windower, DEMO_LABEL_SPACE.shared_types)
    assert (report["support"], report["f1"]) == (2, 1.0)
