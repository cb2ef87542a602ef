"""Low-rank adapters on frozen, also quantised encoders: what trains, what is saved, and that the merged model is the same."""

from __future__ import annotations

import json
import logging
import shutil
import sys

import pytest
import torch
from helpers_run import fails, results, run, shell
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.adapters import input_embedding
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training import families
from mosaic_ner.training.arguments import ArgumentError, ModelArguments
from mosaic_ner.training.encoders import load_encoder_parts
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import T5Config, T5EncoderModel, T5Model

LORA = {"lora_rank": 4, "dropout": 0.0}
TRAINED = ("lora_", "trainable_tokens")
QUANTIZATIONS = [None, "4bit", "8bit"]
# Largest difference of logits between the model in training and the merged one, as a share of the largest logit. NF4 weights
# are dequantised to the very values that training multiplied with; LLM.int8() rounds activations too, which merging ends.
TOLERANCE = {None: 1e-5, "4bit": 1e-5, "8bit": 3e-2}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Several threads add up in an order that differs from call to call, and these tests are about equal bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def untied_t5_dir(t5_dir, tmp_path_factory):
    """As T5 1.1 and Flan-T5: input and output embeddings are said to be different ones. In bfloat16."""
    folder = tmp_path_factory.mktemp("untied")
    shutil.copytree(t5_dir, folder, dirs_exist_ok=True)
    config = T5Config.from_pretrained(t5_dir)
    config.tie_word_embeddings = False
    torch.manual_seed(1)
    model = T5Model(config).to(torch.bfloat16)
    with torch.no_grad():  # as those have it: several tables of the same values
        model.encoder.embed_tokens.weight.copy_(model.shared.weight)
        model.decoder.embed_tokens.weight.copy_(model.shared.weight)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def build(request, build_bundle):
    """Function: fixture with the encoder, options → bundle with adapters that do something."""

    def make(encoder="t5_dir", stirred=True, **options):
        bundle = build_bundle(encoder=str(request.getfixturevalue(encoder)), **(LORA | options))
        for module in bundle.model.modules():  # BERT's own dropout
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if stirred and bundle.adapters:
            stir(bundle.model)
        return bundle

    return make


