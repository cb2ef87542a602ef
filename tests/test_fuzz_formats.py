"""Every reader, fed with damage of all kinds, gives documents or a FormatError, never another exception."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.formats import UNITS, DocumentWriter, FormatError, ReadReport, read_documents
from mosaic_ner.modeling.document import Document, Mention, Passage

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
HANDLES = ("pubtator", "bioc_xml", "bioc_json", "jsonl", "iob2", "genia_jsonl", "pubmed", "jats", "label_studio", "xmi")
READERS = (*HANDLES, "brat", "text", "detected")
MUTATIONS, ON_DISK, EXAMPLES = 2200, 600, 130  # inputs through files take most of the time
LEAST = 20_000
counted: Counter = Counter()
kinds: Counter = Counter()


# --- reading one input ------------------------------------------------------------------------------------------------


def options_of(draw: random.Random) -> dict:
    """How an input is read: as training does, as prediction does, in another unit."""
    options = draw.choice([
        {}, {"policy": "lenient"}, {"policy": "lenient", "gold": False, "skip_bad": True, "keep_source": True},
        {"policy": "lenient", "skip_bad": True, "keep_source": True}, {"entity_type": "T", "repeated_ids": "index"},
        {"offset_unit": draw.choice(list(UNITS)), "policy": "lenient"}, {"tag_column": 2, "type_infon": "class"},
    ])  # fmt: skip
    return dict(options)


def read(reader: str, data: bytes, options: dict, folder: Path, name: str = "x.txt") -> None:
    """Reads an input, checks what comes of it, and counts it."""
    counted[reader] += 1
    report = ReadReport()
    try:
        if reader in HANDLES:
            documents = list(read_documents(io.BytesIO(data), reader, report=report, **options))
        else:
            path = folder / ("x.txt" if reader != "detected" else name)
            path.write_bytes(data)
            if reader == "brat":
                text, _, annotations = data.partition(b"\x00")
                path.write_bytes(text)
                (folder / "x.ann").write_bytes(annotations)
            documents = list(read_documents(path, None if reader == "detected" else reader, report=report, **options))
    except FormatError as error:
        str(error).encode()
        kinds[reader, re.sub(r"'[^']*'|[0-9]+", "…", error.expected)[:60]] += 1
        return
    for document in documents:
        assert document.id
        document.text.encode()
        assert all(0 <= m.start < m.end <= len(document.text) for m in document.mentions)
    assert len(documents) == report.documents
    if report.bad_count:
        assert options.get("skip_bad")
        assert report.bad


# --- inputs -----------------------------------------------------------------------------------------------------------


def written(format: str) -> bytes:
    text = "BRCA1 in mice\nA β-globin 𝛼 variant"
    mentions = (Mention(0, 5, "Gene", ("672",), 0.5), Mention(9, 13, "Species"), Mention(16, 24, "Gene", ("3043", "x")))
    passages = (Passage(0, 13, "title", (("k", "v"),)), Passage(14, len(text), "abstract"))
    handle = io.BytesIO()
    with DocumentWriter(handle, format) as writer:
        for number in range(1 if format == "xmi" else 3):
            writer.write(Document(f"d{number}", "user", text, mentions, passages=passages, infons=(("year", "2020"),)))
    return handle.getvalue()


RELATION = '<relation id="R"><infon key="type">r</infon><node refid="1" role="a"/></relation>'
XML = (
    '<?xml version="1.0"?><!DOCTYPE collection [<!ENTITY beta "β"><!ENTITY two "&beta;&beta;">]><collection><source/><date/>'
    '<document><id>1</id><infon key="k">v</infon><passage><offset>0</offset><sentence><offset>0</offset>'
    '<text>IL1&beta; &#xD83D;</text><annotation id="1"><infon key="type">Gene</infon><location offset="0" length="4"/>'
    f"<text>IL1β</text></annotation></sentence>{RELATION}</passage></document><document/></collection>"
)
TOKENS = {"id": 1, "tokens": ["a", "b"], "ner_tags": ["O", "B-G"]}
GENIA = {
    "tokens": ["a", "b"],
    "doc_id": "d",
    "sent_id": "s",
    "entity_mentions": [{"start": 0, "end": 1, "entity_type": "P"}],
}
BIOC = {
    "id": "1", "infons": {}, "passages": [{"offset": 0, "infons": {"type": "t"}, "text": "a\ud800𝛼b", "sentences": [],
    "annotations": [{"id": "1", "infons": {"type": "G"}, "text": "b", "locations": [{"offset": 3, "length": 1}]}],
    "relations": [{"id": "r", "infons": {}, "nodes": [{"refid": "1", "role": ""}]}]}], "annotations": [], "relations": [],
}  # fmt: skip
MATH = '<mml:math xmlns:mml="m"><mml:mi>x</mml:mi><mml:annotation>y</mml:annotation></mml:math>'
PUBMED_XML = (
    '<?xml version="1.0"?><!DOCTYPE PubmedArticleSet [<!ENTITY beta "β">]><PubmedArticleSet><PubmedArticle><MedlineCitation>'
    '<PMID Version="1">12</PMID><Article><ArticleTitle>IL1&beta; &#xD83D;<sup>2</sup> <b/></ArticleTitle><Abstract>'
    f'<AbstractText Label="AIM" NlmCategory="X">a<i>b</i>c</AbstractText><AbstractText>{MATH}</AbstractText></Abstract>'
    '</Article><OtherAbstract Language="spa"><AbstractText>e</AbstractText></OtherAbstract></MedlineCitation><PubmedData>'
    '<ArticleIdList><ArticleId IdType="pmc">PMC1</ArticleId></ArticleIdList></PubmedData></PubmedArticle><PubmedBookArticle>'
    "<BookDocument><PMID>13</PMID><Book><BookTitle>B</BookTitle></Book></BookDocument></PubmedBookArticle><DeleteCitation>"
    "<PMID>4</PMID></DeleteCitation></PubmedArticleSet>"
)
JATS_XML = (
    '<?xml version="1.0"?><article><front><article-meta><article-id pub-id-type="pmc">7</article-id><title-group>'
    "<article-title>T&beta;</article-title></title-group><abstract><sec><title>A</title><p>b</p></sec></abstract></article-meta></front><body>"
    "<sec sec-type='intro'><label>1</label><title>I</title><p>a<sup><xref ref-type='bibr'>1</xref></sup> <fig id='F'><label>1"
    "</label><caption><title>C</title><p>d<list><list-item><p>e</p></list-item></list></p></caption></fig>f<disp-formula>"
    f"{MATH}</disp-formula></p></sec><table-wrap><caption><p>g</p></caption><table><tr><th>h</th><td>i<fn><p>j</p></fn></td></tr>"
    "</table><table-wrap-foot><fn><p>k</p></fn></table-wrap-foot></table-wrap></body><back><ack><p>l</p></ack><ref-list><ref>m"
    "</ref></ref-list></back><sub-article><body><p>n</p></body></sub-article></article>"
)
TASKS = [
    {"id": 7, "data": {"text": "BRCA1 in 𝛼 mice", "source": "x"}, "predictions": [{"model_version": "m", "result": []}],
     "annotations": [
         {"completed_by": {"id": 3}, "was_cancelled": False, "result": [
             {"id": "r", "type": "labels", "from_name": "label", "to_name": "text", "score": 0.5, "meta": {"text": ["672"]},
              "value": {"start": 0, "end": 5, "text": "BRCA1", "labels": ["Gene", "DNA"]}},
             {"type": "relation", "from_id": "r", "to_id": "s"}, {"type": "choices", "value": {"choices": ["a"]}}]},
         {"completed_by": 4, "result": [{"type": "labels", "value": {"start": 11, "end": 15, "labels": ["Species"]}}]},
         {"was_cancelled": True, "result": []}]},
    {"id": 8, "data": {"abstract": "mice"}, "annotations": [{"ground_truth": True, "result": []}], "drafts": []},
    {"id": 9, "data": {"text": "unlabelled"}, "annotations": []},
]  # fmt: skip
DKPRO = "http:///de/tudarmstadt/ukp/dkpro/core/api"
XMI = (
    '<?xml version="1.0"?><xmi:XMI xmlns:xmi="http://www.omg.org/XMI" xmlns:cas="http:///uima/cas.ecore" '
    f'xmlns:c="http:///c.ecore" xmlns:e="{DKPRO}/ner/type.ecore" xmlns:s="{DKPRO}/segmentation/type.ecore" xmi:version="2.0">'
    '<cas:NULL xmi:id="0"/><e:NamedEntity xmi:id="2" sofa="1" begin="0" end="5" value="Gene" identifier="672;673"/>'
    '<s:Token xmi:id="3" sofa="1" begin="0" end="5"/><e:Disease xmi:id="4" sofa="1" begin="6" end="8"/>'
    '<e:NamedEntity xmi:id="5" sofa="1" begin="0" end="5"/><c:Span xmi:id="6" sofa="1" begin="0" end="5"/>'
    '<cas:Sofa xmi:id="1" sofaNum="1" sofaID="_InitialView" mimeType="text" sofaString="BRCA1 &#x1D6FC;&#10;mice"/>'
    '<cas:View sofa="1" members="2 3 4 5"/></xmi:XMI>'
)
SEEDS = {
    "pubtator": [
        written("pubtator"), b"1|t|a\xcc\x81b\r1|a|c d\r1\t0\t2\ta\xcc\x81\tG\r\r2|t|x\r",
        b"\xef\xbb\xbf1|t|T a\r\n1|a|b\r\n1\tCID\tD1\tD2\t0.5\r\n1\tR5H\trs9\r\n1\t0\t1\tT\tG\t1;2\tx\r\n\r\n",
    ],
    "bioc_xml": [written("bioc_xml"), XML.encode()],
    "bioc_json": [
        written("bioc_json"), json.dumps({"documents": [BIOC, BIOC]}).encode(), json.dumps([BIOC, TOKENS], indent=1).encode(),
        json.dumps({"response": {"PubTator3": [BIOC]}}).encode(), json.dumps([["a", {"entities": [[0, 1, "G"]]}]]).encode(),
    ],
    "jsonl": [
        written("jsonl"), "\n".join(map(json.dumps, (TOKENS, BIOC, GENIA, [BIOC], {"title": "a", "pmid": 1}))).encode(),
        b'{"text": "a\\ud83d", "label": [[0, 1, "G"]]}\r{"id": 2, "text": "ab", "mentions": [{"start": 0, "end": 1}]}\n',
    ],
    "iob2": [
        written("iob2"), b"-DOCSTART- (1)\n\na\tB-G\nb\tI-G\n\nc\tO\n-DOCSTART-\nd O\n", b"###MEDLINE:1\n\na\tS-G\r\nb\tO\n",
        b"token\ttag\n# x\na\tB\nb\tI\n#\tO\n\n", b"# doc_id = 1\na X O \nb Y U-G\t\n",
    ],
    "genia_jsonl": ["\n".join([json.dumps(GENIA)] * 3).encode()],
    "pubmed": [PUBMED_XML.encode(), PUBMED_XML.replace("><", ">\n  <").encode()],
    "jats": [JATS_XML.encode(), f"<pmc-articleset>{JATS_XML[21:] * 2}</pmc-articleset>".encode(),
             b"<article><body><p>BRCA1</p></body></article>"],
    "label_studio": [written("label_studio"), json.dumps(TASKS, indent=1).encode(), "\n".join(map(json.dumps, TASKS)).encode()],
    "xmi": [written("xmi"), XMI.encode()],
    "brat": [
        "BRCA1 in\r\nmice β".encode() + b"\x00T1\tGene 0 5\tBRCA1\nT2\tS 6 8;10 14\tin mice\nN1\tReference T1 x:1\tB\n"
        b"#1\tAnnotatorNotes T1\tscore 0.5\n",
    ],
    "text": ["one\r\ntwo β".encode(), b"\xef\xbb\xbfx\x85"],
}  # fmt: skip
SEEDS["detected"] = [seed for format, seeds in SEEDS.items() if format != "brat" for seed in seeds]
SEEDS["detected"].append(gzip.compress(SEEDS["jsonl"][0]))
NAMES = [
    "x.xmi",
    "x.labelstudio.json",
    "x.txt",
    "x.nxml",
    "x.json",
    "x.jsonl",
    "x.xml",
    "x.tsv",
    "x.pubtator",
    "x.gz",
    "x.conll.gz",
    "x",
]
SPECIAL = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xed\xb0\x80", "\u2028".encode(), b"\r", b"\n", b"\n\n", b"\t", b"|t|", b"&x;",
    b"&#0;",
    b"&#xDC00;", b"<!--", b"]]>", b"<![CDATA[", b"\\ud800", b"\\u", b'"', b"{", b"[", b"]}", b"null", b"true", b"-1", b"1e999",
    b"<p>", b"</p>", b"<PMID>", b"<article>", b"</article>", b"<sec>", b"xml:lang='x' ",
    b"9" * 40, b"-", b";", b"B-", b"I-", b"NaN", b"T1\t", b"\x1f\x8b",
]  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The input truncated, with bytes flipped, lines swapped, parts removed, doubled or put in."""
    for _ in range(draw.randint(1, 3)):
        size = max(len(data), 1)
        a, b = sorted((draw.randrange(size), draw.randrange(size)))
        kind = draw.randrange(9)
        if kind == 0:
            data = data[:a]
        elif kind == 1 and data:
            changed = bytearray(data)
            for _ in range(draw.randint(1, 4)):
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            data = bytes(changed)
        elif kind == 2:
            lines = re.split(rb"(?<=[\n\r])", data)
            i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            data = b"".join(lines)
        elif kind == 3:
            keys = list(
                re.finditer(rb'"\w+"\s*:\s*("[^"]*"|[0-9]+|\{\}|\[\])?\s*,?|<(\w+)[^>]*>[^<]*</\2>|\t[^\t\n]*', data)
            )
            if keys:
                key = draw.choice(keys)
                data = data[: key.start()] + data[key.end() :]
        elif kind == 4:
            data = data[:a] + data[min(b, a + 30) :]
        elif kind == 5:
            data = data[:b] + data[a : min(b, a + 60)] + data[b:]
        elif kind == 6:
            data = data[:a] + draw.choice(SPECIAL) + data[a:]
        elif kind == 7:
            numbers = list(re.finditer(rb"[0-9]+", data))
            if numbers:
                number = draw.choice(numbers)
                data = (
                    data[: number.start()] + str(draw.choice([-1, 0, 7, 10**9, 10**30])).encode() + data[number.end() :]
                )
        else:
            values = list(re.finditer(rb'(?<=: )("[^"]*"|[0-9]+)', data))
            if values:
                value = draw.choice(values)
                other = draw.choice([b"null", b"[]", b"{}", b"[1]", b'{"a": 1}', b'"x"', b"1.5", b"true", b"[[[]]]"])
                data = data[: value.start()] + other + data[value.end() :]
    return data


