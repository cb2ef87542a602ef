"""Annotates a stream of documents, on all processes together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor


def annotate(
    documents: Iterable[Document], predictor: MentionPredictor, tasks: list[str | None], chunk: int
) -> Iterator[list[Document]]:
    """Documents with predicted mentions instead of their own, in input order, `chunk` at a time.

    Memory holds two chunks, whatever the collection's size: the one being predicted and the one being read.
    """
    waiting: list[list[Document]] = []

    def texts() -> Iterator[list[str]]:
        stream = iter(documents)
        while part := list(itertools.islice(stream, chunk)):
            waiting.append(part)
            yield [d.text for d in part]

    for mentions in predictor.stream(texts(), tasks):
        part = waiting.pop(0)
        yield [d.with_mentions(found) for d, found in zip(part, mentions, strict=True)]
