"""No mention begins or ends inside a unit: the taggers' decoding against enumeration, and the answers of all families."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.crf import CRF, best_path, marginals
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification, steps_inside_units
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.units import BEGINS, ENDS, find_units, unit_borders

LABELS = {
    "naive": ["B-Gene", "I-Gene", "O-ALL"],
    "BIO": ["B-Gene", "I-Gene", "B-Cell", "I-Cell", "O"],
    "several O": ["O-ALL", "I-Gene", "B-Gene", "O-Gene"],
    "two corpora": ["B-Gene@a", "I-Gene@a", "O-a", "B-Gene@b", "I-Gene@b", "O-b"],
}


def spans_of(sequence, names):
    """(first, last) positions of the mentions that a sequence of labels says, one by one (see `decode_tags`)."""
    spans, current = [], None
    for position, label in enumerate(sequence):
        kind, entity = names[label][0], names[label][2:].split("@")[0]
        if kind == "I" and current == entity:
            spans[-1][1] = position
        elif kind in "BI":
            spans.append([position, position])
        current = entity if kind in "BI" else None
    return spans


def allowed(sequence, names, borders) -> bool:
    return all(borders[first] & BEGINS and borders[last] & ENDS for first, last in spans_of(sequence, names))


def score_of(sequence, steps, emissions) -> float:
    outside = len(steps) - 1
    pairs = itertools.pairwise([outside, *sequence, outside])
    own = sum(emissions[position][label] for position, label in enumerate(sequence))
    return own + sum(steps[before][after] for before, after in pairs)


@st.composite
def chains(draw):
    """Label names, a CRF's steps or none, emissions (B, S, L), mask and borders."""
    names = LABELS[draw(st.sampled_from(sorted(LABELS)))]
    rows = draw(st.integers(1, 3))
    length = draw(st.integers(1, 5 if len(names) < 5 else 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    crf = CRF(len(names)).double()
    for parameter in crf.parameters():
        parameter.data = 2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    steps = crf.steps().detach() if draw(st.booleans()) else torch.zeros(len(names) + 1, len(names) + 1).double()
    size = draw(st.sampled_from([1.0, 4.0, 300.0]))
    emissions = size * torch.randn(rows, length, len(names), generator=generator, dtype=torch.float64)
    cells = st.lists(st.integers(0, 3), min_size=rows * length, max_size=rows * length)
    borders = torch.tensor(draw(cells)).view(rows, length)
    return names, steps, emissions, torch.tensor(draw(cells)).view(rows, length) > 0, borders


@settings(max_examples=120, deadline=None)
@given(chains())
def test_decoding_is_that_of_the_enumeration(case):
    """All label sequences whose mentions begin and end with units: the best of them, and the marginals over them."""
    names, steps, emissions, mask, borders = case
    tables = steps.masked_fill(steps_inside_units(names), float("-inf"))
    path, chances = best_path(tables, emissions, mask, borders), marginals(tables, emissions, mask, borders)
    assert (path[~mask] == 0).all()
    assert (chances[~mask] == 0).all()
    for row in range(len(mask)):
        places = mask[row].nonzero().flatten()
        if not len(places):
            continue
        own, scores = borders[row, places].tolist(), emissions[row, places].tolist()
        sequences = [s for s in itertools.product(range(len(names)), repeat=len(places)) if allowed(s, names, own)]
        values = torch.tensor([score_of(s, steps.tolist(), scores) for s in sequences], dtype=torch.float64)
        assert tuple(path[row, places].tolist()) == sequences[int(values.argmax())]
        expected = torch.zeros(len(places), len(names), dtype=torch.float64)
        for sequence, chance in zip(sequences, values.softmax(0), strict=True):
            expected[range(len(places)), sequence] += chance
        torch.testing.assert_close(chances[row, places], expected, rtol=0, atol=1e-10)


def test_what_is_ruled_out_may_score_higher_by_any_factor():
    """float32: inside a unit, O is left although B is better by more than exp can tell."""
    names = LABELS["naive"]
    tables = torch.zeros(4, 4).masked_fill(steps_inside_units(names), float("-inf"))
    emissions = torch.tensor([[[900.0, 0.0, 0.0], [0.0, -400.0, 600.0], [0.0, 0.0, 0.0]]])
    mask, borders = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[BEGINS, 0, ENDS]])
    assert best_path(tables, emissions, mask, borders).tolist() == [[2, 2, 2]]
    torch.testing.assert_close(
        marginals(tables, emissions, mask, borders)[0, :, 2], torch.tensor([1.0, 1.0, 1.0]), rtol=0, atol=1e-6
    )


