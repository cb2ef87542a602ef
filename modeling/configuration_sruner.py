"""The configuration of SRU-NER. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import OwnTypesConfig, at_least, expect
from .units import KINDS


class SRUNERConfig(OwnTypesConfig):
    """SRU-NER: a transition system with a slot memory, for nested mentions and disjoint label sets.

    Args:
        latents_per_action: latent vectors of the memory, as a multiple of the actions (Table 12: 10 for GENIA, else 2).
        context: slots on either side that have positions of their own (Table 12: 240 for GENIA, else 150).
        train_scale: whether α of eq. 5 is trained (GENIA) or stays 1 (the other experiments).
        history: what weighs the actions in Ω (eq. 2): "softmax" (the authors' code) or "logits" (the paper).
        follow_gold: in training Ω also has the gold actions that the pointer follows, as in prediction it has the chosen one;
            False: only actions that the model finds no less likely than SH (the paper), so at first almost none.
        slot_dropout: dropout on latent vectors and positions; `dropout` is that before the MLP.
        max_actions: steps between two words at most, so that prediction ends; a type can open or close as many mentions there.
        units: what a word is (see `find_units`): "pretoken" or "token".
    """

    model_type = "mosaic_sruner"

    def __init__(
        self,
        latents_per_action: int = 2,
        context: int = 150,
        train_scale: bool = False,
        history: str = "softmax",
        follow_gold: bool = True,
        slot_dropout: float = 0.2,
        max_actions: int = 8,
        units: str = "pretoken",
        **kwargs,
    ):
        expect("history", history, ("logits", "softmax"))
        expect("units", units, KINDS)
        at_least(1, latents_per_action=latents_per_action, max_actions=max_actions)
        at_least(0, context=context)
        self.latents_per_action = latents_per_action
        self.context = context
        self.train_scale = train_scale
        self.history = history
        self.follow_gold = follow_gold
        self.slot_dropout = slot_dropout
        self.max_actions = max_actions
        self.units = units
        super().__init__(**kwargs)
        self._name(["SH", "EOA", *(f"{act}-{c}:{t}" for c, t in self.types for act in ("TR", "RE"))])
