"""results.json: what a run measured, and everything needed to judge it."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("mosaic-ner", "torch", "transformers", "tokenizers", "datasets", "accelerate", "seqeval")


def versions() -> dict[str, str]:
    """Versions of Python and the packages that decide a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def without_local_paths(settings: dict) -> dict:
    """The settings with folders and files of this machine reduced to their last part."""
    out = {}
    for key, value in settings.items():
        local = isinstance(value, str) and (
            os.path.isabs(value) or value.startswith((".", "~")) or os.path.exists(value)
        )
        out[key] = Path(value).name if local and os.sep in value else value
    return out


def write_json(path: Path, content: dict) -> None:
    """Writes atomically."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(fresh, path)
