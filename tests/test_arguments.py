"""Options: recipes, overrides, what each family takes, and what a misspelt one or one without effect is told."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from importlib import import_module

import pytest
import yaml
from helpers_run import ROOT, shell
from mosaic_ner.data_builders.options import ArgumentError, DataOptions, specs
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.prediction import options as prediction_options
from mosaic_ner.training import families
from mosaic_ner.training.arguments import (
    SHARED,
    TRAINER_TABLE,
    ModelOptions,
    TrainOptions,
    parse,
    read_recipe,
    recipe_path,
    trainer_specs,
)
from mosaic_ner.training.trainer import run_arguments
from mosaic_ner.training.trainer_options import table

RECIPES = sorted(
    p for p in (ROOT / "recipes").rglob("*.yaml") if p.name != "search.yaml"
)  # those: test_search_space.py
FAMILIES = ("aioner", "span_cvae", "sruner", "joint_ib")
OWN = {name: specs(families.family(name).Options) for name in FAMILIES}


@pytest.fixture
def recipe(tmp_path):
    """Function: options → path of a recipe with them; the output folder is a temporary one."""

    def write(text: str = "", **options) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(text or yaml.safe_dump({"output_dir": str(tmp_path / "out"), "report_to": "none"} | options))
        return str(path)

    return write


# ---- recipes and the command line


def test_there_are_recipes():
    assert len(RECIPES) > 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "recipes")))
def test_every_recipe_is_understood(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    arguments = parse([str(path)])
    assert arguments.given == values
    for key, value in values.items():
        (got,) = [getattr(g, key) for g in arguments.groups if key in specs(type(g))] or [arguments.trainer[key]]
        assert got == value, key
    assert len({v for k, v in values.items() if k == "output_dir"}) == 1  # a recipe says where it writes


def test_no_two_recipes_write_to_the_same_folder():
    folders = [yaml.safe_load(p.read_text(encoding="utf-8"))["output_dir"] for p in RECIPES]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", ["quickstart", "aioner/biored_all"])
def test_recipes_of_the_package_are_named_without_folder_and_ending(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    file = ROOT / "recipes" / f"{name}.yaml"
    for way in (name, f"{name}.yaml", str(file)):
        assert recipe_path(way) == file
        assert parse([way]) == parse([str(file)])
    assert parse([name, "--seed", "3"]).given == yaml.safe_load(file.read_text(encoding="utf-8")) | {"seed": 3}
    with pytest.raises(ArgumentError, match=f"no recipe '{name}s'; did you mean '{name}'"):
        parse([f"{name}s"])
    own = tmp_path / f"{name}.yaml"  # a file that is here comes first
    own.parent.mkdir(exist_ok=True)
    own.write_text("seed: 5\n")
    assert parse([f"{name}.yaml"]).seed == 5


def test_a_recipe_gives_values_and_the_command_line_overrides_them(recipe):
    path = recipe(num_train_epochs=3, encoder="scratch", corpora=["demo"], learning_rate="2.0e-3", use_cpu=True)
    arguments = parse([path, "--num_train_epochs", "7", "--corpora", "demo_all", "demo_gene"])
    model, data, train = arguments.model, arguments.data, arguments.train
    assert (model.encoder, data.corpora, train.num_train_epochs, train.learning_rate) == (
        "scratch", ["demo_all", "demo_gene"], 7.0, 0.002,
    )  # fmt: skip
    assert arguments.trainer == {"use_cpu": True}
    assert isinstance(model, ModelOptions)
    assert isinstance(data, DataOptions)
    assert isinstance(train, TrainOptions)
    assert run_arguments(train, arguments.trainer).use_cpu is True
    assert parse(["--num_train_epochs", "7", "--report_to", "none"]).train.num_train_epochs == 7


def test_what_a_run_was_told_as_a_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("corpora: [demo]\nfamily: joint_ib\nseed: 7\nlearning_rate: 2e-3\nsampling_rates: {Gene: 2}\n")
    more = ["--seed", "8", "--corpora", "demo_all", "demo_gene", "--compressed", "false", "--bf16"]
    assert parse([str(path), *more]).given == {
        "corpora": ["demo_all", "demo_gene"], "family": "joint_ib", "seed": 8, "learning_rate": 2e-3,
        "sampling_rates": {"Gene": 2}, "compressed": False, "bf16": True,
    }  # fmt: skip


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
    arguments = parse([path])
    assert arguments.train.sampling_rates == {"Gene": 0.25, "ALL": 3}
    assert arguments.data.max_train_documents == {"biored": 50}
    arguments = parse([path, "--max_train_documents", '{"biored": 10}'])
    assert arguments.data.max_train_documents == {"biored": 10}
    assert arguments.train.sampling_rates == {"Gene": 0.25, "ALL": 3}


@pytest.mark.parametrize("value", ["[1]", "Gene", "{"])
def test_a_dictionary_that_is_none_ends_with_one_message(recipe, value, capsys):
    with pytest.raises((SystemExit, ArgumentError)) as error:
        parse([recipe(), "--sampling_rates", value])
    assert "expected a JSON object" in capsys.readouterr().err + str(error.value)


def test_values_of_any_kind_pass_through_a_recipe(recipe):
    values = {
        "bridge": ["demo_all"],
        "types": None,
        "overlap": "remove",
        "load_best_model_at_end": False,
        "dropout": 0,
    }
    arguments = parse([recipe(**values, bf16=True, use_cpu=True)])
    assert arguments.own.bridge == ["demo_all"]
    assert arguments.data.types is None
    assert arguments.data.overlap == "remove"
    assert arguments.train.load_best_model_at_end is False
    assert arguments.model.dropout == 0
    assert arguments.trainer["bf16"] is True


def test_recipes_that_cannot_be_read(recipe):
    with pytest.raises(ArgumentError, match=r"no recipe .*did you mean .*quickstart\.yaml"):
        read_recipe(str(ROOT / "recipes" / "quickstrt.yaml"))
    with pytest.raises(ArgumentError, match="expected a mapping of option names to values, got list"):
        parse([recipe("- a\n- b\n")])
    with pytest.raises(ArgumentError, match="not valid YAML"):
        parse([recipe("a: [1\n")])


# ---- options of a family


def owners_of(option: str, but: str) -> str:
    return " and ".join(name for name in FAMILIES if name != but and option in OWN[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_another_family_s_option_is_refused_and_the_message_says_whose_it_is(recipe, family):
    foreign = {option for name in FAMILIES for option in OWN[name]} - OWN[family].keys()
    assert len(foreign) > 10
    for option in foreign:
        message = f"'(--)?{option}': it is an option of {owners_of(option, family)}, and the family here is {family}"
        with pytest.raises(ArgumentError, match=f"unknown key {message}"):
            parse([recipe(family=family, **{option: 1})])
        for argv in ([recipe(family=family)], ["--family", family]):
            with pytest.raises(ArgumentError, match=f"unknown option {message}"):
                parse([*argv, f"--{option}", "1"])


def test_the_family_of_the_command_line_counts(recipe):
    path = recipe(family="span_cvae", alpha=0.5)
    assert parse([path]).own.alpha == 0.5
    with pytest.raises(ArgumentError, match="'alpha': it is an option of span_cvae, and the family here is aioner"):
        parse([path, "--family", "aioner"])
    assert parse(["--max_span_width", "3", "--family", "joint_ib"]).own.max_span_width == 3
    with pytest.raises(ArgumentError, match="option of span_cvae and joint_ib, and the family here is aioner"):
        parse(["--max_span_width", "3"])
    with pytest.raises(ArgumentError, match="unknown family 'sru_ner'; did you mean 'sruner'"):
        parse(["--family", "sru_ner"])


def default_in(config: type, name: str):
    """That of the class nearest to a config's whose constructor has the parameter."""
    for kind in config.__mro__:
        parameters = inspect.signature(kind.__init__).parameters if issubclass(kind, NERConfig) else {}
        if name in parameters:
            return parameters[name].default
    return inspect.Parameter.empty


