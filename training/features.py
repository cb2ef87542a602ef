"""Documents → windows → training features, with the report of what could not be represented. Standard library only."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.windowing import CoverageReport, Span, Window, align, keep_flat, lost_by_windows

logger = logging.getLogger(__name__)

IGNORE = -100


class FeatureDataset:
    """Features in memory. `groups[i]` names the part of the mixture that feature i belongs to (see sampler.py)."""

    def __init__(self, features: list[dict], groups: list[str]):
        self.features = features
        self.groups = groups

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        return self.features[index]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each feature, special tokens included."""
        return [len(f["input_ids"]) for f in self.features]


def shared_mentions(document: Document, space: LabelSpace) -> list[Mention]:
    """The document's mentions under their shared types; those without a counterpart are left out.

    Raises:
        LabelError: a type the mapping doesn't know.
    """
    out = {}
    for m in document.mentions:
        shared = space.shared(document.corpus, m.type)
        if shared is not None:
            out.setdefault((m.start, m.end, shared), replace(m, type=shared))
    return list(out.values())


def of_whole_types(document: Document, space: LabelSpace) -> set[str]:
    """The native types that a document annotates, without those whose shared type it leaves unknown."""
    known = {*space.annotated_shared_types(document), None}
    return {t for t in space.annotated_types(document) if space.shared(document.corpus, t) in known}


def in_shared_types(document: Document, space: LabelSpace) -> Document:
    """The document as it is scored in merged evaluation: shared types only."""
    return document.with_mentions(shared_mentions(document, space))


class Features:
    """Builds a family's training features and keeps count of what is lost.

    Args:
        model: gives `features`, `config` and `tasks_for`.
        windower: cuts the texts.
        space: the run's label space.
    """

    tag_level = False
    """Whether mentions are read off token tags, so that seqeval can score them, too."""

    def __init__(self, model, windower, space: LabelSpace):
        self.model = model
        self.windower = windower
        self.space = space
        self.coverage = CoverageReport()

    def taught(self, document: Document) -> set[str]:
        """The native types whose presence and absence a document teaches: those that it annotates.

        Raises:
            LabelError: it declares a type that the mapping doesn't know.
        """
        return set(self.space.annotated_types(document))

    def _declared(self, document: Document) -> Document:
        """The document without the mentions of types that it doesn't declare, which are counted.

        Raises:
            LabelError: a type the mapping doesn't know.
        """
        for name in {m.type for m in document.mentions}:
            self.space.shared(document.corpus, name)
        own = self.taught(document)
        kept = document.with_mentions(m for m in document.mentions if m.type in own)
        self.coverage.undeclared[document.corpus] += len(
            {m.key for m in document.mentions} - {m.key for m in kept.mentions}
        )
        return kept

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        """(group of the mixture, feature) of each training example, what is lost being counted.

        Args:
            document: with mentions of the types that it declares.
            windows: of its text.
        """
        raise NotImplementedError

    def _count(self, document: Document, windows: list[Window]) -> None:
        """Only counts what is lost."""
        raise NotImplementedError

    def build(self, documents: list[Document], chunk: int = 256) -> FeatureDataset:
        """Features of all windows, under all tasks that teach their document; how many documents teach nothing is logged."""
        features, groups, silent = [], [], Counter()
        for begin in range(0, len(documents), chunk):
            part = documents[begin : begin + chunk]
            for document, windows in zip(part, self.windower(part), strict=True):
                document = self._declared(document)
                made = [*self._document(document, windows)] if self.taught(document) else []
                silent[document.corpus] += bool(windows) and not made
                features += [feature for _, feature in made]
                groups += [group for group, _ in made]
        for corpus, count in (+silent).items():
            logger.warning(
                "%s: %d documents teach nothing, since they declare no type that the model learns", corpus, count
            )
        return FeatureDataset(features, groups)

    def cover(self, documents: list[Document], chunk: int = 256) -> None:
        """Only counts what is representable, e.g. of evaluation documents."""
        for begin in range(0, len(documents), chunk):
            part = documents[begin : begin + chunk]
            for document, windows in zip(part, self.windower(part), strict=True):
                self._count(self._declared(document), windows)

    def report(self, others: list[list[Document]]) -> dict:
        """Counts further documents (of the evaluation splits), logs the report and returns it JSON-ready."""
        for documents in others:
            self.cover(documents)
        logger.info(self.coverage.summary())
        return self.coverage.to_dict()


