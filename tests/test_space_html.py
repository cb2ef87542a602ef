"""The demo page's HTML: boxes around mentions, colours, comparisons."""

from __future__ import annotations

from itertools import pairwise

from helpers_space import Boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction import highlight


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
    sheet = highlight.SHEET.read_text(encoding="utf-8")
    assert {
        style for name in names for style in highlight.style_of(name, names).split() if f".{style} " not in sheet
    } == set()


def test_colours_can_be_told_from_their_labels():
    """A label's contrast with its background is at least 4.5 (WCAG 2.2, 1.4.3)."""

    def luminance(values):
        parts = [v / 255 for v in values]
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    lines = [line for line in highlight.SHEET.read_text(encoding="utf-8").splitlines() if "--on:" in line]
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
