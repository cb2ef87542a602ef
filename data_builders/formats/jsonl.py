"""Records of JSON files: those that hold all of a `Document`, and those of other programs that mean one thing only."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import nearest

from .base import Reading, parse_integer
from .bioc import BioCCollection, decode_document
from .iob2 import is_tag, tagged_spans
from .jsontext import JsonStream, cleaned, not_utf8, parse_line
from .streams import Undecodable, read_lines, read_text, replaced
from .units import CODE_POINTS

# key → (type of its value, whether it must be there)
RECORD = {
    "id": ((str, int), False),
    "text": (str, True),
    "mentions": (list, False),
    "corpus": (str, False),
    "annotated_types": (list, False),
    "index": (int, False),
    "article": (str, False),
    "passages": (list, False),
    "infons": ((list, dict), False),
    "unclear": (list, False),
}
_MENTION = {
    "start": (int, True),
    "end": (int, True),
    "type": (str, True),
    "text": (str, False),
    "identifiers": (list, False),
    "score": ((int, float), False),
}
_PASSAGE = {"start": (int, True), "end": (int, True), "kind": (str, False), "infons": ((list, dict), False)}
_GENIA = {"tokens": (list, True), "entity_mentions": (list, True), "doc_id": (str, True), "sent_id": (str, True)}
_GENIA_MENTION = {"start": (int, True), "end": (int, True), "entity_type": (str, True), "text": (str, False)}
# Keys that give a record's id, the first that is there.
_IDS = ("id", "pmid", "pmcid", "doc_id", "document_id")
_TAGS = ("ner_tags", "tags", "labels")
# Keys of records with annotations that other programs write
_OTHERS = {
    "label": "doccano",
    "labels": "doccano",
    "entities": "spaCy or doccano",
    "spans": "Prodigy",
    "annotations": "Label Studio",
}
# What tells a line that holds more than one record, or one that is wrapped
_COLLECTED = re.compile('"(?:documents|PubTator3|passages)"')
_CONVERT = 'convert each to {"text": …, "mentions": [{"start": 7, "end": 14, "type": "Disease"}]}, ends exclusive'
DEFAULT_CORPUS = "user"


def _checked(value, keys: dict, what: str, reading: Reading, line: int | None, id: str | None) -> dict:
    """`value`, an object with these keys and types of value; other keys are counted and left out.

    Raises:
        FormatError: a key is misspelt (with the nearest known one) or missing, or a value has another type.
    """
    if not isinstance(value, dict):
        raise reading.error(
            f"{what} as a JSON object", f"{value!r:.80}", f"give {sorted(keys)}", line=line, document=id
        )
    kept = {}
    for key, item in value.items():
        if key not in keys:
            if hint := _misspelt(key, [known for known in keys if known not in value]):
                expected = f"only the keys {', '.join(keys)} in {what}"
                raise reading.error(expected, repr(key), f"rename or remove it{hint}", line=line, document=id)
            reading.note("key_not_kept", key, line=line, document=id)
            continue
        if item is None and not keys[key][1]:
            continue
        if not isinstance(item, keys[key][0]) or isinstance(item, bool):
            expected = f"{key!r} of {what} of type {_type_names(keys[key][0])}"
            raise reading.error(expected, f"{item!r:.80}", "correct the value", line=line, document=id)
        kept[key] = item
    for key, (_, needed) in keys.items():
        if needed and key not in kept:
            remedy = "add it" + (f" (there are {', '.join(value)})" if value else "")
            raise reading.error(f"the key {key!r} in {what}", "none", remedy, line=line, document=id)
    return kept


def _misspelt(key: str, known: list[str]) -> str:
    """A hint where the key is a known one but for a letter."""
    near = [name for name in known if name != key and (name.rstrip("s") == key.rstrip("s") or name == key.lower())]
    return nearest(near[0], near, listing=False) if near else ""


def _type_names(types) -> str:
    return " or ".join(t.__name__ for t in (types if isinstance(types, tuple) else (types,)))


def read_jsonl(handle, reading: Reading) -> Iterator[Document]:
    """Documents, one a line. A record's own corpus and annotated_types go before those given to `read_documents`."""
    yield from reading.records(_from_lines(handle, reading))


