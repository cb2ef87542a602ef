"""SRU-NER: mentions as actions, chosen one after the other with a memory of slots (Ruano et al. 2025). Ships to the Hub."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .configuration_ner import Task
from .configuration_sruner import SRUNERConfig
from .inference import Request
from .modeling_ner import NEROutput, OwnTypesPreTrainedModel, at_least_float32, build_encoder
from .slot_memory import SlotMemory, SlotState
from .spans import take_units
from .transitions import EOA, SH, action_count, decode, reduction, transition
from .windowing import Span, Window


class SRUNERForNestedNER(OwnTypesPreTrainedModel):
    """Encoder → max-pooled words → slot memory and MLP, action by action (section 3.2).

    Dropout on the MLP's input is drawn for each step on what is recalled, and once for all steps on the words.
    Parameters beside the encoder stay in float32 when a model is loaded in half precision: rounding adds up over the steps.
    The types of all corpora are different types: a window's actions are those of every corpus at once. B windows, N words,
    Q = N + 2 slots (before and after the words there is one), A = 2 M + 2 actions, T steps.
    """

    config_class = SRUNERConfig
    padding = MappingProxyType(
        dict.fromkeys(
            ("unit_starts", "unit_ends", "gold_steps", "gold_actions", "unclear_places", "unclear_actions"), -1
        )
    )
    # Not "word", which is part of the names of word embeddings.
    _keep_in_fp32_modules_strict = ("memory", "actions", "first", "word.weight", "word.bias", "recall", "classifier")

    def __init__(self, config: SRUNERConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        size, actions = config.encoder_config.hidden_size, config.num_labels
        self.memory = SlotMemory(
            size, config.latents_per_action * actions, config.context, config.train_scale, config.slot_dropout
        )
        self.actions = nn.Embedding(actions, size)
        self.first = nn.Parameter(torch.empty(size))  # BOA
        self.dropout = nn.Dropout(config.dropout)
        self.word = nn.Linear(size, size)  # with `recall`, the first layer over [next word ; h]
        self.recall = nn.Linear(size, size, bias=False)
        self.classifier = nn.Linear(size, actions)
        self._tables: dict[torch.device, Tensor] = {}
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            # By the size of the input, as PyTorch does: with 0.02, small encoders never got beyond the actions' frequencies.
            init.normal_(module.weight, mean=0.0, std=(3 * module.in_features) ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, mean=0.0, std=0.02)
        elif isinstance(module, SlotMemory):
            # With attention spread over all slots, training stands still for hundreds of steps until it finds the one slot
            # that tells whether a mention has just been opened: the pointer's. So it begins there.
            latents, positions = 0.02 * torch.randn_like(module.latents), 0.02 * torch.randn_like(module.positions)
            latents[0] = nn.functional.normalize(torch.randn_like(latents[0]), dim=0)
            positions[module.context] = 5 * latents[0]
            init.copy_(module.latents, latents)
            init.copy_(module.positions, positions)
            for scale in (module.output_scale, module.score_scale, module.scale):
                init.ones_(scale)
        elif isinstance(module, SRUNERForNestedNER):
            init.normal_(self.first, mean=0.0, std=0.02)
            bias = torch.full_like(self.classifier.bias, -3.0)  # about how rare the others are
            bias[SH] = 3.0
            init.copy_(self.classifier.bias, bias)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        unit_starts: Tensor | None = None,
        unit_ends: Tensor | None = None,
        corpus_ids: Tensor | None = None,
        gold_steps: Tensor | None = None,
        gold_actions: Tensor | None = None,
        unclear_places: Tensor | None = None,
        unclear_actions: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs,
    ) -> NEROutput:
        """The chosen actions, or with gold actions the loss.

        Args:
            input_ids: (B, S) int64, special tokens included.
            attention_mask: (B, S) int64.
            unit_starts, unit_ends: (B, Q) int64, the first and the last token of each slot, those before and after the words
                included; -1 pads at the end. By default every token between the special ones is a word.
            corpus_ids: (B,) int64, numbers in `config.tasks`; needed with gold actions, for what the corpus annotates.
            gold_steps, gold_actions: (B, G) int64, at which step which action is right (see transitions.py); -1 pads.
            unclear_places, unclear_actions: (B, P) int64, after how many words which action is neither right nor wrong where
                it is not gold; -1 pads.
            token_type_ids: ignored (the segments of a window are all alike).
        Returns:
            NEROutput with logits (B, T, A); without gold actions those that a window can't choose at a step are -inf (see
            `_barred`). The loss is the mean over windows of the mean over steps of the mean binary cross-entropy of the
            actions (section 3.3), in which types that the corpus doesn't annotate have no part, nor what is unclear.
        Raises:
            ValueError: gold actions without corpus_ids, or unit_starts without unit_ends.
        """
        if gold_steps is not None and corpus_ids is None:
            raise ValueError(
                "gold actions need corpus_ids: which corpus a window is from says which types it annotates"
            )
        if (unit_starts is None) != (unit_ends is None):
            raise ValueError("expected both unit_starts and unit_ends, or neither; got one of them")
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **kwargs
        ).last_hidden_state
        if unit_starts is None:
            unit_starts = unit_ends = self._every_token(hidden, attention_mask)
        slots = pool_words(hidden, unit_starts, unit_ends).to(self.first.dtype)
        mask = unit_starts >= 0
        with torch.autocast(hidden.device.type, enabled=False):  # errors would add up over the steps
            state = self.memory.start(slots, mask, self.word(self.dropout(slots)))
            if gold_steps is None:
                return NEROutput(logits=self._choose(state, mask))
            count, actions = int(gold_steps.max()) + 1, self.config.num_labels
            gold = _table(gold_steps, gold_actions, count, actions)
            unclear = None
            if unclear_places is not None and unclear_places.shape[1]:
                unclear = _table(unclear_places, unclear_actions, slots.shape[1], actions)
            return self._follow(state, gold, gold_steps.amax(1) + 1, corpus_ids, unclear)

    def _every_token(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, Q) int64: each token between the special ones as a word, the first and the last token around them."""
        before, after = len(self.config.cls_ids), len(self.config.sep_ids)
        length = torch.full_like(hidden[:, :1, 0], hidden.shape[1], dtype=torch.long)
        length = length if attention_mask is None else attention_mask.sum(1, keepdim=True)
        last = (length - before - after).clamp(min=0) + 1
        numbers = torch.arange(int(last.max()) + 1, device=hidden.device)
        words = (numbers + before - 1).where(numbers > 0, 0)
        return words.where(numbers < last, length - 1).masked_fill(numbers > last, -1)

    def _scores(self, state: SlotState, vector: Tensor, pointer: Tensor) -> Tensor:
        """Logits of the next action, (B, A)."""
        read, following = state.step(vector, pointer)
        return self.classifier(torch.tanh(following + self.recall(self.dropout(read))))

    def _history(self, logits: Tensor, actions: Tensor, taken: Tensor | None = None) -> Tensor:
        """Ω (eq. 2): of the actions (A, n) no less likely than SH, and those taken (B, A), the weighted sum, (B, n)."""
        weights = logits.softmax(1) if self.config.history == "softmax" else logits
        chosen = logits >= logits[:, SH : SH + 1]
        return weights.where(chosen if taken is None else chosen | taken, 0) @ actions

    def _choose(self, state: SlotState, mask: Tensor) -> Tensor:
        batch, device = len(mask), mask.device
        count = mask.sum(1) - 2  # words
        pointer = torch.zeros(batch, dtype=torch.long, device=device)
        waiting, limit = pointer, self.config.max_actions
        running = torch.ones(batch, dtype=torch.bool, device=device)
        vector, embeddings = state.wide(self.first).expand(batch, -1), state.wide(self.actions.weight)
        barred = self._barred(device)
        steps = []
        for number in range(int(count.max()) * (limit + 1) + limit + 1):
            if number % _patience(device) == 0 and not running.any():
                break
            logits = self._scores(state, vector, pointer)
            case = (pointer >= count) + 2 * (waiting >= limit)
            choices = logits + barred[case.where(running, 4)]
            steps.append(choices)
            best = choices.argmax(1)
            shifted = best == SH
            pointer = pointer + (shifted & running)
            waiting = (waiting + 1) * ~shifted
            running = running & (best != EOA)
            vector = self._history(logits, embeddings)
        return torch.stack(steps, 1)

    def _barred(self, device) -> Tensor:
        """(5, A) float: -inf for the actions that can't be chosen: while there are words, after the last, both again after
        `max_actions` steps without reading one, and after EOA."""
        actions = torch.arange(self.config.num_labels, device=device)
        reading, read = actions == EOA, (actions == SH) | (actions > EOA) & (actions % 2 == 0)
        rows = [reading, read, actions != SH, actions != EOA, actions != EOA]
        return torch.zeros(5, len(actions), device=device).masked_fill_(torch.stack(rows), float("-inf"))

    def _follow(self, state: SlotState, gold: Tensor, lengths: Tensor, corpus_ids: Tensor, unclear) -> NEROutput:
        """The loss: gold (B, G, A) bool, of which the first `lengths` (B,) steps count; unclear (B, Q, A) bool or None.

        The pointer follows the gold actions. Written to the memory are the model's own and, with `follow_gold`, the gold ones.
        Where an action that has no target (its type is another corpus's, or unclear here) beats the gold SH, the model may
        have it its way: SH is taken one step later, and has no target now either.
        """
        batch, longest, count = gold.shape
        device = gold.device
        rows = torch.arange(batch, device=device)
        own = self._annotated(device)[corpus_ids]
        may_delay = unclear is not None or not bool(own.all())
        pointer = torch.zeros(batch, dtype=torch.long, device=device)
        row = pointer
        vector, embeddings = state.wide(self.first).expand(batch, -1), state.wide(self.actions.weight)
        delayed = torch.zeros(batch, dtype=torch.bool, device=device)
        running = ~delayed
        logits, targets, weights = [], [], []
        # Delays make it longer than the gold; whether they did is asked seldom where asking waits for the device.
        every = _patience(device)
        while len(logits) < longest or (may_delay and (len(logits) % every or running.any())):
            scores = self._scores(state, vector, pointer)
            target = gold[rows, row.clamp(max=longest - 1)]
            known = own if unclear is None else own & ~unclear[rows, pointer] | target
            shift = target[:, SH]
            delay = shift & ~delayed & ((scores > scores[:, SH : SH + 1]) & ~known).any(1)
            weight = known & running.unsqueeze(1)
            weight = torch.cat([(weight[:, SH] & ~delay).unsqueeze(1), weight[:, SH + 1 :]], 1)
            logits.append(scores)
            targets.append(target)
            weights.append(weight)
            shifted = shift & running & ~delay
            pointer, row = pointer + shifted, row + (running & ~delay)
            delayed, running = delay, row < lengths
            taken = target if self.config.follow_gold else None
            vector = self._history(scores, embeddings, taken)
        scores = at_least_float32(torch.stack(logits, 1))
        target, weight = torch.stack(targets, 1).to(scores.dtype), torch.stack(weights, 1).to(scores.dtype)
        losses = nn.functional.binary_cross_entropy_with_logits(scores, target, weight, reduction="none")
        taken = weight[:, :, EOA].sum(1).clamp(min=1)  # EOA has a target at every step
        loss = (losses.sum((1, 2)) / (taken * count)).mean()
        return NEROutput(loss=loss, loss_terms={"actions": loss}, logits=scores)

    def _annotated(self, device: torch.device) -> Tensor:
        """(tasks, A) bool: the actions of the types that each task's corpus annotates, with SH and EOA."""
        if device not in self._tables:
            types, rows = self.config.types, []
            for task in self.config.tasks:
                kinds = [n for n, (corpus, _) in enumerate(types) if corpus == task.corpus]
                own = {SH, EOA, *(transition(k) for k in kinds), *(reduction(k) for k in kinds)}
                rows.append([action in own for action in range(action_count(len(types)))])
            self._tables[device] = torch.tensor(rows, device=device)
        return self._tables[device]

    # ---- windows in, spans out

    def features(self, window: Window, task: Task | None = None) -> dict[str, list[int] | int]:
        """Keys: input_ids (with special tokens), unit_starts and unit_ends (of the slots), corpus_ids."""
        begun, before, units = self.units_of(window, task)
        last = len(begun["input_ids"]) - 1
        return begun | {
            "unit_starts": [0, *(before + start for start, _ in units), last],
            "unit_ends": [0, *(before + end - 1 for _, end in units), last],
        }

    def best_labels(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`best` (B, T) int64, the likeliest action of each step, and `scores` (B, T, A) float32, the probabilities."""
        return {"best": output.logits.argmax(2), "scores": output.logits.float().sigmoid()}

    def decode(self, best: dict[str, Tensor], requests: list[Request]) -> list[list[tuple[Span, str, float]]]:
        """Where TR or RE is the likeliest action of a step, all of them that are more likely than not are taken."""
        names = self.names_of_types()
        likely = (best["scores"] > 0.5) & (best["best"] > EOA).unsqueeze(2)
        likely[:, :, : EOA + 1] = False
        taken: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for (row, number, action), score in zip(
            likely.nonzero().tolist(), best["scores"][likely].tolist(), strict=True
        ):
            taken.setdefault((row, number), []).append((action, score))
        out = []
        for row, (actions, request) in enumerate(zip(best["best"].tolist(), requests, strict=True)):
            units, task = request.window.units(self.config.units), request.task
            steps = [
                [(action, 1.0)] if action in (SH, EOA) else taken.get((row, number), ())
                for number, action in enumerate(actions)
            ]
            found = []
            for first, last, kind, score in decode(steps, request.window.unit_passages(self.config.units)):
                corpus, own, shared = names[kind]
                if task.corpus is None or corpus == task.corpus:
                    span = Span(units[first][0], units[last - 1][1])
                    found.append((span, own if task.types == "native" else shared, score))
            out.append(found)
        return out


def _patience(device: torch.device) -> int:
    """Steps between two looks whether all windows have ended."""
    return 1 if device.type == "cpu" else 16


def _table(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """(B, height, width) bool: True at the rows and columns (B, n) int64 given, -1 being padding."""
    cells = (rows * width + columns).where(rows >= 0, height * width)
    table = torch.zeros(len(rows), height * width + 1, dtype=torch.bool, device=rows.device)
    return table.scatter_(1, cells, True)[:, :-1].view(-1, height, width)


def pool_words(hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """The greatest value of each feature over each word's tokens.

    Args:
        hidden: (B, S, H) float. starts, ends: (B, Q) int64, a word's first and last token; -1 for padding.
    Returns:
        (B, Q, H), zeros for padding.
    """
    lengths = ends - starts + 1
    # Row t of level k: the greatest of the 2ᵏ tokens from t on. Two of them, which may overlap, cover a word of any length, so
    # an endless word (a sequence, a text without spaces) costs its logarithm.
    levels, width = [hidden], 1
    while 2 * width <= int(lengths.max()):
        above = levels[-1]
        levels.append(torch.cat([torch.maximum(above[:, :-width], above[:, width:]), above[:, -width:]], 1))
        width *= 2
    powers = 2 ** torch.arange(1, len(levels), device=hidden.device)
    level = (lengths.unsqueeze(2) >= powers).sum(2)
    table, row = torch.cat(levels, 1), level * hidden.shape[1]
    pooled = torch.maximum(take_units(table, row + starts), take_units(table, row + ends + 1 - 2**level))
    return pooled * (starts >= 0).unsqueeze(2)
