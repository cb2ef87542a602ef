"""Sentences, windows, ownership, alignment and the coverage report, on any Unicode."""

from __future__ import annotations

import functools
import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.windowing import (
    CAUSES,
    CoverageReport,
    Windower,
    align,
    keep_flat,
    lost_by_windows,
    split_sentences,
)
from mosaic_ner.training.encoders import load_encoder_parts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PIECES = [
    "BRCA1", "p53", " ", "  ", "\t", "\n", "\n\n", ". ", "! The ", "C. elegans", "(", ")", "-", "é", "e\u0301", "\u200b",
    "𝒜", "🧬", "ﬁ", "你好", "مرض", "ß", "[SEP]", "<ALL>", "[UNK]", "α-synuclein", "\u00a0", "\ufeff", "I\u0307", "x" * 130,
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=60), st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=60).map("".join)
)
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """WordPiece as in the package, and byte-level BPE, whose tokens hold spaces and parts of characters."""
    corpus = [d.text for d in load_demo_corpora()["demo_all"]["train"][:30]]
    wordpiece = load_encoder_parts("scratch", corpus, layers=1, hidden_size=32).tokenizer
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<pad>", "<s>", "</s>"],
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(corpus, trainer)
    bytewise = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
    )
    return {"wordpiece": wordpiece, "bytes": bytewise}


@functools.cache
def windower(
    name: str = "wordpiece", max_tokens: int = 18, overlap: int | None = 4, packing: str = "packed"
) -> Windower:
    return Windower(tokenizers()[name], max_tokens, num_special_tokens=2, overlap=overlap, packing=packing)


both = pytest.mark.parametrize("name", ["wordpiece", "bytes"])
packings = pytest.mark.parametrize("packing", ["packed", "single"])


def whole(name: str, text: str):
    """The text as one window: the twin that all cutting is compared with."""
    found = Windower(tokenizers()[name], 100_000, 2)([text])[0]
    assert len(found) <= 1
    return found[0] if found else None


# ---- sentences


@relaxed
@given(texts)
def test_sentences_tile_the_text(text):
    ranges = split_sentences(text)
    assert "".join(text[s:e] for s, e in ranges) == text
    assert all(s < e for s, e in ranges)
    assert [0, *(e for _, e in ranges)] == [*(s for s, _ in ranges), len(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It grew. Then it died.", ["It grew. ", "Then it died."]),
        ("Does it? (Yes.) It does!  No", ["Does it? ", "(Yes.) ", "It does!  ", "No"]),
        ("We fed C. elegans and C. Elegans. They grew.", ["We fed C. elegans and C. Elegans. ", "They grew."]),
        ("J. Smith saw E. Coli.", ["J. Smith saw E. Coli."]),
        ("(C. Elegans) was fed.", ["(C. Elegans) was fed."]),
        ("The pH was 7.4 in all. 12 died.", ["The pH was 7.4 in all. ", "12 died."]),
        ("a dose of 5 mg. was given", ["a dose of 5 mg. was given"]),
        ("A title\nThe text", ["A title\n", "The text"]),
        ("caused by BRCA. Others", ["caused by BRCA. ", "Others"]),
        ("", []),
    ],
)
def test_where_sentences_end(text, sentences):
    assert [text[s:e] for s, e in split_sentences(text)] == sentences


# ---- windows


@both
@packings
@relaxed
@given(text=texts)
@example(text="gene" * 400)
@example(text="a b " * 300)
def test_windows_hold_every_token_within_the_budget_and_own_the_whole_text(name, packing, text):
    cut = windower(name, packing=packing)
    found = cut([text])[0]
    one = whole(name, text)
    assert bool(found) == (one is not None)
    if one is None:
        return
    position = covered = 0
    for number, window in enumerate(found):
        size = len(window.input_ids)
        assert window.index == number
        assert 0 < size == len(window.offsets) <= cut.budget
        assert all(0 <= s <= e <= len(text) for s, e in window.offsets)
        assert all(a <= c and b <= d for (a, b), (c, d) in itertools.pairwise(window.offsets))
        # A window is a run of the text's tokens that begins no later than the one before ends, and goes on further.
        while (one.input_ids[position : position + size], one.offsets[position : position + size]) != (
            window.input_ids,
            window.offsets,
        ):
            position += 1
            assert position <= covered, "tokens between two windows"
        assert position + size > covered
        covered = position + size
        position += 1
    assert covered == len(one.input_ids)
    assert found[0].own_start == 0
    assert found[-1].own_end > len(text)
    for before, after in itertools.pairwise(found):
        assert before.own_start <= before.own_end == after.own_start


