"""A tagger's ways to answer for texts of its ALL task (AIONER, Table S3): measures them all on a corpus, one row each.

mosaic-ner modes outputs/aioner/paper/biored_all --data_dir D
"""

from __future__ import annotations

import argparse
import sys

from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.training.bundle import restore
from mosaic_ner.training.evaluator import evaluator_for

from .compare import ComparisonError
from .markdown import percent

MODES = ("aio", "ind", "combined")
HEADER = """F1 on the {count} test documents of {corpus}, in percent: exact match, micro-averaged, by tagging mode. *aio*: one
pass under the ALL task's tags. *ind*: a pass under each type's own tags, results united. *combined*: both. Of overlapping
mentions the longest stays. Written by `mosaic-ner modes`.
"""


def measure(model: str, data: DataOptions, corpus: str, batch_size: int = 16) -> tuple[int, dict[str, dict]]:
    """Test documents, and tagging mode → the scores of `Evaluator.evaluate`.

    Args:
        model: folder or Hub id of a trained tagger.
        data: `corpus` is among its test corpora.
        batch_size: windows at a time.
    Raises:
        ComparisonError: the model answers for the corpus in one way only.
    """
    documents = load_run_data(data)
    bundle = restore(model, documents.space)
    config = bundle.model.config
    if not isinstance(config, AIONERConfig) or len(set(map(tuple, config.modes.values()))) < 2:
        raise ComparisonError(f"{model} has no tagging modes; they are those of the family aioner with --scheme aio")
    if bundle.model.tasks_for(corpus, "ind") == bundle.model.tasks_for(corpus, "combined"):
        raise ComparisonError(
            f"{model} answers for {corpus} under the tags of its own types only; modes differ on corpora of the ALL task"
        )
    test = documents.test[corpus]
    reports = {mode: evaluator_for(bundle, documents.space, mode, batch_size).evaluate(test).report for mode in MODES}
    return len(test), reports


def main(argv: list[str] | None = None) -> None:
    """Command line: prints the table."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner modes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a trained tagger: folder or Hub id")
    parser.add_argument("--corpus", default="biored", help="test corpus (default: biored)")
    parser.add_argument("--data_dir", help="folder with the corpus's files; without it they are downloaded")
    parser.add_argument("--mapping", default="aioner", help="column of the label mapping (default: aioner)")
    parser.add_argument("--batch_size", type=int, default=16, help="windows at a time (default: 16)")
    options = parser.parse_args(argv)
    data = DataOptions(test_corpora=[options.corpus], data_dir=options.data_dir, mapping=options.mapping)
    with one_message("modes"):
        count, reports = measure(options.model, data, options.corpus, options.batch_size)
    types = list(next(iter(reports.values()))["per_type"])
    rows = [
        [mode, *(percent(r["f1"]) for r in (report["overall"], *(report["per_type"][t] for t in types)))]
        for mode, report in reports.items()
    ]
    sys.stdout.write(HEADER.format(count=count, corpus=options.corpus) + "\n")
    sys.stdout.write(markdown_table(["mode", "overall", *types], rows) + "\n")


if __name__ == "__main__":
    main()
