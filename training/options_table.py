"""All options, as Markdown.

mosaic-ner options --output docs/options.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mosaic_ner.data_builders.console import check_output, one_message
from mosaic_ner.data_builders.options import Spec, specs

from . import families
from .arguments import SHARED, trainer_specs

INTRODUCTION = """# Options

Written by `mosaic-ner options --output docs/options.md`. A recipe gives options as YAML keys; the command line overrides
them: `--key value`. Another family's option is an error, and so is one that has no effect in the run. An empty default means
"not set".
"""


def options_markdown() -> str:
    """The options of all groups and families, and transformers' own."""
    parts = [INTRODUCTION]
    for group in SHARED:
        title = group.__doc__.strip().splitlines()[0].rstrip(".")
        parts += [f"## {title}", "", *_rows(specs(group).values())]
    for name in families.names():
        own = families.family(name).Options
        title = own.__doc__.strip().splitlines()[0].rstrip(".")
        parts += [f"## `--family {name}`: {title}", "", *_rows(specs(own).values())]
    parts += ["## transformers.TrainingArguments", "", "Passed on to the Trainer as they are.", ""]
    parts += [", ".join(f"`--{name}`" for name in trainer_specs()), ""]
    return "\n".join(_wrapped(line) for line in parts)


def _rows(options) -> list[str]:
    return ["| option | default | meaning |", "|---|---|---|", *map(_row, options), ""]


def _row(spec: Spec) -> str:
    default = "" if spec.default in (None, False, []) else f"`{spec.default}`"
    return f"| `--{spec.name}` | {default} | {spec.help.replace('|', chr(92) + '|')} |"


def _wrapped(line: str, width: int = 128) -> str:
    """A line that is no table row, broken at spaces."""
    if line.startswith("|") or len(line) <= width:
        return line
    out, rest = [], line
    while len(rest) > width:
        cut = rest.rfind(" ", 0, width)
        out.append(rest[:cut])
        rest = rest[cut + 1 :]
    return "\n".join([*out, rest])


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the table, or prints it."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner options", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="file to write; default: print")
    output = parser.parse_args(argv).output
    with one_message("options"):
        check_output(output)
        if output:
            output.write_text(options_markdown(), encoding="utf-8")
        else:
            sys.stdout.write(options_markdown())
