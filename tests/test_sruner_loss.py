"""SRU-NER's loss: against section 3.3 step by step, and no share of what a corpus doesn't annotate or what is unclear."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers_sruner import CORPORA, VARIANTS, doubtful, gradients, run, some_features
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.transitions import EOA, SH
from torch.nn.functional import binary_cross_entropy_with_logits


def by_hand(model, feature, declared=None) -> tuple[torch.Tensor, torch.Tensor, int]:
    """One window, for each step: the loss over what is known; the paper's, with the model's own probability as target of the
    rest. And how often a gold SH was delayed. `declared`: the types of its corpus that are annotated; all by default."""
    config = model.config
    corpus = config.tasks[feature["corpus_ids"]].name
    declared = config.labels.native_types(corpus) if declared is None else declared
    known = {"SH", "EOA", *(f"{act}-{corpus}:{name}" for act in ("TR", "RE") for name in declared)}
    own = torch.tensor([name in known for name in config.id2label.values()])
    hidden = model.encoder(input_ids=torch.tensor([feature["input_ids"]])).last_hidden_state[0]
    slots = torch.stack(
        [hidden[s : e + 1].amax(0) for s, e in zip(feature["unit_starts"], feature["unit_ends"], strict=True)]
    )
    gold = torch.zeros(max(feature["gold_steps"]) + 1, config.num_labels).double()
    gold[feature["gold_steps"], feature["gold_actions"]] = 1
    rows = [(row, False) for row in gold]
    unclear = set(zip(feature["unclear_places"], feature["unclear_actions"], strict=True))
    memory, fully = model.memory, torch.cat([model.word.weight, model.recall.weight], 1)
    state, vector, pointer, delays = slots, model.first, 0, 0
    losses, papers = [], []
    while len(losses) < len(rows):
        state = state + torch.outer(torch.eye(len(slots)).double()[pointer], vector)
        offsets = torch.arange(len(slots)) - pointer
        places = memory.positions[
            torch.where(offsets.abs() <= config.context, offsets + config.context, 2 * config.context + 1)
        ]
        scores = (memory.latents * memory.score_scale) @ (memory.scale * state + places).T
        read = scores.amax(0).softmax(0) @ (state * memory.output_scale)
        logits = model.classifier(torch.tanh(fully @ torch.cat([slots[pointer + 1], read]) + model.word.bias))
        row, inserted = rows[len(losses)]
        target, soft = row.clone(), ~own
        for action in range(config.num_labels):
            soft[action] |= (pointer, action) in unclear and row[action] == 0
        target[soft] = logits.detach().sigmoid()[soft]
        delay = row[SH] == 1 and not inserted and bool((logits > logits[SH])[soft].any())
        if delay:
            target[SH], soft[SH] = logits.detach().sigmoid()[SH], True
            rows.insert(len(losses) + 1, (row, True))
            delays += 1
        terms = binary_cross_entropy_with_logits(logits, target, reduction="none")
        papers.append(terms.sum() / config.num_labels)
        losses.append(terms[~soft].sum() / config.num_labels)
        weights = logits.softmax(0) if config.history == "softmax" else logits
        taken = (logits >= logits[SH]) | ((row == 1) & config.follow_gold)
        vector = (weights * taken) @ model.actions.weight
        pointer += int(row[SH] == 1 and not delay)
    return torch.stack(losses), torch.stack(papers), delays


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("corpora", [["demo_all"], list(CORPORA)])
def test_the_loss_is_that_of_section_3_3(exact, demo_corpora, options, corpora):
    bundle = exact(trained=corpora, **options)
    model = bundle.model
    features = some_features(bundle, demo_corpora, corpora, count=1 if len(corpora) > 1 else 3)
    if "demo_disease" in corpora:
        features.append(doubtful(bundle))
    delays = 0
    for feature in features:
        output, _ = run(bundle, [feature])
        known, paper, delayed = by_hand(model, feature)
        torch.testing.assert_close(output.loss, known.mean(), rtol=1e-10, atol=0)
        assert torch.equal(output.loss_terms["actions"], output.loss)
        found, expected = gradients(model, output.loss), gradients(model, paper.mean())
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-10)
        assert output.logits.shape[1] == max(feature["gold_steps"]) + 1 + delayed
        delays += delayed
    assert (delays > 5) == (len(corpora) > 1)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_loss_of_a_document_that_declares_less_than_its_corpus_is_that_of_its_types(exact, demo_corpora, options):
    bundle = exact(trained=["demo_all"], **options)
    declared = bundle.model.config.labels.native_types("demo_all")[1:3]
    corpus = [replace(d, annotated_types=frozenset(declared)) for d in demo_corpora["demo_all"]["train"][:9]]
    found = [f for f in bundle.features.build(corpus).features if max(f["gold_actions"]) > EOA]
    delays = 0
    for feature in sorted(found, key=lambda f: len(f["input_ids"]))[:3]:
        output, _ = run(bundle, [feature])
        known, paper, delayed = by_hand(bundle.model, feature, declared)
        torch.testing.assert_close(output.loss, known.mean(), rtol=1e-10, atol=0)
        expected = gradients(bundle.model, paper.mean())
        for name, value in gradients(bundle.model, output.loss).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-10)
        delays += delayed
    assert delays


def test_padding_steps_have_no_share_in_the_loss(exact, demo_corpora):
    bundle = exact()
    features = [*some_features(bundle, demo_corpora), doubtful(bundle)]
    output, _ = run(bundle, features)
    steps = [run(bundle, [f])[0].logits.shape[1] for f in features]
    (shares,) = torch.autograd.grad(output.loss, output.logits)
    gold = [[a for n, a in zip(f["gold_steps"], f["gold_actions"], strict=True) if n == 0] for f in features]
    for row, count in enumerate(steps):
        assert (shares[row, count:] == 0).all()
        assert (shares[row, :count, EOA] != 0).all()
        # What a step counts: the derivative of a cross-entropy is the probability less the target.
        assert EOA not in gold[row]
        share = output.logits[row, 0, EOA].sigmoid() / (len(steps) * count * bundle.model.config.num_labels)
        torch.testing.assert_close(shares[row, 0, EOA], share, rtol=1e-9, atol=0)
    assert min(steps) < max(steps)


@pytest.mark.parametrize("options", VARIANTS)
def test_a_batch_is_the_mean_of_its_windows_alone_whatever_the_padding(exact, demo_corpora, options):
    bundle = exact(**options)
    features = [*some_features(bundle, demo_corpora), doubtful(bundle)]

    def measured(some):
        loss = run(bundle, some)[0].loss
        return gradients(bundle.model, loss) | {"loss": loss.detach()}

    together, backwards = measured(features), measured(features[::-1])
    alone = [measured([f]) for f in features]
    assert len(together) == 1 + len(list(bundle.model.parameters()))
    for name, value in together.items():
        expected = sum(found[name] for found in alone) / len(alone)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(value, backwards[name], rtol=1e-9, atol=1e-11)


def test_windows_without_gold_mentions_are_trained_on_as_negatives(exact, monkeypatch):
    bundle = exact()
    history = type(bundle.model)._history
    monkeypatch.setattr(bundle.model, "_history", lambda logits, *rest: history(bundle.model, logits.detach(), *rest))
    text = "Nothing of note happened."
    (feature,) = bundle.features.build([Document("1", "demo_all", text, ())])
    assert set(feature["gold_actions"]) == {SH, EOA}
    found = gradients(bundle.model, run(bundle, [feature])[0].loss)["classifier.bias"]
    own = [n for n, name in bundle.model.config.id2label.items() if "demo_all" in name]
    assert (found[own] > 0).all()  # down with them


# ---- unknown is never negative


def split_actions(config, corpus) -> tuple[list[int], list[int]]:
    """Numbers of the actions of the corpus's types, and of the other corpora's."""
    typed = {n: name[3:].split(":")[0] for n, name in config.id2label.items() if n > EOA}
    return [n for n, c in typed.items() if c == corpus], [n for n, c in typed.items() if c != corpus]


@pytest.mark.parametrize("corpus", CORPORA)
def test_targets_of_types_that_a_corpus_does_not_annotate_give_no_gradient(exact, demo_corpora, monkeypatch, corpus):
    """The loss sees no logit of a foreign action. They still weigh past actions in Ω, which later steps read, so that path
    is cut here; nothing else may be left."""
    bundle = exact()
    model = bundle.model
    own, foreign = split_actions(model.config, corpus)
    features = some_features(bundle, demo_corpora, [corpus], count=6)
    loss = run(bundle, features)[0].loss
    history = type(model)._history
    monkeypatch.setattr(model, "_history", lambda logits, *rest: history(model, logits.detach(), *rest))
    cut = run(bundle, features)[0].loss
    assert torch.equal(loss, cut)
    found = gradients(model, cut)
    for name in ("classifier.weight", "classifier.bias"):
        assert (found[name][foreign] == 0).all()
        assert (found[name][own].flatten(1).abs().sum(1) > 0).all() if name == "classifier.weight" else True


def test_no_gradient_reaches_a_foreign_logit_that_is_below_sh(exact, demo_corpora):
    """Nor with Ω, where weights are logits: what is not chosen weighs nothing."""
    bundle = exact(history="logits")
    model = bundle.model
    _, foreign = split_actions(model.config, "demo_gene")
    with torch.no_grad():
        model.classifier.bias[foreign] = -100.0
    found = gradients(model, run(bundle, some_features(bundle, demo_corpora, ["demo_gene"], count=6))[0].loss)
    assert (found["classifier.bias"][foreign] == 0).all()
    assert (found["actions.weight"][foreign] == 0).all()
    assert found["actions.weight"].abs().sum() > 0


def test_open_actions_give_no_gradient_where_they_are_open(exact, monkeypatch):
    bundle = exact(trained=["demo_disease"])
    model = bundle.model
    feature = doubtful(bundle)
    kept = []
    scores = type(model)._scores

    def keep(*args):
        kept.append(scores(model, *args))
        kept[-1].retain_grad()
        return kept[-1]

    history = type(model)._history
    monkeypatch.setattr(model, "_history", lambda logits, *rest: history(model, logits.detach(), *rest))
    monkeypatch.setattr(model, "_scores", keep)
    run(bundle, [feature])[0].loss.backward()
    gradient = torch.cat([logits.grad for logits in kept])
    actions = set(feature["unclear_actions"])
    assert len(actions) == 2
    # The text's other mention is of the same type, so where actions are open can't be everywhere.
    assert 0 < (gradient[:, sorted(actions)] == 0).all(1).sum() < len(gradient)
    others = [a for a in range(model.config.num_labels) if a not in actions and a != SH]
    assert (gradient[:, others] != 0).all()
