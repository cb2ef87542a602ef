"""How two corpora answer for the same texts: scores by type, every difference, and habits at the borders of mentions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mosaic_ner.data_builders.shared_texts import SharedTexts, shared_texts
from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.training.metrics import score_mentions
from mosaic_ner.training.relaxed import relaxed_scores

from .differences import BOUNDARY, MISSED, SPURIOUS, Difference, differences, extras

LEAST = 10
"""The fewest mentions, or the fewest neighbours of mentions, that make a habit or a finding."""
_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[ \-]")
_BEFORE, _AFTER = re.compile(r"([^\W_]+)[ \-]\Z"), re.compile(r"[ \-]([^\W_]+)")
SHORTEST = 3
"""Letters of a word that can be a habit; shorter ones are parts of symbols, formulas and abbreviations."""


@dataclass(frozen=True)
class Answer:
    """What a corpus, or a model under its guideline, says of a text.

    Args:
        document: with mentions under shared types; those without a counterpart keep their own name.
        types: the shared types that are annotated exhaustively in it.
    """

    document: Document
    types: frozenset[str]


def answer(document: Document, space: LabelSpace) -> Answer:
    """A corpus's own answer: its mentions under shared types."""
    mentions = {replace(m, type=space.shared(document.corpus, m.type) or m.type) for m in document.mentions}
    return Answer(document.with_mentions(mentions), frozenset(space.annotated_shared_types(document)))


@dataclass(frozen=True)
class Case:
    """A difference in its text.

    Args:
        difference: `one` and `other` are the two corpora's.
        answers: of both corpora to the text.
        elsewhere: the types under which the other corpus marks something there that isn't compared; of an unpaired mention.
    """

    difference: Difference
    answers: tuple[Answer, Answer]
    elsewhere: frozenset[str] = frozenset()

    @property
    def type(self) -> str:
        """Of the one's mention, or else of the other's."""
        return self.difference.mentions[0].type

    @property
    def text(self) -> str:
        """Of the one's mention, or else of the other's."""
        return self.answers[0].document.surface(self.difference.mentions[0])

    def within(self, name: str) -> bool:
        """Whether an unpaired mention lies inside a longer one of the other corpus, of the type."""
        (start, end), other = self.difference.stretch, self.answers[self.difference.kind == MISSED]
        spans = {(m.start, m.end) for m in other.document.mentions if m.type == name} - {(start, end)}
        return any(first <= start and end <= last for first, last in spans)


@dataclass
class Agreement:
    """Two answers to the same texts.

    Args:
        names: of the two corpora.
        texts: how many. left_out: what was found and not compared, as readable lines.
        scores: of the other against the one, as the report of a corpus: exact, and `relaxed`.
        cases: every difference.
        surfaces: (type, text of a mention) → how many mentions of the one and of the other have it.
    """

    names: tuple[str, str]
    texts: int = 0
    left_out: list[str] = field(default_factory=list)
    scores: dict = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    surfaces: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        """Those that both annotate and of which there is a mention."""
        rows = self.scores["per_type"].items()
        return [name for name, row in rows if row["support"] + row["predicted"]]

    def of(self, kind: str, name: str) -> list[Case]:
        """The differences of a kind and a type."""
        return [case for case in self.cases if case.difference.kind == kind and case.type == name]


def agree(names: tuple[str, str], pairs: list[tuple[Answer, Answer]]) -> Agreement:
    """Compares two answers to each of some texts, over the types that both annotate in it."""
    found, sides = Agreement(names, len(pairs)), ([], [])
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for pair in pairs:
        types = pair[0].types & pair[1].types
        compared = [[m for m in a.document.mentions if m.type in types] for a in pair]
        beside = [[m for m in a.document.mentions if m.type not in types] for a in pair]
        for number, mentions in enumerate(compared):
            sides[number].append(mentions)
            for m in mentions:
                counts[m.type, normalise_name(pair[0].document.surface(m))][number] += 1
        for difference in differences(*compared):
            other = {MISSED: beside[1], SPURIOUS: beside[0]}.get(difference.kind, [])
            there = {m.type for m in other if m.start < difference.stretch[1] and difference.stretch[0] < m.end}
            found.cases.append(Case(difference, pair, frozenset(there)))
    types = set().union(*(pair[0].types & pair[1].types for pair in pairs))
    found.scores = score_mentions(*sides, types) | {"relaxed": relaxed_scores(*sides, types)}
    found.surfaces = dict(counts)
    return found


