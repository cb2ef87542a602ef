"""What a search file says: the options that vary and their values, checked before anything is trained.

A search file is YAML; the keys but `space` may be left out:

    n_trials: 15      # 20
    sampler: tpe      # or random; both draw by the run's seed
    pruner: none      # or median: ends trials that are worse than the median of the earlier ones at the same evaluation
    space:            # option of run_ner.py → its values
      learning_rate: {low: 1.0e-5, high: 3.0e-4, log: true}
      max_span_width: {low: 6, high: 12, step: 2}
      latent_size: {choices: [512, 768, 1024]}
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from accelerate import PartialState
from mosaic_ner.modeling.label_space import nearest

from .arguments import GROUPS, ArgumentError, ModelArguments, RunArguments, as_argv, parse, read_recipe

SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler"}
PRUNERS = {"none": "NopPruner", "median": "MedianPruner"}
# Training options that may vary: those that change what is learnt, not how it is run, measured or written down.
TRAINING_OPTIONS = (
    "learning_rate", "head_learning_rate", "generator_learning_rate", "per_device_train_batch_size",
    "gradient_accumulation_steps", "num_train_epochs", "max_steps", "warmup_steps", "weight_decay", "max_grad_norm",
    "lr_scheduler_type", "adam_beta1", "adam_beta2", "adam_epsilon", "balanced_sampling", "grouped_batches",
)  # fmt: skip
# Model options that may not: another model altogether, a name or a file, or what is measured.
FIXED = {
    "family", "encoder", "encoder_name", "model_name_or_path", "prediction_mode", "scores", "word_vectors",
}  # fmt: skip
_OPTIONAL_KEYS = {"n_trials": 20, "sampler": "tpe", "pruner": "none"}


class SearchError(ArgumentError):
    """A search that can't be made as its file says, or that found nothing."""


@dataclass(frozen=True)
class Option:
    """The values of one option: `choices`, or numbers from `low` to `high`."""

    name: str
    integer: bool = False
    choices: tuple = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False

    def draw(self, trial) -> Any:
        """The trial's value; the same however often it is asked."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.integer:
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def examples(self) -> tuple:
        """Values that stand for all: the choices, or both ends."""
        return self.choices or (self.low, self.high)

    def to_dict(self) -> dict:
        """As in the search file."""
        if self.choices:
            return {"choices": list(self.choices)}
        more = {"step": self.step} if self.step else {}
        return {"low": self.low, "high": self.high} | more | ({"log": True} if self.log else {})


@dataclass(frozen=True)
class Plan:
    """What a search file says."""

    path: str
    n_trials: int
    sampler: str
    pruner: str
    options: dict[str, Option]


def read_plan(given: dict) -> Plan:
    """Reads the search file that a recipe names, and checks all its values against the recipe.

    Args:
        given: the run's recipe (see `arguments.given`) with `hp_search`.
    Raises:
        SearchError: optuna is missing; several processes; a file, an option or a value that can't be used.
    """
    load_optuna()
    if (processes := PartialState().num_processes) > 1:
        raise SearchError(
            f"--hp_search runs on one process, but here are {processes}: a trial that is pruned or fails on the first would "
            "leave the others waiting. Use accelerate launch --num_processes 1"
        )
    for name in ("do_predict", "model_name_or_path", "resume_from_checkpoint"):
        if given.get(name):
            raise SearchError(f"--hp_search trains new models from --encoder; leave out --{name}")
    path = str(given["hp_search"])
    content = read_recipe(path, "search file")
    known = ("space", *_OPTIONAL_KEYS)
    for key in content:
        if key not in known:
            hint = f" (options go under space:){nearest(key, known)}"
            raise SearchError(f"{path}: unknown key {key!r}{hint}")
    settings = _OPTIONAL_KEYS | {k: v for k, v in content.items() if v is not None}
    if isinstance(settings["n_trials"], bool) or not isinstance(settings["n_trials"], int) or settings["n_trials"] < 1:
        raise SearchError(f"{path}: n_trials is {settings['n_trials']!r}; expected a number of trials, 1 or more")
    for key, choices in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if settings[key] not in choices:
            hint = nearest(settings[key], choices, listing=False)
            raise SearchError(f"{path}: {key} is {settings[key]!r}; expected one of {', '.join(choices)}{hint}")
    space = settings.get("space")
    if not isinstance(space, dict) or not space:
        raise SearchError(f"{path}: space is {space!r}; expected option names with their values, e.g. {_EXAMPLE}")
    options = {str(name): _option(f"{path}: space", str(name), values) for name, values in space.items()}
    plan = Plan(path, settings["n_trials"], settings["sampler"], settings["pruner"], options)
    _check_values(plan, given)
    return plan


_EXAMPLE = "learning_rate: {low: 1.0e-5, high: 3.0e-4, log: true}"
_RANGE = ("low", "high", "log", "step")
_KINDS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "words"}


def load_optuna():
    """The library, which comes with the extra `search`.

    Raises:
        SearchError: it is missing.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise SearchError(f"--hp_search needs optuna: pip install 'mosaic-ner[search]' ({error})") from error


