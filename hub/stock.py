"""A softmax tagger as the encoder's own token classification class.

For the stock `pipeline("token-classification")`, the hosted widget, and any tool that runs no code from the Hub.
"""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import replace
from pathlib import Path

import torch
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import split_label
from mosaic_ner.modeling.units import BEGINS, ENDS
from mosaic_ner.prediction.encoders import plain_tokenizer, set_template
from tokenizers import processors
from torch import nn
from transformers import (
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from .export_check import ExportError

logger = logging.getLogger(__name__)

RECIPE = "recipes/aioner/biored_stock.yaml"
OUTSIDE = "O"
TOLERANCE = 1e-3
"""Largest difference of logits that is taken for rounding, in float32."""


def check_stock(config, task: str | None = None, emissions: bool = False) -> int:
    """Whether a stock class can hold the model.

    Args:
        config: the model's.
        task: what the export is to look for; default: the first of the model's default tasks.
        emissions: whether a CRF is to be left out, so that its label scores become those of a softmax.
    Returns:
        the task's number.
    Raises:
        ExportError: it can't.
    """
    remedy = f"train one with {RECIPE} (family: aioner, classifier: softmax, hidden_size: 0)"
    if not isinstance(config, AIONERConfig):
        raise ExportError(
            f"a stock token classification class holds a softmax over token labels, got a {config.model_type} model; {remedy}"
        )
    if emissions and config.classifier != "crf":
        raise ExportError(
            f"--emissions leaves out a CRF, and this model has classifier: {config.classifier}; leave it out"
        )
    if config.classifier != ("crf" if emissions else "softmax") or config.hidden_size:
        other = (
            "; or add --emissions, which leaves the CRF out and finds other mentions" if not config.hidden_size else ""
        )
        raise ExportError(
            "a stock token classification class holds one linear layer and a softmax; expected classifier: softmax and "
            f"hidden_size: 0, got {config.classifier} and {config.hidden_size}; {remedy}{other}"
        )
    if config.label_first_token_only:
        raise ExportError(
            "the model was trained with label_first_token_only: true, but the stock pipeline reads the labels of all tokens; "
            "train without it"
        )
    if type(config.encoder_config) not in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
        raise ExportError(
            f"transformers has no token classification class for the encoder {config.encoder_config.model_type!r}; train on "
            "one that has (bert, roberta, electra, deberta-v2, distilbert …)"
        )
    if any(OUTSIDE in task.types for task in config.tasks):
        raise ExportError(f"a type is called {OUTSIDE!r}, which the stock pipeline takes for no mention; rename it")
    try:
        return config.task_index(task or config.default_tasks[0])
    except ValueError as error:
        raise ExportError(f"--task: {error}") from error


def label_rows(config: AIONERConfig, task: int) -> tuple[list[int], list[str]]:
    """The labels of an export: which of the model's, and what they are called.

    Labels that the model restricts to other tasks are left out; they take no part in its softmax. Others that the task
    doesn't look for stay, named "O": where one wins, the model finds nothing, and so does the pipeline.
    """
    own = config.tasks[task]
    rows = list(own.labels) if config.restrict_labels else list(range(config.num_labels))
    names = []
    for row in rows:
        kind, name = split_label(config.id2label[row])
        names.append(f"{kind}-{name}" if kind in ("B", "I") and name in own.types else OUTSIDE)
    return rows, names


def longest_input(encoder) -> int | None:
    """Tokens that the encoder reads at once, special ones included; None: any number."""
    limits = []
    stated = encoder.config.to_dict().get("max_position_embeddings")
    if stated and stated > 0:
        limits.append(stated)
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa counts from after its padding number, and so reads two tokens fewer than it has positions.
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(limits, default=None)


def stock_model(model, task: int):
    """The encoder's token classification class with the model's weights, in the model's precision.

    Raises:
        ExportError: the class has layers between encoder and labels that the model lacks.
    """
    config, encoder = model.config, model.encoder
    rows, names = label_rows(config, task)
    # By way of a dict: the encoder's config object is the model's own, and stays as it is.
    values = {k: v for k, v in encoder.config.to_dict().items() if k not in ("model_type", "architectures", "auto_map")}
    own = AutoConfig.for_model(encoder.config.model_type, **copy.deepcopy(values))
    own.id2label = dict(enumerate(names))
    own.label2id = {name: number for number, name in enumerate(names)}  # of several O the last, as transformers has it
    if "classifier_dropout" in values:
        own.classifier_dropout = config.dropout
    stock = AutoModelForTokenClassification.from_config(own, dtype=model.dtype)
    prefix = stock.base_model_prefix + "."
    beside = {name: p for name, p in stock.named_parameters() if not name.startswith(prefix)}
    wanted = {"weight": (len(rows), encoder.config.hidden_size), "bias": (len(rows),)}
    if {n.rpartition(".")[2]: tuple(p.shape) for n, p in beside.items()} != wanted or len(beside) != 2:
        raise ExportError(
            f"{type(stock).__name__} has more between encoder and labels than one linear layer ({', '.join(beside)}), so it "
            "can't compute what the model does; train on an encoder whose class hasn't (bert, roberta, electra, deberta-v2, "
            "distilbert …)"
        )
    weights = {prefix + name: value for name, value in encoder.state_dict().items()}
    for name in beside:
        weights[name] = getattr(model.classifier, name.rpartition(".")[2])[rows]
    missing, unexpected = stock.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise ExportError(
            f"{type(stock).__name__} and the model's encoder differ: {', '.join([*missing, *unexpected][:5])}; this version of "
            "transformers can't hold the model in a stock class"
        )
    stock.eval()
    _check_logits(model, stock, task, rows)
    return stock


@torch.inference_mode()
def _check_logits(model, stock, task: int, rows: list[int]) -> None:
    """Raises ExportError if the two compute different scores of a made-up text."""
    training = model.training
    model.eval()
    own = model.config.tasks[task]
    ids = [*own.prefix_ids, *range(min(24, model.config.encoder_config.vocab_size)), *own.suffix_ids]
    batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    batch = {name: value.to(model.device) for name, value in batch.items()}
    wanted = model(**batch, task_ids=torch.tensor([task], device=model.device)).logits[..., rows]
    gap = (wanted - stock.to(model.device)(**batch).logits).abs().max().item()
    model.train(training)
    if gap > TOLERANCE and model.dtype == torch.float32:
        raise ExportError(
            f"{type(stock).__name__} computes other scores than the model (up to {gap:.3g} apart); the encoder's own class "
            "does something beside encoder, dropout and linear layer"
        )


def stock_tokenizer(tokenizer, config: AIONERConfig, task: int, longest: int | None) -> PreTrainedTokenizerFast:
    """The model's tokenizer with the task's tags in its template, reloading as it is.

    Args:
        tokenizer: the fast tokenizer saved with the model.
        longest: tokens that the encoder reads at once; None: any number.
    """
    plain = plain_tokenizer(tokenizer)
    set_template(plain, [*config.tasks[task].prefix_ids], [*config.tasks[task].suffix_ids])
    backend = plain.backend_tokenizer
    byte_level = _byte_level(json.loads(backend.to_str())["pre_tokenizer"])
    if byte_level is not None:  # its tokens have the space before them, which belongs to no mention
        trim = processors.ByteLevel(add_prefix_space=byte_level["add_prefix_space"], trim_offsets=True)
        backend.post_processor = processors.Sequence([trim, backend.post_processor])
    special = {name: str(token) for name, token in plain.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],  # segments are all alike, and the model never sees their ids
        split_special_tokens=True,  # a text that happens to contain "[SEP]" or a task tag is text, as it is for the model
        **special,
    )