def read_json(handle, reading: Reading) -> Iterator[Document]:
    """Documents of a JSON file: a BioC collection, a document, a list of either, a service's reply around them, or records
    as JSON lines have them."""
    yield from reading.records(_from_stream(handle, reading))


def read_genia_jsonl(handle, reading: Reading) -> Iterator[Document]:
    """GENIA sentences as documents: text is the tokens joined with spaces, offsets come from token offsets.

    The id is `sent_id`, the article `doc_id`. Mentions may be nested.
    """
    builders = (partial(_parsed, line, number, reading) for number, line in _lines(handle, reading))
    yield from reading.records(partial(_genia_line, value, reading) for value in builders)


def _genia_line(value: Callable, reading: Reading) -> Document:
    node, number = value()
    return _genia(node, reading, number)


def _lines(handle, reading: Reading) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in read_lines(handle, reading) if line.strip())


def _parsed(line: str, number: int, reading: Reading):
    if isinstance(line, Undecodable):
        raise line.error
    return parse_line(line, reading, number), number


def _from_lines(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    for number, line in _lines(handle, reading):
        value = None
        if not isinstance(line, Undecodable) and (_COLLECTED.search(line) or line.lstrip()[:1] == "["):
            value = _collection(line, reading, number)
        if value is None:
            yield partial(_line, line, number, reading)
        else:
            yield from (partial(record_of, node, reading, number, number) for node in value)


def _collection(line: str, reading: Reading, number: int) -> list | None:
    """The records of a line that holds several; None where it holds one, or none that can be read."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        if value.keys() & {"passages", "text", "tokens", "title"}:
            return None
        return list(JsonStream(io.BytesIO(line.encode("utf-8", "surrogatepass")), reading)) or None
    if not isinstance(value, list) or not value or not all(isinstance(item, (dict, list)) for item in value):
        return None
    return cleaned(value, reading, number)


def _line(line: str, number: int, reading: Reading) -> Document:
    value, _ = _parsed(line, number, reading)
    return record_of(value, reading, number, number)


def _from_stream(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    stream, number = JsonStream(handle, reading), 0
    for number, value in enumerate(stream, 1):
        if stream.around and (reading.collection is None or reading.collection.tail is not stream.around[1]):
            reading.collection = BioCCollection(*stream.around)
        yield partial(record_of, value, reading, None, number)
    if not number and not stream.collections:
        remedy = "give a BioC collection; one JSON object a line is the format jsonl"
        raise reading.error("a BioC collection with 'documents'", "JSON without that key", remedy)


def record_of(value, reading: Reading, line: int | None, number: int) -> Document:
    """The document of a record of any of the known forms; `number` names it where it has no id."""
    if not_utf8(value):
        got, remedy = f"other bytes in record {number}", "convert the file to UTF-8 (iconv)"
        raise reading.error("UTF-8", got, remedy, line=line, document=_id_of(value))
    if _is_spacy(value):
        if reading.gold:
            raise _other("spaCy's training examples", reading, line, str(number))
        value = {"text": value[0]}
    if isinstance(value, dict):
        if isinstance(value.get("passages"), list) and not _own_passages(value["passages"]) and "text" not in value:
            return decode_document(value, reading, line, number)
        if isinstance(value.get("tokens"), list) and not value.keys() & {"text", "title"}:
            return _genia(value, reading, line) if "entity_mentions" in value else _tokens(value, reading, line, number)
        if line is None and not value.keys() & set(RECORD) - {"id"} and "title" not in value:
            got = f"JSON without that key (there are {', '.join(map(str, value)) or 'none'})"[:200]
            remedy = "give a BioC collection; one JSON object a line is the format jsonl"
            raise reading.error("a BioC collection with 'documents', or records with 'text'", got, remedy)
    return own_record(value, reading, line, number)


def _own_passages(passages: list) -> bool:
    return bool(passages) and isinstance(passages[0], dict) and "start" in passages[0]


def _is_spacy(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def _other(what: str, reading: Reading, line, id):
    remedy = "name the format: format='label_studio' (--format label_studio)" if "Label Studio" in what else _CONVERT
    return reading.error(
        "records with 'text' and 'mentions'", f"what looks like {what}", remedy, line=line, document=id
    )


def _id_of(value) -> str | None:
    found = next((value[key] for key in (*_IDS, "sent_id") if value.get(key) is not None), None)
    return None if found is None else f"{found!s:.200}"


def _named(
    value: dict, keys: tuple[str, ...], reading: Reading, line: int | None, number: int
) -> tuple[str, str | None]:
    """The record's id and the key that holds it; its line or number where it has none."""
    key = next((key for key in keys if value.get(key) is not None), None)
    if key is not None and isinstance(value[key], (str, int)) and not isinstance(value[key], bool):
        if value[key] == "":
            return "", key
        if isinstance(value[key], str) or abs(value[key]) < 10**30:
            return str(value[key]), key
    if key is not None:
        expected, shown = f"{key!r} of a record of type str or int", _id_of(value)
        raise reading.error(expected, f"{value[key]!r:.80}", "correct the value", line=line, document=shown)
    reading.note("missing_id", line=line, document=str(number))
    return str(number), None


def own_record(value, reading: Reading, line: int | None, number: int) -> Document:
    """The document of a record with the keys of `RECORD`; `number` names it where it has no id."""
    if not isinstance(value, dict):
        raise reading.error("a record as a JSON object", f"{value!r:.80}", f"give {sorted(RECORD)}", line=line)
    id, key = _named(value, _IDS, reading, line, number)
    value = {name: item for name, item in value.items() if name != key}
    if (
        reading.gold
        and "mentions" not in value
        and (other := next((k for k in _OTHERS if value.get(k) and isinstance(value[k], list)), None))
    ):
        raise _other(f"{_OTHERS[other]}'s export", reading, line, id)
    if not reading.gold:
        value.pop("mentions", None)
        value.pop("unclear", None)
    passages = None
    if "text" not in value and isinstance(value.get("title"), str):
        title, abstract = value.pop("title"), value.pop("abstract", None) or ""
        if not isinstance(abstract, str):
            raise reading.error("'abstract' of type str", f"{abstract!r:.80}", "correct it", line=line, document=id)
        value["text"] = f"{title} {abstract}" if abstract else title
        passages = [Passage(0, len(title), "title")]
        if abstract:
            passages.append(Passage(len(title) + 1, len(value["text"]), "abstract"))
    record = _checked(value, RECORD, "a record", reading, line, id)
    text = record["text"]
    mentions = _mentions(record.get("mentions", ()), text, reading, line, id)
    unclear = _mentions(record.get("unclear", ()), text, reading, line, id)
    fields = {key: record[key] for key in ("corpus", "index", "article") if key in record}
    if "annotated_types" in record:
        types = _strings(record["annotated_types"], "annotated_types", reading, line, id)
        fields["annotated_types"] = frozenset(types)
    if passages is None:
        passages = [_passage(item, text, reading, line, id) for item in record.get("passages", ())]
    return reading.document(
        id,
        text,
        mentions,
        line=line,
        unclear=tuple(unclear),
        passages=tuple(passages),
        infons=_pairs(record.get("infons", ()), reading, line, id),
        **fields,
    )


def _mentions(items: list, text: str, reading: Reading, line: int | None, id: str) -> list[Mention]:
    mentions = []
    for item in items:
        item = _checked(item, _MENTION, "a mention", reading, line, id)
        identifiers = _strings(item.get("identifiers", []), "identifiers", reading, line, id)
        span = tuple(parse_integer(item[k], reading, f"{k!r}", line=line, document=id) for k in ("start", "end"))
        surface, score = item.get("text"), item.get("score")
        mentions.append(reading.mention(text, span, item["type"], surface, identifiers, score, line=line, id=id))
    return [mention for mention in mentions if mention is not None]


def _tokens(value: dict, reading: Reading, line: int | None, number: int) -> Document:
    """A record of tokens and tags, as Hugging Face's data sets have them; text is the tokens joined with spaces."""
    id, _ = _named(value, _IDS, reading, line, number)
    tokens = _strings(value["tokens"], "tokens", reading, line, id)
    text, mentions = " ".join(tokens), []
    key = next((key for key in _TAGS if isinstance(value.get(key), list)), None)
    for other in value.keys() - {"tokens", key, *_IDS}:
        reading.note("key_not_kept", other, line=line, document=id)
    if reading.gold:
        tags = value[key] if key else []
        if tags and all(isinstance(tag, int) for tag in tags):
            remedy = (
                "write their names: names = dataset.features['ner_tags'].feature.names; [names[n] for n in ner_tags]"
            )
            got = f"what looks like Hugging Face's tokens with numbers in {key!r}, whose names are not in the file"
            raise reading.error("tags as texts, as B-Disease", got, remedy, line=line, document=id)
        if len(tags) != len(tokens) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
            expected, remedy = f"a tag O, B-type or I-type for each of {len(tokens)} tokens", "correct the record"
            got = f"{tags!r:.80}" if key else f"no key of {', '.join(_TAGS)}"
            raise reading.error(expected, got, remedy, line=line, document=id)
        rows = [(token, tag, line) for token, tag in zip(tokens, tags, strict=True)]
        spans = [(start, end, type) for start, end, type, _ in tagged_spans(rows, reading, id)]
        mentions = [Mention(*span) for span in spans if span[0] < span[1]]
        reading.report.mentions += len(mentions)
    return reading.document(id, text, mentions, line=line)


def _genia(value, reading: Reading, line: int | None) -> Document:
    id = _id_of(value) if isinstance(value, dict) else None
    record = _checked(value, _GENIA, "a record", reading, line, id)
    id = record["sent_id"]
    tokens = _strings(record["tokens"], "tokens", reading, line, id)
    starts = list(itertools.accumulate((len(token) + 1 for token in tokens), initial=0))
    text = " ".join(tokens)
    mentions, reading = [], replace(reading, offset_unit=CODE_POINTS)
    for item in record["entity_mentions"] if reading.gold else ():
        item = _checked(item, _GENIA_MENTION, "an entity mention", reading, line, id)
        first, end = item["start"], item["end"]
        # Token offsets outside the sentence become an empty span, which the policy then judges.
        inside = 0 <= first < end <= len(tokens)
        span = (starts[first], starts[end] - 1) if inside else (0, 0)
        mentions.append(reading.mention(text, span, item["entity_type"], item.get("text"), line=line, id=id))
    kept = (mention for mention in mentions if mention is not None)
    return reading.document(id, text, kept, line=line, article=record["doc_id"])


def _strings(items: list, key: str, reading: Reading, line: int, id: str) -> list[str]:
    if not all(isinstance(item, str) for item in items):
        raise reading.error(f"texts in {key!r}", f"{items!r:.80}", "put them in quotes", line=line, document=id)
    return items


def _passage(item, text: str, reading: Reading, line: int | None, id: str) -> Passage:
    item = _checked(item, _PASSAGE, "a passage", reading, line, id)
    start, end = reading.span(text, item["start"], item["end"])
    if not 0 <= start <= end <= len(text):
        expected = f"a passage inside the text of {len(text)} characters"
        raise reading.error(
            expected, f"[{item['start']}, {item['end']})", "correct its offsets", line=line, document=id
        )
    infons = _pairs(item.get("infons", ()), reading, line, id)
    return Passage(start, end, item.get("kind", ""), infons)


def _pairs(infons, reading: Reading, line: int, id: str) -> tuple[tuple[str, str], ...]:
    pairs = list(infons.items() if isinstance(infons, dict) else infons)
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            remedy = 'write {"key": "value"} or [["key", "value"]]'
            raise reading.error("infons as pairs of texts", f"{pair!r:.80}", remedy, line=line, document=id)
    return tuple((key, value) for key, value in pairs)


def read_text_files(files: Iterable[tuple[Path, str]], reading: Reading) -> Iterator[Document]:
    """Each file is one document without mentions.

    Args:
        files: paths, and the ids of their documents.
    """
    yield from reading.records(partial(_text_file, path, id, reading) for path, id in files)


def _text_file(path: Path, id: str, reading: Reading) -> Document:
    reading = reading.of(path)
    return reading.document(replaced(id, reading), read_text(path, reading), ())
