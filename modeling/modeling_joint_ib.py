"""Joint information bottleneck: spans are compressed for classification, and generate themselves and their synonyms in
training (Nguyen et al. 2023). Ships to the Hub."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .configuration_joint_ib import JointIBConfig
from .configuration_ner import Task
from .inference import Request
from .modeling_ner import NEROutput, OwnTypesPreTrainedModel, at_least_float32, build_encoder
from .spans import MeanSpanProjection, bar_passages, joined, mean_spans, read_cells, span_mask, tokens_as_units
from .windowing import Span, Window
from .words import END, PAD, START, UNKNOWN


def divergence(mean: Tensor, log_variance: Tensor, prior_mean=0.0, prior_log_variance=0.0) -> Tensor:
    """KL(N(mean, e^log_variance) ‖ N(prior_mean, e^prior_log_variance)) of diagonal Gaussians, summed over the last
    dimension."""
    prior_log_variance = torch.as_tensor(prior_log_variance, dtype=mean.dtype, device=mean.device)
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - log_variance + prior_log_variance).sum(-1)


def bounded(log_variance: Tensor) -> Tensor:
    """In -10..10, at least float32: no e^x overflows or is lost."""
    return at_least_float32(log_variance).clamp(-10, 10)


def _valued(loss: Tensor, weight: float) -> Tensor:
    """`weight` times the loss, with the gradient of the loss itself."""
    return loss - (1 - weight) * loss.detach()


def sampled(mean: Tensor, log_variance: Tensor) -> Tensor:
    """μ + σ ε (eq. 3)."""
    return torch.addcmul(mean, torch.randn_like(mean), (0.5 * log_variance).exp())


class WordDecoder(nn.Module):
    """p(words | z): a one-layer LSTM whose state begins as a linear map of z, which is also beside each word (3.1.2)."""

    def __init__(self, config: JointIBConfig):
        super().__init__()
        words = len(config.vocabulary) + UNKNOWN + 1
        self.state = nn.Linear(config.latent_size, config.decoder_size)
        self.lstm = nn.LSTM(config.word_size + config.latent_size, config.decoder_size, batch_first=True)
        self.output = nn.Linear(config.decoder_size, words)

    def forward(self, latent: Tensor, words: Tensor, vectors: nn.Embedding) -> Tensor:
        """-log p, (N,) float32: latent (N, n) float, words (N, L) int64 that end with END, then PAD, and their vectors."""
        if not len(latent):  # a batch without gold spans, whose words are (0,) for want of a longest
            return at_least_float32(latent).sum(1)
        state = torch.tanh(self.state(latent)).unsqueeze(0)
        before = nn.functional.pad(words[:, :-1], (1, 0), value=START)
        inputs = torch.cat([vectors(before), latent.unsqueeze(1).expand(-1, words.shape[1], -1)], 2)
        hidden, _ = self.lstm(inputs, (state, torch.zeros_like(state)))
        scores = at_least_float32(self.output(hidden)).flatten(0, 1)
        losses = nn.functional.cross_entropy(scores, words.flatten(), ignore_index=PAD, reduction="none")
        return losses.view(words.shape).sum(1)

    @torch.no_grad()
    def generate(self, latent: Tensor, longest: int, vectors: nn.Embedding) -> Tensor:
        """The greedily chosen words, (N, longest) int64, PAD from END on; latent (N, n) float."""
        state = torch.tanh(self.state(latent)).unsqueeze(0)
        state, words, out = (state, torch.zeros_like(state)), latent.new_full((len(latent),), START).long(), []
        running = torch.ones_like(words, dtype=torch.bool)
        for _ in range(longest):
            inputs = torch.cat([vectors(words), latent], 1).unsqueeze(1)
            hidden, state = self.lstm(inputs, state)
            scores = self.output(hidden.squeeze(1))
            scores[:, [PAD, START]] = float("-inf")
            words = scores.argmax(1)
            running = running & (words != END)
            out.append(words.where(running, PAD))
        return torch.stack(out, 1)


class SpanGenerator(nn.Module):
    """q(z | s) and the decoders of spans and of their synonyms; only training needs it."""

    def __init__(self, config: JointIBConfig):
        super().__init__()
        size, latent = 3 * config.encoder_config.hidden_size, config.latent_size
        self.words = nn.Embedding(len(config.vocabulary) + UNKNOWN + 1, config.word_size, padding_idx=PAD)
        self.mean, self.variance = nn.Linear(size, latent), nn.Linear(size, latent)
        self.reconstruction = WordDecoder(config)
        self.synonyms = WordDecoder(config) if config.generate_synonyms else None
        own_mean, own_variance = config.tied == "none", config.tied != "mean_and_variance"
        self.synonym_mean = nn.Linear(size, latent) if config.generate_synonyms and own_mean else None
        self.synonym_variance = nn.Linear(size, latent) if config.generate_synonyms and own_variance else None

    def moments(self, spans: Tensor, synonyms: bool = False) -> tuple[Tensor, Tensor]:
        """μ and log σ² of z₁, or of z₂ for synonyms: (N, n) each, of spans (N, 3 H)."""
        mean = self.synonym_mean if synonyms and self.synonym_mean is not None else self.mean
        variance = self.synonym_variance if synonyms and self.synonym_variance is not None else self.variance
        return mean(spans), variance(spans)

    def loss(self, spans: Tensor, words: Tensor, synonyms: bool = False) -> tuple[Tensor, Tensor]:
        """The two terms of eq. 4 or 5, summed over the spans: reconstruction error and divergence from N(0, I).

        Args:
            spans: (N, 3 H) float. words: (N, L) int64, what is to be generated.
            synonyms: of the spans' synonyms.
        """
        mean, log_variance = self.moments(spans, synonyms)
        mean, log_variance = at_least_float32(mean), bounded(log_variance)
        latent = sampled(mean, log_variance) if self.training else mean
        decoder = self.synonyms if synonyms else self.reconstruction
        return decoder(latent.to(spans.dtype), words, self.words).sum(), divergence(mean, log_variance).sum()

    def generate(self, spans: Tensor, longest: int, synonyms: bool = False) -> Tensor:
        """The greedily chosen words of spans (N, 3 H), or of synonyms, from μ: (N, longest) int64, PAD from the end on."""
        decoder = self.synonyms if synonyms else self.reconstruction
        return decoder.generate(self.moments(spans, synonyms)[0], longest, self.words)


class JointIBForNER(OwnTypesPreTrainedModel):
    """Encoder → s of all spans (eq. 1) → two layers → z₃ → a sigmoid per type (section 3.2).

    The paper's Baseline lacks the two layers: s goes into the classifier. Types of other corpora than a window's own have no
    target. B windows, U units, W the widest span, M types.
    """

    config_class = JointIBConfig
    padding = MappingProxyType(
        dict.fromkeys(("unit_starts", "unit_ends", "cells", "span_cells", "synonym_cells"), -1) | {"cell_labels": -100}
    )
    training_modules = ("generator",)
    # q(z | s) is no decoder: it reads 3 H inputs, and at a decoder's rate Adam's noise in them all would drown what z says.
    decoder_modules = ("generator.words", "generator.reconstruction", "generator.synonyms")
    has_span_embeddings = True
    has_latents = True

    def __init__(self, config: JointIBConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        self.dropout = nn.Dropout(config.dropout)
        width = config.encoder_config.hidden_size
        if config.compressed:
            self.hidden = MeanSpanProjection(width, config.hidden_size)
            self.mean = nn.Linear(config.hidden_size, config.latent_size)
            self.variance = nn.Linear(config.hidden_size, config.latent_size)
            # r(z₃): mean and log variance.
            learnt = bool(config.beta) and config.ib_prior == "learnt"
            self.prior = nn.Parameter(torch.zeros(2, config.latent_size), requires_grad=learnt)
            self.classifier = nn.Linear(config.latent_size, config.num_labels)
        else:
            self.classifier = MeanSpanProjection(width, config.num_labels)
            self.register_parameter("prior", None)
        generates = config.gamma and not config.inference_only
        self.generator = SpanGenerator(config) if generates else None
        self._tables: dict[torch.device, Tensor] = {}
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            # As long as pretrained word vectors are. With much shorter ones, z, whose variance is 1, would dominate them.
            init.normal_(module.weight, mean=0.0, std=0.3)
            if module.padding_idx is not None:
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    init.normal_(parameter, mean=0.0, std=module.hidden_size**-0.5)
                else:
                    init.zeros_(parameter)
        elif isinstance(module, JointIBForNER):
            if module.prior is not None:
                init.zeros_(module.prior)
            # Hardly any span is a mention; otherwise the first hundred updates learn nothing but that.
            classifier = module.classifier if module.config.compressed else module.classifier.first
            init.constant_(classifier.bias, -5.0)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unit_starts: Tensor | None = None,
        unit_ends: Tensor | None = None,
        corpus_ids: Tensor | None = None,
        native_ids: Tensor | None = None,
        cells: Tensor | None = None,
        cell_labels: Tensor | None = None,
        type_mask: Tensor | None = None,
        span_cells: Tensor | None = None,
        span_words: Tensor | None = None,
        synonym_cells: Tensor | None = None,
        synonym_words: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs,
    ) -> NEROutput:
        """Scores of all spans, and the loss when gold spans are given.

        Args:
            input_ids: (B, S) int64, special tokens included.
            attention_mask: (B, S) int64.
            unit_starts, unit_ends: (B, U) int64, the first and the last token of each unit; -1 pads at the end. By default
                each token between the special ones is a unit.
            corpus_ids: (B,) int64, numbers in `config.tasks`; needed with gold spans, for what the corpus annotates.
            native_ids: ignored here (`best_labels` reads it).
            cells: (B, G) int64, i W + w of the gold spans (a span of several types comes several times) and of those to leave
                out of the loss; -1 pads.
            cell_labels: (B, G) int64, their numbers in `config.types`; -100 leaves the span out of the loss.
            type_mask: (B, M) bool, the types that the window's document annotates; the others have no part in the loss. By
                default all of its corpus's.
            span_cells, synonym_cells: (B, N) int64, the gold spans to generate from; -1 pads.
            span_words, synonym_words: (B, N, L) int64, the words to generate, END after them, then PAD.
            token_type_ids: ignored (the segments of a window are all alike).
        Returns:
            NEROutput with logits (B, U, W, M). The loss (eq. 7) is L_VIB + γ (L_SR + L_SG), summed over the spans and divided
            by B times `max_tokens`: a mean over windows. The gradient of the generator's own weights is that of γ = 1.
            `loss_terms`: bce, compression (unless β is 0), and those of the generator.
        Raises:
            ValueError: gold spans without corpus_ids.
        """
        if cells is not None and corpus_ids is None:
            raise ValueError("gold spans need corpus_ids: which corpus a window is from says which types it annotates")
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        ).last_hidden_state
        if unit_starts is None:
            before, after = len(self.config.cls_ids), len(self.config.sep_ids)
            unit_starts = unit_ends = tokens_as_units(hidden, attention_mask, before, after)
        hidden = self.dropout(hidden)
        where = hidden, unit_starts, unit_ends
        if cells is None:
            return NEROutput(logits=self._scores(*where))
        scale = hidden.shape[0] * self.config.max_tokens
        mask, terms = span_mask(unit_starts >= 0, self.config.max_span_width), {}
        if self.config.compressed:
            logits, compression = self._compressed(where, mask)
            if self.config.beta:
                terms["compression"] = self.config.beta * compression / scale
        else:
            logits = self._scores(*where)
        annotated = self._annotated(logits.device)[corpus_ids]
        annotated = annotated if type_mask is None else annotated & type_mask
        terms["bce"] = self._prediction_loss(logits, mask, annotated, cells, cell_labels) / scale
        if self.generator is not None and span_cells is not None:
            terms |= self._generate("span", where, span_cells, span_words, scale)
            if self.generator.synonyms is not None and synonym_cells is not None:
                terms |= self._generate("synonym", where, synonym_cells, synonym_words, scale)
        loss = sum(terms.values())
        return NEROutput(loss=loss, loss_terms=terms, logits=logits)

    def _features(self, hidden: Tensor, unit_starts: Tensor, unit_ends: Tensor) -> Tensor:
        """The first of the two layers that compress, for all spans: (B, U, W, `hidden_size`)."""
        return torch.relu(self.hidden(hidden, unit_starts, unit_ends, self.config.max_span_width))

    def _compressed(self, where, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, U, W, M) of z₃, sampled in training and μ₃ otherwise; and KL(p(z₃ | s) ‖ r(z₃)) summed over the spans,
        at least float32 (0 where no β asks for it). `where`: hidden states, units."""
        features = self.dropout(self._features(*where))
        mean = self.mean(features)
        if not (self.training or self.config.beta):
            return self.classifier(mean), mean.new_zeros(())
        latent, exact, log_variance = mean, at_least_float32(mean), bounded(self.variance(features))
        if self.training:
            latent = sampled(exact, log_variance).to(mean.dtype)
        distance = mask.new_zeros((), dtype=exact.dtype)
        if self.config.beta:
            distance = (
                divergence(exact, log_variance, self.prior[0], bounded(self.prior[1])).masked_fill(~mask, 0).sum()
            )
        return self.classifier(latent), distance

    def _scores(self, hidden: Tensor, unit_starts: Tensor, unit_ends: Tensor) -> Tensor:
        """Logits (B, U, W, M) without noise. Where spans are compressed, those of μ₃: two linear maps in a row, joined to one
        while there are few types."""
        if not self.config.compressed:
            return self.classifier(hidden, unit_starts, unit_ends, self.config.max_span_width)
        weight = self.classifier.weight @ self.mean.weight
        bias = self.classifier.weight @ self.mean.bias + self.classifier.bias
        parts = self.hidden.widths(hidden, unit_starts, unit_ends, self.config.max_span_width)
        return joined(nn.functional.linear(self.dropout(torch.relu_(part)), weight, bias) for part in parts)

    def _generate(self, name: str, where, cells: Tensor, words: Tensor, scale: int) -> dict[str, Tensor]:
        spans, gamma = self._spans_at(where, cells), self.config.gamma
        # The weight is on what goes back into the encoder. The generator's own steps would not depend on it with Adam, but
        # for its epsilon, in which a gradient of a weight like 1e-4 vanishes.
        spans = gamma * spans + (1 - gamma) * spans.detach()
        error, distance = self.generator.loss(spans, words[cells >= 0], name == "synonym")
        parts = (("words", error), ("kl", self.config.kl_weight * distance))
        return {f"{name}_{what}": _valued(value / scale, gamma) for what, value in parts}

    def _spans_at(self, where, cells: Tensor) -> Tensor:
        """s of the cells (B, N) that are no padding, row by row: (spans, 3 H); `where`: hidden states, units."""
        rows, columns = (cells >= 0).nonzero(as_tuple=True)
        chosen = cells[rows, columns]
        first, width = chosen // self.config.max_span_width, chosen % self.config.max_span_width
        return mean_spans(*where, rows, first, first + width)

    def _prediction_loss(self, logits: Tensor, mask: Tensor, annotated: Tensor, cells: Tensor, cell_labels: Tensor):
        """Binary cross-entropy of the types that are `annotated` (B, M) in a window, summed over spans and types."""
        batch, types = len(logits), logits.shape[3]
        size = mask[0].numel()
        place = cells.masked_fill(cells < 0, size)  # the last row takes the padding
        gold = logits.new_zeros(batch, (size + 1) * types, dtype=torch.float32)
        positive = place * types + cell_labels.clamp(min=0)
        gold.scatter_(1, positive.masked_fill(cell_labels < 0, size * types), 1.0)
        gold = gold[:, : size * types].view(logits.shape)
        known = torch.ones(batch, size + 1, dtype=torch.bool, device=logits.device)
        known.scatter_(1, place.masked_fill(cell_labels >= 0, size), False)
        known = known[:, :size].view(mask.shape) & mask
        weight = known.unsqueeze(3) & annotated.view(batch, 1, 1, types)
        scores = at_least_float32(logits)
        target, weight = gold.to(scores.dtype), weight.to(scores.dtype)
        return nn.functional.binary_cross_entropy_with_logits(scores, target, weight, reduction="sum")

    def _groups(self) -> list[int]:
        """For each type the first of its corpus's types with the same shared type, or itself."""
        first: dict[tuple[str, str], int] = {}
        return [first.setdefault((corpus, shared), i) for i, (corpus, _, shared) in enumerate(self.names_of_types())]

    def _annotated(self, device: torch.device) -> Tensor:
        """(tasks, M) bool: the types that each task's corpus annotates."""
        if device not in self._tables:
            types = self.config.types
            rows = [[corpus == task.corpus for corpus, _ in types] for task in self.config.tasks]
            self._tables[device] = torch.tensor(rows, device=device)
        return self._tables[device]

    def span_embeddings(
        self, input_ids: Tensor, attention_mask: Tensor, unit_starts: Tensor, unit_ends: Tensor
    ) -> Tensor:
        """What the classifier reads of all spans: μ₃, (B, U, W, n) float, or the Baseline's s, (B, U, W, 3 H); arguments as in
        `forward`."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.compressed:
            return self.mean(self._features(hidden, unit_starts, unit_ends))
        (batch, units), widest = unit_starts.shape, self.config.max_span_width
        rows, first, width = torch.ones(batch, units, widest, device=hidden.device).nonzero(as_tuple=True)
        end = (unit_starts >= 0).sum(1).clamp(min=1)  # cells beyond a window's last unit hold a span that ends there
        first, last = (torch.minimum(unit, end[rows] - 1) for unit in (first, first + width))
        return mean_spans(hidden, unit_starts, unit_ends, rows, first, last).view(batch, units, widest, -1)

    def span_vectors(
        self, input_ids: Tensor, attention_mask: Tensor, unit_starts: Tensor, unit_ends: Tensor, cells: Tensor
    ) -> Tensor:
        """s (eq. 1) of chosen spans, (N, 3 H) float, window by window: what `generator` reads.

        Args:
            input_ids, attention_mask, unit_starts, unit_ends: as in `forward`.
            cells: (B, G) int64, i W + w of the span of the units i to i + w; -1 pads. N of them are no padding.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self._spans_at((hidden, unit_starts, unit_ends), cells)

    def latents(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        unit_starts: Tensor,
        unit_ends: Tensor,
        rows: Tensor,
        first: Tensor,
        last: Tensor,
    ) -> dict[str, Tensor]:
        """s (eq. 1, (N, 3 H) float), z3 (μ₃, (N, n)) where spans are compressed, and z1 (μ₁, (N, n)) while the generator is
        there, of some spans.

        Args:
            input_ids, attention_mask, unit_starts, unit_ends: as in `forward`.
            rows, first, last: (N,) int64, each span's window, first and last unit.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        spans = mean_spans(hidden, unit_starts, unit_ends, rows, first, last)
        found = {"s": spans}
        if self.config.compressed:
            parts = self.hidden.first, self.hidden.mean, self.hidden.last
            weight = torch.cat([part.weight for part in parts], 1)
            found["z3"] = self.mean(torch.relu(nn.functional.linear(spans, weight, self.hidden.first.bias)))
        return found if self.generator is None else found | {"z1": self.generator.moments(spans)[0]}

    # ---- windows in, spans out

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """Keys: input_ids (with special tokens), unit_starts, unit_ends, corpus_ids, native_ids (whether the corpus's own types
        are told)."""
        begun, before, units = self.units_of(window, task)
        starts, ends = [before + s for s, _ in units], [before + e - 1 for _, e in units]
        native = int(task is not None and task.types == "native")
        return begun | {"unit_starts": starts, "unit_ends": ends, "native_ids": native}

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`scores` (B, U, W, M) float32: the probabilities; 0 where they don't exceed the threshold, where there is no span,
        and of types that the window's task doesn't tell.

        Where shared types are told, a corpus's own types with the same shared one are one event, whose probability is that of
        any of them, were they independent; it is the first one's.
        """
        scores = output.logits.float().sigmoid()
        groups = self._groups()
        if len(set(groups)) < len(groups):
            none = (1 - scores).clamp(min=1e-30).log()
            joint = torch.zeros_like(none).index_add_(3, torch.tensor(groups, device=scores.device), none)
            scores = scores.where(batch["native_ids"].bool().view(-1, 1, 1, 1), -joint.expm1())
        told = self._annotated(scores.device)[batch["corpus_ids"]]
        told = (told | ~told.any(1, keepdim=True)).view(len(told), 1, 1, -1)  # a task without a corpus tells all
        mask = span_mask(batch["unit_starts"] >= 0, scores.shape[2]).unsqueeze(3)
        return {"scores": scores.masked_fill(~(told & mask & (scores > self.config.threshold)), 0.0)}

    def decode(self, best: dict[str, Tensor], requests: list[Request]) -> list[list[tuple[Span, str, float]]]:
        """Nested: every type of every span that is more probable than the threshold. Flat: greedily by score without
        overlaps."""
        names, out = self.names_of_types(), []
        scores = bar_passages(best["scores"], [r.window for r in requests], self.config.units, 0.0)
        for spans, request in zip(self._spans(scores), requests, strict=True):
            units, told = request.window.units(self.config.units), 1 if request.task.types == "native" else 2
            out.append([(Span(units[i][0], units[j - 1][1]), names[kind][told], score) for i, j, kind, score in spans])
        return out

    def _spans(self, scores: Tensor) -> list[list[tuple[int, int, int, float]]]:
        """Per window (first unit, one past the last unit, type, score)."""
        if self.config.flat:
            best, kinds = scores.max(3)
            return read_cells(kinds.masked_fill(best <= 0, -1), best, flat=True)
        out: list[list[tuple[int, int, int, float]]] = [[] for _ in scores]
        places = scores.nonzero()
        for (row, first, width, kind), score in zip(places.tolist(), scores[places.unbind(1)].tolist(), strict=True):
            out[row].append((first, first + width + 1, kind, score))
        return out
