"""Command lines and recipes: the options that all families share, and how they are read, checked and told.

Standard library and yaml only, so that `--help` is quick. A family's options stand in its own file (see families.py), those of
the data in data_builders/options.py, of prediction in prediction/options.py; transformers' own are a generated table.
"""

from __future__ import annotations

import csv
import json
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, HelpFormatter
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from mosaic_ner.data_builders.options import ArgumentError, DataOptions, Options, Spec, option, specs
from mosaic_ner.modeling.label_space import nearest
from mosaic_ner.prediction.options import PredictionOptions, default_model

from . import families
from .commands import COMMANDS
from .completion_options import CompletionOptions

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
"""The recipes that come with the package; they can be named without this folder and without their ending."""
TRAINER_TABLE = Path(__file__).with_name("trainer_options.tsv")
"""Options of transformers.TrainingArguments: name, kind, default, help; `python -m mosaic_ner.training.trainer_options`."""


@dataclass
class ModelOptions(Options):
    """Model."""

    family: str = option("aioner", f"model family: {', '.join(families.names())}", fixed=True)
    encoder: str = option(
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        "encoder: a Hub id, a folder, a model trained by this program (its encoder), or 'scratch'",
        fixed=True,
    )
    encoder_name: str | None = option(None, "what cards call a local encoder; default: the folder's name", fixed=True)
    model_name_or_path: str | None = option(None, "a trained model to evaluate or predict with", fixed=True)
    prediction_mode: str | None = option(
        None,
        "aioner: aio, ind or combined; others: shared, or native to get a corpus's own types; sruner and joint_ib also merged",
        fixed=True,
    )
    dropout: float = option(0.1, "dropout on the encoder's output", least=0, below=1)
    max_tokens: int = option(256, "tokens per window, special tokens included")
    window_overlap: int | None = option(
        None, "tokens shared by the windows of a sentence that is too long; default: 48"
    )
    packing: str = option("packed", "packed (several sentences a window) or single", choices=("packed", "single"))
    document_consistency: bool = option(False, "make the answers for the same words agree over a document")
    scratch_layers: int = option(2, "layers of the encoder 'scratch'", least=1)
    scratch_hidden_size: int = option(128, "hidden size of the encoder 'scratch'", least=1)
    lora_rank: int | None = option(
        None,
        "train low-rank adapters of this rank, the family's new tokens and the head only; default: all weights",
        least=1,
    )
    lora_alpha: int | None = option(None, "adapters: their scale times the rank; default: the rank", least=1)
    lora_dropout: float = option(0.0, "adapters: dropout on their input", least=0, below=1)
    lora_targets: list[str] | None = option(
        None, "adapters: names of the layers that get one, or all-linear; default: what peft has for the encoder"
    )
    quantization: str | None = option(
        None, "adapters: load the encoder's frozen weights in 8bit or 4bit", choices=("8bit", "4bit")
    )

    def check(self) -> None:
        super().check()
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_targets", "lora_dropout"):
                if getattr(self, name):
                    raise ArgumentError(f"--{name} says how adapters are made; it needs --lora_rank")
            if self.quantization:
                raise ArgumentError(
                    f"--quantization {self.quantization} freezes the encoder; it needs adapters to train, see --lora_rank"
                )
        elif self.encoder == "scratch":
            raise ArgumentError("--lora_rank freezes the encoder; --encoder scratch has nothing in it yet to freeze")

    @property
    def given_encoder(self) -> str | None:
        """The encoder, if another one than the default was asked for."""
        return None if self.encoder == specs(ModelOptions)["encoder"].default else self.encoder


