"""Stock exports of runs: their results, their card, and what is published of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from helpers_export import differences, export_stock_model, softmax_tagger
from helpers_hub import fails
from helpers_run import run
from mosaic_ner.hub import card, export, publish, verify
from mosaic_ner.hub.stock import StockPredictor, export_stock
from mosaic_ner.modeling.handler import EndpointHandler

REPO = "lab/stock-ner"


@pytest.fixture(scope="module")
def tagger(build_bundle, bert_dir):
    return softmax_tagger(build_bundle, bert_dir)


@pytest.fixture(scope="module")
def tagger_dir(tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    tagger.save(folder)
    return folder


@pytest.fixture(scope="module")
def measured_dir(tagger_dir, tmp_path_factory):
    """The tagger's folder with the results of its evaluation."""
    folder = Path(shutil.copytree(tagger_dir, tmp_path_factory.mktemp("measured") / "tagger"))
    results = folder.parent / "results"
    corpora = ("--corpora", "demo", "--test_corpora", "demo_all", "demo_gene")
    run(*corpora, "--model_name_or_path", folder, "--output_dir", results)
    shutil.copy(results / "results.json", folder)
    (folder / "choices.md").write_text("Nothing else.")
    return folder


@pytest.fixture(scope="module")
def measured_export(measured_dir):
    """A stock export of that, compared on the test documents of the bridge corpus."""
    folder = measured_dir.parent / "stock"
    export_stock_model(measured_dir, folder, "demo_all")
    return folder


@pytest.fixture(scope="module")
def published(measured_export):
    """That, published."""
    folder = measured_export.parent / "published"
    publish.build_folder(measured_export, folder, REPO)
    return folder


def test_the_export_of_a_run_has_its_results_and_a_card(measured_dir, measured_export):
    results = json.loads((measured_export / "results.json").read_text(encoding="utf-8"))
    about = results.pop("export")
    assert results == json.loads((measured_dir / "results.json").read_text(encoding="utf-8"))
    assert about["format"] == "stock"
    assert (about["class"], about["task"], about["other_tasks"]) == ("BertForTokenClassification", "ALL", [])
    assert about["types"] == ["Gene", "Disease", "Chemical", "Species"]
    assert (about["max_tokens"], about["model_max_length"]) == (64, 512)
    assert about["same_task"] == ["demo_all"]  # demo_gene is answered by the task Gene
    report = json.loads((measured_export / "comparison.json").read_text(encoding="utf-8"))
    counted = about["comparison"]
    assert counted["in_parts"] == len(report["in_parts"]) > 0
    for way in ("compared", "whole_text"):
        assert counted[way]["differences"] == report[way]["differences"]
        assert not any(isinstance(value, list) for value in counted[way].values())
    text = (measured_export / "README.md").read_text(encoding="utf-8")
    assert text == card.card_text(measured_export)
    assert "## What was tried\n\nNothing else." in text


