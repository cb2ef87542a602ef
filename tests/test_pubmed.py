"""PubMed's XML: text, passages, ids, deleted citations, faults."""

from __future__ import annotations

import gzip
import io
import json
import re
from html import escape
from pathlib import Path

import pytest
from helpers_formats import PUBMED, failure, file, predicted, read, surfaces
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents, write_documents
from mosaic_ner.data_builders.formats.base import Reading
from mosaic_ner.data_builders.formats.xmlstream import records
from mosaic_ner.modeling.document import Passage

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
real = pytest.mark.real
here = pytest.mark.skipif(not (SHARED / "inputs").is_dir(), reason="the real files are not in ../shared")


def citation(title="Velosis", abstract="", pmid=1, after="", data="", version=1) -> str:
    """A record; `abstract` and the others are XML."""
    id = f'<PMID Version="{version}">{pmid}</PMID>' if pmid else ""
    return (
        f"<PubmedArticle><MedlineCitation>{id}<Article><ArticleTitle>{title}</ArticleTitle>{abstract}</Article>{after}"
        f"</MedlineCitation><PubmedData>{data}</PubmedData></PubmedArticle>"
    )


def abstract(*parts: str, name="Abstract", **attributes) -> str:
    inside = "".join(
        part if part.startswith("<AbstractText") else f"<AbstractText>{part}</AbstractText>" for part in parts
    )
    return f"<{name}{''.join(f' {k}={v!r}' for k, v in attributes.items())}>{inside}</{name}>"


def articles(*records: str) -> bytes:
    return f'<?xml version="1.0"?><PubmedArticleSet>{"".join(records)}</PubmedArticleSet>'.encode()


def parsed(*records: str, **how):
    """(documents, report)."""
    report = ReadReport()
    handle = io.BytesIO(articles(*records))
    handle.name = "folder/pubmed26n0001.xml"
    return list(read_documents(handle, "pubmed", report=report, **how)), report


def text_of(title: str = "", parts: str = "") -> str:
    return parsed(citation(title, abstract(parts) if parts else ""))[0][0].text


def test_title_and_abstract_as_pubtator_has_them():
    (document,), report = parsed(citation("Velosis.", abstract("In mice.")))
    assert (document.id, document.text) == ("1", "Velosis. In mice.")
    assert document.passages == (Passage(0, 8, "title"), Passage(9, 17, "abstract"))
    assert document.infons == (("version", "1"), ("file", "pubmed26n0001.xml"))
    assert not report.counts


def test_parts_of_a_structured_abstract_have_their_labels():
    one = '<AbstractText Label="METHODS" NlmCategory="METHODS">We saw.</AbstractText>'
    two = '<AbstractText Label="RESULTS" NlmCategory="UNASSIGNED"><b/></AbstractText>'
    (document,), _ = parsed(citation("T", abstract(one, two, "Free.")))
    assert document.text == "T METHODS: We saw. Free."
    assert document.passages[1:] == (
        Passage(2, 18, "abstract", (("label", "METHODS"), ("category", "METHODS"))), Passage(19, 24, "abstract"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("Ca<sup>2+</sup> of <i>C. elegans</i>", "Ca2+ of C. elegans"), ("a<sub>1<i>b</i></sub>c", "a1bc"),
        ("a\n   <i>b</i>\n\t c\n", "a b c"), ("a  b\u00a0 c\u2009d\n\n \u00a0e", "a  b\u00a0 c\u2009d \u00a0e"),
        ("a <!-- b -->c<?x y?>d", "a cd"),
        ("&lt;i&gt; &amp;lt; &#946;&beta;&#x1d6fc;", "<i> &lt; ββ𝛼"), ("<![CDATA[a < b]]>", "a < b"), ("&#xD835;&#xDEFC;", "𝛼"),
        ("p <mml:math xmlns:mml='http://www.w3.org/1998/Math/MathML'><mml:mrow>\n <mml:mi>x</mml:mi>\n <mml:mo>&lt;</mml:mo>"
         "<mml:mn>5</mml:mn></mml:mrow><mml:annotation>x&lt;5</mml:annotation></mml:math> q", "p x<5 q"),
        ("if<DispFormula><mml:math xmlns:mml='u'><mml:mi>x</mml:mi></mml:math></DispFormula>then", "if x then"),
    ],
)  # fmt: skip
def test_markup_gives_its_characters(xml, text):
    assert text_of(xml) == text
    assert text_of("T", xml) == f"T {text}"


