"""Files of the kinds of ../shared/cases, of our own making: BioC, JSON, surrogates."""

from __future__ import annotations

import json

import bioc.biocxml
import pytest
from helpers_formats import XML, collection, failure, file, passage, predicted, read, surfaces
from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction import outputs, resumable_output

# --- BioC -------------------------------------------------------------------------------------------------------------

RICH = {
    "id": "77", "infons": {"journal": "J", "year": "2020"}, "passages": [
        passage("Severe velosis.", (7, 14, "velosis"), infons={"type": "title", "section": "T"}, relations=[
            {"id": "R1", "infons": {"type": "treats"}, "nodes": [{"refid": "0", "role": "a"}, {"refid": "T1", "role": "b"}]},
        ]),
        passage("", offset=16, infons={"type": "abstract"}, sentences=[
            {"offset": 16, "infons": {"n": "1"}, "text": "In mice.", "annotations": [], "relations": []},
            {"offset": 25, "infons": {}, "text": "By spiran.", "annotations": [], "relations": []},
        ]),
    ], "annotations": [], "relations": [{"id": "R2", "infons": {}, "nodes": []}],
}  # fmt: skip


def bare(node):
    """A BioC node without its annotations."""
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items() if key != "annotations"}
    return [bare(item) for item in node] if isinstance(node, list) else node


def annotations(node) -> list:
    own = [(a["infons"]["type"], a["text"], a["locations"][0]["offset"], a["id"]) for a in node.get("annotations", ())]
    return own + [
        found for key in ("passages", "sentences") for part in node.get(key, ()) for found in annotations(part)
    ]


def test_bioc_comes_back_with_other_mentions_alone(tmp_path):
    path = file(tmp_path, "in.json", collection(RICH | {"pmid": 5}))
    assert predicted(path, tmp_path / "out.json") == 0
    (after,) = json.loads((tmp_path / "out.json").read_text())["documents"]
    assert bare(after) == bare(RICH | {"pmid": 5})
    assert [found[:3] for found in annotations(after)] == [
        ("Disease", "velosis", 7), ("Species", "mice", 19), ("Chemical", "spiran", 28),
    ]  # fmt: skip
    assert len(after["passages"][1]["sentences"][1]["annotations"]) == 1
    assert not {found[3] for found in annotations(after)} & {"0", "T1"}


def test_bioc_through_xml(tmp_path, caplog):
    path = file(tmp_path, "in.json", collection(RICH | {"pmid": 5}))
    assert predicted(path, tmp_path / "out.xml") == 0
    assert "key_not_written: 1:" in caplog.text
    assert predicted(tmp_path / "out.xml", tmp_path / "again.xml") == 0
    assert (tmp_path / "again.xml").read_bytes() == (tmp_path / "out.xml").read_bytes()
    assert predicted(tmp_path / "out.xml", tmp_path / "again.json") == 0
    (after,) = json.loads((tmp_path / "again.json").read_text())["documents"]
    assert annotations(after)[0][:3] == ("Disease", "velosis", 7)
    with (tmp_path / "out.xml").open("rb") as handle:
        (document,) = bioc.biocxml.load(handle).documents
    assert [r.id for r in (*document.relations, *document.passages[0].relations)] == ["R2", "R1"]
    assert [s.text for s in document.passages[1].sentences] == ["In mice.", "By spiran."]


def untyped(place: str, **changes) -> dict:
    """A document with two annotations, the second changed, in its passage, a sentence or itself."""
    first = {"id": "1", "infons": {"type": "G"}, "text": "velosis", "locations": [{"offset": 7, "length": 7}]}
    own = [first, first | {"id": "2", "locations": [{"offset": 0, "length": 6}], "text": "severe"} | changes]
    part = passage("severe velosis")
    node = {"id": "1", "passages": [part], "annotations": []}
    if place == "sentence":
        part |= {"text": "", "sentences": [{"offset": 0, "text": "severe velosis", "infons": {}, "annotations": own}]}
    (part if place == "passage" else node if place == "document" else {})["annotations"] = own
    return node


