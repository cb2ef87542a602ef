"""The corpora: one table row each — files per split, URLs, types, splits, licence, citation — and their statistics.

`python -m mosaic_ner.data_builders.corpora --data_dir DIR --write_card` rebuilds DATA_CARD.md.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mosaic_ner.data_builders.formats import ReadReport, read_documents
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import nearest

logger = logging.getLogger(__name__)

# Commits at which the files were seen, not branches: what is behind the URL cannot change under a cache. Two files are
# larger than the index they were looked up in keeps, so they are taken from the default branch, beside their siblings.
_RAW = "https://raw.githubusercontent.com/"
AIONER = _RAW + "ncbi/AIONER/b883c1a89485f8e187afa8425cbc4c958d0dab0d/data/pubtator/"
AIONER_HEAD = _RAW + "ncbi/AIONER/HEAD/data/pubtator/"
AIONER_EXAMPLE = _RAW + "ncbi/AIONER/a078dd4574128c1d0792789f626895e146fad45a/example/input/"
MTL_1 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/954a98f80c443ea96cc4af742eb0f6a7c89c40a2/data/"
MTL_2 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/d62961c5750439aec6396f5703f3a1c03d97ebd3/data/"
GENIA = _RAW + "yhcc/CNN_Nested_NER/1fd90b2808c9177ad75882584cd9ab3cf5867699/preprocess/outputs/genia/"
GENIA_HEAD = _RAW + "yhcc/CNN_Nested_NER/HEAD/preprocess/outputs/genia/"
JNLPBA_COMMIT = "c68b9e750c346103ab2381a63c915a45cc158d03"
JNLPBA = f"https://github.com/spyysalo/jnlpba/archive/{JNLPBA_COMMIT}.zip"

# `data_dir` may be the folder with the files or the one above it, sorted by format.
SUBFOLDERS = ("", "pubtator", "iob", "genia")
DEV_IDS_PATH = Path(__file__).with_name("biored_dev_ids.txt")
CARD_PATH = Path(__file__).with_name("DATA_CARD.md")
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


def _iob(stem: str, url: str) -> dict[str, SourceFile]:
    names = {"train": "train", "validation": "devel", "test": "test"}
    return {s: SourceFile(f"{stem}_{n}.tsv", "iob2", f"{url}{stem}-IOB/{n}.tsv") for s, n in names.items()}


def _genia(part: str, url: str = GENIA) -> SourceFile:
    return SourceFile(f"genia_{part}.jsonl", "genia_jsonl", f"{url}{part}.jsonlines", aliases=(f"{part}.jsonlines",))


def _jnlpba(part: str) -> SourceFile:
    member = f"jnlpba-{JNLPBA_COMMIT}/standoff/{part.lower()}"
    return SourceFile(f"JNLPBA_{part}.PubTator", "pubtator", JNLPBA, member=member, member_format="brat")


def _citation(kind: str, key: str, **fields: str) -> str:
    body = "".join(f",\n  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key}{body}\n}}"


AIONER_SPLIT = "AIONER's files: training is the published train and dev sets together, test the official test set"
AIONER_RANDOM = "AIONER's files: no official test set, so AIONER drew 20% at random (AIONER section 2.3)"
MTL_SPLIT = "train, devel and test of MTL-Bioinformatics-2016, as the SRU-NER multi-task experiment uses them"
NO_LICENCE = "published by its authors for research, without a named licence"
MTL_LICENCE = "CC BY 4.0 (MTL-Bioinformatics-2016)"
SENTENCES = "records are sentences without article ids: overlap is judged by text alone"

_CRICHTON = _citation(
    "article",
    "crichton2017neural",
    title="A neural network multi-task learning approach to biomedical named entity recognition",
    author="Crichton, Gamal and Pyysalo, Sampo and Chiu, Billy and Korhonen, Anna",
    journal="BMC Bioinformatics",
    volume="18",
    number="368",
    year="2017",
    doi="10.1186/s12859-017-1776-8",
)
_BC5CDR = _citation(
    "article",
    "li2016biocreative",
    title="BioCreative V CDR task corpus: a resource for chemical disease relation extraction",
    author="Li, Jiao and Sun, Yueping and Johnson, Robin J. and Sciaky, Daniela and Wei, Chih-Hsuan and Leaman, Robert "
    "and Davis, Allan Peter and Mattingly, Carolyn J. and Wiegers, Thomas C. and Lu, Zhiyong",
    journal="Database",
    volume="2016",
    pages="baw068",
    year="2016",
    doi="10.1093/database/baw068",
)
_NCBI_DISEASE = _citation(
    "article",
    "dogan2014ncbi",
    title="{NCBI} disease corpus: a resource for disease name recognition and concept normalization",
    author="Do{\\u{g}}an, Rezarta Islamaj and Leaman, Robert and Lu, Zhiyong",
    journal="Journal of Biomedical Informatics",
    volume="47",
    pages="1--10",
    year="2014",
    doi="10.1016/j.jbi.2013.12.006",
)
_LINNAEUS = _citation(
    "article",
    "gerner2010linnaeus",
    title="{LINNAEUS}: a species name identification system for biomedical literature",
    author="Gerner, Martin and Nenadic, Goran and Bergman, Casey M.",
    journal="BMC Bioinformatics",
    volume="11",
    number="85",
    year="2010",
    doi="10.1186/1471-2105-11-85",
)

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
        citation=_citation(
            "article",
            "luo2022biored",
            title="{BioRED}: a rich biomedical relation extraction dataset",
            author="Luo, Ling and Lai, Po-Ting and Wei, Chih-Hsuan and Arighi, Cecilia N. and Lu, Zhiyong",
            journal="Briefings in Bioinformatics",
            volume="23",
            number="5",
            pages="bbac282",
            year="2022",
            doi="10.1093/bib/bbac282",
        ),
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
        citation=_BC5CDR,
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
        citation=_citation(
            "inproceedings",
            "arighi2017bioid",
            title="{Bio-ID} track overview",
            author="Arighi, Cecilia and Hirschman, Lynette and Lemberger, Thomas and Bayer, Samuel and Liechti, Robin "
            "and Comeau, Donald and Wu, Cathy",
            booktitle="Proceedings of the BioCreative VI Workshop",
            pages="28--31",
            year="2017",
        ),
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
        citation=_citation(
            "article",
            "wei2015gnormplus",
            title="{GNormPlus}: an integrative approach for tagging genes, gene families, and protein domains",
            author="Wei, Chih-Hsuan and Kao, Hung-Yu and Lu, Zhiyong",
            journal="BioMed Research International",
            volume="2015",
            pages="918710",
            year="2015",
            doi="10.1155/2015/918710",
        ),
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
        citation=_LINNAEUS,
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
        citation=_NCBI_DISEASE,
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
        citation=_citation(
            "article",
            "islamaj2021nlmchem",
            title="{NLM-Chem}, a new resource for chemical entity recognition in {PubMed} full text literature",
            author="Islamaj, Rezarta and Leaman, Robert and Kim, Sun and Kwon, Dongseop and Wei, Chih-Hsuan and "
            "Comeau, Donald C. and Peng, Yifan and Cissel, David and Coss, Cathleen and Fisher, Carol and others",
            journal="Scientific Data",
            volume="8",
            pages="91",
            year="2021",
            doi="10.1038/s41597-021-00875-1",
        ),
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
        citation=_citation(
            "article",
            "islamaj2021nlmgene",
            title="{NLM-Gene}, a richly annotated gold standard dataset for gene entities that addresses ambiguity and "
            "multi-species gene recognition",
            author="Islamaj, Rezarta and Wei, Chih-Hsuan and Cissel, David and Miliaras, Nicholas and Printseva, Olga "
            "and Rodionov, Oleg and Sekiya, Keiko and Ward, Janice and Lu, Zhiyong",
            journal="Journal of Biomedical Informatics",
            volume="118",
            pages="103779",
            year="2021",
            doi="10.1016/j.jbi.2021.103779",
        ),
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
        citation=_citation(
            "article",
            "pafilis2013species",
            title="The {SPECIES} and {ORGANISMS} resources for fast and accurate identification of taxonomic names "
            "in text",
            author="Pafilis, Evangelos and Frankild, Sune P. and Fanini, Lucia and Faulwetter, Sarah and "
            "Pavloudi, Christina and Vasileiadou, Aikaterini and Arvanitidis, Christos and Jensen, Lars Juhl",
            journal="PLoS ONE",
            volume="8",
            number="6",
            pages="e65390",
            year="2013",
            doi="10.1371/journal.pone.0065390",
        ),
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
        citation=_citation(
            "article",
            "wei2022tmvar",
            title="{tmVar} 3.0: an improved variant concept recognition and normalization tool",
            author="Wei, Chih-Hsuan and Allot, Alexis and Riehle, Kevin and Milosavljevic, Aleksandar and Lu, Zhiyong",
            journal="Bioinformatics",
            volume="38",
            number="18",
            pages="4449--4451",
            year="2022",
            doi="10.1093/bioinformatics/btac537",
        ),
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
        citation=_citation(
            "inproceedings",
            "collier2004introduction",
            title="Introduction to the Bio-entity Recognition Task at {JNLPBA}",
            author="Collier, Nigel and Ohta, Tomoko and Tsuruoka, Yoshimasa and Tateisi, Yuka and Kim, Jin-Dong",
            booktitle="Proceedings of the International Joint Workshop on Natural Language Processing in Biomedicine "
            "and its Applications (NLPBA/BioNLP)",
            pages="73--78",
            year="2004",
        ),
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
        citation=_citation(
            "article",
            "smith2008overview",
            title="Overview of {BioCreative} {II} gene mention recognition",
            author="Smith, Larry and Tanabe, Lorraine K. and Ando, Rie Johnson nee and Kuo, Cheng-Ju and Chung, I-Fang "
            "and others",
            journal="Genome Biology",
            volume="9",
            number="Suppl 2",
            pages="S2",
            year="2008",
            doi="10.1186/gb-2008-9-s2-s2",
        )
        + "\n"
        + _CRICHTON,
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
        citation=_citation(
            "article",
            "kim2003genia",
            title="{GENIA} corpus — a semantically annotated corpus for bio-textmining",
            author="Kim, Jin-Dong and Ohta, Tomoko and Tateisi, Yuka and Tsujii, Jun'ichi",
            journal="Bioinformatics",
            volume="19",
            number="suppl 1",
            pages="i180--i182",
            year="2003",
            doi="10.1093/bioinformatics/btg1023",
        ),
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
        citation=_BC5CDR + "\n" + _CRICHTON,
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
        citation=_NCBI_DISEASE + "\n" + _CRICHTON,
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
        citation=_LINNAEUS + "\n" + _CRICHTON,
        notes=(SENTENCES,),
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


# --- statistics and the data card ------------------------------------------------------------------------------------

# Published figures that the built corpora are held against.
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
# (corpus, published figure, built figure) → why. The built figure is in the key so that no explanation outlives it.
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
    """Counts of one split. `nested_pairs`: pairs of mentions of which one lies inside the other."""

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
        # Sorted by start, longest first: those inside follow it, until one starts at or behind its end.
        for other_start, other_end in spans[position + 1 :]:
            if other_start >= -end:
                break
            pairs += other_end >= end
    return pairs


def built_statistics(
    data_dir: str | Path, names: Iterable[str] = tuple(CORPORA)
) -> dict[str, tuple[dict[str, SplitStatistics], ReadReport]]:
    """Corpus → (split → counts, what reading its files counted), of the corpora and splits whose files are there."""
    result = {}
    for name in names:
        corpus, report, seen = get_corpus(name), ReadReport(), set()
        splits = {}
        for split in corpus.splits:
            found = corpus.files[split].find(data_dir)
            if found is None:
                continue
            path, format = found
            # BioRED's train and validation are one file: its faults count once.
            counts = report if path not in seen else ReadReport()
            seen.add(path)
            splits[split] = statistics(read_split(corpus, split, path, format=format, report=counts))
        result[name] = (splits, report)
    return result


def data_card(data_dir: str | Path) -> str:
    """DATA_CARD.md: what was built from `data_dir`, beside the published figures; holds no path and no text."""
    built = built_statistics(data_dir)
    parts = [
        "# Data card",
        "Generated by `python -m mosaic_ner.data_builders.corpora --data_dir DIR --write_card`; do not edit.",
        "A *document* is a record of a file: an abstract, a full text, a passage (NLM-Chem, BioID) or a sentence. "
        "Leakage is judged by *article*. Which native type is which shared type is in `label_mapping.tsv`.",
        "## Corpora\n\n" + _corpora_table(),
        *(f"### {c.title} (`{c.name}`)\n\n" + _corpus_section(c) for c in CORPORA.values()),
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
    return "\n\n".join(parts) + "\n"


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _corpora_table() -> str:
    rows = (
        [f"`{c.name}`", c.title, c.text, ", ".join(c.splits), c.id_space or "none", c.licence] for c in CORPORA.values()
    )
    return _table(["corpus", "title", "text", "splits", "ids", "licence"], rows)


def _corpus_section(corpus: Corpus) -> str:
    lines = [f"- Home: <{corpus.homepage}>", f"- Splits: {corpus.split_policy}"]
    lines += [f"- {split}: `{file.name}` from <{file.url}>" for split, file in corpus.files.items()]
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
    parser = argparse.ArgumentParser(description="Statistics of the corpora beside the published figures, as Markdown.")
    parser.add_argument("--data_dir", required=True, help="folder with the corpora's files, or the one above them")
    parser.add_argument("--write_card", action="store_true", help=f"write {CARD_PATH.name} beside this module")
    options = parser.parse_args(arguments)
    card = data_card(options.data_dir)
    if options.write_card:
        CARD_PATH.write_text(card, encoding="utf-8")
    else:
        sys.stdout.write(card)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
