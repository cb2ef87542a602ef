"""Annotates collections of documents: streaming, atomic, resumable, the same on any number of processes."""

from __future__ import annotations

import itertools
import logging
import time
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mosaic_ner.data_builders.formats import ReadReport, read_documents, write_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.modeling.document import Document

from .options import PredictionOptions
from .outputs import open_output
from .resumable_output import fingerprint
from .tagger import Tagger

logger = logging.getLogger(__name__)

MAX_LISTED = 20


def annotate_file(tagger: Tagger, options: PredictionOptions, model: str, data: DataOptions) -> int:
    """Annotates `options.predict_input` into `options.predict_output`.

    A record that can't be read, or that the output's format can't hold, is left out, counted and listed at the end, unless
    `data.policy` is "strict". Annotations of the input are not read, unless they are kept. Citations that PubMed's files
    delete are listed in a table beside the output, `<output>.deleted.tsv`.

    Args:
        tagger: of the model; all processes take part, the main one writes.
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
    key |= {"precision": options.precision, "policy": data.policy, "keep_mentions": options.keep_mentions, **reading}
    key |= {"model": model, "tasks": [task.to_dict() for task in tagger.tasks]}
    key |= {"content of the input": fingerprint(source), "batch size": tagger.predictor.batch_size}
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
    for part in tagger.stream(documents, options.predict_chunk, options.keep_mentions):
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
    return tell_bad(faults, output.report if output else ReadReport())


def _write_deleted(path: Path, faults: ReadReport) -> None:
    """A table of the citations that the input deletes; none, not even an earlier run's, where it deletes none."""
    rows = ["pmid\tversion\tfile", *("\t".join(row) for row in faults.deleted)]
    if len(rows) > 1:
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def write_both(folder: Path, corpus: str, gold: list[Document], predicted: list[Document]) -> None:
    """Writes a corpus's documents with gold and predicted mentions as PubTator; what that can't hold is left out and said."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, documents in (("gold", gold), ("predicted", predicted)):
        tell_bad(write_documents(documents, folder / f"{corpus}.{kind}.PubTator", skip_bad=True))


def tell_bad(*reports: ReadReport) -> int:
    """Lists what is missing in the output; returns how many records that are."""
    bad, missing = [line for report in reports for line in report.bad], sum(report.bad_count for report in reports)
    if missing:
        more = f"\n  and {missing - MAX_LISTED} more" if missing > MAX_LISTED else ""
        listed = "".join(f"\n  {line}" for line in bad[:MAX_LISTED])
        logger.warning("%d records are not in the output:%s%s", missing, listed, more)
    return missing
