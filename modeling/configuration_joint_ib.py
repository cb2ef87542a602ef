"""The configuration of the joint information bottleneck. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import OwnTypesConfig, at_least, expect, probability
from .units import KINDS


class JointIBConfig(OwnTypesConfig):
    """Joint information bottleneck: spans classified through a compressed latent, shaped by two generative ones.

    Args:
        max_span_width: units of the widest span.
        units: what a span is made of (see `find_units`): "pretoken" or "token".
        compressed: whether two layers compress a span before the classifier ("SupVIB"), or the classifier reads the span
            embedding itself (section 5.1, "Baseline").
        hidden_size: units of the first of these layers.
        latent_size: of z₃, and of z₁ and z₂.
        beta: weight of the compression loss (eq. 6); 0: none ("SupVIB_0").
        ib_prior: r(z₃): "learnt" (a diagonal Gaussian, as Mahabadi et al. 2021) or "standard".
        gamma: weight of the generative losses (eq. 7) in what they give back to the encoder; 0: no decoders.
        kl_weight: weight of their divergences (eq. 4 and 5) beside the words' likelihood; 1: the paper's bound.
        generate_synonyms: whether synonyms are generated too ("All"), or spans reconstructed only.
        tied: what reconstruction and synonyms share: "mean" (μ), "mean_and_variance" (μ and σ) or "none".
        word_size: size of the decoders' word vectors.
        decoder_size: size of their LSTM's state.
        vocabulary: the decoders' words; four special ones come before them.
        threshold: least probability of a predicted mention, 0..1.
    """

    model_type = "mosaic_joint_ib"
    form = 3
    changed = "the Baseline has no layers that compress"

    def __init__(
        self,
        max_span_width: int = 14,
        units: str = "pretoken",
        compressed: bool = True,
        hidden_size: int = 512,
        latent_size: int = 512,
        beta: float = 1e-4,
        ib_prior: str = "learnt",
        gamma: float = 1e-2,
        kl_weight: float = 1.0,
        generate_synonyms: bool = True,
        tied: str = "mean",
        word_size: int = 200,
        decoder_size: int = 256,
        vocabulary: list[str] | None = None,
        threshold: float = 0.5,
        **kwargs,
    ):
        expect("units", units, KINDS)
        expect("ib_prior", ib_prior, ("learnt", "standard"))
        expect("tied", tied, ("mean", "mean_and_variance", "none"))
        at_least(1, max_span_width=max_span_width)
        at_least(0, beta=beta, gamma=gamma, kl_weight=kl_weight)
        probability("threshold", threshold)
        self.max_span_width = max_span_width
        self.units = units
        self.compressed = compressed
        self.hidden_size = hidden_size
        self.latent_size = latent_size
        self.beta = beta
        self.ib_prior = ib_prior
        self.gamma = gamma
        self.kl_weight = kl_weight
        self.generate_synonyms = generate_synonyms
        self.tied = tied
        self.word_size = word_size
        self.decoder_size = decoder_size
        self.vocabulary = list(vocabulary or [])
        self.threshold = threshold
        super().__init__(**kwargs)
        self._name([":".join(kind) for kind in self.types])

    def to_dict(self) -> dict:
        """Without the decoders' words where there are no decoders: they are of no use, and thousands."""
        values = super().to_dict()
        return values | {"vocabulary": []} if self.inference_only else values
