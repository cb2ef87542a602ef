"""Tables in Markdown."""

from __future__ import annotations


def markdown_table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; cells are printed as they are."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


def f1_cell(report: dict, name: str) -> str:
    """F1 in percent of a corpus's `disjoint` or `merged` scores; "-" where the run has none."""
    scores = report.get(name)
    return f"{100 * scores['overall']['f1']:.2f}" if scores else "-"
