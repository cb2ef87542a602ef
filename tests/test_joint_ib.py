"""Joint information bottleneck: the prefix sums, the divergences, what trains what, and what is left at inference."""

from __future__ import annotations

import pytest
import torch
from helpers_joint_ib import batch_of, documents, gradients
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.modeling_joint_ib import divergence
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.spans import MeanSpanProjection, mean_spans, span_mask
from mosaic_ner.modeling.words import END, PAD, UNKNOWN, words_of
from torch.distributions import Normal, kl_divergence
from transformers import AutoModel

# ---- spans


def test_means_from_prefix_sums_are_those_of_loops():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 20, 6, generator=generator, dtype=torch.double, requires_grad=True)
    starts = torch.tensor([[1, 2, 5, 9, -1], [1, 4, 6, 7, 12]])
    ends = torch.tensor([[1, 4, 8, 9, -1], [3, 5, 6, 11, 18]])
    projection = MeanSpanProjection(6, 5).double()
    grid = projection(hidden, starts, ends, 3)
    assert grid.shape == (2, 5, 3, 5)
    mask = span_mask(starts >= 0, 3)
    expected, spans = torch.zeros_like(grid), []
    for row, first, width in mask.nonzero().tolist():
        begin, end = int(starts[row, first]), int(ends[row, first + width])
        mean = sum(hidden[row, t] for t in range(begin, end + 1)) / (end + 1 - begin)
        spans.append(torch.cat([hidden[row, begin], mean, hidden[row, end]]))
        expected[row, first, width] = projection.first(hidden[row, begin]) + projection.mean(mean)
        expected[row, first, width] += projection.last(hidden[row, end])
    torch.testing.assert_close(grid[mask], expected[mask], rtol=0, atol=1e-12)
    rows, first, width = mask.nonzero(as_tuple=True)
    some = mean_spans(hidden, starts, ends, rows, first, first + width)
    torch.testing.assert_close(some, torch.stack(spans), rtol=0, atol=1e-12)
    one, other = (torch.autograd.grad(x[mask].square().sum(), hidden, retain_graph=True)[0] for x in (grid, expected))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_spans_beyond_a_short_window_are_no_larger_than_those_in_it():
    # Otherwise a variance made from them overflows, and the gradient of what is masked is NaN.
    torch.manual_seed(0)
    project = MeanSpanProjection(6, 5)
    starts = torch.arange(400).repeat(2, 1)
    starts[1, 300:] = -1
    hidden = torch.rand(2, 400, 6)
    grid = project(hidden, starts, starts, 14).abs()
    inside = span_mask(starts >= 0, 14)
    assert grid[~inside].max() <= 3 * grid[inside].max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_means_in_half_precision_are_as_good_as_the_numbers(dtype):
    torch.manual_seed(0)
    project, hidden = MeanSpanProjection(16, 8).double(), torch.randn(1, 500, 16).double() + 2
    units = torch.arange(500).unsqueeze(0)
    exact = project(hidden, units, units, 6)
    rough = project.to(dtype)(hidden.to(dtype), units, units, 6)
    assert rough.dtype == dtype
    inside = span_mask(units >= 0, 6)
    assert (rough.double() - exact)[inside].abs().max() < 12 * torch.finfo(dtype).eps * exact.abs().max()


