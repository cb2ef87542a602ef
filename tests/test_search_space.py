"""Search files: what is refused before anything is trained, and those of this repository."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers_run import ROOT, TINY, fails
from helpers_search import SMALL, written
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.training import search_space
from mosaic_ner.training.arguments import as_argv, parse
from mosaic_ner.training.bundle import TrainingData
from mosaic_ner.training.search_space import SearchError, read_plan
from mosaic_ner.training.tune import Search, SearchTrainer

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
        SPACE, ["--train_file", "own.pubtator", "--test_file", "own.pubtator", "--overlap", "keep"],
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
    corpora = [] if "--train_file" in argv else ["--corpora", "demo_gene"]
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
        ({"sampler": "grid"}, ["learning_rate", "a grid has {choices: [...]} only"]),
        (
            {"sampler": "grid", "n_trials": 3, "space": {"dropout": {"choices": [0.1, 0.2]}}},
            ["n_trials is 3", "the grid has 2"],
        ),
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
    message = fails(capsys, *SMALL, *TINY, "--hp_search", tmp_path / "spice.yaml")
    assert "no search file" in message
    assert "space.yaml'" in message


def test_optuna_is_an_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = fails(capsys, *SMALL, *TINY, "--hp_search", written(tmp_path, space=SPACE))
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
    variables = read_plan({"hp_search": str(path)}).variables
    assert (variables["learning_rate"].low, variables["learning_rate"].high) == (1e-5, 1e-3)
    assert variables["hidden_size"].choices == (8, 16)
    assert all(type(value) is int for value in variables["hidden_size"].choices)


# ---- the search files of this repository


FILES = sorted((ROOT / "recipes").rglob("search.yaml"))


def test_there_are_search_files():
    assert {path.parent.name for path in FILES} >= {"aioner", "joint_ib", "span_cvae", "sruner"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_every_search_file_fits_its_family(path, demo_corpora, tiny_encoder_dir):
    family = path.relative_to(ROOT / "recipes").parts[0]
    given = {"hp_search": str(path), "family": family, "encoder": str(tiny_encoder_dir), "max_tokens": 64}
    plan, arguments = read_plan(given), parse(as_argv(given))
    part = demo_corpora["demo_gene"]
    data = TrainingData(DEMO_LABEL_SPACE.restricted_to(["demo_gene"]), {"demo_gene": part["train"][:4]})
    Search(plan, arguments, data, {"demo_gene": part["validation"][:2]})
