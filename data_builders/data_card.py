"""Statistics of the built corpora beside the published figures: DATA_CARD.md.

`mosaic-ner data_card --data_dir DIR --write_card` writes it again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError

from .console import one_message
from .corpora import CORPORA, SPLITS, Corpus, get_corpus, read_split
from .formats import ReadReport
from .mapping import load_label_mapping
from .markdown import markdown_table, wrapped

CARD_PATH = Path(__file__).with_name("DATA_CARD.md")

# Published figures, compared with those of the built corpora.
TABLE_5 = {
    "train": {"documents": 400, "Disease": 3646, "Chemical": 2853, "Gene": 4430, "Variant": 890, "Species": 1429}
    | {"CellLine": 103, "all": 13351},
    "validation": {"documents": 100, "Disease": 982, "Chemical": 822, "Gene": 1087, "Variant": 250, "Species": 370}
    | {"CellLine": 22, "all": 3533},
    "test": {"documents": 100, "Disease": 917, "Chemical": 754, "Gene": 1180, "Variant": 241, "Species": 393}
    | {"CellLine": 50, "all": 3535},
}
"""CVAE-NER Table 5: BioRED's documents and mentions."""

TABLE_6 = {
    "biored": 600,
    "bc5cdr": 1500,
    "bioid": 570,
    "gnormplus": 694,
    "linnaeus": 100,
    "ncbi_disease": 793,
    "nlm_chem": 150,
    "nlm_gene": 550,
    "s800": 800,
    "tmvar3": 500,
}
"""CVAE-NER Table 6: sizes, all splits together; full texts count articles, abstracts count records."""

AIONER_TABLE_1 = {
    ("biored", "Gene", "Disease", "Chemical", "Species", "Variant", "CellLine"): 20419,
    ("gnormplus", "Gene"): 9986,
    ("nlm_gene", "Gene"): 15553,
    ("ncbi_disease", "Disease"): 6892,
    ("bc5cdr", "Disease"): 12850,
    ("bc5cdr", "Chemical"): 15935,
    ("nlm_chem", "Chemical"): 40467,
    ("linnaeus", "Species"): 4259,
    ("s800", "Species"): 3708,
    ("tmvar3", "Variant"): 1895,
    ("bioid", "CellLine"): 5590,
}
"""AIONER Table 1: (corpus, types in its scheme) → mentions, all splits together."""

NOT_EXPLAINED = "DIFFERENT, not explained"
# (corpus, published figure, built figure) → why they differ. A built figure that changes needs a new explanation.
EXPLAINED = {
    ("nlm_chem", 150, 50): "the 100 training and development articles were not at hand when this card was made",
    ("nlm_chem", 40467, 11772): "the 50 test articles only, see Table 6",
    ("s800", 800, 799): "AIONER's two files hold 799 abstracts",
    ("gnormplus", 9986, 9989): "AIONER's own files hold 3 more Gene and FamilyName mentions than it states",
    ("nlm_gene", 15553, 15517): "AIONER's own files hold 36 fewer Gene and FamilyName mentions than it states",
    ("bc5cdr", 15935, 15920): "AIONER's own files hold 15 fewer Chemical mentions than it states; Disease is equal",
    ("linnaeus", 4259, 2897): "AIONER's own files hold 1,362 fewer mentions than it states; the same articles in "
    "`mtl_linnaeus` have 4,263, so the figure seems to be the original corpus's",
    ("s800", 3708, 3792): "AIONER's own files hold 84 more mentions than it states",
    ("tmvar3", 1895, 1975): "AIONER's own files hold 80 more mentions of the seven variant types than it states",
}


@dataclass
class SplitStatistics:
    """Counts of one split. `nested_pairs` are pairs of mentions, one inside the other."""

    documents: int = 0
    articles: int = 0
    characters: int = 0
    types: Counter[str] = field(default_factory=Counter)
    nested_pairs: int = 0

    @property
    def mentions(self) -> int:
        """Mentions of all types."""
        return self.types.total()


def statistics(documents: Iterable[Document]) -> SplitStatistics:
    """Counts of some documents."""
    result, articles = SplitStatistics(), set()
    for document in documents:
        result.documents += 1
        result.characters += len(document.text)
        articles.add(document.article)
        result.types.update(mention.type for mention in document.mentions)
        result.nested_pairs += _nested_pairs(document)
    result.articles = len(articles)
    return result


def _nested_pairs(document: Document) -> int:
    spans = sorted({(m.start, -m.end) for m in document.mentions})
    pairs = 0
    for position, (_, end) in enumerate(spans):
        # Sorted by start, longest first: the spans inside this one follow it, up to one that starts behind it.
        for other_start, other_end in spans[position + 1 :]:
            if other_start >= -end:
                break
            pairs += other_end >= end
    return pairs


def built_statistics(
    data_dir: str | Path, names: Iterable[str] = tuple(CORPORA)
) -> dict[str, tuple[dict[str, SplitStatistics], ReadReport]]:
    """Corpus → (split → counts, faults of its files), for the splits whose files are in `data_dir`."""
    result = {}
    for name in names:
        corpus, report, seen = get_corpus(name), ReadReport(), set()
        splits = {}
        for split in corpus.splits:
            found = corpus.files[split].find(data_dir)
            if found is None:
                continue
            path, format = found
            # BioRED's train and validation are one file, whose faults count once.
            counts = report if path not in seen else ReadReport()
            seen.add(path)
            splits[split] = statistics(read_split(corpus, split, path, format=format, report=counts))
        result[name] = (splits, report)
    if not any(splits for splits, _ in result.values()):
        raise UserError(
            f"--data_dir: no corpus's file is in {str(data_dir)!r}; name the folder with the corpora's files"
        )
    return result


