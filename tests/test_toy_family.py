"""A new family is one file and a line that registers it: it is trained, saved, scored, described and predicts like others."""

from __future__ import annotations

import json

import pytest
from helpers_run import TINY, fails, results, run, without_fit
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.prediction.loading import load
from mosaic_ner.training import families
from mosaic_ner.training.arguments import ArgumentError, parse


@pytest.fixture(scope="module", autouse=True)
def registered():
    """For these tests only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "_MODULES", dict(families._MODULES))
        families.register("toy", "toy_family")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Output folder of a short run."""
    folder = tmp_path_factory.mktemp("toy") / "out"
    run("--family", "toy", "--corpora", "demo_gene", *TINY, "--dropout", "0", "--learning_rate", "1e-2", "--max_steps", "60",
        "--per_device_train_batch_size", "8", "--report_to", "none", "--disable_tqdm", "true", "--write_predictions",
        "--output_dir", folder)  # fmt: skip
    return folder


def test_it_is_trained_and_scored(trained):
    found = results(trained)
    assert found["settings"]["family"] == "toy"
    assert found["test"]["demo_gene"]["overall"]["f1"] > 0.2
    assert found["history"]
    assert found["coverage"]["demo_gene"]["share"] > 0.9
    assert (trained / "predictions" / "demo_gene.predicted.PubTator").exists()


def test_it_is_saved_with_its_code(trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"model.safetensors", "tokenizer.json", "toy_family.py", "pipeline_ner.py", "inference.py"}
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "mosaic_toy"
    assert config["auto_map"]["AutoModel"] == "toy_family.ToyForNER"


def test_it_gets_a_card(trained):
    card = (trained / "README.md").read_text(encoding="utf-8")
    facts = families.family("toy").FACTS
    assert facts.idea in " ".join(card.split())
    assert facts.overlap in " ".join(card.split())
    assert "- toy\n" in card.partition("---\n")[2]


def test_its_saved_model_has_the_same_scores(trained, tmp_path):
    run("--corpora", "demo_gene", "--model_name_or_path", trained, "--report_to", "none", "--output_dir", tmp_path)
    assert without_fit(results(tmp_path)["test"]) == without_fit(results(trained)["test"])


def test_it_predicts(trained, demo_corpora, tmp_path):
    texts = [d.text.replace("\n", " ") for d in demo_corpora["demo_gene"]["test"][:3]]
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    run("--do_predict", "--model_name_or_path", trained, "--predict_input", tmp_path / "in.txt", "--predict_output", output,
        "--predict_corpus", "demo_gene", "--report_to", "none", "--output_dir", tmp_path)  # fmt: skip
    found = list(read_documents(output))
    assert sum(len(d.mentions) for d in found) > 3
    assert {m.type for d in found for m in d.mentions} == {"Gene"}
    model, _ = load(str(trained))
    assert model.knows_native_types("demo_gene")


def test_its_options_are_its_own(capsys):
    with pytest.raises(SystemExit):
        parse(["--help", "--family", "toy"])
    assert "family toy: toy, a classifier of units" in capsys.readouterr().out
    assert parse(["--family", "toy", "--units", "token"]).own.units == "token"
    assert "expected one of pretoken, token" in fails(capsys, "--family", "toy", "--units", "word")
    with pytest.raises(ArgumentError, match="an option of span_cvae, and the family here is toy"):
        parse(["--family", "toy", "--alpha", "1"])
    with pytest.raises(ArgumentError, match=r"an option of .* and toy, and the family here is aioner"):
        parse(["--units", "token"])
    with pytest.raises(ArgumentError, match="unknown family 'tay'; did you mean 'toy'"):
        parse(["--family", "tay"])
