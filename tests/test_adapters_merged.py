"""Models with adapters after training: merged and loaded they are the same; what is refused (training: test_adapters.py)."""

from __future__ import annotations

import json
import logging
import shutil
import sys

import pytest
import torch
from helpers_adapters import adapted, batch_of, difference, logits_of, mentions_of, one_thread, untied
from helpers_run import fails, results, run, shell
from mosaic_ner.data_builders.extras import ExtraError
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.prediction.adapters import input_embedding
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training.arguments import ModelOptions
from mosaic_ner.training.encoders import load_encoder_parts
from peft import PeftModel
from transformers import T5EncoderModel

QUANTIZATIONS = [None, "4bit", "8bit"]
# Largest difference of logits between the model in training and the merged one, as a share of the largest logit. NF4 weights
# are dequantised to the very values that training multiplied with; LLM.int8() rounds activations too, which merging ends.
TOLERANCE = {None: 1e-5, "4bit": 1e-5, "8bit": 3e-2}


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

    # The adapter, put on its encoder again; its scores are calibrated after the merge.
    model.config.calibration = [0.5, -0.7]
    bundle.save(tmp_path / "merged")
    again, tokenizer = load(str(tmp_path / "adapter"))
    assert difference(logits_of(again, batch), merged) < 1e-6
    assert mentions_of(again, tokenizer, texts) == mentions_of(model, bundle.tokenizer, texts)

    # The merged model, as an ordinary one.
    for folder, bits in (("merged", None), ("adapter", quantization)):
        config = json.loads((tmp_path / folder / "config.json").read_text())
        assert "quantization_config" not in json.dumps(config)
        assert config.get("quantization") == bits
        assert config["encoder_config"]["vocab_size"] == size
    plain, _ = load(str(tmp_path / "merged"))
    weights = plain.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert difference(logits_of(plain, batch), merged) < 1e-6  # the last bit may depend on where weights lie in memory
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
    with pytest.raises(ExtraError, match=rf"needs {library}: pip install 'mosaic-ner\[peft\]'"):
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
        ModelOptions(**options).check()


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
