"""The model card, generated from results.json; never typed by hand."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TEMPLATE = Path(__file__).with_name("card_template.md")
CORPORA_PATH = Path(__file__).with_name("card_corpora.md")
"""Title, licence and BibTeX of each corpus, written by `python -m mosaic_ner.hub.publish_data --write_card_corpora`."""


def build_card(results: dict, name: str, choices: str = "") -> ModelCard:
    """The card of a run.

    Args:
        results: content of results.json.
        name: the model's name.
        choices: a table of what else was tried (Markdown), as `hub.table --choices` writes.
    """
    # A run without test documents is described by its validation figures, under that name.
    measured = results["test"] or results["validation"]
    evaluations = [
        EvalResult(
            task_type="token-classification",
            task_name="Named Entity Recognition",
            dataset_type=corpus,
            dataset_name=corpus,
            dataset_split="test",
            metric_type="f1",
            metric_name="micro-F1 (exact match)",
            metric_value=round(report["overall"]["f1"], 4),
        )
        for corpus, report in results["test"].items()
    ]
    encoder = results["settings"]["encoder"]
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["biomedical", "named-entity-recognition", "mosaic-ner", results["settings"]["family"]],
        base_model=encoder if _HUB_ID.fullmatch(encoder) else None,
        metrics=["f1", "precision", "recall"],
        model_name=name,
        eval_results=evaluations or None,
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        model_name=name,
        family=results["settings"]["family"],
        encoder=encoder,
        seed=results["settings"]["seed"],
        tested=bool(results["test"]),
        scores=_scores(measured),
        per_type=_per_type(measured),
        own_types=_own_types(measured),
        merged=_disjoint_and_merged(measured),
        nested=_nested(measured),
        errors=_errors(measured),
        choices=choices.strip(),
        training=_training(results),
        coverage=_coverage(results["coverage"]),
        overlap=_overlap(results["overlap"]),
        settings=_pairs(results["settings"]),
        versions=_pairs(results["versions"]),
        resumed="resume_from_checkpoint" in results["settings"],
        seconds=_pairs({k: round(v, 1) for k, v in results["seconds"].items()}),
    )


def card_text(folder: Path) -> str:
    """The card of a run's folder: from its results.json and, where it is there, the table in `choices.md`."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    table = folder / "choices.md"
    choices = table.read_text(encoding="utf-8") if table.exists() else ""
    return str(build_card(results, folder.resolve().name, choices)) + "\n"


def write_card(folder: Path) -> None:
    """Writes `README.md` beside the folder's results.json."""
    (folder / "README.md").write_text(card_text(folder), encoding="utf-8")


def markdown_table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; cells are printed as they are."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


def _percent(row: dict) -> list[str]:
    return [f"{100 * row[k]:.2f}" for k in ("precision", "recall", "f1")] + [str(row["support"]), str(row["predicted"])]


def _scores(test: dict) -> str:
    rows = [[corpus, *_percent(report["overall"])] for corpus, report in test.items()]
    return markdown_table(["corpus", "P", "R", "F1", "gold", "predicted"], rows)


def _per_type(test: dict) -> str:
    rows = [
        [corpus, name, *_percent(row)] for corpus, report in test.items() for name, row in report["per_type"].items()
    ]
    return markdown_table(["corpus", "type", "P", "R", "F1", "gold", "predicted"], rows)


def _own_types(test: dict) -> str:
    """Scores in the corpora's own types, where the model knows them and they aren't the shared ones."""
    reports = {
        c: r for c, r in test.items() if r.get("disjoint") and set(r["disjoint"]["per_type"]) != set(r["per_type"])
    }
    rows = [
        [corpus, name, *_percent(row)]
        for corpus, report in reports.items()
        for name, row in {"all": report["disjoint"]["overall"], **report["disjoint"]["per_type"]}.items()
    ]
    return markdown_table(["corpus", "its own type", "P", "R", "F1", "gold", "predicted"], rows) if rows else ""