@dataclass
class TrainOptions(Options):
    """Training."""

    output_dir: str = option("outputs/run", "folder for the model, its card and results.json", published=False)
    num_train_epochs: float = option(5.0, "epochs")
    learning_rate: float = option(5e-5, "learning rate of the encoder")
    head_learning_rate: float | None = option(None, "learning rate of everything else; default: the same")
    generator_learning_rate: float | None = option(
        None, "learning rate of the decoders that only training needs; default: as everything else"
    )
    per_device_train_batch_size: int = option(16, "windows per device and step", least=1)
    per_device_eval_batch_size: int = option(
        16, "windows per device in evaluation and prediction", least=1, published=False
    )
    warmup_steps: float = option(0.1, "warm-up steps, or below 1 a share of all steps", least=0)
    head_warmup_steps: float | None = option(None, "warm-up of everything but the encoder; default: the same", least=0)
    weight_decay: float = option(0.01, "weight decay of matrices", least=0)
    sampling_rates: dict | None = option(
        None, "JSON: task or corpus → share of its windows that an epoch draws (default 1)"
    )
    balanced_sampling: bool = option(
        False, "an epoch draws equally many windows from every task or corpus, as many in all as one has on average"
    )
    grouped_batches: bool = option(
        False, "each batch from one task or corpus, and those of one update from different ones"
    )
    early_stopping_patience: int | None = option(
        None, "stop after so many evaluations, or of the training's accuracy epochs, without progress", least=1
    )
    early_stopping_metric: str = option(
        "validation",
        "progress in what: validation (see metric_for_best_model) or, of a tagger, train_accuracy (of an epoch's tokens)",
        choices=("validation", "train_accuracy"),
    )
    eval_strategy: str = option("epoch", "when to evaluate on validation: epoch, steps or no", published=False)
    save_strategy: str = option("epoch", "when to save a checkpoint: epoch, steps, best or no", published=False)
    save_total_limit: int | None = option(1, "checkpoints kept, beside the best", published=False)
    load_best_model_at_end: bool = option(True, "end with the checkpoint that did best on validation", published=False)
    metric_for_best_model: str | None = option(
        "f1", "validation figure that chooses it: f1, merged_f1, or one corpus's, as biored_f1"
    )
    logging_steps: float = option(20, "steps between log lines", published=False)
    report_to: str | None = option(
        "tensorboard", "tensorboard, none, or any other of transformers' reporters", published=False
    )
    inference_only: bool = option(False, "save the final model without the parts that only training needs")
    write_predictions: bool = option(False, "write test predictions and gold as PubTator", published=False)
    write_figures: bool = option(
        False,
        "span families: draw t-SNE of gold mentions' embeddings, prior vectors (span_cvae) and latents (joint_ib)",
        published=False,
    )
    hp_search: str | None = option(
        None,
        "YAML file of a hyperparameter search by the validation score: n_trials, sampler, pruner, space; writes search.json "
        "and best.yaml, no model",
    )

    def check(self) -> None:
        super().check()
        by_validation = self.early_stopping_patience and self.early_stopping_metric == "validation"
        if by_validation and (self.eval_strategy == "no" or not self.load_best_model_at_end):
            raise ArgumentError(
                "--early_stopping_patience needs --eval_strategy epoch or steps, and --load_best_model_at_end"
            )
        if self.early_stopping_metric != "validation" and not self.early_stopping_patience:
            raise ArgumentError("--early_stopping_metric has no effect without --early_stopping_patience")
        if self.balanced_sampling and self.sampling_rates:
            raise ArgumentError(
                "--balanced_sampling sets the rates of all tasks or corpora; leave out --sampling_rates"
            )


