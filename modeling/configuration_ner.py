"""What the configurations of all families share. Ships to the Hub."""

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
        inference_only: the model lacks the parts that only training needs.
        tasks: the passes over a text that the model can be asked for, in order, each a dict with at least `"name"`,
            `"prefix_ids"` and `"suffix_ids"`: the special tokens around its windows. Empty: one pass without a name.
        default_tasks: names of the tasks that answer for a text of no training corpus; default: all.

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
        inference_only: bool = False,
        tasks: list[dict] | None = None,
        default_tasks: list[str] | None = None,
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
        self.inference_only = inference_only
        self.tasks = tasks or []
        self.default_tasks = default_tasks or [t["name"] for t in self.tasks]
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
        """Tokens a window gets beside its text, those of its task included."""
        around = [len(t["prefix_ids"]) + len(t["suffix_ids"]) for t in self.tasks]
        return max(around, default=len(self.cls_ids) + len(self.sep_ids))

    def task_index(self, name: str) -> int:
        """Number of a task.

        Raises:
            ValueError: no task has this name.
        """
        names = [t["name"] for t in self.tasks]
        if name not in names:
            raise ValueError(f"unknown task {name!r}; this model has {', '.join(names)}")
        return names.index(name)

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


class OwnTypesConfig(NERConfig):
    """What families share in which the types of all corpora are different types, each with outputs of its own.

    Args:
        tasks: which types are told: each `{"name", "corpus", "prefix_ids", "suffix_ids"}`, those of the corpus, or all where
            it is None.
    """

    def __init__(self, **kwargs):
        # transformers would make one of the class's fields, of which it has none.
        super().__init__(**kwargs)

    @property
    def types(self) -> list[tuple[str, str]]:
        """(corpus, native type) in order: the types of all corpora are different ones."""
        space = self.labels
        return [(corpus, native) for corpus in space.corpora for native in space.native_types(corpus)]

    def _name(self, names: list[str]) -> None:
        self.id2label = dict(enumerate(names))
        self.label2id = {name: number for number, name in self.id2label.items()}


def expect(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
