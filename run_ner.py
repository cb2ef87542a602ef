"""Train, evaluate and run biomedical named entity recognition: `accelerate launch run_ner.py recipe.yaml [--key value …]`."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import set_seed

from mosaic_ner.data_builders.builder import MissingFileError
from mosaic_ner.data_builders.corpora import CorpusError
from mosaic_ner.data_builders.formats import FormatError, read_documents, write_documents
from mosaic_ner.data_builders.journal import JournalError, ResumableOutput
from mosaic_ner.data_builders.run_data import RunData, RunDataError, load_run_data
from mosaic_ner.hub.card import write_card
from mosaic_ner.hub.results import versions, without_local_paths, write_json
from mosaic_ner.modeling import families
from mosaic_ner.modeling.arguments import ArgumentError, DataArguments, ModelArguments, RunArguments, parse
from mosaic_ner.modeling.dataset import in_shared_types
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.prediction import annotate
from mosaic_ner.modeling.sampler import padding_share
from mosaic_ner.modeling.trainer import Evaluator, NERTrainer, share_of

logger = logging.getLogger("run_ner")

USER_ERRORS = (ArgumentError, RunDataError, FormatError, JournalError, LabelError, CorpusError, MissingFileError, families.ModelError)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Command line entry; a user's mistake ends with one message and exit code 2."""
    try:
        model, data, run, settings = parse(sys.argv[1:] if argv is None else argv)
        level = logging.INFO if PartialState().is_main_process else logging.ERROR
        logging.basicConfig(level=level, format="%(message)s")
        for chatty in ("httpx", "datasets", "filelock"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        if run.do_predict:
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
    report_data(data)
    texts = (d.text for documents in data.train.values() for d in documents)
    bundle = families.build(model, data.space, texts)
    dataset = bundle.features.build([d for documents in data.train.values() for d in documents])
    coverage = report_coverage(data, bundle.features)
    predictor = MentionPredictor(
        bundle.tagger, bundle.tokenizer, run.per_device_eval_batch_size, share_of(PartialState())
    )
    evaluator = Evaluator(predictor, data.space, model.prediction_mode)
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
    )
    order = list(trainer._get_train_sampler())
    padding = padding_share([dataset.lengths[i] for i in order], run.train_batch_size)
    logger.info("training: %d windows an epoch, %.1f%% of the tokens are padding", len(order), 100 * padding)
    trained = time.perf_counter()
    trainer.train(resume_from_checkpoint=run.resume_from_checkpoint)
    seconds = {"data": trained - begin, "train": time.perf_counter() - trained}
    results = {"settings": without_local_paths(settings), "padding": padding, "history": history(trainer)}
    finish(evaluator, data, options, run, bundle, results | {"coverage": coverage}, seconds)


def evaluate(model: ModelArguments, options: DataArguments, run: RunArguments, settings: dict) -> None:
    """Measures a trained model on the run's validation and test splits."""
    begin = time.perf_counter()
    data = load_run_data(options, run.seed)
    report_data(data)
    bundle = families.restore(model.model_name_or_path, data.space)
    bundle.model.to(run.device)
    coverage = report_coverage(data, bundle.features)
    predictor = MentionPredictor(bundle.tagger, bundle.tokenizer, run.per_device_eval_batch_size, share_of(PartialState()))
    evaluator = Evaluator(predictor, data.space, model.prediction_mode)
    results = {"settings": without_local_paths(settings), "coverage": coverage}
    finish(evaluator, data, options, run, None, results, {"data": time.perf_counter() - begin})


