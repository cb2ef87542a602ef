"""CVAE-NER's scores and losses against the textbook, its prior vectors against the paper."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers_span_cvae import EXAMPLE, SMALL, run, some_features
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.modeling_span_cvae import prior_distribution_vectors
from torch.distributions import Normal, kl_divergence

TEN = ("biored", "bc5cdr", "bioid", "gnormplus", "linnaeus", "ncbi_disease", "nlm_chem", "nlm_gene", "s800", "tmvar3")


@pytest.fixture
def exact(build_bundle):
    """Function: options → a lively bundle in float64 without dropout, in evaluation mode."""

    def build(**options):
        bundle = build_bundle(**(SMALL | {"lively": True, "alpha": 0.3} | options))
        bundle.model.double().eval()
        if bundle.model.cvae is not None:  # variances near 1, or the loss is nothing but their exponentials
            with torch.no_grad():
                bundle.model.cvae.moments.weight.mul_(0.05)
        return bundle

    return build


# ---- scores and losses, span by span


def spans_of(bundle, feature):
    """(i, w, h by explicit concatenation, (corpus, native type) or None where left out) of each span of one window."""
    model, config = bundle.model, bundle.model.config
    batch = bundle.collator([feature])
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state[0]
    corpus = config.tasks[feature["corpus_ids"]].name
    gold = dict(zip(feature["cells"], feature["cell_labels"], strict=True))
    weight = torch.cat([model.span.start.weight, model.span.end.weight, model.span.width.weight], 1)
    units = len(feature["unit_starts"])
    for i, w in itertools.product(range(units), range(config.max_span_width)):
        if i + w < units:
            ends = hidden[feature["unit_starts"][i]], hidden[feature["unit_ends"][i + w]]
            h = weight @ torch.cat([*ends, model.span.widths.weight[w]]) + model.span.start.bias
            label = gold.get(i * config.max_span_width + w, config.labels.labels.index((corpus, "NEGATIVE")))
            yield i, w, h, None if label < 0 else config.labels.labels[label]


def scores_of(model, corpus, h):
    """The two fully connected layers of a corpus on one embedding, (outputs,)."""
    config = model.config
    row = 0 if config.labels_per == "shared" else config.task_index(corpus)
    own = slice(row * config.hidden_size, (row + 1) * config.hidden_size)
    return model.classifier(torch.relu(model.hidden.weight[own] @ h + model.hidden.bias[own]))


def own_outputs(config, corpus) -> list[int]:
    """The classifier's outputs that a corpus has, told by their names."""
    space = config.labels
    names = {f"{corpus}:{t}" for t in [*space.native_types(corpus), "O"]}
    if config.labels_per == "shared":
        names = {space.shared(corpus, t) or f"{corpus}:{t}" for t in space.native_types(corpus)} | {"O"}
    return [number for name, number in config.label2id.items() if name in names]


def output_of(config, corpus, native) -> int:
    negative = native == "NEGATIVE"
    if config.labels_per == "shared":
        shared = "O" if negative else config.labels.shared(corpus, native)
        return config.label2id[shared or f"{corpus}:{native}"]
    return config.label2id[f"{corpus}:{'O' if negative else native}"]


@pytest.mark.parametrize("labels_per", ["corpus", "shared"])
def test_scores_are_a_softmax_over_the_corpus_s_own_labels(exact, demo_corpora, labels_per):
    bundle = exact(labels_per=labels_per)
    model, config = bundle.model, bundle.model.config
    features = some_features(bundle, demo_corpora)
    output, batch = run(bundle, features)
    widest = config.max_span_width
    assert output.logits.shape == (*batch["unit_starts"].shape, widest, config.num_labels)
    embeddings = model.span_embeddings(*(batch[k] for k in ("input_ids", "attention_mask", "unit_starts", "unit_ends")))
    probabilities = output.logits.softmax(3)
    for row, feature in enumerate(features):
        corpus = config.tasks[feature["corpus_ids"]].name
        own = own_outputs(config, corpus)
        for i, w, h, _ in spans_of(bundle, feature):
            torch.testing.assert_close(embeddings[row, i, w], h, rtol=0, atol=1e-10)
            scores = scores_of(model, corpus, h)
            expected = torch.zeros(config.num_labels, dtype=torch.float64)
            expected[own] = scores[own].softmax(0)
            torch.testing.assert_close(probabilities[row, i, w], expected, rtol=0, atol=1e-10)
            foreign = sorted(set(range(config.num_labels)) - set(own))
            assert (probabilities[row, i, w][foreign] == 0).all()


