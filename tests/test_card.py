"""The model card: generated from results.json, valid for the Hub, true to the numbers."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml
from helpers_run import results
from huggingface_hub import ModelCard
from mosaic_ner.hub import card as card_module
from mosaic_ner.hub.results import versions, without_local_paths, write_json


@pytest.fixture(scope="module")
def card(trained_dir):
    return ModelCard.load(trained_dir / "README.md")


def test_the_header_is_what_the_hub_reads(trained_dir, card):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    assert header["pipeline_tag"] == "token-classification"
    assert header["library_name"] == "transformers"
    assert header["license"]
    assert "mosaic-ner" in header["tags"]
    assert "base_model" not in header  # made from scratch
    assert card.data.to_dict()["model-index"] == header["model-index"]


def test_the_model_index_holds_the_test_results(trained_dir, card):
    found = results(trained_dir)["test"]
    listed = {r.dataset_name: r for r in card.data.eval_results}
    assert set(listed) == set(found)
    for corpus, row in listed.items():
        assert row.metric_type == "f1"
        assert row.dataset_split == "test"
        assert row.metric_value == pytest.approx(found[corpus]["overall"]["f1"], abs=5e-5)


def test_the_tables_hold_the_results(trained_dir):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    for corpus, report in results(trained_dir)["test"].items():
        for row in [report["overall"], *report["per_type"].values()]:
            figures = [f"{100 * row[k]:.2f}" for k in ("precision", "recall", "f1")] + [str(row["support"])]
            assert re.search(rf"\| {corpus} \|.*{' .. '.join(map(re.escape, figures)).replace(' .. ', ' [|] ')}", text)
    assert re.search(r"\| demo_gene \| 200 \| 2 \| removed \|", text)
    assert "nested" in text  # what the model cannot represent, by cause


def test_the_overlap_of_each_evaluation_split_is_shown_with_what_copying_would_score(trained_dir):
    found = results(trained_dir)
    for name, row in found["overlap"]["evaluation"].items():
        scores = [f"{100 * row['copying'][k]:.2f}" for k in ("precision", "recall", "f1")]
        counts = [row[k] for k in ("documents", "covered", "mentions", "mentions_in_training")]
        line = " | ".join(map(str, [name, *counts, *scores]))
        assert f"| {line} |" in str(card_module.build_card(found, "name"))
    row = found["overlap"]["evaluation"]["demo_gene/test"] = {
        "documents": 10, "covered": 7, "mentions": 35, "mentions_in_training": 18, "covered_by": {},
        "copying": {"precision": 0.9683, "recall": 0.5106, "f1": 0.6686, "predicted": 19},
    }  # fmt: skip
    text = str(card_module.build_card(found, "name"))
    assert "| demo_gene/test | 10 | 7 | 35 | 18 | 96.83 | 51.06 | 66.86 |" in text
    del row["copying"]  # as in results of earlier versions
    text = str(card_module.build_card(found, "name"))
    assert "| demo_gene/test | 10 | 7 | 35 | 18 | - | - | - |" in text


def test_disjoint_and_merged_scores_and_nested_recall_are_shown(trained_dir):
    found = results(trained_dir)
    report = found["test"]["demo_gene"]
    for name, f1 in (("disjoint", 0.5), ("merged", 0.25)):
        report[name] = report[name] | {"overall": report[name]["overall"] | {"f1": f1}}
    report["nested"] = {"recall": 0.125, "support": 8, "found": 1}
    found["test"]["demo_disease"]["disjoint"] = None
    merged = 100 * found["test"]["demo_disease"]["merged"]["overall"]["f1"]
    text = str(card_module.build_card(found, "name"))
    assert "| demo_gene | 50.00 | 25.00 |" in text
    assert f"| demo_disease | - | {merged:.2f} |" in text
    assert re.search(r"Recall of nested mentions .*demo_gene 12\.50% \(1 of 8\)", text)
    for part in found["test"].values():
        part.pop("nested", None)
    assert "Recall of nested mentions" not in str(card_module.build_card(found, "name"))


def test_results_of_earlier_versions_still_make_a_card(trained_dir):
    found = results(trained_dir)
    for part in found["test"].values():
        for name in ("disjoint", "merged", "nested"):
            part.pop(name, None)
    text = str(card_module.build_card(found, "name"))
    assert "isjoint" not in text
    assert "\n## Training data\n" in text
    for folder in sorted((card_module.TEMPLATE.parents[1] / "model_cards").iterdir()):
        if (folder / "results.json").exists():
            assert card_module.card_text(folder) == (folder / "README.md").read_text(encoding="utf-8")


def test_a_run_without_test_documents_shows_its_validation_figures_and_what_was_tried(trained_dir, tmp_path):
    found = results(trained_dir)
    found["validation"], found["test"] = found["test"], {}
    (tmp_path / "results.json").write_text(json.dumps(found))
    (tmp_path / "choices.md").write_text("All of it.\n\n| setting | F1 |\n| --- | --- |\n| reference | 73.92 |\n")
    text = card_module.card_text(tmp_path)
    assert "## Results on the validation documents\n" in text
    assert "## What was tried\n\nAll of it.\n\n| setting | F1 |" in text
    assert f"{100 * found['validation']['demo_all']['overall']['f1']:.2f}" in text
    assert not ModelCard(text).data.eval_results
    plain = card_module.card_text(trained_dir)
    assert "## Results on the test sets\n" in plain
    assert "What was tried" not in plain


def test_the_card_has_no_holes(trained_dir):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"\{\{|\}\}|\bNone\b|nan", text)
    assert "trust_remote_code=True" in text
    assert f'model="{trained_dir.name}"' in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_the_card_is_generated_again_from_the_results(trained_dir, tmp_path, capsys):
    folder = tmp_path / trained_dir.name
    folder.mkdir()
    shutil.copy(trained_dir / "results.json", folder)
    card_module.main([str(folder)])
    assert (folder / "README.md").read_bytes() == (trained_dir / "README.md").read_bytes()
    changed = results(folder)
    changed["test"]["demo_gene"]["overall"]["f1"] = 0.123456
    (folder / "results.json").write_text(json.dumps(changed))
    card_module.main([str(folder)])
    assert "12.35" in (folder / "README.md").read_text(encoding="utf-8")
    assert ModelCard.load(folder / "README.md").data.eval_results[1].metric_value == 0.1235


def test_a_hub_encoder_is_the_base_model(trained_dir):
    found = results(trained_dir)
    found["settings"]["encoder"] = "someone/some-encoder"
    made = card_module.build_card(found, "name")
    assert made.data.base_model == "someone/some-encoder"


def test_local_paths_are_reduced_to_their_last_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpora" / "pubtator").mkdir(parents=True)
    settings = {
        "data_dir": str(tmp_path / "corpora"), "other": "corpora/pubtator",
        "gone": "/no/such/place", "home": "~/models/x", "up": "../a/b",
        "encoder": "someone/some-encoder", "corpora": ["demo"], "rate": 0.1, "scheme": "aio",
    }  # fmt: skip
    assert without_local_paths(settings) == {
        "data_dir": "corpora", "gone": "place", "other": "pubtator", "home": "x", "up": "b", "encoder": "someone/some-encoder",
        "corpora": ["demo"], "rate": 0.1, "scheme": "aio",
    }  # fmt: skip


def test_versions_are_those_installed():
    import torch

    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é"}
