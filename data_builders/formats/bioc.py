"""BioC XML and BioC JSON, read and written one document at a time.

Both are read into the dictionaries of BioC JSON and share one decoder; both are written by the `bioc` package's
encoders. Its readers are not used: they keep the whole collection in memory and require keys that files in the wild
leave out.

Offsets are code points from the start of the document. Passages stand at their offsets, gaps are filled with spaces.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import ijson
from bioc import biocjson
from bioc.biocxml.encoder import encode_document
from bioc.datastructure import BioCAnnotation, BioCDocument, BioCLocation, BioCPassage
from lxml import etree
from mosaic_ner.modeling.document import Document, Mention, Passage

from .base import (
    BOM,
    SURROGATES,
    Reading,
    ReadReport,
    count_losses,
    join_identifiers,
    parse_integer,
    replace_characters,
    require,
    split_identifiers,
)

# Infons of an annotation that hold concept identifiers, as the common corpora and services name them.
IDENTIFIER_INFONS = ("identifier", "Identifier", "MESH", "OMIM", "NCBI Gene", "NCBI Taxonomy", "Cellosaurus")
# Kind of the passages that are written only to carry text outside a document's own passages; dropped again when read.
BETWEEN = "text_between_passages"
# Infon of a document whose article id is not its own id.
ARTICLE = "article"
MAX_GAP = 10_000_000  # characters; a larger gap between passages is damage, and filling it would take the memory
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

XML_HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">\n'
    "<collection>\n<source>mosaic-ner</source>\n<date></date>\n<key></key>\n"
)
XML_FOOTER = "</collection>\n"
# The date stays empty: the same documents give the same bytes.
JSON_HEADER = '{"source": "mosaic-ner", "date": "", "key": "", "version": "1.0", "infons": {}, "documents": [\n'
JSON_FOOTER = "\n]}\n"


def read_bioc_xml(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """Documents of a BioC XML collection; each element is freed once read. Entities and DTDs are never fetched."""
    try:
        context = etree.iterparse(
            handle,
            events=("end",),
            tag="document",
            huge_tree=True,
            resolve_entities=False,
            remove_comments=True,
            remove_pis=True,
        )
        found = False
        for _, element in context:
            found = True
            line = element.sourceline
            yield _decode_document(_document_of(element, reading), reading, line)
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        remedy = "correct the file; if it is not XML, name its format"
        raise reading.error(
            "well-formed XML", error.msg or "an empty file", remedy, line=error.lineno or None
        ) from error
    if not found and context.root.tag != "collection":
        raise reading.error("<collection>", f"<{context.root.tag}>", "give a BioC collection, or name the format")


def _content(element, name: str, reading: Reading) -> str | None:
    """The text of a child element, None when there is no such child."""
    child = element.find(name)
    if child is None:
        return None
    if len(child):
        remedy = "write the text as plain characters"
        raise reading.error(f"text in <{name}>", f"<{child[0].tag}> in it", remedy, line=child.sourceline)
    return child.text or ""


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
        "infons": _infons_of(element),
        "sentences": [_node_of(child, reading) for child in element.iterchildren("sentence")],
        "annotations": [_annotation_of(child, reading) for child in element.iterchildren("annotation")],
        "relations": element.findall("relation"),
        "line": element.sourceline,
    }


def _annotation_of(element, reading: Reading) -> dict:
    return {
        "id": element.get("id", ""),
        "infons": _infons_of(element),
        "text": _content(element, "text", reading),
        "locations": [dict(location.attrib) for location in element.iterchildren("location")],
        "line": element.sourceline,
    }


def _infons_of(element) -> list[tuple[str, str]]:
    return [(child.get("key", ""), child.text or "") for child in element.iterchildren("infon")]


def read_bioc_json(handle: BinaryIO, reading: Reading) -> Iterator[Document]:
    """Documents of a BioC JSON collection, of a list of collections (PubMed Central's), or of PubTator 3's reply."""
    handle = handle if isinstance(handle, io.BufferedReader) else io.BufferedReader(_Raw(handle))
    if handle.peek(len(BOM)).startswith(BOM):
        handle.read(len(BOM))
        reading.note("bom")
    prefix = None
    try:
        parser = ijson.parse(handle, use_float=True)
        for place, event, value in parser:
            if event == "map_key" and value in ("documents", "PubTator3") and place in ("", "item"):
                prefix = f"{place}.{value}.item".lstrip(".")
            elif event == "start_map" and place == prefix:
                yield _decode_document(_build(parser, event, value), reading, None)
    except UnicodeDecodeError as error:
        raise reading.error("UTF-8", str(error), "convert the file to UTF-8") from error
    except ijson.JSONError as error:
        raise reading.error("valid JSON", str(error).strip(), "correct the file; JSON lines end in .jsonl") from error
    if prefix is None:
        remedy = "give a BioC collection; one JSON object a line is the format jsonl"
        raise reading.error("a BioC collection with 'documents'", "JSON without that key", remedy)


class _Raw(io.RawIOBase):
    """A readable that is not buffered (or not a file) made fit for BufferedReader."""

    def __init__(self, handle):
        self.handle = handle

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.handle.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _build(parser, event, value) -> dict:
    """The object whose start was just read, from the events that follow."""
    builder, depth = ijson.ObjectBuilder(), 0
    while True:
        depth += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
        builder.event(event, value)
        if depth == 0:
            return builder.value
        _, event, value = next(parser)


def _pairs(infons) -> tuple[tuple[str, str], ...]:
    """Infons as pairs of texts; JSON files also hold numbers, truth values and nulls there."""
    items = infons.items() if isinstance(infons, dict) else infons or ()
    return tuple((str(key), _as_text(value)) for key, value in items)


def _as_text(value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _decode_document(node: dict, reading: Reading, line: int | None) -> Document:
    """The dictionary of BioC JSON as a Document."""
    raw_id = node.get("id")
    id = "" if raw_id is None else str(raw_id)
    text, passages, starts, annotations = "", [], [], list(node.get("annotations") or ())
    relations = len(node.get("relations") or ())
    for passage in node.get("passages") or ():
        offset = parse_integer(
            passage.get("offset"), reading, "a passage's offset", line=passage.get("line"), document=id
        )
        starts.append(offset)
        text = _place(text, offset, reading, id, passage.get("line"))
        text = _append(text, passage, reading, id)
        infons = list(_pairs(passage.get("infons")))
        kind = next((pair for pair in infons if pair[0] == "type"), ("type", ""))
        if kind in infons:
            infons.remove(kind)
        if kind[1] != BETWEEN:
            passages.append(Passage(offset, len(text), kind[1], tuple(infons)))
        for part in (passage, *(passage.get("sentences") or ())):
            annotations += part.get("annotations") or ()
            relations += len(part.get("relations") or ())
    if relations:
        reading.note("relation", line=line, document=id, count=relations)
    if passages == [Passage(0, len(text))]:
        passages = []  # the whole text without a name says nothing that the text doesn't
    infons = _pairs(node.get("infons"))
    article = dict(infons).get(ARTICLE, "")
    infons = tuple(pair for pair in infons if pair[0] != ARTICLE)
    origins = sorted({0, *starts})
    mentions = [mention for annotation in annotations for mention in _mentions(annotation, text, origins, reading, id)]
    return reading.document(id, text, mentions, line=line, passages=tuple(passages), infons=infons, article=article)


def _place(text: str, offset: int, reading: Reading, id: str, line: int | None) -> str:
    """The text filled with spaces up to `offset`."""
    if offset < len(text):
        got = f"offset {offset}, which lies inside the text before it ({len(text)} characters)"
        remedy = "offsets count code points from the start of the document, passages in order and without overlap"
        raise reading.error(f"a passage or sentence at {len(text)} or later", got, remedy, line=line, document=id)
    if offset - len(text) > MAX_GAP:
        remedy = "offsets count code points from the start of the document, not of the file"
        expected = f"a gap of at most {MAX_GAP} characters between passages"
        raise reading.error(expected, f"offset {offset} after {len(text)}", remedy, line=line, document=id)
    return text.ljust(offset)


def _append(text: str, passage: dict, reading: Reading, id: str) -> str:
    """The text with the passage's own text, or its sentences at their offsets."""
    if passage.get("text") is not None:
        return text + passage["text"]
    for sentence in passage.get("sentences") or ():
        line = sentence.get("line")
        offset = parse_integer(sentence.get("offset"), reading, "a sentence's offset", line=line, document=id)
        text = _place(text, offset, reading, id, line) + (sentence.get("text") or "")
    return text


def _mentions(annotation: dict, text: str, origins: list[int], reading: Reading, id: str) -> Iterator[Mention]:
    """The annotation's mention; none when it has several pieces or lies outside the text."""
    line, locations = annotation.get("line"), annotation.get("locations") or ()
    infons = _pairs(annotation.get("infons"))
    type = dict(infons).get("type", "")
    if len(locations) > 1:
        reading.report.mentions += 1
        reading.note("discontinuous", f"{type} {annotation.get('text')!r}", line=line, document=id)
        return
    if not locations:
        remedy = "give each annotation a location"
        raise reading.error(
            "a location", f"annotation {annotation.get('id')!r} without one", remedy, line=line, document=id
        )
    start = parse_integer(locations[0].get("offset"), reading, "an annotation's offset", line=line, document=id)
    length = parse_integer(locations[0].get("length"), reading, "an annotation's length", line=line, document=id)
    surface, identifiers, score = annotation.get("text"), [], None
    for key, value in infons:
        if key in IDENTIFIER_INFONS:
            identifiers += split_identifiers(value)
        elif key == "score" and re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-[0-9]+)?", value):
            score = float(value)
        elif key != "type":
            reading.note("infon_not_kept", key, line=line, document=id)
    if surface and text[start : start + length] != surface:
        _check_unit(text, start, surface, origins, reading, line, id)
    mention = reading.mention(text, (start, start + length), type, surface, identifiers, score, line=line, id=id)
    if mention is not None:
        yield mention


