"""ONNX exports: the graph computes what PyTorch does, and whole documents get the same mentions."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers_hub import fails
from mosaic_ner.data_builders.extras import ExtraError
from mosaic_ner.hub import export, onnx_export
from mosaic_ner.hub.export_check import ExportError
from mosaic_ner.hub.onnx_export import OnnxModel, export_onnx, graph_inputs, load_onnx, made_up_batch
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load

MODELS = {
    "crf": {},
    "softmax": {"classifier": "softmax", "scheme": "mtl"},  # restricted to the task's labels, so task_ids is an input
    "span_cvae": {"family": "span_cvae"},
    "joint_ib": {"family": "joint_ib", "flat": False, "gamma": 0.0, "latent_size": 16, "hidden_size": 16},
}
INPUTS = {
    "crf": ["input_ids", "attention_mask"],
    "softmax": ["input_ids", "attention_mask", "task_ids"],
    "span_cvae": ["input_ids", "attention_mask", "unit_starts", "unit_ends", "corpus_ids"],
    "joint_ib": ["input_ids", "attention_mask", "unit_starts", "unit_ends"],
}


@pytest.fixture(scope="module")
def exports(build_bundle, bert_dir, tmp_path_factory):
    """Function: name in `MODELS` → its bundle and the folder of its export, written once."""
    made = {}

    def export_of(name):
        if name not in made:
            bundle = build_bundle(encoder=str(bert_dir), lively=True, **MODELS[name])
            folder = tmp_path_factory.mktemp("onnx")
            facts = export_onnx(bundle.model, bundle.tokenizer, folder)
            made[name] = bundle, folder, facts
        return made[name]

    return export_of


@pytest.fixture
def copied(exports, tmp_path):
    """Function: name in `MODELS` → a copy of its export that a test may spoil."""
    return lambda name: shutil.copytree(exports(name)[1], tmp_path / "copy")


@torch.inference_mode()
def gap(model, exported, batch) -> float:
    """The largest difference of logits; where one is infinite, so is the other."""
    wanted, got = model(**batch).logits, exported(**batch).logits
    assert wanted.shape == got.shape
    assert torch.equal(wanted.isfinite(), got.isfinite())
    finite = wanted.isfinite()
    assert finite.sum() > 10
    return (wanted[finite] - got[finite]).abs().max().item()


@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_pytorch(name, exports, demo_texts):
    bundle, folder, facts = exports(name)
    assert facts["inputs"] == INPUTS[name]
    exported = OnnxModel(folder)
    assert [i.name for i in exported.session.get_inputs()] == INPUTS[name]
    assert exported.session.get_inputs()[0].shape == ["batch", "sequence"]
    for size, tokens, units in ((1, 5, 1), (2, 11, 8), (7, 64, 50), (5, 130, 60)):  # none of them seen at export
        assert gap(bundle.model, exported, made_up_batch(bundle.model.config, INPUTS[name], size, tokens, units)) < 1e-4
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    for count in (1, 6):  # windows of texts, with padded tokens and units
        features = [r.features for r in predictor.requests(demo_texts[3 : 3 + count])]
        assert gap(bundle.model, exported, pad_batch(features, predictor.padding)) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_whole_documents_get_the_same_mentions(name, exports, demo_texts):
    bundle, folder, _ = exports(name)
    texts = ["", "BRCA1.", demo_texts[0], " ".join(demo_texts[1:4])]
    wanted = MentionPredictor(bundle.model, bundle.tokenizer)(texts)
    exported, tokenizer = load_onnx(folder)
    for batch_size in (16, 2):
        got = MentionPredictor(exported, tokenizer, batch_size)(texts)
        assert [[m.key for m in row] for row in got] == [[m.key for m in row] for row in wanted]
        scores = [[m.score for row in rows for m in row] for rows in (got, wanted)]
        assert len(scores[0]) > 20
        assert np.abs(np.subtract(*scores)).max() < 1e-3
    nested = [any(b.start < a.end for a, b in pairwise(row)) for row in wanted]
    assert any(nested) == (name == "joint_ib")


def test_corpora_and_modes_are_those_of_the_model(exports, demo_texts):
    bundle, folder, _ = exports("span_cvae")
    exported, tokenizer = load_onnx(folder)
    found = set()
    for corpus, mode in (("demo_gene", None), ("demo_gene", "native"), ("demo_chem", None), (None, None)):
        tasks = bundle.model.tasks_for(corpus, mode)
        assert exported.tasks_for(corpus, mode) == tasks
        keys = [
            [[m.key for m in row] for row in MentionPredictor(m, t)(demo_texts[:3], tasks)]
            for m, t in ((bundle.model, bundle.tokenizer), (exported, tokenizer))
        ]
        assert keys[0] == keys[1]
        found.add(str(keys[0]))
    assert len(found) > 2
    assert exported.knows("demo_gene")
    assert not exported.knows("biored")
    assert exported.knows_native_types("demo_gene")


def test_the_command_compares(exports, tmp_path, capsys, monkeypatch):
    """The command, with a graph that is there already."""
    bundle, folder, facts = exports("crf")
    bundle.save(tmp_path / "model")

    def written(model, tokenizer, output):
        shutil.copytree(folder, output, dirs_exist_ok=True)
        return dict(facts)

    monkeypatch.setattr(export, "export_onnx", written)
    argv = [str(tmp_path / "model"), "--format", "onnx", "--compare", "demo_gene", "--split", "validation"]
    export.main([*argv, "--output", str(tmp_path / "same")])
    report = json.loads((tmp_path / "same" / "comparison.json").read_text(encoding="utf-8"))
    assert report["tasks"] == [task.name for task in bundle.model.tasks_for()]
    assert report["compared"]["differences"] == 0
    assert report["compared"]["same"] > 100
    assert "| texts that both read whole |" in capsys.readouterr().out
    text = (tmp_path / "same" / "README.md").read_text(encoding="utf-8")
    assert "| `input_ids` | int64 | (batch, sequence) |" in text
    # The command with an export of another chain, which forbids nearly everything.
    weights = onnx_export.load_file(folder / "search.safetensors")
    weights["crf.start"] = weights["crf.start"] - torch.arange(len(weights["crf.start"])) * 50.0
    weights["crf.transitions"] = weights["crf.transitions"] * 30
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    onnx_export.save_file(weights, spoilt / "search.safetensors")
    monkeypatch.setattr(export, "export_onnx", lambda m, t, output: written(m, t, output) | _over(spoilt, output))
    with pytest.raises(SystemExit) as stop:
        export.main([*argv, "--output", str(tmp_path / "other")])
    assert stop.value.code == 1
    assert "mentions differ, see comparison.json" in capsys.readouterr().err


def _over(source, target) -> dict:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return {}


def test_the_export_stands_alone(exports):
    """No weights but the graph's and the chain's, no code, no place that it came from."""
    _, folder, facts = exports("crf")
    names = {p.name for p in folder.iterdir()}
    assert names == {"config.json", "model.onnx", "search.safetensors", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert not {"auto_map", "custom_pipelines"} & set(config)
    assert config["inference_only"] is True
    assert facts["largest_difference"] < 1e-4
    assert "search.safetensors" not in {p.name for p in exports("span_cvae")[1].iterdir()}


def test_the_model_itself_is_left_as_it_was(exports):
    bundle, _, _ = exports("span_cvae")
    assert bundle.model.config.inference_only is False
    assert bundle.model.cvae is not None


# ---- errors


def test_families_without_a_graph(build_bundle, bert_dir, tmp_path, capsys):
    bundle = build_bundle(encoder=str(bert_dir), family="sruner")
    with pytest.raises(ExportError, match="one action after another"):
        graph_inputs(bundle.model.config)
    bundle.save(tmp_path / "model")
    message = fails(capsys, export, tmp_path / "model", "--format", "onnx", "--output", tmp_path / "new")
    assert "export: error: an SRU-NER model" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_packages(package, saved_model_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = fails(capsys, export, saved_model_dir, "--format", "onnx", "--output", tmp_path / "new")
    assert f"export: error: an ONNX export needs {package}: pip install 'mosaic-ner[onnx]'" in message
    assert not (tmp_path / "new").exists()


def test_predicting_without_onnxruntime(exports, monkeypatch):
    _, folder, _ = exports("crf")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExtraError, match="running a graph needs onnxruntime"):
        load_onnx(folder)


def test_folders_that_are_no_export(copied, saved_model_dir, tmp_path):
    for folder in (saved_model_dir, tmp_path / "nothing"):
        with pytest.raises(ExportError, match="expected the --output of"):
            load_onnx(folder)
    folder = copied("crf")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ExportError, match="has no tokenizer"):
        load_onnx(folder)
    (folder / "search.safetensors").write_bytes(b"?")
    with pytest.raises(ExportError, match="can't be read"):
        load_onnx(folder)
    (folder / "search.safetensors").unlink()
    with pytest.raises(ExportError, match="can't be read"):
        load_onnx(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ExportError, match="is neither a folder with a config"):
        load_onnx(folder)


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_a_file_that_is_no_graph(copied, content):
    folder = copied("span_cvae")
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ExportError, match="is no graph that onnxruntime can run"):
        load_onnx(folder)


def test_files_of_two_exports(copied, exports):
    folder = copied("crf")
    shutil.copy(exports("span_cvae")[1] / "model.onnx", folder / "model.onnx")
    with pytest.raises(ExportError, match="the files are not of one export"):
        load_onnx(folder)
    weights = onnx_export.load_file(folder / "search.safetensors")
    onnx_export.save_file({name: value[:2] for name, value in weights.items()}, folder / "search.safetensors")
    with pytest.raises(ExportError, match="is not of the model in config"):
        load_onnx(folder)


def test_a_graph_of_other_weights_is_refused(exports, monkeypatch, tmp_path):
    bundle, folder, _ = exports("crf")
    network, _ = load(_saved(bundle, tmp_path / "model"))
    with torch.no_grad():
        network.classifier.weight.mul_(2)
    scores = onnx_export._Scores(network.eval(), INPUTS["crf"])
    assert onnx_export._largest_difference(scores, INPUTS["crf"], folder / "model.onnx", network.config) > 0.1


def _saved(bundle, folder):
    bundle.save(folder)
    return str(folder)