@pytest.mark.parametrize("ending", ["json", "xml"])
@pytest.mark.parametrize("place", ["passage", "sentence", "document"])
@pytest.mark.parametrize(
    ("changes", "cause", "message"),
    [
        ({"locations": []}, "no_location", None), ({"infons": {"kind": "G", "x": "y"}}, "no_type", "kind='G', x='y'"),
        ({"infons": {}}, "no_type", "none"), ({"infons": {"type": ""}}, "no_type", "type=''"),
    ],
)  # fmt: skip
def test_annotations_without_a_place_or_a_type(changes, cause, message, place, ending, tmp_path):
    path = file(tmp_path, "in.json", collection(untyped(place, **changes)))
    if ending == "xml":
        assert predicted(path, tmp_path / "in.xml", words={}, keep_mentions=True) == 0
        path = tmp_path / "in.xml"
    documents, counts = read(path, policy="lenient")
    assert [d.surface(m) for d in documents for m in d.mentions] == ["velosis"]
    assert counts[cause] == 1
    if message is None:
        assert read(path)[1][cause] == 1
    else:
        found = failure(path)
        assert message in found
        assert "--type_infon" in found
    assert predicted(path, tmp_path / "out.jsonl") == 0
    assert surfaces(tmp_path / "out.jsonl") == [[("Disease", "velosis")]]


@pytest.mark.parametrize("ending", ["json", "xml"])
def test_kept_mentions_stay_beside_predicted_ones(ending, tmp_path):
    path = file(tmp_path, "in.json", collection(RICH))
    target = tmp_path / f"out.{ending}"
    assert predicted(path, target, keep_mentions=True) == 0
    (document,), _ = read(target)
    assert sorted((m.type, document.surface(m)) for m in document.mentions) == [
        ("Chemical", "spiran"), ("Disease", "velosis"), ("G", "velosis"), ("Species", "mice"),
    ]  # fmt: skip
    if ending == "json":
        (after,) = json.loads(target.read_text())["documents"]
        assert after["passages"][0]["annotations"][0] == RICH["passages"][0]["annotations"][0]
        assert predicted(target, tmp_path / "twice.json", keep_mentions=True) == 0
        assert json.loads((tmp_path / "twice.json").read_text()) == json.loads(target.read_text())


AROUND = {"source": "PMC <&>", "date": "20200101", "key": "é.key", "infons": {"license": "CC & more", "n": "2"}}


@pytest.mark.parametrize("ending", ["json", "xml"])
@pytest.mark.parametrize("keep_mentions", [False, True])
@pytest.mark.parametrize("version", [{}, {"version": "1.0"}])
def test_a_collection_comes_back_as_it_was(ending, keep_mentions, version, tmp_path):
    node = AROUND | version | {"documents": [RICH, RICH | {"id": "78"}]}
    path = file(tmp_path, "in.json", json.dumps(node))
    if ending == "xml":
        assert predicted(path, tmp_path / "in.xml", keep_mentions=True) == 0
        path = tmp_path / "in.xml"
    target = tmp_path / f"out.{ending}"
    assert predicted(path, target, keep_mentions=keep_mentions) == 0
    if ending == "xml":
        with target.open("rb") as handle:
            found = bioc.biocxml.load(handle)
        after = {"source": found.source, "date": found.date, "key": found.key, "infons": dict(found.infons)}
        assert (after, [d.infons for d in found.documents]) == (AROUND, [RICH["infons"]] * 2)
        assert [[r.id for r in d.relations] for d in found.documents] == [["R2"], ["R2"]]
        return
    after = json.loads(target.read_text())
    assert list(after) == list(node)
    assert bare(after) == bare(node)
    kept = [found for found in annotations(after["documents"][0]) if found[0] == "G"]
    assert kept == ([("G", "velosis", 7, "0")] if keep_mentions else [])


def test_what_stands_behind_the_documents_stays_there(tmp_path):
    node = {"infons": {"a": "b"}, "documents": [RICH], "source": "S", "more": {"x": [1]}, "key": "K"}
    assert predicted(file(tmp_path, "in.json", json.dumps(node)), tmp_path / "out.json") == 0
    after = json.loads((tmp_path / "out.json").read_text())
    assert bare(after) == bare(node | {"date": ""})  # the one that other programs need
    xml = "<collection><source>S</source><date/><key/><document><id>1</id></document><infon key='a'>b</infon></collection>"
    assert predicted(file(tmp_path, "in.xml", xml), tmp_path / "out.xml") == 0
    written = (tmp_path / "out.xml").read_text()
    assert written.index("</document>") < written.index('<infon key="a">b</infon>') < written.index("</collection>")
    assert "<source>S</source>" in written


