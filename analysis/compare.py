"""Compares runs: mean and standard deviation over seeds, and a paired test over documents.

mosaic-ner compare outputs/all_1 outputs/all_2 --against outputs/alone_1 outputs/alone_2
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.results import DOCUMENT_F1, Results
from scipy.stats import wilcoxon

OF_A_SEED = ("seed", "complete_with", "resume_from_checkpoint", "model_name_or_path")
"""Settings in which runs of one setting differ."""


class ComparisonError(UserError):
    """Runs that can't be compared, or that lack what is asked for."""


def read_results(folder: Path, corpus: str | None = None, split: str = "test") -> Results:
    """The results of a finished run that was measured on the split ("test" or "validation") of a corpus; None: on any.

    Raises:
        ResultsError: not the folder of a finished run. ComparisonError: the run has no figures of the corpus.
    """
    results = Results.read(folder)
    found, done, has = {
        "test": (results.test, "tested", "it has"),
        "validation": (results.validation, "validated", "it was on"),
    }[split]
    if corpus is not None and corpus not in found:
        raise ComparisonError(f"{folder} was not {done} on {corpus!r}; {has} {', '.join(found) or 'none'}")
    return results


def common_corpus(runs: list[Path], split: str = "test") -> str:
    """The corpus on which all runs were measured: BioRED, or the only one.

    Raises:
        ComparisonError: there is none, or there are several. ResultsError: not the folder of a finished run.
    """
    measured = [getattr(read_results(run), split) for run in runs]
    shared = [corpus for corpus in measured[0] if all(corpus in other for other in measured)]
    if "biored" in shared or len(shared) == 1:
        return "biored" if "biored" in shared else shared[0]
    told = f"{', '.join(shared)}; name one with --corpus" if shared else "no corpus together"
    raise ComparisonError(f"the {split} documents on which all runs were measured are of {told}")


def read_run(folder: Path, corpus: str) -> tuple[float, list[float]]:
    """A run's test F1 on the corpus and the F1 of each document.

    Raises:
        ComparisonError: the run has no F1 of each document, or what `read_results` raises.
    """
    results = read_results(folder, corpus)
    if corpus not in results.document_f1:
        raise ComparisonError(f"{folder} has no {DOCUMENT_F1} with the F1 of each document of {corpus}")
    return results.test[corpus]["overall"]["f1"], results.document_f1[corpus]


def differing(runs: list[Results]) -> list[str]:
    """The settings in which runs differ, but for the seed (and the folders of teachers, which have one each)."""
    own = [{k: v for k, v in r.settings.items() if k not in OF_A_SEED} for r in runs]
    return [
        name for name in dict.fromkeys(n for s in own for n in s) if any(s.get(name) != own[0].get(name) for s in own)
    ]


def compare(ours: list[Path], others: list[Path], corpus: str) -> dict:
    """Means and standard deviations of micro-F1 over the runs of each side, and a paired test over documents.

    The test is the two-sided Wilcoxon signed-rank test (as in AIONER, section 3.1). It reads each document's F1, averaged over
    the runs of a side.

    Returns:
        `{"ours", "others": {"runs", "mean", "sd"}, "documents", "p"}`; sd is None for one run, p where no document differs.
    Raises:
        ComparisonError: the runs were tested on different documents, or what `read_run` raises.
    """
    sides = [[read_run(folder, corpus) for folder in side] for side in (ours, others)]
    if twice := [f for f in {*ours, *others} if [*ours, *others].count(f) > 1]:
        raise ComparisonError(f"{twice[0]} is named twice; a run is one seed of one side")
    for side in (ours, others):
        seeds = [seed for folder in side if (seed := read_results(folder).settings.get("seed")) is not None]
        if twice := [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]:
            raise ComparisonError(f"two runs of one side have the seed {twice[0]}; expected a seed each")
    sizes = {len(documents) for side in sides for _, documents in side}
    if len(sizes) > 1:
        raise ComparisonError(f"the runs were tested on different numbers of {corpus} documents: {sorted(sizes)}")
    declared = [read_results(folder, corpus).data.get("test", {}).get(corpus, {}) for folder in (*ours, *others)]
    if len({row["ids"] for row in declared if "ids" in row}) > 1:  # results of earlier versions don't say
        raise ComparisonError(f"the runs were tested on different {corpus} documents, or in another order")
    if any(row.get("declared") != declared[0].get("declared") for row in declared):
        raise ComparisonError(f"the runs were scored on different types: their {corpus} documents declare other types")
    first, second = ([statistics.fmean(values) for values in zip(*(d for _, d in side), strict=True)] for side in sides)
    same = all(a == b for a, b in zip(first, second, strict=True))
    rows = []
    for side in sides:
        scores = [f1 for f1, _ in side]
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        rows.append({"runs": len(scores), "mean": statistics.fmean(scores), "sd": spread})
    p = None if same else float(wilcoxon(first, second).pvalue)
    return {"ours": rows[0], "others": rows[1], "documents": sizes.pop(), "p": p}


def main(argv: list[str] | None = None) -> None:
    """Command line: prints the comparison."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of one setting, a seed each")
    parser.add_argument("--against", nargs="+", type=Path, required=True, help="output folders of the other setting")
    parser.add_argument("--corpus", help="default: biored, or the only one that all were tested on")
    options = parser.parse_args(argv)
    with one_message("compare"):
        corpus = options.corpus or common_corpus([*options.runs, *options.against])
        result = compare(options.runs, options.against, corpus)
    for name, side in (("runs", options.runs), ("against", options.against)):
        if names := differing([read_results(folder) for folder in side]):
            sys.stderr.write(f"compare: warning: {name} differ in {', '.join(names)}, not in the seed alone\n")
    for name, row in (("runs", result["ours"]), ("against", result["others"])):
        spread = "one seed" if row["sd"] is None else f"± {100 * row['sd']:.2f} over {row['runs']} seeds"
        sys.stdout.write(f"{name:8s} F1 {100 * row['mean']:.2f} ({spread})\n")
    p = "no document differs" if result["p"] is None else f"p = {result['p']:.4g}"
    sys.stdout.write(f"Wilcoxon signed-rank over {result['documents']} documents: {p}\n")


if __name__ == "__main__":
    main()
