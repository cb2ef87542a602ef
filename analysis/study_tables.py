"""The tables and plots of a study, from the figures of its cells."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.training.results import DOCUMENT_F1, Results

from .compare import compare, differing
from .markdown import REMARKS_LEFT_OUT, decimals, percent


@dataclass(frozen=True)
class Table:
    """Rows of a table: its cells' figures on corpora, each against the cell `reference` on the same documents.

    `split` is "test" or, where settings are to be chosen, "validation"; there is no test of validation figures. `remark` says
    what the cells are.
    """

    title: str
    cells: list[str]
    corpora: list[str]
    reference: str | None = None
    split: str = "test"
    remark: str = ""


CELL = "cell.json"
"""Beside the figures of a cell with a seed: what decides them."""
Folders = dict[str, list[Path]]
"""Cell → its folders of figures, a seed each."""
BRIEF = ("corpus", "run", "seeds", "P", "R", "F1", "p")


def readme(tables: list[Table], corpora: dict[str, list[str]], folders: Folders, place: Path) -> str:
    """README.md of a study.

    Args:
        corpora: cell → its training corpora.
        folders: cell → those with its figures, one a seed.
        place: the folder into which a plot of each table is drawn.
    """
    parts = [f"# Figures of a study\n\n{REMARKS}\n"]
    for number, table in enumerate(tables, 1):
        parts.append(f"## {table.title}\n\n{table_text(table, folders)}")
        if _plot(table, folders, place / f"table{number}.png"):
            parts.append(f"![{table.title}](table{number}.png)\n")
    if rows := left_out(tables, corpora, folders):
        parts += [f"## Corpora that a run was trained without\n\n{rows}\n\n{REMARKS_LEFT_OUT}\n"]
    return wrapped("\n".join(parts))


def holm(values: list[float]) -> list[float]:
    """p values corrected for their number (Holm 1979, A simple sequentially rejective multiple test procedure)."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected


def _reports(run: Results, split: str) -> dict[str, dict]:
    return run.test if split == "test" else run.validation


def table_text(table: Table, folders: Folders, brief: bool = False, shown: list[str] | None = None) -> str:
    """A table in Markdown, without title: mean and standard deviation over seeds, F1 by type, and a paired test against the
    reference; in brief, without types, labels and costs.

    Args:
        shown: the cells that get a row, of those that are tested; default: all.
    """
    found = {cell: folders[cell] for cell in table.cells}
    rows: list[tuple[str, str, list[Results]]] = []
    tested: dict[int, float] = {}  # row → p
    for corpus in table.corpora:
        runs = {cell: [Results.read(folder) for folder in folders] for cell, folders in found.items()}
        runs = {cell: [r for r in part if corpus in _reports(r, table.split)] for cell, part in runs.items()}
        for cell, part in runs.items():
            tests = table.reference and table.split == "test" and cell != table.reference
            if tests and part and runs.get(table.reference):
                sides = [[f for f in found[c] if (f / DOCUMENT_F1).exists()] for c in (cell, table.reference)]
                p = compare(*sides, corpus)["p"] if all(sides) else None
                tested |= {} if p is None else {len(rows): p}
            rows.append((corpus, cell, part))
    corrected = dict(zip(tested, holm([*tested.values()]), strict=True))
    types = sorted({t for corpus, _, part in rows for r in part for t in _reports(r, table.split)[corpus]["per_type"]})
    lines = [
        _row(*row, table.split, types, corrected.get(i)) for i, row in enumerate(rows) if not shown or row[1] in shown
    ]
    header = ["corpus", "run", "seeds", "P", "R", "F1", "±1 character", *types, "labels", "p", "updates", "minutes"]
    empty = {n for n, name in enumerate(header) if name in ("labels", "p") and all(line[n] == "-" for line in lines)}
    kept = [n for n, name in enumerate(header) if n not in empty and (name in BRIEF or not brief)]
    header, *lines = ([line[n] for n in kept] for line in (header, *lines))
    changed = [cell for cell in shown or table.cells if len({_code(folder) for folder in found[cell]}) > 1]
    return f"{markdown_table(header, lines)}\n{_remarks(table, len(tested), changed)}"


def _code(folder: Path) -> str | None:
    """The digest of the sources that a cell's figures are of."""
    path = folder / CELL
    return json.loads(path.read_text(encoding="utf-8")).get("code") if path.exists() else None


def _row(corpus: str, cell: str, part: list[Results], split: str, types: list[str], p: float | None) -> list[str]:
    if not part:
        return [corpus, cell, "0", "not run", *(["-"] * (len(types) + 7))]
    reports = [_reports(r, split)[corpus] for r in part]
    labels = [
        n["added"] for r in part if r.completion for kinds in r.completion["labels"].values() for n in kinds.values()
    ]
    return [
        corpus,
        cell,
        _seeds(part),
        *_overall(reports),
        *(percent(_mean(reports, lambda r, name=name: r["per_type"][name]["f1"])) for name in types),
        f"{sum(labels) / len(part):.0f}" if labels else "-",
        "-" if p is None else f"{p:.2g}",
        decimals(_mean(part, lambda r: r.updates), 0),
        _minutes(part),
    ]