SHARED = (ModelOptions, DataOptions, TrainOptions, PredictionOptions, CompletionOptions)
"""The options classes that all families share."""
_ALWAYS = (
    "family", "encoder", "seed", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "max_tokens",
    "packing", "warmup_steps", "weight_decay",
)  # fmt: skip
_TRAINERS_SHOWN = (
    "seed", "bf16", "fp16", "gradient_accumulation_steps", "max_steps", "lr_scheduler_type", "use_cpu",
    "resume_from_checkpoint", "gradient_checkpointing", "dataloader_num_workers", "disable_tqdm",
    "eval_steps", "save_steps", "max_grad_norm",
)  # fmt: skip
_TRAINERS_PUBLISHED = (
    "bf16", "fp16", "gradient_accumulation_steps", "max_steps", "max_grad_norm", "optim", "optim_args", "adam_beta1",
    "adam_beta2", "adam_epsilon", "lr_scheduler_type", "lr_scheduler_kwargs", "resume_from_checkpoint", "neftune_noise_alpha",
    "dataloader_drop_last",
)  # fmt: skip
_TRAINERS_HIDDEN = (
    "do_train", "do_eval", "do_predict", "remove_unused_columns", "average_tokens_across_devices", "label_smoothing_factor",
    "data_seed", "train_sampling_strategy", "length_column_name", "prediction_loss_only", "bf16_full_eval", "fp16_full_eval",
    "eval_accumulation_steps", "batch_eval_metrics", "eval_do_concat_batches", "include_for_metrics", "label_names",
    "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision",
)  # fmt: skip
"""Of these the program decides itself, or they have no effect: losses, sampling, evaluation and publishing are its own."""
_TRAINED = {"family", "encoder", "encoder_name", "model_name_or_path", "prediction_mode", "hp_search"}
"""Options of the model and of training that have an effect on a trained model, or an error of their own."""
_OF_FILES = {
    "format", "offset_unit", "entity_type", "type_infon", "tag_column", "policy", "repeated_ids", "article_ids",
}  # fmt: skip
"""Options that say how files of the user's own are read."""


@dataclass
class Arguments:
    """What a run was asked for.

    `own` are the options of its family; `trainer` what was said of transformers' own options; `given` all that was said, as
    one recipe.
    """

    model: ModelOptions
    data: DataOptions
    train: TrainOptions
    prediction: PredictionOptions
    completion: CompletionOptions
    own: Options
    trainer: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[Options, ...]:
        """The options objects, the family's last."""
        return self.model, self.data, self.train, self.prediction, self.completion, self.own

    @property
    def seed(self) -> int:
        """Draws subsets, starts weights and orders windows."""
        return self.trainer.get("seed", trainer_specs()["seed"].default)

    def settings(self) -> dict[str, Any]:
        """What decides the run's result, JSON-ready: all that departs from its default, and the main values anyway."""
        values: dict[str, Any] = {"seed": self.seed}
        for group in self.groups[:3] + self.groups[4:]:
            values |= {n: getattr(group, n) for n in specs(type(group)) if n in _ALWAYS} | group.departures()
        known = trainer_specs()
        values |= {
            n: v for n, v in self.trainer.items() if n in _TRAINERS_PUBLISHED and v not in (known[n].default, None)
        }
        return values


@cache
def trainer_specs() -> dict[str, Spec]:
    """transformers' own options, but for those that `TrainOptions` has."""
    kinds = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
    found = {}
    with TRAINER_TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["name"] not in specs(TrainOptions) and row["name"] not in _TRAINERS_HIDDEN:
                rules = {"choices": tuple(row["choices"].split())} if row["choices"] else {}
                default = json.loads(row["default"])
                found[row["name"]] = Spec(row["name"], kinds[row["kind"]], True, default, row["help"], rules)
    return found


