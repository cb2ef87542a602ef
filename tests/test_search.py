"""Hyperparameter search: what it draws, what it writes, what it never sees, and what it refuses."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from accelerate.utils import memory
from helpers_run import ROOT, TINY, fails, messages, results, run
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.training import search_space
from mosaic_ner.training import tune as search_module
from mosaic_ner.training.arguments import ModelArguments, RunArguments, given
from mosaic_ner.training.search_space import Option, Plan, SearchError, read_plan
from mosaic_ner.training.trainer import NERTrainer
from mosaic_ner.training.tune import Search, SearchTrainer

SMALL = [
    "--corpora", "demo_gene", *TINY, "--max_train_documents", '{"demo_gene": 60}', "--num_train_epochs", "2",
    "--per_device_train_batch_size", "2", "--report_to", "none",
]  # fmt: skip
SEED, TRIALS = 10, {"aioner": 3, "span_cvae": 2}
# A window of 4 tokens has no room for text: such trials fail.
SPACES = {
    "aioner": {
        "learning_rate": {"low": 5.0e-3, "high": 1.0e-2, "log": True},
        "hidden_size": {"choices": [None, 16]},
        "max_tokens": {"choices": [4, 64]},
    },
    "span_cvae": {
        "learning_rate": {"low": 5.0e-3, "high": 1.0e-2, "log": True},
        "max_span_width": {"low": 4, "high": 8, "step": 2},
        "head_learning_rate": {"choices": [None, 1.0e-2]},
        "weight_decay": {"low": 0.0, "high": 0.1},
    },
}


def written(folder: Path, **content) -> Path:
    """A search file."""
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


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
                seen.update(texts)
                return original(self, texts, *args, **kwargs)

            patch.setattr(owner, "__call__", watched)
        patch.setattr(search_module, "logger", log := logging.Logger("search", logging.INFO))
        log.addHandler(handler)
        more = ["--encoder", tiny_encoder_dir, "--hp_search", path, "--seed", SEED, "--output_dir", folder / "out"]
        run(*SMALL, "--family", request.param, *more)
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
    """Function: options of the plan, model options → a `Search` on a few generated documents."""

    def make(options: list[Option], n_trials=3, sampler="tpe", pruner="none", validation=True, **model):
        plan = Plan("space.yaml", n_trials, sampler, pruner, {o.name: o for o in options})
        arguments = ModelArguments(**({"encoder": str(tiny_encoder_dir), "max_tokens": 64} | model))
        part = demo_corpora["demo_gene"]
        held = {"demo_gene": part["validation"][:4]} if validation else {}
        space = DEMO_LABEL_SPACE.restricted_to(["demo_gene"])
        return Search(plan, arguments, space, {"demo_gene": part["train"][:8]}, held)

    return make


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Function: a search, scores of a trial's evaluations by its values → the search after its run."""

    def make(search: Search, scores, seed=0):
        def train(self, resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None):
            for score in scores(self, self.search.draw(trial)):
                self.state.log_history.append({"eval_f1": score})
                self._report_to_hp_search(trial, 0, {"eval_f1": score})

        monkeypatch.setattr(NERTrainer, "train", train)
        monkeypatch.setattr(
            memory, "clear_device_cache", lambda **_: None
        )  # there is nothing to free, and it takes long
        monkeypatch.setattr("gc.collect", lambda *_: 0)
        args = RunArguments(output_dir=str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True, seed=seed)
        search.run(args, {"corpora": ["demo_gene"]}, lambda path, content: path.write_text(json.dumps(content)))
        return search

    return make


RATE = Option("learning_rate", low=1e-5, high=1e-3, log=True)
WIDTH = Option("max_tokens", integer=True, low=32, high=64, step=16)


@pytest.mark.parametrize("sampler", search_space.SAMPLERS)
def test_the_seed_decides_what_is_drawn(search_for, pretend, sampler):
    drawn = []
    for seed in (1, 1, 2):
        search = search_for([RATE, WIDTH, Option("flat", choices=(None, True, False))], 12, sampler, family="sruner")
        pretend(search, lambda _, values: [values["learning_rate"]], seed)
        drawn.append([t["options"] for t in search.trials])
    assert drawn[0] == drawn[1] != drawn[2]
    rates = [values["learning_rate"] for values in drawn[0]]
    assert len(set(rates)) == 12
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert {values["max_tokens"] for values in drawn[0]} == {32, 48, 64}
    assert {values["flat"] for values in drawn[0]} <= {None, True, False}


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
        Option("head_learning_rate", choices=(None, 1e-3)),
        Option("per_device_train_batch_size", integer=True, low=1, high=8),
        Option("num_train_epochs", low=1, high=3, step=1),
        Option("balanced_sampling", choices=(True, False)),
        Option("lr_scheduler_type", choices=("linear", "cosine")),
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


