"""Hyperparameter search: what it draws, what it writes, what it never sees (search files: test_search_space.py)."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from accelerate.utils import memory
from helpers_run import messages, results, run
from helpers_search import SMALL, written
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.training import search_space, tune
from mosaic_ner.training.arguments import as_argv, parse
from mosaic_ner.training.bundle import TrainingData
from mosaic_ner.training.search_space import Plan, SearchError, Variable
from mosaic_ner.training.trainer import NERTrainer, run_arguments
from mosaic_ner.training.tune import Search

SEED, TRIALS = 10, {"aioner": 3, "span_cvae": 2}
# A window of 4 tokens has no room for text: such trials fail.
SPACES = {
    "aioner": {
        "learning_rate": {"low": 5.0e-3, "high": 1.0e-2, "log": True},
        "hidden_size": {"choices": [0, 16]},
        "max_tokens": {"choices": [4, 64]},
    },
    "span_cvae": {
        "learning_rate": {"low": 5.0e-3, "high": 1.0e-2, "log": True},
        "max_span_width": {"low": 4, "high": 8, "step": 2},
        "head_learning_rate": {"choices": [None, 1.0e-2]},
        "weight_decay": {"low": 0.0, "high": 0.1},
    },
}


def report(folder) -> dict:
    return json.loads((Path(folder) / "search.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=SPACES)
def searched(request, tmp_path_factory, tiny_encoder_dir):
    """A search of a family on the generated corpora: its family, its folder, every text that was cut into windows, and the
    log."""
    folder = tmp_path_factory.mktemp("search")
    path = written(folder, n_trials=TRIALS[request.param], sampler="random", space=SPACES[request.param])
    seen, lines = set(), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    with pytest.MonkeyPatch.context() as patch:
        for owner in (Windower, MentionPredictor):
            original = owner.__call__

            def watched(self, texts, *args, original=original, **kwargs):
                seen.update(getattr(text, "text", text) for text in texts)
                return original(self, texts, *args, **kwargs)

            patch.setattr(owner, "__call__", watched)
        patch.setattr(tune, "logger", log := logging.Logger("search", logging.INFO))
        log.addHandler(handler)
        model = ["--family", request.param, "--encoder", tiny_encoder_dir, "--max_tokens", "64"]
        run(*SMALL, *model, "--hp_search", path, "--seed", SEED, "--output_dir", folder / "out")
    return SimpleNamespace(family=request.param, folder=folder / "out", seen=seen, lines=lines)


def test_every_trial_is_reported(searched):
    found, count = report(searched.folder), TRIALS[searched.family]
    assert [t["number"] for t in found["trials"]] == list(range(count))
    for trial in found["trials"]:
        assert set(trial["options"]) == set(SPACES[searched.family])
        assert trial["seconds"] > 0
        assert (trial["state"] == "failed") == (trial["options"].get("max_tokens") == 4)
        if trial["state"] == "complete":
            assert trial["objective"] == max(row["eval_f1"] for row in trial["history"])
            assert [row["epoch"] for row in trial["history"]] == [1.0, 2.0]
            assert "reason" not in trial
        else:
            assert trial["objective"] is None
            assert trial["history"] == []
            assert re.match(r"ModelError: max_tokens=4", trial["reason"])
    if searched.family == "aioner":
        assert {t["state"] for t in found["trials"]} == {"complete", "failed"}
    complete = [t for t in found["trials"] if t["state"] == "complete"]
    assert found["best"] == max(complete, key=lambda t: t["objective"])["number"]
    assert (found["n_trials"], found["sampler"], found["pruner"], found["seed"]) == (count, "random", "none", SEED)
    assert found["space"] == SPACES[searched.family]
    assert found["settings"]["family"] == searched.family
    assert {"torch", "transformers"} <= set(found["versions"])
    assert found["optuna"]


def test_one_line_of_the_log_a_trial(searched):
    lines = [line for line in searched.lines if line.startswith("trial ")]
    count = TRIALS[searched.family]
    assert [line.partition(":")[0] for line in lines] == [f"trial {n} ({n + 1}/{count})" for n in range(count)]
    for line, trial in zip(lines, report(searched.folder)["trials"], strict=True):
        assert trial["state"] in line
        assert f"learning_rate {trial['options']['learning_rate']}" in line


def test_a_search_keeps_no_weights(searched):
    assert {p.name for p in searched.folder.rglob("*") if p.is_file()} == {"search.json", "best.yaml"}


def test_no_test_document_is_looked_at(searched, demo_corpora):
    texts = {split: {d.text for d in part} for split, part in demo_corpora["demo_gene"].items()}
    assert texts["validation"] <= searched.seen
    assert len(texts["train"] & searched.seen) == 60
    assert not texts["test"] & searched.seen


def test_the_best_recipe_gives_the_best_trials_scores(searched, monkeypatch, tmp_path):
    path = searched.folder / "best.yaml"
    best = report(searched.folder)["trials"][report(searched.folder)["best"]]
    recipe = yaml.safe_load(path.read_text())
    assert {k: recipe[k] for k in best["options"]} == best["options"]
    assert "hp_search" not in recipe
    run(path)
    assert recipe["output_dir"] == str(searched.folder / "best")
    again = results(recipe["output_dir"])
    assert best["objective"] > 0
    assert again["history"] == best["history"]  # to the last bit: same weights, same order, same dropout
    assert again["settings"]["seed"] == SEED


# ---- without training: a trial's score is made up from its values


@pytest.fixture
def search_for(demo_corpora, tiny_encoder_dir):
    """Function: variables of the plan, options → a `Search` on a few generated documents."""

    def make(variables: list[Variable], n_trials=3, sampler="tpe", pruner="none", validation=True, **options):
        plan = Plan("space.yaml", n_trials, sampler, pruner, {v.name: v for v in variables})
        options = {"corpora": ["demo_gene"], "encoder": str(tiny_encoder_dir), "max_tokens": 64} | options
        part = demo_corpora["demo_gene"]
        data = TrainingData(DEMO_LABEL_SPACE.restricted_to(["demo_gene"]), {"demo_gene": part["train"][:8]})
        held = {"demo_gene": part["validation"][:4]} if validation else {}
        return Search(plan, parse(as_argv(options)), data, held)

    return make


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Function: a search, scores of a trial's evaluations by its values → the search after its run."""

    def make(search: Search, scores, seed=0):
        def train(self, resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None):
            for score in scores(self, self.search.draw(trial)):
                self.state.log_history.append({"eval_f1": score, "step": len(self.state.log_history)})
                self._report_to_hp_search(trial, 0, {"eval_f1": score})

        monkeypatch.setattr(NERTrainer, "train", train)
        monkeypatch.setattr(
            memory, "clear_device_cache", lambda **_: None
        )  # there is nothing to free, and it takes long
        monkeypatch.setattr("gc.collect", lambda *_: 0)
        train = replace(search.arguments.train, output_dir=str(tmp_path), report_to="none")
        search.run(run_arguments(train, {"disable_tqdm": True, "use_cpu": True, "seed": seed}))
        return search

    return make


