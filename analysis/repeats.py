"""What the first comment lines of a recipe say of its paper: the figures that it repeats, and where it differs.

    # Repeats: AIONER, Table 2, + All (AIONER): F1 91.26 on biored test
    # Repeats: SRU-NER, Table 3, BC2GM: F1 85.43 on bc2gm test with --corpora bc2gm
    # Differs: in nothing that the paper states.

A line that begins with `#` and three spaces continues the one before.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.training.results import Results

PAPERS = ("AIONER", "CVAE-NER", "Joint IB", "SRU-NER")
NOT_PRINTED = "not printed"
EXPECTED = (
    "`# Repeats: PAPER, TABLE, ROW: F1 FIGURE on CORPUS SPLIT [disjoint|merged] [TYPE] [with OPTIONS]`, PAPER one of "
    f"{', '.join(PAPERS)}, TABLE as in 'Table 2', FIGURE in percent or {NOT_PRINTED!r}"
)
_REPEATS = re.compile(
    rf"({'|'.join(PAPERS)}), ((?:Table|Figure|Section) [\w.]+), (\S.*): F1 (\d+\.\d\d|{NOT_PRINTED}) "
    r"on (\w+) (test|validation)(?: (disjoint|merged))?(?: (?!with )(\w+))?(?: with (--\S.*))?"
)


class HeaderError(UserError):
    """A line that says neither what a recipe repeats nor where it differs."""


@dataclass(frozen=True)
class Repeat:
    """A figure of a paper, and the run that repeats it.

    Args:
        figure: F1 in percent as printed; None: the paper draws it, but prints no number.
        split: "test" or "validation" of the corpus.
        view: "disjoint", "merged", or "" for the answer under the corpus's own guideline in shared types.
        type: the only type scored; "": all.
        options: of the command line, beside the recipe.
    """

    paper: str
    table: str
    row: str
    figure: str | None
    corpus: str
    split: str
    view: str
    type: str
    options: tuple[str, ...]

    def measured(self, run: Results) -> float | None:
        """The run's F1, 0..1, of what the figure is of; None where the run has none."""
        report = (run.test if self.split == "test" else run.validation).get(self.corpus)
        if report and self.view:
            report = report[self.view]
        row = report and (report["per_type"].get(self.type) if self.type else report["overall"])
        return row["f1"] if row else None


@dataclass(frozen=True)
class Header:
    """What a recipe repeats, figure by figure, and where it differs from the paper ("" where it doesn't say)."""

    repeats: tuple[Repeat, ...]
    differs: str


def read_header(recipe: Path) -> Header:
    """The header of a recipe.

    Raises:
        HeaderError: a `Repeats:` line that can't be read.
    """
    comment = re.match(r"(?:#.*\n)*", recipe.read_text(encoding="utf-8"))[0]
    lines = comment.replace("\n#   ", " ").splitlines()
    said = [line.removeprefix("#").strip() for line in lines]
    repeats = [_repeat(line.removeprefix("Repeats:").strip(), recipe) for line in said if line.startswith("Repeats:")]
    differs = [line.removeprefix("Differs:").strip() for line in said if line.startswith("Differs:")]
    return Header(tuple(repeats), " ".join(differs))


def _repeat(text: str, recipe: Path) -> Repeat:
    found = _REPEATS.fullmatch(" ".join(text.split()))
    if not found:
        raise HeaderError(f"{recipe}: expected {EXPECTED}, got {text!r}")
    paper, table, row, figure, corpus, split, view, kind, options = found.groups()
    figure = None if figure == NOT_PRINTED else figure
    return Repeat(paper, table, row, figure, corpus, split, view or "", kind or "", tuple(shlex.split(options or "")))
