"""The configuration of SRU-NER. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import OwnTypesConfig, expect


class SRUNERConfig(OwnTypesConfig):
    """SRU-NER: a transition system with a slot memory, for nested mentions and disjoint label sets.

    Args:
        latents_per_action: latent vectors of the memory, as a multiple of the actions (Table 12: 10 for GENIA, else 2).
        context: slots on either side that have positions of their own (Table 12: 240 for GENIA, else 150).
        train_scale: whether α of eq. 5 is trained (GENIA) or stays 1 (the other experiments).
        history: what weighs the actions in Ω (eq. 2): "softmax" (the authors' code; on GENIA's development sentences far
            better after equal epochs) or "logits" (the paper).
        follow_gold: in training Ω also has the gold actions that the pointer follows, as in prediction it has the chosen one;
            False: only actions that the model finds no less likely than SH (the paper), so at first almost none.
        write: the slot that Ω goes to: "last", that of the last word read (the paper), or "next", for TR and RE that of the
            word to come (the authors' code).
        loss_mean: "windows", the mean over windows of the mean over their steps (the paper), or "steps", the mean over all
            steps of a batch (the authors' code): then long windows weigh more.
        slot_dropout: dropout on latent vectors and positions; `dropout` is that before the MLP.
        max_actions: steps between two words at most, so that prediction ends; a type can open or close as many mentions there.
        boundaries: what a word is: "word" (pieces of words, see spans.py) or "token".
    """

    model_type = "mosaic_sruner"

    def __init__(
        self,
        latents_per_action: int = 2,
        context: int = 150,
        train_scale: bool = False,
        history: str = "softmax",
        follow_gold: bool = True,
        write: str = "last",
        loss_mean: str = "windows",
        slot_dropout: float = 0.2,
        max_actions: int = 8,
        boundaries: str = "word",
        **kwargs,
    ):
        expect("history", history, ("logits", "softmax"))
        expect("write", write, ("last", "next"))
        expect("loss_mean", loss_mean, ("windows", "steps"))
        expect("boundaries", boundaries, ("word", "token"))
        for name, value, least in (
            ("latents_per_action", latents_per_action, 1),
            ("context", context, 0),
            ("max_actions", max_actions, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; expected {least} or more")
        self.latents_per_action = latents_per_action
        self.context = context
        self.train_scale = train_scale
        self.history = history
        self.follow_gold = follow_gold
        self.write = write
        self.loss_mean = loss_mean
        self.slot_dropout = slot_dropout
        self.max_actions = max_actions
        self.boundaries = boundaries
        super().__init__(**kwargs)
        self._name(["SH", "EOA", *(f"{act}-{c}:{t}" for c, t in self.types for act in ("TR", "RE"))])
