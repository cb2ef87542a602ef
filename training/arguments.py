"""Options of run_ner.py: dataclasses with help texts, read from a YAML recipe and overridden on the command line."""

from __future__ import annotations

import json
from argparse import SUPPRESS, ArgumentDefaultsHelpFormatter, ArgumentTypeError
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
import yaml
from mosaic_ner.modeling.label_space import nearest
from transformers import HfArgumentParser, TrainingArguments

# HfArgumentParser reads the annotations as types: dictionaries come as JSON text on the command line.


@dataclass
class ModelArguments:
    """Model."""

    family: str = field(
        default="aioner",
        metadata={
            "help": "model family: aioner, span_cvae, sruner, joint_ib, or token_classification (the stock baseline)"
        },
    )
    encoder: str = field(
        default="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        metadata={"help": "encoder: a Hub id, a folder, a model trained by this program (its encoder), or 'scratch'"},
    )  # fmt: skip
    encoder_name: str | None = field(
        default=None, metadata={"help": "what cards call an encoder that is a local folder; default: the folder's name"}
    )
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "a trained model to evaluate or predict with (folder or Hub id)"}
    )
    scheme: str = field(
        default="aio", metadata={"help": "aioner: how corpora are combined: aio (task tags), mtl or naive"}
    )
    bridge: list[str] | None = field(
        default=None,
        metadata={
            "help": "corpora whose guideline answers for any text (aioner: those of the ALL task); default: those that "
            "annotate every type"
        },
    )
    classifier: str = field(default="crf", metadata={"help": "aioner: crf or softmax"})
    hidden_size: int | None = field(
        default=None,
        metadata={
            "help": "units of the ReLU layer before the labels; default: aioner has no such layer, span_cvae 150"
        },
    )
    max_span_width: int = field(default=10, metadata={"help": "span families: units of the widest span"})
    boundaries: str = field(
        default="word", metadata={"help": "span_cvae: what a span is made of: word (pieces of words) or token"}
    )
    span_size: int | None = field(
        default=None, metadata={"help": "span_cvae: size of a span's embedding; default: the encoder's hidden size"}
    )
    labels_per: str = field(
        default="corpus", metadata={"help": "span_cvae: outputs per corpus, or shared between corpora"}
    )
    alpha: float = field(default=1e-4, metadata={"help": "span_cvae: weight of the CVAE's loss; 0: no CVAE"})
    prior: str = field(
        default="full",
        metadata={
            "help": "span_cvae: initial prior distribution vectors: full, fixed (not trained), unshared, shared or random"
        },
    )
    latent_size: int | None = field(
        default=None, metadata={"help": "size of the latent variable; default: span_cvae 150, joint_ib 512"}
    )
    threshold: float = field(default=0.0, metadata={"help": "span_cvae: least probability of a predicted mention"})
    noise: bool = field(default=True, metadata={"help": "joint_ib: sample the compressed span in training"})
    beta: float = field(default=1e-4, metadata={"help": "joint_ib: weight of the compression loss; 0: none"})
    ib_prior: str = field(
        default="learnt", metadata={"help": "joint_ib: prior of the compressed span: learnt or standard"}
    )
    gamma: float = field(
        default=1e-2, metadata={"help": "joint_ib: the generative losses' weight for the encoder; 0: no decoders"}
    )
    kl_weight: float = field(
        default=1.0,
        metadata={"help": "joint_ib: weight of the divergences in the generative losses; 1: the paper's bound"},
    )
    shared: str = field(
        default="mean",
        metadata={"help": "joint_ib: what spans and synonyms share: mean, both (and variance) or nothing"},
    )
    pretraining: float = field(
        default=0.0, metadata={"help": "joint_ib: epochs at the beginning that train the generative parts alone"}
    )
    annealing: float = field(
        default=0.0, metadata={"help": "joint_ib: epochs over which the divergences' weights rise to their full values"}
    )
    least_count: int = field(
        default=1, metadata={"help": "joint_ib: occurrences that make a word one of the decoders'"}
    )
    word_vectors: str | None = field(
        default=None,
        metadata={
            "help": "joint_ib: file with the decoders' initial word vectors, of word2vec or fastText (text, binary, .gz)"
        },
    )
    word_size: int | None = field(
        default=None,
        metadata={"help": "joint_ib: size of the decoders' word vectors; default: that of the file, or 200"},
    )
    decoder_size: int = field(default=256, metadata={"help": "joint_ib: size of the state of the decoders' LSTM"})
    latents_per_action: int = field(
        default=2, metadata={"help": "sruner: latent vectors of the memory, as a multiple of the actions"}
    )
    context: int = field(default=150, metadata={"help": "sruner: slots on either side with positions of their own"})
    train_scale: bool = field(default=False, metadata={"help": "sruner: train the scale of slots against positions"})
    history: str = field(default="softmax", metadata={"help": "sruner: what weighs past actions: softmax or logits"})
    follow_gold: bool = field(
        default=True, metadata={"help": "sruner: in training the memory is told the gold actions, however unlikely"}
    )
    write: str = field(default="last", metadata={"help": "sruner: the slot that past actions go to: last or next"})
    loss_mean: str = field(
        default="windows", metadata={"help": "sruner: the loss is a mean over windows, or over all steps of a batch"}
    )
    slot_dropout: float = field(default=0.2, metadata={"help": "sruner: dropout on latent vectors and positions"})
    flat: bool | None = field(
        default=None,
        metadata={
            "help": "no overlapping mentions; default: span_cvae flat, sruner and joint_ib nested (taggers are always flat)"
        },
    )
    restrict_labels: bool = field(
        default=False, metadata={"help": "aioner: keep other tasks' labels out of the loss and the search"}
    )
    label_first_token_only: bool = field(default=False, metadata={"help": "tag only the first token of each word"})
    scores: str = field(default="marginal", metadata={"help": "aioner: confidence of a mention: marginal or emission"})
    prediction_mode: str | None = field(
        default=None,
        metadata={
            "help": "aioner: aio, ind or combined; others: shared, or native to get a corpus's own types; sruner also merged"
        },
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout on the encoder's output"})
    token_masking: float = field(
        default=0.0, metadata={"help": "share of the training tokens hidden behind the mask token (regularisation)"}
    )
    max_tokens: int = field(default=256, metadata={"help": "tokens per window, special tokens included"})
    window_overlap: int | None = field(
        default=None, metadata={"help": "tokens shared by the windows of a sentence that is too long; default: 48"}
    )
    packing: str = field(default="packed", metadata={"help": "packed (several sentences a window) or single"})
    scratch_layers: int = field(default=2, metadata={"help": "layers of the encoder 'scratch'"})
    scratch_hidden_size: int = field(default=128, metadata={"help": "hidden size of the encoder 'scratch'"})
    lora_rank: int | None = field(
        default=None,
        metadata={
            "help": "train low-rank adapters of this rank, the family's new tokens and the head only; default: all weights"
        },
    )
    lora_alpha: int | None = field(
        default=None, metadata={"help": "adapters: their scale times the rank; default: the rank"}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "adapters: dropout on their input"})
    lora_targets: list[str] | None = field(
        default=None,
        metadata={
            "help": "adapters: names of the layers that get one, or all-linear; default: what peft has for the encoder"
        },
    )
    quantization: str | None = field(
        default=None, metadata={"help": "adapters: load the encoder's frozen weights in 8bit or 4bit"}
    )

    def __post_init__(self):
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_targets", "lora_dropout"):
                if getattr(self, name):
                    raise ArgumentError(f"--{name} says how adapters are made; it needs --lora_rank")
            if self.quantization:
                raise ArgumentError(
                    f"--quantization {self.quantization} freezes the encoder; it needs adapters to train, see --lora_rank"
                )
        elif self.lora_rank < 1:
            raise ArgumentError(f"--lora_rank is {self.lora_rank}; expected 1 or more")
        elif self.encoder == "scratch":
            raise ArgumentError("--lora_rank freezes the encoder; --encoder scratch has nothing in it yet to freeze")
        if self.lora_alpha is not None and self.lora_alpha < 1:
            raise ArgumentError(f"--lora_alpha is {self.lora_alpha}; expected 1 or more")
        if not 0 <= self.lora_dropout < 1:
            raise ArgumentError(f"--lora_dropout is {self.lora_dropout}; expected a share from 0 to below 1")
        if self.word_vectors is not None and not self.gamma:
            raise ArgumentError(
                f"--word_vectors {self.word_vectors} is for the decoders, and --gamma 0 leaves them out; leave out one of them"
            )
        for name in ("word_size", "decoder_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ArgumentError(f"--{name} is {getattr(self, name)}; expected 1 or more")

    @property
    def given_encoder(self) -> str | None:
        """The encoder, if another one than the default was asked for."""
        return None if self.encoder == type(self).encoder else self.encoder


@dataclass
class DataArguments:
    """Data."""

    corpora: list[str] = field(
        default_factory=list, metadata={"help": "corpora to train on, by name; 'demo' is the generated set"}
    )
    test_corpora: list[str] | None = field(
        default=None, metadata={"help": "corpora to test on; default: all corpora of the run"}
    )
    validation_corpora: list[str] | None = field(
        default=None,
        metadata={"help": "corpora whose validation split chooses the checkpoint; default: all that have one"},
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "folder with the corpora's files; without it they are downloaded"}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "cache of the built corpora; default: that of datasets"}
    )
    mapping: str = field(
        default="shared",
        metadata={"help": "column of the label mapping: shared (CVAE-NER's Table 7), aioner or sruner"},
    )
    types: list[str] | None = field(
        default=None, metadata={"help": "keep only these shared types (e.g. one type of a corpus)"}
    )
    train_file: str | None = field(
        default=None, metadata={"help": "your own training file; its format is told by its ending"}
    )
    validation_file: str | None = field(default=None, metadata={"help": "your own validation file"})
    test_file: str | None = field(default=None, metadata={"help": "your own test file"})
    corpus_name: str = field(default="user", metadata={"help": "name of the corpus in your own files"})
    corpus_types: list[str] | None = field(
        default=None,
        metadata={"help": "types your files annotate exhaustively; default: those found in the training file"},
    )
    extra_mapping: str | None = field(
        default=None,
        metadata={"help": "a mapping table for your own types; without it each type is shared under its own name"},
    )
    validation_fraction: float = field(
        default=0.0,
        metadata={"help": "share of the training articles held out for validation where a run would have none"},
    )
    parts: dict | None = field(
        default=None,
        metadata={
            "help": "JSON: name → a corpus made from another one's types, articles and splits, e.g. "
            '{"half": {"of": "biored", "types": ["Gene"], "articles": [0, 0.5], "train": ["train", "validation"]}}; '
            "name it in --corpora, --test_corpora or --validation_corpora"
        },
    )
    max_train_documents: dict | None = field(
        default=None,
        metadata={"help": "JSON: corpus → number of training documents (subset curves), drawn by the seed"},
    )
    keep_overlap: bool = field(
        default=False, metadata={"help": "keep training documents that are in an evaluation split (not honest)"}
    )
    predict_input: str | None = field(default=None, metadata={"help": "file or folder to annotate (--do_predict)"})
    predict_output: str | None = field(
        default=None, metadata={"help": "file or folder to write; its format is told by its ending"}
    )
    predict_corpus: str | None = field(default=None, metadata={"help": "annotate under this corpus's guideline"})
    predict_chunk: int = field(default=64, metadata={"help": "documents read and predicted together"})
    policy: str = field(
        default="strict",
        metadata={
            "help": "faults in your files: strict (an error) or published (counted and reported, see formats.py)"
        },
    )
    repeated_ids: str | None = field(
        default=None,
        metadata={
            "help": "records of your files that share an id: error, or index (number them); default: by the policy"
        },
    )
    resume: bool = field(default=False, metadata={"help": "continue an interrupted --do_predict"})
    synonyms: list[str] | None = field(
        default=None,
        metadata={
            "help": "joint_ib: where synonyms of mentions come from: corpora (the training corpora's concept identifiers), a "
            "UMLS MRCONSO.RRF file, OBO files"
        },
    )
    max_synonyms: int = field(default=3, metadata={"help": "joint_ib: synonyms per mention that are generated"})
    write_predictions: bool = field(default=False, metadata={"help": "write test predictions and gold as PubTator"})
    write_figures: bool = field(
        default=False,
        metadata={
            "help": "span families: draw t-SNE of gold mentions' embeddings, prior vectors (span_cvae) and latents (joint_ib)"
        },
    )


