"""What a model refuses to load by itself, also where this package isn't: pickles, other weights, labels that don't fit."""

from __future__ import annotations

import json
import re

import pytest
import torch
from helpers_integrity import HOSTILE, guarded_copy, pickled
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from safetensors.torch import load_file
from transformers import AutoConfig


@pytest.fixture
def folder(saved_model_dir, tmp_path, monkeypatch):
    """A copy of a saved model, that a test may spoil; nothing in it may ever run."""
    yield from guarded_copy(saved_model_dir, tmp_path, monkeypatch)


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
