"""Packages that only some features need; setup.cfg lists them as extras."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mosaic_ner.modeling.label_space import UserError


class ExtraError(UserError):
    """A package of an extra is missing."""


def require(extra: str, why: str, *modules: str) -> Any:
    """Imports the packages of an extra.

    Args:
        extra: its name in setup.cfg.
        why: what needs the packages, e.g. "reading an ontology"; the error message begins with it.
        modules: full names of the modules to import.

    Returns:
        The module, or a tuple of the modules where several are named.

    Raises:
        ExtraError: a module can't be imported; the message has the pip command.
    """
    try:
        found = tuple(import_module(module) for module in modules)
    except ImportError as error:
        missing = error.name or " and ".join(modules)
        raise ExtraError(f"{why} needs {missing}: pip install 'mosaic-ner[{extra}]' ({error})") from error
    return found[0] if len(found) == 1 else found
