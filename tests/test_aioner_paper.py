"""AIONER as the paper trains it: the layer before the CRF, stopping by training accuracy, merged splits, halves of BC5CDR."""

from __future__ import annotations

import json
import logging

import pytest
import torch
import yaml
from helpers_run import QUICK, ROOT, TINY, fails, messages, results, run
from helpers_search import written
from mosaic_ner.analysis import compare, modes
from mosaic_ner.analysis.repeats import read_header
from mosaic_ner.data_builders.formats import write_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.parts import RunDataError
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training.aioner import build_scheme
from mosaic_ner.training.arguments import parse
from mosaic_ner.training.early_stopping import TRAIN_ACCURACY
from mosaic_ner.training.search_space import load_optuna, read_plan
from mosaic_ner.training.trainer import run_arguments

REAL = ROOT.parent / "shared" / "corpora"

BY_ACCURACY = {"early_stopping_metric": TRAIN_ACCURACY, "early_stopping_patience": 2}
EPOCHS = [
    *TINY, "--num_train_epochs", "20", "--per_device_train_batch_size", "4", "--report_to", "none", "--disable_tqdm", "true",
    "--corpora", "demo_gene", "--max_train_documents", '{"demo_gene": 8}', "--merge_validation", "true",
    "--early_stopping_metric", TRAIN_ACCURACY, "--early_stopping_patience", "2", "--hidden_size", "16", "--packing", "single",
    "--load_best_model_at_end", "false",
]  # fmt: skip


