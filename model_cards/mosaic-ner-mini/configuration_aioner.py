"""The configuration of AIONER. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import NERConfig, expect


class AIONERConfig(NERConfig):
    """AIONER: one tagger for many corpora, told by task tags what to look for (section 2.2).

    Args:
        tasks: with the shared types that each looks for and its label numbers; task tags are among the special tokens.
        corpus_tasks: corpus → names of the tasks whose union answers for that corpus.
        trained_corpora: those that the model is trained on; default: all that have tasks.
        modes: ways to answer for texts of the default tasks (Table S3): "aio" (the ALL task), "ind" (each type's own task,
            results united) and "combined" (both), each a list of task names.
        classifier: "crf" or "softmax" (Table 4).
        hidden_size: units of the fully connected ReLU layer before the labels; 0 leaves it out.
        restrict_labels: keep the labels of other tasks out of the softmax or the chain. The paper has one CRF over all
            labels (False); multi-task learning, with an output layer per task, is this with disjoint labels (True).
        label_first_token_only: train and read tags on the first token of each white-space word only.
        scores: a mention's confidence is its tags' mean probability: "marginal", among the tag sequences whose mentions begin
            and end with units (forward-backward), or "emission", the softmax of each token's scores alone.
    """

    model_type = "mosaic_aioner"

    def __init__(
        self,
        corpus_tasks: dict[str, list[str]] | None = None,
        trained_corpora: list[str] | None = None,
        modes: dict[str, list[str]] | None = None,
        classifier: str = "crf",
        hidden_size: int = 0,
        restrict_labels: bool = False,
        label_first_token_only: bool = False,
        scores: str = "marginal",
        **kwargs,
    ):
        expect("classifier", classifier, ("crf", "softmax"))
        expect("scores", scores, ("marginal", "emission"))
        self.corpus_tasks = corpus_tasks or {}
        self.trained_corpora = list(self.corpus_tasks if trained_corpora is None else trained_corpora)
        self.modes = modes or {}
        self.classifier = classifier
        self.hidden_size = hidden_size
        self.restrict_labels = restrict_labels
        self.label_first_token_only = label_first_token_only
        self.scores = scores
        super().__init__(**kwargs)

    def check(self) -> None:
        super().check()
        kinds = {name[2:].partition("@")[0] for name in self.id2label.values() if name[:2] in ("B-", "I-")}
        kinds |= {kind for task in self.tasks for kind in task.types}
        if unknown := sorted(kinds - set(self.labels.shared_types)):
            raise ValueError(f"the label space has no type {unknown[0]!r}, but a label or a task has")
        for task in self.tasks:
            if not all(0 <= number < self.num_labels for number in task.labels):
                raise ValueError(f"task {task.name!r} has labels beyond the {self.num_labels} there are")
        for name in [name for own in (self.corpus_tasks, self.modes) for many in own.values() for name in many]:
            self.task_index(name)
        for corpus in self.corpus_tasks:
            self.labels.native_types(corpus)
