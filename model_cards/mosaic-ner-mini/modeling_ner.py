"""What every model family shares: the encoder, the output, saving with code. Ships to the Hub.

A family implements `features` (window → plain dict of lists), `forward`, `best_labels` (device tensors of the best analysis)
and `decode` (those tensors → spans); windowing, batching and merging are the same for all (see inference.py).
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING
from transformers.utils import ModelOutput

from .configuration_ner import NERConfig, Task
from .inference import Request
from .label_space import LabelError, nearest
from .pipeline_ner import NERPipeline
from .windowing import Span, Window


@dataclass
class NEROutput(ModelOutput):
    """What every family returns.

    `loss`: scalar float or None without labels. `loss_terms`: name → scalar; what the loss is made of. `logits`: float, the
    family's scores (AIONER: (B, S, L); spans: (B, U, W, L), units by widths; SRU-NER: (B, T, A), steps by actions).
    """

    loss: Tensor | None = None
    loss_terms: dict[str, Tensor] | None = None
    logits: Tensor | None = None


class NERPreTrainedModel(PreTrainedModel):
    """Base of the families; `config_class` is set by each."""

    config_class = NERConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # losses are means over windows, so the Trainer divides by the accumulation steps
    _supports_sdpa = True
    _supports_flash_attn = True
    training_modules: tuple[str, ...] = ()
    """Attributes that only training needs; `save_pretrained(…, inference_only=True)` leaves them out."""
    decoder_modules: tuple[str, ...] = ()
    """Those, or parts of them, that are trained at `generator_learning_rate`."""
    has_span_embeddings: bool = False
    """Whether the family has `span_embeddings`; its `features` then give `unit_starts` and `unit_ends`."""
    has_latents: bool = False
    """Whether the family, one with `span_embeddings`, has `latents` too: the spaces that a span goes through."""

    padding: Mapping[str, int] = MappingProxyType({})
    """Padding value of those features that don't pad with 0."""

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """The model's input for one window, unpadded.

        Args:
            window: of a text.
            task: the pass over it; default: the first of the default tasks.
        """
        raise NotImplementedError

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The best analysis of each window as tensors, computed on the model's device."""
        raise NotImplementedError

    def decode(self, best: dict[str, Tensor], requests: list[Request]) -> list[list[tuple[Span, str, float]]]:
        """(span in the window's own tokens, type, score) per request.

        Args:
            best: `best_labels` of the requests' batch, on the CPU.
            requests: in the order of the batch.
        """
        raise NotImplementedError

    def default_task(self) -> Task:
        """The first of those that answer for a text of no training corpus."""
        return self.config.task(self.config.default_tasks[0])

    def tasks_for(self, corpus: str | None = None, mode: str | None = None) -> list[Task]:
        """The passes over a text that answer for a corpus, in a mode of the family."""
        raise NotImplementedError

    def tasks_named(self, names: list[str], types: str | None = None) -> list[Task]:
        """The tasks of these names.

        Args:
            names: of tasks in the config.
            types: "native" to be told a corpus's own types; default, "shared": shared ones.
        Raises:
            LabelError: an unknown name, or types that the model can't tell.
        """
        tasks = [self.config.task(name) for name in names]
        if types not in (None, "shared", "native"):
            raise LabelError(f"types is {types!r}; expected 'shared' or 'native'")
        if types != "native":
            return tasks
        for task in tasks:
            if task.corpus is None or not self.knows_native_types(task.corpus):
                raise LabelError(f"task {task.name!r} of this model tells shared types only; leave out types='native'")
        return [replace(task, types="native") for task in tasks]

    def knows(self, corpus: str) -> bool:
        """Whether the model was trained on the corpus, so that `tasks_for(corpus)` answers under its guideline."""
        return corpus in self.config.labels.corpora

    def knows_native_types(self, corpus: str) -> bool:
        """Whether `tasks_for(corpus, "native")` answers in the corpus's own types."""
        return False

    def span_embeddings(self, input_ids: Tensor, attention_mask: Tensor, unit_starts: Tensor, unit_ends: Tensor):
        """The vectors of all candidate spans, (B, U, W, d) float: of the units i to i + w in cell (i, w); see
        spans.py."""
        raise NotImplementedError

    def prior_vectors(self) -> Tensor | None:
        """The vectors that tell training how labels are related, (labels, n) float, a row for each of
        `config.labels.labels`; None where a model has none, or none any more."""
        return None

    def get_input_embeddings(self):
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.encoder.set_input_embeddings(value)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """As transformers does, from safetensors only, and whole unless `ignore_mismatched_sizes` is given, with which what
        the weights lack is initialised.

        Raises:
            ValueError: a pickle was asked for, the config or a local folder's index names weights elsewhere, the weights lack
                parameters of the model, or the config's labels and their numbers don't agree.
            OSError: the folder has no safetensors.
        """
        if kwargs.get("use_safetensors") is False:
            raise ValueError(
                "use_safetensors=False: pickles run code when they are read; models of this kind have none"
            )
        kwargs["use_safetensors"] = True
        cls._check_places(pretrained_model_name_or_path, kwargs)
        told = kwargs.pop("output_loading_info", False)
        try:
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
            )
        except OSError as error:
            pickle = Path(str(pretrained_model_name_or_path)) / "pytorch_model.bin"
            if "model.safetensors" in str(error) and pickle.exists():
                raise OSError(
                    f"{pickle} is a pickle, which runs code when it is read; expected model.safetensors"
                ) from error
            raise
        # transformers would go on with random values; who wants a head of another shape, says so.
        if info["missing_keys"] and not kwargs.get("ignore_mismatched_sizes"):
            missing = sorted(info["missing_keys"])
            raise ValueError(
                f"{pretrained_model_name_or_path}: the weights lack {len(missing)} parameters of this model, the first is "
                f"{missing[0]}; they belong to another config.json. Get or save the model again; "
                "ignore_mismatched_sizes=True initialises them, for training"
            )
        labels = model.config.id2label
        if model.config.label2id != {label: number for number, label in labels.items()} or set(labels) != set(
            range(len(labels))
        ):
            raise ValueError(
                f"{pretrained_model_name_or_path}: config.json's label2id isn't the inverse of its id2label"
            )
        return (model, info) if told else model

    @classmethod
    def _check_places(cls, name_or_path, options: dict) -> None:
        """Raises ValueError if other weights are named than those of the folder."""
        if name_or_path is None:
            return
        config = options.get("config")
        if isinstance(config, PreTrainedConfig):
            content = config.to_dict()
        else:
            known = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
            given = {name: options[name] for name in known if name in options}
            content, _ = cls.config_class.get_config_dict(config or name_or_path, **given)
        if "transformers_weights" in options or _has_key(content, "transformers_weights"):
            raise ValueError(
                f"{name_or_path}: config.json names the weights (transformers_weights), which may be other files than "
                "model.safetensors; remove that key"
            )
        for index in sorted((Path(name_or_path) / options.get("subfolder", "")).glob("model.safetensors.index*.json")):
            table = json.loads(index.read_text(encoding="utf-8"))
            table = table.get("weight_map") if isinstance(table, dict) else None
            names = table.values() if isinstance(table, dict) else [table]
            if wrong := [n for n in names if not (isinstance(n, str) and re.fullmatch(r"[^/\\]+\.safetensors", n))]:
                raise ValueError(f"{index} names {wrong[0]!r}; expected *.safetensors files of its folder")

    def save_pretrained(self, save_directory, *args, inference_only: bool = False, **kwargs):
        """As transformers does, and the code files beside the weights, so that any saved folder loads by itself.

        Args:
            inference_only: leave out what only training needs; predictions stay the same.
        """
        if inference_only and not self.config.inference_only:
            left_out = {name: getattr(self, name) for name in self.training_modules}
            for name in left_out:
                setattr(self, name, None)
            self.config.inference_only = True
            try:
                self.save_pretrained(save_directory, *args, **kwargs)
            finally:
                self.config.inference_only = False
                for name, module in left_out.items():
                    setattr(self, name, module)
            return
        here = Path(inspect.getfile(type(self))).parent
        module = type(self).__module__.rsplit(".", 1)[-1]
        name = f"{module}.{type(self).__name__}"
        configuration = type(self.config).__module__.rsplit(".", 1)[-1]
        self.config.auto_map = {
            "AutoConfig": f"{configuration}.{type(self.config).__name__}",
            "AutoModel": name,
            "AutoModelForTokenClassification": name,
        }
        pipeline = {
            "impl": f"pipeline_ner.{NERPipeline.__name__}",
            "pt": ["AutoModelForTokenClassification"],
            "type": "text",
        }
        self.config.custom_pipelines = {"token-classification": pipeline, "ner": pipeline}
        super().save_pretrained(save_directory, *args, **kwargs)
        for file in code_files([here / f"{module}.py", Path(inspect.getfile(NERPipeline))]):
            target = Path(save_directory) / file.name
            if file.resolve() != target.resolve():
                shutil.copyfile(file, target)


