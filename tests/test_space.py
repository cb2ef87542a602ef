"""The demo page without the page: its models, visitors' texts and files, a Space by itself, the command line."""

from __future__ import annotations

import configparser
import gzip
import json
import shutil
from pathlib import Path

import pytest
from helpers_formats import IOB, JATS, PUBMED, RECORDS, file, passage, read
from helpers_run import ROOT, shell
from helpers_space import BIOC_JSON, BIOC_XML, NASTY, PUBTATOR, SPACE, TEXT, body, save_models
from huggingface_hub import metadata_load
from mosaic_ner.data_builders.formats import FormatError, read_documents
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.hub.space import app
from mosaic_ner.hub.space.build import build_space
from mosaic_ner.hub.space.files import annotate_file
from mosaic_ner.hub.space.taggers import SpaceError, Tagger, Taggers
from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction import options
from mosaic_ner.prediction.loading import load


@pytest.fixture(scope="module")
def models(saved_model_dir, build_bundle, bert_dir, tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"), saved_model_dir, build_bundle, bert_dir)


@pytest.fixture(scope="module")
def taggers(models):
    return Taggers(list(models.values()))


# ---- models


@pytest.mark.parametrize("name", ["flat", "nested"])
def test_a_family_answers_as_its_predictor(models, name):
    tagger = Tagger(models[name])
    predictor = MentionPredictor(*load(models[name]))
    config = predictor.model.config
    wanted = [("Text of unknown origin", "")] + [v for v in tagger.guidelines if v[1].startswith(("corpus:", "task:"))]
    assert tagger.guidelines == wanted
    assert {v for _, v in wanted} >= {f"corpus:{c}" for c in config.labels.corpora if predictor.model.knows(c)}
    answers = []
    for _, value in tagger.guidelines:
        kind, _, given_name = value.partition(":")
        tasks = [config.task(given_name)] if kind == "task" else predictor.model.tasks_for(given_name or None)
        expected = predictor([TEXT], tasks)[0]
        got = tagger.mentions(TEXT, value)
        assert [m.key for m in got] == [m.key for m in expected]
        assert {m.type for m in got} <= set(tagger.types)
        answers.append([m.key for m in got])
        kept = [m for m in got if m.score >= 0.5]
        assert [m.key for m in tagger.mentions(TEXT, value, 0.5)] == [m.key for m in kept]
    assert len({tuple(a) for a in answers}) > 1
    assert tagger.mentions(" \n") == []


def test_a_stock_model_reads_long_texts_to_the_end(models):
    tagger = Tagger(models["stock"])
    assert tagger.is_stock
    assert [value for _, value in tagger.guidelines] == [""]
    text = "The velosis of breast cells. " * 200
    found = tagger.mentions(text)
    assert found[-1].end > len(text) - 40
    assert {m.type for m in found} <= set(tagger.types)
    assert min(m.score for m in tagger.mentions(text, threshold=0.6)) >= 0.6


def relabelled(folder, target, labels: dict[int, str]) -> Tagger:
    """A stock model with other labels."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    names = {int(number): labels.get(int(number), name) for number, name in config["id2label"].items()}
    config |= {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    (target / "config.json").write_text(json.dumps(config))
    return Tagger(str(target))


def test_stock_labels_without_prefixes_are_types(models, tmp_path):
    text = "The velosis of breast cells. " * 20
    mentions = Tagger(models["stock"]).mentions(text)
    names = {f"{kind}-{name}" for kind in "BI" for name in {m.type for m in mentions}}
    config = json.loads(Path(models["stock"], "config.json").read_text())
    numbers = [int(number) for number, name in config["id2label"].items() if name in names]
    bare = relabelled(models["stock"], tmp_path / "bare", {n: f"Type{n}" for n in numbers})
    assert {f"Type{n}" for n in numbers} <= set(bare.types)
    found = bare.mentions(text)
    covered = [{i for m in part for i in range(m.start, m.end)} for part in (mentions, found)]
    assert len(covered[0]) > 100
    assert covered[0] <= covered[1]  # what touches is joined without B-
    assert {m.type for m in found} <= set(bare.types)
    with pytest.raises(ValueError, match=r"LABEL_0.*set id2label"):
        relabelled(models["stock"], tmp_path / "nameless", {n: f"LABEL_{n}" for n in range(len(config["id2label"]))})


def test_stock_mentions_of_white_space_are_left_out(models, monkeypatch):
    tagger = Tagger(models["stock"])
    rows = [{"start": a, "end": b, "entity_group": "Gene", "score": 0.9} for a, b in ((0, 1), (1, 1), (1, 2), (2, 3))]
    monkeypatch.setattr(tagger, "_pipeline", lambda text, **how: rows)
    assert [m.key[:2] for m in tagger.mentions("a b")] == [(0, 1), (2, 3)]


def test_only_the_operators_models_are_loaded(taggers, models, caplog):
    with pytest.raises(SpaceError, match=r"no model 'nested2' here.*flat, nested, stock, broken"):
        taggers.get("nested2")
    with pytest.raises(SpaceError, match="no model"):
        taggers.get(models["flat"])  # not even by its path
    with pytest.raises(SpaceError, match="broken can't be loaded") as caught:
        taggers.get("broken")
    assert models["broken"] not in str(caught.value)  # visitors aren't shown the operator's folders
    assert models["broken"] in caplog.text
    with pytest.raises(SpaceError, match="no guideline 'corpus:x'"):
        taggers.get("flat").mentions(TEXT, "corpus:x")
    assert taggers.get("flat") is taggers.get("flat")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected at least one model"),
        (["no such folder"], "neither"),
        (["a/b/c"], "neither"),
        (["org/x", "org/x"], "two models are called 'org/x'"),
    ],
)
def test_names_that_cannot_be_models(names, message):
    with pytest.raises(SpaceError, match=message):
        Taggers(names)


# ---- texts and files


def test_texts_that_do_not_fit():
    limits = app.Limits(characters=5)
    assert limits.check_text("𝔪𝔪𝔪𝔪🐭") == "𝔪𝔪𝔪𝔪🐭"  # five code points
    assert limits.check_text("a\ud800") == "a\ufffd"
    for text, message in (
        (None, "empty"),
        (" \n", "empty"),
        ("123456", "6 characters; at most 5"),
    ):
        with pytest.raises(SpaceError, match=message):
            limits.check_text(text)


def test_sizes_are_those_of_the_unpacked_file(tmp_path):
    page = app.Actions(None, app.Limits(megabytes=0.002))
    small, large = (
        file(tmp_path, "a.xml", gzip.compress(b"x" * 2000)),
        file(tmp_path, "b.xml", gzip.compress(b"x" * 2001)),
    )
    assert page._checked(str(small)) == small
    assert large.stat().st_size < 100
    with pytest.raises(SpaceError, match=r"at most 0\.002 MB"):
        page._checked(str(large))


def find_words(document) -> list[Mention]:
    """Mentions of a made-up model, one inside another."""
    text = document.text
    found = [Mention(i, i + 7, "Disease", score=0.75) for i in range(len(text)) if text.startswith("velosis", i)]
    return [*found, *(Mention(m.start, m.start + 3, "Part", score=0.5) for m in found)]


@pytest.mark.parametrize(
    ("name", "content", "written"),
    [
        ("notes.PubTator", PUBTATOR, "notes.annotated.PubTator"),
        ("notes.txt", PUBTATOR, "notes.annotated.pubtator.txt"),
        ("n.bioc.json", BIOC_JSON, "n.annotated.bioc.json"),
        ("n.xml", BIOC_XML, "n.annotated.xml"),
    ],
)
def test_files_come_back_annotated(tmp_path, name, content, written):
    seen = []
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = annotate_file(tmp_path / name, tmp_path, find_words, lambda *at: seen.append(at))
    assert done.path == tmp_path / written
    before = list(read_documents(tmp_path / name))
    after = list(read_documents(done.path))
    assert [(d.id, d.text, d.passages) for d in after] == [(d.id, d.text, d.passages) for d in before]
    assert [d.mentions for d in after] == [tuple(sorted(find_words(d))) for d in before]
    assert sum(len(d.mentions) for d in after) >= 2
    assert seen == [(i, len(before)) for i in range(len(before))]
    remarks = " ".join(done.remarks)
    assert ("no place for a prediction's score" in remarks) == (content == PUBTATOR)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.docx", b"x", "notes.docx: expected a file ending"),
        ("notes.xml.gz", gzip.compress(b"x"), "notes.xml.gz"),
        ("notes.xml.gz", b"\x1f\x8bx", "notes.xml.gz: expected a complete gzip file"),
        ("notes.json", b"{", "notes.json"),
        ("notes.xml", b"<collection>", "notes.xml"),
        ("notes.pubtator", b"", "at least one document"),
        ("notes.pubtator", b"\xff\xfe", "UTF-8"),
    ],
)
def test_bad_files_are_told_by_name(tmp_path, name, content, message):
    with pytest.raises((SpaceError, FormatError), match=message) as caught:
        annotate_file(file(tmp_path, name, content), tmp_path, find_words)
    assert str(tmp_path) not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "content", "written"),
    [
        ("n.txt", "The velosis.", "n.annotated.jsonl"), ("n", IOB, "n.annotated.iob2"), ("n.tsv", IOB, "n.annotated.tsv"),
        ("n.txt", BIOC_XML, "n.annotated.bioc.xml"), ("n.json", RECORDS, "n.annotated.jsonl"),
        ("n", "\n" + PUBTATOR, "n.annotated.pubtator"), ("n.xml", PUBMED, "n.annotated.xml"),
        ("n.nxml", JATS, "n.annotated.bioc.xml"), ("n.txt", PUBMED, "n.annotated.bioc.xml"),
        ("n.xml.gz", gzip.compress(PUBMED.encode()), "n.annotated.xml.gz"),
        ("n.nxml.gz", gzip.compress(JATS.encode()), "n.annotated.bioc.xml"),
    ],
)  # fmt: skip
def test_files_are_told_by_their_content(name, content, written, tmp_path):
    done = annotate_file(file(tmp_path, name, content), tmp_path, find_words)
    assert done.path == tmp_path / written
    (document, *_), _ = read(done.path)
    assert "velosis" in {document.surface(m) for m in document.mentions}


def test_wrong_annotations_are_not_judged_and_bad_records_are_told(tmp_path):
    records = '{"id": "1", "text": "velosis", "mentions": [{"start": "a", "end": 99, "type": "G"}]}\n{"text": 5}\n'
    done = annotate_file(file(tmp_path, "n.jsonl", records), tmp_path, find_words)
    assert [len(d.mentions) for d in done.documents] == [2]
    assert [remark[:30] for remark in done.remarks if "Left out" in remark] == ["Left out: n.jsonl:2: document "]
    assert str(tmp_path) not in " ".join(done.remarks)


def test_bioc_comes_back_as_it_was(tmp_path):
    node = {"source": "PMC", "date": "d", "key": "k", "infons": {"a": "b"}, "documents": [
        {"id": "1", "infons": {"y": "z"}, "passages": [passage("velosis", offset=0), passage("velosis", offset=7)],
         "relations": [{"id": "R", "infons": {}, "nodes": []}]}]}  # fmt: skip
    done = annotate_file(file(tmp_path, "n.json", json.dumps(node)), tmp_path, find_words)
    after = json.loads(done.path.read_text())
    assert [len(p.pop("annotations")) for p in after["documents"][0]["passages"]] == [2, 2]
    assert after["documents"][0]["relations"] == node["documents"][0]["relations"]
    assert {k: v for k, v in after.items() if k != "documents"} == {k: v for k, v in node.items() if k != "documents"}


def test_taggers_find_nothing_across_passages(models):
    texts = ["breast", "cancer of", "mice"] * 8
    places = [sum(map(len, texts[:n])) for n in range(len(texts) + 1)]
    document = Document("1", "c", "".join(texts), passages=tuple(map(Passage, places[:-1], places[1:])))
    for name in ("flat", "nested", "stock"):
        found = Tagger(models[name]).mentions(document)
        assert found
        assert not [m for m in found if any(m.start < place < m.end for place in places)]


# ---- Spaces and the command line


def test_a_space_runs_by_itself(models, tmp_path):
    folder = build_space(tmp_path / "space", ["org/nested", "org/flat"])
    facts = metadata_load(folder / "README.md")
    assert facts["models"] == ["org/nested", "org/flat"]
    assert (folder / facts["app_file"]).exists()
    assert facts["sdk"] == "gradio"
    (tmp_path / "serve.py").write_text(SPACE, encoding="utf-8")
    done = shell(
        [tmp_path / "serve.py", NASTY], folder, PYTHONPATH="", MOSAIC_MODELS=models["nested"],
        HF_MODULES_CACHE=str(tmp_path / "modules"), GRADIO_TEMP_DIR=str(tmp_path / "files"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout.partition("RESULT")[2])
    assert answer["models"] == [models["nested"]]
    assert body(answer["html"]).text == NASTY
    assert body(answer["html"]).boxes
    copied = {path.resolve() for path in (folder / "mosaic_ner").rglob("*.py")}
    assert {(folder / name).resolve() for name in answer["files"]} == copied  # all from the folder, none for nothing
    assert "hacked" not in done.stdout.partition("RESULT")[0] + done.stderr  # visitors' texts aren't logged


def test_a_space_needs_what_the_package_needs():
    wanted = (ROOT / "hub" / "space" / "requirements.txt").read_text(encoding="utf-8").split("\n")[1:]
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    known = config["options"]["install_requires"] + config["options.extras_require"]["space"]
    assert {line for line in wanted if line} <= set(known.split())
    assert metadata_load(ROOT / "hub" / "space" / "README.md")["models"] == []


def test_models_come_from_the_first_place_that_names_any(monkeypatch, tmp_path):
    monkeypatch.setenv("MOSAIC_MODELS", " org/a, org/b ,")
    assert app.named_models(["x"]) == ["x"]
    assert app.named_models([]) == ["org/a", "org/b"]
    monkeypatch.delenv("MOSAIC_MODELS")
    monkeypatch.setattr(options, "IN_THE_BOX", tmp_path)
    with pytest.raises(ArgumentError, match="no model is named"):
        app.named_models([])
    (tmp_path / "model.safetensors").touch()
    assert app.named_models([]) == [str(tmp_path)]
    monkeypatch.setattr(app, "HERE", build_space(tmp_path / "s", ["org/c"]))
    assert app.named_models([]) == ["org/c"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no model is named"),
        (["a b"], "neither"),
        (["--build", "{new}"], "no model is named"),
        (["{full}", "--build", "{new}"], "publish the model first"),
        (["org/x", "--build", "{full}"], "new or empty folder"),
        (["org/x", "--max_characters", "0"], "expected more than 0"),
    ],
)
def test_wrong_command_lines(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.delenv("MOSAIC_MODELS", raising=False)
    monkeypatch.setattr(options, "IN_THE_BOX", tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    argv = [a.format(new=tmp_path / "new", full=tmp_path / "full") for a in argv]
    with pytest.raises(SystemExit) as stop:
        app.main(argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_command_writes_a_space(capsys, tmp_path):
    app.main(["org/x", "--build", str(tmp_path / "new")])
    assert f"written to {tmp_path / 'new'}" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"README.md", "app.py", "mosaic_ner", "requirements.txt"}
