"""Low-rank adapters on frozen, also quantised encoders: what trains, and what a checkpoint holds."""

from __future__ import annotations

import logging

import pytest
import torch
from helpers_adapters import adapted, batch_of, difference, logits_of, one_thread, snapshot, untied
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from safetensors.torch import load_file

TRAINED = ("lora_", "trainable_tokens")


@pytest.fixture(scope="module", autouse=True)
def single():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def untied_t5_dir(t5_dir, tmp_path_factory):
    return untied(t5_dir, tmp_path_factory.mktemp("untied"))


@pytest.fixture
def build(request, build_bundle):
    """Function: fixture with the encoder, options → bundle with adapters that do something."""

    def make(encoder="t5_dir", **options):
        return adapted(build_bundle, request.getfixturevalue(encoder), **options)

    return make


# ---- what trains


@pytest.mark.parametrize(
    ("encoder", "quantization"),
    [
        ("t5_dir", None),
        ("t5_dir", "4bit"),
        ("t5_dir", "8bit"),
        ("untied_t5_dir", None),
        ("bert_dir", None),
        ("bert_dir", "4bit"),
    ],
)
@pytest.mark.parametrize("family", ["span_cvae", "aioner"])
def test_new_tokens_adapters_and_head_train_and_nothing_else(
    build, demo_corpora, trainer_for, encoder, quantization, family
):
    bundle = build(encoder, stirred=False, family=family, quantization=quantization)
    model, name = bundle.model, "encoder.base_model.model."
    before = snapshot(model)
    path = next(n for n in before if n.endswith("trainable_tokens_delta.default")).split(".token_adapter")[0]
    table = model.get_submodule(path)
    ids = table.token_adapter.token_indices["default"]
    tags = [
        t for t in bundle.tokenizer.get_added_vocab() if t.startswith(("<demo", "</", "<ALL", "<Gene", "<Chem", "<Dis"))
    ]
    tags = sorted(bundle.tokenizer.convert_tokens_to_ids(t) for t in tags if t not in ("</s>",))
    assert ids == tags
    assert len(ids) == (4 if family == "span_cvae" else 8)
    dataset = bundle.features.build([d for c in demo_corpora for d in demo_corpora[c]["train"][:3]])
    trainer_for(
        bundle, dataset, max_steps=4, learning_rate=1e-2, per_device_train_batch_size=16, weight_decay=0.0
    ).train()
    after = snapshot(model)
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    trained = {n for n in before if n.startswith(name) and any(part in n for part in TRAINED)}
    head = {n for n in before if not n.startswith("encoder.")}
    assert changed == {n for n in trained | head if before[n].numel()}
    assert sum("lora_A" in n for n in trained) == sum("lora_B" in n for n in trained) == 2
    # All of the table: the rows of the new tokens moved, the others are those of the base.
    rows = table.token_adapter.get_merged_weights(["default"])
    moved = (rows != table.token_adapter.base_layer.weight).any(1).nonzero().flatten().tolist()
    assert moved == ids


def test_peft_decides_the_layers_unless_they_are_named(build):
    def adapted(**options):
        names = [n for n, _ in build(**options).model.named_parameters() if "lora_A" in n]
        return {n.split(".lora_A")[0].rsplit(".", 1)[1] for n in names}

    assert adapted() == {"q", "v"}
    assert adapted(lora_targets=["wi"]) == {"wi"}
    assert adapted(lora_targets=["all-linear"]) == {"q", "k", "v", "o", "wi", "wo"}
    with pytest.raises(ModelError, match=r"--lora_targets: .*qkv"):
        build(lora_targets=["qkv"])


def test_scale_and_dropout_reach_the_adapters(build):
    config = build(lora_alpha=12, lora_dropout=0.25).model.encoder.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 12, 0.25)
    assert build().model.encoder.peft_config["default"].lora_alpha == 4


@pytest.mark.parametrize("family", ["span_cvae", "aioner"])
@pytest.mark.parametrize("options", [{"lora_rank": None}, {}, {"quantization": "4bit"}], ids=["full", "lora", "4bit"])
@pytest.mark.parametrize("encoder", ["t5_dir", "bert_dir"])
def test_every_trainable_parameter_is_in_exactly_one_group(build, demo_corpora, trainer_for, family, options, encoder):
    bundle = build(encoder, family=family, **options)
    dataset = bundle.features.build(demo_corpora["demo_all"]["train"][:1])
    trainer = trainer_for(bundle, dataset, learning_rate=1e-4, head_learning_rate=1e-2, weight_decay=0.05)
    names = {id(p): n for n, p in bundle.model.named_parameters()}
    groups = trainer.create_optimizer().param_groups
    placed = [names[id(p)] for g in groups for p in g["params"]]
    assert sorted(placed) == sorted(n for n, p in bundle.model.named_parameters() if p.requires_grad)
    assert {n for n in names.values() if not n.startswith("encoder.")} <= set(placed)
    for group in groups:
        for name in (names[id(p)] for p in group["params"]):
            assert group["lr"] == (1e-4 if name.startswith("encoder.") else 1e-2), name
            if name.endswith("bias"):
                assert group["weight_decay"] == 0.0, name


