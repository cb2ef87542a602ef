"""Publishing a trained model: exactly the folder that goes to the Hub, checked, and with --upload sent there.

mosaic-ner publish outputs/biored --repo_id my-lab/biored-ner
mosaic-ner publish outputs/biored --repo_id my-lab/biored-ner --private --upload

Without --upload nothing leaves the machine. The folder has the model as needed for predicting, its tokenizer, its code, the
handler of Inference Endpoints, results.json and the card made from it, and checksums of all; never a local path, a name of
this machine's user, a token, predictions, or anything for resuming the training. The token for --upload comes from the
environment variable HF_TOKEN.

A model of transformers' own classes, a run of the family token_classification or a stock export of a run's folder, is published
in the same way, without code but the handler's; an export with its comparison.json and comparison.md.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mosaic_ner.analysis.markdown import markdown_table
from mosaic_ner.data_builders.console import log_progress
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.modeling_ner import NERPreTrainedModel
from mosaic_ner.prediction.folders import load_config, trained_folder
from mosaic_ner.prediction.integrity import CHECKSUMS, FOR_READERS, check_folder, own_file, write_checksums
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training.results import without_local_paths, write_json
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from .card import STOCK, build_card
from .onnx_export import GRAPH
from .staging import staged
from .stock import OUTSIDE, longest_input
from .upload import UploadError, check_repo_id, upload_folder

logger = logging.getLogger(__name__)

CONTENT = re.compile(
    r"README\.md|(config|tokenizer|tokenizer_config|special_tokens_map|results|checksums|comparison)\.json|"
    r"comparison\.md|requirements\.txt|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
)
"""What a published folder has, besides this package's code."""
LOADING = {"is_local", "local_files_only", "name_or_path"}
"""What transformers keeps in a tokenizer's settings of how it was loaded on this machine."""
UNLIMITED = 1_000_000
"""Above it, a tokenizer's `model_max_length` says that there is none."""
EXPORT_AGAIN = (
    "export it again from the output folder of a finished run, which has results.json: mosaic-ner export RUN --format stock "
    "--output NEW"
)
REQUIREMENTS = "torch>=2.6\ntransformers>=5\n"
LOCAL_PATH = re.compile(
    # An absolute path of two parts at least; a slash after a word, as in P/R or in an address, begins none.
    r"(?<![\w/.<)}~-])(/[\w.+@-]+(?:/[\w.+@-]+)+|~\w*/[\w.]+)|\b[A-Za-z]:[\\/]+\w[\w\\/]*|\\\\+\w+\\+\w+|file://\S+"
)
NAME = "a name of this machine's user"
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}\b")
EVERYBODY = {"root", "user", "admin", "ubuntu", "runner", "home", "nobody", "jovyan", "app", "test", "model", "models"}
"""User names that tell nothing about anybody, and may stand in any text."""


class PublishError(ValueError):
    """A model that can't be published as it is."""


USER_ERRORS = (PublishError, ModelError, UploadError)


# ---- the folder


def build_folder(
    source: Path,
    output: Path,
    repo_id: str,
    whole: bool = False,
    allowed: tuple[str, ...] = (),
    datasets: tuple[str, ...] = (),
) -> dict:
    """Writes and checks the folder to be uploaded.

    Args:
        source: the output folder of a finished run (or of its evaluation), with model and results.json, or a stock export of
            one.
        output: a folder that isn't there, is empty, or was written by this function; it is there only when all is well.
        repo_id: what the card calls the model.
        whole: keep what only training needs.
        allowed: names that may stay although they are those of this machine's user.
        datasets: Hub ids of datasets that the model was trained on, for the card's metadata.
    Returns:
        The published content of results.json.
    Raises:
        PublishError, ModelError: the run can't be published as it is.
    """
    if output.exists() and any(output.iterdir()) and not (output / CHECKSUMS).exists():
        raise PublishError(f"--output: {output} isn't empty and was not written by `publish`; take another folder")
    if (source / GRAPH).exists():
        raise PublishError(
            f"{source} is an ONNX export, which `publish` doesn't take; publish the run's folder, or a stock export of it "
            "(mosaic-ner export RUN --format stock)"
        )
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise PublishError(f"--output: {output} would be replaced, and {source} with it; take another folder")
    results = _results(source)
    stock = not isinstance(load_config(str(source), "FOLDER"), NERConfig)
    model, tokenizer = _load_stock(source) if stock else load(str(source))
    _check_kind(model, results, source / "results.json")
    with staged(output) as fresh:
        write_model(model, tokenizer, fresh, whole)
        write_json(fresh / "results.json", results)
        if results.get("export"):
            _copy_comparison(source, fresh)
        (fresh / "README.md").write_text(_card(source, results, repo_id, datasets), encoding="utf-8")
        write_checksums(fresh)
        check_folder(fresh, strict=True)
        check_content(fresh, repo_id, allowed)
    return results