@dataclass
class RunArguments(TrainingArguments):
    """Training."""

    output_dir: str | None = field(
        default="outputs/run", metadata={"help": "folder for the model, its card and results.json"}
    )
    num_train_epochs: float = field(default=5.0, metadata={"help": "epochs"})
    learning_rate: float = field(default=5e-5, metadata={"help": "learning rate of the encoder"})
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "learning rate of everything else; default: the same"}
    )
    generator_learning_rate: float | None = field(
        default=None,
        metadata={"help": "learning rate of the decoders that only training needs; default: as everything else"},
    )
    per_device_train_batch_size: int = field(default=16, metadata={"help": "windows per device and step"})
    per_device_eval_batch_size: int = field(
        default=16, metadata={"help": "windows per device in evaluation and prediction"}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "warm-up steps, or below 1 a share of all steps"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of matrices"})
    sampling_rates: dict | None = field(
        default=None, metadata={"help": "JSON: task or corpus → share of its windows that an epoch draws (default 1)"}
    )
    balanced_sampling: bool = field(
        default=False,
        metadata={
            "help": "an epoch draws equally many windows from every task or corpus, as many in all as one has on average"
        },
    )
    grouped_batches: bool = field(
        default=False,
        metadata={"help": "each batch from one task or corpus, and those of one update from different ones"},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after so many evaluations without progress"}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "when to evaluate on validation: epoch, steps or no"})
    save_strategy: str = field(
        default="epoch", metadata={"help": "when to save a checkpoint: epoch, steps, best or no"}
    )
    save_total_limit: int | None = field(default=1, metadata={"help": "checkpoints kept, beside the best"})
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "end with the checkpoint that did best on validation"}
    )
    metric_for_best_model: str | None = field(default="f1", metadata={"help": "validation figure that chooses it"})
    logging_steps: float = field(default=20, metadata={"help": "steps between log lines"})
    report_to: str | None = field(
        default="tensorboard", metadata={"help": "tensorboard, none, or any other of transformers' reporters"}
    )
    inference_only: bool = field(
        default=False, metadata={"help": "save the final model without the parts that only training needs"}
    )
    hp_search: str | None = field(
        default=None,
        metadata={
            "help": "YAML file of a hyperparameter search by the validation score: n_trials, sampler, pruner, space; writes "
            "search.json and best.yaml, no model"
        },
    )
    dataloader_pin_memory: bool = field(default=torch.cuda.is_available(), metadata={"help": SUPPRESS})
    do_train: bool = field(default=False, metadata={"help": SUPPRESS})
    do_eval: bool = field(default=False, metadata={"help": SUPPRESS})
    do_predict: bool = field(
        default=False, metadata={"help": "annotate --predict_input with --model_name_or_path, write --predict_output"}
    )
    remove_unused_columns: bool | None = field(default=False, metadata={"help": SUPPRESS})
    average_tokens_across_devices: bool = field(default=False, metadata={"help": SUPPRESS})


