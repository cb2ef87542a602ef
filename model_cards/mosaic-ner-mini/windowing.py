"""Sentences, tokens, windows and what they can represent. Ships to the Hub.

Every boundary is a token boundary of the *raw* text (the tokenizer's offset mapping); no text is ever re-spaced. Sentence
ends only decide where a window may end. A passage's border ends a token, a sentence and a mention; a window may hold several
passages. Training and prediction go through the same code.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from .document import Document, Mention, replace_halves
from .units import continuations, find_units, first_tokens

# An end mark, optional closing brackets or quotes, white space, then what can begin a sentence. A single capital before
# the full stop is an initial ("C. Elegans", "J. Smith") and ends none. A line break after white space-free text ends one.
_SENTENCE_END = re.compile(
    r"(?:(?<![^\w][A-Z])(?<!^[A-Z])[.!?][)\]\"'’”]*\s+(?=[A-Z0-9(\[\"'“‘]))|(?:\n\s*)", re.UNICODE
)


class Span(NamedTuple):
    """Token positions inside a window, half-open."""

    start: int
    end: int


@dataclass(frozen=True)
class Window:
    """A run of consecutive sentences that fits the encoder.

    `input_ids` holds the tokens without special tokens; `offsets[i]` are the document characters of token i, half-open,
    trimmed of white space and with the combining marks that normalisation took away; `text` is the whole document's.
    `passages` are the tokens, but for the first, with which a passage begins. Windows of one document may overlap: the window
    *owns* the mentions whose first character is in [own_start, own_end), and these intervals tile the document.
    """

    document: int
    index: int
    own_start: int
    own_end: int
    input_ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    text: str = field(repr=False, compare=False)
    passages: tuple[int, ...] = ()
    _units: dict[str, list[tuple[int, int]]] = field(default_factory=dict, repr=False, compare=False)

    def units(self, kind: str) -> list[tuple[int, int]]:
        """Token ranges of the window's units (see `find_units`), found once however many tasks ask."""
        if kind not in self._units:
            self._units[kind] = find_units(self.text, self.offsets, kind, self.passages)
        return self._units[kind]

    def unit_passages(self, kind: str) -> list[int]:
        """The units, but for the first, with which a passage begins; no mention crosses them."""
        starts = [start for start, _ in self.units(kind)]
        found = dict.fromkeys(bisect_left(starts, passage) for passage in self.passages)
        return [unit for unit in found if 0 < unit < len(starts)]

    @property
    def char_start(self) -> int:
        """First document character inside the window."""
        return self.offsets[0][0]

    @property
    def char_end(self) -> int:
        """One past the last document character inside the window."""
        return self.offsets[-1][1]

    def owns(self, mention: Mention) -> bool:
        """Whether this window answers for the mention."""
        return self.own_start <= mention.start < self.own_end


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Cuts the text into sentences that tile it; trailing white space belongs to the sentence before it.

    Args:
        text: any text.
    Returns:
        Half-open character ranges, in order, without gaps.
    """
    ends = [m.end() for m in _SENTENCE_END.finditer(text)]
    starts = [0, *ends]
    return [(s, e) for s, e in zip(starts, [*ends, len(text)], strict=True) if s < e]


@dataclass(frozen=True)
class Windower:
    """Turns texts into windows.

    Args:
        tokenizer: a fast tokenizer (offset mapping is needed).
        max_tokens: tokens per window, special tokens included.
        num_special_tokens: how many of them the model adds around a window.
        overlap: tokens that two windows share when one sentence alone is too long; None: 48, or a quarter of the window.
        packing: "packed" puts consecutive sentences into one window as long as they fit; "single" takes one at a time.
    """

    tokenizer: object
    max_tokens: int = 256
    num_special_tokens: int = 2
    overlap: int | None = None
    packing: str = "packed"

    def __post_init__(self):
        if not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(self.tokenizer).__name__} is not a fast tokenizer; character offsets need one: load it with "
                "AutoTokenizer, or convert it with transformers.convert_slow_tokenizer"
            )
        if self.packing not in ("packed", "single"):
            raise ValueError(f"packing is {self.packing!r}; expected 'packed' or 'single'")
        if self.overlap is None:
            object.__setattr__(self, "overlap", max(0, min(48, self.budget // 4)))
        if self.overlap < 0 or self.budget < max(8, 4 * self.overlap):
            raise ValueError(
                f"max_tokens={self.max_tokens} with {self.num_special_tokens} special tokens leaves {self.budget} tokens of "
                f"text, which must be at least 8 and four times the overlap ({self.overlap}); raise max_tokens or lower "
                "window_overlap"
            )

    @property
    def budget(self) -> int:
        """Tokens of text per window."""
        return self.max_tokens - self.num_special_tokens

    def __call__(self, texts: list[str | Document]) -> list[list[Window]]:
        """Windows of each text or document, in reading order; one without tokens has none.

        A text has no passages; a document's end words, sentences and mentions. Halves of surrogate pairs are read as U+FFFD,
        with a warning that says where they are.
        """
        if not texts:
            return []
        sources = [_text_and_borders(text, number) for number, text in enumerate(texts)]
        passages = [[*pairwise([0, *borders, len(text)])] for text, borders in sources]
        # split_special_tokens: a text that happens to contain "[SEP]" or a task tag is text, not a control token.
        encoded = self.tokenizer(
            [text[start:end] for (text, _), own in zip(sources, passages, strict=True) for start, end in own],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            split_special_tokens=True,
            verbose=False,
        )
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        out = []
        for number, ((text, _), own) in enumerate(zip(sources, passages, strict=True)):
            ids, offsets, begins, sentences = [], [], [], []
            for (start, end), (own_ids, own_offsets) in zip(own, rows):  # noqa: B905 (as many as there are passages)
                begins.append(len(ids))
                ids += own_ids
                offsets += [(start + s, start + e) for s, e in _fit(text[start:end], own_offsets)]
                sentences += [start + s for s, _ in split_sentences(text[start:end])]
            borders = [border for border in dict.fromkeys(begins) if 0 < border < len(ids)]
            out.append(self._windows(number, text, ids, offsets, borders, sentences))
        return out

    def _windows(self, document: int, text: str, ids, offsets, borders, sentences: list[int]) -> list[Window]:
        if not ids:
            return []
        starts = [o[0] for o in offsets]
        cuts = sorted({bisect_left(starts, s) for s in sentences} | {0, *borders, len(ids)})
        pieces = self._pieces(cuts, _Places(text, offsets, borders))
        windows = []
        for number, (start, end) in enumerate(pieces):
            # Between overlapping windows the middle of the shared tokens divides what each one owns, so that a mention
            # of up to half the overlap is seen whole by the window that owns it.
            own_start = 0 if number == 0 else offsets[(start + max(start, pieces[number - 1][1])) // 2][0]
            if number + 1 == len(pieces):
                own_end = len(text) + 1
            else:
                following = pieces[number + 1][0]
                own_end = offsets[(following + max(following, end)) // 2][0]
            inside = tuple(border - start for border in borders if start < border < end)
            own = tuple(ids[start:end]), tuple(offsets[start:end]), text, inside
            windows.append(Window(document, number, own_start, own_end, *own))
        return windows

    def _pieces(self, cuts: list[int], places: _Places) -> list[tuple[int, int]]:
        """Token ranges of the windows: packed sentences; a sentence that is too long becomes overlapping pieces."""
        pieces: list[tuple[int, int]] = []
        begin = cuts[0]
        for start, end in pairwise(cuts):
            if end - begin > self.budget or (self.packing == "single" and start > begin):
                if start > begin:
                    pieces.append((begin, start))
                begin = start
            covered = begin
            while end - begin > self.budget:
                latest = begin + self.budget
                stop = places.cut(latest, max(covered, latest - self.overlap // 2), covered)
                if (
                    stop is None and begin < covered
                ):  # marks without end; without the overlap there may be room for them
                    begin = covered
                    continue
                covered = stop = stop or latest
                pieces.append((begin, stop))
                begin = places.cut(stop - self.overlap, max(begin + 1, stop - 2 * self.overlap), begin) or stop
        if cuts[-1] > begin:
            pieces.append((begin, cuts[-1]))
        return pieces


def _text_and_borders(text: str | Document, number: int) -> tuple[str, tuple[int, ...]]:
    name, borders = f"text {number}", ()
    if not isinstance(text, str):
        name, borders, text = text.name, text.borders, text.text
    return replace_halves(text, name), borders


def _fit(text: str, offsets) -> list[tuple[int, int]]:
    """Offsets without surrounding white space (SentencePiece and byte-level tokenizers keep the leading space), with the
    marks that normalisation took away (BERT's, uncased)."""
    inside = continuations(text)
    out = []
    for number, (start, end) in enumerate(offsets):
        if start < end and (text[start].isspace() or text[end - 1].isspace()):
            piece = text[start:end]
            stripped = piece.strip()
            start, end = (end, end) if not stripped else (start + piece.index(stripped), start + len(piece.rstrip()))
        if inside and start < end:
            before = out[-1][1] if out else 0
            following = offsets[number + 1][0] if number + 1 < len(offsets) else len(text)
            while start > before and start in inside:
                start -= 1
            while end < following and end in inside:
                end += 1
        out.append((start, end))
    return out


class _Places:
    """Where a sentence that is too long may be cut; found when first asked for, as few are."""

    def __init__(self, text: str, offsets: list[tuple[int, int]], borders: list[int]):
        self.text, self.offsets, self.borders = text, offsets, borders

    @cached_property
    def _words(self) -> list[int]:
        return first_tokens(self.offsets, self.borders)

    @cached_property
    def _units(self) -> set[int]:
        return {start for start, _ in find_units(self.text, self.offsets, passages=self.borders)}

    @cached_property
    def _inside(self) -> set[int]:
        return continuations(self.text)

    def cut(self, position: int, lowest: int, least: int) -> int | None:
        """The last token at or before `position`, above `lowest`, that begins a word, or else a unit; else, above `least`, one
        that begins a character with its marks; else None."""
        for candidate in range(position, lowest, -1):
            if self._words[candidate]:
                return candidate
        for candidate in range(position, lowest, -1):
            if candidate in self._units:
                return candidate
        for candidate in range(position, least, -1):
            start = self.offsets[candidate][0]
            if start not in self._inside and start > self.offsets[candidate - 1][0]:
                return candidate
        return None


def align(window: Window, mentions) -> list[tuple[Span, Mention]]:
    """The mentions that the window sees whole, between its token boundaries, as (span, mention) in the order given."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for position, (start, end) in enumerate(window.offsets):
        if start < end:
            starts.setdefault(start, position)
            ends[end] = position + 1
    return [
        (Span(starts[m.start], ends[m.end]), m)
        for m in mentions
        if m.start in starts and m.end in ends and m.start < m.end
    ]


CAUSES = {
    "token_boundary": "starts or ends inside a token",
    "passage_border": "crosses the border of a passage",
    "window_cut": "longer than what its window sees of it",
    "nested": "overlaps a longer mention, and the model is flat",
    "unit_boundary": "starts or ends inside a unit",
    "too_wide": "wider than the model's widest span",
    "second_type": "has the span of another mention, and the model gives each span one type",
    "crossing": "crosses another mention of its type",
    "crowded": "begins or ends between two words where more do than the model can say",
}


WINDOW_CAUSES = ("token_boundary", "passage_border", "window_cut")
"""The causes that lie in tokens and windows, whatever the model; the others lie in what its labels can express."""


@dataclass
class CoverageReport:
    """How many gold mentions the windows and the model can represent, and the rest by cause (`CAUSES`), per corpus."""

    mentions: Counter = field(default_factory=Counter)
    lost: dict[str, Counter] = field(default_factory=dict)
    unmapped: Counter = field(default_factory=Counter)
    undeclared: Counter = field(default_factory=Counter)

    def add(self, corpus: str, mentions: int, lost: Counter) -> None:
        """Counts one document's mentions and those that were lost, by cause."""
        unknown = set(lost) - set(CAUSES)
        if unknown:
            raise ValueError(f"unknown cause of loss {sorted(unknown)}; known: {sorted(CAUSES)}")
        self.mentions[corpus] += mentions
        self.lost.setdefault(corpus, Counter()).update(lost)

    def representable(self, corpus: str) -> float:
        """Share of the corpus's gold mentions that can be represented, 0..1."""
        return 1 - self.lost[corpus].total() / self.mentions[corpus] if self.mentions[corpus] else 1.0

    def in_windows(self, corpus: str) -> float:
        """Share of the corpus's gold mentions that tokens and windows can represent, before the model's own limits, 0..1."""
        lost = sum(self.lost[corpus][cause] for cause in WINDOW_CAUSES)
        return 1 - lost / self.mentions[corpus] if self.mentions[corpus] else 1.0

    def to_dict(self) -> dict:
        """JSON form: per corpus mentions, represented, share (of windows alone, and with the model's labels), lost by cause,
        mentions of types outside the scheme, and (not among the others) mentions of types that their document doesn't
        annotate."""
        return {
            corpus: {
                "mentions": count,
                "represented": count - self.lost[corpus].total(),
                "share_in_windows": self.in_windows(corpus),
                "share": self.representable(corpus),
                "lost": dict(sorted(self.lost[corpus].items())),
                "outside_scheme": self.unmapped[corpus],
                "undeclared": self.undeclared[corpus],
            }
            for corpus, count in sorted(self.mentions.items())
        }

    def summary(self) -> str:
        """A readable table, a line per corpus."""
        lines = ["coverage: gold mentions that tokens and windows can represent, and then the model's labels"]
        for corpus, row in self.to_dict().items():
            causes = ", ".join(
                f"{n} {cause} ({100 * n / row['mentions']:.2f}%)" for cause, n in row["lost"].items() if n
            )
            outside = f"; {row['outside_scheme']} of types outside the scheme" if row["outside_scheme"] else ""
            if row["undeclared"]:
                outside += f"; beside them {row['undeclared']} of types that their documents don't declare"
            lines.append(
                f"  {corpus:22s} {row['mentions']:6d} mentions: windows {100 * row['share_in_windows']:6.2f}%, labels "
                f"{100 * row['share']:6.2f}%" + (f"  lost: {causes}" if causes else "") + outside
            )
        return "\n".join(lines)


def lost_by_windows(document: Document, windows: list[Window]) -> dict[Mention, str]:
    """The document's mentions that none of its windows represents, with the cause."""
    lost = {}
    for mention in document.mentions:
        owner = next((w for w in windows if w.owns(mention)), None)
        if document.crosses(mention):
            lost[mention] = "passage_border"
        elif owner is None or not align(owner, [mention]):
            inside = owner is not None and owner.char_start <= mention.start and mention.end <= owner.char_end
            lost[mention] = "token_boundary" if inside or owner is None else "window_cut"
    return lost


def keep_flat(mentions) -> tuple[list[Mention], list[Mention]]:
    """Splits mentions into (kept, dropped) so that none overlap: the longest wins, then the higher score, then the first."""
    kept: list[Mention] = []  # in reading order, and so in the order of their ends, since none overlap
    starts: list[int] = []
    dropped: list[Mention] = []
    for mention in sorted(mentions, key=lambda m: (m.start - m.end, -(m.score or 0.0), m.start, m.type)):
        before = bisect_left(starts, mention.end)  # those that begin before the mention ends; the last reaches furthest
        if before and kept[before - 1].end > mention.start:
            dropped.append(mention)
        else:
            kept.insert(before, mention)
            starts.insert(before, mention.start)
    return kept, dropped
