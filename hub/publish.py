"""Publishing a trained model: exactly the folder that goes to the Hub, checked, and with --upload sent there.

mosaic-ner publish outputs/biored --repo_id my-lab/biored-ner
mosaic-ner publish outputs/biored --repo_id my-lab/biored-ner --private --upload

Without --upload nothing leaves the machine. The folder has the model as needed for predicting, its tokenizer, its code, the
handler of Inference Endpoints, results.json and the card made from it, and checksums of all. It never has a local path, a name
of this machine's user, a token, predictions, or anything for resuming the training. The token for --upload comes from the
environment variable HF_TOKEN.

A stock export of a run's folder is published in the same way, with its comparison.json and comparison.md, and with no code but
the handler's.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.markdown import markdown_table, wrapped
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.handler import UNLIMITED
from mosaic_ner.modeling.modeling_ner import NERPreTrainedModel
from mosaic_ner.modeling.pipeline_ner import NERPipeline
from mosaic_ner.prediction.folders import load_config, trained_folder
from mosaic_ner.prediction.integrity import (
    CHECKSUMS,
    FOR_READERS,
    check_folder,
    own_file,
    weights_digest,
    write_checksums,
)
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.results import RESULTS, Results, ResultsError, without_local_paths, write_json
from safetensors.torch import load_file, save_file
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    TokenClassificationPipeline,
)
from transformers.utils import SAFE_WEIGHTS_NAME

from .card import build_card, notice
from .eval_results import write_eval_results
from .notes import FILES, notes
from .privacy import check_content, without_paths
from .staging import PublishError, staged
from .stock import OUTSIDE
from .upload import check_repo_id, upload_folder

logger = logging.getLogger(__name__)

LOADING = {"is_local", "local_files_only", "name_or_path"}
"""What transformers keeps in a tokenizer's settings of how it was loaded on this machine."""
EXPORT_AGAIN = (
    "export it again from the output folder of a finished run, which has results.json: mosaic-ner export RUN --format stock "
    "--output NEW"
)
_MEASURE = "mosaic-ner --model_name_or_path FOLDER --corpora … --test_corpora … --overlap evaluation --output_dir NEW"
REQUIREMENTS = "torch>=2.6\ntransformers>=5\n"


def build_folder(
    source: Path,
    output: Path,
    repo_id: str,
    whole: bool = False,
    allowed: tuple[str, ...] = (),
    datasets: tuple[str, ...] = (),
    half: bool = False,
    measured: Path | None = None,
    benchmarks: tuple[str, ...] = (),
) -> Results:
    """Writes and checks the folder to be uploaded.

    Args:
        source: the output folder of a finished run (or of its evaluation), with model and results.json, or a stock export of
            one.
        output: a folder that isn't there, is empty, or was written by this function; it is there only when all is well.
        repo_id: what the card calls the model.
        whole: keep what only training needs.
        allowed: names that may stay although they are those of this machine's user.
        datasets: Hub ids of datasets that the model was trained on, for the card's metadata.
        half: weights in half precision (float16), which load as float32.
        measured: the output folder of an evaluation of this model, whose test figures of further corpora are added.
        benchmarks: which corpora are benchmarks of the Hub, `CORPUS=OWNER/DATASET:TASK` each (see eval_results.py).
    Returns:
        What is published as results.json.
    Raises:
        PublishError, ModelError, ResultsError: the run can't be published as it is.
    """
    if output.exists() and any(output.iterdir()) and not (output / CHECKSUMS).exists():
        raise PublishError(f"--output: {output} isn't empty and was not written by `publish`; take another folder")
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise PublishError(f"--output: {output} would be replaced, and {source} with it; take another folder")
    results = _results(source)
    stock = not isinstance(load_config(str(source), "FOLDER"), NERConfig)
    model, tokenizer = load_stock(source) if stock else load(str(source))
    _check_kind(model, results, source / RESULTS)
    if results.export is None and results.weights not in (None, weights_digest(source)):
        raise PublishError(f"{source / RESULTS} is of an evaluation of other weights than those beside it")
    with staged(output) as fresh:
        write_model(model, tokenizer, fresh, whole, half)
        if measured:
            results = _with_figures(results, _results(measured), measured, [source, fresh])
        results.write(fresh)
        if results.export:
            _copy_comparison(source, fresh)
        card = _card(source, results, repo_id, datasets, _answer(model, tokenizer))
        (fresh / "README.md").write_text(card, encoding="utf-8")
        (fresh / "NOTICE").write_text(notice(results, repo_id), encoding="utf-8")
        for name in FILES:
            if (source / name).exists():
                shutil.copyfile(source / name, fresh / name)
        write_eval_results(fresh, results, benchmarks, repo_id)
        write_checksums(fresh)
        check_folder(fresh, strict=True)
        check_content(fresh, repo_id, allowed)
    return results


