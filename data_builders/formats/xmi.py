"""UIMA CAS as XMI, the exchange format of INCEpTION: an .xmi file a document, with the TypeSystem.xml of all of them beside.

Mentions are `NamedEntity` annotations, whose `value` is the type, `identifier` the concept identifiers, and `score`, a feature
that we add, a prediction's score. Offsets are UTF-16 code units in the file; dkpro-cassis converts them. `pip install
'mosaic-ner[inception]'`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

from lxml import etree
from mosaic_ner.data_builders.extras import require
from mosaic_ner.modeling.document import Document, Mention

from .base import Reading, count_losses, join_identifiers, replace_characters, split_identifiers, write_error
from .base import require as checked
from .bioc_write import NOT_XML
from .brat import id_of_stem
from .brat_write import FolderWriter, file_stem
from .report import ReadReport
from .streams import MAX_RECORD, buffered, replaced

TYPE_SYSTEM = "TypeSystem.xml"
ENTITY = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
METADATA = "de.tudarmstadt.ukp.dkpro.core.api.metadata.type.DocumentMetaData"
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, NotImplementedError, etree.LxmlError)
"""What cassis raises on files that aren't XMI, or not of the type system."""
_STRUCTURE = (
    "uima.tcas.DocumentAnnotation",
    "segmentation.type",
    "metadata.type",
    "clarin.webanno.api.type",
    "TypeDescription",
)
"""Parts of the names of types that carry no annotation."""


def _cassis():
    return require("inception", "UIMA CAS XMI", "cassis")


@lru_cache(maxsize=8)
def _type_system(path: str | None, changed: int):
    """Of a file, or DKPro Core's with our feature; `changed` is the file's time, so that another one is read again."""
    cassis = _cassis()
    if path is not None:
        with open(path, "rb") as file:
            return cassis.load_typesystem(file)
    types = cassis.load_dkpro_core_typesystem()
    types.create_feature(ENTITY, "score", "uima.cas.Float", description="Score of a prediction")
    return _with_metadata(types)


def _with_metadata(types):
    metadata = types.create_type(METADATA, "uima.tcas.DocumentAnnotation")
    for name in ("documentTitle", "documentId", "documentUri", "collectionId", "documentBaseUri"):
        types.create_feature(metadata, name, "uima.cas.String")
    types.create_feature(metadata, "isLastSegment", "uima.cas.Boolean")
    return types


@lru_cache(maxsize=1)
def _own_types():
    """What we write: the two types of DKPro Core's that a document needs, and our feature."""
    types = _cassis().TypeSystem()
    entity = types.create_type(ENTITY, "uima.tcas.Annotation")
    for name, kind in (("value", "uima.cas.String"), ("identifier", "uima.cas.String"), ("score", "uima.cas.Float")):
        types.create_feature(entity, name, kind)
    return _with_metadata(types)


def read_xmi(handle, reading: Reading) -> Iterator[Document]:
    """The document of an XMI file."""
    yield from reading.records([partial(_document, handle, reading)])


def _document(handle, reading: Reading) -> Document:
    raw = buffered(handle).read(MAX_RECORD + 1)
    if len(raw) > MAX_RECORD:
        raise reading.error(f"a document of at most {MAX_RECORD} bytes", "a longer one", "cut it into documents")
    beside = Path(reading.path).with_name(TYPE_SYSTEM)
    there = beside.is_file()
    remedy = (
        "export it again as UIMA CAS XMI (XML 1.0)" if there else f"put the {TYPE_SYSTEM} of its export beside the file"
    )
    try:
        types = _type_system(str(beside) if there else None, beside.stat().st_mtime_ns if there else 0)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            cas = _cassis().load_cas_from_xmi(io.BytesIO(raw), typesystem=types, lenient=True)
            view = cas.get_view("_InitialView")
            text, annotations = view.sofa_string, view.select_all_fs()
    except DAMAGE as error:
        raise reading.error(f"UIMA CAS XMI of the types in {TYPE_SYSTEM}", f"{error!s:.200}", remedy) from error
    text = replaced(text or "", reading)
    wrong = [str(warning.message) for warning in told if "offset" in str(warning.message)]
    if wrong:
        raise reading.error("offsets in UTF-16 code units of the text", f"{wrong[0]:.200}", remedy)
    for warning in told if reading.gold else ():
        reading.note("annotation_not_kept", f"{warning.message!s:.80}", document=reading.stem)
    titles = [
        title for found in annotations if found.type.name == METADATA and (title := _feature(found, "documentTitle"))
    ]
    id, index = id_of_stem(titles[0].removesuffix(".xmi") if titles else reading.stem)
    mentions = list(_mentions(annotations, text, id, reading)) if reading.gold else []
    return reading.document(
        replaced(id, reading) or reading.stem, text, [m for m in mentions if m is not None], index=index
    )


