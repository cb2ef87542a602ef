"""Hugging Face Inference Endpoints: `EndpointHandler` of a published folder. Ships to the Hub, as the folder's handler.py.

The endpoint's server (huggingface-inference-toolkit) makes one handler of the folder and calls it with each request's JSON.
What is returned is answered with status 200, what is raised with status 400 and `{"error": message}`; so wrong requests raise.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from reprlib import repr  # short, whatever a request holds
from threading import Lock

import torch
from transformers import pipeline

PARAMETERS = ("corpus", "tasks", "types", "threshold", "window_batch_size")
TYPES = ("shared", "native")
STOCK_PARAMETERS = ("threshold", "window_batch_size")
AGGREGATION = "aggregation_strategy"
"""A parameter that clients of the stock pipeline send; mentions come whole here, which it calls "simple"."""
UNLIMITED = 1_000_000
"""Above it, a tokenizer's `model_max_length` says that none was saved."""
TEXTS_AT_ONCE = 32
"""Texts whose windows are batched together."""


logger = logging.getLogger(__name__)


class FolderError(ValueError):
    """A folder that holds no model of the kinds that this handler serves."""


class RequestError(ValueError):
    """A request that can't be answered: what was expected, what was got, where."""


class EndpointHandler:
    """Finds mentions in texts of any length.

    A request is `{"inputs": text or list of texts, "parameters": {…}}`, its answer a list of mentions or, for a list of texts,
    a list of such lists in the same order. A mention is `{"entity_group", "score", "word", "start", "end"}`, in characters of
    the text: `text[start:end] == word`. Nothing is truncated. An empty text has no mentions. Half of a surrogate pair is read
    as U+FFFD, with a warning in the log.

    Parameters, none of them needed; null is as good as leaving it out:
        corpus: a training corpus, whose guideline the mentions follow.
        tasks: list of task names, instead of the model's default ones.
        types: "native" to be told a corpus's own types, "shared" (default) for shared ones.
        threshold: number 0..1, the lowest score of a mention.
        window_batch_size: windows that go through the model at once, 1 to `max_window_batch_size`; 16 by default.
    A stock export has one answer: no corpus, no tasks. The stock pipeline cuts a text that is longer than a window where the
    tokens say, not between sentences, so that near the cuts it may find other mentions than the model that was exported.
    "options" beside "inputs" is the server's and is not read.

    The model is on the first accelerator if there is one. Requests of several threads wait for one another.

    Args:
        path: the folder; default: the one that this file is in.
        precision: of the encoder, or of all of a stock export: float32, bfloat16, float16, or auto: bfloat16 on GPUs and on
            CPUs that have instructions for it, else float32. Default: the environment's MOSAIC_PRECISION, or float32. What the
            model was saved in has no say.
    Raises:
        FolderError: it has no config or a malformed one, names code that is not in it, or is a stock export without a maximal
            length.
    """

    max_texts = 1_000
    """Texts of one request."""
    max_characters = 2_000_000
    """Characters of one request, over all its texts: about 300,000 words."""
    max_window_batch_size = 256

    def __init__(self, path: str | Path = "", precision: str | None = None):
        folder = Path(path) if path else Path(__file__).resolve().parent
        own_code = _has_own_code(folder)
        precision = precision or os.environ.get("MOSAIC_PRECISION", "float32")
        own = {"dtype": "auto", "precision": precision} if own_code else {"dtype": _dtype(precision)}
        self.pipeline = pipeline("token-classification", model=str(folder), trust_remote_code=own_code, **own)
        self.lock = Lock()  # fast tokenizers may not be set up by two threads at once ("Already borrowed")
        self.stride = None if own_code else _stride(self.pipeline.tokenizer, folder)

    def __call__(self, data: dict) -> list[dict] | list[list[dict]]:
        """The mentions of a request's text or texts.

        Raises:
            RequestError: the request is malformed or larger than allowed.
            ValueError: the model has no such corpus or task.
        """
        inputs, parameters = self._read(data)
        texts = [
            _without_halves(text, number) for number, text in enumerate([inputs] if isinstance(inputs, str) else inputs)
        ]
        if self.stride is None:
            found = self._run(texts, min(len(texts), TEXTS_AT_ONCE), **parameters)
        else:  # the stock pipeline truncates unless it is given a stride; its batches are of windows
            threshold = parameters.get("threshold", 0.0)
            size = parameters.get("window_batch_size", 16)
            found = self._run(texts, size, aggregation_strategy="simple", stride=self.stride)
            found = [[m for m in mentions if m["score"] >= threshold] for mentions in found]
        found = [[_mention(text, m) for m in mentions] for text, mentions in zip(texts, found, strict=True)]
        return found[0] if isinstance(inputs, str) else found

    def _run(self, texts: list[str], batch_size: int, **parameters) -> list[list[dict]]:
        with self.lock:
            return self.pipeline(texts, batch_size=batch_size, **parameters)

    def _read(self, data: dict) -> tuple[str | list[str], dict]:
        """The request's text or texts and the parameters that it gives, both checked."""
        if not isinstance(data, dict):
            raise RequestError(f'expected a JSON object {{"inputs": …, "parameters": …}}, got {_kind(data)}')
        if "inputs" not in data:
            raise RequestError(f'expected "inputs", a text or a list of texts; got {_names(data)}')
        if unknown := set(data) - {"inputs", "parameters", "options"}:
            raise RequestError(f'unknown {_names(unknown)}; expected "inputs" and "parameters"')
        parameters = data.get("parameters")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise RequestError(f"parameters: expected a JSON object, got {_kind(parameters)}")
        return self._texts(data["inputs"]), self._parameters(parameters)

    def _texts(self, inputs: str | list[str]) -> str | list[str]:
        if not isinstance(inputs, (str, list)):
            raise RequestError(f"inputs: expected a text or a list of texts, got {_kind(inputs)}")
        if not isinstance(inputs, str) and not inputs:
            raise RequestError("inputs: expected a text or a list of texts, got an empty list")
        texts = [inputs] if isinstance(inputs, str) else inputs
        if len(texts) > self.max_texts:
            raise RequestError(f"inputs: {len(texts)} texts, at most {self.max_texts} at once: send several requests")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                where = "inputs" if isinstance(inputs, str) else f"inputs[{number}]"
                raise RequestError(f"{where}: expected a text, got {_kind(text)}")
        if (characters := sum(map(len, texts))) > self.max_characters:
            raise RequestError(
                f"inputs: {characters} characters, at most {self.max_characters} at once: send several requests"
            )
        return inputs

    def _parameters(self, given: dict) -> dict:
        known = STOCK_PARAMETERS if self.stride is not None else PARAMETERS
        if unknown := set(given) - {*known, AGGREGATION}:
            stock = "; a stock export has one answer" if unknown & set(PARAMETERS) else ""
            raise RequestError(f"parameters: unknown {_names(unknown)}; expected {', '.join(known)}{stock}")
        given = {name: value for name, value in given.items() if value is not None}
        strategy = given.pop(AGGREGATION, "simple")
        if strategy != "simple":
            raise RequestError(
                f"{AGGREGATION}: mentions come whole: expected 'simple' or nothing, got {repr(strategy)}"
            )
        threshold = given.get("threshold", 0.0)
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise RequestError(f"threshold: expected a number from 0 to 1, got {repr(threshold)}")
        size = given.get("window_batch_size", 1)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= self.max_window_batch_size:
            raise RequestError(
                f"window_batch_size: expected a whole number from 1 to {self.max_window_batch_size}, got {repr(size)}"
            )
        if "corpus" in given and "tasks" in given:
            raise RequestError("corpus and tasks: expected one of them, since a corpus stands for its tasks")
        if "corpus" in given:
            if not isinstance(given["corpus"], str):
                raise RequestError(f"corpus: expected a name, got {_kind(given['corpus'])}")
            self.pipeline.model.config.labels.native_types(given["corpus"])  # raises where it is unknown
        if "tasks" in given:
            tasks = given["tasks"]
            if not isinstance(tasks, list) or not tasks or not all(isinstance(name, str) for name in tasks):
                raise RequestError(f"tasks: expected a list of names, got {repr(tasks)}")
        if "types" in given and given["types"] not in TYPES:
            raise RequestError(f"types: expected {' or '.join(TYPES)}, got {repr(given['types'])}")
        if "tasks" in given:  # here, because a text without words goes through no task
            self.pipeline.model.tasks_named(given["tasks"], given.get("types"))
        return given