def test_marginals_of_long_chains_keep_their_digits_in_float32():
    names = LABELS["BIO"]
    generator = torch.Generator().manual_seed(2)
    tables = CRF(5).steps().detach().masked_fill(steps_inside_units(names), float("-inf"))
    emissions = 40 + 3 * torch.randn(2, 2000, 5, generator=generator)
    mask, borders = torch.ones(2, 2000, dtype=torch.bool), torch.randint(0, 4, (2, 2000), generator=generator)
    exact = marginals(tables.double(), emissions.double(), mask, borders)
    torch.testing.assert_close(marginals(tables, emissions, mask, borders).double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", ["crf", "softmax"])
def test_a_row_is_the_same_bit_for_bit_in_any_batch(steps):
    names = LABELS["BIO"]
    generator = torch.Generator().manual_seed(1)
    own = CRF(5).steps().detach() if steps == "crf" else torch.zeros(6, 6)
    tables = own.masked_fill(steps_inside_units(names), float("-inf"))
    emissions = 3 * torch.randn(9, 70, 5, generator=generator)
    mask = torch.arange(70) < torch.randint(1, 70, (9, 1), generator=generator)
    borders = torch.randint(0, 4, (9, 70), generator=generator)
    together = best_path(tables, emissions, mask, borders), marginals(tables, emissions, mask, borders)
    for row in range(9):
        alone = (tables, emissions[row : row + 1], mask[row : row + 1], borders[row : row + 1])
        assert torch.equal(best_path(*alone)[0], together[0][row])
        assert torch.equal(marginals(*alone)[0], together[1][row])


# ---- where a text has borders


@st.composite
def tokenised(draw):
    """A text, and offsets of tokens that cover it: pieces of words, and now and then one without text."""
    text = draw(st.text("abcXYZ019 -,αé", min_size=1, max_size=24))
    cuts = sorted(draw(st.sets(st.integers(1, len(text)), max_size=12)) | {0, len(text)})
    offsets = []
    for start, end in itertools.pairwise(cuts):
        for word in re.finditer(r"\S+", text[start:end]):
            if draw(st.integers(0, 4)) == 0:
                offsets.append((start + word.start(),) * 2)
            offsets.append((start + word.start(), start + word.end()))
    return text, offsets


@settings(max_examples=300, deadline=None)
@given(tokenised())
def test_borders_of_tokens_are_those_of_units(case):
    text, offsets = case
    if not offsets:
        return
    units = find_units(text, offsets)
    borders = unit_borders(units, offsets, [1] * len(offsets))
    if any(start < end for start, end in offsets):
        assert [i for i, bits in enumerate(borders) if bits & BEGINS] == [start for start, _ in units]
        assert [i + 1 for i, bits in enumerate(borders) if bits & ENDS] == [end for _, end in units]
    assert not any(bits for bits, (start, end) in zip(borders, offsets, strict=True) if start == end)


@settings(max_examples=300, deadline=None)
@given(tokenised(), st.data())
def test_a_tag_answers_for_the_tokens_up_to_the_next(case, data):
    text, offsets = case
    if not offsets:
        return
    tagged = [1, *data.draw(st.lists(st.integers(0, 1), min_size=len(offsets) - 1, max_size=len(offsets) - 1))]
    units = find_units(text, offsets)
    borders = unit_borders(units, offsets, tagged)
    places = [i for i, own in enumerate(tagged) if own]
    for begin, stop in zip(places, [*places[1:], len(offsets)], strict=True):
        characters = [o for o in offsets[begin:stop] if o[0] < o[1]]
        starts = {offsets[s] for s, _ in units} if characters else ()
        ends = {offsets[e - 1] for _, e in units} if characters else ()
        assert bool(borders[begin] & BEGINS) == bool(characters and characters[0] in starts)
        assert bool(borders[begin] & ENDS) == bool(characters and characters[-1] in ends)
    assert not any(bits for bits, own in zip(borders, tagged, strict=True) if not own)


# ---- answers

TAGGERS = {
    "crf": {},
    "softmax": {"classifier": "softmax"},
    "crf, emission": {"scores": "emission"},
    "softmax, emission": {"classifier": "softmax", "scores": "emission"},
    "naive": {"scheme": "naive"},
    "mtl": {"scheme": "mtl"},
    "restricted": {"restrict_labels": True},
    "first tokens": {"label_first_token_only": True},
    "first tokens, softmax": {"label_first_token_only": True, "classifier": "softmax"},
}
FAMILIES = {
    "span_cvae": {"family": "span_cvae"},
    "sruner": {"family": "sruner"},
    "joint_ib": {"family": "joint_ib"},
}
HARD = [
    "Severe velosis in mRNA-transfected HeLa cells with p53del12 and IL2Rα, ΔF508, TGFβ1/Smad3-like naïve Sjögren.",
    "c.1799T>A (V600E), rs113488022 and NM_004333.4 of BRAF; 3.5mg/kg nirlazole-d4 per os.",
    "x1y2z3 AAAbbbCCC a1B2c3 10mM CD4+CD25+ T-cells",
]


def inside_unit(text: str, at: int) -> bool:
    """Whether a character continues the unit of the one before it: two digits, or two letters but for A-Z after others."""
    if not 0 < at < len(text):
        return False
    before, here = text[at - 1], text[at]
    if before.isdigit() and here.isdigit():
        return True
    capital = "A" <= here <= "Z" and not "A" <= before <= "Z"
    return before.isalpha() and here.isalpha() and not capital


def answers(bundle, texts) -> list[tuple[str, Mention]]:
    predictor = MentionPredictor(bundle.model, bundle.tokenizer, 4)
    found = predictor(texts, bundle.model.config.tasks)
    return [(text, mention) for text, mentions in zip(texts, found, strict=True) for mention in mentions]


@pytest.mark.parametrize("encoder", ["tiny", "t5"])
@pytest.mark.parametrize("options", [*TAGGERS.values(), *FAMILIES.values()], ids=[*TAGGERS, *FAMILIES])
def test_no_prediction_begins_or_ends_inside_a_unit(build_bundle, t5_dir, demo_texts, options, encoder):
    places = {"encoder": str(t5_dir)} if encoder == "t5" else {}
    found = answers(build_bundle(lively=True, **options, **places), [*HARD, *demo_texts[:8]])
    assert len(found) > 20
    wrong = [(text[m.start : m.end], m) for text, m in found if any(inside_unit(text, p) for p in (m.start, m.end))]
    assert not wrong, wrong[:5]
    assert all(0 < m.score <= 1 for _, m in found)


@pytest.mark.parametrize("options", [{}, {"classifier": "softmax"}])
def test_the_same_model_would_end_inside_units_if_every_token_were_one(build_bundle, demo_texts, monkeypatch, options):
    bundle = build_bundle(lively=True, **options)
    features = bundle.model.features
    everywhere = BEGINS | ENDS
    monkeypatch.setattr(
        bundle.model,
        "features",
        lambda *given: (own := features(*given)) | {"borders": [everywhere * bit for bit in own["chain_mask"]]},
    )
    found = answers(bundle, [*HARD, *demo_texts[:8]])
    assert sum(inside_unit(text, p) for text, m in found for p in (m.start, m.end)) > 20


def test_where_every_token_is_a_unit_a_softmax_chooses_token_by_token(build_bundle, demo_texts):
    bundle = build_bundle(lively=True, classifier="softmax")
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    batch = pad_batch([r.features for r in predictor.requests(demo_texts[:4])], predictor.padding)
    batch["borders"] = torch.full_like(batch["borders"], BEGINS | ENDS)
    with torch.no_grad():
        output = bundle.model(**batch)
    best, mask = bundle.model.best_labels(output, batch), batch["chain_mask"]
    scores, tags = output.logits.softmax(2).max(2)
    assert torch.equal(best["tags"][mask], tags[mask])
    torch.testing.assert_close(best["scores"][mask], scores[mask], rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"classifier": "softmax"}, {"label_first_token_only": True}])
