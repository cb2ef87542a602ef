"""The teachers of completed labels: trained where they are recipes, and what their own results say of them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import ArgumentError

from .completion_options import VALIDATION
from .results import RESULTS, Results, ResultsError, without_local_paths, write_json

if TYPE_CHECKING:
    from mosaic_ner.data_builders.run_data import RunData

logger = logging.getLogger(__name__)

ASKED = "asked.json"
"""In a teacher's folder: the settings that it was asked for with."""


def train_teachers(arguments, train: Callable[[str, dict], None]) -> list[str]:
    """The teachers as folders or Hub ids, those that are recipes being trained into `teachers/` of the output folder.

    A teacher that is there already stays; one that was interrupted goes on. It gets this run's seed, encoder, precision, files
    and evaluation corpora, so that no document that the run is measured on teaches it.

    Args:
        arguments: the run's `Arguments`.
        train: trains a recipe, some of whose options are given.
    Raises:
        ArgumentError: two recipes have the same file name, or the teacher that is there was asked for with other options.
    """
    from accelerate import PartialState
    from transformers.trainer_utils import get_last_checkpoint

    folders, names = [], arguments.completion.complete_with or []
    recipes = Counter(Path(name).stem for name in names if name.endswith((".yaml", ".yml")))
    if twice := [stem for stem, count in recipes.items() if count > 1]:
        raise ArgumentError(
            f"--complete_with: {recipes[twice[0]]} recipes are called {twice[0]!r}, and each would be the teacher "
            f"teachers/{twice[0]}; copy one under another name"
        )
    for name in names:
        if not name.endswith((".yaml", ".yml")):
            folders.append(name)
            continue
        folder = Path(arguments.train.output_dir) / "teachers" / Path(name).stem
        values = _teachers_options(arguments)
        _check_asked(folder, name, values)
        if not (folder / RESULTS).exists():
            logger.info("teacher: %s is trained into %s", name, folder)
            last = get_last_checkpoint(folder) if folder.is_dir() else None
            values |= {"output_dir": str(folder)} | ({"resume_from_checkpoint": last} if last else {})
            train(name, values)
            PartialState().wait_for_everyone()  # the main process writes the model after the others have returned
        folders.append(str(folder))
    return folders


_OF_DATA = ("data_dir", "cache_dir", "test_file", "validation_file", "corpus_name", "extra_mapping")
_OF_FILES = (
    "format", "offset_unit", "entity_type", "type_infon", "tag_column", "article_ids", "policy", "repeated_ids",
)  # fmt: skip
"""What says how files are read, and is refused without any."""
_OF_MODEL = ("encoder", "encoder_name", "seed", "report_to", "disable_tqdm")
_OF_PROCESS = ("use_cpu", "bf16", "fp16")
"""What can't be one way for the teacher and another for the run after it in the same process."""
_FREE = ("data_dir", "cache_dir", "report_to", "disable_tqdm", "use_cpu")
"""What doesn't make another teacher."""


def _teachers_options(arguments) -> dict:
    data, given = arguments.data, arguments.given
    # A run that names no validation corpora validates on all that it reads, so all are kept from the teacher.
    test, validation = data.test_corpora or [], data.validation_corpora
    every = not (test and validation)
    parts = data.parts or {}
    # A part may have no test documents; its corpus has.
    whole = [parts[c]["of"] if "test" not in parts.get(c, {"test": None}) else c for c in data.corpora]
    measured = {
        "test_corpora": list(dict.fromkeys([*whole, *test])) if every else test,
        "validation_corpora": validation,
    }
    files = _OF_FILES if given.get("test_file") or given.get("validation_file") else ()
    values = {n: given[n] for n in (*_OF_DATA, *files, *_OF_MODEL) if given.get(n) is not None}
    values |= {n: given.get(n) or False for n in _OF_PROCESS}
    values |= {name: corpora for name, corpora in measured.items() if corpora}
    named = {c: part for c, part in parts.items() if any(c in (corpora or ()) for corpora in measured.values())}
    return values | ({"parts": named} if named else {})


def _check_asked(folder: Path, recipe: str, values: dict) -> None:
    """Raises ArgumentError if the folder's teacher was asked for with other options; writes them where there is none."""
    asked = {"recipe": recipe} | without_local_paths({k: v for k, v in values.items() if k not in _FREE})
    path = folder / ASKED
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asked)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if changed := [n for n in {**before, **asked} if before.get(n) != asked.get(n)]:
        told = "; ".join(f"{n} was {before.get(n)!r}, is {asked.get(n)!r}" for n in changed)
        raise ArgumentError(
            f"--complete_with: the teacher in {folder} was trained otherwise: {told}; delete it to train it anew"
        )


def learnt_from(teachers: list[str]) -> list[str]:
    """The corpora that taught the teachers, and the teachers of these."""
    from mosaic_ner.prediction.folders import trained_folder

    found = [_results(trained_folder(name, "--complete_with")) for name in teachers]
    return list(dict.fromkeys(corpus for results in found if results for corpus in results.learnt_from))


def _results(folder: Path) -> Results | None:
    """A teacher's results; None if it has none."""
    try:
        return Results.read(folder)
    except ResultsError:
        return None


def warn_of_seen(folder: Path, data: RunData) -> None:
    """Says so if a model that is evaluated may have learnt documents that it is measured on.

    Where the run was told to look in all that the model learnt from, its report of the overlap says what was found.
    """
    results = _results(folder)
    learnt = {*results.learnt_from} if results else set()
    known = learnt and learnt <= data.overlap.training.keys()
    if not known and (missing := unproven(folder, data)):
        logger.warning(
            "%s: its results don't say that it was trained without the documents of %s, so their figures may be too high; name "
            "what it learnt from as --corpora, with --overlap evaluation, to leave out what it knows",
            folder.name,
            ", ".join(missing),
        )


def unproven(folder: Path, data: RunData) -> list[str]:
    """`corpus/split` of the run's evaluation documents that the model's results don't show to be out of its training."""
    results = _results(folder)
    known = {} if results is None or results.overlap.get("kept") else results.data
    told = {f"{c}/{split}": row for split in (VALIDATION, "test") for c, row in known.get(split, {}).items()}
    sizes = data.sizes()
    measured = {f"{c}/{split}": row for split in (VALIDATION, "test") for c, row in sizes.get(split, {}).items()}

    def same(name: str) -> bool:  # results of earlier versions have no digest of the ids
        ids = (told[name].get("ids"), measured[name].get("ids")) if name in told else (0, 1)
        return None in ids or ids[0] == ids[1]

    return sorted(name for name in measured if not same(name))


def warn_of_leaks(name: str, folder: Path, data: RunData) -> None:
    """Says so if a teacher's results don't show that this run's evaluation documents were kept out of its training."""
    if missing := unproven(folder, data):
        logger.warning(
            "teacher %s: its results don't say that it was trained without the documents of %s, which this run is measured "
            "on; train it with these as --test_corpora",
            name,
            ", ".join(missing),
        )
