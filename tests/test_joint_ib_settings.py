"""The settings that the paper of the joint information bottleneck compares (section 5.1), against the textbook."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers_joint_ib import batch_of, documents
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.data_builders.run_data import draw_synonyms
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.spans import span_mask
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training import families
from mosaic_ner.training.arguments import ModelOptions, parse
from mosaic_ner.training.bundle import TrainingData, build


def scores_by_hand(model, span):
    """Logits of one span's tokens (n, H): of the Baseline, s into a linear layer; of SupVIB_0, two layers before it."""
    projection = model.hidden if model.config.compressed else model.classifier
    weights = [projection.first.weight, projection.mean.weight, projection.last.weight]
    vector = torch.cat(weights, 1) @ torch.cat([span[0], span.mean(0), span[-1]]) + projection.first.bias
    return model.classifier(model.mean(torch.relu(vector))) if model.config.compressed else vector


@pytest.mark.parametrize("options", [{"compressed": False}, {"beta": 0.0}], ids=["baseline", "supvib_0"])
def test_scores_and_loss_are_the_paper_s_span_by_span(ib, options):
    bundle = ib(gamma=0.0, **options)
    model, batch = bundle.model.eval(), batch_of(bundle)
    assert model.generator is None
    layers = {name.split(".")[0] for name, _ in model.named_parameters()} - {"encoder"}
    assert layers == {"classifier"} | ({"hidden", "mean", "variance", "prior"} if model.config.compressed else set())
    output = model(**batch)
    assert set(output.loss_terms) == {"bce"}
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    types, loss = model.config.types, 0.0
    for row, task in enumerate(batch["corpus_ids"].tolist()):
        corpus = model.config.tasks[task].corpus
        units = int((batch["unit_starts"][row] >= 0).sum())
        pairs = list(zip(batch["cells"][row].tolist(), batch["cell_labels"][row].tolist(), strict=True))
        for first in range(units):
            for width in range(min(4, units - first)):
                cell = first * 4 + width
                if (cell, -100) in pairs:
                    continue
                begin, end = batch["unit_starts"][row, first], batch["unit_ends"][row, first + width]
                scores = scores_by_hand(model, hidden[row, begin : end + 1])
                torch.testing.assert_close(output.logits[row, first, width], scores, rtol=0, atol=1e-10)
                for kind, (owner, _) in enumerate(types):
                    if owner == corpus:
                        chance = scores[kind].sigmoid()
                        loss = loss - (chance if (cell, kind) in pairs else 1 - chance).log()
    torch.testing.assert_close(output.loss, loss / (len(batch["input_ids"]) * 64), rtol=1e-9, atol=0)
    model.eval()
    plain = {k: v for k, v in batch.items() if k not in ("cells", "cell_labels", "span_cells", "span_words")}
    there = span_mask(batch["unit_starts"] >= 0, 4)  # elsewhere scores mean nothing
    torch.testing.assert_close(model(**plain).logits[there], output.logits[there], rtol=0, atol=1e-10)


def test_the_baseline_has_no_noise_and_supvib_0_has(ib):
    for options, noisy in (({"compressed": False}, False), ({"beta": 0.0}, True)):
        bundle = ib(gamma=0.0, **options)
        model, batch = bundle.model.train(), batch_of(bundle)
        model.encoder.eval()  # it has dropout of its own
        first, second = (model(**batch).loss.item() for _ in range(2))
        assert (first != second) == noisy
        waiting = {name for name, p in model.named_parameters() if p.requires_grad}
        model.zero_grad()
        model(**batch).loss.backward()
        # On several processes each waits for every parameter's gradient.
        assert {name for name, p in model.named_parameters() if p.grad is not None} == waiting


def test_the_baseline_s_embeddings_are_those_that_it_classifies(ib):
    bundle = ib(gamma=0.0, compressed=False)
    model, batch = bundle.model.eval(), batch_of(bundle)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "unit_starts", "unit_ends")}
    grid, logits = model.span_embeddings(**inputs), model(**batch).logits
    part = model.classifier
    weight = torch.cat([part.first.weight, part.mean.weight, part.last.weight], 1)
    mask = span_mask(batch["unit_starts"] >= 0, 4)
    assert torch.isfinite(grid).all()
    again = torch.nn.functional.linear(grid, weight, part.first.bias)
    torch.testing.assert_close(again[mask], logits[mask], rtol=0, atol=1e-10)
    rows, first, width = mask.nonzero(as_tuple=True)
    found = model.latents(**inputs, rows=rows, first=first, last=first + width)
    assert set(found) == {"s"}
    torch.testing.assert_close(found["s"], grid[mask], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["--beta", "1e-5"], "beta 1e-05"),
        (["--hidden_size", "64"], "hidden_size 64"),
        (["--ib_prior", "standard"], "ib_prior standard"),
        (["--gamma", "0", "--latent_size", "9"], "latent_size 9"),
    ],
)
def test_options_of_the_layers_that_the_baseline_lacks_are_refused(given, name):
    with pytest.raises(ArgumentError, match=f"--{name} has no effect: --compressed false"):
        parse(["--family", "joint_ib", "--compressed", "false", *given])
    parse(["--family", "joint_ib", *given])


def test_synonyms_that_nobody_has_are_an_error(tiny_encoder_dir):
    model = ModelOptions(family="joint_ib", encoder=str(tiny_encoder_dir))
    own = families.family("joint_ib").Options(synonyms=["corpora"])
    train = {
        "demo_all": [replace(d, mentions=[replace(m, identifiers=()) for m in d.mentions]) for d in documents()[:3]]
    }
    with pytest.raises(ModelError, match="--synonyms corpora: no training mention of demo_all has a synonym there"):
        build(model, own, TrainingData(DEMO_LABEL_SPACE, train))


def test_all_synonyms_are_generated_unless_their_number_is_limited():
    names = [f"name {i}" for i in range(5)]
    text = ". ".join(names)
    mentions = [Mention(text.index(n), text.index(n) + len(n), "Gene", ("G1",)) for n in names]
    train = {"demo_all": [Document("1", "demo_all", text, mentions, annotated_types=frozenset(["Gene"]))]}
    every, some = (draw_synonyms(train, ["corpora"], limit, seed=0) for limit in (None, 3))
    assert every == {name: tuple(n for n in names if n != name) for name in names}
    assert all(len(found) == 3 and set(found) < set(every[name]) for name, found in some.items())


def test_while_the_decoders_train_alone_no_epoch_is_the_best(ib, trainer_for):
    documented = {"demo_all": documents()[:2]}
    for pretraining, best in ((1.0, 2.0), (2.0, None)):  # of two epochs
        bundle = ib(exact=False, pretraining=pretraining)
        dataset = bundle.features.build(documents()[:2])
        options = {"num_train_epochs": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 4}
        options |= {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
        trainer = trainer_for(bundle, dataset, documented, early_stopping_patience=1, **options)
        seen = []
        evaluate = trainer.evaluate

        def watched(*args, trainer=trainer, evaluate=evaluate, seen=seen, **kwargs):
            seen.append({n: p.detach().clone() for n, p in trainer.model.named_parameters()})
            return evaluate(*args, **kwargs)

        trainer.evaluate = watched
        trainer.train()
        assert trainer.state.epoch == 2.0  # patience hasn't counted
        checkpoint = trainer.state.best_model_checkpoint
        assert (checkpoint is None) == (best is None)
        # "Only VAEs" ends with its last weights, not with the first epoch's.
        assert all(torch.equal(p, seen[-1][n]) for n, p in trainer.model.named_parameters())
