"""BioC XML and BioC JSON, written one document at a time, by the `bioc` package's encoders.

A document that was read from BioC comes back with its passages, sentences, infons and relations as they were, within the
collection as it was; only its annotations are the document's mentions.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator

from bioc import biocjson
from bioc.biocxml.encoder import encode_document
from bioc.datastructure import (
    BioCAnnotation,
    BioCDocument,
    BioCLocation,
    BioCNode,
    BioCPassage,
    BioCRelation,
    BioCSentence,
)
from lxml import etree
from mosaic_ner.modeling.document import Document, Mention, Passage

from .base import SourcedDocument, count_losses, join_identifiers, replace_characters, require, write_error
from .bioc import ARTICLE, BETWEEN, BioCCollection, BioCSource, pairs_of
from .report import ReadReport
from .streams import SURROGATES

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What a collection of ours says. The date stays empty: the same documents give the same bytes.
_OWN = BioCCollection({"source": "mosaic-ner", "date": "", "key": "", "version": "1.0", "infons": {}})
_PLACES = frozenset(["id", "offset", "text", "infons", "passages", "sentences", "annotations", "relations"])
_NEEDED = {"source": "", "date": "", "key": "", "infons": {}}
"""Without these, other programs can't read a collection."""


def collection_of(document: Document) -> BioCCollection | None:
    """The collection that a document was read from, if it says anything."""
    source = _source(document)
    return source.collection if source is not None else None


def bioc_xml_header(collection: BioCCollection | None, report: ReadReport) -> str:
    """What stands before the documents; None: a collection of ours."""
    own = dict.fromkeys(("source", "date", "key"), "") | (collection or _OWN).head
    declared = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">\n<collection>\n'
    return declared + _around_xml(own, report)


def bioc_xml_footer(collection: BioCCollection | None, report: ReadReport) -> str:
    """What stands behind the documents."""
    return _around_xml((collection or _OWN).tail, report) + "</collection>\n"


def _around_xml(node: dict, report: ReadReport) -> str:
    root = etree.Element("collection")
    for key, value in node.items():
        if isinstance(value, str) and key != "version" and re.fullmatch("[A-Za-z_][A-Za-z0-9_.-]*", key):
            etree.SubElement(root, key).text = NOT_XML.sub(" ", value)
        elif key not in ("version", "infons"):  # BioC's version is that of the XML
            report.add("collection_not_written", "the collection", key)
    for key, value in pairs_of(node.get("infons")):
        etree.SubElement(root, "infon", {"key": NOT_XML.sub(" ", key)}).text = NOT_XML.sub(" ", value)
    return "".join(etree.tostring(child, encoding="unicode") + "\n" for child in root)


def bioc_json_header(collection: BioCCollection | None, report: ReadReport) -> str:
    """What stands before the documents; None: a collection of ours."""
    return _around_json((collection or _OWN).head).removesuffix("}") + '"documents": [\n'


def bioc_json_footer(collection: BioCCollection | None, report: ReadReport) -> str:
    """What stands behind the documents, and what other programs need."""
    own = collection or _OWN
    missing = {key: value for key, value in _NEEDED.items() if key not in own.head}
    return "\n]" + _around_json(missing | own.tail, ", ") + "\n"


def _around_json(node: dict, before: str = "{") -> str:
    """The keys as text, with what parts them from the documents' key."""
    node = node | ({"infons": _as_object(node["infons"])} if "infons" in node else {})
    inner = json.dumps(node, ensure_ascii=False)[1:-1]
    return (before if inner or before == "{" else "") + inner + (", " if inner and before == "{" else "") + "}"


