"""BioC XML and BioC JSON, read one document at a time.

Both are read into the dictionaries of BioC JSON and share one decoder. The readers of the `bioc` package are not used: they
keep the whole collection in memory and require keys that files in the wild leave out.

Offsets are code points from the start of the document, unless another unit is named. Passages stand at their offsets, gaps
are filled with spaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from lxml import etree
from mosaic_ner.modeling.document import Document, Mention, Passage

from .base import Reading, parse_integer, split_identifiers
from .units import CODE_POINTS, width
from .xmlstream import entity, records

# Infons of an annotation that hold concept identifiers, as the common corpora and services name them.
IDENTIFIER_INFONS = ("identifier", "Identifier", "MESH", "OMIM", "NCBI Gene", "NCBI Taxonomy", "Cellosaurus")
# Kind of the passages that are written only to carry text outside a document's own passages; dropped again when read.
BETWEEN = "text_between_passages"
# Infon of a document whose article id is not its own id.
ARTICLE = "article"
MAX_GAP = 10_000_000  # characters; a larger gap between passages is damage, and filling it would take the memory
_SCORE = re.compile(r"[0-9]+(\.[0-9]+)?(e-[0-9]+)?")


@dataclass
class BioCCollection:
    """What a collection says before and after its documents, as the dictionary of BioC JSON."""

    head: dict = field(default_factory=dict)
    tail: dict = field(default_factory=dict)


@dataclass
class BioCSource:
    """A document as the dictionary of BioC JSON, offsets in code points; `kept`: whether its annotations stay."""

    node: dict
    kept: frozenset | None
    collection: BioCCollection | None = None


def read_bioc_xml(handle, reading: Reading) -> Iterator[Document]:
    """Documents of a BioC XML collection, one in memory at a time."""
    yield from reading.records(_elements(handle, reading))


def _elements(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    element = None
    found = records(handle, reading, ("document",), ("collection", "document"), "<collection>")
    for number, element in enumerate(found, 1):
        if number == 1:
            reading.collection = BioCCollection(_collection_of([*element.itersiblings(preceding=True)][::-1], reading))
        yield partial(_element, element, number, reading)
    if element is not None:
        reading.collection.tail = _collection_of(element.itersiblings(), reading)


def _collection_of(parts, reading: Reading) -> dict:
    """What a collection says, in elements before or behind its documents."""
    parts = [part for part in parts if isinstance(part.tag, str) and part.tag != "document"]
    own = {part.tag: _characters(part, reading) for part in parts if part.tag != "infon"}
    infons = [(part.get("key", ""), _characters(part, reading)) for part in parts if part.tag == "infon"]
    return own | ({"infons": infons} if infons else {})


def _element(element, number: int, reading: Reading) -> Document:
    return decode_document(_document_of(element, reading), reading, element.sourceline, number)


def _content(element, name: str, reading: Reading) -> str | None:
    """The text of a child element, None when there is no such child."""
    child = element.find(name)
    return None if child is None else _characters(child, reading)


def _characters(element, reading: Reading) -> str:
    """An element's text with the entities that it refers to."""
    text = element.text or ""
    for child in element:
        if child.tag is not etree.Entity:
            expected, remedy = f"text in <{element.tag}>", "write the text as plain characters"
            raise reading.error(expected, f"<{child.tag}> in it", remedy, line=element.sourceline)
        text += entity(child, reading) + (child.tail or "")
    return text


def _document_of(element, reading: Reading) -> dict:
    """A <document> element as the dictionary of BioC JSON (infons as pairs, so that none is lost)."""
    node = _node_of(element, reading)
    node["id"] = _content(element, "id", reading)
    node["passages"] = [_node_of(child, reading) for child in element.iterchildren("passage")]
    return node


def _node_of(element, reading: Reading) -> dict:
    return {
        "offset": _content(element, "offset", reading),
        "text": _content(element, "text", reading),
        "infons": _infons_of(element, reading),
        "sentences": [_node_of(child, reading) for child in element.iterchildren("sentence")],
        "annotations": [_annotation_of(child, reading) for child in element.iterchildren("annotation")],
        "relations": [_relation_of(child, reading) for child in element.iterchildren("relation")],
        "line": element.sourceline,
    }


def _annotation_of(element, reading: Reading) -> dict:
    return {
        "id": element.get("id", ""),
        "infons": _infons_of(element, reading),
        "text": _content(element, "text", reading),
        "locations": [dict(location.attrib) for location in element.iterchildren("location")],
        "line": element.sourceline,
    }


