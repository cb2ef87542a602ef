"""Whole documents in, mentions out: the same alone, in any batch, in any order, on several processes."""

from __future__ import annotations

import itertools

import pytest
import torch
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.inference import MentionPredictor, Shard
from mosaic_ner.modeling.windowing import Span, keep_flat
from transformers import AutoModel

LONG = "The " + "BRCA1 and p53-like (α) genes of mice with é\u0301 cancer given aspirin, " * 30 + "grew"


FAMILIES = {
    "aioner": {},
    "span_cvae": {"family": "span_cvae"},
    "sruner": {"family": "sruner", "flat": True, "trained": ["demo_all"]},
}


def in_float64(bundle):
    """The batch's composition must change no decision."""
    bundle.model.double()
    return bundle


@pytest.fixture(scope="module", params=list(FAMILIES))
def exact(build_bundle, request):
    """A model of each family in float64 and its tokenizer."""
    return in_float64(build_bundle(lively=True, **FAMILIES[request.param]))


@pytest.fixture(scope="module")
def tagger(build_bundle):
    """The same of a family whose windows go through the model under several tasks."""
    return in_float64(build_bundle(lively=True))


@pytest.fixture(scope="module")
def texts(demo_texts):
    return [*demo_texts[:6], "", LONG, " \n\t ", "p53", demo_texts[6].replace(". ", "\u200b 🧬 "), *demo_texts[7:9]]


@pytest.fixture(scope="module")
def expected(exact, texts):
    """Each text alone, one window at a time."""
    predictor = MentionPredictor(exact.model, exact.tokenizer, batch_size=1)
    found = [predictor([text])[0] for text in texts]
    assert sum(map(len, found)) > 200
    assert len({m.type for mentions in found for m in mentions}) == 4
    return found


