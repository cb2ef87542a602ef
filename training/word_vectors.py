"""Pretrained word vectors in the formats of word2vec and fastText. Only the words that are looked up are kept in memory."""

from __future__ import annotations

import gzip
import logging
import os
import re
import struct
import zlib
from array import array
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import torch
from mosaic_ner.prediction.model_classes import ModelError
from torch import Tensor, nn

logger = logging.getLogger(__name__)

FORMATS = "word2vec text or binary, fastText text (.vec) or binary (.bin), each also compressed as .gz"

_COUNTS = re.compile(rb"(\d{1,12})[ \t]+(\d{1,5})\s*\n")
_FIRST_VALUE = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+|inf|nan)([eE][-+]?\d+)?(?=\s|$)")
_TEXT = re.compile(rb"[\t\r\n -~]*")

# Layout of fastText 0.9: `FastText::saveModel`, `Args::save`, `Dictionary::save`, `DenseMatrix::save`.
_FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_FASTTEXT_HEADER = struct.Struct("<14id3i2q")  # magic, version, the options from `dim` to `t`, the vocabulary's sizes
_FASTTEXT_MATRIX = struct.Struct("<?2q")  # quantised, rows, columns
_AFTER_WORD = 9  # bytes behind a word of the vocabulary and its zero byte: frequency and kind


class WordVectorError(ModelError):
    """Word vectors that can't be used as asked."""


