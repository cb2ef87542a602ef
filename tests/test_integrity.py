"""Folders that are not what they say: refused with the file's name, before anything in them runs."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from helpers_run import ROOT, fails
from mosaic_ner.hub import verify
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from mosaic_ner.prediction.integrity import IntegrityError, check_code, check_folder, write_checksums
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertConfig, BertForTokenClassification

CANARY = "canary"
"""The file that hostile code would write, in the folder above."""
EVIL = 'import os\nopen(os.environ["CANARY"], "w").write("ran")\n'


class Evil:
    """Its pickle runs a command when it is read."""

    def __reduce__(self):
        return (os.system, ('touch "$CANARY"',))


@pytest.fixture
def folder(saved_model_dir, tmp_path, monkeypatch):
    """A copy of a saved model, that a test may spoil; nothing in it may ever run."""
    monkeypatch.setenv("CANARY", str(tmp_path / CANARY))
    copy = tmp_path / "model"
    shutil.copytree(saved_model_dir, copy)
    yield copy
    assert not (tmp_path / CANARY).exists()


def change(path: Path, **values) -> None:
    """Sets keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def refused(folder, *parts: str, strict: bool = False) -> str:
    """The message of the refusal, which has these parts."""
    with pytest.raises(IntegrityError) as told:
        check_folder(folder, strict)
    for part in parts:
        assert part in str(told.value)
    return str(told.value)


# ---- what is as it should be


def test_what_every_family_saves_is_accepted(build_bundle, tmp_path):
    families_and_more = (
        {"scheme": "mtl"},
        {"scheme": "naive"},
        {"classifier": "softmax"},
        {"family": "sruner"},
        {"family": "joint_ib"},
        {"family": "span_cvae"},
        {"family": "span_cvae", "labels_per": "shared"},
    )
    for number, options in enumerate(families_and_more):
        bundle = build_bundle(**options)
        for small in {False, bool(bundle.model.training_modules)}:
            bundle.save(tmp_path / f"{number}{small}", small)
            check_folder(tmp_path / f"{number}{small}", strict=True)


@pytest.mark.parametrize("encoder", ["t5_dir", "bert_dir"])
def test_other_encoders_are_accepted(build_bundle, encoder, request, tmp_path):
    build_bundle(encoder=str(request.getfixturevalue(encoder))).save(tmp_path)
    check_folder(tmp_path, strict=True)


def test_the_hubs_cache_is_accepted(saved_model_dir, tmp_path):
    """There the files of a snapshot are links to contents kept beside."""
    blobs, snapshot = tmp_path / "models--lab--name" / "blobs", tmp_path / "models--lab--name" / "snapshots" / "main"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in saved_model_dir.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    check_folder(snapshot, strict=True)


def test_what_resumes_a_training_is_for_checkpoints_only(folder):
    torch.save({"state": Evil()}, folder / "optimizer.pt")
    refused(folder, "optimizer.pt")
    (folder / "trainer_state.json").write_text("{}")
    load(str(folder))
    refused(folder, "optimizer.pt", strict=True)


# ---- what is not


def pickled(name):
    def spoil(folder):
        with (folder / name).open("wb") as file:
            pickle.dump(Evil(), file, protocol=0 if name.endswith(".txt") else 4)

    return spoil


def archived(folder):
    torch.save({"weights": Evil()}, folder / "model.dat")
    assert zipfile.is_zipfile(folder / "model.dat")


def header(**entry):
    def spoil(folder):
        text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))

    return spoil


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def references(value):
    def spoil(folder):
        (folder.parent / "outside.py").write_text(EVIL + "class Model: pass\n")
        change(folder / "config.json", auto_map=config_of(folder)["auto_map"] | {"AutoModel": value})

    return spoil


def pipeline(**values):
    def spoil(folder):
        pipelines = config_of(folder)["custom_pipelines"]
        change(folder / "config.json", custom_pipelines=pipelines | {"ner": pipelines["ner"] | values})

    return spoil


def nested(key, value):
    def spoil(folder):
        change(folder / "config.json", encoder_config=config_of(folder)["encoder_config"] | {key: value})

    return spoil


def linked(name, target):
    def spoil(folder):
        (folder.parent / "outside.py").write_text(EVIL)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder.parent / target)

    return spoil


def code(name, line):
    def spoil(folder):
        path = folder / name
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")

    return spoil


def set_in(name, **values):
    return lambda folder: change(folder / name, **values)


