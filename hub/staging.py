"""What may be published, and folders that appear when they are complete, and not before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mosaic_ner.modeling.label_space import UserError


class PublishError(UserError):
    """A model or corpora that can't be published as they are, or a folder that can't be written."""


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A new folder to fill, beside the wanted one, whose place it takes at the end; after an error nothing is changed.

    Raises:
        OSError: it can't be made, or the old one can't be removed.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        fresh = Path(place, folder.name)
        fresh.mkdir()
        yield fresh
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
