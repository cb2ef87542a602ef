"""Tokenizers and encoders: pretrained ones, those inside a trained model of this package, and a small one from scratch."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HTTPError
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoTokenizer, ModernBertConfig, PreTrainedTokenizerFast
from transformers.utils.peft_utils import find_adapter_config_file

from .configuration_ner import NERConfig
from .integrity import ModelError, check_folder
from .modeling_ner import build_encoder, load_encoder

logger = logging.getLogger(__name__)

SCRATCH = "scratch"
_SPECIAL = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@dataclass
class EncoderParts:
    """A tokenizer without truncation or padding, an encoder with its weights, the special tokens around a text, and the tokens
    that the family adds."""

    tokenizer: PreTrainedTokenizerFast
    encoder: object
    cls_ids: list[int]
    sep_ids: list[int]
    tag_ids: list[int] = field(default_factory=list)


def load_encoder_parts(
    name_or_path: str,
    texts=(),
    layers: int = 2,
    hidden_size: int = 128,
    loading: dict | None = None,
    trust_remote_code: bool | None = None,
) -> EncoderParts:
    """Loads an encoder by name.

    Args:
        name_or_path: a Hub id, a folder, a folder with a trained model of this package (its encoder is taken:
            AIONER-Pretrained, section 3.4), or "scratch" for a small encoder with a vocabulary learnt from `texts`.
        texts: training texts, for "scratch" only.
        layers, hidden_size: size of the encoder made from scratch.
        loading: further arguments of `from_pretrained` for a pretrained encoder.
        trust_remote_code: whether code that comes with the encoder may run; default: transformers asks on the terminal.
    """
    # Weights in half precision would not train, nor go with a head in float32.
    loading = {"dtype": torch.float32} | (loading or {})
    trust = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
    if name_or_path == SCRATCH:
        tokenizer = _train_tokenizer(texts)
        config = _scratch_config(tokenizer, layers, hidden_size)
        encoder = build_encoder(config)
    else:
        config = load_config(name_or_path, "--encoder", trust_remote_code)
        if isinstance(config, NERConfig):
            name_or_path = str(trained_folder(name_or_path, "--encoder"))
        tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(name_or_path, **trust))
        if isinstance(config, NERConfig):
            logger.info("taking the encoder out of the trained model %s", name_or_path)
            if find_adapter_config_file(name_or_path) is not None:
                raise ModelError(
                    f"--encoder: {name_or_path} holds an adapter; give the merged model that was saved above it"
                )
            encoder = AutoModel.from_pretrained(name_or_path, dtype=torch.float32).encoder
            if "quantization_config" in loading:  # the encoder alone: the head has no linear layers to spare
                with TemporaryDirectory() as folder:
                    encoder.save_pretrained(folder)
                    encoder = load_encoder(folder, encoder.config, **loading)
            # Its tokenizer puts its task tags around a text, which a new model must not inherit.
            set_template(tokenizer, config.cls_ids, config.sep_ids)
        else:
            encoder = load_encoder(name_or_path, config, **loading, **trust)
    cls_ids, sep_ids = _around(tokenizer)
    return EncoderParts(tokenizer, encoder, cls_ids, sep_ids)


def load_config(name_or_path: str, option: str, trust_remote_code: bool | None = None):
    """The config of a folder or a Hub id.

    Args:
        name_or_path: what the user gave.
        option: as the value of which option.
        trust_remote_code: whether its code may run; default: for --encoder transformers asks on the terminal, else not.
    Raises:
        ModelError: there is none.
    """
    # A trained model's config is one of this package's classes; the code beside it is for users without the package.
    if trust_remote_code is None and option != "--encoder":
        trust_remote_code = False
    own_code = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
    try:
        return AutoConfig.from_pretrained(name_or_path, **own_code)
    except (OSError, ValueError) as error:  # the latter for a folder with something else in it
        raise ModelError(
            f"{option}: {name_or_path!r} is neither a folder with a config.json nor a model that can be had from the Hub "
            f"({str(error).splitlines()[0]})"
        ) from error


def trained_folder(name_or_path: str, option: str) -> Path:
    """The folder of a trained model, downloaded if need be, in which nothing is amiss (see integrity.py).

    Args:
        name_or_path, option: as for `load_config`.
    Raises:
        ModelError: it can't be had. IntegrityError, one of these: something is amiss.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name_or_path))
        except (OSError, HTTPError) as error:
            raise ModelError(
                f"{option}: {name_or_path!r} can't be had from the Hub ({str(error).splitlines()[0]})"
            ) from error
    check_folder(folder)
    return folder


