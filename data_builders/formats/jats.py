"""JATS full texts (.nxml), as PubMed Central and publishers give them.

A document is an article; its id is the PMCID, else the PMID, DOI or publisher's id. Passages are named as in the BioC files
of PubMed Central (Comeau et al. 2019, doi:10.1093/bioinformatics/btz070): the kind says what a passage is (title, abstract,
title_1, paragraph, fig_caption, table, …), the infon `section_type` where it stands (INTRO, METHODS, FIG, …). A table's row
is a passage, with tabs between its cells. Figures, tables and notes inside a paragraph follow it.

Read are the title, the abstracts, the body, floats, and of the back matter all but the references. Left out and counted:
references, sub-articles, abstracts and titles in other languages, formulas without text. Labels of figures, tables and
sections are infons; those of notes, formulas and items of lists are left out. Front matter beside titles and abstracts
(authors, affiliations, keywords) isn't text of the article.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mosaic_ner.modeling.document import Document, Passage

from .base import Reading
from .xmlstream import child_of, name_of, records
from .xmltext import Text, flow, plain, tidy

ROOTS = (
    "article", "pmc-articleset", "articles", "OAI-PMH", "records", "record", "ListRecords", "GetRecord", "metadata",
)  # fmt: skip
# Kinds of article ids, the best first → infon
_IDS = {"pmcid": "pmcid", "pmc": "pmcid", "pmid": "pmid", "doi": "doi", "publisher-id": "publisher-id"}
_FLOATS = frozenset({
    "fig", "fig-group", "table-wrap", "table-wrap-group", "boxed-text", "supplementary-material", "chem-struct-wrap", "fn",
})  # fmt: skip
_BLOCKS = frozenset({
    "list", "def-list", "disp-quote", "statement", "verse-group", "verse-line", "speech", "table", "array", "p", "sec",
    "title", "caption", "def",
})  # fmt: skip
_BLOCKS_OF_A_CELL = _BLOCKS | {"tr", "td", "th"}
_PARTS = ("body", "back", "floats-group", "sub-article", "response")
_ABSTRACTS = ("abstract", "trans-abstract")
_UNREAD = {"ref-list": "reference", "sub-article": "sub_article", "response": "sub_article"}
_HIDDEN = frozenset(["graphic", "object-id", "permissions", "alt-text", "long-desc", "sec-meta", "tex-math", "label"])
_KINDS = {
    "fig": "fig",
    "fig-group": "fig",
    "chem-struct-wrap": "fig",
    "table-wrap": "table",
    "table-wrap-group": "table",
}
_SECTIONS = [
    ("INTRO", r"intro|background"),
    ("RESULTS", r"results?\b|findings"),
    ("DISCUSS", r"(general )?discussion"),
    ("CONCL", r"(general |concluding )?(conclu|remarks)"),
    ("CASE", r"cases?\b"),
    ("SUPPL", r"suppl|supporting information|additional (files?|information)|electronic supplementary"),
    ("ACK_FUND", r"acknowledg|funding|financial support"),
    ("COMP_INT", r"(competing|conflicts?|declaration of (competing|conflict)|financial disclosure|disclosure)"),
    ("AUTH_CONT", r"author'?s?.{0,3} contributions?|contributors"),
    ("ABBR", r"abbreviations?|glossary"),
    ("APPENDIX", r"appendi(x|ces)"),
    ("METHODS", r".{0,25}\b(method|procedures?\b|materials?\b|(study|experimental) design)"),
]  # fmt: skip
_SECTIONS = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _SECTIONS]
_NUMBER = re.compile(r"^(?:[\W\d]+|[IVX]+\.)+")
_CONTAINERS = {
    "ack": "ACK_FUND",
    "app": "APPENDIX",
    "app-group": "APPENDIX",
    "glossary": "ABBR",
    "supplementary-material": "SUPPL",
}
_ENGLISH = re.compile(r"en(g|[-_].*)?", re.IGNORECASE)
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_jats(handle, reading: Reading) -> Iterator[Document]:
    """Articles of a JATS file, or of several in a reply of PubMed Central, one in memory at a time."""
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    found = records(handle, reading, ("{*}article",), ROOTS, "<article>")
    for number, element in enumerate(found, 1):
        yield partial(_article, element, number, reading)


def _article(element, number: int, reading: Reading) -> Document:
    front = child_of(element, "{*}front")
    meta = None if front is None else child_of(front, "{*}article-meta")
    if meta is None:
        expected = "<front> with <article-meta> in <article>"
        raise reading.error(expected, "none", "give a JATS article, or name the format", line=element.sourceline)
    ids = _ids(meta, reading)
    id = next(iter(ids.values()), "")
    if not id:
        id = str(number)
        reading.note("missing_id", line=element.sourceline, document=id)
    article = _Article(id, reading)
    article.front(meta)
    for part in element:
        if name_of(part) in _PARTS:
            article.block(part, "OTHER", 0)
    infons = [("file", Path(reading.path).name), *((k, v) for k, v in ids.items() if v != id or k != "pmcid")]
    text = article.text
    passages = tuple(Passage(*passage) for passage in text.passages)
    return reading.document(id, text.text, (), line=element.sourceline, passages=passages, infons=tuple(infons))


def _ids(meta, reading: Reading) -> dict[str, str]:
    """Infon → id, the best first."""
    found = {}
    for item in meta.iterchildren("{*}article-id"):
        key, value = _IDS.get(item.get("pub-id-type", "")), plain(item, reading)
        if key and value:
            found.setdefault(key, f"PMC{value}" if key == "pmcid" and value.isdecimal() else value)
    return {key: found[key] for key in dict.fromkeys(_IDS.values()) if key in found}


class _Article:
    """Collects the passages of one article."""

    def __init__(self, id: str, reading: Reading):
        self.id, self.reading, self.text = id, reading, Text()

    def note(self, cause: str, element, detail: str = "", count: int = 1) -> None:
        self.reading.note(cause, detail, line=element.sourceline, document=self.id, count=count)

    def add(self, text: str, kind: str, section: str, **infons: str) -> None:
        self.text.add(text, kind, (("section_type", section), *((k, v) for k, v in infons.items() if v)))

    def front(self, meta) -> None:
        """The title and the abstracts."""
        for group in meta.iterchildren("{*}title-group"):
            for part in group:
                name = name_of(part)
                if name in ("article-title", "subtitle"):
                    self.paragraph(part, "title" if name == "article-title" else name, "TITLE", 0)
                elif name == "trans-title-group" and self.foreign(part):
                    self.note("other_language", part, part.get(_LANGUAGE, ""))
        for abstract in meta:
            if (name := name_of(abstract)) not in _ABSTRACTS:
                continue
            if self.foreign(abstract) or (name == "trans-abstract" and not abstract.get(_LANGUAGE)):
                self.note("other_language", abstract, abstract.get(_LANGUAGE, ""))
                continue
            for part in abstract:
                self.block(part, "ABSTRACT", 0, abstract.get("abstract-type", ""))

    @staticmethod
    def foreign(element) -> bool:
        language = element.get(_LANGUAGE)
        return bool(language) and not _ENGLISH.fullmatch(language)

    def block(self, element, section: str, depth: int, abstract: str = "", kind: str = "paragraph") -> None:
        """Adds an element and what is in it.

        Args:
            section: the section's type. depth: how many sections are around. abstract: the abstract's type.
            kind: what its paragraphs are.
        """
        name = name_of(element)
        if name in _UNREAD:
            count = len(list(element.iter("{*}ref"))) if name == "ref-list" else 1
            if count:
                self.note(_UNREAD[name], element, element.get("article-type", ""), count)
            return
        if not name or name in _HIDDEN:
            return
        if name in ("sec", *_CONTAINERS):
            section = _section_type(element, section, self.reading)
            depth += name == "sec"
        if name == "fn" and kind != "table_footnote":
            kind = "footnote"
        if name in _KINDS:
            self.figure(element, name, abstract)
        elif name == "title":
            kind = f"title_{max(depth, 1)}" if section != "ABSTRACT" else f"abstract_title_{max(depth, 1)}"
            self.paragraph(element, kind, section, depth, abstract, _label(element.getparent(), self.reading))
        elif name in ("table", "array"):
            self.table(element, section, {})
        elif name == "disp-formula":
            if text := plain(element, self.reading):
                self.add(text, "abstract" if section == "ABSTRACT" else kind, section, abstract_type=abstract)
            else:
                self.note("formula_not_read", element)
        elif name in ("p", "term", "attrib", "verse-line", "preformat", "code") or _is_mixed(element):
            kind = "abstract" if section == "ABSTRACT" and kind == "paragraph" else kind
            self.paragraph(element, kind, section, depth, abstract)
        else:
            for part in element:
                self.block(part, section, depth, abstract, kind)

    def paragraph(self, element, kind: str, section: str, depth: int, abstract: str = "", label: str = "") -> None:
        """Text, and what stands in or beside it."""
        for piece in flow(element, self.reading, _BLOCKS, _FLOATS):
            if isinstance(piece, str):
                self.add(tidy(piece), kind, section, abstract_type=abstract, label=label)
            else:
                self.block(piece, section, depth, abstract, kind if kind in ("abstract", "footnote") else "paragraph")

    def figure(self, element, name: str, abstract: str) -> None:
        """The caption of a figure or table, and the table."""
        what, infons = _KINDS[name], {"id": element.get("id", ""), "label": _label(element, self.reading)}
        section = what.upper()
        for part in element:
            inner = name_of(part)
            if inner == "caption":
                for piece in part:
                    kind = f"{what}_title_caption" if name_of(piece) == "title" else f"{what}_caption"
                    for text in flow(piece, self.reading, _BLOCKS, _FLOATS):
                        if isinstance(text, str):
                            self.add(tidy(text), kind, section, abstract_type=abstract, **infons)
                        else:
                            self.block(text, section, 0, abstract, kind)
            elif inner in ("table", "array"):
                self.table(part, section, infons)
            elif inner == "alternatives":
                for table in part.iterchildren("{*}table", "{*}array"):
                    self.table(table, section, infons)
            elif inner == "table-wrap-foot":
                for note in part:
                    self.block(note, section, 0, abstract, "table_footnote")
            else:
                self.block(part, section, 0, abstract)

    def table(self, table, section: str, infons: dict[str, str]) -> None:
        """A table's rows, each a passage."""
        aside = []
        for row in (row for part in table for row in ([part] if name_of(part) == "tr" else part)):
            cells = []
            for cell in row:
                if name_of(cell) in ("td", "th"):
                    cells.append(self.cell(cell, aside))
            self.add("\t".join(filter(None, cells)), "table", section, **infons)
        for element in aside:
            self.block(element, section, 0, kind="table_footnote")

    def cell(self, element, aside: list) -> str:
        """A cell's text, its paragraphs and the items of its lists apart; what stands elsewhere goes to `aside`."""
        words = []
        for piece in flow(element, self.reading, _BLOCKS_OF_A_CELL, _FLOATS):
            if isinstance(piece, str):
                words.append(tidy(piece))
            elif name_of(piece) in _BLOCKS_OF_A_CELL:
                words.append(self.cell(piece, aside))
            else:
                aside.append(piece)
        return " ".join(filter(None, words))


def _section_type(element, section: str, reading: Reading) -> str:
    """What a section is about, by its attribute or heading, else as the section around it."""
    if section == "ABSTRACT":
        return section
    title = child_of(element, "{*}title")
    heading = "" if title is None else plain(title, reading)
    for words in (element.get("sec-type", ""), _NUMBER.sub("", heading)):
        for name, pattern in _SECTIONS:
            if words and pattern.match(words):
                return name
    return _CONTAINERS.get(name_of(element), section)


def _is_mixed(element) -> bool:
    """Whether there is text between an element's parts."""
    return bool((element.text or "").strip()) or any((c.tail or "").strip() or not name_of(c) for c in element)


def _label(element, reading: Reading) -> str:
    label = None if element is None else child_of(element, "{*}label")
    return "" if label is None else plain(label, reading)
