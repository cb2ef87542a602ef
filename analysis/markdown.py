"""Numbers as the cells of tables show them, and what tables on several pages say of themselves."""

from __future__ import annotations

REMARKS_LEFT_OUT = (
    "Test documents of corpora of which no training document was used, in percent, mean and standard deviation over seeds. "
    "*±1 character* is the match of HunFlair2's cross-corpus protocol (Sänger et al. 2024). *ECE*: expected calibration error "
    "of the scores; the calibration was fitted on validation documents of corpora that were trained on."
)


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


RELAXED = {
    "±1 character": "near",
    "type": "type",
    "partial": "partial",
    "boundary": "boundary",
    "unseen mentions": "unseen_mentions",
    "unseen words": "unseen_words",
}
"""Column → the key of a report's `relaxed`."""


def relaxed_cells(report: dict, name: str | None = None) -> list[str]:
    """F1 in percent of a corpus, or of a type of it: exact, then the columns of `RELAXED`.

    "-": the results are older than these figures, or nothing of the kind is there, neither gold nor predicted.
    """
    scores = [report, *(report.get("relaxed", {}).get(key) for key in RELAXED.values())]
    rows = [s and (s["overall"] if name is None else s["per_type"][name]) for s in scores]
    return [percent(row["f1"] if row and row["support"] + row["predicted"] else None) for row in rows]
