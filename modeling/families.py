"""The model families by name: how each is built for a run's corpora. The only place that lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, PreTrainedTokenizerFast

from .arguments import ModelArguments
from .collator import NERCollator
from .configuration_ner import AIONERConfig
from .dataset import TaggingFeatures
from .encoders import ModelError, add_embeddings, load_config, load_encoder_parts, set_template
from .label_space import LabelSpace, nearest
from .modeling_aioner import AIONERForTokenClassification
from .modeling_ner import NEROutput
from .schemes import Scheme, build_scheme
from .windowing import Windower


@dataclass
class Bundle:
    """What a run needs of a family.

    `model` is trained and saved; `tagger` predicts (the same object, but for the baseline); `features` builds training
    data and counts coverage; `tag_level` says whether token tags can be scored with seqeval.
    """

    model: object
    tagger: object
    tokenizer: PreTrainedTokenizerFast
    features: TaggingFeatures
    collator: NERCollator
    tag_level: bool = True


def build(arguments: ModelArguments, space: LabelSpace, texts) -> Bundle:
    """Builds the model of `arguments.family` for the label space.

    Args:
        arguments: the run's model options.
        space: corpora and types of the run.
        texts: training texts, for an encoder from scratch.
    """
    if arguments.family not in FAMILIES:
        raise ModelError(f"unknown family {arguments.family!r}{nearest(arguments.family, FAMILIES)}")
    return FAMILIES[arguments.family](arguments, space, texts)


def load(name_or_path: str):
    """A trained model of any family and its tokenizer, from a folder or a Hub id.

    Raises:
        ModelError: the folder holds a model that is none of this package's.
    """
    config = load_config(name_or_path, "--model_name_or_path")
    known = {c.model_type for c in _REGISTERED}
    if config.model_type not in known:
        raise ModelError(
            f"{name_or_path} holds a {config.model_type!r} model; expected one of {', '.join(sorted(known))}, as trained "
            "by run_ner.py. To train on top of an encoder, give it as --encoder"
        )
    return AutoModel.from_pretrained(name_or_path), PreTrainedTokenizerFast.from_pretrained(name_or_path)


def restore(name_or_path: str, space: LabelSpace) -> Bundle:
    """A trained model as a bundle, to be measured on the corpora of a run."""
    model, tokenizer = load(name_or_path)
    return _bundle(model, model, tokenizer, model.config, space)


def _bundle(
    model, tagger, tokenizer, config: AIONERConfig, space: LabelSpace, keys=None, masking: float = 0.0
) -> Bundle:
    try:
        windower = Windower(
            tokenizer, config.max_tokens, config.num_special_tokens, config.window_overlap, config.packing
        )
    except ValueError as error:
        raise ModelError(str(error)) from error
    features = TaggingFeatures(tagger, windower, space)
    collator = NERCollator(tokenizer.pad_token_id or 0, keys, masking, tokenizer.mask_token_id)
    return Bundle(model, tagger, tokenizer, features, collator)


def _tagging_config(arguments: ModelArguments, space: LabelSpace, scheme: Scheme, parts) -> AIONERConfig:
    """The config with its tasks; puts the task tags into the tokenizer and makes room for them in the encoder."""
    tokenizer = parts.tokenizer
    tags = [tag for task in scheme.tasks if task.tagged for tag in (f"<{task.name}>", f"</{task.name}>")]
    if tags:
        tokenizer.add_special_tokens({"additional_special_tokens": tags}, replace_extra_special_tokens=False)
        add_embeddings(parts.encoder, len(tokenizer))
    numbers = {label: i for i, label in enumerate(scheme.labels)}
    tasks = []
    for task in scheme.tasks:
        tag = [tokenizer.convert_tokens_to_ids(f"<{task.name}>")] if task.tagged else []
        close = [tokenizer.convert_tokens_to_ids(f"</{task.name}>")] if task.tagged else []
        tasks.append(
            {
                "name": task.name,
                "types": list(task.types),
                "labels": [numbers[label] for label in task.labels],
                "prefix_ids": [*parts.cls_ids, *tag],
                "suffix_ids": [*close, *parts.sep_ids],
            }
        )
    config = AIONERConfig(
        encoder_config=parts.encoder.config,
        label_space=space.to_dict(),
        max_tokens=arguments.max_tokens,
        window_overlap=arguments.window_overlap,
        packing=arguments.packing,
        cls_ids=parts.cls_ids,
        sep_ids=parts.sep_ids,
        dropout=arguments.dropout,
        tasks=tasks,
        corpus_tasks=scheme.corpus_tasks,
        default_tasks=scheme.default_tasks,
        modes=scheme.modes,
        classifier=arguments.classifier,
        hidden_size=arguments.hidden_size,
        restrict_labels=scheme.restrict_labels or arguments.restrict_labels,
        label_first_token_only=arguments.label_first_token_only,
        scores=arguments.scores,
        id2label=dict(enumerate(scheme.labels)),
        label2id=numbers,
        pad_token_id=tokenizer.pad_token_id,
    )
    limit = parts.encoder.config.to_dict().get("max_position_embeddings")
    if limit and limit > 0 and config.max_tokens > limit:
        raise ModelError(f"max_tokens={config.max_tokens}, but the encoder has {limit} positions; lower --max_tokens")
    default = config.tasks[config.task_index(config.default_tasks[0])]
    set_template(tokenizer, default["prefix_ids"], default["suffix_ids"])
    return config


def _aioner(arguments: ModelArguments, space: LabelSpace, texts) -> Bundle:
    parts = load_encoder_parts(arguments.encoder, texts, arguments.scratch_layers, arguments.scratch_hidden_size)
    scheme = build_scheme(arguments.scheme, space, arguments.bridge)
    config = _tagging_config(arguments, space, scheme, parts)
    model = AIONERForTokenClassification(config)
    model.encoder = parts.encoder
    return _bundle(model, model, parts.tokenizer, config, space, masking=arguments.token_masking)


class StockTagger:
    """A plain `AutoModelForTokenClassification` behind the families' interface, so that the same scorer measures it.

    Args:
        model: the stock model.
        config: one task without tags and the window settings; never saved with the model.
    """

    features = AIONERForTokenClassification.features
    decode = AIONERForTokenClassification.decode
    tasks_for = AIONERForTokenClassification.tasks_for

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


def _baseline(arguments: ModelArguments, space: LabelSpace, texts) -> Bundle:
    """`AutoModelForTokenClassification`, unchanged, over the union of the corpora's shared types."""
    parts = load_encoder_parts(arguments.encoder, texts, arguments.scratch_layers, arguments.scratch_hidden_size)
    config = _tagging_config(arguments, space, build_scheme("naive", space), parts)
    model = AutoModelForTokenClassification.from_pretrained(
        arguments.encoder, num_labels=config.num_labels, id2label=config.id2label, label2id=config.label2id
    )
    tagger = StockTagger(model, config)
    return _bundle(model, tagger, parts.tokenizer, config, space, keys=("input_ids", "labels"))


FAMILIES: dict[str, Callable[[ModelArguments, LabelSpace, object], Bundle]] = {
    "aioner": _aioner,
    "token_classification": _baseline,
}

_REGISTERED = {AIONERConfig: AIONERForTokenClassification}
for _config, _model in _REGISTERED.items():
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoModelForTokenClassification.register(_config, _model, exist_ok=True)
