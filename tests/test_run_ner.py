"""The command line end to end: training, evaluation, resuming, and what a run leaves behind."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from helpers_run import QUICK, ROOT, TINY, fails, messages, results, run, shell, without_fit
from mosaic_ner.training import families
from mosaic_ner.training.encoders import learn_pieces, load_encoder_parts
from mosaic_ner.training.results import evaluated
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

SCORER = ROOT.parent / "shared" / "tools" / "score_pubtator.py"
ROW = {"precision", "recall", "f1", "support", "predicted"}
SHARED = {"D000101", "D000102"}


def text_files(folder):
    return [p for p in Path(folder).rglob("*") if p.suffix in (".json", ".md", ".py", ".PubTator") and p.is_file()]


# ---- what a run leaves behind


def test_output_folder_is_complete(trained_dir):
    names = {p.name for p in trained_dir.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    assert {"results.json", "document_f1.json", "README.md"} <= names
    code = {"configuration_ner.py", "configuration_aioner.py", "modeling_ner.py", "modeling_aioner.py"}
    code |= {"pipeline_ner.py", "inference.py", "batching.py", "units.py", "consistency.py", "precision.py"}
    assert code | {"crf.py", "document.py", "label_space.py", "windowing.py"} == {n for n in names if n.endswith(".py")}
    assert list(trained_dir.rglob("events.out.tfevents*"))


def test_results_have_the_promised_structure(trained_dir):
    found = results(trained_dir)
    keys = {"test", "validation", "coverage", "overlap", "settings", "versions", "seconds"}
    assert keys <= set(found)
    assert set(found["test"]) == {"demo_all", "demo_gene", "demo_disease", "demo_chem"}
    assert set(found["validation"]) == {"demo_all"}
    for report in [*found["test"].values(), *found["validation"].values()]:
        rows = [report["overall"], *report["per_type"].values()]
        for row in rows:
            assert set(row) == ROW
            assert all(0 <= row[k] <= 1 for k in ("precision", "recall", "f1"))
            assert isinstance(row["support"], int)
            assert isinstance(row["predicted"], int)
        for count in ("support", "predicted"):
            assert report["overall"][count] == sum(row[count] for row in report["per_type"].values())
        assert 0 <= report["seqeval"]["f1"] <= 1
    assert set(found["test"]["demo_all"]["per_type"]) == {"Gene", "Disease", "Chemical", "Species"}
    assert set(found["test"]["demo_gene"]["per_type"]) == {"Gene"}
    assert 0.05 < found["test"]["demo_gene"]["overall"]["f1"] <= 1  # it did learn something
    assert found["test"]["demo_gene"]["overall"]["support"] == 181
    assert found["settings"]["max_steps"] == 120
    assert found["settings"]["encoder"] == "scratch"
    assert {"mosaic-ner", "torch", "transformers", "python"} <= set(found["versions"])
    assert found["seconds"]["total"] == pytest.approx(sum(v for k, v in found["seconds"].items() if k != "total"))
    assert [row["step"] for row in found["history"]] == [60, 120]


def test_the_overlap_report_names_the_shared_documents(trained_dir):
    overlap = results(trained_dir)["overlap"]
    assert overlap["kept"] is False
    assert set(overlap["training"]["demo_gene"]["articles"]) == {f"demo:{id}" for id in SHARED}
    assert overlap["training"]["demo_gene"]["removed_documents"] == 2
    others = [row for name, row in overlap["training"].items() if name != "demo_gene"]
    assert [row["removed_documents"] for row in others] == [0, 0, 0]


def test_nothing_saved_tells_of_this_machine(trained_dir):
    forbidden = [str(trained_dir), tempfile.gettempdir() + os.sep, str(ROOT), str(Path.home()), sys.prefix]
    forbidden += [f'"{getpass.getuser()}"', f'"{socket.gethostname()}"']
    files = text_files(trained_dir)
    assert len(files) > 20
    for path in files:
        if path.name != "trainer_state.json":  # of a checkpoint, never published
            text = path.read_text(encoding="utf-8")
            assert [f for f in forbidden if f in text] == [], path


def test_no_local_path_in_the_saved_config(trained_dir):
    config = json.loads((trained_dir / "config.json").read_text())
    assert not config.get("_name_or_path")
    assert not config["encoder_config"].get("_name_or_path")


@pytest.mark.real
@pytest.mark.skipif(not SCORER.exists(), reason="the independent scorer is not there")
@pytest.mark.parametrize("corpus", ["demo_all", "demo_disease"])
def test_an_independent_scorer_agrees(trained_dir, corpus):
    files = [trained_dir / "predictions" / f"{corpus}.{side}.PubTator" for side in ("gold", "predicted")]
    report = results(trained_dir)["test"][corpus]
    out = subprocess.run(
        [sys.executable, SCORER, *files, "--json", "--types", ",".join(report["per_type"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured = json.loads(out.stdout)
    flat = json.dumps(measured)
    overall = measured.get("overall") or measured.get("micro") or measured.get("all")
    assert overall is not None, flat
    assert overall["f1"] in (
        pytest.approx(report["overall"]["f1"], abs=1e-4),
        pytest.approx(100 * report["overall"]["f1"], abs=1e-2),
    )


# ---- other ways to run


@pytest.fixture(scope="module")
def encoder_dir(tiny_parts, tmp_path_factory):
    """A stock BERT with random weights and the tiny tokenizer: what `--encoder FOLDER` is given."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_parts.tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tiny_parts.tokenizer.save_pretrained(folder)
    return folder