def bioc_xml_record(document: Document, report: ReadReport, number: int) -> str:
    """One <document> element.

    Raises:
        FormatError: the id, a type, an identifier or an infon holds a character that XML cannot.
    """
    if (source := _source(document)) is not None:
        node = _with_mentions(document, source, "bioc_xml", NOT_XML.pattern, report)
        for key in _keys_without_place(node):
            report.add("key_not_written", document.name, key)
        tree = encode_document(_objects(_replaced(node, report, document)))
        return etree.tostring(tree, pretty_print=True, encoding="unicode")
    text = replace_characters(document.text, NOT_XML, " ", "character_replaced", report, document)
    tree = encode_document(_encode(document, text, "bioc_xml", NOT_XML.pattern, report))
    return etree.tostring(tree, pretty_print=True, encoding="unicode")


def bioc_json_record(document: Document, report: ReadReport, number: int) -> str:
    """One document object, preceded by the comma that separates it from the `number` written before it.

    Raises:
        FormatError: the id, a type, an identifier or an infon holds a lone surrogate.
    """
    if (source := _source(document)) is not None:
        node = _with_mentions(document, source, "bioc_json", SURROGATES.pattern, report)
    else:
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
        annotation = BioCAnnotation()
        annotation.id, annotation.text = f"T{number}", text[mention.start : mention.end]
        annotation.infons = _mention_infons(mention, document, format, forbidden, report)
        annotation.add_location(BioCLocation(mention.start, mention.end - mention.start))
        _holder(result, mention).add_annotation(annotation)
    return result


def _mention_infons(mention: Mention, document, format, forbidden, report) -> dict[str, str]:
    type = require(document, format, "entity type", mention.type, forbidden)
    infons = [("type", type), ("identifier", join_identifiers(document, mention, report))]
    if mention.score is not None:
        infons.append(("score", f"{mention.score:.4f}"))
    return _checked_infons([pair for pair in infons if pair[1]], document, format, forbidden, report)


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


# --- documents that came from BioC -----------------------------------------------------------------------------------


def _source(document: Document) -> BioCSource | None:
    source = document.source if isinstance(document, SourcedDocument) else None
    return source if isinstance(source, BioCSource) else None


def _as_object(infons) -> dict:
    """Infons as an object; of a key that is there twice, the first."""
    if isinstance(infons, dict):
        return infons
    found = {}
    for key, value in infons or ():
        found.setdefault(key, value)
    return found


def _with_mentions(document: Document, source: BioCSource, format: str, forbidden: str, report: ReadReport) -> dict:
    """The source's dictionary with the document's mentions as annotations, beside those that stay."""
    require(document, format, "document id", document.id, forbidden)
    keep = source.kept is not None

    def part(node: dict, *inner: str) -> dict:
        out = {key: value for key, value in node.items() if key != "line" and (value is not None or key == "id")}
        pairs = list(node.get("infons") or ()) if not isinstance(node.get("infons"), dict) else []
        if len(dict(pairs)) < len(pairs):
            report.add("infons_not_written", document.name, "a key a second time")
        out["infons"] = _as_object(node.get("infons"))
        for key in inner:
            out[key] = [part(item, *(("sentences",) if key == "passages" else ())) for item in node.get(key) or ()]
        out["annotations"] = (
            [_annotation(item, document, format) for item in node.get("annotations") or ()] if keep else []
        )
        out["relations"] = [item | {"infons": _as_object(item.get("infons"))} for item in node.get("relations") or ()]
        return out

    node = part(source.node, "passages")
    node["id"] = document.id
    for piece in node["passages"]:
        piece["offset"] = _number(piece["offset"], document, format)
        for sentence in piece["sentences"]:
            sentence["offset"] = _number(sentence.get("offset", piece["offset"]), document, format)
    names = (f"T{number}" for number in itertools.count(1))
    taken = set(_names(node))
    for mention in document.mentions:
        if keep and mention.key in source.kept:
            continue
        annotation = {
            "id": next(name for name in names if name not in taken),
            "infons": _mention_infons(mention, document, format, forbidden, report),
            "text": document.surface(mention),
            "locations": [{"offset": mention.start, "length": mention.end - mention.start}],
        }
        _innermost(node, mention)["annotations"].append(annotation)
    return node


