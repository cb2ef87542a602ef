"""Reads files, predicts, writes every format, and compares the mentions' texts that each format gives when it is read again.

    python benchmarks/every_format.py FOLDER_OR_FILE … --output every_format.json
    python benchmarks/every_format.py FOLDER --model outputs/mine --limit 5000

Without --model the model is tiny and random, and finds mentions everywhere. A difference is a mention whose text is in the
model's output but not in the file, or the other way round, beyond what the writer counted (IOB2 has no nested mentions, and
an IOB file's own tokens may be longer than a mention). White space is compared as the format can hold it: PubTator has no
line ends inside a text, IOB2 no spaces at all.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, load_demo_corpora
from mosaic_ner.data_builders.formats import FormatError, ReadReport, detect_format, read_documents, write_documents
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.encoders import plain_tokenizer
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.tagger import Tagger
from mosaic_ner.training.arguments import ModelOptions
from mosaic_ner.training.bundle import TrainingData, build
from mosaic_ner.training.encoders import SCRATCH, load_encoder_parts
from mosaic_ner.training.families import family
from transformers import AutoTokenizer

TARGETS = {
    "pubtator": "x.pubtator", "bioc_xml": "x.bioc.xml", "bioc_json": "x.bioc.json", "jsonl": "x.jsonl", "iob2": "x.iob2",
    "brat": "brat", "label_studio": "x.labelstudio.json", "xmi": "x.xmi",
}  # fmt: skip
# What a writer counts when a mention comes back changed, or not at all
CHANGED = ("widened_to_token", "mention_trimmed")
DROPPED = ("nested_not_written", "blank_mention_not_written")
CHUNK = 256  # documents predicted together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", type=Path, help="files, or folders of which every file is read")
    parser.add_argument("--model", help="a trained model; default: a tiny random one")
    parser.add_argument("--tokenizer", help="folder with the tokenizer of the random model")
    parser.add_argument("--limit", type=int, help="characters of each file, whole documents; default: all")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    predictor = MentionPredictor(*load(arguments.model)) if arguments.model else random_predictor(arguments.tokenizer)
    begin, rows = time.perf_counter(), []
    for path in files_of(arguments.inputs):
        rows.append(row := compared(path, predictor, arguments.limit))
        sys.stderr.write(
            f"{path.name}: {row['documents']} documents, {row['mentions']} mentions, {row['differences']}\n"
        )
    report = {
        "files": len(rows), "documents": sum(row["documents"] for row in rows),
        "mentions": sum(row["mentions"] for row in rows), "formats": list(TARGETS),
        "differences": sum(sum(row["differences"].values()) for row in rows),
        "counted by the writers": dict(sum((Counter(row["counted"]) for row in rows), Counter())),
        "minutes": round((time.perf_counter() - begin) / 60, 1), "per file": rows,
    }  # fmt: skip
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    report.pop("per file")
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    sys.exit(report["differences"] > 0)


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Files with documents, those of folders included."""
    found = [f for path in paths for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file()]
    return [path for path in found if not path.name.startswith("README") and not path.name.endswith("_ids.txt")]


def random_predictor(tokenizer: str | None = None) -> MentionPredictor:
    """That of `random_bundle`."""
    bundle = random_bundle(tokenizer)
    return MentionPredictor(bundle.model, bundle.tokenizer, 64)


