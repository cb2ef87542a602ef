"""Pretrained word vectors in the formats of word2vec and fastText, read by gensim (the extra `vectors`)."""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
import shutil
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mosaic_ner.prediction.model_classes import ModelError
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_FASTTEXT_MAGIC = 793712314
_FASTTEXT_HEADER = struct.Struct("<14id3i2q")  # magic, version, the options from `dim` to `t`, the vocabulary's sizes
_FASTTEXT_MATRIX = struct.Struct("<?2q")  # quantised, rows, columns
_AFTER_WORD = 9  # bytes behind a word of fastText's vocabulary and its zero byte: how often it comes, and its kind

_COUNTS = re.compile(rb"(\d{1,12})[ \t]+(\d{1,5})\s*\n")
_FIRST_VALUE = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+|inf|nan)([eE][-+]?\d+)?(?=\s|$)")
_TEXT = re.compile(rb"[\t\r\n -~]*")

FORMATS = "word2vec text or binary, fastText text (.vec) or binary (.bin), each also compressed as .gz"


class WordVectorError(ModelError):
    """Word vectors that can't be used as asked."""


def read_word_vectors(path: str | os.PathLike, words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The vectors of the words: each as written, or else in lower case.

    A fastText model (.bin) also makes vectors of words that it hasn't, from their parts; it is read as a whole (some GB). Of
    the other formats only the words asked for are kept, however many the file has. Where a word comes twice, the first counts.

    Args:
        path: a file in one of `FORMATS`. What it is, is told from its content, but for compression (.gz).
        words: what is looked up.
    Returns:
        Vectors (len(words), d) float32, zeros where there is none, and which words were found, (len(words),) bool.
    Raises:
        WordVectorError: no such file, none of the formats, a truncated file, sizes that disagree, values that are no
            numbers, none of the words in it, or gensim is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise WordVectorError(f"--word_vectors: no such file {str(path)!r}; expected {FORMATS}")
    gensim = _library(path)
    try:
        with _open(path) as file:
            is_fasttext = file.read(4) == struct.pack("<i", _FASTTEXT_MAGIC)
        look_up, size = (_read_fasttext if is_fasttext else _read_word2vec)(gensim, path, words)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:  # of the compressed file; _read_* have told their own
        raise WordVectorError(
            f"{path}: expected a whole gzip file, as its name says, got: {error}; fetch it again"
        ) from error
    vectors, found = torch.zeros(len(words), size), torch.zeros(len(words), dtype=torch.bool)
    for row, word in enumerate(words):
        vector = look_up(word)
        if vector is not None:
            vectors[row], found[row] = torch.tensor(vector), True
    _check(path, words, vectors, found)
    logger.info("word vectors: %s of %s words found in %s", f"{int(found.sum()):,}", f"{len(words):,}", path.name)
    return vectors, found


@torch.no_grad()
def set_word_vectors(embedding: nn.Embedding, vectors: Tensor, found: Tensor) -> None:
    """Puts the vectors that were found into an embedding, and gives its other, random rows their standard deviation.

    Args:
        embedding: (N, d); its last rows are of the words, those before of special words. A row of zeros (padding) stays.
        vectors: (len(words), d) float32, as `read_word_vectors` gives them. found: (len(words),) bool.
    """
    weight, known = embedding.weight, vectors[found].to(embedding.weight)
    # Beside vectors of another size, random ones would be all noise, or nothing.
    random = weight[weight.any(1)]
    weight *= known.std(correction=0) / random.std(correction=0)
    weight[len(weight) - len(vectors) :][found.to(weight.device)] = known


def _library(path: Path):
    try:
        import gensim.models.fasttext  # not at the top: nothing else needs it, and it takes a second
    except ImportError as error:
        raise WordVectorError(
            f"{path}: reading word vectors needs gensim: pip install 'mosaic-ner[vectors]' ({error})"
        ) from error
    # It tells each step, and each word that comes twice or has no parts.
    logging.getLogger("gensim").setLevel(logging.ERROR)
    return gensim


def _open(path: Path):
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _check(path: Path, words: Sequence[str], vectors: Tensor, found: Tensor) -> None:
    if not found.any():
        some = ", ".join(repr(word) for word in words[:5]) or "there are none"
        raise WordVectorError(
            f"{path}: expected vectors of some of the {len(words):,} words of mentions ({some}), got none; take vectors of "
            "texts like these, or leave out --word_vectors"
        )
    finite = vectors.isfinite().all(1)
    if not finite.all():
        word = words[finite.tolist().index(False)]
        raise WordVectorError(
            f"{path}: expected numbers, got an infinite one or none in the vector of {word!r}; fetch the file again"
        )


# ---- word2vec, and fastText's text


def _read_word2vec(gensim, path: Path, words: Sequence[str]):
    """A function from a word to its vector (an array, or None), and the size of these."""
    count, size, binary = _sniff(path)
    wanted = {*words, *map(str.lower, words)}
    read = 0

    class Kept(gensim.models.KeyedVectors):
        """Keeps the wanted words only: five million words would take 4 GB."""

        def __init__(self, vector_size, count, dtype):
            super().__init__(vector_size, min(count, len(wanted)), dtype=dtype)

        def has_index_for(self, key):  # asked once for every word of the file
            nonlocal read
            read += 1
            return super().has_index_for(key)

        def add_vector(self, key, vector):
            if len(vector) != size:  # numpy would repeat a single value
                raise ValueError(f"{len(vector)} values for {key!r}")
            return super().add_vector(key, vector) if key in wanted else -1

        def set_vecattr(self, key, attr, val):
            if key in self.key_to_index:
                super().set_vecattr(key, attr, val)

    try:
        # Long words may be cut within a character, which the original program does; they are none of ours.
        kept = Kept.load_word2vec_format(str(path), binary=binary, unicode_errors="replace")
    except EOFError as error:
        if "Compressed" in str(error):
            raise
        got = f"got {read:,} and then the end" if read < count else "got more"
        raise WordVectorError(
            f"{path}: expected {count:,} words with {size} values each, as its first line says, {got}; the file is truncated "
            "or damaged: fetch it again"
        ) from error
    except ValueError as error:
        # In text, words that can't be read have not been counted when a value is no number.
        raise WordVectorError(
            f"{path}: expected {size} numbers for each word, as its first line says, got after {read:,} words: {error}; "
            "correct the line, or fetch the file again"
        ) from error

    def look_up(word: str):
        index = kept.key_to_index.get(word, kept.key_to_index.get(word.lower()))
        return None if index is None else kept.vectors[index]

    return look_up, size


def _sniff(path: Path) -> tuple[int, int, bool]:
    """Words, values per word, and whether these are binary, of a file in word2vec's format."""
    with _open(path) as file:
        line = file.readline(200)
        counts = _COUNTS.fullmatch(line)
        count, size = map(int, counts.groups()) if counts else (0, 0)
        if not (count and size):
            raise WordVectorError(
                f"{path}: expected {FORMATS}; all but fastText's binary one begin with a line such as '5443656 200' (words and "
                f"values of each), got {line[:60]!r}. Vectors without it (GloVe) need such a line before the first"
            )
        first = file.read(40 * size + 1000)
    values = first.partition(b" ")[2].split(b"\n", 1)[0]
    # Four bytes of a number may look like text, but not all of them up to the first that looks like a line's end.
    return count, size, not (_FIRST_VALUE.match(values) and _TEXT.fullmatch(values))


# ---- fastText's own format


def _read_fasttext(gensim, path: Path, words: Sequence[str]):
    """As `_read_word2vec`; all words are taken, and those that the model hasn't are made from their parts."""
    with TemporaryDirectory() as folder:
        plain = path
        if path.suffix == ".gz":  # gensim reads these number by number
            plain = Path(folder) / "vectors.bin"
            with _open(path) as packed, plain.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
        _check_fasttext(path, plain)
        try:
            model = gensim.models.fasttext.load_facebook_vectors(str(plain))
        except (AssertionError, EOFError, NotImplementedError, ValueError, struct.error) as error:
            raise WordVectorError(
                f"{path}: expected a fastText model that gensim can read, got: {error or type(error).__name__}; fetch it "
                "again, or take its text (.vec)"
            ) from error
    # A model of lower-cased words knows parts of lower-cased words only; of others it has what chance made of them.
    lower_cased = all(word == word.lower() for word in model.key_to_index)

    def look_up(word: str):
        for spelling in (word, word.lower()):
            if spelling in model.key_to_index:
                return model.get_vector(spelling)
        if not model.bucket:
            return None
        vector = model.get_vector(word.lower() if lower_cased else word)
        return vector if vector.any() else None  # zeros: it is too short to have parts

    return look_up, model.vector_size


def _check_fasttext(path: Path, plain: Path) -> None:
    """Whether the model is whole, and of a kind that has vectors; gensim would read on and on at the end of the file.

    The layout is that of fastText 0.9 (`FastText::saveModel`, `Dictionary::save`, `DenseMatrix::save`).
    """

    def truncated(where: str) -> WordVectorError:
        return WordVectorError(f"{path}: the fastText model ends {where}; it is truncated: fetch it again")

    with plain.open("rb") as file:
        header = file.read(_FASTTEXT_HEADER.size)
        if len(header) < _FASTTEXT_HEADER.size:
            raise truncated(f"within its header, after {len(header)} bytes")
        _, _, size, *options, entries, words, labels, _, pruned = _FASTTEXT_HEADER.unpack(header)
        buckets = options[7]
        if labels:
            raise WordVectorError(f"{path}: expected fastText word vectors, got a classifier with {labels} labels")
        seen = _skip_vocabulary(file, entries)
        if seen < entries:
            raise truncated(f"after {seen:,} of {entries:,} words")
        file.seek(8 * max(0, pruned), os.SEEK_CUR)
        matrix = file.read(_FASTTEXT_MATRIX.size)
        if len(matrix) < _FASTTEXT_MATRIX.size:
            raise truncated("before its vectors")
        quantised, rows, columns = _FASTTEXT_MATRIX.unpack(matrix)
        if quantised:
            raise WordVectorError(
                f"{path}: expected fastText word vectors, got quantised ones (.ftz); take the .bin file"
            )
        if (rows, columns) != (words + buckets, size):
            raise WordVectorError(
                f"{path}: expected {words:,} words and {buckets:,} parts with {size} values each, as its header says, got "
                f"{rows:,} rows of {columns}; fetch it again"
            )
        missing = 4 * math.prod((rows, columns)) - (os.fstat(file.fileno()).st_size - file.tell())
        if missing > 0:
            raise truncated(f"{missing:,} bytes before the end of its vectors")


def _skip_vocabulary(file, entries: int) -> int:
    """Moves behind the words of a fastText model; how many there were up to the end of the file."""
    data, place, seen = b"", 0, 0
    while seen < entries:
        end = data.find(b"\0", place)
        if end >= 0 and end + 1 + _AFTER_WORD <= len(data):
            place, seen = end + 1 + _AFTER_WORD, seen + 1
            continue
        more = file.read(1 << 20)
        if not more:
            return seen
        data, place = data[place:] + more, 0
    file.seek(place - len(data), os.SEEK_CUR)
    return seen
