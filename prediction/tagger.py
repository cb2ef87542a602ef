"""A trained model and what it is asked for: the engine that `tag`, `annotate` and `--do_predict` share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError, UserError, nearest

CHUNK = 64
"""Documents whose windows are batched together."""


class Tagger:
    """Documents in, the same documents with predicted mentions out.

    Args:
        predictor: of the model.
        tasks: the passes over a text; default: as for a text of unknown origin.
        types: leave out mentions of other types; default: all are told.
        threshold: leave out mentions with a lower score (0..1).
    Raises:
        UserError: the tasks don't tell one of the types, or the threshold is none.
    """

    def __init__(
        self,
        predictor: MentionPredictor,
        tasks: list[Task] | None = None,
        types: Sequence[str] = (),
        threshold: float = 0.0,
    ):
        self.predictor, self.tasks = predictor, predictor.model.tasks_for() if tasks is None else tasks
        self.types, self.threshold = frozenset(types), threshold
        if not 0 <= threshold <= 1:
            raise UserError(f"the threshold is {threshold}; expected 0 to 1")
        for name in types:
            if name not in self.told:
                raise LabelError(f"this model doesn't tell the type {name!r} here{nearest(name, self.told)}")

    @cached_property
    def told(self) -> list[str]:
        """The types that the tasks can tell, in order."""
        return types_of(self.predictor.model.config.labels, self.tasks)

    def _kept(self, mentions: list[Mention]) -> list[Mention]:
        if self.types:
            mentions = [m for m in mentions if m.type in self.types]
        return [m for m in mentions if m.score >= self.threshold] if self.threshold else mentions

    def stream(self, documents: Iterable[Document], chunk: int = CHUNK, keep: bool = False) -> Iterator[list[Document]]:
        """Documents with predicted mentions instead of their own (or, with `keep`, beside them), in input order, `chunk` at a
        time.

        Memory holds two chunks, whatever the collection's size: the one being predicted and the one being read.
        """
        waiting: list[list[Document]] = []

        def parts() -> Iterator[list[Document]]:
            stream = iter(documents)
            while part := list(itertools.islice(stream, chunk)):
                waiting.append(part)
                yield part

        for found in self.predictor.stream(parts(), self.tasks):
            part, found = waiting.pop(0), map(self._kept, found)
            if keep:
                found = (_added(d.mentions, mentions) for d, mentions in zip(part, found, strict=True))
            yield [d.with_mentions(mentions) for d, mentions in zip(part, found, strict=True)]


def _added(own: Iterable[Mention], found: Iterable[Mention]) -> list[Mention]:
    """A document's mentions and those found that are none of them."""
    known = {mention.key for mention in own}
    return [*own, *(mention for mention in found if mention.key not in known)]


def types_of(labels, tasks: list[Task]) -> list[str]:
    """The types that tasks can tell, without repeats."""
    found = []
    for task in tasks:
        if not isinstance(task.types, str):
            found += task.types
            continue
        for corpus in labels.corpora if task.corpus is None else [task.corpus]:
            for native in labels.native_types(corpus):
                found.append(native if task.types == "native" else labels.shared(corpus, native) or native)
    return list(dict.fromkeys(found))


def tasks_of(model, corpus: str | None = None, mode: str | None = None) -> list[Task]:
    """The passes over a text that answer under a corpus's guideline, in a prediction mode of the family.

    Raises:
        LabelError: the model doesn't know the corpus or the mode.
    """
    if corpus is not None:
        model.config.labels.native_types(corpus)
    return model.tasks_for(corpus, mode)
