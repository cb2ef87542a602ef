"""Documents → windows → training features of the tagging family, with the report of what could not be represented."""

from __future__ import annotations

import logging
from collections import Counter

from torch.utils.data import Dataset

from .document import Document, Mention
from .label_space import LabelSpace
from .modeling_aioner import first_tokens, split_label
from .windowing import CoverageReport, Window, align, keep_flat, lost_by_windows

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
            out.setdefault((m.start, m.end, shared), Mention(m.start, m.end, shared, m.identifiers))
    return list(out.values())


def in_shared_types(document: Document, space: LabelSpace) -> Document:
    """The document as it is scored in merged evaluation: shared types only."""
    return document.with_mentions(shared_mentions(document, space))


class TaggingFeatures:
    """Builds tagging features and keeps count of what is lost.

    Args:
        model: gives `features`, `config` (tasks, id2label) and `tasks_for`.
        windower: cuts the texts.
        space: the run's label space.
    """

    def __init__(self, model, windower, space: LabelSpace):
        self.model = model
        self.windower = windower
        self.space = space
        self.coverage = CoverageReport()
        self.label_ids = {model.config.id2label[i]: i for i in range(model.config.num_labels)}

    def build(self, documents: list[Document], chunk: int = 256) -> FeatureDataset:
        """Features of all windows under all tasks of their corpus."""
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
                self._usable(document, windows)

    def report(self, others: list[list[Document]]) -> dict:
        """Counts further documents (of the evaluation splits), logs the report and returns it JSON-ready."""
        for documents in others:
            self.cover(documents)
        logger.info(self.coverage.summary())
        return self.coverage.to_dict()

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
