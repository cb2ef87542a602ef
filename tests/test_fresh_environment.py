"""The program that compares published models with what they found where they were made: that it can fail."""

from __future__ import annotations

import json

import fresh_environment
import pytest
from fresh_environment import CheckError, difference

MENTIONS = [[0, 4, "Gene", 0.9], [0, 9, "Gene", 0.8], [0, 9, "Disease", 0.7]]


def test_equal_mentions_differ_by_their_scores_alone():
    assert difference(MENTIONS, MENTIONS, "here") == 0
    assert difference([], [], "here") == 0
    moved = [[*m[:3], m[3] + d] for m, d in zip(MENTIONS, (1e-5, -7e-5, 2e-5), strict=True)]
    assert difference(moved[::-1], MENTIONS, "here") == pytest.approx(7e-5)


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (MENTIONS[1:], r"here: 1 of 3 mentions are missing, the first \(0, 4, 'Gene'\)"),
        ([*MENTIONS, [5, 9, "Gene", 0.9]], r"here: 1 mentions too many, the first \(5, 9, 'Gene'\)"),
        ([[0, 5, "Gene", 0.9], *MENTIONS[1:]], "1 of 3 mentions are missing"),
        ([*MENTIONS[:2], [0, 9, "Drug", 0.7]], "1 of 3 mentions are missing"),
        ([*MENTIONS, MENTIONS[0]], "here: 1 mentions come twice"),
        ([*MENTIONS[:2], [0, 9, "Disease", 0.7002]], r"\(0, 9, 'Disease'\) has score 0\.7002, expected 0\.7"),
        ([*MENTIONS[:2], [0, 9, "Disease", float("nan")]], "has score nan"),
    ],
    ids=["missing", "extra", "moved", "type", "twice", "score", "nan"],
)
def test_any_difference_is_an_error(got, message):
    with pytest.raises(CheckError, match=message):
        difference(got, MENTIONS, "here")


def test_an_environment_with_the_package_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        fresh_environment.main(["check", str(tmp_path)])
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("fresh_environment: error: mosaic-ner ")
    for name in ("datasets", "accelerate", "evaluate", "seqeval", "scipy"):
        assert f", {name} " in message


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Function: mentions of each text by way → a prepared folder, in an environment where they are found."""
    texts = ["BRCA1 here", ""]

    def make(expected=None, **found):
        expected = [MENTIONS, []] if expected is None else expected
        content = {"versions": {}, "texts": texts, "mentions": dict.fromkeys(fresh_environment.FAMILIES, expected)}
        (tmp_path / fresh_environment.EXPECTED).write_text(json.dumps(content))
        answers = {way: dict(zip(texts, found.get(way, [MENTIONS, []]), strict=True)) for way in ("first", *found)}
        monkeypatch.setattr(fresh_environment, "ways", lambda folder: {w: a.__getitem__ for w, a in answers.items()})
        monkeypatch.setattr(fresh_environment, "ABSENT", {"surely-not-there": "surely_not_there"})
        monkeypatch.setattr(fresh_environment, "TAKEN", set())
        return tmp_path

    return make


def check(*argv) -> None:
    fresh_environment.main(["check", *map(str, argv)])


def test_each_family_gets_a_row(elsewhere, capsys):
    check(elsewhere(second=[MENTIONS, []]))
    rows = capsys.readouterr().out.splitlines()[-4:]
    assert [row.split()[:2] for row in rows] == [[family, "3"] for family in fresh_environment.FAMILIES]
    assert all("first 0.0e+00  second 0.0e+00" in row for row in rows)


def test_a_way_that_differs_ends_the_check(elsewhere, capsys):
    with pytest.raises(SystemExit) as stop:
        check(elsewhere(second=[MENTIONS[:2], []]))
    assert stop.value.code == 1
    assert "error: aioner, second, text 0: 1 of 3 mentions are missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pipeline", "EndpointHandler"])
def test_rounded_scores_are_let_through(elsewhere, name):
    check(elsewhere(**{name: [[[*m[:3], m[3] + 1.4e-4] for m in MENTIONS], []]}))


def test_models_that_find_nothing_show_nothing(elsewhere, capsys):
    with pytest.raises(SystemExit):
        check(elsewhere(expected=[[], []], first=[[], []]))
    assert "no mentions in any text" in capsys.readouterr().err


def test_ways_of_other_published_folders_have_to_agree(elsewhere, tmp_path, capsys):
    folder, other = elsewhere(), tmp_path / "other"
    other.mkdir()
    with pytest.raises(SystemExit):
        check(folder, other)
    assert "expected a published folder, but there is no handler.py" in capsys.readouterr().err
    (other / "handler.py").touch()
    check(folder, other)
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["other", "3"]


def test_a_folder_that_was_not_prepared_is_told(elsewhere, tmp_path, capsys):
    elsewhere()
    with pytest.raises(SystemExit):
        check(tmp_path / "gone")
    assert "expected a folder that `prepare` wrote" in capsys.readouterr().err


def test_the_texts_have_what_is_unusual():
    texts = fresh_environment.the_texts()
    assert len(texts[-1].split(" ")) == fresh_environment.WORDS
    assert "" in texts
    assert any(ord(character) > 0xFFFF for text in texts for character in text)
