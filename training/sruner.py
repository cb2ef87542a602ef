"""SRU-NER: mentions as actions, chosen one after the other with a memory of slots (Ruano et al. 2025): options, training
features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import Options as BaseOptions
from mosaic_ner.data_builders.options import option
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.transitions import encode, reduction, transition, without_crossing, without_crowding
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Window, align

from .families import NESTED, Facts
from .features import Grid, UnitFeatures, without_repeats

if TYPE_CHECKING:
    from .arguments import ModelOptions
    from .bundle import Bundle, TrainingData

FACTS = Facts(
    "actions that open and close mentions are chosen one after the other, with a memory of slots",
    NESTED,
    """@inproceedings{ruano2025effective,
  title = {Effective Multi-Task Learning for Biomedical Named Entity Recognition},
  author = {Ruano, Jo{\\~a}o and Correia, Gon{\\c{c}}alo M. and Barreiros, Leonor and Mendes, Afonso},
  booktitle = {Proceedings of the 24th Workshop on Biomedical Language Processing},
  pages = {225--239},
  year = {2025},
  doi = {10.18653/v1/2025.bionlp-1.20}
}""",
)


@dataclass
class Options(BaseOptions):
    """SRU-NER, a transition system."""

    outputs_per_corpus = True

    units: str = option("pretoken", "what a word is: pretoken (pieces of words) or token", choices=KINDS)
    latents_per_action: int = option(2, "latent vectors of the memory, as a multiple of the actions", least=1)
    context: int = option(150, "slots on either side with positions of their own", least=0)
    train_scale: bool = option(False, "train the scale of slots against positions")
    history: str = option("softmax", "what weighs past actions: softmax or logits", choices=("softmax", "logits"))
    follow_gold: bool = option(True, "in training the memory is told the gold actions, however unlikely")
    slot_dropout: float = option(0.2, "dropout on latent vectors and positions", least=0, below=1)
    flat: bool = option(False, "no overlapping mentions")


class Features(UnitFeatures):
    """Gold actions of the transition system, under the corpus's own types; of the types that the document declares, every other
    action is wrong."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.numbers = {kind: number for number, kind in enumerate(model.config.types)}

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        mentions = {(first, end, m.type): m for first, end, m in found}
        kept, crossing = without_crossing(list(mentions))
        _, crowded = without_crowding(kept, self.model.config.max_actions)
        return {mentions[key]: "crossing" for key in crossing} | {mentions[key]: "crowded" for key in crowded}

    def _document_limits(self, mentions: list[Mention]) -> dict[Mention, str]:
        # Of two that cross, each may be another window's.
        found = {(m.start, m.end, m.type): m for m in mentions}
        return {found[key]: "crossing" for key in without_crossing(list(found))[1]}

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        document = without_repeats(document)
        lost = self._lost(document, windows)
        usable = [m for m in document.mentions if m not in lost]
        task, mask = self.model.config.task(document.corpus), self._type_mask(document)
        for window in windows:
            feature = self.model.features(window, task) | {"type_mask": mask}
            yield document.corpus, feature | self._actions(document.corpus, window, usable, [*lost, *document.unclear])

    def _actions(self, corpus: str, window: Window, usable: list[Mention], lost: list[Mention]) -> dict[str, list[int]]:
        grid = Grid(window, self.model.config.units)
        found = {(s, e, self.numbers[corpus, m.type]): m for s, e, m in grid.place(align(window, usable))}
        gold, _ = without_crossing(list(found))
        steps = list(enumerate(encode(gold, len(grid.units))))
        # Where a mention is that this window sees in part, that can't be written, or that may or may not be there, actions of
        # its type are neither right nor wrong.
        written = {found[mention] for mention in gold}
        unclear = [
            (place, act(self.numbers[corpus, m.type]))
            for m in dict.fromkeys([*lost, *(m for m in usable if m not in written)])
            for place in grid.places(m)
            for act in (transition, reduction)
        ]
        return {
            "gold_steps": [number for number, step in steps for _ in step],
            "gold_actions": [action for _, step in steps for action in step],
            "unclear_places": [place for place, _ in unclear],
            "unclear_actions": [action for _, action in unclear],
        }


def build(model: ModelOptions, own: Options, data: TrainingData) -> Bundle:
    """Actions for the types of every trained corpus; each answers for its own, or all together."""
    from mosaic_ner.modeling.configuration_sruner import SRUNERConfig
    from mosaic_ner.modeling.modeling_sruner import SRUNERForNestedNER

    from .bundle import assemble, encoder_parts, own_types

    parts = encoder_parts(model, data)
    config = SRUNERConfig(flat=own.flat, **own.values_for(SRUNERConfig), **own_types(model, data, parts))
    return assemble(SRUNERForNestedNER(config), parts, model, Features, data.space)
