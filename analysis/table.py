"""One table of several runs. By default: F1 on a corpus, overall and by type, beside what copying the training annotations
scores. `--corpora`: disjoint and merged F1 on several corpora. `--group`: a row per setting, with its runs on any corpora and
seeds. `--choices`: what settings score on validation data. `--errors`: false positives by cause. `--relaxed`: the F1 of
relaxed matches, and of what training didn't hold.

mosaic-ner table outputs/multi outputs/multi_cvae --corpus biored --output table.md
mosaic-ner table outputs/all --corpora jnlpba bc2gm --alone outputs/jnlpba outputs/bc2gm
mosaic-ner table --group Baseline outputs/base1 outputs/base2 --group All outputs/all1 outputs/all2
mosaic-ner table outputs/base outputs/next outputs/logits --choices --corpus genia_dev
mosaic-ner table outputs/base outputs/next --errors --corpus genia_dev --split validation
mosaic-ner table outputs/base outputs/next --relaxed --corpus biored
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

from mosaic_ner.data_builders.console import check_output, one_message
from mosaic_ner.data_builders.markdown import markdown_table, wrapped

from .compare import ComparisonError, common_corpus, differing, read_results
from .markdown import RELAXED, f1_cell, percent, relaxed_cells

HEADER = """F1 on the test documents of {corpus}, in percent: exact match, micro-averaged. *Overlap* says what was done
with documents that training and test share: removed from training, not scored, or kept. *Gold* counts the mentions that were
scored; where it differs, runs were measured on different documents. *Copying* is no model, only the annotations of training
documents with the identical text, repeated. Written by `mosaic-ner table`.
"""

DISJOINT_AND_MERGED = """F1 on the test documents of each corpus, in percent: exact match, micro-averaged. *Disjoint*: the
answer under the corpus's own guideline, in its own types where the model has them, else in shared ones. *Merged*: the answer
to a text of unknown origin, in shared types, of which those that the corpus annotates are scored (a corpus without shared
types is scored in its own). So the types of the two may differ. "-": the run was not tested on the corpus, was not trained
on it (disjoint), or is older than these figures. *Alone*: a model for each corpus, trained on it only. The last row is the
mean over the corpora, where all are there.
Written by `mosaic-ner table --corpora`.
"""

GROUPS = """F1 on the test documents of each corpus, in percent: exact match, micro-averaged. {seeds} Written by
`mosaic-ner table --group`.
"""

CHOICES = """Precision, recall and F1 on the {documents} validation documents of {corpus} ({support} mentions), in percent,
of runs that differ in the settings shown{same}. The first row is the reference. Written by
`mosaic-ner table --choices`.
"""

ERRORS = """Errors on the {split} documents of {corpus}. *Category*: false positives with the span of a gold mention, but
not its type. *Span*: all other false positives; of these, *boundary* overlap a gold mention of the same type, *both* only
such of other types, *spurious* none. The shares of span errors are in percent.
Written by `mosaic-ner table --errors`.
"""

RELAXED_SCORES = """F1 on the {split} documents of {corpus}, in percent, by what counts as a match, one to one. *Exact*: the
same characters and type. *±1 character*: the type, and ends that are one character apart at most, both together. *Type*: the
type, and overlapping. *Partial*: overlapping, for half a match unless the characters are the same, under any type.
*Boundary*: the same characters, under any type. Exact F1 of *unseen mentions*, whose text is no mention of the training
documents, and of *unseen words*: mentions with a word that no training document contains. "-": the run is older than these
figures, or there are none. Written by `mosaic-ner table --relaxed`.
"""


def run_names(runs: list[Path]) -> list[str]:
    """What tables call runs: their folders' names, or paths where two have the same name."""
    names = [run.resolve().name for run in runs]
    return [name if names.count(name) == 1 else run.as_posix() for name, run in zip(names, runs, strict=True)]


