"""What the files of a trained model say, and whether they fit each other: references to code, config, weights, tokenizer.

Each check reads. It imports, executes and unpickles nothing of the folder.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.label_space import LabelError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForTokenClassification

from .model_classes import ModelError, model_class

TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""The plain fast class, under its names in transformers 5."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor → its shape."""
_READING = (OSError, ValueError, TypeError, KeyError, AttributeError, LabelError, StrictDataclassError)
_HOSTILE = (*_READING, ArithmeticError, AssertionError, EOFError, ImportError, LookupError, MemoryError, RuntimeError)
_HOSTILE += (SafetensorError, struct.error, zipfile.BadZipFile, zlib.error)
"""What readers and constructors raise for content that nobody expected."""


class IntegrityError(ModelError):
    """A folder that is not what it says; the message names the file."""


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Turns whatever reading a file or folder raises into an IntegrityError with its name."""
    try:
        yield
    except IntegrityError:
        raise
    except _HOSTILE as error:
        raise IntegrityError(f"{place}: can't be read ({type(error).__name__}: {_first_line(error)})") from error


def read_json(path: Path) -> dict:
    """The object in a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: no JSON ({_first_line(error)})") from error
    if not isinstance(content, dict):
        raise IntegrityError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


# ---- references to code and weights


def check_references(path: Path) -> None:
    """Whatever makes transformers or peft import code must name a class of a file beside this one."""
    for where, key, item in _entries(read_json(path)):
        if key == "auto_map":
            if path.name == "tokenizer_config.json":
                raise IntegrityError(f"{path}: {where}: a tokenizer with code of its own; expected {TOKENIZERS[0]}")
            for name, values in item.items() if isinstance(item, dict) else [("", item)]:
                for value in values if isinstance(values, list) else [values]:
                    _check_reference(path, f"{where}.{name}", value)
        elif key == "custom_pipelines":
            for task, row in item.items() if isinstance(item, dict) else [("", item)]:
                _check_pipeline(path, f"{where}.{task}", row)
        elif key == "transformers_weights":
            raise IntegrityError(f"{path}: {where} is {item!r}, other weights than {WEIGHTS}; remove this key")
        elif "_implementation" in key and any(re.search(r"[/:|]", text) for text in _texts(item)):
            raise IntegrityError(f"{path}: {where} is {item!r}: kernels, which are code, from elsewhere; remove it")
        elif key == "parent_library" and str(item).split(".")[0] not in ("torch", "transformers"):
            raise IntegrityError(f"{path}: {where} is {item!r}; expected a module of transformers")


def _entries(value, where: str = "") -> Iterator[tuple[str, str, object]]:
    """(place, key, value) of every entry of a JSON value, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _entries(item, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{where}.{key}" if where else key
            yield place, key, item
            yield from _entries(item, place)


def _texts(value) -> Iterator[str]:
    """All texts of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value:
            yield from _texts(item)
        if isinstance(value, dict):
            yield from _texts([*value.values()])


