"""Word vectors: every format against vectors written here and against gensim; faulty files; the model's rows."""

from __future__ import annotations

import gzip
import logging
import struct
import sys
import tracemalloc

import pytest
import torch
from helpers_run import QUICK, fails
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.modeling.words import PAD, UNKNOWN
from mosaic_ner.training import joint_ib
from mosaic_ner.training.arguments import parse
from mosaic_ner.training.results import without_local_paths
from mosaic_ner.training.word_vectors import WordVectorError, read_word_vectors, set_word_vectors
from transformers import AutoModel

SIZE = 12
WORDS = ["</s>", "brcax", "BRCAX", "gene", "α", "12", ",", "Velosis"]
LOOKED_UP = ["gene", "Gene", "BRCAX", "Brcax", "α", "velosis", "Velosis", ",", "none"]
FOUND_AS = ["gene", "gene", "BRCAX", "brcax", "α", None, "Velosis", ",", None]


def table(words=WORDS, size=SIZE, seed=0):
    vectors = torch.randn(len(words), size, generator=torch.Generator().manual_seed(seed))
    return dict(zip(words, vectors, strict=True))


def as_text(vectors, header=None) -> bytes:
    lines = [header or f"{len(vectors)} {len(next(iter(vectors.values())))}"]
    lines += [" ".join([word, *(repr(x) for x in vector.tolist())]) for word, vector in vectors.items()]
    return ("\n".join(lines) + "\n").encode()


def as_binary(vectors, header=None, end=b"\n") -> bytes:
    """As word2vec.c writes it (gensim writes no line ends behind the vectors)."""
    header = header or f"{len(vectors)} {len(next(iter(vectors.values())))}"
    rows = [word.encode() + b" " + struct.pack(f"<{len(v)}f", *v.tolist()) + end for word, v in vectors.items()]
    return header.encode() + b"\n" + b"".join(rows)


def write(path, content: bytes):
    if path.suffix == ".gz":
        content = gzip.compress(content)
    path.write_bytes(content)
    return path


def refused(path, words=("gene",)) -> str:
    with pytest.raises(WordVectorError) as caught:
        read_word_vectors(path, words)
    return str(caught.value)


SENTENCES = [f"the brcax gene causes velosis in group {i} of patients".split() for i in range(20)]


def train_fasttext(path, sentences=SENTENCES, **options):
    """A tiny fastText model, trained and saved by gensim."""
    from gensim.models import FastText
    from gensim.models.fasttext import save_facebook_model

    options = {"vector_size": SIZE, "bucket": 50, "min_n": 3, "max_n": 5} | options
    model = FastText(sentences, min_count=1, epochs=2, seed=1, workers=1, **options)
    save_facebook_model(model, str(path))
    return model


@pytest.fixture(scope="module")
def fasttext_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fasttext") / "model.bin"
    train_fasttext(path)
    return path


@pytest.fixture(scope="module")
def twin(fasttext_file):
    """The same model, loaded by gensim."""
    from gensim.models.fasttext import load_facebook_vectors

    return load_facebook_vectors(str(fasttext_file))


# ---- formats


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("vectors.txt", as_text),
        ("vectors.vec", as_text),
        ("vectors.bin", as_binary),
        ("named_wrongly.txt", as_binary),
        ("without_line_ends.bin", lambda vectors: as_binary(vectors, end=b"")),
        ("vectors.txt.gz", as_text),
        ("vectors.bin.gz", as_binary),
    ],
)
def test_vectors_are_those_of_the_file_as_written_or_in_lower_case(tmp_path, name, written):
    known = table()
    vectors, found = read_word_vectors(write(tmp_path / name, written(known)), LOOKED_UP)
    assert (vectors.dtype, found.dtype) == (torch.float32, torch.bool)
    assert found.tolist() == [word is not None for word in FOUND_AS]
    for row, word in zip(vectors, FOUND_AS, strict=True):
        torch.testing.assert_close(row, torch.zeros(SIZE) if word is None else known[word], rtol=0, atol=0)