def build_table(runs: list[Path], corpus: str) -> str:
    """A Markdown table with a row per run, and a row of the copying baseline for each of its different values.

    Args:
        runs: output folders of finished runs.
        corpus: the test corpus.
    Raises:
        ResultsError: not the folder of a finished run. ComparisonError: a run was not tested on the corpus.
    """
    results = [read_results(run, corpus) for run in runs]
    types = sorted({t for r in results for t in r.test[corpus]["per_type"]})
    header = ["run", "seed", "overlap", "updates", "gold", "P", "R", "F1", *types]
    rows, copies = [], {}
    for name, result in zip(run_names(runs), results, strict=True):
        report, overlap = result.test[corpus], result.overlap
        updates = "-" if result.updates is None else result.updates
        by_type = [percent(report["per_type"].get(t, {}).get("f1")) for t in types]
        split = overlap.get("evaluation", {}).get(f"{corpus}/test", {})
        apart = f"{split.get('not_scored')} not scored" if split.get("mode") == "evaluation" else None
        kept = apart or {True: "kept", False: "removed", None: "-"}[overlap.get("kept")]
        gold = report["overall"]["support"]
        rows.append([name, result.settings["seed"], kept, updates, gold, *_prf(report["overall"]), *by_type])
        copying = split.get("copying")
        if copying and copying["predicted"]:
            copies[tuple(_prf(copying))] = None
    rows += [["copying, no model", "-", "-", "-", "-", *copy, *("-" for _ in types)] for copy in copies]
    return HEADER.format(corpus=corpus) + "\n" + markdown_table(header, rows) + "\n"


def build_disjoint_and_merged(runs: list[Path], corpora: list[str], alone: list[Path] = ()) -> str:
    """A Markdown table with a row per corpus, a row of their means, and two columns per run.

    Args:
        runs: output folders of finished runs; each may have been tested on some of the corpora only.
        corpora: the test corpora, in the order of the rows.
        alone: output folders of single-task runs, each tested on other corpora; together they get two columns.
    Raises:
        ResultsError: not the folder of a finished run.
        ComparisonError: a corpus that no run was tested on, or one that two single-task runs were tested on.
    """
    tests = [(name, read_results(run).test) for name, run in zip(run_names(runs), runs, strict=True)]
    joined: dict[str, dict] = {}
    for run in alone:
        test = read_results(run).test
        if twice := [corpus for corpus in test if corpus in joined]:
            raise ComparisonError(f"--alone: {run} was tested on {', '.join(twice)}, as was a run named before it")
        joined |= test
    if joined:
        tests.append(("alone", joined))
    for corpus in corpora:
        if not any(corpus in test for _, test in tests):
            there = ", ".join(dict.fromkeys(name for _, test in tests for name in test)) or "none"
            raise ComparisonError(f"no run was tested on {corpus!r}; there are {there}")
    columns = []
    for run, test in tests:
        for name in ("disjoint", "merged"):
            reports = [test.get(corpus, {}) for corpus in corpora]
            mean = "-"
            if all(report.get(name) for report in reports):
                mean = percent(fmean(report[name]["overall"]["f1"] for report in reports))
            columns.append([f"{run}: {name}", *(f1_cell(report, name) for report in reports), mean])
    header, *rows = zip(["corpus", *corpora, "mean"], *columns, strict=True)
    return DISJOINT_AND_MERGED + "\n" + markdown_table(list(header), [list(row) for row in rows]) + "\n"


