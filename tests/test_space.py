"""The demo page: its HTML, its files, its models, a Space by itself, and the page in a browser."""

from __future__ import annotations

import configparser
import json
import shutil
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers_run import ROOT, shell
from helpers_space import BIOC_JSON, BIOC_XML, PUBTATOR, SPACE, Boxes, body
from huggingface_hub import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.formats import FormatError, read_documents
from mosaic_ner.hub.space import app, highlight
from mosaic_ner.hub.space.build import build_space
from mosaic_ner.hub.space.files import annotate_file
from mosaic_ner.hub.space.taggers import SpaceError, Tagger, Taggers
from mosaic_ner.hub.stock import export_stock
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from playwright.sync_api import expect, sync_playwright

TEXT = "The velosis of breast cells in 𝔪ice 🐭 needs olaparin. Мыши и مرض too."
NASTY = "A <script>window.hacked = 1</script> & <img src=x onerror='window.hacked=1'> ${window.hacked = 1} {{velosis}} `gene`."
PATIENCE = 60_000
"""Milliseconds after which the page is taken to be stuck, on a busy machine."""
LIMITS = app.Limits(characters=2_000, megabytes=0.002)


@pytest.fixture(scope="module")
def models(saved_model_dir, build_bundle, bert_dir, tmp_path_factory):
    """Folders of untrained models that find mentions everywhere: a tagger, a nested family, a stock class; and a broken one."""
    top = tmp_path_factory.mktemp("models")
    shutil.copytree(saved_model_dir, top / "flat")
    nested = build_bundle(family="sruner", lively=True)
    nested.model.save_pretrained(top / "nested")
    nested.tokenizer.save_pretrained(top / "nested")
    bundle = build_bundle(encoder=str(bert_dir), classifier="softmax", lively=True)
    export_stock(bundle.model, bundle.tokenizer, top / "stock")
    (top / "broken").mkdir()
    (top / "broken" / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    return {name: str(top / name) for name in ("flat", "nested", "stock", "broken")}


@pytest.fixture(scope="module")
def taggers(models):
    return Taggers(list(models.values()))


# ---- HTML


@st.composite
def marked(draw):
    """A text in any script with up to 8 mentions anywhere."""
    text = draw(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
    places = st.tuples(
        st.integers(0, len(text) - 1), st.integers(1, len(text)), st.sampled_from(["Gene", "<b>", "${x}"])
    )
    spans = draw(st.sets(places.filter(lambda p: p[0] < p[1]), max_size=8))
    return text, [Mention(*span, score=0.5) for span in sorted(spans)]


@settings(max_examples=40, deadline=None)
@given(marked())
def test_boxes_nest_and_cover_their_mentions(case):
    text, mentions = case
    html = highlight.mark(text, mentions, ["Gene"])
    read = Boxes(html)
    assert read.text == text
    assert set(read.tags) <= {"div", "mark"}
    assert not set("${`") & set(html)
    pieces = read.mentions()
    assert sorted(pieces) == [m.key for m in mentions]
    for (start, end, _), places in pieces.items():
        assert "".join(text[a:b] for a, b in places) == text[start:end]
        assert all(first[1] == second[0] for first, second in pairwise(places))


def test_enclosing_mentions_are_around_the_others():
    mentions = [Mention(0, 12, "DNA"), Mention(0, 5, "Species"), Mention(0, 12, "Gene")]
    read = Boxes(highlight.mark("mouse p53 gene", mentions, []))
    assert {(b["data-type"], b["depth"]) for b in read.boxes} == {("DNA", 0), ("Gene", 1), ("Species", 2)}
    assert len(read.boxes) == 3


def test_crossing_mentions_are_cut_and_labelled_once():
    read = Boxes(highlight.mark("a b c", [Mention(0, 3, "X"), Mention(2, 5, "Y")], []))
    assert read.mentions() == {(0, 3, "X"): [(0, 3)], (2, 5, "Y"): [(2, 3), (3, 5)]}
    first, second = sorted((b["class"] for b in read.boxes if b["data-type"] == "Y"), key=lambda c: "mn-continued" in c)
    assert "mn-cut" in first
    assert "mn-cut" not in second  # the style sheet labels boxes that aren't cut
    assert "mn-continued" in second


def test_types_look_different():
    names = [f"T{i}" for i in range(highlight.COLOURS * len(highlight.BORDERS))]
    assert len({highlight.style_of(name, names) for name in names}) == len(names)
    sheet = app.STYLE.read_text(encoding="utf-8")
    assert {
        style for name in names for style in highlight.style_of(name, names).split() if f".{style} " not in sheet
    } == set()


def test_colours_can_be_told_from_their_labels():
    """A label's contrast with its background is at least 4.5 (WCAG 2.2, 1.4.3)."""

    def luminance(values):
        parts = [v / 255 for v in values]
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    lines = [line for line in app.STYLE.read_text(encoding="utf-8").splitlines() if "--on:" in line]
    assert len(lines) == highlight.COLOURS
    for line in lines:
        colour = luminance([int(v) for v in line.partition("--c: ")[2].partition(";")[0].split()])
        text = luminance([255] * 3 if "--on: #fff" in line else [0] * 3)
        assert (max(colour, text) + 0.05) / (min(colour, text) + 0.05) >= 4.5, line


def test_comparison_counts_who_found_what():
    a = [Mention(0, 1, "X", score=0.5), Mention(2, 3, "X", score=0.25)]
    b = [Mention(0, 1, "X", score=0.75), Mention(2, 3, "Y", score=1.0), Mention(4, 5, "Y", score=1.0)]
    html = highlight.comparison("a b c", a, b, ["X", "Y"], ["one", "two"])
    assert "<b>1</b> found by both, <b>1</b> only by A, <b>2</b> only by B" in html
    assert [html.count(f'mn-where-{where}"') for where in ("both", "a", "b")] == [1, 1, 2]
    assert "0.500" in html
    assert "0.750" in html


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
        tasks = [given_name] if kind == "task" else predictor.model.tasks_for(given_name or None)
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
        ([], "at least one model"),
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
    for text, message in (
        (None, "empty"),
        (" \n", "empty"),
        ("123456", "6 characters; at most 5"),
        ("a\ud800", "at 1"),
    ):
        with pytest.raises(SpaceError, match=message):
            limits.check_text(text)


def find_words(text: str) -> list[Mention]:
    """Mentions of a made-up model, one inside another."""
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
    done = annotate_file(content.encode(), name, tmp_path, find_words, lambda *at: seen.append(at))
    assert done.path == tmp_path / written
    (tmp_path / name).write_text(content, encoding="utf-8")
    before = list(read_documents(tmp_path / name, "pubtator" if name.endswith("txt") else None))
    after = list(read_documents(done.path))
    assert [(d.id, d.text, d.passages) for d in after] == [(d.id, d.text, d.passages) for d in before]
    assert [d.mentions for d in after] == [tuple(sorted(find_words(d.text))) for d in before]
    assert sum(len(d.mentions) for d in after) >= 2
    assert seen == [(i, len(before)) for i in range(len(before))]
    remarks = " ".join(done.remarks)
    assert ("mentions (1) are replaced" in remarks) == ("velosis\tOld" in content)
    assert ("no place for a prediction's score" in remarks) == (content == PUBTATOR)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.docx", b"x", "expected a PubTator file"),
        ("notes.xml.gz", b"x", "uncompressed"),
        ("notes.json", b"{", "notes.json"),
        ("notes.xml", b"<collection>", "notes.xml"),
        ("notes.txt", b"just text", "notes.txt:1"),
        ("notes.pubtator", b"", "at least one document"),
        ("notes.pubtator", b"\xff\xfe", "UTF-8"),
    ],
)
def test_bad_files_are_told_by_name(tmp_path, name, content, message):
    with pytest.raises((SpaceError, FormatError), match=message) as caught:
        annotate_file(content, name, tmp_path, find_words)
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


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
    assert [f for f in answer["files"] if not (folder / f).resolve().is_relative_to(folder.resolve())] == []
    assert len(answer["files"]) > 8
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
    assert app.named_models([]) == []
    monkeypatch.setattr(app, "HERE", build_space(tmp_path / "s", ["org/c"]))
    assert app.named_models([]) == ["org/c"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "at least one model"),
        (["a b"], "neither"),
        (["--build", "{new}"], "at least one model"),
        (["{full}", "--build", "{new}"], "publish the model first"),
        (["org/x", "--build", "{full}"], "new or empty folder"),
        (["org/x", "--max_characters", "0"], "expected more than 0"),
    ],
)
def test_wrong_command_lines(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.delenv("MOSAIC_MODELS", raising=False)
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


# ---- the page in a browser


class Visit:
    """A visitor: one browser window on the page, and every address it asked for."""

    def __init__(self, page, url: str, folder: Path):
        self.page, self.url, self.folder = page, url, folder
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(dialog.message))

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def choose(self, name: str, value: str, number: int = 0) -> None:
        """Chooses from the `number`-th visible list of that label."""
        self.page.get_by_label(name, exact=True).locator("visible=true").nth(number).click()
        self.page.get_by_role("option", name=value).click()
        expect(self.page.get_by_role("option").locator("visible=true")).to_have_count(0)  # the list fades out

    def write(self, text: str) -> None:
        self.page.locator(".mn-input textarea:visible").fill(text)

    def press(self, name: str, result: str) -> str:
        """Presses a button and waits until the result is another; its HTML."""
        place = self.page.locator(result)
        place.evaluate("e => { e.querySelector('section, div.mn-alert, p').setAttribute('data-old', '') }")
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").click()
        expect(place.locator("[data-old]")).to_have_count(0)
        return place.inner_html()

    def rows(self, result: str) -> list[list[str]]:
        return [row.split("\t") for row in self.page.locator(f"{result} tbody tr").all_inner_texts()]