@pytest.mark.parametrize("reader", READERS)
def test_mutated_files_of_our_own(reader, tmp_path):
    draw = random.Random(reader)
    for _ in range(MUTATIONS if reader in HANDLES else ON_DISK):
        data = mutated(draw.choice(SEEDS[reader]), draw)
        read(reader, data, options_of(draw), tmp_path, draw.choice(NAMES))


def real_seeds() -> list[tuple[str, bytes]]:
    """(reader, first bytes) of the real files and the cases."""
    patterns = {
        "pubtator": ("corpora/pubtator/*.PubTator", "cases/*/*.pubtator"), "iob2": ("corpora/iob/*.tsv", "cases/*/*.tsv"),
        "bioc_json": ("inputs/pubtator3/*.json", "cases/*/*.json"), "bioc_xml": ("cases/*/*.xml",),
        "jsonl": ("cases/*/*.jsonl",), "genia_jsonl": ("corpora/genia/*.jsonl",), "detected": ("cases/*/*.*", "inputs/*/*.*"),
        "pubmed": ("inputs/pubmed/*.xml",), "jats": ("inputs/jats/*.nxml",),
    }  # fmt: skip
    found = []
    for reader, globs in patterns.items():
        for path in sorted(path for pattern in globs for path in SHARED.glob(pattern)):
            data = path.read_bytes()
            found.append((reader, shortened(data) if path.suffix == ".nxml" else data[: SIZES.get(reader, 2500)]))
    return found


