"""AIONER: task-tagged sequence labelling (Luo et al. 2023, sections 2.2 and 2.3). Ships to the Hub."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .configuration_aioner import AIONERConfig
from .configuration_ner import Task
from .crf import CRF
from .inference import Request
from .label_space import LabelError, nearest, split_label
from .modeling_ner import NEROutput, NERPreTrainedModel, at_least_float32, build_encoder
from .units import first_tokens
from .windowing import Span, Window

_FORBIDDEN = -1e4  # a score that no other can make up for, finite so that no inf - inf arises


class AIONERForTokenClassification(NERPreTrainedModel):
    """Encoder → fully connected ReLU layer (optional) → one score per label → CRF or softmax."""

    config_class = AIONERConfig
    padding = MappingProxyType({"labels": -100})

    def __init__(self, config: AIONERConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        width = config.encoder_config.hidden_size
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(width, config.hidden_size) if config.hidden_size else None
        self.classifier = nn.Linear(config.hidden_size or width, config.num_labels)
        self.crf = CRF(config.num_labels) if config.classifier == "crf" else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, CRF):
            for parameter in (module.transitions, module.start, module.end):
                init.uniform_(parameter, -0.1, 0.1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        chain_mask: Tensor | None = None,
        task_ids: Tensor | None = None,
        type_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs,
    ) -> NEROutput:
        """Scores, and the loss when labels are given.

        Args:
            input_ids: (B, S) int64, special tokens and task tags included.
            attention_mask: (B, S) int64.
            labels: (B, S) int64, -100 where there is none.
            chain_mask: (B, S) bool, True on the positions that carry a tag; by default those with a label, or without
                labels those that are no special token.
            task_ids: (B,) int64, needed when the config restricts labels to the window's task.
            type_mask: (B, L) bool, then also restricts them, to the labels of types that the window's document annotates. By
                default all of the task's.
            token_type_ids: ignored (the segments of a window are all alike).
        Returns:
            NEROutput with logits (B, S, L). The loss is the negative log-likelihood (eq. 2), summed over the tokens and
            divided by B times `max_tokens`: a mean over windows, so that gradient accumulation changes nothing.
        """
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **kwargs
        ).last_hidden_state
        if self.hidden is not None:
            hidden = torch.relu(self.hidden(hidden))
        logits = self.classifier(self.dropout(hidden))
        if self.config.restrict_labels:
            if task_ids is None:
                raise ValueError("this model restricts labels to tasks: pass task_ids (B,), see config.tasks")
            allowed = self._allowed(logits.device)[task_ids]
            allowed = allowed if type_mask is None else allowed & type_mask
            logits = logits.masked_fill(~allowed.unsqueeze(1), _FORBIDDEN)
        if labels is None:
            return NEROutput(logits=logits)
        mask = labels >= 0 if chain_mask is None else chain_mask & (labels >= 0)
        with torch.autocast(logits.device.type, enabled=False):
            loss = self._loss(at_least_float32(logits), labels, mask)
        return NEROutput(loss=loss, loss_terms={"nll": loss}, logits=logits)

    def _loss(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        scale = logits.shape[0] * self.config.max_tokens
        if self.crf is not None:
            return -self.crf.log_likelihood(logits, labels, mask).sum() / scale
        target = labels.masked_fill(~mask, -100)
        return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum") / scale

    def _allowed(self, device) -> Tensor:
        """(tasks, L) bool: the labels of each task."""
        rows = [[label in set(t.labels) for label in range(self.config.num_labels)] for t in self.config.tasks]
        return torch.tensor(rows, device=device)

    # ---- windows in, spans out

    def knows(self, corpus: str) -> bool:
        # The label space, and with it the tasks, also has the corpora that the run only measures.
        return corpus in self.config.corpus_tasks and corpus in self.config.trained_corpora

    def tasks_for(self, corpus: str | None = None, mode: str | None = None) -> list[Task]:
        """The tasks whose union answers for a corpus; the default tasks for any other text.

        Args:
            corpus: a training corpus, to get its guideline.
            mode: one of `config.modes`, for corpora and texts that the default tasks answer for.
        """
        own = [self.config.task(name) for name in self.config.corpus_tasks.get(corpus, self.config.default_tasks)]
        if mode is None or (corpus in self.config.corpus_tasks and not any(len(task.types) > 1 for task in own)):
            return own
        if mode not in self.config.modes:
            raise LabelError(f"unknown tagging mode {mode!r}{nearest(mode, self.config.modes)}")
        return [self.config.task(name) for name in self.config.modes[mode]]

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """Keys: input_ids (specials and task tags around the window), chain_mask (1 on the window's own tokens that
        carry a tag), task_ids."""
        task = task or self.default_task()
        tagged = (
            first_tokens(window.offsets, window.passages)
            if self.config.label_first_token_only
            else [1] * len(window.input_ids)
        )
        return {
            "input_ids": [*task.prefix_ids, *window.input_ids, *task.suffix_ids],
            "chain_mask": [0] * len(task.prefix_ids) + tagged + [0] * len(task.suffix_ids),
            "task_ids": self.config.task_index(task.name),
        }

    def best_tags(self, logits: Tensor, mask: Tensor) -> Tensor:
        """(B, S) int64: the best sequence (eq. 3) or, of a softmax, the best label of each position; 0 outside the mask."""
        return logits.argmax(2).masked_fill(~mask, 0) if self.crf is None else self.crf.viterbi(logits, mask)

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`tags` (B, S) int64, 0 outside the chain, `scores` (B, S) float32, the probability of each tag, and `mask` (B, S)
        bool, the chain."""
        logits, mask = output.logits.float(), batch["chain_mask"]
        tags = self.best_tags(logits, mask)
        if self.crf is None:
            return {"tags": tags, "scores": logits.softmax(2).amax(2), "mask": mask}
        chances = self.crf.marginals(logits, mask) if self.config.scores == "marginal" else logits.softmax(2)
        return {"tags": tags, "scores": chances.gather(2, tags.unsqueeze(2)).squeeze(2), "mask": mask}

    def decode(self, best: dict[str, Tensor], requests: list[Request]) -> list[list[tuple[Span, str, float]]]:
        """Spans of the types that each request's task looks for: the single chain may choose a label of another task, but a
        text asked for genes is not answered with chemicals."""
        names = [self.config.id2label[i] for i in range(self.config.num_labels)]
        begun = torch.zeros_like(best["mask"])
        for row, r in zip(begun, requests, strict=True):
            row[[len(r.task.prefix_ids) + passage for passage in r.window.passages]] = True
        found = decode_tags(best["tags"], best["scores"], best["mask"], names, begun)
        if self.config.label_first_token_only:
            stops = [len(r.task.prefix_ids) + len(r.window.input_ids) for r in requests]
            found = _extend_to_words(found, best["mask"], stops)
        return [
            [
                (Span(start - len(r.task.prefix_ids), end - len(r.task.prefix_ids)), kind, score)
                for start, end, kind, score in row
                if kind in r.task.types
            ]
            for row, r in zip(found, requests, strict=True)
        ]