def test_the_card_of_an_export_is_true_to_it(measured_export):
    text = (measured_export / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    for part in (
        'model="stock", aggregation_strategy="simple")',
        "truncates silently",
        "`stride=64`",
        "windows of up to 64 tokens",
        "## Results of the original on the test sets",
        "The export's mentions differ where both read the whole text",
        "Left out: demo_gene,",
        "## Compared with the original",
        "| texts that both read whole, by tokens |",
        "| texts that both read whole, in units |",
        "documents were compared in parts",
    ):
        assert part in " ".join(text.split()), part
    for part in ("trust_remote_code", "does not run custom code", "nothing is\ntruncated", "isjoint", "| demo_gene | "):
        assert part not in text.split("## Training data")[0], part
    assert "does not run custom code" not in text
    assert header["widget"]
    assert "model-index" not in header  # whole documents are read otherwise, and so have other figures


def test_a_run_whose_results_make_no_card_is_refused_before_anything_is_written(tagger_dir, tmp_path, capsys):
    folder = Path(shutil.copytree(tagger_dir, tmp_path / "bad"))
    (folder / "results.json").write_text('{"settings": {}}')
    message = fails(capsys, export, folder, "--format", "stock", "--output", tmp_path / "new")
    assert "expected the results of a run" in message
    assert not (tmp_path / "new").exists()


def test_what_is_published_of_an_export(measured_export, published, capsys):
    names = {"README.md", "checksums.json", "comparison.json", "comparison.md", "config.json", "handler.py"}
    names |= {
        "NOTICE",
        "choices.md",
        "model.safetensors",
        "requirements.txt",
        "results.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {p.name for p in published.iterdir()} == names
    verify.main([str(published)])
    assert "nothing amiss; checksums agree" in capsys.readouterr().out
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "results.json", "comparison.json"):
        assert json.loads((published / name).read_text()) == json.loads((measured_export / name).read_text()), name
    publish.main([str(measured_export), "--repo_id", REPO, "--output", str(published)])
    assert "F1 of the original on test documents: demo_all" in capsys.readouterr().out


def test_the_published_export_finds_what_the_model_finds(published, tagger, demo_texts):
    texts = [text[:150] for text in demo_texts[:6]]
    report = differences(tagger, published, texts, "ALL")
    assert report["differences"] == 0
    assert report["same"] > 50
    handler = EndpointHandler(published)
    found = [{(m["start"], m["end"], m["entity_group"]) for m in row} for row in handler({"inputs": texts})]
    assert found == [{m.key for m in row} for row in StockPredictor(published)(texts)]


def test_the_code_in_the_published_card_runs(published, tmp_path, monkeypatch, capsys):
    code = (published / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert f'model="{REPO}"' in code
    shutil.copytree(published, tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.fullmatch(r"\d+ \d+ [A-Za-z]+ .+ \d[\d.e-]*", line) for line in lines)


def test_an_export_with_something_private_or_of_others_is_refused(measured_export, bert_dir, tmp_path, capsys):
    folder = Path(shutil.copytree(measured_export, tmp_path / "export"))

    def message() -> str:
        return fails(capsys, publish, folder, "--repo_id", REPO, "--output", tmp_path / "out")

    def changed(name, old, new) -> str:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        told = message()
        path.write_text(text, encoding="utf-8")
        assert not (tmp_path / "out").exists()
        return told

    assert "comparison.md, line 1: a path on this machine" in changed("comparison.md", "# ", "# of /srv/runs/mine ")
    assert "comparison.json, note: a path" in changed("comparison.json", "{", '{"note": "in /srv/runs/mine",')
    assert "of another export: a RobertaForTok" in changed("results.json", "BertForTokenC", "RobertaForTokenC")
    assert 'no "export" says how' in changed("results.json", '"export": {', '"exported": {')
    assert "auto_map names code" in changed("config.json", "{", '{"auto_map": {},')
    shutil.copy(bert_dir / "model.safetensors", folder)
    assert "doesn't fit config.json: it lacks classifier." in message()
    (folder / "results.json").rename(tmp_path / "results.json")
    assert "export it again from the output folder of a finished run" in message()


def test_a_run_with_the_results_of_an_export_is_refused(measured_dir, measured_export, tmp_path, capsys):
    folder = Path(shutil.copytree(measured_dir, tmp_path / "mixed"))
    shutil.copy(measured_export / "results.json", folder)
    message = fails(capsys, publish, folder, "--repo_id", REPO, "--output", tmp_path / "out")
    assert "of a stock export, but the model beside it is a AIONERForTokenClassification" in message


def test_an_export_that_reads_texts_of_any_length_gets_no_handler(build_bundle, t5_dir, tmp_path, caplog):
    bundle = build_bundle(encoder=str(t5_dir), classifier="softmax")
    assert export_stock(bundle.model, bundle.tokenizer, tmp_path / "export")["model_max_length"] is None
    publish.write_model(*publish.load_stock(tmp_path / "export"), tmp_path / "out")
    assert not (tmp_path / "out" / "handler.py").exists()
    assert "reads texts of any length at once" in caplog.text
