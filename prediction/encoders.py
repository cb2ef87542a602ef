"""Tokenizers and encoders: pretrained ones, and those inside a trained model of this package."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import torch
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.modeling_ner import load_encoder
from tokenizers import Tokenizer, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.peft_utils import find_adapter_config_file

from .folders import load_config, trained_folder
from .model_classes import ModelError

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
"""Those of a tokenizer that are kept."""


@dataclass
class EncoderParts:
    """A tokenizer without truncation or padding, an encoder with its weights, the special tokens around a text, and the tokens
    that the family adds.

    `hidden`: weights of the fully connected layer after the encoder, where both come from a trained AIONER that has one.
    """

    tokenizer: PreTrainedTokenizerFast
    encoder: object
    cls_ids: list[int]
    sep_ids: list[int]
    tag_ids: list[int] = field(default_factory=list)
    hidden: dict[str, torch.Tensor] = field(default_factory=dict)


def pretrained_parts(
    name_or_path: str,
    loading: dict | None = None,
    trust_remote_code: bool | None = None,
) -> EncoderParts:
    """Loads an encoder by name.

    Args:
        name_or_path: a Hub id, a folder, or a folder with a trained model of this package (its encoder is taken:
            AIONER-Pretrained, section 3.4; with AIONER's fully connected layer, if it has one).
        loading: further arguments of `from_pretrained`.
        trust_remote_code: whether code that comes with the encoder may run; default: transformers asks on the terminal.
    """
    # Weights in half precision would not train, nor go with a head in float32.
    loading = {"dtype": torch.float32} | (loading or {})
    trust = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
    config = load_config(name_or_path, "--encoder", trust_remote_code)
    if isinstance(config, NERConfig):
        name_or_path = str(trained_folder(name_or_path, "--encoder"))
    tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(name_or_path, **trust))
    hidden = {}
    if isinstance(config, NERConfig):
        logger.info("taking the encoder out of the trained model %s", name_or_path)
        if find_adapter_config_file(name_or_path) is not None:
            raise ModelError(
                f"--encoder: {name_or_path} holds an adapter; give the merged model that was saved above it"
            )
        trained = AutoModel.from_pretrained(name_or_path, dtype=torch.float32)
        encoder = trained.encoder
        if isinstance(config, AIONERConfig) and config.hidden_size:
            hidden = trained.hidden.state_dict()
        if "quantization_config" in loading:  # the encoder alone: the head has no linear layers to spare
            with TemporaryDirectory() as folder:
                encoder.save_pretrained(folder)
                encoder = load_encoder(folder, encoder.config, **loading)
        # Its tokenizer puts its task tags around a text, which a new model must not inherit.
        set_template(tokenizer, config.cls_ids, config.sep_ids)
    else:
        encoder = load_encoder(name_or_path, config, **loading, **trust)
    cls_ids, sep_ids = special_tokens_around(tokenizer)
    return EncoderParts(tokenizer, encoder, cls_ids, sep_ids, hidden=hidden)


def plain_tokenizer(tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer as the plain fast class, without stored truncation or padding.

    The model-specific classes rebuild their post-processor when loaded, which would lose the task tags' template; stored
    truncation (sentence-transformers saves 128 tokens) would cut documents without a word.

    Raises:
        ModelError: the tokenizer has no fast version.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} has no fast version; character offsets need one. Convert it with "
            "transformers.convert_slow_tokenizer, or choose another encoder"
        )
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    special = {
        k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str) or hasattr(v, "content")
    }
    special = {k: v for k, v in special.items() if k in SPECIAL_TOKENS}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


def special_tokens_around(tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise ModelError(
        f"cannot tell which special tokens {type(tokenizer).__name__} puts around a text: {bare} in {full}"
    )


def set_template(tokenizer: PreTrainedTokenizerFast, prefix: list[int], suffix: list[int]) -> None:
    """Makes the tokenizer put these special tokens around every single text, also after saving and loading."""
    names = {i: tokenizer.convert_ids_to_tokens(i) for i in [*prefix, *suffix]}
    before, after = [names[i] for i in prefix], [names[i] for i in suffix]
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *after, "$B", *after],
        special_tokens=[(name, number) for number, name in names.items()],
    )
