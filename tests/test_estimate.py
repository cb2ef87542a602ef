"""benchmarks/estimate.py counts what a textbook counts."""

from __future__ import annotations

import sys

import pytest
from helpers_run import ROOT
from mosaic_ner.analysis.study import Study
from mosaic_ner.prediction.options import IN_THE_BOX
from transformers import BertConfig

sys.path.insert(0, str(ROOT / "benchmarks"))
import estimate


def test_a_step_has_the_products_of_encoder_classifier_and_crf_and_twice_as_many_backwards():
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    found = estimate.step(BertConfig(vocab_size=100, **shape), 3, 20)
    labels = estimate.AIONERConfig.from_pretrained(IN_THE_BOX).num_labels
    tokens = 3 * 20
    layer = 2 * tokens * (4 * 32 * 32 + 2 * 32 * 48) + 2 * 2 * tokens * 20 * 32
    # The CRF of three windows: 19 steps' matrices become one by 18 products, and the first labels' scores go through it.
    crf = 3 * (18 * 2 * labels**3 + 2 * labels**2)
    assert found["forward"] == 2 * layer + 2 * tokens * 32 * labels + crf
    assert found["update"] == 3 * found["forward"]
    # In bfloat16 a layer keeps at least its input, queries, keys, values, attention and the layer between.
    assert found["kept"] > 2 * 2 * tokens * (5 * 32 + 48 + 4 * 20)


def test_hours_are_operations_by_rate():
    counted = {"forward": 10**12, "update": 3 * 10**12}
    assert estimate.hours(counted, 3600, 0, 4, 3) == pytest.approx(1.0)
    assert estimate.hours(counted, 0, 4 * 3600 * 3, 4, 3) == pytest.approx(1.0)


def test_the_table_has_every_cell(monkeypatch):
    study = Study.read(estimate.STUDY)
    monkeypatch.setattr(
        estimate, "step", lambda *_: {"forward": 10**15, "update": 3 * 10**15, "parameters": 10**9, "kept": 10**9}
    )
    lines = estimate.table(study).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == [*study.cells, "all"]
    control, completed = (next(line for line in lines if name in line).split("|") for name in ("control", "completed"))
    assert control[2:4] == completed[2:4]
    assert float(completed[5]) > float(control[5])
    assert control[7].strip() == "17.0"
