"""Train, evaluate and run biomedical named entity recognition: `accelerate launch run_ner.py RECIPE [--key value …]`.

The command `mosaic-ner`, too; one of `COMMANDS` may stand for the recipe. Runs import what is heavy, so that --help is quick.
"""

from __future__ import annotations

import logging
import sys
import time
from importlib import import_module
from pathlib import Path

from mosaic_ner.data_builders.console import one_message, quiet_requests
from mosaic_ner.training.arguments import Arguments, as_argv, parse
from mosaic_ner.training.commands import COMMANDS

logger = logging.getLogger("run_ner")


def main(argv: list[str] | None = None) -> None:
    """Command line entry; a user's mistake ends with one message and exit code 2, a prediction that lacks records with 3."""
    argv = sys.argv[1:] if argv is None else argv
    # It tells every command which kernels the machine lacks and, of each layer and step of LLM.int8(), that it rounds.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if argv[:1] and argv[0] in COMMANDS:
        run_command(argv[0], argv[1:])
        return
    if {"-h", "--help", "--help_all"} & set(argv):
        rows = "".join(f"  mosaic-ner {name:<13}{what}\n" for name, (_, what) in COMMANDS.items())
        sys.stdout.write(f"commands (each has its own --help):\n{rows}  mosaic-ner [recipe]  training, as follows\n\n")
    with one_message("run_ner.py"):
        if run(parse(argv)):
            sys.exit(3)


def run_command(name: str, argv: list[str]) -> None:
    """Runs a command; a missing package ends with one message and exit code 2."""
    try:
        module = import_module(f"mosaic_ner.{COMMANDS[name][0]}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mosaic_ner"):
            raise
        sys.stderr.write(f"{name}: error: {error}\n")
        sys.exit(2)
    if status := module.main(argv):
        sys.exit(status)


def run(arguments: Arguments) -> int:
    """Searches, predicts, evaluates or, if nothing else was asked for, trains; returns how many records it had to leave out."""
    from accelerate import PartialState
    from mosaic_ner.training.allocator import keep_freed_memory
    from mosaic_ner.training.trainer import run_arguments
    from mosaic_ner.training.tune import tune

    keep_freed_memory()
    args = run_arguments(arguments.train, arguments.trainer)  # begins the processes (with --use_cpu on CPUs)
    logging.basicConfig(level="INFO" if PartialState().is_main_process else "ERROR", format="%(message)s")
    quiet_requests()
    if (processes := PartialState().num_processes) > 1:
        logger.info("on %d processes", processes)
    if arguments.prediction.do_predict and not arguments.train.hp_search:
        return predict(arguments, args)
    job = tune if arguments.train.hp_search else evaluate if arguments.model.model_name_or_path else train
    job(arguments, args)
    return 0


def train(arguments: Arguments, args) -> None:
    """Data → model → Trainer → scores → saved model, results.json and card."""
    from mosaic_ner.analysis import run_figures
    from mosaic_ner.data_builders.run_data import load_run_data
    from mosaic_ner.modeling.precision import resolve
    from mosaic_ner.training.bundle import TrainingData, build
    from mosaic_ner.training.completion import complete_run
    from mosaic_ner.training.evaluator import evaluator_for
    from mosaic_ner.training.relaxed import Seen
    from mosaic_ner.training.trainer import NERTrainer, without_validation
    from transformers import set_seed

    begin = time.perf_counter()
    data = load_run_data(arguments.data, args.seed, bool(arguments.completion.complete_with))
    data.check_trainable()
    seen = Seen.of(data.train)
    taught, completion = complete_run(data, arguments, args, lambda name, told: run(parse([name, *as_argv(told)])))
    set_seed(args.seed)
    training = TrainingData(data.space, taught, args.seed)
    bundle = build(arguments.model, arguments.own, training)
    if arguments.train.write_figures:
        run_figures.check(bundle.model)
    dataset = bundle.features.build(training.documents)
    coverage = bundle.features.report([*data.validation.values(), *data.test.values()])
    mode, size = arguments.model.prediction_mode, args.per_device_eval_batch_size
    precision = resolve(arguments.prediction.precision, args.device)
    evaluator = evaluator_for(bundle, data.space, mode, size, precision)
    if not data.validation:
        without_validation(args, arguments.given)
    trainer = NERTrainer(bundle, args, evaluator, data.validation, train_dataset=dataset)
    windows, padding = trainer.describe_epoch()
    logger.info("training: %d windows an epoch, %.1f%% of the tokens are padding", windows, 100 * padding)
    trained = time.perf_counter()
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    if bundle.adapters:
        bundle.adapters.finish(Path(args.output_dir) / "adapter" if args.should_save else None)
    seconds = {"data": trained - begin, "train": time.perf_counter() - trained}
    facts = {"padding": padding, "history": trainer.validation_history(), "completion": completion}
    facts |= {"coverage": coverage, "precision": precision}
    finish(arguments, args, evaluator, data, seen, seconds, facts, bundle)