RATE = Variable("learning_rate", low=1e-5, high=1e-3, log=True)
WIDTH = Variable("max_tokens", integer=True, low=32, high=64, step=16)


@pytest.mark.parametrize("sampler", [name for name in search_space.SAMPLERS if name != "grid"])
def test_the_seed_decides_what_is_drawn(search_for, pretend, sampler):
    drawn = []
    for seed in (1, 1, 2):
        flat, overlap = Variable("flat", choices=(True, False)), Variable("window_overlap", True, choices=(None, 4))
        search = search_for([RATE, WIDTH, flat, overlap], 12, sampler, family="sruner")
        pretend(search, lambda _, values: [values["learning_rate"]], seed)
        drawn.append([t["options"] for t in search.trials])
    assert drawn[0] == drawn[1] != drawn[2]
    rates = [values["learning_rate"] for values in drawn[0]]
    assert len(set(rates)) == 12
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert {values["max_tokens"] for values in drawn[0]} == {32, 48, 64}
    assert {values["flat"] for values in drawn[0]} <= {True, False}
    assert {values["window_overlap"] for values in drawn[0]} == {None, 4}


def test_the_best_epoch_counts(search_for, pretend):
    search = pretend(search_for([RATE], 2), lambda _, values: [0.1, 0.7, 0.3])
    assert [t["objective"] for t in search.trials] == [0.7, 0.7]
    assert search.best["number"] == 0


def test_model_and_everything_around_it_are_the_trials(search_for, pretend):
    seen = []

    def scores(trainer, values):
        begin = trainer._model_init(SimpleNamespace(suggest_int=lambda *_, **__: values["max_tokens"]))
        bundle = trainer.search.bundle
        assert begin is bundle.model is trainer.evaluator.predictor.model
        assert trainer.processing_class is bundle.tokenizer is trainer.evaluator.predictor.windower.tokenizer
        assert trainer.data_collator is bundle.collator
        assert trainer.evaluator.predictor.windower.max_tokens == values["max_tokens"] == bundle.model.config.max_tokens
        seen.append((values["max_tokens"], max(trainer.train_dataset.lengths), bundle.model))
        return [0.5]

    pretend(search_for([WIDTH], 8, "random"), scores)
    assert len({tokens for tokens, _, _ in seen}) > 1
    assert all(tokens - 16 < longest <= tokens for tokens, longest, _ in seen)
    assert len({id(model) for _, _, model in seen}) == 8


