"""The published corpora: counts as their README states them, and round trips."""

from pathlib import Path

import pytest
from mosaic_ner.data_builders.formats import ReadReport, read_documents, write_documents

CORPORA = Path(__file__).resolve().parents[1].parent / "shared" / "corpora"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CORPORA.is_dir(), reason="the real corpora are not in ../shared/corpora"),
]

# file stem → documents, mentions, mentions whose offsets do not fit the text (JNLPBA's mentions: lines of the file)
PUBTATOR = {
    "BioRED_TrainDev": (500, 16884, 0), "BioRED_Test": (100, 3535, 0),
    "BC5CDR_TrainDev": (1000, 18974, 0), "BC5CDR_Test": (500, 9796, 0),
    "BioID_Train_revision": (9704, 4137, 1), "BioID_Test_revision": (3993, 1453, 0),
    "GNormPlus_Train": (432, 5793, 35), "GNormPlus_Test": (262, 4849, 4),
    "Linnaeus_Train": (80, 2321, 0), "Linnaeus_Test": (20, 576, 0),
    "NCBIdisease_TrainDev": (693, 5932, 1), "NCBIdisease_Test": (100, 960, 0),
    "NLMchem_Test": (3428, 12411, 0),
    "NLMgene_Train": (450, 13797, 11), "NLMgene_Test": (100, 3053, 0),
    "SPECIES_Train": (639, 3053, 0), "SPECIES_Test": (160, 739, 0),
    "tmVar3_Train": (342, 7957, 21), "tmVar3_Test": (158, 4625, 0),
    "JNLPBA_Train": (2000, 51301, 0), "JNLPBA_Test": (404, 8662, 0),
}  # fmt: skip
IOB = ["BC2GM", "BC5CDR", "NCBI-disease", "linnaeus"]


def round_trip(documents, path):
    """Written without any loss and read back strictly."""
    assert not write_documents(documents, path).counts
    return list(read_documents(path, repeated_ids="index"))


@pytest.mark.parametrize("stem", PUBTATOR)
def test_pubtator_counts_and_round_trips(stem, tmp_path):
    report = ReadReport()
    path = CORPORA / "pubtator" / f"{stem}.PubTator"
    documents = list(read_documents(path, policy="lenient", report=report))
    faults = report.counts["text_mismatch"] + report.counts["outside_text"]
    assert (report.documents, report.mentions, faults) == PUBTATOR[stem]
    assert set(report.counts) <= {"text_mismatch", "outside_text", "repeated_id"}
    assert sum(len(document.mentions) for document in documents) == report.mentions - report.counts["outside_text"]
    for ending in ("pubtator", "bioc.xml", "bioc.json", "jsonl"):
        assert round_trip(documents, tmp_path / f"x.{ending}") == documents, ending


@pytest.mark.parametrize("split", ["train", "devel", "test"])
@pytest.mark.parametrize("stem", IOB)
def test_iob_round_trips(stem, split, tmp_path):
    path = CORPORA / "iob" / f"{stem}_{split}.tsv"
    report = ReadReport()
    documents = list(read_documents(path, report=report))
    lines = path.read_text(encoding="utf-8").split("\n")
    assert report.mentions == sum("\tB-" in line for line in lines)
    assert sum(len(document.text.split(" ")) for document in documents) == sum(bool(line) for line in lines)
    assert not report.counts
    assert round_trip(documents, tmp_path / "x.tsv") == documents


def test_genia_round_trips_with_its_nested_mentions(tmp_path):
    report = ReadReport()
    documents = list(read_documents(CORPORA / "genia" / "genia_dev.jsonl", "genia_jsonl", report=report))
    assert report.documents == 1765
    assert not report.counts
    nested = [(a, b) for d in documents for a in d.mentions for b in d.mentions if a.start <= b.start < b.end < a.end]
    assert nested
    for ending in ("jsonl", "bioc.xml", "bioc.json"):
        assert round_trip(documents, tmp_path / f"x.{ending}") == documents, ending
