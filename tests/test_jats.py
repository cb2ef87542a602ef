"""JATS full texts: passages, section types, what is left out, ids, faults."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from helpers_formats import JATS, file, predicted, read, surfaces
from lxml import etree
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents, write_documents

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
PMC = '<article-id pub-id-type="pmc">7</article-id>'


def article(body="", title="T", abstract="", ids=PMC, back="", meta="", after="") -> str:
    return (
        f"<article><front><journal-meta><p>J</p></journal-meta><article-meta>{ids}<title-group><article-title>{title}"
        f"</article-title></title-group>{abstract}{meta}</article-meta></front><body>{body}</body><back>{back}</back>{after}"
        "</article>"
    )


def parsed(*xml: str, **how):
    report = ReadReport()
    whole = xml[0] if len(xml) == 1 else f"<pmc-articleset>{''.join(xml)}</pmc-articleset>"
    handle = io.BytesIO(whole.encode())
    handle.name = "folder/x.nxml"
    return list(read_documents(handle, "jats", report=report, **how)), report


def passages(body="", **parts) -> list:
    """(kind, section type, text) of an article's passages after its title."""
    (document,), _ = parsed(article(body, **parts))
    assert " ".join(document.text[p.start : p.end] for p in document.passages) == document.text
    found = [(p.kind, dict(p.infons)["section_type"], document.text[p.start : p.end]) for p in document.passages]
    assert found[0] == ("title", "TITLE", "T")
    return found[1:]


def test_sections_have_types_and_headings_have_levels():
    assert passages(
        "<p>Start.</p><sec><title>1. Introduction</title><p>A.</p><sec><title>Aims</title><p>B.</p></sec></sec>"
        "<sec sec-type='materials|methods'><label>2</label><title>How</title><p>C.</p></sec>"
        "<sec><title>Patients and Methods</title></sec><sec><title>Results and discussion</title><p>D.</p></sec>"
        "<sec><title>Other things</title><p>E.</p></sec>"
    ) == [
        ("paragraph", "OTHER", "Start."), ("title_1", "INTRO", "1. Introduction"), ("paragraph", "INTRO", "A."),
        ("title_2", "INTRO", "Aims"), ("paragraph", "INTRO", "B."), ("title_1", "METHODS", "How"),
        ("paragraph", "METHODS", "C."),
        ("title_1", "METHODS", "Patients and Methods"), ("title_1", "RESULTS", "Results and discussion"),
        ("paragraph", "RESULTS", "D."), ("title_1", "OTHER", "Other things"), ("paragraph", "OTHER", "E."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("Background", "INTRO"), ("Materials – methods", "METHODS"), ("Experimental Procedures", "METHODS"),
        ("Study design", "METHODS"), ("RESULTS", "RESULTS"), ("General Discussion", "DISCUSS"), ("Conclusions", "CONCL"),
        ("Concluding remarks", "CONCL"), ("Case presentation", "CASE"), ("Supporting Information", "SUPPL"),
        ("Acknowledgements", "ACK_FUND"), ("Funding", "ACK_FUND"), ("Conflict of interest", "COMP_INT"),
        ("Authors' contributions", "AUTH_CONT"), ("List of abbreviations", "OTHER"), ("Abbreviations", "ABBR"),
        ("Appendix A", "APPENDIX"), ("IV. Discussion", "DISCUSS"), ("4.1 Discussion", "DISCUSS"), ("Theory", "OTHER"),
    ],
)  # fmt: skip
def test_headings(heading, section):
    assert passages(f"<sec><title>{heading}</title></sec>") == [("title_1", section, heading)]


