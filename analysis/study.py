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
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.modeling.label_space import UserError, nearest
from mosaic_ner.training.arguments import as_argv, parse, read_recipe
from mosaic_ner.training.results import DOCUMENT_F1, RESULTS, Results, without_local_paths, write_json
from transformers.trainer_utils import get_last_checkpoint

from .compare import compare
from .markdown import percent

STUDIES = Path(__file__).with_name("studies")
"""The studies that come with the package; they can be named without this folder and without their ending."""
CELL = "cell.json"
CODE = ("modeling", "data_builders", "prediction", "training")
"""The rooms whose sources decide what a run learns."""
REFERENCE = "cell:"
"""`cell:NAME` in a run's options stands for the folder of that cell with the same seed, `cell:NAME/43` for another seed's."""


class StudyError(UserError):
    """A study that can't be understood, or a cell that failed."""


@dataclass(frozen=True)
class Table:
    """Rows of a table: its cells' figures on corpora, each against the cell `reference` on the same documents."""

    title: str
    cells: list[str]
    corpora: list[str]
    reference: str | None = None


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
        study = cls(
            content.get("cells") or {},
            content.get("seeds") or [42],
            content.get("common") or {},
            [Table(**table) for table in content.get("tables") or ()],
        )
        for cell, options in study.cells.items():
            if "recipe" not in options:
                raise StudyError(f"{name}: cell {cell!r} names no recipe")
        for table in study.tables:
            for cell in [*table.cells, *([table.reference] if table.reference else [])]:
                if cell not in study.cells:
                    raise StudyError(f"{name}: table {table.title!r}: no cell {cell!r}{nearest(cell, study.cells)}")
        return study

    def seeds_of(self, cell: str) -> list[int]:
        """The seeds of a cell."""
        return self.cells[cell].get("seeds", self.seeds)

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
        options = self.study.common | self.study.cells[cell]
        recipe = options["recipe"]
        options = {name: value for name, value in options.items() if name not in ("recipe", "seeds")}
        argv = [recipe, *as_argv(options), "--seed", str(seed), "--output_dir", str(folder), *self.more]
        state = {"settings": without_local_paths(parse(argv).settings()), "code": code_digest()}
        if self._is(figures, state, any_code=self.any_code) and (not weights or (folder / RESULTS).exists()):
            return folder
        argv = [self._resolved(word, seed) for word in argv]
        if not (folder / RESULTS).exists() or not self._is(folder, state):
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

    def _resolved(self, word: str, seed: int) -> str:
        if not word.startswith(REFERENCE):
            return word
        cell, _, other = word.removeprefix(REFERENCE).partition("/")
        if cell not in self.study.cells:
            raise StudyError(f"{word}: no such cell{nearest(cell, self.study.cells)}")
        return str(self.run(cell, int(other) if other else seed, weights=True))

    @staticmethod
    def _is(folder: Path, state: dict, any_code: bool = False) -> bool:
        """Whether a folder is of this state."""
        path = folder / CELL
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found == state or (any_code and found.get("settings") == state["settings"])


def _call(argv: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "run_ner", *argv], check=False)
    if done.returncode:
        raise StudyError(f"run_ner {' '.join(argv)} ended with exit code {done.returncode}")


# ---- tables


def holm(values: list[float]) -> list[float]:
    """p values corrected for their number (Holm 1979, A simple sequentially rejective multiple test procedure)."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected


def folders_of(results: Path, cell: str) -> list[Path]:
    """A cell's folders of figures, in the order of seeds."""
    return sorted((p.parent for p in (results / cell).glob(f"*/{RESULTS}")), key=lambda p: int(p.name))


