"""Completed labels: teachers answer for the types that a training corpus leaves out, so that every document teaches every type.

The answers come under the bridge corpus's guideline. Gold mentions stay as they are, and evaluation documents are left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace, nearest

from .completion_options import DEFAULT_THRESHOLD, VALIDATION, CompletionOptions
from .teachers import learnt_from, train_teachers, warn_of_leaks

if TYPE_CHECKING:
    from mosaic_ner.data_builders.run_data import RunData

logger = logging.getLogger(__name__)

STEPS = tuple(step / 20 for step in range(2, 20))
"""The thresholds that are tried on validation documents."""


def complete_run(
    data: RunData, arguments, args, train: Callable[[str, dict], None]
) -> tuple[dict[str, list[Document]], dict | None]:
    """Completes a run's training documents, if it has teachers, and writes them to `completed/` of the output folder.

    Args:
        data: changed.
        arguments: the run's `Arguments`. args: what the Trainer is told.
        train: trains a recipe, some of whose options are given.
    Returns:
        Corpus → the documents that teach its outputs, and what results.json says of the completion.
    """
    from mosaic_ner.data_builders.formats import write_documents

    if not arguments.completion.complete_with:
        return data.train, None
    teachers = train_teachers(arguments, train)
    size, cache = args.per_device_eval_batch_size, arguments.data.cache_dir
    done = complete(data, arguments.completion, teachers, size, args.device, cache, arguments.data.types)
    if args.should_save:
        folder = Path(args.output_dir) / "completed"
        folder.mkdir(parents=True, exist_ok=True)
        for corpus, documents in data.train.items():
            write_documents(documents, folder / f"{corpus}.jsonl")
    taught = data.train
    if arguments.own.outputs_per_corpus:
        taught, done.under_bridge = under_bridge(data.train, data.space, done.bridge, done.corpora)
        if done.under_bridge:
            logger.info("%s", done.told_under_bridge())
    return taught, done.to_dict()


@dataclass
class Completed:
    """What completion did.

    Args:
        teachers: their names. learnt_from: their training corpora, as far as their results say.
        thresholds: per type. mask_from: as in --complete_mask_from.
        labels: per corpus and type what `complete_corpus` counts.
        bridge: the training corpus whose guideline the answers follow; None: no teacher knows one.
        under_bridge: corpus that teaches the bridge's outputs → type → its gold mentions that the bridge has no name for.
    """

    teachers: list[str]
    learnt_from: list[str]
    thresholds: dict[str, float]
    mask_from: float | None
    labels: dict[str, dict[str, dict[str, int]]]
    bridge: str | None = None
    under_bridge: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """JSON form."""
        return dict(vars(self))

    def summary(self) -> str:
        """A line per corpus."""
        rows = [f"completed labels, by {', '.join(self.teachers)}:"]
        for corpus, types in self.labels.items():
            told = ", ".join(
                f"{name} {n['added']}" + (f" (+{n['masked']} masked)" if n["masked"] else "")
                for name, n in types.items()
            )
            rows.append(f"  {corpus}: {told or 'nothing is missing'}")
        return "\n".join(rows)

    @property
    def corpora(self) -> list[str]:
        """Those that got a label."""
        return [corpus for corpus, types in self.labels.items() if any(n["added"] for n in types.values())]

    def told_under_bridge(self) -> str:
        """What the corpora that teach the bridge's outputs lose there."""
        lost = [f"{corpus} {name} {n}" for corpus, types in self.under_bridge.items() for name, n in types.items()]
        return (
            f"the outputs of {self.bridge} learn from {', '.join(self.under_bridge)}, too; "
            f"mentions of types that {self.bridge} has no name for: {', '.join(lost) or 'none'}"
        )


