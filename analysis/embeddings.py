"""Embeddings of gold mentions: sentences of each corpus through a span model, and the vectors of the mentions in its grid."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.windowing import Window, align
from mosaic_ner.training.features import Grid
from torch import Tensor

logger = logging.getLogger(__name__)

SENTENCES, MENTIONS = 300, 300
"""Sentences drawn per corpus; mentions drawn per corpus and type."""

Splits = dict[str, list[Document]]
"""Corpus → documents."""
Cell = tuple[int, int]
"""First and last unit of a span."""
Reader = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], Tensor]
"""The model's inputs by name; (N,) int64 rows, first units and last units of spans → their (N, d) float vectors."""


class Point(NamedTuple):
    """A gold mention with its embedding: `vector` (d,) float32. `type` is the shared type, None without a counterpart."""

    document: Document
    mention: Mention
    type: str | None
    vector: Tensor


def grid_cells(window: Window, mentions: Iterable[Mention], config) -> tuple[dict[Mention, Cell], Counter[str]]:
    """Where mentions of a window are in the span grid of a model with this config.

    Returns:
        the cells, in the order of the mentions; how many others begin and end with a token, by cause (see `CAUSES`).
    """
    found = align(window, mentions)
    placed = Grid(window, config.units).place(found)
    cells = {mention: (first, end - 1) for first, end, mention in placed if end - first <= config.max_span_width}
    lost = {"unit_boundary": len(found) - len(placed), "too_wide": len(placed) - len(cells)}
    return cells, Counter({cause: count for cause, count in lost.items() if count})


def batches(
    predictor: MentionPredictor, requests: list[Request], *more: str
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """(numbers of requests, the inputs of a span model on its device) of each batch, the model in evaluation mode.

    Args:
        more: names of further features that the inputs need.
    """
    model = predictor.model
    training = model.training
    model.eval()
    try:
        for numbers in predictor.batches(requests):
            batch = pad_batch([requests[i].features for i in numbers], predictor.padding)
            names = ("input_ids", "attention_mask", "unit_starts", "unit_ends", *more)
            yield numbers, {name: batch[name].to(model.device) for name in names}
    finally:
        model.train(training)


def embed_mentions(
    predictor: MentionPredictor, space: LabelSpace, splits: Splits, seed: int, read: Reader | None = None
) -> list[Point]:
    """Embeddings of the gold mentions in up to `SENTENCES` sentences of each corpus, drawn from those with a mention.

    The model reads each sentence alone, under its corpus's own guideline or else the default one. Mentions outside the
    model's span grid are left out (the coverage report tells the causes). The log counts them.

    Args:
        read: default: the cells of `span_embeddings`.
    """
    model, points = predictor.model, []
    for corpus, documents in splits.items():
        sentences = _sentences(predictor, documents)
        if len(sentences) > SENTENCES:
            chosen = sorted(random.Random(f"{seed} {corpus}").sample(range(len(sentences)), SENTENCES))
            sentences = [sentences[i] for i in chosen]
        task = model.tasks_for(corpus)[0]
        requests = [Request(window, task, model.features(window, task)) for _, window, _ in sentences]
        cells = [grid_cells(window, mentions, model.config)[0] for _, window, mentions in sentences]
        vectors = _span_vectors(predictor, requests, [[*own.values()] for own in cells], read)
        own = [
            Point(document, mention, space.shared(corpus, mention.type), vector)
            for (document, _, _), found, rows in zip(sentences, cells, vectors, strict=True)
            for mention, vector in zip(found, rows, strict=True)
        ]
        total = sum(len(mentions) for _, _, mentions in sentences)
        message = "figures: %s: %d sentences, %d of their %d mentions are in the model's span grid"
        logger.info(message, corpus, len(sentences), len(own), total)
        points += own
    return points


def _sentences(predictor: MentionPredictor, documents: list[Document]) -> list[tuple[Document, Window, list[Mention]]]:
    """The sentences with a gold mention, each as a window, with the distinct mentions that it owns."""
    windower = replace(predictor.windower, packing="single")
    found = []
    for document, windows in zip(documents, windower(documents), strict=True):
        for window in windows:
            own = {m.key: m for m in document.mentions if window.owns(m)}
            if own:
                found.append((document, window, [*own.values()]))
    return found


@torch.inference_mode()
def _span_vectors(
    predictor: MentionPredictor, requests: list[Request], cells: list[list[Cell]], read: Reader | None
) -> list[Iterable[Tensor]]:
    """The (d,) float32 embeddings of each request's cells, on the CPU."""
    model = predictor.model
    out: list[Iterable[Tensor]] = [()] * len(requests)
    for numbers, inputs in batches(predictor, requests):
        spans = [(row, *cell) for row, number in enumerate(numbers) for cell in cells[number]]
        if not spans:
            continue
        rows, first, last = torch.tensor(spans, device=model.device).unbind(1)
        if read:
            vectors = read(inputs, rows, first, last)
        else:
            vectors = model.span_embeddings(**inputs)[rows, first, last - first]
        parts = vectors.float().cpu().split([len(cells[number]) for number in numbers])
        for number, part in zip(numbers, parts, strict=True):
            out[number] = part
    return out


def subsample(points: list[Point], seed: int) -> list[Point]:
    """At most `MENTIONS` of each corpus and type, in their order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault((point.document.corpus, point.type or ""), []).append(number)
    kept = []
    for (corpus, name), numbers in groups.items():
        few = len(numbers) <= MENTIONS
        kept += numbers if few else random.Random(f"{seed} {corpus} {name}").sample(numbers, MENTIONS)
    return [points[i] for i in sorted(kept)]


def caption(seed: int | str) -> str:
    """How the mentions of a figure were drawn."""
    return (
        f"mentions of up to {SENTENCES} sentences with a mention per corpus, at most {MENTIONS} per corpus and type, drawn "
        f"with seed {seed}"
    )
