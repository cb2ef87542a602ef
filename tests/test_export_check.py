"""Comparing a stock export with its original: differences are counted, texts are cut, long ones are read in stretches."""

from __future__ import annotations

import json

import pytest
from helpers_export import softmax_tagger
from mosaic_ner.hub import export, stock
from mosaic_ner.hub.export_check import TextPart, compare, parts_of
from mosaic_ner.hub.space.taggers import Tagger
from mosaic_ner.hub.stock import StockPredictor, export_stock, label_rows
from mosaic_ner.hub.stride import stride_for
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.handler import EndpointHandler
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import Windower


@pytest.fixture(scope="module")
def tagger(build_bundle, bert_dir):
    return softmax_tagger(build_bundle, bert_dir)


@pytest.fixture(scope="module")
def tagger_dir(tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    tagger.save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    export_stock(tagger.model, tagger.tokenizer, folder)
    return folder


# ---- long texts


def test_what_the_widget_would_lose_is_counted(exported, tagger, demo_texts):
    text = " ".join(demo_texts[:10])
    assert len(tagger.tokenizer(text)["input_ids"]) > 1500
    report = export.compare_stock(
        tagger.model,
        tagger.tokenizer,
        exported,
        "ALL",
        [Document("long", "x", text), Document("short", "x", "BRCA1.")],
    )
    read = StockPredictor(exported).reads(text)
    assert report["compared"]["differences"] == 0
    assert report["in_parts"] == report["whole_text"]["truncated"] == ["long"]
    assert report["whole_text"]["unread_characters"] == len(text) - read
    whole = MentionPredictor(tagger.model, tagger.tokenizer)([text], [tagger.model.config.task("ALL")])[0]
    assert report["whole_text"]["unread_mentions"] == sum(m.end > read for m in whole) > 100
    assert report["whole_text"]["only_original"] >= report["whole_text"]["unread_mentions"]
    assert report["stride"] == 64
    assert report["with_stride"]["texts"] == 1
    assert max(m.end for m in StockPredictor(exported, 64)([text])[0]) > read


def test_all_readers_of_a_long_text_share_the_stride(exported, demo_texts):
    """The demo page and an endpoint find what the README's code finds."""
    text = " ".join(demo_texts[:10])
    found = [m.key for m in StockPredictor(exported, stride_for(512))([text])[0]]
    assert found
    assert [m.key for m in Tagger(str(exported)).mentions(text)] == found
    answer = EndpointHandler(exported)({"inputs": text})
    assert [(m["start"], m["end"], m["entity_group"]) for m in answer] == found
    assert [stride_for(longest) for longest in (8, 128, 512, 8192)] == [2, 32, 64, 64]


def test_a_text_that_just_fits_is_not_truncated(exported):
    stock_pipeline = StockPredictor(exported)
    fits = " ".join(["a"] * 508)  # and the special tokens: 512
    assert stock_pipeline.reads(fits) is None
    assert stock_pipeline.reads(fits + " a") == len(fits)


def test_parts_fit_and_cover_the_text(tagger, demo_texts):
    text = " ".join(demo_texts[:5]) + " " + "x1" * 200  # the last: one sentence, one word, longer than a window
    windower = Windower(tagger.tokenizer, 64, 4)
    parts = parts_of(Document("d", "x", text), windower)
    covered = {i for p in parts for i in range(p.start, p.start + len(p.text))}
    assert len(parts) > 5
    assert not any(p.whole for p in parts)
    assert all(text[p.start : p.start + len(p.text)] == p.text for p in parts)
    assert all(len(windower([p.text])[0]) == 1 for p in parts)
    assert covered >= {i for i, character in enumerate(text) if not character.isspace()}


# ---- the comparison can fail


def test_a_worse_export_ends_with_exit_code_1(tagger_dir, tmp_path, monkeypatch, capsys):
    def without_beginnings(config, task):
        rows, names = label_rows(config, task)
        return rows, [name.replace("B-", "I-") for name in names]

    monkeypatch.setattr(stock, "label_rows", without_beginnings)
    with pytest.raises(SystemExit) as stop:
        export.main([str(tagger_dir), "--format", "stock", "--output", str(tmp_path / "e"), "--compare", "demo_gene"])
    assert stop.value.code == 1
    report = json.loads((tmp_path / "e" / "comparison.json").read_text(encoding="utf-8"))["compared"]
    assert report["export"] < report["original"]  # neighbours were joined
    assert report["differences"] == report["only_original"] + report["only_export"] > 100
    assert len(report["examples"]) == 20
    assert set(report["examples"][0]) == {"document", "start", "end", "type", "only"}
    assert f"{report['differences']} mentions differ" in capsys.readouterr().err


def test_differences_are_counted_one_by_one():
    text = "abc def ghi"
    left = [Mention(0, 3, "Gene", score=0.5), Mention(4, 7, "Gene", score=0.5), Mention(8, 11, "Gene", score=0.5)]
    right = [Mention(0, 3, "Gene", score=0.75), Mention(3, 7, "Gene", score=0.5), Mention(8, 11, "Disease", score=0.5)]
    report = compare(lambda texts: [left], lambda texts: [right], [TextPart("d", 100, text, False)])
    assert (report["original"], report["export"], report["same"]) == (3, 3, 1)
    assert (report["only_original"], report["only_export"], report["differences"]) == (2, 2, 4)
    assert report["white_space"] == 1
    assert report["largest_score_difference"] == 0.25
    assert report["examples"][0] == {"document": "d", "start": 104, "end": 107, "type": "Gene", "only": "original"}
    empty = compare(
        lambda texts: [left], lambda texts: [[*left, Mention(3, 4, "Gene", score=0.5)]], [TextPart("d", 0, text, True)]
    )
    assert (empty["empty"], empty["differences"]) == (1, 1)
    twice = compare(lambda texts: [left], lambda texts: [[*left, left[0]]], [TextPart("d", 0, text, True)])
    assert twice["differences"] == 1
