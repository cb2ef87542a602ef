"""The table of the corpora: files per split, URLs, types, licence and notes of each."""

from __future__ import annotations

from pathlib import Path

from mosaic_ner.modeling.label_space import nearest

from .corpus import SPLITS, Corpus, CorpusError, MissingFileError, SourceFile, one_type, read_split

__all__ = ["CORPORA", "SPLITS", "TEN", "Corpus", "CorpusError", "MissingFileError", "get_corpus", "read_split"]

# URLs name commits, so that a cached file cannot change. HEAD stands where no commit is known to hold the file.
_RAW = "https://raw.githubusercontent.com/"
AIONER = _RAW + "ncbi/AIONER/b883c1a89485f8e187afa8425cbc4c958d0dab0d/data/pubtator/"
AIONER_HEAD = _RAW + "ncbi/AIONER/HEAD/data/pubtator/"
AIONER_EXAMPLE = _RAW + "ncbi/AIONER/a078dd4574128c1d0792789f626895e146fad45a/example/input/"
MTL_1 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/954a98f80c443ea96cc4af742eb0f6a7c89c40a2/data/"
MTL_2 = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/d62961c5750439aec6396f5703f3a1c03d97ebd3/data/"
MTL_HEAD = _RAW + "cambridgeltl/MTL-Bioinformatics-2016/HEAD/data/"
GENIA = _RAW + "yhcc/CNN_Nested_NER/1fd90b2808c9177ad75882584cd9ab3cf5867699/preprocess/outputs/genia/"
GENIA_HEAD = _RAW + "yhcc/CNN_Nested_NER/HEAD/preprocess/outputs/genia/"
MEDMENTIONS = _RAW + "chanzuckerberg/MedMentions/HEAD/"
SCAI = "https://www.scai.fraunhofer.de/content/dam/scai/de/downloads/bioinformatik/"
HUNER = _RAW + "hu-ner/huner/478c2577c667249935b8a0779a211b14e1a32094/ner_scripts/splits/"
CONLL = "https://data.deepai.org/conll2003.zip"
JNLPBA_COMMIT = "c68b9e750c346103ab2381a63c915a45cc158d03"
JNLPBA = f"https://github.com/spyysalo/jnlpba/archive/{JNLPBA_COMMIT}.zip"

MEDMENTIONS_TYPES = tuple(
    f"T{n:03}" for n in (5, 7, 17, 22, 31, 33, 37, 38, 58, 62, 74, 82, 91, 92, 97, 98, 103, 168, 170, 201, 204)
)
DEV_IDS_PATH = Path(__file__).with_name("biored_dev_ids.txt")
IB_SPLIT = (
    "the published train, dev and test sets; AIONER joins train and dev in one file, the ids of {} part them again"
)

AIONER_SPLIT = "AIONER's files: training is the published train and dev sets together, test the official test set"
AIONER_RANDOM = "AIONER's files: no official test set, so AIONER drew 20% at random (AIONER section 2.3)"
MTL_SPLIT = "train, devel and test of MTL-Bioinformatics-2016, as the SRU-NER multi-task experiment uses them"
HUNER_SPLIT = "HUNER's lists of ids, which flair and so SRU-NER's cross-corpus experiment use"
SCAI_HOME = "https://www.scai.fraunhofer.de/en/business-research-areas/bioinformatics/downloads/"
SCAI_BYTES = (
    "its encoding isn't documented: read as Latin-1, as HUNER and flair do (BigBIO: Mac Roman), no file was at hand"
)
NO_LICENCE = "published by its authors for research, without a named licence"
MTL_LICENCE = "CC BY 4.0 (MTL-Bioinformatics-2016)"
MTL_HOME = "https://github.com/cambridgeltl/MTL-Bioinformatics-2016"
SENTENCES = "records are sentences without article ids: overlap is judged by text alone"


def _pubtator(stem: str, url: str = "") -> SourceFile:
    return SourceFile(f"{stem}.PubTator", "pubtator", (url or AIONER) + f"{stem}.PubTator")


