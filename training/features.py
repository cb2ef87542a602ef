"""Documents → windows → training features, with the report of what could not be represented."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_aioner import first_tokens, split_label
from mosaic_ner.modeling.modeling_joint_ib import END, UNKNOWN, words_of
from mosaic_ner.modeling.transitions import encode, reduction, transition, without_crossing, without_crowding
from mosaic_ner.modeling.units import find_units
from mosaic_ner.modeling.windowing import CoverageReport, Span, Window, align, keep_flat, lost_by_windows
from torch.utils.data import Dataset

logger = logging.getLogger(__name__)

IGNORE = -100


class FeatureDataset(Dataset):
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

    def __init__(self, model, windower, space: LabelSpace):
        self.model = model
        self.windower = windower
        self.space = space
        self.coverage = CoverageReport()

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        """(group of the mixture, feature) of each training example, what is lost being counted."""
        raise NotImplementedError

    def _count(self, document: Document, windows: list[Window]) -> None:
        """Only counts what is lost."""
        raise NotImplementedError

    def build(self, documents: list[Document], chunk: int = 256) -> FeatureDataset:
        """Features of all windows, under all tasks of their corpus."""
        features, groups = [], []
        for begin in range(0, len(documents), chunk):
            part = documents[begin : begin + chunk]
            for document, windows in zip(part, self.windower([d.text for d in part]), strict=True):
                for task, feature in self._document(document, windows):
                    features.append(feature)
                    groups.append(task)
        return FeatureDataset(features, groups)

    def cover(self, documents: list[Document], chunk: int = 256) -> None:
        """Only counts what is representable, e.g. of evaluation documents."""
        for begin in range(0, len(documents), chunk):
            part = documents[begin : begin + chunk]
            for document, windows in zip(part, self.windower([d.text for d in part]), strict=True):
                self._count(document, windows)

    def report(self, others: list[list[Document]]) -> dict:
        """Counts further documents (of the evaluation splits), logs the report and returns it JSON-ready."""
        for documents in others:
            self.cover(documents)
        logger.info(self.coverage.summary())
        return self.coverage.to_dict()


class TaggingFeatures(Features):
    """A label per token, for each task of the document's corpus; `config` has tasks and id2label."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.label_ids = {model.config.id2label[i]: i for i in range(model.config.num_labels)}

    def _count(self, document: Document, windows: list[Window]) -> None:
        self._usable(document, windows)

    def _usable(self, document: Document, windows: list[Window]) -> tuple[dict[str, list[Mention]], list[Mention]]:
        """Task → the mentions it tags, and those that are lost, which are counted by cause."""
        mentions = shared_mentions(document, self.space)
        self.coverage.unmapped[document.corpus] += len({m.key for m in document.mentions}) - len(mentions)
        shared = document.with_mentions(mentions)
        lost: dict[Mention, str] = lost_by_windows(shared, windows)
        if self.model.config.label_first_token_only:
            lost |= _inside_words([m for m in mentions if m not in lost], windows)
        tasks = {t["name"]: set(t["types"]) for t in self.model.config.tasks}
        usable, nested = {}, []
        for name in self.model.tasks_for(document.corpus):
            own = [m for m in mentions if m.type in tasks[name] and m not in lost]
            usable[name], dropped = keep_flat(own)
            nested += dropped
        self.coverage.add(document.corpus, len(mentions), Counter([*lost.values(), *("nested" for _ in nested)]))
        return usable, [*lost, *nested]

    def _document(self, document: Document, windows: list[Window]):
        usable, lost = self._usable(document, windows)
        for window in windows:
            for task, mentions in usable.items():
                feature = self.model.features(window, task)
                feature["labels"] = self._labels(window, task, mentions, lost, feature["chain_mask"])
                yield task, feature

    def _labels(self, window: Window, task: str, mentions: list[Mention], lost: list[Mention], chain: list[int]):
        config = self.model.config
        own = config.tasks[config.task_index(task)]
        names = [config.id2label[i] for i in own["labels"]]
        ids = {split_label(n) if n[0] in "BI" else "O": self.label_ids[n] for n in names}
        tags = [ids["O"]] * len(window.input_ids)
        # A mention that this window sees in part, or whose borders fall inside tokens, is neither an entity nor outside
        # here, nor is what a mention that lost to a longer one has beyond it: these tokens are left out of the loss rather
        # than taught as negatives.
        for mention in [*mentions, *(m for m in lost if m.type in own["types"])]:
            _fill(tags, window, mention, IGNORE)
        for span, mention in align(window, mentions):
            tags[span.start : span.end] = [ids["I", mention.type]] * (span.end - span.start)
            tags[span.start] = ids["B", mention.type]
        before = len(own["prefix_ids"])
        labels = [IGNORE] * before + tags + [IGNORE] * (len(chain) - before - len(tags))
        return [label if inside else IGNORE for label, inside in zip(labels, chain, strict=True)]


class UnitFeatures(Features):
    """Features of a family whose mentions are made of units and have the corpus's own types."""

    def _count(self, document: Document, windows: list[Window]) -> None:
        self._lost(_without_repeats(document), windows)

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        """Which mentions of a window the model can't express, and why.

        Args:
            found: (first unit, one past the last unit, mention).
        """
        raise NotImplementedError

    def _lost(self, document: Document, windows: list[Window]) -> dict[Mention, str]:
        """The mentions that the window that owns them can't express, with the cause; they are counted.

        Raises:
            LabelError: a type the mapping doesn't know.
        """
        config = self.model.config
        for name in {m.type for m in document.mentions}:
            self.space.shared(document.corpus, name)
        lost: dict[Mention, str] = lost_by_windows(document, windows)
        for window in windows:
            own = [m for m in document.mentions if m not in lost and window.owns(m)]
            if own:
                found = _Grid(window, config.boundaries).place(align(window, own))
                inside = {m for _, _, m in found}
                lost |= {m: "unit_boundary" for m in own if m not in inside} | self._limits(found)
        nested = keep_flat([m for m in document.mentions if m not in lost])[1] if config.flat else []
        self.coverage.add(
            document.corpus, len(document.mentions), Counter([*lost.values(), *("nested" for _ in nested)])
        )
        return lost


