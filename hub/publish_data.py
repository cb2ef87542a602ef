"""Publishes corpora as one dataset repository: Parquet files, a configuration per corpus, and a dataset card.

mosaic-ner publish_data --repo_id owner/mosaic-ner-corpora --data_dir D --output FOLDER \\
    --redistribute biored bioid gnormplus s800 tmvar3 [--upload]

`--output` gets exactly what `--upload` sends; without `--upload` nothing leaves the machine. Corpora without a licence that
allows redistribution are refused unless `--redistribute` names them: do so where you have their authors' permission.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from datasets import DatasetInfo, disable_progress_bars
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import DatasetCard, DatasetCardData
from mosaic_ner.data_builders.builder import FEATURES, build_corpus, example_to_document, missing_file_message
from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.corpora import CORPORA, MTL_LICENCE, NO_LICENCE, TEN, get_corpus
from mosaic_ner.data_builders.corpus import SPLITS, Corpus, MissingFileError
from mosaic_ner.data_builders.data_card import SplitStatistics, corpus_section, statistics
from mosaic_ner.data_builders.markdown import markdown_table

from .staging import PublishError, staged
from .upload import check_repo_id, upload_folder

logger = logging.getLogger(__name__)

LICENCES = {
    "CC0": ("cc0-1.0", True),
    "public domain": ("other", True),
    "CC BY 3.0": ("cc-by-3.0", True),
    "CC BY 4.0": ("cc-by-4.0", True),
    MTL_LICENCE: ("cc-by-4.0", True),
    "GENIA licence": ("other", False),
    "research only: the texts are Reuters' and go with NIST's agreement": ("other", False),
    NO_LICENCE: ("unknown", False),
}
"""Licence as `corpora.py` has it → (the Hub's name of it, whether it is known to allow redistribution)."""

COLUMNS = (
    ("`id`, `index`", "the record's id in its file, and which of the records with that id it is (from 0)"),
    ("`article`", "the article it is of, with its namespace (`pmid:…`); overlap between corpora is judged by this"),
    ("`corpus`", "the configuration's name"),
    ("`text`", "title and abstract, full text, passage or sentence, unchanged"),
    ("`passages`", "stretches of the text: `start`, `end`, `kind`, `infons`"),
    ("`mentions`", "gold mentions: `start`, `end` (code points of `text`, half-open), `type`, `identifiers`"),
    (
        "`annotated_types`",
        "the types that the corpus annotates; any other type is unknown in its documents, not absent",
    ),
    ("`infons`", "key-value pairs of the record"),
)
MADE_BY = "Made by `mosaic-ner publish_data` of mosaic-ner."


@dataclass
class PublishedCorpus:
    """One corpus as it is published.

    Attributes:
        files: split → its Parquet files, relative to the repository.
        info: sizes and features.
        statistics: split → counts.
        faults: cause → number, counted while the corpus's files were read.
        missing: splits that were not at hand.
        permitted: published because `--redistribute` names it.
    """

    corpus: Corpus
    files: dict[str, list[str]]
    info: DatasetInfo
    statistics: dict[str, SplitStatistics]
    faults: Counter[str]
    missing: list[str]
    permitted: bool


def check_licences(names: list[str], redistribute: list[str]) -> None:
    """Raises PublishError for corpora that may not be published, and for wrong names in `redistribute`."""
    for name in redistribute:
        if name not in names:
            raise PublishError(f"--redistribute {name}: not among --corpora ({', '.join(names)})")
    refused = [n for n in names if not LICENCES[get_corpus(n).licence][1] and n not in redistribute]
    if refused:
        licences = dict.fromkeys(CORPORA[name].licence for name in refused)
        reasons = "; ".join(
            f"{', '.join(n for n in refused if CORPORA[n].licence == licence)}: {licence}" for licence in licences
        )
        raise PublishError(
            f"no licence is known that allows others to publish these corpora ({reasons}). Leave them out of --corpora, "
            f"or, with their authors' permission, add `--redistribute {' '.join(refused)}`"
        )


def find_missing(names: list[str], data_dir: str | None) -> dict[str, list[str]]:
    """Corpus → the splits whose file isn't in `data_dir`; all are there if they are to be downloaded."""
    if data_dir is None:
        return {name: [] for name in names}
    return {n: [s for s, file in get_corpus(n).files.items() if file.find(data_dir) is None] for n in names}


def write_repository(
    folder: Path,
    repo_id: str,
    names: list[str],
    data_dir: str | None,
    *,
    cache_dir: str | None = None,
    redistribute: list[str] = (),
    skip_missing: bool = False,
    max_shard_size: str = "500MB",
) -> list[PublishedCorpus]:
    """Writes the repository's content: `NAME/SPLIT-00000-of-0000N.parquet` and README.md, the card.

    Args:
        folder: is made; an earlier output of this function is replaced, when the new one is complete.
        repo_id: `owner/name`, for the card.
        names: the corpora.
        data_dir: folder with their files; None downloads them.
        redistribute: those published by permission, see `LICENCES`.
        skip_missing: leave out splits whose file isn't in `data_dir`; the card says so.
        max_shard_size: of a Parquet file before compression, as `datasets` writes sizes.

    Raises:
        PublishError: a licence doesn't allow it, the folder holds something else, or a wrong size.
        CorpusError, MissingFileError, FormatError: see `load_corpus`; all missing files are named at once.
    """
    names = list(dict.fromkeys(names))
    check_licences(names, list(redistribute))
    try:
        shard_bytes = convert_file_size_to_int(max_shard_size)
    except ValueError:
        shard_bytes = 0
    if shard_bytes < 1:
        raise PublishError(f"--max_shard_size {max_shard_size!r}: expected a size such as 500MB")
    missing = find_missing(names, data_dir)
    empty = [name for name in names if len(missing[name]) == len(CORPORA[name].files)]
    gaps = empty if skip_missing else [name for name in names if missing[name]]
    if gaps:
        lines = [missing_file_message(CORPORA[n], split, data_dir) for n in gaps for split in missing[n]]
        remedy = "leave these corpora out of --corpora" if skip_missing else "or publish without them: --skip_missing"
        raise MissingFileError("\n".join([*lines, remedy]))
    check_output(folder)
    parts = []
    try:
        with staged(folder) as fresh:
            for name in names:
                wanted = [split for split in CORPORA[name].splits if split not in missing[name]]
                builder = build_corpus(name, data_dir, cache_dir, wanted)
                part = _write_part(fresh, builder, missing[name], name in redistribute, shard_bytes)
                parts.append(part)
                logger.info("%s: %s", name, ", ".join(f"{s.name} {s.num_examples}" for s in part.info.splits.values()))
            (fresh / "README.md").write_text(dataset_card(repo_id, parts) + "\n", encoding="utf-8")
    except OSError as error:
        if isinstance(error, MissingFileError):
            raise
        raise PublishError(f"--output: {str(folder)!r} can't be written ({error})") from error
    return parts


def check_output(folder: Path) -> None:
    """Raises PublishError unless the folder isn't there, is empty or was written by this program."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise PublishError(f"--output: {str(folder)!r} is a file, expected a folder")
    others = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".parquet" and p != folder / "README.md"]
    readme = folder / "README.md"
    ours = readme.is_file() and MADE_BY.partition(" publish_data")[2] in readme.read_text(
        encoding="utf-8", errors="replace"
    )
    if any(folder.iterdir()) and (others or not ours):
        what = others[0] if others else folder
        raise PublishError(
            f"--output: {str(folder)!r} holds something else ({what.name}); name a new or empty folder, or the earlier output "
            "of this command"
        )


def _write_part(folder: Path, builder, missing: list[str], permitted: bool, shard_bytes: int) -> PublishedCorpus:
    corpus = builder.config.corpus
    faults: Counter[str] = Counter()
    for counts in builder.read_reports().values():
        faults.update(counts["counts"])
    info = DatasetInfo(config_name=corpus.name, features=FEATURES, splits=SplitDict(), download_size=0, dataset_size=0)
    part = PublishedCorpus(corpus, {}, info, {}, faults, missing, permitted)
    (folder / corpus.name).mkdir()
    for split, rows in builder.as_dataset().items():
        size = builder.info.splits[split].num_bytes
        # One file per `shard_bytes`, named and numbered as `push_to_hub` does.
        shards = min(size // shard_bytes + 1, max(len(rows), 1))
        part.files[split] = [f"{corpus.name}/{split}-{i:05d}-of-{shards:05d}.parquet" for i in range(shards)]
        for number, name in enumerate(part.files[split]):
            rows.shard(shards, number, contiguous=True).to_parquet(folder / name)
            info.download_size += (folder / name).stat().st_size
        info.splits.add(SplitInfo(name=split, num_bytes=size, num_examples=len(rows)))
        info.dataset_size += size
        part.statistics[split] = statistics(map(example_to_document, rows))
    return part


def dataset_card(repo_id: str, parts: list[PublishedCorpus]) -> str:
    """The dataset card: metadata that lets `load_dataset(repo_id, corpus)` work, and what is in each corpus."""
    licences = sorted({LICENCES[p.corpus.licence][0] for p in parts})
    documents = sum(s.documents for p in parts for s in p.statistics.values())
    title = "Biomedical named entity recognition corpora, as mosaic-ner reads them"
    data = DatasetCardData(
        language="en",
        license=licences[0] if len(licences) == 1 else licences,
        pretty_name=title,
        task_categories=["token-classification"],
        task_ids=["named-entity-recognition"],
        size_categories=[size_category(documents)],
        tags=["biology", "medical", "named-entity-recognition", "mosaic-ner"],
    )
    DatasetInfosDict({p.corpus.name: p.info for p in parts}).to_dataset_card_data(data)
    # Exact paths: files of an earlier version with another number of shards would fit a pattern, too.
    configs = {
        p.corpus.name: {"data_files": [{"split": split, "path": files} for split, files in p.files.items()]}
        for p in parts
    }
    MetadataConfigs(configs).to_dataset_card_data(data)
    first = parts[0].corpus
    split = next(iter(parts[0].files))
    text = f"""# {title}

{len(parts)} corpora, one configuration each, as Parquet. {MADE_BY}
Texts and annotations are those of the published files; only mentions outside their text (`outside_text` below) can't be kept.
Mentions are in characters of the text, nested ones included.

```python
from datasets import load_dataset

rows = load_dataset("{repo_id}", "{first.name}", split="{split}")
```

With mosaic-ner installed, as its documents:

```python
from mosaic_ner.data_builders.published import load_published

documents = load_published("{repo_id}", "{first.name}")["{split}"]
```

{_overview(parts)}

**The corpora overlap**: abstracts of one corpus's test split are in the training splits of others, under the same `article` or
with the same text. Take them out of training before you measure; mosaic-ner does.

**Each corpus has its own licence**, see below; the metadata above can only list them. Please cite the corpora that you use.

## Columns

{markdown_table(["column", "content"], [list(row) for row in COLUMNS])}

{chr(10).join(map(_section, parts))}"""
    card = DatasetCard(f"---\n{data}\n---\n\n{text}")
    return str(card).rstrip("\n")


def size_category(documents: int) -> str:
    """The Hub's size category of a number of rows."""
    bounds = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M")]
    below = "n<1K"
    for (least, name), (_, following) in pairwise([*bounds, (10_000_000, "10M")]):
        if documents >= least:
            below = f"{name}<n<{following}"
    return below


def _overview(parts: list[PublishedCorpus]) -> str:
    rows = []
    for p in parts:
        sizes = [f"{p.statistics[s].documents:,}" if s in p.statistics else "-" for s in SPLITS]
        mentions = sum(s.mentions for s in p.statistics.values())
        rows.append([f"`{p.corpus.name}`", p.corpus.title, p.corpus.text, *sizes, f"{mentions:,}", p.corpus.licence])
    return markdown_table(["corpus", "title", "text", *SPLITS, "mentions", "licence"], rows)


def _section(part: PublishedCorpus) -> str:
    corpus, counts = part.corpus, part.statistics
    rows = [[f"`{t}`", *(f"{c.types[t]:,}" for c in counts.values())] for t in corpus.types]
    rows.append(["all", *(f"{c.mentions:,}" for c in counts.values())])
    lines = [f"- Licence: {corpus.licence}" + ("; published here by permission" if part.permitted else "")]
    nested = ", ".join(f"{split} {c.nested_pairs:,}" for split, c in counts.items() if c.nested_pairs)
    if nested:
        lines.append(f"- Pairs of nested mentions: {nested}")
    if part.missing:
        lines.append(f"- **Not included** (its file was not at hand): {', '.join(part.missing)}")
    if part.faults:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(part.faults.items()))
        lines.append(f"- Faults of the published files, counted and not repaired: {causes}")
    return f"""## {corpus.title} (`{corpus.name}`)

{chr(10).join(lines)}
{corpus_section(corpus)}

Mentions by type:

{markdown_table(["type", *counts], rows)}
"""