def _iob(stem: str, url: str, folder: str = "") -> dict[str, SourceFile]:
    names = {"train": "train", "validation": "devel", "test": "test"}
    folder = folder or f"{stem}-IOB"
    return {s: SourceFile(f"{stem}_{n}.tsv", "iob2", f"{url}{folder}/{n}.tsv") for s, n in names.items()}


def _genia(part: str, url: str = GENIA) -> SourceFile:
    return SourceFile(f"genia_{part}.jsonl", "genia_jsonl", f"{url}{part}.jsonlines", aliases=(f"{part}.jsonlines",))


def _medmentions(part: str) -> SourceFile:
    ids = f"corpus_pubtator_pmids_{part}.txt"
    url = MEDMENTIONS + "st21pv/data/corpus_pubtator.txt.gz"
    return SourceFile("corpus_pubtator.txt.gz", "pubtator", url, ids=ids, ids_url=f"{MEDMENTIONS}full/data/{ids}")


def _conll(part: str, published: str) -> SourceFile:
    name, member = f"conll2003_{part}.txt", f"{part}.txt"
    return SourceFile(name, "iob2", CONLL, aliases=(published,), member=member, member_format="iob2")


def _scai(name: str, url: str, **source) -> dict[str, SourceFile]:
    files = {}
    for split, part in {"train": "train", "validation": "dev", "test": "test"}.items():
        ids = f"{name}.{part}"
        files[split] = SourceFile(Path(url).name, "scai", SCAI + url, ids=ids, ids_url=HUNER + ids, **source)
    return files


def _jnlpba(part: str) -> SourceFile:
    member = f"jnlpba-{JNLPBA_COMMIT}/standoff/{part.lower()}"
    return SourceFile(f"JNLPBA_{part}.PubTator", "pubtator", JNLPBA, member=member, member_format="brat")


