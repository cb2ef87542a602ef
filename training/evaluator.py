"""Whole documents → predictions → scores in characters, on all processes together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from accelerate import PartialState
from accelerate.utils import gather_object
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Shard
from mosaic_ner.modeling.label_space import LabelSpace

from .bundle import Bundle
from .features import in_shared_types
from .metrics import document_f1, error_split, nested_recall, score_mentions, seqeval_report
from .relaxed import Seen, relaxed_scores, unseen_scores


def shard_of(state: PartialState) -> Shard:
    """The part of the prediction that this process does."""
    return Shard(state.process_index, state.num_processes, gather_object if state.num_processes > 1 else None)


@dataclass
class Measured:
    """The report of `Evaluator.evaluate`, the documents with gold and with predicted mentions (in the types of its headline),
    and the F1 of each document."""

    report: dict
    gold: list[Document]
    predicted: list[Document]
    document_f1: list[float]

    def summary(self) -> str:
        """Overall figures in one line, in percent."""
        row, ignored = self.report["overall"], self.report["ignored"]
        figures = "  ".join(f"{k} {100 * row[n]:.2f}" for k, n in (("P", "precision"), ("R", "recall"), ("F1", "f1")))
        line = f"{figures}  ({row['support']} gold, {row['predicted']} predicted"
        if any(ignored.values()):
            line += (
                f"; ignored, of types that aren't annotated: {ignored['gold']} gold, {ignored['predicted']} predicted"
            )
        return line + ")"


class Evaluator:
    """Predicts whole documents, on all processes together, and scores them.

    Args:
        predictor: of the model being measured.
        space: the run's label space.
        mode: the family's prediction mode, if it has several.
        tag_level: whether mentions are read off token tags.
    """

    def __init__(
        self, predictor: MentionPredictor, space: LabelSpace, mode: str | None = None, tag_level: bool = False
    ):
        self.predictor = predictor
        self.space = space
        self.mode = mode
        self.tag_level = tag_level
        predictor.model.tasks_for(None, mode)  # an unknown mode fails here, not after the training

    def predict(self, documents: list[Document]) -> list[list[Mention]]:
        """Mentions of each document; every process returns all of them."""
        found: list[list[Mention]] = [[] for _ in documents]
        by_corpus = defaultdict(list)
        for number, document in enumerate(documents):
            by_corpus[document.corpus].append(number)
        for corpus, numbers in by_corpus.items():
            predicted = self._answers([documents[n] for n in numbers], self._tasks(corpus))
            for number, mentions in zip(numbers, predicted, strict=True):
                found[number] = mentions
        return found

    def _answers(self, documents: list[Document], tasks: list[Task]) -> list[list[Mention]]:
        """As the saved model will answer: without the autocast that accelerate wraps around `forward` for --bf16 and --fp16."""
        model = self.predictor.model
        wrapped = model.__dict__.get("forward") if "_original_forward" in model.__dict__ else None
        try:
            if wrapped is not None:
                model.forward = model._original_forward
            return self.predictor(documents, tasks)
        finally:
            if wrapped is not None:
                model.forward = wrapped

    def _tasks(self, corpus: str) -> list[Task]:
        """Those of the headline: a model that knows the corpus's own types is asked for them, unless a mode was chosen."""
        model = self.predictor.model
        native = self.mode is None and model.knows_native_types(corpus)
        return model.tasks_for(corpus, "native" if native else self.mode)

    def evaluate(self, documents: list[Document], full: bool = False, seen: Seen | None = None) -> Measured:
        """Scores documents of one corpus.

        The headline is the answer under the corpus's guideline, where the model knows it, over the shared types that each
        document annotates; gold and predicted mentions of others are left out and counted (`ignored`). A model that knows the
        corpus's own types is asked for them, and they are mapped as the gold mentions are. A corpus without any shared type is
        scored in its own types by a model that knows them.

        The full report has beside it (SRU-NER, section 3.5), each like the headline's `{"overall", "per_type"}`:

        - `disjoint`: the answer under the corpus's guideline, in the finest types that the family has for it: the corpus's
          own or else shared ones. None if the model wasn't trained on the corpus or has no such types for it.
        - `merged`: the answer to a text of unknown origin (`tasks_for(None)`: all types, or the guidelines of all training
          corpora united, or those that the model takes by default), in shared types; of these, the types that the document
          annotates. In a corpus without shared types its own names are compared, under which the types of other corpora
          may come, too. None if there is nothing to compare, because the model doesn't know these names.

        and, of the headline, `nested`, what `nested_recall` finds, unless there is nothing nested; `errors`: the `error_split`;
        `relaxed`: the `relaxed_scores` and, if it is known what training held, the `unseen_scores`.

        Args:
            documents: with their gold mentions under native types.
            full: add these and, of a tagger, seqeval's figures on the model's tokens; costs up to two more passes over the
                documents.
            seen: of the training documents.
        """
        corpus, model = documents[0].corpus, self.predictor.model
        knows_native = model.knows_native_types(corpus)
        types = self.space.shared_types_of(corpus)
        own_names = knows_native and not types
        if own_names:
            types = self.space.native_types(corpus)
        answers: dict[tuple, list[Document]] = {}  # tasks → the documents with what the model says, each asked for once

        def ask(tasks: list[Task]) -> list[Document]:
            if (key := tuple(tasks)) not in answers:
                found = self._answers(documents, tasks)
                answers[key] = [d.with_mentions(m) for d, m in zip(documents, found, strict=True)]
            return answers[key]

        annotated = self.space.annotated_types if own_names else self.space.annotated_shared_types
        scored = [set(annotated(d)) for d in documents]
        # A type without a counterpart keeps its name in a shared answer: it is annotated, and outside the scheme.
        outside = {t for t in self.space.native_types(corpus) if self.space.shared(corpus, t) is None} - set(types)
        types = [t for t in types if any(t in own for own in scored)]
        gold = documents if own_names else [in_shared_types(d, self.space) for d in documents]
        predicted = ask(self._tasks(corpus))
        if self.mode in (None, "native") and knows_native and not own_names:
            # The model may know native types that the run's files don't have.
            both = LabelSpace({corpus: model.config.labels.corpora[corpus] | self.space.corpora[corpus]})
            predicted = [in_shared_types(d, both) for d in predicted]
        predicted = [d.with_mentions(m for m in d.mentions if m.type not in outside) for d in predicted]
        report = _scores(gold, predicted, scored)
        if full:
            report |= self._disjoint_and_merged(documents, gold, scored, report, ask)
        (gold, _), (predicted, _) = _of_types(gold, scored), _of_types(predicted, scored)
        wanted, found = [d.mentions for d in gold], [d.mentions for d in predicted]
        if full:
            nested = nested_recall(wanted, found, types)
            report |= {"nested": nested} if nested else {}
            report["errors"] = error_split(wanted, found, types)
            unseen = unseen_scores(gold, predicted, types, seen) if seen else {}
            report["relaxed"] = relaxed_scores(wanted, found, types) | unseen
        report["documents"] = len(documents)
        if full and self.tag_level:
            report["seqeval"] = seqeval_report(documents, wanted, found, self.predictor.windower, types)
        return Measured(report, gold, predicted, document_f1(wanted, found, types))

    def _disjoint_and_merged(self, documents, gold, scored: list[set[str]], headline: dict, ask) -> dict:
        """See `evaluate`, whose gold mentions, types of each document and scores these are; `ask` gives the answer under some
        tasks."""
        corpus, model = documents[0].corpus, self.predictor.model
        disjoint = merged = None
        if model.knows_native_types(corpus):
            native = [set(self.space.annotated_types(d)) for d in documents]
            disjoint = _scores(documents, ask(model.tasks_for(corpus, "native")), native)
        elif any(scored) and model.knows(corpus):
            disjoint = dict(headline)  # this family's finest types are the shared ones
        if any(scored):
            # In the mode for native types a text of unknown origin would be answered in those of the default corpora.
            answer = ask(model.tasks_for(None, None if self.mode == "native" else self.mode))
            merged = _scores(gold, answer, scored)
        return {"disjoint": disjoint, "merged": merged}