def complete(
    data: RunData,
    options: CompletionOptions,
    teachers: list[str],
    batch_size: int,
    device,
    cache_dir: str | None,
    only: list[str] | None = None,
) -> Completed:
    """Completes the training documents of a run; its `train` and `space` are replaced.

    A type becomes one of a corpus's types where the corpus doesn't annotate it and a teacher's answer was made a label at
    least once; elsewhere it stays unknown. Documents declare what they teach (`Document.annotated_types`).

    Args:
        data: the run's documents, those shared with evaluation being removed already.
        options: thresholds.
        teachers: folders or Hub ids of trained models of any family; their scores are averaged.
        batch_size: windows per batch. device: of torch.
        cache_dir: where answers are kept (without texts); default: that of datasets.
        only: the run's shared types, if it has some only.
    Raises:
        ArgumentError: nothing to complete, a type that nobody knows, thresholds to choose without validation documents.
    """
    parts = {("train", c): d for c, d in data.train.items()}
    if options.thresholds([]) is None:
        if not data.validation:
            raise ArgumentError("--complete_threshold validation needs validation documents, and this run has none")
        parts |= {(VALIDATION, c): d for c, d in data.validation.items()}
    answers, types, bridge = consult(teachers, data, parts, batch_size, device, cache_dir)
    known = list(dict.fromkeys([*data.space.shared_types, *types]))
    if unknown := [t for t in only or () if t not in known]:
        raise ArgumentError(
            f"--types: no corpus of the run and no teacher has type {unknown[0]!r}{nearest(unknown[0], known)}"
        )
    if not (wanted := [t for t in types if not only or t in only]):
        raise ArgumentError(
            f"--complete_with: the teachers answer for {', '.join(types)}, the run is of {', '.join(only)}"
        )
    types = wanted
    if (thresholds := options.thresholds(types)) is None:
        rows = [(d, answers[VALIDATION, c]) for c, d in data.validation.items()]
        thresholds = choose_thresholds(rows, data.space, types)
    corpora, labels = dict(data.space.corpora), {}
    for corpus, documents in data.train.items():
        names = added_names(data.space, corpus, types)
        made, counts = complete_corpus(
            documents, answers["train", corpus], data.space, names, thresholds, options.complete_mask_from
        )
        data.train[corpus], labels[corpus] = made, counts
        own = list(corpora[corpus])
        corpora[corpus] = corpora[corpus] | {names[t]: t for t, n in counts.items() if n["added"]}
        # What is measured declares the corpus's own types alone, whatever the corpus has now.
        for split in (data.validation, data.test):
            if corpus in split:
                split[corpus] = [_declaring(d, own) for d in split[corpus]]
    data.space = LabelSpace(corpora)
    names = [Path(t).name for t in teachers]
    done = Completed(names, learnt_from(teachers), thresholds, options.complete_mask_from, labels, bridge)
    logger.info("%s", done.summary())
    return done


def _declaring(document: Document, types: Iterable[str]) -> Document:
    known = document.annotated_types is not None
    return document if known else replace(document, annotated_types=frozenset(types))


def under_bridge(
    train: dict[str, list[Document]], space: LabelSpace, bridge: str | None, corpora: Iterable[str]
) -> tuple[dict[str, list[Document]], dict[str, dict[str, int]]]:
    """Completed corpora as documents of the bridge corpus, for a family in which each corpus has outputs of its own.

    Their answers follow the bridge's guideline; as documents of their own corpora they would teach its outputs nothing.

    Args:
        train: corpus → documents, completed.
        space: of them. bridge: whose guideline the answers follow; None: nothing is moved.
        corpora: those that got labels.
    Returns:
        Corpus → the documents that teach its outputs; and per corpus moved the gold mentions of each native type that can't be
        told there, because the bridge has no type, or several, with the same shared type.
    """
    if bridge is None:
        return train, {}
    shared = Counter(space.corpora[bridge].values())
    names = {kind: native for native, kind in space.corpora[bridge].items() if kind and shared[kind] == 1}
    made, lost = {}, {}

    def renamed(mentions: Iterable[Mention]) -> dict[tuple, Mention]:
        rows = [(m, names.get(space.shared(corpus, m.type) or "")) for m in mentions]
        return {(m.start, m.end, name): replace(m, type=name) for m, name in rows if name}

    for corpus, documents in train.items():
        if corpus == bridge or corpus not in corpora:
            made.setdefault(corpus, []).extend(documents)
            continue
        lost[corpus] = Counter()
        for document in documents:
            known = frozenset(names[t] for t in space.annotated_shared_types(document) if t in names)
            lost[corpus].update(m.type for m in document.mentions if space.shared(corpus, m.type) not in names)
            moved = replace(
                document, corpus=bridge, annotated_types=known, unclear=(*renamed(document.unclear).values(),)
            )
            made.setdefault(bridge, []).append(moved.with_mentions(renamed(document.mentions).values()))
    return made, {corpus: dict(sorted(count.items())) for corpus, count in lost.items()}