def test_tags_and_scores_are_the_same_bit_for_bit_in_any_batch(build_bundle, demo_texts, options):
    """Given the same scores of the encoder, which itself rounds differently in batches of other shapes."""
    bundle = build_bundle(lively=True, **options)
    model, predictor = bundle.model, MentionPredictor(bundle.model, bundle.tokenizer)
    requests = predictor.requests([*demo_texts[:5], *HARD])
    features = [request.features for request in requests]
    batch = pad_batch(features, predictor.padding)
    with torch.no_grad():
        logits = model(**batch).logits
        together = model.decode(model.best_labels(NEROutput(logits=logits), batch), requests)
        assert sum(map(len, together)) > 20
        for row, request in enumerate(requests):
            alone = pad_batch([features[row]], predictor.padding)
            own = logits[row : row + 1, : alone["input_ids"].shape[1]]
            assert model.decode(model.best_labels(NEROutput(logits=own), alone), [request]) == [together[row]]


# ---- gold mentions


def gold(text: str, *surfaces: str) -> Document:
    mentions = [Mention(text.index(s), text.index(s) + len(s), "SpecificDisease") for s in surfaces]
    return Document("d", "demo_disease", text, tuple(mentions))


def test_gold_inside_a_unit_is_counted_and_neither_mention_nor_negative(build_bundle):
    bundle = build_bundle()
    document = gold("The xvelosis of mice and kelitis too", "velosis", "kelitis")
    (window,) = bundle.features.windower([document.text])[0]
    inside = [i for i, (s, e) in enumerate(window.offsets) if s < 12 and e > 5]
    assert any(s == 5 for s, _ in window.offsets)  # the border is one of tokens
    (feature,) = bundle.features.build([document]).features
    assert bundle.features.coverage.to_dict()["demo_disease"]["lost"] == {"unit_boundary": 1}
    before = feature["labels"].index(next(label for label in feature["labels"] if label >= 0))
    names = [bundle.model.config.id2label.get(label) for label in feature["labels"]]
    assert [names[before + i] for i in inside] == [None] * len(inside)
    assert names.count("B-Disease") == 1


