"""Numbers as the cells of tables show them."""

from __future__ import annotations


def decimals(value: float | None, digits: int) -> str:
    """The value with so many digits after the point; "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share of 0..1 in percent; "-" for None."""
    return decimals(None if share is None else 100 * share, 2)


def f1_cell(report: dict, name: str) -> str:
    """F1 in percent of a corpus's `disjoint` or `merged` scores; "-" where the run has none."""
    scores = report.get(name)
    return percent(scores["overall"]["f1"] if scores else None)
