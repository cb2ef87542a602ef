"""Synonyms of mentions, for models that learn to generate them; how many mentions have one.

`mosaic-ner synonyms --corpora ncbi_disease bc5cdr --data_dir DIR [--umls MRCONSO.RRF] [--obo FILE …]`
prints Table 1 of the joint information bottleneck (Nguyen, Miwa and Ananiadou 2023).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import UserError

from .corpora import CorpusError, get_corpus, read_split
from .overlap import part_overlap
from .synonym_index import Synonyms, mention_texts
from .synonym_sources import CORPORA_SOURCE, SCOPES, SynonymError, collect

__all__ = ["CORPORA_SOURCE", "SynonymError", "Synonyms", "collect", "coverage", "coverage_table", "mention_texts"]

logger = logging.getLogger(__name__)

TOTAL, ALL_TYPES = "total", "all"


def coverage(synonyms: Synonyms, corpora: Mapping[str, Mapping[str, Iterable[Document]]]) -> dict:
    """Syn_cov, as in Table 1 of the joint information bottleneck: the share of gold *mentions* with at least one synonym.

    Every occurrence counts, as in the paper (its #Ent. counts all gold entities, not the distinct ones). A mention that has
    synonyms of several sources counts once in the total. Shares are 0..1, None where there is no mention.

    Args:
        corpora: corpus → split → documents.

    Returns:
        JSON-ready: corpus → split → {"documents", "mentions": count, "types": {type: row}, **row}, where a row is
        {"mentions", "covered": {source or "total": count}, "syn_cov": {source or "total": share}}.
    """
    report: dict[str, dict] = {}
    for corpus, splits in corpora.items():
        for split, documents in splits.items():
            mentions: Counter[str] = Counter()
            covered: dict[str, Counter[str]] = {}
            number = 0
            for document in documents:
                number += 1
                for mention in document.mentions:
                    mentions[mention.type] += 1
                    sources = synonyms.sources_of(document.surface(mention))
                    covered.setdefault(mention.type, Counter()).update([*sources, TOTAL] if sources else ())
            total = sum(covered.values(), Counter())
            report.setdefault(corpus, {})[split] = {
                "documents": number,
                **_row(mentions.total(), total, synonyms.sources),
                "types": {t: _row(mentions[t], covered[t], synonyms.sources) for t in sorted(mentions)},
            }
    return report


def _row(mentions: int, covered: Counter[str], sources: Iterable[str]) -> dict:
    keys = (*sources, TOTAL)
    return {
        "mentions": mentions,
        "covered": {key: covered[key] for key in keys},
        "syn_cov": {key: covered[key] / mentions if mentions else None for key in keys},
    }


def coverage_table(report: dict) -> str:
    """A report of `coverage` as an aligned table: a row per split, and a row per type where a split has several."""
    lines: list[tuple[str, ...]] = []
    for corpus, splits in report.items():
        for split, figures in splits.items():
            rows = {ALL_TYPES: figures, **(figures["types"] if len(figures["types"]) > 1 else {})}
            for type, row in rows.items():
                shares = ("–" if share is None else f"{share:.2%}" for share in row["syn_cov"].values())
                documents = f"{figures['documents']:,}" if type == ALL_TYPES else ""
                lines.append((corpus, split, type, documents, f"{row['mentions']:,}", *shares))
            keys = figures["syn_cov"]
    if not lines:
        return "no mentions\n"
    lines.insert(0, ("corpus", "split", "type", "documents", "mentions", *(f"Syn_cov {key}" for key in keys)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned) + "\n"


def _read_corpora(names: Iterable[str], data_dir: str) -> dict[str, dict[str, list[Document]]]:
    """Corpus → split → documents, of the splits whose files are there."""
    read: dict[str, dict[str, list[Document]]] = {}
    for name in names:
        corpus = get_corpus(name)
        found = {split: file.find(data_dir) for split, file in corpus.files.items()}
        read[name] = {s: list(read_split(corpus, s, f[0], format=f[1])) for s, f in found.items() if f is not None}
        if not read[name]:
            files = ", ".join(dict.fromkeys(file.name for file in corpus.files.values()))
            raise CorpusError(
                f"{data_dir}: expected {files} of {corpus.title}, got none; give their folder as --data_dir"
            )
        for split in corpus.splits:
            if split not in read[name]:
                logger.warning("%s: %s has no file of the split %s here", data_dir, name, split)
    return read


def main(arguments: list[str] | None = None) -> int:
    """Prints the coverage of some corpora."""
    parser = argparse.ArgumentParser(description="How many mentions have a synonym, by source (Syn_cov).")
    parser.add_argument("--corpora", nargs="+", required=True, help="names of corpora, e.g. ncbi_disease bc5cdr")
    parser.add_argument("--data_dir", required=True, help="folder with the corpora's files, or the one above them")
    parser.add_argument("--umls", metavar="MRCONSO.RRF", help="UMLS names, also .gz (your own licensed copy)")
    parser.add_argument("--umls_languages", nargs="+", default=["ENG"], metavar="LAT", help="default: ENG")
    parser.add_argument("--umls_vocabularies", nargs="+", metavar="SAB", help="e.g. MSH SNOMEDCT_US; default: all")
    parser.add_argument(
        "--obo", nargs="+", default=[], metavar="FILE", help="ontologies (needs mosaic-ner[ontologies])"
    )
    parser.add_argument("--obo_scopes", nargs="+", default=["EXACT"], help=f"of {', '.join(SCOPES)}; default: EXACT")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    counts: dict[str, Counter[str]] = {}
    try:
        documents = _read_corpora(options.corpora, options.data_dir)
        training = {name: splits.get("train", []) for name, splits in documents.items()}
        evaluation = {f"{n}/{s}": d for n, splits in documents.items() for s, d in splits.items() if s != "train"}
        remaining, _, overlap = part_overlap(training, evaluation)
        synonyms = collect(
            [document for part in remaining.values() for document in part],
            mention_texts(d for splits in documents.values() for part in splits.values() for d in part),
            umls=options.umls,
            obo=options.obo,
            languages=options.umls_languages,
            vocabularies=options.umls_vocabularies,
            scopes=options.obo_scopes,
            counts=counts,
        )
    except UserError as error:
        parser.error(str(error))
    report = coverage(synonyms, documents)
    if options.json:
        read = {"removed_training_documents": overlap.found, **{source: dict(c) for source, c in counts.items()}}
        sys.stdout.write(json.dumps({"coverage": report, "read": read}, ensure_ascii=False, indent=2) + "\n")
        return 0
    lines = [f"{source}: " + ", ".join(f"{n:,} {what}" for what, n in c.items()) for source, c in counts.items()]
    lines.append(f"{overlap.found:,} training documents are in an evaluation split and gave no synonym")
    sys.stdout.write(coverage_table(report) + "\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