def random_bundle(tokenizer: str | None = None, layers: int = 1, hidden_size: int = 32):
    """A tiny random model, with its tokenizer, on the labels of the generated corpora; O is likely enough for a mention every
    few words.

    Args:
        tokenizer: a folder with one; default: one learnt from the generated texts, which cuts real ones to pieces.
    """
    torch.manual_seed(0)
    documents = load_demo_corpora()["demo_all"]["train"]
    parts = load_encoder_parts(SCRATCH, (d.text for d in documents), layers=layers, hidden_size=hidden_size)
    if tokenizer:
        parts.tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(tokenizer))
        parts.encoder.resize_token_embeddings(len(parts.tokenizer), mean_resizing=False)
    with tempfile.TemporaryDirectory() as folder:
        parts.encoder.save_pretrained(folder)
        parts.tokenizer.save_pretrained(folder)
        training = TrainingData(DEMO_LABEL_SPACE, {"demo_all": documents})
        bundle = build(ModelOptions(encoder=folder, max_tokens=256), family("aioner").Options(), training)
    names = bundle.model.config.id2label
    with torch.no_grad():
        for name, parameter in bundle.model.named_parameters():
            if not name.startswith("encoder."):
                parameter.copy_(torch.randn(parameter.shape) * 0.4)
        bundle.model.classifier.bias[[i for i, name in names.items() if name == "O-ALL"]] += 4
    bundle.model.eval()
    return bundle


def compared(path: Path, predictor: MentionPredictor, limit: int | None = None) -> dict:
    """Reads a file, predicts, writes every format and reads it again.

    Returns:
        counts of documents and mentions, differences by format, and what the writers counted of CHANGED and DROPPED.
    """
    format = "genia_jsonl" if path.parent.name == "genia" else detect_format(path)
    reading = {"policy": "lenient", "gold": False, "skip_bad": True, "keep_source": True}
    documents = first(read_documents(path, format, report=(report := ReadReport()), **reading), limit)
    found = [d for part in Tagger(predictor).stream(documents, CHUNK) for d in part]
    differences, counted = {}, Counter()
    for target, name in TARGETS.items():
        folder = Path(tempfile.mkdtemp())
        try:
            lost, changed, counts = difference(found, target, folder / name)
        except FormatError as error:
            lost, changed, counts = len(found), [str(error)], {}
        finally:
            shutil.rmtree(folder)
        counted.update(counts)
        if lost:
            differences[target] = lost
            sys.stderr.write(f"{path.name}, {target}: {lost}: {changed[:5]}\n")
    return {
        "file": path.name, "format": format, "documents": len(found), "skipped": report.bad_count,
        "mentions": sum(len(d.mentions) for d in found), "differences": differences, "counted": dict(counted),
    }  # fmt: skip


def first(documents: Iterable[Document], characters: int | None) -> Iterator[Document]:
    """The documents in which the first so many characters are."""
    seen = 0
    for document in documents:
        yield document
        seen += len(document.text)
        if characters is not None and seen >= characters:
            return


def difference(documents: list[Document], target: str, path: Path) -> tuple[int, list, Counter]:
    """Writes and reads; returns how many mentions differ beyond what was counted, examples, and what was counted."""
    written = write_documents(documents, path, target)
    again = list(read_documents(path, target, repeated_ids="index"))
    if target in ("brat", "xmi"):  # its files are read in the order of their names
        order = {(d.id, d.index): number for number, d in enumerate(documents)}
        again.sort(key=lambda d: order.get((d.id, d.index), -1))
    if len(again) != len(documents):
        return len(documents), [f"{len(again)} documents instead of {len(documents)}"], Counter()
    missing, added, examples = 0, 0, []
    for document, other in zip(documents, again, strict=True):
        own, read = surfaces(document, target), surfaces(other, target)
        missing, added = missing + (own - read).total(), added + (read - own).total()
        if own != read:
            examples.append((document.name, dict(own - read), dict(read - own)))
    counts = Counter({cause: written.counts[cause] for cause in (*CHANGED, *DROPPED) if written.counts[cause]})
    changed = sum(counts[cause] for cause in CHANGED)
    dropped = sum(counts[cause] for cause in DROPPED)
    return max(missing - changed - dropped, 0) + max(added - changed, 0), examples, counts


def surfaces(document: Document, target: str) -> Counter:
    """(type, text) of the mentions, white space as the format has it."""
    found = Counter()
    for mention in document.mentions:
        text = document.surface(mention)
        if target == "iob2":
            text = "".join(text.split())
        elif target in ("pubtator", "bioc_xml"):
            text = text.translate({ord(char): " " for char in "\r\n"})
        found[mention.type, text] += 1
    return found


if __name__ == "__main__":
    main()
