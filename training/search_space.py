"""What a search file says: the options that vary and their values, checked before anything is trained.

A search file is YAML; the keys but `space` may be left out:

    n_trials: 15      # 20
    sampler: tpe      # or random, both by the run's seed; or grid: each combination of the choices, in its turn
    pruner: none      # or median: ends trials that are worse than the median of the earlier ones at the same evaluation
    space:            # option of run_ner.py → its values
      learning_rate: {low: 1.0e-5, high: 3.0e-4, log: true}
      max_span_width: {low: 6, high: 12, step: 2}
      latent_size: {choices: [512, 768, 1024]}
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from accelerate import PartialState
from mosaic_ner.data_builders.extras import require
from mosaic_ner.data_builders.options import ArgumentError, Spec, specs
from mosaic_ner.modeling.label_space import nearest

from . import families
from .arguments import SHARED, ModelOptions, TrainOptions, as_argv, parse, read_recipe, trainer_specs

SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "grid": "GridSampler"}
PRUNERS = {"none": "NopPruner", "median": "MedianPruner"}
# Training options that may vary: those that change what is learnt, not how it is run, measured or written down.
TRAINING_OPTIONS = (
    "learning_rate", "head_learning_rate", "generator_learning_rate", "per_device_train_batch_size",
    "gradient_accumulation_steps", "num_train_epochs", "max_steps", "warmup_steps", "weight_decay", "max_grad_norm",
    "lr_scheduler_type", "adam_beta1", "adam_beta2", "adam_epsilon", "balanced_sampling", "grouped_batches",
)  # fmt: skip
_OPTIONAL_KEYS = {"n_trials": 20, "sampler": "tpe", "pruner": "none"}
_EXAMPLE = "learning_rate: {low: 1.0e-5, high: 3.0e-4, log: true}"
_RANGE = ("low", "high", "log", "step")
_KINDS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "words"}


class SearchError(ArgumentError):
    """A search that can't be made as its file says, or that found nothing."""


@dataclass(frozen=True)
class Variable:
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
    variables: dict[str, Variable]

    def draws_by(self, seed: int):
        """Optuna's sampler."""
        space = [{name: list(v.choices) for name, v in self.variables.items()}] if self.sampler == "grid" else []
        return getattr(load_optuna().samplers, SAMPLERS[self.sampler])(*space, seed=seed)


def load_optuna():
    """The library, which comes with the extra `search`."""
    return require("search", "--hp_search", "optuna")


def read_plan(given: dict) -> Plan:
    """Reads the search file that a recipe names, and checks all its values against the recipe.

    Args:
        given: all that a run was told (see `Arguments.given`), `hp_search` among it.
    Raises:
        SearchError: several processes; a file, an option or a value that can't be used.
        ExtraError: optuna is missing.
    """
    load_optuna()
    if (processes := PartialState().num_processes) > 1:
        raise SearchError(
            f"--hp_search runs on one process, but here are {processes}: a trial that is pruned or fails on the first would "
            "leave the others waiting. Use accelerate launch --num_processes 1"
        )
    path = str(given["hp_search"])
    content = read_recipe(path, "search file")
    known = ("space", *_OPTIONAL_KEYS)
    for key in content:
        if key not in known:
            raise SearchError(f"{path}: unknown key {key!r} (options go under space:){nearest(key, known)}")
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
    family = given.get("family", specs(ModelOptions)["family"].default)
    where = f"{path}: space"
    variables = {str(name): _variable(where, _spec(where, str(name), family), values) for name, values in space.items()}
    count = settings["n_trials"]
    if settings["sampler"] == "grid":
        for name, variable in variables.items():
            if not variable.choices:
                raise SearchError(f"{where}: {name}: a grid has {{choices: [...]}} only; or take another sampler")
        count = prod(len(variable.choices) for variable in variables.values())
        if content.get("n_trials") not in (None, count):
            raise SearchError(f"{path}: n_trials is {content['n_trials']}, but the grid has {count}; leave it out")
    plan = Plan(path, count, settings["sampler"], settings["pruner"], variables)
    _check_values(plan, given)
    return plan


def variable_options(family: str) -> dict[str, Spec]:
    """The options that a search may name for a family."""
    own = {**specs(families.family(family).Options), **specs(ModelOptions)}
    found = {n: s for n, s in own.items() if s.kind in _KINDS and not s.rules.get("fixed")}
    training = {**specs(TrainOptions), **trainer_specs()}
    return found | {name: training[name] for name in TRAINING_OPTIONS}


def _spec(where: str, name: str, family: str) -> Spec:
    """Raises SearchError for an option that isn't there, may not vary or is another family's."""
    variable = variable_options(family)
    if name in variable:
        return variable[name]
    own = specs(families.family(family).Options)
    known = {key for group in SHARED for key in specs(group)} | own.keys() | trainer_specs().keys()
    if name in known:
        raise SearchError(
            f"{where}: {name!r} may not vary in a search; expected a model option with plain values or one of "
            f"{', '.join(TRAINING_OPTIONS)}. Set it in the recipe"
        )
    if any(name in specs(families.family(other).Options) for other in families.names()):
        raise SearchError(
            f"{where}: {name!r} has no effect on the family {family}, whose options are {', '.join(own)}; leave it out"
        )
    raise SearchError(f"{where}: unknown option {name!r}{nearest(name, variable)}")


def _variable(where: str, spec: Spec, values) -> Variable:
    """One entry of the space.

    Raises:
        SearchError: values that the option can't have.
    """
    where, kind = f"{where}: {spec.name}", spec.kind
    if not isinstance(values, dict) or not ({"choices"} == set(values) or {"low", "high"} <= set(values) <= {*_RANGE}):
        raise SearchError(
            f"{where} is {values!r}; expected {{low, high}}, with log: true or a step, or {{choices: [...]}}, e.g. {_EXAMPLE}"
        )
    if "choices" in values:
        found = values["choices"]
        if not isinstance(found, list) or not found:
            raise SearchError(f"{where}: choices is {found!r}; expected a list of values")
        choices = tuple(None if value is None and spec.optional else _value(where, value, kind) for value in found)
        if len(set(choices)) < len(choices):
            raise SearchError(f"{where}: choices {found!r} has a value twice; leave one out")
        return Variable(spec.name, kind is int, choices)
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
    return Variable(spec.name, kind is int, (), low, high, step, log)


def _value(where: str, value, kind: type):
    """A value as the option's type.

    Raises:
        SearchError: of another kind.
    """
    fault = SearchError(f"{where}: {value!r} is none of its values; expected {_KINDS[kind]}")
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise fault
    if kind is str:
        if not isinstance(value, str):
            raise fault
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
    first = given | {name: variable.examples[0] for name, variable in plan.variables.items()}
    for name, variable in plan.variables.items():
        for value in variable.examples:
            try:
                trainer = parse(as_argv(first | {name: value})).trainer
            except ArgumentError as error:
                raise SearchError(f"{plan.path}: space: {name}: {value!r}: {error}") from error
    if trainer.get("max_steps", -1) > 0 and "num_train_epochs" in plan.variables:
        raise SearchError(
            f"{plan.path}: space: num_train_epochs has no effect, since max_steps is {trainer['max_steps']}; leave one of "
            "them out"
        )
