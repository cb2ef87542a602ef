"""Label Studio, INCEpTION and brat: what goes out comes back, and what annotators do to it is read or counted."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import cassis
import pytest
from helpers_formats import failure, file, predicted, read, surfaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.formats import (
    DocumentWriter,
    ReadReport,
    detect_format,
    parts_of,
    read_documents,
    write_documents,
)
from mosaic_ner.data_builders.formats.xmi import ENTITY, METADATA, TYPE_SYSTEM
from mosaic_ner.modeling.document import Document, Mention, Passage

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
TOOLS = {"label_studio": "out.labelstudio.json", "xmi": "out.xmi", "brat": "out"}
TEXT = "BRCA1 𝔤𝔢𝔫𝔢 in\nmice β\u0301-globin"
MENTIONS = (
    Mention(0, 5, "Gene", ("672",), 0.9123), Mention(0, 10, "DNA part", ("a b", "c"), 0.5), Mention(6, 10, "Gene"),
    Mention(11, 18, "Odd"), Mention(14, 18, "Species", (), 1.0), Mention(19, 28, "Gene", ("OMIM:1",)),
)  # fmt: skip


def back(documents, tool, folder):
    """(documents, counts of the reader, counts of the writer) of a round trip."""
    written = write_documents(documents, folder / TOOLS[tool])
    report = ReadReport()
    found = {(d.id, d.index): d for d in read_documents(folder / TOOLS[tool], report=report, repeated_ids="index")}
    return [found[d.id, d.index] for d in documents], dict(report.counts), dict(written.counts)


def everything(document) -> list[tuple]:
    return [(*m.key, m.identifiers, m.score) for m in document.mentions]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_round_trip_keeps_nested_mentions_identifiers_and_scores(tool, tmp_path):
    mentions = [m for m in MENTIONS if tool != "brat" or " " not in m.type]
    documents = [Document(id, "user", TEXT).with_mentions(mentions) for id in ("1", "a/b c", "é")]
    documents.append(Document("empty", "user", " ", ()))
    found, counts, lost = back(documents, tool, tmp_path)
    assert [d.text for d in found] == [d.text for d in documents]
    assert [everything(d) for d in found] == [everything(d) for d in documents]
    assert not lost
    assert counts.keys() <= {"prediction_read", "empty_document"}


def test_label_studio_keeps_the_whole_document(tmp_path):
    passages = (Passage(0, 10, "title", (("k", "v"),)), Passage(11, len(TEXT), "abstract"))
    document = Document(
        "1", "mine", TEXT, MENTIONS, frozenset({"Gene", "Virus"}), 2, "PMC1", passages, (("year", "2020"),)
    )
    (found,), _, lost = back([document], "label_studio", tmp_path)
    assert found == document
    assert everything(found) == everything(document)
    assert not lost


@pytest.mark.parametrize("tool", ["xmi", "brat"])
def test_what_a_tool_has_no_place_for_is_counted(tool, tmp_path):
    document = Document("1", "user", TEXT, MENTIONS[:1], passages=(Passage(0, 5),), infons=(("a", "b"),), article="x")
    _, _, lost = back([document], tool, tmp_path)
    assert lost == {"passages_not_written": 1, "infons_not_written": 1, "article_not_written": 1}


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("tool", TOOLS)
def test_any_text_and_mentions_come_back(tool, data, tmp_path_factory):
    whole, xml = st.characters(exclude_categories=("Cs",)), st.characters(min_codepoint=0x20, max_codepoint=0xD7FF)
    characters = st.one_of(xml, st.sampled_from("\n\r\t𝛼\U0010fffd")) if tool == "xmi" else whole
    text = data.draw(st.text(characters, min_size=1, max_size=20))
    place = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))).filter(lambda p: p[0] < p[1])
    kinds = st.sampled_from(["Gene", "β", "x_y"])
    rows = data.draw(st.dictionaries(st.tuples(place, kinds), st.sampled_from([None, 0.25, 1.0]), max_size=5))
    mentions = [Mention(*p, kind, score=score) for (p, kind), score in rows.items()]
    document = Document("1", "user", text).with_mentions(mentions)
    (found,), _, _ = back([document], tool, tmp_path_factory.mktemp("any"))
    assert (found.text, everything(found)) == (text, everything(document))


# ---- Label Studio


def task(*annotations, text="BRCA1 in mice", predictions=(), **data) -> dict:
    return {"id": 7, "data": {"text": text, **data}, "annotations": list(annotations), "predictions": list(predictions)}


def region(start, end, *labels, **more) -> dict:
    return {"id": "r", "type": "labels", "from_name": "label", "to_name": "text"} | {
        "value": {"start": start, "end": end, "labels": list(labels)} | more
    }


def by(who, *regions, **more) -> dict:
    return {"id": 1, "completed_by": who, "was_cancelled": False, "ground_truth": False, "result": list(regions)} | more


def exported(tmp_path, *tasks, name="project-1-at-2026.json"):
    return file(tmp_path, name, json.dumps(tasks))


def test_corrections_replace_predictions(tmp_path):
    guess = {"model_version": "mosaic-ner", "score": 0.5, "result": [region(6, 8, "Gene")]}
    path = exported(tmp_path, task(by(1, region(0, 5, "Gene", text="BRCA1")), predictions=[guess, guess]))
    documents, counts = read(path)
    assert detect_format(path) == "label_studio"
    assert [(m.key, m.score) for m in documents[0].mentions] == [((0, 5, "Gene"), None)]
    assert documents[0].id == "7"
    assert counts == {"other_version": 2}


def test_every_annotator_gets_a_document(tmp_path):
    one, two = by({"id": 3, "email": "a@b.c"}, region(0, 5, "Gene")), by(9, region(9, 13, "Species"))
    skipped = by(4, was_cancelled=True)
    documents, counts = read(exported(tmp_path, task(one, two, skipped)))
    assert [(d.id, d.index, d.infons, [m.key for m in d.mentions]) for d in documents] == [
        ("7", 0, (("annotator", "3"),), [(0, 5, "Gene")]),
        ("7", 1, (("annotator", "9"),), [(9, 13, "Species")]),
    ]
    assert counts == {"several_annotators": 1, "other_version": 1}
    two["ground_truth"] = True
    documents, counts = read(exported(tmp_path, task(one, two, skipped)))
    assert [[m.key for m in d.mentions] for d in documents] == [[(9, 13, "Species")]]
    assert counts == {"other_version": 2}


def test_a_task_without_any_version_annotates_no_type(tmp_path):
    path = exported(
        tmp_path, task(by(1, was_cancelled=True)), task(annotated_types=["Gene"]) | {"id": 8}, task(by(1)) | {"id": 9}
    )
    documents, counts = read(path, annotated_types=["Gene"])
    assert [d.annotated_types for d in documents] == [frozenset(), frozenset(), frozenset({"Gene"})]
    assert counts == {"not_annotated": 2, "other_version": 1}


def test_other_regions_are_counted(tmp_path):
    regions = [
        region(0, 5, "Gene", "DNA"), {"type": "relation", "from_id": "r", "to_id": "s"},
        {"type": "choices", "value": {"choices": ["good"]}},
        {"type": "hypertextlabels", "value": {"start": "/p[1]", "end": "/p[1]"}},
    ]  # fmt: skip
    documents, counts = read(exported(tmp_path, task(by(1, *regions), source="x", length=3)))
    assert [m.key for m in documents[0].mentions] == [(0, 5, "DNA"), (0, 5, "Gene")]
    assert counts == {"relation": 1, "region_not_kept": 2, "key_not_kept": 2}
    assert surfaces(exported(tmp_path, task(by(1, region(0, 5))), task()), policy="lenient", repeated_ids="index") == [
        [],
        [],
    ]
    assert "a label of a region" in failure(exported(tmp_path, task(by(1, region(0, 5)))))


def test_offsets_of_old_versions_are_told(tmp_path):
    old = region(8, 12, "Species", text="mice")
    path = exported(tmp_path, task(by(1, old), text="in 𝛼𝛽 mice"))
    assert "offset_unit='utf16'" in failure(path)
    assert [m.key for m in read(path, offset_unit="utf16")[0][0].mentions] == [(6, 10, "Species")]


def test_a_line_end_in_a_regions_text_is_known(tmp_path):
    path = exported(tmp_path, task(by(1, region(0, 8, "Gene", text="BRCA1\\nin")), text="BRCA1\nin"))
    assert surfaces(path) == [[("Gene", "BRCA1\nin")]]


def test_the_text_may_have_another_key(tmp_path):
    other = {"id": 1, "data": {"abstract": "BRCA1", "year": 2020}, "annotations": [by(1, region(0, 5, "Gene"))]}
    assert surfaces(exported(tmp_path, other)) == [[("Gene", "BRCA1")]]
    other["data"]["title"] = "x"
    message = failure(exported(tmp_path, other))
    assert "task 1" in message
    assert "abstract, title" in message


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"id": 1, "annotations": [], "predictions": []}, "'data'"),
        (task() | {"annotations": {"a": 1}}, "'annotations' as a list"),
        (task(by(1) | {"result": ["x"]}), "list of regions"),
        (task(by(1, region(0, 5, 7))), "list of names"),
        (task(by(1, region("x", 5, "G"))), "'start' of a mention"),
        (task(by(1, region(3, 50, "G"))), "inside the text"),
    ],
)
def test_damage_is_told_with_file_and_task(broken, expected, tmp_path):
    path = exported(tmp_path, task(by(1)), broken | {"id": 8})
    message = failure(path, format="label_studio")
    assert str(path) in message
    assert expected in message
    assert "8" in message.partition("expected")[0] or "task 2" in message


def test_an_export_of_tasks_is_named_where_another_format_was_said(tmp_path):
    assert "label_studio" in failure(exported(tmp_path, task(by(1)) | {"text": "x"}), format="bioc_json")


def test_the_labelling_interface_stands_beside_the_tasks(tmp_path):
    source = file(
        tmp_path, "in.jsonl", '{"id": "1", "text": "Severe velosis in mice"}\n{"id": "2", "text": "spiran"}\n'
    )
    target = tmp_path / "tasks.labelstudio.json"
    assert predicted(source, target) == 0
    root = ElementTree.parse(tmp_path / "tasks.labels.xml").getroot()
    assert [label.get("value") for label in root.iter("Label")] == ["Chemical", "Disease", "Species"]
    labels, text = next(root.iter("Labels")), next(root.iter("Text"))
    tasks = json.loads(target.read_text())
    for one in tasks:
        assert text.get("value") == "$text"
        for found in one["predictions"][0]["result"]:
            assert (found["from_name"], found["to_name"]) == (labels.get("name"), text.get("name"))
    assert tasks[0]["predictions"][0]["score"] == 0.5
    assert surfaces(tmp_path / "tasks.labelstudio.json") == [
        [("Disease", "velosis"), ("Species", "mice")],
        [("Chemical", "spiran")],
    ]


# ---- INCEpTION


def test_cassis_reads_what_we_write_in_utf16_units(tmp_path):
    write_documents([Document("1", "user", TEXT, MENTIONS)], tmp_path / "out.xmi")
    types = cassis.load_typesystem(tmp_path / "out.xmi" / TYPE_SYSTEM)
    cas = cassis.load_cas_from_xmi(tmp_path / "out.xmi" / "1.xmi", typesystem=types)
    assert cas.sofa_string == TEXT
    assert [(a.value, a.get_covered_text()) for a in cas.select(ENTITY)] == [
        (m.type, TEXT[m.start : m.end]) for m in MENTIONS
    ]
    raw = [e.attrib for e in ElementTree.parse(tmp_path / "out.xmi" / "1.xmi").iter() if e.tag.endswith("NamedEntity")]
    units = TEXT.encode("utf-16-le")
    for mention, found in zip(MENTIONS, raw, strict=True):
        part = units[2 * int(found["begin"]) : 2 * int(found["end"])]
        assert part.decode("utf-16-le") == TEXT[mention.start : mention.end]


def inception(tmp_path, *annotations, text=TEXT, title="1.xmi"):
    """As the tool exports: its own layers, without our feature, its own type system beside."""
    types = cassis.load_dkpro_core_typesystem()
    span = types.create_type("custom.Span", "uima.tcas.Annotation")
    types.create_feature(span, "label", "uima.cas.String")
    cas = cassis.Cas(types, sofa_string=text, sofa_mime="text/plain")
    token = types.get_type("de.tudarmstadt.ukp.dkpro.core.api.segmentation.type.Token")
    metadata = types.create_type(METADATA, "uima.tcas.DocumentAnnotation")
    for name in ("documentTitle", "documentId"):
        types.create_feature(metadata, name, "uima.cas.String")
    cas.add(metadata(begin=0, end=len(text), documentTitle=title, documentId="admin"))
    cas.add(token(begin=0, end=5))
    for name, begin, end, features in annotations:
        cas.add(types.get_type(name)(begin=begin, end=end, **features))
    (tmp_path / "admin.xmi").write_text(cas.to_xmi())
    (tmp_path / TYPE_SYSTEM).write_text(types.to_xml())
    return tmp_path / "admin.xmi"


def test_an_export_of_the_tool_is_read(tmp_path):
    disease = ENTITY.replace("NamedEntity", "Disease")
    path = inception(
        tmp_path, (ENTITY, 6, 10, {"value": "Gene", "identifier": "http://x/1"}), ("custom.Span", 0, 5, {"label": "a"}),
        (disease, 0, 5, {}), title="a%2Fb.xmi",
    )  # fmt: skip
    documents, counts = read(path)
    assert documents[0].id == "a/b"
    assert everything(documents[0]) == [(0, 5, "Disease", (), None), (6, 10, "Gene", ("http://x/1",), None)]
    assert counts == {"annotation_not_kept": 1}
    assert detect_format(path) == "xmi"
    assert parts_of(tmp_path) == [(path, "xmi")]
    (tmp_path / TYPE_SYSTEM).unlink()
    documents, counts = read(path)
    assert len(documents[0].mentions) == 2
    assert counts == {"annotation_not_kept": 1}


def test_faults_of_xmi(tmp_path):
    path = inception(tmp_path, (ENTITY, 0, 5, {}))
    assert "a value of a named entity" in failure(path)
    assert read(path, policy="lenient")[1] == {"no_type": 1}
    whole = path.read_text()
    path.write_text(whole.replace('end="5"', 'end="7"'))  # inside a pair of code units
    assert "UTF-16 code units" in failure(path)
    path.write_text(whole[:-20])
    assert str(path) in failure(path)
    path.write_text(whole.replace('end="5"', 'end="5" unheard="of"'))
    assert "export it again" in failure(path)


def test_prediction_writes_folders_and_files_of_xmi(tmp_path):
    source = file(
        tmp_path, "in.jsonl", "".join(json.dumps({"id": str(n), "text": "velosis in mice"}) + "\n" for n in range(5))
    )
    assert predicted(source, tmp_path / "out.xmi") == 0
    expected = [[("Disease", "velosis"), ("Species", "mice")]] * 5
    assert surfaces(tmp_path / "out.xmi") == expected
    assert sorted(p.name for p in (tmp_path / "out.xmi").iterdir()) == [*(f"{n}.xmi" for n in range(5)), TYPE_SYSTEM]
    assert predicted(tmp_path / "out.xmi", tmp_path / "again") == 0  # a file for each of a folder's
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == [*(f"{n}.xmi" for n in range(5)), TYPE_SYSTEM]
    assert surfaces(tmp_path / "again") == expected
    assert all(m.score == 0.5 for d in read_documents(tmp_path / "again") for m in d.mentions)


def test_a_file_of_xmi_holds_one_document(tmp_path):
    with open(tmp_path / "x.xmi", "wb") as handle, DocumentWriter(handle, "xmi") as writer:
        writer.write(Document("1", "user", "a"))
        with pytest.raises(ValueError, match="one document in a file"):
            writer.write(Document("2", "user", "a"))


# ---- brat


def test_notes_of_annotators_are_no_scores(tmp_path):
    file(tmp_path, "1.txt", "BRCA1 in mice")
    file(
        tmp_path, "1.ann",
        "T1\tGene 0 5\tBRCA1\n#1\tAnnotatorNotes T1\tscore 0.25\nT2\tSpecies 9 13\tmice\n#2\tAnnotatorNotes T2\tscore high\n",
    )  # fmt: skip
    documents, counts = read(tmp_path)
    assert [(m.type, m.score) for m in documents[0].mentions] == [("Gene", 0.25), ("Species", None)]
    assert counts == {"not_kept": 1}


# ---- real documents


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real files are not in ../shared")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("source", ["pubtator/BioRED_Test.PubTator", "genia"])
def test_real_mentions_come_back(source, tool, tmp_path):
    path = SHARED / "corpora" / source
    path = next(iter(sorted(path.glob("*.jsonl")))) if path.is_dir() else path
    format = "genia_jsonl" if source == "genia" else None
    documents = list(islice(read_documents(path, format, policy="lenient", repeated_ids="index"), 40))
    found, _, _ = back(documents, tool, tmp_path)
    assert sum(len(d.mentions) for d in documents) > 90
    assert [d.text for d in found] == [d.text for d in documents]
    assert [everything(d) for d in found] == [everything(d) for d in documents]