GROUPS = (ModelArguments, DataArguments, RunArguments)
_SHOWN = {
    "output_dir", "seed", "bf16", "fp16", "gradient_accumulation_steps", "max_steps",
    "lr_scheduler_type", "use_cpu", "resume_from_checkpoint", "gradient_checkpointing", "dataloader_num_workers",
    "push_to_hub", "hub_model_id", "disable_tqdm", "eval_steps", "save_steps", "max_grad_norm",
} | set(RunArguments.__annotations__)  # fmt: skip


_DICTIONARIES = ("max_train_documents", "parts", "sampling_rates")


def _json_mapping(text: str) -> dict:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"expected a JSON object such as '{{\"name\": 1}}', got {text!r}")
    return value


_ALWAYS = {
    "family", "encoder", "seed", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "max_tokens",
    "packing", "warmup_steps", "weight_decay",
}  # fmt: skip
_REPORTED = {f.name for group in (ModelArguments, DataArguments) for f in fields(group)} | _ALWAYS
_REPORTED |= {
    "bf16", "fp16", "gradient_accumulation_steps", "max_steps", "head_learning_rate", "generator_learning_rate",
    "sampling_rates", "balanced_sampling", "grouped_batches", "early_stopping_patience", "max_grad_norm", "optim",
    "adam_beta2", "adam_epsilon", "resume_from_checkpoint",
}  # fmt: skip
_REPORTED -= {
    "predict_input", "predict_output", "predict_chunk", "resume", "cache_dir", "data_dir", "write_predictions",
    "write_figures",
}  # fmt: skip


