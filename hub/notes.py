"""What stands beside a run's results.json for its card."""

from __future__ import annotations

import json
from pathlib import Path

from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.modeling.label_space import UserError

MARKDOWN = ("choices", "limits", "seeds", "left_out")
PRECISION = "precision.json"
FILES = (*(f"{name}.md" for name in MARKDOWN), PRECISION)
"""A table of what else was tried (`mosaic-ner table --choices`), what the model gets wrong, figures of the same run with other
seeds and on corpora that were left out (`mosaic-ner study --note`), and what benchmarks/precision.py measured of this model."""


class NotesError(UserError):
    """A note that can't be put on a card."""


def notes(folder: Path) -> dict[str, str]:
    """The notes in a run's folder, as far as they are there: name → Markdown.

    Raises:
        NotesError: precision.json isn't what benchmarks/precision.py writes of one model.
    """
    paths = {name: folder / f"{name}.md" for name in MARKDOWN}
    found = {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.exists()}
    if (path := folder / PRECISION).exists():
        try:
            found["speed"] = speed(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotesError(
                f"{path}: expected what benchmarks/precision.py writes of one model ({error!r}); measure it again, alone"
            ) from error
    return found


def speed(report: dict) -> str:
    """F1 and time in each precision, in Markdown.

    Args:
        report: what benchmarks/precision.py writes.
    Raises:
        ValueError, KeyError: it isn't, or is of several models.
    """
    if len(report["models"]) != 1:
        raise ValueError(f"it has {len(report['models'])} models")
    ((_, measured),) = report["models"].items()
    rows = []
    for precision, row in measured.items():
        if precision == "family":
            continue
        each = 1000 * row["seconds"] / report["documents"]
        rows.append(
            [
                precision,
                f"{row['f1']:.2f}",
                f"{row['delta_f1']:+.2f}",
                row["other"],
                f"{each:.1f}",
                f"{row['time']:.2f}",
            ]
        )
    instructions = [name for name, there in report["capabilities"].items() if there]
    threads = "one thread" if report["threads"] == 1 else f"{report['threads']} threads"
    about = (
        f"{report['documents']} {report['split']} documents of {report['corpus']}, text in, mentions out, on {threads} of a CPU"
        + (f" with {' and '.join(instructions)}" if instructions else "")
        + f" (torch {report['versions']['torch']}). *Others*: mentions that only float32 or only this precision finds. *Time*: "
        "a share of float32's."
    )
    header = ["precision", "F1", "difference", "others", "CPU ms a document", "time"]
    return f"{about}\n\n{markdown_table(header, rows)}"