def test_the_collections_of_a_list_and_what_a_format_has_no_place_for(tmp_path, caplog):
    nodes = [AROUND | {"documents": [RICH]}, AROUND | {"documents": [RICH]}, {"source": "other", "documents": [RICH]}]
    path = file(tmp_path, "in.json", json.dumps(nodes))
    assert predicted(path, tmp_path / "out.json") == 0
    assert "collection_not_written: 1" in caplog.text
    assert {k: v for k, v in json.loads((tmp_path / "out.json").read_text()).items() if k != "documents"} == AROUND
    caplog.clear()
    assert predicted(path, tmp_path / "out.jsonl") == 0
    assert "relations_not_written: 6" in caplog.text
    assert "collection_not_written: 3" in caplog.text
    caplog.clear()
    assert (
        predicted(file(tmp_path, "more.json", json.dumps({"x": [1], "documents": [RICH]})), tmp_path / "more.xml") == 0
    )
    assert "collection_not_written: 1" in caplog.text


@pytest.mark.parametrize(
    ("place", "stop"), [("out.json", 1), ("out.json", 2), ("folder", 1), ("folder", 2), ("folder", 3)]
)
def test_a_collection_comes_back_after_an_interruption(place, stop, tmp_path, monkeypatch):
    node = AROUND | {"documents": [RICH | {"id": str(n)} for n in range(3)], "more": "x"}
    source = file(tmp_path, "in/a.json", json.dumps(node))
    file(tmp_path, "in/b.json", json.dumps(AROUND | {"source": "b", "documents": [RICH]}))
    source = source.parent if place == "folder" else source
    assert predicted(source, tmp_path / f"whole-{place}", chunk=1) == 0
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_each", killed_after(outputs.write_each, stop))
        patch.setattr(resumable_output, "write_each", killed_after(resumable_output.write_each, stop))
        with pytest.raises(KeyboardInterrupt):
            predicted(source, tmp_path / place, chunk=1)
    assert predicted(source, tmp_path / place, chunk=1, resume=True) == 0
    for name in ["a.json", "b.json"] if place == "folder" else [""]:
        whole = tmp_path / f"whole-{place}" / name
        assert (tmp_path / place / name).read_bytes() == whole.read_bytes()
        assert json.loads(whole.read_text())["key"] == AROUND["key"]


def killed_after(write, count):
    """The function, which can be called so often."""
    calls = []

    def once(*arguments):
        calls.append(1)
        write(*arguments)
        if len(calls) > count:
            raise KeyboardInterrupt

    return once


@pytest.mark.parametrize("name", ["in.pubtator", "in.jsonl", "in.tsv"])
def test_kept_mentions_in_other_formats(name, tmp_path):
    contents = {
        "in.pubtator": "1|t|aa velosis\n1\t0\t2\taa\tG\n", "in.tsv": "aa\tB-G\nvelosis\tO\n",
        "in.jsonl": '{"id": "1", "text": "aa velosis", "mentions": [{"start": 0, "end": 2, "type": "G"}]}',
    }  # fmt: skip
    path = file(tmp_path, name, contents[name])
    target = tmp_path / name.replace("in", "out")
    assert predicted(path, target, keep_mentions=True) == 0
    assert surfaces(target) == [[("G", "aa"), ("Disease", "velosis")]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<!DOCTYPE collection [<!ENTITY beta "β">]>{}IL1&beta;x{}', "IL1βx"),
        ('<!DOCTYPE collection SYSTEM "BioC.dtd">{}a&beta;b&gt;c&nbsp;d{}', "aβb>c\u00a0d"),
        ("{}a&#946;&#x3b2;&amp;lt;{}", "aββ&lt;"), ("{}<![CDATA[a&beta;<]]>{}", "a&beta;<"),
        ("{}a&#xD83D;&#xDE00;b&#xD83D;c&#55357;{}", "a\U0001f600b\ufffdc\ufffd"),
    ],
)  # fmt: skip
def test_entities(content, text, tmp_path):
    around = (
        "<collection><document><id>1</id><passage><offset>0</offset><text>",
        "</text></passage></document></collection>",
    )
    assert [d.text for d in read(file(tmp_path, "x.xml", content.format(*around)))[0]] == [text]


@pytest.mark.parametrize(
    "head", ["", '<!DOCTYPE collection SYSTEM "x">', '<!DOCTYPE collection [<!ENTITY foo "&lt;b>">]>']
)
def test_entities_that_cannot_be_resolved_are_named(head, tmp_path):
    assert "foo" in failure(file(tmp_path, "x.xml", head + XML.format("&foo;")))