class ArgumentError(ValueError):
    """A recipe or a command line that cannot be understood."""


def parse(argv: list[str]):
    """(ModelArguments, DataArguments, RunArguments, settings): a recipe's values, overridden by `--key value`.

    Raises:
        ArgumentError: an unknown key (with the nearest known one), a recipe that can't be read.
    """
    recipe, name = {}, ""
    if argv and not argv[0].startswith("-"):
        name = argv[0]
        recipe = read_recipe(name)
        argv = argv[1:]
    known = [f.name for group in GROUPS for f in fields(group) if f.init]
    for key in recipe:
        if key not in known:
            raise ArgumentError(f"{name}: unknown key {key!r}{nearest(key, known)}")
    parser = _parser(full="--help_all" in argv)
    if "--help_all" in argv:
        argv = ["--help"]
    try:
        *groups, rest = parser.parse_args_into_dataclasses(as_argv(recipe) + argv, return_remaining_strings=True)
    except ValueError as error:  # transformers' own checks, e.g. strategies that don't go together
        raise ArgumentError(str(error)) from error
    if rest:
        name = rest[0].lstrip("-").split("=")[0]
        raise ArgumentError(f"unknown option {rest[0]!r}{nearest(name, known)}; --help lists the options")
    _check(*groups)
    return (*groups, settings(groups))


