"""The options of transformers.TrainingArguments as a table, so that `--help` and recipes can be read without importing it.

python -m mosaic_ner.training.trainer_options writes trainer_options.tsv for the installed version.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import MISSING, fields
from enum import Enum
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

from transformers import TrainingArguments

from .arguments import TRAINER_TABLE

COLUMNS = ("name", "kind", "default", "choices", "help")


def table() -> str:
    """The table of the installed version, as TSV."""
    hints = get_type_hints(TrainingArguments)
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for f in fields(TrainingArguments):
        if not f.init:
            continue
        hint = hints[f.name]
        kinds = [get_origin(k) or k for k in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))]
        # What may be a text is one: transformers itself reads JSON, names and lists out of it.
        plain = next((k for k in (str, dict, list, bool, float, int) if k in kinds), str)
        enums = [k for k in kinds if isinstance(k, type) and issubclass(k, Enum)]
        default = None if f.default is MISSING else f.default
        default = default.value if isinstance(default, Enum) else default
        told = default if isinstance(default, (bool, int, float, str)) else None
        choices = " ".join(e.value for k in enums for e in k)
        text = re.sub(r"\s+", " ", str(f.metadata.get("help", ""))).strip().replace("%%", "%")
        writer.writerow([f.name, plain.__name__, json.dumps(told), choices, text])
    return out.getvalue()


if __name__ == "__main__":
    TRAINER_TABLE.write_text(table(), encoding="utf-8")
