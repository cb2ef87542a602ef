"""Compares runs: mean and standard deviation over seeds, and a paired test over documents.

python -m mosaic_ner.analysis.compare outputs/all_1 outputs/all_2 --against outputs/alone_1 outputs/alone_2
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from scipy.stats import wilcoxon


class ComparisonError(ValueError):
    """Runs that can't be compared."""


def read_results(folder: Path, corpus: str | None = None, name: str = "results.json") -> dict:
    """A file of a run that was tested on the corpus, or on any.

    Raises:
        ComparisonError: not the folder of a finished run, or the corpus wasn't tested.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ComparisonError(f"{folder} is not the folder of a finished run: no {name}") from error
    tested = content["test"] if name == "results.json" else content
    if corpus is not None and corpus not in tested:
        raise ComparisonError(f"{folder} was not tested on {corpus!r}; it has {', '.join(tested)}")
    return content


def read_run(folder: Path, corpus: str) -> tuple[float, list[float]]:
    """A run's test F1 on the corpus and the F1 of each document.

    Raises:
        ComparisonError: not the folder of a finished run, or the corpus wasn't tested.
    """
    results = read_results(folder, corpus)
    return results["test"][corpus]["overall"]["f1"], read_results(folder, corpus, "document_f1.json")[corpus]


def compare(ours: list[Path], others: list[Path], corpus: str) -> dict:
    """Means and standard deviations of micro-F1 over runs, and the two-sided Wilcoxon signed-rank test (as in AIONER,
    section 3.1) over the documents' F1, averaged over the runs of each side.

    Returns:
        `{"ours", "others": {"runs", "mean", "sd"}, "documents", "p"}`; p is None where no document differs.
    """
    sides = [[read_run(folder, corpus) for folder in side] for side in (ours, others)]
    sizes = {len(documents) for side in sides for _, documents in side}
    if len(sizes) > 1:
        raise ComparisonError(f"the runs were tested on different numbers of {corpus} documents: {sorted(sizes)}")
    first, second = ([statistics.fmean(values) for values in zip(*(d for _, d in side), strict=True)] for side in sides)
    same = all(a == b for a, b in zip(first, second, strict=True))
    rows = [{"runs": len(side), "mean": statistics.fmean(f for f, _ in side)} for side in sides]
    for row, side in zip(rows, sides, strict=True):
        row["sd"] = statistics.stdev(f for f, _ in side) if len(side) > 1 else None
    p = None if same else float(wilcoxon(first, second).pvalue)
    return {"ours": rows[0], "others": rows[1], "documents": sizes.pop(), "p": p}


def main(argv: list[str] | None = None) -> None:
    """Command line: prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of one setting, a seed each")
    parser.add_argument("--against", nargs="+", type=Path, required=True, help="output folders of the other setting")
    parser.add_argument("--corpus", default="biored")
    options = parser.parse_args(argv)
    try:
        result = compare(options.runs, options.against, options.corpus)
    except ComparisonError as error:
        sys.stderr.write(f"compare: error: {error}\n")
        sys.exit(2)
    for name, row in (("runs", result["ours"]), ("against", result["others"])):
        spread = "one seed" if row["sd"] is None else f"± {100 * row['sd']:.2f} over {row['runs']} seeds"
        sys.stdout.write(f"{name:8s} F1 {100 * row['mean']:.2f} ({spread})\n")
    p = "no document differs" if result["p"] is None else f"p = {result['p']:.4g}"
    sys.stdout.write(f"Wilcoxon signed-rank over {result['documents']} documents: {p}\n")


if __name__ == "__main__":
    main()