def _byte_level(pre_tokenizer: dict | None) -> dict | None:
    """The settings of a ByteLevel pre-tokenizer, alone or in a sequence."""
    if pre_tokenizer is None or pre_tokenizer["type"] == "ByteLevel":
        return pre_tokenizer
    found = (_byte_level(part) for part in pre_tokenizer.get("pretokenizers", []))
    return next((part for part in found if part is not None), None)


def export_stock(model, tokenizer, folder: Path, task: str | None = None, emissions: bool = False) -> dict:
    """Writes the model as a stock class, with its tokenizer.

    Args:
        model, tokenizer: as `prediction.loading.load` gives them.
        folder: an empty folder.
        task: a task of the model; default: the first of its default ones.
        emissions: leave a CRF out, whose label scores become those of a softmax.
    Returns:
        facts for README.md: `class`, `task`, `other_tasks` (default tasks that the export doesn't answer), `types`,
        `max_tokens` (of the model's windows), `model_max_length` (None: any), `emissions`.
    Raises:
        ExportError: a stock class can't hold the model.
    """
    number = check_stock(model.config, task, emissions)
    own = model.config.tasks[number]
    longest = longest_input(model.encoder)
    stock = stock_model(model, number)
    others = [name for name in model.config.default_tasks if name != own.name]
    if others:
        logger.warning(
            "the model answers a text by the tasks %s; the export answers by %s alone. Export the others, too (--task)",
            ", ".join(model.config.default_tasks),
            own.name,
        )
    if longest and longest > model.config.max_tokens:
        logger.warning(
            "the model was trained on windows of %d tokens; the stock pipeline reads up to %d at once, so in longer texts it "
            "may find other mentions (see --compare)",
            model.config.max_tokens,
            longest,
        )
    stock.save_pretrained(folder)
    stock_tokenizer(tokenizer, model.config, number, longest).save_pretrained(folder)
    return {
        "class": type(stock).__name__,
        "task": own.name,
        "other_tasks": others,
        "types": list(own.types),
        "max_tokens": model.config.max_tokens,
        "model_max_length": longest,
        "emissions": emissions,
    }


