"""IOB files of Fraunhofer SCAI: `###`, a tab and an id, then a token, its offsets, its mention, a bar and its tag a line.

The files are not UTF-8. They are read as Latin-1, as HUNER and flair do; letters beyond ASCII may be others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from mosaic_ner.modeling.document import Document, Mention

from .base import Reading, parse_integer
from .iob2 import is_tag, tagged_spans

_COLUMNS = "token, start, end, mention and a tag with a bar before it, between tabs"
MAX_GAP = 10_000  # characters between two tokens; more is damage


def read_scai(handle, reading: Reading) -> Iterator[Document]:
    """Documents of such a file. Text is the tokens with as many spaces between them as their offsets leave."""
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    id, first, rows = None, 0, []
    for number, raw in enumerate(handle, 1):
        line = raw.decode("latin-1").rstrip("\r\n")
        if line.startswith("###"):
            if id is not None:
                yield partial(_document, id, first, rows, reading)
            id, first, rows = line.strip("#\t "), number, []
        elif line.strip():
            if id is None:
                raise reading.error(
                    "### and an id before the first token", repr(line[:80]), "see the format", line=number
                )
            rows.append((number, line))
    if id is not None:
        yield partial(_document, id, first, rows, reading)


def _document(id: str, first: int, rows: list[tuple[int, str]], reading: Reading) -> Document:
    text, position, tags, starts, ends, joined = "", None, [], {}, {}, 0
    for number, line in rows:
        cells = line.split("\t")
        if len(cells) != 5 or not is_tag(cells[4].strip().removeprefix("|")):
            raise reading.error(_COLUMNS, repr(line[:80]), "correct the line", line=number, document=id)
        token = cells[0]
        start, end = (parse_integer(c, reading, "an offset", line=number, document=id) for c in cells[1:3])
        gap = 0 if position is None else max(start - position, 0)
        if gap > MAX_GAP:
            expected = f"at most {MAX_GAP} characters between two tokens"
            raise reading.error(expected, str(gap), "correct the offsets", line=number, document=id)
        text, position = text + " " * gap, end
        # The mentions' offsets are found in the tokens joined by single spaces, then put where the tokens are.
        starts[joined], ends[joined + len(token)] = len(text), len(text) + len(token)
        text, joined = text + token, joined + len(token) + 1
        tags.append((token, cells[4].strip().removeprefix("|"), number))
    mentions = []
    if reading.gold:
        mentions = [Mention(starts[s], ends[e], type) for s, e, type, _ in tagged_spans(tags, reading, id)]
        reading.report.mentions += len(mentions)
    return reading.document(id, text, mentions, line=first)
