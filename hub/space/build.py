"""Writes the folder of a Space that runs by itself: the page, its metadata, and the package's files that it needs."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import SpaceCard
from mosaic_ner.hub.space.taggers import SpaceError, check_name

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1]
SHEET = HERE / "style.css"
SOURCES = (
    "data_builders/__init__.py",
    "data_builders/extras.py",
    "data_builders/formats/*.py",
    "hub/__init__.py",
    "hub/stride.py",
    "hub/space/*.py",
    "hub/space/style.css",
    "modeling/__init__.py",
    "modeling/document.py",
    "modeling/label_space.py",
    "prediction/__init__.py",
    "prediction/highlight.css",
    "prediction/highlight.py",
)
"""What the page imports; the models bring their own code."""


def build_space(folder: str | Path, models: list[str]) -> Path:
    """Writes a Space, ready to be pushed.

    Args:
        folder: made; must not hold anything yet.
        models: Hub ids of published models, in the order in which the page offers them.
    Returns:
        the folder.
    Raises:
        SpaceError: no model, a folder instead of a Hub id, or a folder that isn't empty.
    """
    folder = Path(folder)
    if not models:
        raise SpaceError("expected the Hub id of at least one model, got none; name the models")
    for name in models:
        check_name(name)
        if Path(name).is_dir():
            raise SpaceError(f"expected Hub ids, got the folder {name}: a Space can't read it; publish the model first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpaceError(f"expected a new or empty folder, got {folder}, which isn't; remove it or choose another")
    for pattern in SOURCES:
        for source in sorted(PACKAGE.glob(pattern)):
            # The page itself stands at the top, beside its README.md, as here.
            inside = source.name if source == HERE / "app.py" else Path("mosaic_ner") / source.relative_to(PACKAGE)
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / inside)
    shutil.copyfile(HERE / "requirements.txt", folder / "requirements.txt")
    card = SpaceCard.load(HERE / "README.md", ignore_metadata_errors=True)
    card.data["models"] = list(models)
    card.data["sdk_version"] = version("gradio")
    card.save(folder / "README.md")
    return folder