def variable_options() -> dict[str, Any]:
    """Option → annotation, of all options that a search may name."""
    model, training = get_type_hints(ModelArguments), get_type_hints(RunArguments)
    names = [f.name for f in fields(ModelArguments) if f.name not in FIXED and _kind(model[f.name])]
    return {n: model[n] for n in names} | {n: training[n] for n in TRAINING_OPTIONS}


def _alternatives(hint) -> tuple:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _kind(hint) -> type | None:
    """The plain type of an option's values; None for lists and dictionaries, from which Optuna can't choose."""
    return next((kind for kind in _KINDS if kind in _alternatives(hint)), None)


def _option(where: str, name: str, values) -> Option:
    """One entry of the space.

    Raises:
        SearchError: an option that isn't there or may not vary, or values that it can't have.
    """
    variable = variable_options()
    if name not in variable:
        if name in {f.name for group in GROUPS for f in fields(group)}:
            raise SearchError(
                f"{where}: {name!r} may not vary in a search; expected a model option with plain values or one of "
                f"{', '.join(TRAINING_OPTIONS)}. Set it in the recipe"
            )
        raise SearchError(f"{where}: unknown option {name!r}{nearest(name, variable)}")
    where, hint = f"{where}: {name}", variable[name]
    kind = _kind(hint)
    if not isinstance(values, dict) or not ({"choices"} == set(values) or {"low", "high"} <= set(values) <= {*_RANGE}):
        raise SearchError(
            f"{where} is {values!r}; expected {{low, high}}, with log: true or a step, or {{choices: [...]}}, e.g. {_EXAMPLE}"
        )
    if "choices" in values:
        found = values["choices"]
        if not isinstance(found, list) or not found:
            raise SearchError(f"{where}: choices is {found!r}; expected a list of values")
        choices = tuple(_value(where, value, kind, hint) for value in found)
        if len(set(choices)) < len(choices):
            raise SearchError(f"{where}: choices {found!r} has a value twice; leave one out")
        return Option(name, kind is int, choices)
    if kind not in (int, float):
        raise SearchError(
            f"{where}: its values are {_KINDS[kind]}, which have no low and high; give {{choices: [...]}}"
        )
    low, high = (_value(where, values[key], kind) for key in ("low", "high"))
    step = _value(where, values["step"], kind) if values.get("step") is not None else None
    log = values.get("log", False)
    if not isinstance(log, bool):
        raise SearchError(f"{where}: log is {log!r}; expected true or false")
    if low >= high:
        raise SearchError(f"{where}: low is {low} and high {high}; expected low below high")
    if log and (step or low <= 0):
        raise SearchError(f"{where}: log: true goes with a low above 0 and without a step; got low {low}, step {step}")
    if step is not None:
        steps = (high - low) / step if step > 0 else 0
        if step <= 0 or abs(steps - round(steps)) > 1e-6 or steps < 1:
            raise SearchError(f"{where}: steps of {step} don't lead from {low} to {high}; change one of the three")
    return Option(name, kind is int, (), low, high, step, log)


def _value(where: str, value, kind: type, hint=None):
    """A value as the option's type; a null is one where the option may be left out.

    Raises:
        SearchError: of another kind.
    """
    if value is None and NoneType in _alternatives(hint):
        return None
    fault = SearchError(f"{where}: {value!r} is none of its values; expected {_KINDS[kind]}")
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise fault
    if kind is str:
        if not isinstance(value, str):
            raise fault
        names = [e.value for t in _alternatives(hint) if isinstance(t, type) and issubclass(t, Enum) for e in t]
        if names and value not in names:
            raise SearchError(f"{where}: {value!r} is none of its values{nearest(value, names)}")
        return value
    try:
        number = float(value)  # also a text: YAML takes 1e-5, without a point, for one
    except (TypeError, ValueError):
        raise fault from None
    if not abs(number) < float("inf") or (kind is int and number != int(number)):
        raise fault
    return kind(number)


def _check_values(plan: Plan, given: dict) -> None:
    """Parses the recipe with each choice and each end of the space, so that what the parser refuses is told at once.

    Raises:
        SearchError: a value that the parser refuses, or an option without effect.
    """
    first = given | {name: option.examples[0] for name, option in plan.options.items()}
    for name, option in plan.options.items():
        for value in option.examples:
            try:
                run = parse(as_argv(first | {name: value}))[2]
            except ArgumentError as error:
                raise SearchError(f"{plan.path}: space: {name}: {value!r}: {error}") from error
    if run.max_steps > 0 and "num_train_epochs" in plan.options:
        raise SearchError(
            f"{plan.path}: space: num_train_epochs has no effect, since max_steps is {run.max_steps}; leave one of them out"
        )
