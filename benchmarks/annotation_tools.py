"""Files through the annotation tools' formats and through spaCy: how many of their mentions come back, and what is counted.

    python benchmarks/annotation_tools.py FILE … --models M … --output annotation_tools.json --page docs/annotation_tools.md

The mentions are the files' own, each with a made-up score of four decimals, and with --models what the models answer to the
files. A mention comes back if characters, type, identifiers and score (to four decimals) are the same. spaCy's tokenizer is
that of a blank English pipeline. The page's table, between <!-- round_trips --> and <!-- /round_trips -->, is written from the
figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import spacy
from mosaic_ner.data_builders.formats import ReadReport, detect_format, read_documents, write_documents
from mosaic_ner.data_builders.markdown import between, markdown_table
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.spacy_component import SpacyNER
from mosaic_ner.prediction.tagger import Tagger

TOOLS = {"Label Studio": "x.labelstudio.json", "INCEpTION": "x.xmi", "brat": "x"}


def scored(document: Document) -> Document:
    """The document with a score for each mention."""
    mentions = [
        replace(m, score=round((7919 * n + m.start) % 10_000 / 10_000, 4)) for n, m in enumerate(document.mentions)
    ]
    return document.with_mentions(mentions)


def everything(document: Document) -> Counter:
    """Mentions with all that files hold of them: scores have four decimals there."""
    return Counter((*m.key, m.identifiers, round(m.score, 4)) for m in document.mentions)


def round_trip(documents: list[Document], path: Path) -> dict:
    """Writes and reads again; documents in the order of their ids and indices."""
    report = ReadReport()
    written = write_documents(documents, path)
    found = {(d.id, d.index): d for d in read_documents(path, report=report, repeated_ids="index")}
    pairs = [(d, found[d.id, d.index]) for d in documents]
    same = sum((everything(d) & everything(again)).total() for d, again in pairs)
    counted = Counter(written.counts) + Counter(report.counts)
    return {
        "documents": sum(d.text == again.text for d, again in pairs), "mentions": same,
        "counted": {cause: n for cause, n in sorted(counted.items()) if cause not in ("empty_document", "prediction_read")},
    }  # fmt: skip


def through_spacy(documents: list[Document]) -> dict:
    """What spaCy's spans make of the mentions; `exact`: those whose characters stay in the extension."""
    component, nlp = SpacyNER("mosaic_ner", None, {}), spacy.blank("en")
    waiting = iter(documents)
    component._pipeline = lambda texts: [
        [{"start": m.start, "end": m.end, "entity_group": m.type, "score": m.score} for m in next(waiting).mentions]
        for _ in texts
    ]
    counts, exact = Counter(), 0
    for document, doc in zip(documents, component.pipe(nlp.make_doc(d.text) for d in documents), strict=True):
        counts.update(doc._.mosaic_ner_counts)
        found = [(m["start"], m["end"], m["type"], m["score"]) for m in doc._.mosaic_ner]
        exact += found == [(*m.key, m.score) for m in document.mentions]
    return {"documents with all mentions exact": exact, **counts}


def sources(path: Path, models: list[str]) -> Iterator[tuple[str, list[Document]]]:
    """Whose mentions, and the file's documents with them: the file's own, and each model's."""
    format = "genia_jsonl" if path.parent.name == "genia" else detect_format(path)
    documents = list(read_documents(path, format, policy="lenient", repeated_ids="index"))
    yield "its own", [scored(d) for d in documents]
    for model in models:
        answered = Tagger(MentionPredictor(*load(model))).stream(documents)
        yield Path(model).name, list(itertools.chain.from_iterable(answered))


def measured(path: Path, whose: str, documents: list[Document]) -> dict:
    """A row of figures of a file's documents with somebody's mentions."""
    nested = sum(
        any(n.start <= m.start and m.end <= n.end and (n.start, n.end) != (m.start, m.end) for n in d.mentions)
        for d in documents
        for m in d.mentions
    )
    mentions = sum(len(d.mentions) for d in documents)
    row = {"file": path.name, "mentions of": whose, "documents": len(documents), "mentions": mentions, "nested": nested}
    for tool, name in TOOLS.items():
        with tempfile.TemporaryDirectory() as folder:
            row[tool] = round_trip(documents, Path(folder) / name)
    return row | {"spaCy": through_spacy(documents)}


def table(rows: list[dict]) -> str:
    """The page's table."""
    header = ["file", "whose", "mentions", "nested", *TOOLS, "spaCy"]
    header += ["wider there", "share a span", "not in `doc.ents`"]
    cells = [
        [
            f"`{row['file']}`", row["mentions of"], f"{row['mentions']:,}", f"{row['nested']:,}",
            *(f"{row[tool]['mentions']:,}" for tool in TOOLS),
            *(f"{row['spaCy'][key]:,}" for key in ("mentions", "expanded_to_tokens", "same_tokens", "not_in_ents")),
        ]
        for row in rows
    ]  # fmt: skip
    return markdown_table(header, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--models", nargs="+", default=[], help="trained models whose answers go the same way")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="page whose table is written")
    options = parser.parse_args()
    rows = [measured(path, *row) for path in options.files for row in sources(path, options.models)]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    if options.page:
        page = options.page.read_text(encoding="utf-8")
        options.page.write_text(between(page, "round_trips", table(rows)), encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
