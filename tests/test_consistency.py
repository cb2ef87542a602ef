"""One document, one answer: abbreviations, pooled scores, and what must not change."""

from __future__ import annotations

import re

import pytest
from helpers_run import run
from helpers_search import SMALL
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.consistency import definitions, one_answer
from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import keep_flat
from mosaic_ner.prediction.loading import load


def said(text: str, *answers: tuple[str, str, float]) -> list[Mention]:
    """Mentions by their words, each at the first place that is left."""
    found, taken = [], set()
    for words, kind, score in answers:
        start = next(m.start() for m in re.finditer(re.escape(words), text) if m.start() not in taken)
        taken.add(start)
        found.append(Mention(start, start + len(words), kind, score=score))
    return sorted(found)


def shown(text: str, mentions) -> list[tuple[str, int, str]]:
    return [(text[m.start : m.end], m.start, m.type) for m in mentions]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Patients with heat shock protein (HSP) were", [("heat shock protein", "HSP")]),
        ("in systemic lupus erythematosus (SLE; n = 4)", [("systemic lupus erythematosus", "SLE")]),
        ("the Familial Hypercholesterolemia (FH) gene", [("Familial Hypercholesterolemia", "FH")]),
        ("by polymerase chain reaction [x] (two of four)", []),
        ("treated with drug (5 mg)", []),
        ("of the ear (HSP)", []),
        ("interleukin 2 (IL-2) and (IL-2)", [("interleukin 2", "IL-2")]),
        ("first. Second thing (ST)", [("Second thing", "ST")]),
        ("no words (", []),
        ("(AB) begins", []),
    ],
)
def test_definitions_of_abbreviations(text, found):
    assert [(text[a:b], text[c:d]) for a, b, c, d in definitions(text)] == found


def test_an_abbreviation_has_the_type_of_its_long_form():
    text = "Vesicoureteral reflux (VUR) was seen. VUR is common, and VURs too. Was VUR inherited?"
    mentions = said(text, ("Vesicoureteral reflux", "Disease", 0.9), ("VUR", "Gene", 0.8))
    assert shown(text, one_answer(text, mentions)) == [
        ("Vesicoureteral reflux", 0, "Disease"), ("VUR", 23, "Disease"), ("VUR", 38, "Disease"),
        ("VUR", 71, "Disease"),
    ]  # fmt: skip


def test_scores_of_the_same_words_are_pooled():
    text = "Fodrin binds. The fodrin gene; FODRIN again, anti-fodrin, fodrins."
    three = said(
        text, ("Fodrin", "Gene", 0.9), ("fodrin", "Disease", 0.6), ("FODRIN", "Gene", 1.0), ("fodrin", "Gene", 0.3)
    )
    found = one_answer(text, three)
    assert {m.type for m in found} == {"Gene"}
    assert [m.start for m in found] == [0, 18, 31, 50]
    assert [m.score for m in found] == pytest.approx([(0.9 + 1.0 + 0.3) / 4] * 4)
    assert one_answer(text, three[1:2]) == []  # 0.6 in four places
    short = "CAT scans of a cat. The cat."
    assert shown(short, one_answer(short, said(short, ("cat", "Species", 0.9)))) == []
    assert shown(short, one_answer(short, said(short, ("CAT", "Gene", 0.1)))) == [("CAT", 0, "Gene")]


def test_words_inside_another_mention_are_no_place():
    text = "BRCA1 and BRCA1 carriers, BRCA1 carriers."
    mentions = [Mention(0, 5, "Gene", score=0.6), *(Mention(i, i + 14, "Disease", score=0.9) for i in (10, 26))]
    assert one_answer(text, mentions) == mentions


