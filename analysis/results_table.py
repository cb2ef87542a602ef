"""Model × corpus: F1 on test documents, over seeds, from the cards; written between the marks of a page.

mosaic-ner results model_cards/* --page README.md
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from statistics import fmean, stdev

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.results import Results, ResultsError

from .markdown import percent

BEGIN, END = "<!-- results -->", "<!-- /results -->"
NOTE = """F1 in percent on test documents (exact match in characters, micro-averaged, types that the corpus annotates), encoder
all-MiniLM-L6-v2, training documents of evaluation splits taken out. A mean ± standard deviation has its seeds in brackets; all
other figures are of one seed. *Copying*: the annotations of training documents with the identical text, had they stayed in."""


def results_table(folders: list[Path]) -> str:
    """A row per model, a column per test corpus. Runs are of one model if their folders' names differ only in `-seed<n>`, the
    encoder, and the corpus.

    Args:
        folders: of cards; those without test figures or with the overlap kept are left out.
    """
    models: dict[str, list[Results]] = {}
    for folder in sorted(folders):
        results = Results.read(folder)
        if results.test and not results.overlap.get("kept") and results.export is None:
            models.setdefault(_name(folder.name, results.test), []).append(results)
    if not models:
        raise ResultsError("no card with test figures and without overlap; expected folders such as model_cards/*")
    corpora = sorted({corpus for runs in models.values() for run in runs for corpus in run.test})
    rows = [[name, *(_cell(runs, corpus) for corpus in corpora)] for name, runs in models.items()]
    copying = [_copying([run for runs in models.values() for run in runs], corpus) for corpus in corpora]
    return wrapped(NOTE) + "\n\n" + markdown_table(["model", *corpora], [*rows, ["copying, no model", *copying]])


def _name(folder: str, tested) -> str:
    """`joint-ib-minilm-ncbi-all-seed1`, tested on ncbi_disease → `joint-ib-all`."""
    corpora = {*tested, *(corpus.partition("_")[0] for corpus in tested)}
    parts = re.sub(r"-seed\d+$", "", folder).split("-")
    return "-".join(part for part in parts if part not in {*corpora, "minilm"})


def _cell(runs: list[Results], corpus: str) -> str:
    scores = [run.test[corpus]["overall"]["f1"] for run in runs if corpus in run.test]
    if len(scores) < 2:
        return percent(scores[0]) if scores else ""
    return f"{percent(fmean(scores))} ± {percent(stdev(scores))} ({len(scores)})"


def _copying(runs: list[Results], corpus: str) -> str:
    found = [run.overlap["evaluation"].get(f"{corpus}/test", {}).get("copying") for run in runs if run.overlap]
    return percent(max((row["f1"] for row in found if row), default=None))


def put(page: str, table: str) -> str:
    """The page with the table between its marks.

    Raises:
        UserError: the page has no marks.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise UserError(
            f"expected the marks {BEGIN} and {END} once each in the page; put them where the table is to stand"
        )
    return page[: page.index(BEGIN) + len(BEGIN)] + f"\n{table}\n" + page[page.index(END) :]


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the table into a page, or prints it."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cards", nargs="+", type=Path, help="folders with results.json")
    parser.add_argument("--page", type=Path, help="Markdown file with the marks; default: print")
    options = parser.parse_args(argv)
    with one_message("results"):
        table = results_table([folder for folder in options.cards if folder.is_dir()])
        if options.page:
            options.page.write_text(put(options.page.read_text(encoding="utf-8"), table), encoding="utf-8")
        else:
            sys.stdout.write(table + "\n")
