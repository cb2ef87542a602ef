"""Hyperparameter search by the validation score: `Trainer.hyperparameter_search` with Optuna, for every family.

What varies is said by a file (search_space.py).
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from pathlib import Path

import yaml
from accelerate.utils import release_memory
from accelerate.utils.memory import should_reduce_batch_size
from mosaic_ner.data_builders.options import specs
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document
from transformers import set_seed

from .arguments import Arguments, ModelOptions
from .bundle import Bundle, TrainingData, build
from .evaluator import Evaluator, evaluator_for
from .features import FeatureDataset
from .results import versions, without_local_paths, write_json
from .search_space import PRUNERS, TRAINING_OPTIONS, Plan, SearchError, load_optuna, read_plan
from .trainer import NERTrainer, RunArguments

logger = logging.getLogger(__name__)

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
REPORT, BEST = "search.json", "best.yaml"


def tune(arguments: Arguments, args: RunArguments) -> None:
    """Makes the trials of `--hp_search` on the run's documents; test documents are read, but neither scored nor trained on.

    Args:
        arguments: the recipe.
        args: its training options; changed by every trial.
    Raises:
        SearchError: the search file can't be used, there are no validation documents, or no trial was completed.
    """
    plan = read_plan(arguments.given)
    set_seed(args.seed)
    data = load_run_data(arguments.data, args.seed)
    data.check_trainable()
    Search(plan, arguments, TrainingData(data.space, data.train, args.seed), data.validation).run(args)


class Search:
    """The trials of a search on the documents of a run. It is given no test documents.

    Args:
        plan: the search file.
        arguments: the recipe.
        data: training documents and the run's label space.
        validation: corpus → validation documents.
    Raises:
        SearchError: no validation documents, or a learning rate for decoders that the family doesn't have.
        ModelError: the recipe's own values can't be used.
    """

    def __init__(self, plan: Plan, arguments: Arguments, data: TrainingData, validation: dict[str, list[Document]]):
        if not any(validation.values()):
            raise SearchError(
                "--hp_search compares trials on validation documents, and this run has none; give --validation_corpora, a "
                "--validation_file or --validation_fraction"
            )
        self.plan = plan
        self.arguments = arguments
        self.data = data
        self.validation = validation
        self.trials: list[dict] = []
        self._features: tuple[list, FeatureDataset] | None = None
        # Of the recipe's own values, until the first trial.
        self.bundle: Bundle | None = build(arguments.model, arguments.own, data)
        if "generator_learning_rate" in plan.variables and not self.bundle.model.decoder_modules:
            raise SearchError(
                f"{plan.path}: space: 'generator_learning_rate' has no effect: the family {arguments.model.family} has no "
                "decoders; leave it out"
            )

    def draw(self, trial) -> dict:
        """Option → the trial's value."""
        return {name: variable.draw(trial) for name, variable in self.plan.variables.items()}

    def prepare(self, trial) -> Bundle:
        """The trial's model with everything around it; the same documents for all."""
        drawn = {k: v for k, v in self.draw(trial).items() if k not in TRAINING_OPTIONS}
        shared = {k: v for k, v in drawn.items() if k in specs(ModelOptions)}
        own = {k: v for k, v in drawn.items() if k not in shared}
        model, family = replace(self.arguments.model, **shared), replace(self.arguments.own, **own)
        self.bundle = build(model, family, self.data)
        return self.bundle

    def evaluator(self, batch_size: int) -> Evaluator:
        """Of the model at hand."""
        mode, precision = self.arguments.model.prediction_mode, self.arguments.prediction.precision
        return evaluator_for(self.bundle, self.data.space, mode, batch_size, precision)

    def features(self, trial) -> FeatureDataset:
        """The training windows as the model at hand reads them; built anew where a model option has another value."""
        key = [v for k, v in self.draw(trial).items() if k not in TRAINING_OPTIONS]
        if self._features is None or self._features[0] != key:
            self._features = None  # before the next ones need the room
            self._features = key, self.bundle.features.build(self.data.documents)
        return self._features[1]

    @property
    def best(self) -> dict | None:
        """The completed trial with the highest score, the first of several."""
        return max((t for t in self.trials if t["state"] == COMPLETE), key=lambda t: t["objective"], default=None)

    def report(self) -> dict:
        """search.json, but for the seed and Optuna's version."""
        return {
            "objective": "mean micro-F1 over the validation corpora, of a trial's best evaluation",
            "best": self.best and self.best["number"],
            "trials": self.trials,
            "n_trials": self.plan.n_trials,
            "sampler": self.plan.sampler,
            "pruner": self.plan.pruner,
            "space": {name: variable.to_dict() for name, variable in self.plan.variables.items()},
            "settings": without_local_paths(self.arguments.settings()),
            "versions": versions(),
        }

    def recipe(self, output_dir: str) -> str:
        """best.yaml: the recipe with the values of the best trial, which writes into `output_dir`."""
        options = {k: v for k, v in self.arguments.given.items() if k != "hp_search"} | self.best["options"]
        text = yaml.safe_dump(options | {"output_dir": output_dir}, sort_keys=False, allow_unicode=True, width=120)
        done = f"trial {self.best['number']} of {len(self.trials)}"
        return f"# The best of a search: {done}, validation F1 {self.best['objective']:.4f} (one seed).\n{text}"

    def run(self, args: RunArguments) -> None:
        """Makes all trials; after each, search.json and best.yaml are written. Nothing else is kept of a trial.

        Args:
            args: the recipe's training options; changed by every trial.
        Raises:
            SearchError: no trial was completed.
        """
        optuna = load_optuna()
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # each trial has a line of ours, failed ones included
        # The score of the best epoch needs no weights, so trials leave no checkpoints.
        args.save_strategy, args.load_best_model_at_end, args.push_to_hub = "no", False, False
        folder = Path(args.output_dir)
        (folder / BEST).unlink(missing_ok=True)  # of an earlier search
        facts = {"seed": args.seed, "optuna": optuna.__version__, "device": str(args.device)}

        def after_trial() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / REPORT, self.report() | facts)
            if self.best:
                (folder / BEST).write_text(self.recipe(str(folder / "best")), encoding="utf-8")

        trainer = SearchTrainer(self, args, after_trial)
        try:
            trainer.hyperparameter_search(
                backend="optuna",
                hp_space=trainer.training_options,
                n_trials=self.plan.n_trials,
                direction="maximize",
                compute_objective=trainer.best_score,
                hp_name=lambda trial: f"trial-{trial.number}",
                sampler=self.plan.draws_by(args.seed),
                pruner=getattr(optuna.pruners, PRUNERS[self.plan.pruner])(),
                catch=(ValueError, MemoryError),
            )
        except ValueError as error:  # Optuna has no best trial
            if self.best is not None:
                raise
            reasons = dict.fromkeys(t["reason"] for t in self.trials if t["state"] == FAILED)
            raise SearchError(f"none of {len(self.trials)} trials was completed: {'; '.join(reasons)}") from error
        logger.info("written to %s: %s; run_ner.py %s trains with the best values", folder, REPORT, folder / BEST)

    def record(self, trial, state: str, objective: float | None, history: list[dict], seconds: float, reason=None):
        """Keeps what is known of a trial that has ended, and logs it."""
        row = {"number": trial.number, "options": dict(trial.params), "state": state}
        row |= {"reason": reason} if reason else {}
        self.trials.append(row | {"objective": objective, "history": history, "seconds": seconds})
        score = "" if objective is None else f", validation F1 {100 * objective:.2f}"
        best = f", best {100 * self.best['objective']:.2f} (trial {self.best['number']})" if self.best else ""
        values = ", ".join(f"{k} {json.dumps(v)}" for k, v in trial.params.items())
        why = f" ({reason})" if reason else ""
        count = f"{len(self.trials)}/{self.plan.n_trials}"
        logger.info(
            "trial %d (%s): %s%s%s%s, %.0f s: %s", trial.number, count, state, why, score, best, seconds, values
        )