@pytest.mark.parametrize("binary", [False, True])
def test_what_gensim_writes_is_read(tmp_path, binary):
    from gensim.models import KeyedVectors

    known = table()
    kept = KeyedVectors(SIZE)
    kept.add_vectors(WORDS, torch.stack(list(known.values())).numpy())
    kept.save_word2vec_format(str(tmp_path / "vectors"), binary=binary)
    vectors, found = read_word_vectors(tmp_path / "vectors", WORDS)
    assert found.all()
    torch.testing.assert_close(vectors, torch.stack(list(known.values())), rtol=0, atol=0)


@pytest.mark.parametrize("written", [as_text, as_binary])
@pytest.mark.parametrize("first", [0, 5, 1e-30, 0.5, 1.0, 3e38, 2.5e-9])
@pytest.mark.parametrize("size", [1, 2, 200])
def test_text_is_told_from_binary_whatever_the_first_value(tmp_path, written, first, size):
    known = {"gene": torch.full((size,), float(first)), "group": torch.ones(size)}
    vectors, _ = read_word_vectors(write(tmp_path / "vectors.bin", written(known)), ["gene", "group"])
    torch.testing.assert_close(vectors, torch.stack(list(known.values())), rtol=0, atol=0)


@pytest.mark.parametrize("written", [as_text, as_binary])
def test_of_a_large_file_the_words_looked_up_are_kept_and_of_two_the_first(tmp_path, written):
    words = [f"w{i}" for i in range(3000)]
    content = written(table(words))
    again = written(table(words[:2], seed=9), header=f"{3002} {SIZE}").split(b"\n", 1)
    path = write(tmp_path / "vectors", again[0] + b"\n" + content.split(b"\n", 1)[1] + again[1])
    vectors, found = read_word_vectors(path, ["w2999", "w1", "w1500", "w3000"])
    known = table(words)
    assert found.tolist() == [True, True, True, False]
    torch.testing.assert_close(vectors[:3], torch.stack([known[w] for w in ("w2999", "w1", "w1500")]), rtol=0, atol=0)


def test_words_cut_within_a_character_are_not_found(tmp_path):
    content = as_binary(table(["αβ", "gene"])).replace("αβ".encode(), "αβ".encode()[:3])
    vectors, found = read_word_vectors(write(tmp_path / "vectors.bin", content), ["α", "gene"])
    assert found.tolist() == [False, True]
    torch.testing.assert_close(vectors[1], table(["αβ", "gene"])["gene"], rtol=0, atol=0)


@pytest.mark.parametrize("packed", [False, True])
def test_fasttext_models_make_vectors_of_unknown_words(twin, fasttext_file, tmp_path, packed):
    path = fasttext_file
    if packed:
        path = write(tmp_path / "model.bin.gz", fasttext_file.read_bytes())
    vectors, found = read_word_vectors(path, ["brcax", "Velosis", "brcaxes", "GENES", ""])
    assert found.tolist() == [True, True, True, True, False]  # the empty word has no n-grams
    assert not vectors[4].any()
    words = ["brcax", "velosis", "brcaxes", "genes"]  # all lower-case, like the words of the model
    assert "brcaxes" not in twin.key_to_index
    torch.testing.assert_close(vectors[:4], as_gensim_has_them(twin, words), rtol=1e-5, atol=1e-7)