def given(argv: list[str]) -> dict:
    """What a command line that `parse` takes says, as one recipe: the recipe's options, overridden by the other ones."""
    recipe = {}
    if argv and not argv[0].startswith("-"):
        recipe, argv = read_recipe(argv[0]), argv[1:]
    parser = _parser(full=True)
    for action in parser._actions:
        action.default = SUPPRESS  # only what is said
    return recipe | vars(parser.parse_known_args(argv)[0])


_CHOICES = {
    "scheme": ("aio", "mtl", "naive"),
    "classifier": ("crf", "softmax"),
    "boundaries": ("word", "token"),
    "labels_per": ("corpus", "shared"),
    "history": ("logits", "softmax"),
    "write": ("last", "next"),
    "loss_mean": ("windows", "steps"),
    "ib_prior": ("learnt", "standard"),
    "shared": ("mean", "both", "nothing"),
    "prior": ("full", "fixed", "unshared", "shared", "random"),
    "scores": ("marginal", "emission"),
    "packing": ("packed", "single"),
    "quantization": ("8bit", "4bit"),
    "repeated_ids": ("error", "index"),
    "policy": ("strict", "published"),
}


def _check(model: ModelArguments, data: DataArguments, run: RunArguments) -> None:
    """What can be told to be wrong before anything is read."""
    for name, choices in _CHOICES.items():
        value = getattr(model if name in {f.name for f in fields(model)} else data, name)
        if value is not None and value not in choices:
            hint = nearest(value, choices, listing=False)
            raise ArgumentError(f"--{name} is {value!r}; expected one of {', '.join(choices)}{hint}")
    for name in ("train_file", "validation_file", "test_file", "predict_input"):
        path = getattr(data, name)
        if path and not Path(path).exists():
            folder = Path(path).parent
            there = [str(folder / p.name) for p in folder.iterdir()] if folder.is_dir() else []
            raise ArgumentError(f"--{name}: no such file {path!r}{nearest(path, there, listing=False)}")
    if data.predict_chunk < 1:
        raise ArgumentError(f"--predict_chunk is {data.predict_chunk}; expected 1 or more")
    if not 0 <= data.validation_fraction < 1:
        raise ArgumentError(f"--validation_fraction is {data.validation_fraction}; expected a share from 0 to below 1")
    if (
        data.predict_input
        and data.predict_output
        and Path(data.predict_input).resolve() == Path(data.predict_output).resolve()
    ):
        raise ArgumentError(f"--predict_output is the input {data.predict_input!r}; name another file")
    if run.early_stopping_patience and (run.eval_strategy == "no" or not run.load_best_model_at_end):
        raise ArgumentError(
            "--early_stopping_patience needs --eval_strategy epoch or steps, and --load_best_model_at_end"
        )
    if run.balanced_sampling and run.sampling_rates:
        raise ArgumentError("--balanced_sampling sets the rates of all tasks or corpora; leave out --sampling_rates")
    checkpoint = run.resume_from_checkpoint
    if checkpoint and not Path(checkpoint).is_dir():
        there = sorted(str(p) for p in Path(run.output_dir).glob("checkpoint-*"))
        raise ArgumentError(
            f"--resume_from_checkpoint: no folder {checkpoint!r}; {run.output_dir} has {', '.join(there) or 'no checkpoint'}"
        )