def agreement_of_corpora(documents: dict[str, list[Document]], space: LabelSpace) -> list[Agreement]:
    """Each pair of corpora that shares a text, in the order of the corpora.

    Args:
        documents: corpus → all of its documents.
    """
    found = []
    for names, shared in shared_texts(documents).items():
        pairs = [tuple(answer(document, space) for document in pair) for pair in shared.pairs]
        pairs = [pair for pair in pairs if pair[0].types & pair[1].types]
        if pairs:
            found.append(agree(names, pairs))
            found[-1].left_out = _left_out(shared)
    return found


def _left_out(shared: SharedTexts) -> list[str]:
    lines = []
    if shared.moved:
        what = "texts that differ in white space, punctuation, case or length, so that offsets were moved"
        lines.append(f"{what}: {len(shared.moved)} ({_some(shared.moved)})")
    if shared.different:
        what = "texts of one article id that differ in more and were left out"
        lines.append(f"{what}: {len(shared.different)} ({_some(shared.different)})")
    lines += [f"mentions of {name} without a place in the other text: {n}" for name, n in shared.outside.items() if n]
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


# ---- what the differences have in common


@dataclass(frozen=True)
class Extra:
    """What one of two corpora has at the border of its mentions and the other hasn't.

    Args:
        corpus: which. type: of the mentions. side: "before" or "after". text: what it is, in lower case; of a stretch that is a
            mention of another type, this type in angle brackets.
        cases: where.
    """

    corpus: str
    type: str
    side: str
    text: str
    cases: tuple[Case, ...]


def border_extras(agreement: Agreement) -> list[Extra]:
    """The stretches by which paired mentions of one type differ, the most frequent first."""
    found: dict[tuple[str, str, str, str], list[Case]] = defaultdict(list)
    for case in agreement.cases:
        if case.difference.kind != BOUNDARY:
            continue
        text, spans = case.answers[0].document.text, [(m.start, m.end) for m in case.difference.mentions]
        for name, longer, shorter in zip(agreement.names, spans, spans[::-1], strict=True):
            for side, extra in zip(("before", "after"), extras(text, longer, shorter), strict=True):
                if extra:
                    found[name, case.type, side, normalise_name(extra)].append(case)
    rows = [Extra(*key, tuple(cases)) for key, cases in found.items()]
    return sorted(rows, key=lambda row: (-len(row.cases), row.corpus, row.type, row.side, row.text))


@dataclass(frozen=True)
class Finding:
    """What one corpus marks, again and again, and the other doesn't, where they have the same texts.

    Args:
        by, against: the corpora. type: under which the one marks it.
        inside: the type of what the other marks there instead, in whole or in part; it isn't compared, because the one corpus
            doesn't annotate it. "": the other marks nothing there, and never marks these texts as `type`.
        surfaces: text, in its most frequent spelling, → how many mentions.
        cases: the mentions.
    """

    by: str
    against: str
    type: str
    inside: str
    surfaces: Counter
    cases: tuple[Case, ...]

    @property
    def texts(self) -> int:
        """How many texts these mentions are in."""
        return len({case.answers[0].document.name for case in self.cases})

    @property
    def within(self) -> int:
        """How many of these mentions lie inside a longer one of the other corpus, of type `inside`."""
        return sum(case.within(self.inside) for case in self.cases)


def findings(agreements: Iterable[Agreement], least: int = LEAST) -> list[Finding]:
    """Systematic differences, the most frequent first: texts that one corpus marks at least twice and the other never, and
    mentions where the other marks something of a type that the one doesn't know.

    Args:
        least: the fewest mentions of a finding.
    """
    found = []
    for agreement in agreements:
        for number, kind in enumerate((MISSED, SPURIOUS)):
            by, against = agreement.names if number == 0 else agreement.names[::-1]
            for name in agreement.types:
                groups: dict[str, list[Case]] = defaultdict(list)
                for case in agreement.of(kind, name):
                    for inside in case.elsewhere:
                        groups[inside].append(case)
                    counts = agreement.surfaces[name, normalise_name(case.text)]
                    if not case.elsewhere and counts[number] > 1 and not counts[1 - number]:
                        groups[""].append(case)
                for inside, cases in groups.items():
                    if len(cases) >= least:
                        found.append(Finding(by, against, name, inside, _spelt(cases), tuple(cases)))
    return sorted(found, key=lambda f: (-len(f.cases), f.by, f.against, f.type, f.inside))


