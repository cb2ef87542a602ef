"""The configuration of CVAE-NER. Ships to the Hub."""

from __future__ import annotations

from .configuration_ner import NERConfig, at_least, expect, numbered, probability
from .units import KINDS


class SpanCVAEConfig(NERConfig):
    """CVAE-NER: spans classified by a softmax per corpus, shaped by a conditional VAE over label relations.

    Args:
        tasks: one for each corpus, by its name; the corpus's own token is among the special tokens around its windows.
        max_span_width: units of the widest span (Table 4: 10).
        units: what a span is made of (see `find_units`): "pretoken" or "token".
        width_size: size of the embedding of a span's width (Table 4: 150).
        span_size: size of a span's embedding h (eq. 1); None: the encoder's hidden size.
        hidden_size: units of the classifier's first layer.
        labels_per: "corpus" (each corpus has its own classifier, the paper's "Multi") or "shared" (one classifier; types with
            the same shared type have the same output: "Multi (Shared label)").
        alpha: weight of L_CVAE; 0 builds no CVAE.
        prior: initialisation of the prior distribution vectors: "full", "fixed" (full, and never trained), "unshared",
            "shared" or "random" (section 4.3).
        cvae_hidden_size, latent_size: sizes of the CVAE's layers and of z (Table 4: 150).
        threshold: least probability of a predicted mention (0..1); 0: more probable than every other label is enough.
    """

    model_type = "mosaic_span_cvae"
    form = 3
    changed = "each corpus has its own first layer of the classifier"

    def __init__(
        self,
        max_span_width: int = 10,
        units: str = "pretoken",
        width_size: int = 150,
        span_size: int | None = None,
        hidden_size: int = 150,
        labels_per: str = "corpus",
        alpha: float = 1e-4,
        prior: str = "full",
        cvae_hidden_size: int = 150,
        latent_size: int = 150,
        threshold: float = 0.0,
        **kwargs,
    ):
        expect("units", units, KINDS)
        expect("labels_per", labels_per, ("corpus", "shared"))
        expect("prior", prior, ("full", "fixed", "unshared", "shared", "random"))
        at_least(1, max_span_width=max_span_width)
        at_least(0, alpha=alpha)
        probability("threshold", threshold)
        self.max_span_width = max_span_width
        self.units = units
        self.width_size = width_size
        self.hidden_size = hidden_size
        self.labels_per = labels_per
        self.alpha = alpha
        self.prior = prior
        self.cvae_hidden_size = cvae_hidden_size
        self.latent_size = latent_size
        self.threshold = threshold
        super().__init__(**kwargs)
        self.span_size = span_size or (self.encoder_config.hidden_size if self.encoder_config else None)
        # Always made from the label space, so that names and numbers can't disagree.
        names = dict.fromkeys(":".join(key) for key in self._output_keys())
        if names:
            self.id2label, self.label2id = numbered(names).values()

    def _output_keys(self) -> list[tuple[str, ...]]:
        """For each of `labels.labels` what names its output; labels of the same output have the same."""
        space = self.labels
        keys: list[tuple[str, ...]] = []
        for corpus, native in space.labels:
            negative = native not in space.native_types(corpus)
            shared = None if negative else space.shared(corpus, native)
            if self.labels_per == "shared" and (negative or shared is not None):
                keys.append(("O",) if negative else (shared,))
            else:
                keys.append((corpus, "O" if negative else native))
        return keys

    @property
    def outputs(self) -> tuple[list[tuple[str, str] | None], list[int]]:
        """What the classifier's outputs stand for.

        Returns:
            per output (shared type or else the native one, native type), None for a negative; and the output of each of
            `labels.labels`. Where outputs are shared, the shared type stands for the native one.
        """
        space, keys = self.labels, self._output_keys()
        order = list(dict.fromkeys(keys))
        names: list[tuple[str, str] | None] = [None] * len(order)
        for (corpus, native), key in zip(space.labels, keys, strict=True):
            if native in space.native_types(corpus):
                shared = space.shared(corpus, native) or native
                names[order.index(key)] = (shared, native if self.labels_per == "corpus" else shared)
        return names, [order.index(key) for key in keys]