def table_text(table: Table, results: Path) -> str:
    """A table in Markdown: mean and standard deviation over seeds, F1 by type, and a paired test against the reference."""
    found = {cell: folders_of(results, cell) for cell in table.cells}
    rows: list[tuple[str, str, list[Results]]] = []
    tested: dict[int, float] = {}  # row → p
    for corpus in table.corpora:
        runs = {cell: [Results.read(folder) for folder in folders] for cell, folders in found.items()}
        runs = {cell: [r for r in part if corpus in r.test] for cell, part in runs.items()}
        for cell, part in runs.items():
            if part and table.reference and cell != table.reference and runs.get(table.reference):
                sides = [[f for f in found[c] if (f / DOCUMENT_F1).exists()] for c in (cell, table.reference)]
                p = compare(*sides, corpus)["p"] if all(sides) else None
                tested |= {} if p is None else {len(rows): p}
            rows.append((corpus, cell, part))
    corrected = dict(zip(tested, holm([*tested.values()]), strict=True))
    types = sorted({t for corpus, _, part in rows for r in part for t in r.test[corpus]["per_type"]})
    lines = [_row(*row, types, corrected.get(i)) for i, row in enumerate(rows)]
    header = ["corpus", "run", "seeds", "P", "R", "F1", *types, "p", "minutes"]
    return f"## {table.title}\n\n{markdown_table(header, lines)}\n{_remarks(table, len(tested))}"


def _row(corpus: str, cell: str, part: list[Results], types: list[str], p: float | None) -> list[str]:
    if not part:
        return [corpus, cell, "0", "not run", *(["-"] * (len(types) + 4))]
    reports = [r.test[corpus] for r in part]
    overall = [_spread([r["overall"][k] for r in reports]) for k in ("precision", "recall", "f1")]
    by_type = [
        percent(statistics.fmean(r["per_type"][t]["f1"] for r in reports)) if t in reports[0]["per_type"] else "-"
        for t in types
    ]
    minutes = statistics.fmean(r.seconds.get("train", 0.0) for r in part) / 60
    return [corpus, cell, str(len(part)), *overall, *by_type, "-" if p is None else f"{p:.2g}", f"{minutes:.0f}"]


def _spread(values: list[float]) -> str:
    mean = percent(statistics.fmean(values))
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _remarks(table: Table, tests: int) -> str:
    text = "Exact match on test documents, in percent: mean and standard deviation over seeds; a row with one seed has none. "
    if table.reference and tests:
        text += (
            "*p*: two-sided Wilcoxon signed-rank test over documents (their F1 averaged over seeds) against "
            f"{table.reference}, corrected for {tests} tests by Holm's method; above 0.05 a difference isn't significant. "
        )
    return f"\n{text}\n"


def write_tables(study: Study, results: Path) -> None:
    """Writes README.md and a plot of each table into the folder of figures."""
    parts = ["# Figures of a study", "", "Written by `mosaic-ner study`.", ""]
    for number, table in enumerate(study.tables, 1):
        parts.append(table_text(table, results))
        if _plot(table, results, results / f"table{number}.png"):
            parts.append(f"![{table.title}](table{number}.png)\n")
    (results / "README.md").write_text(wrapped("\n".join(parts)), encoding="utf-8")


def _plot(table: Table, results: Path, path: Path) -> bool:
    """F1 of every seed as a point, its mean as a line, per corpus and cell; whether there was anything to draw."""
    from .plots import COLOURS, save, titled_axes

    found = {cell: [Results.read(folder) for folder in folders_of(results, cell)] for cell in table.cells}
    rows = [
        (
            f"{corpus}: {cell}" if len(table.corpora) > 1 else cell,
            [100 * r.test[corpus]["overall"]["f1"] for r in part],
            number,
        )
        for corpus in table.corpora
        for number, (cell, every) in enumerate(found.items())
        if (part := [r for r in every if corpus in r.test])
    ]
    if not rows:
        return False
    caption = "F1 in percent: a point per seed, a line at their mean"
    figure, axes = titled_axes(7, 1.2 + 0.32 * len(rows), table.title, caption)
    for place, (_, values, number) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=5, alpha=0.7)
        axes.vlines(statistics.fmean(values), place - 0.3, place + 0.3, color=colour, linewidth=2)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    save(figure, path)
    return True


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


if __name__ == "__main__":
    main()