def read_word_vectors(path: str | os.PathLike, words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The vectors of the words: each as written, or else in lower case.

    A fastText model (.bin) also makes vectors of words outside its vocabulary, from their character n-grams. Where a file
    has a word twice, the first counts.

    Args:
        path: a file in one of `FORMATS`. The name tells compression (.gz), the content tells the rest.
        words: what is looked up.

    Returns:
        Vectors (len(words), d) float32, zeros where there is none, and which words were found, (len(words),) bool.

    Raises:
        WordVectorError: no such file, none of the formats, a truncated file, sizes that disagree, values that are no
            numbers, or none of the words in it.
    """
    path = Path(path)
    if not path.is_file():
        raise WordVectorError(f"--word_vectors: no such file {str(path)!r}; expected {FORMATS}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            is_fasttext = file.read(len(_FASTTEXT_MAGIC)) == _FASTTEXT_MAGIC
            file.seek(0)
            known = (_read_fasttext if is_fasttext else _read_word2vec)(file, path, words)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise WordVectorError(
            f"{path}: expected a whole gzip file, as its name says, got: {error}; fetch it again"
        ) from error
    if not known:
        some = ", ".join(repr(word) for word in words[:5]) or "there are none"
        raise WordVectorError(
            f"{path}: expected vectors of some of the {len(words):,} words of mentions ({some}), got none; take vectors of "
            "texts like these, or leave out --word_vectors"
        )
    found = torch.tensor([word in known for word in words])
    vectors = torch.zeros(len(words), len(next(iter(known.values()))))
    vectors[found] = torch.stack([known[word] for word in words if word in known])
    if not vectors.isfinite().all():
        word = words[vectors.isfinite().all(1).tolist().index(False)]
        raise WordVectorError(
            f"{path}: expected numbers, got an infinite one or none in the vector of {word!r}; fetch the file again"
        )
    logger.info("word vectors: %s of %s words found in %s", f"{int(found.sum()):,}", f"{len(words):,}", path.name)
    return vectors, found


@torch.no_grad()
def set_word_vectors(embedding: nn.Embedding, vectors: Tensor, found: Tensor) -> None:
    """Puts the vectors that were found into an embedding, and gives its other, random rows their standard deviation.

    Args:
        embedding: (N, d); its last rows are of the words, those before of special words. A row of zeros (padding) stays.
        vectors: (len(words), d) float32, as `read_word_vectors` returns them.
        found: (len(words),) bool.
    """
    weight, known = embedding.weight, vectors[found].to(embedding.weight)
    # Random vectors must have the length of the pretrained ones: longer ones are noise, the decoder ignores shorter ones.
    random = weight[weight.any(1)]
    weight *= known.std(correction=0) / random.std(correction=0)
    weight[len(weight) - len(vectors) :][found.to(weight.device)] = known


def _spelling_in(known: Container[str], word: str) -> str | None:
    return next((spelling for spelling in (word, word.lower()) if spelling in known), None)


def _tensor(values: bytes) -> Tensor:
    return torch.frombuffer(bytearray(values), dtype=torch.float32)


def _entries(file: IO[bytes], count: int, end: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    """(word, the `size` bytes after its `end`) of up to `count` entries. May read the file beyond the last of them."""
    data, place = b"", 0
    for _ in range(count):
        while (stop := data.find(end, place)) < 0 or len(data) <= stop + size:
            more = file.read(1 << 20)
            if not more:
                return
            data, place = data[place:] + more, 0
        yield data[place:stop], data[stop + 1 : stop + 1 + size]
        place = stop + 1 + size


# ---- word2vec, and fastText's text


def _read_word2vec(file: IO[bytes], path: Path, words: Sequence[str]) -> dict[str, Tensor]:
    count, size, is_binary = _sniff(file, path)
    wanted = {*words, *map(str.lower, words)}
    kept: dict[str, bytes] = {}
    read = 0
    try:
        for word, values in _binary_rows(file, count, size) if is_binary else _text_rows(file, count, size):
            read += 1
            if word in wanted:
                kept.setdefault(word, values)
    except ValueError as error:
        raise WordVectorError(
            f"{path}: expected {size} numbers for each word, as its first line says, got after {read:,} words: {error}; "
            "correct the line, or fetch the file again"
        ) from error
    if read != count:
        got = f"got {read:,} and then the end" if read < count else "got more"
        raise WordVectorError(
            f"{path}: expected {count:,} words with {size} values each, as its first line says, {got}; the file is truncated "
            "or damaged: fetch it again"
        )
    return {word: _tensor(kept[spelling]) for word in words if (spelling := _spelling_in(kept, word)) is not None}


def _sniff(file: IO[bytes], path: Path) -> tuple[int, int, bool]:
    """Words, values per word, and whether these are binary. Leaves the file behind its first line."""
    line = file.readline(200)
    counts = _COUNTS.fullmatch(line)
    count, size = map(int, counts.groups()) if counts else (0, 0)
    if not (count and size):
        raise WordVectorError(
            f"{path}: expected {FORMATS}; all but fastText's binary one begin with a line such as '5443656 200' (words and "
            f"values of each), got {line[:60]!r}. Vectors without it (GloVe) need such a line before the first"
        )
    values = file.read(40 * size + 1000).partition(b" ")[2].split(b"\n", 1)[0]
    file.seek(len(line))
    # One binary value may look like text, but not all of them up to the first byte that looks like a line's end.
    return count, size, not (_FIRST_VALUE.match(values) and _TEXT.fullmatch(values))


def _binary_rows(file: IO[bytes], count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """(word, float32 values) of each word; one more than `count` where the file has more."""
    for word, values in _entries(file, count + 1, b" ", 4 * size):
        yield word.decode(errors="replace").lstrip("\n"), values  # word2vec.c ends each vector with a line's end


def _text_rows(file: IO[bytes], count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """(word, float32 values) of up to `count` lines; ValueError where a line isn't a word and `size` numbers."""
    for line in islice(file, count):
        word, *values = line.rstrip().decode(errors="replace").split(" ")
        if len(values) != size:
            raise ValueError(f"{len(values)} values for {word!r}")
        yield word, array("f", map(float, values)).tobytes()


# ---- fastText's own format


def _read_fasttext(file: IO[bytes], path: Path, words: Sequence[str]) -> dict[str, Tensor]:
    """A word's vector is the mean of the matrix's rows of the word and of its character n-grams."""

    def unpack(layout: struct.Struct, part: str) -> tuple:
        data = file.read(layout.size)
        if len(data) < layout.size:
            raise truncated(part)
        return layout.unpack(data)

    def truncated(part: str) -> WordVectorError:
        return WordVectorError(f"{path}: the fastText model ends within its {part}; it is truncated: fetch it again")

    _, _, size, *options, entries, count, labels, _, pruned = unpack(_FASTTEXT_HEADER, "header")
    buckets, shortest, longest = options[7:10]
    if labels:
        raise WordVectorError(f"{path}: expected fastText word vectors, got a classifier with {labels} labels")
    wanted = {*words, *map(str.lower, words)}
    index: dict[str, int] = {}
    place, read, lower_cased = file.tell(), 0, True
    for encoded, _ in _entries(file, entries, b"\0", _AFTER_WORD):
        word = encoded.decode(errors="replace")
        if word in wanted:
            index.setdefault(word, read)
        lower_cased = lower_cased and word == word.lower()
        place += len(encoded) + 1 + _AFTER_WORD
        read += 1
    if read < entries:
        raise truncated(f"vocabulary, after {read:,} of {entries:,} words")
    file.seek(place)
    quantised, rows, columns = unpack(_FASTTEXT_MATRIX, "vectors")
    if quantised or pruned > 0:
        raise WordVectorError(f"{path}: expected fastText word vectors, got quantised ones (.ftz); take the .bin file")
    if (count, rows, columns) != (entries, entries + buckets, size) or size < 1 or buckets < 0:
        raise WordVectorError(
            f"{path}: expected {entries:,} words and {buckets:,} buckets with {size} values each, as its header says, got "
            f"{rows:,} rows of {columns}; fetch it again"
        )
    start = file.tell()
    if file.seek(0, os.SEEK_END) < start + 4 * rows * columns:
        raise truncated("vectors")

    parts: dict[str, list[int]] = {}
    for word in words:
        spelling = _spelling_in(index, word)
        # A model of lower-cased words knows lower-cased n-grams only.
        text = spelling if spelling is not None else word.lower() if lower_cased else word
        parts[word] = [entries + bucket for bucket in _buckets(text, shortest, longest, buckets)]
        parts[word] += [] if spelling is None else [index[spelling]]
    vectors = {}
    for row in sorted(set().union(*parts.values())):  # in order, because reading a .gz file backwards is slow
        file.seek(start + 4 * size * row)
        vectors[row] = _tensor(file.read(4 * size))
    return {word: torch.stack([vectors[row] for row in own]).mean(0) for word, own in parts.items() if own}


def _buckets(word: str, shortest: int, longest: int, buckets: int) -> Iterator[int]:
    """The buckets of a word's character n-grams (fastText's `Dictionary::computeSubwords` and `Dictionary::hash`)."""
    text = f"<{word}>"
    for length in range(max(1, shortest), min(longest, len(text)) + 1) if buckets else ():
        for begin in range(len(text) - length + 1):
            if length > 1 or 0 < begin < len(text) - 1:  # `<` and `>` alone are no n-grams
                value = 2166136261
                for byte in text[begin : begin + length].encode("utf-8", "surrogatepass"):
                    signed = byte | 0xFFFFFF00 if byte > 127 else byte
                    value = (value ^ signed) * 16777619 % 2**32
                yield value % buckets
