"""The words that decoders generate. Ships to the Hub; standard library only."""

from __future__ import annotations

import re
import unicodedata

from .units import find_pieces

PAD, START, END, UNKNOWN = range(4)
"""The decoders' words before those of the vocabulary."""

_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """What a decoder takes for words: letters and digits in a row, and single other characters, each with its marks, composed
    (NFC)."""
    return [unicodedata.normalize("NFC", text[start:end]) for start, end in find_pieces(_WORD, text)]