@pytest.mark.parametrize("id", [{}, {"id": ""}, {"id": None}])
def test_documents_without_an_id_are_named_by_their_place(id, tmp_path):
    documents, counts = read(file(tmp_path, "x.json", collection(id | {"passages": []}, id | {"passages": []})))
    assert [d.id for d in documents] == ["1", "2"]
    assert counts == {"missing_id": 2, "empty_document": 2}


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.txt"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: [d], lambda d: {"PubTator3": [d]}, lambda d: {"response": {"PubTator3": [d]}},
             lambda d: {"documents": [d]}, lambda d: [{"documents": [d]}], lambda d: {"status": {"code": 200}, "a": {"b": d}},
             lambda d: {"date": "", "infons": {"documents": "x"}, "documents": [d]}]
)  # fmt: skip
def test_one_document_however_it_is_wrapped(wrap, indent, name, tmp_path):
    path = file(tmp_path, name, json.dumps(wrap(RICH), indent=indent))
    (document,), _ = read(path)
    assert (document.id, document.text) == ("77", "Severe velosis. In mice. By spiran.")


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ({"tokens": ["a"], "ner_tags": [1]}, "Hugging Face"), ({"tokens": ["a"]}, "no key of ner_tags"),
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "for each of 2 tokens"), ({"text": "a", "label": [[0, 1, "D"]]}, "doccano"),
        ({"text": "a", "entities": [{"start_offset": 0}]}, "doccano"), ([["a", {"entities": [[0, 1, "D"]]}]], "spaCy"),
        ({"text": "a", "spans": [{"start": 0}]}, "Prodigy"), ({"content": "a"}, "text"), (5, "JSON object"),
        ({"text": "a", "mentions": [{"start": 0, "end": 1, "type": "G", "text": "b"}]}, "'b'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_forms_that_are_not_read_are_named(record, part, name, tmp_path):
    assert part in failure(file(tmp_path, name, json.dumps(record)))


@pytest.mark.parametrize("tags", ["ner_tags", "tags", "labels"])
def test_tokens_and_tags(tags, tmp_path):
    records = [
        {"id": 3, "tokens": ["Severe", "velosis"], tags: ["O", "B-D"], "pos": ["x", "y"]},
        {"tokens": [], tags: []},
    ]
    documents, counts = read(file(tmp_path, "x.jsonl", "\n".join(map(json.dumps, records))))
    assert [(d.id, d.text) for d in documents] == [("3", "Severe velosis"), ("2", "")]
    assert documents[0].mentions == (Mention(7, 14, "D"),)
    assert counts == {"key_not_kept": 1, "missing_id": 1, "empty_document": 1}


@pytest.mark.parametrize(("id", "name"), [(5, "5"), ("x", "x"), (0, "0"), (None, "1"), (10**20, "1" + "0" * 20)])
def test_ids(id, name, tmp_path):
    assert [d.id for d in read(file(tmp_path, "x.jsonl", json.dumps({"id": id, "text": "a"})))[0]] == [name]


# --- surrogates -------------------------------------------------------------------------------------------------------

HALF = "\\ud83d"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", f'{{"id": "1", "text": "a{HALF}b velosis"}}'),
        ("x.json", f'{{"id": "1", "passages": [{{"offset": 0, "text": "a{HALF}b velosis"}}]}}'),
        ("x.jsonl", f'{{"id": "1", "tokens": ["a{HALF}b", "velosis"], "ner_tags": ["O", "O"]}}'),
        ("x.pubtator", b"1|t|a\xed\xa0\xbdb velosis\n"), ("x.tsv", b"a\xed\xa0\xbdb\tO\nvelosis\tO\n"),
        ("x.txt", b"a\xed\xa0\xbdb velosis"),
        ("x.json", b'[{"id": "1", "text": "a\xed\xa0\xbdb velosis"}]'),
        ("x.xml", XML.format("a&#xd83d;b velosis")),
        ("x.xml", XML.format("a~b velosis").encode().replace(b"~", b"\xed\xa0\xbd")),
    ],
)  # fmt: skip
def test_half_a_pair_is_replaced_alike_in_all_formats(name, content, tmp_path):
    path = file(tmp_path, name, content)
    (document,), counts = read(path)
    assert (document.text, counts) == ("a\ufffdb velosis", {"lone_surrogate": 1})
    for ending in ("jsonl", "json", "xml", "pubtator", "tsv"):
        assert predicted(path, tmp_path / f"out.{ending}") == 0
        assert surfaces(tmp_path / f"out.{ending}") == [[("Disease", "velosis")]]


def test_whole_pairs_are_one_character(tmp_path):
    for name, content in (
        ("x.jsonl", '{"id": "1", "text": "\\ud83d\\ude00 \\uDE00\\ud83d"}'),
        ("x.txt", b"\xed\xa0\xbd\xed\xb8\x80 \xed\xb8\x80\xed\xa0\xbd"),
    ):  # fmt: skip
        assert [d.text for d in read(file(tmp_path, name, content))[0]] == ["\U0001f600 \ufffd\ufffd"]