def test_formulas_without_text_are_counted():
    (document,), report = parsed(citation("a <DispFormula><tex-math>x</tex-math></DispFormula> b"))
    assert (document.text, report.counts) == ("a b", {"formula_not_read": 1})


def test_abstracts_beside_the_own_one():
    other = [
        abstract("More.", name="OtherAbstract", Type="PIP", Language="eng"),
        abstract("Más.", name="OtherAbstract", Type="Publisher", Language="spa"),
        abstract("<AbstractText>Plain.</AbstractText>", name="OtherAbstract"),
    ]
    (document,), report = parsed(citation("T", abstract("Own."), after="".join(other)))
    assert document.text == "T Own. More. Plain."
    assert [(p.kind, p.infons) for p in document.passages[2:]] == [
        ("other_abstract", (("type", "PIP"), ("language", "eng"))), ("other_abstract", ()),
    ]  # fmt: skip
    assert report.counts == {"other_language": 1}
    assert "spa" in report.examples["other_language"][0]


def test_other_ids_and_titles():
    ids = (
        '<ArticleIdList><ArticleId IdType="pubmed">1</ArticleId><ArticleId IdType="doi">10/x</ArticleId><ArticleId '
        'IdType="pmc">PMC5</ArticleId></ArticleIdList><ReferenceList><Reference><ArticleIdList><ArticleId IdType="pmc">PMC6'
        "</ArticleId></ArticleIdList></Reference></ReferenceList>"
    )
    vernacular = "<VernacularTitle>Titre <i>x</i></VernacularTitle>"
    (document,), _ = parsed(citation("[Title].", vernacular, data=ids))
    assert document.text == "[Title]."
    assert document.infons[2:] == (("doi", "10/x"), ("pmcid", "PMC5"), ("vernacular_title", "Titre x"))


def test_no_text_and_no_id():
    documents, report = parsed(citation("", pmid=""), citation("", abstract("Alone."), pmid=5))
    assert [(d.id, d.text) for d in documents] == [("1", ""), ("5", "Alone.")]
    assert documents[1].passages == (Passage(0, 6, "abstract"),)
    assert report.counts == {"missing_id": 1, "empty_document": 1}


def test_book_articles():
    book = (
        "<PubmedBookArticle><BookDocument><PMID Version='1'>20301295</PMID><ArticleIdList><ArticleId IdType='bookaccession'>"
        "NBK1</ArticleId></ArticleIdList><Book><BookTitle>Book</BookTitle></Book>{}<Abstract><AbstractText Label='CLINICAL'>A."
        "</AbstractText></Abstract></BookDocument></PubmedBookArticle>"
    )
    documents, _ = parsed(book.format("<ArticleTitle>Velosis</ArticleTitle>"), book.format(""), repeated_ids="index")
    assert [(d.id, d.text) for d in documents] == [
        ("20301295", "Velosis CLINICAL: A."), ("20301295", "Book CLINICAL: A."),
    ]  # fmt: skip
    assert ("bookaccession", "NBK1") in documents[0].infons


def test_deleted_citations_are_listed():
    gone = '<DeleteCitation><PMID Version="1">8</PMID><PMID Version="2">9</PMID></DeleteCitation>'
    documents, report = parsed(citation(), gone, citation(pmid=2))
    assert [d.id for d in documents] == ["1", "2"]
    assert report.deleted == [("8", "1", "pubmed26n0001.xml"), ("9", "2", "pubmed26n0001.xml")]
    assert report.counts == {"deleted_citation": 2}
    both = ReadReport()
    both.merge(report)
    assert both.deleted == report.deleted
    assert parsed(gone)[0] == []


def test_versions_of_a_citation():
    with pytest.raises(FormatError, match="each document id once"):
        parsed(citation(), citation(version=2))
    documents, report = parsed(citation(), citation(version=2), policy="lenient")
    assert [(d.id, d.index, d.infons[0]) for d in documents] == [("1", 0, ("version", "1")), ("1", 1, ("version", "2"))]
    assert report.counts == {"repeated_id": 1}


