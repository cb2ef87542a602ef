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
    """The settings as they may be published: files and folders of this machine reduced to their last part."""
    out = {k: _last_part(v) if isinstance(v, str) else v for k, v in settings.items()}
    if "encoder_name" in out:
        out["encoder"] = out.pop("encoder_name")
    return out


def _last_part(value: str) -> str:
    local = os.path.isabs(value) or value.startswith((".", "~")) or os.path.exists(value)
    return Path(value).name if local and os.sep in value else value


def write_json(path: Path, content: dict) -> None:
    """Writes atomically."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(fresh, path)
