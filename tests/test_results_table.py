"""`mosaic-ner results`: the tables between the marks of pages are those of the cards; which runs are a recipe's."""

from __future__ import annotations

import pytest
from helpers_run import ROOT
from mosaic_ner.analysis import results_table
from mosaic_ner.analysis.results_table import main, put, recipes_table
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.arguments import parse
from mosaic_ner.training.results import Results

CARDS = [path for path in sorted((ROOT / "model_cards").iterdir()) if path.is_dir()]


@pytest.mark.parametrize("page", ["model_cards/README.md", "recipes/README.md"])
def test_the_tables_are_up_to_date(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert put(text, CARDS) == text, f"run: mosaic-ner results model_cards/* --page {page}"


def test_a_page_without_marks_is_an_error():
    with pytest.raises(UserError, match="expected the marks"):
        put("<!-- results -->", CARDS)


def test_what_is_printed_is_what_a_page_gets(tmp_path, capsys):
    main([str(folder) for folder in CARDS])
    printed = capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    main([*map(str, CARDS), "--page", str(page)])
    assert page.read_text() == f"before\n<!-- results -->\n{printed}<!-- /results -->\nafter\n"


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """Function: F1 and settings of runs, options of a row → what the table of recipes says of the row."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(results_table, "RECIPES", folder)

    def cell(runs: list[tuple[float, dict]], options: str = "") -> str:
        header = f"# Repeats: AIONER, Table 2, BioRED: F1 89.34 on biored test{f' with {options}' if options else ''}\n"
        (folder / "one.yaml").write_text(f"{header}corpora: [biored]\nlearning_rate: 1.0e-3\nbf16: true\n")
        settings = parse([str(folder / "one.yaml")]).settings() | {"encoder": "lab/small"}
        cards = []
        for number, (f1, more) in enumerate(runs):
            card = tmp_path / f"card-{number}"
            card.mkdir(exist_ok=True)
            report = {"biored": {"overall": {"f1": f1}, "per_type": {}}}
            Results({n: v for n, v in (settings | more).items() if v is not None}, test=report).write(card)
            cards.append(card)
        (row,) = [line for line in recipes_table(cards).splitlines() if "89.34" in line]
        return row.split(" | ")[-1].removesuffix(" |")

    return cell


def test_runs_of_other_seeds_and_encoders_are_a_recipes(ours):
    assert ours([]) == "not run"
    assert ours([(0.5, {})]) == "50.00, one seed, small"
    runs = [(0.5, {}), (0.6, {"seed": 7}), (0.7, {"encoder": "large", "bf16": None})]
    assert ours(runs) == "70.00, one seed, large; 55.00 ± 7.07, 2 seeds, small"


def test_runs_of_other_settings_are_not(ours):
    assert ours([(0.5, {"learning_rate": 1e-4})]) == "not run"
    assert ours([(0.5, {"crf_weights": "unknown to this version"})]) == "not run"
    assert ours([(0.5, {"hidden_size": 0})]) == "50.00, one seed, small"  # its default, said
    assert ours([(0.5, {})], "--max_tokens 64") == "not run"
    assert ours([(0.5, {"max_tokens": 64})], "--max_tokens 64") == "50.00, one seed, small"


def test_a_row_that_names_an_encoder_wants_that_one(ours):
    assert ours([(0.5, {})], "--encoder lab/large") == "not run"
    assert ours([(0.5, {"encoder": "lab/large"})], "--encoder lab/large") == "50.00, one seed, large"
