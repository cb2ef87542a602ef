"""A family's model with everything that a run needs around it, and what the families build it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mosaic_ner.data_builders.options import Options
from mosaic_ner.data_builders.run_data import draw_synonyms
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.configuration_ner import NERConfig, Task
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MULTIPLE
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_ner import NEROutput, NERPreTrainedModel
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.prediction.adapters import Adapters, unquantized
from mosaic_ner.prediction.encoders import EncoderParts, set_template
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import PREFIX, ModelError, register
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .arguments import ModelOptions
from .encoders import add_embeddings, load_encoder_parts
from .families import NESTED, family
from .features import Features

ALL = "ALL"
"""The task that answers with the types of all corpora."""


class NERCollator:
    """Pads a list of features; hides a share of the words from the model, so that it learns to use the context.

    Args:
        padding: key → padding value, 0 for others.
        masking: probability (0..1) that a token with a label is replaced by the mask token. Labels stay.
        mask_token_id: needed when `masking` is above 0.
        most: tokens of the longest window there may be; lengths are rounded up to it at most (see `pad_batch`).
    Raises:
        ModelError: masking without a mask token.
    """

    def __init__(self, padding: dict[str, int], masking: float = 0.0, mask_token_id: int | None = None, most: int = 0):
        if masking and mask_token_id is None:
            raise ModelError("--token_masking: the encoder's tokenizer has no mask token; leave it out")
        self.padding = padding
        self.masking = masking
        self.mask_token_id = mask_token_id
        self.most = most

    def __call__(self, features: list[dict]) -> dict[str, Tensor]:
        # A CPU's library of matrix products compiles one for each new shape: a fifth of CVAE-NER's training went there.
        return pad_batch(features, self.padding, MULTIPLE, self.most)

    def hide(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with words hidden. Drawn as late as dropout is: a loader draws ahead of what a checkpoint has seen."""
        if not self.masking:
            return batch
        labels = batch["labels"]
        hidden = (torch.rand(labels.shape, device=labels.device) < self.masking) & (labels >= 0)
        return batch | {"input_ids": batch["input_ids"].masked_fill(hidden, self.mask_token_id)}


@dataclass(frozen=True)
class Bundle:
    """What a run needs of a family.

    `features` builds training data and counts coverage; `adapters` are there where the encoder is frozen; `loss` is what
    training minimises at an epoch, where that is not the output's loss; `pretraining` are the epochs in which it doesn't train
    what predicts, so that no evaluation counts.
    """

    model: NERPreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    features: Features
    collator: NERCollator
    adapters: Adapters | None = None
    loss: Callable[[NEROutput, float], Tensor] | None = None
    pretraining: float = 0.0

    def save(self, folder: Path, inference_only: bool = False) -> None:
        """Writes the model, its code and its tokenizer.

        Args:
            inference_only: without what only training needs.
        """
        self.model.save_pretrained(folder, inference_only=inference_only)
        self.tokenizer.save_pretrained(folder)
        if self.adapters is not None and self.adapters.folder is not None:
            self.adapters.save_config(self.adapters.folder)