def test_plain_calls_take_every_token_between_the_special_ones_as_a_unit(exact, demo_texts):
    bundle = exact()
    inputs = bundle.tokenizer([demo_texts[0][:50], demo_texts[1][:90]], return_tensors="pt", padding=True)
    logits = bundle.model(**inputs).logits
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        ids = inputs["input_ids"][row, :length].tolist()
        places = list(range(2, length - 1))
        feature = {"input_ids": ids, "unit_starts": places, "unit_ends": places, "corpus_ids": 0}
        alone = run(bundle, [feature])[0].logits
        for i, w in itertools.product(range(len(places)), range(3)):
            if i + w < len(places):
                torch.testing.assert_close(logits[row, i, w], alone[0, i, w], rtol=0, atol=1e-10)


def cvae_by_hand(model, h, label, draw):
    """(-log p(h | z, c) without its constant, KL) of one span, from distributions and whole concatenations."""
    cvae = model.cvae
    c = cvae.prior[model.config.labels.labels.index(label)]
    joint = torch.cat([cvae.recognition.weight, cvae.recognition_prior.weight], 1)
    mean, log_variance = cvae.moments(torch.relu(joint @ torch.cat([h, c]) + cvae.recognition.bias)).chunk(2)
    q = Normal(mean, torch.exp(log_variance / 2))
    z = mean if draw is None else mean + q.stddev * draw
    joint = torch.cat([cvae.generation.weight, cvae.generation_prior.weight], 1)
    guess = cvae.reconstruction(torch.relu(joint @ torch.cat([z, c]) + cvae.generation.bias))
    p = Normal(guess, torch.ones_like(guess))
    constant = Normal(0.0, 1.0).log_prob(torch.tensor(0.0, dtype=h.dtype)) * len(h)
    return constant - p.log_prob(h).sum(), kl_divergence(q, Normal(0.0, 1.0)).sum()


@pytest.mark.parametrize("sampled", [False, True])
def test_the_loss_is_that_of_the_paper(exact, demo_corpora, monkeypatch, sampled):
    bundle = exact()
    model, config = bundle.model, bundle.model.config
    features = some_features(bundle, demo_corpora, count=1)
    model.cvae.train(sampled)
    drawn = []

    def noise(like):
        drawn.append(torch.randn(like.shape, dtype=like.dtype))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn_like", noise)
    output, _ = run(bundle, features)
    assert len(drawn) == sampled
    ce = error = divergence = 0.0
    counted = 0
    for row, feature in enumerate(features):
        for i, w, h, label in spans_of(bundle, feature):
            if label is None:
                continue
            counted += label[1] != "NEGATIVE"
            own = own_outputs(config, label[0])
            scores = scores_of(model, label[0], h)[own].log_softmax(0)
            ce -= scores[own.index(output_of(config, *label))]
            one, other = cvae_by_hand(model, h, label, drawn[0][row, i, w] if sampled else None)
            error, divergence = error + one, divergence + other
    assert counted > 3
    scale = len(features) * config.max_tokens
    terms = {"ce": ce, "reconstruction": error, "kl": divergence, "cvae": error + divergence}
    assert set(output.loss_terms) == set(terms)
    for name, value in terms.items():
        assert value > 0
        torch.testing.assert_close(output.loss_terms[name], value / scale, rtol=1e-10, atol=0)
    loss = (ce + config.alpha * (error + divergence)) / scale
    torch.testing.assert_close(output.loss, loss, rtol=1e-10, atol=0)


def gradients(bundle, features) -> dict[str, torch.Tensor]:
    bundle.model.zero_grad()
    output, _ = run(bundle, features)
    output.loss.backward()
    found = {n: p.grad.clone() for n, p in bundle.model.named_parameters() if p.grad is not None}
    return found | {f"term {n}": v.detach() for n, v in output.loss_terms.items()} | {"loss": output.loss.detach()}


