"""Options of completed labels (completion.py). Standard library only, so that --help is quick."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from mosaic_ner.data_builders.options import ArgumentError, Options, option, specs
from mosaic_ner.modeling.label_space import nearest

VALIDATION = "validation"
DEFAULT_THRESHOLD = 0.7


@dataclass
class CompletionOptions(Options):
    """Completed labels."""

    complete_with: list[str] | None = option(
        None,
        "teachers, whose answers become labels of the types that a training corpus leaves out: trained models, or recipes "
        "(*.yaml), which are trained first",
        fixed=True,
    )
    complete_threshold: str = option(
        str(DEFAULT_THRESHOLD),
        "least score of an answer that becomes a label: a number, JSON type → number, or validation (per type the one with "
        "the best F1 there)",
        fixed=True,
    )
    complete_mask_from: float | None = option(
        None,
        "answers with a score from here to the threshold are left out of the loss; default: they count as absent",
        least=0,
        most=1,
        fixed=True,
    )

    def check(self) -> None:
        super().check()
        if not self.complete_with:
            for name in ("complete_threshold", "complete_mask_from"):
                if getattr(self, name) != specs(CompletionOptions)[name].default:
                    raise ArgumentError(f"--{name} has no effect without --complete_with")
        self.thresholds([])
        one = self.thresholds(["any"]) if self.complete_threshold[:1] in "01." else None
        if self.complete_mask_from is not None and one and self.complete_mask_from >= one["any"]:
            raise ArgumentError(
                f"--complete_mask_from {self.complete_mask_from} has no effect: answers from --complete_threshold "
                f"{self.complete_threshold} on are labels; give a lower one"
            )

    def thresholds(self, types: Iterable[str]) -> dict[str, float] | None:
        """Type → least score of a label; None: they are chosen on validation documents.

        Raises:
            ArgumentError: neither a number nor a JSON object of known types and numbers.
        """
        if self.complete_threshold == VALIDATION:
            return None
        types = list(types)
        try:
            value = json.loads(self.complete_threshold)
        except ValueError:
            value = None
        given = value if isinstance(value, dict) else dict.fromkeys(types, value)
        for name, number in [*given.items(), ("", value if not isinstance(value, dict) else 0)]:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1:
                raise ArgumentError(
                    f"--complete_threshold is {self.complete_threshold!r}; expected a number from 0 to 1, JSON such as "
                    f'{{"Gene": 0.6}}, or {VALIDATION}'
                )
            if types and name and name not in types:
                raise ArgumentError(f"--complete_threshold: the teachers answer no {name!r}{nearest(name, types)}")
        return {name: float(given.get(name, DEFAULT_THRESHOLD)) for name in types}
