"""What the tests of SRU-NER share: exact models, windows of training data, and a way to make a model follow the gold."""

from __future__ import annotations

import torch
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.transitions import EOA

CORPORA = tuple(DEMO_LABEL_SPACE.corpora)
SMALL = {"family": "sruner", "dropout": 0.0, "slot_dropout": 0.0, "context": 6, "train_scale": True}
VARIANTS = [{"history": "logits", "follow_gold": False}, {}]


def calm(model):
    """With large random weights a step's rounding error grows over hundreds of steps that feed one another."""
    with torch.no_grad():
        model.actions.weight.mul_(0.2)


def some_features(bundle, demo_corpora, corpora=CORPORA, count=2) -> list[dict]:
    """Short windows of several corpora with gold mentions, of different lengths."""
    found = []
    for corpus in corpora:
        built = bundle.features.build(demo_corpora[corpus]["train"][:6]).features
        some = [f for f in built if max(f["gold_actions"]) > EOA]
        found += sorted(some, key=lambda f: len(f["input_ids"]))[:count]
    assert len({len(f["input_ids"]) for f in found}) > 1
    return found


def doubtful(bundle) -> dict:
    """A window whose mention begins inside a unit, so that some actions of its type are open."""
    text = "The velosis of breast cancers."
    start = text.index("ancers")
    made = Document("1", "demo_disease", text, (Mention(4, 11, "Modifier"), Mention(start, start + 6, "Modifier")))
    (feature,) = bundle.features.build([made])
    assert feature["unclear_places"]
    return feature


def run(bundle, features) -> tuple[NEROutput, dict]:
    batch = bundle.collator(features)
    return bundle.model(**batch), batch


def gradients(model, loss) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def follow_gold(model, monkeypatch, gold):
    """Makes the model choose the actions of `gold`: per window the steps, in the order of a batch."""

    def scores(state, *rest):
        number, state.taken = getattr(state, "taken", 0), getattr(state, "taken", 0) + 1
        logits = state.slots.new_full((len(state.slots), model.config.num_labels), -9.0)
        for row, steps in enumerate(gold):
            logits[row, steps[min(number, len(steps) - 1)]] = 9.0
        return logits

    monkeypatch.setattr(model, "_scores", scores)


def steps_of(feature) -> list[list[int]]:
    steps = [[] for _ in range(max(feature["gold_steps"]) + 1)]
    for step, action in zip(feature["gold_steps"], feature["gold_actions"], strict=True):
        steps[step].append(action)
    return steps