def test_abstracts():
    abstract = (
        "<abstract><sec><title>Aim</title><p>A.</p></sec></abstract><abstract abstract-type='summary'><title>Summary</title>"
        "<p>B.</p></abstract><trans-abstract xml:lang='fr'><p>C.</p></trans-abstract><trans-abstract><p>D.</p></trans-abstract>"
        "<abstract xml:lang='en-GB'><p>E.</p></abstract><abstract xml:lang='de'><p>F.</p></abstract>"
    )
    (document,), report = parsed(article(abstract=abstract))
    assert document.text == "T Aim A. Summary B. E."
    assert [p.kind for p in document.passages[1:]] == [
        "abstract_title_1", "abstract", "abstract_title_1", "abstract", "abstract",
    ]  # fmt: skip
    assert document.passages[4].infons == (("section_type", "ABSTRACT"), ("abstract_type", "summary"))
    assert report.counts == {"other_language": 3}


def test_floats_follow_their_paragraph_and_blocks_part_it():
    fig = (
        "<fig id='F1'><label>Figure 1</label><caption><title>Cap.</title><p>Of <i>it</i>.</p></caption><graphic/></fig>"
    )
    note, items = (
        "<fn><label>a</label><p>Note.</p></fn>",
        "<list><list-item><label>1</label><p>x</p></list-item></list>",
    )
    body = f"<p>One{fig}two{note} three:{items}end</p>"
    (document,), _ = parsed(article(body))
    assert document.text == "T Onetwo three: x end Cap. Of it. Note."
    assert [p.kind for p in document.passages[1:]] == [
        "paragraph", "paragraph", "paragraph", "fig_title_caption", "fig_caption", "footnote",
    ]  # fmt: skip
    assert document.passages[4].infons == (("section_type", "FIG"), ("id", "F1"), ("label", "Figure 1"))


def test_tables():
    table = (
        "<table-wrap id='T1'><label>Table 1</label><caption><p>Cap.</p></caption><alternatives><graphic/><table><thead><tr>"
        "<th>A<sup>2</sup></th><th/></tr></thead><tbody><tr><td>b\n <break/>c<fn><p>n</p></fn></td><td>d</td></tr></tbody>"
        "</table></alternatives><table-wrap-foot><fn><p>Foot.</p></fn></table-wrap-foot></table-wrap>"
    )
    assert passages(table) == [
        ("table_caption", "TABLE", "Cap."), ("table", "TABLE", "A2"), ("table", "TABLE", "b c\td"),
        ("table_footnote", "TABLE", "n"), ("table_footnote", "TABLE", "Foot."),
    ]  # fmt: skip
    (document,), _ = parsed(article(table))
    own = (("section_type", "TABLE"), ("id", "T1"), ("label", "Table 1"))
    assert [p.infons == own for p in document.passages[1:]] == [True, True, True, False, False]


def test_text_outside_paragraphs():
    assert passages("Loose <italic>text</italic><sec>in a section<p>A.</p></sec><disp-quote>&beta;</disp-quote>") == [
        ("paragraph", "OTHER", "Loose text"), ("paragraph", "OTHER", "in a section"), ("paragraph", "OTHER", "A."),
        ("paragraph", "OTHER", "β"),
    ]  # fmt: skip


def test_a_table_in_a_table_is_its_cells_text():
    table = "<table>{}<tbody><tr><td>{}</td><td>b</td></tr></tbody></table>"
    xml = f"<table-wrap>{table.format('<col/>', table.format('', 'a'))}</table-wrap>"
    assert passages(xml) == [("table", "TABLE", "a b\tb")]


def test_paragraphs_and_items_in_a_cell_stand_apart():
    items = "".join(f"<list-item><p>{gene}</p></list-item>" for gene in ("BRCA1", "TP53"))
    cells = f"<td><p>Aspirin</p><p>Ibuprofen</p></td><td><list>{items}</list></td>"
    assert passages(f"<table-wrap><table><tr>{cells}</tr></table></table-wrap>") == [
        ("table", "TABLE", "Aspirin Ibuprofen\tBRCA1 TP53")
    ]


