"""Trained models, checked before anything in their folder is read."""

from __future__ import annotations

import torch
from transformers import AutoModel, PreTrainedTokenizerFast

from .adapters import is_adapter, load_merged
from .folders import load_config, trained_folder
from .model_classes import ModelError, model_class
from .options import default_model


def load(name_or_path: str | None = None, encoder: str | None = None):
    """A trained model of any family and its tokenizer, from a folder or a Hub id; in float32, or what is more exact.

    Args:
        name_or_path: a model, or the adapter and head of one; None: the model in the box.
        encoder: for an adapter, where its encoder is; default: where it says.
    Raises:
        ArgumentError: no model is named, and there is none in the box.
        ModelError: the folder holds a model that is none of this package's; or, as IntegrityError, one that doesn't fit its
            config or tokenizer, or whose config names code elsewhere (see integrity.py).
    """
    name_or_path = name_or_path or default_model()
    config = load_config(name_or_path, "model")
    kind = model_class(config.model_type)
    if kind is None:
        raise ModelError(
            f"{name_or_path} holds a {config.model_type!r} model; expected a model of one of this package's families, as "
            "trained by run_ner.py. To train on top of an encoder, give it as --encoder"
        )
    folder = trained_folder(name_or_path, "model")
    if is_adapter(folder):
        return load_merged(str(folder), config, kind, encoder)
    model = AutoModel.from_pretrained(folder)
    model.to(torch.promote_types(model.dtype, torch.float32))
    return model, PreTrainedTokenizerFast.from_pretrained(folder)
