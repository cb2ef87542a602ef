"""Biomedical named entity recognition: `mosaic_ner.tag("A text of any length.")` gives its mentions, in characters.

This file is installed as the package's own `__init__.py` (setup.cfg). Names are imported where they are first used, so that
`import mosaic_ner` costs nothing.
"""

from importlib import import_module

_PLACES = {"tag": "mosaic_ner.prediction.tag", "Tagged": "mosaic_ner.prediction.tag"}

__all__ = list(_PLACES)


def __getattr__(name: str):
    if name not in _PLACES:
        raise AttributeError(f"module 'mosaic_ner' has no attribute {name!r}; it has {', '.join(_PLACES)}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__():
    return sorted([*globals(), *_PLACES])
