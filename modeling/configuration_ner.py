"""Configurations: what every family shares, and one class per family. Ships to the Hub."""

from __future__ import annotations

import difflib
import inspect

from transformers import AutoConfig, PreTrainedConfig

from .label_space import LabelSpace


class NERConfig(PreTrainedConfig):
    """What all families need to turn whole documents into windows and windows into mentions.

    Args:
        encoder_config: the encoder's own config (object or dict). Local paths are stripped from it.
        label_space: `LabelSpace.to_dict()`: corpora → native types → shared types.
        max_tokens: tokens per window, special tokens included.
        window_overlap: tokens shared by two windows when one sentence alone is too long; None: 48 or a quarter.
        packing: "packed" (consecutive sentences as long as they fit) or "single" (one sentence a window).
        flat: whether overlapping predictions are resolved (the longest wins) or all kept.
        cls_ids, sep_ids: the special tokens the tokenizer puts before and after a text, without any task tag.
        dropout: dropout probability on the encoder's output.

    Raises:
        ValueError: a keyword argument that is a near miss of one of these.
    """

    model_type = "mosaic_ner"

    def __init__(
        self,
        encoder_config=None,
        label_space: dict | None = None,
        max_tokens: int = 256,
        window_overlap: int | None = None,
        packing: str = "packed",
        flat: bool = True,
        cls_ids: list[int] | None = None,
        sep_ids: list[int] | None = None,
        dropout: float = 0.1,
        **kwargs,
    ):
        self._reject_misspelt(kwargs)
        self.encoder_config = _as_config(encoder_config)
        self.label_space = label_space or LabelSpace().to_dict()
        self.max_tokens = max_tokens
        self.window_overlap = window_overlap
        self.packing = packing
        self.flat = flat
        self.cls_ids = list(cls_ids or [])
        self.sep_ids = list(sep_ids or [])
        self.dropout = dropout
        super().__init__(**kwargs)

    def _reject_misspelt(self, kwargs: dict) -> None:
        # transformers keeps and saves unknown keyword arguments, so a misspelt one would be lost without a word.
        own = {
            name
            for cls in type(self).__mro__
            if issubclass(cls, NERConfig)
            for name in inspect.signature(cls.__init__).parameters
        } - {"self", "kwargs"}
        for key in kwargs:
            close = difflib.get_close_matches(key, own, n=1, cutoff=0.8)
            if close:
                raise ValueError(f"{type(self).__name__} has no option {key!r}; did you mean {close[0]!r}?")

    @property
    def num_special_tokens(self) -> int:
        """Tokens a window gets beside its text."""
        return len(self.cls_ids) + len(self.sep_ids)

    @property
    def labels(self) -> LabelSpace:
        """The label space as an object."""
        return LabelSpace.from_dict(self.label_space)


def _as_config(config):
    """A config object of the encoder's own class, without the place it was loaded from."""
    if config is None:
        return None
    if isinstance(config, dict):
        values = {k: v for k, v in config.items() if k not in ("model_type", "_name_or_path", "name_or_path")}
        return AutoConfig.for_model(config["model_type"], **values)
    config._name_or_path = ""
    return config


class AIONERConfig(NERConfig):
    """AIONER: one tagger for many corpora, told by task tags what to look for (section 2.2).

    Args:
        tasks: the tasks in order, each `{"name", "types", "labels", "prefix_ids", "suffix_ids"}`: the shared types it
            looks for, its label numbers, and the special tokens around its windows, task tags included.
        corpus_tasks: corpus → names of the tasks whose union answers for that corpus.
        default_tasks: names of the tasks used on any other text.
        modes: ways to answer for texts of the default tasks (Table S3): "aio" (the ALL task), "ind" (each type's own task,
            results united) and "combined" (both), each a list of task names.
        classifier: "crf" or "softmax" (Table 4).
        hidden_size: units of the fully connected ReLU layer before the labels; 0 leaves it out.
        restrict_labels: keep the labels of other tasks out of the softmax or the chain. The paper has one CRF over all
            labels (False); multi-task learning, with an output layer per task, is this with disjoint labels (True).
        label_first_token_only: train and read tags on the first token of each white-space word only.
        scores: "marginal" (CRF forward-backward) or "emission" (softmax of the scores alone) for a mention's confidence.
    """

    model_type = "mosaic_aioner"

    def __init__(
        self,
        tasks: list[dict] | None = None,
        corpus_tasks: dict[str, list[str]] | None = None,
        default_tasks: list[str] | None = None,
        modes: dict[str, list[str]] | None = None,
        classifier: str = "crf",
        hidden_size: int = 0,
        restrict_labels: bool = False,
        label_first_token_only: bool = False,
        scores: str = "marginal",
        **kwargs,
    ):
        if classifier not in ("crf", "softmax"):
            raise ValueError(f"classifier is {classifier!r}; expected 'crf' or 'softmax'")
        if scores not in ("marginal", "emission"):
            raise ValueError(f"scores is {scores!r}; expected 'marginal' or 'emission'")
        self.tasks = tasks or []
        self.corpus_tasks = corpus_tasks or {}
        self.default_tasks = default_tasks or [t["name"] for t in self.tasks]
        self.modes = modes or {}
        self.classifier = classifier
        self.hidden_size = hidden_size
        self.restrict_labels = restrict_labels
        self.label_first_token_only = label_first_token_only
        self.scores = scores
        super().__init__(**kwargs)

    @property
    def num_special_tokens(self) -> int:
        """Tokens a window gets beside its text, task tags included."""
        return max((len(t["prefix_ids"]) + len(t["suffix_ids"]) for t in self.tasks), default=0)

    def task_index(self, name: str) -> int:
        """Number of a task.

        Raises:
            ValueError: no task has this name.
        """
        names = [t["name"] for t in self.tasks]
        if name not in names:
            raise ValueError(f"unknown task {name!r}; this model has {', '.join(names)}")
        return names.index(name)
