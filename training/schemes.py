"""Tagging schemes: which tasks a tagger has, which labels each uses, and which tasks answer for which corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from mosaic_ner.modeling.label_space import LabelError, LabelSpace, nearest

ALL = "ALL"
SCHEMES = ("aio", "naive", "mtl")


@dataclass(frozen=True)
class Task:
    """One thing the tagger can be asked for: `types` are shared types, `tagged` whether task tags surround its windows."""

    name: str
    types: tuple[str, ...]
    labels: tuple[str, ...]
    tagged: bool


@dataclass(frozen=True)
class Scheme:
    """Tasks and labels of a tagger.

    `labels` are numbered in order; `corpus_tasks[corpus]` are the tasks a corpus trains and is answered by;
    `default_tasks` answer for any other text; `restrict_labels` as in `AIONERConfig`.
    """

    name: str
    tasks: tuple[Task, ...]
    labels: tuple[str, ...]
    corpus_tasks: dict[str, list[str]]
    default_tasks: list[str]
    restrict_labels: bool = False
    modes: dict[str, list[str]] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """The task of that name."""
        return next(t for t in self.tasks if t.name == name)


def build_scheme(name: str, space: LabelSpace, bridge: list[str] | None = None) -> Scheme:
    """The tasks for a set of corpora.

    Args:
        name: "aio" (section 2.2: a task per shared type and one, ALL, for the corpora that annotate every type; a corpus
            with several types but not all has a copy per type), "naive" (one task, unknown taken for negative: Table 2,
            w/o AIONER) or "mtl" (a task with labels of its own per corpus, no tags: section 3.1).
        space: the run's corpora and their types; corpora without any shared type are left out.
        bridge: the corpora of the ALL task, which looks for their types; by default those that annotate every shared type.
            Types beyond the bridge's (AIONER-Merged, section 3.4) have tasks of their own.

    Raises:
        LabelError: an unknown scheme or bridge corpus, bridge corpora with different types, nothing to tag.
    """
    if name not in SCHEMES:
        raise LabelError(f"unknown scheme {name!r}{nearest(name, SCHEMES)}")
    corpora = [c for c in space.corpora if space.shared_types_of(c)]
    for corpus in bridge or []:
        if corpus not in corpora:
            raise LabelError(f"bridge corpus {corpus!r} is not in the run{nearest(corpus, corpora)}")
    everything = tuple(space.shared_types)
    if not everything:
        raise LabelError("no corpus of the run has a type with a shared counterpart, so there is nothing to tag")
    if name == "naive":
        task = _task(ALL, everything, tagged=False)
        return Scheme(name, (task,), task.labels, {c: [ALL] for c in corpora}, [ALL])
    if name == "mtl":
        tasks = tuple(_task(c, tuple(space.shared_types_of(c)), tagged=False, suffix=f"@{c}") for c in corpora)
        labels = tuple(label for task in tasks for label in task.labels)
        full = [c for c in corpora if c in (bridge or []) or set(space.shared_types_of(c)) == set(everything)]
        return Scheme(name, tasks, labels, {c: [c] for c in corpora}, full[:1] or list(corpora), restrict_labels=True)
    if bridge is None:
        bridge = [c for c in corpora if set(space.shared_types_of(c)) == set(everything)]
    joint = _joint_types(space, bridge)
    tasks = [_task(ALL, joint)] if len(joint) > 1 else []
    corpus_tasks = {c: [ALL] if c in bridge and tasks else space.shared_types_of(c) for c in corpora}
    wanted = {t for names in corpus_tasks.values() for t in names}
    tasks += [_task(t, (t,)) for t in everything if t in wanted]
    spans = [f"{kind}-{t}" for t in everything for kind in "BI"]
    labels = tuple(spans + [f"O-{task.name}" for task in tasks])
    singles = [t.name for t in tasks if t.name != ALL]
    default = [ALL, *(t for t in singles if t not in joint)] if len(joint) > 1 else singles
    modes = {"aio": default, "ind": singles or default, "combined": list(dict.fromkeys([*default, *singles]))}
    return Scheme(name, tuple(tasks), labels, corpus_tasks, default, modes=modes)


def _joint_types(space: LabelSpace, bridge: list[str]) -> tuple[str, ...]:
    """The types of the ALL task: those that every bridge corpus annotates, for under ALL all of them are exhaustive."""
    if not bridge:
        return ()
    types = space.shared_types_of(bridge[0])
    for corpus in bridge[1:]:
        if set(space.shared_types_of(corpus)) != set(types):
            raise LabelError(
                f"bridge corpora {bridge[0]!r} ({', '.join(types)}) and {corpus!r} "
                f"({', '.join(space.shared_types_of(corpus))}) annotate different types, so under one ALL task some would be "
                "taught as negative; name corpora with the same types, or restrict the run with --types"
            )
    return tuple(types)


def _task(name: str, types: tuple[str, ...], tagged: bool = True, suffix: str = "") -> Task:
    labels = [f"{kind}-{t}{suffix}" for t in types for kind in "BI"]
    return Task(name, types, (*labels, f"O-{name}"), tagged)
