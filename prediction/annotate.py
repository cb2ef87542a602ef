"""Annotates collections of documents: streaming, atomic, resumable, the same on any number of processes."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mosaic_ner.data_builders.formats import ReadReport, read_documents
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor

from .options import PredictionOptions
from .resumable_output import ResumableOutput, fingerprint

logger = logging.getLogger(__name__)


def annotate(
    documents: Iterable[Document], predictor: MentionPredictor, tasks: list[Task], chunk: int
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


def annotate_file(
    predictor: MentionPredictor, tasks: list[Task], options: PredictionOptions, model: str, policy: str, repeated_ids
) -> None:
    """Annotates `options.predict_input` into `options.predict_output`.

    Args:
        predictor: of the model; all processes take part, the main one writes.
        tasks: what is asked of it.
        options: files, chunk, and whether an interrupted run goes on.
        model: folder or Hub id, part of what an interrupted run must have had.
        policy, repeated_ids: how the input is read (see data_builders/formats).
    """
    state = PartialState()
    source = options.predict_input
    key = {"predict_input": source, "predict_corpus": options.predict_corpus, "predict_chunk": options.predict_chunk}
    key |= {"policy": policy, "repeated_ids": repeated_ids, "model": model, "tasks": [task.to_dict() for task in tasks]}
    key |= {"content of the input": fingerprint(source), "batch size": predictor.batch_size}
    key |= {"content of the model": fingerprint(model)}
    output = ResumableOutput(options.predict_output, key, options.resume) if state.is_main_process else None
    done = broadcast_object_list([output.done if output else 0])[0]
    faults = ReadReport()
    documents = read_documents(source, policy=policy, repeated_ids=repeated_ids, report=faults)
    begin, count, mentions = time.perf_counter(), 0, 0
    for part in annotate(itertools.islice(documents, done, None), predictor, tasks, options.predict_chunk):
        count, mentions = count + len(part), mentions + sum(len(d.mentions) for d in part)
        if output:
            output.write(part)
            rate = count / (time.perf_counter() - begin)
            logger.info("%d documents, %d mentions, %.1f documents/s", done + count, mentions, rate)
    if output and (lost := output.close()):
        logger.warning("%s could not hold everything: %s", options.predict_output, lost)
    if faults.counts:
        logger.warning("%s: %s", source, faults.summary())
