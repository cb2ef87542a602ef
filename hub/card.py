"""The model card, generated from results.json; never typed by hand."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from mosaic_ner.analysis.markdown import RELAXED, REMARKS_LEFT_OUT, f1_cell, relaxed_cells
from mosaic_ner.data_builders.console import one_message
from mosaic_ner.data_builders.corpora import CORPORA, NO_LICENCE
from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.prediction.integrity import CHECKSUMS
from mosaic_ner.training import families
from mosaic_ner.training.results import RESULTS, Results

from .examples import EXAMPLES, examples_of, shown
from .export_readme import comparison, fits, readings, stock_notes
from .notes import notes

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TEMPLATE = Path(__file__).with_name("card_template.md")

SOFTWARE = """@software{mosaic_ner,
  title = {mosaic-ner: biomedical named entity recognition learnt from many corpora that disagree},
  author = {{mosaic-ner developers}},
  version = {VERSION}
}"""


STOCK = "token_classification"
"""The family of models of transformers' own classes, without code of this package."""

DEMO = "demo_"
"""How the names of these begin."""


class CardError(UserError):
    """Results without what a card says."""


def build_card(
    results: Results,
    name: str,
    datasets: Iterable[str] = (),
    choices: str = "",
    limits: str = "",
    seeds: str = "",
    left_out: str = "",
    speed: str = "",
    answer: Callable[[str], list[dict]] | None = None,
) -> ModelCard:
    """The card of a run.

    Args:
        results: of the run; of a stock export with `export`.
        name: the model's name, a Hub id (`owner/model`) where it has one: it is in the code that loads the model.
        datasets: Hub ids of the training corpora, as far as they have one, for the metadata.
        choices: a table of what else was tried (Markdown), as `mosaic-ner table --choices` writes.
        limits: what the model gets wrong, with examples (Markdown).
        seeds: figures of the same run with other seeds (Markdown).
        left_out: figures on corpora that were left out of training (Markdown).
        speed: F1 and time in each precision (Markdown).
        answer: what the model finds in a text, for the outputs of the widget's examples; None: without them.
    """
    # A run without test documents is described by its validation figures, under that name.
    split, reports = results.measured
    measured, settings, export = reports, results.settings, results.export
    others = []
    if export:  # which has one answer, and figures of others say nothing about it
        others = [corpus for corpus in measured if corpus not in export["same_task"]]
        measured = {corpus: report for corpus, report in measured.items() if corpus not in others}
    types = sorted(export["types"]) if export else _types(measured)
    encoder, family = settings["encoder"], settings["family"]
    trained = results.trained
    generated = all(corpus.startswith(DEMO) for corpus in trained or reports)
    examples = examples_of(types, generated)
    own = _own_figures(measured, split, results) if export else measured
    base_model = encoder if _HUB_ID.fullmatch(encoder) else None
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["biomedical", "biology", "medical", "named-entity-recognition", "ner", "mosaic-ner", family],
        base_model=base_model,
        datasets=list(datasets) or None,
        metrics=["f1", "precision", "recall"],
        model_name=name.rpartition("/")[2],
        eval_results=_model_index(own, split, settings) or None,
        **({"base_model_relation": "finetune"} if base_model else {}),
        **({"widget": [shown(text, title, answer) for text, title in examples]} if examples else {}),
    )
    about = families.family(family).FACTS if family in families.names() else families.Facts("", "")
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=name.rpartition("/")[2],
        model_name=name,
        family=family,
        idea=about.idea,
        stock=family == STOCK or export is not None,
        export=_export(export, list(own)) if export else None,
        others=", ".join(others),
        measured=bool(measured) or not export,
        encoder=encoder,
        based=base_model is not None,
        seed=settings["seed"],
        types=", ".join(types),
        corpora=", ".join(_about(corpus, settings).get("title", corpus) for corpus in trained),
        example=examples[0][0] if examples else EXAMPLES[0][0],
        tested=split == "test",
        scores=_scores(measured),
        per_type=_per_type(measured),
        own_types="" if export else _own_types(measured),
        merged="" if export else _disjoint_and_merged(measured),
        nested=_nested(measured),
        errors=_errors(measured),
        relaxed=_relaxed(measured),
        choices=choices.strip(),
        limits=limits.strip(),
        seeds=seeds.strip(),
        left_out=left_out.strip(),
        remarks_left_out=REMARKS_LEFT_OUT,
        speed=speed.strip(),
        calibration="" if export else _calibration(measured),  # its scores are the softmax's
        training=_training(trained, settings),
        declared=_declared(trained),
        ignored=_ignored(results.data.get(split, {}), measured),
        unlicensed=", ".join(
            _about(c, settings).get("title", c) for c in trained if _about(c, settings).get("licence") == NO_LICENCE
        ),
        absent=", ".join(c for c in _listed(settings.get("corpora")) if c not in trained) if trained else "",
        completion=_completion(results.completion) if results.completion else "",
        taught=", ".join(
            _about(c, settings).get("title", c) for c in (results.completion or {}).get("learnt_from", ())
        ),
        teachers=", ".join(results.completion["teachers"]) if results.completion else "",
        mask_from=results.completion["mask_from"] if results.completion else None,
        under_bridge=_under_bridge(results.completion or {}),
        coverage=_coverage(results.coverage),
        overlap=_overlap(results.overlap),
        overlap_kept=results.overlap["kept"] and any(r["found"] for r in results.overlap["training"].values()),
        generated=generated,
        overlapping=_overlapping(about, settings),
        settings=_pairs(settings),
        versions=_pairs(results.versions),
        resumed="resume_from_checkpoint" in settings,
        seconds=_pairs({k: round(v, 1) for k, v in results.seconds.items()}),
        citations="\n\n".join(_citations(about, results)),
    )