def parse(argv: list[str]) -> Arguments:
    """A recipe's values, overridden by `--key value`.

    Raises:
        ArgumentError: an unknown key (with the nearest known one), another family's option, a value that can't be, or a recipe
            that can't be read.
    """
    recipe, path = {}, ""
    if argv and not argv[0].startswith("-"):
        path, argv = argv[0], argv[1:]
        recipe = read_recipe(path)
    name = _family_name(recipe, argv)
    own = families.family(name).Options
    groups = (*SHARED, own)
    known = {key: spec for group in groups for key, spec in specs(group).items()} | trainer_specs()
    for key in recipe:
        if key not in known:
            raise ArgumentError(f"{path}: unknown key {key!r}" + _whose(key, name, known))
    parser = _parser(groups, name, full="--help_all" in argv)
    argv = ["--help" if word == "--help_all" else word for word in argv]
    values, rest = parser.parse_known_args(as_argv(recipe) + argv)
    if rest:
        key = rest[0].lstrip("-").split("=")[0]
        raise ArgumentError(f"unknown option {rest[0]!r}" + _whose(key, name, known) + "; --help lists the options")
    given = vars(values)
    made = [group(**{key: given[key] for key in specs(group) if key in given}) for group in groups]
    for group in made:
        group.check()
    trainer = {key: value for key, value in given.items() if key in trainer_specs()}
    for key, value in trainer.items():
        trainer_specs()[key].check(value)
    arguments = Arguments(*made, trainer, given)
    said = _said(argv)
    # A recipe of an encoder from scratch may be given another one, not a size that its own encoder can't have.
    _check(arguments, said, said if recipe.get("encoder") == "scratch" else said | recipe.keys())
    return arguments


def _family_name(recipe: dict, argv: list[str]) -> str:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--family", default=recipe.get("family") or specs(ModelOptions)["family"].default)
    return str(parser.parse_known_args(argv)[0].family)


def _whose(key: str, family: str, known) -> str:
    """What an error says of a key that the run doesn't know: which family's option it is, or which is near."""
    owners = [name for name in families.names() if name != family and key in specs(families.family(name).Options)]
    if owners:
        return f": it is an option of {' and '.join(owners)}, and the family here is {family}; leave it out"
    return nearest(key, known, listing=False)


def _said(argv: list[str]) -> set[str]:
    """The options that a command line names."""
    return {word[2:].split("=")[0] for word in argv if word.startswith("--")}


def _check(arguments: Arguments, said: set[str], sized: set[str]) -> None:
    """What lies between groups of options: those said on the command line, and those that may give an encoder's size."""
    model, _, train, prediction, _, own = arguments.groups
    if prediction.do_predict and model.model_name_or_path is None and not train.hp_search:
        model.model_name_or_path = default_model()
    trained = model.model_name_or_path is not None
    if train.hp_search:
        for name in ("do_predict", "model_name_or_path", "resume_from_checkpoint"):
            if arguments.given.get(name):
                raise ArgumentError(f"--hp_search trains new models from --encoder; leave out --{name}")
        if arguments.completion.complete_with:
            raise ArgumentError(
                "--hp_search doesn't complete labels; search without --complete_with, then train with it"
            )
    for name in sorted(sized & {"scratch_layers", "scratch_hidden_size"}) if model.encoder != "scratch" else ():
        raise ArgumentError(f"--{name} is the size of the encoder 'scratch'; it needs --encoder scratch")
    if trained:
        learnt = {**specs(type(own)), **specs(ModelOptions), **specs(TrainOptions), **specs(CompletionOptions)}
        for name in sorted(said & {n for n, s in learnt.items() if s.rules.get("published", True)} - _TRAINED):
            raise ArgumentError(f"--{name} has no effect: {model.model_name_or_path} is trained already; leave it out")
    if prediction.do_predict and not (prediction.predict_input and prediction.predict_output):
        raise ArgumentError("--do_predict needs --predict_input and --predict_output")
    for name in sorted((said & specs(PredictionOptions).keys()) - {"precision"}) if not prediction.do_predict else ():
        raise ArgumentError(f"--{name} has no effect without --do_predict")
    if not trained and (prediction.precision == "int8" or (model.quantization and prediction.precision != "float32")):
        raise ArgumentError(
            f"--precision {prediction.precision} doesn't go with training, or its --quantization; leave it out"
        )
    data = arguments.data
    if not (prediction.do_predict or data.train_file or data.validation_file or data.test_file):
        for name in sorted(said & _OF_FILES):
            raise ArgumentError(f"--{name} has no effect without a file of yours: give --train_file, or leave it out")
    checkpoint = arguments.trainer.get("resume_from_checkpoint")
    if checkpoint and not Path(checkpoint).is_dir():
        there = sorted(str(p) for p in Path(train.output_dir).glob("checkpoint-*"))
        raise ArgumentError(
            f"--resume_from_checkpoint: no folder {checkpoint!r}; {train.output_dir} has {', '.join(there) or 'no checkpoint'}"
        )


