"""CVAE-NER: its scores and losses against the textbook, its prior vectors against the paper, saving without the CVAE."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.configuration_span_cvae import SpanCVAEConfig
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError, LabelSpace
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.modeling_span_cvae import NATIVE, SpanCVAEForNER, prior_distribution_vectors
from mosaic_ner.prediction.loading import load
from safetensors.torch import load_file
from torch.distributions import Normal, kl_divergence

TEN = ("biored", "bc5cdr", "bioid", "gnormplus", "linnaeus", "ncbi_disease", "nlm_chem", "nlm_gene", "s800", "tmvar3")
EXAMPLE = LabelSpace(
    {
        "target": {"Chemical_T": "Chemical", "Protein_T": "Protein"},
        "source": {"Disease_S": None, "Protein_S": "Protein"},
    }
)
SMALL = {"family": "span_cvae", "max_span_width": 3, "latent_size": 5, "hidden_size": 7, "dropout": 0.0}


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


def some_features(bundle, demo_corpora, corpora=tuple(DEMO_LABEL_SPACE.corpora), count=2) -> list[dict]:
    """Short windows of several corpora with gold spans, of different lengths."""
    found = []
    for corpus in corpora:
        built = bundle.features.build(demo_corpora[corpus]["train"][:6]).features
        found += sorted((f for f in built if f["cells"]), key=lambda f: len(f["input_ids"]))[:count]
    assert len({len(f["input_ids"]) for f in found}) > 1
    return found


def run(bundle, features) -> tuple[NEROutput, dict]:
    batch = pad_batch(features, bundle.tokenizer.pad_token_id)
    return bundle.model(**batch), batch


# ---- scores and losses, span by span


def spans_of(bundle, feature):
    """(i, w, h by explicit concatenation, (corpus, native type) or None where left out) of each span of one window."""
    model, config = bundle.model, bundle.model.config
    batch = pad_batch([feature], bundle.tokenizer.pad_token_id)
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state[0]
    corpus = config.tasks[feature["corpus_ids"]]["name"]
    gold = dict(zip(feature["cells"], feature["cell_labels"], strict=True))
    weight = torch.cat([model.span.start.weight, model.span.end.weight, model.span.width.weight], 1)
    units = len(feature["unit_starts"])
    for i, w in itertools.product(range(units), range(config.max_span_width)):
        if i + w < units:
            ends = hidden[feature["unit_starts"][i]], hidden[feature["unit_ends"][i + w]]
            h = weight @ torch.cat([*ends, model.span.widths.weight[w]]) + model.span.start.bias
            label = gold.get(i * config.max_span_width + w, config.labels.labels.index((corpus, "NEGATIVE")))
            yield i, w, h, None if label < 0 else config.labels.labels[label]


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
        own = own_outputs(config, config.tasks[feature["corpus_ids"]]["name"])
        for i, w, h, _ in spans_of(bundle, feature):
            torch.testing.assert_close(embeddings[row, i, w], h, rtol=0, atol=1e-10)
            scores = model.classifier(torch.relu(model.hidden(h)))
            expected = torch.zeros(config.num_labels, dtype=torch.float64)
            expected[own] = scores[own].softmax(0)
            torch.testing.assert_close(probabilities[row, i, w], expected, rtol=0, atol=1e-10)
            foreign = sorted(set(range(config.num_labels)) - set(own))
            assert (probabilities[row, i, w][foreign] == 0).all()


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
            scores = model.classifier(torch.relu(model.hidden(h)))[own].log_softmax(0)
            ce -= scores[own.index(output_of(config, *label))]
            one, other = cvae_by_hand(model, h, label, drawn[0][row, i, w] if sampled else None)
            error, divergence = error + one, divergence + other
    assert counted > 3
    scale = len(features) * config.max_tokens
    terms = {"ce": ce, "reconstruction": error, "kl": divergence, "cvae": error + divergence}
    assert set(output.loss_terms) == set(terms)
    for name, value in terms.items():
        assert value > 0
        torch.testing.assert_close(output.loss_terms[name], value.detach() / scale, rtol=1e-10, atol=0)
        assert not output.loss_terms[name].requires_grad
    loss = (ce + config.alpha * (error + divergence)) / scale
    torch.testing.assert_close(output.loss, loss, rtol=1e-10, atol=0)


def gradients(bundle, features) -> dict[str, torch.Tensor]:
    bundle.model.zero_grad()
    output, _ = run(bundle, features)
    output.loss.backward()
    found = {n: p.grad.clone() for n, p in bundle.model.named_parameters() if p.grad is not None}
    return found | {f"term {n}": v for n, v in output.loss_terms.items()} | {"loss": output.loss.detach()}


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


# ---- saving and loading


def answers(model, tokenizer, texts, tasks=None):
    return [[(m.key, m.score) for m in found] for found in MentionPredictor(model, tokenizer)(texts, tasks)]


def test_a_model_saved_for_inference_has_no_cvae_and_answers_the_same(build_bundle, demo_texts, tmp_path):
    bundle = build_bundle(**SMALL, lively=True)
    before = copy.deepcopy(bundle.model.state_dict())
    for name, only in (("whole", False), ("inference", True)):
        bundle.model.save_pretrained(tmp_path / name, inference_only=only)
        bundle.tokenizer.save_pretrained(tmp_path / name)
        assert bundle.model.config.inference_only is False
        assert bundle.model.cvae is not None
        assert bundle.model.state_dict().keys() == before.keys()
    kept = load_file(tmp_path / "inference" / "model.safetensors")
    every = load_file(tmp_path / "whole" / "model.safetensors")
    assert kept.keys() == {n for n in every if not n.startswith("cvae.")} < every.keys()
    assert json.loads((tmp_path / "inference" / "config.json").read_text())["inference_only"] is True
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["inference_only"] is False
    whole, tokenizer = load(str(tmp_path / "whole"))
    small, _ = load(str(tmp_path / "inference"))
    assert small.cvae is None
    assert whole.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[n]) for n, v in whole.state_dict().items())
    inputs = tokenizer(demo_texts[0][:80], return_tensors="pt")
    expected = answers(bundle.model, bundle.tokenizer, demo_texts[:3])
    assert sum(map(len, expected)) > 10
    for model in (small, whole):
        torch.testing.assert_close(model.eval()(**inputs).logits, bundle.model(**inputs).logits)
        for found, rows in zip(answers(model, tokenizer, demo_texts[:3]), expected, strict=True):
            assert [key for key, _ in found] == [key for key, _ in rows]
            assert [score for _, score in found] == pytest.approx([score for _, score in rows], abs=1e-6)
    small.save_pretrained(tmp_path / "again", inference_only=True)
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == kept.keys()


def test_weights_that_a_folder_lacks_are_initialised(build_bundle, tmp_path):
    bundle = build_bundle(**SMALL, lively=True)
    bundle.model.save_pretrained(tmp_path, inference_only=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"inference_only": False}))
    torch.manual_seed(1)
    with pytest.raises(ValueError, match=r"the weights lack \d+ parameters of this model, the first is cvae\."):
        SpanCVAEForNER.from_pretrained(tmp_path)
    model = SpanCVAEForNER.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert torch.equal(model.cvae.prior.data, prior_distribution_vectors(DEMO_LABEL_SPACE))
    for name, parameter in model.cvae.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif name != "prior":
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2)
    for name, value in model.state_dict().items():
        if not name.startswith("cvae."):
            assert torch.equal(value, bundle.model.state_dict()[name])


def test_no_cvae_is_built_without_a_weight_for_it(build_bundle, demo_corpora, tmp_path):
    bundle = build_bundle(**SMALL, alpha=0)
    assert bundle.model.cvae is None
    output, _ = run(bundle, some_features(bundle, demo_corpora))
    assert set(output.loss_terms) == {"ce"}
    assert output.loss == output.loss_terms["ce"]
    for only in (False, True):
        bundle.model.save_pretrained(tmp_path, inference_only=only)
        bundle.tokenizer.save_pretrained(tmp_path)
        model, _ = load(str(tmp_path))
        assert model.state_dict().keys() == bundle.model.state_dict().keys()
        assert all(torch.equal(v, bundle.model.state_dict()[n]) for n, v in model.state_dict().items())


# ---- decoding


def overlapping(spans) -> int:
    return sum(a.start < b.end and b.start < a.end for a, b in itertools.combinations(spans, 2))


def test_nested_models_keep_all_and_flat_ones_the_best(build_bundle, demo_corpora):
    flat, nested = (build_bundle(**SMALL, lively=True, flat=flag) for flag in (True, False))
    feature = max(some_features(flat, demo_corpora, count=4), key=lambda f: len(f["input_ids"]))
    found = []
    for bundle in (flat, nested):
        output, batch = run(bundle, [feature])
        found.append(bundle.model.decode(bundle.model.search(output, batch), batch)[0])
    assert overlapping([s for s, _, _ in found[0]]) == 0 < overlapping([s for s, _, _ in found[1]])
    assert set(found[0]) < set(found[1])
    for span, _, score in found[1]:
        rivals = [s for s, _, other in found[0] if s.start < span.end and span.start < s.end and other >= score]
        assert rivals  # itself, or a better one that was taken


def test_a_threshold_leaves_out_the_doubtful(build_bundle, demo_texts):
    every = answers(*(b := build_bundle(**SMALL, lively=True, flat=False), b.model, b.tokenizer)[1:], demo_texts[:2])
    sure = build_bundle(**SMALL, lively=True, flat=False, threshold=0.5)
    found = answers(sure.model, sure.tokenizer, demo_texts[:2])
    assert found == [[row for row in rows if row[1] >= 0.5] for rows in every]
    assert 0 < sum(map(len, found)) < sum(map(len, every))


# ---- names, tasks, modes


def test_outputs_are_named_by_corpus_or_by_shared_type():
    own = SpanCVAEConfig(label_space=EXAMPLE.to_dict())
    names = ["target:Chemical_T", "target:Protein_T", "target:O", "source:Disease_S", "source:Protein_S", "source:O"]
    assert list(own.id2label.values()) == names
    assert own.label2id == {name: number for number, name in own.id2label.items()}
    assert own.outputs[1] == [0, 1, 2, 3, 4, 5]
    shared = SpanCVAEConfig(label_space=EXAMPLE.to_dict(), labels_per="shared", id2label={0: "stale"})
    assert list(shared.id2label.values()) == ["Chemical", "Protein", "O", "source:Disease_S"]
    assert shared.outputs[1] == [0, 1, 2, 3, 1, 2]
    assert own.outputs[0][:4] == [
        ("Chemical", "Chemical_T"),
        ("Protein", "Protein_T"),
        None,
        ("Disease_S", "Disease_S"),
    ]
    assert shared.outputs[0] == [("Chemical", "Chemical"), ("Protein", "Protein"), None, ("Disease_S", "Disease_S")]
    assert shared.num_labels == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_span_widht": 5}, "did you mean 'max_span_width'"),
        ({"label_per": "shared"}, "did you mean 'labels_per'"),
        ({"boundaries": "words"}, "expected one of word, token"),
        ({"labels_per": "type"}, "expected one of corpus, shared"),
        ({"prior": "frozen"}, "expected one of full, fixed, unshared, shared, random"),
        ({"max_span_width": 0}, "max_span_width is 0"),
        ({"alpha": -1.0}, "alpha is -1.0"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        SpanCVAEConfig(label_space=EXAMPLE.to_dict(), **options)


def test_a_corpus_answers_in_shared_types_or_in_its_own(build_bundle, demo_texts):
    bundle = build_bundle(family="span_cvae", lively=True, flat=False)
    model = bundle.model
    assert model.tasks_for() == ["demo_all"]
    assert model.tasks_for("demo_gene") == model.tasks_for("demo_gene", "shared") == ["demo_gene"]
    assert model.tasks_for("demo_gene", "native") == ["demo_gene" + NATIVE]
    assert model.tasks_for(None, "native") == ["demo_all" + NATIVE]
    assert model.tasks_for("nowhere", "native") == ["demo_all"]  # another corpus's names say nothing there
    assert model.knows_native_types("demo_gene")
    assert not model.knows_native_types("nowhere")
    with pytest.raises(LabelError, match="did you mean 'native'"):
        model.tasks_for("demo_gene", "natve")
    for corpus in DEMO_LABEL_SPACE.corpora:
        native = answers(model, bundle.tokenizer, demo_texts[:4], model.tasks_for(corpus, "native"))
        shared = answers(model, bundle.tokenizer, demo_texts[:4], model.tasks_for(corpus))
        names = DEMO_LABEL_SPACE.corpora[corpus]
        assert {key[2] for rows in native for key, _ in rows} == set(names)
        mapped = [[((s, e, names[t] or t), score) for (s, e, t), score in rows] for rows in native]
        assert mapped == shared


def test_shared_outputs_have_shared_names_only(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, labels_per="shared")
    assert not bundle.model.knows_native_types("demo_gene")
    with pytest.raises(LabelError, match="known: shared"):
        bundle.model.tasks_for("demo_gene", "native")
    found = answers(bundle.model, bundle.tokenizer, demo_texts[:3], ["demo_gene"])
    assert {key[2] for rows in found for key, _ in rows} == {"Gene"}


def test_corpora_without_training_are_answered_by_the_default_one(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, trained=["demo_all", "demo_chem"])
    model = bundle.model
    assert [t["name"] for t in model.config.tasks] == ["demo_all", "demo_chem"]
    assert not model.knows_native_types("demo_gene")
    assert model.tasks_for("demo_gene") == model.tasks_for() == ["demo_all"]
    token = bundle.tokenizer.convert_tokens_to_ids("<demo_all>")
    window = bundle.features.windower(demo_texts[:1])[0][0]
    for task, name in ((None, "demo_all"), ("demo_all", "demo_all"), ("demo_chem" + NATIVE, "demo_chem")):
        feature = model.features(window, task)
        tag = bundle.tokenizer.convert_tokens_to_ids(f"<{name}>")
        assert feature["input_ids"][1] == tag
        assert tag != bundle.tokenizer.unk_token_id
        ids = feature["input_ids"][2:-1]
        assert ids == list(window.input_ids)
        assert [feature["unit_starts"][0], feature["unit_ends"][-1]] == [2, len(feature["input_ids"]) - 2]
    assert bundle.tokenizer(demo_texts[0])["input_ids"][1] == token
    with pytest.raises(ValueError, match="unknown task 'demo_gene'"):
        model.features(window, "demo_gene")


def test_without_a_corpus_that_has_all_types_every_corpus_answers(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, trained=["demo_gene", "demo_disease"])
    assert bundle.model.tasks_for() == bundle.model.tasks_for("demo_all") == ["demo_gene", "demo_disease"]
    found = answers(bundle.model, bundle.tokenizer, demo_texts[:3])
    assert {key[2] for rows in found for key, _ in rows} == {"Gene", "Disease"}
    chosen = build_bundle(**SMALL, trained=["demo_gene", "demo_disease"], bridge=["demo_disease"])
    assert chosen.model.tasks_for() == ["demo_disease"]
    with pytest.raises(LabelError, match="demo_chem"):
        build_bundle(**SMALL, trained=["demo_gene", "demo_disease"], bridge=["demo_chem"])


def test_plain_calls_take_every_token_between_the_special_ones_as_a_unit(exact, demo_texts):
    bundle = exact()
    inputs = bundle.tokenizer([demo_texts[0][:50], demo_texts[1][:90]], return_tensors="pt", padding=True)
    logits = bundle.model(**inputs).logits
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        ids = inputs["input_ids"][row, :length].tolist()
        places = list(range(2, length - 1))
        feature = {"input_ids": ids, "unit_starts": places, "unit_ends": places, "corpus_ids": 0}
        alone = bundle.model(**pad_batch([feature], 0)).logits
        for i, w in itertools.product(range(len(places)), range(3)):
            if i + w < len(places):
                torch.testing.assert_close(logits[row, i, w], alone[0, i, w], rtol=0, atol=1e-10)


def test_a_run_saves_for_inference_only_what_it_needs(build_bundle, tmp_path):
    build_bundle(**SMALL).save(tmp_path, inference_only=True)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if name.startswith("cvae")]
    assert (tmp_path / "tokenizer.json").exists()
    build_bundle().save(tmp_path / "tagger", inference_only=True)  # a family without such parts: all of it
    assert (tmp_path / "tagger" / "model.safetensors").exists()