@both
@relaxed
@given(text=texts)
def test_offsets_have_no_white_space_at_their_ends_and_are_the_same_in_any_batch(name, text):
    alone = windower(name)([text])[0]
    for window in alone:
        for s, e in window.offsets:
            assert text[s:e] == text[s:e].strip()
    among = windower(name)(["A gene.", text, ""])
    assert [(w.input_ids, w.offsets, w.own_start, w.own_end) for w in among[1]] == [
        (w.input_ids, w.offsets, w.own_start, w.own_end) for w in alone
    ]
    assert all(w.document == n for n, windows in enumerate(among) for w in windows)


@both
@relaxed
@given(text=texts, overlap=st.sampled_from([0, 2, 4, 8]))
@example(text="gene" * 100, overlap=8)
@example(text="p53 of " * 100, overlap=8)
def test_a_mention_up_to_half_the_overlap_is_seen_whole_by_its_owner(name, text, overlap):
    one = whole(name, text)
    if one is None:
        return
    sentences = split_sentences(text)
    found = Windower(tokenizers()[name], 34, 2, overlap)([text])[0]
    for first in range(len(one.offsets)):
        for last in range(first, min(first + max(1, overlap // 2), len(one.offsets))):
            start, end = one.offsets[first][0], one.offsets[last][1]
            within = any(s <= start and end <= e for s, e in sentences)
            ends_token = last + 1 == len(one.offsets) or one.offsets[last + 1][1] > end
            begins_token = first == 0 or one.offsets[first - 1][0] < start
            empty = any(s == e for s, e in (one.offsets[first], one.offsets[last]))
            if empty or not (within and ends_token and begins_token):
                continue
            mention = Mention(start, end, "T")
            owners = [w for w in found if w.owns(mention)]
            assert len(owners) == 1
            ((span, same),) = align(owners[0], [mention])
            assert same is mention
            pieces = [o for o in owners[0].offsets[span.start : span.end] if o[0] < o[1]]
            assert text[pieces[0][0] : pieces[-1][1]] == text[start:end]


@both
@relaxed
@given(text=texts, data=st.data())
def test_every_mention_is_represented_exactly_or_lost_with_a_cause(name, text, data):
    if not text:
        return
    border = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(border, border), max_size=12, unique=True))
    mentions = tuple(Mention(s, e, "T") for s, e in pairs if s < e)
    document = Document("1", "own", text, mentions)
    found = windower(name)([text])[0]
    lost = lost_by_windows(document, found)
    assert set(lost.values()) <= set(CAUSES)
    kept = [m for w in found for _, m in align(w, [m for m in mentions if w.owns(m)])]
    assert Counter([*kept, *lost]) == Counter(mentions)
    for window in found:
        for span, mention in align(window, mentions):
            inside = window.offsets[span.start : span.end]
            assert (inside[0][0], inside[-1][1]) == (mention.start, mention.end)
            # No token of the mention is left outside the span.
            assert all(s == e or s < mention.start for s, e in window.offsets[: span.start])
            assert all(s == e or e > mention.end for s, e in window.offsets[span.end :])


def test_a_mention_that_its_owner_sees_in_part_is_cut():
    text = " ".join(f"w{n}" for n in range(60))
    found = windower(max_tokens=26, overlap=4)([text])[0]
    assert len(found) > 3
    last = found[0].own_end - 1
    while text[last - 1] != " ":
        last -= 1  # the last word that the first window owns
    cut = Mention(last, found[1].char_end, "T")
    short = Mention(last, text.index(" ", last), "T")
    assert found[0].owns(cut)
    assert found[0].char_end < cut.end
    assert lost_by_windows(Document("1", "own", text, (cut, short)), found) == {cut: "window_cut"}


def test_a_border_inside_a_token_is_a_token_boundary_loss():
    text = "The patient was in the study of the patients."
    found = windower(max_tokens=100, overlap=0)([text])[0]
    start, end = next((s, e) for s, e in found[0].offsets if e - s > 2)
    document = Document(
        "1", "own", text, (Mention(start, end - 1, "T"), Mention(start + 1, end, "T"), Mention(start, end, "T"))
    )
    assert list(lost_by_windows(document, found).values()) == ["token_boundary"] * 2


def test_white_space_only_and_empty_texts_have_no_windows_and_lose_their_mentions():
    assert windower()(["", " \n\t ", "a"])[:2] == [[], []]
    assert windower()([]) == []
    assert lost_by_windows(Document("1", "own", " \n ", (Mention(0, 1, "T"),)), []) == {
        Mention(0, 1, "T"): "token_boundary"
    }


def test_three_thousand_words_without_a_sentence_end():
    text = " ".join(f"gene{n % 7}" for n in range(3000))
    cut = windower(max_tokens=64, overlap=12)
    found = cut([text])[0]
    assert len(found) > 3000 // 62
    assert all(len(w.input_ids) <= 62 for w in found)
    words = []
    for word in text.split(" "):
        begin = words[-1].end + 1 if words else 0
        words.append(Mention(begin, begin + len(word), "T"))
    assert lost_by_windows(Document("1", "own", text, tuple(words)), found) == {}
    # Windows are cut between words, and each one but the first repeats at least the overlap.
    for before, after in itertools.pairwise(found):
        assert text[after.char_start - 1] == " "
        assert sum(s >= after.char_start for s, _ in before.offsets) >= 12


def test_packing_fills_windows_with_whole_sentences():
    text = "The gene is here. The drug is there. The cell is gone. The mouse is in it."
    packed = windower(max_tokens=26, overlap=4)([text])[0]
    single = windower(max_tokens=26, overlap=4, packing="single")([text])[0]
    starts = {s for s, _ in split_sentences(text)}
    assert {w.char_start for w in single} == starts
    assert 1 < len(packed) < len(single)
    assert {w.char_start for w in packed} < starts
    assert all(w.own_start == w.char_start for w in [*packed, *single])


@pytest.mark.parametrize("special", ["[SEP]", "[PAD]", "<ALL>", "</Gene>", "[CLS]x[MASK]"])
def test_special_tokens_written_in_a_text_are_text(shared_bundle, special):
    cut = shared_bundle.features.windower
    text = f"The {special} gene {special}."
    (window,) = cut([text])[0]
    assert not set(window.input_ids) & set(shared_bundle.tokenizer.all_special_ids) - {
        shared_bundle.tokenizer.unk_token_id
    }
    start = text.index(special)
    assert len(align(window, [Mention(start, start + len(special), "T")])) == 1


def test_errors_say_what_to_change():
    tokenizer = tokenizers()["wordpiece"]
    with pytest.raises(ValueError, match="raise max_tokens or lower"):
        Windower(tokenizer, max_tokens=9, num_special_tokens=4)
    with pytest.raises(ValueError, match="four times the overlap"):
        Windower(tokenizer, max_tokens=64, overlap=20)
    with pytest.raises(ValueError, match="expected 'packed' or 'single'"):
        Windower(tokenizer, packing="loose")
    with pytest.raises(ValueError, match="not a fast tokenizer"):
        Windower(object())


# ---- coverage and flat mentions


def test_coverage_report_adds_up():
    report = CoverageReport()
    report.add("a", 10, Counter(token_boundary=2, nested=1))
    report.add("a", 5, Counter(nested=1))
    report.add("b", 0, Counter())
    report.unmapped["a"] += 3
    row = report.to_dict()["a"]
    assert row.pop("share") == pytest.approx(11 / 15)
    assert row.pop("share_in_windows") == pytest.approx(13 / 15)
    assert row == {
        "mentions": 15,
        "represented": 11,
        "lost": {"nested": 2, "token_boundary": 2},
        "outside_scheme": 3,
        "undeclared": 0,
    }
    assert report.representable("b") == 1.0
    assert "2 nested (13.33%)" in report.summary()
    assert "3 of types outside the scheme" in report.summary()
    with pytest.raises(ValueError, match="unknown cause"):
        report.add("a", 1, Counter(bad_luck=1))


spans = st.tuples(st.integers(0, 14), st.integers(1, 6), st.sampled_from("AB"), st.sampled_from([None, 0.2, 0.7]))


@relaxed
@given(st.lists(spans, max_size=9, unique_by=lambda s: s[:3]))
def test_keep_flat_is_the_greedy_choice_of_the_longest(found):
    mentions = [Mention(s, s + n, t, score=score) for s, n, t, score in found]
    kept, dropped = keep_flat(mentions)
    # The twin: take the best of what is left, strike out what overlaps it, and again.
    left, chosen = list(mentions), []
    while left:
        best = max(left, key=lambda m: (m.end - m.start, m.score or 0.0, -m.start, -ord(m.type)))
        chosen.append(best)
        left = [m for m in left if m.end <= best.start or best.end <= m.start]
    assert kept == sorted(chosen, key=lambda m: m.key)
    assert Counter(m.key for m in [*kept, *dropped]) == Counter(m.key for m in mentions)
    assert keep_flat(mentions[::-1])[0] == kept
