"""What a model gets wrong in ten paragraphs of ours, one for each kind of text: the card's "What it cannot do".

    python benchmarks/paragraphs.py [MODEL] --output RUN/limits.md

In model_cards/paragraphs.txt every mention is in brackets: [words|Type]. Without MODEL, the model in the box.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.metrics import score_mentions

PARAGRAPHS = Path(__file__).resolve().parents[1] / "model_cards" / "paragraphs.txt"
MARKED = re.compile(r"\[([^]|]+)\|(\w+)\]")
LIMITS = """\
- It knows six types: genes and their products, diseases and phenotypes, chemicals, variants, species and cell lines. Anatomy,
  processes, procedures and doses are no mentions.
- It finds no nested mentions: of "breast cancer 1 gene" it gives one reading.
- It has read English abstracts. Tables, headings, lists of primers and clinical notes in short form are further from them.
- It is small: 22 million parameters. A model of the same recipe on BiomedBERT is larger and should find more; it was not
  measured here."""


def read_paragraphs(path: Path = PARAGRAPHS) -> list[Document]:
    """The paragraphs with their mentions; a document's id is the kind of text.

    Raises:
        ValueError: a paragraph without a heading.
    """
    documents = []
    for part in path.read_text(encoding="utf-8").strip().split("\n\n"):
        heading, _, marked = part.partition("\n")
        if not heading.startswith("# "):
            raise ValueError(f"{path}: expected '# kind of text' before a paragraph, got {heading[:40]!r}")
        text, mentions, last = "", [], 0
        for match in MARKED.finditer(marked):
            text += marked[last : match.start()]
            mentions.append(Mention(len(text), len(text) + len(match[1]), match[2]))
            text, last = text + match[1], match.end()
        documents.append(Document(heading[2:], "paragraphs", text + marked[last:], tuple(mentions)))
    return documents


def limits(gold: list[Document], found: list[list[Mention]]) -> str:
    """The general limits, and every mistake in the paragraphs, as Markdown."""
    rows = []
    for document, mentions in zip(gold, found, strict=True):
        wanted, said = ({m.key for m in part} for part in (document.mentions, mentions))
        for start, end, kind in sorted(wanted ^ said):
            words, missed = document.text[start:end], (start, end, kind) in wanted
            rows.append([document.id, words, kind if missed else "-", "-" if missed else kind])
    score = score_mentions([d.mentions for d in gold], found)["overall"]
    return wrapped(
        f"{LIMITS}\n\nTen paragraphs of ours, one for each kind of text, have {score['support']} mentions. The model gives "
        f"{score['predicted']}: precision {100 * score['precision']:.1f}, recall {100 * score['recall']:.1f}. Every mistake, a "
        "mention that it missed or one that isn't there:\n\n"
        f"{markdown_table(['kind of text', 'words', 'right', 'said'], rows)}\n"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="default: the model in the box")
    parser.add_argument("--output", type=Path, help="file to write; default: standard output")
    options = parser.parse_args()
    documents = read_paragraphs()
    text = limits(documents, MentionPredictor(*load(options.model))([d.text for d in documents]))
    options.output.write_text(text, encoding="utf-8") if options.output else sys.stdout.write(text)


if __name__ == "__main__":
    main()