class SpanFeatures(UnitFeatures):
    """Gold cells of the span grid, under the corpus's own types; every other span of the grid is the corpus's negative."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.numbers = {label: number for number, label in enumerate(model.config.labels.labels)}

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        wide = {m: "too_wide" for first, end, m in found if end - first > self.model.config.max_span_width}
        types: dict[tuple[int, int], str] = {}
        rest = [m for _, _, m in found if m not in wide]
        return wide | {m: "second_type" for m in rest if types.setdefault((m.start, m.end), m.type) != m.type}

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        document = _without_repeats(document)
        lost = self._lost(document, windows)
        usable = [m for m in document.mentions if m not in lost]
        # Spans beside a border that can't be had are neither mentions nor negatives; those inside a mention that is only
        # too wide are negatives indeed.
        unclear = [m for m, cause in lost.items() if cause not in ("too_wide", "second_type")]
        for window in windows:
            feature = self.model.features(window, document.corpus)
            feature |= self._cells(document.corpus, window, usable, unclear)
            yield document.corpus, feature

    def _cells(
        self, corpus: str, window: Window, usable: list[Mention], unclear: list[Mention]
    ) -> dict[str, list[int]]:
        grid, widest = _Grid(window, self.model.config.boundaries), self.model.config.max_span_width
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


class BottleneckFeatures(SpanFeatures):
    """Gold cells with all their types, and the words that decoders are to generate from them."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.numbers = {kind: number for number, kind in enumerate(model.config.types)}
        self.words = {word: UNKNOWN + 1 + number for number, word in enumerate(model.config.vocabulary)}
        self.synonyms: dict[str, tuple[str, ...]] = {}

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        return {m: "too_wide" for first, end, m in found if end - first > self.model.config.max_span_width}

    def _more(self, window: Window, gold: list[tuple[int, Mention]]) -> dict[str, list]:
        if not self.words:
            return {}
        texts = {cell: window.text[m.start : m.end] for cell, m in gold}
        others = [(cell, name) for cell, text in texts.items() for name in self.synonyms.get(normalise_name(text), ())]
        return {
            "span_cells": list(texts),
            "span_words": [self._spelt(text) for text in texts.values()],
            "synonym_cells": [cell for cell, _ in others],
            "synonym_words": [self._spelt(name) for _, name in others],
        }

    def _spelt(self, text: str) -> list[int]:
        return [*(self.words.get(word, UNKNOWN) for word in words_of(text)), END]


class ActionFeatures(UnitFeatures):
    """Gold actions of the transition system, under the corpus's own types; every other action is the corpus's negative."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.numbers = {kind: number for number, kind in enumerate(model.config.types)}

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        mentions = {(first, end, m.type): m for first, end, m in found}
        kept, crossing = without_crossing(list(mentions))
        _, crowded = without_crowding(kept, self.model.config.max_actions)
        return {mentions[key]: "crossing" for key in crossing} | {mentions[key]: "crowded" for key in crowded}

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        document = _without_repeats(document)
        lost = self._lost(document, windows)
        usable = [m for m in document.mentions if m not in lost]
        for window in windows:
            feature = self.model.features(window, document.corpus)
            yield document.corpus, feature | self._actions(document.corpus, window, usable, list(lost))

    def _actions(self, corpus: str, window: Window, usable: list[Mention], lost: list[Mention]) -> dict[str, list[int]]:
        grid = _Grid(window, self.model.config.boundaries)
        found = {(s, e, self.numbers[corpus, m.type]): m for s, e, m in grid.place(align(window, usable))}
        gold, _ = without_crossing(list(found))
        steps = list(enumerate(encode(gold, len(grid.units))))
        # Where a mention is that this window sees in part, or that can't be written, actions of its type are neither right
        # nor wrong.
        written = {found[mention] for mention in gold}
        unclear = [
            (place, act(self.numbers[corpus, m.type]))
            for m in dict.fromkeys([*lost, *(m for m in usable if m not in written)])
            for place in grid.places(m)
            for act in (transition, reduction)
        ]
        return {
            "gold_steps": [number for number, step in steps for _ in step],
            "gold_actions": [action for _, step in steps for action in step],
            "unclear_places": [place for place, _ in unclear],
            "unclear_actions": [action for _, action in unclear],
        }


class _Grid:
    """Where token spans lie among a window's units."""

    def __init__(self, window: Window, boundaries: str):
        self.window = window
        self.units = find_units(window, boundaries)
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


def _without_repeats(document: Document) -> Document:
    return document.with_mentions({m.key: m for m in reversed(document.mentions)}.values())


def _inside_words(mentions: list[Mention], windows: list[Window]) -> dict[Mention, str]:
    """The mentions that tags on first tokens can't express, since they start or end inside a white-space word."""
    lost = {}
    for window in windows:
        first = [*first_tokens(window), 1]
        for span, mention in align(window, [m for m in mentions if window.owns(m)]):
            if not (first[span.start] and first[span.end]):
                lost[mention] = "token_boundary"
    return lost


def _fill(tags: list[int], window: Window, mention: Mention, value: int) -> None:
    if mention.end <= window.char_start or mention.start >= window.char_end:
        return
    for position, (start, end) in enumerate(window.offsets):
        if start < mention.end and mention.start < end:
            tags[position] = value
