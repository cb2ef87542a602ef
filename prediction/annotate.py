"""Annotates collections of documents: streaming, atomic, resumable, the same on any number of processes."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mosaic_ner.data_builders.formats import ReadReport, read_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor

from .options import PredictionOptions
from .outputs import open_output
from .resumable_output import fingerprint

logger = logging.getLogger(__name__)

MAX_LISTED = 20


def annotate(
    documents: Iterable[Document], predictor: MentionPredictor, tasks: list[Task], chunk: int, keep: bool = False
) -> Iterator[list[Document]]:
    """Documents with predicted mentions instead of their own (or, with `keep`, beside them), in input order, `chunk` at a
    time.

    Memory holds two chunks, whatever the collection's size: the one being predicted and the one being read.
    """
    waiting: list[list[Document]] = []

    def parts() -> Iterator[list[Document]]:
        stream = iter(documents)
        while part := list(itertools.islice(stream, chunk)):
            waiting.append(part)
            yield part

    for mentions in predictor.stream(parts(), tasks):
        part = waiting.pop(0)
        if keep:
            mentions = [_added(d.mentions, found) for d, found in zip(part, mentions, strict=True)]
        yield [d.with_mentions(found) for d, found in zip(part, mentions, strict=True)]


def _added(own: Iterable[Mention], found: Iterable[Mention]) -> list[Mention]:
    """A document's mentions and those found that are none of them."""
    known = {mention.key for mention in own}
    return [*own, *(mention for mention in found if mention.key not in known)]


def annotate_file(
    predictor: MentionPredictor, tasks: list[Task], options: PredictionOptions, model: str, data: DataOptions
) -> int:
    """Annotates `options.predict_input` into `options.predict_output`.

    A record that can't be read, or that the output's format can't hold, is left out, counted and listed at the end, unless
    `data.policy` is "strict". Annotations of the input are not read, unless they are kept. Citations that PubMed's files
    delete are listed in a table beside the output, `<output>.deleted.tsv`.

    Args:
        predictor: of the model; all processes take part, the main one writes.
        tasks: what is asked of it.
        options: files, chunk, and whether an interrupted run goes on.
        model: folder or Hub id, part of what an interrupted run must have had.
        data: how the input is read.
    Returns:
        The number of records that are missing in the output.
    """
    state = PartialState()
    source, strict = options.predict_input, data.policy == "strict"
    reading = data.reading(source)
    key = {"predict_input": source, "predict_corpus": options.predict_corpus, "predict_chunk": options.predict_chunk}
    key |= {"policy": data.policy, "keep_mentions": options.keep_mentions, **reading}
    key |= {"model": model, "tasks": [task.to_dict() for task in tasks]}
    key |= {"content of the input": fingerprint(source), "batch size": predictor.batch_size}
    key |= {"content of the model": fingerprint(model)}
    output = None
    if state.is_main_process:
        output = open_output(source, options.predict_output, key, options.resume, data.format, skip=not strict)
    done = broadcast_object_list([output.done if output else 0])[0]
    faults = ReadReport()
    documents = read_documents(
        source,
        policy="strict" if strict else "lenient",
        report=faults,
        gold=options.keep_mentions,
        skip_bad=not strict,
        keep_source=True,
        **reading,
    )
    begin, count, mentions = time.perf_counter(), 0, 0
    for document in itertools.islice(documents, done):
        if output:
            output.passed(document)
    for part in annotate(documents, predictor, tasks, options.predict_chunk, options.keep_mentions):
        count, mentions = count + len(part), mentions + sum(len(d.mentions) for d in part)
        if output:
            output.write(part)
            rate = count / (time.perf_counter() - begin)
            logger.info("%d documents, %d mentions, %.1f documents/s", done + count, mentions, rate)
    if output and (lost := output.close()):
        logger.warning("%s could not hold everything: %s", options.predict_output, lost)
    if faults.counts:
        logger.warning("%s: %s", source, faults.summary())
    if output:
        _write_deleted(Path(f"{Path(options.predict_output)}.deleted.tsv"), faults)
    return _tell_bad(faults, output.report if output else ReadReport())


def _write_deleted(path: Path, faults: ReadReport) -> None:
    """A table of the citations that the input deletes; none, not even an earlier run's, where it deletes none."""
    rows = ["pmid\tversion\tfile", *("\t".join(row) for row in faults.deleted)]
    if len(rows) > 1:
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _tell_bad(*reports: ReadReport) -> int:
    """Lists what is missing in the output; returns how many records that are."""
    bad, missing = [line for report in reports for line in report.bad], sum(report.bad_count for report in reports)
    if missing:
        more = f"\n  and {missing - MAX_LISTED} more" if missing > MAX_LISTED else ""
        listed = "".join(f"\n  {line}" for line in bad[:MAX_LISTED])
        logger.warning(
            "%d records are not in the output (--policy strict ends at the first):%s%s", missing, listed, more
        )
    return missing
