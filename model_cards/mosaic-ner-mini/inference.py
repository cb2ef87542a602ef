"""Texts in, mentions in characters out: the one path of evaluation, prediction and the pipeline. Ships to the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import exp, log

import torch
from torch import Tensor

from .batching import pad_batch
from .configuration_ner import Task
from .consistency import one_answer
from .document import Document, Mention
from .precision import ByLength, predicting_in
from .windowing import Window, Windower, keep_flat

MULTIPLE = 16
"""Of it, in tokens, are the lengths that windows are padded to for the encoder on the CPU."""


def calibrated(score: float, line: list[float]) -> float:
    """σ(a·logit(score) + b) of a score (0..1), for `line` = [a, b]."""
    kept = min(max(score, 1e-6), 1 - 1e-6)
    return 1 / (1 + exp(-line[0] * log(kept / (1 - kept)) - line[1]))


@dataclass(frozen=True)
class Shard:
    """Which batches this process runs, and how the processes' results come together (`gather`: list → joined lists)."""

    rank: int = 0
    world_size: int = 1
    gather: Callable[[list], list] | None = None


@dataclass(frozen=True)
class Request:
    """One pass of one window through the model."""

    window: Window
    task: Task
    features: dict[str, list[int] | int]


class MentionPredictor:
    """Predicts whole documents of any length: texts, or `Document`s, whose passages no mention crosses.

    Batches are made of windows of like length within one call, so their composition depends on the texts alone: the same
    texts give the same batches on one process or many. On the CPU the encoder reads a window padded to a length of its own,
    whatever its companions are (see `ByLength`), so it gives it the same bits in any batch, in any precision.

    Args:
        model: one of the families, or any object with their `config`, `encoder`, `padding`, `features`, `best_labels`, `decode`
            and `tasks_for`.
        tokenizer: the fast tokenizer saved with it.
        batch_size: windows per batch.
        shard: this process's part of the batches, where several predict together; all get all the results.
        precision: the encoder's while it predicts, of a model in training; by default the model stays as it is.
    """

    def __init__(
        self, model, tokenizer, batch_size: int = 16, shard: Shard | None = None, precision: str | None = None
    ):
        config = model.config
        self.model = model
        self.batch_size = batch_size
        self.precision = precision
        self.rounding = MULTIPLE, config.max_tokens
        self.shard = shard or Shard()
        self.padding = {"input_ids": tokenizer.pad_token_id or 0, **model.padding}
        self.windower = Windower(
            tokenizer, config.max_tokens, config.num_special_tokens, config.window_overlap, config.packing
        )

    def requests(self, texts: list[str | Document], tasks: list[Task] | None = None) -> list[Request]:
        """All passes over the texts, in order of text, window, task."""
        tasks = self.model.tasks_for() if tasks is None else tasks
        return [
            Request(window, task, self.model.features(window, task))
            for windows in self.windower(texts)
            for window in windows
            for task in tasks
        ]

    @property
    def _exact(self) -> bool:
        # A GPU's products differ with the batch's shape anyway, and it wants large batches.
        return self.model.device.type == "cpu"

    def batches(self, requests: list[Request]) -> list[list[int]]:
        """Numbers of the requests that go through the model together: longest first, of like length."""
        order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].features["input_ids"]), i))
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    def batch(self, requests: list[Request]) -> dict[str, Tensor]:
        """The features of requests that go through the model together, padded (see `pad_batch`)."""
        rounding = self.rounding if self._exact else ()
        return pad_batch([request.features for request in requests], self.padding, *rounding)

    @torch.inference_mode()
    def run(self, requests: list[Request], batches: list[list[int]]) -> dict[int, list]:
        """Runs the batches; request number → its (span, type, score) triples.

        The device works on the next batch while this one is read off on the CPU.
        """
        with predicting_in(self.model, self.precision):
            if self._exact:
                self.model.encoder = ByLength(self.model.encoder, *self.rounding)
            return self._run(requests, batches)

    def _run(self, requests: list[Request], batches: list[list[int]]) -> dict[int, list]:
        results: dict[int, list] = {}
        waiting = None
        device = self.model.device
        training = self.model.training
        self.model.eval()
        for numbers in batches:
            asked = [requests[i] for i in numbers]
            batch = self.batch(asked)
            batch = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
            best = self.model.best_labels(self.model(**batch), batch)
            best = {k: v.to("cpu", non_blocking=True) for k, v in best.items()}
            event = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
            if waiting is not None:
                results.update(self._read(*waiting))
            waiting = (numbers, asked, best, event)
        if waiting is not None:
            results.update(self._read(*waiting))
        self.model.train(training)
        return results

    def _read(self, numbers: list[int], asked: list[Request], best: dict[str, Tensor], event) -> dict[int, list]:
        if event is not None:
            event.synchronize()
        return dict(zip(numbers, self.model.decode(best, asked), strict=True))

    def merge(
        self, texts: list[str | Document], requests: list[Request], results: dict[int, list]
    ) -> list[list[Mention]]:
        """Mentions of each text: those that their window owns, united over tasks, overlaps resolved if the model is flat."""
        found: list[dict[tuple, Mention]] = [{} for _ in texts]
        for number, request in enumerate(requests):
            window = request.window
            for span, name, score in results[number]:
                pieces = [o for o in window.offsets[span.start : span.end] if o[0] < o[1]]
                if not pieces:
                    continue  # only tokens without text, e.g. a lone word-start marker
                mention = Mention(pieces[0][0], pieces[-1][1], name, score=score)
                if window.owns(mention):
                    best = found[window.document].setdefault(mention.key, mention)
                    if score > best.score:
                        found[window.document][mention.key] = mention
        config = self.model.config
        out, line = [], config.calibration
        for text, mentions in zip(texts, found, strict=True):
            ordered = sorted(mentions.values(), key=lambda m: m.key)
            kept = keep_flat(ordered)[0] if config.flat else ordered
            if config.document_consistency:
                passages = [(p.start, p.end) for p in getattr(text, "passages", ())]
                kept = one_answer(getattr(text, "text", text), kept, passages)
            out.append([replace(m, score=calibrated(m.score, line)) for m in kept] if line else kept)
        return out

    def _finish(self, texts: list[str | Document], requests: list[Request]) -> list[list[Mention]]:
        results = self.run(requests, self.batches(requests)[self.shard.rank :: self.shard.world_size])
        if self.shard.gather is not None:
            results = {k: v for part in self.shard.gather([results]) for k, v in part.items()}
        return self.merge(texts, requests, results)

    def __call__(self, texts: list[str | Document], tasks: list[Task] | None = None) -> list[list[Mention]]:
        """The mentions of each text, in reading order, with scores."""
        return self._finish(texts, self.requests(texts, tasks))

    def stream(
        self, chunks: Iterable[list[str | Document]], tasks: list[Task] | None = None
    ) -> Iterator[list[list[Mention]]]:
        """Predicts chunk after chunk; the next chunk is tokenised while the model works on this one."""
        chunks = iter(chunks)
        with ThreadPoolExecutor(max_workers=1) as worker:

            def prepare():
                texts = next(chunks, None)
                return None if texts is None else (texts, self.requests(texts, tasks))

            ahead = worker.submit(prepare)
            while (ready := ahead.result()) is not None:
                ahead = worker.submit(prepare)
                yield self._finish(*ready)
