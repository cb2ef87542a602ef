"""The Trainer that all families share: named loss terms, a mixture of corpora, evaluation in characters."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import field, fields, make_dataclass
from pathlib import Path

import torch
import transformers
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import nearest
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME, TrainerState

from .arguments import TrainOptions
from .bundle import Bundle
from .early_stopping import TRAIN_ACCURACY, EarlyStopping, TokenAccuracy
from .evaluator import Evaluator
from .features import FeatureDataset
from .sampler import MixtureSampler, balanced_rates, padding_share

logger = logging.getLogger(__name__)

MERGED = "merged_f1"
"""The validation figure by which SRU-NER's authors choose (Ruano et al. 2025, appendix B)."""
_OWN = [f for f in fields(TrainOptions) if f.name not in {g.name for g in fields(TrainingArguments)}]
RunArguments = make_dataclass(
    "RunArguments", [(f.name, f.type, field(default=f.default)) for f in _OWN], bases=(TrainingArguments,)
)
"""transformers.TrainingArguments and those of `TrainOptions` that these don't have."""
RunArguments.__module__ = __name__  # checkpoints keep an object of the class


def run_arguments(options: TrainOptions, trainer: dict | None = None) -> RunArguments:
    """What the Trainer is told.

    Args:
        options: ours.
        trainer: what was said of transformers' own options.
    Raises:
        ArgumentError: what transformers' own checks refuse, or an option that its installed version doesn't have.
    """
    known = {f.name for f in fields(TrainingArguments)}
    for name in trainer or {}:
        if name not in known:
            raise ArgumentError(f"--{name}: transformers {transformers.__version__} has no such option; leave it out")
    decided = {"remove_unused_columns": False, "average_tokens_across_devices": False}
    decided |= {"dataloader_pin_memory": torch.cuda.is_available()} | (trainer or {})
    try:
        args = RunArguments(**{f.name: getattr(options, f.name) for f in fields(TrainOptions)}, **decided)
    except ValueError as error:  # e.g. strategies that don't go together
        raise ArgumentError(str(error)) from error
    if args.n_gpu > 1:  # in one process: transformers would split batches between them, and losses don't add up so
        logger.warning("one of %d GPUs is used; start the run with `accelerate launch` to use all", args.n_gpu)
        args._n_gpu = 1
    return args


def without_validation(args: RunArguments, given: dict) -> None:
    """Sets what a run without validation documents can't do; what was asked for by name is an error or stays.

    Args:
        args: changed.
        given: what the run was told (see `Arguments.given`).
    Raises:
        ArgumentError: an option that needs validation documents.
    """
    needs = [name for name in ("early_stopping_patience", "load_best_model_at_end") if given.get(name)]
    needs = needs[args.early_stopping_metric == TRAIN_ACCURACY and needs[:1] == ["early_stopping_patience"] :]
    needs += ["eval_strategy"] if given.get("eval_strategy", "no") != "no" else []
    needs += ["save_strategy best"] if given.get("save_strategy") == "best" else []
    if needs:
        raise ArgumentError(
            f"--{needs[0]} needs validation documents, and this run has none: name --validation_corpora or a "
            "--validation_file, hold some out with --validation_fraction, or leave the option out"
        )
    args.eval_strategy, args.load_best_model_at_end = "no", False
    if "save_strategy" not in given:
        args.save_strategy = "no"
    logger.warning("no validation documents: the last checkpoint is the model (see --validation_fraction)")


