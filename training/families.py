"""The model families by name: the only place that lists them. Standard library only.

A family is a module with

- `Options`: its options class (see data_builders/options.py), whose import needs neither torch nor transformers; its
  `outputs_per_corpus` says whether a training corpus teaches outputs that no other teaches;
- `FACTS`: what a model card says of it;
- `Features`: the class of its training features;
- `build(model, own, data)`: a `bundle.Bundle`, from the shared options, its own and a `bundle.TrainingData`.

Its model's class and config are in modeling/modeling_<name>.py and configuration_<name>.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from mosaic_ner.data_builders.options import ArgumentError, Options
from mosaic_ner.modeling.label_space import nearest


@dataclass(frozen=True)
class Facts:
    """What a card says of a family.

    Args:
        idea: in half a sentence.
        overlap: what a model does with overlapping mentions.
        paper: BibTeX.
    """

    idea: str
    overlap: str
    paper: str = ""


LONGEST = "Of mentions that overlap it finds one, the longest."
FLAT = "Of mentions that overlap it finds one."
NESTED = "It finds nested mentions."


class Family(Protocol):
    """A family's module."""

    Options: type[Options]
    FACTS: Facts
    Features: type
    build: Callable


_MODULES: dict[str, str] = {
    "aioner": "mosaic_ner.training.aioner",
    "span_cvae": "mosaic_ner.training.span_cvae",
    "sruner": "mosaic_ner.training.sruner",
    "joint_ib": "mosaic_ner.training.joint_ib",
}


def names() -> tuple[str, ...]:
    """All families."""
    return tuple(_MODULES)


def register(name: str, module: str) -> None:
    """Adds a family.

    Args:
        name: as in --family.
        module: its importable name.
    """
    _MODULES[name] = module


def family(name: str) -> Family:
    """A family's module.

    Raises:
        ArgumentError: there is none of this name.
    """
    if name not in _MODULES:
        raise ArgumentError(f"unknown family {name!r}{nearest(name, _MODULES)}")
    return import_module(_MODULES[name])
