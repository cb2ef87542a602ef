"""What the tests of the joint information bottleneck share: a small model, and windows of training data."""

from __future__ import annotations

import functools

from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.modeling.document import Document

SMALL = {"family": "joint_ib", "hidden_size": 12, "latent_size": 8, "max_span_width": 4, "gamma": 0.1}


@functools.cache
def documents() -> list[Document]:
    corpora = load_demo_corpora()
    return [d for corpus in ("demo_all", "demo_gene") for d in corpora[corpus]["train"][:6]]


def batch_of(bundle, count=4):
    features = bundle.features.build(documents()).features
    chosen = [f for f in features if f["span_cells"]][:count]
    assert len(chosen) == count
    return bundle.collator(chosen)


def gradients(model, loss) -> set[str]:
    model.zero_grad()
    loss.backward()
    return {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