def config_of(family: str) -> type[NERConfig]:
    module = import_module(f"mosaic_ner.modeling.configuration_{family}")
    (config,) = [k for k in vars(module).values() if isinstance(k, type) and k.__module__ == module.__name__]
    return config


@pytest.mark.parametrize("family", FAMILIES)
def test_no_default_differs_between_command_line_and_config(family, build_bundle):
    config, options = config_of(family), {**OWN[family], **specs(ModelOptions)}
    defaults = {name: default_in(config, name) for name in options}
    common = {name: default for name, default in defaults.items() if default is not inspect.Parameter.empty}
    assert len(common) > 8
    # What is said to depend on something else is compared in the config of a model.
    dependent = {n for n, d in common.items() if options[n].default is None and d is not None}
    assert dependent == ({"word_size"} if family == "joint_ib" else set())
    for name in common.keys() - dependent:
        assert options[name].default == common[name], name
    model = build_bundle(family=family, max_tokens=common["max_tokens"]).model
    for name in common.keys() - {"span_size"}:  # None is the encoder's hidden size, in the config too
        assert getattr(model.config, name) == common[name], name


def test_the_shared_options_have_the_defaults_of_every_config():
    common = {n: default_in(NERConfig, n) for n in specs(ModelOptions)}
    common = {n: default for n, default in common.items() if default is not inspect.Parameter.empty}
    assert common.keys() == {"dropout", "max_tokens", "window_overlap", "packing", "document_consistency"}
    assert common == {n: specs(ModelOptions)[n].default for n in common}


