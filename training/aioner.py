"""AIONER: task-tagged sequence labelling (Luo et al. 2023): options, tasks and labels, training features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import Options as BaseOptions
from mosaic_ner.data_builders.options import option
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelError, LabelSpace, nearest, split_label
from mosaic_ner.modeling.units import first_tokens
from mosaic_ner.modeling.windowing import Window, align, keep_flat, lost_by_windows

from .families import LONGEST, Facts, names
from .features import IGNORE, Grid, of_whole_types, shared_mentions
from .features import Features as BaseFeatures

if TYPE_CHECKING:
    from mosaic_ner.modeling.configuration_ner import Task

    from .arguments import ModelOptions
    from .bundle import Bundle, TrainingData

ALL = "ALL"
SCHEMES = ("aio", "mtl", "naive")

FACTS = Facts(
    "task tags around the text tell a single tagger which guideline to follow",
    LONGEST,
    """@article{luo2023aioner,
  title = {{AIONER}: all-in-one scheme-based biomedical named entity recognition using deep learning},
  author = {Luo, Ling and Wei, Chih-Hsuan and Lai, Po-Ting and Leaman, Robert and Chen, Qingyu and Lu, Zhiyong},
  journal = {Bioinformatics},
  year = {2023},
  doi = {10.1093/bioinformatics/btad310}
}""",
)


@dataclass
class Options(BaseOptions):
    """AIONER, a tagger with task tags."""

    scheme: str = option("aio", "how corpora are combined: aio (task tags), mtl or naive", choices=SCHEMES)
    bridge: list[str] | None = option(
        None, "corpora of the ALL task, which answers for any text; default: those that annotate every type"
    )
    classifier: str = option("crf", "what chooses the tags: crf or softmax", choices=("crf", "softmax"))
    hidden_size: int = option(0, "units of the ReLU layer before the labels; 0: no such layer", least=0)
    restrict_labels: bool = option(False, "keep other tasks' labels out of the loss and the decoding")
    label_first_token_only: bool = option(False, "tag only the first token of each word")
    scores: str = option(
        "marginal", "confidence of a mention: marginal or emission", choices=("marginal", "emission"), fixed=True
    )
    token_masking: float = option(
        0.0, "share of the training tokens hidden behind the mask token (regularisation)", least=0, below=1
    )

    @property
    def outputs_per_corpus(self) -> bool:
        """See families.py."""
        return self.scheme == "mtl"


@dataclass(frozen=True)
class TagTask:
    """One thing the tagger can be asked for: `types` are shared types, `tagged` whether task tags surround its windows."""

    name: str
    types: tuple[str, ...]
    labels: tuple[str, ...]
    tagged: bool


@dataclass(frozen=True)
class Scheme:
    """Tasks and labels of a tagger.

    `labels` are numbered in order; `corpus_tasks[corpus]` are the tasks a corpus is answered by, and trains with
    documents that declare all of their types;
    `default_tasks` answer for any other text; `restrict_labels` as in `AIONERConfig`.
    """

    name: str
    tasks: tuple[TagTask, ...]
    labels: tuple[str, ...]
    corpus_tasks: dict[str, list[str]]
    default_tasks: list[str]
    restrict_labels: bool = False
    modes: dict[str, list[str]] = field(default_factory=dict)

    def task(self, name: str) -> TagTask:
        """The task of that name."""
        return next(t for t in self.tasks if t.name == name)


def build_scheme(
    name: str,
    space: LabelSpace,
    bridge: list[str] | None = None,
    declared: dict[str, set[frozenset[str]]] | None = None,
) -> Scheme:
    """The tasks for a set of corpora.

    Args:
        name: "aio" (section 2.2: a task per shared type and one, ALL, for the corpora that annotate every type; a corpus
            with several types but not all has a copy per type), "naive" (one task, unknown taken for negative: Table 2,
            w/o AIONER) or "mtl" (a task with labels of its own per corpus, no tags: section 3.1).
        space: the run's corpora and their types; corpora without any shared type are left out.
        bridge: the corpora of the ALL task, which looks for their types; by default those that annotate every shared type.
            Types beyond the bridge's (AIONER-Merged, section 3.4) have tasks of their own.
        declared: corpus → the sets of shared types that its training documents annotate; of corpora that it lacks, all of
            their types. Documents of fewer types than their corpus's task are taught by the tasks of their single types, as a
            corpus of fewer types is; under "mtl" by the task of their corpus without the labels of the others.

    Raises:
        LabelError: an unknown scheme or bridge corpus, bridge corpora with different types or without a document that annotates
            them all, nothing to tag, documents that "naive" would teach what they don't declare.
    """
    if name not in SCHEMES:
        raise LabelError(f"unknown scheme {name!r}{nearest(name, SCHEMES)}")
    sets = {c: (declared or {}).get(c) or {frozenset(space.shared_types_of(c))} for c in space.corpora}
    taught = {c: [t for t in space.shared_types_of(c) if any(t in own for own in sets[c])] for c in space.corpora}
    corpora = [c for c in space.corpora if taught[c]]
    for corpus in bridge or []:
        if corpus not in corpora:
            raise LabelError(f"bridge corpus {corpus!r} is not in the run{nearest(corpus, corpora)}")
    everything = tuple(t for t in space.shared_types if any(t in own for own in taught.values()))
    if not everything:
        raise LabelError("no corpus of the run has a type with a shared counterpart, so there is nothing to tag")
    for t in everything:
        if (name == "aio" and (t == ALL or ":" in t)) or "@" in t:
            raise LabelError(
                f"AIONER can't have a type {t!r}: {ALL} is a task's name, and : and @ are marks in its tags; share it "
                "under another name with --extra_mapping"
            )
    if name == "naive":
        for corpus in corpora:
            if part := min(sets[corpus] - {frozenset(taught[corpus])}, key=sorted, default=None):
                raise LabelError(
                    f"--scheme naive takes for negative whatever isn't annotated, but {corpus} has documents that declare "
                    f"{', '.join(sorted(part))} only, of {', '.join(taught[corpus])}; take --scheme aio or mtl"
                )
        task = _task(ALL, everything, tagged=False)
        return Scheme(name, (task,), task.labels, {c: [ALL] for c in corpora}, [ALL])
    if name == "mtl":
        tasks = tuple(_task(c, tuple(taught[c]), tagged=False, suffix=f"@{c}") for c in corpora)
        labels = tuple(label for task in tasks for label in task.labels)
        full = [c for c in corpora if c in (bridge or []) or set(taught[c]) == set(everything)]
        return Scheme(name, tasks, labels, {c: [c] for c in corpora}, full[:1] or list(corpora), restrict_labels=True)
    if bridge is None:
        bridge = [c for c in corpora if frozenset(everything) in sets[c]]
    joint = _joint_types({c: taught[c] for c in bridge}, sets)
    tasks = [_task(ALL, joint)] if len(joint) > 1 else []
    corpus_tasks = {c: [ALL] if c in bridge and tasks else taught[c] for c in corpora}
    parts = {t for c in bridge for own in sets[c] if own != set(joint) for t in own}
    wanted = parts.union(*corpus_tasks.values())
    tasks += [_task(t, (t,)) for t in everything if t in wanted]
    spans = [f"{kind}-{t}" for t in everything for kind in "BI"]
    labels = tuple(spans + [f"O-{task.name}" for task in tasks])
    singles = [t.name for t in tasks if t.name != ALL]
    default = [ALL, *(t for t in singles if t not in joint)] if len(joint) > 1 else singles
    modes = {"aio": default, "ind": singles or default, "combined": list(dict.fromkeys([*default, *singles]))}
    return Scheme(name, tuple(tasks), labels, corpus_tasks, default, modes=modes)


def _joint_types(bridge: dict[str, list[str]], sets: dict[str, set[frozenset[str]]]) -> tuple[str, ...]:
    """The types of the ALL task: those that every bridge corpus annotates, for under ALL all of them are exhaustive."""
    if not bridge:
        return ()
    first, types = next(iter(bridge.items()))
    for corpus, own in bridge.items():
        if set(own) != set(types):
            raise LabelError(
                f"bridge corpora {first!r} ({', '.join(types)}) and {corpus!r} ({', '.join(own)}) annotate different types, so "
                "under one ALL task some would be taught as negative; name corpora with the same types, or restrict the run "
                "with --types"
            )
        if frozenset(own) not in sets[corpus]:
            raise LabelError(
                f"no training document of the bridge corpus {corpus!r} annotates all of its types ({', '.join(own)}), so "
                "nothing would teach the ALL task; leave it out of --bridge, or restrict the run with --types"
            )
    return tuple(types)


def _task(name: str, types: tuple[str, ...], tagged: bool = True, suffix: str = "") -> TagTask:
    labels = [f"{kind}-{t}{suffix}" for t in types for kind in "BI"]
    return TagTask(name, types, (*labels, f"O-{name}"), tagged)


class Features(BaseFeatures):
    """A label per token, for each task of the document's corpus; `config` has tasks and id2label."""

    tag_level = True

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.label_ids = {model.config.id2label[i]: i for i in range(model.config.num_labels)}

    def taught(self, document: Document) -> set[str]:
        return of_whole_types(document, self.space)

    def _tasks(self, document: Document) -> list[Task]:
        """The tasks that teach a document: those of its corpus; instead of one with types that the document doesn't annotate,
        the tasks of its single types, or that task without the others' labels where each corpus has labels of its own."""
        config, tasks = self.model.config, []
        tagged = {task: len(task.prefix_ids) > len(config.cls_ids) for task in config.tasks}
        known = self.space.annotated_shared_types(document)
        for task in self.model.tasks_for(document.corpus):
            types = tuple(t for t in task.types if t in known)
            if types == task.types:
                tasks.append(task)
            elif tagged[task]:
                tasks += [single for single in config.tasks if tagged[single] and single.types in {(t,) for t in types}]
            elif types:
                names = {i: config.id2label[i] for i in task.labels}
                labels = (i for i, n in names.items() if n[0] not in "BI" or split_label(n)[1] in types)
                tasks.append(replace(task, types=types, labels=tuple(labels)))
        return tasks

    def _count(self, document: Document, windows: list[Window]) -> None:
        self._usable(document, windows, self.model.tasks_for(document.corpus))

    def _usable(
        self, document: Document, windows: list[Window], tasks: list[Task]
    ) -> tuple[dict[Task, list[Mention]], list[Mention]]:
        """Task → the mentions it tags, and those that are lost, which are counted by cause."""
        mentions = shared_mentions(document, self.space)
        self.coverage.unmapped[document.corpus] += len({m.key for m in document.mentions}) - len(mentions)
        shared = document.with_mentions(mentions)
        lost: dict[Mention, str] = lost_by_windows(shared, windows)
        if self.model.config.label_first_token_only:
            lost |= _inside_words([m for m in mentions if m not in lost], windows)
        lost |= _inside_units([m for m in mentions if m not in lost], windows)
        usable, nested = {}, []
        for task in tasks:
            own = [m for m in mentions if m.type in task.types and m not in lost]
            usable[task], dropped = keep_flat(own)
            nested += dropped
        self.coverage.add(document.corpus, len(mentions), Counter([*lost.values(), *("nested" for _ in nested)]))
        return usable, [*lost, *nested]

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        usable, lost = self._usable(document, windows, self._tasks(document))
        lost += shared_mentions(document.with_mentions(document.unclear), self.space)
        for window in windows:
            for task, mentions in usable.items():
                feature = self.model.features(window, task)
                feature["labels"] = self._labels(window, task, mentions, lost, feature["chain_mask"])
                if self.model.config.restrict_labels:
                    feature["type_mask"] = [int(label in task.labels) for label in range(self.model.config.num_labels)]
                yield task.name if len(self.model.config.tasks) > 1 else document.corpus, feature

    def _labels(self, window: Window, task: Task, mentions: list[Mention], lost: list[Mention], chain: list[int]):
        names = [self.model.config.id2label[i] for i in task.labels]
        ids = {split_label(n) if n[0] in "BI" else "O": self.label_ids[n] for n in names}
        tags = [ids["O"]] * len(window.input_ids)
        # A mention that this window sees in part, or whose borders fall inside tokens, is neither an entity nor outside
        # here, nor is what a mention that lost to a longer one has beyond it, nor a mention that may or may not be there:
        # these tokens are left out of the loss rather than taught as negatives.
        for mention in [*mentions, *(m for m in lost if m.type in task.types)]:
            _fill(tags, window, mention, IGNORE)
        for span, mention in align(window, mentions):
            tags[span.start : span.end] = [ids["I", mention.type]] * (span.end - span.start)
            tags[span.start] = ids["B", mention.type]
        before = len(task.prefix_ids)
        labels = [IGNORE] * before + tags + [IGNORE] * (len(chain) - before - len(tags))
        return [label if inside else IGNORE for label, inside in zip(labels, chain, strict=True)]