def with_config(change_it):
    def spoil(folder):
        config = config_of(folder)
        change_it(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def with_tokenizer(change_it):
    def spoil(folder):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        change_it(content)
        path.write_text(json.dumps(content))

    return spoil


def with_weights(change_it):
    def spoil(folder):
        tensors = load_file(folder / "model.safetensors")
        change_it(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return spoil


def more_tokens(content):
    content["added_tokens"].append({"id": 5000, "content": "<new>", "special": False})


def renumbered(content):
    for row in content["added_tokens"]:
        row["id"] = {2: 3, 3: 2}.get(row["id"], row["id"])
    vocabulary = content["model"]["vocab"]
    vocabulary["[CLS]"], vocabulary["[SEP]"] = 3, 2


def adapter(folder, *names):
    """Makes an adapter of the folder, with empty weights of these names."""
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "other/encoder"}')
    for name in names:
        save_file({}, folder / name, {"format": "pt"})


def other_types(config):
    config["label_space"] = json.loads(json.dumps(config["label_space"]).replace("Species", "Organism"))


HOSTILE = {
    "pickle, older": (pickled("pytorch_model.bin"), "pytorch_model.bin"),
    "pickle of torch": (pickled("model.pt"), "model.pt"),
    "pickle of Lightning": (pickled("last.ckpt"), "last.ckpt"),
    "pickle, plain": (pickled("vocabulary.PKL"), "vocabulary.PKL"),
    "pickle under another name": (pickled("notes.md"), "notes.md"),
    "pickle as weights": (pickled("model.safetensors"), "model.safetensors"),
    "pickle that is text": (pickled("notes.txt"), "notes.txt"),
    "archive of a pickle": (archived, "model.dat"),
    "weights cut short": (truncated, "model.safetensors"),
    "weights beyond the file": (header(data_offsets=[0, 80]), "model.safetensors"),
    "weights of a wrong size": (header(shape=[3]), "model.safetensors"),
    "weights of no type": (header(dtype="PY"), "model.safetensors"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "code above": (references("../outside.Model"), "config.json: auto_map.AutoModel"),
    "code in a folder": (references("sub/outside.Model"), "leaves the folder"),
    "code at a path": (references("/tmp/outside.Model"), "leaves the folder"),
    "code of another repository": (references("other/repo--outside.Model"), "code of another repository"),
    "code in a package": (references("a.b.Model"), "leaves the folder"),
    "code that isn't there": (references("nothing.Model"), "no nothing.py"),
    "class that isn't there": (references("crf.Model"), "crf.py has no such class"),
    "reference that is none": (references(["crf.Model", 7]), "config.json: auto_map"),
    "code of the encoder": (nested("auto_map", {"AutoModel": "other/repo--x.Y"}), "encoder_config.auto_map"),
    "kernels": (nested("_attn_implementation", "other/kernels"), "encoder_config._attn_implementation"),
    "kernels of a part": (nested("attn_implementation", {"encoder": "other/kernels"}), "encoder_config.attn_implementation"),
    "kernels, listed": (nested("experts_implementation", [{"a|b": "eager"}]), "encoder_config.experts_implementation"),
    "kernels, as kept inside": (set_in("config.json", _attn_implementation_internal="a/b"), "_attn_implementation_internal"),
    "attention that is none": (set_in("config.json", attn_implementation={"": "unheard of"}), "config.json"),
    "other weights": (set_in("config.json", transformers_weights="../model.safetensors"), "config.json: transformers_weights"),
    "other weights of the encoder": (nested("transformers_weights", "x.bin"), "encoder_config.transformers_weights"),
    "weights of a distributed training": (
        lambda folder: shutil.copy(folder / "model.safetensors", folder / "shard-00001-model-00001-of-00001.safetensors"),
        "shard-00001-model-00001-of-00001.safetensors",
    ),
    "archive that is broken": (
        lambda folder: (folder / "notes.md").write_bytes(b"x" * 9 + b"PK\5\6" + b"\xff" * 16 + bytes(2)), "notes.md",
    ),
    "code nested too deeply": (code("extra.py", "x=" + "-" * 100_000 + "1"), "extra.py"),
    "code of too many parts": (code("extra.py", "a" + ".b" * 5000), "extra.py"),
    "reference without end": (references("x" * 5000 + ".Model"), "config.json"),
    "pipeline of a number": (pipeline(pt=5), "custom_pipelines.ner.pt"),
    "labels that are none": (set_in("config.json", id2label={"0": ["x"]}, label2id={}), "config.json"),
    "tokens around in a list": (set_in("config.json", cls_ids=[[2]]), "TypeError"),
    "link to itself": (linked("notes.md", "model/notes.md"), "model"),
    "adapter of nothing": (lambda folder: adapter(folder, "adapter_model.safetensors"), "no model.safetensors"),
    "pipeline elsewhere": (pipeline(impl="other/repo--outside.Pipeline"), "custom_pipelines.ner.impl"),
    "pipeline of anything": (pipeline(pt=["dynamic_module_utils"]), "custom_pipelines.ner.pt"),
    "link to code": (linked("crf.py", "outside.py"), "crf.py is a symbolic link"),
    "link to a folder": (linked("extra", "."), "extra is a symbolic link"),
    "import of a library": (code("crf.py", "import numpy"), "crf.py:"),
    "import that runs": (code("crf.py", "from subprocess import run"), "imports subprocess"),
    "import of code": (code("crf.py", "def f():\n    import importlib"), "imports importlib"),
    "import from above": (code("crf.py", "from ..x import y"), "is no sibling"),
    "import of nothing": (code("crf.py", "from .absent import y"), "is no sibling"),
    "call of a program": (code("crf.py", "import os as o\no.system('touch \"$CANARY\"')"), "os.system"),
    "call that evaluates": (code("crf.py", "eval('1')"), "uses eval"),
    "call that unpickles": (code("crf.py", "import torch\ntorch.load('x')"), "torch.load"),
    "call that imports": (code("crf.py", "__import__('os')"), "uses __import__"),
    "call of the Hub's code": (
        code("crf.py", "from transformers.dynamic_module_utils import get_class_from_dynamic_module"),
        "get_class_from_dynamic_module",
    ),
    "code that is none": (code("crf.py", "def ("), "not Python"),
    "config that is none": (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    "config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
    "config of another kind": (set_in("config.json", model_type="unheard_of"), "config.json"),
    "config with a wrong option": (set_in("config.json", classifier="tree"), "config.json"),
    "labels and numbers": (set_in("config.json", label2id={"B-Gene": 1}), "label2id isn't the inverse"),
    "labels with a gap": (with_config(lambda c: c["id2label"].update({"99": "B-X"})), "id2label has the numbers"),
    "label space of others": (with_config(other_types), "the label space has no type 'Species'"),
    "task with labels beyond": (with_config(lambda c: c["tasks"][0]["labels"].append(99)), "labels beyond"),
    "task that isn't there": (set_in("config.json", default_tasks=["Genes"]), "config.json"),
    "corpus that isn't there": (set_in("config.json", corpus_tasks={"other": ["ALL"]}), "'other' is asked for"),
    "classifier too small": (
        with_weights(lambda t: [t.update({k: v[:-1].contiguous()}) for k, v in [*t.items()] if k == "classifier.bias"]),
        "model.safetensors doesn't fit config.json: classifier.bias",
    ),
    "part of the head": (with_weights(lambda t: t.pop("classifier.bias")), "lacks classifier.bias"),
    "part too many": (with_weights(lambda t: t.update(more=torch.ones(1))), "more"),
    "vocabulary and embeddings": (nested("vocab_size", 5000), "model.safetensors doesn't fit config.json: encoder."),
    "tokens without embeddings": (with_tokenizer(more_tokens), "tokenizer.json has 5001 tokens"),
    "tokens renumbered": (with_tokenizer(renumbered), "number '[CLS]' differently"),
    "tokens around that are none": (with_config(lambda c: c["cls_ids"].append(77)), "puts the token 77"),
    "pad token": (set_in("config.json", pad_token_id=2), "pad token"),
    "token that isn't there": (set_in("tokenizer_config.json", cls_token="<nothing>"), "tokenizer.json has no '<nothing>'"),
    "tokenizer with code": (
        set_in("tokenizer_config.json", auto_map={"AutoTokenizer": ["outside.X", None]}),
        "tokenizer_config.json: auto_map",
    ),
    "tokenizer of another class": (set_in("tokenizer_config.json", tokenizer_class="BertTokenizer"), "tokenizer_class"),
    "tokenizer that is none": (lambda folder: (folder / "tokenizer.json").write_text('{"model": 1}'), "tokenizer.json"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
    "adapter of a program": (
        lambda folder: (folder / "adapter_config.json").write_text('{"auto_mapping": {"parent_library": "antigravity"}}'),
        "adapter_config.json: auto_mapping.parent_library",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_and_nothing_in_it_runs(folder, name):
    spoil, part = HOSTILE[name]
    spoil(folder)
    message = refused(folder, part)
    assert str(folder) in message


@pytest.mark.parametrize("name", ["pickle as weights", "call of a program"])
def test_evaluation_and_prediction_refuse_it(folder, name, tmp_path, capsys):
    spoil, part = HOSTILE[name]
    spoil(folder)
    source = tmp_path / "in.txt"
    source.write_text("1|t|A gene\n1|a|\n\n")
    predicting = ["--do_predict", "--predict_input", source, "--predict_output", tmp_path / "out.PubTator"]
    assert part in fails(capsys, "--model_name_or_path", folder, *predicting)
    assert not (tmp_path / "out.PubTator").exists()
    assert part in fails(capsys, "--model_name_or_path", folder, "--corpora", "demo", "--output_dir", tmp_path / "run")
    assert part in fails(capsys, "--encoder", folder, "--corpora", "demo", "--output_dir", tmp_path / "run")


@pytest.mark.parametrize("line", ["x = 1", EVIL])
def test_only_this_packages_code_is_published(folder, line):
    """A package that loads the folder uses its own classes; strangers would use these."""
    code("crf.py", line)(folder)
    check_folder(folder)
    refused(folder, "crf.py differs", strict=True)


def test_files_of_other_names_and_in_subfolders_are_looked_at_for_publishing(folder):
    (folder / "sub").mkdir()
    pickled("sub/rest.pt")(folder)
    check_folder(folder)
    refused(folder, "rest.pt", strict=True)
    (folder / "sub" / "rest.pt").unlink()
    code("extra.py", "x = 1")(folder)
    refused(folder, "extra.py is none of this package's", strict=True)


def test_harmless_code_is_let_through(tmp_path):
    source = (
        "import os\nimport torch.nn as nn\nfrom .b import c\n\ndef f(model):\n    model.eval()\n    return os.environ\n"
    )
    (tmp_path / "a.py").write_text(source)
    (tmp_path / "b.py").write_text("c = 1\n")
    check_code(tmp_path / "a.py")
    check_code(ROOT / "hub" / "handler.py")


def test_checksums_tell_what_was_changed_lost_or_added(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("a")
    write_checksums(folder)
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")  # the Hub's
    check_folder(folder, strict=True)
    load(str(folder))
    (folder / "sub" / "b.txt").write_text("b")
    refused(folder, "b.txt", "doesn't list it")
    (folder / "sub" / "b.txt").unlink()
    text = (folder / "crf.py").read_text()
    (folder / "crf.py").write_text(text + "\n")
    refused(folder, "crf.py", "another SHA-256")
    (folder / "crf.py").unlink()
    refused(folder, "crf.py is missing")
    (folder / "crf.py").write_text(text)
    check_folder(folder, strict=True)
    card = (folder / "README.md").read_text() if (folder / "README.md").exists() else None
    (folder / "README.md").write_text("edited on the Hub's page")
    (folder / "LICENSE").write_text("added there")
    load(str(folder))
    refused(folder, "LICENSE", strict=True)
    (folder / "LICENSE").unlink()
    refused(folder, "README.md", strict=True)
    (folder / "README.md").unlink() if card is None else (folder / "README.md").write_text(card)
    (folder / "checksums.json").write_text('{"algorithm": "none", "files": {}}')
    refused(folder, "checksums.json: expected")


def test_sharded_weights_are_followed_within_the_folder(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {}}
    for number, part in enumerate((dict([*tensors.items()][:3]), dict([*tensors.items()][3:]))):
        save_file(part, folder / f"part{number}.safetensors", {"format": "pt"})
        index["weight_map"] |= dict.fromkeys(part, f"part{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_folder(folder)
    load(str(folder))
    change(folder / "model.safetensors.index.json", weight_map=dict.fromkeys(tensors, "../part0.safetensors"))
    refused(folder, "no ../part0.safetensors")


def test_an_adapter_has_its_own_weights_alone(folder):
    weights = folder.parent / "model.safetensors"
    shutil.copy(folder / "model.safetensors", weights)
    adapter(folder, "adapter_model.safetensors", "head.safetensors")
    check_folder(folder)
    refused(folder, "adapter_config.json is beside a config.json with auto_map", strict=True)
    config = config_of(folder)
    (folder / "config.json").write_text(
        json.dumps({k: config[k] for k in config.keys() - {"auto_map", "custom_pipelines"}})
    )
    check_folder(folder, strict=True)
    shutil.copy(weights, folder)
    check_folder(folder)
    refused(folder, "adapter_config.json is beside model.safetensors", strict=True)
    HOSTILE["part of the head"][0](folder)
    refused(folder, "lacks classifier.bias")


def test_the_weights_that_are_loaded_are_looked_at(folder):
    """An index beside a whole file isn't read, nor is a file of that name in a subfolder."""
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "rest.safetensors"}}')
    (folder / "old").mkdir()
    save_file({}, folder / "old" / "model.safetensors", {"format": "pt"})
    check_folder(folder, strict=True)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "old" / "model.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, "no model.safetensors", strict=True)
    HOSTILE["part of the head"][0](folder / "old")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    check_folder(folder, strict=True)


@pytest.mark.parametrize(
    ("lost", "told"),
    [("classifier.bias", "classifier.bias"), ("bert.embeddings.word_embeddings.weight", "word_embeddings")],
)
def test_a_stock_model_needs_embeddings_and_head(tiny_parts, tmp_path, lost, told):
    config = BertConfig(
        vocab_size=len(tiny_parts.tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    BertForTokenClassification(config).save_pretrained(tmp_path)
    tiny_parts.tokenizer.save_pretrained(tmp_path)
    check_folder(tmp_path, strict=True)
    with_weights(lambda tensors: tensors.pop(lost))(tmp_path)
    refused(tmp_path, "model.safetensors doesn't fit config.json: it lacks", told)


def test_verify_looks_at_every_folder(saved_model_dir, folder, tmp_path, capsys, monkeypatch):
    write_checksums(folder)
    (folder / "README.md").write_text("edited on the Hub's page")
    verify.main([str(folder)])
    assert "checksums agree" in capsys.readouterr().out
    bad = tmp_path / "bad"
    shutil.copytree(saved_model_dir, bad)
    HOSTILE["archive that is broken"][0](bad)

    def failing(place, strict):
        if place.name == "lost":
            raise PermissionError(13, "Permission denied", str(place))
        check_folder(place, strict)

    monkeypatch.setattr(verify, "check_folder", failing)
    with pytest.raises(SystemExit) as stop:
        verify.main([str(tmp_path / name) for name in ("bad", "lost", "x" * 300, "model")])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert [line.partition(": ")[2][:6] for line in err.splitlines()] == ["error:"] * 3
    assert str(folder) in out
    with pytest.raises(SystemExit):
        verify.main(["--publishing", str(folder)])
    assert "README.md" in capsys.readouterr().err


# ---- the model's own look at what it loads


def test_a_model_takes_no_pickles(folder):
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="use_safetensors=False"):
        AIONERForTokenClassification.from_pretrained(folder, use_safetensors=False)
    (folder / "model.safetensors").unlink()
    pickled("pytorch_model.bin")(folder)
    with pytest.raises(OSError, match=r"pytorch_model\.bin.*pickle"):
        AIONERForTokenClassification.from_pretrained(folder)


@pytest.mark.parametrize("name", ["other weights", "other weights of the encoder"])
def test_a_model_takes_no_other_weights(folder, name):
    HOSTILE[name][0](folder)
    message = "names the weights (transformers_weights)"
    with pytest.raises(ValueError, match=re.escape(message)):
        AIONERForTokenClassification.from_pretrained(folder)
    with pytest.raises(ValueError, match=re.escape(message)):
        AIONERForTokenClassification.from_pretrained(folder, config=AutoConfig.from_pretrained(folder))


@pytest.mark.parametrize("file", ["../model.safetensors", "weights.bin", 7])
def test_a_model_takes_no_shards_from_elsewhere(folder, file):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, file)})
    )
    with pytest.raises(ValueError, match=r"index\.json names .*; expected \*\.safetensors files of its folder"):
        AIONERForTokenClassification.from_pretrained(folder)


def test_a_model_is_whole_and_tells_what_was_loaded(folder):
    model, info = AIONERForTokenClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert isinstance(model, AIONERForTokenClassification)
    HOSTILE["labels and numbers"][0](folder)
    with pytest.raises(ValueError, match="label2id isn't the inverse"):
        AIONERForTokenClassification.from_pretrained(folder)


def test_code_of_the_encoder_that_an_adapter_names_does_not_run(folder, monkeypatch):
    encoder = folder.parent / "encoder"
    encoder.mkdir()
    (encoder / "evil.py").write_text(EVIL + "class Config: pass\n")
    (encoder / "config.json").write_text('{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}')
    adapter(folder, "adapter_model.safetensors", "head.safetensors")
    change(folder / "adapter_config.json", base_model_name_or_path=str(encoder))
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")  # to whatever transformers asks
    with pytest.raises(ModelError, match=r"is an adapter on the encoder .*custom code"):
        load(str(folder))