def _by_sentence(
    name: str,
    title: str,
    files: dict[str, SourceFile],
    types: tuple[str, ...],
    homepage: str = MTL_HOME,
    licence: str = MTL_LICENCE,
    notes: tuple[str, ...] = (),
) -> Corpus:
    """A corpus of MTL-Bioinformatics-2016."""
    return Corpus(
        name=name,
        title=title,
        files=files,
        types=types,
        id_space="",
        text="sentences",
        split_policy=MTL_SPLIT,
        licence=licence,
        homepage=homepage,
        notes=(SENTENCES, *notes),
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
        notes=(
            "ids are old MEDLINE numbers, not PMIDs, so overlap with the ten is judged by text",
            "its abstracts are those of GENIA: train on one and test on the other only with overlap removed",
            "the download is brat standoff, where a line break parts title and abstract; the PubTator form has a space",
        ),
    ),
    _by_sentence(
        name="bc2gm",
        title="BC2GM",
        files=_iob("BC2GM", MTL_1),
        types=("GENE",),
        homepage="https://biocreative.sourceforge.net/",
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
        notes=("nested mentions; ids are MEDLINE numbers, see JNLPBA",),
    ),
    _by_sentence(
        name="mtl_bc5cdr",
        title="BC5CDR, by sentence",
        files=_iob("BC5CDR", MTL_2),
        types=("Disease", "Chemical"),
    ),
    _by_sentence(
        name="mtl_ncbi_disease",
        title="NCBI disease, by sentence",
        files=_iob("NCBI-disease", MTL_1),
        types=("Disease",),
    ),
    _by_sentence(
        name="mtl_linnaeus",
        title="Linnaeus, by sentence",
        files=_iob("linnaeus", MTL_2),
        types=("Species",),
    ),
    _by_sentence(
        name="mtl_bc4chemd",
        title="BC4CHEMD, by sentence",
        files=_iob("BC4CHEMD", MTL_HEAD, folder="BC4CHEMD"),
        types=("Chemical",),
        licence=NO_LICENCE,
        homepage="https://biocreative.bioinformatics.udel.edu/resources/biocreative-iv/chemdner-corpus/",
        notes=(
            "its folder in MTL-Bioinformatics-2016 has no suffix -IOB, though the files are IOB; the authors of that "
            "collection call the corpus's redistribution status unclear",
        ),
    ),
    Corpus(
        name="mtl_jnlpba",
        title="JNLPBA, with a development set",
        files=_iob("JNLPBA", MTL_1, folder="JNLPBA") | {"train": _iob("JNLPBA", MTL_HEAD, folder="JNLPBA")["train"]},
        types=("protein", "DNA", "RNA", "cell_type", "cell_line"),
        id_space="",
        text="abstracts, by sentence",
        split_policy=MTL_SPLIT,
        licence="CC BY 3.0",
        homepage=MTL_HOME,
        notes=(
            "records are abstracts without article ids, a sentence a line: overlap is judged by text alone",
            "its folder in MTL-Bioinformatics-2016 has no suffix -IOB, though the files are IOB",
        ),
    ),
    Corpus(
        name="medmentions",
        title="MedMentions ST21pv",
        files={"train": _medmentions("trng"), "validation": _medmentions("dev"), "test": _medmentions("test")},
        types=MEDMENTIONS_TYPES,
        id_space="pmid",
        text="abstracts",
        split_policy="the authors' lists of ids, 60:20:20",
        licence="CC0",
        homepage="https://github.com/chanzuckerberg/MedMentions",
        notes=(
            "the 21 semantic types of UMLS that its authors chose for retrieval; what the joint information bottleneck's "
            "paper calls MedMentions-21",
        ),
    ),
    Corpus(
        name="scai_chemicals",
        title="SCAI Chemical",
        files=_scai(
            "scai_chemicals",
            "Corpora-for-Chemical-Entity-Recognition/chemicals-test-corpus-27-04-2009-v3_iob.gz",
            aliases=("chemicals-test-corpus-27-04-2009-v3.iob",),
        ),
        types=("FAMILY", "TRIVIALVAR", "PARTIUPAC", "TRIVIAL", "ABBREVIATION", "IUPAC", "MODIFIER", "SUM"),
        id_space="pmid",
        text="abstracts",
        split_policy=HUNER_SPLIT,
        licence=NO_LICENCE,
        homepage=SCAI_HOME + "corpora-for-chemical-entity-recognition.html",
        notes=(SCAI_BYTES,),
    ),
    Corpus(
        name="scai_disease",
        title="SCAI Disease",
        files=_scai("scai_disease", "Disease-ae-corpus.iob"),
        types=("DISEASE", "ADVERSE"),
        id_space="pmid",
        text="abstracts",
        split_policy=HUNER_SPLIT,
        licence=NO_LICENCE,
        homepage=SCAI_HOME + "corpus-for-disease-names-and-adverse-effects.html",
        notes=(SCAI_BYTES,),
    ),
    Corpus(
        name="conll2003",
        title="CoNLL-2003, English",
        files={
            "train": _conll("train", "eng.train"),
            "validation": _conll("valid", "eng.testa"),
            "test": _conll("test", "eng.testb"),
        },
        types=("PER", "ORG", "LOC", "MISC"),
        id_space="",
        text="newswire, by sentence",
        split_policy="the shared task's eng.train, eng.testa and eng.testb",
        licence="research only: the texts are Reuters' and go with NIST's agreement",
        homepage="https://www.clips.uantwerpen.be/conll2003/ner/",
        notes=(
            "records are articles without ids, a sentence a line: overlap is judged by text alone",
            "the archive is the one that tensorflow_datasets names; the shared task's own files are read, too, under their own "
            "names: their tags are IOB1, the archive's IOB2, of which the reader makes the same mentions",
        ),
    ),
)

_CLASSES = dict.fromkeys(("DiseaseClass", "SpecificDisease", "CompositeMention", "Modifier"), "Disease")
_TWICE = "one training document comes twice in the file and once here, so that 592 remain (joint IB, Table 1)"
_ROWS = {corpus.name: corpus for corpus in _TABLE}
_ONE_TYPE = (  # the corpora of the joint information bottleneck (Table 1)
    one_type(
        _ROWS["ncbi_disease"], "ncbi_disease_dev_ids.txt", "ncbi_one_type", "NCBI disease, one type", _CLASSES, _TWICE
    ),
    *(
        one_type(_ROWS["bc5cdr"], "bc5cdr_dev_ids.txt", f"bc5cdr_{t.lower()}", f"BC5CDR-{t}", {t: t})
        for t in ("Disease", "Chemical")
    ),
)

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (*_TABLE, *_ONE_TYPE)}

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