def data_card(data_dir: str | Path) -> str:
    """DATA_CARD.md: figures of the corpora in `data_dir` beside the published ones, without paths and text of corpora."""
    built = built_statistics(data_dir)
    parts = [
        "# Data card",
        "Generated by `mosaic-ner data_card --data_dir DIR --write_card`; do not edit.",
        "A *document* is a record of a file: an abstract, a full text, a passage (NLM-Chem, BioID) or a sentence. "
        "Leakage is judged by *article*. Which native type is which shared type is in `label_mapping.tsv`. How the corpora "
        "disagree where they have the same text is in docs/conflicts.md.",
        "## Corpora\n\n" + _corpora_table(),
        *(f"### {c.title} (`{c.name}`)\n\n" + corpus_section(c) for c in CORPORA.values()),
        "## Built\n\n" + _built_table(built),
        "### Mentions per type\n\n" + _types_table(built),
        "## Faults of the published files\n\n"
        "Counted while reading, not repaired: `text_mismatch` keeps the file's offsets, `outside_text` cannot be kept "
        "(so tmVar3's training split has one Gene fewer than its file). "
        "Ids that repeat are told apart by the record's index.\n\n" + _faults_table(built),
        "## Against CVAE-NER Table 5 (BioRED)\n\n" + _table_5(built),
        "## Against CVAE-NER Table 6 (sizes)\n\n" + _table_6(built),
        "## Against AIONER Table 1 (mentions, AIONER's types)\n\n" + _table_1(built),
    ]
    return wrapped("\n\n".join(parts) + "\n")


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    return markdown_table(header, [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows])


def _corpora_table() -> str:
    rows = (
        [f"`{c.name}`", c.title, c.text, ", ".join(c.splits), c.id_space or "none", c.licence] for c in CORPORA.values()
    )
    return _table(["corpus", "title", "text", "splits", "ids", "licence"], rows)


def corpus_section(corpus: Corpus) -> str:
    """Where a corpus comes from, its splits, notes and BibTeX, as Markdown."""
    lines = [f"- Home: <{corpus.homepage}>", f"- Splits: {corpus.split_policy}"]
    for split, file in corpus.files.items():
        parts = (f"`{name}` from <{url}>" for name, url in file.needed.items())
        lines.append(f"- {split}: " + ", of it the ids in ".join(parts))
    lines += [f"- Note: {note}" for note in corpus.notes]
    return "\n".join(lines) + f"\n\n```bibtex\n{corpus.citation}\n```"


def _built_table(built) -> str:
    rows = []
    for name, (splits, _) in built.items():
        for split in get_corpus(name).splits:
            if split in splits:
                s = splits[split]
                rows.append([f"`{name}`", split, s.documents, s.articles, s.characters, s.mentions, s.nested_pairs])
            else:
                rows.append([f"`{name}`", split, "not at hand", "", "", "", ""])
    return _table(["corpus", "split", "documents", "articles", "characters", "mentions", "nested pairs"], rows)


def _types_table(built) -> str:
    rows = (
        [f"`{name}`", t, *(splits[s].types[t] if s in splits else "" for s in SPLITS)]
        for name, (splits, _) in built.items()
        for t in get_corpus(name).types
    )
    return _table(["corpus", "type", *SPLITS], rows)


def _faults_table(built) -> str:
    rows = (
        [f"`{n}`", cause, count] for n, (_, report) in built.items() for cause, count in sorted(report.counts.items())
    )
    return _table(["corpus", "cause", "count"], rows)


def _table_5(built) -> str:
    splits, _ = built["biored"]
    rows = []
    for name in TABLE_5["train"]:
        row = [name]
        for split, published in TABLE_5.items():
            s = splits.get(split, SplitStatistics())
            value = {"documents": s.documents, "all": s.mentions}.get(name, s.types[name])
            row += [published[name], value]
        rows.append([*row, "equal" if row[1::2] == row[2::2] else NOT_EXPLAINED])
    return _table(["", *(f"{split} {what}" for split in TABLE_5 for what in ("published", "built")), ""], rows)


def _table_6(built) -> str:
    rows = []
    for name, published in TABLE_6.items():
        splits, _ = built[name]
        full = "full texts" in get_corpus(name).text
        size = sum(s.articles if full else s.documents for s in splits.values())
        rows.append([f"`{name}`", published, size, _verdict(name, published, size)])
    return _table(["corpus", "published", "built", ""], rows)


def _table_1(built) -> str:
    space = load_label_mapping(scheme="aioner")
    rows = []
    for (name, *types), published in AIONER_TABLE_1.items():
        counts = sum((s.types for s in built[name][0].values()), Counter())
        size = sum(n for t, n in counts.items() if space.shared(name, t) in types)
        rows.append([f"`{name}`", ", ".join(types), published, size, _verdict(name, published, size)])
    return _table(["corpus", "types", "published", "built", ""], rows)


def _verdict(name: str, published: int, built: int) -> str:
    return "equal" if published == built else EXPLAINED.get((name, published, built), NOT_EXPLAINED)


def main(arguments: list[str] | None = None) -> int:
    """Prints the data card, or writes it into the package with `--write_card`."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner data_card", description="Statistics of the corpora beside the published figures, as Markdown."
    )
    parser.add_argument("--data_dir", required=True, help="folder with the corpora's files, or the one above them")
    parser.add_argument("--write_card", action="store_true", help=f"write {CARD_PATH.name} beside this module")
    options = parser.parse_args(arguments)
    with one_message("data_card"):
        card = data_card(options.data_dir)
    if options.write_card:
        CARD_PATH.write_text(card, encoding="utf-8")
    else:
        sys.stdout.write(card)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
