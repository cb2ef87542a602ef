"""What the decoders of a joint information bottleneck model generate from gold spans, each read in its context."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.modeling_joint_ib import SpanGenerator
from mosaic_ner.modeling.windowing import lost_by_windows
from mosaic_ner.modeling.words import PAD, UNKNOWN, words_of

from .embeddings import batches, grid_cells

LONGEST = 40
"""Words after which a decoder is stopped that doesn't stop by itself."""
UNKNOWN_WORD = "[UNK]"
"""Stands for a word outside the vocabulary. `words_of` makes no such word, so it always counts as wrong."""

Key = tuple[int, int, int]
"""(document's number, start, end): a gold span."""
Words = list[str]


class Generated(NamedTuple):
    """What one model, and its decoders before training, generate from one gold span. None: it generates no synonyms."""

    span: Words
    untrained: Words
    synonym: Words | None = None
    untrained_synonym: Words | None = None


def gold_spans(documents: list[Document]) -> dict[Key, Words]:
    """The words of each gold span, in reading order. A span of several types counts once, as in training."""
    return {
        (number, m.start, m.end): words_of(document.surface(m))
        for number, document in enumerate(documents)
        for m in sorted(document.mentions)
    }


def untrained_generator(model, seed: int) -> SpanGenerator:
    """A generator like the model's own before training, on the model's device and in its precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = SpanGenerator(model.config).apply(model._init_weights)
    return fresh.to(model.device, model.dtype).eval()


@torch.inference_mode()
def generate(
    predictor: MentionPredictor, corpus: str, documents: list[Document], seed: int
) -> tuple[dict[Key, Generated], Counter[str]]:
    """What a model generates from the gold spans, each in its window.

    Args:
        predictor: of a JointIBForNER that has its `generator`.
        corpus: the documents' corpus.
        seed: of the untrained decoders.
    Returns:
        what is generated from each span in the model's grid, in reading order; how many other spans there are, by cause
        (see `CAUSES`).
    """
    model = predictor.model
    requests, keys, lost = span_requests(predictor, corpus, documents)
    fresh = untrained_generator(model, seed)
    found: dict[Key, Generated] = {}
    for numbers, inputs in batches(predictor, requests, "cells"):
        spans = model.span_vectors(**inputs)
        columns = [
            _spelt(generator.generate(spans, LONGEST, synonyms).tolist(), model.config.vocabulary)
            for synonyms in ((False, True) if model.generator.synonyms is not None else (False,))
            for generator in (model.generator, fresh)
        ]
        own = [key for number in numbers for key in keys[number]]
        found |= {key: Generated(*row) for key, row in zip(own, zip(*columns, strict=True), strict=True)}
    return {key: found[key] for key in sorted(found)}, lost


def span_requests(
    predictor: MentionPredictor, corpus: str, documents: list[Document]
) -> tuple[list[Request], list[list[Key]], Counter[str]]:
    """The windows that have a gold span, with its `cells` among their features; their keys; the spans lost by cause."""
    model, widest = predictor.model, predictor.model.config.max_span_width
    task = model.tasks_for(corpus)[0]  # the encoder's input is the same for all of a model's tasks
    requests: list[Request] = []
    keys: list[list[Key]] = []
    lost: Counter[str] = Counter()
    for number, windows in enumerate(predictor.windower(documents)):
        spans = {(m.start, m.end): Mention(m.start, m.end, "") for m in documents[number].mentions}
        document = documents[number].with_mentions(spans.values())
        causes = lost_by_windows(document, windows)
        lost.update(causes.values())
        for window in windows:
            own = [m for m in document.mentions if m not in causes and window.owns(m)]
            cells, outside = grid_cells(window, own, model.config)
            lost.update(outside)
            if cells:
                flat = [first * widest + last - first for first, last in cells.values()]
                requests.append(Request(window, task, model.features(window, task) | {"cells": flat}))
                keys.append([(number, m.start, m.end) for m in cells])
    return requests, keys, lost


def _spelt(rows: list[list[int]], vocabulary: list[str]) -> list[Words]:
    """The words of numbers as `SpanGenerator.generate` gives them."""
    return [
        [UNKNOWN_WORD if word <= UNKNOWN else vocabulary[word - UNKNOWN - 1] for word in row if word != PAD]
        for row in rows
    ]
