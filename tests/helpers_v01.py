"""config.json of mosaic-ner 0.1 → the form of today; the weights are the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

UNITS = {"word": "pretoken", "token": "token"}
TIED = {"mean": "mean", "both": "mean_and_variance", "nothing": "none"}
GONE = ("write", "loss_mean", "annealing", "pretraining", "auto_map", "custom_pipelines")


def converted(old: dict) -> dict:
    """The config of the same model.

    Raises:
        ValueError: SRU-NER's memory was written as it can't be any more.
    """
    if old.get("write", "last") != "last":
        raise ValueError("a model that was trained with --write next has no counterpart")
    new = {key: value for key, value in old.items() if key not in GONE} | {"config_version": 2}
    if "boundaries" in new:
        new["units"] = UNITS[new.pop("boundaries")]
    if "noise" in new:
        new["deterministic"] = not new.pop("noise")
        new["tied"], new["generate_synonyms"] = TIED[new.pop("shared")], new.pop("synonyms")
    if old["model_type"] == "mosaic_span_cvae":
        new["tasks"] = [task | {"corpus": task["name"]} for task in old["tasks"]]
    return new


def convert_folder(old: Path, new: Path) -> None:
    """Copies a model's weights and tokenizer beside its converted config; its code stays behind."""
    new.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(old / name, new / name)
    config = json.loads((old / "config.json").read_text(encoding="utf-8"))
    (new / "config.json").write_text(json.dumps(converted(config)), encoding="utf-8")