def stir(model) -> None:
    """As if it had been trained: adapters, new tokens and head depart from where they began."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                scale = 0.3 if name.startswith("encoder.") else 0.4
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def batch_of(bundle, demo_corpora, count: int = 4):
    return pad_batch([bundle.features.build(demo_corpora["demo_all"]["train"][:2])[i] for i in range(count)], 0)


def logits_of(model, batch):
    model.eval()
    with torch.no_grad():
        return model(**batch).logits


def mentions_of(model, tokenizer, texts):
    return [[m.key for m in row] for row in MentionPredictor(model, tokenizer)(texts)]


def difference(got, wanted) -> float:
    """Largest difference as a share of the largest value; where one is infinite, both are."""
    finite = wanted.isfinite()
    assert torch.equal(finite, got.isfinite())
    return ((got - wanted)[finite].abs().max() / wanted[finite].abs().max()).item()


def snapshot(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


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


# ---- merging and loading


@pytest.mark.parametrize("encoder", ["t5_dir", "untied_t5_dir", "bert_dir"])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("family", ["span_cvae", "aioner"])
def test_the_merged_model_and_the_saved_adapter_give_what_was_trained(
    build, demo_corpora, tmp_path, encoder, quantization, family
):
    bundle = build(encoder, family=family, quantization=quantization)
    model, texts = bundle.model, [d.text for d in demo_corpora["demo_all"]["test"][:2]]
    batch = batch_of(bundle, demo_corpora)
    wanted, found = logits_of(model, batch), mentions_of(model, bundle.tokenizer, texts)
    with model.encoder.disable_adapter():
        assert difference(logits_of(model, batch), wanted) > 0.05  # the adapters matter
    size = len(bundle.tokenizer)
    bundle.adapters.finish(tmp_path / "adapter")
    merged = logits_of(model, batch)
    assert difference(merged, wanted) < TOLERANCE[quantization]
    if quantization != "8bit":
        assert mentions_of(model, bundle.tokenizer, texts) == found
    assert sum(map(len, found)) > 5
    assert {type(m).__module__.split(".")[0] for m in model.modules()} <= {"torch", "transformers", "mosaic_ner"}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    if encoder != "bert_dir":
        assert torch.equal(model.encoder.shared.weight, model.encoder.encoder.embed_tokens.weight)

    # The adapter, put on its encoder again.
    again, tokenizer = load(str(tmp_path / "adapter"))
    assert difference(logits_of(again, batch), merged) < 1e-6
    assert mentions_of(again, tokenizer, texts) == mentions_of(model, bundle.tokenizer, texts)

    # The merged model, as an ordinary one.
    model.save_pretrained(tmp_path / "merged")
    bundle.tokenizer.save_pretrained(tmp_path / "merged")
    for folder, bits in (("merged", None), ("adapter", quantization)):
        config = json.loads((tmp_path / folder / "config.json").read_text())
        assert "quantization_config" not in json.dumps(config)
        assert config.get("quantization") == bits
        assert config["encoder_config"]["vocab_size"] == size
    plain, _ = load(str(tmp_path / "merged"))
    assert torch.equal(logits_of(plain, batch), merged)
    assert "auto_map" not in json.loads((tmp_path / "adapter" / "config.json").read_text())


def test_peft_alone_reads_the_adapter(build, t5_dir, tmp_path):
    bundle = build("t5_dir")
    bundle.adapters.finish(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "head.safetensors", "config.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    encoder = T5EncoderModel.from_pretrained(t5_dir)
    encoder.resize_token_embeddings(len(bundle.tokenizer), mean_resizing=False)
    ids = torch.tensor([bundle.tokenizer("BRCA1 was seen.")["input_ids"]])
    with torch.no_grad():
        got = PeftModel.from_pretrained(encoder, tmp_path).eval()(ids).last_hidden_state
        wanted = bundle.model.eval().encoder(ids).last_hidden_state
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_the_same_adapter_is_saved_as_the_same_bytes(build, tmp_path):
    bundle = build(lora_targets=["all-linear"])
    for name in ("a", "b"):
        bundle.adapters.save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_a_trained_model_as_a_quantised_encoder(build, saved_model_dir, request, demo_corpora, tmp_path):
    bundle = build("saved_model_dir", quantization="4bit", lora_targets=["all-linear"])
    kinds = {type(m).__name__ for m in bundle.model.modules()}
    assert "Linear4bit" in kinds
    batch = batch_of(bundle, demo_corpora)
    wanted = logits_of(bundle.model, batch)
    bundle.adapters.finish(tmp_path)
    assert difference(logits_of(bundle.model, batch), wanted) < TOLERANCE["4bit"]
    again, _ = load(str(tmp_path))
    assert difference(logits_of(again, batch), wanted) < TOLERANCE["4bit"]
    with pytest.raises(ModelError, match="holds an adapter; give the merged model"):
        load_encoder_parts(str(tmp_path))


def test_encoders_saved_in_half_precision_are_trained_in_single(untied_t5_dir):
    encoder = load_encoder_parts(str(untied_t5_dir)).encoder
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert input_embedding(encoder) == "encoder.embed_tokens"


def test_a_local_encoder_is_named_as_asked_and_given_again(build, t5_dir, bert_dir, demo_corpora, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        bundle = build(encoder_name="someone/tiny-t5", quantization="4bit")
    assert caplog.text == ""
    batch = batch_of(bundle, demo_corpora)
    bundle.adapters.finish(tmp_path / "named")
    for file in (tmp_path / "named").iterdir():
        assert str(t5_dir).encode() not in file.read_bytes(), file.name
    with pytest.raises(ModelError, match=r"adapter on the encoder 'someone/tiny-t5'.* --encoder"):
        load(str(tmp_path / "named"))
    model, _ = load(str(tmp_path / "named"), str(t5_dir))
    assert difference(logits_of(model, batch), logits_of(bundle.model, batch)) < 1e-6
    with pytest.raises(ModelError, match=r"scratch can't stand for it"):
        load(str(tmp_path / "named"), "scratch")
    with pytest.raises(ModelError, match=r"--lora_targets|does not fit"):
        load(str(tmp_path / "named"), str(bert_dir))
    with caplog.at_level(logging.WARNING):
        build()
    assert "give --encoder_name" in caplog.text


def test_a_head_of_another_model_is_refused(build, tmp_path):
    build(family="span_cvae").adapters.save(tmp_path)
    with pytest.raises(ModelError, match=r"head\.safetensors does not fit this model: \d+ parameters differ"):
        build(family="span_cvae", hidden_size=7).adapters.load(tmp_path)


# ---- wrong usage


@pytest.mark.parametrize("library", ["peft", "bitsandbytes"])
def test_a_missing_library_is_named_with_the_extra(build, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=rf"needs {library}: pip install 'mosaic-ner\[peft\]'"):
        build(quantization="4bit")


WRONG = {
    "quantization alone": ({"quantization": "4bit"}, "--quantization 4bit .* --lora_rank"),
    "alpha alone": ({"lora_alpha": 3}, "--lora_alpha .* --lora_rank"),
    "rank": ({"lora_rank": 0}, "--lora_rank is 0"),
    "alpha": ({"lora_rank": 2, "lora_alpha": 0}, "--lora_alpha is 0"),
    "dropout": ({"lora_rank": 2, "lora_dropout": 1.0}, "--lora_dropout is 1.0"),
    "scratch": ({"lora_rank": 2, "encoder": "scratch"}, "scratch"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_make_no_sense_together(case):
    options, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message):
        ModelArguments(**options)


def test_the_baseline_has_no_adapters(t5_dir):
    arguments = ModelArguments(family="token_classification", encoder=str(t5_dir), lora_rank=2)
    with pytest.raises(ModelError, match="--lora_rank: the baseline token_classification"):
        families.build(arguments, DEMO_LABEL_SPACE, ())


def test_wrong_usage_on_the_command_line(capsys):
    assert "--lora_rank" in fails(capsys, "--corpora", "demo", "--quantization", "8bit")
    assert "one of 8bit, 4bit" in fails(capsys, "--corpora", "demo", "--lora_rank", "2", "--quantization", "3bit")


# ---- end to end

PROGRAM = """
import importlib.util, json, sys

