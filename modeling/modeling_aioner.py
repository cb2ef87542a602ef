"""AIONER: task-tagged sequence labelling (Luo et al. 2023, sections 2.2 and 2.3). Ships to the Hub."""

from __future__ import annotations

from math import fsum
from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .configuration_aioner import AIONERConfig
from .configuration_ner import Task
from .crf import CRF, best_path, marginals
from .inference import Request
from .label_space import LabelError, nearest, split_label
from .modeling_ner import NEROutput, NERPreTrainedModel, at_least_float32, build_encoder
from .units import BEGINS, ENDS, first_tokens, unit_borders
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
        borders: Tensor | None = None,
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
            borders: ignored here (`best_labels` reads it).
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
        known = self.knows(corpus)
        own = [self.config.task(n) for n in (self.config.corpus_tasks[corpus] if known else self.config.default_tasks)]
        if mode is None or (known and not any(len(task.types) > 1 for task in own)):
            return own
        if mode not in self.config.modes:
            raise LabelError(f"unknown tagging mode {mode!r}{nearest(mode, self.config.modes)}")
        return [self.config.task(name) for name in self.config.modes[mode]]

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """Keys: input_ids (specials and task tags around the window), chain_mask (1 on the window's own tokens that
        carry a tag), borders (where mentions may begin and end, see `unit_borders`), task_ids."""
        task = task or self.default_task()
        tagged = (
            first_tokens(window.offsets, window.passages)
            if self.config.label_first_token_only
            else [1] * len(window.input_ids)
        )
        before, after = [0] * len(task.prefix_ids), [0] * len(task.suffix_ids)
        return {
            "input_ids": [*task.prefix_ids, *window.input_ids, *task.suffix_ids],
            "chain_mask": before + tagged + after,
            "borders": before + unit_borders(window.units("pretoken"), window.offsets, tagged) + after,
            "task_ids": self.config.task_index(task.name),
        }

    def best_tags(self, logits: Tensor, mask: Tensor) -> Tensor:
        """(B, S) int64: the best sequence of all (eq. 3) or, of a softmax, the best label of each position, with mentions that
        begin or end anywhere; 0 outside the mask."""
        if self.crf is None:
            return logits.argmax(2).masked_fill(~mask, 0)
        steps = self.crf.steps().float().expand(4, -1, -1)
        return best_path(steps, logits, mask, torch.zeros_like(mask, dtype=torch.long))

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The best tags of those whose mentions begin and end with units.

        Returns:
            `tags` (B, S) int64, 0 outside the chain, `scores` (B, S) float32, the probability of each (see the config's
            `scores`), and `mask` (B, S) bool, the chain.
        """
        logits, mask, borders = output.logits.float(), batch["chain_mask"], batch["borders"]
        steps = self._steps(logits.device)
        tags = best_path(steps, logits, mask, borders)
        chances = marginals(steps, logits, mask, borders) if self.config.scores == "marginal" else logits.softmax(2)
        return {"tags": tags, "scores": chances.gather(2, tags.unsqueeze(2)).squeeze(2), "mask": mask}

    def _steps(self, device) -> Tensor:
        """The tables of `best_path`: a softmax's are those of a chain that says nothing of the steps."""
        size = self.config.num_labels + 1
        own = torch.zeros(size, size, device=device) if self.crf is None else self.crf.steps().float()
        ruled_out = steps_inside_units([self.config.id2label[i] for i in range(size - 1)])
        return own.masked_fill(ruled_out.to(device), float("-inf"))

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
    kind_of, type_of, types = _kinds_and_types(names)
    rows, columns = mask.nonzero(as_tuple=True)  # the chain's positions, row by row
    if not len(rows):
        return [[] for _ in range(len(tags))]
    flat = tags[rows, columns]
    kind, entity, chance = kind_of[flat], type_of[flat], scores[rows, columns]
    joined = torch.zeros(len(flat), dtype=torch.bool)  # whether a position continues the mention of the one before
    joined[1:] = _joined(kind[:-1], entity[:-1], kind[1:], entity[1:]) & (rows[1:] == rows[:-1])
    if begun is not None:
        joined &= ~begun[rows, columns]
    inside = kind > 0
    starts = (inside & ~joined).nonzero().flatten()
    ends = (inside & ~torch.cat([joined[1:], joined.new_zeros(1)])).nonzero().flatten()
    row_of, place_of, type_numbers, chances = rows.tolist(), columns.tolist(), entity.tolist(), chance.tolist()
    found: list[list[tuple[int, int, str, float]]] = [[] for _ in range(len(tags))]
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        # Mention by mention: sums over the batch would be rounded by the companions of a window.
        mean = fsum(chances[first : last + 1]) / (last + 1 - first)
        found[row_of[first]].append((place_of[first], place_of[last] + 1, types[type_numbers[first]], mean))
    return found


def steps_inside_units(names: list[str]) -> Tensor:
    """The steps from a tag to the next that begin or end a mention (see `decode_tags`) where none may.

    Args:
        names: as for `decode_tags`, L of them.
    Returns:
        (4, L + 1, L + 1) bool, for the tables of `best_path`, whose number has the bit `ENDS` where a mention may end with
        the tag before, and `BEGINS` where one may begin with the tag after. Label L is outside the chain, and no mention's.
    """
    kind, entity, _ = _kinds_and_types([*names, "O"])
    joined = _joined(kind.unsqueeze(1), entity.unsqueeze(1), kind, entity)
    begins, ends = (kind > 0) & ~joined, (kind > 0).unsqueeze(1) & ~joined
    return torch.stack([begins * (not table & BEGINS) | ends * (not table & ENDS) for table in range(4)])


def _kinds_and_types(names: list[str]) -> tuple[Tensor, Tensor, list[str]]:
    """Of each label, 0 for O, 1 for B, 2 for I, and its type's number in the list."""
    parts = [split_label(n) if n[0] in "BI" else ("O", "") for n in names]
    types = sorted({t for _, t in parts})
    return torch.tensor(["OBI".index(k) for k, _ in parts]), torch.tensor([types.index(t) for _, t in parts]), types


def _joined(kind: Tensor, entity: Tensor, next_kind: Tensor, next_entity: Tensor) -> Tensor:
    """Whether a label continues the mention of the one before."""
    return (next_kind == 2) & (kind > 0) & (next_entity == entity)


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