def real(test):
    """Marks a test of the corpora beside the checkout."""
    return pytest.mark.real(pytest.mark.skipif(not REAL.is_dir(), reason="no real corpora in ../shared")(test))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Options that name the real corpora and a cache of their own."""
    return ["--data_dir", str(REAL), "--cache_dir", str(tmp_path_factory.mktemp("cache"))]


def test_scores_are_those_of_a_relu_layer_between_encoder_and_labels(build_bundle, demo_corpora):
    bundle = build_bundle(hidden_size=16)
    model = bundle.model.double().eval()
    batch = pad_batch(bundle.features.build(demo_corpora["demo_all"]["train"][:2]).features, bundle.collator.padding)
    state = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    layer, last = model.hidden, model.classifier
    between = (state @ layer.weight.T + layer.bias).clamp(min=0)
    assert (between == 0).any()
    assert (between > 0).any()
    torch.testing.assert_close(model(**batch).logits, between @ last.weight.T + last.bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize("classifier", ["crf", "softmax"])
def test_training_accuracy_counts_the_tokens_tagged_right(
    build_bundle, demo_corpora, trainer_for, monkeypatch, classifier
):
    bundle = build_bundle(hidden_size=16, classifier=classifier)
    monkeypatch.setattr(bundle.model.eval(), "train", lambda *_: bundle.model)  # no dropout: forwards are repeatable
    dataset = bundle.features.build([d for c in ("demo_all", "demo_gene") for d in demo_corpora[c]["train"][:4]])
    options = BY_ACCURACY | {"num_train_epochs": 2, "learning_rate": 0.0, "per_device_train_batch_size": 3}
    trainer = trainer_for(bundle, dataset, **options)
    trainer.train()
    right = known = 0
    for feature in dataset.features:
        batch = pad_batch([feature], bundle.collator.padding)
        output = bundle.model(**{k: v for k, v in batch.items() if k != "labels"})
        tags = bundle.model.best_tags(output.logits, batch["labels"] >= 0)[0].tolist()
        pairs = [(t, g) for t, g in zip(tags, feature["labels"], strict=True) if g >= 0]
        right, known = right + sum(t == g for t, g in pairs), known + len(pairs)
    assert 0 < right < known
    rows = trainer.validation_history()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row[TRAIN_ACCURACY] for row in rows] == [right / known] * 2


@pytest.mark.parametrize(
    ("values", "patience", "stops_after"),
    [([1, 2, 3, 4], 1, 4), ([1, 1, 1], 2, 3), ([3, 1, 2, 4], 2, 3), ([3, 1, 4, 2], 2, 4), ([2, 1, 2, 3], 2, 3)],
)
def test_training_stops_after_so_many_epochs_without_a_higher_figure(
    bundle, trainer_for, demo_corpora, monkeypatch, values, patience, stops_after
):
    dataset = bundle.features.build(demo_corpora["demo_gene"]["train"][:1])
    options = BY_ACCURACY | {"early_stopping_patience": patience, "num_train_epochs": len(values)}
    trainer = trainer_for(bundle, dataset, **options)
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda counts: torch.tensor([values.pop(0), 5]))
    trainer.train()
    assert len(trainer.validation_history()) == stops_after


def test_a_run_without_validation_documents_stops_by_accuracy_and_so_does_its_resumption(tmp_path):
    through, again = tmp_path / "through", tmp_path / "again"
    options = [
        *EPOCHS,
        "--learning_rate",
        "0",
        "--dropout",
        "0",
        "--save_strategy",
        "epoch",
        "--save_total_limit",
        "20",
    ]
    run(*options, "--output_dir", through)
    # With rate 0 only dropout moves the accuracy: two epochs after the best one, it stops.
    rows = results(through)["history"]
    accuracies = [row[TRAIN_ACCURACY] for row in rows]
    assert len(rows) - 1 - accuracies.index(max(accuracies)) == 2
    assert len(rows) < 20
    assert all(0 < row[TRAIN_ACCURACY] < 1 and "eval_f1" not in row for row in rows)
    middle = through / f"checkpoint-{rows[1]['step']}"
    run(*options, "--output_dir", again, "--resume_from_checkpoint", middle)
    assert results(again)["history"] == rows


def test_stopping_by_accuracy_is_refused_where_there_is_none(capsys):
    options = ["--corpora", "demo_gene", *TINY, "--early_stopping_metric", TRAIN_ACCURACY]
    assert "no effect without --early_stopping_patience" in fails(capsys, *options)
    message = fails(capsys, *options, "--early_stopping_patience", "2", "--family", "span_cvae")
    assert "has no tags" in message


def test_validation_documents_are_trained_on_where_they_are_merged(demo_corpora, caplog):
    whole = demo_corpora["demo_all"]
    with caplog.at_level(logging.INFO):
        data = load_run_data(DataOptions(corpora=["demo_all"], merge_validation=True))
    assert data.train["demo_all"] == [*whole["train"], *whole["validation"]]
    assert not data.validation
    count = len(whole["train"]) + len(whole["validation"])
    assert f"demo_all/train: {count} documents" in messages(caplog)
    held = load_run_data(DataOptions(corpora=["demo_all"], merge_validation=True, validation_fraction=0.1))
    assert len(held.validation["demo_all"]) == round(count * 0.1)
    assert len(held.train["demo_all"]) == count - round(count * 0.1)


def test_merged_splits_leave_no_validation_corpora(capsys):
    options = ["--corpora", "demo", "--merge_validation", "true", "--validation_corpora", "demo_all"]
    assert "leave out --validation_corpora" in fails(capsys, *options)


def test_one_command_measures_all_tagging_modes(trained_dir, tmp_path, capsys):
    modes.main([str(trained_dir), "--corpus", "demo_all"])
    lines = capsys.readouterr().out.splitlines()
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    found = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows[1:]}
    assert list(found) == ["aio", "ind", "combined"]
    assert set(found["aio"]) == {"overall", "Gene", "Disease", "Chemical", "Species"}
    for mode in found:  # as a run in that mode alone
        run("--model_name_or_path", trained_dir, "--test_corpora", "demo_all", "--prediction_mode", mode,
            "--report_to", "none", "--output_dir", tmp_path / mode)  # fmt: skip
        report = results(tmp_path / mode)["test"]["demo_all"]
        assert found[mode]["overall"] == f"{100 * report['overall']['f1']:.2f}"
        assert found[mode]["Gene"] == f"{100 * report['per_type']['Gene']['f1']:.2f}"
    assert len({row["overall"] for row in found.values()}) > 1
    with pytest.raises(SystemExit):
        modes.main([str(trained_dir), "--corpus", "demo_gene"])
    assert "under the tags of its own types only" in capsys.readouterr().err


def test_a_trained_taggers_layer_goes_on_learning_with_its_encoder(build_bundle, demo_corpora, tmp_path):
    trained = build_bundle(hidden_size=16)
    trained.save(tmp_path)
    options = {"encoder": str(tmp_path), "trained": ["demo_chem"]}
    again = build_bundle(hidden_size=16, **options)
    for name in ("hidden.weight", "hidden.bias"):
        assert torch.equal(again.model.state_dict()[name], trained.model.state_dict()[name])
    assert not torch.equal(again.model.crf.transitions, trained.model.crf.transitions)
    with pytest.raises(ModelError, match=r"--hidden_size is 8, but the layer of .* has 16 units"):
        build_bundle(hidden_size=8, **options)
    assert build_bundle(hidden_size=0, **options).model.hidden is None


# ---- data


def test_halves_of_a_corpus_are_scored_and_compared_apart(tmp_path, capsys):
    parts = {
        f"half_{t}": {"of": "demo_all", "types": [t], "train": ["train"], "test": ["test"]} for t in ("Gene", "Disease")
    }
    runs = [tmp_path / name for name in ("aio", "mtl")]
    for folder in runs:
        run("--corpora", *parts, "--parts", json.dumps(parts), "--scheme", folder.name, *QUICK, "--output_dir", folder)
    for half, kind in (("half_Gene", "Gene"), ("half_Disease", "Disease")):
        assert set(results(runs[0])["test"][half]["per_type"]) == {kind}
        compare.main([str(runs[0]), "--against", str(runs[1]), "--corpus", half])
        assert "Wilcoxon signed-rank over" in capsys.readouterr().out


@real
def test_a_half_beside_biored_leaves_bioreds_types_alone(corpora):
    arguments = parse(["aioner/paper/biored_all", "--corpora", "biored", "bc5cdr_disease", *corpora])
    data = load_run_data(arguments.data)
    assert len(data.space.shared_types_of("biored")) == 6
    assert data.space.shared_types_of("bc5cdr_disease") == ["Disease"]
    assert {m.type for d in data.train["bc5cdr_disease"] for m in d.mentions} == {"Disease"}
    assert (len(data.train["biored"]), list(data.test), data.validation) == (500, ["biored"], {})
    # 21 of BioRED's test documents are in BC5CDR's training file.
    assert len(data.train["bc5cdr_disease"]) == 1000 - 21
    scheme = build_scheme("mtl", data.space)
    assert scheme.corpus_tasks == {"biored": ["biored"], "bc5cdr_disease": ["bc5cdr_disease"]}
    assert {"B-Disease@biored", "B-Disease@bc5cdr_disease"} <= set(scheme.labels)


@real
@pytest.mark.parametrize(("size", "there"), [(500, 500), (501, None)])
def test_figure_3_goes_up_to_all_500_documents_of_biored_and_no_further(corpora, size, there):
    options = ["--corpora", "biored", "--max_train_documents", f'{{"biored": {size}}}', *corpora]
    data = parse(["aioner/paper/subset", *options]).data
    if there:
        assert len(load_run_data(data).train["biored"]) == there
    else:
        with pytest.raises(RunDataError, match="biored has 500 training documents here, fewer than 501"):
            load_run_data(data)


@real
def test_merged_new_types_are_measured_on_their_own_test_set_and_biored_trains_whole(corpora, tmp_path):
    for split in ("train", "test"):
        text = f"A {split} record of Arabidopsis thaliana, a plant that no other corpus of this test has a type for."
        document = Document(split, "x", text, (Mention(text.index("Arab"), text.index(","), "Plant"),))
        write_documents([document], tmp_path / f"{split}.jsonl")
    files = [w for split in ("train", "test") for w in (f"--{split}_file", str(tmp_path / f"{split}.jsonl"))]
    arguments = parse(["aioner/paper/merged_new_types", "--corpora", "biored", "tmvar3", *files, *corpora])
    data = load_run_data(arguments.data)
    assert list(data.test) == ["new_types"]
    assert {name: len(part) for name, part in data.train.items()} == {"biored": 500, "tmvar3": 342, "new_types": 1}
    scheme = build_scheme("aio", data.space, arguments.own.bridge)
    assert scheme.corpus_tasks["new_types"] == ["Plant"]
    assert set(scheme.task("ALL").types) == {"Gene", "Disease", "Chemical", "Species", "Variant", "CellLine"}


# ---- recipes


PAPER = [p for p in sorted((ROOT / "recipes" / "aioner" / "paper").glob("*.yaml")) if p.name != "search.yaml"]
SETTINGS = {
    "hidden_size": 128, "packing": "single", "max_tokens": 256, "learning_rate": 5e-6, "lr_scheduler_type": "constant",
    "warmup_steps": 0, "per_device_train_batch_size": 32, "num_train_epochs": 50, "early_stopping_patience": 5,
    "early_stopping_metric": TRAIN_ACCURACY, "merge_validation": True, "mapping": "aioner",
}  # fmt: skip


@pytest.mark.parametrize("path", PAPER, ids=lambda p: p.stem)
def test_the_papers_recipes_have_its_settings_and_say_where_they_differ(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {k: values.get(k) for k in SETTINGS} == SETTINGS
    assert "The paper's recipes" in read_header(path).differs
    assert "## The paper's recipes" in (ROOT / "docs" / "decisions" / "aioner.md").read_text(encoding="utf-8")


def test_the_check_with_a_small_encoder_differs_in_what_it_says():
    mine, papers = (
        yaml.safe_load((ROOT / "recipes" / "aioner" / name).read_text(encoding="utf-8"))
        for name in ("small_encoder.yaml", "paper/biored.yaml")
    )
    different = {k for k in mine | papers if mine.get(k) != papers.get(k)}
    shown = {"eval_strategy", "eval_steps", "output_dir"}  # what is scored on the way
    assert different - shown == {"learning_rate", "merge_validation", "encoder"}


def test_the_papers_search_tries_its_four_rates_once_each():
    options = ["--hp_search", "aioner/paper/search", "--validation_fraction", "0.1", "--eval_strategy", "no"]
    arguments = parse(["aioner/paper/biored", *options])
    run_arguments(arguments.train, arguments.trainer | {"use_cpu": True})  # strategies that go together
    plan = read_plan(arguments.given)
    assert plan.n_trials == 4
    study = load_optuna().create_study(sampler=plan.draws_by(42))
    study.optimize(lambda trial: plan.variables["learning_rate"].draw(trial), plan.n_trials)
    assert sorted(t.params["learning_rate"] for t in study.trials) == [1e-6, 5e-6, 1e-5, 5e-5]


def test_a_search_over_a_grid_scores_each_trial_at_its_end(tmp_path):
    pytest.importorskip("optuna")
    path = written(tmp_path, sampler="grid", space={"learning_rate": {"choices": [1e-3, 1e-9]}})
    options = [*EPOCHS, "--num_train_epochs", "2", "--validation_fraction", "0.3", "--eval_strategy", "no"]
    run(*options, "--hp_search", path, "--output_dir", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    assert sorted(t["options"]["learning_rate"] for t in found["trials"]) == [1e-9, 1e-3]
    for trial in found["trials"]:
        assert trial["state"] == "complete"
        scored = [row["epoch"] for row in trial["history"] if "eval_f1" in row]
        assert scored == [2.0]
        assert trial["objective"] == trial["history"][-1]["eval_f1"]
