"""Train, evaluate and run biomedical named entity recognition: `accelerate launch run_ner.py recipe.yaml [--key value …]`."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mosaic_ner.analysis import figures
from mosaic_ner.data_builders.builder import MissingFileError
from mosaic_ner.data_builders.console import quiet_requests
from mosaic_ner.data_builders.corpora import CorpusError
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents, write_documents
from mosaic_ner.data_builders.run_data import RunData, RunDataError, load_run_data
from mosaic_ner.data_builders.synonyms import SynonymError
from mosaic_ner.hub import commands
from mosaic_ner.hub.card import write_card
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.prediction.annotate import annotate
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.prediction.resumable_output import JournalError, ResumableOutput, fingerprint
from mosaic_ner.training import families
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.arguments import ArgumentError, DataArguments, ModelArguments, RunArguments, given, parse
from mosaic_ner.training.evaluator import evaluator_for, share_of
from mosaic_ner.training.results import versions, without_local_paths, write_json
from mosaic_ner.training.search_space import read_plan
from mosaic_ner.training.trainer import NERTrainer
from mosaic_ner.training.tune import Search
from transformers import set_seed

logger = logging.getLogger("run_ner")

USER_ERRORS = (ArgumentError, RunDataError, FormatError, JournalError, LabelError, CorpusError, MissingFileError)
USER_ERRORS += (ModelError, figures.FigureError, SynonymError)


def main(argv: list[str] | None = None) -> None:
    """Command line entry; a user's mistake ends with one message and exit code 2."""
    argv = sys.argv[1:] if argv is None else argv
    if commands.run_command(argv):
        return
    keep_freed_memory()
    try:
        model, data, run, settings = parse(argv)
        logging.basicConfig(level="INFO" if PartialState().is_main_process else "ERROR", format="%(message)s")
        quiet_requests()
        if PartialState().num_processes > 1:
            logger.info("on %d processes", PartialState().num_processes)
        if run.hp_search:
            search(model, data, run, settings, given(argv))
        elif run.do_predict:
            predict(model, data, run)
        elif model.model_name_or_path:
            evaluate(model, data, run, settings)
        else:
            train(model, data, run, settings)
    except USER_ERRORS as error:
        sys.stderr.write(f"run_ner.py: error: {error}\n")
        sys.exit(2)


def train(model: ModelArguments, options: DataArguments, run: RunArguments, settings: dict) -> None:
    """Data → model → Trainer → scores → saved model, results.json and card."""
    begin = time.perf_counter()
    set_seed(run.seed)
    data = load_run_data(options, run.seed)
    data.check_trainable()
    logger.info(data.summary())
    documents = [d for part in data.train.values() for d in part]
    bundle = families.build(model, data.space, documents, list(data.train), data.synonyms)
    if options.write_figures:
        figures.check(bundle.tagger)
    dataset = bundle.features.build(documents)
    coverage = bundle.features.report([*data.validation.values(), *data.test.values()])
    evaluator = evaluator_for(bundle, data.space, model.prediction_mode, run.per_device_eval_batch_size)
    if not data.validation:
        run.eval_strategy, run.load_best_model_at_end, run.save_strategy = "no", False, "no"
        logger.warning("no validation documents: the last checkpoint is the model (see --validation_fraction)")
    trainer = NERTrainer(
        bundle.model,
        args=run,
        train_dataset=dataset,
        data_collator=bundle.collator,
        processing_class=bundle.tokenizer,
        evaluator=evaluator,
        validation=data.validation,
        adapters=bundle.adapters,
    )
    windows, padding = trainer.describe_epoch()
    logger.info("training: %d windows an epoch, %.1f%% of the tokens are padding", windows, 100 * padding)
    trained = time.perf_counter()
    trainer.train(resume_from_checkpoint=run.resume_from_checkpoint)
    if bundle.adapters:
        bundle.adapters.finish(Path(run.output_dir) / "adapter" if run.should_save else None)
    seconds = {"data": trained - begin, "train": time.perf_counter() - trained}
    results = {"settings": without_local_paths(settings), "padding": padding, "history": trainer.validation_history()}
    finish(evaluator, data, options, run, bundle, results | {"coverage": coverage}, seconds)


def evaluate(model: ModelArguments, options: DataArguments, run: RunArguments, settings: dict) -> None:
    """Measures a trained model on the run's validation and test splits."""
    begin = time.perf_counter()
    data = load_run_data(options, run.seed)
    logger.info(data.summary())
    bundle = families.restore(model.model_name_or_path, data.space, model.given_encoder)
    if options.write_figures:
        figures.check(bundle.tagger)
    bundle.model.to(run.device)
    coverage = bundle.features.report([*data.validation.values(), *data.test.values()])
    evaluator = evaluator_for(bundle, data.space, model.prediction_mode, run.per_device_eval_batch_size)
    results = {"settings": without_local_paths(settings), "coverage": coverage}
    finish(evaluator, data, options, run, bundle, results, {"data": time.perf_counter() - begin}, save=False)