class UnitFeatures(Features):
    """Features of a family whose mentions are made of units and have the corpus's own types."""

    def _count(self, document: Document, windows: list[Window]) -> None:
        self._lost(without_repeats(document), windows)

    def _type_mask(self, document: Document) -> list[int]:
        """1 for each of the config's types that the document teaches, 0 for the others."""
        own = self.taught(document)
        return [int(corpus == document.corpus and native in own) for corpus, native in self.model.config.types]

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        """Which mentions of a window the model can't express, and why.

        Args:
            found: (first unit, one past the last unit, mention).
        """
        raise NotImplementedError

    def _document_limits(self, mentions: list[Mention]) -> dict[Mention, str]:
        """Of a document's mentions that windows can express, those that the family can't, with the cause."""
        return {}

    def _lost(self, document: Document, windows: list[Window]) -> dict[Mention, str]:
        """The mentions that the window that owns them can't express, with the cause; they are counted."""
        config = self.model.config
        lost: dict[Mention, str] = lost_by_windows(document, windows)
        for window in windows:
            own = [m for m in document.mentions if m not in lost and window.owns(m)]
            if own:
                found = Grid(window, config.units).place(align(window, own))
                inside = {m for _, _, m in found}
                lost |= {m: "unit_boundary" for m in own if m not in inside} | self._limits(found)
        lost |= self._document_limits([m for m in document.mentions if m not in lost])
        nested = keep_flat([m for m in document.mentions if m not in lost])[1] if config.flat else []
        self.coverage.add(
            document.corpus, len(document.mentions), Counter([*lost.values(), *("nested" for _ in nested)])
        )
        return lost


class SpanFeatures(UnitFeatures):
    """Gold cells of the span grid, under the corpus's own types; every other span of the grid is none of those that the
    document declares.

    `numbers`: (corpus, native type) → the label's number.
    """

    numbers: dict[tuple[str, str], int]

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        return {m: "too_wide" for first, end, m in found if end - first > self.model.config.max_span_width}

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        document = without_repeats(document)
        lost = self._lost(document, windows)
        usable = [m for m in document.mentions if m not in lost]
        # Spans beside a border that can't be had are neither mentions nor negatives; those inside a mention that is only
        # too wide are negatives indeed.
        unclear = [m for m, cause in lost.items() if cause not in ("too_wide", "second_type")]
        unclear += document.unclear
        task, mask = self.model.config.task(document.corpus), self._type_mask(document)
        for window in windows:
            feature = self.model.features(window, task)
            feature |= {"type_mask": mask} | self._cells(document.corpus, window, usable, unclear)
            yield document.corpus, feature

    def _cells(
        self, corpus: str, window: Window, usable: list[Mention], unclear: list[Mention]
    ) -> dict[str, list[int]]:
        grid, widest = Grid(window, self.model.config.units), self.model.config.max_span_width
        gold: list[tuple[int, Mention]] = []
        for first, end, mention in grid.place(align(window, usable)):
            if end - first <= widest:
                gold.append((first * widest + end - first - 1, mention))
                usable = [m for m in usable if m is not mention]
        known = {cell for cell, _ in gold}
        left_out = dict.fromkeys(c for m in [*unclear, *usable] for c in grid.overlapping(m, widest) if c not in known)
        labels = [self.numbers[corpus, m.type] for _, m in gold]
        cells = {"cells": [*left_out, *(c for c, _ in gold)], "cell_labels": [IGNORE] * len(left_out) + labels}
        return cells | self._more(window, gold)

    def _more(self, window: Window, gold: list[tuple[int, Mention]]) -> dict[str, list]:
        """What else a family learns from gold spans, (cell, mention) each."""
        return {}


class Grid:
    """Where token spans lie among a window's units.

    Args:
        window: of any text.
        kind: of its units (see `find_units`).
    """

    def __init__(self, window: Window, kind: str):
        self.window = window
        self.units = window.units(kind)
        self.starts = {start: number for number, (start, _) in enumerate(self.units)}
        self.ends = {end: number for number, (_, end) in enumerate(self.units)}

    def place(self, found: list[tuple[Span, Mention]]) -> list[tuple[int, int, Mention]]:
        """(first unit, one past the last unit, mention) of those that neither begin nor end inside a unit."""
        return [
            (self.starts[span.start], self.ends[span.end] + 1, mention)
            for span, mention in found
            if span.start in self.starts and span.end in self.ends
        ]

    def touched(self, mention: Mention) -> list[int]:
        """The units that have characters of the mention, in order."""
        if mention.end <= self.window.char_start or mention.start >= self.window.char_end:
            return []  # soon told, as most mentions of a long document are elsewhere
        return [
            number
            for number, (start, end) in enumerate(self.units)
            if self.window.offsets[start][0] < mention.end and mention.start < self.window.offsets[end - 1][1]
        ]

    def places(self, mention: Mention) -> list[int]:
        """How many units have been read before, in and right after the mention."""
        touched = self.touched(mention)
        return [*touched, touched[-1] + 1] if touched else []

    def overlapping(self, mention: Mention, widest: int) -> list[int]:
        """Cells of the spans of up to `widest` units that overlap the mention."""
        touched = self.touched(mention)
        if not touched:
            return []
        return [
            first * widest + last - first
            for first in range(max(0, touched[0] - widest + 1), touched[-1] + 1)
            for last in range(max(first, touched[0]), min(first + widest, len(self.units)))
        ]


def without_repeats(document: Document) -> Document:
    return document.with_mentions({m.key: m for m in reversed(document.mentions)}.values())
