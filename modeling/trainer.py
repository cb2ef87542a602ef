"""The Trainer that all families share: named loss terms, a mixture of corpora, evaluation in characters."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import nn
from transformers import EarlyStoppingCallback, Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from .adapters import Adapters
from .dataset import FeatureDataset, in_shared_types
from .document import Document, Mention
from .inference import MentionPredictor, Share
from .label_space import LabelSpace
from .metrics import document_f1, error_split, nested_recall, score_mentions, seqeval_report
from .sampler import MixtureSampler, balanced_rates, padding_share


def share_of(state: PartialState) -> Share:
    """The part of the prediction that this process does."""
    return Share(state.process_index, state.num_processes, gather_object if state.num_processes > 1 else None)


@dataclass
class Measured:
    """The report of `Evaluator.evaluate`, the documents with gold and with predicted mentions (in the types of its headline),
    and the F1 of each document."""

    report: dict
    gold: list[Document]
    predicted: list[Document]
    document_f1: list[float]

    def summary(self) -> str:
        """Overall figures in one line, in percent."""
        row = self.report["overall"]
        figures = "  ".join(f"{k} {100 * row[n]:.2f}" for k, n in (("P", "precision"), ("R", "recall"), ("F1", "f1")))
        return f"{figures}  ({row['support']} gold, {row['predicted']} predicted)"


class Evaluator:
    """Predicts whole documents, on all processes together, and scores them.

    Args:
        predictor: of the model being measured.
        space: the run's label space.
        mode: the family's prediction mode, if it has several.
    """

    def __init__(self, predictor: MentionPredictor, space: LabelSpace, mode: str | None = None):
        self.predictor = predictor
        self.space = space
        self.mode = mode
        predictor.model.tasks_for(None, mode)  # an unknown mode fails here, not after the training

    def predict(self, documents: list[Document]) -> list[list[Mention]]:
        """Mentions of each document; every process returns all of them."""
        found: list[list[Mention]] = [[] for _ in documents]
        by_corpus = defaultdict(list)
        for number, document in enumerate(documents):
            by_corpus[document.corpus].append(number)
        for corpus, numbers in by_corpus.items():
            predicted = self.predictor([documents[n].text for n in numbers], self._tasks(corpus))
            for number, mentions in zip(numbers, predicted, strict=True):
                found[number] = mentions
        return found

    def _tasks(self, corpus: str) -> list[str | None]:
        """Those of the headline: a model that knows the corpus's own types is asked for them, unless a mode was chosen."""
        model = self.predictor.model
        native = self.mode is None and model.knows_native_types(corpus)
        return model.tasks_for(corpus, "native" if native else self.mode)

    def evaluate(self, documents: list[Document], tag_level: bool = False, full: bool = False) -> Measured:
        """Scores documents of one corpus.

        The headline is the answer under the corpus's guideline, where the model knows it, over the shared types that the
        corpus annotates; a model that knows the corpus's own types is asked for them, and they are mapped as the gold
        mentions are. A corpus without any shared type is scored in its own types by a model that knows them.

        The full report has beside it (SRU-NER, section 3.5), each like the headline's `{"overall", "per_type"}`:

        - `disjoint`: the answer under the corpus's guideline, in the finest types that the family has for it: the corpus's
          own or else shared ones. None if the model wasn't trained on the corpus or has no such types for it.
        - `merged`: the answer to a text of unknown origin (`tasks_for(None)`: all types, or the guidelines of all training
          corpora united, or those that the model takes by default), in shared types; of these, the types that the corpus
          annotates. In a corpus without shared types its own names are compared, under which the types of other corpora
          may come, too. None if there is nothing to compare, because the model doesn't know these names.

        and, of the headline, `nested`, what `nested_recall` finds, unless there is nothing nested, and `errors`: the
        `error_split`.

        Args:
            documents: with their gold mentions under native types.
            tag_level: add `seqeval`'s figures on the model's tokens.
            full: add these; costs up to two more passes over the documents.
        """
        corpus, model = documents[0].corpus, self.predictor.model
        knows_native = model.knows_native_types(corpus)
        types = self.space.shared_types_of(corpus)
        own_names = knows_native and not types
        if own_names:
            types = self.space.native_types(corpus)
        answers: dict[tuple, list[Document]] = {}  # tasks → the documents with what the model says, each asked for once

        def ask(tasks: list[str | None]) -> list[Document]:
            if (key := tuple(tasks)) not in answers:
                found = self.predictor([d.text for d in documents], tasks)
                answers[key] = [d.with_mentions(m) for d, m in zip(documents, found, strict=True)]
            return answers[key]

        gold = documents if own_names else [in_shared_types(d, self.space) for d in documents]
        predicted = ask(self._tasks(corpus))
        if self.mode in (None, "native") and knows_native and not own_names:
            predicted = [in_shared_types(d, self.space) for d in predicted]
        predicted = [d.with_mentions(m for m in d.mentions if m.type in types) for d in predicted]
        wanted, found = [d.mentions for d in gold], [d.mentions for d in predicted]
        report = score_mentions(wanted, found, types)
        if full:
            nested = nested_recall(wanted, found, types)
            report |= self._disjoint_and_merged(documents, gold, types, report, ask)
            report |= {"nested": nested} if nested else {}
            report["errors"] = error_split(wanted, found, types)
        report["documents"] = len(documents)
        if tag_level:
            texts = [d.text for d in documents]
            report["seqeval"] = seqeval_report(texts, wanted, found, self.predictor.windower, types)
        return Measured(report, gold, predicted, document_f1(wanted, found, types))

    def _disjoint_and_merged(self, documents, gold, types, headline: dict, ask) -> dict:
        """See `evaluate`, whose gold mentions, types and scores these are; `ask` gives the answer under some tasks."""
        corpus, model = documents[0].corpus, self.predictor.model
        disjoint = merged = None
        if model.knows_native_types(corpus):
            answer = ask(model.tasks_for(corpus, "native"))
            pair = [d.mentions for d in documents], [d.mentions for d in answer]
            disjoint = score_mentions(*pair, self.space.native_types(corpus))
        elif types and model.knows(corpus):
            disjoint = dict(headline)  # this family's finest types are the shared ones
        if types:
            # In the mode for native types a text of unknown origin would be answered in those of the default corpora.
            answer = ask(model.tasks_for(None, None if self.mode == "native" else self.mode))
            merged = score_mentions([d.mentions for d in gold], [d.mentions for d in answer], types)
        return {"disjoint": disjoint, "merged": merged}