def _feature(annotation, name: str):
    """The value of a feature, None where the type system has no such feature."""
    return annotation[name] if annotation.type.get_feature(name) is not None else None


def _mentions(annotations: list, text: str, id: str, reading: Reading) -> Iterator[Mention | None]:
    for found in annotations:
        kind = found.type
        if not _is_entity(kind):
            if not any(part in kind.name for part in _STRUCTURE):
                relation = {"Governor", "Dependent"} <= {feature.name for feature in kind.all_features}
                cause = "relation" if relation else "annotation_not_kept"
                reading.note(cause, kind.name, document=id)
            continue
        if not isinstance(found.value, (str, type(None))):  # an array, or elements of another schema
            reading.report.mentions += 1
            reading.fault("no_type", "a value of a named entity", repr(found.value)[:80], document=id)
            continue
        name = found.value or (kind.name.rpartition(".")[2] if kind.name != ENTITY else "")
        if not name:
            reading.report.mentions += 1
            reading.fault("no_type", "a value of a named entity", f"none at [{found.begin}, {found.end})", document=id)
            continue
        score, identifiers = _feature(found, "score"), split_identifiers(_feature(found, "identifier") or "")
        span = (-1 if found.begin is None else found.begin, -1 if found.end is None else found.end)
        score = None if score is None else round(float(score), 4)
        yield reading.mention(text, span, replaced(name, reading), None, identifiers, score, line=None, id=id)


def _is_entity(kind) -> bool:
    while kind is not None and kind.name != ENTITY:
        kind = kind.supertype
    return kind is not None


def xmi_record(document: Document, report: ReadReport, number: int = 0) -> str:
    """A document's file.

    Raises:
        FormatError: there is a document before it; the id, a type or an identifier holds a character that XML cannot.
    """
    if number:
        raise write_error(document, "xmi", "one document in a file", "a second", "write a folder, or another format")
    count_losses(document, report, "identifiers", "score")
    if document.passages:
        report.add("passages_not_written", document.name, f"{len(document.passages)} passages")
    text = replace_characters(document.text, NOT_XML, " ", "character_replaced", report, document)
    types = _own_types()
    cas = _cassis().Cas(types, sofa_string=text, sofa_mime="text/plain")
    stem = file_stem(document, document.index)
    entity, metadata = types.get_type(ENTITY), types.get_type(METADATA)
    cas.add(metadata(begin=0, end=len(text), language="en", documentTitle=stem, documentId=stem))
    for mention in document.mentions:
        value = checked(document, "xmi", "entity type", mention.type, NOT_XML.pattern)
        identifier = join_identifiers(document, mention, report) or None
        if identifier is not None:
            checked(document, "xmi", "identifier", identifier, NOT_XML.pattern)
        score = None if mention.score is None else round(float(mention.score), 4)
        cas.add(entity(begin=mention.start, end=mention.end, value=value, identifier=identifier, score=score))
    return cas.to_xmi(pretty_print=True)


def type_system() -> str:
    """The content of TypeSystem.xml."""
    return _own_types().to_xml()


class XmiWriter(FolderWriter):
    """Writes an .xmi file a document into a folder, and their TypeSystem.xml."""

    def __init__(self, folder: str | Path, documents_written: int = 0):
        super().__init__(folder, documents_written)
        (self.folder / TYPE_SYSTEM).write_text(type_system(), encoding="utf-8")

    def contents(self, document: Document) -> dict[str, str]:
        """The content of each of the document's files by its ending."""
        return {".xmi": xmi_record(document, self.report)}
