"""Guidelines side by side, and links, without a browser."""

from __future__ import annotations

import re

import pytest
from helpers_space import NASTY, Boxes
from mosaic_ner.hub.space.actions import MOST_GUIDELINES, Actions, Limits
from mosaic_ner.hub.space.guidelines import side_by_side
from mosaic_ner.hub.space.links import FIELDS, read_link, write_link
from mosaic_ner.hub.space.taggers import SpaceError, Taggers
from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction import highlight
from mosaic_ner.prediction.options import IN_THE_BOX

TEXT = "BRCA1 mice velosis"
TYPES = ["Gene", "Disease", "Species"]


def rows(html: str) -> list[list[str]]:
    body = html.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td.*?</td>", row)] for row in body.split("</tr>") if row
    ]


def test_agreement_is_judged_among_those_that_annotate_the_type():
    found = [Mention(0, 5, "Gene"), Mention(6, 10, "Species"), Mention(11, 18, "Disease")]
    everything = ("all", {"Gene", "Disease", "Species"}, found)
    diseases = ("diseases", {"Disease"}, [Mention(0, 5, "Disease"), Mention(11, 18, "Disease")])
    genes = ("genes", {"Gene"}, [])
    html = side_by_side(TEXT, [everything, diseases, genes], TYPES)
    assert rows(html) == [
        ["differ", "BRCA1", "0", "5", "Gene", "Disease", "–"],
        ["only one", "mice", "6", "10", "Species", "not annotated", "not annotated"],
        ["agree", "velosis", "11", "18", "Disease", "Disease", "not annotated"],
    ]
    assert "<b>3 stretches</b>" in html
    assert "<b>1</b> about which" in html
    assert html.count('mn-side"') == 3


def test_nothing_of_a_text_or_title_is_markup():
    html = side_by_side(NASTY, [("<b>a</b>", {"Gene"}, [Mention(2, 10, "Gene")]), ("b", {"Gene"}, [])], TYPES)
    assert not {"script", "img", "b0"} & set(Boxes(html).tags)
    assert "<b>a</b>" not in html
    assert "No mention was found." in side_by_side("x", [("a", {"Gene"}, []), ("b", {"Gene"}, [])], TYPES)


def test_a_link_names_all_inputs_of_its_tab():
    for tab, names in FIELDS.items():
        assert f'tab: "{tab}"' in write_link(tab)
        assert all(f'"{name}"' in write_link(tab) for name in names)
    assert '["a", "b\\"c"].includes' in read_link(["a", 'b"c'])


def test_guidelines_that_a_model_can_not_tell_apart_are_said(saved_model_dir):
    taggers = Taggers([str(IN_THE_BOX), str(saved_model_dir)])
    ours, demo = taggers.labels
    actions = Actions(taggers, Limits())
    note = "This model can't tell apart biored, tmvar3:"
    assert highlight.escape(note) in actions.guidelines(TEXT, ours, ["corpus:biored", "", "corpus:tmvar3"], 0.0)
    assert "tell apart" not in actions.guidelines(TEXT, demo, ["corpus:demo_all", "corpus:demo_gene"], 0.0)


@pytest.mark.parametrize("count", [0, 1, MOST_GUIDELINES + 1])
def test_how_many_guidelines_are_asked(saved_model_dir, count):
    taggers = Taggers([str(saved_model_dir)])
    (label,) = taggers.labels
    with pytest.raises(SpaceError, match="Choose 2 to"):
        Actions(taggers, Limits()).guidelines(TEXT, label, ["corpus:demo_gene"] * count, 0.0)