def _scratch_config(tokenizer, layers: int, hidden_size: int) -> ModernBertConfig:
    """A small encoder with rotary positions: from a few hundred texts it learns what stands beside what far sooner than one
    with learnt positions."""
    return ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden_size // 32),
        intermediate_size=2 * hidden_size,
        max_position_embeddings=512,
        global_attn_every_n_layers=2,
        local_attention=16,
        attention_dropout=0.1,
        mlp_dropout=0.1,
        embedding_dropout=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )


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
    special = {k: v for k, v in special.items() if k in (*_SPECIAL, "bos_token", "eos_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


def _train_tokenizer(texts) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece({_SPECIAL["unk_token"]: 0}, unk_token=_SPECIAL["unk_token"]))
    # Cased: in gene symbols and species names case tells much, and a small model needs every hint.
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    backend.decoder = decoders.WordPiece()
    # So small a vocabulary cuts names into pieces, and new names have the pieces of known ones; with 4,000 entries the
    # names of the training texts become words, and new names are missed.
    words = Counter(
        word
        for text in texts
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    )
    pieces = [*_SPECIAL.values(), *learn_pieces(words, 1000 - len(_SPECIAL))]
    backend.model = models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=_SPECIAL["unk_token"])
    backend.add_special_tokens(list(_SPECIAL.values()))
    cls, sep = backend.token_to_id("[CLS]"), backend.token_to_id("[SEP]")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=512, model_input_names=["input_ids", "attention_mask"], **_SPECIAL
    )


def learn_pieces(words: dict[str, int], size: int, min_count: int = 2) -> list[str]:
    """The pieces of a WordPiece vocabulary: all characters, then the most frequent neighbours joined, again and again.

    tokenizers' own trainer breaks ties by chance, even within one process: the same seed would not give the same model,
    a resumed run would read its checkpoint with another vocabulary, and every process of a run would have its own.

    Args:
        words: word → how often it occurs.
        size: pieces wanted, characters included.
        min_count: neighbours that occur together less often are not joined.
    Returns:
        Pieces in the order they were found; those inside a word begin with `##`.
    """
    spelt = [([word[0], *(f"##{c}" for c in word[1:])], count) for word, count in sorted(words.items())]
    pieces = dict.fromkeys(sorted({piece for symbols, _ in spelt for piece in symbols}))
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for number, (symbols, count) in enumerate(spelt):
        for pair in pairwise(symbols):
            pairs[pair] += count
            where.setdefault(pair, set()).add(number)
    while len(pieces) < size and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < min_count:
            break
        joined = best[0] + best[1].removeprefix("##")
        pieces[joined] = None
        for number in where.pop(best):
            symbols, count = spelt[number]
            for pair in pairwise(symbols):
                pairs[pair] -= count
            merged: list[str] = []
            for symbol in symbols:
                if merged and (merged[-1], symbol) == best:
                    merged[-1] = joined
                else:
                    merged.append(symbol)
            spelt[number] = (merged, count)
            for pair in pairwise(merged):
                pairs[pair] += count
                where.setdefault(pair, set()).add(number)
        del pairs[best]
    return list(pieces)


def _around(tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise ModelError(
        f"cannot tell which special tokens {type(tokenizer).__name__} puts around a text: {bare} in {full}"
    )


def add_embeddings(encoder, size: int) -> None:
    """Makes room for `size` tokens: new embeddings start near the mean of the old ones, each a little different."""
    old = encoder.get_input_embeddings().weight.shape[0]
    if size <= old:
        return
    encoder.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        weight = encoder.get_input_embeddings().weight
        weight[old:] = weight[:old].mean(0) + 0.02 * torch.randn_like(weight[old:])


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