def decode_tags(
    tags: Tensor, scores: Tensor, mask: Tensor, names: list[str], begun: Tensor | None = None
) -> list[list[tuple[int, int, str, float]]]:
    """Reads mentions off BIO tags, all windows at once.

    A mention starts at B, or at an I that continues no mention of its type, and goes on over I of its type. Positions
    outside the mask are skipped: they neither break nor lengthen a mention.

    Args:
        tags: (B, S) int64 label numbers. scores: (B, S) float, the probability of each. mask: (B, S) bool.
        names: label number → `B-<type>`, `I-<type>` or `O…`.
        begun: (B, S) bool, True where a passage begins, so that no mention goes on; none by default.
    Returns:
        Per window (start, end, type, mean score): positions in S, half-open, in order.
    """
    parts = [split_label(n) if n[0] in "BI" else ("O", "") for n in names]
    types = sorted({t for _, t in parts})
    kind_of = torch.tensor(["OBI".index(k) for k, _ in parts])
    type_of = torch.tensor([types.index(t) for _, t in parts])
    rows, columns = mask.nonzero(as_tuple=True)  # the chain's positions, row by row
    if not len(rows):
        return [[] for _ in range(len(tags))]
    flat = tags[rows, columns]
    kind, entity, chance = kind_of[flat], type_of[flat], scores[rows, columns].double()
    joined = torch.zeros(len(flat), dtype=torch.bool)  # whether a position continues the mention of the one before
    joined[1:] = (kind[1:] == 2) & (kind[:-1] > 0) & (entity[1:] == entity[:-1]) & (rows[1:] == rows[:-1])
    if begun is not None:
        joined &= ~begun[rows, columns]
    inside = kind > 0
    starts = (inside & ~joined).nonzero().flatten()
    ends = (inside & ~torch.cat([joined[1:], joined.new_zeros(1)])).nonzero().flatten()
    total = torch.cat([chance.new_zeros(1), chance.cumsum(0)])
    means = ((total[ends + 1] - total[starts]) / (ends + 1 - starts)).clamp(0, 1)  # differences of sums are rounded
    found: list[list[tuple[int, int, str, float]]] = [[] for _ in range(len(tags))]
    for row, first, last, name, score in zip(
        rows[starts].tolist(),
        columns[starts].tolist(),
        columns[ends].tolist(),
        entity[starts].tolist(),
        means.tolist(),
        strict=True,
    ):
        found[row].append((first, last + 1, types[name], score))
    return found


def _extend_to_words(found, mask: Tensor, stops: list[int]):
    """Lets mentions tagged on first tokens reach to the end of their last word."""
    out = []
    for row, own, stop in zip(found, mask.tolist(), stops, strict=True):
        nexts = []
        for start, end, name, score in row:
            while end < stop and not own[end]:
                end += 1
            nexts.append((start, end, name, score))
        out.append(nexts)
    return out
