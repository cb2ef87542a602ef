"""Joint information bottleneck: compressed spans that generate themselves and their synonyms (Nguyen et al. 2023): options,
training features, the phase that trains the generative parts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_ner.data_builders.options import ArgumentError, option, specs
from mosaic_ner.data_builders.options import Options as BaseOptions
from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.units import KINDS
from mosaic_ner.modeling.windowing import Window
from mosaic_ner.modeling.words import END, UNKNOWN, words_of

from .families import NESTED, Facts
from .features import SpanFeatures

if TYPE_CHECKING:
    from .arguments import ModelOptions
    from .bundle import Bundle, TrainingData

FACTS = Facts(
    "spans are compressed before they are classified and, in training, generate themselves and their synonyms",
    NESTED,
    """@inproceedings{nguyen2023span,
  title = {Span-based Named Entity Recognition by Generating and Compressing Information},
  author = {Nguyen, Nhung T. H. and Miwa, Makoto and Ananiadou, Sophia},
  booktitle = {Proceedings of the 17th Conference of the European Chapter of the Association for Computational Linguistics},
  pages = {1984--1996},
  year = {2023}
}""",
)


@dataclass
class Options(BaseOptions):
    """Joint information bottleneck, a span classifier."""

    outputs_per_corpus = True

    units: str = option("pretoken", "what a span is made of: pretoken (pieces of words) or token", choices=KINDS)
    max_span_width: int = option(14, "units of the widest span", least=1)
    compressed: bool = option(True, "two layers compress a span before the classifier; false: the paper's Baseline")
    hidden_size: int = option(512, "units of the first of the two layers that compress a span", least=1)
    latent_size: int = option(512, "size of the compressed span and of the decoders' latent variable", least=1)
    beta: float = option(1e-4, "weight of the compression loss; 0: none", least=0)
    ib_prior: str = option("learnt", "prior of the compressed span: learnt or standard", choices=("learnt", "standard"))
    gamma: float = option(1e-2, "the generative losses' weight for the encoder; 0: no decoders", least=0)
    kl_weight: float = option(1.0, "weight of the divergences in the generative losses; 1: the paper's bound", least=0)
    tied: str = option(
        "mean",
        "what the latent variables of spans and synonyms share: mean, mean_and_variance or none",
        choices=("mean", "mean_and_variance", "none"),
    )
    pretraining: float = option(
        0.0,
        "epochs at the beginning that train the generative parts alone; as many as --num_train_epochs: the paper's Only VAEs",
        least=0,
    )
    least_count: int = option(1, "occurrences that make a word one of the decoders'", least=1)
    word_vectors: str | None = option(
        None,
        "file with the decoders' initial word vectors, of word2vec or fastText (text, binary, .gz)",
        fixed=True,
    )
    word_size: int | None = option(
        None, "size of the decoders' word vectors; default: that of the file, or 200", least=1
    )
    decoder_size: int = option(256, "size of the state of the decoders' LSTM", least=1)
    synonyms: list[str] | None = option(
        None,
        "where synonyms of mentions come from: corpora (the training corpora's concept identifiers), a UMLS MRCONSO.RRF file, "
        "OBO files; default: none",
        fixed=True,
    )
    max_synonyms: int | None = option(
        None, "synonyms per mention that are generated, drawn by the seed; default: all", least=1, fixed=True
    )
    threshold: float = option(0.5, "least probability of a predicted mention", least=0, most=1)
    flat: bool = option(False, "no overlapping mentions")

    def check(self) -> None:
        super().check()
        if not self.gamma:
            for name in ("word_vectors", "synonyms", "pretraining"):
                if getattr(self, name):
                    raise ArgumentError(
                        f"--{name} {getattr(self, name)} is for the decoders, and --gamma 0 leaves them out; leave out one "
                        "of them"
                    )
        if not self.compressed:
            idle = ["beta", "hidden_size", "ib_prior", *([] if self.gamma else ["latent_size"])]
            for name in idle:
                if getattr(self, name) != specs(Options)[name].default:
                    raise ArgumentError(
                        f"--{name} {getattr(self, name)} has no effect: --compressed false leaves out the layers that compress "
                        "a span; leave out one of them"
                    )


class Features(SpanFeatures):
    """Gold cells with all their types, and the words that decoders are to generate from them.

    Args:
        synonyms: normalised text of a mention → other names of its concept.
    """

    def __init__(self, model, windower, space: LabelSpace, synonyms: dict[str, tuple[str, ...]] | None = None):
        super().__init__(model, windower, space)
        self.numbers = {kind: number for number, kind in enumerate(model.config.types)}
        self.words = {word: UNKNOWN + 1 + number for number, word in enumerate(model.config.vocabulary)}
        self.synonyms = synonyms or {}

    def _more(self, window: Window, gold: list[tuple[int, Mention]]) -> dict[str, list]:
        if not self.words:
            return {}
        texts = {cell: window.text[m.start : m.end] for cell, m in gold}
        others = [(cell, name) for cell, text in texts.items() for name in self.synonyms.get(normalise_name(text), ())]
        return {
            "span_cells": list(texts),
            "span_words": [self._spelt(text) for text in texts.values()],
            "synonym_cells": [cell for cell, _ in others],
            "synonym_words": [self._spelt(name) for _, name in others],
        }

    def _spelt(self, text: str) -> list[int]:
        return [*(self.words.get(word, UNKNOWN) for word in words_of(text)), END]


def names_of(document: Document, mention: Mention, synonyms: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """The words of a mention and of each of its synonyms."""
    text = document.surface(mention)
    return map(words_of, (text, *synonyms.get(normalise_name(text), ())))


def build(model: ModelOptions, own: Options, data: TrainingData) -> Bundle:
    """Outputs for the types of every trained corpus; the decoders' words are those of mentions and synonyms."""
    from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
    from mosaic_ner.modeling.modeling_joint_ib import JointIBForNER
    from mosaic_ner.prediction.model_classes import ModelError

    from .bundle import assemble, encoder_parts, own_types
    from .word_vectors import read_word_vectors, set_word_vectors

    synonyms = data.synonyms(own.synonyms, own.max_synonyms)
    if own.synonyms and not synonyms:
        raise ModelError(
            f"--synonyms {' '.join(own.synonyms)}: no training mention of {', '.join(data.corpora)} has a synonym there, so "
            "there is nothing to generate. Corpora give synonyms where they name concepts. Name UMLS's MRCONSO.RRF or an OBO "
            "file, or leave out --synonyms to reconstruct spans only"
        )
    parts = encoder_parts(model, data)
    names = [words for d in data.documents for m in d.mentions for words in names_of(d, m, synonyms)]
    counts = Counter(word for words in names for word in words)
    vocabulary = [word for word, count in sorted(counts.items()) if count >= own.least_count]
    vectors = read_word_vectors(own.word_vectors, vocabulary) if own.word_vectors is not None else None
    size = own.word_size or (vectors[0].shape[1] if vectors else 200)
    if vectors and size != vectors[0].shape[1]:
        raise ModelError(
            f"--word_size is {size}, but the vectors of --word_vectors {own.word_vectors} have {vectors[0].shape[1]} values; "
            "leave out --word_size"
        )
    values = own.values_for(JointIBConfig) | {"word_size": size, "flat": own.flat}
    values |= {"vocabulary": vocabulary, "generate_synonyms": bool(synonyms)} | (
        {} if own.compressed else {"beta": 0.0}
    )
    network = JointIBForNER(JointIBConfig(**values, **own_types(model, data, parts)))
    if vectors:
        set_word_vectors(network.generator.words, *vectors)

    def loss(output, epoch: float):
        """That of the generative parts alone in the first epochs (section 4.2); the others' gradient is 0."""
        generative = {n: term for n, term in output.loss_terms.items() if n.startswith(("span_", "synonym_"))}
        if epoch >= own.pretraining:
            return output.loss
        return sum(term if n in generative else 0 * term for n, term in output.loss_terms.items())

    phase = {"loss": loss, "pretraining": own.pretraining}
    return assemble(network, parts, model, Features, data.space, **phase, synonyms=synonyms)