def _relation_of(element, reading: Reading) -> dict:
    nodes = [{"refid": node.get("refid", ""), "role": node.get("role", "")} for node in element.iterchildren("node")]
    return {"id": element.get("id", ""), "infons": _infons_of(element, reading), "nodes": nodes}


def _infons_of(element, reading: Reading) -> list[tuple[str, str]]:
    return [(child.get("key", ""), _characters(child, reading)) for child in element.iterchildren("infon")]


def pairs_of(infons) -> tuple[tuple[str, str], ...]:
    """Infons as pairs of texts; JSON files also hold numbers, truth values and nulls there."""
    items = infons.items() if isinstance(infons, dict) else infons or ()
    return tuple((str(key), _as_text(value)) for key, value in items)


def _as_text(value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _checked(node: dict, reading: Reading, id: str, *lists: str) -> dict:
    """The node, whose lists hold objects, whose infons are an object (or pairs) and whose text is one."""
    for key in lists:
        if not isinstance(node.get(key) or [], list) or not all(isinstance(item, dict) for item in node.get(key) or ()):
            raise reading.error(f"a list of objects in {key!r}", f"{node[key]!r:.80}", "correct the file", document=id)
    if not isinstance(node.get("infons") or {}, (dict, list)) or (
        isinstance(node.get("infons"), list)
        and not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in node["infons"])
    ):
        raise reading.error("an object in 'infons'", f"{node['infons']!r:.80}", "correct the file", document=id)
    if not isinstance(node.get("text") or "", str):
        raise reading.error("a text in 'text'", f"{node['text']!r:.80}", "correct the file", document=id)
    return node


_PARTS = ("annotations", "relations", "sentences")


def decode_document(node: dict, reading: Reading, line: int | None, number: int) -> Document:
    """The dictionary of BioC JSON as a Document; `number` is its place in the file, which names it where it has no id."""
    raw_id = node.get("id")
    if raw_id in (None, ""):
        id = str(number)
        reading.note("missing_id", line=line, document=id)
    elif isinstance(raw_id, (str, int, float)):
        id = str(raw_id)
    else:
        raise reading.error("a text in 'id'", f"{raw_id!r:.80}", "correct the file", line=line)
    _checked(node, reading, id, "passages", "annotations", "relations")
    built = _Text(reading, id)
    passages, annotations, relations = [], list(node.get("annotations") or ()), len(node.get("relations") or ())
    for passage in node.get("passages") or ():
        _checked(passage, reading, id, *_PARTS)
        for sentence in passage.get("sentences") or ():
            _checked(sentence, reading, id, "annotations", "relations")
        start = built.add(passage)
        infons = list(pairs_of(passage.get("infons")))
        kind = next((pair for pair in infons if pair[0] == "type"), ("type", ""))
        if kind in infons:
            infons.remove(kind)
        if kind[1] != BETWEEN:
            passages.append(Passage(start, len(built.text), kind[1], tuple(infons)))
        for part in (passage, *(passage.get("sentences") or ())):
            annotations += part.get("annotations") or ()
            relations += len(part.get("relations") or ())
    text = built.text
    if relations and not reading.keep_source:
        reading.note("relation", line=line, document=id, count=relations)
    if passages == [Passage(0, len(text))]:
        passages = []  # the whole text without a name says nothing that the text doesn't
    infons = pairs_of(node.get("infons"))
    article = dict(infons).get(ARTICLE, "")
    infons = tuple(pair for pair in infons if pair[0] != ARTICLE)
    mentions = []
    if reading.gold:
        for annotation in annotations:
            _checked(annotation, reading, id, "locations")
            mentions += _mentions(annotation, text, reading, id)
    source = None
    if reading.keep_source:
        if reading.offset_unit != CODE_POINTS:
            _convert(node, text, reading)
        source = BioCSource(
            node, frozenset(mention.key for mention in mentions) if reading.gold else None, reading.collection
        )
    passages = tuple(passages)
    return reading.document(
        id,
        text,
        mentions,
        line=line,
        passages=passages,
        infons=infons,
        article=article,
        source=source,
        relations=relations,
    )