def _check_reference(path: Path, where: str, value) -> None:
    """`file.Class`, of a file beside `path` in whose text a class of this name begins a line."""
    if not isinstance(value, str):
        raise IntegrityError(f"{path}: {where} is {value!r}; expected file.Class")
    if "--" in value:
        raise IntegrityError(f"{path}: {where} is {value!r}, code of another repository; expected code of this folder")
    module, _, name = value.partition(".")
    if not (module.isidentifier() and name.isidentifier()):
        raise IntegrityError(f"{path}: {where} is {value!r}, which leaves the folder or is no file.Class")
    source = path.parent / f"{module}.py"
    if not source.is_file():
        raise IntegrityError(f"{path}: {where} is {value!r}, but there is no {source.name}")
    if not re.search(rf"^class {name}\b", source.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        raise IntegrityError(f"{path}: {where} is {value!r}, but {source.name} has no such class")


def _check_pipeline(path: Path, where: str, row) -> None:
    """An entry of custom_pipelines."""
    if not isinstance(row, dict):
        raise IntegrityError(f"{path}: {where}: expected an object with impl, pt and type")
    _check_reference(path, f"{where}.impl", row.get("impl"))
    classes = row.get("pt") or []
    if not isinstance(classes, list):
        raise IntegrityError(f"{path}: {where}.pt is {classes!r}; expected a list of Auto classes")
    for name in classes:
        if not (isinstance(name, str) and re.fullmatch(r"Auto\w+", name)):
            raise IntegrityError(f"{path}: {where}.pt is {name!r}; expected an Auto class")


# ---- the config


def read_config(folder: Path):
    """The config, as an object of this package's or transformers' own class; no code of the folder runs."""
    path = folder / "config.json"
    content = read_json(path)
    try:
        model_class(content.get("model_type"))
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except _READING as error:
        raise IntegrityError(f"{path}: can't be read as a model's config ({_first_line(error)})") from error


def check_labels(folder: Path, config) -> None:
    """id2label and label2id must be inverse; labels, tasks and label space must go together."""
    path = folder / "config.json"
    content = read_json(path)
    labels, numbers = content.get("id2label"), content.get("label2id")
    if labels is not None or numbers is not None:
        if not isinstance(labels, dict) or not isinstance(numbers, dict):
            raise IntegrityError(f"{path}: expected both id2label and label2id")
        if set(labels) != {str(i) for i in range(len(labels))}:
            raise IntegrityError(
                f"{path}: id2label has the numbers {', '.join(labels)}; expected 0 to {len(labels) - 1}"
            )
        if numbers != {label: int(number) for number, label in labels.items()}:
            raise IntegrityError(f"{path}: label2id isn't the inverse of id2label")
        if labels != {str(i): label for i, label in config.id2label.items()}:
            raise IntegrityError(
                f"{path}: id2label doesn't go with the label space, which makes "
                f"{', '.join(config.id2label.values())} of it"
            )
    if isinstance(config, NERConfig):
        try:
            config.check()
        except _READING as error:
            raise IntegrityError(f"{path}: tasks and label space don't go together ({_first_line(error)})") from error


# ---- the weights


def read_shapes(path: Path) -> Shapes:
    """The shapes of a file's tensors, from its header, which the library checks against the file's size."""
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise IntegrityError(
            f"{path} is no valid safetensors file ({error}); it is damaged or something else: get or save it again"
        ) from error


def check_weights(folder: Path, config, files: dict[str, Shapes]) -> None:
    """The tensors of the weight files must be those of a model that is built from the config.

    Args:
        files: name of a safetensors file of the folder → its shapes.
    """
    if parts := [name for name in files if re.match(r"shard-\d{5}-model-", name)]:
        raise IntegrityError(
            f"{folder / parts[0]} is a distributed training's; transformers would take it for the weights"
        )
    names = _weight_files(folder, files)
    found = {key: (shape, name) for name in names for key, shape in files[name].items()}
    try:
        with torch.device("meta"):  # without memory for the weights
            model = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except _HOSTILE as error:
        raise IntegrityError(
            f"{folder / 'config.json'}: no model can be built from it ({_first_line(error)})"
        ) from error
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key in sorted(found.keys() & wanted.keys()):
        shape, name = found[key]
        if shape != wanted[key]:
            raise IntegrityError(
                f"{folder / name} doesn't fit config.json: {key} has the shape {shape}, expected {wanted[key]}"
            )
    # Some encoders are saved under other names than they have in memory; what they lack, loading finds.
    if isinstance(config, NERConfig):
        wrong = [key for key in found.keys() ^ wanted.keys() if not key.startswith("encoder.")]
    else:
        wrong = _missing_of_stock(model, found.keys(), wanted.keys())
    if wrong:
        key = min(wrong)
        state = "lacks" if key in wanted else "has a tensor that the model hasn't:"
        raise IntegrityError(f"{folder / names[0]} doesn't fit config.json: it {state} {key}")


def _weight_files(folder: Path, files: dict[str, Shapes]) -> list[str]:
    """The names of the files that transformers would load: the single one, else those of the index."""
    names = [WEIGHTS]
    if WEIGHTS not in files and (folder / INDEX).exists():
        table = read_json(folder / INDEX).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise IntegrityError(f"{folder / INDEX}: expected a weight_map from names to files")
        names = sorted(set(table.values()))
    if missing := [name for name in names if name not in files]:
        raise IntegrityError(
            f"{folder / 'config.json'} is there, but no {missing[0]} in that folder; expected the weights there, as "
            "save_pretrained writes them"
        )
    return names


def _missing_of_stock(model, found, wanted) -> list[str]:
    """What a stock class lacks of its head and its embeddings; transformers would make it up."""
    missing = [key for key in wanted - found if not key.startswith(f"{model.base_model_prefix}.")]
    rows = model.get_input_embeddings().weight
    tied = [name for name, value in model.named_parameters(remove_duplicate=False) if value is rows]
    ends = tuple(".".join(name.split(".")[-2:]) for name in tied)
    return missing if any(key.endswith(ends) for key in found) else [*missing, tied[0]]


# ---- the tokenizer


def check_tokenizer(folder: Path, config) -> None:
    """The tokenizer must be the plain fast class, number its special tokens as the config does, and fit the embeddings."""
    settings, path = read_json(folder / "tokenizer_config.json"), folder / "tokenizer.json"
    kind, own = settings.get("tokenizer_class"), isinstance(config, NERConfig)
    if own and kind not in TOKENIZERS:
        raise IntegrityError(
            f"{folder / 'tokenizer_config.json'}: tokenizer_class is {kind!r}; expected {' or '.join(TOKENIZERS)}"
        )
    content = read_json(path)
    try:
        entries = content["model"]["vocab"]
        vocabulary = {row[0]: i for i, row in enumerate(entries)} if isinstance(entries, list) else dict(entries)
        special = {row["id"] for row in content["added_tokens"] if row["special"]}
        vocabulary |= {row["content"]: row["id"] for row in content["added_tokens"]}
        around = (content.get("post_processor") or {}).get("special_tokens")
        around = around.values() if isinstance(around, dict) else ()
        around = [(token, number) for row in around for token, number in zip(row["tokens"], row["ids"], strict=True)]
        size = max(vocabulary.values()) + 1
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise IntegrityError(f"{path}: no tokenizer of the tokenizers library ({error!r})") from error
    rows = getattr(config.encoder_config if own else config, "vocab_size", None)  # some configs name it otherwise
    if rows is not None and size > rows:
        raise IntegrityError(
            f"{path} has {size} tokens, but config.json says that the encoder has embeddings for {rows}"
        )
    if wrong := [token for token, number in around if vocabulary.get(token) != number]:
        raise IntegrityError(f"{path}: the post-processor and the vocabulary number {wrong[0]!r} differently")
    tokens = {name: token.get("content") if isinstance(token, dict) else token for name, token in settings.items()}
    for name, token in tokens.items():
        if name.endswith("_token") and isinstance(token, str) and token not in vocabulary:
            raise IntegrityError(f"{path} has no {token!r}, the {name} of tokenizer_config.json")
    if not own:
        return
    tags = [i for task in config.tasks for i in (*task.prefix_ids, *task.suffix_ids)]
    if wrong := sorted({*config.cls_ids, *config.sep_ids, *tags} - special):
        raise IntegrityError(
            f"{folder / 'config.json'} puts the token {wrong[0]} around texts, which {path.name} hasn't as a special one"
        )
    if config.pad_token_id != vocabulary.get(tokens.get("pad_token")):
        raise IntegrityError(
            f"{path}: the pad token has the number {vocabulary.get(tokens.get('pad_token'))}, but config.json says "
            f"{config.pad_token_id}"
        )
