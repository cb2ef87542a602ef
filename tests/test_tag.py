"""`mosaic-ner tag` and `mosaic_ner.tag`: text, file, folder or pipe in; table, JSON lines or any format out."""

from __future__ import annotations

import configparser
import io
import json
import subprocess
import sys

import pytest
from helpers_run import ROOT, environment, shell
from helpers_space import Boxes
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.tag import Tagged, main, table, tag


@pytest.fixture(scope="module")
def model(saved_model_dir):
    return str(saved_model_dir)


@pytest.fixture(scope="module")
def predictor(model):
    return MentionPredictor(*load(model))


@pytest.fixture(scope="module")
def text(demo_texts):
    return demo_texts[0]


@pytest.fixture(scope="module")
def documents(demo_texts):
    return [Document(f"d{n}", "user", text) for n, text in enumerate(demo_texts[:5])]


@pytest.fixture
def tagged(model, capsys):
    """Function: arguments → what is written, as documents of JSON lines."""

    def run(*argv, code=0):
        capsys.readouterr()
        assert main([*map(str, argv), "--model", model]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def error(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, argv)))
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("tag: error: ")
    return message


def spans(record) -> list[tuple]:
    return [(m["start"], m["end"], m["type"]) for m in record["mentions"]]


def keys(mentions) -> list[tuple]:
    return [m.key for m in mentions]


def test_a_text_in_a_pipe_gives_a_line_of_json(tagged, text, predictor):
    (record,) = tagged(text)
    assert record["text"] == text
    assert spans(record) == keys(predictor([text])[0]) != []


def test_json_lines_are_utf_8_whatever_the_encoding_of_the_terminal(model):
    text = "TNF-\N{GREEK SMALL LETTER ALPHA} in mice"
    process = subprocess.run(
        [sys.executable, ROOT / "run_ner.py", "tag", text, "--model", model],
        capture_output=True, env=environment(PYTHONIOENCODING="cp1252"), check=True,
    )  # fmt: skip
    assert json.loads(process.stdout.decode("utf-8"))["text"] == text