@pytest.mark.parametrize("encoder", ["t5_dir", "bert_dir"])
@pytest.mark.parametrize("options", [{"lora_rank": None}, {}, {"scheme": "naive"}, {"quantization": "4bit"}])
def test_gradient_checkpointing_changes_no_gradient(build, demo_corpora, trainer_for, encoder, options):
    gradients, runs = [], []
    for checkpointing in (False, True):
        bundle = build(encoder, **options)
        model = bundle.model
        dataset = bundle.features.build(demo_corpora["demo_all"]["train"][:2])
        calls = []
        layer = next(m for n, m in model.named_modules() if n.endswith(("SelfAttention", "attention")))
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        trainer = trainer_for(bundle, dataset, max_steps=1, learning_rate=0.0, gradient_checkpointing=checkpointing)
        trainer.train()  # switches checkpointing on
        model.zero_grad()
        calls.clear()
        model.train()
        model(**batch_of(bundle, demo_corpora)).loss.backward()
        runs.append(len(calls))
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})
    assert runs == [1, 2]  # the layer really is computed again
    assert gradients[0].keys() == gradients[1].keys()
    inside = [n for n in gradients[0] if n.startswith("encoder.")]
    assert inside
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-5, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")
    # Keys' biases have no influence on a softmax, all else in the encoder has.
    assert all(gradients[1][n].abs().max() > 0 for n in inside if "key.bias" not in n)


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_an_evaluation_between_two_epochs_changes_neither_scores_nor_gradients(build, demo_corpora, quantization):
    """On some processors bitsandbytes would pack 4-bit weights in another layout when it first sees an evaluation."""
    bundle = build(quantization=quantization, lora_targets=["all-linear"])
    batch = batch_of(bundle, demo_corpora)
    seen = []
    for _ in range(2):
        bundle.model.train()
        bundle.model.zero_grad()
        output = bundle.model(**batch)
        output.loss.backward()
        inside = {n: p.grad.clone() for n, p in bundle.model.named_parameters() if p.grad is not None}
        seen.append((output.logits.detach(), inside, snapshot(bundle.model)))
        logits_of(bundle.model, batch)
    (logits, gradients, weights), (again, same, kept) = seen
    assert torch.equal(logits, again)
    assert all(torch.equal(value, same[n]) for n, value in gradients.items())
    assert all(torch.equal(value, kept[n]) for n, value in weights.items())


# ---- checkpoints


@pytest.mark.parametrize("quantization", [None, "4bit"])
def test_checkpoints_are_small_the_best_is_taken_and_a_resumed_run_is_the_same(
    build, demo_corpora, trainer_for, tmp_path, caplog, quantization
):
    def train(resume=None, scores=(0.1, 0.5)):
        bundle = build(stirred=False, quantization=quantization, family="span_cvae")
        dataset = bundle.features.build(demo_corpora["demo_gene"]["train"][:6])
        trainer = trainer_for(
            bundle, dataset, {"demo_gene": demo_corpora["demo_gene"]["validation"][:1]}, num_train_epochs=2,
            save_strategy="epoch", eval_strategy="epoch", load_best_model_at_end=True, learning_rate=1e-2,
            per_device_train_batch_size=4, save_total_limit=None,
        )  # fmt: skip
        given = iter(scores)

        def evaluate(*args, **kwargs):
            trainer.evaluator.evaluate(trainer.validation["demo_gene"])
            metrics = {"eval_f1": next(given)}
            trainer.log(dict(metrics))
            return metrics

        trainer.evaluate = evaluate
        trainer.train(resume_from_checkpoint=resume)
        folders = sorted(tmp_path.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        return bundle, folders

    with caplog.at_level(logging.WARNING):
        bundle, (first, second) = train()
        through = snapshot(bundle.model)
        resumed, _ = train(resume=str(first), scores=(0.5,))
        for name, value in snapshot(resumed.model).items():
            assert torch.equal(value, through[name]), name
        best, _ = train(scores=(0.5, 0.1))
    assert [
        r.getMessage() for r in caplog.records if "missing" in r.getMessage() or "unexpected" in r.getMessage()
    ] == []
    stored = {folder: load_file(folder / "adapter_model.safetensors") for folder in (first, second)}
    for folder, taken in ((first, best), (second, bundle)):
        own = taken.adapters._adapter()
        assert own.keys() == stored[folder].keys()
        assert all(torch.equal(own[n], v) for n, v in stored[folder].items())
        head = load_file(folder / "head.safetensors")
        assert all(torch.equal(taken.model.state_dict()[n], v) for n, v in head.items())
        assert len(head) == sum(not n.startswith("encoder.") for n in taken.model.state_dict())
    assert not all(torch.equal(stored[first][n], v) for n, v in stored[second].items())
    # Nothing of the encoder's own weights, in whatever file.
    assert not list(first.glob("model*"))
    encoder = sum(
        p.numel() for n, p in bundle.model.named_parameters() if n.startswith("encoder.") and not p.requires_grad
    )
    assert encoder > 10 * sum(v.numel() for v in stored[first].values())
    # A checkpoint is what the run's last adapter folder is: it loads.
    model, _ = load(str(first))
    assert difference(*(logits_of(m, batch_of(best, demo_corpora)) for m in (model, best.model))) < 1e-4