def assert_same(found, expected):
    assert [[m.key for m in mentions] for mentions in found] == [[m.key for m in mentions] for mentions in expected]
    for one, other in zip(found, expected, strict=True):
        assert [m.score for m in one] == pytest.approx([m.score for m in other], abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_a_document_gives_the_same_mentions_alone_and_in_any_batch(exact, texts, expected, batch_size):
    assert_same(MentionPredictor(exact.model, exact.tokenizer, batch_size)(texts), expected)


def test_a_document_gives_the_same_mentions_in_any_order(exact, texts, expected):
    predictor = MentionPredictor(exact.model, exact.tokenizer, 4)
    order = list(range(len(texts)))[::-1]
    assert_same(predictor([texts[i] for i in order]), [expected[i] for i in order])
    assert_same(predictor([texts[7], texts[7], *texts]), [expected[7], expected[7], *expected])


def test_stream_is_the_call(exact, texts, expected):
    predictor = MentionPredictor(exact.model, exact.tokenizer, 4)
    chunks = [texts[:1], texts[1:2], texts[2:9], [], texts[9:]]
    found = list(predictor.stream(iter(chunks)))
    assert list(map(len, found)) == list(map(len, chunks))
    assert_same([mentions for part in found for mentions in part], expected)
    assert list(predictor.stream([])) == []


def test_stream_passes_on_the_readers_error(exact):
    def chunks():
        yield ["p53"]
        raise OSError("disk gone")

    stream = MentionPredictor(exact.model, exact.tokenizer).stream(chunks())
    assert len(next(stream)) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(stream)


def test_two_processes_together_give_what_one_gives(exact, texts, expected):
    sent = []

    class Stopped(Exception):
        pass

    def only_send(part):
        sent.extend(part)
        raise Stopped

    second = MentionPredictor(exact.model, exact.tokenizer, 3, Shard(1, 2, only_send))
    with pytest.raises(Stopped):
        second(texts)
    first = MentionPredictor(exact.model, exact.tokenizer, 3, Shard(0, 2, lambda part: [*part, *sent]))
    assert_same(first(texts), expected)
    requests = first.requests(texts)
    batches = first.batches(requests)
    assert 0 < len(sent[0]) < len(requests)
    # Each pass is done once, by one of the two.
    assert sorted([i for batch in batches[0::2] for i in batch] + list(sent[0])) == list(range(len(requests)))


def test_batches_hold_every_request_once_and_pad_little(exact, texts):
    predictor = MentionPredictor(exact.model, exact.tokenizer, 4)
    requests = predictor.requests(texts)
    batches = predictor.batches(requests)
    assert sorted(i for batch in batches for i in batch) == list(range(len(requests)))
    lengths = [len(requests[i].features["input_ids"]) for batch in batches for i in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_offsets_are_those_of_the_text_and_mentions_are_in_order_without_overlap(exact, texts, expected):
    for text, mentions in zip(texts, expected, strict=True):
        for m in mentions:
            assert 0 <= m.start < m.end <= len(text)
            assert text[m.start : m.end].strip() == text[m.start : m.end] != ""
            assert 0 < m.score <= 1
        assert mentions == sorted(mentions, key=lambda m: m.key)
        assert all(a.end <= b.start for a, b in itertools.pairwise(mentions))


def test_empty_and_white_space_texts_have_no_mentions(exact, texts, expected):
    assert [expected[i] for i, text in enumerate(texts) if not text.strip()] == [[], []]
    predictor = MentionPredictor(exact.model, exact.tokenizer)
    assert predictor(["", "  "]) == [[], []]
    assert predictor([]) == []


def test_a_model_in_training_is_left_in_training(exact):
    exact.model.train()
    first = MentionPredictor(exact.model, exact.tokenizer)([LONG])
    assert exact.model.training
    exact.model.eval()
    assert_same(MentionPredictor(exact.model, exact.tokenizer)([LONG]), first)


# ---- merging


class Oracle:
    """A model that finds the listed surfaces wherever a window shows them whole: (task, surface) → (type, score)."""

    def __init__(self, bundle, answers, flat=True):
        self.config, self.padding = bundle.model.config, {}
        self.device, self.training = bundle.model.device, False
        self.answers, self.flat = answers, flat
        self.features = lambda window, task: {"input_ids": [1] * len(window.input_ids), "task_ids": 0}

    def results(self, texts, requests):
        out = {}
        for number, request in enumerate(requests):
            window, text = request.window, texts[request.window.document]
            found = []
            for first in range(len(window.offsets)):
                for last in range(first, len(window.offsets)):
                    surface = text[window.offsets[first][0] : window.offsets[last][1]]
                    if (request.task.name, surface) in self.answers:
                        found.append((Span(first, last + 1), *self.answers[request.task.name, surface]))
            out[number] = found
        return out


def merged(bundle, text, answers, names):
    oracle = Oracle(bundle, answers)
    predictor = MentionPredictor(oracle, bundle.tokenizer)
    requests = predictor.requests([text], [oracle.config.task(name) for name in names])
    return predictor.merge([text], requests, oracle.results([text], requests))[0]


def test_overlapping_windows_give_every_mention_once(tagger):
    text = "mice " * 300
    predictor = MentionPredictor(tagger.model, tagger.tokenizer)
    windows = predictor.windower([text])[0]
    assert len(windows) > 5
    assert sum(len(w.input_ids) for w in windows) > 1.2 * 300  # they do overlap
    found = merged(tagger, text, {("ALL", "mice"): ("Species", 0.5)}, ["ALL"])
    assert [(m.start, m.end) for m in found] == [(i, i + 4) for i in range(0, len(text), 5)]
    assert {text[m.start : m.end] for m in found} == {"mice"}


def test_a_mention_is_taken_from_its_owner_alone(tagger):
    """A window that sees a mention only in part, at its edge, has no say."""
    text = "breast cancer " * 150
    answers = {("ALL", "breast cancer"): ("Disease", 0.5), ("ALL", "cancer breast"): ("Gene", 0.4)}
    found = merged(tagger, text, {k: v for k, v in answers.items() if v[0] == "Disease"}, ["ALL"])
    assert len(found) == 150
    predictor = MentionPredictor(tagger.model, tagger.tokenizer)
    requests = predictor.requests([text], [tagger.model.config.task("ALL")])
    # Every window also reports a piece of what it sees at its very end.
    results = {
        n: [(Span(len(r.window.input_ids) - 1, len(r.window.input_ids)), "Gene", 0.9)] for n, r in enumerate(requests)
    }
    stray = predictor.merge([text], requests, results)[0]
    assert [m.end for m in stray] == [requests[-1].window.char_end]


def test_the_union_of_tasks_keeps_the_longest(tagger):
    text = "The breast cancer of mice."
    answers = {
        ("ALL", "cancer"): ("Disease", 0.9),
        ("Disease", "breast cancer"): ("Disease", 0.2),
        ("Gene", "breast"): ("Gene", 0.99),
        ("Gene", "mice"): ("Gene", 0.3),
        ("ALL", "mice"): ("Species", 0.7),
    }
    found = merged(tagger, text, answers, ["ALL", "Gene", "Disease"])
    assert [(text[m.start : m.end], m.type, m.score) for m in found] == [
        ("breast cancer", "Disease", 0.2),
        ("mice", "Species", 0.7),
    ]
    same = merged(tagger, text, {("ALL", "mice"): ("Gene", 0.3), ("Gene", "mice"): ("Gene", 0.6)}, ["ALL", "Gene"])
    assert same == [Mention(21, 25, "Gene")]
    assert same[0].score == 0.6  # the better of the two


def test_a_model_that_is_not_flat_keeps_nested_mentions(build_bundle):
    bundle = build_bundle()
    bundle.model.config.flat = False
    text = "The breast cancer of mice."
    answers = {("ALL", "cancer"): ("Disease", 0.9), ("ALL", "breast cancer"): ("Disease", 0.2)}
    found = merged(bundle, text, answers, ["ALL"])
    assert [text[m.start : m.end] for m in found] == ["breast cancer", "cancer"]


def test_modes_are_unions_of_their_tasks(tagger, texts):
    predictor = MentionPredictor(tagger.model, tagger.tokenizer, 8)
    some = texts[:3]
    tasks = tagger.model.tasks_for(None, "combined")
    assert len(tasks) == 4
    single = [predictor(some, [task]) for task in tasks]
    combined = predictor(some, tasks)
    for number in range(len(some)):
        best = {}
        for mentions in single:
            for m in mentions[number]:
                if m.key not in best or m.score > best[m.key].score:
                    best[m.key] = m
        assert [m.key for m in combined[number]] == [m.key for m in keep_flat(best.values())[0]]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_models_of_every_family_load_in_half_precision(build_bundle, texts, tmp_path, family):
    bundle = build_bundle(**FAMILIES[family], lively=True)
    bundle.save(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in model.encoder.parameters()} == {torch.bfloat16}
    assert len(MentionPredictor(model, bundle.tokenizer)(texts)) == len(texts)
