"""The page of a run's errors: what counts as which, two runs side by side, its menus, and the command on a trained model."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.analysis import errors
from mosaic_ner.analysis.differences import BOTH, BOUNDARY, KINDS, MISSED, SPURIOUS, TYPE
from mosaic_ner.analysis.errors import answer_again, main
from mosaic_ner.analysis.errors_page import (
    NEW_MENTION,
    NEW_WORD,
    SEEN,
    Answered,
    errors_of,
    html,
    length_of,
    markdown,
    novelty,
)
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.metrics import error_split
from mosaic_ner.training.relaxed import Seen

TEXT = "The <b>p53</b> gene and old lipids were measured. Nothing else, but mice."
TRAINED = [Document("t", "x", "old gene, lipids", (Mention(0, 8, "Gene"), Mention(10, 16, "Drug")))]


def at(word: str, name: str, more: int = 0) -> Mention:
    start = TEXT.index(word)
    return Mention(start, start + len(word) + more, name)


def answered(name: str, *mentions: Mention, gold=None) -> Answered:
    wanted = (at("p53", "Gene"), at("old lipids", "Drug"), at("mice", "Species")) if gold is None else gold
    document = Document("d1", "c", TEXT, wanted)
    return Answered(name, [document], [document.with_mentions(mentions)], Seen(TRAINED), ["a note"])


A = answered("one", at("p53", "Drug"), at("old lipids", "Drug", 5), at("else", "Gene"))
B = answered("two", at("p53", "Gene"), at("old lipids", "Drug", 5), at("Nothing", "Gene"))
mention = st.builds(lambda s, n, t: Mention(s, s + n, t), st.integers(0, 9), st.integers(1, 5), st.sampled_from("XY"))


@settings(max_examples=100, deadline=None)
@given(st.lists(mention, max_size=5), st.lists(mention, max_size=5))
def test_errors_are_the_false_positives_and_the_misses(gold, predicted):
    document = Document("1", "c", "abcdefghijklmnopq", tuple(gold))
    found = errors_of(Answered("r", [document], [document.with_mentions(predicted)]))
    kinds = {kind: sum(e.difference.kind == kind for e in found) for kind in KINDS}
    split = error_split([gold], [predicted], "XY")
    paired = kinds[BOUNDARY] + kinds[TYPE] + kinds[BOTH]
    assert split["missed"]["total"] == paired + kinds[MISSED]
    assert split["false_positives"]["total"] == paired + kinds[SPURIOUS]


def rows(page: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of numbers, after its heading."""
    part = page.split(f"<h2>{title}</h2>")[1].split("</table>")[0].split("<tbody>")[1]
    lines = [
        [cell.split(">", 1)[1].split("</td>")[0] for cell in row.split("<td")[1:]] for row in part.split("</tr>")[:-1]
    ]
    return {line[0]: [c for c in line[1:] if not c.startswith("<svg")] for line in lines}


def test_one_run_by_hand():
    page = html([A])
    assert rows(page, "By type") == {
        "Drug": ["1", "2", "0", "0.00", "1", "0", "0", "0", "0"],
        "Gene": ["1", "1", "0", "0.00", "0", "1", "0", "0", "1"],
        "Species": ["1", "0", "0", "0.00", "0", "0", "0", "1", "0"],
    }
    assert rows(page, "By length")["1 word"] == ["2", "2", "0", "0.00", "0", "1", "0", "1", "1"]
    assert rows(page, "By what training held") == {
        NEW_MENTION: ["1", "0", "0", "0.00", "1", "0", "0", "0", "0"],
        NEW_WORD: ["2", "3", "0", "0.00", "0", "1", "0", "1", "1"],
    }
    assert page.count('<article class="mn-card">') == 2
    assert "<b>p53" not in page
    assert "&lt;b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "By corpus" not in page
    assert 'name="who"' not in page
    assert "a note" in page


def test_what_training_held_and_lengths():
    seen = Seen(TRAINED)
    assert [novelty(seen, text) for text in ("OLD gene", "gene", "new gene")] == [SEEN, NEW_MENTION, NEW_WORD]
    assert novelty(None, "x") == ""
    assert [length_of(t) for t in ("p53", "beta-catenin", "a b c d e", "%")] == [
        "1 word",
        "2 words",
        "4 or more words",
        "1 word",
    ]


