"""One `datasets` builder for all corpora, a config each, and `load_corpus`, which hands out `Document`s.

    MosaicNERBuilder(config_name="biored", data_dir="corpora").download_and_prepare()
    documents = load_corpus("biored", data_dir="corpora")["test"]

`datasets` 5 runs no loading scripts, so the builder is used as a class.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
from datasets import Features, List, Value
from datasets.exceptions import DatasetGenerationError
from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import nearest

from .corpora import CORPORA, Corpus, CorpusError, MissingFileError, get_corpus, read_split
from .formats import ReadReport

logger = logging.getLogger(__name__)

# Bump with the parser (formats/, corpora.py, corpus.py) and with FEATURES: the cache knows files and options, not code.
VERSION = datasets.Version("1.0.1")
_INFONS = List({"key": Value("string"), "value": Value("string")})
FEATURES = Features(
    {
        "id": Value("string"),
        "index": Value("int64"),
        "article": Value("string"),
        "corpus": Value("string"),
        "text": Value("string"),
        "passages": List(
            {"start": Value("int64"), "end": Value("int64"), "kind": Value("string"), "infons": _INFONS},
        ),
        "mentions": List(
            {
                "start": Value("int64"),
                "end": Value("int64"),
                "type": Value("string"),
                "identifiers": List(Value("string")),
            }
        ),
        "annotated_types": List(Value("string")),
        "infons": _INFONS,
    }
)
"""One row a document. `start` and `end` are code points of `text`, half-open; `annotated_types` are native types."""


@dataclass
class MosaicNERConfig(datasets.BuilderConfig):
    """A corpus to build.

    Attributes:
        data_dir: folder with the corpus's files, or the one above `pubtator/`, `iob/`, `genia/`; None downloads them.
        splits: only these splits, separated by commas; all there are when empty. Named splits must be there.
        clean_suffix: remove "cell(s)" from the end of mentions (AIONER section 2.1), for BioID as first published. Off,
            because AIONER's files, which the URLs name, already are without.
    """

    splits: str = ""
    clean_suffix: bool = False

    @property
    def corpus(self) -> Corpus:
        """The corpus's table row; errors as `get_corpus`."""
        return get_corpus(self.name)

    @property
    def wanted(self) -> list[str]:
        """The splits to build; CorpusError if the corpus doesn't have one of them."""
        names = [name.strip() for name in self.splits.split(",") if name.strip()]
        for name in names:
            if name not in self.corpus.files:
                known = nearest(name, self.corpus.splits)
                raise CorpusError(f"corpus {self.name!r} has no split {name!r}{known}")
        return names or self.corpus.splits

    def create_config_id(self, config_kwargs: dict, custom_features: Features | None = None) -> str:
        """The cache folder's name. The content of local files is part of it, so an edited file is read again."""
        _ = self.wanted  # an unknown corpus or split fails before anything is made in the cache
        if config_kwargs.get("data_dir") is not None:
            config_kwargs = {**config_kwargs, "files": self._fingerprint(config_kwargs["data_dir"])}
        return super().create_config_id(config_kwargs, custom_features)

    def _fingerprint(self, data_dir: str | Path) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for split in self.wanted:
            located = self.corpus.files[split].find(data_dir)
            ids = self.corpus.files[split].ids
            lists = [located[0].with_name(ids)] if located and ids else []
            for path in [*_files(located[0]), *lists] if located else ():
                digest.update(f"{split}\0{path.name}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()


class MosaicNERBuilder(datasets.GeneratorBasedBuilder):
    """Builds any corpus of `corpora.CORPORA`; `config_name` is its name, `data_dir` a folder with its files."""

    VERSION = VERSION
    BUILDER_CONFIG_CLASS = MosaicNERConfig
    BUILDER_CONFIGS = [  # noqa: RUF012 - the base class's protocol
        MosaicNERConfig(name=corpus.name, version=VERSION, description=corpus.title) for corpus in CORPORA.values()
    ]

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("dataset_name", "mosaic_ner")
        super().__init__(*args, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        corpus = self.config.corpus
        return datasets.DatasetInfo(
            description="\n".join([f"{corpus.title}: {corpus.text}. {corpus.split_policy}.", *corpus.notes]),
            features=FEATURES,
            homepage=corpus.homepage,
            license=corpus.licence,
            citation=corpus.citation,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        if self.config.data_dir is not None:
            located = {split: (*found, None) for split, found in self._find_files(self.config.data_dir).items()}
        else:
            located = {split: self._download(split, dl_manager) for split in self.config.wanted}
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"split": split, "path": str(path), "format": format, "ids": ids}
            )
            for split, (path, format, ids) in located.items()
        ]

    def missing(self) -> dict[str, str]:
        """Split → what to do, for the wanted splits whose file isn't in `data_dir`."""
        corpus, data_dir = self.config.corpus, self.config.data_dir
        return {
            split: missing_file_message(corpus, split, data_dir)
            for split in self.config.wanted
            if data_dir is not None and corpus.files[split].find(data_dir) is None
        }

    def read_reports(self) -> dict[str, dict]:
        """File → what reading it counted, as `ReadReport.to_dict` has it; after `download_and_prepare`.

        By file, not by split: BioRED's train and validation are one file, whose faults count once.
        """
        paths = [Path(self.cache_dir) / _report_name(split) for split in self.info.splits or ()]
        return {data["file"]: data["report"] for data in (json.loads(p.read_text(encoding="utf-8")) for p in paths)}

    def _find_files(self, data_dir: str) -> dict[str, tuple[Path, str]]:
        found = {split: self.config.corpus.files[split].find(data_dir) for split in self.config.wanted}
        missing = self.missing()
        if missing and (self.config.splits or len(missing) == len(found)):
            raise MissingFileError("\n".join(missing.values()))
        return {split: file for split, file in found.items() if file is not None}

    def _download(self, split: str, dl_manager: datasets.DownloadManager) -> tuple[Path, str, str | None]:
        """The split's file, its format, and the list of its ids, if it has one."""
        file = self.config.corpus.files[split]
        try:
            if file.member:
                path = Path(dl_manager.download_and_extract(file.url)) / file.member
                if not path.exists():
                    raise FileNotFoundError(f"{file.member} is not in it")
                return path, file.member_format, None
            ids = dl_manager.download(file.ids_url) if file.ids else None
            return Path(dl_manager.download(file.url)), file.format, ids
        except (OSError, ValueError, asyncio.TimeoutError, zipfile.BadZipFile) as error:
            # The user needs to know which file, from where, and what else to do.
            raise MissingFileError(
                f"{self.config.name} ({split}): {_and(file.needed)} could not be downloaded from "
                f"{_and(file.needed.values())} ({error!r}); get the file and name its folder with --data_dir (data_dir=...)"
            ) from error

    def _generate_examples(self, split: str, path: str, format: str, ids: str | None) -> Iterator[tuple[int, dict]]:
        report, clean = ReadReport(), self.config.clean_suffix
        documents = read_split(
            self.config.corpus, split, path, format=format, ids=ids, clean_suffix=clean, report=report
        )
        number = -1
        for number, document in enumerate(documents):
            yield number, document_to_example(document)
        if number < 0:
            raise CorpusError(
                f"{path}: none of its {report.documents} records is in the split {split!r} of {self.config.name}, whose "
                f"ids the package knows; is this the published file of {self.config.corpus.title}?"
            )
        # Into the folder that becomes the cache entry, under its lock: whoever finds the data finds the counts.
        data = {"file": self.config.corpus.files[split].name, "report": report.to_dict()}
        Path(self._output_dir, _report_name(split)).write_text(json.dumps(data), encoding="utf-8")


