"""Documentation: lines and cells that can be read, generated pages that are up to date, links that lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from mosaic_ner.data_builders.markdown import between
from mosaic_ner.training.options_table import options_markdown

import run_ner

ROOT = Path(__file__).resolve().parents[1]
WIDTH, CELL = 128, 160


def pages() -> list[Path]:
    """Every Markdown file of the repository, but for what a run left behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split() or [p.relative_to(ROOT) for p in ROOT.rglob("*.md")]
    return sorted(path for name in names if (path := ROOT / name).exists())


def faults(text: str) -> list[str]:
    """Lines outside tables that are too long, and table cells that are."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("|") and not fenced:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            found += [f"line {number}: a cell of {len(cell)} characters" for cell in cells if len(cell) > CELL]
        elif len(line) > WIDTH and not re.fullmatch(r"\S+|[-*\s]*\S+|.*\]\(\S+\)\S*", line):
            found.append(f"line {number}: {len(line)} characters")
    return found


@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_lines_and_cells_can_be_read(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"https?:|mailto:", target):
            assert (path.parent / target).exists(), target


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.+?)\]\((.+?\.md)#", index, re.MULTILINE)
    headings = [
        (heading, path.name)
        for path in folder.glob("*.md")
        if path.name != "README.md"
        for heading in re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(rows) == sorted(headings)


def test_the_checker_finds_what_is_too_long():
    assert faults("x " * 64 + "\n| a | b |\n") == []
    assert faults("x " * 65) == ["line 1: 130 characters"]
    assert faults("| a | " + "b" * 161 + " |") == ["line 1: a cell of 161 characters"]


@pytest.mark.parametrize(
    ("script", "figures", "page", "mark"),
    [
        ("annotation_tools", "annotation_tools.json", "docs/annotation_tools.md", "round_trips"),
        ("clients", "clients_cpu.json", "benchmarks/README.md", "clients"),
        ("peers", "peers_cpu.json", "benchmarks/README.md", "peers"),
    ],
)
def test_tables_of_benchmarks_are_those_of_their_figures(script, figures, page, mark):
    spec = importlib.util.spec_from_file_location(script, ROOT / "benchmarks" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = json.loads((ROOT / "benchmarks" / figures).read_text(encoding="utf-8"))
    text = (ROOT / page).read_text(encoding="utf-8")
    assert between(text, mark, module.table(rows)) == text


def test_what_tag_says_has_the_figures_of_the_round_trip():
    rows = json.loads((ROOT / "benchmarks" / "annotation_tools.json").read_text(encoding="utf-8"))
    (row,) = [r for r in rows if (r["file"], r["mentions of"]) == ("BioRED_Test.PubTator", "mosaic-ner-mini")]
    said = f"tasks: {row['documents']} documents, {row['mentions']:,} mentions\n  passages_not_written: "
    said += f"{row['brat']['counted']['passages_not_written']} ("
    assert said in (ROOT / "docs" / "annotation_tools.md").read_text(encoding="utf-8")


def shown_tables() -> dict[str, str]:
    """Command of docs/analysis.md that reads model cards alone → what the page shows after it."""
    page = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    found = re.findall(r"```\nmosaic-ner ((?:table|compare) [^`]*?)\n```\n\n(?:```\n)?((?:(?!```).+\n)+)", page)
    return {c.replace("\\\n", ""): shown for c, shown in found if "model_cards/" in c and "outputs/" not in c}


@pytest.mark.parametrize("command", shown_tables())
def test_the_page_shows_what_the_command_prints(command, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    run_ner.main(shlex.split(command))
    printed = [cells(line) for line in capsys.readouterr().out.splitlines()]
    for line in shown_tables()[command].splitlines():
        wanted = cells(line)
        if set(wanted) != {"---"}:  # columns that are left out are "…"
            assert any(row[: len(wanted)] == wanted for row in printed if row[-1] != "…"), line


def cells(line: str) -> list[str]:
    """Those of a table's row, up to the one that is "…"; a line that is none has one."""
    found = [cell.strip() for cell in line.strip("|").split("|")]
    return found[: found.index("…")] if "…" in found else found


def test_the_page_of_options_is_up_to_date():
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options_markdown()


def test_readme_and_contributing_are_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 80