def _check_unit(text: str, start: int, surface: str, origins: list[int], reading: Reading, line, id: str) -> None:
    """Refuse offsets that fit when counted in another unit: then every offset of the file is meant that way.

    `origins` are the offsets of the document and its passages, from which the units are counted.

    Raises:
        FormatError: under every policy; reading on would give garbage.
    """
    for unit, encoding, width in (("UTF-8 bytes", "utf-8", 1), ("UTF-16 code units", "utf-16-le", 2)):
        wanted = surface.encode(encoding, "replace")
        for origin in origins:
            at = (start - origin) * width
            if at >= 0 and text[origin:].encode(encoding, "replace")[at : at + len(wanted)] == wanted:
                got = f"{surface!r} at offset {start}, which is right only in {unit}: the offsets look like {unit}"
                remedy = f"convert all offsets and lengths from {unit} to code points"
                raise reading.error("offsets in code points", got, remedy, line=line, document=id)


# --- writing ---------------------------------------------------------------------------------------------------------


def bioc_xml_record(document: Document, report: ReadReport, number: int) -> str:
    """One <document> element.

    Raises:
        FormatError: the id, a type, an identifier or an infon holds a character that XML cannot.
    """
    text = replace_characters(document.text, _NOT_XML, " ", "character_replaced", report, document)
    tree = encode_document(_encode(document, text, "bioc_xml", _NOT_XML.pattern, report))
    return etree.tostring(tree, pretty_print=True, encoding="unicode")