def test_bad_records_are_skipped_and_a_break_keeps_what_was_before(tmp_path):
    bad = [citation(pmid="12a"), "<PubmedArticle/>", citation("&unknown;", pmid=3)]
    for record in bad:
        with pytest.raises(FormatError, match=r"digits|MedlineCitation|unknown"):
            parsed(record)
    documents, report = parsed(citation(), *bad, citation(pmid=4), policy="lenient", skip_bad=True)
    assert [d.id for d in documents] == ["1", "4"]
    assert report.counts == {"bad_record": 3}
    whole = articles(citation("velosis"), citation("mice", pmid=2), citation("spiran", pmid=3))
    for name, data in (("x.xml", whole[:-60]), ("x.xml.gz", gzip.compress(whole)[:-9])):
        path = file(tmp_path, name, data)
        assert re.search(r"x\.xml(\.gz)?(:1)?: expected (well-formed XML|a complete gzip file)", failure(path))
        assert predicted(path, tmp_path / f"{name}.jsonl", chunk=1) == 1
        assert len(surfaces(tmp_path / f"{name}.jsonl")) >= 2
    for xml, message in (
        (b"<PubmedArticleSet>\n<b></a>", r"<stream>:2: .*tag mismatch: b"),
        (b"", "got an empty file"),
    ):
        with pytest.raises(FormatError, match=message):
            list(read_documents(io.BytesIO(xml), "pubmed"))
    for xml in ("<collection/>", f"<collection>{citation()}</collection>"):
        with pytest.raises(FormatError, match="<PubmedArticleSet>, got <collection>"):
            list(read_documents(io.BytesIO(xml.encode()), "pubmed"))


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"))
)


@settings(max_examples=100, deadline=None, database=None)
@given(TEXTS)
def test_any_text_comes_back(texts):
    """A title and parts of an abstract, in any markup, are the text, but for spaces at their ends."""
    marked = [f"{escape(t[: len(t) // 2])}<i>{escape(t[len(t) // 2 :])}</i>" for t in texts]
    parts = [f"<AbstractText>{m}</AbstractText>" for m in marked[1:]]
    (document,), _ = parsed(citation(marked[0] if marked else "", abstract(*parts)))
    kept = [t.strip(" ") for t in texts if t.strip(" ")]
    assert document.text == " ".join(kept)
    assert [document.text[p.start : p.end] for p in document.passages] == kept


# --- written ----------------------------------------------------------------------------------------------------------


FOUND = [("Disease", "velosis"), ("Species", "mice"), ("Chemical", "Spiran")]


def found_in(path, **how) -> list:
    return [mention for mentions in surfaces(path, **how) for mention in mentions]


@pytest.mark.parametrize("target", ["out.xml", "out.json.gz", "out.jsonl", "out.pubtator", "out.tsv", "brat"])
def test_prediction_writes_every_format(target, tmp_path):
    path = file(tmp_path, "pubmed26n0001.xml.gz", gzip.compress(PUBMED.encode()))
    assert predicted(path, tmp_path / target) == 0
    assert found_in(tmp_path / target) == FOUND
    if target in ("out.xml", "out.json.gz", "out.jsonl"):
        documents = read(tmp_path / target)[0]
        assert [d.with_mentions(()) for d in documents] == [d.with_mentions(()) for d in read(path)[0]]