COMMAND = "mosaic-ner publish_data"


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the folder and, with `--upload`, sends it."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner publish_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--repo_id", help="the dataset repository, owner/name")
    parser.add_argument("--data_dir", help="folder with the corpora's files; without it they are downloaded")
    parser.add_argument("--corpora", nargs="+", default=list(TEN), help=f"by name (default: {' '.join(TEN)})")
    parser.add_argument("--output", type=Path, help="folder for what is (to be) uploaded")
    parser.add_argument(
        "--redistribute", nargs="+", default=[], metavar="CORPUS", help="publish these, too: their authors permit it"
    )
    parser.add_argument("--skip_missing", action="store_true", help="leave out splits whose file isn't in --data_dir")
    parser.add_argument("--max_shard_size", default="500MB", help="of a Parquet file (default: 500MB)")
    parser.add_argument("--cache_dir", help="cache of the built corpora; default: that of datasets")
    parser.add_argument("--upload", action="store_true", help="send the folder to the Hub; default: only write it")
    parser.add_argument("--private", action="store_true", help="with --upload: a private repository")
    parser.add_argument("--revision", help="with --upload: the branch (default: main)")
    parser.add_argument("--replace", action="store_true", help="with --upload: remove the repository's other files")
    options = parser.parse_args(argv)
    for name in ("repo_id", "output"):
        if getattr(options, name) is None:
            parser.error(f"--{name} is needed")
    for name in ("private", "revision", "replace"):
        if getattr(options, name) and not options.upload:
            parser.error(f"--{name} needs --upload")
    log_progress()
    disable_progress_bars()
    with one_message("publish_data"):
        check_repo_id(options.repo_id)
        parts = write_repository(
            options.output,
            options.repo_id,
            options.corpora,
            options.data_dir,
            cache_dir=options.cache_dir,
            redistribute=options.redistribute,
            skip_missing=options.skip_missing,
            max_shard_size=options.max_shard_size,
        )
        size = sum(part.info.download_size for part in parts) / 1e6
        sys.stdout.write(f"{options.output}: {len(parts)} corpora, {size:.1f} MB\n")
        if options.upload:
            done = upload_folder(
                options.output,
                options.repo_id,
                repo_type="dataset",
                private=options.private,
                revision=options.revision or "main",
                commit_message=f"Corpora: {', '.join(part.corpus.name for part in parts)}",
                replace=options.replace,
            )
            sys.stdout.write(f"{done.url}\n")
            if done.others:
                sys.stdout.write(f"left as they were (remove with --replace): {', '.join(done.others)}\n")


if __name__ == "__main__":
    main()