def added_names(space: LabelSpace, corpus: str, types: Iterable[str]) -> dict[str, str]:
    """Shared type → the native name that its completed mentions get in a corpus: that of the corpus's own type, or else the
    shared type's, unless the corpus means something else by that name.

    A shared type that several of the corpus's types are isn't completed: an answer doesn't say which of them it is.
    """
    own, names = space.corpora[corpus], {}
    for t in types:
        natives = [native for native, shared in own.items() if shared == t]
        if len(natives) < 2:
            names[t] = natives[0] if natives else t if t not in own else f"{t} (completed)"
    return names


# ---- the teachers' answers


def consult(
    teachers: list[str], data: RunData, parts: dict[tuple[str, str], list[Document]], batch_size: int, device, cache_dir
) -> tuple[dict[tuple[str, str], list[list[Mention]]], list[str], str | None]:
    """The teachers' answers, averaged, per part and document, the shared types that they answer for, and the bridge: the first
    training corpus under whose guideline a teacher was asked.

    Each teacher is asked under the guideline of the training corpus with the most types that it was trained on, or as for any
    text where there is none. Answers are kept in the cache by teacher, task and text.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from mosaic_ner.modeling.inference import MentionPredictor
    from mosaic_ner.prediction.folders import trained_folder
    from mosaic_ner.prediction.loading import load
    from mosaic_ner.prediction.resumable_output import fingerprint

    from .evaluator import shard_of

    state, cache = PartialState(), _cache(cache_dir)
    found: dict[tuple[str, str], list[list[list[Mention]]]] = defaultdict(list)
    answered: list[list[str]] = []  # per teacher: the types that it answers for
    spaces = sorted(data.train, key=lambda c: -len(data.space.shared_types_of(c)))
    bridges = []
    for name in teachers:
        folder = trained_folder(name, "--complete_with")
        model, tokenizer = load(str(folder))
        model.config.calibration = (
            None  # thresholds are of the scores that the figures in docs/completed_labels.md have
        )
        warn_of_leaks(name, folder, data)
        predictor = MentionPredictor(model.to(device), tokenizer, batch_size, shard_of(state))
        bridges.append(next((c for c in spaces if model.knows(c)), None))
        tasks = model.tasks_for(bridges[-1])
        answered.append(_answered(model, tasks))
        asked = f"{fingerprint(folder)} {[task.to_dict() for task in tasks]}"
        for part, documents in parts.items():
            texts = [(d.text, [(p.start, p.end) for p in d.passages]) for d in documents]
            path = cache / f"{hashlib.sha256(json.dumps([asked, texts]).encode()).hexdigest()[:32]}.json"
            rows = [json.loads(path.read_text(encoding="utf-8")) if state.is_main_process and path.exists() else None]
            rows = broadcast_object_list(rows)[0]  # computers may have a cache each
            if rows is not None:
                answers = [[Mention(s, e, kind, score=score) for s, e, kind, score in row] for row in rows]
            else:
                logger.info("%s answers for %d documents of %s", name, len(documents), part[1])
                answers = predictor(documents, tasks)
                if state.is_main_process:
                    rows = [[(m.start, m.end, m.type, m.score) for m in row] for row in answers]
                    fresh = path.with_suffix(f".{uuid.uuid4().hex}")  # another run may have the same teacher
                    fresh.write_text(json.dumps(rows), encoding="utf-8")
                    fresh.replace(path)
            found[part].append(answers)
    averaged = {
        part: [average(rows, answered) for rows in zip(*answers, strict=True)] for part, answers in found.items()
    }
    bridge = next((c for c in spaces if c in bridges), None)
    return averaged, list(dict.fromkeys(t for types in answered for t in types)), bridge


def _cache(cache_dir: str | None) -> Path:
    from datasets import config

    folder = Path(cache_dir or config.HF_DATASETS_CACHE) / "completion"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _answered(model, tasks) -> list[str]:
    """The shared types that tasks answer for."""
    space: LabelSpace = model.config.labels
    named = [
        task.types
        if isinstance(task.types, tuple)
        else (space.shared_types_of(task.corpus) if task.corpus else space.shared_types)
        for task in tasks
    ]
    return list(dict.fromkeys(t for types in named for t in types))


def average(answers: Iterable[list[Mention]], answered: list[list[str]]) -> list[Mention]:
    """One document's answers of several teachers: every mention with the mean score of those that answer for its type.

    Args:
        answers: per teacher; a mention that it doesn't have counts as 0.
        answered: per teacher, the types that it answers for; what it can't tell doesn't count against the others.
    """
    total: Counter = Counter()
    for row in answers:
        for mention in row:
            total[mention.key] += mention.score or 0.0
    # A type without a shared one keeps its name; nobody is asked for it.
    asked = Counter(t for types in answered for t in types)
    return [Mention(*key, score=score / asked[key[2]]) for key, score in sorted(total.items()) if key[2] in asked]


def choose_thresholds(
    validation: list[tuple[list[Document], list[list[Mention]]]], space: LabelSpace, types: Iterable[str]
) -> dict[str, float]:
    """Per type the threshold with the best exact-match F1 on documents that declare it, the highest of equals.

    Args:
        validation: documents with native gold mentions, and the teachers' answers. A type that none declares gets the default.
    """
    chosen = {}
    for kind in types:
        counts = {step: [0, 0] for step in STEPS}
        gold_count = 0
        for documents, answers in validation:
            for document, answer in zip(documents, answers, strict=True):
                if kind not in space.annotated_shared_types(document):
                    continue
                gold = {(m.start, m.end) for m in document.mentions if space.shared(document.corpus, m.type) == kind}
                gold_count += len(gold)
                for mention in answer:
                    if mention.type == kind:
                        for step in STEPS:
                            if mention.score >= step:
                                counts[step][0] += 1
                                counts[step][1] += (mention.start, mention.end) in gold
        f1 = {step: 2 * right / max(1, said + gold_count) for step, (said, right) in counts.items()}
        chosen[kind] = max(STEPS, key=lambda step: (f1[step], step)) if gold_count else DEFAULT_THRESHOLD
    return chosen


# ---- answers → labels


def complete_corpus(
    documents: list[Document],
    answers: list[list[Mention]],
    space: LabelSpace,
    names: dict[str, str],
    thresholds: dict[str, float],
    mask_from: float | None,
) -> tuple[list[Document], dict[str, dict[str, int]]]:
    """A corpus's documents with labels of the types that they leave out.

    Args:
        documents: with gold mentions of native types.
        answers: per document the teachers' answers in shared types, with scores.
        space: of the run, before completion.
        names: shared type → the native name of its completed mentions.
        thresholds: shared type → least score of a label.
        mask_from: least score of an answer that is left out of the loss; None: none is.
    Returns:
        The documents, and per completed type how many documents left it out, and of these the labels added, the answers
        masked, and those dropped because they overlap a gold mention (`documents`, `added`, `masked`, `beside_gold`).
    """
    made, counts = [], {t: Counter() for t in names}
    for document, answer in zip(documents, answers, strict=True):
        missing = [t for t in names if t not in space.annotated_shared_types(document)]
        gold = [m for m in document.mentions if space.shared(document.corpus, m.type) is not None]
        labels, unclear = [], []
        for mention in sorted(answer, key=lambda m: (-m.score, m.start - m.end, m.key)):
            sure = mention.score >= thresholds.get(mention.type, 1.0)
            if mention.type not in missing or not (sure or (mask_from is not None and mention.score >= mask_from)):
                continue
            if any(_overlap(mention, other) for other in gold):
                counts[mention.type]["beside_gold"] += sure
            elif not any(_overlap(mention, other) for other in labels):
                (labels if sure else unclear).append(mention)
        for name in missing:
            counts[name]["documents"] += 1
        for mention in labels:
            counts[mention.type]["added"] += 1
        for mention in unclear:
            counts[mention.type]["masked"] += 1
        made.append((document, missing, labels, unclear))
    learnt = {t for t, count in counts.items() if count["added"]}
    order = ("documents", "added", "masked", "beside_gold")
    told = {t: {key: counts[t][key] for key in order} for t in names if counts[t]["documents"]}
    return [_labelled(space, names, learnt, *row) for row in made], told


def _overlap(a: Mention, b: Mention) -> bool:
    return a.start < b.end and b.start < a.end


def _labelled(
    space: LabelSpace,
    names: dict[str, str],
    learnt: set[str],
    document: Document,
    missing: list[str],
    labels: list[Mention],
    unclear: list[Mention],
) -> Document:
    new = [t for t in missing if t in learnt]
    if not new:
        return document
    own = frozenset(space.annotated_types(document))
    named = [replace(m, type=names[m.type]) for m in labels]
    masked = [replace(m, type=names[m.type]) for m in unclear if m.type in learnt]
    return replace(
        document.with_mentions([*document.mentions, *named]),
        annotated_types=own | {names[t] for t in new},
        unclear=(*document.unclear, *masked),
    )
