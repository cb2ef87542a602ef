"""The corpora: one table row each — files per split, URLs, types, splits, licence, citation — and how they are read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import nearest

from .citations import CITATIONS
from .formats import ReadReport, read_documents

logger = logging.getLogger(__name__)

# Commits at which the files were seen, not branches: what is behind the URL cannot change under a cache. Some files are
# not in the index they were looked up in, so no commit is known to have them: they come from the default branch.
_RAW = "https://raw.githubusercontent.com/"
AIONER = _RAW + "ncbi/AIONER/b883c1a89485f8e187afa8425cbc4c958d0dab0d/data/pubtator/"
AIONER_HEAD = _RAW + "ncbi/AIONER/HEAD/data/pubtator/"
AIONER_EXAMPLE = _RAW + "ncbi/AIONER/a078dd4574128c1d0792789f626895e146fad45a/example/input/"
MTL_1 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/954a98f80c443ea96cc4af742eb0f6a7c89c40a2/data/"
MTL_2 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/d62961c5750439aec6396f5703f3a1c03d97ebd3/data/"
MTL_HEAD = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/HEAD/data/"
GENIA = _RAW + "yhcc/CNN_Nested_NER/1fd90b2808c9177ad75882584cd9ab3cf5867699/preprocess/outputs/genia/"
GENIA_HEAD = _RAW + "yhcc/CNN_Nested_NER/HEAD/preprocess/outputs/genia/"
JNLPBA_COMMIT = "c68b9e750c346103ab2381a63c915a45cc158d03"
JNLPBA = f"https://github.com/spyysalo/jnlpba/archive/{JNLPBA_COMMIT}.zip"

# `data_dir` may be the folder with the files or the one above it, sorted by format.
SUBFOLDERS = ("", "pubtator", "iob", "genia")
DEV_IDS_PATH = Path(__file__).with_name("biored_dev_ids.txt")
SPLITS = ("train", "validation", "test")


class CorpusError(ValueError):
    """An unknown corpus or split, or an id that a corpus's article rule doesn't fit."""


class MissingFileError(FileNotFoundError):
    """A corpus file that isn't there; the message names the file, its URL and the option to pass."""


@dataclass(frozen=True)
class SourceFile:
    """One published file.

    `name` is the file's name in its distribution, `aliases` other names it is kept under. Where `url` is an archive,
    `member` is the file or folder in it and `member_format` how that is written.
    """

    name: str
    format: str
    url: str
    aliases: tuple[str, ...] = ()
    member: str = ""
    member_format: str = ""

    def find(self, data_dir: str | Path) -> tuple[Path, str] | None:
        """The file in `data_dir` or one of its `SUBFOLDERS`, and its format; None if it isn't there."""
        names = [(name, self.format) for name in (self.name, *self.aliases)]
        if self.member:
            # The archive unpacked in `data_dir`, with or without its outermost folder.
            names += [(self.member, self.member_format), (self.member.split("/", 1)[-1], self.member_format)]
        for folder in SUBFOLDERS:
            for name, format in names:
                path = Path(data_dir) / folder / name
                if path.exists():
                    return path, format
        return None


@dataclass(frozen=True)
class Corpus:
    """One corpus as this package reads it.

    Attributes:
        files: split → file. BioRED's train and validation are two parts of one file, told apart by `validation_ids`.
        types: native types, as the files spell them, that the corpus annotates exhaustively.
        id_space: what the ids are (`pmid`, `pmcid`, `medline`); empty where records have no article id at all.
        article_pattern: regular expression whose first group is the article's id within a record's id.
        text: unit of text, as the papers name it (abstracts, full texts, ...).
        split_policy: where the splits come from.
        licence: as its authors publish it.
    """

    name: str
    title: str
    files: dict[str, SourceFile]
    types: tuple[str, ...]
    id_space: str
    text: str
    split_policy: str
    licence: str
    homepage: str
    citation: str
    article_pattern: str = r"(.+)"
    validation_ids: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> list[str]:
        """The splits this corpus has, in the order train, validation, test."""
        return [split for split in SPLITS if split in self.files]

    def article(self, document: Document, split: str) -> str:
        """The id by which leakage is judged, with its namespace, e.g. `pmid:10491763` or `pmcid:4304731`.

        Records without an article id get one that is theirs alone: equal running numbers are no overlap.

        Raises:
            CorpusError: the record's id doesn't fit the corpus's rule.
        """
        if not self.id_space:
            return f"{self.name}.{split}:{document.id}#{document.index}"
        match = re.fullmatch(self.article_pattern, document.article)
        if match is None:
            raise CorpusError(
                f"{document.name}: expected an article id of the form {self.article_pattern!r} ({self.id_space}), "
                f"got {document.article!r}; is this a file of {self.title}?"
            )
        return f"{self.id_space}:{match.group(1)}"

    def has(self, document_id: str, split: str) -> bool:
        """Whether a record of the split's file belongs to the split."""
        if not self.validation_ids or split == "test":
            return True
        return (document_id in self.validation_ids) == (split == "validation")