class SearchTrainer(NERTrainer):
    """The Trainer whose model, data and evaluator are those of the trial at hand.

    Args:
        search: makes them.
        args: training options; the trials' values are set on them.
        after_trial: called when a trial has been recorded.
    """

    def __init__(self, search: Search, args: RunArguments, after_trial):
        self.search = search
        self.after_trial = after_trial
        evaluator = search.evaluator(args.per_device_eval_batch_size)
        super().__init__(search.bundle, args, evaluator, search.validation, model=None, model_init=self._model_init)

    def _model_init(self, trial=None):
        """Called by the Trainer at its beginning, without a trial, and at each trial's, before `training_options`."""
        if trial is None:
            return self.search.bundle.model
        self._release()
        bundle = self.bundle = self.search.prepare(trial)
        self.train_dataset = self.search.features(trial)
        self.data_collator = bundle.collator
        self.processing_class = self.callback_handler.processing_class = bundle.tokenizer
        self.evaluator = self.search.evaluator(self.args.per_device_eval_batch_size)
        # A run's random numbers begin here once more, after its model was made (`Trainer.__init__`): so the recipe of a
        # trial gives the trial's scores.
        set_seed(self.args.seed)
        return bundle.model

    def training_options(self, trial) -> dict:
        """The trial's values of what are TrainingArguments; the Trainer sets them on `args`, cast to the types there."""
        drawn = {k: v for k, v in self.search.draw(trial).items() if k in TRAINING_OPTIONS}
        for name in [k for k, v in drawn.items() if v is None]:  # the cast would fail
            setattr(self.args, name, drawn.pop(name))
        return drawn

    def best_score(self, metrics: dict[str, float] | None = None) -> float:
        """The trial's objective so far."""
        return max(row["eval_f1"] for row in self.validation_history() if "eval_f1" in row)

    def train(self, resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None):
        """One trial.

        Raises:
            ValueError: the trial's values can't be used.
            MemoryError: there is no room for them.
            TrialPruned: it is not worth going on.
        """
        begin, state, reason = time.perf_counter(), FAILED, "stopped"
        self.objective = None
        self.state.log_history = []
        try:
            output = super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
            if self.objective is None:  # no evaluation on the way
                self.evaluate()
                self.objective = self.best_score()
            state, reason = COMPLETE, None
            return output
        except load_optuna().TrialPruned:
            state, reason = PRUNED, None
            raise
        except (ValueError, MemoryError, RuntimeError) as error:
            self.objective, reason = None, f"{type(error).__name__}: {_without_folders(str(error).strip())}"
            if self.callback_handler.train_dataloader is not None:  # it had begun; else the next logs into its files
                self.callback_handler.on_train_end(self.args, self.state, self.control)
            if isinstance(error, RuntimeError) and should_reduce_batch_size(error):
                raise MemoryError(str(error)) from error
            raise
        finally:
            seconds = time.perf_counter() - begin
            self.search.record(trial, state, self.objective, self.validation_history(), seconds, reason)
            self.after_trial()

    def _report_to_hp_search(self, trial, step: int, metrics: dict[str, float]) -> None:
        # Trials are compared after as many evaluations, not updates: with other batch sizes they have other updates.
        super()._report_to_hp_search(trial, len(self.validation_history()), metrics)

    def _release(self) -> None:
        """Lets go of the last model before there is another one, also of one that failed."""
        self.model = self.model_wrapped = self.optimizer = self.lr_scheduler = None
        self.evaluator = self.bundle = self.search.bundle = self.train_dataset = None
        for name in ("model", "optimizer", "lr_scheduler", "train_dataloader"):
            setattr(self.callback_handler, name, None)
        self._terms.clear()
        self.accelerator.free_memory()
        release_memory()


def _without_folders(text: str) -> str:
    """A message as it may be published: absolute paths reduced to their last part."""
    return re.sub(r"(?<![\w:/])(?:/[^\s/'\"]+)+/([^\s/'\"]+)", r"\1", text)
