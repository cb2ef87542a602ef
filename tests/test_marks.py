"""Combining marks belong to the letter before them: NFC and NFD have the same words, units and mentions."""

from __future__ import annotations

import functools
import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.units import KINDS, continuations, find_pieces
from mosaic_ner.modeling.windowing import Windower, lost_by_windows
from mosaic_ner.modeling.words import words_of
from test_spans import TOKENIZERS
from test_spans import windower as tokenizer_of
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

MARKS = "\u0301\u0308\u0327\u0338\u093f\u0e33\u20dd\ufe0f\U000e0100"
LETTERS = "aeéÉSjÅÖ1 Σ한각\u1112\u1161\u11abक\u0958\u212b\u2126(-.\n\u200dB👩"
texts = st.one_of(
    st.text(max_size=30), st.text(LETTERS + MARKS[:6], max_size=30),
    st.lists(st.tuples(st.sampled_from(LETTERS), st.text(MARKS, max_size=3)).map("".join), max_size=20).map("".join),
)  # fmt: skip
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@functools.cache
def uncased(strip: bool = True) -> PreTrainedTokenizerFast:
    """WordPiece that lowers and takes accents away, as BERT's, or keeps them."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=strip, strip_accents=strip)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = "in study the barre brenome cafeitis sjogren rose of patients was seen mice barré café"
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    backend.train_from_iterator([words, nfd(words)] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def tokenizer(name: str):
    return {"uncased": uncased(), "cased": uncased(False)}.get(name) or tokenizer_of(name).tokenizer


every_tokenizer = pytest.mark.parametrize("name", [*TOKENIZERS, "uncased", "cased"])


# ---- words


@relaxed
@given(texts)
@example("SJÖGREN É1é")
@example("\u0301 a\u0301\u0301 \u0301")
@example("각 \u1100\u1161\u11a8 가\u11a8")
def test_words_of_nfc_and_nfd_are_the_same(text):
    composed, decomposed = nfc(text), nfd(text)
    assert words_of(decomposed) == words_of(composed)
    for pattern in (r"\w+|[^\w\s]", r"[A-Z]+[^\W\d_A-Z]*|[^\W\d_A-Z]+|\d+|[^\w\s]|_"):
        pieces = [find_pieces(re.compile(pattern), t) for t in (composed, decomposed)]
        assert [nfd(composed[s:e]) for s, e in pieces[0]] == [decomposed[s:e] for s, e in pieces[1]]


def test_names_of_concepts_are_compared_composed():
    assert normalise_name(nfd("  Sjögren\n Café ")) == normalise_name(nfc("sjögren café")) == nfc("sjögren café")


@relaxed
@given(texts)
def test_pieces_tile_all_but_white_space(text):
    pieces = find_pieces(re.compile(r"\w+|[^\w\s]"), text)
    assert all(s < e for s, e in pieces)
    assert all(end <= start for (_, end), (start, _) in pairwise(pieces))
    covered = {place for s, e in pieces for place in range(s, e)}
    assert all(text[place].isspace() for place in set(range(len(text))) - covered)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("abc", set()), ("e\u0301a", {1}), ("\u0301e", set()), (" \u0301\u0302", {2}), ("e\u0301\u0302", {1, 2}),
        ("❤\ufe0f x", {1}), ("👩\u200d🔬a", {1, 2}), ("👍🏽", {1}), ("한", {1, 2}), ("कि", {1}), ("é", set()),
        ("a\u200d b", {1}), ("🏴\U000e0067\U000e007f", {1, 2}),
    ],
)  # fmt: skip
def test_what_belongs_to_the_character_before(text, inside):
    assert continuations(nfd(text) if text == "한" else text) == inside


# ---- tokens, units, windows


def cut(text: str, place: int) -> bool:
    return place in continuations(text)


@every_tokenizer
@pytest.mark.parametrize("kind", KINDS)
@relaxed
@given(text=texts, max_tokens=st.sampled_from([24, 40, 200]))
def test_no_unit_parts_a_letter_from_its_marks(name, kind, text, max_tokens):
    inside = continuations(text)
    if any({place, place + 1, place + 2, place + 3, place + 4} <= inside for place in inside):
        return  # no window of bytes could hold them all
    for window in Windower(tokenizer(name), max_tokens, 2, overlap=2)([text])[0]:
        for start, end in window.units(kind):
            first, last = window.offsets[start][0], window.offsets[end - 1][1]
            if first < last:
                assert not cut(text, first)
                assert not cut(text, last)


@every_tokenizer
@relaxed
@given(texts)
def test_the_last_token_of_a_letter_holds_its_marks(name, text):
    """What normalisation takes away is no gap in the text."""
    windows = Windower(tokenizer(name), 2000, 2)([text])[0]
    inside = continuations(text)
    for window in windows:
        covered = {p for s, e in window.offsets for p in range(s, e)}
        assert not {p for p in inside if p - 1 in covered} - covered


@pytest.mark.parametrize("name", ["uncased", "cased"])
@pytest.mark.parametrize("word", ["barré", "brenomé", "caféitis", "Sjögren", "rosé", "ÉTÉ"])
@pytest.mark.parametrize("form", [nfc, nfd])
def test_no_mention_is_lost_and_units_are_the_same(name, word, form):
    text = form(f"In study 0 the {word} of patients.")
    mention = Mention(15, 15 + len(form(word)), "Disease")
    document = Document("1", "demo_all", text, (mention,))
    windows = Windower(tokenizer(name), 200, 2)([document])[0]
    assert lost_by_windows(document, windows) == {}
    units = [(windows[0].offsets[s][0], windows[0].offsets[e - 1][1]) for s, e in windows[0].units("pretoken")]
    assert {mention.start} <= {s for s, _ in units}
    assert {mention.end} <= {e for _, e in units}
    if name == "uncased":
        words = {"ÉTÉ": "É TÉ"}.get(word, word)  # a capital of A-Z begins a unit after another letter
        assert " ".join(nfc(text[s:e]) for s, e in units) == f"In study 0 the {words} of patients ."


@pytest.mark.parametrize("family", ["aioner", "span_cvae", "joint_ib", "sruner"])
def test_predictions_part_no_letter_from_its_marks(build_bundle, family):
    bundle = build_bundle(lively=True, family=family)
    text = nfd("Barré, caféitis; SJÖGREN rosé (é) été naïve Ångström 👩\u200d🔬 ❤\ufe0f कि ") * 3
    found = MentionPredictor(bundle.model, bundle.tokenizer)([text])[0]
    assert len(found) > 2
    assert not [m for m in found if cut(text, m.start) or cut(text, m.end)]


def test_training_counts_nothing_as_lost(build_bundle):
    texts = [
        nfd(f"In study {n} the {word} of patients.") for n, word in enumerate(["barré", "caféitis", "Sjögren", "éé"])
    ]
    documents = [
        Document(str(n), "demo_all", text, (Mention(15, text.index(" of"), "Disease"),)) for n, text in enumerate(texts)
    ]
    for family in ("aioner", "span_cvae", "joint_ib", "sruner"):
        bundle = build_bundle(family=family)
        bundle.features.build(documents)
        row = bundle.features.coverage.to_dict()["demo_all"]
        assert (row["lost"], row["share"]) == ({}, 1.0)
    assert DEMO_LABEL_SPACE.corpora["demo_all"]["Disease"] == "Disease"
