"""What all exports share: their error, and the comparison of an export's mentions with the original model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.modeling.windowing import Windower

SHOWN = 20
"""Differences that a report lists; all are counted."""

Predict = Callable[[list[str]], list[list[Mention]]]
"""Texts → the mentions of each, in characters."""


class ExportError(UserError):
    """A model that can't be exported as asked, or a folder that is no export."""


class TextPart(NamedTuple):
    """A stretch of a document: its text begins at character `start`; `whole` if it is all there is."""

    document: str
    start: int
    text: str
    whole: bool


def parts_of(document: Document, windower: Windower) -> list[TextPart]:
    """The document as it is if it fits one window, else what its windows see of it, each again fitting one."""

    def cut(start: int, text: str) -> list[tuple[int, str]]:
        windows = windower([text])[0]
        if len(windows) < 2:
            return [(start, text)]
        # Tokenised alone, a stretch that begins inside a word may have more tokens than its window had: it is cut again.
        stretches = [(w.char_start, text[w.char_start : w.char_end]) for w in windows]
        return [p for at, own in stretches for p in ([(start + at, own)] if own == text else cut(start + at, own))]

    pieces = cut(0, document.text)
    return [TextPart(document.id, start, text, len(pieces) == 1) for start, text in pieces]


def compare(original: Predict, export: Predict, parts: list[TextPart]) -> dict:
    """Mentions of both on the same texts, compared by (start, end, type).

    Returns:
        texts, texts_that_differ: numbers of texts.
        original, export, same, only_original, only_export: numbers of mentions.
        differences: the sum of the last two, and mentions told twice.
        white_space: pairs of differing mentions that are the same but for white space at their borders.
        empty: mentions of both that are nothing but white space.
        largest_score_difference: of the same mentions; None without any.
        examples: the first differences, in characters of the document.
    """
    texts = [part.text for part in parts]
    count: Counter = Counter()
    examples, gap = [], None
    for part, left, right in zip(parts, original(texts), export(texts), strict=True):
        wanted, got = ({m.key: m.score for m in mentions} for mentions in (left, right))
        # A mention reported twice would be lost in the keys.
        count["repeated"] += len(left) + len(right) - len(wanted) - len(got)
        same = wanted.keys() & got.keys()
        lost, added = wanted.keys() - same, got.keys() - same
        count["empty"] += sum(not part.text[m.start : m.end].strip() for m in (*left, *right))
        trimmed = {_trimmed(part.text, key) for key in lost} & {_trimmed(part.text, key) for key in added}
        count.update(original=len(left), export=len(right), same=len(same), white_space=len(trimmed))
        count.update(only_original=len(lost), only_export=len(added), texts_that_differ=bool(lost or added))
        gaps = [abs(wanted[key] - got[key]) for key in same]
        gap = max([gap or 0.0, *gaps]) if gaps else gap
        for which, keys in (("original", lost), ("export", added)):
            for start, end, kind in sorted(keys):
                examples.append(
                    {
                        "document": part.document,
                        "start": part.start + start,
                        "end": part.start + end,
                        "type": kind,
                        "only": which,
                    }
                )
    names = ("original", "export", "same", "only_original", "only_export", "white_space", "empty", "texts_that_differ")
    out = {"texts": len(parts)} | {name: count[name] for name in names}
    out["differences"] = count["only_original"] + count["only_export"] + count["repeated"]
    return out | {"largest_score_difference": gap, "examples": examples[:SHOWN]}


def _trimmed(text: str, key: tuple[int, int, str]) -> tuple[int, int, str]:
    start, end, kind = key
    piece = text[start:end]
    return (end - len(piece.lstrip()), start + len(piece.rstrip()), kind)


def as_table(report: dict) -> str:
    """A report of `compare_stock` (see export.py) as Markdown: a row per way of reading."""
    names = {"compared": "texts that both read whole", "whole_text": "whole documents"}
    if report.get("units"):
        whole = names.pop("compared")
        names = {"compared": f"{whole}, by tokens", "units": f"{whole}, in units"} | names
    names["with_stride"] = f"truncated documents, with `stride={report.get('stride')}`"
    columns = ("texts", "original", "export", "same", "only_original", "only_export", "differences")
    rows = [[text, *(report[name][c] for c in columns)] for name, text in names.items() if report.get(name)]
    header = ["read", *(c.replace("_", " ") for c in columns)]
    return markdown_table(header, rows)
