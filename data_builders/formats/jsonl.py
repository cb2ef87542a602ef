"""JSON lines (lossless for `Document`), GENIA's JSON lines with token offsets, and plain text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import nearest

from .base import Reading, ReadReport, read_lines, read_text, write_error

# key → (type of its value, whether it must be there)
_RECORD = {
    "id": (str, True),
    "text": (str, True),
    "mentions": (list, False),
    "corpus": (str, False),
    "annotated_types": (list, False),
    "index": (int, False),
    "article": (str, False),
    "passages": (list, False),
    "infons": ((list, dict), False),
}
_MENTION = {
    "start": (int, True),
    "end": (int, True),
    "type": (str, True),
    "identifiers": (list, False),
    "score": ((int, float), False),
}
_PASSAGE = {"start": (int, True), "end": (int, True), "kind": (str, False), "infons": ((list, dict), False)}
_GENIA = {"tokens": (list, True), "entity_mentions": (list, True), "doc_id": (str, True), "sent_id": (str, True)}
_GENIA_MENTION = {"start": (int, True), "end": (int, True), "entity_type": (str, True), "text": (str, False)}
DEFAULT_CORPUS = "user"
# Legal inside JSON strings, but many tools end a line there.
_LINE_SEPARATORS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"})


def _checked(value, keys: dict, what: str, reading: Reading, line: int, id: str | None) -> dict:
    """`value`, an object with these keys and types of value only.

    Raises:
        FormatError: a key is unknown (with the nearest known one) or missing, or a value has another type.
    """
    if not isinstance(value, dict):
        raise reading.error(
            f"{what} as a JSON object", f"{value!r:.80}", f"give {sorted(keys)}", line=line, document=id
        )
    for key, item in value.items():
        if key not in keys:
            expected = f"only the keys {', '.join(keys)} in {what}"
            raise reading.error(
                expected, repr(key), f"rename or remove it{nearest(key, keys, listing=False)}", line=line, document=id
            )
        if not isinstance(item, keys[key][0]) or isinstance(item, bool):
            expected = f"{key!r} of {what} of type {_type_names(keys[key][0])}"
            raise reading.error(expected, f"{item!r:.80}", "correct the value", line=line, document=id)
    for key, (_, needed) in keys.items():
        if needed and key not in value:
            remedy = "add it" + (f" (there are {', '.join(value)})" if value else "")
            raise reading.error(f"the key {key!r} in {what}", "none", remedy, line=line, document=id)
    return value


def _type_names(types) -> str:
    return " or ".join(t.__name__ for t in (types if isinstance(types, tuple) else (types,)))


def _objects(handle: BinaryIO, keys: dict, reading: Reading) -> Iterator[tuple[int, dict]]:
    for number, line in read_lines(handle, reading):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            remedy = "write one complete JSON object a line"
            got = f"{error.msg} at column {error.colno}"
            raise reading.error("a JSON object", got, remedy, line=number) from error
        yield number, _checked(value, keys, "a record", reading, number, _id_of(value))


def _id_of(value) -> str | None:
    return str(value.get("id", value.get("sent_id"))) if isinstance(value, dict) else None


def read_jsonl(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """Documents, one a line. A record's own corpus and annotated_types go before those given to `read_documents`."""
    for line, record in _objects(handle, _RECORD, reading):
        id, text = record["id"], record["text"]
        mentions = []
        for item in record.get("mentions", ()):
            _checked(item, _MENTION, "a mention", reading, line, id)
            identifiers = _strings(item.get("identifiers", []), "identifiers", reading, line, id)
            span = (item["start"], item["end"])
            mentions.append(
                reading.mention(text, span, item["type"], None, identifiers, item.get("score"), line=line, id=id)
            )
        fields = {key: record[key] for key in ("corpus", "index", "article") if key in record}
        if "annotated_types" in record:
            types = _strings(record["annotated_types"], "annotated_types", reading, line, id)
            fields["annotated_types"] = frozenset(types)
        passages = (_passage(item, len(text), reading, line, id) for item in record.get("passages", ()))
        yield reading.document(
            id,
            text,
            (mention for mention in mentions if mention is not None),
            line=line,
            passages=tuple(passages),
            infons=_pairs(record.get("infons", ()), reading, line, id),
            **fields,
        )