def bioc_json_record(document: Document, report: ReadReport, number: int) -> str:
    """One document object, preceded by the comma that separates it from the `number` written before it.

    Raises:
        FormatError: the id, a type, an identifier or an infon holds a lone surrogate.
    """
    text = replace_characters(document.text, SURROGATES, "\ufffd", "character_replaced", report, document)
    node = biocjson.toJSON(_encode(document, text, "bioc_json", SURROGATES.pattern, report))
    return (",\n" if number else "") + json.dumps(node, ensure_ascii=False)


def _encode(document: Document, text: str, format: str, forbidden: str, report: ReadReport) -> BioCDocument:
    """The document as the bioc package has it; `forbidden` is a regular expression of what the format cannot hold."""
    count_losses(document, report, "identifiers", "score", "infons", "article")
    result = BioCDocument()
    result.id = require(document, format, "document id", document.id, forbidden)
    infons = document.infons
    if document.article != document.id:
        infons = (*infons, (ARTICLE, document.article))
    result.infons = _checked_infons(infons, document, format, forbidden, report)
    for passage in _segments(document, report):
        node = BioCPassage()
        node.offset, node.text = passage.start, text[passage.start : passage.end]
        infons = ((("type", passage.kind),) if passage.kind else ()) + passage.infons
        node.infons = _checked_infons(infons, document, format, forbidden, report)
        result.add_passage(node)
    for number, mention in enumerate(document.mentions, 1):
        type = require(document, format, "entity type", mention.type, forbidden)
        infons = [("type", type), ("identifier", join_identifiers(document, mention, report))]
        if mention.score is not None:
            infons.append(("score", f"{mention.score:.4f}"))
        annotation = BioCAnnotation()
        annotation.id, annotation.text = f"T{number}", text[mention.start : mention.end]
        annotation.infons = _checked_infons([pair for pair in infons if pair[1]], document, format, forbidden, report)
        annotation.add_location(BioCLocation(mention.start, mention.end - mention.start))
        _holder(result, mention).add_annotation(annotation)
    return result


def _checked_infons(pairs: Iterable[tuple[str, str]], document, format, forbidden, report) -> dict[str, str]:
    infons = {}
    for key, value in pairs:
        require(document, format, "infon", f"{key}={value}", forbidden)
        if key in infons:
            report.add("infons_not_written", document.name, f"{key!r} a second time")
        else:
            infons[key] = value
    return infons


def _holder(document: BioCDocument, mention: Mention) -> BioCDocument | BioCPassage:
    """The first passage that contains the mention, else the document."""
    for passage in document.passages:
        if passage.offset <= mention.start and mention.end <= passage.offset + len(passage.text):
            return passage
    return document


def _segments(document: Document, report: ReadReport) -> list[Passage]:
    """The document's passages, and passages of kind BETWEEN for text outside them that is more than padding."""
    segments, position, text = [], 0, document.text
    for passage in document.passages:
        if not position <= passage.start <= passage.end <= len(text):
            report.add("passages_not_written", document.name, "passages overlap, or are not in order")
            return [Passage(0, len(text))]
        if text[position : passage.start].strip(" "):
            segments.append(Passage(position, passage.start, BETWEEN))
        segments.append(passage)
        position = passage.end
    if not segments:
        return [Passage(0, len(text))]
    if position < len(text):
        segments.append(Passage(position, len(text), BETWEEN))
    return segments