def write_model(model, tokenizer, output: Path, whole: bool = False) -> None:
    """Writes model, tokenizer, code and the handler of Inference Endpoints; a folder that loads by itself.

    The handler cuts texts for a stock class where its tokenizer has a maximal length, and is left out where it has none.
    """
    output.mkdir(parents=True, exist_ok=True)
    stock = not isinstance(model, NERPreTrainedModel)
    smaller = not (stock or whole) and bool(model.training_modules)
    model.save_pretrained(output, **({"inference_only": True} if smaller else {}))
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


def _load_stock(source: Path) -> tuple:
    """A model of a stock class, in the precision that it was saved in, and its tokenizer, which knows how much it reads.

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
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source)
    # Else the stock pipeline would give the model more than it can read: some encoders' tokenizers name no limit.
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input(model) or tokenizer.model_max_length)
    return model, tokenizer


def _check_kind(model, results: dict, path: Path) -> None:
    """Raises PublishError if the results in the file are those of another kind of model: the card would say false things."""
    export, family = results.get("export"), results["settings"].get("family")
    if isinstance(model, NERPreTrainedModel):
        if export or family == STOCK:
            raise PublishError(
                f"{path} is of a model of transformers' own classes, but the model beside it is a {type(model).__name__}; put "
                "the run's own results.json there"
            )
        return
    if not isinstance(export, dict):
        if family != STOCK:
            raise PublishError(
                f"{path} is of a model of the family {family!r}, but the model beside it is a {type(model).__name__}, and "
                f'there is no "export" that says how it was made; {EXPORT_AGAIN}'
            )
        return
    types = {label[2:] for label in model.config.id2label.values() if label != OUTSIDE}
    if export.get("class") != type(model).__name__ or set(export.get("types", ())) != types:
        raise PublishError(
            f"{path} is of another export: a {export.get('class')} with the types {', '.join(export.get('types', ()))}, but "
            f"the model beside it is a {type(model).__name__} with {', '.join(sorted(types))}; {EXPORT_AGAIN}"
        )


def _copy_comparison(source: Path, output: Path) -> None:
    """An export's comparison with its original, without places on this machine."""
    path = source / "comparison.json"
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PublishError(f"{path}: no JSON ({error}); {EXPORT_AGAIN}") from error
        write_json(output / path.name, _without_paths(content))
    if (source / "comparison.md").exists():
        shutil.copyfile(source / "comparison.md", output / "comparison.md")


def _card(source: Path, results: dict, repo_id: str, datasets: tuple[str, ...]) -> str:
    choices = source / "choices.md"
    table = choices.read_text(encoding="utf-8") if choices.exists() else ""
    try:
        return f"{build_card(results, repo_id, table, datasets)}\n"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"{source / 'results.json'}: expected the results of a run ({error!r})") from error


def _results(source: Path) -> dict:
    """The run's results without places on this machine."""
    path = source / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        results["settings"] = without_local_paths(results["settings"])
    except FileNotFoundError as error:
        if (source / "config.json").exists() and not isinstance(load_config(str(source), "FOLDER"), NERConfig):
            raise PublishError(
                f"{source} has no results.json, so there is nothing to say about the model; if it is a stock export, "
                f"{EXPORT_AGAIN}"
            ) from error
        raise PublishError(
            f"{source} has no results.json, so there is nothing to say about the model; give the output folder of a finished "
            "run, or evaluate the model: run_ner.py --model_name_or_path MODEL --corpora … --output_dir FOLDER, and put "
            "results.json beside the model"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"{path}: not the results of a run ({error!r})") from error
    return _without_paths(results)