def _scores(gold: list[Document], predicted: list[Document], scored: list[set[str]]) -> dict:
    """`score_mentions` over the types of each document, and how many mentions of others were `ignored` on either side."""
    (gold, unscored), (predicted, unasked) = _of_types(gold, scored), _of_types(predicted, scored)
    report = score_mentions([d.mentions for d in gold], [d.mentions for d in predicted], set().union(*scored))
    return report | {"ignored": {"gold": unscored, "predicted": unasked}}


def _of_types(documents: list[Document], scored: list[set[str]]) -> tuple[list[Document], int]:
    """The documents with their mentions of the types `scored` in each, and how many others there are."""
    kept = [d.with_mentions(m for m in d.mentions if m.type in own) for d, own in zip(documents, scored, strict=True)]
    count = [sum(len({m.key for m in d.mentions}) for d in part) for part in (documents, kept)]
    return kept, count[0] - count[1]


def evaluator_for(
    bundle: Bundle, space: LabelSpace, mode: str | None, batch_size: int, precision: str | None = None
) -> Evaluator:
    """Whole documents through the model of a `bundle.Bundle`, on all processes together.

    Args:
        bundle: model, tokenizer and features.
        space: the run's label space.
        mode: the family's prediction mode, if it has several.
        batch_size: windows per device.
        precision: of a model in training, see `MentionPredictor`.
    """
    predictor = MentionPredictor(bundle.model, bundle.tokenizer, batch_size, shard_of(PartialState()), precision)
    return Evaluator(predictor, space, mode, bundle.features.tag_level)