@pytest.mark.parametrize("options", [{}, {"classifier": "softmax"}, {"label_first_token_only": True}])
def test_all_gold_that_is_taught_can_be_answered(build_bundle, demo_corpora, options):
    """Tags of training features, taken for the model's scores, come back as they are: none is ruled out."""
    bundle = build_bundle(**options)
    model: AIONERForTokenClassification = bundle.model
    if model.crf is not None:
        for parameter in model.crf.parameters():
            parameter.data.zero_()
    documents = demo_corpora["demo_disease"]["train"][:20]
    features = bundle.features.build(documents).features
    batch = pad_batch(features, bundle.collator.padding)
    labels, known = batch["labels"].clamp(min=0), batch["labels"] >= 0
    logits = 9.0 * torch.nn.functional.one_hot(labels, model.config.num_labels) * known.unsqueeze(2)
    best = model.best_labels(NEROutput(logits=logits), batch)
    assert (labels[known] != labels[known].mode().values).sum() > 20
    assert torch.equal(best["tags"][known], labels[known])


def test_requests_of_all_tasks_have_the_borders_of_their_window(shared_bundle):
    predictor = MentionPredictor(shared_bundle.model, shared_bundle.tokenizer)
    requests: list[Request] = predictor.requests([HARD[0]], shared_bundle.model.config.tasks)
    for request in requests:
        before = len(request.task.prefix_ids)
        own = request.features["borders"]
        assert len(own) == len(request.features["input_ids"])
        assert own[:before] == [0] * before
        units = request.window.units("pretoken")
        assert [i - before for i, bits in enumerate(own) if bits & BEGINS] == [start for start, _ in units]
    other = replace(requests[0].task, prefix_ids=(*requests[0].task.prefix_ids, 5))
    assert shared_bundle.model.features(requests[0].window, other)["borders"][before] == 0