def card_text(folder: Path) -> str:
    """The card of a run's folder: from its results.json and its `notes`.

    Raises:
        ResultsError: the folder has no results.json of a run.
        CardError: it lacks what a card needs. NotesError: a note can't be put on one.
    """
    results, more = Results.read(folder), notes(folder)
    try:
        return wrapped(f"{build_card(results, folder.resolve().name, **more)}\n")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CardError(f"{folder / RESULTS}: expected the results of a run ({error!r})") from error


def notice(results: Results, name: str) -> str:
    """What goes with the weights as NOTICE: of every corpus that they were learnt from, its licence and its paper."""
    trained = results.trained
    taught = [corpus for corpus in results.learnt_from if corpus not in trained]
    told = "learnt from these corpora" if trained else "learnt elsewhere; these results are of an evaluation"
    told += ", those of its teachers, which labelled texts, among them" if taught else ""
    blocks = [f"{name}: Apache License 2.0.\nThe weights were {told}.\nNo text of a corpus is in this folder."]
    for corpus in [*trained, *taught]:
        about = _about(corpus, results.settings)
        titles = re.findall(r"\b(?:doi|title)\s*=\s*\{(.+)\},?", about.get("citation", ""))
        papers = [re.sub(r"[{}]", "", title) for title in titles]
        blocks.append("\n".join([f"{about.get('title', corpus)}: {about.get('licence', 'own files')}", *papers]))
    return "\n\n".join(blocks) + "\n"


def write_card(folder: Path) -> None:
    """Writes `README.md` beside the folder's results.json."""
    (folder / "README.md").write_text(card_text(folder), encoding="utf-8")


def _about(corpus: str, settings: dict) -> dict[str, str]:
    """The table's row of a corpus, or of the one that it is a part of; empty for the user's own files."""
    part = (settings.get("parts") or {}).get(corpus, {})
    known = CORPORA.get(part.get("of", corpus))
    if known is None:
        return {}
    title = f"part of {known.title}" if part else known.title
    return {"title": title, "licence": known.licence, "citation": known.citation}


def _listed(names) -> dict[str, None]:
    """Corpora named in the settings, in order, as far as they are single corpora and not the name of a set."""
    return dict.fromkeys(n for n in names or () if n in CORPORA)


def _types(measured: dict) -> list[str]:
    return sorted({name for report in measured.values() for name in report["per_type"]})