def test_a_formula_of_its_own_is_one_passage_or_counted():
    math = "<mml:math xmlns:mml='m'><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mi>y</mml:mi></mml:math>"
    body = (
        f"<sec><title>Methods</title><disp-formula>{math}</disp-formula><disp-formula><graphic/></disp-formula></sec>"
    )
    (document,), report = parsed(article(body))
    assert [document.text[p.start : p.end] for p in document.passages[1:]] == ["Methods", "x=y"]
    assert report.counts["formula_not_read"] == 1


def test_back_matter_floats_and_what_is_left_out():
    back = (
        "<ack><title>Thanks</title><p>A.</p></ack><fn-group><fn><p>B.</p></fn></fn-group><glossary><def-list><def-item><term>IL"
        "</term><def><p>interleukin</p></def></def-item></def-list></glossary><app-group><app><p>C.</p></app></app-group>"
        "<ref-list><title>References</title><ref><label>1</label>Ref. 1</ref><ref>Ref. 2</ref></ref-list>"
    )
    after = (
        "<floats-group><fig><caption><p>D.</p></caption></fig></floats-group><sub-article article-type='reply'><front-stub/>"
        "<body><p>Letter.</p></body></sub-article><response><body><p>No.</p></body></response><processing-meta><restricted-by>pmc"
        "</restricted-by></processing-meta>"
    )
    (document,), report = parsed(article(back=back, after=after))
    assert [(p.kind, dict(p.infons)["section_type"], document.text[p.start : p.end]) for p in document.passages[1:]] == [
        ("title_1", "ACK_FUND", "Thanks"), ("paragraph", "ACK_FUND", "A."), ("footnote", "OTHER", "B."),
        ("paragraph", "ABBR", "IL"), ("paragraph", "ABBR", "interleukin"), ("paragraph", "APPENDIX", "C."),
        ("fig_caption", "FIG", "D."),
    ]  # fmt: skip
    assert report.counts == {"reference": 2, "sub_article": 2}


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("Ca<sup>2+</sup> in <italic>E. coli</italic>", "Ca2+ in E. coli"),
        ("as shown [<xref ref-type='bibr'>1</xref>].", "as shown [1]."),
        ("BRCA1<sup><xref ref-type='bibr'>12</xref>,<xref ref-type='bibr'>13</xref></sup> binds", "BRCA1 12,13 binds"),
        ("BRCA1<xref ref-type='bibr'><sup>12</sup></xref> binds", "BRCA1 12 binds"),
        ("x<xref ref-type='fig'><sup>2</sup></xref>", "x2"),
        ("a <inline-formula><alternatives><tex-math>\\x</tex-math><mml:math xmlns:mml='m'><mml:mi>y</mml:mi></mml:math>"
         "</alternatives></inline-formula>b", "a yb"),
        ("if<disp-formula><label>(1)</label><mml:math xmlns:mml='m'><mml:mi>x</mml:mi></mml:math></disp-formula>so", "if x so"),
        ("see <ext-link>http://x</ext-link><?pi x?> &beta;", "see http://x β"), ("a&#x2009;b\n  c", "a\u2009b c"),
    ],
)  # fmt: skip
def test_text(xml, text):
    assert passages(f"<p>{xml}</p>")[0][2] == text


def test_formulas_without_text_are_counted():
    (document,), report = parsed(article("<p>a <inline-formula><tex-math>x</tex-math></inline-formula> b</p>"))
    assert (document.text, report.counts) == ("T a  b", {"formula_not_read": 1})


def test_ids():
    ids = '<article-id pub-id-type="{}">{}</article-id>'
    every = [("doi", "10/x"), ("pmid", "5"), ("pmc", "7"), ("publisher-id", "p")]
    for left, id in ((1, "10/x"), (2, "5"), (3, "PMC7")):
        (document,), _ = parsed(article(ids="".join(ids.format(*pair) for pair in every[:left])))
        assert document.id == id
    (document,), _ = parsed(article(ids="".join(ids.format(*pair) for pair in every)))
    assert document.infons == (("file", "x.nxml"), ("pmid", "5"), ("doi", "10/x"), ("publisher-id", "p"))
    (document,), _ = parsed(article(ids=ids.format("pmcid", "PMC8.1")))
    assert document.id == "PMC8.1"
    (document,), report = parsed(article(ids=""))
    assert (document.id, report.counts) == ("1", {"missing_id": 1})