@dataclass(frozen=True)
class TrainingData:
    """What a family is built for: the run's label space, and the documents of the corpora that it is trained on."""

    space: LabelSpace
    train: dict[str, list[Document]] = field(default_factory=dict)
    seed: int = 42
    _synonyms: dict[tuple, dict[str, tuple[str, ...]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def corpora(self) -> list[str]:
        """Those that are trained on."""
        return list(self.train)

    @property
    def documents(self) -> list[Document]:
        """All training documents."""
        return [document for part in self.train.values() for document in part]

    def synonyms(self, sources: list[str] | None, limit: int | None) -> dict[str, tuple[str, ...]]:
        """Other names of the training mentions' concepts, by normalised text; read once however often asked.

        Args:
            sources: as in --synonyms; None: none.
            limit: names per mention, drawn by the seed; None: all.
        """
        key = tuple(sources or ()), limit
        if key not in self._synonyms:
            self._synonyms[key] = draw_synonyms(self.train, sources, limit, self.seed) if sources else {}
        return self._synonyms[key]


def build(model: ModelOptions, own: Options, data: TrainingData) -> Bundle:
    """A fresh model.

    Args:
        model: the shared options, the family among them.
        own: the family's options.
        data: what it is built for.
    """
    if model.document_consistency and not getattr(own, "flat", family(model.family).FACTS.overlap != NESTED):
        raise ModelError(
            f"--document_consistency is for models without overlapping mentions, and {model.family} finds nested ones; leave "
            "it out, or say --flat true"
        )
    return family(model.family).build(model, own, data)


def restore(name_or_path: str, space: LabelSpace, encoder: str | None = None) -> Bundle:
    """A trained model as a bundle, to be measured on the corpora of a run.

    Args:
        name_or_path, encoder: as for `prediction.loading.load`.
        space: the run's label space.
    """
    model, tokenizer = load(name_or_path, encoder)
    kind = family(model.config.model_type.removeprefix(PREFIX)).Features
    return Bundle(model, tokenizer, kind(model, _windower(tokenizer, model.config), space), _collator(model, tokenizer))


def _windower(tokenizer, config: NERConfig) -> Windower:
    try:
        return Windower(tokenizer, config.max_tokens, config.num_special_tokens, config.window_overlap, config.packing)
    except ValueError as error:
        raise ModelError(str(error)) from error


def _collator(model: NERPreTrainedModel, tokenizer, masking: float = 0.0) -> NERCollator:
    padding = {"input_ids": tokenizer.pad_token_id or 0, **model.padding}
    return NERCollator(padding, masking, tokenizer.mask_token_id, model.config.max_tokens)


# ---- for the families


def encoder_parts(model: ModelOptions, data: TrainingData) -> EncoderParts:
    """The encoder that the run begins with; one from scratch learns its tokens from the training texts."""
    texts = [document.text for document in data.documents]
    return load_encoder_parts(model.encoder, texts, model.scratch_layers, model.scratch_hidden_size, model.quantization)


def add_tags(parts: EncoderParts, tags: list[str]) -> dict[str, int]:
    """Makes special tokens of the tags and room for them in the encoder; their numbers."""
    if tags:
        parts.tokenizer.add_special_tokens({"additional_special_tokens": tags}, replace_extra_special_tokens=False)
        add_embeddings(parts.encoder, len(parts.tokenizer))
    ids = {tag: parts.tokenizer.convert_tokens_to_ids(tag) for tag in tags}
    parts.tag_ids = sorted(set(ids.values()))
    return ids


def common(model: ModelOptions, space: LabelSpace, parts: EncoderParts) -> dict:
    """What every family's config has, for an encoder whose tokens are complete."""
    limit = parts.encoder.config.to_dict().get("max_position_embeddings")
    if limit and limit > 0 and model.max_tokens > limit:
        raise ModelError(f"max_tokens={model.max_tokens}, but the encoder has {limit} positions; lower --max_tokens")
    return model.values_for(NERConfig) | {
        "encoder_config": unquantized(parts.encoder.config) if model.quantization else parts.encoder.config,
        "label_space": space.to_dict(),
        "cls_ids": parts.cls_ids,
        "sep_ids": parts.sep_ids,
        "pad_token_id": parts.tokenizer.pad_token_id,
    }


def own_types(model: ModelOptions, data: TrainingData, parts: EncoderParts) -> dict:
    """What the config has of a family with outputs for every corpus's own types: each corpus is asked for its own, or all."""
    around = tuple(parts.cls_ids), tuple(parts.sep_ids)
    tasks = [Task(ALL, *around), *(Task(corpus, *around, corpus=corpus) for corpus in data.corpora)]
    return {"tasks": tasks, "default_tasks": [ALL]} | common(model, data.space.restricted_to(data.corpora), parts)


def assemble(
    network: NERPreTrainedModel,
    parts: EncoderParts,
    model: ModelOptions,
    features: type[Features],
    space: LabelSpace,
    masking: float = 0.0,
    loss: Callable[[NEROutput, float], Tensor] | None = None,
    pretraining: float = 0.0,
    **more,
) -> Bundle:
    """The bundle of a network that gets the pretrained encoder, all of whose weights are trained or have adapters.

    Args:
        network: of the family's config.
        parts: the encoder; its tokenizer will put the special tokens of the first default task around a text.
        model: the shared options.
        features: the family's features class, made with `more`.
        space: the run's label space.
        masking: see `NERCollator`.
        loss, pretraining: see `Bundle`.
    """
    register(type(network))
    default = network.default_task()
    set_template(parts.tokenizer, list(default.prefix_ids), list(default.suffix_ids))
    network.encoder = parts.encoder
    adapters = Adapters.create(network, parts, model) if model.lora_rank else None
    made = features(network, _windower(parts.tokenizer, network.config), space, **more)
    collator = _collator(network, parts.tokenizer, masking)
    return Bundle(network, parts.tokenizer, made, collator, adapters, loss, pretraining)