def missing(name):
    return name.split(".")[0] in ("mosaic_ner", "run_ner", "peft", "bitsandbytes")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if missing(name):
            raise ImportError(f"{name} is not on this machine")

ask = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if missing(name) else ask(name, package)
sys.meta_path.insert(0, Blocker())
for name in ("mosaic_ner", "peft", "bitsandbytes"):
    try:
        __import__(name)
        raise SystemExit(f"{name} can be imported")
    except ImportError:
        pass
import torch
torch.set_num_threads(1)
from transformers import AutoModel, pipeline

folder, source = sys.argv[1:]
assert type(AutoModel.from_pretrained(folder, trust_remote_code=True)).__module__.startswith("transformers_modules")
rows = pipeline("ner", model=folder, trust_remote_code=True)(json.load(open(source)))
print("RESULT" + json.dumps([[[m["start"], m["end"], m["entity_group"]] for m in row] for row in rows]))
"""


def test_a_run_with_adapters_on_a_quantised_t5(t5_dir, demo_corpora, tmp_path):
    out, texts = tmp_path / "out", [d.text for d in demo_corpora["demo_gene"]["test"][:12]]
    data = ["--corpora", "demo_gene", "demo_chem", "--validation_corpora", "demo_gene", "--report_to", "none"]
    run(*data, "--family", "span_cvae", "--encoder", t5_dir, "--encoder_name", "tiny/t5", "--lora_rank", "4",
        "--quantization", "4bit", "--gradient_checkpointing", "true", "--max_tokens", "64", "--dropout", "0",
        "--alpha", "0", "--lora_targets", "all-linear", "--learning_rate", "2e-2", "--num_train_epochs", "4",
        "--max_train_documents", '{"demo_gene": 40, "demo_chem": 20}',
        "--per_device_train_batch_size", "8", "--disable_tqdm", "true", "--output_dir", out)  # fmt: skip
    found = results(out)
    assert found["test"]["demo_gene"]["overall"]["f1"] > 0.1  # it did learn something
    assert (found["settings"]["lora_rank"], found["settings"]["quantization"]) == (4, "4bit")
    model, tokenizer = load(str(out))
    expected = mentions_of(model, tokenizer, texts)
    assert sum(map(len, expected)) > 5
    again, same = load(str(out / "adapter"), str(t5_dir))
    assert mentions_of(again, same, texts) == expected
    config = json.loads((out / "config.json").read_text())
    assert "quantization" not in json.dumps(config)
    assert config["encoder_config"]["vocab_size"] == len(tokenizer)
    assert (out / "adapter" / "adapter_model.safetensors").stat().st_size < (
        out / "model.safetensors"
    ).stat().st_size / 4

    # The scores are those of what was saved: of the merged model, and of the adapter on its encoder.
    def scores(folder):
        return {c: (r["overall"], r["per_type"], r["disjoint"]) for c, r in results(folder)["test"].items()}

    run(*data, "--model_name_or_path", out, "--output_dir", tmp_path / "merged")
    run(*data, "--model_name_or_path", out / "adapter", "--encoder", t5_dir, "--output_dir", tmp_path / "adapter")
    assert scores(tmp_path / "merged") == scores(tmp_path / "adapter") == scores(out)

    # Where only torch and transformers are.
    shutil.copytree(out, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoint-*", "adapter"))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "program.py").write_text(PROGRAM)
    done = shell([tmp_path / "program.py", tmp_path / "copy", tmp_path / "texts.json"], tmp_path,
                 HF_MODULES_CACHE=str(tmp_path / "modules"), PYTHONPATH="")  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    rows = json.loads(done.stdout.rpartition("RESULT")[2])
    assert [[tuple(m) for m in row] for row in rows] == [[tuple(k) for k in row] for row in expected]