def _pubtator(stem: str, url: str = "") -> SourceFile:
    return SourceFile(f"{stem}.PubTator", "pubtator", (url or AIONER) + f"{stem}.PubTator")


def _iob(stem: str, url: str, folder: str = "") -> dict[str, SourceFile]:
    names = {"train": "train", "validation": "devel", "test": "test"}
    folder = folder or f"{stem}-IOB"
    return {s: SourceFile(f"{stem}_{n}.tsv", "iob2", f"{url}{folder}/{n}.tsv") for s, n in names.items()}


def _genia(part: str, url: str = GENIA) -> SourceFile:
    return SourceFile(f"genia_{part}.jsonl", "genia_jsonl", f"{url}{part}.jsonlines", aliases=(f"{part}.jsonlines",))


def _jnlpba(part: str) -> SourceFile:
    member = f"jnlpba-{JNLPBA_COMMIT}/standoff/{part.lower()}"
    return SourceFile(f"JNLPBA_{part}.PubTator", "pubtator", JNLPBA, member=member, member_format="brat")


AIONER_SPLIT = "AIONER's files: training is the published train and dev sets together, test the official test set"
AIONER_RANDOM = "AIONER's files: no official test set, so AIONER drew 20% at random (AIONER section 2.3)"
MTL_SPLIT = "train, devel and test of MTL-Bioinformatics-2016, as the SRU-NER multi-task experiment uses them"
NO_LICENCE = "published by its authors for research, without a named licence"
MTL_LICENCE = "CC BY 4.0 (MTL-Bioinformatics-2016)"
SENTENCES = "records are sentences without article ids: overlap is judged by text alone"