def test_two_runs_side_by_side():
    page = html([A, B])
    assert rows(page, "A and B") == {
        "gold mentions not found": ["2", "1", "0"],
        "spurious predictions": ["0", "1", "1"],
    }
    assert rows(page, "By type")["Gene B"] == ["1", "2", "1", "66.67", "0", "0", "0", "0", "1"]
    assert 'data-who="only A"' in page
    assert 'data-who="only B"' in page
    assert page.count('data-who="both"') == 4  # boundary and miss, of either run
    assert page.count("B predicted") == page.count("A predicted") == 2
    tables = markdown([A, B])
    assert "| spurious predictions | 0 | 1 | 1 |" in tables
    assert "| Gene B | 1 | 2 | 1 | 66.67 | 0 | 0 | 0 | 0 | 1 |" in tables
    assert "lipids" not in tables
    with pytest.raises(UserError, match="not measured on the same documents"):
        html([A, answered("other", gold=(at("p53", "Gene"),))])


def test_the_menus_choose_sentences(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "the page is tested in a browser: install Chromium (apt-get install chromium)"
    (tmp_path / "page.html").write_text(html([A, B]), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        faults = []
        page.on("pageerror", lambda fault: faults.append(fault))
        page.goto((tmp_path / "page.html").as_uri())
        seen = []
        for chosen in (
            {},
            {"kind": "missed"},
            {"kind": "boundary"},
            {"kind": "boundary", "type": "Gene"},
            {"who": "only B"},
        ):
            for name in ("kind", "type", "who"):
                page.select_option(f"select[name={name}]", chosen.get(name, ""))
            seen.append((page.locator(".mn-card:visible").count(), int(page.inner_text("#mn-shown"))))
        browser.close()
    assert seen == [(2, 2), (1, 1), (1, 1), (0, 0), (1, 1)]
    assert faults == []


def test_a_trained_model_is_asked_again(trained_dir, tmp_path, capsys):
    page = tmp_path / "errors.html"
    main([str(trained_dir), "--against", str(trained_dir), "--corpus", "demo_all", "--output", str(page)])
    text = page.read_text(encoding="utf-8")
    assert text.count("as in results.json") == 2
    assert {line[1:] for line in map(tuple, rows(text, "A and B").values())} == {("0", "0")}
    main([str(trained_dir), "--corpus", "demo_all"])
    assert "| by type |" in capsys.readouterr().out
    found = answer_again(trained_dir, ["demo_all"], "validation", None)
    assert {d.corpus for d in found.gold} == {"demo_all"}
    assert "as in results.json" in found.notes[0]
    copy = tmp_path / "cards"
    copy.mkdir()
    shutil.copy(trained_dir / "results.json", copy)
    for argv, message in (
        ([str(tmp_path)], "is not the folder of a finished run"),
        ([str(trained_dir), "--corpus", "biored"], "was not tested on 'biored'"),
        ([str(copy), "--corpus", "demo_all"], str(copy)),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*argv, "--output", str(page)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_a_run_is_not_overwritten_by_its_page(trained_dir, tmp_path, capsys, monkeypatch):
    copy = shutil.copytree(trained_dir, tmp_path / "run")
    monkeypatch.setattr(errors, "default_model", lambda: str(copy))
    there = (copy / "results.json").read_bytes()
    for argv in ([], [str(copy)], [str(trained_dir), "--against", str(copy)]):
        with pytest.raises(SystemExit) as stop:
            main([*argv, "--corpus", "demo_all", "--output", str(copy / "results.json")])
        assert stop.value.code == 2
        assert "results.json is an input, which would be overwritten" in capsys.readouterr().err
    assert (copy / "results.json").read_bytes() == there
    for _ in range(2):  # a page may be made anew
        main(["--corpus", "demo_all", "--output", str(copy / "errors.html")])
    assert "as in results.json" in (copy / "errors.html").read_text(encoding="utf-8")


def test_a_page_without_its_marks_is_said_before_the_work(tmp_path, capsys):
    (tmp_path / "bare.md").touch()
    for page, message in (("bare.md", "expected the marks"), ("none.md", "none.md: No such file")):
        with pytest.raises(SystemExit) as stop:
            main([str(tmp_path / "no_run"), "--page", str(tmp_path / page)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