# ---- what is refused, before anything is trained


SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-3}}
REFUSED = {
    "unknown": ({"lerning_rate": {"low": 1, "high": 2}}, [], ["'lerning_rate'", "'learning_rate'"]),
    "family": ({"family": {"choices": ["aioner"]}}, [], ["'family' may not vary", "learning_rate", "recipe"]),
    "encoder": ({"encoder": {"choices": ["scratch"]}}, [], ["'encoder' may not vary"]),
    "seed": ({"seed": {"low": 1, "high": 2}}, [], ["'seed' may not vary"]),
    "output": ({"output_dir": {"choices": ["a"]}}, [], ["'output_dir' may not vary"]),
    "data": ({"mapping": {"choices": ["shared", "aioner"]}}, [], ["'mapping' may not vary"]),
    "list": ({"bridge": {"choices": ["a", "b"]}}, [], ["'bridge' may not vary"]),
    "word": ({"dropout": {"choices": [0.1, "much"]}}, [], ["dropout: 'much'", "expected numbers"]),
    "truth": ({"hidden_size": {"choices": [8, True]}}, [], ["hidden_size: True", "expected whole numbers"]),
    "fraction": ({"hidden_size": {"low": 1.5, "high": 8}}, [], ["hidden_size: 1.5", "whole numbers"]),
    "nothing": ({"max_tokens": {"choices": [None, 64]}}, [], ["max_tokens: None", "whole numbers"]),
    "number": ({"classifier": {"choices": [1, 2]}}, [], ["classifier: 1", "expected words"]),
    "range": ({"classifier": {"low": 1, "high": 2}}, [], ["classifier", "no low and high", "choices"]),
    "choice": ({"classifier": {"choices": ["crf", "sofmax"]}}, [], ["--classifier is 'sofmax'", "'softmax'"]),
    "schedule": ({"lr_scheduler_type": {"choices": ["linar", "cosine"]}}, [], ["'linar'", "'linear'"]),
    "order": ({"dropout": {"low": 0.3, "high": 0.1}}, [], ["low is 0.3 and high 0.1"]),
    "log": ({"dropout": {"low": 0.0, "high": 0.1, "log": True}}, [], ["dropout", "log: true", "above 0"]),
    "log_step": ({"learning_rate": {"low": 1, "high": 2, "log": True, "step": 1}}, [], ["log: true", "without a step"]),
    "step": ({"hidden_size": {"low": 8, "high": 15, "step": 4}}, [], ["steps of 4", "from 8 to 15"]),
    "form": ({"dropout": [0.1, 0.2]}, [], ["dropout is [0.1, 0.2]", "{low, high}", "choices"]),
    "misspelt": ({"dropout": {"lo": 0.1, "high": 0.2}}, [], ["dropout", "{low, high}"]),
    "twice": ({"dropout": {"choices": [0.1, 0.1]}}, [], ["a value twice"]),
    "empty": ({"dropout": {"choices": []}}, [], ["choices is []"]),
    "no_space": ({}, [], ["space is {}", "learning_rate"]),
    "unread": ({"max_span_width": {"low": 2, "high": 4}}, [], ["'max_span_width'", "family aioner", "hidden_size"]),
    "no_decoder": ({"generator_learning_rate": {"low": 1e-4, "high": 1e-3}}, [], ["'generator_learning_rate'", "effect"]),
    "lora": ({"lora_alpha": {"low": 1, "high": 8}}, [], ["lora_alpha", "--lora_rank"]),
    "steps": ({"num_train_epochs": {"low": 1, "high": 2}}, ["--max_steps", "3"], ["num_train_epochs", "max_steps is 3"]),
    "rates": (
        {"balanced_sampling": {"choices": [False, True]}}, ["--sampling_rates", '{"Gene": 2}'],
        ["balanced_sampling: True", "--sampling_rates"],
    ),
    "no_validation": (
        SPACE, ["--train_file", "own.pubtator", "--test_file", "own.pubtator", "--keep_overlap"],
        ["validation documents", "--validation_fraction"],
    ),
    "model": (SPACE, ["--model_name_or_path", "x"], ["--hp_search trains new models", "--model_name_or_path"]),
    "predict": (SPACE, ["--do_predict"], ["--hp_search trains new models", "--do_predict"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_told_before_is_told_before(tmp_path, monkeypatch, capsys, case):
    space, argv, expected = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SearchTrainer, "train", None)
    Path("own.pubtator").write_text("1|t|Hello TP53\n1|a|x\n1\t6\t10\tTP53\tGene\n\n")
    corpora = [] if "--train_file" in argv else SMALL[:2]
    message = fails(
        capsys, *corpora, *TINY, "--report_to", "none", "--hp_search", written(tmp_path, space=space), *argv
    )
    for piece in expected:
        assert piece in message
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"sampler": "tpee"}, ["sampler is 'tpee'", "'tpe'"]),
        ({"pruner": "hyperband"}, ["pruner is 'hyperband'", "none, median"]),
        ({"n_trials": 0}, ["n_trials is 0"]),
        ({"n_trials": "many"}, ["n_trials is 'many'"]),
        ({"n_trial": 3}, ["unknown key 'n_trial'", "'n_trials'"]),
    ],
)
def test_wrong_search_files(tmp_path, content, expected):
    path = written(tmp_path, **({"space": SPACE} | content))
    with pytest.raises(SearchError) as error:
        read_plan({"hp_search": str(path)})
    for piece in [str(path), *expected]:
        assert piece in str(error.value)