def write_model(model, tokenizer, output: Path, whole: bool = False, half: bool = False) -> None:
    """Writes model, tokenizer, code and the handler of Inference Endpoints; a folder that loads by itself.

    The handler cuts texts for a stock class where its tokenizer has a maximal length, and is left out where it has none.
    """
    output.mkdir(parents=True, exist_ok=True)
    stock = not isinstance(model, NERPreTrainedModel)
    smaller = not (stock or whole) and bool(model.training_modules)
    model.save_pretrained(output, **({"inference_only": True} if smaller else {}))
    if half:  # only the file: config.json says float32, which is what transformers loads it as
        path = output / SAFE_WEIGHTS_NAME
        weights = load_file(path)
        save_file({k: w.half() if w.is_floating_point() else w for k, w in weights.items()}, path, {"format": "pt"})
    tokenizer.save_pretrained(output)
    path = output / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in settings.items() if key not in LOADING}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if stock and tokenizer.model_max_length >= UNLIMITED:
        logger.warning(
            "%s reads texts of any length at once: the handler of Inference Endpoints, which cuts long ones, is left out",
            type(model).__name__,
        )
    elif handler := own_file("handler.py"):
        shutil.copyfile(handler, output / handler.name)
        (output / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")


def load_stock(source: Path) -> tuple:
    """A model of a stock class, in the precision that it was saved in, and its tokenizer.

    Raises:
        PublishError, ModelError: the folder holds none, or one with code of its own.
    """
    trained_folder(str(source), "FOLDER")
    path = source / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if code := sorted({"auto_map", "custom_pipelines"} & settings.keys()):
        raise PublishError(
            f"{path}: {code[0]} names code, but {settings.get('model_type')!r} is none of this package's families; only "
            "these are published, and models of transformers' own classes without code"
        )
    if type(load_config(str(source), "FOLDER")) not in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        raise PublishError(f"{path}: transformers has no token classification class for {settings.get('model_type')!r}")
    model, told = AutoModelForTokenClassification.from_pretrained(source, dtype="auto", output_loading_info=True)
    if missing := sorted(told["missing_keys"]):
        raise PublishError(
            f"{source}: the weights are of no {type(model).__name__}, they lack {missing[0]}; expected a trained token "
            "classifier, e.g. what `mosaic-ner export RUN --format stock` writes"
        )
    return model, PreTrainedTokenizerFast.from_pretrained(source)


def _check_kind(model, results: Results, path: Path) -> None:
    """Raises PublishError if the results in the file are those of another kind of model: the card would say false things."""
    export, kind = results.export, type(model).__name__
    if isinstance(model, NERPreTrainedModel):
        if export:
            raise PublishError(
                f"{path} is of a stock export, but the model beside it is a {kind}; put the run's own {RESULTS} there"
            )
        return
    if not isinstance(export, dict):
        raise PublishError(
            f'{path} is of a run, but the model beside it is a {kind}, and no "export" says how it was made; {EXPORT_AGAIN}'
        )
    types = {label[2:] for label in model.config.id2label.values() if label != OUTSIDE}
    told, asked = export.get("class"), export.get("types", ())
    if told != kind or set(asked) != types:
        raise PublishError(
            f"{path} is of another export: a {told} with the types {', '.join(asked)}, but the model beside it is a {kind} "
            f"with {', '.join(sorted(types))}; {EXPORT_AGAIN}"
        )


def _with_figures(run: Results, measured: Results, where: Path, folders: list[Path]) -> Results:
    """The run's results with an evaluation's figures of what the run itself didn't measure.

    Args:
        where: the evaluation's folder. folders: the run's and the published one, whose weights may be rounded.
    Raises:
        PublishError: the evaluation is of other weights, or didn't look for its documents in what the model learnt from.
    """
    if measured.weights not in [weights_digest(folder) for folder in folders]:
        raise PublishError(
            f"--measured: {where / RESULTS} isn't of the weights in {folders[0]}, nor of those that are published; measure "
            f"them: {_MEASURE}"
        )
    new = {corpus: report for corpus, report in measured.test.items() if corpus not in run.test}
    if unread := sorted({*run.learnt_from} - measured.overlap.get("training", {}).keys()):
        raise PublishError(
            f"--measured: {where / RESULTS} was not looked through for documents of {', '.join(unread)}, from which the model "
            f"learnt; measure it with these as --corpora: {_MEASURE}"
        )
    overlap = {corpus: measured.overlap.get("evaluation", {}).get(f"{corpus}/test", {}) for corpus in new}
    if leaked := [c for c, row in overlap.items() if row.get("covered") and row.get("mode") != "evaluation"]:
        raise PublishError(
            f"--measured: {where / RESULTS} scores documents of {', '.join(leaked)} that are in training corpora; measure it "
            f"without these: {_MEASURE}"
        )
    if {c: row["documents"] for c, row in measured.data.get("train", {}).items()} != {
        c: row["documents"] for c, row in run.data.get("train", {}).items()
    }:  # what is unseen was looked for in other documents than those that the model learnt from
        new = {corpus: _without_unseen(report) for corpus, report in new.items()}
    data = {split: measured.data.get(split, {}) | run.data.get(split, {}) for split in ("test", "validation")}
    return replace(
        run,
        test=run.test | new,
        data=run.data | data,
        coverage=measured.coverage | run.coverage,
        overlap=run.overlap | {"evaluation": measured.overlap.get("evaluation", {}) | run.overlap["evaluation"]},
    )


def _without_unseen(report: dict) -> dict:
    if "relaxed" not in report:
        return report
    return report | {"relaxed": {k: v for k, v in report["relaxed"].items() if not k.startswith("unseen")}}


def _copy_comparison(source: Path, output: Path) -> None:
    """An export's comparison with its original, without places on this machine."""
    path = source / "comparison.json"
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PublishError(f"{path}: no JSON ({error}); {EXPORT_AGAIN}") from error
        write_json(output / path.name, without_paths(content))
    if (source / "comparison.md").exists():
        shutil.copyfile(source / "comparison.md", output / "comparison.md")


def _answer(model, tokenizer):
    """Function: text → what the model finds in it, as outputs of the widget's examples."""
    stock = not isinstance(model, NERPreTrainedModel)
    kind = TokenClassificationPipeline if stock else NERPipeline
    find = kind(model=model, tokenizer=tokenizer, device="cpu", aggregation_strategy="simple")

    def answer(text: str) -> list[dict]:
        return [
            {"label": m["entity_group"], "score": round(float(m["score"]), 4), "word": text[m["start"] : m["end"]],
             "start": int(m["start"]), "end": int(m["end"])}
            for m in find(text)
        ]  # fmt: skip

    return answer


def _card(source: Path, results: Results, repo_id: str, datasets: tuple[str, ...], answer) -> str:
    more = notes(source)
    try:
        return wrapped(f"{build_card(results, repo_id, datasets, **more, answer=answer)}\n")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"{source / RESULTS}: expected the results of a run ({error!r})") from error


