"""The model families by name: how each is built for a run's corpora. The only place that lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.configuration_span_cvae import SpanCVAEConfig
from mosaic_ner.modeling.configuration_sruner import SRUNERConfig
from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import LabelSpace, nearest
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from mosaic_ner.modeling.modeling_joint_ib import JointIBForNER, words_of
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.modeling.modeling_span_cvae import SpanCVAEForNER
from mosaic_ner.modeling.modeling_sruner import SRUNERForNestedNER
from mosaic_ner.modeling.windowing import Windower
from mosaic_ner.prediction.adapters import Adapters, unquantized
from mosaic_ner.prediction.encoders import EncoderParts, set_template
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError, register
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

from .arguments import ModelArguments
from .collator import NERCollator
from .encoders import add_embeddings, load_encoder_parts
from .features import ActionFeatures, BottleneckFeatures, Features, SpanFeatures, TaggingFeatures
from .schemes import ALL, Scheme, build_scheme
from .word_vectors import read_word_vectors, set_word_vectors


@dataclass
class Bundle:
    """What a run needs of a family.

    `model` is trained and saved; `tagger` predicts (the same object, but for the baseline); `features` builds training
    data and counts coverage; `tag_level` says whether token tags can be scored with seqeval; `adapters` are there where the
    encoder is frozen.
    """

    model: object
    tagger: object
    tokenizer: PreTrainedTokenizerFast
    features: Features
    collator: NERCollator
    tag_level: bool = True
    adapters: Adapters | None = None

    def save(self, folder: Path, inference_only: bool = False) -> None:
        """Writes the model, its code and its tokenizer.

        Args:
            inference_only: without what only training needs (the baseline has no such part).
        """
        options = {"inference_only": True} if inference_only and self.model is self.tagger else {}
        self.model.save_pretrained(folder, **options)
        self.tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class TrainingData:
    """What a family learns from before it is built: the training documents, which corpora they are of, and the other names
    of lower-cased mentions."""

    documents: list[Document]
    corpora: list[str]
    synonyms: dict[str, tuple[str, ...]]

    @property
    def texts(self) -> list[str]:
        """Those of the documents."""
        return [d.text for d in self.documents]


def build(
    arguments: ModelArguments,
    space: LabelSpace,
    documents: list[Document] = (),
    trained: list[str] | None = None,
    synonyms: dict[str, tuple[str, ...]] | None = None,
) -> Bundle:
    """Builds the model of `arguments.family` for the label space.

    Args:
        arguments: the run's model options.
        space: corpora and types of the run.
        documents: those to train on: an encoder from scratch learns its tokens from their texts, a decoder its words from
            their mentions.
        trained: the corpora that the model will be trained on; default: all of `space`.
        synonyms: lower-cased mention → other names, for a family that generates them.
    """
    if arguments.family not in FAMILIES:
        raise ModelError(f"unknown family {arguments.family!r}{nearest(arguments.family, FAMILIES)}")
    corpora = list(space.corpora) if trained is None else trained
    return FAMILIES[arguments.family](arguments, space, TrainingData(list(documents), corpora, synonyms or {}))


def restore(name_or_path: str, space: LabelSpace, encoder: str | None = None) -> Bundle:
    """A trained model as a bundle, to be measured on the corpora of a run; arguments as for `load`."""
    model, tokenizer = load(name_or_path, encoder)
    return _bundle(model, model, tokenizer, model.config, space)


def _bundle(model, tagger, tokenizer, config: NERConfig, space: LabelSpace, keys=None, masking: float = 0.0) -> Bundle:
    try:
        windower = Windower(
            tokenizer, config.max_tokens, config.num_special_tokens, config.window_overlap, config.packing
        )
    except ValueError as error:
        raise ModelError(str(error)) from error
    features = _FEATURES[type(config)](tagger, windower, space)
    collator = NERCollator(tokenizer.pad_token_id or 0, keys, masking, tokenizer.mask_token_id)
    return Bundle(model, tagger, tokenizer, features, collator, isinstance(config, AIONERConfig))


def _common(arguments: ModelArguments, space: LabelSpace, parts: EncoderParts) -> dict:
    """The options that every family's config has, for an encoder whose tokens are complete."""
    limit = parts.encoder.config.to_dict().get("max_position_embeddings")
    if limit and limit > 0 and arguments.max_tokens > limit:
        raise ModelError(
            f"max_tokens={arguments.max_tokens}, but the encoder has {limit} positions; lower --max_tokens"
        )
    return {
        "encoder_config": unquantized(parts.encoder.config) if arguments.quantization else parts.encoder.config,
        "label_space": space.to_dict(),
        "max_tokens": arguments.max_tokens,
        "window_overlap": arguments.window_overlap,
        "packing": arguments.packing,
        "cls_ids": parts.cls_ids,
        "sep_ids": parts.sep_ids,
        "dropout": arguments.dropout,
        "pad_token_id": parts.tokenizer.pad_token_id,
    }


