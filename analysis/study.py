"""Runs the cells of a study and writes its tables and plots. A cell is a setting with a seed; what is there, with the same
settings and the same code, isn't run again, and an interrupted cell goes on.

mosaic-ner study comparison --results results/comparison --runs outputs/comparison --data_dir D
mosaic-ner study comparison --results results/comparison

The second only writes the tables. Further options go to every run; analysis/studies has the package's studies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.markdown import between, wrapped
from mosaic_ner.modeling.label_space import UserError, nearest
from mosaic_ner.training.arguments import as_argv, parse, read_recipe
from mosaic_ner.training.results import RESULTS, Results, without_local_paths, write_json
from transformers.trainer_utils import get_last_checkpoint

from .study_tables import CELL, REMARKS, Folders, Table, left_out, readme, table_text

STUDIES = Path(__file__).with_name("studies")
"""The studies that come with the package; they can be named without this folder and without their ending."""
CODE = ("modeling", "data_builders", "prediction", "training")
"""The rooms whose sources decide what a run learns."""
REFERENCE = "cell:"
"""`cell:NAME` in a run's options stands for the folder of that cell with the same seed, `cell:NAME/43` for another seed's."""


class StudyError(UserError):
    """A study that can't be understood, or a cell that failed."""


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Args:
        cells: name → recipe and the options that depart from it, `seeds` among them where not those of all.
        common: options of every cell. seeds: of every cell. tables: what is shown of them.
    """

    cells: dict[str, dict[str, Any]]
    seeds: list[int]
    common: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)

    @classmethod
    def read(cls, name: str) -> Study:
        """Reads a study's file: a path, or the name of one that comes with the package.

        Raises:
            StudyError: a key that isn't known, a cell without recipe, a table of cells that there aren't.
        """
        known = STUDIES / f"{name}.yaml"
        content = read_recipe(str(known if known.is_file() else name), "study")
        keys = ("cells", "seeds", "common", "tables")
        for key in content:
            if key not in keys:
                raise StudyError(f"{name}: unknown key {key!r}{nearest(key, keys)}")
        known = [f.name for f in fields(Table)]
        for number, table in enumerate(content.get("tables") or (), 1):
            if not isinstance(table, dict) or not {"title", "cells", "corpora"} <= table.keys():
                raise StudyError(
                    f"{name}: table {number}: expected a mapping with title, cells and corpora, got {table!r}"
                )
            for key in table:
                if key not in known:
                    raise StudyError(f"{name}: table {table['title']!r}: unknown key {key!r}{nearest(key, known)}")
        study = cls(
            content.get("cells") or {},
            content.get("seeds") or [42],
            content.get("common") or {},
            [Table(**table) for table in content.get("tables") or ()],
        )
        for cell, options in study.cells.items():
            if "recipe" not in (options or {}):
                raise StudyError(f"{name}: cell {cell!r} names no recipe")
        for cell in [None, *study.cells]:
            seeds = study.seeds_of(cell) if cell else study.seeds
            if not isinstance(seeds, list) or not all(isinstance(seed, int) for seed in seeds):
                raise StudyError(f"{name}: seeds: expected a list of whole numbers such as [42, 43], got {seeds!r}")
        for table in study.tables:
            for cell in [*table.cells, *([table.reference] if table.reference else [])]:
                if cell not in study.cells:
                    raise StudyError(f"{name}: table {table.title!r}: no cell {cell!r}{nearest(cell, study.cells)}")
        return study

    def corpora_of(self, cell: str) -> list[str]:
        """The training corpora of a cell."""
        options = self.cells[cell]
        return (read_recipe(options["recipe"]) | self.common | options).get("corpora") or []

    def seeds_of(self, cell: str) -> list[int]:
        """The seeds of a cell."""
        return self.cells[cell].get("seeds", self.seeds)

    def folders(self, results: Path) -> Folders:
        """Cell → its folders of figures, in the order of its seeds; what other seeds left there isn't among them."""
        found = {cell: [results / cell / str(seed) for seed in self.seeds_of(cell)] for cell in self.cells}
        return {cell: [folder for folder in folders if (folder / RESULTS).exists()] for cell, folders in found.items()}

    def chosen(self, words: list[str] | None) -> list[tuple[str, int]]:
        """Cells with their seeds: `CELL` is a cell with all its seeds, `CELL/SEED` with one; without words, all cells.

        Raises:
            StudyError: a cell or a seed that there isn't.
        """
        found = []
        for word in self.cells if words is None else words:
            cell, _, seed = (word, "", "") if word in self.cells else word.rpartition("/")
            if cell not in self.cells:
                raise StudyError(f"--cells: no cell {word!r}{nearest(word, self.cells)}")
            seeds = {str(s): s for s in self.seeds_of(cell)}
            if seed and seed not in seeds:
                raise StudyError(f"--cells: {cell!r} has the seeds {', '.join(seeds)}, not {seed!r}")
            found += [(cell, s) for text, s in seeds.items() if seed in ("", text)]
        return found