def settings(groups) -> dict:
    """What decides the run's result, JSON-ready: everything that departs from its default, and the main values anyway."""
    out = {}
    for group in groups:
        for f in fields(group):
            value = getattr(group, f.name)
            if f.init and f.name in _REPORTED and (f.name in _ALWAYS or value not in (f.default, None, [])):
                out[f.name] = value
    return out


def read_recipe(path: str, kind: str = "recipe") -> dict:
    """A YAML mapping of option names to values.

    Args:
        path: of the file.
        kind: what errors call it.

    Raises:
        ArgumentError: no such file, no YAML, no mapping.
    """
    if not Path(path).is_file():
        folder = Path(path).parent
        there = [str(p) for p in folder.glob("*.yaml")] if folder.is_dir() else []
        raise ArgumentError(f"no {kind} {path!r}{nearest(path, there)}")
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ArgumentError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ArgumentError(f"{path}: expected a mapping of option names to values, got {type(recipe).__name__}")
    return recipe


def as_argv(recipe: dict) -> list[str]:
    """The command line that says what a recipe says."""
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


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Wide; only the spelling with underscores; no "(default: None)"."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=34, width=110)

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = "{…}" if action.choices else {"+": "A [B …]", "?": "[true]"}.get(action.nargs, "…")
        return f"{action.option_strings[0]} {value}"

    def _get_help_string(self, action):
        empty = action.default is None or action.default == [] or action.default is False
        return action.help if empty else super()._get_help_string(action)


def _parser(full: bool) -> HfArgumentParser:
    parser = HfArgumentParser(
        GROUPS,
        prog="run_ner.py",
        usage="run_ner.py [recipe.yaml] [--key value ...]",
        description="Train, evaluate and run biomedical named entity recognition. A recipe gives the options; any can be "
        "overridden: run_ner.py recipes/quickstart.yaml --num_train_epochs 2. --help_all adds every option of "
        "transformers.TrainingArguments.",
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    sections = {}
    for group in GROUPS:
        section = parser.add_argument_group(group.__doc__.strip().rstrip(".").lower())
        sections |= {f.name: section for f in fields(group)}
    for action in [a for a in parser._actions if a.dest in sections]:
        if action.dest in _DICTIONARIES:
            action.type = _json_mapping
        training = sections[action.dest] is sections["output_dir"]
        if training and action.dest not in _SHOWN and not full:
            action.help = SUPPRESS
        # The parser of transformers lists all options in one row; --help shows them by section.
        parser._optionals._group_actions.remove(action)
        sections[action.dest]._group_actions.append(action)
    return parser