def recipe_path(name: str, kind: str = "recipe") -> Path:
    """The file of a recipe: a path, or the name of one that comes with the package (`aioner/biored_all`).

    Args:
        name: as given.
        kind: what errors call it.

    Raises:
        ArgumentError: there is none.
    """
    path = Path(name)
    for candidate in (path, RECIPES / name, RECIPES / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    folder = path.parent
    there = [str(p) for p in folder.glob("*.yaml")] if folder.is_dir() else []
    there += [*COMMANDS, *(str(p.relative_to(RECIPES).with_suffix("")) for p in RECIPES.rglob("*.yaml"))]
    raise ArgumentError(f"no {kind} {name!r}{nearest(name, there, listing=False)}")


def read_recipe(name: str, kind: str = "recipe") -> dict:
    """A YAML mapping of option names to values; arguments as for `recipe_path`.

    Raises:
        ArgumentError: no such file, no YAML in UTF-8, no mapping.
    """
    path = recipe_path(name, kind)
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ArgumentError(f"{path} is not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path} is not UTF-8 ({error}); save it in UTF-8") from error
    if not isinstance(recipe, dict):
        raise ArgumentError(f"{path}: expected a mapping of option names to values, got {type(recipe).__name__}")
    return recipe


def as_argv(recipe: dict) -> list[str]:
    """The command line that says what a recipe says; a null says nothing."""
    argv = []
    for key, value in recipe.items():
        if value is None:
            continue
        argv.append(f"--{key}")
        if isinstance(value, list):
            argv += [str(v) for v in value]
        else:
            argv.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return argv


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return text.lower() in ("true", "yes", "1")
    raise ArgumentTypeError(f"expected true or false, got {text!r}")


def _mapping(text: str) -> dict:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"expected a JSON object such as '{{\"name\": 1}}', got {text!r}")
    return value


def _add(section, spec: Spec, shown: bool) -> None:
    text = spec.help.replace("%", "%%")
    if spec.default not in (None, False, []):
        text += f" (default: {spec.default})"
    how: dict[str, Any] = {"type": spec.kind, "metavar": "…"}
    if spec.kind is bool:
        how = {"type": _truth, "nargs": "?", "const": True, "metavar": "true"}
    elif spec.kind is list:
        how = {"type": str, "nargs": "+", "metavar": "A"}
    elif spec.kind is dict:
        how = {"type": _mapping, "metavar": "{…}"}
    section.add_argument(f"--{spec.name}", help=text if shown else SUPPRESS, default=SUPPRESS, **how)


def _parser(groups, family: str, full: bool) -> ArgumentParser:
    parser = ArgumentParser(
        prog="run_ner.py",
        usage="run_ner.py [recipe] [--key value ...]",
        description="Train, evaluate and run biomedical named entity recognition. A recipe gives the options; any can be "
        "overridden: run_ner.py quickstart --num_train_epochs 2.",
        epilog="--help with another --family shows that family's options; --help_all adds every option of "
        "transformers.TrainingArguments. docs/options.md has them all.",
        allow_abbrev=False,
        formatter_class=lambda prog: HelpFormatter(prog, max_help_position=34, width=110),
    )
    parser.add_argument("--version", action="version", version=f"mosaic-ner {version('mosaic-ner')}")
    for group in groups:
        title = group.__doc__.strip().splitlines()[0].rstrip(".").lower()
        section = parser.add_argument_group(title if group in SHARED else f"family {family}: {title}")
        for spec in specs(group).values():
            _add(section, spec, shown=True)
        if group is TrainOptions:
            for name, spec in trainer_specs().items():
                _add(section, spec, shown=full or name in _TRAINERS_SHOWN)
    return parser