_TABLE = (
    Corpus(
        name="biored",
        title="BioRED",
        files={
            "train": _pubtator("BioRED_TrainDev"),
            "validation": _pubtator("BioRED_TrainDev"),
            "test": _pubtator("BioRED_Test", AIONER_EXAMPLE),
        },
        types=("Gene", "Disease", "Chemical", "Species", "Variant", "CellLine"),
        id_space="pmid",
        text="abstracts",
        split_policy="the authors' 400/100/100; AIONER joins train and dev in one file, the 100 ids of "
        "biored_dev_ids.txt part them again",
        licence=NO_LICENCE,
        homepage="https://ftp.ncbi.nlm.nih.gov/pub/lu/BioRED/",
        citation=CITATIONS["biored"],
        validation_ids=frozenset(DEV_IDS_PATH.read_text(encoding="ascii").split()),
    ),
    Corpus(
        name="bc5cdr",
        title="BC5CDR",
        files={"train": _pubtator("BC5CDR_TrainDev"), "test": _pubtator("BC5CDR_Test")},
        types=("Disease", "Chemical"),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_SPLIT,
        licence="public domain",
        homepage="https://biocreative.bioinformatics.udel.edu/tasks/biocreative-v/track-3-cdr/",
        citation=CITATIONS["bc5cdr"],
    ),
    Corpus(
        name="bioid",
        title="BioID",
        files={"train": _pubtator("BioID_Train_revision"), "test": _pubtator("BioID_Test_revision")},
        types=("CellLine",),
        id_space="pmcid",
        article_pattern=r"(\d+)\d{4}",
        text="figure captions of full texts",
        split_policy=AIONER_RANDOM + "; drawn by article, none is in both files",
        licence=NO_LICENCE,
        homepage="https://biocreative.bioinformatics.udel.edu/tasks/biocreative-vi/track-1/",
        citation=CITATIONS["bioid"],
        notes=(
            "a record is one caption passage; its id is the PMC id followed by four digits for figure and panel",
            "AIONER removed the suffix 'cell(s)' from the mentions (AIONER section 2.1); its `_revision` files "
            "already are the result. For files that still have it, `clean_suffix=True` applies the same rule.",
        ),
    ),
    Corpus(
        name="gnormplus",
        title="GNormPlus",
        files={"train": _pubtator("GNormPlus_Train"), "test": _pubtator("GNormPlus_Test")},
        types=("FamilyName", "Gene", "DomainMotif"),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_SPLIT,
        licence=NO_LICENCE,
        homepage="https://www.ncbi.nlm.nih.gov/research/bionlp/Tools/gnormplus/",
        citation=CITATIONS["gnormplus"],
    ),
    Corpus(
        name="linnaeus",
        title="Linnaeus",
        files={"train": _pubtator("Linnaeus_Train"), "test": _pubtator("Linnaeus_Test")},
        types=("Species",),
        id_space="pmcid",
        text="full texts",
        split_policy=AIONER_RANDOM,
        licence="CC BY 4.0",
        homepage="https://linnaeus.sourceforge.net/",
        citation=CITATIONS["linnaeus"],
        notes=("a record's abstract is the whole article, in one line",),
    ),
    Corpus(
        name="ncbi_disease",
        title="NCBI disease",
        files={"train": _pubtator("NCBIdisease_TrainDev"), "test": _pubtator("NCBIdisease_Test")},
        types=("DiseaseClass", "SpecificDisease", "CompositeMention", "Modifier"),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_SPLIT,
        licence="CC0",
        homepage="https://www.ncbi.nlm.nih.gov/CBBresearch/Dogan/DISEASE/",
        citation=CITATIONS["ncbi_disease"],
    ),
    Corpus(
        name="nlm_chem",
        title="NLM-Chem",
        files={"train": _pubtator("NLMchem_TrainDev", AIONER_HEAD), "test": _pubtator("NLMchem_Test")},
        types=("Chemical", "NonStandardRef", "OTHER"),
        id_space="pmid",
        text="full texts",
        split_policy=AIONER_SPLIT,
        licence="CC0",
        homepage="https://ftp.ncbi.nlm.nih.gov/pub/lu/NLMChem/",
        citation=CITATIONS["nlm_chem"],
        notes=("passages of one article share its id and are told apart by their index",),
    ),
    Corpus(
        name="nlm_gene",
        title="NLM-Gene",
        files={"train": _pubtator("NLMgene_Train"), "test": _pubtator("NLMgene_Test")},
        types=("Gene", "FamilyName", "Cell", "DomainMotif", "ChromosomeLocation"),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_SPLIT,
        licence="CC0",
        homepage="https://ftp.ncbi.nlm.nih.gov/pub/lu/NLMGene/",
        citation=CITATIONS["nlm_gene"],
    ),
    Corpus(
        name="s800",
        title="Species-800",
        files={"train": _pubtator("SPECIES_Train"), "test": _pubtator("SPECIES_Test")},
        types=("Species",),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_RANDOM,
        licence=NO_LICENCE,
        homepage="https://species.jensenlab.org/",
        citation=CITATIONS["s800"],
    ),
    Corpus(
        name="tmvar3",
        title="tmVar3",
        files={"train": _pubtator("tmVar3_Train"), "test": _pubtator("tmVar3_Test")},
        types=(
            "Gene",
            "Species",
            "Disease",
            "DNAMutation",
            "ProteinMutation",
            "OtherMutation",
            "CellLine",
            "AcidChange",
            "SNP",
            "DNAAllele",
            "ProteinAllele",
        ),
        id_space="pmid",
        text="abstracts",
        split_policy=AIONER_SPLIT,
        licence=NO_LICENCE,
        homepage="https://www.ncbi.nlm.nih.gov/research/bionlp/Tools/tmvar/",
        citation=CITATIONS["tmvar3"],
        notes=("CVAE-NER Table 7 also lists a Chemical of tmVar3; Table 6 and the files have none",),
    ),
    Corpus(
        name="jnlpba",
        title="JNLPBA",
        files={"train": _jnlpba("Train"), "test": _jnlpba("Test")},
        types=("protein", "DNA", "RNA", "cell_type", "cell_line"),
        id_space="medline",
        article_pattern=r"(\d+)(?:-\d+)?",
        text="abstracts",
        split_policy="the shared task's 2,000 training and 404 test abstracts; no validation set was published",
        licence="CC BY 3.0",
        homepage="http://www.geniaproject.org/shared-tasks/bionlp-jnlpba-shared-task-2004",
        citation=CITATIONS["jnlpba"],
        notes=(
            "ids are old MEDLINE numbers, not PMIDs, so overlap with the ten is judged by text",
            "its abstracts are those of GENIA: train on one and test on the other only with overlap removed",
            "the download is brat standoff, where a line break parts title and abstract; the PubTator form has a space",
        ),
    ),
    Corpus(
        name="bc2gm",
        title="BC2GM",
        files=_iob("BC2GM", MTL_1),
        types=("GENE",),
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=MTL_LICENCE,
        homepage="https://biocreative.sourceforge.net/",
        citation=CITATIONS["bc2gm"],
        notes=(SENTENCES,),
    ),
    Corpus(
        name="genia",
        title="GENIA",
        files={"train": _genia("train", GENIA_HEAD), "validation": _genia("dev"), "test": _genia("test")},
        types=("protein", "DNA", "RNA", "cell_type", "cell_line"),
        id_space="medline",
        article_pattern=r"MEDLINE:(\d+)(?:-\d+)?",
        text="abstracts, by sentence",
        split_policy="8:1:1 by document, of CNN_Nested_NER",
        licence="GENIA licence",
        homepage="http://www.geniaproject.org/",
        citation=CITATIONS["genia"],
        notes=("nested mentions; ids are MEDLINE numbers, see JNLPBA",),
    ),
    Corpus(
        name="mtl_bc5cdr",
        title="BC5CDR, by sentence",
        files=_iob("BC5CDR", MTL_2),
        types=("Disease", "Chemical"),
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=MTL_LICENCE,
        homepage="https://github.com/cambridgeltl/MTL-Bioinformatics-2016",
        citation=CITATIONS["mtl_bc5cdr"],
        notes=(SENTENCES,),
    ),
    Corpus(
        name="mtl_ncbi_disease",
        title="NCBI disease, by sentence",
        files=_iob("NCBI-disease", MTL_1),
        types=("Disease",),
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=MTL_LICENCE,
        homepage="https://github.com/cambridgeltl/MTL-Bioinformatics-2016",
        citation=CITATIONS["mtl_ncbi_disease"],
        notes=(SENTENCES,),
    ),
    Corpus(
        name="mtl_linnaeus",
        title="Linnaeus, by sentence",
        files=_iob("linnaeus", MTL_2),
        types=("Species",),
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=MTL_LICENCE,
        homepage="https://github.com/cambridgeltl/MTL-Bioinformatics-2016",
        citation=CITATIONS["mtl_linnaeus"],
        notes=(SENTENCES,),
    ),
    Corpus(
        name="mtl_bc4chemd",
        title="BC4CHEMD, by sentence",
        files=_iob("BC4CHEMD", MTL_HEAD, folder="BC4CHEMD"),
        types=("Chemical",),
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=NO_LICENCE,
        homepage="https://biocreative.bioinformatics.udel.edu/resources/biocreative-iv/chemdner-corpus/",
        citation=CITATIONS["mtl_bc4chemd"],
        notes=(
            SENTENCES,
            "its folder in MTL-Bioinformatics-2016 has no suffix -IOB, though the files are IOB; the authors of that "
            "collection call the corpus's redistribution status unclear",
        ),
    ),
)

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _TABLE}