def test_a_text_in_a_terminal_gives_a_table(model, text, predictor, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main([text, "--model", model])
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["mention", "type", "start", "end", "score"]
    found = predictor([text])[0]
    assert [line.split()[-4:] for line in lines] == [
        [m.type, str(m.start), str(m.end), f"{m.score:.4f}"] for m in found
    ]
    assert all(line.startswith(text[m.start : m.end]) for line, m in zip(lines, found, strict=True))


def test_a_table_of_nothing_and_of_a_mention_across_lines():
    assert table("x", []) == "no mentions"
    long = Tagged("a\nb " + "c" * 80, [])
    assert str(long) == "no mentions"
    (_, line) = table(long.text, [Mention(0, len(long.text), "Gene")]).splitlines()
    assert line.startswith("a b ccc")
    assert "…  Gene" in line


@pytest.mark.parametrize("name", ["in.pubtator", "in.bioc.xml", "in.jsonl.gz", "folder"])
def test_files_and_folders(tagged, documents, predictor, tmp_path, name):
    path = tmp_path / name
    write_documents(documents, path)
    found = tagged(path)
    assert [r["id"] for r in found] == [d.id for d in documents]
    assert [spans(r) for r in found] == [keys(found) for found in predictor([d.text for d in read_documents(path)])]


@pytest.mark.parametrize(("name", "said"), [("in.pubtator", ()), ("in.jsonl", ("--format", "jsonl")), (None, ())])
def test_standard_input(tagged, documents, text, tmp_path, monkeypatch, name, said):
    content = text.encode()
    if name:
        write_documents(documents, tmp_path / name)
        content = (tmp_path / name).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    found = tagged("-", *said)
    assert [r["id"] for r in found] == ([d.id for d in documents] if name else ["stdin"])
    assert [spans(r) for r in found] == [spans(tagged(r["text"])[0]) for r in found]


@pytest.mark.parametrize("name", ["out.bioc.xml.gz", "out.pubtator"])
def test_output_of_any_format(tagged, documents, tmp_path, name, caplog):
    source, target = tmp_path / "in.jsonl", tmp_path / name
    write_documents(documents, source)
    expected = [spans(r) for r in tagged(source)]
    with caplog.at_level("INFO"):
        assert tagged(source, "--output", target) == []
    assert [keys(d.mentions) for d in read_documents(target)] == expected
    assert f"{target}: {len(documents)} documents, {sum(map(len, expected)):,} mentions" in caplog.text


def test_what_is_asked_for(tagged, text, predictor):
    everything = predictor([text])[0]
    kinds = sorted({m.type for m in everything})
    middle = sorted(m.score for m in everything)[len(everything) // 2]
    assert len(kinds) > 1
    assert sum(m.score < middle for m in everything) > 0
    assert spans(tagged(text, "--types", kinds[0])[0]) == keys(m for m in everything if m.type == kinds[0])
    assert spans(tagged(text, "--threshold", middle)[0]) == keys(m for m in everything if m.score >= middle)
    own = predictor([text], predictor.model.tasks_for("demo_gene"))[0]
    assert spans(tagged(text, "--corpus", "demo_gene")[0]) == keys(own) != keys(everything)


def test_a_bad_record_is_left_out_and_said(tagged, documents, tmp_path, caplog):
    path = tmp_path / "in.jsonl"
    write_documents(documents, path)
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([lines[0], "{no json", *lines[1:]]), "utf-8")
    assert len(tagged(path, code=3)) == len(documents)
    assert f"{path}:2" in caplog.text


def test_mistakes(capsys, model, tmp_path):
    named = ("--model", model)
    assert "no such file" in error(capsys, "absent.pubtator", *named)
    assert "no such file" in error(capsys, "absent/folder", *named)
    assert "is empty" in error(capsys, " ", *named)
    assert "did you mean 'Disease'" in error(capsys, "a text", "--types", "Desease", *named)
    assert "unknown corpus 'demo_gen'" in error(capsys, "a text", "--corpus", "demo_gen", *named)
    assert "expected 0 to 1" in error(capsys, "a text", "--threshold", "7", *named)
    assert "no effect on a text" in error(capsys, "a text", "--format", "jsonl", *named)
    assert ".nothing" in error(capsys, "a text", "--output", tmp_path / "out.nothing", *named)
    assert "absent" in error(capsys, "a text", "--model", tmp_path / "absent")
    for option in ("--output", "--html"):
        assert "there is no folder" in error(capsys, "a text", option, tmp_path / "absent" / "out.jsonl", *named)
    assert "is a folder" in error(capsys, "a text", "--html", tmp_path, *named)
    (tmp_path / "notes.jsonl").write_text('{"id": "1", "text": "Some genes."}\n')
    for option in ("--output", "--html"):
        assert "is an input, which would be" in error(
            capsys, tmp_path / "notes.jsonl", option, tmp_path / "notes.jsonl", *named
        )
    assert "Some genes." in (tmp_path / "notes.jsonl").read_text()
    twice = ["--output", tmp_path / "out.jsonl", "--html", tmp_path / "out.jsonl"]
    assert "named for two outputs" in error(capsys, "a text", *twice, *named)
    assert "'my notes.txt': no such file" in error(capsys, "my notes.txt", *named)
    assert "name it before --types, which has taken 'a text'" in error(capsys, "--types", "Gene", "a text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "not an empty folder" in error(capsys, "a text", "--output", tmp_path / "full", *named)


def test_a_document_that_the_output_cannot_hold_is_left_out_and_said(model, tmp_path, caplog):
    rows = [{"id": i, "text": "Genes."} for i in ("a|b", "c")]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.pubtator"), "--model", model]) == 3
    assert [d.id for d in read_documents(tmp_path / "out.pubtator")] == ["c"]
    assert "1 records are not in the output" in caplog.text


def test_a_reader_that_has_seen_enough(model, documents, tmp_path):
    path = tmp_path / "in.jsonl"
    write_documents([d for n in range(40) for d in documents], path)
    command = [sys.executable, ROOT / "run_ner.py", "tag", path, "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert json.loads(process.stdout.readline())["id"] == "d0"
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_in_python(model, text, predictor):
    found = tag(text, model)
    assert isinstance(found, list)
    assert found.text == text
    assert keys(found) == keys(predictor([text])[0])
    kind = found[0].type
    assert keys(tag(text, model, types=[kind])) == keys(m for m in found if m.type == kind)
    assert [keys(f) for f in tag([text, "", text], model)] == [keys(found), [], keys(found)]
    assert str(found).splitlines()[0].split()[0] == "mention"


def test_the_package_itself_is_imported_at_once(model, text):
    program = """import sys, mosaic_ner
assert {"torch", "transformers"}.isdisjoint(sys.modules)
assert "tag" in dir(mosaic_ner)
print(len(mosaic_ner.tag(*sys.argv[1:])))
try:
    mosaic_ner.tags
except AttributeError as error:
    print(error)"""
    done = shell(["-c", program, text, model], ROOT.parent)
    message = "module 'mosaic_ner' has no attribute 'tags'; it has tag, Tagged"
    assert done.stdout.splitlines() == [str(len(tag(text, model))), message], done.stderr


def test_every_package_of_the_installation_is_there():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = setup["options"]["packages"].split()
    places = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert packages == list(places)
    assert places["mosaic_ner"] == "prediction/api"
    assert all((ROOT / place).is_dir() for place in places.values())


def test_a_page_has_every_text_with_its_mentions_and_asks_nobody(model, documents, predictor, tmp_path, capsys):
    nasty = "Velosis </style><script>alert(1)</script> & <img src=x>."
    source, page = tmp_path / "in.jsonl", tmp_path / "page.html"
    write_documents([*documents, Document("<b>", "user", nasty)], source)
    assert main([str(source), "--model", model, "--html", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    body = html.split("</style>", 1)[1]
    boxes = [
        Boxes(f'<div class="mn-text{part.split("</div>")[0]}</div>') for part in body.split('<div class="mn-text')[1:]
    ]
    assert [b.text for b in boxes] == [d.text for d in documents] + [nasty]
    assert [sorted(b.mentions()) for b in boxes[:-1]] == [keys(m) for m in predictor([d.text for d in documents])]
    assert "<script" not in html
    assert "<img" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert capsys.readouterr().out == ""


def test_a_notebook_shows_the_marked_text():
    found = Tagged("mouse p53 gene", [Mention(0, 14, "DNA"), Mention(0, 5, "Species")], ["Gene", "DNA", "Species"])
    html = found._repr_html_()
    assert html.startswith("<style>")
    assert 'class="mn-page"' in html
    assert "mn-c1 " in html  # DNA is the second of the model's types
    assert "html>" not in html
