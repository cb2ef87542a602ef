"""One table of several runs: F1 on a corpus, overall and by type, beside what copying the training annotations scores.

python -m mosaic_ner.hub.table outputs/multi outputs/multi_cvae --corpus biored --output table.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .card import markdown_table
from .compare import ComparisonError, read_results

HEADER = """F1 on the test documents of {corpus}, in percent: exact match, micro-averaged. *Overlap* says what was done
with training documents that are in an evaluation split; *copying* is no model, only the annotations of training documents
with the identical text, repeated. Written by `python -m mosaic_ner.hub.table`.
"""


def build_table(runs: list[Path], corpus: str) -> str:
    """A Markdown table with a row per run, and a row of the copying baseline for each of its different values.

    Args:
        runs: output folders of finished runs.
        corpus: the test corpus.
    Raises:
        ComparisonError: not the folder of a finished run, or the corpus wasn't tested.
    """
    results = {run.name: read_results(run, corpus) for run in runs}
    types = sorted({t for r in results.values() for t in r["test"][corpus]["per_type"]})
    header = ["run", "seed", "overlap", "updates", "P", "R", "F1", *types]
    rows, copies = [], {}
    for name, result in results.items():
        report = result["test"][corpus]
        overlap, settings = result["overlap"], result["settings"]
        row = [_percent(report["overall"][key]) for key in ("precision", "recall", "f1")]
        updates = max((h["step"] for h in result["history"]), default="-")
        by_type = [_percent(report["per_type"][t]["f1"]) if t in report["per_type"] else "-" for t in types]
        kept = "kept" if overlap["kept"] else "removed"
        rows.append([name, settings["seed"], kept, updates, *row, *by_type])
        copying = overlap["evaluation"].get(f"{corpus}/test", {}).get("copying")
        if copying and copying["predicted"]:
            copies[tuple(_percent(copying[key]) for key in ("precision", "recall", "f1"))] = None
    rows += [["copying, no model", "-", "-", "-", *copy, *("-" for _ in types)] for copy in copies]
    return HEADER.format(corpus=corpus) + "\n" + markdown_table(header, rows) + "\n"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the table, or prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of finished runs")
    parser.add_argument("--corpus", default="biored")
    parser.add_argument("--output", type=Path, help="file to write; default: print")
    options = parser.parse_args(argv)
    try:
        table = build_table(options.runs, options.corpus)
    except ComparisonError as error:
        sys.stderr.write(f"table: error: {error}\n")
        sys.exit(2)
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    else:
        sys.stdout.write(table)


if __name__ == "__main__":
    main()