def test_a_threshold_of_0_stays_0(recipe, build_bundle):
    for argv in (["--family", "joint_ib", "--threshold", "0"], [recipe(family="joint_ib", threshold=0)]):
        arguments = parse(argv)
        assert arguments.own.threshold == 0
        assert arguments.settings()["threshold"] == 0
    assert parse(["--family", "joint_ib"]).own.threshold == 0.5
    assert build_bundle(family="joint_ib", threshold=0.0).model.config.threshold == 0


def test_options_of_families_are_read_without_torch(tmp_path):
    program = "import sys\nfrom mosaic_ner.training import arguments, families\n"
    program += "print(*(families.family(name).Options for name in families.names()))\nprint(*sys.modules)"
    done = shell(["-c", program], tmp_path)
    assert done.returncode == 0, done.stderr
    options, modules = done.stdout.splitlines()
    assert options.count("Options") == len(FAMILIES)
    packages = {name.split(".")[0] for name in modules.split()}
    assert not packages & {"torch", "transformers", "numpy", "accelerate", "datasets", "tokenizers", "safetensors"}
    installed = {
        name for name in importlib.metadata.packages_distributions() if not name.startswith(("_", "mosaic_ner"))
    }
    assert packages & installed - set(sys.stdlib_module_names) == {"yaml"}


# ---- transformers' own options


def test_the_table_is_that_of_the_installed_transformers():
    assert TRAINER_TABLE.read_text(encoding="utf-8") == table()


def test_transformers_own_checks_are_ours(recipe):
    arguments = parse([recipe(), "--save_strategy", "steps", "--eval_strategy", "epoch"])
    with pytest.raises(ArgumentError, match="load_best_model_at_end requires the save and eval strategy to match"):
        run_arguments(arguments.train, arguments.trainer)
    with pytest.raises(ArgumentError, match=r"--lr_scheduler_type is 'linar'; .*did you mean 'linear'"):
        parse([recipe(), "--lr_scheduler_type", "linar"])
    with pytest.raises(ArgumentError, match=r"--fast: transformers [\d.]+\S* has no such option"):
        run_arguments(arguments.train, {"fast": True})


# ---- what can't be right, and what has no effect


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scheme", "naiv"], "did you mean 'naive'"),
        (["--classifier", "svm"], "expected one of crf, softmax"),
        (["--train_file", "nowhere.PubTator"], "no such file 'nowhere.PubTator'"),
        (["--validation_fraction", "1.5"], "--validation_fraction is 1.5; expected 0 to below 1"),
        (["--hidden_size", "-1"], "--hidden_size is -1; expected 0 or more"),
        (["--family", "joint_ib", "--threshold", "2"], "--threshold is 2.0; expected 0 to 1"),
        (
            ["--eval_strategy", "no", "--load_best_model_at_end", "false", "--early_stopping_patience", "2"],
            "early_stopping_patience needs",
        ),
        (
            ["--balanced_sampling", "--sampling_rates", '{"Gene": 2}'],
            "--balanced_sampling sets the rates .* --sampling_rates",
        ),
        (["--label_smoothing_factor", "0.5"], "unknown option '--label_smoothing_factor'"),
        (["--hp_search", "space.yaml", "--complete_with", "m"], "--hp_search doesn't complete labels"),
    ],
)
def test_values_that_cannot_be_right_fail_before_anything_is_read(recipe, options, message):
    with pytest.raises(ArgumentError, match=message):
        parse([recipe(), *options])


TRAINED = [
    ("learning_rate", "1e-3"), ("head_learning_rate", "1e-3"), ("num_train_epochs", "2"), ("sampling_rates", '{"a": 2}'),
    ("inference_only", "true"), ("max_tokens", "64"), ("dropout", "0.2"), ("packing", "single"), ("lora_rank", "2"),
    ("scheme", "mtl"), ("hidden_size", "8"), ("bridge", "demo_all"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), TRAINED)
def test_options_of_training_are_refused_with_a_trained_model(recipe, option, value):
    for argv in ([f"--{option}", value], [f"--{option}={value}"]):
        with pytest.raises(ArgumentError, match=f"--{option} has no effect: some/model is trained already"):
            parse([recipe(), "--model_name_or_path", "some/model", *argv])


def test_a_training_recipe_serves_to_evaluate_its_model(recipe):
    path = recipe(learning_rate=1e-3, hidden_size=8, max_tokens=64, corpora=["demo"])
    arguments = parse(
        [path, "--model_name_or_path", "some/model", "--prediction_mode", "ind", "--encoder", "here", "--encoder_name", "x",
         "--per_device_eval_batch_size", "4", "--output_dir", "there", "--write_predictions", "--seed", "3",
         "--test_corpora", "demo_all"]
    )  # fmt: skip
    assert arguments.model.model_name_or_path == "some/model"
    assert arguments.train.per_device_eval_batch_size == 4


