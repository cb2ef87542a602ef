"""CVAE-NER: a span classifier whose spans are shaped by a conditional VAE over label relations (Oi and Miwa 2025).
Ships to the Hub."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .configuration_ner import Task
from .configuration_span_cvae import SpanCVAEConfig
from .inference import Request
from .label_space import LabelError, LabelSpace, nearest
from .modeling_ner import NEROutput, NERPreTrainedModel, at_least_float32, build_encoder
from .spans import SpanEmbedding, SpanParts, bar_passages, joined, read_cells, span_mask, take_units, tokens_as_units
from .windowing import Span, Window


def prior_distribution_vectors(space: LabelSpace, initialisation: str = "full") -> Tensor:
    """The labels' prior distribution vectors before training (sections 3 and 4.2, ablations of 4.3).

    Args:
        space: the corpora; its `labels` are the rows, negatives included.
        initialisation: "full" and "fixed": [one-hot of the label ; one-hot of its shared type or of the shared negative],
            without the second where the label has no counterpart; "unshared": only the first; "shared": only the second;
            "random": normal, of the same expected length as "full".
    Returns:
        (labels, labels + shared types + 1) float32.
    """
    labels, types = space.labels, [*space.shared_types, None]
    own = torch.eye(len(labels))
    common = torch.zeros(len(labels), len(types))
    for row, (corpus, native) in enumerate(labels):
        negative = native not in space.native_types(corpus)
        shared = None if negative else space.shared(corpus, native)
        if negative or shared is not None:
            common[row, types.index(shared)] = 1.0
    if initialisation == "random":
        width = own.shape[1] + common.shape[1]
        return torch.randn(len(labels), width) * (2 / width) ** 0.5
    return torch.cat([own * (initialisation != "shared"), common * (initialisation != "unshared")], 1)


class LabelCVAE(nn.Module):
    """q(z | h, c) and p(h | z, c) of section 3; only training needs it.

    The first layers over [h ; c] and [z ; c] are split in two, so that the products with c are computed once per label, and
    those with h once per unit.
    """

    def __init__(self, config: SpanCVAEConfig):
        super().__init__()
        self.space, self.initialisation = config.labels, config.prior
        labels = len(self.space.labels)
        width = labels + len(self.space.shared_types) + 1
        hidden, latent = config.cvae_hidden_size, config.latent_size
        self.prior = nn.Parameter(torch.empty(labels, width), requires_grad=config.prior != "fixed")
        self.recognition = nn.Linear(config.span_size, hidden)
        self.recognition_prior = nn.Linear(width, hidden, bias=False)
        self.moments = nn.Linear(hidden, 2 * latent)
        self.generation = nn.Linear(latent, hidden)
        self.generation_prior = nn.Linear(width, hidden, bias=False)
        self.reconstruction = nn.Linear(hidden, config.span_size)

    def forward(self, parts: SpanParts, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of L_CVAE, summed over the spans.

        Args:
            parts: of the span embeddings h, (B, U, d) and (W, d).
            labels: (B, U, W) int64 label numbers, any valid one outside the mask.
            mask: (B, U, W) bool, the spans that count.
        Returns:
            -log p(h | z, c) without its constant, for a Gaussian of unit variance: half the squared error; and
            KL(q(z | h, c) ‖ N(0, I)). Scalars, float32 at least. z is sampled in training and the mean of q otherwise.
        """
        spans = parts.grid()
        pre = parts.through(self.recognition).grid() + self.recognition_prior(self.prior)[labels]
        moments = at_least_float32(self.moments(torch.relu_(pre)))
        mean, log_variance = moments.chunk(2, -1)
        latent = mean
        if self.training:
            latent = torch.addcmul(mean, torch.randn_like(mean), (0.5 * log_variance).exp())
        pre = self.generation(latent.to(spans.dtype)) + self.generation_prior(self.prior)[labels]
        error = at_least_float32(self.reconstruction(torch.relu_(pre)) - spans).square().sum(-1)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        return 0.5 * error.masked_fill(~mask, 0).sum(), 0.5 * divergence.masked_fill(~mask, 0).sum()