def test_features_are_built_anew_where_a_model_option_changes_only(search_for):
    search = search_for([RATE, WIDTH])

    def trial(rate, width):
        return SimpleNamespace(suggest_float=lambda *_, **__: rate, suggest_int=lambda *_, **__: width)

    def features(rate, width):
        search.prepare(trial(rate, width))
        return search.features(trial(rate, width))

    first = features(1e-4, 64)
    assert features(1e-5, 64) is first
    second = features(1e-5, 32)
    assert second is not first
    assert max(second.lengths) <= 32 < max(first.lengths)


def test_training_options_are_set_on_the_arguments(search_for, pretend):
    options = [
        Variable("head_learning_rate", choices=(None, 1e-3)),
        Variable("per_device_train_batch_size", integer=True, low=1, high=8),
        Variable("num_train_epochs", low=1, high=3, step=1),
        Variable("balanced_sampling", choices=(True, False)),
        Variable("lr_scheduler_type", choices=("linear", "cosine")),
    ]
    seen = []

    def scores(trainer, values):
        trial = SimpleNamespace(number=0, params=values)
        for kind in ("float", "int", "categorical"):
            setattr(trial, f"suggest_{kind}", lambda name, *_, **__: values[name])
        trainer._hp_search_setup(trial)
        assert {name: getattr(trainer.args, name) for name in values} == values
        assert trainer._train_batch_size == values["per_device_train_batch_size"]
        seen.append(values["head_learning_rate"])
        return [0.0]

    pretend(search_for(options, 8), scores)
    assert set(seen) == {None, 1e-3}


def test_a_failed_trial_is_recorded_and_the_search_goes_on(search_for, pretend):
    faults = iter(
        [
            ValueError("no such thing in /home/someone/models/big"),
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
            MemoryError("no room"),
        ]
    )

    def scores(trainer, values):
        yield 0.2  # of a trial that fails later, so it doesn't count
        if fault := next(faults, None):
            raise fault
        yield 0.1

    search = pretend(search_for([RATE], 5), scores)
    assert [t["state"] for t in search.trials] == ["failed"] * 3 + ["complete"] * 2
    assert [t["reason"] for t in search.trials[:3]] == [
        "ValueError: no such thing in big",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "MemoryError: no room",
    ]
    assert [t["objective"] for t in search.trials] == [None, None, None, 0.2, 0.2]


def test_other_errors_end_the_search_and_leave_what_was_found(search_for, pretend, tmp_path):
    def scores(trainer, values):
        if trainer.search.trials:
            raise RuntimeError("a shape that doesn't fit")
        return [0.3]

    with pytest.raises(RuntimeError, match="a shape"):
        pretend(search_for([RATE]), scores)
    assert [t["state"] for t in report(tmp_path)["trials"]] == ["complete", "failed"]
    assert "learning_rate" in (tmp_path / "best.yaml").read_text()


def test_a_search_without_a_completed_trial_says_why(search_for, pretend, tmp_path):
    (tmp_path / "best.yaml").write_text("of an earlier search")

    def scores(trainer, values):
        raise ValueError("never fits")

    with pytest.raises(SearchError, match="none of 3 trials was completed: ValueError: never fits"):
        pretend(search_for([RATE]), scores)
    assert not (tmp_path / "best.yaml").exists()
    assert report(tmp_path)["best"] is None


def test_trials_are_pruned_by_the_number_of_evaluations(search_for, pretend):
    def scores(trainer, values):  # the sixth trial is worse than the median at its second evaluation
        return [0.5, 0.5, 0.6] if len(trainer.search.trials) != 5 else [0.5, 0.1, 0.9]

    search = pretend(search_for([RATE], 7, pruner="median"), scores)
    assert {t["state"] for t in search.trials} == {"complete"}  # its best score so far is the median

    def worse(trainer, values):
        return [0.5, 0.5, 0.6] if len(trainer.search.trials) != 5 else [0.4, 0.9]

    search = pretend(search_for([RATE], 7, pruner="median"), worse)
    assert [t["state"] for t in search.trials] == [*["complete"] * 5, "pruned", "complete"]
    assert len(search.trials[5]["history"]) == 1
    assert search.trials[5]["objective"] == 0.4
    assert "reason" not in search.trials[5]


def test_no_validation_documents(search_for):
    with pytest.raises(SearchError, match="this run has none"):
        search_for([RATE], validation=False)


def test_messages_are_of_the_search(search_for, pretend, caplog):
    with caplog.at_level(logging.INFO):
        pretend(search_for([RATE], 1), lambda _, values: [0.25])
    assert "trial 0 (1/1): complete, validation F1 25.00, best 25.00 (trial 0)" in messages(caplog)