class OwnTypesPreTrainedModel(NERPreTrainedModel):
    """Base of the families in which the types of all corpora are different types: one pass over a text finds the mentions of
    every corpus's, and a task says which of them are told."""

    def knows_native_types(self, corpus: str) -> bool:
        return corpus in self.config.labels.corpora

    def tasks_for(self, corpus: str | None = None, mode: str | None = None) -> list[Task]:
        """The task that answers for a corpus, or for any other text.

        Args:
            corpus: a training corpus, to get its guideline.
            mode: "shared" (default), those of the corpus, or of all for another text, under shared types (a type without one
                keeps its name); "native": those of the corpus, under its own names; "merged": always all, under shared types.
        """
        modes = ("shared", "native", "merged")
        if mode is not None and mode not in modes:
            raise LabelError(f"unknown prediction mode {mode!r}{nearest(mode, modes)}")
        if mode == "merged" or corpus not in self.config.labels.corpora:
            return [self.config.task(name) for name in self.config.default_tasks]
        return self.tasks_named([corpus], mode)

    def units_of(
        self, window: Window, task: Task | None
    ) -> tuple[dict[str, list[int] | int], int, list[tuple[int, int]]]:
        """What `features` of these families begin with.

        Returns:
            input_ids (with special tokens) and corpus_ids (the task's number); the number of special tokens before the text;
            the window's units as token ranges without these.
        """
        task = task or self.default_task()
        ids = [*task.prefix_ids, *window.input_ids, *task.suffix_ids]
        begun = {"input_ids": ids, "corpus_ids": self.config.task_index(task.name)}
        return begun, len(task.prefix_ids), window.units(self.config.units)

    def names_of_types(self) -> list[tuple[str, str, str]]:
        """(corpus, native type, shared type or else the native one) of each type."""
        space = self.config.labels
        return [(corpus, own, space.shared(corpus, own) or own) for corpus, own in self.config.types]


