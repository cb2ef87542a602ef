"""The tables of results, from the cards, written between the marks of a page: models by corpora, and papers beside ours.

mosaic-ner results model_cards/* --page model_cards/README.md
mosaic-ner results model_cards/* --page recipes/README.md
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.markdown import between, markdown_table, wrapped
from mosaic_ner.data_builders.options import specs
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.arguments import RECIPES, Arguments, parse
from mosaic_ner.training.results import Results, ResultsError

from .markdown import percent
from .repeats import PAPERS, Repeat, read_header

NOTE = """F1 in percent on test documents (exact match in characters, micro-averaged, types that the corpus annotates), encoder
{encoder}, training documents of evaluation splits taken out. A mean ± standard deviation has its seeds in brackets; all
other figures are of one seed.{apart} *Copying*: the annotations of training documents with the identical text, had they stayed
in; the largest over the runs."""
APART = " \\*: without the test documents that are in a training corpus."

NOTE_RECIPES = """F1 in percent. *Ours* are runs of exactly the recipe and its options, but for seed and encoder, which is
named; their [cards](../model_cards/README.md) have the rest. A recipe that was changed since its run is "not run". A version
is named where it isn't this one: the same settings may do something else since. Where a recipe differs from its paper, its
first lines say."""
FREE = {"encoder", "seed", "bf16", "fp16", "resume_from_checkpoint"}
"""Settings in which a run may differ from the recipe that it is a run of."""
MISSING = object()


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
    encoders = sorted({_encoder(run) for runs in models.values() for run in runs})
    apart = APART if any(cell.endswith("*") for row in rows for cell in row) else ""
    told = " ".join(NOTE.format(encoder=", ".join(encoders), apart=apart).split())
    return wrapped(told) + "\n\n" + markdown_table(["model", *corpora], [*rows, ["copying, no model", *copying]])


def _encoder(run: Results) -> str:
    return str(run.settings["encoder"]).rpartition("/")[2]


def _name(folder: str, tested) -> str:
    """`joint-ib-minilm-ncbi-all-seed1`, tested on ncbi_disease → `joint-ib-all`."""
    corpora = {*tested, *(corpus.partition("_")[0] for corpus in tested)}
    parts = re.sub(r"-seed\d+$", "", folder).split("-")
    return "-".join(part for part in parts if part not in {*corpora, "minilm"})


def _cell(runs: list[Results], corpus: str) -> str:
    found = [run for run in runs if corpus in run.test]
    scores = [run.test[corpus]["overall"]["f1"] for run in found]
    splits = [run.overlap.get("evaluation", {}).get(f"{corpus}/test", {}) for run in found]
    apart = "\\*" if any(split.get("not_scored") for split in splits) else ""
    if len(scores) < 2:
        return percent(scores[0]) + apart if scores else ""
    return f"{percent(fmean(scores))} ± {percent(stdev(scores))} ({len(scores)}){apart}"


def _copying(runs: list[Results], corpus: str) -> str:
    found = [run.overlap["evaluation"].get(f"{corpus}/test", {}).get("copying") for run in runs if run.overlap]
    return percent(max((row["f1"] for row in found if row), default=None))


def recipes_table(folders: list[Path]) -> str:
    """A row per figure that a recipe repeats (`read_header`), with the figure of the runs that had the recipe's settings.

    Args:
        folders: of cards.
    """
    runs = [Results.read(folder) for folder in sorted(folders)]
    rows = []
    for path in sorted(RECIPES.rglob("*.yaml")):
        name = path.relative_to(RECIPES).with_suffix("").as_posix()
        for repeat in read_header(path).repeats:
            recipe = shlex.join([name, *repeat.options])
            cells = [f"{repeat.paper}, {repeat.table}", repeat.row, repeat.figure or "drawn", f"`{recipe}`"]
            rows.append((repeat, [*cells, _ours(path, repeat, runs)]))
    rows.sort(key=lambda row: (PAPERS.index(row[0].paper), row[0].table))
    header = ["paper", "row", "F1", "recipe", "ours"]
    return wrapped(NOTE_RECIPES) + "\n\n" + markdown_table(header, [cells for _, cells in rows])


def _ours(recipe: Path, repeat: Repeat, runs: list[Results]) -> str:
    arguments = parse([str(recipe), *repeat.options])
    free = FREE - {option.removeprefix("--") for option in repeat.options}
    scores: dict[str, list[float]] = {}
    for run in runs:
        if run.export is None and _same(run.settings, arguments, free) and (f1 := repeat.measured(run)) is not None:
            scores.setdefault(", ".join([_encoder(run), *_version(run)]), []).append(f1)
    return "; ".join(f"{_mean(found)}, {told}" for told, found in sorted(scores.items())) or "not run"


def _version(run: Results) -> list[str]:
    """What a cell says of a run of another version of this package."""
    of = run.versions.get("mosaic-ner")
    return [f"of {of}"] if of not in (None, version("mosaic-ner")) else []


def _same(settings: dict[str, Any], arguments: Arguments, free: set[str]) -> bool:
    """Whether a run's settings are a recipe's, but for the free ones; one that is left out has its default."""
    expected = arguments.settings()
    names = (settings.keys() | expected.keys()) - free
    defaults = {n: spec.default for group in arguments.groups for n, spec in specs(type(group)).items()}
    return all(settings.get(n, defaults.get(n, MISSING)) == expected.get(n, defaults.get(n, MISSING)) for n in names)


def _mean(scores: list[float]) -> str:
    if len(scores) == 1:
        return f"{percent(scores[0])}, one seed"
    return f"{percent(fmean(scores))} ± {percent(stdev(scores))}, {len(scores)} seeds"


TABLES = {"results": results_table, "recipes": recipes_table}
"""The name in the marks `<!-- NAME -->` and `<!-- /NAME -->` → what stands between them."""


def put(page: str, folders: list[Path]) -> str:
    """The page with the tables between their marks.

    Raises:
        UserError: the page has no marks.
    """
    found = [name for name in TABLES if page.count(f"<!-- {name} -->") == page.count(f"<!-- /{name} -->") == 1]
    if not found:
        marks = " or ".join(f"<!-- {name} --> and <!-- /{name} -->" for name in TABLES)
        raise UserError(f"expected the marks {marks} once each in the page; put them where the table is to stand")
    for name in found:
        page = between(page, name, TABLES[name](folders))
    return page


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the tables into a page, or prints the table of models."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cards", nargs="+", type=Path, help="folders with results.json")
    parser.add_argument("--page", type=Path, help="Markdown file with the marks; default: print")
    options = parser.parse_args(argv)
    with one_message("results"):
        if absent := [folder for folder in options.cards if not folder.exists()]:
            raise UserError(f"{absent[0]}: no such folder")
        folders = [folder for folder in options.cards if folder.is_dir()]
        if options.page:
            options.page.write_text(put(options.page.read_text(encoding="utf-8"), folders), encoding="utf-8")
        else:
            sys.stdout.write(results_table(folders) + "\n")
