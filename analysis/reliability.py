"""How often a mention with a given score is right: the reliability plot of a run.

mosaic-ner reliability outputs/aioner/biored --output reliability.png

Each point is a bin of as many predicted mentions: their mean score, and the share that is right. On the line, scores are what
they say. Hollow points are scores before the calibration. Needs matplotlib: `pip install 'mosaic-ner[figures]'`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mosaic_ner.training.results import Results, ResultsError

from .plots import GREY, PALETTE, png_command, save, titled_axes


def draw(results: Results, path: Path) -> Path:
    """Draws the corpora that a run measured, a colour each.

    Raises:
        ResultsError: the run measured no reliability.
    """
    split, measured = results.measured
    found = {corpus: report["calibration"] for corpus, report in measured.items() if report.get("calibration")}
    if not found:
        raise ResultsError("results.json has no 'calibration', as runs of 0.1; evaluate the model again")
    caption = f"mean score of a bin of predicted mentions, {split} documents; upwards: the share that is right"
    figure, axes = titled_axes(6.5, 6, "Reliability of scores", caption)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for number, (corpus, row) in enumerate(found.items()):
        colour = PALETTE[number % len(PALETTE)]
        if before := row.get("uncalibrated"):
            label = f"{corpus}, before: ECE {before['ece']:.3f}"
            axes.plot(*_points(before), "o--", color=colour, fillstyle="none", linewidth=0.8, label=label)
        axes.plot(*_points(row), "o-", color=colour, label=f"{corpus}: ECE {row['ece']:.3f}")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    return save(figure, path)


def _points(row: dict) -> tuple[list[float], list[float]]:
    return [b[1] for b in row["bins"]], [b[2] for b in row["bins"]]


def main(argv: list[str] | None = None) -> None:
    """Command line: draws a run."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="output folder of a finished run")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    options = parser.parse_args(argv)
    with png_command("reliability", options.output):
        draw(Results.read(options.run), options.output)


if __name__ == "__main__":
    main()