def _numbered(labels) -> dict:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def _add_tags(parts: EncoderParts, tags: list[str]) -> dict[str, int]:
    """Makes special tokens of the tags and room for them in the encoder; their numbers."""
    if tags:
        parts.tokenizer.add_special_tokens({"additional_special_tokens": tags}, replace_extra_special_tokens=False)
        add_embeddings(parts.encoder, len(parts.tokenizer))
    ids = {tag: parts.tokenizer.convert_tokens_to_ids(tag) for tag in tags}
    parts.tag_ids = sorted(set(ids.values()))
    return ids


def _tagging_scheme(name: str, arguments: ModelArguments, space: LabelSpace, trained, bridge=None) -> Scheme:
    """The tasks of a tagger, whose labels are shared types.

    Raises:
        ModelError: a corpus to be trained on has none. It would have no task of its own, and as a text of the default tasks
            it would teach that what it doesn't annotate isn't there.
    """
    for corpus in trained:
        if not space.shared_types_of(corpus):
            raise ModelError(
                f"{corpus} can't train the family {arguments.family}, which learns shared types: none of the corpus's own "
                f"({', '.join(space.native_types(corpus)) or 'none'}) has one in this run, so all of its text would be taught "
                "as negative. Take another --mapping (e.g. sruner), for your own files an --extra_mapping; if there are "
                f"--types, name some of this corpus; or take a --family that learns each corpus's own types "
                f"({', '.join(_OWN_TYPES)}). To measure it only, name it in --test_corpora instead of --corpora"
            )
    return build_scheme(name, space, bridge)


def _tagging_config(arguments: ModelArguments, space: LabelSpace, scheme: Scheme, parts, trained) -> AIONERConfig:
    """The config with its tasks; puts the task tags into the tokenizer and makes room for them in the encoder."""
    ids = _add_tags(
        parts, [tag for task in scheme.tasks if task.tagged for tag in (f"<{task.name}>", f"</{task.name}>")]
    )
    numbers = {label: i for i, label in enumerate(scheme.labels)}
    tasks = [
        {
            "name": task.name,
            "types": list(task.types),
            "labels": [numbers[label] for label in task.labels],
            "prefix_ids": [*parts.cls_ids, *([ids[f"<{task.name}>"]] if task.tagged else [])],
            "suffix_ids": [*([ids[f"</{task.name}>"]] if task.tagged else []), *parts.sep_ids],
        }
        for task in scheme.tasks
    ]
    config = AIONERConfig(
        tasks=tasks,
        corpus_tasks=scheme.corpus_tasks,
        trained_corpora=trained,
        default_tasks=scheme.default_tasks,
        modes=scheme.modes,
        classifier=arguments.classifier,
        hidden_size=arguments.hidden_size or 0,
        restrict_labels=scheme.restrict_labels or arguments.restrict_labels,
        label_first_token_only=arguments.label_first_token_only,
        scores=arguments.scores,
        **_common(arguments, space, parts),
        **_numbered(scheme.labels),
    )
    _set_default_template(parts.tokenizer, config)
    return config


def _set_default_template(tokenizer: PreTrainedTokenizerFast, config: NERConfig) -> None:
    """The tokenizer alone puts the special tokens of the model's first default task around a text."""
    default = config.tasks[config.task_index(config.default_tasks[0])]
    set_template(tokenizer, default["prefix_ids"], default["suffix_ids"])


def _parts(arguments: ModelArguments, texts) -> EncoderParts:
    size = {"layers": arguments.scratch_layers, "hidden_size": arguments.scratch_hidden_size}
    return load_encoder_parts(arguments.encoder, texts, quantization=arguments.quantization, **size)