def test_a_search_file_that_is_not_there(tmp_path, capsys):
    written(tmp_path, space=SPACE)
    message = fails(capsys, *SMALL, "--hp_search", tmp_path / "spice.yaml")
    assert "no search file" in message
    assert "space.yaml'" in message


def test_optuna_is_an_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = fails(capsys, *SMALL, "--hp_search", written(tmp_path, space=SPACE))
    assert "--hp_search needs optuna: pip install 'mosaic-ner[search]'" in message


def test_one_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr(search_space, "PartialState", lambda: SimpleNamespace(num_processes=2))
    with pytest.raises(SearchError, match=r"one process, but here are 2.*--num_processes 1"):
        read_plan({"hp_search": str(written(tmp_path, space=SPACE))})


def test_numbers_that_yaml_takes_for_text(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "space:\n  learning_rate: {low: 1e-5, high: 1e-3, log: true}\n  hidden_size: {choices: ['8', 16]}\n"
    )
    options = read_plan({"hp_search": str(path), "report_to": "none"}).options
    assert (options["learning_rate"].low, options["learning_rate"].high) == (1e-5, 1e-3)
    assert options["hidden_size"].choices == (8, 16)
    assert all(type(value) is int for value in options["hidden_size"].choices)


def test_what_a_command_line_says_as_a_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("corpora: [demo]\nseed: 7\nlearning_rate: 2e-3\nsampling_rates: {Gene: 2}\n")
    assert given([str(path), "--seed", "8", "--corpora", "demo_all", "demo_gene", "--noise", "false", "--bf16"]) == {
        "corpora": ["demo_all", "demo_gene"], "seed": 8, "learning_rate": "2e-3", "sampling_rates": {"Gene": 2},
        "noise": False, "bf16": True,
    }  # fmt: skip


# ---- the search files of this repository


FILES = sorted((ROOT / "recipes").rglob("search.yaml"))


def test_there_are_search_files():
    assert {path.parent.name for path in FILES} >= {"aioner", "joint_ib", "span_cvae", "sruner"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.parent.name)
def test_every_search_file_fits_its_family(path, demo_corpora, tiny_encoder_dir):
    plan = read_plan({"hp_search": str(path), "report_to": "none"})
    arguments = ModelArguments(family=path.parent.name, encoder=str(tiny_encoder_dir), max_tokens=64)
    part = demo_corpora["demo_gene"]
    space = DEMO_LABEL_SPACE.restricted_to(["demo_gene"])
    Search(plan, arguments, space, {"demo_gene": part["train"][:4]}, {"demo_gene": part["validation"][:2]})


def test_no_validation_documents(search_for):
    with pytest.raises(SearchError, match="this run has none"):
        search_for([RATE], validation=False)


def test_messages_are_of_the_search(search_for, pretend, caplog):
    with caplog.at_level(logging.INFO):
        pretend(search_for([RATE], 1), lambda _, values: [0.25])
    assert "trial 0 (1/1): complete, validation F1 25.00, best 25.00 (trial 0)" in messages(caplog)