class TokenByToken(MentionPredictor):
    """Reads a tagger's label scores as a stock pipeline does, token by token: no chain chooses labels together, mentions may
    begin and end inside units, and neither do answers agree over a document, nor are scores calibrated."""

    def __init__(self, model, tokenizer):
        if model.crf is not None or model.config.document_consistency or model.config.calibration:
            model = copy.deepcopy(model)
            model.crf, model.config.classifier = None, "softmax"
            model.config.document_consistency, model.config.calibration = False, None
        super().__init__(model, tokenizer)

    def requests(self, texts, tasks=None) -> list[Request]:
        found = super().requests(texts, tasks)
        return [
            replace(r, features=r.features | {"borders": [bit * (BEGINS | ENDS) for bit in r.features["chain_mask"]]})
            for r in found
        ]


class StockPredictor:
    """The stock pipeline on an export, as the widget runs it: texts → mentions of each.

    Args:
        folder: the export.
        stride: tokens that two stretches of a long text share (see stride.py); None: the pipeline truncates silently.
        strategy: how the pipeline joins tokens.
    """

    def __init__(self, folder: Path, stride: int | None = None, strategy: str = "simple"):
        options = {} if stride is None else {"stride": stride}
        self.pipeline = pipeline(
            "token-classification", model=str(folder), aggregation_strategy=strategy, device="cpu", **options
        )

    def __call__(self, texts: list[str]) -> list[list[Mention]]:
        found = (self.pipeline(text) for text in texts)
        return [
            [Mention(m["start"], m["end"], m["entity_group"], score=float(m["score"])) for m in row] for row in found
        ]

    def reads(self, text: str) -> int | None:
        """One past the last character that the pipeline reads of the text without `stride`; None if it reads all."""
        tokenizer = self.pipeline.tokenizer
        encoded = tokenizer(text, truncation=True, return_offsets_mapping=True, return_overflowing_tokens=True)
        if len(encoded["input_ids"]) < 2:
            return None
        return max(end for _, end in encoded["offset_mapping"][0])