def test_divergences_are_the_closed_forms():
    mean, variance, at, spread = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    standard = kl_divergence(Normal(mean, (variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, variance), standard)
    both = kl_divergence(Normal(mean, (variance / 2).exp()), Normal(at, (spread / 2).exp())).sum(-1)
    torch.testing.assert_close(divergence(mean, variance, at, spread), both)
    assert (divergence(at, spread, at, spread).abs() < 1e-12).all()


# ---- the loss


def test_terms_add_up_and_have_their_weights(ib):
    bundle = ib(beta=0.5, gamma=0.25)
    model, batch = bundle.model.eval(), batch_of(bundle)
    output = model(**batch)
    names = {"bce", "compression", "span_words", "span_kl", "synonym_words", "synonym_kl"}
    assert set(output.loss_terms) == names
    torch.testing.assert_close(output.loss, sum(output.loss_terms.values()))
    before = dict(output.loss_terms)
    model.config.beta, model.config.gamma = 1.0, 1.0
    after = model(**batch).loss_terms
    for name in names:
        torch.testing.assert_close(after[name], before[name] * {"bce": 1, "compression": 2}.get(name, 4))


def test_gamma_weighs_what_goes_back_into_the_encoder_alone(ib):
    bundle = ib(compressed=False)
    model, batch = bundle.model.eval(), batch_of(bundle)
    found = {}
    for gamma in (0.1, 0.001):
        model.config.gamma = gamma
        terms = model(**batch).loss_terms
        parts = [n for n in terms if n != "bce"]
        model.zero_grad()
        sum(terms[n] for n in parts).backward()
        own = torch.cat([p.grad.flatten() for p in model.generator.parameters()])
        rest = torch.cat([p.grad.flatten() for p in model.encoder.parameters()])
        found[gamma] = own, rest, sum(terms[n] for n in parts).detach()
    torch.testing.assert_close(found[0.1][0], found[0.001][0])
    torch.testing.assert_close(found[0.1][1], 100 * found[0.001][1], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found[0.1][2], 100 * found[0.001][2])


def test_the_divergences_of_generation_have_a_weight(ib):
    terms = {}
    for weight in (0.0, 0.25, 1.0):
        bundle = ib(gamma=0.25, compressed=False, kl_weight=weight)
        torch.manual_seed(0)
        terms[weight] = bundle.model.train()(**batch_of(bundle)).loss_terms
    for name, value in terms[1.0].items():
        share = {0.0: 0.0, 0.25: 0.25} if name.endswith("_kl") else {0.0: 1.0, 0.25: 1.0}
        for weight, factor in share.items():
            torch.testing.assert_close(terms[weight][name], factor * value)


def test_only_gold_spans_train_the_generator(ib):
    bundle = ib()
    model, batch = bundle.model.eval(), batch_of(bundle)
    span = model.generator
    rows, columns = (batch["span_cells"] >= 0).nonzero(as_tuple=True)
    cells = batch["span_cells"][rows, columns]
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    first, width = cells // 4, cells % 4
    spans = mean_spans(hidden, batch["unit_starts"], batch["unit_ends"], rows, first, first + width)
    error, distance = span.loss(spans, batch["span_words"][rows, columns])
    scale = 0.1 / (len(batch["input_ids"]) * 64)
    terms = model(**batch).loss_terms
    torch.testing.assert_close(terms["span_words"], scale * error.detach())
    torch.testing.assert_close(terms["span_kl"], scale * distance.detach())
    empty = batch | {"span_cells": torch.full_like(batch["span_cells"], -1)}
    empty["synonym_cells"] = torch.full_like(batch["synonym_cells"], -1)
    assert "generator" not in gradients(model, model(**empty).loss)
    assert "generator" in gradients(model, model(**batch).loss)


def test_the_decoder_s_loss_is_word_by_word(ib):
    generator = ib().model.generator.eval()
    decoder, vectors = generator.reconstruction, generator.words
    latent = torch.randn(2, 8, generator=torch.Generator().manual_seed(1)).double()
    words = torch.tensor([[5, 7, END, PAD], [6, END, PAD, PAD]])
    losses = decoder(latent, words, vectors)
    for row, spelt in enumerate(([5, 7, END], [6, END])):
        state = torch.tanh(decoder.state(latent[row : row + 1])).unsqueeze(0)
        state, before, total = (state, torch.zeros_like(state)), 1, 0.0
        for word in spelt:
            inputs = torch.cat([vectors.weight[before], latent[row]]).view(1, 1, -1)
            hidden, state = decoder.lstm(inputs, state)
            total = total - decoder.output(hidden.view(-1)).log_softmax(0)[word]
            before = word
        torch.testing.assert_close(losses[row], total)


@pytest.mark.parametrize(
    ("tied", "own"), [("mean", {"variance"}), ("mean_and_variance", set()), ("none", {"mean", "variance"})]
)
def test_what_is_tied_is_shared(ib, tied, own):
    model = ib(tied=tied).model
    spans = torch.randn(3, 3 * model.config.encoder_config.hidden_size).double()
    one, other = model.generator.moments(spans), model.generator.moments(spans, synonyms=True)
    same = {name: torch.equal(a, b) for name, a, b in zip(("mean", "variance"), one, other, strict=True)}
    assert {name for name, equal in same.items() if not equal} == own


# ---- the phase that trains the generative parts alone


def test_in_the_first_epochs_the_bundle_s_loss_is_that_of_the_generative_parts(ib):
    bundle = ib(pretraining=2.0)
    model, batch = bundle.model.train(), batch_of(bundle)
    output = model(**batch)
    generative = {name: term for name, term in output.loss_terms.items() if name not in ("bce", "compression")}
    assert set(generative) == {"span_words", "span_kl", "synonym_words", "synonym_kl"}
    for epoch in (0.0, 1.9):
        torch.testing.assert_close(bundle.loss(output, epoch), sum(generative.values()))
    assert gradients(model, bundle.loss(output, 1.9)) == {"encoder", "generator"}
    # The others have a gradient, of 0: on several processes each waits for every parameter's.
    waiting = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    output = model(**batch)
    assert bundle.loss(output, 2.0) is output.loss
    assert gradients(model, bundle.loss(output, 2.0)) >= {"encoder", "generator", "hidden", "mean", "classifier"}
    assert waiting == {name for name, parameter in model.named_parameters() if parameter.grad is None}


def test_without_such_epochs_the_bundle_s_loss_is_the_model_s(ib):
    bundle = ib()
    output = bundle.model.train()(**batch_of(bundle))
    assert bundle.loss(output, 0.0) is output.loss


def test_the_trainer_minimises_the_loss_of_the_epoch(ib, trainer_for):
    bundle = ib(exact=False, pretraining=1.0)
    before = {name: parameter.detach().clone() for name, parameter in bundle.model.named_parameters()}
    moved = []

    def train(epochs: int) -> None:
        dataset = bundle.features.build(documents()[:2])
        options = {"num_train_epochs": epochs, "weight_decay": 0.0, "learning_rate": 1e-3}
        trainer_for(bundle, dataset, **options, per_device_train_batch_size=4).train()
        after = bundle.model.named_parameters()
        moved.append({name.split(".")[0] for name, p in after if not torch.equal(p, before[name])})

    train(1)
    train(2)
    assert moved[0] == {"encoder", "generator"}
    assert moved[1] >= {"encoder", "generator", "hidden", "mean", "classifier"}


# ---- unknown is never negative


def test_types_that_the_corpus_does_not_annotate_get_no_gradient(ib):
    bundle = ib(gamma=0.0)
    model = bundle.model.train()
    features = [f for f in bundle.features.build(documents()).features if f["cells"]]
    number = model.config.task_index("demo_gene")
    batch = bundle.collator([f for f in features if f["corpus_ids"] == number][:2])
    model(**batch).loss.backward()
    own = [corpus == "demo_gene" for corpus, _ in model.config.types]
    moved = model.classifier.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == own


# ---- features, decoding, saving


def test_several_types_of_one_span_and_nested_mentions_come_through(ib):
    bundle = ib()
    text = "severe breast cancer"
    mentions = (Mention(7, 20, "Disease"), Mention(7, 20, "Gene"), Mention(14, 20, "Disease"), Mention(0, 20, "Gene"))
    document = Document("1", "demo_all", text, mentions)
    feature = bundle.features.build([document]).features[0]
    assert not bundle.features.coverage.lost["demo_all"]
    batch = bundle.collator([feature])
    model, types = bundle.model, bundle.model.config.types
    gold = torch.full((1, batch["unit_starts"].shape[1], 4, len(types)), -9.0)
    for cell, kind in zip(feature["cells"], feature["cell_labels"], strict=True):
        gold[0, cell // 4, cell % 4, kind] = 9.0
    (window,) = bundle.features.windower([text])[0]
    request = Request(window, model.config.task("demo_all"), feature)
    (found,) = model.decode(model.best_labels(NEROutput(logits=gold), batch), [request])
    offsets = window.offsets
    assert {Mention(offsets[s.start][0], offsets[s.end - 1][1], name) for s, name, _ in found} == set(mentions)
    assert sorted(feature["span_cells"]) == sorted(set(feature["cells"]))


def test_own_types_with_the_same_shared_one_are_one_event_where_shared_types_are_told(ib):
    bundle = ib()
    model, types = bundle.model, bundle.model.config.types
    text = "severe breast cancer"
    scores = {("demo_disease", "SpecificDisease"): 0.4, ("demo_disease", "Modifier"): 0.4, ("demo_all", "Disease"): 0.3}
    found = {}
    (window,) = bundle.features.windower([text])[0]
    disease, every = model.config.task("demo_disease"), model.config.task("demo_all")
    (native,) = model.tasks_named(["demo_disease"], "native")
    for task in (disease, native, every, None):
        feature = model.features(window, task)
        batch = bundle.collator([feature])
        logits = torch.full((1, batch["unit_starts"].shape[1], 4, len(types)), -30.0)
        for kind, probability in scores.items():
            logits[0, 1, 1, types.index(kind)] = torch.tensor(probability).logit()
        request = Request(window, task or model.default_task(), feature)
        (spans,) = model.decode(model.best_labels(NEROutput(logits=logits), batch), [request])
        found[task] = [(name, pytest.approx(score, abs=1e-6)) for _, name, score in spans]
    # 1 - 0.6 · 0.6 for the corpus's two types; another corpus's disease is another event.
    assert found == {
        disease: [("Disease", 0.64)],
        native: [],
        every: [],
        None: [("Disease", 0.64)],
    }


def test_words_are_numbered_and_unknown_ones_told_apart(ib):
    bundle = ib(synonyms={"velosis": ("velotic state",)})
    assert words_of("IL-2, α-chain (p53)") == ["IL", "-", "2", ",", "α", "-", "chain", "(", "p53", ")"]
    document = Document("1", "demo_all", "velosis qwertz", (Mention(0, 7, "Disease"), Mention(8, 14, "Gene")))
    feature = bundle.features.build([document]).features[0]
    assert feature["span_words"][1] == [UNKNOWN, END]
    assert feature["synonym_cells"] == [feature["span_cells"][0]]
    assert PAD not in feature["synonym_words"][0]


def test_without_the_generator_predictions_are_the_same(ib, demo_texts, tmp_path):
    bundle = ib(exact=False)
    with torch.no_grad():
        bundle.model.classifier.bias.zero_()
        bundle.model.classifier.weight *= 40
    expected = MentionPredictor(bundle.model, bundle.tokenizer)(demo_texts[:3])
    assert any(expected)
    bundle.save(tmp_path / "small", inference_only=True)
    bundle.save(tmp_path / "whole")
    for name in ("small", "whole"):
        model = AutoModel.from_pretrained(tmp_path / name)
        assert (model.generator is None) == (name == "small")
        assert model.config.vocabulary == ([] if name == "small" else bundle.model.config.vocabulary)
        assert MentionPredictor(model, bundle.tokenizer)(demo_texts[:3]) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tied": "some"}, "tied is 'some'; expected one of mean, mean_and_variance, none"),
        ({"ib_prior": "x"}, "ib_prior is 'x'"),
        ({"beta": -1}, "beta is -1; expected 0 or more"),
        ({"threshold": 2}, "threshold is 2"),
        ({"kl_weight": -0.5}, "kl_weight is -0.5; expected 0 or more"),
        ({"max_span_width": 0}, "max_span_width is 0"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        JointIBConfig(label_space=DEMO_LABEL_SPACE.to_dict(), **options)


def test_generated_words_end_and_are_of_the_vocabulary(ib):
    model = ib().model.eval()
    generator = model.generator
    words = generator.reconstruction.generate(torch.randn(5, 8).double() * 9, 6, generator.words)
    assert words.shape == (5, 6)
    assert int(words.max()) < len(model.config.vocabulary) + UNKNOWN + 1
    for row in words.tolist():
        ended = row.index(PAD) if PAD in row else 6
        assert set(row[ended:]) <= {PAD}
        assert END not in row
