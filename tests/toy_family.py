"""A whole family in one file: types are told of each unit of a text by itself, and neighbours of a type are one mention.

A family of the package has its model and config in modeling/, which ships, and is read without torch until it is built.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from mosaic_ner.data_builders.options import Options as BaseOptions
from mosaic_ner.data_builders.options import option
from mosaic_ner.modeling.configuration_ner import OwnTypesConfig, expect
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.modeling_ner import NEROutput, OwnTypesPreTrainedModel, build_encoder
from mosaic_ner.modeling.spans import take_units
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Span, Window, align
from mosaic_ner.training.bundle import Bundle, assemble, encoder_parts, own_types
from mosaic_ner.training.families import Facts
from mosaic_ner.training.features import IGNORE, Grid, UnitFeatures, without_repeats
from torch import nn
from transformers import initialization as init

FACTS = Facts(
    "the types of each unit are told by itself", "Of mentions of one type that touch or overlap it finds one."
)


@dataclass
class Options(BaseOptions):
    """Toy, a classifier of units."""

    outputs_per_corpus = True

    units: str = option("pretoken", "what is classified: pretoken (pieces of words) or token", choices=KINDS)


class ToyConfig(OwnTypesConfig):
    """`units`: see `find_units`."""

    model_type = "mosaic_toy"

    def __init__(self, units: str = "pretoken", **kwargs):
        expect("units", units, KINDS)
        self.units = units
        super().__init__(**kwargs)
        self._name([":".join(kind) for kind in self.types])


class ToyForNER(OwnTypesPreTrainedModel):
    """Encoder → a sigmoid per unit and type. B windows, U units, M types."""

    config_class = ToyConfig
    padding = MappingProxyType({"unit_starts": -1, "unit_labels": IGNORE})

    def __init__(self, config: ToyConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        self.classifier = nn.Linear(config.encoder_config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=0.02)
            init.zeros_(module.bias)

    def forward(self, input_ids, attention_mask, unit_starts, unit_labels=None, **kwargs) -> NEROutput:
        """Logits (B, U, M); `unit_labels` (B, U, M) int64: 1, 0, or -100 for what is unknown."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier(take_units(hidden, unit_starts))
        if unit_labels is None:
            return NEROutput(logits=logits)
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits, unit_labels.clamp(min=0).float(), reduction="none"
        )
        loss = losses[unit_labels >= 0].sum() / (len(input_ids) * self.config.max_tokens)
        return NEROutput(loss=loss, loss_terms={"bce": loss}, logits=logits)

    def features(self, window: Window, task=None) -> dict:
        begun, before, units = self.units_of(window, task)
        return begun | {"unit_starts": [before + start for start, _ in units]}

    def best_labels(self, output: NEROutput, batch: dict) -> dict:
        return {"scores": output.logits.float().sigmoid()}

    def decode(self, best: dict, requests: list) -> list[list[tuple[Span, str, float]]]:
        out = []
        for scores, request in zip(best["scores"], requests, strict=True):
            units, task, found = request.window.units(self.config.units), request.task, []
            borders = request.window.unit_passages(self.config.units)
            for kind, (corpus, own, shared) in enumerate(self.names_of_types()):
                likely = (scores[:, kind] > 0.5).tolist()
                for (inside, _), run in groupby(
                    range(len(units)), lambda n, likely=likely, borders=borders: (likely[n], bisect_right(borders, n))
                ):
                    if inside and task.corpus in (None, corpus):
                        place = [*run]
                        span = Span(units[place[0]][0], units[place[-1]][1])
                        found.append(
                            (span, own if task.types == "native" else shared, scores[place, kind].mean().item())
                        )
            out.append(found)
        return out


class Features(UnitFeatures):
    """A label per unit and type; what can't be expressed is unknown, as are the types of other corpora."""

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        return {}

    def _document(self, document: Document, windows: list[Window]) -> Iterator[tuple[str, dict]]:
        document = without_repeats(document)
        lost = self._lost(document, windows)
        types, task = self.model.config.types, self.model.config.task(document.corpus)
        for window in windows:
            grid = Grid(window, self.model.config.units)
            labels = [[0 if known else IGNORE for known in self._type_mask(document)] for _ in grid.units]
            for mention in document.mentions:
                for unit in grid.touched(mention):
                    labels[unit][types.index((document.corpus, mention.type))] = IGNORE
            for first, end, mention in grid.place(align(window, [m for m in document.mentions if m not in lost])):
                for unit in range(first, end):
                    labels[unit][types.index((document.corpus, mention.type))] = 1
            yield document.corpus, self.model.features(window, task) | {"unit_labels": labels}


def build(model, own: Options, data) -> Bundle:
    """Outputs for the types of every trained corpus."""
    parts = encoder_parts(model, data)
    config = ToyConfig(**own.values_for(ToyConfig), **own_types(model, data, parts))
    return assemble(ToyForNER(config), parts, model, Features, data.space)