def _strings(items: list, key: str, reading: Reading, line: int, id: str) -> list[str]:
    if not all(isinstance(item, str) for item in items):
        raise reading.error(f"texts in {key!r}", f"{items!r:.80}", "put them in quotes", line=line, document=id)
    return items


def _passage(item, length: int, reading: Reading, line: int, id: str) -> Passage:
    _checked(item, _PASSAGE, "a passage", reading, line, id)
    if not 0 <= item["start"] <= item["end"] <= length:
        expected = f"a passage inside the text of {length} characters"
        raise reading.error(
            expected, f"[{item['start']}, {item['end']})", "correct its offsets", line=line, document=id
        )
    infons = _pairs(item.get("infons", ()), reading, line, id)
    return Passage(item["start"], item["end"], item.get("kind", ""), infons)


def _pairs(infons, reading: Reading, line: int, id: str) -> tuple[tuple[str, str], ...]:
    pairs = list(infons.items() if isinstance(infons, dict) else infons)
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            remedy = 'write {"key": "value"} or [["key", "value"]]'
            raise reading.error("infons as pairs of texts", f"{pair!r:.80}", remedy, line=line, document=id)
    return tuple((key, value) for key, value in pairs)


def jsonl_record(document: Document, report: ReadReport, number: int) -> str:
    """One line. Whatever has its default value is left out; scores have 4 decimals."""
    record = {"id": document.id, "text": document.text, "mentions": [_mention_object(m) for m in document.mentions]}
    if not document.id:
        raise write_error(document, "jsonl", "a document id", "an empty one", "give every document an id")
    if document.corpus != DEFAULT_CORPUS:
        record["corpus"] = document.corpus
    if document.annotated_types:
        record["annotated_types"] = sorted(document.annotated_types)
    if document.index:
        record["index"] = document.index
    if document.article != document.id:
        record["article"] = document.article
    if document.passages:
        record["passages"] = [_passage_object(passage) for passage in document.passages]
    if document.infons:
        record["infons"] = _infons_object(document.infons)
    line = json.dumps(record, ensure_ascii=False).translate(_LINE_SEPARATORS)
    if not line.isascii() and not _is_encodable(line):
        line = json.dumps(record)  # a lone surrogate has no UTF-8, only an escape
    return line + "\n"


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


def read_genia_jsonl(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """GENIA sentences as documents: text is the tokens joined with spaces, offsets come from token offsets.

    The id is `sent_id`, the article `doc_id`. Mentions may be nested.
    """
    for line, record in _objects(handle, _GENIA, reading):
        id = record["sent_id"]
        tokens = _strings(record["tokens"], "tokens", reading, line, id)
        starts = list(itertools.accumulate((len(token) + 1 for token in tokens), initial=0))
        text = " ".join(tokens)
        mentions = []
        for item in record["entity_mentions"]:
            _checked(item, _GENIA_MENTION, "an entity mention", reading, line, id)
            first, end = item["start"], item["end"]
            # Token offsets outside the sentence become an empty span, which the policy then judges.
            inside = 0 <= first < end <= len(tokens)
            span = (starts[first], starts[end] - 1) if inside else (0, 0)
            mentions.append(reading.mention(text, span, item["entity_type"], item.get("text"), line=line, id=id))
        kept = (mention for mention in mentions if mention is not None)
        yield reading.document(id, text, kept, line=line, article=record["doc_id"])


def read_text_files(paths: list[Path], reading: Reading) -> Iterator[Document]:
    """Each file is one document without mentions; its id is the file's name without ending."""
    for path in paths:
        yield reading.document(reading.stem if len(paths) == 1 else path.stem, read_text(path, reading), ())