def _own_figures(measured: dict, split: str, results: Results) -> dict:
    """The figures that are a stock export's own, too: those on the very documents in which, given whole, it was found to find
    what the original finds."""
    compared = results.export["comparison"]
    if not compared or compared["split"] != split or compared["whole_text"]["differences"]:
        return {}
    size = results.data.get(split, {}).get(compared["corpus"], {}).get("documents")
    same = size == compared["documents"]
    return {corpus: report for corpus, report in measured.items() if same and corpus == compared["corpus"]}


def _export(export: dict, own: list[str]) -> dict:
    """What the card says of a stock export, and `own`, the corpora whose figures are the export's, too."""
    compared = export["comparison"]
    differences = compared.get("units", compared["compared"])["differences"] if compared else None
    return export | {
        "notes": stock_notes(export, bool(compared) and not compared["compared"]["differences"]),
        "fits": fits(export),
        "differences": differences,
        "section": "\n".join([*comparison(compared), "", *readings(compared)]) if compared else "",
        "own": ", ".join(own),
    }


def _model_index(measured: dict, split: str, settings: dict) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="token-classification",
            task_name="Named Entity Recognition",
            dataset_type=corpus,
            dataset_name=_about(corpus, settings).get("title", corpus),
            dataset_config=corpus,
            dataset_split=split,
            metric_type=metric,
            metric_name=f"micro-averaged {label} (exact match)",
            metric_value=round(report["overall"][metric], 4),
        )
        for corpus, report in measured.items()
        for metric, label in (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
    ]


def _overlapping(about: families.Facts, settings: dict) -> str:
    """What the model does with overlapping mentions; span families can be told to by `flat`."""
    if about.overlap == families.LONGEST or settings.get("flat") is None:
        return about.overlap
    return families.FLAT if settings["flat"] else families.NESTED


def _citations(about: families.Facts, results: Results) -> list[str]:
    """BibTeX: the software, the family's paper, the corpora trained or measured on; each entry once."""
    software = SOFTWARE.replace("VERSION", results.versions.get("mosaic-ner", "unknown"))
    corpora = [*results.trained, *results.validation, *results.test]
    entries = [software, about.paper]
    for corpus in corpora:
        entries += re.split(r"\n(?=@)", _about(corpus, results.settings).get("citation", ""))
    return [entry for entry in dict.fromkeys(entries) if entry]


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


def _relaxed(test: dict) -> str:
    """F1 by other matches than the exact one, and of what training didn't hold, where the results have it."""
    rows = [
        [corpus, name or "all", *relaxed_cells(report, name)]
        for corpus, report in test.items()
        if "relaxed" in report
        for name in ([None, *report["per_type"]] if len(report["per_type"]) > 1 else [None])
    ]
    return markdown_table(["corpus", "type", "exact", *RELAXED], rows) if rows else ""


def _calibration(measured: dict) -> str:
    """The expected calibration errors, where the results have them, before a calibration only of runs that fitted one."""
    rows = [
        [corpus, f"{found['ece']:.3f}", f"{found['uncalibrated']['ece']:.3f}" if "uncalibrated" in found else "-"]
        for corpus, report in measured.items()
        if (found := report.get("calibration"))
    ]
    return markdown_table(["corpus", "ECE", "before calibration"], rows) if rows else ""


def _training(trained: dict, settings: dict) -> str:
    rows = []
    for corpus, sizes in trained.items():
        about = _about(corpus, settings)
        rows.append([corpus, about.get("title", "-"), about.get("licence", "-"), sizes["documents"], sizes["mentions"]])
    header = ["corpus", "title", "licence", "training documents", "mentions"]
    return markdown_table(header, rows) if rows else "Trained elsewhere."


def _completion(completion: dict) -> str:
    rows = [
        [corpus, name, completion["thresholds"][name], *(n[k] for k in ("documents", "added", "masked", "beside_gold"))]
        for corpus, types in completion["labels"].items()
        for name, n in types.items()
    ]
    return markdown_table(["corpus", "type", "threshold", "documents", "labels", "masked", "dropped"], rows)


def _under_bridge(completion: dict) -> str:
    """Which corpora taught the bridge's outputs, and what they lost by it."""
    moved = completion.get("under_bridge") or {}
    lost = ", ".join(f"{n} {name} of {corpus}" for corpus, types in moved.items() for name, n in types.items())
    told = f" Mentions without a type there taught nothing: {lost}." if lost else ""
    return f"The documents of {', '.join(moved)} taught the outputs of {completion['bridge']}.{told}" if moved else ""