PREDICT = {"predict_input": str(ROOT / "run_ner.py"), "predict_output": "out.json", "predict_corpus": "demo_gene"}
PREDICT |= {"predict_chunk": "8", "resume": "true"}


@pytest.mark.parametrize("option", PREDICT)
def test_options_of_prediction_are_refused_without_it(recipe, option):
    for model in ([], ["--model_name_or_path", "some/model"]):
        with pytest.raises(ArgumentError, match=f"--{option} has no effect without --do_predict"):
            parse([recipe(), *model, f"--{option}", PREDICT[option]])


def test_prediction_without_a_model_takes_the_one_in_the_box(recipe, monkeypatch, tmp_path):
    argv = [recipe(), "--do_predict", *[word for name, value in PREDICT.items() for word in (f"--{name}", value)]]
    monkeypatch.setattr(prediction_options, "IN_THE_BOX", tmp_path)
    with pytest.raises(ArgumentError, match="no model is named, and the package's own isn't at"):
        parse(argv)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert parse(argv).model.model_name_or_path == str(tmp_path)


@pytest.mark.parametrize("missing", ["predict_input", "predict_output"])
def test_prediction_needs_an_input_and_an_output(recipe, missing):
    options = {"model_name_or_path": "some/model", **PREDICT}
    argv = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert parse([recipe(), "--do_predict", *argv]).prediction.do_predict
    argv = [word for name, value in options.items() if name != missing for word in (f"--{name}", value)]
    with pytest.raises(ArgumentError, match="--do_predict needs --predict_input and --predict_output"):
        parse([recipe(), "--do_predict", *argv])


@pytest.mark.parametrize("option", ["scratch_layers", "scratch_hidden_size"])
def test_the_size_of_an_encoder_from_scratch_needs_one(recipe, option):
    for argv in ([recipe(), f"--{option}", "64"], [recipe(**{option: 64})]):
        with pytest.raises(ArgumentError, match=f"--{option} is the size of the encoder 'scratch'"):
            parse(argv)
        assert getattr(parse([*argv, "--encoder", "scratch"]).model, option) == 64


def test_balanced_sampling_alone_is_fine(recipe):
    path = recipe(balanced_sampling=True)
    assert parse([path]).train.balanced_sampling
    assert parse([recipe(), "--balanced_sampling"]).settings()["balanced_sampling"]
    argv = [path, "--balanced_sampling", "false", "--sampling_rates", '{"Gene": 2}']
    assert not parse(argv).train.balanced_sampling


# ---- what is told


def test_settings_are_what_departs_from_the_defaults(recipe):
    path = recipe(hidden_size=64, corpora=["demo"], sampling_rates={"ALL": 2})
    settings = parse([path, "--seed", "3", "--adam_beta1", "0.8"]).settings()
    assert settings["adam_beta1"] == 0.8
    assert settings["hidden_size"] == 64
    assert settings["sampling_rates"] == {"ALL": 2}
    assert settings["corpora"] == ["demo"]
    assert settings["seed"] == 3
    assert settings["max_tokens"] == 256  # told even where it is the default
    assert "label_first_token_only" not in settings
    assert not any("token" in name and name not in ("max_tokens", "label_first_token_only") for name in settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_help_names_our_options_and_hides_the_trainers(capsys, family):
    with pytest.raises(SystemExit) as end:
        parse(["--help", "--family", family])
    assert end.value.code == 0
    text = capsys.readouterr().out
    own = [name for group in SHARED for name in specs(group)] + list(OWN[family])
    assert [name for name in own if f"--{name} " not in text] == []
    foreign = {name for other in FAMILIES for name in OWN[other]} - set(own)
    assert [name for name in foreign if f"--{name} " in text] == []
    for name in ("head_learning_rate", "sampling_rates", "early_stopping_patience", "seed", "resume_from_checkpoint"):
        assert f"--{name}" in text
    assert "--ddp_backend" not in text
    with pytest.raises(SystemExit):
        parse(["--help_all"])
    assert "--ddp_backend" in capsys.readouterr().out


def test_every_option_of_ours_has_a_help_text():
    for options in (*map(specs, SHARED), *OWN.values()):
        for spec in options.values():
            assert len(spec.help) > 5, spec.name
    assert len(trainer_specs()) > 50


def test_no_option_of_a_family_is_one_of_all(recipe):
    shared = {name for group in SHARED for name in specs(group)} | trainer_specs().keys()
    for name in FAMILIES:
        assert not shared & OWN[name].keys()