def build_groups(groups: dict[str, list[Path]]) -> str:
    """A Markdown table with a row per setting, and a column for each corpus and, where it has several, each of its types.

    Args:
        groups: setting → output folders of its finished runs, on any corpora and with any seeds.
    Raises:
        ResultsError: not the folder of a finished run.
        ComparisonError: two runs of a setting with the same corpus and seed, or no tested corpus at all.
    """
    found: dict[str, dict[tuple[str, str], dict[int, float]]] = {}
    unlike: dict[str, list[str]] = {}  # setting → what its runs on one corpus differ in, but for the seed
    for group, runs in groups.items():
        scores = found.setdefault(group, {})
        read = {run: read_results(run) for run in runs}
        for corpus in dict.fromkeys(corpus for result in read.values() for corpus in result.test):
            unlike.setdefault(group, []).extend(differing([r for r in read.values() if corpus in r.test]))
        for run, result in read.items():
            seed = result.settings["seed"]
            for corpus, report in result.test.items():
                for name, row in {"": report["overall"], **report["per_type"]}.items():
                    cell = scores.setdefault((corpus, name), {})
                    if seed in cell:
                        raise ComparisonError(
                            f"--group {group}: {run} is not its only run on {corpus} with seed {seed}"
                        )
                    cell[seed] = row["f1"]
    columns = list(dict.fromkeys(key for scores in found.values() for key in scores))
    if not columns:
        raise ComparisonError("--group: none of the runs was tested on any corpus")
    types = Counter(corpus for corpus, name in columns if name)
    columns = [(corpus, name) for corpus, name in columns if not name or types[corpus] > 1]
    rows = [[group, *(_mean(scores.get(key, {})) for key in columns)] for group, scores in found.items()]
    counts = {len(cell) for scores in found.values() for cell in scores.values()}
    if counts == {1}:
        numbers = {seed for scores in found.values() for cell in scores.values() for seed in cell}
        listed = ", ".join(map(str, sorted(numbers)))
        seeds = f"One seed ({listed})." if len(numbers) == 1 else f"One run each, with different seeds ({listed})."
    else:
        seeds = "Means ± standard deviations over seeds, how many in brackets."
    for group, names in unlike.items():
        seeds += f" Runs of {group} differ in {', '.join(dict.fromkeys(names))}, too." if names else ""
    header = ["setting", *(f"{corpus}: {name}" if name else corpus for corpus, name in columns)]
    return GROUPS.format(seeds=seeds) + "\n" + markdown_table(header, rows) + "\n"


def _mean(cell: dict[int, float]) -> str:
    """Mean F1 ± standard deviation (number of seeds); of one seed its F1."""
    if len(cell) < 2:
        return percent(next(iter(cell.values()), None))
    return f"{percent(fmean(cell.values()))} ± {percent(stdev(cell.values()))} ({len(cell)})"


def build_choices(runs: list[Path], corpus: str) -> str:
    """A Markdown table with the settings in which runs differ and their validation figures, a row per run.

    Args:
        runs: output folders of finished runs, the reference first.
        corpus: the validation corpus.
    Raises:
        ResultsError: not the folder of a finished run. ComparisonError: a run was not validated on the corpus.
    """
    results = [read_results(run, corpus, "validation") for run in runs]
    settings = [result.settings for result in results]
    names = dict.fromkeys(name for own in settings for name in own)
    unlike = [n for n in names if len({str(own.get(n)) for own in settings}) > 1]
    rows = []
    for own, result in zip(settings, results, strict=True):
        changed = [f"{n} {own.get(n, 'default')}" for n in unlike if own.get(n) != settings[0].get(n)]
        rows.append([", ".join(changed) or "reference", *_prf(result.validation[corpus]["overall"])])
    sizes = {(r.validation[corpus]["documents"], r.validation[corpus]["overall"]["support"]) for r in results}
    if len(sizes) > 1:
        raise ComparisonError(
            f"the runs were validated on different {corpus} documents: (number, mentions) {sorted(sizes)}"
        )
    documents, support = sizes.pop()
    lasting = {(own.get("max_steps"), own.get("num_train_epochs")) for own in settings}
    steps, epochs = lasting.pop()
    same = "" if lasting else f", after {steps} updates" if steps else f", after {epochs} epochs"
    same += f" with seed {settings[0]['seed']}" if "seed" not in unlike else ""
    text = CHOICES.format(corpus=corpus, documents=documents, support=support, same=same)
    return text + "\n" + markdown_table(["setting", "P", "R", "F1"], rows) + "\n"


def build_errors(runs: list[Path], corpus: str, split: str = "test") -> str:
    """A Markdown table of the false positives by cause (`metrics.error_split`), a row per run.

    Args:
        runs: output folders of finished runs.
        corpus: the corpus.
        split: of its documents, "test" or "validation".
    Raises:
        ResultsError: not the folder of a finished run.
        ComparisonError: a run was not measured on the corpus, or is older than these figures.
    """
    parts = ("category", "span", "boundary", "both", "spurious")
    shares = ("span_share_of_false_positives", "span_share_of_predictions")
    rows = []
    for name, run in zip(run_names(runs), runs, strict=True):
        found = read_results(run, corpus, split).report(corpus, split).get("errors")
        if found is None:
            raise ComparisonError(
                f"{run}: its results.json is older than the figures of errors; to have them, measure the model again with "
                "the data of the run: `run_ner.py --model_name_or_path …` into another --output_dir"
            )
        wrong = found["false_positives"]
        counts = [found["support"], found["predicted"], wrong["total"], *(wrong[part] for part in parts)]
        rows.append([name, *counts, *(percent(found[share]) for share in shares)])
    header = ["run", "gold", "predictions", "false positives", *parts]
    header += ["span errors of false positives", "span errors of predictions"]
    return ERRORS.format(split=split, corpus=corpus) + "\n" + markdown_table(header, rows) + "\n"


