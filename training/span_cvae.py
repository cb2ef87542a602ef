"""CVAE-NER: spans classified per corpus, shaped by a conditional VAE over label relations (Oi and Miwa 2025): options,
training features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import Options as BaseOptions
from mosaic_ner.data_builders.options import option
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import NEGATIVE, LabelSpace
from mosaic_ner.modeling.units import KINDS

from .families import FLAT, Facts
from .features import SpanFeatures, of_whole_types

if TYPE_CHECKING:
    from .arguments import ModelOptions
    from .bundle import Bundle, TrainingData

FACTS = Facts(
    "every span of a window is classified under the guideline of one corpus, named by a token before the text",
    FLAT,
    """@inproceedings{oi2025enhancing,
  title = {Enhancing {NER} by Harnessing Multiple Datasets with Conditional Variational Autoencoders},
  author = {Oi, Taku and Miwa, Makoto},
  booktitle = {ACL 2025},
  year = {2025}
}""",
)


@dataclass
class Options(BaseOptions):
    """CVAE-NER, a span classifier."""

    bridge: list[str] | None = option(
        None, "corpora whose guideline answers for any text; default: the first that annotates every type"
    )
    units: str = option("pretoken", "what a span is made of: pretoken (pieces of words) or token", choices=KINDS)
    max_span_width: int = option(10, "units of the widest span", least=1)
    span_size: int | None = option(None, "size of a span's embedding; default: the encoder's hidden size", least=1)
    hidden_size: int = option(150, "units of the classifier's first layer", least=1)
    labels_per: str = option("corpus", "outputs per corpus, or shared between corpora", choices=("corpus", "shared"))
    alpha: float = option(1e-4, "weight of the CVAE's loss; 0: no CVAE", least=0)
    prior: str = option(
        "full",
        "initial prior distribution vectors: full, fixed (not trained), unshared, shared or random",
        choices=("full", "fixed", "unshared", "shared", "random"),
    )
    latent_size: int = option(150, "size of the latent variable", least=1)
    threshold: float = option(0.0, "least probability of a predicted mention", least=0, most=1)
    flat: bool = option(True, "no overlapping mentions; false: nested ones")

    @property
    def outputs_per_corpus(self) -> bool:
        """See families.py."""
        return self.labels_per == "corpus"


class Features(SpanFeatures):
    """Gold cells with the number of their corpus's label; a span has one type."""

    def __init__(self, model, windower, space: LabelSpace):
        super().__init__(model, windower, space)
        self.numbers = {label: number for number, label in enumerate(model.config.labels.labels)}
        self.columns = model.config.outputs[1]

    def taught(self, document: Document) -> set[str]:
        return (
            super().taught(document)
            if self.model.config.labels_per == "corpus"
            else of_whole_types(document, self.space)
        )

    def _type_mask(self, document: Document) -> list[int]:
        """1 for each output of the document's corpus that it teaches, the negative's among them, 0 for the others."""
        own = {(document.corpus, name) for name in (*self.taught(document), NEGATIVE)}
        known = {self.columns[number] for label, number in self.numbers.items() if label in own}
        return [int(output in known) for output in range(self.model.config.num_labels)]

    def _limits(self, found: list[tuple[int, int, Mention]]) -> dict[Mention, str]:
        wide = super()._limits(found)
        types: dict[tuple[int, int], str] = {}
        rest = [m for _, _, m in found if m not in wide]
        return wide | {m: "second_type" for m in rest if types.setdefault((m.start, m.end), m.type) != m.type}


def build(model: ModelOptions, own: Options, data: TrainingData) -> Bundle:
    """A token and outputs per trained corpus; other corpora are answered under the default corpora's guidelines."""
    from mosaic_ner.modeling.configuration_ner import Task
    from mosaic_ner.modeling.configuration_span_cvae import SpanCVAEConfig
    from mosaic_ner.modeling.modeling_span_cvae import SpanCVAEForNER

    from .bundle import add_tags, assemble, common, encoder_parts

    parts = encoder_parts(model, data)
    space = data.space.restricted_to(data.corpora)
    default = own.bridge or [c for c in data.corpora if set(space.shared_types_of(c)) == set(space.shared_types)][:1]
    for corpus in default:
        space.native_types(corpus)  # an unknown corpus is an error
    ids = add_tags(parts, [f"<{corpus}>" for corpus in data.corpora])
    tasks = [Task(c, (*parts.cls_ids, ids[f"<{c}>"]), tuple(parts.sep_ids), corpus=c) for c in data.corpora]
    values = own.values_for(SpanCVAEConfig) | common(model, space, parts)
    network = SpanCVAEForNER(SpanCVAEConfig(tasks=tasks, default_tasks=default, flat=own.flat, **values))
    return assemble(network, parts, model, Features, data.space)