def _without_paths(value):
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, str) and LOCAL_PATH.fullmatch(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


# ---- what may not be in it


def _home() -> Path | None:
    """The user's home folder; None where there is none worth the name (in containers)."""
    try:
        home = Path.home()
    except RuntimeError:  # an account without one
        return None
    return home if home.name else None


def own_names() -> set[str]:
    """Names of this machine's user: of the account, the home folder, and in git's settings."""
    names = {home.name} if (home := _home()) else set()
    with contextlib.suppress(OSError, KeyError):  # an account without a name
        names.add(getpass.getuser())
    for key in ("user.name", "user.email"):
        try:
            done = subprocess.run(["git", "config", key], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            break  # no git, no name there
        names.add(done.stdout.strip())
    return {name for name in names if len(name) > 2 and name.lower() not in EVERYBODY}


def check_content(folder: Path, repo_id: str, allowed: tuple[str, ...] = ()) -> None:
    """Checks that nothing but published files is there, and nothing private in their text.

    Raises:
        PublishError: names file, line and what was found.
    """
    names = own_names() - {*allowed, *repo_id.split("/")}
    private = [(re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), NAME) for name in names]
    private.append((TOKEN, "a token"))
    if home := _home():
        private.append((re.compile(re.escape(str(home)) + r"(?!\w)"), "the home folder"))
    if token := os.environ.get("HF_TOKEN", "").strip():
        private.append((re.compile(re.escape(token)), "a token"))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or not (CONTENT.fullmatch(name) or (path.suffix == ".py" and own_file(name))):
            raise PublishError(f"{path} doesn't belong in a published folder; remove it")
        if path.suffix in (".py", ".safetensors"):  # code equals this package's (check_folder); weights are numbers
            continue
        if name == "tokenizer.json":  # a vocabulary is full of words and slashes that mean nothing
            patterns = [row for row in private if row[1] != NAME]
        else:
            patterns = [*private, (LOCAL_PATH, "a path on this machine")]
        for where, text in _texts(path):
            for pattern, what in patterns:
                if found := pattern.search(text):
                    shown = "" if what == "a token" else f" ({found[0]!r})"
                    advice = "; if it means something else, add it to --allow" if what == NAME else ""
                    raise PublishError(
                        f"{name}, {where}: {what}{shown}; take it out of the run's folder and publish again{advice}"
                    )


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of a file: its lines, or the strings of a JSON file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        yield from ((f"line {number}", line) for number, line in enumerate(text.splitlines(), 1))
        return

    def strings(value, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from strings(item, f"{place}[{number}]")
        elif isinstance(value, dict):
            for key, item in value.items():
                yield place, key
                yield from strings(item, f"{place}.{key}".lstrip("."))

    yield from strings(json.loads(text), "")


# ---- what is told


def describe(folder: Path, results: dict, repo_id: str) -> str:
    """The files with their sizes, and what the card says in short."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    sizes = [p.stat().st_size for p in files]
    rows = [[p.relative_to(folder).as_posix(), f"{size:,}"] for p, size in zip(files, sizes, strict=True)]
    measured, split = (
        (results["test"], "test") if results.get("test") else (results.get("validation") or {}, "validation")
    )
    scores = [f"{corpus} {100 * report['overall']['f1']:.2f}" for corpus, report in measured.items()]
    settings = results["settings"]
    whose = " of the original" if results.get("export") else ""
    return (
        f"{markdown_table(['file', 'bytes'], [*rows, ['all', f'{sum(sizes):,}']])}\n\n"
        f"{repo_id}: family {settings['family']}, encoder {settings['encoder']}, seed {settings['seed']}; "
        f"F1{whose} on {split} documents: {', '.join(scores) or 'not measured'}\n"
    )


def main(argv: list[str] | None = None) -> None:
    """Command line entry; a user's mistake ends with one message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
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
    options = parser.parse_args(argv)
    log_progress()
    name = options.repo_id.rpartition("/")[2]
    try:
        check_repo_id(options.repo_id)
        for dataset in options.datasets:
            check_repo_id(dataset, "--datasets")
        output = options.output or Path("outputs", "hub", name)
        results = build_folder(
            options.folder, output, options.repo_id, options.whole, tuple(options.allow), tuple(options.datasets)
        )
        sys.stdout.write(f"{describe(output, results, options.repo_id)}written to {output}, and checked\n")
        if not options.upload:
            sys.stdout.write(
                "Nothing was uploaded. To upload exactly this, put a token with write access in HF_TOKEN and run the same "
                "command with --upload\n"
            )
            return
        done = upload_folder(
            output,
            options.repo_id,
            private=options.private,
            revision=options.revision,
            commit_message=options.commit_message
            or f"{name}, trained with mosaic-ner {results['versions']['mosaic-ner']}",
            replace=options.replace,
        )
        sys.stdout.write(f"uploaded {len(done.files)} files: {done.url}\n")
        if done.removed:
            sys.stdout.write(f"removed there: {', '.join(done.removed)}\n")
        if others := [name for name in done.others if name not in FOR_READERS]:
            sys.stdout.write(
                f"also there, from before: {', '.join(others)}; checksums.json doesn't list them, so the package "
                "will refuse the repository: run the command again with --replace to remove them\n"
            )
    except (*USER_ERRORS, OSError) as error:  # OSError: a folder that can't be read or written
        sys.stderr.write(f"publish: error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
