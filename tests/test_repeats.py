"""What recipes say of their papers: headers that can be read, figures that the papers print."""

from __future__ import annotations

import re

import pytest
from helpers_run import ROOT
from mosaic_ner.analysis.repeats import HeaderError, read_header
from mosaic_ner.training.arguments import parse

PAPER_RECIPES = [p for p in sorted((ROOT / "recipes").glob("*/paper/*.yaml")) if p.name != "search.yaml"]
PAPERS = ROOT.parent / "shared" / "papers"
FILES = {"CVAE-NER": "000_", "Joint IB": "001_", "AIONER": "002_", "SRU-NER": "004_"}


def name(recipe) -> str:
    return str(recipe.relative_to(ROOT / "recipes").with_suffix(""))


def written(tmp_path, text: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_header_says_figures_split_view_type_and_options(tmp_path):
    recipe = written(
        tmp_path,
        "# Repeats: AIONER, Table 2, + All (w/o AIONER): F1 69.96 on biored test\n"
        "# What it is for.\n"
        "# Repeats: SRU-NER, Table 5, Both, Chemical: F1 91.81 on mtl_bc5cdr test merged Chemical\n"
        "#   with --parts '{\"a\": 1}'\n"
        "# Repeats: CVAE-NER, Figure 2, T5-base: F1 not printed on biored validation\n"
        "# Differs: in the encoder,\n#   and in the rate.\n"
        "family: aioner\n# Repeats: nothing here\n",
    )
    header = read_header(recipe)
    first, second, third = header.repeats
    assert (first.paper, first.table, first.row, first.figure) == ("AIONER", "Table 2", "+ All (w/o AIONER)", "69.96")
    assert (first.corpus, first.split, first.view, first.type, first.options) == ("biored", "test", "", "", ())
    assert (second.view, second.type, second.options) == ("merged", "Chemical", ("--parts", '{"a": 1}'))
    assert (third.figure, third.split) == (None, "validation")
    assert header.differs == "in the encoder, and in the rate."


@pytest.mark.parametrize(
    "line",
    [
        "AIONER, Table 2, + All: F1 91 on biored test",
        "AIONER, Table 2, + All: F1 91.26",
        "BERT, Table 2, + All: F1 91.26 on biored test",
        "AIONER, + All: F1 91.26 on biored test",
        "AIONER, Table 2, + All: F1 91.26 on biored dev",
        "AIONER, Table 2, + All: F1 91.26 on biored test with alpha 0",
    ],
)
def test_a_line_that_cannot_be_read_is_an_error(tmp_path, line):
    with pytest.raises(HeaderError, match=re.escape(line)):
        read_header(written(tmp_path, f"# Repeats: {line}\nfamily: aioner\n"))


@pytest.mark.parametrize("recipe", PAPER_RECIPES, ids=name)
def test_recipes_of_the_papers_say_what_they_repeat(recipe):
    repeats = read_header(recipe).repeats
    assert repeats
    for repeat in repeats:
        data = parse([str(recipe), *repeat.options]).data
        assert repeat.corpus in {*data.corpora, *(data.test_corpora or ())}, repeat


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").rglob("*.yaml")), ids=name)
def test_recipes_that_repeat_a_figure_say_where_they_differ(recipe):
    header = read_header(recipe)
    assert bool(header.repeats) == bool(header.differs)


@pytest.mark.real
@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers are not here")
def test_the_papers_print_these_figures():
    texts = {
        paper: re.sub(r"\s", "", next(PAPERS.glob(f"{start}*")).read_text("utf-8")) for paper, start in FILES.items()
    }
    for recipe in sorted((ROOT / "recipes").rglob("*.yaml")):
        for repeat in read_header(recipe).repeats:
            assert repeat.figure is None or repeat.figure in texts[repeat.paper], (recipe, repeat)
