"""Options: recipes, overrides, and what a misspelt one says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from mosaic_ner.training.arguments import (
    GROUPS,
    ArgumentError,
    DataArguments,
    ModelArguments,
    RunArguments,
    parse,
    read_recipe,
)

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p for p in (ROOT / "recipes").rglob("*.yaml") if p.name != "search.yaml")  # those: test_search.py


@pytest.fixture
def recipe(tmp_path):
    """Function: options → path of a recipe with them; the output folder is a temporary one."""

    def write(text: str = "", **options) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(text or yaml.safe_dump({"output_dir": str(tmp_path / "out"), "report_to": "none"} | options))
        return str(path)

    return write


def test_there_are_recipes():
    assert len(RECIPES) > 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_every_recipe_is_understood(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    groups = parse([str(path)])[:3]
    for key, value in values.items():
        (group,) = [g for g in groups if key in {f.name for f in fields(g)}]
        got = getattr(group, key)
        assert (got.value if hasattr(got, "value") else got) == value, key
    assert len({v for k, v in values.items() if k == "output_dir"}) == 1  # a recipe says where it writes


def test_no_two_recipes_write_to_the_same_folder():
    folders = [yaml.safe_load(p.read_text(encoding="utf-8"))["output_dir"] for p in RECIPES]
    assert len(set(folders)) == len(folders)


def test_a_recipe_gives_values_and_the_command_line_overrides_them(recipe):
    path = recipe(num_train_epochs=3, encoder="scratch", corpora=["demo"], learning_rate="2.0e-3", use_cpu=True)
    model, data, run, _ = parse([path, "--num_train_epochs", "7", "--corpora", "demo_all", "demo_gene"])
    assert (model.encoder, data.corpora, run.num_train_epochs, run.learning_rate) == (
        "scratch", ["demo_all", "demo_gene"], 7.0, 0.002,
    )  # fmt: skip
    assert run.use_cpu is True
    assert isinstance(model, ModelArguments)
    assert isinstance(data, DataArguments)
    assert isinstance(run, RunArguments)
    assert parse(["--num_train_epochs", "7", "--report_to", "none"])[2].num_train_epochs == 7


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("learning_rat", "learning_rate"),
        ("max_token", "max_tokens"),
        ("corporas", "corpora"),
        ("classifer", "classifier"),
    ],
)
def test_an_unknown_recipe_key_fails_with_the_nearest_name(recipe, key, near):
    with pytest.raises(ArgumentError, match=f"unknown key '{key}'; did you mean '{near}'"):
        parse([recipe(**{key: 1})])


@pytest.mark.parametrize(
    ("option", "near"), [("--learning_rat", "learning_rate"), ("--max_token=3", "max_tokens"), ("--bridg", "bridge")]
)
def test_an_unknown_option_fails_with_the_nearest_name(recipe, option, near):
    with pytest.raises(ArgumentError, match=f"unknown option '{option}'; did you mean '{near}'"):
        parse([recipe(), option, "1"])


def test_options_cannot_be_shortened(recipe):
    """Otherwise a later option with the same beginning would change what a command means."""
    with pytest.raises(ArgumentError, match="unknown option '--num_train_epoch'"):
        parse([recipe(), "--num_train_epoch", "3"])


def test_dictionaries_in_recipes_and_on_the_command_line(recipe):
    path = recipe(sampling_rates={"Gene": 0.25, "ALL": 3}, max_train_documents={"biored": 50})
    _, data, run, _ = parse([path])
    assert run.sampling_rates == {"Gene": 0.25, "ALL": 3}
    assert data.max_train_documents == {"biored": 50}
    _, data, run, _ = parse([path, "--max_train_documents", '{"biored": 10}'])
    assert data.max_train_documents == {"biored": 10}
    assert run.sampling_rates == {"Gene": 0.25, "ALL": 3}


@pytest.mark.parametrize("value", ["[1]", "Gene", "{"])
def test_a_dictionary_that_is_none_ends_with_one_message(recipe, value, capsys):
    with pytest.raises((SystemExit, ArgumentError)) as error:
        parse([recipe(), "--sampling_rates", value])
    assert "expected a JSON object" in capsys.readouterr().err + str(error.value)


def test_values_of_any_kind_pass_through_a_recipe(recipe):
    model, data, run, _ = parse(
        [
            recipe(
                bridge=["demo_all"],
                types=None,
                keep_overlap=False,
                load_best_model_at_end=False,
                dropout=0,
                bf16=True,
                use_cpu=True,
            )
        ]
    )
    assert (model.bridge, data.types, data.keep_overlap, run.load_best_model_at_end) == (
        ["demo_all"],
        None,
        False,
        False,
    )
    assert model.dropout == 0
    assert run.bf16 is True


def test_recipes_that_cannot_be_read(recipe, tmp_path):
    with pytest.raises(ArgumentError, match=r"no recipe .*did you mean .*quickstart\.yaml"):
        read_recipe(str(ROOT / "recipes" / "quickstrt.yaml"))
    with pytest.raises(ArgumentError, match="expected a mapping of option names to values, got list"):
        parse([recipe("- a\n- b\n")])
    with pytest.raises(ArgumentError, match="not valid YAML"):
        parse([recipe("a: [1\n")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scheme", "naiv"], "did you mean 'naive'"),
        (["--classifier", "svm"], "expected one of crf, softmax"),
        (["--train_file", "nowhere.PubTator"], "no such file 'nowhere.PubTator'"),
        (["--validation_fraction", "1.5"], "expected a share"),
        (
            ["--eval_strategy", "no", "--load_best_model_at_end", "false", "--early_stopping_patience", "2"],
            "early_stopping_patience needs",
        ),
        (
            ["--balanced_sampling", "--sampling_rates", '{"Gene": 2}'],
            "--balanced_sampling sets the rates .* --sampling_rates",
        ),
    ],
)
def test_values_that_cannot_be_right_fail_before_anything_is_read(recipe, options, message):
    with pytest.raises(ArgumentError, match=message):
        parse([recipe(), *options])


def test_balanced_sampling_alone_is_fine(recipe):
    path = recipe(balanced_sampling=True)
    assert parse([path])[2].balanced_sampling
    assert parse([recipe(), "--balanced_sampling"])[3]["balanced_sampling"]
    assert not parse([path, "--balanced_sampling", "false", "--sampling_rates", '{"Gene": 2}'])[2].balanced_sampling


def test_settings_are_what_departs_from_the_defaults(recipe):
    path = recipe(hidden_size=64, corpora=["demo"], sampling_rates={"ALL": 2})
    settings = parse([path, "--seed", "3"])[3]
    assert settings["hidden_size"] == 64
    assert settings["sampling_rates"] == {"ALL": 2}
    assert settings["corpora"] == ["demo"]
    assert settings["seed"] == 3
    assert settings["max_tokens"] == 256  # told even where it is the default
    assert "label_first_token_only" not in settings
    assert not any("token" in name and name not in ("max_tokens", "label_first_token_only") for name in settings)


def test_help_names_our_options_and_hides_the_trainers(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    own = [f.name for group in GROUPS[:2] for f in fields(group)]
    assert [name for name in own if f"--{name}" not in text] == []
    for name in ("head_learning_rate", "sampling_rates", "early_stopping_patience", "seed", "resume_from_checkpoint"):
        assert f"--{name}" in text
    assert "--ddp_backend" not in text
    with pytest.raises(SystemExit):
        parse(["--help_all"])
    assert "--ddp_backend" in capsys.readouterr().out


def test_every_option_of_ours_has_a_help_text():
    for group in GROUPS[:2]:
        for f in fields(group):
            assert len(f.metadata["help"]) > 5, f.name