class NERTrainer(Trainer):
    """transformers' Trainer with the evaluation, the sampler and the parameter groups of this package.

    Args:
        bundle: the model, its tokenizer and collator; with adapters, checkpoints hold what is trained, not the encoder.
        evaluator: predicts and scores whole documents.
        validation: corpus → validation documents.
    Raises:
        ArgumentError: a learning rate for decoders that the model doesn't have, token accuracy of one that has no tags, a
            figure to choose by that validation doesn't give.
    """

    def __init__(
        self, bundle: Bundle, args: RunArguments, evaluator: Evaluator, validation: dict[str, list[Document]], **kwargs
    ):
        kwargs = {
            "model": bundle.model,
            "data_collator": bundle.collator,
            "processing_class": bundle.tokenizer,
        } | kwargs
        # transformers wants an evaluation set to evaluate on; ours are whole documents.
        super().__init__(args=args, eval_dataset=[d for part in validation.values() for d in part], **kwargs)
        if args.bf16 and args.device.type == "cpu":
            # With dropout PyTorch's attention multiplies in float32 unless told: 1.13 times the time of an update (MiniLM). The
            # switch stands under `cuda` and is every device's.
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
        if args.generator_learning_rate is not None and not bundle.model.decoder_modules:
            raise ArgumentError(
                f"--generator_learning_rate has no effect: this {bundle.model.config.model_type} has no decoders; leave it out"
            )
        self.bundle = bundle
        self.evaluator = evaluator
        self.validation = validation
        self._terms: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._accuracy: TokenAccuracy | None = None
        choice = args.metric_for_best_model.removeprefix("eval_")
        figures = [
            "f1",
            MERGED,
            *(f"{corpus}_{name}" for corpus in validation for name in ("precision", "recall", "f1")),
        ]
        if validation and choice not in figures:
            raise ArgumentError(
                f"--metric_for_best_model {choice}: no figure of this run's validation{nearest(choice, figures)}"
            )
        figure = f"eval_{choice}"
        if args.early_stopping_metric == TRAIN_ACCURACY:
            if not bundle.features.tag_level:
                raise ArgumentError(
                    f"--early_stopping_metric {TRAIN_ACCURACY}: {bundle.model.config.model_type} has no tags; leave it out"
                )
            figure = TRAIN_ACCURACY
            self._accuracy = TokenAccuracy(self)
            self.add_callback(self._accuracy)
        if args.early_stopping_patience:
            self.add_callback(EarlyStopping(figure, args.early_stopping_patience, bundle.pretraining))

    def train(self, resume_from_checkpoint: str | None = None, *args, **kwargs):
        """transformers' own; a checkpoint of a training that had stopped early is its end."""
        stopping = [c for c in self.callback_handler.callbacks if isinstance(c, EarlyStopping)]
        if resume_from_checkpoint and stopping:
            state = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME))
            if stopping[0].stopped(state.log_history):
                logger.info("%s had stopped early: nothing is left to train", resume_from_checkpoint)
                self.state = state
                self._load_from_checkpoint(resume_from_checkpoint)
                if self.args.load_best_model_at_end:
                    self._load_best_model()
                return None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = self.bundle.collator.hide(inputs)
        outputs = model(**inputs)
        for name, value in outputs.loss_terms.items():
            self._terms[name].append(value.detach())
        if self._accuracy is not None:
            labels = inputs["labels"]
            self._accuracy.add(self.bundle.model.best_tags(outputs.logits.detach().float(), labels >= 0), labels)
        loss = outputs.loss if self.bundle.loss is None else self.bundle.loss(outputs, self.state.epoch or 0.0)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, values in self._terms.items():
                logs[f"loss_{name}"] = torch.stack(values).float().mean().item()
            self._terms.clear()
        super().log(logs, start_time)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Micro-F1 in characters on the validation documents: per corpus, and their mean as `<prefix>_f1`.

        Where the best model is chosen by "merged_f1", `<prefix>_merged_f1` is the mean of the merged F1 (see
        `Evaluator.evaluate`), or of the headline's for a corpus that has no other.
        """
        metrics, scores, merged = {}, [], []
        choice = str(self.args.metric_for_best_model).removeprefix("eval_")
        for corpus, documents in self.validation.items():
            report = self.evaluator.evaluate(documents, full=choice == MERGED).report
            for name in ("precision", "recall", "f1"):
                metrics[f"{metric_key_prefix}_{corpus}_{name}"] = report["overall"][name]
            scores.append(report["overall"]["f1"])
            merged.append((report.get("merged") or report)["overall"]["f1"])
        for name, values in [("f1", scores), *([(MERGED, merged)] if choice == MERGED else [])]:
            metrics[f"{metric_key_prefix}_{name}"] = sum(values) / len(values) if values else 0.0
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        if self.bundle.adapters is None:
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            self.bundle.adapters.save(folder)
            torch.save(self.args, folder / TRAINING_ARGS_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        if self.bundle.adapters is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self.bundle.adapters.load(resume_from_checkpoint)

    def _determine_best_metric(self, metrics, trial) -> bool:
        begun = (self.state.epoch or 0.0) > self.bundle.pretraining
        return begun and super()._determine_best_metric(metrics, trial)

    def _load_best_model(self) -> None:
        if not self.state.best_metric:
            logger.warning(
                "no evaluation had a validation %s above 0: none was better than another, so the last weights are the model. "
                "Train longer or with a higher --learning_rate",
                self.args.metric_for_best_model,
            )
        elif self.bundle.adapters is None:
            super()._load_best_model()
        else:
            self.bundle.adapters.load(self.state.best_model_checkpoint)

    def _get_train_sampler(self, train_dataset=None):
        dataset: FeatureDataset = train_dataset if train_dataset is not None else self.train_dataset
        rates = balanced_rates(dataset.groups) if self.args.balanced_sampling else self.args.sampling_rates
        options = {"rates": rates, "seed": self.args.seed}
        batch, processes = self.args.train_batch_size, self.args.world_size
        if not self.args.grouped_batches:
            return MixtureSampler(dataset.lengths, dataset.groups, batch * processes, **options)
        per_update = self.args.gradient_accumulation_steps * processes
        return MixtureSampler(dataset.lengths, dataset.groups, batch, **options, grouped=True, per_update=per_update)

    def describe_epoch(self) -> tuple[int, float]:
        """Windows in the first epoch, and the share of padding among its tokens (0..1)."""
        order = list(self._get_train_sampler())
        lengths = self.train_dataset.lengths
        return len(order), padding_share([lengths[i] for i in order], self.args.train_batch_size)

    def validation_history(self) -> list[dict]:
        """The validation figures of each evaluation, beside the training's token accuracy where that was counted."""
        rows: dict[int, dict] = {}
        for row in self.state.log_history:
            if "eval_f1" in row or TRAIN_ACCURACY in row:
                known = {k: v for k, v in row.items() if k.startswith(("eval_", "epoch", "step", TRAIN_ACCURACY))}
                rows[row["step"]] = rows.get(row["step"], {}) | known
        return list(rows.values())

    def create_optimizer(self, model=None):
        """Learning rates for the encoder, the decoders that only training needs, and everything else; no weight decay on
        biases, norms and the CRF's scores."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decay = set(self.get_decay_parameter_names(model))
            rates = self.args.generator_learning_rate, self.args.head_learning_rate, self.args.learning_rate
            generator_rate, head_rate = (next(r for r in rates[i:] if r is not None) for i in (0, 1))
            decoders = tuple(f"{module}." for module in self.bundle.model.decoder_modules)
            groups: dict[tuple[bool, float, float], list[nn.Parameter]] = defaultdict(list)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    encoder = name.startswith("encoder.")
                    rate = self.args.learning_rate if encoder else head_rate
                    rate = generator_rate if name.startswith(decoders) else rate
                    plain = name not in decay or name.startswith("crf.")
                    groups[encoder, rate, 0.0 if plain else self.args.weight_decay].append(parameter)
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            options.pop("lr", None)
            self.optimizer = cls(
                [
                    {"params": p, "lr": rate, "weight_decay": decay, "encoder": encoder}
                    for (encoder, rate, decay), p in groups.items()
                ],
                lr=self.args.learning_rate,
                **options,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """transformers' own, in which everything but the encoder may have a warm-up of its own."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if (warmup := self.args.head_warmup_steps) is not None:
            steps = int(warmup) if warmup >= 1 else math.ceil(num_training_steps * warmup)
            beside = torch.optim.SGD([torch.zeros(1)])  # building a scheduler changes its optimizer
            kind, own = self.args.lr_scheduler_type, self.args.lr_scheduler_kwargs
            factor = get_scheduler(kind, beside, steps, num_training_steps, own)
            if not isinstance(factor, LambdaLR) or kind == "constant":
                raise ArgumentError(
                    f"--head_warmup_steps has no effect: --lr_scheduler_type {kind.value} has no warm-up; leave it out"
                )
            for number, group in enumerate(scheduler.optimizer.param_groups):
                if not group["encoder"]:
                    scheduler.lr_lambdas[number] = factor.lr_lambdas[0]
                    group["lr"] = group["initial_lr"] * factor.lr_lambdas[0](0)
        return scheduler