@pytest.mark.parametrize("labels_per", ["corpus", "shared"])
def test_a_batch_is_the_mean_of_its_windows_alone_whatever_the_padding(exact, demo_corpora, labels_per):
    bundle = exact(labels_per=labels_per)
    features = some_features(bundle, demo_corpora)
    assert len({len(f["cells"]) for f in features}) > 1
    together = gradients(bundle, features)
    alone = [gradients(bundle, [f]) for f in features]
    assert len(together) == 5 + len(list(bundle.model.parameters()))
    for name, value in together.items():
        mean = sum(a[name] for a in alone) / len(alone)
        torch.testing.assert_close(value, mean, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_windows_without_gold_spans_are_trained_on_as_negatives(exact, demo_corpora):
    bundle = exact()
    (feature, *_) = some_features(bundle, demo_corpora)
    empty = feature | {"cells": [], "cell_labels": []}
    output, _ = run(bundle, [empty, empty])
    alone, _ = run(bundle, [empty])
    assert output.loss.item() == pytest.approx(alone.loss.item()) != run(bundle, [feature])[0].loss.item()


# ---- unknown is never negative


@pytest.mark.parametrize("corpus", list(DEMO_LABEL_SPACE.corpora))
def test_labels_of_other_corpora_get_no_gradient_at_all(exact, demo_corpora, corpus):
    bundle = exact()
    found = gradients(bundle, some_features(bundle, demo_corpora, [corpus], count=8))
    config = bundle.model.config
    own = own_outputs(config, corpus)
    foreign = sorted(set(range(config.num_labels)) - set(own))
    for name in ("classifier.weight", "classifier.bias"):
        assert (found[name][foreign] == 0).all()
        assert (found[name][own].flatten(1).abs().sum(1) > 0).all() if name == "classifier.weight" else True
    # The classifiers are separate down to the first layer; the span embedding is shared (section 4.3).
    for name in ("hidden.weight", "hidden.bias"):
        moved = found[name].unflatten(0, (len(config.tasks), config.hidden_size)).flatten(1).abs().sum(1) > 0
        assert moved.tolist() == [task.name == corpus for task in config.tasks]
    assert all((found[f"span.{name}.weight"] != 0).any() for name in ("start", "end", "width"))
    rows = [number for number, (c, _) in enumerate(config.labels.labels) if c == corpus]
    other = sorted(set(range(len(config.labels.labels))) - set(rows))
    assert (found["cvae.prior"][other] == 0).all()
    assert (found["cvae.prior"][rows].abs().sum(1) > 0).sum() > 1


def test_shared_outputs_learn_from_every_corpus_that_has_the_type(exact, demo_corpora):
    bundle = exact(labels_per="shared")
    config = bundle.model.config
    for corpus in DEMO_LABEL_SPACE.corpora:
        found = gradients(bundle, some_features(bundle, demo_corpora, [corpus], count=8))["classifier.weight"]
        moved = {config.id2label[i] for i in range(config.num_labels) if found[i].abs().sum() > 0}
        types = {DEMO_LABEL_SPACE.shared(corpus, t) or f"{corpus}:{t}" for t in DEMO_LABEL_SPACE.native_types(corpus)}
        assert moved == {"O"} | types


def test_spans_left_out_of_the_loss_change_nothing(exact, demo_corpora):
    bundle = exact()
    (feature, *_) = some_features(bundle, demo_corpora, count=1)
    free = [c for c in range(6) if c not in feature["cells"]]
    extra = {"cells": [*feature["cells"], free[0]], "cell_labels": [*feature["cell_labels"], -100]}
    less = run(bundle, [feature | extra])[0].loss_terms
    every = run(bundle, [feature])[0].loss_terms
    h, label = next((h, label) for i, w, h, label in spans_of(bundle, feature) if 3 * i + w == free[0])
    assert label[1] == "NEGATIVE"
    error, divergence = cvae_by_hand(bundle.model, h, label, None)
    scale = bundle.model.config.max_tokens
    assert (every["reconstruction"] - less["reconstruction"]).item() == pytest.approx(error.item() / scale)
    assert (every["kl"] - less["kl"]).item() == pytest.approx(divergence.item() / scale)
    assert every["ce"] > less["ce"]


# ---- prior distribution vectors


def named(space) -> list[str]:
    return [native if native != "NEGATIVE" else f"O_{corpus[0].upper()}" for corpus, native in space.labels]


def test_the_paper_s_example():
    vectors = prior_distribution_vectors(EXAMPLE)
    assert vectors.shape == (6, 9)
    columns = [*named(EXAMPLE), *EXAMPLE.shared_types, "O"]
    ones = {
        n: {columns[i] + ("" if i < 6 else "*") for i in v.nonzero()}
        for n, v in zip(named(EXAMPLE), vectors, strict=True)
    }
    assert ones == {
        "Chemical_T": {"Chemical_T", "Chemical*"},
        "Protein_T": {"Protein_T", "Protein*"},
        "O_T": {"O_T", "O*"},
        "Disease_S": {"Disease_S"},
        "Protein_S": {"Protein_S", "Protein*"},
        "O_S": {"O_S", "O*"},
    }
    assert set(vectors.unique().tolist()) == {0.0, 1.0}


def test_the_ten_corpora_have_47_labels_and_seven_in_common():
    space = load_label_mapping(scheme="shared").restricted_to(TEN)
    full, fixed, unshared, shared = (
        prior_distribution_vectors(space, name) for name in ("full", "fixed", "unshared", "shared")
    )
    assert full.shape == (47, 54)
    assert torch.equal(full, fixed)
    assert torch.equal(unshared, torch.eye(47, 54))
    assert torch.equal(shared, full - unshared)
    assert (shared[:, :47] == 0).all()
    unmapped = [n for n, (c, t) in enumerate(space.labels) if t != "NEGATIVE" and space.shared(c, t) is None]
    assert unmapped
    assert [n for n in range(47) if not shared[n].any()] == unmapped
    assert shared[:, 53].sum() == 10  # each corpus's negative
    torch.manual_seed(0)
    random = prior_distribution_vectors(space, "random")
    assert random.shape == full.shape
    assert random.square().sum(1).mean().item() == pytest.approx(2, rel=0.1)
    assert random.std().item() == pytest.approx((2 / 54) ** 0.5, rel=0.05)


@pytest.mark.parametrize("prior", ["full", "fixed", "unshared", "shared"])
def test_models_begin_with_their_prior_vectors(build_bundle, prior):
    model = build_bundle(**SMALL, prior=prior).model
    assert torch.equal(model.cvae.prior.data, prior_distribution_vectors(DEMO_LABEL_SPACE, prior))
    assert model.cvae.prior.requires_grad == (prior != "fixed")


@pytest.mark.parametrize("prior", ["full", "fixed", "random"])
def test_prior_vectors_move_unless_fixed_and_everything_is_optimised(build_bundle, demo_corpora, trainer_for, prior):
    bundle = build_bundle(**SMALL, prior=prior, alpha=1.0)
    dataset = bundle.features.build(demo_corpora["demo_chem"]["train"][:4])
    options = {"learning_rate": 1e-3, "head_learning_rate": 1e-2, "weight_decay": 0.05, "max_steps": 3}
    trainer = trainer_for(bundle, dataset, **options, per_device_train_batch_size=2)
    groups = trainer.create_optimizer().param_groups
    names = {id(p): n for n, p in bundle.model.named_parameters()}
    placed = [names[id(p)] for g in groups for p in g["params"]]
    assert sorted(placed) == sorted(n for n in names.values() if n != "cvae.prior" or prior != "fixed")
    for group in groups:
        for name in (names[id(p)] for p in group["params"]):
            assert group["lr"] == (1e-3 if name.startswith("encoder.") else 1e-2), name
            assert group["weight_decay"] == (0 if name.endswith("bias") or "norm" in name else 0.05), name
    before = {n: p.detach().clone() for n, p in bundle.model.named_parameters()}
    trainer.train()
    after = dict(bundle.model.named_parameters())
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert ("cvae.prior" in moved) == (prior != "fixed")
    assert {n for n in before if n.endswith("bias")} <= moved
    logged = [row for row in trainer.state.log_history if "loss" in row]
    for row in logged:
        terms = {k.removeprefix("loss_"): v for k, v in row.items() if k.startswith("loss_")}
        assert set(terms) == {"ce", "cvae", "reconstruction", "kl"}
        assert terms["cvae"] == pytest.approx(terms["reconstruction"] + terms["kl"], rel=1e-3)
        assert row["loss"] == pytest.approx(terms["ce"] + 1.0 * terms["cvae"], rel=1e-3)
    assert len(logged) == 3


def test_half_precision_trains_too(build_bundle, demo_corpora):
    bundle = build_bundle(**SMALL, alpha=1.0)
    bundle.model.bfloat16().train()
    found = gradients(bundle, some_features(bundle, demo_corpora))
    assert all(torch.isfinite(value).all() for value in found.values())
    assert found["term kl"].dtype == torch.float32
    assert found["cvae.prior"].abs().sum() > 0