def test_a_folder_comes_back_as_bioc_under_the_same_names(tmp_path):
    for name in ("a/pubmed26n0001.xml.gz", "a/pubmed26n0002.xml"):
        file(tmp_path, name, gzip.compress(PUBMED.encode()) if name.endswith("gz") else PUBMED)
    assert predicted(tmp_path / "a", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["pubmed26n0001.xml.gz", "pubmed26n0002.xml"]
    for path in (tmp_path / "out").iterdir():
        assert found_in(path, format="bioc_xml") == FOUND


def test_deleted_citations_stand_beside_the_output(tmp_path):
    gone = '<DeleteCitation><PMID Version="1">8</PMID></DeleteCitation>'
    path = file(tmp_path, "pubmed26n0001.xml", articles(citation(), gone))
    assert predicted(path, tmp_path / "out.jsonl") == 0
    assert (tmp_path / "out.jsonl.deleted.tsv").read_text() == "pmid\tversion\tfile\n8\t1\tpubmed26n0001.xml\n"
    assert predicted(file(tmp_path, "y.xml", articles(citation())), tmp_path / "out.jsonl") == 0
    assert not (tmp_path / "out.jsonl.deleted.tsv").exists()


# --- real files -------------------------------------------------------------------------------------------------------


@real
@here
def test_real_files_hold_what_their_xml_says():
    """A twin by XPath: ids, and all characters of titles and abstracts but white space."""
    seen = 0
    for path in sorted((SHARED / "inputs" / "pubmed").glob("*.xml")):
        report = ReadReport()
        documents = list(read_documents(path, report=report))
        tree = etree.parse(path)
        assert [d.id for d in documents] == tree.xpath("//PubmedArticle/MedlineCitation/PMID/text()")
        for document, node in zip(documents, tree.xpath("//PubmedArticle"), strict=True):
            parts = node.xpath(".//ArticleTitle | .//AbstractText")
            labels = [f"{part.get('Label')}:" if part.get("Label") else "" for part in parts]
            whole = "".join(label + "".join(part.itertext()) for label, part in zip(labels, parts, strict=True))
            assert "".join(document.text.split()) == "".join(whole.split())
            assert " ".join(document.text[p.start : p.end] for p in document.passages) == document.text
            seen += 1
        assert len(report.deleted) == len(tree.xpath("//DeleteCitation/PMID"))
        assert set(report.counts) <= {"deleted_citation"}
    assert seen == 21


def as_pubmed(document) -> str:
    """A PubTator document as PubMed has it: the abstract parted at its labels."""
    parts = [p for p in document.passages if p.kind == "abstract"]
    text = document.text[parts[0].start : parts[0].end] if parts else ""
    pieces = re.split(r"(?:^|(?<=[.?!)]) )([A-Z][A-Z ]{3,30}): ", text)
    xml = [f"<AbstractText>{escape(pieces[0])}</AbstractText>"] if pieces[0] else []
    xml += [
        f'<AbstractText Label="{k}">{escape(v)}</AbstractText>' for k, v in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    title = document.text[: document.passages[0].end] if document.passages else document.text
    return citation(escape(title), abstract(*xml), pmid=document.id)


@real
@here
def test_the_text_is_pubtators():
    """None of the PubMed files here is of an article of which PubTator's text is here, so PubTator's titles and abstracts are
    put into PubMed's XML: read, they give PubTator's text, so that its offsets hold."""
    replies = sorted((SHARED / "inputs" / "pubtator3").glob("*.json"))
    documents = [document for path in replies for document in read_documents(path)]
    for document in documents:
        node = json.loads(
            next(path for path in replies if json.loads(path.read_text())["id"] == document.id).read_text()
        )
        title, body = node["passages"]
        assert body["offset"] == len(title["text"]) + 1
        (found,), _ = parsed(as_pubmed(document).replace(document.id, str(node["pmid"])))
        assert (found.id, found.text) == (str(node["pmid"]), document.text)
        assert [(p.start, p.end, p.kind) for p in found.passages] == [
            (p.start, p.end, p.kind) for p in document.passages
        ]
    labelled = trailing = 0
    for document in read_documents(SHARED / "corpora" / "pubtator" / "BioRED_Test.PubTator"):
        (found,), _ = parsed(as_pubmed(document))
        assert (found.id, found.text) == (document.id, document.text.rstrip(" "))
        trailing += found.text != document.text
        assert [found.surface(m) for m in document.mentions] == [document.surface(m) for m in document.mentions]
        labelled += any(p.infons for p in found.passages)
    assert (labelled > 10, trailing) == (True, 2)


@pytest.mark.parametrize("around", ["", "<record><metadata>"])
def test_records_are_freed(around):
    """Whatever is around them, only the one being read is in memory."""
    after = around.replace("<metadata>", "</metadata>").replace("<record>", "") + ("</record>" if around else "")
    xml = "<PubmedArticleSet>" + f"{around}{citation()}{after}\n" * 500 + "</PubmedArticleSet>"
    reading, alive, count = Reading("x", "x"), 0, 0
    for element in records(io.BytesIO(xml.encode()), reading, ("PubmedArticle",), ("PubmedArticleSet",), ""):
        count += 1
        alive = max(alive, len(element.getroottree().getroot().findall(".//PMID")))
        assert len(element.getroottree().getroot()) <= 300  # the parser is a piece of the file ahead
    assert count == 500
    assert alive <= 300


def test_round_trip_through_write_documents(tmp_path):
    (document,), _ = parsed(citation("T", abstract('<AbstractText Label="METHODS">A.</AbstractText>', "B.")))
    for ending in ("bioc.xml", "bioc.json", "jsonl"):
        assert not write_documents([document], tmp_path / f"x.{ending}").counts
        assert read(tmp_path / f"x.{ending}")[0] == [document]