def evaluate(arguments: Arguments, args) -> None:
    """Measures a trained model on the run's validation and test splits."""
    from mosaic_ner.analysis import run_figures
    from mosaic_ner.data_builders.run_data import load_run_data
    from mosaic_ner.prediction.folders import trained_folder
    from mosaic_ner.prediction.precision import prepare
    from mosaic_ner.training.bundle import restore
    from mosaic_ner.training.evaluator import evaluator_for
    from mosaic_ner.training.relaxed import Seen
    from mosaic_ner.training.results import evaluated
    from mosaic_ner.training.teachers import warn_of_seen

    begin = time.perf_counter()
    folder = trained_folder(arguments.model.model_name_or_path, "--model_name_or_path")
    facts = evaluated(arguments.settings(), folder)
    data = load_run_data(arguments.data, facts["settings"]["seed"])
    warn_of_seen(folder, data)
    bundle = restore(arguments.model.model_name_or_path, data.space, arguments.model.given_encoder)
    if arguments.train.write_figures:
        run_figures.check(bundle.model)
    precision = prepare(bundle.model.to(args.device), arguments.prediction.precision)
    coverage = bundle.features.report([*data.validation.values(), *data.test.values()])
    facts |= {"coverage": coverage, "precision": precision}
    evaluator = evaluator_for(bundle, data.space, arguments.model.prediction_mode, args.per_device_eval_batch_size)
    finish(arguments, args, evaluator, data, Seen.of(data.train), {"data": time.perf_counter() - begin}, facts)


def finish(arguments: Arguments, args, evaluator, data, seen, seconds: dict, facts: dict, bundle=None) -> None:
    """Scores every split, then writes the model (a bundle that was trained here), predictions, results.json and card."""
    from mosaic_ner.analysis import run_figures
    from mosaic_ner.hub.card import write_card
    from mosaic_ner.prediction.annotate import write_both
    from mosaic_ner.training.calibration import add_reliability, calibrate
    from mosaic_ner.training.results import Results, asked, device_name, versions

    begin = time.perf_counter()
    out = Path(args.output_dir)
    facts = {"settings": asked(arguments, args)} | facts | {"data": data.sizes(), "versions": versions()}
    results = Results(**facts)
    results.overlap, results.faults = data.overlap.to_dict(), data.faults.to_dict(examples=False)
    results.device = device_name(args.device)
    found: dict = {"test": {}, "validation": {}}
    for split, corpora in (("test", data.test), ("validation", data.validation)):
        for corpus, documents in corpora.items():
            measured = found[split][corpus] = evaluator.evaluate(documents, full=True, seen=seen)
            getattr(results, split)[corpus] = measured.report
            logger.info("%s/%s: %s", corpus, split, measured.summary())
            if split == "test":
                results.document_f1[corpus] = measured.document_f1
    if bundle:
        calibrate(bundle.model.config, found)
    add_reliability(bundle and bundle.model.config.calibration, found)
    if not args.should_save:
        return
    out.mkdir(parents=True, exist_ok=True)
    if bundle:
        bundle.save(out, arguments.train.inference_only)
    seconds |= {"score": time.perf_counter() - begin}
    results.seconds = seconds | {"total": sum(seconds.values())}
    results.write(out)
    write_card(out)
    if arguments.train.write_predictions:
        for corpus, measured in found["test"].items():
            write_both(out / "predictions", corpus, measured.gold, measured.predicted)
    if arguments.train.write_figures:
        run_figures.draw(out, evaluator.predictor, data.space, data.validation, data.test, args.seed)
    logger.info("written to %s: %s", out, ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))


def predict(arguments: Arguments, args) -> int:
    """Annotates a file or folder of any supported format (see prediction/annotate.py)."""
    from accelerate import PartialState
    from mosaic_ner.prediction.annotate import annotate_file
    from mosaic_ner.prediction.precision import load_predictor
    from mosaic_ner.prediction.tagger import Tagger, tasks_of
    from mosaic_ner.training.evaluator import shard_of

    model, data, options = arguments.model, arguments.data, arguments.prediction
    predictor = load_predictor(
        model.model_name_or_path, options.precision, encoder=model.given_encoder, device=args.device,
        batch_size=args.per_device_eval_batch_size, shard=shard_of(PartialState()),
    )  # fmt: skip
    tagger = Tagger(predictor, tasks_of(predictor.model, options.predict_corpus, model.prediction_mode))
    return annotate_file(tagger, options, model.model_name_or_path, data)


if __name__ == "__main__":
    main()
