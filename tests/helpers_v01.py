"""A model of mosaic-ner 0.1 → the form of today, with the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

FORMS = {"mosaic_aioner": 2, "mosaic_span_cvae": 3, "mosaic_sruner": 2, "mosaic_joint_ib": 3}
UNITS = {"word": "pretoken", "token": "token"}
TIED = {"mean": "mean", "both": "mean_and_variance", "nothing": "none"}
GONE = ("write", "loss_mean", "annealing", "pretraining", "noise", "auto_map", "custom_pipelines")
HIDDEN = ("hidden.weight", "hidden.bias")
"""The first layer of CVAE-NER's classifier."""


def converted(old: dict) -> dict:
    """The config of the same model.

    Raises:
        ValueError: SRU-NER's memory was written as it can't be any more.
    """
    if old.get("write", "last") != "last":
        raise ValueError("a model that was trained with --write next has no counterpart")
    new = {key: value for key, value in old.items() if key not in GONE}
    new["config_version"] = FORMS[old["model_type"]]
    if "boundaries" in new:
        new["units"] = UNITS[new.pop("boundaries")]
    if old["model_type"] == "mosaic_joint_ib":
        new["compressed"] = True
        new["tied"], new["generate_synonyms"] = TIED[new.pop("shared")], new.pop("synonyms")
    if old["model_type"] == "mosaic_span_cvae":
        new["tasks"] = [task | {"corpus": task["name"]} for task in old["tasks"]]
    return new


def convert_folder(old: Path, new: Path) -> None:
    """Copies a model's weights and tokenizer beside its converted config; its code stays behind."""
    new.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(old / name, new / name)
    config = json.loads((old / "config.json").read_text(encoding="utf-8"))
    weights = load_file(old / "model.safetensors")
    if config["model_type"] == "mosaic_span_cvae" and config["labels_per"] == "corpus":
        for name in HIDDEN:  # which all corpora had in common
            weights[name] = weights[name].repeat(len(config["tasks"]), *[1] * (weights[name].dim() - 1))
    save_file(weights, new / "model.safetensors", metadata={"format": "pt"})
    (new / "config.json").write_text(json.dumps(converted(config)), encoding="utf-8")