def _declared(sizes: dict) -> str:
    """Of which corpora some documents declare fewer types than the corpus has, and how many declare which."""
    rows = {corpus: row["declared"] for corpus, row in sizes.items() if "declared" in row}
    return "; ".join(f"{c}: " + ", ".join(f"{n} of {own}" for own, n in sets.items()) for c, sets in rows.items())


def _ignored(sizes: dict, measured: dict) -> str:
    """Where such documents were measured: how many there are, and how many mentions didn't count."""
    rows = {corpus: measured[corpus]["ignored"] for corpus in measured if "declared" in sizes.get(corpus, {})}
    counts = (f"{_declared({c: sizes[c]})} ({r['gold']} gold and {r['predicted']} predicted)" for c, r in rows.items())
    return "; ".join(counts)


def _coverage(coverage: dict) -> str:
    header = ["corpus", "mentions", "representable by tokens and windows", "by the labels too", "lost by cause"]
    rows = []
    for corpus, row in coverage.items():
        causes = ", ".join(f"{count} {cause}" for cause, count in row["lost"].items()) or "-"
        if row.get("undeclared"):
            causes += f"; beside them {row['undeclared']} of types that their documents don't declare"
        shares = [f"{100 * row[key]:.2f}%" for key in ("share_in_windows", "share")]
        rows.append([corpus, row["mentions"], *shares, causes])
    return markdown_table(header, rows)


def _overlap(overlap: dict) -> str:
    if not overlap["training"]:
        return "The evaluation was told of no training corpora, so none was looked through for its documents."
    rows = [[c, r["documents"], r["found"], _what_was_done(r)] for c, r in overlap["training"].items()]
    training = markdown_table(["training corpus", "documents", "in an evaluation split", "what was done"], rows)
    rows, header = [], ["evaluation split", "documents", "in a training corpus", "mentions", "annotated alike there"]
    hidden = any(row.get("not_scored") for row in overlap["evaluation"].values())
    for name, row in overlap["evaluation"].items():
        scores = row.get("copying", {})  # results of earlier versions have none
        figures = [f"{100 * scores[key]:.2f}" if scores else "-" for key in ("precision", "recall", "f1")]
        counts = [row[key] for key in ("documents", "covered", "mentions", "mentions_in_training")]
        rows.append([name, *counts, *figures, *([row["not_scored"]] if hidden else [])])
    evaluation = markdown_table([*header, "copying: P", "R", "F1", *(["not scored"] if hidden else [])], rows)
    return f"""{training}

What the training files hold of each evaluation split, before anything was removed. *Copying* is what one would score there
without a model, by repeating the annotations of training documents with the identical text.

{evaluation}"""


def _what_was_done(row: dict) -> str:
    """With the documents of a training corpus that are in an evaluation split."""
    found, removed = row["found"], row["removed_documents"]
    if removed in (0, found):
        return "-" if not found else "removed" if removed else "kept"
    return f"{removed} removed"


def _pairs(values: dict) -> str:
    def shown(value) -> str:
        return ", ".join(f"`{v}`" for v in value) or "none" if isinstance(value, list) else f"`{value}`"

    return "\n".join(f"- {key}: {shown(value)}" for key, value in values.items())


def main(argv: list[str] | None = None) -> None:
    """`mosaic-ner card FOLDER …`: writes the card of each folder again from its results.json."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner card", description="Generates the model cards (README.md) of runs from their results.json."
    )
    parser.add_argument("folder", nargs="+", type=Path, help="output folder of a finished run")
    with one_message("card"):
        folders = parser.parse_args(argv).folder
        for folder in folders:  # whose card has the Hub id and the model's answers, which results.json doesn't have
            if (folder / CHECKSUMS).exists():
                raise CardError(
                    f"{folder} was published; make its card with `mosaic-ner publish RUN`, as the folder itself"
                )
        for folder in folders:
            write_card(folder)
            sys.stdout.write(f"{folder / 'README.md'}\n")


if __name__ == "__main__":
    main()