def _has_key(value, key: str) -> bool:
    """Whether an object anywhere in a JSON value has the key."""
    if isinstance(value, dict):
        return key in value or any(_has_key(item, key) for item in value.values())
    return isinstance(value, list) and any(_has_key(item, key) for item in value)


def code_files(entries: list[Path]) -> list[Path]:
    """The given files and everything they import from beside themselves, sorted by name."""
    files = {*entries, *(Path(name) for entry in entries for name in get_relative_import_files(str(entry)))}
    return sorted(files, key=lambda file: file.name)


def build_encoder(config) -> nn.Module:
    """An encoder with fresh weights, without parts that never run (a pooler, a decoder).

    Args:
        config: the encoder's own config.
    """
    # The encoder's config names the precision that it was saved in; what the whole model is loaded in counts.
    dtype = torch.get_default_dtype()
    return _encoder_class(config).from_config(config, dtype=dtype, **_without_pooler(config))


def load_encoder(name_or_path: str, config, **kwargs) -> nn.Module:
    """The pretrained encoder, without parts that never run."""
    encoder = _encoder_class(config).from_pretrained(name_or_path, config=config, **_without_pooler(config), **kwargs)
    # It said which of the encoder's files to load; in a config of ours it would be refused.
    vars(encoder.config).pop("transformers_weights", None)
    return encoder


def _encoder_class(config):
    # AutoModel gives T5 with its decoder; the text-encoding class gives the encoder alone.
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def _without_pooler(config) -> dict:
    mapping = MODEL_FOR_TEXT_ENCODING_MAPPING if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else MODEL_MAPPING
    if type(config) not in mapping:
        return {}  # the encoder's own code comes from the Hub
    parameters = inspect.signature(mapping[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


def at_least_float32(values: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is more exact."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