def test_no_answer_crosses_a_passage_or_splits_a_letter():
    text = "heat shock. cafe\nheat\nshock. heat shock. cafe\u0301. cafe"
    mentions = said(text, ("heat shock", "Disease", 1.0), ("cafe", "Species", 1.0))
    assert [m.start for m in one_answer(text, mentions)] == [0, 12, 29, text.rindex("cafe")]
    crossing = "ab cd ab cd"
    (mention,) = [Mention(0, 5, "T", score=1.0)]
    assert len(one_answer(crossing, [mention])) == 2
    assert one_answer(crossing, [mention], [(0, 8), (8, 11)]) == [mention]


def twin(text: str, mentions: list[Mention]) -> list[tuple[int, int, str]]:
    """The pooling, place by place and without any index; for texts without abbreviations and letters beyond ASCII."""
    current = list(mentions)
    keys = {}
    for m in mentions:
        words = text[m.start : m.end]
        keys.setdefault(words.lower() if len(words) > 4 else words, []).append(m)
    for words in sorted(keys, key=lambda w: (-len(w), w)):
        spans = []
        for start in range(len(text) - len(words) + 1):
            span = start, start + len(words)
            mine = any((m.start, m.end) == span for m in keys[words])
            here = text[slice(*span)]
            same = here.lower() == words if len(words) > 4 else here == words
            whole = not text[max(0, start - 1) : start].isalnum() and not text[span[1] : span[1] + 1].isalnum()
            others = [m for m in current if m.start < span[1] and span[0] < m.end and (m.start, m.end) != span]
            if mine or (same and whole and not others):
                spans.append(span)
        if len(spans) < 2:
            continue
        sums = {m.type: sum(o.score for o in keys[words] if o.type == m.type) for m in keys[words]}
        best = max(sorted(sums), key=sums.get)
        for span in spans:
            mine = [m for m in current if (m.start, m.end) == span]
            blocked = [m for m in current if m.start < span[1] and span[0] < m.end and m not in mine]
            current = [m for m in current if m not in mine]
            if sums[best] / len(spans) >= 0.5 and not blocked:
                current.append(Mention(*span, best, score=1.0))
    return sorted(m.key for m in current)


@given(st.text("ab -A", min_size=1, max_size=30), st.data())
def test_it_equals_its_definition(text, data):
    spans = st.tuples(
        st.integers(0, len(text) - 1), st.integers(1, 7), st.sampled_from("XY"), st.sampled_from([0.25, 0.5, 1.0])
    )
    drawn = data.draw(st.lists(spans, max_size=6))
    mentions = sorted(keep_flat([Mention(s, min(s + n, len(text)), k, score=p) for s, n, k, p in drawn])[0])
    found = one_answer(text, mentions)
    assert [m.key for m in found] == twin(text, mentions)
    assert found == sorted(keep_flat(found)[0])


def test_it_needs_a_flat_model():
    with pytest.raises(ValueError, match="expected flat=True"):
        AIONERConfig(document_consistency=True, flat=False)


def test_a_model_is_asked_for_it_by_its_config(tmp_path, demo_corpora, tiny_encoder_dir):
    run(*SMALL, "--family", "aioner", "--encoder", tiny_encoder_dir, "--max_tokens", "64", "--learning_rate", "0.01",
        "--document_consistency", "true", "--output_dir", tmp_path)  # fmt: skip
    network, tokenizer = load(str(tmp_path))
    assert network.config.document_consistency
    every = [d for corpus in ("demo_gene", "demo_all", "demo_disease") for d in demo_corpora[corpus]["test"]]
    # In one long text a word has many places, so that pooling them changes some, whatever the model has learnt.
    documents = [*(d.with_mentions([]) for d in every), Document("l", "c", "\n".join(d.text for d in every))]
    documents += [
        Document("p", "c", d.text, passages=(Passage(0, 30), Passage(30, len(d.text)))) for d in documents[:5]
    ]
    network.config.calibration = None
    told = MentionPredictor(network, tokenizer)(documents)
    network.config.document_consistency = False
    plain = MentionPredictor(network, tokenizer)(documents)
    assert told != plain
    for document, one, other in zip(documents, told, plain, strict=True):
        assert one == one_answer(document.text, other, [(p.start, p.end) for p in document.passages])