def build_relaxed(runs: list[Path], corpus: str, split: str = "test") -> str:
    """A Markdown table of relaxed and unseen F1 (`training.relaxed`): a row per run, and one for each of its types.

    Args, Raises:
        as `build_errors`, but that older runs have cells without a figure.
    """
    rows = []
    for run, called in zip(runs, run_names(runs), strict=True):
        report = read_results(run, corpus, split).report(corpus, split)
        names = [None, *report["per_type"]] if len(report["per_type"]) > 1 else [None]
        rows += [[called, name or "all", *relaxed_cells(report, name)] for name in names]
    header = ["run", "type", "exact", *RELAXED]
    return RELAXED_SCORES.format(split=split, corpus=corpus) + "\n" + markdown_table(header, rows) + "\n"


def _prf(scores: dict) -> list[str]:
    return [percent(scores[key]) for key in ("precision", "recall", "f1")]


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the table, or prints it."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="output folders of finished runs")
    parser.add_argument("--corpus", help="all figures of one corpus; default: biored, or the only one of all runs")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--corpora", nargs="+", help="instead, disjoint and merged F1 on each of these")
    which.add_argument(
        "--group",
        nargs="+",
        action="append",
        metavar=("NAME", "RUN"),
        help="instead, a row per setting: its name and its runs, on any corpora and seeds; give it once per setting",
    )
    which.add_argument("--choices", action="store_true", help="instead, settings and validation figures of --corpus")
    which.add_argument("--errors", action="store_true", help="instead, the false positives of --corpus by cause")
    which.add_argument("--relaxed", action="store_true", help="instead, relaxed and unseen F1 on --corpus")
    parser.add_argument(
        "--split", choices=("test", "validation"), help="with --errors, --relaxed: of which (default: test)"
    )
    parser.add_argument(
        "--alone",
        nargs="+",
        type=Path,
        default=[],
        help="with --corpora: single-task runs, one per corpus, as one column",
    )
    parser.add_argument("--output", type=Path, help="file to write; default: print")
    options = parser.parse_args(argv)
    groups = {name: [Path(run) for run in runs] for name, *runs in options.group or []}
    if len(groups) < len(options.group or []) or not all(groups.values()):
        parser.error("--group: expected a name, used once, and at least one run after it")
    if groups and options.runs:
        parser.error("with --group each run belongs to a group")
    if not options.runs and not options.alone and not groups:
        parser.error("name at least one finished run")
    if options.alone and not options.corpora:
        parser.error("--alone needs --corpora")
    if options.corpus and (groups or options.corpora):
        parser.error("--corpus has no effect with --group or --corpora; leave it out")
    if options.split and not (options.errors or options.relaxed):
        parser.error("--split needs --errors or --relaxed")
    with one_message("table"):
        check_output(options.output)
        split = "validation" if options.choices else options.split or "test"
        corpus = options.corpus or ("" if options.corpora or groups else common_corpus(options.runs, split))
        if options.corpora:
            table = build_disjoint_and_merged(options.runs, options.corpora, options.alone)
        elif groups:
            table = build_groups(groups)
        elif options.choices:
            table = build_choices(options.runs, corpus)
        elif options.errors:
            table = build_errors(options.runs, corpus, split)
        elif options.relaxed:
            table = build_relaxed(options.runs, corpus, split)
        else:
            table = build_table(options.runs, corpus)
        table = wrapped(table)
        if options.output:
            options.output.write_text(table, encoding="utf-8")
        else:
            sys.stdout.write(table)


if __name__ == "__main__":
    main()
