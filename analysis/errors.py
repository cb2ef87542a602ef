"""The errors of a finished run, each in its sentence: a page by cause, type, corpus, length and what training held.

mosaic-ner errors outputs/multi --data_dir D --output errors.html
mosaic-ner errors outputs/multi --against outputs/single --corpus biored --data_dir D --output errors.html

The documents are read again as the run's settings say, and predicted again. Two runs stand side by side, with what only one
of them gets wrong. --page writes the tables between the marks `<!-- errors -->` and `<!-- /errors -->` of a Markdown file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mosaic_ner.data_builders.console import check_output, log_progress, one_message
from mosaic_ner.data_builders.markdown import between, wrapped
from mosaic_ner.data_builders.options import DataOptions, specs
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document
from mosaic_ner.prediction.integrity import check_folder
from mosaic_ner.prediction.options import default_model
from mosaic_ner.training.bundle import restore
from mosaic_ner.training.evaluator import evaluator_for
from mosaic_ner.training.relaxed import Seen
from mosaic_ner.training.results import Results

from .compare import ComparisonError, read_results
from .errors_page import Answered, html, markdown

FILES = ("train_file", "validation_file", "test_file", "extra_mapping")
"""Settings that name a file; results.json keeps their last part only."""


def data_of_run(results: Results, data_dir: str | None) -> DataOptions:
    """How a run's documents are read, from its settings.

    Args:
        data_dir: folder with the corpora's files, and with the user's own ones.
    """
    own = {name: value for name, value in results.settings.items() if name in specs(DataOptions)}
    for name in FILES:
        if name in own:
            own[name] = str(Path(data_dir or ".") / own[name])
    options = DataOptions(**own, data_dir=data_dir)
    options.check()
    return options


def answer_again(
    run: Path, corpora: list[str] | None, split: str, data_dir: str | None, batch_size: int = 16
) -> Answered:
    """What a run's model says of the documents on which it was measured.

    Args:
        run: folder of a finished run, with its model. corpora: of them; None: all on which it was measured.
        split: "test" or "validation".
    Raises:
        ResultsError, ComparisonError: not a finished run, or not measured there. UserError: no model, or other data.
    """
    results = read_results(run)
    measured = {"test": results.test, "validation": results.validation}[split]
    for corpus in corpora or []:
        read_results(run, corpus, split)
    if not (corpora or measured):
        raise ComparisonError(f"{run} was measured on no {split} documents; expected a run with {split} figures")
    check_folder(run)  # reading the corpora takes longer
    data = load_run_data(data_of_run(results, data_dir), results.settings["seed"], results.completion is not None)
    documents = {"test": data.test, "validation": data.validation}[split]
    # Figures that `publish --measured` added are of documents that the run's own settings don't read.
    chosen = corpora or [corpus for corpus in measured if corpus in documents]
    if missing := [corpus for corpus in chosen or measured if corpus not in documents]:
        raise ComparisonError(
            f"the run's settings read no {split} documents of {', '.join(missing)}, but of {', '.join(documents) or 'none'}; "
            "name their folder with --data_dir, or others with --corpus"
        )
    bundle = restore(str(run), data.space)
    evaluator = evaluator_for(bundle, data.space, results.settings.get("prediction_mode"), batch_size)
    gold: list[Document] = []
    predicted: list[Document] = []
    notes = [f"{corpus}: measured apart from the run" for corpus in measured if not corpora and corpus not in chosen]
    for corpus in chosen:
        found = evaluator.evaluate(documents[corpus])
        gold += found.gold
        predicted += found.predicted
        now, then = (100 * report["overall"]["f1"] for report in (found.report, measured[corpus]))
        agree = "as in" if round(now, 2) == round(then, 2) else f"but {then:.2f} in"
        notes.append(f"{corpus}: F1 {now:.2f}, {agree} results.json")
    seen = Seen.of(data.train)
    return Answered(run.absolute().name, gold, predicted, seen, notes)


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the page."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="folder of a finished run; default: the model in the box")
    parser.add_argument("--against", type=Path, help="another run, to stand beside it")
    parser.add_argument("--corpus", nargs="+", help="only these of the corpora on which the run was measured")
    parser.add_argument(
        "--split", choices=("test", "validation"), default="test", help="which documents (default: test)"
    )
    parser.add_argument("--data_dir", help="folder with the corpora's files; without it they are downloaded")
    parser.add_argument("--output", type=Path, help="page to write (HTML, one file); without it the tables are printed")
    parser.add_argument("--page", type=Path, help="Markdown file with the marks; gets the tables")
    options = parser.parse_args(argv)
    log_progress()
    with one_message("errors"):
        run = options.run or Path(default_model())
        runs = [run, options.against] if options.against else [run]
        # A page may be made anew.
        files = [path for folder in runs for path in folder.glob("*") if path.suffix != ".html"]
        check_output(options.output, page=options.page, mark="errors", inputs=files)
        found = [answer_again(folder, options.corpus, options.split, options.data_dir) for folder in runs]
        tables = wrapped(markdown(found, options.split))
        if options.output:
            options.output.write_text(html(found, options.split), encoding="utf-8")
        if options.page:
            text = options.page.read_text(encoding="utf-8")
            options.page.write_text(between(text, "errors", tables), encoding="utf-8")
        if not (options.output or options.page):
            sys.stdout.write(tables + "\n")


if __name__ == "__main__":
    main()
