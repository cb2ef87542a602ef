"""A trained model in a form that runs without this package's code.

mosaic-ner export outputs/aioner/biored_stock --format stock --output outputs/stock --compare biored --split test

`stock`: a softmax tagger as the encoder's own token classification class, for the stock pipeline, the hosted widget and other
tools. Of a tagger with a CRF, `--emissions` exports the label scores without it: other mentions, which `--compare` scores.

`--compare` predicts a corpus with the model and with the export, and writes comparison.json and comparison.md, with the F1 of
both. A difference between the export and the model's label scores ends with exit code 1. A stock export of a run's folder gets
the run's results.json, too, with what was exported and compared under "export", and the model card made from it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.markdown import wrapped
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import TEST, VALIDATION, load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.prediction.folders import trained_folder
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.features import in_shared_types
from mosaic_ner.training.metrics import score_mentions
from mosaic_ner.training.results import RESULTS, Results, versions, without_local_paths, write_json

from .card import card_text
from .export_check import ExportError, Predict, TextPart, as_table, compare, parts_of
from .export_readme import counts, readings, readme
from .stock import StockPredictor, TokenByToken, check_stock, export_stock
from .stride import stride_for

logger = logging.getLogger(__name__)


def compare_stock(model, tokenizer, folder: Path, task: str, documents: list[Document]) -> dict:
    """The stock pipeline on an export against the model, asked for the same task.

    Returns:
        the task and the lengths, and under `compared`, `whole_text` and `with_stride` what `export_check.compare` returns.
        compared: every text in parts that both read whole, cut at sentence ends. The original's labels are read token by
            token, as the pipeline reads them, so that any difference is one of the export.
        units: the same with what the original answers, whose mentions begin and end with units.
        in_parts: ids of documents that need several parts.
        whole_text: whole documents, as a user of the widget gives them. It also has `truncated`, the ids of those that the
            pipeline reads in part, `unread_characters`, and `unread_mentions`, those of the original beyond what is read.
        with_stride: the truncated documents, read in stretches that share `stride` tokens; None without any.
        scores: reader → precision, recall and F1 on whole documents; None for a corpus that the model doesn't know.
    """
    own, plain = MentionPredictor(model, tokenizer), TokenByToken(model, tokenizer)
    pipeline = StockPredictor(folder)
    stock, longest = _remembering(pipeline), pipeline.pipeline.tokenizer.model_max_length
    config = model.config

    original = _remembering(lambda texts: own(texts, [config.task(task)]))

    windower = Windower(
        tokenizer,
        min(config.max_tokens, longest),
        config.num_special_tokens,
        config.window_overlap if longest >= config.max_tokens else None,
        config.packing,
    )
    parts = [part for document in documents for part in parts_of(document, windower)]
    whole = [TextPart(d.id, 0, d.text, True) for d in documents]
    read = [pipeline.reads(d.text) for d in documents]
    cut = [part for part, end in zip(whole, read, strict=True) if end is not None]
    found = original([part.text for part in cut])
    ends = [end for end in read if end is not None]
    report = {
        "task": task,
        "aggregation_strategy": "simple",
        "max_tokens": config.max_tokens,
        "model_max_length": longest,
        "compared": compare(lambda texts: plain(texts, [config.task(task)]), stock, parts),
        "units": compare(original, stock, parts),
        "in_parts": list(dict.fromkeys(part.document for part in parts if not part.whole)),
        "whole_text": compare(original, stock, whole)
        | {
            "truncated": [part.document for part in cut],
            "unread_characters": sum(len(part.text) - end for part, end in zip(cut, ends, strict=True)),
            "unread_mentions": sum(m.end > end for row, end in zip(found, ends, strict=True) for m in row),
        },
        "stride": None,
        "with_stride": None,
    }
    readers = {"original": original, "export": stock}
    if cut:
        report["stride"] = stride_for(longest)
        readers["export with stride"] = in_stretches = _remembering(StockPredictor(folder, report["stride"]))
        report["with_stride"] = compare(original, in_stretches, cut)
    if model.crf is not None:  # whose scores alone cut words into pieces, which the other ways of joining tokens mend
        readers |= {f"export by {way}": StockPredictor(folder, strategy=way) for way in ("first", "average", "max")}
    return report | {"scores": _scores(readers, documents, config.labels, config.task(task).types)}


def _remembering(read: Predict) -> Predict:
    """The same, asking for each text once."""
    known: dict[str, list[Mention]] = {}

    def ask(texts: list[str]) -> list[list[Mention]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, read(new), strict=True))
        return [known[text] for text in texts]

    return ask


def _scores(readers: dict, documents: list[Document], space: LabelSpace, types) -> dict | None:
    """Exact-match scores of each reader, over the types that a document annotates and the task looks for."""
    if any(d.corpus not in space.corpora for d in documents):
        return None
    scored = [set(space.annotated_shared_types(d)) & set(types) for d in documents]

    def own(rows: list[list[Mention]]) -> list[list[Mention]]:
        return [[m for m in row if m.type in kinds] for row, kinds in zip(rows, scored, strict=True)]

    gold, texts = own([in_shared_types(d, space).mentions for d in documents]), [d.text for d in documents]
    return {
        name: score_mentions(gold, own(read(texts)), set().union(*scored))["overall"] for name, read in readers.items()
    }


def run(options: argparse.Namespace) -> dict | None:
    """Exports, and compares where asked to.

    Returns:
        the comparison, JSON-ready.
    Raises:
        UserError: a model, a corpus or a folder that can't be taken.
    """
    folder: Path = options.output
    _check_folder(folder)
    model, tokenizer = load(options.model)
    check_stock(model.config, options.task, options.emissions)
    results, choices = _results(options.model)
    documents = _documents(options) if options.compare else []
    _make(folder)
    facts = export_stock(model, tokenizer, folder, options.task, options.emissions)
    logger.info("written to %s: %s", folder, ", ".join(sorted(p.name for p in folder.iterdir())))
    facts["name"] = folder.resolve().name
    name = Path(options.model).resolve().name if Path(options.model).exists() else options.model
    report = None
    if options.compare:
        settings = {"format": options.format, "model": name, "corpus": options.compare, "split": options.split}
        settings |= {"data_dir": options.data_dir, "documents": len(documents)}
        report = compare_stock(model, tokenizer, folder, facts["task"], documents)
        report = without_local_paths(settings) | report | {"versions": versions()}
        write_json(folder / "comparison.json", report)
        (folder / "comparison.md").write_text(summary(report), encoding="utf-8")
    if results is None:
        text = readme(facts, report)
    else:
        replace(results, export=about_export(model, facts, results, report), document_f1={}).write(folder)
        if choices:
            (folder / "choices.md").write_text(choices, encoding="utf-8")
        text = card_text(folder)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return report


def about_export(model, facts: dict, results: Results, report: dict | None) -> dict:
    """What results.json says of a stock export under "export".

    Returns:
        format: "stock". Then `facts` (see `export_stock`) without the name.
        same_task: measured corpora that the original answered by the export's task alone; only their figures say something of
            the export.
        comparison: `counts` of the report, or None.
    """
    mode = results.settings.get("prediction_mode")
    measured = dict.fromkeys([*results.test, *results.validation])
    own = {name: value for name, value in facts.items() if name != "name"}
    asked = {corpus: [task.name for task in model.tasks_for(corpus, mode)] for corpus in measured}
    same = [corpus for corpus, names in asked.items() if names == [facts["task"]]]
    return {"format": "stock", **own, "same_task": same, "comparison": report and counts(report)}


def summary(report: dict) -> str:
    """A comparison as Markdown."""
    lines = [
        f"# {report['model']} and its {report['format']} export",
        "",
        f"Mentions on the {report['documents']} {report['split']} documents of {report['corpus']}, compared by start, end and "
        "type. Written by `mosaic-ner export --compare`.",
        "",
        as_table(report),
        "",
        *readings(counts(report)),
        "",
    ]
    return wrapped("\n".join(lines))


def _results(model: str) -> tuple[Results | None, str]:
    """results.json and choices.md of the model's folder, None and "" where they aren't there.

    Raises:
        ResultsError, CardError: no card can be made of them; told before the export is written and compared.
    """
    folder = trained_folder(model, "--model_name_or_path")
    if not (folder / RESULTS).exists():
        return None, ""
    card_text(folder)
    choices = folder / "choices.md"
    return Results.read(folder), choices.read_text(encoding="utf-8") if choices.exists() else ""


def _documents(options: argparse.Namespace) -> list[Document]:
    named = {"validation_corpora" if options.split == VALIDATION else "test_corpora": [options.compare]}
    data = load_run_data(
        DataOptions(corpora=[options.compare], data_dir=options.data_dir, cache_dir=options.cache_dir, **named)
    )
    splits = data.validation if options.split == VALIDATION else data.test
    return [document for documents in splits.values() for document in documents]


def _check_folder(folder: Path) -> None:
    """Raises ExportError unless the folder is empty or can be made: what is in another would be taken for the export's."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"--output: {str(folder)!r} is not an empty folder; name a new one")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"--output: {str(folder)!r} can't be made a folder ({error.strerror})") from error


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the export, and prints the comparison."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id of a trained model")
    parser.add_argument("--format", choices=("stock",), required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write, new or empty")
    parser.add_argument("--task", help="the task that the export answers; default: the model's first default one")
    parser.add_argument(
        "--emissions", action="store_true", help="leave a CRF out: its label scores alone, other mentions"
    )
    parser.add_argument("--compare", metavar="CORPUS", help="predict this corpus with both, by name; or demo")
    parser.add_argument("--split", choices=(TEST, VALIDATION), help="with --compare (default: test)")
    parser.add_argument("--data_dir", help="with --compare: folder with the corpus's files; else they are downloaded")
    parser.add_argument("--cache_dir", help="with --compare: cache of the built corpus; default: that of datasets")
    options = parser.parse_args(argv)
    for name in ("split", "data_dir", "cache_dir"):
        if getattr(options, name) and not options.compare:
            parser.error(f"--{name} needs --compare")
    options.split = options.split or TEST
    log_progress()
    with one_message("export"):
        report = run(options)
    if report is not None:
        sys.stdout.write(summary(report))
        if report["compared"]["differences"]:
            sys.stderr.write(f"export: {report['compared']['differences']} mentions differ, see comparison.json\n")
            sys.exit(1)


if __name__ == "__main__":
    main()
