"""Folders that are not what they say: how the tests spoil a copy of a saved model, and what must be refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mosaic_ner.prediction.integrity import IntegrityError, check_folder
from safetensors.torch import load_file, save_file

CANARY = "canary"
"""The file that hostile code would write, in the folder above."""
EVIL = 'import os\nopen(os.environ["CANARY"], "w").write("ran")\n'


class Evil:
    """Its pickle runs a command when it is read."""

    def __reduce__(self):
        return (os.system, ('touch "$CANARY"',))


def guarded_copy(model: Path, tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """A copy of a saved model, that a test may spoil; nothing in it may ever run."""
    monkeypatch.setenv("CANARY", str(tmp_path / CANARY))
    yield Path(shutil.copytree(model, tmp_path / "model"))
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


# ---- how to spoil it


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


UNFIT = "config.json: tasks and label space don't go together"
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
    "config that is none": (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    "config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
    "config of another kind": (set_in("config.json", model_type="unheard_of"), "config.json"),
    "config with a wrong option": (set_in("config.json", classifier="tree"), "config.json"),
    "labels and numbers": (set_in("config.json", label2id={"B-Gene": 1}), "label2id isn't the inverse"),
    "labels with a gap": (with_config(lambda c: c["id2label"].update({"99": "B-X"})), "id2label has the numbers"),
    "label space of others": (with_config(other_types), UNFIT),
    "task with labels beyond": (with_config(lambda c: c["tasks"][0]["labels"].append(99)), UNFIT),
    "task that isn't there": (set_in("config.json", default_tasks=["Genes"]), UNFIT),
    "corpus that isn't there": (set_in("config.json", corpus_tasks={"other": ["ALL"]}), UNFIT),
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

CODE = {
    "comment": "# mine",
    "program": EVIL,
    "library": "import numpy",
    "call that evaluates": "eval('1')",
    "call that unpickles": "import torch\ntorch.load('x')",
    "import of nothing": "from .absent import y",
    "no Python": "def (",
    "nested too deeply": "x=" + "-" * 100_000 + "1",
}
"""Lines that make a file of code another than this package's."""