def test_overlap_keep_keeps_and_warns(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run("--corpora", "demo_all", "demo_gene", *QUICK, "--overlap", "keep", "--output_dir", tmp_path)
    overlap = results(tmp_path)["overlap"]
    assert overlap["kept"] is True
    row = overlap["training"]["demo_gene"]
    assert (row["found"], row["removed_documents"]) == (2, 0)
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert any("kept" in w.lower() and "2" in w for w in warnings), warnings
    assert "demo_gene/train: 200 documents" in messages(caplog)
    assert "kept" in (tmp_path / "README.md").read_text()


def test_coverage_is_printed_at_the_start(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run("--corpora", "demo_disease", *QUICK, "--output_dir", tmp_path)
    text = messages(caplog)
    assert text.index("coverage: ") < text.index("demo_disease/test: P ")
    row = results(tmp_path)["coverage"]["demo_disease"]
    assert row["lost"]["nested"] > 0
    assert row["represented"] + sum(row["lost"].values()) == row["mentions"]


@pytest.mark.parametrize("family", families.names())
def test_every_family_has_disjoint_merged_and_nested_figures(tmp_path, encoder_dir, family):
    options = [a for a in QUICK if a not in TINY]
    run("--corpora", "demo_gene", "demo_disease", "--test_corpora", "demo_disease", "demo_chem", "--validation_corpora",
        "demo_gene", "--family", family, "--encoder", encoder_dir, *options, "--max_tokens", "64",
        "--max_train_documents", '{"demo_gene": 8, "demo_disease": 8}', "--output_dir", tmp_path)  # fmt: skip
    found = results(tmp_path)
    known, unknown, validation = (
        found["test"]["demo_disease"],
        found["test"]["demo_chem"],
        found["validation"]["demo_gene"],
    )
    own = family in ("joint_ib", "span_cvae", "sruner")
    for report, own_types in ((known, {"SpecificDisease", "Modifier"}), (validation, {"Gene", "FamilyName"})):
        assert set(report["disjoint"]["overall"]) == set(report["merged"]["overall"]) == ROW
        assert set(report["disjoint"]["per_type"]) == (own_types if own else set(report["per_type"]))
        assert set(report["merged"]["per_type"]) == set(report["per_type"])
    assert unknown["disjoint"] is None
    assert unknown["merged"]["overall"]["support"] == unknown["overall"]["support"] > 0
    assert set(known["nested"]) == {"recall", "support", "found"}
    assert known["nested"]["support"] > 0
    assert re.search(r"\| demo_chem \| - \| [\d.]+ \|", (tmp_path / "README.md").read_text())
    assert found["settings"]["encoder"] == encoder_dir.name
    for name in ("config.json", "results.json", "README.md", "tokenizer_config.json"):
        assert str(encoder_dir.parent) not in (tmp_path / name).read_text()


def test_pretrained_encoder_and_then_a_trained_model_as_encoder(tmp_path, encoder_dir):
    options = [*[a for a in QUICK if a not in TINY], "--max_tokens", "64", "--learning_rate", "0"]
    run("--corpora", "demo_gene", "--encoder", encoder_dir, *options, "--output_dir", tmp_path / "first")
    run("--corpora", "demo_chem", "--encoder", tmp_path / "first", *options, "--output_dir", tmp_path / "second")
    weights = [
        load_file(folder / "model.safetensors") for folder in (encoder_dir, tmp_path / "first", tmp_path / "second")
    ]
    name = "layer.0.attention.self.query.weight"
    pick = [next(v for k, v in w.items() if k.endswith(name)) for w in weights]
    assert torch.equal(pick[0], pick[1])  # rate 0: the weights are those that were given, not fresh ones
    assert torch.equal(pick[1], pick[2])
    assert str(tmp_path) not in (tmp_path / "second" / "config.json").read_text()
    assert results(tmp_path / "second")["settings"]["encoder"] == "first"


@pytest.mark.parametrize("scheme", ["mtl", "naive"])
def test_other_schemes_run(tmp_path, scheme):
    run("--corpora", "demo_all", "demo_chem", "--scheme", scheme, *QUICK, "--output_dir", tmp_path)
    tasks = json.loads((tmp_path / "config.json").read_text())["tasks"]
    assert [t["name"] for t in tasks] == {"mtl": ["demo_all", "demo_chem"], "naive": ["ALL"]}[scheme]
    assert set(results(tmp_path)["test"]["demo_all"]["per_type"]) == {"Gene", "Disease", "Chemical", "Species"}


def test_restricted_types_and_a_subset(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run("--corpora", "demo_all", "demo_gene", "--types", "Gene", "Species", *QUICK, "--output_dir", tmp_path,
            "--max_train_documents", '{"demo_gene": 7}', "--classifier", "softmax")  # fmt: skip
    found = results(tmp_path)
    assert set(found["test"]["demo_all"]["per_type"]) == {"Gene", "Species"}
    labels = json.loads((tmp_path / "config.json").read_text())["id2label"].values()
    assert {label.partition("-")[2] for label in labels if label[0] in "BI"} == {"Gene", "Species"}
    assert "demo_gene/train: 7 documents" in messages(caplog)


def test_a_corpus_without_shared_types_may_be_measured(with_files, caplog):
    more = ["--test_file", "good.pubtator", "--extra_mapping", "none_shared.tsv", "--output_dir", "out"]
    with caplog.at_level(logging.INFO):
        run("--corpora", "demo_gene", "--max_train_documents", '{"demo_gene": 4}', *QUICK, *more)
    report = results("out")["test"]["user"]
    assert report["overall"]["support"] == 0
    assert report["disjoint"] is report["merged"] is None
    assert "user/test: 1 documents, 1 mentions" in messages(caplog)


def test_early_stopping_stops(tmp_path):
    run("--corpora", "demo_gene", *TINY, "--max_steps", "40", "--learning_rate", "0", "--eval_strategy", "steps",
        "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2", "--early_stopping_patience", "2",
        "--report_to", "none", "--disable_tqdm", "true", "--output_dir", tmp_path)  # fmt: skip
    # with rate 0 nothing gets better after the first evaluation: two more, and it stops
    assert [row["step"] for row in results(tmp_path)["history"]] == [2, 4, 6]


def test_a_run_resumed_from_a_checkpoint_equals_one_that_went_through(tmp_path, caplog):
    options = ["--corpora", "demo_gene", *TINY, "--max_steps", "4", "--per_device_train_batch_size", "4"]
    options += ["--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2"]
    options += ["--save_total_limit", "5", "--report_to", "none", "--disable_tqdm", "true", "--learning_rate", "1e-2"]
    run(*options, "--output_dir", tmp_path / "through")
    with caplog.at_level(logging.INFO):
        run(*options, "--output_dir", tmp_path / "again",
            "--resume_from_checkpoint", tmp_path / "through" / "checkpoint-2")  # fmt: skip
    through, again = (
        load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("through", "again")
    )
    assert all(torch.equal(through[name], again[name]) for name in through)
    half = load_file(tmp_path / "through" / "checkpoint-2" / "model.safetensors")
    assert not all(torch.equal(through[name], half[name]) for name in through)
    assert not (tmp_path / "again" / "checkpoint-2").exists()
    assert results(tmp_path / "through")["test"] == results(tmp_path / "again")["test"]


def test_evaluation_of_a_trained_model_gives_the_numbers_of_its_training(trained_dir, tmp_path):
    before = {p.name: p.stat().st_mtime_ns for p in trained_dir.iterdir()}
    run("--model_name_or_path", trained_dir, "--corpora", "demo", "--validation_corpora", "demo_all", "--report_to",
        "none", "--output_dir", tmp_path)  # fmt: skip
    for split in ("test", "validation"):
        assert without_fit(results(tmp_path)[split]) == without_fit(results(trained_dir)[split])
    assert not (tmp_path / "model.safetensors").exists()
    assert {p.name: p.stat().st_mtime_ns for p in trained_dir.iterdir()} == before
    assert str(trained_dir.parent) not in (tmp_path / "results.json").read_text()
    assert results(tmp_path)["weights"] == hashlib.sha256((trained_dir / "model.safetensors").read_bytes()).hexdigest()
    assert results(tmp_path)["data"]["test"] == results(trained_dir)["data"]["test"]
    assert (tmp_path / "README.md").exists()
    own, asked = results(trained_dir)["settings"], results(tmp_path)["settings"]
    assert {n: asked[n] for n in own if n != "test_corpora"} == {n: own[n] for n in own if n != "test_corpora"}
    assert "Trained elsewhere." in (tmp_path / "README.md").read_text()  # the documents named are those looked through


def test_a_model_without_results_tells_its_family_alone(trained_dir, tmp_path):
    model = Path(shutil.copytree(trained_dir, tmp_path / "model"))
    (model / "results.json").unlink()
    found = evaluated({"seed": 42, "family": "sruner", "learning_rate": 1.0, "test_corpora": ["demo"]}, model)[
        "settings"
    ]
    assert found == {"seed": 42, "family": "aioner", "encoder": "not recorded", "test_corpora": ["demo"]}


def test_a_training_that_had_stopped_early_is_not_resumed(tmp_path, caplog):
    options = ["--corpora", "demo_gene", *TINY, "--max_steps", "40", "--learning_rate", "0", "--eval_strategy", "steps",
               "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2", "--early_stopping_patience", "2",
               "--save_total_limit", "9", "--report_to", "none", "--disable_tqdm", "true"]  # fmt: skip
    run(*options, "--output_dir", tmp_path / "through")
    last = tmp_path / "through" / "checkpoint-6"
    with caplog.at_level(logging.INFO):
        run(*options, "--output_dir", tmp_path / "again", "--resume_from_checkpoint", last)
    assert "had stopped early: nothing is left to train" in messages(caplog)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("through", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert results(tmp_path / "through")["history"] == results(tmp_path / "again")["history"]


def test_predictions_that_pubtator_cannot_hold_end_no_run(trained_dir, tmp_path, caplog):
    rows = [
        {"id": i, "text": "TP53 in cancer.", "mentions": [{"start": 0, "end": 4, "type": "Gene"}]} for i in ("a|b", "c")
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("--model_name_or_path", trained_dir, "--test_file", tmp_path / "test.jsonl", "--write_predictions", "true",
        "--report_to", "none", "--output_dir", tmp_path / "out")  # fmt: skip
    assert results(tmp_path / "out")["test"]["user"]["documents"] == 2
    gold = (tmp_path / "out" / "predictions" / "user.gold.PubTator").read_text()
    assert [line for line in gold.splitlines() if "|t|" in line] == ["c|t|TP53 in cancer."]
    assert messages(caplog).count("1 records are not in the output") == 2
    assert "a|b" in messages(caplog)


def test_a_recipe_is_overridden_by_the_command_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("corpora: [demo_gene]\nmax_train_documents: {demo_gene: 5}\nseed: 7\nscheme: naive\n")
    run(recipe, *QUICK, "--seed", "8", "--output_dir", tmp_path / "out")
    settings = results(tmp_path / "out")["settings"]
    assert (settings["seed"], settings["scheme"]) == (8, "naive")
    assert settings["max_train_documents"] == {"demo_gene": 5}


def test_the_vocabulary_from_scratch_is_the_same_every_time(demo_texts):
    # else a resumed run, or another process of the same run, would read the weights with another vocabulary
    first, second = (load_encoder_parts("scratch", texts, 1, 32).tokenizer for texts in (demo_texts, demo_texts[::-1]))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()
    assert len(first) > 500


def test_pieces_are_learnt_by_frequency():
    words = {"abab": 3, "abc": 2, "xab": 1, "zz": 1}
    pieces = learn_pieces(words, 20)
    assert pieces[:7] == ["##a", "##b", "##c", "##z", "a", "x", "z"]
    assert pieces[7:] == ["ab", "##ab", "abab", "abc"]  # ab 5, then ##ab 4 (abab 3, xab 1), then 3 and 2; zz only once
    assert learn_pieces(words, 9) == pieces[:9]


# ---- wrong usage: exit code 2, one message, the nearest name

BROKEN = "1|t|Hello TP53\n1|a|x\n1\t6\t10\tTP54\tGene\n\n"
WRONG = {
    "option": (["--lerning_rate", "1"], ["--lerning_rate", "learning_rate"]),
    "corpus": (["--corpora", "dmeo"], ["unknown corpus 'dmeo'", "'demo'"]),
    "test_corpus": (["--corpora", "demo", "--test_corpora", "dem_all"], ["'dem_all'", "'demo_all'"]),
    "family": (["--corpora", "demo", "--family", "aionr"], ["'aionr'", "'aioner'"]),
    "type": (["--corpora", "demo", "--types", "Gen"], ["'Gen'", "'Gene'"]),
    "scheme": (["--corpora", "demo", "--scheme", "naiv"], ["--scheme", "'naive'"]),
    "classifier": (["--corpora", "demo", "--classifier", "sofmax"], ["--classifier", "'softmax'"]),
    "scores": (["--corpora", "demo", "--scores", "marginals"], ["--scores", "'marginal'"]),
    "packing": (["--corpora", "demo", "--packing", "pack"], ["--packing", "'packed'"]),
    "bridge": (["--corpora", "demo", "--bridge", "demo_al"], ["'demo_al'", "'demo_all'"]),
    "mapping": (["--corpora", "demo", "--mapping", "aionr"], ["'aionr'", "aioner"]),
    "mode": (["--corpora", "demo", "--prediction_mode", "combine"], ["'combine'", "'combined'"]),
    "rates": (["--corpora", "demo", "--sampling_rates", '{"Gen": 2}'], ["--sampling_rates", "Gene"]),
    "subset": (["--corpora", "demo", "--max_train_documents", '{"demo_gen": 2}'], ["'demo_gen'", "'demo_gene'"]),
    "json": (["--corpora", "demo", "--max_train_documents", "3"], ["JSON object", "max_train_documents"]),
    "number": (["--corpora", "demo", "--max_steps", "many"], ["max_steps", "'many'"]),
    "fraction": (["--corpora", "demo", "--validation_fraction", "2"], ["--validation_fraction", "2"]),
    "patience": (["--corpora", "demo", "--early_stopping_patience", "2"], ["--eval_strategy"]),
    "windows": (["--corpora", "demo", "--max_tokens", "4"], ["max_tokens=4"]),
    "positions": (["--corpora", "demo", "--max_tokens", "4000"], ["max_tokens=4000", "512"]),
    "encoder": (["--corpora", "demo", "--encoder", "no/such/folder"], ["--encoder", "'no/such/folder'"]),
    "model": (["--corpora", "demo", "--model_name_or_path", "no/such/folder"], ["'no/such/folder'"]),
    "trained": (
        ["--corpora", "demo", "--model_name_or_path", "m", "--learning_rate", "1"],
        ["--learning_rate has no effect", "trained already", "leave it out"],
    ),
    "foreign": (
        ["--corpora", "demo", "--max_span_width", "3"],
        ["'--max_span_width'", "an option of span_cvae and joint_ib", "the family here is aioner", "leave it out"],
    ),
    "checkpoint": (["--corpora", "demo", "--resume_from_checkpoint", "no/such"], ["'no/such'", "has no checkpoint"]),
    "data_dir": (
        ["--corpora", "biored", "--data_dir", "nowhere"],
        ["BioRED_TrainDev.PubTator", "--data_dir", "https://"],
    ),
    "nothing": ([], ["--corpora", "--train_file"]),
    "mapping_file": (["--train_file", "good.pubtator", "--extra_mapping", "none.tsv"], ["none.tsv", "columns"]),
    "no_shared_type": (
        ["--train_file", "good.pubtator", "--extra_mapping", "none_shared.tsv"],
        ["user can't train a tagger", "(Gene)", "--mapping", "--extra_mapping", "--family"],
    ),
    "no_named_type": (["--corpora", "demo", "--types", "Gene"], ["demo_disease can't train", "Modifier", "--types"]),
    "missing": (["--train_file", "god.pubtator"], ["--train_file", "'god.pubtator'", "'good.pubtator'"]),
    "broken": (["--train_file", "broken.pubtator"], ["broken.pubtator:3", "document '1'", "[6, 10)", "'TP54'"]),
    "ending": (["--train_file", "notes.docx"], ["'.docx'", ".pubtator"]),
    "empty": (["--train_file", "good.pubtator", "--test_file", "empty.pubtator"], ["empty.pubtator", "no document"]),
    "types": (["--train_file", "good.pubtator", "--corpus_types", "Genes"], ["Gene", "--corpus_types", "'Genes'"]),
    "same_name": (["--train_file", "good.pubtator", "--corpus_name", "biored"], ["--corpus_name", "'biored'"]),
    "file_name": (["--train_file", "good.pubtator", "--corpus_name", "lab/mine"], ["--corpus_name", "'lab/mine'"]),
    "all_removed": (["--train_file", "good.pubtator", "--test_file", "good.pubtator"], ["--overlap"]),
    "nothing_to_train": (["--test_file", "good.pubtator"], ["nothing to train on", "--train_file"]),
    "recipe": (["recip.yaml"], ["'recip.yaml'", "'recipe.yaml'"]),
    "recipe_key": (["recipe.yaml"], ["lerning_rate", "'learning_rate'"]),
    "recipe_yaml": (["torn.yaml"], ["torn.yaml", "YAML"]),
    "recipe_list": (["list.yaml"], ["list.yaml", "mapping"]),
    "recipe_latin": (["latin.yaml"], ["latin.yaml", "UTF-8"]),
}  # fmt: skip


@pytest.fixture
def with_files(tmp_path, monkeypatch):
    """A current folder with a few files of a user's."""
    files = {
        "good.pubtator": BROKEN.replace("TP54", "TP53"), "broken.pubtator": BROKEN, "notes.docx": "x",
        "empty.pubtator": "",
        "recipe.yaml": "corpora: [demo]\nlerning_rate: 1\n", "torn.yaml": "a: [1\n", "list.yaml": "- a\n",
        "none_shared.tsv": "corpus\tnative_type\tshared_type\nuser\tGene\t-\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.yaml").write_bytes("# Größe\ncorpora: [demo]\n".encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_ends_with_one_message(with_files, capsys, case):
    argv, expected = WRONG[case]
    without = {"--encoder", "--model_name_or_path"} & set(argv) or (argv and not argv[0].startswith("--"))
    quick = [] if without else QUICK  # which is for an encoder from scratch
    message = fails(capsys, *quick, *argv)
    for piece in expected:
        assert piece in message
    assert list(with_files.rglob("*.safetensors")) == []


def test_wrong_usage_as_a_user_sees_it(tmp_path):
    done = shell([ROOT / "run_ner.py", "--corpora", "dmeo", "--encoder", "scratch"], tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "run_ner.py: error: unknown corpus 'dmeo'; did you mean 'demo'?" in done.stderr.splitlines()
    assert list(tmp_path.iterdir()) == []
