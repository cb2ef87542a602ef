"""The configuration of the joint information bottleneck. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import OwnTypesConfig, expect


class JointIBConfig(OwnTypesConfig):
    """Joint information bottleneck: spans classified through a compressed latent, shaped by two generative ones.

    Args:
        max_span_width: units of the widest span.
        boundaries: where a span may begin and end: "word" (see `find_units`) or "token".
        hidden_size: units of the first of the two layers that compress a span.
        latent_size: of z₃, and of z₁ and z₂.
        noise: whether z₃ is sampled in training; without it and with `beta` 0 the model is a plain span classifier.
        beta: weight of the compression loss (eq. 6); 0: none ("SupVIB_0").
        ib_prior: r(z₃): "learnt" (a diagonal Gaussian, as Mahabadi et al. 2021) or "standard".
        gamma: weight of the generative losses (eq. 7) in what they give back to the encoder; 0: no decoders.
        kl_weight: weight of their divergences (eq. 4 and 5) beside the words' likelihood; 1: the paper's bound.
        synonyms: whether synonyms are generated too ("All"), or spans reconstructed only.
        shared: what reconstruction and synonyms share: "mean" (μ), "both" (μ and σ) or "nothing".
        word_size: size of the decoders' word vectors.
        decoder_size: size of their LSTM's state.
        vocabulary: the decoders' words; four special ones come before them.
        pretraining: epochs at the beginning that train the generative parts alone.
        annealing: epochs over which the weights of the divergences rise to their full values.
        threshold: least probability of a predicted mention, 0..1.
    """

    model_type = "mosaic_joint_ib"

    def __init__(
        self,
        max_span_width: int = 14,
        boundaries: str = "word",
        hidden_size: int = 512,
        latent_size: int = 512,
        noise: bool = True,
        beta: float = 1e-4,
        ib_prior: str = "learnt",
        gamma: float = 1e-2,
        kl_weight: float = 1.0,
        synonyms: bool = True,
        shared: str = "mean",
        word_size: int = 200,
        decoder_size: int = 256,
        vocabulary: list[str] | None = None,
        pretraining: float = 0.0,
        annealing: float = 0.0,
        threshold: float = 0.5,
        **kwargs,
    ):
        expect("boundaries", boundaries, ("word", "token"))
        expect("ib_prior", ib_prior, ("learnt", "standard"))
        expect("shared", shared, ("mean", "both", "nothing"))
        if max_span_width < 1:
            raise ValueError(f"max_span_width is {max_span_width}; expected 1 or more")
        weights = {
            "beta": beta,
            "gamma": gamma,
            "kl_weight": kl_weight,
            "pretraining": pretraining,
            "annealing": annealing,
        }
        for name, value in weights.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; expected 0 or more")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; expected a probability, 0 to 1")
        self.max_span_width = max_span_width
        self.boundaries = boundaries
        self.hidden_size = hidden_size
        self.latent_size = latent_size
        self.noise = noise
        self.beta = beta
        self.ib_prior = ib_prior
        self.gamma = gamma
        self.kl_weight = kl_weight
        self.synonyms = synonyms
        self.shared = shared
        self.word_size = word_size
        self.decoder_size = decoder_size
        self.vocabulary = list(vocabulary or [])
        self.pretraining = pretraining
        self.annealing = annealing
        self.threshold = threshold
        super().__init__(**kwargs)
        self._name([":".join(kind) for kind in self.types])

    def to_dict(self) -> dict:
        """Without the decoders' words where there are no decoders: they are of no use, and thousands."""
        values = super().to_dict()
        return values | {"vocabulary": []} if self.inference_only else values