def finish(evaluator, data: RunData, options: DataArguments, run: RunArguments, bundle, results: dict, seconds: dict):
    """Scores every split, then saves the model (if it was trained here), the predictions, results.json and the card."""
    begin = time.perf_counter()
    out = Path(run.output_dir)
    tag_level = bundle is None or bundle.tag_level
    for split, corpora in (("test", data.test), ("validation", data.validation)):
        results[split] = {}
        for corpus, documents in corpora.items():
            results[split][corpus], predicted = evaluator.evaluate(documents, tag_level)
            row = results[split][corpus]["overall"]
            logger.info(
                "%s/%s: P %.2f  R %.2f  F1 %.2f  (%d gold, %d predicted)", corpus, split, 100 * row["precision"],
                100 * row["recall"], 100 * row["f1"], row["support"], row["predicted"],
            )  # fmt: skip
            if options.write_predictions and split == "test" and run.should_save:
                (out / "predictions").mkdir(parents=True, exist_ok=True)
                gold = [in_shared_types(d, data.space) for d in documents]
                own = [d.with_mentions(found) for d, found in zip(gold, predicted, strict=True)]
                write_documents(gold, out / "predictions" / f"{corpus}.gold.PubTator")
                write_documents(own, out / "predictions" / f"{corpus}.predicted.PubTator")
    if not run.should_save:
        return
    out.mkdir(parents=True, exist_ok=True)
    if bundle is not None:
        bundle.model.save_pretrained(out)
        bundle.tokenizer.save_pretrained(out)
    seconds |= {"score": time.perf_counter() - begin}
    seconds["total"] = sum(seconds.values())
    results |= {"overlap": data.overlap.to_dict(), "faults": data.faults.to_dict()}
    results |= {"versions": versions(), "seconds": seconds, "device": str(run.device)}
    write_json(out / "results.json", results)
    write_card(out)
    logger.info("written to %s: %s", out, ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))


def predict(model: ModelArguments, options: DataArguments, run: RunArguments) -> None:
    """Annotates a file of any supported format: streaming, atomic, resumable, the same on any number of processes."""
    if not (model.model_name_or_path and options.predict_input and options.predict_output):
        raise ArgumentError("--do_predict needs --model_name_or_path, --predict_input and --predict_output")
    network, tokenizer = families.load(model.model_name_or_path)
    network.to(run.device)
    state = PartialState()
    predictor = MentionPredictor(network, tokenizer, run.per_device_eval_batch_size, share_of(state))
    tasks = network.tasks_for(options.predict_corpus, model.prediction_mode)
    names = ("predict_input", "predict_corpus", "predict_chunk")
    key = {name: getattr(options, name) for name in names} | {"model": model.model_name_or_path, "tasks": tasks}
    output = None
    if state.is_main_process:
        output = ResumableOutput(options.predict_output, key, options.resume)
    done = broadcast_object_list([output.done if output else 0])[0]
    documents = read_documents(options.predict_input, repeated_ids=options.repeated_ids)
    begin, count, mentions = time.perf_counter(), 0, 0
    for part in annotate(itertools.islice(documents, done, None), predictor, tasks, options.predict_chunk):
        count, mentions = count + len(part), mentions + sum(len(d.mentions) for d in part)
        if output:
            output.write(part)
            rate = count / (time.perf_counter() - begin)
            logger.info("%d documents, %d mentions, %.1f documents/s", done + count, mentions, rate)
    if output and (lost := output.close()):
        logger.warning("%s could not hold everything: %s", options.predict_output, lost)


def report_data(data: RunData) -> None:
    """What was read, what was wrong with it, and what was taken out of training."""
    for split, corpora in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        for corpus, documents in corpora.items():
            logger.info("%s/%s: %d documents, %d mentions", corpus, split, len(documents), sum(len(d.mentions) for d in documents))  # fmt: skip
    for text in (data.faults.summary(), data.overlap.summary()):
        if text:
            logger.info(text)


def report_coverage(data: RunData, features) -> dict:
    """Counts the evaluation documents too, and prints the report."""
    for corpora in (data.validation, data.test):
        for documents in corpora.values():
            features.cover(documents)
    logger.info(features.coverage.summary())
    return features.coverage.to_dict()


def history(trainer: NERTrainer) -> list[dict]:
    """The validation figures of each evaluation."""
    return [{k: v for k, v in row.items() if k.startswith(("eval_", "epoch", "step"))} for row in trainer.state.log_history if "eval_f1" in row]  # fmt: skip


if __name__ == "__main__":
    main()