def as_gensim_has_them(model, words):
    return torch.stack([torch.tensor(model.get_vector(word)) for word in words])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_vectors_of_any_words_are_gensim_s(twin, fasttext_file, words):
    lower = [word.lower() for word in words]
    torch.testing.assert_close(
        read_word_vectors(fasttext_file, lower)[0], as_gensim_has_them(twin, lower), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("options", [{"min_n": 1, "max_n": 2}, {"bucket": 7}, {"min_n": 4, "max_n": 3}, {"bucket": 0}])
def test_n_grams_are_those_that_the_model_was_trained_with(tmp_path, options):
    model = train_fasttext(tmp_path / "model.bin", [*SENTENCES, ["α-sÿnuclein", "β"]], **options).wv
    words = ["gene", "β", "α-sÿnuclein", "γ-genes", "b", "brcaxes"]
    vectors, found = read_word_vectors(tmp_path / "model.bin", words)
    has_n_grams = model.bucket > 0 and model.min_n <= model.max_n
    assert found.tolist() == [True, True, True, has_n_grams, has_n_grams and model.min_n <= 3, has_n_grams]
    for word, vector, there in zip(words, vectors, found, strict=True):
        if there:
            torch.testing.assert_close(vector, torch.tensor(model[word]), rtol=1e-5, atol=1e-7)


def test_n_grams_are_of_the_word_as_written_where_the_model_has_capitals(tmp_path):
    model = train_fasttext(tmp_path / "model.bin", [["Brcax", "gene"]] * 5).wv
    vectors, _ = read_word_vectors(tmp_path / "model.bin", ["Brcaxes"])
    torch.testing.assert_close(vectors, as_gensim_has_them(model, ["Brcaxes"]), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(vectors, as_gensim_has_them(model, ["brcaxes"]), atol=1e-4)


def many_words(path, kind):
    words = {"text": 4000, "binary": 20_000, "fasttext": 20_000}[kind]
    if kind == "fasttext":
        train_fasttext(path, [[f"w{i}" for i in range(n, n + 100)] for n in range(0, words, 100)], vector_size=100)
    else:
        write(path, (as_text if kind == "text" else as_binary)(table([f"w{i}" for i in range(words)], 100)))


@pytest.mark.parametrize("kind", ["text", "binary", "fasttext"])
def test_of_a_large_file_only_the_words_looked_up_are_in_memory(tmp_path, kind):
    many_words(tmp_path / "vectors", kind)
    read_word_vectors(tmp_path / "vectors", ["w2"])
    tracemalloc.start()
    _, found = read_word_vectors(tmp_path / "vectors", ["w2", "w3999", "w1000"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.all()
    assert peak < (tmp_path / "vectors").stat().st_size / 2


def test_every_format_is_read_without_gensim(tmp_path, fasttext_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    for path in (write(tmp_path / "a", as_text(table())), write(tmp_path / "b", as_binary(table())), fasttext_file):
        assert read_word_vectors(path, ["gene"])[1].all()


# ---- what can be wrong


def test_no_such_file(tmp_path):
    message = refused(tmp_path / "none.bin")
    assert "--word_vectors: no such file" in message
    assert "none.bin" in message
    assert "no such file" in refused(tmp_path)  # a folder


@pytest.mark.parametrize(
    "content",
    [b"", b"gene 0.1 0.2\n", b"<html>\n", b"5 x\n", b"0 200\n", b"3 0\n", b"3 200", b"\x1f\x8b\x08" * 99, b"5 200 7\n"],
)
def test_files_of_no_known_format(tmp_path, content):
    message = refused(write(tmp_path / "vectors.bin", content))
    assert "vectors.bin: expected word2vec text or binary, fastText text (.vec) or binary (.bin)" in message
    assert "got b'" in message


@pytest.mark.parametrize(("written", "cut"), [(as_text, -200), (as_binary, -1 - SIZE * 4)])
def test_truncated_files(tmp_path, written, cut):
    content = written(table())
    lines = content[:cut]
    if written is as_text:  # at a line's end: within a line the number of values is wrong
        lines = content[: content.rindex(b"\n", 0, cut) + 1]
    message = refused(write(tmp_path / "vectors.bin", lines))
    assert f"vectors.bin: expected 8 words with {SIZE} values each" in message
    assert "and then the end; the file is truncated" in message
    path = write(tmp_path / "vectors.bin.gz", content)
    path.write_bytes(path.read_bytes()[:-30])
    message = refused(path)
    assert "vectors.bin.gz: expected a whole gzip file" in message
    assert "fetch it again" in message


def test_a_name_that_promises_gzip(tmp_path):
    (tmp_path / "vectors.txt.gz").write_bytes(as_text(table()))
    assert "vectors.txt.gz: expected a whole gzip file" in refused(tmp_path / "vectors.txt.gz")


@pytest.mark.parametrize("size", [1, SIZE - 1, SIZE + 1])
def test_lines_with_another_number_of_values(tmp_path, size):
    content = as_text(table(["gene", "group"])) + as_text(table(["in"], size)).split(b"\n", 1)[1]
    path = write(tmp_path / "vectors.txt", content.replace(b"2 ", b"3 ", 1))
    message = refused(path, ["none", "gene"])
    assert f"vectors.txt: expected {SIZE} numbers for each word, as its first line says, got after" in message
    assert f"{size} values for 'in'" in message


def test_values_that_are_no_numbers(tmp_path):
    path = write(tmp_path / "vectors.txt", b"2 3\ngene 1 2 3\nin 1 x 3\n")
    message = refused(path)
    assert "expected 3 numbers for each word, as its first line says, got after 1 words" in message
    assert "'x'" in message
    path = write(tmp_path / "vectors.txt", b"2 3\ngene 1 nan 3\nin 1 2 3\n")
    assert "got an infinite one or none in the vector of 'gene'" in refused(path, ["in", "gene"])


def test_binary_files_with_more_words_than_they_say(tmp_path):
    words = [f"w{i}" for i in range(3000)]
    path = write(tmp_path / "vectors.bin", as_binary(table(words), header=f"2900 {SIZE}"))
    assert f"expected 2,900 words with {SIZE} values each, as its first line says, got more" in refused(path, ["w5"])


def test_none_of_the_words_is_found(tmp_path):
    path = write(tmp_path / "vectors.txt", as_text(table()))
    message = refused(path, ["xa", "xb"])
    assert "expected vectors of some of the 2 words of mentions ('xa', 'xb'), got none" in message
    assert "(there are none), got none" in refused(path, [])


def test_fasttext_models_that_are_cut_anywhere_or_disagree(fasttext_file, tmp_path):
    whole = fasttext_file.read_bytes()
    rows = 50 + 29
    place = whole.index(struct.pack("<?2q", False, rows, SIZE))
    path = tmp_path / "model.bin"
    for end, part in (
        (50, "header"),
        (100, "vocabulary, after 0 of 29 words"),
        (place - 1, "vocabulary, after 28 of 29 words"),
        (place + 5, "vectors"),
        (place + 17 + 4 * rows * SIZE - 7, "vectors"),
    ):
        path.write_bytes(whole[:end])
        assert f"{path}: the fastText model ends within its {part}; it is truncated: fetch it again" in refused(path)
    path.write_bytes(whole[:place] + struct.pack("<?2q", True, rows, SIZE) + whole[place + 17 :])
    assert "got quantised ones (.ftz)" in refused(path)
    path.write_bytes(whole[:place] + struct.pack("<?2q", False, rows + 1, SIZE) + whole[place + 17 :])
    assert f"expected 29 words and 50 buckets with {SIZE} values each, as its header says, got {rows + 1}" in refused(
        path
    )
    labels = bytearray(whole)
    labels[72:76] = struct.pack("<i", 3)
    path.write_bytes(labels)
    assert "got a classifier with 3 labels" in refused(path)
    packed = write(tmp_path / "model.bin.gz", whole)
    packed.write_bytes(packed.read_bytes()[:-99])
    assert "expected a whole gzip file" in refused(packed)


# ---- the model


@pytest.fixture
def documents(demo_corpora):
    return demo_corpora["demo_all"]["train"][:8]


def build(build_bundle, documents, **options):
    small = {"family": "joint_ib", "hidden_size": 12, "latent_size": 8, "max_span_width": 4}
    return build_bundle(documents=documents, **(small | options))


def test_rows_of_found_words_are_the_file_s_and_the_others_of_their_size(build_bundle, documents, tmp_path, caplog):
    plain = build(build_bundle, documents, decoder_size=20).model
    words = plain.config.vocabulary
    assert (plain.config.word_size, plain.config.decoder_size) == (200, 20)
    assert plain.generator.reconstruction.lstm.hidden_size == 20
    known = table([word.lower() for word in words[::2]])
    known = {word: 5 * vector for word, vector in known.items()}
    path = write(tmp_path / "pubmed.bin", as_binary(known))
    with caplog.at_level(logging.INFO):
        bundle = build(build_bundle, documents, word_vectors=str(path))
    found = [word in known or word.lower() in known for word in words]
    assert 0 < sum(found) < len(words)
    assert f"word vectors: {sum(found)} of {len(words)} words found in pubmed.bin" in caplog.messages
    model = bundle.model
    assert model.config.word_size == SIZE
    assert model.config.vocabulary == words
    weight = model.generator.words.weight
    assert weight.requires_grad
    assert weight.shape == (len(words) + UNKNOWN + 1, SIZE)
    assert not weight[PAD].any()
    random = [row for i, row in enumerate(weight.detach()[1:], 1) if i <= UNKNOWN or not found[i - UNKNOWN - 1]]
    for row, word, there in zip(weight.detach()[UNKNOWN + 1 :], words, found, strict=True):
        if there:
            torch.testing.assert_close(row, known.get(word, known.get(word.lower())), rtol=0, atol=0)
    spread = torch.stack([known.get(w, known.get(w.lower())) for w, there in zip(words, found, strict=True) if there])
    assert len(random) > 3
    assert float(torch.stack(random).std() / spread.std()) == pytest.approx(1, abs=0.25)
    batch = bundle.collator(bundle.features.build(documents).features[:4])
    model(**batch).loss.backward()
    assert weight.grad[UNKNOWN + 1 :].any()


def test_other_rows_are_scaled_and_nothing_else():
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(6, 50, padding_idx=0)
    before = embedding.weight.detach().clone()
    vectors = torch.randn(4, 50) * 7
    set_word_vectors(embedding, vectors, torch.tensor([True, False, True, False]))
    weight = embedding.weight.detach()
    ratio = vectors[[0, 2]].std(correction=0) / before[1:].std(correction=0)
    expected = before * ratio
    expected[[2, 4]] = vectors[[0, 2]]
    torch.testing.assert_close(weight, expected)
    assert not weight[0].any()


def test_options_that_contradict_each_other(build_bundle, documents, tmp_path, capsys):
    with pytest.raises(
        ArgumentError, match=r"--word_vectors x\.bin is for the decoders, and --gamma 0 leaves them out"
    ):
        joint_ib.Options(gamma=0.0, word_vectors="x.bin").check()
    for name in ("word_size", "decoder_size"):
        with pytest.raises(ArgumentError, match=f"--{name} is 0; expected 1 or more"):
            joint_ib.Options(**{name: 0}).check()
    words = build(build_bundle, documents, word_size=30).model.config.vocabulary
    path = write(tmp_path / "vectors.txt", as_text(table(words)))
    with pytest.raises(ValueError, match=f"--word_size is 30, but the vectors of .* have {SIZE} values; leave out"):
        build(build_bundle, documents, word_vectors=str(path), word_size=30)
    assert build(build_bundle, documents, word_vectors=str(path), word_size=SIZE).model.config.word_size == SIZE
    message = fails(capsys, "--corpora", "demo", "--family", "joint_ib", "--word_vectors", "none.bin", *QUICK)
    assert "--word_vectors: no such file 'none.bin'" in message


def test_saved_models_do_not_tell_where_the_file_was(build_bundle, documents, tmp_path):
    words = build(build_bundle, documents).model.config.vocabulary
    folder = tmp_path / "a_private_place"
    folder.mkdir()
    path = str(write(folder / "pubmed.bin", as_binary(table(words))))
    chosen = parse(["--family", "joint_ib", "--word_vectors", path]).settings()
    assert chosen["word_vectors"] == path
    assert without_local_paths(chosen)["word_vectors"] == "pubmed.bin"
    build(build_bundle, documents, word_vectors=path).save(tmp_path / "saved")
    saved = [p.read_bytes() for p in (tmp_path / "saved").iterdir() if p.is_file()]
    assert saved
    assert not any(b"a_private_place" in content for content in saved)
    model = AutoModel.from_pretrained(tmp_path / "saved")
    row = UNKNOWN + 1 + words.index(words[-1])
    torch.testing.assert_close(model.generator.words.weight[row].detach(), table(words)[words[-1]], rtol=0, atol=0)