class SpanCVAEForNER(NERPreTrainedModel):
    """Encoder → embeddings of all spans (eq. 1) → two fully connected layers → softmax over the corpus's labels.

    A corpus's name is a special token before the text. Each corpus has both layers for itself (section 4.3, "Multi"), unless
    outputs are shared. Labels of other corpora have score -inf, so their weights get no gradient at all. With `alpha` above 0
    the loss has the CVAE's terms; a model built for inference only lacks that branch.
    """

    config_class = SpanCVAEConfig
    padding = MappingProxyType({"unit_starts": -1, "unit_ends": -1, "cells": -1, "cell_labels": -100})
    training_modules = decoder_modules = ("cvae",)
    has_span_embeddings = True

    def __init__(self, config: SpanCVAEConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        width = config.encoder_config.hidden_size
        self.dropout = nn.Dropout(config.dropout)
        self.span = SpanEmbedding(width, config.span_size, config.max_span_width, config.width_size)
        # A layer of `hidden_size` units for each corpus, one below the other.
        layers = len(config.tasks) if config.labels_per == "corpus" else 1
        self.hidden = nn.Linear(config.span_size, layers * config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.cvae = LabelCVAE(config) if config.alpha and not config.inference_only else None
        self._tables: dict[torch.device, dict[str, Tensor]] = {}
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, mean=0.0, std=0.02)
        elif isinstance(module, LabelCVAE):
            init.copy_(module.prior, prior_distribution_vectors(module.space, module.initialisation))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unit_starts: Tensor | None = None,
        unit_ends: Tensor | None = None,
        corpus_ids: Tensor | None = None,
        cells: Tensor | None = None,
        cell_labels: Tensor | None = None,
        type_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs,
    ) -> NEROutput:
        """Scores of all spans, and the loss when gold spans are given.

        Args:
            input_ids: (B, S) int64, the special tokens and the corpus token included.
            attention_mask: (B, S) int64.
            unit_starts, unit_ends: (B, U) int64, the first and the last token of each unit; -1 pads at the end. By default
                each token is a unit but for those that the default corpus's windows have around their text.
            corpus_ids: (B,) int64, numbers in `config.tasks`; by default the first of the default tasks.
            cells: (B, G) int64, i W + w of the gold spans and of the spans to leave out of the loss; -1 pads.
            cell_labels: (B, G) int64, their numbers in `config.labels.labels`; -100 leaves the span out of the loss.
            type_mask: (B, L) bool, the outputs of types that the window's document annotates, with its corpus's negative; the
                loss is as if the corpus had no others. By default all of the corpus's.
            token_type_ids: ignored (the segments of a window are all alike).
        Returns:
            NEROutput with logits (B, U, W, L), -inf for labels that the window's corpus doesn't have. The loss is
            L_CE + α L_CVAE, each summed over the spans and divided by B times `max_tokens`: a mean over windows, so that
            gradient accumulation changes nothing. `loss_terms`: ce, and with the CVAE cvae = reconstruction + kl.
        """
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **kwargs
        ).last_hidden_state
        if unit_starts is None:
            task = self.default_task()
            before, after = len(task.prefix_ids), len(task.suffix_ids)
            unit_starts = unit_ends = tokens_as_units(hidden, attention_mask, before, after)
        if corpus_ids is None:
            corpus_ids = torch.full_like(unit_starts[:, 0], self.config.task_index(self.config.default_tasks[0]))
        parts = self._parts(self.dropout(hidden), unit_starts, unit_ends)
        tables = self._tables_on(hidden.device)
        first = self._first_layer(parts, corpus_ids)
        logits = joined(self.classifier(self.dropout(torch.relu_(part))) for part in first.widths())
        unknown = tables["foreign"][corpus_ids]
        whole = torch.ones_like(unknown[:, 0]) if type_mask is None else (type_mask | unknown).all(1)
        unknown = unknown if type_mask is None else unknown | ~type_mask
        logits = logits.masked_fill(unknown.view(-1, 1, 1, logits.shape[3]), float("-inf"))
        if cells is None:
            return NEROutput(logits=logits)
        gold = self._gold(logits, unit_starts >= 0, corpus_ids, cells, cell_labels, tables)
        # What is none of the types that a document declares may still be of another: its label isn't known.
        labelled = whole.view(-1, 1, 1) | (gold != tables["negative"][corpus_ids].view(-1, 1, 1))
        return self._with_loss(logits, parts, gold, tables["columns"], labelled)

    def span_embeddings(self, input_ids: Tensor, attention_mask: Tensor, unit_starts: Tensor, unit_ends: Tensor):
        """h of all spans, (B, U, W, d) float; arguments as in `forward`."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        return self._parts(hidden, unit_starts, unit_ends).grid()

    def prior_vectors(self) -> Tensor | None:
        """The prior distribution vectors, (labels, labels + shared types + 1) float; None without the CVAE."""
        return None if self.cvae is None else self.cvae.prior

    def _parts(self, hidden: Tensor, unit_starts: Tensor, unit_ends: Tensor) -> SpanParts:
        return self.span(take_units(hidden, unit_starts), take_units(hidden, unit_ends))

    def _first_layer(self, parts: SpanParts, corpus_ids: Tensor) -> SpanParts:
        """The first layer of each window's corpus, before the ReLU."""
        size = self.config.hidden_size
        if self.hidden.out_features == size:
            return parts.through(self.hidden)
        weight, bias = self.hidden.weight.unflatten(0, (-1, size)), self.hidden.bias.unflatten(0, (-1, size))
        return parts.through_own(weight[corpus_ids].to(parts.start.dtype), bias[corpus_ids].to(parts.start.dtype))

    def _gold(self, logits, units, corpus_ids, cells, cell_labels, tables) -> Tensor:
        """(B, U, W) int64: label numbers, the corpus's negative where no gold span is, -100 outside the loss."""
        batch, size = len(cells), logits.shape[1] * logits.shape[2]
        gold = tables["negative"][corpus_ids].unsqueeze(1).expand(batch, size + 1).clone()
        gold.scatter_(1, cells.masked_fill(cells < 0, size), cell_labels)  # the last column takes the padding
        gold = gold[:, :size].view(logits.shape[:3])
        return gold.masked_fill(~span_mask(units, logits.shape[2]), -100)

    def _with_loss(
        self, logits: Tensor, parts: SpanParts, gold: Tensor, columns: Tensor, labelled: Tensor
    ) -> NEROutput:
        scale = logits.shape[0] * self.config.max_tokens
        mask = gold >= 0
        labels = gold.clamp(min=0)
        target = columns[labels].masked_fill(~mask, -100)
        scores = at_least_float32(logits).flatten(0, 2)
        loss = nn.functional.cross_entropy(scores, target.flatten(), reduction="sum") / scale
        terms = {"ce": loss}
        if self.cvae is not None:
            error, divergence = (term / scale for term in self.cvae(parts, labels, mask & labelled))
            loss = loss + self.config.alpha * (error + divergence)
            terms |= {"reconstruction": error, "kl": divergence}
            terms["cvae"] = terms["reconstruction"] + terms["kl"]
        return NEROutput(loss=loss, loss_terms=terms, logits=logits)

    def _tables_on(self, device: torch.device) -> dict[str, Tensor]:
        """What numbers mean, on a device: `columns` (labels,) the labels' outputs, `foreign` (C, L) bool, `negative` (C,) the
        corpora's labels, `none` (L,) bool the outputs that are negatives."""
        if device not in self._tables:
            labels, (names, columns) = self.config.labels.labels, self.config.outputs
            corpora = [task.name for task in self.config.tasks]
            foreign = torch.ones(len(corpora), self.config.num_labels, dtype=torch.bool)
            negative = torch.zeros(len(corpora), dtype=torch.long)
            for number, (corpus, _) in enumerate(labels):
                foreign[corpora.index(corpus), columns[number]] = False
                negative[corpora.index(corpus)] = number  # a corpus's last label is its negative
            tables = {"columns": torch.tensor(columns), "foreign": foreign, "negative": negative}
            tables["none"] = torch.tensor([name is None for name in names])
            self._tables[device] = {name: table.to(device) for name, table in tables.items()}
        return self._tables[device]

    # ---- windows in, spans out

    def knows_native_types(self, corpus: str) -> bool:
        return self.config.labels_per == "corpus" and corpus in self.config.labels.corpora

    def tasks_for(self, corpus: str | None = None, mode: str | None = None) -> list[Task]:
        """The corpus whose guideline answers for a corpus or, for any other text, the default ones.

        Args:
            corpus: a training corpus, to get its guideline.
            mode: "shared" (default) to be told shared types (a type without one keeps its own name), "native" to be told
                the corpus's own.
        """
        modes = ("shared", "native") if self.config.labels_per == "corpus" else ("shared",)
        if mode is not None and mode not in modes:
            raise LabelError(f"unknown prediction mode {mode!r}{nearest(mode, modes)}")
        known = corpus in self.config.labels.corpora
        # Another corpus has names of its own for its types; only the shared ones say the same there.
        types = mode if known or corpus is None else None
        return self.tasks_named([corpus] if known else self.config.default_tasks, types)

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """Keys: input_ids (specials and corpus token around the window), unit_starts, unit_ends, corpus_ids."""
        task = task or self.default_task()
        before, units = len(task.prefix_ids), window.units(self.config.units)
        return {
            "input_ids": [*task.prefix_ids, *window.input_ids, *task.suffix_ids],
            "unit_starts": [before + start for start, _ in units],
            "unit_ends": [before + end - 1 for _, end in units],
            "corpus_ids": self.config.task_index(task.name),
        }

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`labels` (B, U, W) int64, the most probable output of each span or -1 where it is the negative, and `scores`
        (B, U, W) float32, its probability."""
        scores, best = output.logits.float().softmax(3).max(3)
        mention = ~self._tables_on(best.device)["none"][best] & (scores >= self.config.threshold)
        mask = span_mask(batch["unit_starts"] >= 0, best.shape[2]) & mention
        return {"labels": best.masked_fill(~mask, -1), "scores": scores}

    def decode(self, best: dict[str, Tensor], requests: list[Request]) -> list[list[tuple[Span, str, float]]]:
        """Flat: greedily by score without overlaps; nested: every span whose most probable label is no negative."""
        names, _ = self.config.outputs
        out = []
        labels = bar_passages(best["labels"], [r.window for r in requests], self.config.units, -1)
        for spans, request in zip(read_cells(labels, best["scores"], self.config.flat), requests, strict=True):
            units, told = request.window.units(self.config.units), int(request.task.types == "native")
            out.append(
                [(Span(units[i][0], units[j - 1][1]), names[label][told], score) for i, j, label, score in spans]
            )
        return out
