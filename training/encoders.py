"""The encoder that a run begins with: a pretrained one, or a small one from scratch."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import torch
from mosaic_ner.modeling.modeling_ner import build_encoder
from mosaic_ner.prediction.adapters import load_parts
from mosaic_ner.prediction.encoders import EncoderParts, special_tokens_around
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import ModernBertConfig, PreTrainedTokenizerFast

SCRATCH = "scratch"
_SPECIAL = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def load_encoder_parts(
    name_or_path: str, texts=(), layers: int = 2, hidden_size: int = 128, quantization: str | None = None
) -> EncoderParts:
    """The encoder by name, with its tokenizer.

    Args:
        name_or_path: as for `pretrained_parts`, or "scratch" for a small encoder with a vocabulary learnt from `texts`.
        texts: training texts, for "scratch" only.
        layers, hidden_size: size of the encoder made from scratch.
        quantization: "8bit" or "4bit" for a pretrained encoder's frozen weights; None: as they are.
    """
    if name_or_path != SCRATCH:
        return load_parts(name_or_path, quantization)
    tokenizer = _train_tokenizer(texts)
    encoder = build_encoder(_scratch_config(tokenizer, layers, hidden_size))
    return EncoderParts(tokenizer, encoder, *special_tokens_around(tokenizer))


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


def add_embeddings(encoder, size: int) -> None:
    """Makes room for `size` tokens: new embeddings start near the mean of the old ones, each a little different."""
    old = encoder.get_input_embeddings().weight.shape[0]
    if size <= old:
        return
    encoder.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        weight = encoder.get_input_embeddings().weight
        weight[old:] = weight[:old].mean(0) + 0.02 * torch.randn_like(weight[old:])
