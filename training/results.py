"""results.json: what a run measured, and everything needed to judge it. The only place that writes and reads it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_ner.data_builders.options import DataOptions, specs
from mosaic_ner.modeling.label_space import UserError

if TYPE_CHECKING:
    import torch

PACKAGES = ("mosaic-ner", "torch", "transformers", "tokenizers", "datasets", "accelerate", "seqeval")
RESULTS, DOCUMENT_F1 = "results.json", "document_f1.json"


class ResultsError(UserError):
    """A folder without the results of a run, or with others than asked for."""


@dataclass
class Results:
    """What a run measured.

    Args:
        settings: option → value, of all that decide the result.
        test, validation: corpus → its report (see `Evaluator.evaluate`).
        data: split → corpus → number of documents and mentions.
        coverage: corpus → what could be represented (`CoverageReport.to_dict`).
        overlap: which training documents are in an evaluation split, and what was done (`OverlapReport.to_dict`).
        faults: what was wrong with the files, by cause.
        versions: package → version. device: see `device_name`. precision: of the encoder when it was measured. seconds: phase →
            duration.
        history: the validation figures of each evaluation in training.
        padding: share of the training tokens that are padding, 0..1; None: nothing was trained.
        completion: of a run with teachers, what they labelled (`Completed.to_dict`).
        export: of a stock export, how it was made and compared.
        weights: of the evaluation of a trained model, the checksum of its weights (`weights_digest`).
        document_f1: test corpus → F1 of each document, in a file of its own.
    """

    settings: dict[str, Any]
    padding: float | None = None
    history: list[dict] = field(default_factory=list)
    coverage: dict[str, dict] = field(default_factory=dict)
    test: dict[str, dict] = field(default_factory=dict)
    validation: dict[str, dict] = field(default_factory=dict)
    data: dict[str, dict] = field(default_factory=dict)
    overlap: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = ""
    precision: str = "float32"
    completion: dict | None = None
    export: dict | None = None
    weights: str | None = None
    document_f1: dict[str, list[float]] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, dict[str, dict]]:
        """The split that the figures are of, "test" or else "validation", and its reports."""
        return ("test", self.test) if self.test else ("validation", self.validation)

    @property
    def trained(self) -> dict[str, dict]:
        """Training corpus → its size; of an evaluation none, for its corpora are those in which overlap was looked for."""
        return {} if self.weights else self.data.get("train", {})

    @property
    def learnt_from(self) -> list[str]:
        """The training corpora, and those of the teachers."""
        return list(dict.fromkeys([*self.trained, *(self.completion or {}).get("learnt_from", ())]))

    @property
    def updates(self) -> int | None:
        """Updates until the last evaluation; None where there was none."""
        return max((row["step"] for row in self.history), default=None)

    def report(self, corpus: str, split: str = "test") -> dict:
        """The report of a corpus.

        Raises:
            ResultsError: it wasn't measured.
        """
        found = {"test": self.test, "validation": self.validation}[split]
        if corpus not in found:
            raise ResultsError(f"the run has no {split} figures of {corpus!r}; it has {', '.join(found) or 'none'}")
        return found[corpus]

    @classmethod
    def from_dict(cls, content: dict) -> Results:
        """The results of results.json's content; keys of other versions are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """The results of a finished run; those of earlier versions lack some fields.

        Raises:
            ResultsError: the folder has none that can be read.
        """
        path = Path(folder) / RESULTS
        try:
            found = cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
            scores = path.with_name(DOCUMENT_F1)
            found.document_f1 = json.loads(scores.read_text(encoding="utf-8")) if scores.exists() else {}
        except OSError as error:
            raise ResultsError(
                f"{folder} is not the folder of a finished run: no {path.name} that can be read ({error.strerror})"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ResultsError(f"{path}: expected the results of a run ({error!r})") from error
        return found

    def write(self, folder: str | Path) -> None:
        """Writes results.json and document_f1.json."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "document_f1"}
        write_json(Path(folder) / RESULTS, {name: value for name, value in content.items() if value is not None})
        if self.document_f1:
            write_json(Path(folder) / DOCUMENT_F1, self.document_f1)


def device_name(device: torch.device) -> str:
    """What a device is called: a GPU's model, "cpu" for any processor."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def versions() -> dict[str, str]:
    """Versions of Python and the packages that decide a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def without_local_paths(settings: dict) -> dict:
    """The settings as they may be published: files and folders of this machine reduced to their last part."""
    out = {k: _public(v) for k, v in settings.items()}
    if "encoder_name" in out:
        out["encoder"] = out.pop("encoder_name")
    return out


def asked(arguments, args) -> dict:
    """The settings of a run as they may be published; of several processes, each of which has batches of its own, how many."""
    return without_local_paths(arguments.settings() | ({"processes": args.world_size} if args.world_size > 1 else {}))


def evaluated(asked: dict, folder: Path) -> dict:
    """`settings` and `weights` of a trained model's evaluation: of its data, the settings asked for; of the model, those of its
    own run.

    Args:
        folder: the model's; one without results.json tells the family alone.
    """
    from mosaic_ner.prediction.integrity import weights_digest
    from mosaic_ner.prediction.model_classes import PREFIX

    here = {*specs(DataOptions), "model_name_or_path", "prediction_mode"}
    try:
        learnt = Results.read(folder).settings
    except ResultsError:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        learnt = {"seed": asked["seed"], "family": kind.removeprefix(PREFIX), "encoder": "not recorded"}
    settings = {k: v for k, v in learnt.items() if k not in here} | {k: v for k, v in asked.items() if k in here}
    return {"settings": without_local_paths(settings), "weights": weights_digest(folder)}


def _public(value):
    if isinstance(value, list):
        return [_public(item) for item in value]
    return _last_part(value) if isinstance(value, str) else value


def _last_part(value: str) -> str:
    local = os.path.isabs(value) or value.startswith((".", "~")) or os.path.exists(value)
    return Path(value).name if local and os.sep in value else value


def write_json(path: Path, content: dict) -> None:
    """Writes atomically."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(fresh, path)
