"""PubMed's XML: baseline and update files, replies of E-utilities, book articles.

A document is a citation; its id is the PMID. Its text is what PubTator annotates: the title, a space, the abstract. The
parts of a structured abstract are passages, each with its label before it ("METHODS: …"), a space between two of them.
Abstracts beside the own one follow where they are in English; others are left out and counted. The version, the file and
the article's other ids are the document's infons.

Deleted citations are no documents: `ReadReport.deleted` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mosaic_ner.modeling.document import Document, Passage

from .base import Reading
from .xmlstream import child_of, records
from .xmltext import Text, plain

_DELETED = ("DeleteCitation", "DeleteDocument")
_TAGS = ("PubmedArticle", "PubmedBookArticle", *_DELETED)
ROOTS = ("PubmedArticleSet", "PubmedBookArticleSet", *_TAGS)
_PMID = re.compile("[0-9]{1,15}")
# Kinds of article ids → infon
_IDS = {"doi": "doi", "pmc": "pmcid", "bookaccession": "bookaccession"}
_ENGLISH = (None, "", "eng", "en")


def read_pubmed(handle, reading: Reading) -> Iterator[Document]:
    """Citations of a PubMed file, one in memory at a time."""
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document | None]]:
    number = 0
    for element in records(handle, reading, _TAGS, ROOTS, "<PubmedArticleSet>"):
        if element.tag in _DELETED:
            yield partial(_delete, element, reading)
        else:
            number += 1
            yield partial(_citation, element, number, reading)


def _delete(element, reading: Reading) -> None:
    for pmid in element.iterchildren("PMID"):
        id = plain(pmid, reading)
        reading.report.deleted.append((id, pmid.get("Version", ""), Path(reading.path).name))
        reading.note("deleted_citation", id, line=pmid.sourceline)


def _citation(element, number: int, reading: Reading) -> Document:
    citation = child_of(element, "MedlineCitation", "BookDocument")
    if citation is None:
        expected = "<MedlineCitation> or <BookDocument> in the record"
        raise reading.error(expected, f"<{element.tag}> without", "correct the file", line=element.sourceline)
    pmid = child_of(citation, "PMID")
    id = "" if pmid is None else plain(pmid, reading)
    if not id:
        id = str(number)
        reading.note("missing_id", line=element.sourceline, document=id)
    elif not _PMID.fullmatch(id):
        raise reading.error("a PMID of digits", f"{id!r:.80}", "correct the file", line=pmid.sourceline)
    article = child_of(citation, "Article")
    article = citation if article is None else article
    text = Text()
    title = child_of(article, "ArticleTitle")
    if title is None and (book := child_of(article, "Book")) is not None:
        title = child_of(book, "BookTitle")
    if title is not None:
        text.add(plain(title, reading), "title")
    for abstract in article.iterchildren("Abstract"):
        _add_abstract(text, abstract, "abstract", (), reading)
    for abstract in citation.iterchildren("OtherAbstract"):
        language = abstract.get("Language")
        if language not in _ENGLISH:
            reading.note("other_language", language, line=abstract.sourceline, document=id)
            continue
        infons = tuple((key.lower(), abstract.get(key)) for key in ("Type", "Language") if abstract.get(key))
        _add_abstract(text, abstract, "other_abstract", infons, reading)
    infons = [("version", pmid.get("Version"))] if pmid is not None and pmid.get("Version") else []
    infons += [("file", Path(reading.path).name), *_ids(element, citation, reading)]
    vernacular = child_of(article, "VernacularTitle")
    if vernacular is not None and (other := plain(vernacular, reading)):
        infons.append(("vernacular_title", other))
    passages = tuple(Passage(*passage) for passage in text.passages)
    return reading.document(id, text.text, (), line=element.sourceline, passages=passages, infons=tuple(infons))


def _add_abstract(text: Text, abstract, kind: str, infons: tuple, reading: Reading) -> None:
    for part in abstract.iterchildren("AbstractText"):
        label, category = part.get("Label", "").strip(), part.get("NlmCategory", "")
        own = (("label", label),) if label else ()
        own += (("category", category),) if category else ()
        content = plain(part, reading)
        text.add(f"{label}: {content}" if label and content else content, kind, infons + own)


def _ids(element, citation, reading: Reading) -> Iterator[tuple[str, str]]:
    """The article's ids in other places; those of its references stand deeper."""
    data = child_of(element, "PubmedData", "PubmedBookData")
    seen = set()
    for part in (data, citation):
        ids = None if part is None else child_of(part, "ArticleIdList")
        for item in () if ids is None else ids.iterchildren("ArticleId"):
            key = _IDS.get(item.get("IdType", ""))
            if key and key not in seen and (value := plain(item, reading)):
                seen.add(key)
                yield key, value
