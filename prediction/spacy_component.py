"""spaCy's component `mosaic_ner`: mentions of whole documents in `doc.ents` and `doc.spans`, and what spaCy's tokens can't say.

    nlp = spacy.blank("en")
    nlp.add_pipe("mosaic_ner", config={"model": "outputs/quickstart"})

spaCy finds the component by the entry point `spacy_factories`, and imports this file whenever it makes a pipeline:
transformers is imported with the first text, and the model is loaded then, by this package's own classes.

A span of spaCy's begins and ends with tokens. A mention that begins or ends inside one gets all of the token; its exact
characters stay in `doc._.mosaic_ner`, and `doc._.mosaic_ner_counts` counts it.
"""

from __future__ import annotations

import tempfile
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import srsly
from mosaic_ner.modeling.label_space import UserError
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans, minibatch

NAME = "mosaic_ner"
TEXT = "mosaic_ner_text"
"""The key of a checksum of the text that the mentions are of."""


class SpacyNER:
    """The component; `nlp.add_pipe("mosaic_ner", config={…})` makes it.

    `doc.spans[name]` has all mentions, nested ones included; `doc.ents` has the longest of those that overlap (of equally long
    ones the first), beside the entities that were there before. Extensions:

    - `doc._.mosaic_ner`: list of {"start", "end", "type", "score", "span_start", "span_end", "pipe"} in reading order; start
      and end are the mention's own characters, the other two those of its tokens;
    - `span._.mosaic_ner`: the one of them with these tokens and this type, the best scored where there are several, else None;
    - `span._.mosaic_ner_score`: its score;
    - `doc._.mosaic_ner_counts`: how many there are; how many were `expanded_to_tokens`; how many share tokens and type with a
      better one (`same_tokens`) and so its span; how many spans are `not_in_ents`.

    Args:
        name: the component's name and the key in `doc.spans`.
        model: folder or Hub id; None: the default model.
        asked: corpus, tasks, types and threshold, as for `pipeline_ner.NERPipeline`; None for what isn't asked.
    """

    def __init__(self, name: str, model: str | None, asked: dict[str, Any]):
        self.name, self.model, self.asked = name, model, {k: v for k, v in asked.items() if v is not None}
        self._pipeline = None

    @property
    def pipeline(self):
        """The `NERPipeline`, loaded when first asked for.

        Raises:
            ModelError, LabelError: there is no such model, or it has no such corpus or task.
        """
        if self._pipeline is None:
            self._load(self.model)
        return self._pipeline

    def _load(self, folder: str | Path | None) -> None:
        from mosaic_ner.modeling.pipeline_ner import NERPipeline

        from .loading import load

        model, tokenizer = load(None if folder is None else str(folder))
        self._pipeline = NERPipeline(model=model, tokenizer=tokenizer, **self.asked)

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 128) -> Iterator[Doc]:
        """The documents with their mentions, in order; `batch_size` of them are in memory at once."""
        for docs in minibatch(stream, size=batch_size):
            yield from map(self._annotated, docs, self.pipeline([doc.text for doc in docs]))

    def _annotated(self, doc: Doc, found: list[dict]) -> Doc:
        records = [record for record in _records(doc) if record["pipe"] != self.name]
        spans: dict[tuple, Span] = {}
        for row in found:
            span = doc.char_span(row["start"], row["end"], label=row["entity_group"], alignment_mode="expand")
            spans[span.start, span.end, span.label] = span
            records.append({
                "start": row["start"], "end": row["end"], "type": row["entity_group"], "score": row["score"],
                "span_start": span.start_char, "span_end": span.end_char, "pipe": self.name,
            })  # fmt: skip
        doc.user_data[TEXT] = zlib.crc32(doc.text.encode("utf-8", "surrogatepass"))
        # of plain types, which spaCy saves with a document
        doc.user_data[NAME] = sorted(records, key=lambda record: (record["start"], record["end"], record["type"]))
        doc.spans[self.name] = sorted(spans.values(), key=lambda span: (span.start, span.end, span.label_))
        taken = {token for entity in doc.ents for token in range(entity.start, entity.end)}
        free = [span for span in doc.spans[self.name] if taken.isdisjoint(range(span.start, span.end))]
        doc.ents = [*doc.ents, *filter_spans(free)]
        return doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Saves the model and its tokenizer in a folder of the pipeline's."""
        model = self.pipeline.model
        model.save_pretrained(path, **({"inference_only": True} if model.training_modules else {}))
        self.pipeline.tokenizer.save_pretrained(path)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> SpacyNER:
        """Loads what `to_disk` saved; the model that the config names isn't looked for."""
        self._load(path)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """The files of `to_disk`."""
        with tempfile.TemporaryDirectory() as folder:
            self.to_disk(folder)
            return srsly.msgpack_dumps({path.name: path.read_bytes() for path in Path(folder).iterdir()})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> SpacyNER:
        """Loads what `to_bytes` gave."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for name, content in srsly.msgpack_loads(data).items():
                (Path(folder) / name).write_bytes(content)
            return self.from_disk(folder)


@Language.factory(
    NAME,
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={"model": None, "corpus": None, "tasks": None, "types": None, "threshold": 0.0},
)
def make(
    nlp: Language,
    name: str,
    model: str | None,
    corpus: str | None,
    tasks: list[str] | None,
    types: str | None,
    threshold: float,
) -> SpacyNER:
    """The factory that spaCy finds.

    Raises:
        UserError: the threshold is none.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"the threshold is {threshold}; expected 0 to 1")
    return SpacyNER(name, model, {"corpus": corpus, "tasks": tasks, "types": types, "threshold": threshold})


def _records(doc: Doc) -> list[dict]:
    """The document's mentions; none where spaCy has copied them to a document of another text (`as_doc`, `from_docs`)."""
    own = doc.user_data.get(TEXT) == zlib.crc32(doc.text.encode("utf-8", "surrogatepass"))
    return list(doc.user_data.get(NAME, ())) if own else []


def _best(span: Span) -> dict | None:
    records, best = _records(span.doc), None
    place = bisect_left(records, span.start_char, key=lambda record: record["span_start"])
    while place < len(records) and records[place]["span_start"] == span.start_char:
        record = records[place]
        same = (record["span_end"], record["type"]) == (span.end_char, span.label_)
        if same and (best is None or record["score"] > best["score"]):
            best = record
        place += 1
    return best


def _score(span: Span) -> float | None:
    best = _best(span)
    return None if best is None else best["score"]


def _counts(doc: Doc) -> dict[str, int]:
    records = _records(doc)
    keys = [(record["span_start"], record["span_end"], record["type"]) for record in records]
    entities = {(entity.start_char, entity.end_char, entity.label_) for entity in doc.ents}
    return {
        "mentions": len(keys),
        "expanded_to_tokens": sum((r["start"], r["end"]) != key[:2] for r, key in zip(records, keys, strict=True)),
        "same_tokens": len(keys) - len(set(keys)),
        "not_in_ents": len(set(keys) - entities),
    }


Doc.set_extension(NAME, getter=_records, force=True)
Doc.set_extension(f"{NAME}_counts", getter=_counts, force=True)
Span.set_extension(NAME, getter=_best, force=True)
Span.set_extension(f"{NAME}_score", getter=_score, force=True)