def evaluator_for(bundle, space: LabelSpace, mode: str | None, batch_size: int) -> Evaluator:
    """Whole documents through the tagger of a `families.Bundle`, on all processes together.

    Args:
        bundle: its tagger and tokenizer.
        space: the run's label space.
        mode: the family's prediction mode, if it has several.
        batch_size: windows per device.
    """
    return Evaluator(
        MentionPredictor(bundle.tagger, bundle.tokenizer, batch_size, share_of(PartialState())), space, mode
    )


class NERTrainer(Trainer):
    """transformers' Trainer with the evaluation, the sampler and the parameter groups of this package.

    Args:
        evaluator: predicts and scores whole documents.
        validation: corpus → validation documents.
        adapters: of the model, if its encoder is frozen: checkpoints then hold what is trained, not the encoder.
    """

    def __init__(
        self,
        *args,
        evaluator: Evaluator,
        validation: dict[str, list[Document]],
        adapters: Adapters | None = None,
        **kwargs,
    ):
        # transformers wants an evaluation set to evaluate on; ours are whole documents.
        super().__init__(*args, eval_dataset=[d for part in validation.values() for d in part], **kwargs)
        self.evaluator = evaluator
        self.validation = validation
        self.adapters = adapters
        self._terms: dict[str, list[torch.Tensor]] = defaultdict(list)
        if self.args.early_stopping_patience:
            self.add_callback(EarlyStoppingCallback(self.args.early_stopping_patience))

    def training_step(self, model, *args, **kwargs):
        # A family whose loss has phases reads where it is.
        self.accelerator.unwrap_model(model).epoch = self.state.epoch or 0.0
        return super().training_step(model, *args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        for name, value in (outputs.get("loss_terms") or {}).items():
            self._terms[name].append(value)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, values in self._terms.items():
                logs[f"loss_{name}"] = torch.stack(values).float().mean().item()
            self._terms.clear()
        super().log(logs, start_time)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Micro-F1 in characters on the validation documents: per corpus, and their mean as `<prefix>_f1`."""
        metrics = {}
        for corpus, documents in self.validation.items():
            overall = self.evaluator.evaluate(documents).report["overall"]
            for name in ("precision", "recall", "f1"):
                metrics[f"{metric_key_prefix}_{corpus}_{name}"] = overall[name]
        scores = [v for k, v in metrics.items() if k.endswith("_f1")]
        metrics[f"{metric_key_prefix}_f1"] = sum(scores) / len(scores) if scores else 0.0
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        if self.adapters is None:
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            self.adapters.save(folder)
            torch.save(self.args, folder / TRAINING_ARGS_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        if self.adapters is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self.adapters.load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.adapters is None:
            super()._load_best_model()
        else:
            self.adapters.load(self.state.best_model_checkpoint)

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
        """The validation figures of each evaluation."""
        rows = [row for row in self.state.log_history if "eval_f1" in row]
        return [{k: v for k, v in row.items() if k.startswith(("eval_", "epoch", "step"))} for row in rows]

    def create_optimizer(self, model=None):
        """Learning rates for the encoder, the decoders that only training needs, and everything else; no weight decay on
        biases, norms and the CRF's scores."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decay = set(self.get_decay_parameter_names(model))
            head_rate = self.args.head_learning_rate or self.args.learning_rate
            generator_rate = self.args.generator_learning_rate or head_rate
            decoders = tuple(f"{module}." for module in getattr(model, "decoder_modules", ()))
            # The baseline's encoder has its own name; it has no second learning rate to set.
            groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    rate = self.args.learning_rate if "encoder." in name else head_rate
                    rate = generator_rate if name.startswith(decoders) else rate
                    plain = name not in decay or name.startswith("crf.")
                    groups[rate, 0.0 if plain else self.args.weight_decay].append(parameter)
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            options.pop("lr", None)
            self.optimizer = cls(
                [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
                lr=self.args.learning_rate,
                **options,
            )
        return self.optimizer