SIZES = {"pubmed": 12_000}  # several small files are whole


def shortened(data: bytes) -> bytes:
    """A full text with its front matter, a paragraph, a figure and a table."""
    parts = [re.search(rb"<%s[ >].*?</%s>" % (name, name), data, re.DOTALL) for name in (b"p", b"fig", b"table-wrap")]
    body = b"".join(part[0] for part in parts if part)
    return data[: data.index(b"<contrib-group>")] + b"</article-meta></front><body>" + body + b"</body></article>"


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real files are not in ../shared")
def test_mutated_real_files(tmp_path):
    draw, seeds = random.Random(0), real_seeds()
    assert len({reader for reader, _ in seeds}) == 9
    for _ in range(MUTATIONS):
        reader, data = draw.choice(seeds)
        read(reader, mutated(data, draw), options_of(draw), tmp_path, draw.choice(NAMES))


# --- made inputs ------------------------------------------------------------------------------------------------------


PIECES = {
    "pubtator": [
        "1|t|", "1|a|", "2|t|x", "\n", "\n\n", "\r", "\r\n", "1\t", "0\t", "3\t", "a b", "\tGene", "\t;", "β", "𝛼",
        "1\tCID\tD\tE",
    ],
    "iob2": [
        "a", "#", "# doc_id = 7", "###MEDLINE:8", "-DOCSTART-", "\t", " ", "O", "B-G", "I-G", "E-G", "S-", "L-G", "U", "\n",
        "\n\n", "\r",
    ],
    "brat": [
        "ab β\n", "\x00", "T1\tG 0 2\tab\n", "T1\tG 0 1;1 2\tab", "N1\tReference T1 x:1\t", "R1\t", "\r", "𝛼", "T2\t",
        "-1 5",
    ],
    "text": ["a", "β", "\r\n", "\ufeff", "1|t|", "{", "\x00"],
    "bioc_xml": [
        "<collection>", "</collection>", "<document>", "</document>", "<id>1</id>", "<passage>", "</passage>",
        "<offset>0</offset>", "<text>", "</text>", "a", "&amp;", "&beta;", "&#xD800;", "<sentence>", "</sentence>",
        '<infon key="type">G</infon>', '<annotation id="1">', "</annotation>", '<location offset="0" length="1"/>', "<!--",
        "-->",
    ],
    "pubmed": [
        "<PubmedArticleSet>", "</PubmedArticleSet>", "<PubmedArticle>", "</PubmedArticle>", "<MedlineCitation>",
        "</MedlineCitation>", "<PMID>1</PMID>", "<Article>", "</Article>", "<ArticleTitle>", "</ArticleTitle>", "<Abstract>",
        "</Abstract>", '<AbstractText Label="A">', "</AbstractText>", "a", "&beta;", "&x;", "<i>", "</i>", "<DeleteCitation>",
        "</DeleteCitation>", "<BookDocument>", "</BookDocument>",
    ],
    "jats": [
        "<article>", "</article>", "<front><article-meta>", "</article-meta></front>", "<title-group><article-title>",
        "</article-title></title-group>", "<body>", "</body>", "<sec>", "</sec>", "<p>", "</p>", "a", "&beta;", "&x;", "<fig>",
        "</fig>", "<caption>", "</caption>", "<table>", "</table>", "<tr><td>", "</td></tr>", "<list>", "</list>", "<title>",
        "</title>", "<fn>", "</fn>", "<ref-list>", "</ref-list>", "<disp-formula>", "</disp-formula>",
    ],
}  # fmt: skip
KEYS = re.findall(
    r"\w+",
    "id text mentions start end type passages offset infons sentences annotations locations length relations documents "
    "PubTator3 tokens ner_tags title abstract entity_mentions doc_id sent_id identifiers score index label corpus "
    "annotated_types nodes data predictions result value completed_by was_cancelled ground_truth meta",
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["O", "B-G", "1"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS), inner, max_size=6,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
MADE = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("reader", PIECES)
def test_pieces_of_a_format_in_any_order(reader, tmp_path):
    @MADE
    @seed(1)
    @given(st.lists(st.sampled_from(PIECES[reader]), max_size=14), st.integers(0, 99))
    def check(pieces, number):
        read(reader, "".join(pieces).encode(), options_of(random.Random(number)), tmp_path)

    check()


@pytest.mark.parametrize("reader", ["jsonl", "bioc_json", "genia_jsonl", "label_studio"])
def test_any_json(reader, tmp_path):
    @MADE
    @seed(1)
    @given(VALUES, st.integers(0, 99))
    def check(value, number):
        read(reader, json.dumps(value).encode(), options_of(random.Random(number)), tmp_path)

    check()


@pytest.mark.parametrize("reader", READERS)
def test_any_bytes(reader, tmp_path):
    @MADE
    @seed(1)
    @given(st.binary(max_size=30), st.integers(0, 99))
    def check(data, number):
        read(reader, data, options_of(random.Random(number)), tmp_path, NAMES[number % len(NAMES)])

    check()


def test_the_limits_hold(tmp_path):
    deep = b"[" * 100_000
    for reader, data in {
        "bioc_json": deep, "jsonl": b'{"id": "1", "text": "a", "x": ' + deep, "genia_jsonl": deep,
        "bioc_xml": b"<collection>" + b"<a>" * 100_000, "pubmed": b"<PubmedArticleSet>" + b"<i>" * 100_000,
        "jats": b"<article>" + b"<sec>" * 100_000, "label_studio": b'[{"data": ' + deep,
        "xmi": b'<xmi:XMI xmlns:xmi="http://www.omg.org/XMI">' + b"<a>" * 100_000,
    }.items():  # fmt: skip
        with pytest.raises(FormatError):
            list(read_documents(io.BytesIO(data), reader))
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    document = "<document><id>1</id><passage><offset>{}</offset><text>{}</text>{}</passage></document>"
    bomb = f'<!DOCTYPE collection [<!ENTITY e0 "xxxxxxxxxx">{entities}]><collection>{document}</collection>'
    place = '<annotation id="1"><location offset="&e9;" length="1"/></annotation>'
    for parts in ((0, "&e9;", ""), (0, "a", place), ("&e9;", "a", "")):
        with pytest.raises(FormatError):
            list(read_documents(io.BytesIO(bomb.format(*parts).encode()), "bioc_xml"))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "xxxxxxxxxx">{entities}]>' + XMI.partition("?>")[2].replace("BRCA1 ", "&e9;", 1)
    with pytest.raises(FormatError):
        list(read_documents(io.BytesIO(bomb.encode()), "xmi"))
    title = "<title-group><article-title>{}</article-title></title-group>"
    wholes = {
        "pubmed": "<PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>{}</ArticleTitle></Article>"
        "</MedlineCitation></PubmedArticle>",
        "jats": f"<article><front><article-meta>{title}</article-meta></front></article>",
    }
    for reader, whole in wholes.items():
        for entity in ("&e9;", "&e1;"):
            bomb = f"<!DOCTYPE x [<!ENTITY e0 'xxxxxxxxxx'>{entities}]>{whole.format(entity)}"
            with pytest.raises(FormatError, match="&e1;" if entity == "&e1;" else "amplification|&e9;"):
                list(read_documents(io.BytesIO(bomb.encode()), reader))
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as handle:
        for _ in range(100):
            handle.write(b" " * (1 << 20) + b"\n")
    for name in ("bomb.jsonl.gz", "bomb.nxml.gz", "bomb.pubmed.xml.gz"):
        path = path.rename(tmp_path / name)
        with pytest.raises(FormatError, match="times its size"):
            list(read_documents(path))
    secret = tmp_path / "secret"
    secret.write_text("secret")
    outside = f'<!DOCTYPE collection [<!ENTITY x SYSTEM "{secret.as_uri()}">]><collection>{document}</collection>'
    with pytest.raises(FormatError, match="&x;"):
        list(read_documents(io.BytesIO(outside.format(0, "&x;", "").encode()), "bioc_xml"))
    for reader, whole in wholes.items():
        for external in (
            f'<!DOCTYPE x [<!ENTITY x SYSTEM "{secret.as_uri()}">]>',
            f'<!DOCTYPE x SYSTEM "{secret.as_uri()}">',
        ):
            with pytest.raises(FormatError, match="&x;"):
                list(read_documents(io.BytesIO((external + whole.format("&x;")).encode()), reader))


def test_enough_was_tried(capsys):
    if len(counted) < len(READERS):
        pytest.skip("only some of the fuzzers ran")
    with capsys.disabled():
        found = {reader: len([kind for kind in kinds if kind[0] == reader]) for reader in counted}
        sys.stdout.write(
            f"\n{sum(counted.values())} inputs {dict(counted)}; {len(kinds)} kinds of FormatError {found}\n"
        )
    assert sum(counted.values()) >= LEAST
    assert all(found[reader] > 3 for reader in READERS if reader not in ("text",))
