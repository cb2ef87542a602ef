"""What the tests of CVAE-NER share: a small model, and windows of training data."""

from __future__ import annotations

from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_ner import NEROutput

SMALL = {"family": "span_cvae", "max_span_width": 3, "latent_size": 5, "hidden_size": 7, "dropout": 0.0}
EXAMPLE = LabelSpace(
    {
        "target": {"Chemical_T": "Chemical", "Protein_T": "Protein"},
        "source": {"Disease_S": None, "Protein_S": "Protein"},
    }
)


def some_features(bundle, demo_corpora, corpora=tuple(DEMO_LABEL_SPACE.corpora), count=2) -> list[dict]:
    """Short windows of several corpora with gold spans, of different lengths."""
    found = []
    for corpus in corpora:
        built = bundle.features.build(demo_corpora[corpus]["train"][:6]).features
        found += sorted((f for f in built if f["cells"]), key=lambda f: len(f["input_ids"]))[:count]
    assert len({len(f["input_ids"]) for f in found}) > 1
    return found


def run(bundle, features) -> tuple[NEROutput, dict]:
    batch = bundle.collator(features)
    return bundle.model(**batch), batch