def _report_name(split: str) -> str:
    return f"read_report-{split}.json"


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def missing_file_message(corpus: Corpus, split: str, data_dir: str | Path) -> str:
    """Which file isn't in `data_dir`, where it comes from and what to do."""
    file = corpus.files[split]
    return (
        f"{corpus.name} ({split}): {_and(file.needed)} is not in {str(data_dir)!r}; download it from "
        f"{_and(file.needed.values())} into that folder, name another with --data_dir (data_dir=...), or leave --data_dir "
        "out to have it downloaded"
    )


def load_corpus(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    report: ReadReport | None = None,
    splits: Iterable[str] | None = None,
    *,
    clean_suffix: bool = False,
) -> dict[str, list[Document]]:
    """The documents of a corpus by split, through `MosaicNERBuilder` and its cache; as if read directly.

    Args:
        name: a corpus of `corpora.CORPORA`.
        data_dir: folder with its files; None downloads them.
        cache_dir: where the built data is kept; the `datasets` default when None.
        report: what reading counted is added to it, from the cache too.
        splits: the splits wanted; every one must be there. When None, those there are: one whose file is missing in
            `data_dir` is logged as a warning and left out.
        clean_suffix: see `MosaicNERConfig`.

    Raises:
        CorpusError: no such corpus or split.
        MissingFileError: a file is missing, or cannot be downloaded.
        FormatError: a file cannot be read.
    """
    builder = build_corpus(name, data_dir, cache_dir, splits, clean_suffix=clean_suffix)
    if report is not None:
        for counts in builder.read_reports().values():
            report.merge(_report(counts))
    return {str(split): [*map(example_to_document, rows.to_list())] for split, rows in builder.as_dataset().items()}