@cache
def code_digest() -> str:
    """A digest of the sources that decide what a run learns."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for room in CODE:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in (".py", ".tsv"):
                digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Runner:
    """Runs cells.

    Args:
        study: whose.
        results: folder for `CELL/SEED/results.json`, small enough to be kept with the sources.
        runs: folder for weights and checkpoints.
        more: further options of every run.
        call: runs `run_ner` with arguments.
        any_code: whether figures of other sources will do.
    """

    def __init__(
        self,
        study: Study,
        results: Path,
        runs: Path,
        more: list[str],
        call: Callable[[list[str]], None] | None = None,
        any_code: bool = False,
    ):
        self.study, self.results, self.runs, self.more = study, results, runs, more
        self.call, self.any_code = call or _call, any_code

    def run(self, cell: str, seed: int, weights: bool = False) -> Path:
        """Runs a cell unless it is there, those that it refers to first; its folder of weights.

        Args:
            cell, seed: which.
            weights: whether they are needed, or its figures alone.
        """
        folder, figures = self.runs / cell / str(seed), self.results / cell / str(seed)
        argv, state = self._argv(cell, seed), self._state(cell, seed)
        there = (folder / RESULTS).exists() and self._is(folder, state)
        if self._is(figures, state) and (there or not weights):
            return folder
        argv = [str(self.run(*self._referred(w, seed), weights=True)) if w.startswith(REFERENCE) else w for w in argv]
        if not there:
            if not self._is(folder, state):
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / CELL, state)
            last = get_last_checkpoint(folder)
            self.call([*argv, *(["--resume_from_checkpoint", last] if last else [])])
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        figures.mkdir(parents=True, exist_ok=True)
        Results.read(folder).write(figures)
        write_json(figures / CELL, state)
        return folder

    def _argv(self, cell: str, seed: int) -> list[str]:
        options = self.study.common | self.study.cells[cell]
        values = {name: value for name, value in options.items() if name not in ("recipe", "seeds")}
        folder = self.runs / cell / str(seed)
        return [options["recipe"], *as_argv(values), "--seed", str(seed), "--output_dir", str(folder), *self.more]

    def _state(self, cell: str, seed: int) -> dict:
        """What decides a cell's figures: its settings, the sources, and the same of the cells that it refers to."""
        argv = self._argv(cell, seed)
        state = {"settings": without_local_paths(parse(argv).settings()), "code": code_digest()}
        cells = {word: self._state(*self._referred(word, seed)) for word in argv if word.startswith(REFERENCE)}
        return state | ({"cells": cells} if cells else {})

    def _referred(self, word: str, seed: int) -> tuple[str, int]:
        cell, _, other = word.removeprefix(REFERENCE).partition("/")
        if cell not in self.study.cells:
            raise StudyError(f"{word}: no such cell{nearest(cell, self.study.cells)}")
        return cell, int(other) if other else seed

    def _is(self, folder: Path, state: dict) -> bool:
        """Whether a folder is of this state, whatever its sources if any will do."""
        path = folder / CELL
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found == state or (self.any_code and _without_code(found) == _without_code(state))