def _inside_words(mentions: list[Mention], windows: list[Window]) -> dict[Mention, str]:
    """The mentions that tags on first tokens can't express, since they start or end inside a white-space word."""
    lost = {}
    for window in windows:
        first = [*first_tokens(window.offsets, window.passages), 1]
        for span, mention in align(window, [m for m in mentions if window.owns(m)]):
            if not (first[span.start] and first[span.end]):
                lost[mention] = "token_boundary"
    return lost


def _inside_units(mentions: list[Mention], windows: list[Window]) -> dict[Mention, str]:
    """The mentions that start or end inside a unit, which the model never answers."""
    lost = {}
    for window in windows:
        found = align(window, [m for m in mentions if window.owns(m)])
        kept = {mention for _, _, mention in Grid(window, "pretoken").place(found)}
        lost |= {mention: "unit_boundary" for _, mention in found if mention not in kept}
    return lost


def _fill(tags: list[int], window: Window, mention: Mention, value: int) -> None:
    if mention.end <= window.char_start or mention.start >= window.char_end:
        return
    for position, (start, end) in enumerate(window.offsets):
        if start < mention.end and mention.start < end:
            tags[position] = value


def build(model: ModelOptions, own: Options, data: TrainingData) -> Bundle:
    """The tagger, its tokenizer with the task tags, and its features.

    Raises:
        ModelError: `hidden_size` isn't that of the trained model whose encoder is taken.
        LabelError: a corpus to be trained on has no shared type; it would have no task of its own, and as a text of the default
            tasks it would teach that what it doesn't annotate isn't there.
    """
    from mosaic_ner.modeling.configuration_aioner import AIONERConfig
    from mosaic_ner.modeling.configuration_ner import Task, numbered
    from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
    from mosaic_ner.prediction.model_classes import ModelError

    from .bundle import add_tags, assemble, common, encoder_parts

    declared = {
        corpus: {frozenset(data.space.annotated_shared_types(d)) for d in part} - {frozenset()}
        for corpus, part in data.train.items()
    }
    for corpus, part in data.train.items():
        if part and not declared[corpus] and data.space.shared_types_of(corpus):
            raise LabelError(
                f"{corpus} can't train a tagger, which learns shared types: none of its documents declares a type of the run, "
                "or all of the corpus's types that are one shared type; see annotated_types in its files, and --types"
            )
        if not data.space.shared_types_of(corpus):
            raise LabelError(
                f"{corpus} can't train a tagger, which learns shared types: none of the corpus's own "
                f"({', '.join(data.space.native_types(corpus)) or 'none'}) has one in this run, so all of its text would be "
                "taught as negative. Take another --mapping (e.g. sruner), for your own files an --extra_mapping; if there are "
                "--types, name some of this corpus; or take a --family that learns each corpus's own types "
                f"({', '.join(name for name in names() if name != model.family)}). To measure it only, name it in "
                "--test_corpora instead of --corpora"
            )
    space = data.space.restricted_to(data.corpora)  # what is only measured decides nothing
    scheme = build_scheme(own.scheme, space, own.bridge, declared)
    parts = encoder_parts(model, data)
    ids = add_tags(
        parts, [tag for task in scheme.tasks if task.tagged for tag in (f"<{task.name}>", f"</{task.name}>")]
    )
    numbers = {label: i for i, label in enumerate(scheme.labels)}
    tasks = [
        Task(
            task.name,
            (*parts.cls_ids, *([ids[f"<{task.name}>"]] if task.tagged else [])),
            (*([ids[f"</{task.name}>"]] if task.tagged else []), *parts.sep_ids),
            types=task.types,
            labels=tuple(numbers[label] for label in task.labels),
        )
        for task in scheme.tasks
    ]
    config = AIONERConfig(
        tasks=tasks,
        corpus_tasks=scheme.corpus_tasks,
        trained_corpora=data.corpora,
        default_tasks=scheme.default_tasks,
        modes=scheme.modes,
        **own.values_for(AIONERConfig) | {"restrict_labels": scheme.restrict_labels or own.restrict_labels},
        **common(model, space, parts),
        **numbered(scheme.labels),
    )
    network = AIONERForTokenClassification(config)
    if (
        parts.hidden and network.hidden is not None
    ):  # AIONER-Pretrained (section 3.4): all but the labels' layers goes on
        if parts.hidden["weight"].shape != network.hidden.weight.shape:
            size = len(parts.hidden["bias"])
            raise ModelError(f"--hidden_size is {own.hidden_size}, but the layer of {model.encoder} has {size} units")
        network.hidden.load_state_dict(parts.hidden)
    return assemble(network, parts, model, Features, data.space, masking=own.token_masking)