def _minutes(part: list[Results]) -> str:
    """Of training, by device: a GPU's and a CPU's have no common mean."""
    devices: dict[str, list[float]] = {}
    for r in part:
        devices.setdefault(r.device, []).append(r.seconds.get("train", 0.0) / 60)
    return ", ".join(f"{statistics.fmean(m):.{int(max(m) < 10)}f} {name}".strip() for name, m in devices.items())


def _seeds(part: list[Results]) -> str:
    """How many, and whether they differ in more than the seed (and the folders of teachers, which have one each)."""
    return str(len(part)) + (", settings differ" if differing(part) else "")


def _overall(reports: list[dict]) -> list[str]:
    """P, R, F1, and F1 where both ends together may be one character off ("-" in results of 0.1)."""
    exact = [_spread([r["overall"][k] for r in reports]) for k in ("precision", "recall", "f1")]
    near = [r["relaxed"]["near"]["overall"]["f1"] for r in reports if "relaxed" in r]
    return [*exact, _spread(near) if len(near) == len(reports) else "-"]


def _mean(items: list, value: Callable) -> float | None:
    """The mean of a value of each; None where one has none."""
    try:
        return statistics.fmean(value(item) for item in items)
    except (KeyError, TypeError):
        return None


def _spread(values: list[float]) -> str:
    mean = percent(statistics.fmean(values))
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _remarks(table: Table, tests: int, changed: list[str]) -> str:
    parts = [table.remark] if table.remark else []
    if table.split != "test":
        parts.append(f"{table.split.capitalize()} documents: settings are chosen by these figures.")
    if tests:
        parts.append(
            "*p*: two-sided Wilcoxon signed-rank test over documents (their F1 averaged over seeds) against "
            + table.reference
            + (f", corrected for {tests} tests by Holm's method" if tests > 1 else "")
            + "; above 0.05 a difference isn't significant."
        )
    if changed:
        parts.append(f"Seeds of {', '.join(changed)} were run with different states of the package's code (cell.json).")
    return f"\n{' '.join(parts)}\n" if parts else ""


REMARKS = (
    "Written by `mosaic-ner study`. Exact match on test documents, in percent: mean and standard deviation over seeds; a row "
    "with one seed has none. *±1 character*: F1 where both ends together may be one character off. *Labels*: those that "
    "teachers added. *Minutes*: of training, by device."
)


def left_out(tables: list[Table], corpora: dict[str, list[str]], folders: Folders) -> str:
    """Figures of the tables' cells on corpora that they weren't trained on, exact and one character off, by type, and the
    calibration of their scores, in Markdown; empty if there are no such cells.

    Args: as for `readme`.
    """
    pairs = dict.fromkeys(
        (corpus, cell) for t in tables for corpus in t.corpora for cell in t.cells if corpus not in corpora[cell]
    )
    rows = []
    for corpus, cell in pairs:
        part = [run for run in map(Results.read, folders[cell]) if corpus in run.test]
        reports = [run.test[corpus] for run in part]
        if not part:
            rows.append([corpus, cell, "all", "0", "not run", *["-"] * 5])
            continue
        errors = [
            decimals(_mean(reports, value), 3)
            for value in (lambda r: r["calibration"]["ece"], lambda r: r["calibration"]["uncalibrated"]["ece"])
        ]
        rows.append([corpus, cell, "all", _seeds(part), *_overall(reports), *errors])
        types = list(reports[0]["per_type"])
        for name in types if len(types) > 1 else ():
            own = [
                {"overall": r["per_type"][name]}
                | ({"relaxed": {"near": {"overall": r["relaxed"]["near"]["per_type"][name]}}} if "relaxed" in r else {})
                for r in reports
            ]
            rows.append([corpus, cell, name, _seeds(part), *_overall(own), "-", "-"])
    header = ["left out", "run", "type", "seeds", "P", "R", "F1", "±1 character", "ECE", "before calibration"]
    return markdown_table(header, rows) if rows else ""


def _plot(table: Table, folders: Folders, path: Path) -> bool:
    """F1 of every seed as a point, its mean as a line, per corpus and cell; whether there was anything to draw."""
    from .plots import COLOURS, save, titled_axes

    found = {cell: [Results.read(folder) for folder in folders[cell]] for cell in table.cells}
    rows = [
        (
            f"{corpus}: {cell}" if len(table.corpora) > 1 else cell,
            [100 * _reports(r, table.split)[corpus]["overall"]["f1"] for r in part],
            number,
        )
        for corpus in table.corpora
        for number, (cell, every) in enumerate(found.items())
        if (part := [r for r in every if corpus in _reports(r, table.split)])
    ]
    if not rows:
        return False
    caption = f"F1 in percent on {table.split} documents: a point per seed, a line at their mean"
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