def search(model: ModelArguments, options: DataArguments, run: RunArguments, settings: dict, recipe: dict) -> None:
    """Trains with many values of the recipe's options → search.json and best.yaml, a recipe; test documents are not scored."""
    plan = read_plan(recipe)
    set_seed(run.seed)
    data = load_run_data(options, run.seed)
    data.check_trainable()
    logger.info(data.summary())
    trials = Search(plan, model, data.space, data.train, data.validation, data.synonyms)
    facts = {"settings": without_local_paths(settings), "versions": versions(), "device": str(run.device)}
    trials.run(run, recipe, lambda path, report: write_json(path, report | facts))


def finish(evaluator, data: RunData, options: DataArguments, run: RunArguments, bundle, results, seconds, save=True):
    """Scores every split, then saves the model (if it was trained here), the predictions, results.json and the card."""
    begin = time.perf_counter()
    out = Path(run.output_dir)
    by_document: dict[str, list[float]] = {}
    for split, corpora in (("test", data.test), ("validation", data.validation)):
        results[split] = {}
        for corpus, documents in corpora.items():
            measured = evaluator.evaluate(documents, bundle.tag_level, full=True)
            results[split][corpus] = measured.report
            logger.info("%s/%s: %s", corpus, split, measured.summary())
            if split == "test":
                by_document[corpus] = measured.document_f1
            if options.write_predictions and split == "test" and run.should_save:
                (out / "predictions").mkdir(parents=True, exist_ok=True)
                write_documents(measured.gold, out / "predictions" / f"{corpus}.gold.PubTator")
                write_documents(measured.predicted, out / "predictions" / f"{corpus}.predicted.PubTator")
    if not run.should_save:
        return
    out.mkdir(parents=True, exist_ok=True)
    if save:
        bundle.save(out, run.inference_only)
    seconds |= {"score": time.perf_counter() - begin}
    seconds["total"] = sum(seconds.values())
    results |= {"data": data.sizes(), "overlap": data.overlap.to_dict(), "faults": data.faults.to_dict(examples=False)}
    results |= {"versions": versions(), "seconds": seconds, "device": str(run.device)}
    write_json(out / "results.json", results)
    write_json(out / "document_f1.json", by_document)
    write_card(out)
    if options.write_figures:
        figures.draw(out, evaluator.predictor, data.space, data.validation, data.test, run.seed)
    logger.info("written to %s: %s", out, ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))


def predict(model: ModelArguments, options: DataArguments, run: RunArguments) -> None:
    """Annotates a file of any supported format: streaming, atomic, resumable, the same on any number of processes."""
    if not (model.model_name_or_path and options.predict_input and options.predict_output):
        raise ArgumentError("--do_predict needs --model_name_or_path, --predict_input and --predict_output")
    network, tokenizer = load(model.model_name_or_path, model.given_encoder)
    network.to(run.device)
    state = PartialState()
    predictor = MentionPredictor(network, tokenizer, run.per_device_eval_batch_size, share_of(state))
    if options.predict_corpus:
        network.config.labels.native_types(options.predict_corpus)  # an unknown corpus is an error
    tasks = network.tasks_for(options.predict_corpus, model.prediction_mode)
    names = ("predict_input", "predict_corpus", "predict_chunk", "policy", "repeated_ids")
    key = {name: getattr(options, name) for name in names} | {"model": model.model_name_or_path, "tasks": tasks}
    key |= {"content of the input": fingerprint(options.predict_input), "batch size": predictor.batch_size}
    key |= {"content of the model": fingerprint(model.model_name_or_path)}
    output = ResumableOutput(options.predict_output, key, options.resume) if state.is_main_process else None
    done = broadcast_object_list([output.done if output else 0])[0]
    faults = ReadReport()
    documents = read_documents(
        options.predict_input, policy=options.policy, repeated_ids=options.repeated_ids, report=faults
    )
    begin, count, mentions = time.perf_counter(), 0, 0
    for part in annotate(itertools.islice(documents, done, None), predictor, tasks, options.predict_chunk):
        count, mentions = count + len(part), mentions + sum(len(d.mentions) for d in part)
        if output:
            output.write(part)
            rate = count / (time.perf_counter() - begin)
            logger.info("%d documents, %d mentions, %.1f documents/s", done + count, mentions, rate)
    if output and (lost := output.close()):
        logger.warning("%s could not hold everything: %s", options.predict_output, lost)
    if faults.counts:
        logger.warning("%s: %s", options.predict_input, faults.summary())


if __name__ == "__main__":
    main()
