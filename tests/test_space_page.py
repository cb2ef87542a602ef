"""The demo page in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers_space import NASTY, PUBTATOR, TEXT, body, save_models
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.hub.space import app
from mosaic_ner.hub.space.taggers import Taggers
from playwright.sync_api import expect, sync_playwright

PATIENCE = 60_000
"""Milliseconds after which the page is taken to be stuck, on a busy machine."""
LIMITS = app.Limits(characters=2_000, megabytes=0.002)


@pytest.fixture(scope="module")
def models(saved_model_dir, build_bundle, bert_dir, tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"), saved_model_dir, build_bundle, bert_dir)


@pytest.fixture(scope="module")
def taggers(models):
    return Taggers(list(models.values()))


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
    wanted = [[m.key for m in taggers.get("flat").mentions(d)] for d in before]
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


def test_guidelines_stand_side_by_side(visit, taggers):
    visit.tab("Guidelines")
    visit.choose("Model", "flat")
    visit.write(TEXT)
    chosen = [value for _, value in taggers.get("flat").guidelines if value][: app.MOST_GUIDELINES]
    html = visit.press("Answer under each", "#answers")
    found = [taggers.get("flat").mentions(TEXT, how) for how in chosen]
    places = sorted({(m.start, m.end) for mentions in found for m in mentions})
    assert [(int(row[2]), int(row[3])) for row in visit.rows("#answers")] == places
    assert html.count("mn-side") >= len(chosen)


def test_a_link_opens_what_it_was_made_of(visit, taggers):
    visit.tab("Text")
    visit.choose("Model", "flat")
    visit.choose("Annotation guideline", "Corpus demo_gene")
    visit.write(TEXT)
    visit.page.get_by_role("button", name="Copy link").locator("visible=true").click()
    visit.page.wait_for_url("**#tab=text*")
    other = visit.page.context.browser.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(visit.page.url)
    other.locator("#found .mn-text").wait_for()
    expect(other.locator(".mn-input textarea:visible")).to_have_value(TEXT)
    read = body(other.locator("#found").inner_html())
    assert sorted(read.mentions()) == [m.key for m in taggers.get("flat").mentions(TEXT, "corpus:demo_gene")]
    other.close()
    assert not any("velosis" in address.partition("#")[0] for address in visit.requests)


def test_narrow_windows_do_not_scroll_sideways(visit):
    visit.tab("Compare")
    visit.page.set_viewport_size({"width": 400, "height": 800})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 400
    visit.page.set_viewport_size({"width": 1280, "height": 800})


def test_nothing_is_asked_of_other_servers(visit):
    assert len(visit.requests) > 20
    assert {urlsplit(url).hostname for url in visit.requests if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert visit.errors == []
