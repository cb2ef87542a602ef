"""Documents from a published dataset repository (`mosaic-ner publish_data`), or from its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError, nearest

from .builder import FEATURES, example_to_document


class PublishedError(UserError):
    """No such repository, corpus or split, or not the columns of this package."""


def load_published(
    repository: str | Path,
    name: str,
    splits: Iterable[str] | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, list[Document]]:
    """The documents of a corpus by split, as `load_corpus` gives them from the corpus's own files.

    Args:
        repository: a dataset's Hub id, or a folder that `publish_data` wrote.
        name: the corpus, a configuration of the repository.
        splits: the splits wanted; every one must be there. All there are when None.
        revision: branch, tag or commit of a Hub id.
        cache_dir: the `datasets` default when None.

    Raises:
        PublishedError: there is no such repository, corpus or split, or its columns aren't `builder.FEATURES`.
    """
    where = f"dataset {str(repository)!r}"
    try:
        rows = load_dataset(
            str(repository), name, revision=revision, cache_dir=None if cache_dir is None else str(cache_dir)
        )
    except (DatasetNotFoundError, FileNotFoundError) as error:
        raise PublishedError(
            f"{where} is not to be found: expected a Hub id (owner/name) that you may read, or a folder written by "
            f"`mosaic-ner publish_data` ({error})"
        ) from error
    except ValueError as error:
        raise PublishedError(f"{where}, corpus {name!r}: {error}") from error
    wanted = list(rows) if splits is None else list(splits)
    for split in wanted:
        if split not in rows:
            raise PublishedError(f"{where}, corpus {name!r} has no split {split!r}{nearest(split, rows)}")
        if rows[split].features != FEATURES:
            raise PublishedError(
                f"{where}, corpus {name!r}, {split}: expected the columns {', '.join(FEATURES)} of "
                f"`mosaic-ner publish_data`, got {', '.join(rows[split].features)}"
            )
    return {str(split): [*map(example_to_document, rows[split].to_list())] for split in wanted}