def test_several_articles_and_namespaces():
    namespaced = article().replace("<article>", '<article xmlns="https://jats.nlm.nih.gov/ns/archiving/1.3/">')
    other = article("<p>B.</p>", ids=PMC.replace("7", "8"))
    documents, _ = parsed(namespaced, other)
    assert [(d.id, d.text) for d in documents] == [("PMC7", "T"), ("PMC8", "T B.")]
    reply = f"<OAI-PMH><GetRecord><record><metadata>{namespaced}</metadata></record></GetRecord></OAI-PMH>"
    assert [d.id for d in parsed(reply)[0]] == ["PMC7"]


def test_faults(tmp_path):
    for xml in ("<article><body/></article>", "<article><front/></article>"):
        with pytest.raises(FormatError, match="article-meta"):
            parsed(xml)
    bad = article("<p>&unknown;</p>", ids=PMC.replace("7", "9"))
    with pytest.raises(FormatError, match="unknown"):
        parsed(bad)
    good = article("<p>velosis</p>", ids=PMC.replace("7", "8"))
    documents, report = parsed(article(), bad, "<article/>", good, policy="lenient", skip_bad=True)
    assert ([d.id for d in documents], report.counts) == (["PMC7", "PMC8"], {"bad_record": 2})
    path = file(tmp_path, "x.nxml", f"<pmc-articleset>{article()}\n{good}\n{article()[:-9]}")
    with pytest.raises(FormatError, match=r"x\.nxml:3: expected well-formed XML"):
        list(read_documents(path))
    assert predicted(path, tmp_path / "x.jsonl", chunk=1) == 1
    assert surfaces(tmp_path / "x.jsonl") == [[], [("Disease", "velosis")]]


@pytest.mark.parametrize("target", ["out.xml", "out.json", "out.jsonl", "out.pubtator", "out.tsv", "brat"])
def test_prediction_writes_every_format(target, tmp_path):
    path = file(tmp_path, "x.nxml", JATS)
    assert predicted(path, tmp_path / target) == 0
    assert surfaces(tmp_path / target) == [[("Disease", "velosis"), ("Species", "mice"), ("Chemical", "Spiran")]]
    if target in ("out.xml", "out.json", "out.jsonl"):
        assert read(tmp_path / target)[0][0].passages == read(path)[0][0].passages


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "inputs").is_dir(), reason="the real files are not in ../shared")
def test_real_files_hold_all_of_their_text(tmp_path):
    """A twin: every character of titles, abstracts, bodies and back matter, but for labels and references, as often."""
    paths = sorted((SHARED / "inputs" / "jats").glob("*.nxml"))
    for path in paths:
        (document,) = read_documents(path)
        tree = etree.parse(path, etree.XMLParser(remove_comments=True, remove_pis=True))
        etree.strip_elements(tree, "ref-list", "label", "object-id", "tex-math", with_tail=False)
        parts = tree.xpath(
            "//article-meta/title-group/article-title | //article-meta/abstract | /article/body | /article/back"
        )
        expected = Counter("".join("".join("".join(part.itertext()) for part in parts).split()))
        assert Counter("".join(document.text.split())) == expected
        assert document.id == "PMC" + tree.xpath("string(//article-id[@pub-id-type='pmc'])")
        sections = {dict(p.infons)["section_type"] for p in document.passages}
        assert sections >= {"TITLE", "ABSTRACT", "INTRO", "METHODS", "RESULTS", "DISCUSS", "FIG", "TABLE"}
        assert "OTHER" not in sections
        for ending in ("bioc.xml", "bioc.json", "jsonl"):
            assert not write_documents([document], tmp_path / f"x.{ending}").counts
            assert read(tmp_path / f"x.{ending}")[0] == [document]
    assert len(paths) == 3