@pytest.fixture(scope="module")
def visit(models, tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "the page is tested in a browser: install Chromium (apt-get install chromium)"
    files = tmp_path_factory.mktemp("files")
    expect.set_options(timeout=PATIENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(files))
        page = app.build_page(list(models.values()), LIMITS)
        _, url, _ = app.serve(page, LIMITS, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            visit = Visit(browser.new_page(viewport={"width": 1280, "height": 800}), url, files)
            visit.page.set_default_timeout(PATIENCE)
            visit.page.goto(url)
            visit.page.get_by_role("button", name="Find mentions").wait_for()
            yield visit
            browser.close()
        page.close(verbose=False)
        # Nothing of the visitors' files stays; gradio leaves empty ones.
        assert [p for p in files.rglob("*") if p.is_file() and p.stat().st_size] == []


def test_nested_mentions_of_a_text_are_shown(visit, taggers, capfd):
    visit.tab("Text")
    visit.choose("Model", "nested")
    visit.write(TEXT)
    read = body(visit.press("Find mentions", "#found"))
    expected = taggers.get("nested").mentions(TEXT)
    assert read.text == TEXT
    assert sorted(read.mentions()) == [m.key for m in expected]
    assert max(box["depth"] for box in read.boxes) > 0
    rows = [[TEXT[m.start : m.end], m.type, str(m.start), str(m.end), f"{m.score:.3f}"] for m in expected]
    assert visit.rows("#found") == rows
    assert visit.page.locator("#found .mn-summary").inner_text().startswith(f"{len(rows)} mentions")
    written = capfd.readouterr()
    assert "velosis" not in written.out + written.err


def test_a_guideline_and_a_threshold_are_chosen(visit, taggers):
    visit.tab("Text")
    visit.choose("Model", "flat")
    visit.choose("Annotation guideline", "Corpus demo_gene")
    visit.write(TEXT)
    visit.press("Find mentions", "#found")
    expected = taggers.get("flat").mentions(TEXT, "corpus:demo_gene")
    assert [m.key for m in expected] != [m.key for m in taggers.get("flat").mentions(TEXT)]
    assert [(int(r[2]), int(r[3]), r[1]) for r in visit.rows("#found")] == [m.key for m in expected]
    least = sorted(m.score for m in expected)[len(expected) // 2]
    threshold = visit.page.locator(".mn-threshold input[type=number]:visible")
    threshold.fill(f"{least:.2f}")
    threshold.press("Tab")
    visit.press("Find mentions", "#found")
    kept = [m for m in expected if m.score >= float(f"{least:.2f}")]
    assert 0 < len(kept) < len(expected)
    assert [(int(r[2]), int(r[3]), r[1]) for r in visit.rows("#found")] == [m.key for m in kept]
    threshold.fill("0")
    threshold.press("Tab")


def test_code_in_a_text_is_shown_not_run(visit):
    visit.tab("Text")
    visit.write(NASTY)
    assert body(visit.press("Find mentions", "#found")).text == NASTY
    assert visit.page.locator("#found .mn-text").evaluate("e => e.textContent") == NASTY
    assert visit.page.locator("#found :is(script, img)").count() == 0
    assert visit.page.evaluate("window.hacked") is None


def test_an_example_is_taken_and_cleared(visit):
    visit.tab("Text")
    visit.page.get_by_text(app.EXAMPLES[1][:30]).locator("visible=true").click()
    expect(visit.page.locator(".mn-input textarea:visible")).to_have_value(app.EXAMPLES[1])
    visit.page.locator("#clear").click()
    expect(visit.page.locator(".mn-input textarea:visible")).to_have_value("")


def test_mistakes_are_told_on_the_page(visit):
    visit.tab("Text")
    for text, message in (("  ", "The text is empty"), ("x " * 1001, "2,002 characters; at most 2,000")):
        visit.write(text)
        assert message in visit.press("Find mentions", "#found")
        expect(visit.page.locator("#found [role=alert]")).to_be_visible()
    visit.choose("Model", "broken")
    visit.write(TEXT)
    assert "broken can't be loaded" in visit.press("Find mentions", "#found")
    visit.choose("Model", "stock")
    assert body(visit.press("Find mentions", "#found")).boxes


def upload(visit, name: str, content: str) -> None:
    visit.page.locator("#upload input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content.encode()}
    )
    expect(visit.page.locator("#upload").get_by_text(name.rpartition(".")[0])).to_be_visible()


def test_a_file_comes_back_annotated(visit, taggers, tmp_path):
    visit.tab("File")
    assert "There is no file" in visit.press("Annotate", "#report")
    upload(visit, "notes.pubtator", PUBTATOR)
    html = visit.press("Annotate", "#report")
    assert "in 2 documents" in html
    with visit.page.expect_download() as waiting:
        visit.page.locator("#download").click()
    assert waiting.value.suggested_filename == "notes.annotated.pubtator"
    waiting.value.save_as(tmp_path / "got.pubtator")
    after = list(read_documents(tmp_path / "got.pubtator"))
    (tmp_path / "given.pubtator").write_text(PUBTATOR, encoding="utf-8")
    before = list(read_documents(tmp_path / "given.pubtator"))
    assert [d.text for d in after] == [d.text for d in before]
    wanted = [[m.key for m in taggers.get("flat").mentions(d.text)] for d in before]
    assert [[m.key for m in d.mentions] for d in after] == wanted
    assert sum(map(len, wanted)) > 0
    assert body(html).text == before[0].text
    assert list(visit.folder.rglob("notes.annotated.pubtator"))  # so that its removal is worth a test


def test_bad_files_are_told_on_the_page(visit):
    visit.tab("File")
    visit.page.locator("#upload").get_by_label("Clear").click()
    upload(visit, "bad.json", "{")
    message = visit.press("Annotate", "#report")
    assert "bad.json" in message
    assert 'role="alert"' in message
    assert str(visit.folder) not in message
    expect(visit.page.locator("#download")).to_be_hidden()
    visit.page.locator("#upload").get_by_label("Clear").click()
    visit.page.locator("#upload input[type=file]").set_input_files(
        {"name": "long.pubtator", "mimeType": "text/plain", "buffer": b"x" * 3_000}
    )
    expect(visit.page.get_by_text("exceed the maximum allowed size").first).to_be_visible()


def test_two_models_are_compared(visit, taggers):
    visit.tab("Compare")
    visit.choose("Model A", "flat")
    visit.choose("Model B", "nested")
    visit.write(TEXT)
    visit.press("Compare", "#compared")
    a, b = ({m.key for m in taggers.get(name).mentions(TEXT)} for name in ("flat", "nested"))
    assert a - b
    assert b - a
    places = {"Both": a & b, "Only A": a - b, "Only B": b - a}
    rows = [(row[0], int(row[3]), int(row[4]), row[2]) for row in visit.rows("#compared")]
    assert sorted(rows) == sorted((where, *key) for where, keys in places.items() for key in keys)
    visit.choose("Model B", "flat")
    visit.choose("Annotation guideline", "Text of unknown origin", 1)
    visit.press("Compare", "#compared")
    assert {row[0] for row in visit.rows("#compared")} == {"Both"}


def test_narrow_windows_do_not_scroll_sideways(visit):
    visit.tab("Compare")
    visit.page.set_viewport_size({"width": 400, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 400
    visit.page.set_viewport_size({"width": 1280, "height": 800})


def test_nothing_is_asked_of_other_servers(visit):
    assert len(visit.requests) > 20
    assert {urlsplit(url).hostname for url in visit.requests if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert visit.errors == []