class _Text:
    """A document's text, put together from passages and sentences at their offsets."""

    def __init__(self, reading: Reading, id: str):
        self.reading, self.id, self.pieces, self.length, self.measured = reading, id, [], 0, 0

    @property
    def text(self) -> str:
        """What was added so far."""
        self.pieces = ["".join(self.pieces)]
        return self.pieces[0]

    def _append(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)
        self.measured += width(text, self.reading.offset_unit)

    def _place(self, node: dict, what: str) -> None:
        """Fills up with spaces to the node's offset."""
        line = node.get("line")
        offset = parse_integer(node.get("offset"), self.reading, what, line=line, document=self.id)
        if offset < self.measured:
            got = f"offset {offset}, which lies inside the text before it ({self.measured} characters)"
            remedy = "offsets count code points from the start of the document, passages in order and without overlap"
            expected = f"a passage or sentence at {self.measured} or later"
            raise self.reading.misplaced(self.reading.error(expected, got, remedy, line=line, document=self.id))
        if offset - self.measured > MAX_GAP:
            remedy = "offsets count code points from the start of the document, not of the file"
            expected = f"a gap of at most {MAX_GAP} characters between passages"
            got = f"offset {offset} after {self.measured}"
            raise self.reading.error(expected, got, remedy, line=line, document=self.id)
        self._append(" " * (offset - self.measured))

    def add(self, passage: dict) -> int:
        """Adds a passage's own text, or its sentences; returns where it starts."""
        self._place(passage, "a passage's offset")
        start = self.length
        if passage.get("text"):
            self._append(passage["text"])
            return start
        for sentence in passage.get("sentences") or ():
            self._place(sentence, "a sentence's offset")
            self._append(sentence.get("text") or "")
        return start


def _convert(node: dict, text: str, reading: Reading) -> None:
    """Turns a document's offsets into code points, so that they can be written again."""
    for passage in node.get("passages") or ():
        for part in (passage, *(passage.get("sentences") or ())):
            offset = parse_integer(part.get("offset", 0), reading, "an offset")
            part["offset"] = reading.span(text, offset, offset)[0]
    parts = [part for passage in node.get("passages") or () for part in (passage, *(passage.get("sentences") or ()))]
    for annotation in [a for part in (node, *parts) for a in part.get("annotations") or ()] if reading.gold else ():
        for place in annotation.get("locations") or ():
            start = parse_integer(place.get("offset"), reading, "an offset")
            end = start + parse_integer(place.get("length"), reading, "a length")
            first, last = reading.span(text, start, end)
            place["offset"], place["length"] = first, last - first


def _mentions(annotation: dict, text: str, reading: Reading, id: str) -> Iterator[Mention]:
    """The annotation's mention; none when it has no place, no type, several pieces or lies outside the text."""
    line, locations = annotation.get("line"), annotation.get("locations") or ()
    infons = pairs_of(annotation.get("infons"))
    shown = f"annotation {annotation.get('id')!r:.40}"
    if not locations:
        reading.report.mentions += 1
        reading.note("no_location", shown, line=line, document=id)
        return
    type = dict(infons).get(reading.type_infon, "")
    if not type:
        reading.report.mentions += 1
        there = ", ".join(f"{key}={value!r:.40}" for key, value in infons) or "none"
        expected = f"an infon {reading.type_infon!r} that says the type"
        remedy = "pass type_infon=NAME (--type_infon NAME) for the infon that does"
        reading.fault("no_type", expected, f"{shown} with the infons {there}", line=line, document=id, remedy=remedy)
        return
    pieces = []
    for place in locations:
        start = parse_integer(place.get("offset"), reading, "an annotation's offset", line=line, document=id)
        length = parse_integer(place.get("length"), reading, "an annotation's length", line=line, document=id)
        pieces.append((start, start + length))
    span = reading.joined(text, pieces)
    if span is None:
        reading.report.mentions += 1
        reading.note("discontinuous", f"{type} {annotation.get('text')!r:.80}", line=line, document=id)
        return
    surface, identifiers, score = annotation.get("text"), [], None
    for key, value in infons:
        if key in IDENTIFIER_INFONS:
            identifiers += split_identifiers(value)
        elif key == "score" and _SCORE.fullmatch(value):
            score = float(value)
        elif key != reading.type_infon and not reading.keep_source:
            reading.note("infon_not_kept", key, line=line, document=id)
    surface = surface if isinstance(surface, str) and surface else None
    mention = reading.mention(text, span, type, surface, identifiers, score, line=line, id=id)
    if mention is not None:
        yield mention
