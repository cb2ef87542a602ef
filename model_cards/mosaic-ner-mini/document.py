"""Documents and mentions, in characters of the original text. Ships to the Hub; standard library only."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cached_property

logger = logging.getLogger(__name__)

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, order=True)
class Mention:
    """One annotated or predicted mention.

    `start` and `end` are character (Unicode code point) offsets into the document's text, half-open. `identifiers` are
    concept identifiers as the file writes them. `score` (0..1) is set on predictions only and takes no part in
    comparison.
    """

    start: int
    end: int
    type: str
    identifiers: tuple[str, ...] = ()
    score: float | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[int, int, str]:
        """What exact-match scoring compares."""
        return (self.start, self.end, self.type)


@dataclass(frozen=True)
class Passage:
    """A named stretch of a document, e.g. its title; `infons` are a BioC passage's key-value pairs."""

    start: int
    end: int
    kind: str = ""
    infons: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Document:
    """A text with its gold mentions.

    `annotated_types` are the (native) types that are annotated exhaustively in this document; every other type is *unknown*
    in it, not absent. None: the document doesn't say, so they are its corpus's. `unclear` are mentions that may or may not be
    there: training leaves them out of its loss. `index` tells records apart that share an id in one file (the n-th
    occurrence, from 0). Leakage is judged by `article`, which is the id unless the corpus splits articles into records.

    Raises:
        ValueError: a mention is empty or reaches outside the text.
    """

    id: str
    corpus: str
    text: str
    mentions: tuple[Mention, ...] = ()
    annotated_types: frozenset[str] | None = None
    index: int = 0
    article: str = ""
    passages: tuple[Passage, ...] = ()
    infons: tuple[tuple[str, str], ...] = ()
    unclear: tuple[Mention, ...] = ()

    def __post_init__(self):
        if not self.article:
            object.__setattr__(self, "article", self.id)
        for mention in self.mentions:
            if not 0 <= mention.start < mention.end <= len(self.text):
                raise ValueError(
                    f"{self.name}: mention {mention.type} [{mention.start}, {mention.end}) is empty or outside the text "
                    f"of {len(self.text)} characters; offsets are half-open code points of the text"
                )

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies the record among all corpora: (corpus, id, index)."""
        return (self.corpus, self.id, self.index)

    @property
    def name(self) -> str:
        """`corpus:id`, for error messages; the record's index is added when it isn't the first."""
        return f"{self.corpus}:{self.id}" + (f"#{self.index}" if self.index else "")

    @cached_property
    def borders(self) -> tuple[int, ...]:
        """Where a passage begins or ends inside the text, in order; of two with only white space between them, the first."""
        found = [0]
        last = len(self.text.rstrip())
        for place in sorted({place for p in self.passages for place in (p.start, p.end) if place < last}):
            if self.text[found[-1] : place].strip():
                found.append(place)
        return tuple(found[1:])

    def crosses(self, mention: Mention) -> bool:
        """Whether a passage's border lies inside the mention."""
        return any(mention.start < border < mention.end for border in self.borders)

    def surface(self, mention: Mention) -> str:
        """The mention's text."""
        return self.text[mention.start : mention.end]

    def with_mentions(self, mentions) -> Document:
        """The same document with other mentions, in reading order."""
        return replace(self, mentions=tuple(sorted(mentions, key=lambda m: (m.start, m.end, m.type))))


def normalise_name(text: str) -> str:
    """How names of concepts are compared: composed (NFC), in lower case, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def replace_halves(text: str, name: str) -> str:
    """The text with each half of a pair of surrogates, which is no character, replaced by U+FFFD, so that offsets hold.

    A warning counts them and says where the first is; `name` is what it calls the text.
    """
    if (first := _HALF.search(text)) is None:
        return text
    text, count = _HALF.subn("\ufffd", text)
    message = (
        "%s: %d halves of surrogate pairs, which are no characters, are read as U+FFFD; the first is at character %d"
    )
    logger.warning(message, name, count, first.start())
    return text