TEN = (
    "biored",
    "bc5cdr",
    "bioid",
    "gnormplus",
    "linnaeus",
    "ncbi_disease",
    "nlm_chem",
    "nlm_gene",
    "s800",
    "tmvar3",
)
"""The corpora of AIONER and CVAE-NER."""


def get_corpus(name: str) -> Corpus:
    """The table row of a corpus.

    Raises:
        CorpusError: there is none of that name; the message gives the nearest.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}{nearest(name, CORPORA)}")
    return CORPORA[name]


def read_split(
    corpus: Corpus,
    split: str,
    path: str | Path,
    *,
    format: str | None = None,
    clean_suffix: bool = False,
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Documents of one split, straight from its file, one in memory at a time.

    Known faults of the published files are counted in `report` and kept as they are (policy "published"); the counts
    are those of the file, which BioRED's train and validation share.

    Args:
        path: the file (or folder) of the split.
        format: how it is written; the corpus's own format when None.
        clean_suffix: remove "cell(s)" from the end of mentions, see `without_cell_suffix`.

    Raises:
        FormatError: the file cannot be read.
        CorpusError: a record's id doesn't fit the corpus.
    """
    documents = read_documents(
        path,
        format or corpus.files[split].format,
        corpus=corpus.name,
        policy="published",
        report=report,
        annotated_types=frozenset(corpus.types),
        repeated_ids="index",
    )
    for number, document in enumerate(documents, 1):
        if corpus.has(document.id, split):
            if not corpus.id_space:
                # The reader names such records after the file, which has another name in the download cache.
                document = replace(document, id=f"{Path(corpus.files[split].name).stem}:{number}")
            document = replace(document, article=corpus.article(document, split))
            yield without_cell_suffix(document) if clean_suffix else document


_CELL_SUFFIX = re.compile(r"[\s-]+cells?$", re.IGNORECASE)


def without_cell_suffix(document: Document) -> Document:
    """AIONER's revision of BioID (section 2.1): mentions lose a final "cell" or "cells"; nothing else changes.

    For BioID as first published, where about 30% of the mentions have the suffix; AIONER's files are already without.
    """
    mentions = []
    for mention in document.mentions:
        surface = document.surface(mention)
        kept = _CELL_SUFFIX.sub("", surface)
        mentions.append(replace(mention, end=mention.start + len(kept)) if kept else mention)
    return document.with_mentions(mentions)