def _annotation(item: dict, document: Document, format: str) -> dict:
    kept = {key: value for key, value in item.items() if key != "line"}
    numbers = ("offset", "length")
    places = [{k: _number(place.get(k), document, format) for k in numbers} for place in item.get("locations") or ()]
    text = item.get("text") if isinstance(item.get("text"), str) else ""
    return kept | {"infons": _as_object(item.get("infons")), "text": text, "locations": places}


def _number(value, document: Document, format: str) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,15}", value.strip()):
        return int(value)
    raise write_error(document, format, "offsets as numbers", f"{value!r:.80}", "correct the input")


def _names(node: dict) -> Iterator[str]:
    """The names that a document's annotations and relations have or refer to."""
    for item in (*(node.get("annotations") or ()), *(node.get("relations") or ())):
        yield str(item.get("id", ""))
        yield from (str(end.get("refid", "")) for end in item.get("nodes") or () if isinstance(end, dict))
    for inner in (*(node.get("passages") or ()), *(node.get("sentences") or ())):
        yield from _names(inner)


def _innermost(node: dict, mention: Mention) -> dict:
    """The sentence, else the passage, else the document that holds the mention."""
    for part in (*node.get("passages", ()), *node.get("sentences", ())):
        text = part.get("text") or ""
        end = part["offset"] + len(text)
        if part.get("sentences") and not text:
            last = part["sentences"][-1]
            end = last["offset"] + len(last.get("text") or "")
        if part["offset"] <= mention.start and mention.end <= end:
            return _innermost(part, mention)
    return node


def _replaced(value, report: ReadReport, document: Document):
    """The node with characters that XML lacks replaced, one by one."""
    if isinstance(value, str):
        return replace_characters(value, NOT_XML, " ", "character_replaced", report, document)
    if isinstance(value, list):
        return [_replaced(item, report, document) for item in value]
    if isinstance(value, dict):
        return {_replaced(key, report, document): _replaced(item, report, document) for key, item in value.items()}
    return value


def _keys_without_place(node: dict) -> Iterator[str]:
    """The keys of a document and its parts that XML has no element for."""
    for part in (node, *node.get("passages", ()), *node.get("sentences", ())):
        if part is node:
            yield from (key for key in node if key not in _PLACES)
        else:
            yield from _keys_without_place(part)


def _objects(node: dict) -> BioCDocument:
    """A dictionary of BioC JSON as the bioc package's objects, whose XML it writes."""
    document = _filled(BioCDocument(), node)
    document.id = str(node["id"])
    for piece in node["passages"]:
        passage = _filled(BioCPassage(), piece)
        passage.offset, passage.text = piece["offset"], piece.get("text")
        for inner in piece["sentences"]:
            sentence = _filled(BioCSentence(), inner)
            sentence.offset, sentence.text = inner["offset"], inner.get("text") or ""
            passage.add_sentence(sentence)
        if passage.sentences and not passage.text:
            passage.text = None
        elif passage.text is None:
            passage.text = ""
        document.add_passage(passage)
    return document


def _filled(part, node: dict):
    part.infons = _texts(node["infons"])
    for item in node["annotations"]:
        annotation = BioCAnnotation()
        annotation.id, annotation.text, annotation.infons = (
            str(item.get("id", "")),
            item["text"],
            _texts(item["infons"]),
        )
        for place in item["locations"]:
            annotation.add_location(BioCLocation(place["offset"], place["length"]))
        part.add_annotation(annotation)
    for item in node["relations"]:
        relation = BioCRelation()
        relation.id, relation.infons = str(item.get("id", "")), _texts(item["infons"])
        for end in item.get("nodes") or ():
            if isinstance(end, dict):
                relation.add_node(BioCNode(str(end.get("refid", "")), str(end.get("role", ""))))
        part.add_relation(relation)
    return part


def _texts(infons: dict) -> dict[str, str]:
    return dict(pairs_of(infons))