def _results(source: Path) -> Results:
    """The run's results without places on this machine, and without the file of each document's F1."""
    if not (source / RESULTS).exists():
        missing = f"{source} has no {RESULTS}, so there is nothing to say about the model; "
        if (source / "config.json").exists() and not isinstance(load_config(str(source), "FOLDER"), NERConfig):
            raise PublishError(f"{missing}if it is a stock export, {EXPORT_AGAIN}")
        raise PublishError(
            f"{missing}give the output folder of a finished run, or evaluate the model: run_ner.py --model_name_or_path MODEL "
            f"--corpora … --output_dir FOLDER, and put {RESULTS} beside the model"
        )
    results = Results.read(source)
    if not isinstance(results.settings, dict):
        raise ResultsError(f"{source / RESULTS}: expected the results of a run, got settings {results.settings!r}")
    results = replace(results, settings=without_local_paths(results.settings), document_f1={})
    return replace(results, **{f.name: without_paths(getattr(results, f.name)) for f in fields(results)})


# ---- the command


def describe(folder: Path, results: Results, repo_id: str) -> str:
    """The files with their sizes, and what the card says in short."""
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    rows = [[name, f"{size:,}"] for name, size in {**sizes, "all": sum(sizes.values())}.items()]
    split, measured = results.measured
    scores = [f"{corpus} {100 * report['overall']['f1']:.2f}" for corpus, report in measured.items()]
    settings = results.settings
    whose = " of the original" if results.export else ""
    return (
        f"{markdown_table(['file', 'bytes'], rows)}\n\n"
        f"{repo_id}: family {settings['family']}, encoder {settings['encoder']}, seed {settings['seed']}; "
        f"F1{whose} on {split} documents: {', '.join(scores) or 'not measured'}\n"
    )