def _spelt(cases: list[Case]) -> Counter:
    """How many cases have which text, under its most frequent spelling."""
    spelt: dict[str, Counter] = defaultdict(Counter)
    for case in cases:
        spelt[normalise_name(case.text)][case.text] += 1
    return Counter({own.most_common(1)[0][0]: own.total() for own in spelt.values()})


@dataclass(frozen=True)
class Habit:
    """How often a word at the border of a mention is part of it.

    Args:
        type: of the mentions. side: "before" or "after" the rest of the mention. word: in lower case.
        counts: corpus → (mentions that have the word inside, mentions that have it as their neighbour outside).
    """

    type: str
    side: str
    word: str
    counts: dict[str, tuple[int, int]]

    def share(self, corpus: str) -> float:
        """Of the mentions that have the word or stand beside it, 0..1."""
        inside, outside = self.counts[corpus]
        return inside / (inside + outside)

    @property
    def spread(self) -> float:
        """Between the corpora that have it most and least often."""
        shares = [self.share(corpus) for corpus in self.counts]
        return max(shares) - min(shares)


def habits(documents: dict[str, list[Document]], space: LabelSpace, least: int = 2 * LEAST) -> list[Habit]:
    """Words at the borders of mentions that some corpora take in and others leave out, the greatest differences first.

    No text need be shared. Only single words count that a blank or a hyphen parts from the rest of the mention. Beside the
    words themselves, all of a type count together, `<Species>`: those that some corpus marks as mentions of it, at least
    `least` times.

    Args:
        documents: corpus → its documents.
        least: the fewest mentions of a corpus with the word inside or beside them.
    """
    read = [(corpus, answer(document, space)) for corpus, part in documents.items() for document in part]
    marked = Counter(
        (corpus, m.type, own.document.surface(m).casefold())
        for corpus, own in read
        for m in own.document.mentions
        if m.type in own.types
    )
    of_type: dict[str, set[str]] = defaultdict(set)
    for (_, name, word), times in marked.items():
        if times >= least and word.isalpha():
            of_type[word].add(name)
    counts: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for corpus, own in read:
        for mention in own.document.mentions:
            if mention.type in own.types:
                for side, word, outside in _borders(own.document.text, mention):
                    for said in (word, *(f"<{name}>" for name in of_type.get(word, ()) if name != mention.type)):
                        counts[mention.type, side, said][corpus][outside] += 1
    found = []
    for (name, side, word), by_corpus in counts.items():
        enough = {corpus: tuple(pair) for corpus, pair in by_corpus.items() if sum(pair) >= least}
        if len(enough) > 1:
            found.append(Habit(name, side, word, enough))
    return sorted(found, key=lambda h: (-h.spread, -min(map(sum, h.counts.values())), h.type, h.side, h.word))


def _borders(text: str, mention: Mention) -> Iterable[tuple[str, str, bool]]:
    """(side, word, whether it is outside) of the first and last word of a mention of several, and of its neighbours."""
    start, end = mention.start, mention.end
    inside = [(m.start(), m.end()) for m in _WORD.finditer(text, start, end)]
    if len(inside) > 1:
        (_, first), (last, _) = inside[0], inside[-1]
        if inside[0][0] == start and _GAP.match(text, first):
            yield from _word("before", text[start:first], False)
        if inside[-1][1] == end and _GAP.match(text, last - 1):
            yield from _word("after", text[last:end], False)
    if before := _BEFORE.search(text[max(0, start - 40) : start]):
        yield from _word("before", before[1], True)
    if after := _AFTER.match(text, end):
        yield from _word("after", after[1], True)


def _word(side: str, word: str, outside: bool) -> Iterable[tuple[str, str, bool]]:
    if len(word) >= SHORTEST and word.isalpha():
        yield side, word.casefold(), outside