def f1_cell(report: dict, name: str) -> str:
    """F1 in percent of a corpus's `disjoint` or `merged` scores; "-" where the run has none."""
    scores = report.get(name)
    return f"{100 * scores['overall']['f1']:.2f}" if scores else "-"


def _disjoint_and_merged(test: dict) -> str:
    rows = [[c, f1_cell(r, "disjoint"), f1_cell(r, "merged")] for c, r in test.items() if "merged" in r]
    return markdown_table(["corpus", "disjoint: F1", "merged: F1"], rows) if rows else ""


def _nested(test: dict) -> str:
    rows = {corpus: report["nested"] for corpus, report in test.items() if "nested" in report}
    return ", ".join(f"{c} {100 * r['recall']:.2f}% ({r['found']} of {r['support']})" for c, r in rows.items())


def _errors(test: dict) -> str:
    """The false positives and the misses by cause, where the results have them (those of earlier versions don't)."""
    rows = []
    for corpus, report in test.items():
        if split := report.get("errors"):
            for what, apart in (("false_positives", "spurious"), ("missed", "unseen")):
                counts = [split[what][key] for key in ("total", "category", "span", "boundary", "both", apart)]
                rows.append([corpus, what.replace("_", " "), *counts])
    header = ["corpus", "errors", "number", "category", "span", "boundary", "both", "nothing there"]
    return markdown_table(header, rows) if rows else ""


def _training(results: dict) -> str:
    rows = [[c, r["documents"], r["mentions"]] for c, r in results.get("data", {}).get("train", {}).items()]
    return markdown_table(["corpus", "training documents", "mentions"], rows) if rows else "Trained elsewhere."


def _coverage(coverage: dict) -> str:
    header = ["corpus", "mentions", "representable by tokens and windows", "by the labels too", "lost by cause"]
    rows = []
    for corpus, row in coverage.items():
        causes = ", ".join(f"{count} {cause}" for cause, count in row["lost"].items()) or "-"
        shares = [f"{100 * row[key]:.2f}%" for key in ("share_in_windows", "share")]
        rows.append([corpus, row["mentions"], *shares, causes])
    return markdown_table(header, rows)


def _overlap(overlap: dict) -> str:
    rows = [
        [c, r["documents"], r["found"], "kept" if overlap["kept"] else "removed"]
        for c, r in overlap["training"].items()
    ]
    training = markdown_table(["training corpus", "documents", "in an evaluation split", "what was done"], rows)
    rows = []
    for name, row in overlap["evaluation"].items():
        scores = row.get("copying", {})  # results of earlier versions have none
        figures = [f"{100 * scores[key]:.2f}" if scores else "-" for key in ("precision", "recall", "f1")]
        counts = [row[key] for key in ("documents", "covered", "mentions", "mentions_in_training")]
        rows.append([name, *counts, *figures])
    header = ["evaluation split", "documents", "in a training corpus", "mentions", "annotated alike there"]
    evaluation = markdown_table([*header, "copying: P", "R", "F1"], rows)
    return f"""{training}

What the training files hold of each evaluation split, before anything was removed. *Copying* is what one would score there
without a model, by repeating the annotations of training documents with the identical text.

{evaluation}"""


def _pairs(values: dict) -> str:
    return "\n".join(f"- {key}: `{value}`" for key, value in values.items())


def main(argv: list[str] | None = None) -> None:
    """`python -m mosaic_ner.hub.card FOLDER …`: writes the card of each folder again from its results.json."""
    parser = argparse.ArgumentParser(description="Generate model cards from results.json.")
    parser.add_argument("folder", nargs="+", type=Path)
    for folder in parser.parse_args(argv).folder:
        write_card(folder)
        sys.stdout.write(f"{folder / 'README.md'}\n")


if __name__ == "__main__":
    main()