def build_corpus(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    splits: Iterable[str] | None = None,
    *,
    clean_suffix: bool = False,
) -> MosaicNERBuilder:
    """The builder of a corpus, with the data in its cache: `as_dataset()` has the rows. Arguments and errors: `load_corpus`."""
    get_corpus(name)
    builder = MosaicNERBuilder(
        config_name=name,
        cache_dir=str(cache_dir) if cache_dir is not None else None,
        data_dir=str(data_dir) if data_dir is not None else None,
        **({"splits": ",".join(splits)} if splits is not None else {}),
        **({"clean_suffix": True} if clean_suffix else {}),
    )
    _prepare(builder)  # says itself what is missing where that is everything
    for message in builder.missing().values():
        logger.warning("%s", message)
    return builder


def _prepare(builder: MosaicNERBuilder) -> None:
    """`download_and_prepare`, raising what went wrong rather than that something did."""
    try:
        builder.download_and_prepare()
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise error.__cause__ from None
        raise


def _report(data: dict) -> ReadReport:
    report = ReadReport()
    report.documents, report.mentions = data["documents"], data["mentions"]
    report.counts.update(data["counts"])
    report.examples.update(data["examples"])
    return report


def document_to_example(document: Document) -> dict:
    """A row of `FEATURES`; scores of predictions have no column."""
    return {
        "id": document.id,
        "index": document.index,
        "article": document.article,
        "corpus": document.corpus,
        "text": document.text,
        "passages": [
            {"start": p.start, "end": p.end, "kind": p.kind, "infons": _pairs(p.infons)} for p in document.passages
        ],
        "mentions": [
            {"start": m.start, "end": m.end, "type": m.type, "identifiers": list(m.identifiers)}
            for m in document.mentions
        ],
        "annotated_types": None if document.annotated_types is None else sorted(document.annotated_types),
        "infons": _pairs(document.infons),
    }


def example_to_document(row: dict) -> Document:
    """The inverse of `document_to_example`."""
    return Document(
        id=row["id"],
        corpus=row["corpus"],
        text=row["text"],
        mentions=tuple(Mention(m["start"], m["end"], m["type"], tuple(m["identifiers"])) for m in row["mentions"]),
        annotated_types=None if row["annotated_types"] is None else frozenset(row["annotated_types"]),
        index=row["index"],
        article=row["article"],
        passages=tuple(Passage(p["start"], p["end"], p["kind"], _tuples(p["infons"])) for p in row["passages"]),
        infons=_tuples(row["infons"]),
    )


def _pairs(infons: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in infons]


def _tuples(pairs: list[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((pair["key"], pair["value"]) for pair in pairs)
