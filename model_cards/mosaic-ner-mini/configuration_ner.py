"""What the configurations of all families share. Ships to the Hub."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import asdict, dataclass

from transformers import AutoConfig, PreTrainedConfig

from .label_space import LabelError, LabelSpace, UserError, nearest

RENAMED = {"boundaries": "units", "shared": "tied", "synonyms": "generate_synonyms"}
REMOVED = ("write", "loss_mean", "annealing", "pretraining", "noise", "deterministic")


@dataclass(frozen=True)
class Task:
    """One pass over a text that a model can be asked for. Plain JSON in config.json, and hashable.

    Args:
        name: what users call it.
        prefix_ids, suffix_ids: the special tokens around its windows.
        types: what is told: shared types by name, or all types of `corpus`: "shared" under their shared names (a type without
            one keeps its own), "native" under the corpus's own.
        corpus: whose types; None: those of all corpora.
        labels: of a tagger, the numbers of the task's labels.
    """

    name: str
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    types: tuple[str, ...] | str = "shared"
    corpus: str | None = None
    labels: tuple[int, ...] = ()

    def to_dict(self) -> dict:
        """JSON form, with lists for tuples."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict) -> Task:
        """The task of `to_dict`.

        Raises:
            ValueError: not such a dictionary.
        """
        try:
            return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no task: {data!r} ({error})") from error


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
        tasks: the passes over a text that the model can be asked for, in order, as `Task` or its JSON form.
        default_tasks: names of the tasks that answer for a text of no training corpus; default: all.
        int8_delta_f1: points of F1 that the encoder in int8 gains or loses against float32, on validation documents; None: not
            measured.
        document_consistency: whether the answers for the same words are made to agree over a document (consistency.py); needs
            `flat`.
        calibration: [a, b]: a mention's score p becomes σ(a·logit(p) + b); None: it stays. Which mentions there are, the
            scores before decide.

    Raises:
        ValueError: a keyword argument that is a near miss of one of these.
    """

    model_type = "mosaic_ner"
    form = 2
    """Of the family's config.json and weights; 1 was mosaic-ner 0.1's, which had no number."""
    changed = ""
    """What the weights of an earlier form haven't."""

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
        tasks: list[Task] | list[dict] | None = None,
        default_tasks: list[str] | None = None,
        int8_delta_f1: float | None = None,
        document_consistency: bool = False,
        calibration: list[float] | None = None,
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
        self.tasks = [task if isinstance(task, Task) else Task.from_dict(task) for task in tasks or []]
        self.default_tasks = list(default_tasks or (task.name for task in self.tasks))
        if calibration is not None and not (len(calibration) == 2 and calibration[0] > 0):
            raise ValueError(f"calibration is {calibration!r}; expected [a, b], a above 0")
        if document_consistency and not flat:
            raise ValueError(
                "document_consistency is for models without overlapping mentions; expected flat=True beside it"
            )
        self.document_consistency = document_consistency
        self.calibration = calibration
        self.int8_delta_f1 = int8_delta_f1
        self.config_version = self.form
        super().__init__(**kwargs)

    def _reject_misspelt(self, kwargs: dict) -> None:
        # transformers keeps and saves unknown keyword arguments, so a misspelt one would be lost without a word.
        own = {
            name
            for cls in type(self).__mro__
            if issubclass(cls, NERConfig)
            for name in inspect.signature(cls.__init__).parameters
        } - {"self", "kwargs"}
        kwargs.pop("config_version", None)
        for key in kwargs:
            close = difflib.get_close_matches(key, own, n=1, cutoff=0.8)
            if close:
                raise ValueError(f"{type(self).__name__} has no option {key!r}; did you mean {close[0]!r}?")

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """As transformers does.

        Raises:
            UserError: the dictionary is of an earlier version of this package.
        """
        if config_dict.get("config_version", 1) != cls.form:
            old = [f"{key} (now {RENAMED[key]})" for key in RENAMED if key in config_dict]
            old += [f"{key} (gone)" for key in REMOVED if key in config_dict]
            old += [cls.changed] if cls.changed else []
            raise UserError(
                f"config.json of a {config_dict.get('model_type')} has the form of mosaic-ner "
                f"{config_dict.get('config_version', '0.1')}, expected form {cls.form}"
                f"{': ' + ', '.join(old) if old else ''}. Train the model again, or load it with mosaic-ner 0.1"
            )
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict:
        """JSON form."""
        return super().to_dict() | {"tasks": [task.to_dict() for task in self.tasks]}

    @property
    def num_special_tokens(self) -> int:
        """Tokens a window gets beside its text, those of its task included."""
        around = [len(task.prefix_ids) + len(task.suffix_ids) for task in self.tasks]
        return max(around, default=len(self.cls_ids) + len(self.sep_ids))

    def task_index(self, name: str) -> int:
        """Number of a task.

        Raises:
            LabelError: no task has this name.
        """
        names = [task.name for task in self.tasks]
        if name not in names:
            raise LabelError(
                f"unknown task {name!r}; this model has {', '.join(names) or 'none'}{nearest(name, names, False)}"
            )
        return names.index(name)

    def task(self, name: str) -> Task:
        """A task by name.

        Raises:
            LabelError: no task has this name.
        """
        return self.tasks[self.task_index(name)]

    def check(self) -> None:
        """Whether tasks and label space go together.

        Raises:
            ValueError: they don't.
        """
        for name in self.default_tasks:
            self.task_index(name)
        for task in self.tasks:
            if task.corpus is not None:
                self.labels.native_types(task.corpus)

    @property
    def labels(self) -> LabelSpace:
        """The label space as an object."""
        return LabelSpace.from_dict(self.label_space)


class OwnTypesConfig(NERConfig):
    """What families share in which the types of all corpora are different types, each with outputs of its own."""

    def __init__(self, flat: bool = False, **kwargs):
        super().__init__(flat=flat, **kwargs)

    @property
    def types(self) -> list[tuple[str, str]]:
        """(corpus, native type) in order: the types of all corpora are different ones."""
        space = self.labels
        return [(corpus, native) for corpus in space.corpora for native in space.native_types(corpus)]

    def _name(self, names: list[str]) -> None:
        self.id2label, self.label2id = numbered(names).values()


def _as_config(config):
    """A config object of the encoder's own class, without the place it was loaded from."""
    if config is None:
        return None
    if isinstance(config, dict):
        values = {k: v for k, v in config.items() if k not in ("model_type", "_name_or_path", "name_or_path")}
        return AutoConfig.for_model(config["model_type"], **values)
    config._name_or_path = ""
    return config


def numbered(names) -> dict[str, dict]:
    """What a config needs of its labels' names: `id2label` and `label2id`."""
    id2label = dict(enumerate(names))
    return {"id2label": id2label, "label2id": {name: number for number, name in id2label.items()}}


def expect(name: str, value, choices: tuple[str, ...]) -> None:
    """Raises ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")


def at_least(least: float, **values: float) -> None:
    """Raises ValueError for a value below `least`."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")


def probability(name: str, value: float) -> None:
    """Raises ValueError for what is none."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a probability, 0 to 1")
