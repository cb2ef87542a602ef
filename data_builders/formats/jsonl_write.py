"""JSON lines, written: all that a document holds."""

from __future__ import annotations

import json

from mosaic_ner.modeling.document import Document, Mention, Passage

from .base import count_losses, write_error
from .jsonl import DEFAULT_CORPUS
from .report import ReadReport

# Legal inside JSON strings, but many tools end a line there.
_LINE_SEPARATORS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"})


def jsonl_record(document: Document, report: ReadReport, number: int) -> str:
    """One line."""
    return encoded(record_of(document, report)) + "\n"


def record_of(document: Document, report: ReadReport) -> dict:
    """A document as a JSON object. Whatever has its default value is left out; scores have 4 decimals."""
    record = {"id": document.id, "text": document.text, "mentions": [_mention_object(m) for m in document.mentions]}
    if not document.id:
        raise write_error(document, "jsonl", "a document id", "an empty one", "give every document an id")
    count_losses(document, report, "identifiers", "score", "infons", "article", "annotated_types", "unclear")
    if document.corpus != DEFAULT_CORPUS:
        record["corpus"] = document.corpus
    if document.annotated_types is not None:
        record["annotated_types"] = sorted(document.annotated_types)
    if document.index:
        record["index"] = document.index
    if document.article != document.id:
        record["article"] = document.article
    if document.passages:
        record["passages"] = [_passage_object(passage) for passage in document.passages]
    if document.infons:
        record["infons"] = _infons_object(document.infons)
    if document.unclear:
        record["unclear"] = [_mention_object(m) for m in document.unclear]
    return record


def encoded(record: dict) -> str:
    """The object as JSON on one line."""
    line = json.dumps(record, ensure_ascii=False).translate(_LINE_SEPARATORS)
    if not line.isascii() and not _is_encodable(line):
        line = json.dumps(record)  # a lone surrogate has no UTF-8, only an escape
    return line


def _is_encodable(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mention_object(mention: Mention) -> dict:
    item = {"start": mention.start, "end": mention.end, "type": mention.type}
    if mention.identifiers:
        item["identifiers"] = list(mention.identifiers)
    if mention.score is not None:
        item["score"] = round(float(mention.score), 4)
    return item


def _passage_object(passage: Passage) -> dict:
    item = {"start": passage.start, "end": passage.end}
    if passage.kind:
        item["kind"] = passage.kind
    if passage.infons:
        item["infons"] = _infons_object(passage.infons)
    return item


def _infons_object(infons: tuple[tuple[str, str], ...]) -> dict | list:
    """An object, or a list of pairs when a key repeats."""
    return dict(infons) if len(dict(infons)) == len(infons) else [list(pair) for pair in infons]