def main(argv: list[str] | None = None) -> None:
    """Command line entry; a user's mistake ends with one message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, help="output folder of a finished run, or a stock export of one")
    parser.add_argument("--repo_id", required=True, help="owner/name on the Hub; the card calls the model so")
    parser.add_argument("--output", type=Path, help="the folder to write (default: outputs/hub/NAME)")
    parser.add_argument("--upload", action="store_true", help="upload it; without this, nothing leaves the machine")
    parser.add_argument("--private", action="store_true", help="make the repository a private one")
    parser.add_argument("--revision", default="main", help="the branch to upload to, made if need be (default: main)")
    parser.add_argument("--commit_message", help="default: 'NAME, trained with mosaic-ner VERSION'")
    parser.add_argument("--replace", action="store_true", help="remove other files that the repository has")
    parser.add_argument("--whole", action="store_true", help="keep the parts of the model that only training needs")
    parser.add_argument("--half", action="store_true", help="write the weights in half precision; they load as float32")
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="FOLDER",
        help="an evaluation of the model on further test corpora, for the card",
    )
    parser.add_argument(
        "--allow", nargs="+", default=[], help="words that may stay although this machine's user is called so"
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=[],
        metavar="ID",
        help="Hub ids of datasets that it was trained on, for the card",
    )
    parser.add_argument(
        "--benchmarks",
        nargs="+",
        default=[],
        metavar="CORPUS=ID:TASK",
        help="Hub benchmarks whose test documents a corpus's are: their results go to .eval_results/",
    )
    options = parser.parse_args(argv)
    log_progress()
    with one_message("publish"):
        try:
            _run(options)
        except OSError as error:  # a folder that can't be read or written
            raise PublishError(str(error)) from error


def _run(options: argparse.Namespace) -> None:
    name = options.repo_id.rpartition("/")[2]
    check_repo_id(options.repo_id)
    for dataset in options.datasets:
        check_repo_id(dataset, "--datasets")
    output = options.output or Path("outputs", "hub", name)
    results = build_folder(
        options.folder,
        output,
        options.repo_id,
        options.whole,
        tuple(options.allow),
        tuple(options.datasets),
        options.half,
        options.measured,
        tuple(options.benchmarks),
    )
    sys.stdout.write(f"{describe(output, results, options.repo_id)}written to {output}, and checked\n")
    if not options.upload:
        sys.stdout.write(
            "Nothing was uploaded. To upload exactly this, put a token with write access in HF_TOKEN and run the same "
            "command with --upload\n"
        )
        return
    message = options.commit_message or f"{name}, trained with mosaic-ner {results.versions['mosaic-ner']}"
    done = upload_folder(
        output,
        options.repo_id,
        private=options.private,
        revision=options.revision,
        commit_message=message,
        replace=options.replace,
    )
    sys.stdout.write(f"uploaded {len(done.files)} files: {done.url}\n")
    if done.removed:
        sys.stdout.write(f"removed there: {', '.join(done.removed)}\n")
    if others := [name for name in done.others if name not in FOR_READERS]:
        sys.stdout.write(
            f"also there, from before: {', '.join(others)}; checksums.json doesn't list them, so the package will refuse the "
            "repository: run the command again with --replace to remove them\n"
        )


if __name__ == "__main__":
    main()
