"""Figures of several runs: F1 against α, the weight of the CVAE's loss (Oi and Miwa 2025, Figure 2), from runs of the family
span_cvae. The figures of a single run are in run_figures.py. Needs matplotlib and scikit-learn:
`pip install 'mosaic-ner[figures]'`.

mosaic-ner figures outputs/alpha_0 outputs/alpha_1e-4 … --output outputs/alpha.png
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import statistics
from pathlib import Path

from mosaic_ner.training.results import Results, write_json
from mosaic_ner.training.span_cvae import Options

from .compare import ComparisonError
from .plots import COLOURS, GREY, png_command, save, titled_axes

logger = logging.getLogger(__name__)


def read_run(folder: Path) -> dict:
    """`{"alpha", "seed", "f1", "corpora", "settings"}` of a run. `f1` (0..1) is the best of its evaluations on the
    development documents of the corpora.

    Raises:
        ResultsError: not the folder of a finished run.
        ComparisonError: a run of another family, or one that was never evaluated on development documents.
    """
    results = Results.read(folder)
    settings = results.settings
    if settings.get("family") != "span_cvae":
        raise ComparisonError(
            f"{folder} is a run of family {settings.get('family')!r}; expected 'span_cvae', which has an α"
        )
    evaluations = [row for row in results.history if "eval_f1" in row]
    if not evaluations:
        raise ComparisonError(
            f"{folder} has no development figures: a run has them that trained with --eval_strategy epoch or steps"
        )
    best = max(evaluations, key=lambda row: row["eval_f1"])
    corpora = [m[1] for key in best if (m := re.fullmatch(r"eval_(.+)_f1", key))]
    # A run's settings hold only what departs from the defaults.
    alpha = float(settings.get("alpha", Options.alpha))
    return {"alpha": alpha, "seed": settings["seed"], "f1": best["eval_f1"], "corpora": corpora, "settings": settings}


def alpha_table(folders: list[Path]) -> dict:
    """What the runs scored on the development documents, by α.

    Returns:
        `{"corpora", "rows": [{"alpha", "mean", "sd", "seeds": {seed: f1}}]}`; rows by rising α; sd is None for one seed.
    Raises:
        ComparisonError: two runs of the same α and seed, or different development corpora.
        ResultsError, ComparisonError: what `read_run` raises.
    """
    runs = {folder: read_run(folder) for folder in folders}
    first = next(iter(runs.values()))
    seeds: dict[float, dict[str, float]] = {}
    known: dict[tuple, Path] = {}
    for folder, run in runs.items():
        if run["corpora"] != first["corpora"]:
            raise ComparisonError(
                f"{folder} was developed on {', '.join(run['corpora'])}, the runs before it on {', '.join(first['corpora'])}"
            )
        twin = known.setdefault((run["alpha"], run["seed"]), folder)
        if twin != folder:
            raise ComparisonError(
                f"{twin} and {folder} have the same α ({run['alpha']:g}) and the same seed ({run['seed']})"
            )
        seeds.setdefault(run["alpha"], {})[str(run["seed"])] = run["f1"]
        names = {*run["settings"], *first["settings"]} - {"alpha", "seed"}
        differ = sorted(name for name in names if run["settings"].get(name) != first["settings"].get(name))
        if differ:
            logger.warning("%s differs from the first run in more than α: %s", folder, ", ".join(differ))
    rows = []
    for alpha, scores in sorted(seeds.items()):
        spread = statistics.stdev(scores.values()) if len(scores) > 1 else None
        rows.append({"alpha": alpha, "mean": statistics.fmean(scores.values()), "sd": spread, "seeds": scores})
    return {"corpora": first["corpora"], "rows": rows}


def draw_alpha(table: dict, path: Path) -> None:
    """Figure 2 from `alpha_table`'s table, as a PNG and, with the same name, as JSON."""
    rows = table["rows"]
    numbers = sorted({len(row["seeds"]) for row in rows})
    many = f"{numbers[0]} seeds" if len(numbers) == 1 else f"(n): {numbers[0]} to {numbers[-1]} seeds"
    note = "one seed" if numbers == [1] else f"{many}; bars: standard deviation, crosses: single seeds"
    corpora = ", ".join(table["corpora"])
    title = (
        f"F1 on the development documents of {corpora}" if len(corpora) < 60 else "Mean F1 on the development documents"
    )
    figure, axes = titled_axes(6.5, 4.5, title)
    ticks = range(len(rows))
    means = [100 * row["mean"] for row in rows]
    bars = [100 * (math.nan if row["sd"] is None else row["sd"]) for row in rows]
    axes.errorbar(ticks, means, bars, fmt="o-", color=COLOURS[0], capsize=4, zorder=3)
    for tick, mean, row in zip(ticks, means, rows, strict=True):
        if row["alpha"] == 0:
            axes.axhline(mean, color=COLOURS[1], linestyle="--", linewidth=1, label="α = 0 (no CVAE)")
            axes.plot([tick], [mean], "o", color=COLOURS[1], zorder=4)
            axes.legend(fontsize=8, frameon=False, loc="best")
        if len(row["seeds"]) > 1:
            axes.plot([tick] * len(row["seeds"]), [100 * f for f in row["seeds"].values()], "x", color=GREY, zorder=2)
    names = [_short(row["alpha"]) for row in rows]
    if len(numbers) > 1:
        names = [f"{name}\n({len(row['seeds'])})" for name, row in zip(names, rows, strict=True)]
    axes.set_xticks(ticks, names)
    axes.margins(x=0.08, y=0.12)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_xlabel(f"α, the weight of the CVAE's loss\n{note}", fontsize=9)
    axes.set_ylabel("F1 (%), best evaluation of a run", fontsize=9)
    save(figure, path)
    write_json(path.with_suffix(".json"), table)


def _short(alpha: float) -> str:
    """0, 1e-4, 2.5e-3."""
    digits, exponent = f"{alpha:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}" if alpha else "0"


def main(argv: list[str] | None = None) -> None:
    """Command line: F1 against α of some runs."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="output folders: one or more seeds for each α")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write; a JSON table goes beside it")
    options = parser.parse_args(argv)
    with png_command("figures", options.output):
        draw_alpha(alpha_table(options.runs), options.output)


if __name__ == "__main__":
    main()