def _dtype(precision: str) -> torch.dtype:
    """What a stock export is loaded in. The same as precision.py chooses; this file ships alone."""
    expected = ("auto", "float32", "bfloat16", "float16")
    if precision not in expected:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(expected)}")
    if precision == "auto":
        native = torch.cpu.get_capabilities()
        able = native.get("avx512_bf16") or native.get("amx_bf16") or native.get("bf16")
        able = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else able
        precision = "bfloat16" if able else "float32"
    return getattr(torch, precision)


def _has_own_code(folder: Path) -> bool:
    """Whether the folder's model comes with code; that it is all in the folder, since it will be trusted."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = list(config.get("auto_map", {}).values())
        named += [task["impl"] for task in config.get("custom_pipelines", {}).values()]
        if wrong := [name for name in named if not isinstance(name, str)]:
            raise TypeError(f"expected file.Class, got {repr(wrong[0])}")
    except FileNotFoundError as error:
        raise FolderError(f"{folder}: expected a published model, but there is no config.json") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise FolderError(
            f"{folder / 'config.json'}: expected a published model's, with auto_map and custom_pipelines as they were saved "
            f"({type(error).__name__}: {error})"
        ) from error
    for name in named:
        file, dot, _ = name.partition(".")
        if not dot or not re.fullmatch(r"\w+", file) or not (folder / f"{file}.py").is_file():
            raise FolderError(f"{folder / 'config.json'}: names the code {name!r}, which is not in the folder")
    return bool(named)


def _stride(tokenizer, folder: Path) -> int:
    """Tokens that two stretches of a long text share. The same as hub/stride.py has; this file ships alone."""
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    if not 4 <= room < UNLIMITED:
        raise FolderError(
            f"{folder}: expected a model_max_length in tokenizer_config.json that leaves 4 tokens of text or more, got "
            f"{tokenizer.model_max_length}; long texts could not be cut into windows"
        )
    return min(64, tokenizer.model_max_length // 4)


def _mention(text: str, found: dict) -> dict:
    """A pipeline's mention as plain JSON, with the text's own characters (the stock pipeline writes its tokens)."""
    start, end = int(found["start"]), int(found["end"])
    return {
        "entity_group": found["entity_group"],
        "score": round(float(found["score"]), 4),
        "word": text[start:end],
        "start": start,
        "end": end,
    }


def _without_halves(text: str, number: int) -> str:
    """The text with U+FFFD for each half of a surrogate pair. The same as document.py has; this file ships alone."""
    text, count = re.subn("[\ud800-\udfff]", "\ufffd", text)
    if count:
        logger.warning(
            "inputs[%d]: %d halves of surrogate pairs, which are no characters, are read as U+FFFD", number, count
        )
    return text


def _kind(value) -> str:
    """JSON's name of a value's type."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _names(keys) -> str:
    return ", ".join(sorted(repr(key) for key in keys)) or "nothing"