def _assemble(model, parts: EncoderParts, arguments: ModelArguments, space: LabelSpace, **options) -> Bundle:
    """The model around the encoder, whose weights are all trained or have adapters."""
    model.encoder = parts.encoder
    adapters = Adapters.create(model, parts, arguments) if arguments.lora_rank else None
    bundle = _bundle(model, model, parts.tokenizer, model.config, space, **options)
    bundle.adapters = adapters
    return bundle


def _aioner(arguments: ModelArguments, space: LabelSpace, data: TrainingData) -> Bundle:
    scheme = _tagging_scheme(arguments.scheme, arguments, space, data.corpora, arguments.bridge)
    parts = _parts(arguments, data.texts)
    config = _tagging_config(arguments, space, scheme, parts, data.corpora)
    return _assemble(AIONERForTokenClassification(config), parts, arguments, space, masking=arguments.token_masking)


class StockTagger:
    """A plain `AutoModelForTokenClassification` behind the families' interface, so that the same scorer measures it.

    Args:
        model: the stock model.
        config: one task without tags and the window settings; never saved with the model.
    """

    features = AIONERForTokenClassification.features
    decode = AIONERForTokenClassification.decode
    tasks_for = AIONERForTokenClassification.tasks_for
    knows = AIONERForTokenClassification.knows
    knows_native_types = AIONERForTokenClassification.knows_native_types
    has_span_embeddings = AIONERForTokenClassification.has_span_embeddings

    def __init__(self, model, config: AIONERConfig):
        self.model = model
        self.config = config

    @property
    def device(self):
        return self.model.device

    @property
    def training(self) -> bool:
        return self.model.training

    def eval(self):
        self.model.eval()

    def train(self, mode: bool = True):
        self.model.train(mode)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **kwargs) -> NEROutput:
        return NEROutput(logits=self.model(input_ids=input_ids, attention_mask=attention_mask).logits)

    def search(self, output: NEROutput, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        scores, tags = output.logits.float().softmax(2).max(2)
        return {"tags": tags, "scores": scores}


def _span_cvae(arguments: ModelArguments, space: LabelSpace, data: TrainingData) -> Bundle:
    """A token and outputs per trained corpus; other corpora are answered under the default corpora's guidelines."""
    parts = _parts(arguments, data.texts)
    own = space.restricted_to(data.corpora)
    default = arguments.bridge or [c for c in data.corpora if set(own.shared_types_of(c)) == set(own.shared_types)][:1]
    for corpus in default:
        own.native_types(corpus)  # an unknown corpus is an error
    ids = _add_tags(parts, [f"<{corpus}>" for corpus in data.corpora])
    config = SpanCVAEConfig(
        tasks=[
            {"name": c, "prefix_ids": [*parts.cls_ids, ids[f"<{c}>"]], "suffix_ids": parts.sep_ids}
            for c in data.corpora
        ],
        default_tasks=default,
        flat=arguments.flat is not False,
        max_span_width=arguments.max_span_width,
        boundaries=arguments.boundaries,
        span_size=arguments.span_size,
        hidden_size=arguments.hidden_size or 150,
        labels_per=arguments.labels_per,
        alpha=arguments.alpha,
        prior=arguments.prior,
        latent_size=arguments.latent_size or 150,
        threshold=arguments.threshold,
        **_common(arguments, own, parts),
    )
    _set_default_template(parts.tokenizer, config)
    return _assemble(SpanCVAEForNER(config), parts, arguments, space)


def _sruner(arguments: ModelArguments, space: LabelSpace, data: TrainingData) -> Bundle:
    """Actions for the types of every trained corpus; each answers for its own, or all together."""
    parts = _parts(arguments, data.texts)
    config = SRUNERConfig(
        latents_per_action=arguments.latents_per_action,
        context=arguments.context,
        train_scale=arguments.train_scale,
        history=arguments.history,
        follow_gold=arguments.follow_gold,
        write=arguments.write,
        loss_mean=arguments.loss_mean,
        slot_dropout=arguments.slot_dropout,
        boundaries=arguments.boundaries,
        **_own_types(arguments, space, parts, data.corpora),
    )
    return _assemble(SRUNERForNestedNER(config), parts, arguments, space)


def _joint_ib(arguments: ModelArguments, space: LabelSpace, data: TrainingData) -> Bundle:
    """Outputs for the types of every trained corpus; the decoders' words are those of mentions and synonyms."""
    parts = _parts(arguments, data.texts)
    names = [words for d in data.documents for m in d.mentions for words in _names(d, m, data.synonyms)]
    counts = Counter(word for words in names for word in words)
    vocabulary = [word for word, count in sorted(counts.items()) if count >= arguments.least_count]
    vectors = read_word_vectors(arguments.word_vectors, vocabulary) if arguments.word_vectors is not None else None
    size = arguments.word_size or (vectors[0].shape[1] if vectors else 200)
    if vectors and size != vectors[0].shape[1]:
        raise ModelError(
            f"--word_size is {size}, but the vectors of --word_vectors {arguments.word_vectors} have {vectors[0].shape[1]} "
            "values; leave out --word_size"
        )
    config = JointIBConfig(
        max_span_width=arguments.max_span_width,
        boundaries=arguments.boundaries,
        hidden_size=arguments.hidden_size or 512,
        latent_size=arguments.latent_size or 512,
        noise=arguments.noise,
        beta=arguments.beta,
        ib_prior=arguments.ib_prior,
        gamma=arguments.gamma,
        kl_weight=arguments.kl_weight,
        synonyms=bool(data.synonyms),
        shared=arguments.shared,
        pretraining=arguments.pretraining,
        annealing=arguments.annealing,
        word_size=size,
        decoder_size=arguments.decoder_size,
        vocabulary=vocabulary,
        threshold=arguments.threshold or 0.5,
        **_own_types(arguments, space, parts, data.corpora),
    )
    model = JointIBForNER(config)
    if vectors:
        set_word_vectors(model.generator.words, *vectors)
    bundle = _assemble(model, parts, arguments, space)
    bundle.features.synonyms = data.synonyms
    return bundle


def _names(document: Document, mention: Mention, synonyms: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """The words of a mention and of each of its synonyms."""
    text = document.text[mention.start : mention.end]
    return map(words_of, (text, *synonyms.get(normalise_name(text), ())))


def _own_types(arguments: ModelArguments, space: LabelSpace, parts: EncoderParts, trained: list[str]) -> dict:
    """The options of families with outputs for every corpus's own types: each corpus is asked for its own, or all."""
    around = {"prefix_ids": parts.cls_ids, "suffix_ids": parts.sep_ids}
    tasks = [{"name": name, "corpus": None if name == ALL else name, **around} for name in (ALL, *trained)]
    own = {"tasks": tasks, "default_tasks": [ALL], "flat": bool(arguments.flat)}
    return own | _common(arguments, space.restricted_to(trained), parts)


def _baseline(arguments: ModelArguments, space: LabelSpace, data: TrainingData) -> Bundle:
    """`AutoModelForTokenClassification`, unchanged, over the union of the corpora's shared types."""
    if arguments.lora_rank:
        raise ModelError(
            f"--lora_rank: the baseline {arguments.family} has no adapters; leave it out, or take a family"
        )
    scheme = _tagging_scheme("naive", arguments, space, data.corpora)
    parts = _parts(arguments, data.texts)
    config = _tagging_config(arguments, space, scheme, parts, data.corpora)
    model = AutoModelForTokenClassification.from_pretrained(
        arguments.encoder, num_labels=config.num_labels, id2label=config.id2label, label2id=config.label2id
    )
    tagger = StockTagger(model, config)
    return _bundle(model, tagger, parts.tokenizer, config, space, keys=("input_ids", "labels"))


FAMILIES: dict[str, Callable[[ModelArguments, LabelSpace, TrainingData], Bundle]] = {
    "aioner": _aioner,
    "joint_ib": _joint_ib,
    "span_cvae": _span_cvae,
    "sruner": _sruner,
    "token_classification": _baseline,
}
_OWN_TYPES = ("joint_ib", "span_cvae", "sruner")  # these learn each corpus's own types, with or without a shared one

_FEATURES = {
    AIONERConfig: TaggingFeatures,
    JointIBConfig: BottleneckFeatures,
    SpanCVAEConfig: SpanFeatures,
    SRUNERConfig: ActionFeatures,
}
for _model in (AIONERForTokenClassification, JointIBForNER, SpanCVAEForNER, SRUNERForNestedNER):
    register(_model)