def _without_code(state: dict) -> dict:
    cells = {word: _without_code(other) for word, other in state.get("cells", {}).items()}
    return {key: value for key, value in state.items() if key not in ("code", "cells")} | {"cells": cells}


def _call(argv: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "run_ner", *argv], check=False)
    if done.returncode:
        raise StudyError(f"run_ner {' '.join(argv)} ended with exit code {done.returncode}")


def write_tables(study: Study, results: Path) -> None:
    """Writes README.md and a plot of each table into the folder of figures."""
    corpora = {cell: study.corpora_of(cell) for cell in study.cells}
    text = readme(study.tables, corpora, study.folders(results), results)
    (results / "README.md").write_text(text, encoding="utf-8")


def note(study: Study, results: Path, name: str, cells: list[str] | None = None) -> str:
    """A table for a model's card: of some cells over their seeds or, without cells, of left-out corpora.

    Raises:
        StudyError: no table of test figures has all the cells; no cell was measured, or is to be, on a corpus that it wasn't
            trained on.
    """
    if cells:
        table = next((t for t in study.tables if t.split == "test" and {*cells} <= {*t.cells}), None)
        if table is None:
            raise StudyError(f"--note: no table of test figures in {name} has the cells {', '.join(map(repr, cells))}")
        text = table_text(table, study.folders(results), shown=cells)
        return wrapped(f"The study `{name}`. {REMARKS}\n\n{text}")
    corpora = {cell: study.corpora_of(cell) for cell in study.cells}
    rows = left_out(study.tables, corpora, study.folders(results))
    if not rows:
        raise StudyError(f"--note: in {name} no cell is measured on a corpus that it isn't trained on")
    return wrapped(f"Other models than this one, trained without the corpus: the study `{name}`.\n\n{rows}\n")


def put(page: Path, study: Study, results: Path, name: str) -> None:
    """Writes the study's first table, in brief, between the marks `<!-- name -->` of a page.

    Raises:
        UserError: the page doesn't have each mark once.
    """
    text = wrapped(table_text(study.tables[0], study.folders(results), brief=True)).rstrip()
    page.write_text(between(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Command line: runs what is missing, then writes the tables."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", help="YAML file of cells, or the name of one that comes with the package")
    parser.add_argument("--results", type=Path, required=True, help="folder for figures, tables and plots")
    parser.add_argument("--runs", type=Path, help="folder for weights; without it nothing is run")
    parser.add_argument("--cells", nargs="+", help="run these only: CELL, or CELL/SEED")
    parser.add_argument("--any_code", action="store_true", help="keep figures that other sources of this package gave")
    parser.add_argument(
        "--note", type=Path, help="also write a card's table: --cells over seeds, else left-out corpora"
    )
    parser.add_argument("--page", type=Path, help="Markdown file with the marks <!-- STUDY -->; gets the first table")
    options, more = parser.parse_known_args(argv)
    with one_message("study"):
        study = Study.read(options.study)
        if options.runs is None and more:
            raise StudyError(f"unknown option {more[0]!r}; options of runs need --runs")
        chosen = study.chosen(options.cells)
        options.results.mkdir(parents=True, exist_ok=True)
        if options.runs:
            runner = Runner(study, options.results, options.runs, more, any_code=options.any_code)
            for cell, seed in chosen:
                runner.run(cell, seed)
                write_tables(study, options.results)
        write_tables(study, options.results)
        name = Path(options.study).stem
        if options.note:
            options.note.write_text(note(study, options.results, name, options.cells), encoding="utf-8")
        if options.page:
            put(options.page, study, options.results, name)


if __name__ == "__main__":
    main()
