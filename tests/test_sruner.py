"""SRU-NER: the gold found along the gold actions, and what must change nothing (its loss: test_sruner_loss.py)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from helpers_sruner import CORPORA, SMALL, VARIANTS, calm, follow_gold, gradients, run, some_features, steps_of
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.configuration_sruner import SRUNERConfig
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.modeling_sruner import SRUNERForNestedNER, pool_words
from mosaic_ner.modeling.transitions import EOA, SH, action_count, reduction, transition
from mosaic_ner.prediction.loading import load
from transformers import AutoModel, AutoModelForTokenClassification

# ---- the gold along the gold actions


def test_along_the_gold_actions_the_gold_is_found(build_bundle, demo_corpora, monkeypatch):
    bundle = build_bundle(**SMALL)
    count = 0
    for corpus in CORPORA:
        documents = demo_corpora[corpus]["train"][:4]
        windows = [w for own in bundle.features.windower([d.text for d in documents]) for w in own]
        features = bundle.features.build(documents).features
        (task,) = bundle.model.tasks_for(corpus, "native")
        asked = [Request(w, task, bundle.model.features(w, task)) for w in windows]
        follow_gold(bundle.model, monkeypatch, [steps_of(f) for f in features])
        output, batch = run(bundle, [request.features for request in asked])
        found = bundle.model.decode(bundle.model.best_labels(output, batch), asked)
        for window, spans in zip(windows, found, strict=True):
            document = documents[window.document]
            seen = {
                (window.offsets[s.start][0], window.offsets[s.end - 1][1], name)
                for s, name, score in spans
                if score > 0.9
            }
            assert len(seen) == len(spans)
            inside = (m for m in document.mentions if window.char_start <= m.start and m.end <= window.char_end)
            assert seen == {m.key for m in inside}
            count += len(seen)
    assert count > 40


NESTED = [
    ("Mice with severe breast cancer", [("breast cancer", "SpecificDisease"), ("cancer", "SpecificDisease")]),
    ("cancer", [("cancer", "Modifier"), ("cancer", "SpecificDisease")]),
    (
        "breast cancer cells and cancer mice",
        [
            ("breast cancer cells", "Modifier"),
            ("breast cancer", "Modifier"),
            ("cells", "Modifier"),
            ("mice", "Modifier"),
        ],
    ),
]


@pytest.mark.parametrize(("text", "mentions"), NESTED)
def test_nested_mentions_and_those_at_the_last_word_come_through_the_predictor(
    build_bundle, monkeypatch, text, mentions
):
    bundle = build_bundle(**SMALL)
    places = [(text.index(surface), surface, name) for surface, name in mentions]
    gold = {Mention(start, start + len(surface), name) for start, surface, name in places}
    assert any(m.end == len(text) for m in gold)
    (feature,) = bundle.features.build([Document("1", "demo_disease", text, tuple(gold))])
    follow_gold(bundle.model, monkeypatch, [steps_of(feature)])
    tasks = bundle.model.tasks_for("demo_disease", "native")
    (found,) = MentionPredictor(bundle.model, bundle.tokenizer)([text], tasks)
    assert found == sorted(gold, key=lambda m: m.key)
    bundle.model.config.flat = True
    (flat,) = MentionPredictor(bundle.model, bundle.tokenizer)([text], tasks)
    assert 0 < len(flat) < len(found)
    assert set(flat) < set(found)


# ---- prediction


@pytest.mark.parametrize("options", VARIANTS)
def test_choices_are_the_same_alone_in_any_batch_and_order(exact, demo_corpora, options):
    bundle = exact(**options)
    texts = [demo_corpora["demo_all"]["test"][n].text for n in range(4)]
    windows = [w for own in bundle.features.windower(texts) for w in own]
    features = [bundle.model.features(w) for w in windows]
    assert len({len(f["input_ids"]) for f in features}) > 3

    def choices(some):
        return run(bundle, some)[0].logits

    alone = [choices([f])[0] for f in features]
    for order in (list(range(len(features))), list(range(len(features)))[::-1]):
        together = choices([features[i] for i in order])
        for row, number in enumerate(order):
            steps = len(alone[number])
            torch.testing.assert_close(together[row, :steps], alone[number], rtol=0, atol=1e-10)
            assert (together[row, steps:].argmax(1) == EOA).all()
            assert alone[number][-1].argmax() == EOA
            assert (alone[number].argmax(1) == SH).sum() == len(features[number]["unit_starts"]) - 2


def test_in_evaluation_training_s_logits_along_the_choices_are_prediction_s(exact, demo_corpora):
    """Prediction and training read the same model: with the choices as gold, every logit agrees."""
    bundle = exact(trained=["demo_all"])
    model = bundle.model
    window = bundle.features.windower([demo_corpora["demo_all"]["test"][0].text])[0][0]
    feature = model.features(window, model.config.task("demo_all"))
    chosen = run(bundle, [feature])[0].logits[0]
    best = chosen.argmax(1)
    gold = {"gold_steps": list(range(len(best))), "gold_actions": best.tolist()}
    gold |= {"unclear_places": [], "unclear_actions": []}
    followed = run(bundle, [feature | gold])[0].logits[0]
    open_to = torch.isfinite(chosen)
    assert (best > EOA).any()
    torch.testing.assert_close(followed[open_to], chosen[open_to], rtol=0, atol=1e-10)


@pytest.mark.parametrize("loud", ["TR", "RE", "EOA", "SH", "none"])
def test_prediction_reads_every_word_and_ends(exact, demo_texts, loud):
    bundle = exact()
    model, config = bundle.model, bundle.model.config
    with torch.no_grad():
        for number, name in config.id2label.items():
            model.classifier.bias[number] = 1e4 if name.startswith(loud) else -1e4
    features = [model.features(w) for own in bundle.features.windower(demo_texts[:3]) for w in own]
    logits = run(bundle, features)[0].logits
    best = logits.argmax(2)
    for row, feature in zip(best.tolist(), features, strict=True):
        words = len(feature["unit_starts"]) - 2
        assert row.count(SH) == words
        end = row.index(EOA)
        assert end <= (words + 1) * (config.max_actions + 1)
        assert SH not in row[end:]
        runs = [len(list(own)) for typed, own in itertools.groupby(row[:end], lambda a: a > EOA) if typed]
        assert max(runs, default=0) <= config.max_actions
    for mentions in MentionPredictor(model, bundle.tokenizer)(demo_texts[:3]):
        assert mentions == []


def test_words_without_tokens_and_empty_texts_survive(build_bundle):
    bundle = build_bundle(family="sruner", lively=True)
    texts = ["", " ", "\u200b", "\u200b \u200b", "BRCA1 \u200b causes \u200bvelosis\u200b \u200b", "x", "\u200b x"]
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    found = predictor(texts)
    assert found[:2] == [[], []]
    for text, mentions in zip(texts, found, strict=True):
        assert all(0 <= m.start < m.end <= len(text) for m in mentions)
        assert [m.key for m in predictor([text])[0]] == [m.key for m in mentions]
    at = texts[4].index("velosis")
    features = bundle.features.build(
        [Document("1", "demo_all", t, (Mention(at, at + 7, "Disease"),) if "velosis" in t else ()) for t in texts]
    ).features
    assert bundle.features.coverage.to_dict()["demo_all"]["represented"] == 1
    loss = run(bundle, features)[0].loss
    assert torch.isfinite(loss)


@pytest.mark.parametrize("encoder", ["tiny_encoder_dir", "t5_dir"])
def test_plain_calls_take_every_token_between_the_special_ones_as_a_word(build_bundle, request, demo_texts, encoder):
    bundle = build_bundle(**SMALL, lively=True, encoder=str(request.getfixturevalue(encoder)))
    model = bundle.model.double()
    before, after = len(model.config.cls_ids), len(model.config.sep_ids)
    assert (before, after) == ((1, 1) if encoder == "tiny_encoder_dir" else (0, 1))
    inputs = bundle.tokenizer([demo_texts[0][:30], demo_texts[1][:60], ""], return_tensors="pt", padding=True)
    logits = model(**inputs).logits
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        ids = inputs["input_ids"][row, :length].tolist()
        places = [0, *range(before, length - after), length - 1]
        alone = run(bundle, [{"input_ids": ids, "unit_starts": places, "unit_ends": places}])[0].logits
        torch.testing.assert_close(logits[row, : alone.shape[1]], alone[0], rtol=0, atol=1e-10)


def words_of_every_length(longest: int, count: int, tokens: int):
    """(starts, ends), (3, count) each: words of 1 to `longest` tokens one after the other, from different beginnings."""
    rows = []
    for row in range(3):
        words, begin = [], row
        for number in range(count):
            end = begin + (number * 5 + row) % longest
            words.append((begin, end) if end < tokens else (-1, -1))
            begin = end + 1
        rows.append(words)
    return torch.tensor(rows).unbind(2)


@pytest.mark.parametrize("longest", [1, 2, 3, 7, 8, 40])
def test_words_are_the_greatest_values_of_their_tokens(longest):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 120, 4, generator=generator, dtype=torch.double, requires_grad=True)
    starts, ends = words_of_every_length(longest, 9, 120)
    pooled = pool_words(hidden, starts, ends)
    none = torch.zeros(4, dtype=torch.double)
    rows = [
        torch.stack([hidden[row, s : e + 1].amax(0) if s >= 0 else none for s, e in zip(*both, strict=True)])
        for row, both in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]
    assert torch.equal(pooled, torch.stack(rows))
    weights = torch.randn(pooled.shape, generator=generator, dtype=torch.double)
    one, other = (torch.autograd.grad((x * weights).sum(), hidden)[0] for x in (pooled, torch.stack(rows)))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


# ---- training


@pytest.mark.parametrize("scale", [False, True])
def test_everything_that_trains_gets_a_gradient(build_bundle, demo_corpora, scale):
    bundle = build_bundle(family="sruner", train_scale=scale)
    bundle.model.train()
    loss = run(bundle, some_features(bundle, demo_corpora))[0].loss
    found = gradients(bundle.model, loss)
    names = {n for n, p in bundle.model.named_parameters() if p.requires_grad}
    assert ("memory.scale" in names) == scale
    assert found.keys() == names
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in found.values())
    assert (found["classifier.weight"].abs().sum(1) > 0).all()


def test_a_model_learns_nested_mentions(build_bundle, trainer_for):
    # With raw logits as weights it takes much longer.
    options = {"history": "softmax", "dropout": 0.0, "slot_dropout": 0.0, "trained": ["demo_disease"]}
    bundle = build_bundle(family="sruner", **options)
    texts = ["mice with severe velosis", "velosis cells of mice", "no mice"]
    found = [
        (0, "severe velosis", "SpecificDisease"), (0, "velosis", "SpecificDisease"), (0, "velosis", "Modifier"),
        (1, "velosis", "Modifier"), (1, "velosis cells", "SpecificDisease"),
    ]  # fmt: skip
    gold = [
        tuple(Mention(texts[i].index(s), texts[i].index(s) + len(s), name) for i, s, name in found if i == n)
        for n in range(3)
    ]
    documents = [Document(str(n), "demo_disease", texts[n], gold[n]) for n in range(3)]
    dataset = bundle.features.build(documents)
    options = {"learning_rate": 1e-2, "head_learning_rate": 1e-2, "max_steps": 200, "per_device_train_batch_size": 3}
    trainer = trainer_for(bundle, dataset, **options)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[-1] < 0.1 * losses[0]
    assert all("loss_actions" in row for row in trainer.state.log_history if "loss" in row)
    tasks = bundle.model.tasks_for("demo_disease", "native")
    predicted = MentionPredictor(bundle.model, bundle.tokenizer)(texts, tasks)
    assert [{m.key for m in mentions} for mentions in predicted] == [{m.key for m in mentions} for mentions in gold]


def test_half_precision_trains_and_predicts(build_bundle, demo_corpora):
    bundle = build_bundle(family="sruner", lively=True)
    bundle.model.bfloat16().train()
    output, _ = run(bundle, some_features(bundle, demo_corpora))
    assert output.loss.dtype == torch.float32
    assert all(torch.isfinite(g).all() for g in gradients(bundle.model, output.loss).values())
    text = demo_corpora["demo_all"]["test"][0].text
    assert MentionPredictor(bundle.model, bundle.tokenizer)([text])[0]


def test_a_model_loaded_in_half_precision_keeps_its_recurrence_exact(build_bundle, demo_texts, tmp_path):
    bundle = build_bundle(family="sruner", lively=True)
    bundle.save(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert {kind for name, kind in kinds.items() if name.startswith("encoder.")} == {torch.bfloat16}
    assert {kind for name, kind in kinds.items() if not name.startswith("encoder.")} == {torch.float32}
    assert MentionPredictor(model, bundle.tokenizer)(demo_texts[:1])[0]


def test_calls_that_lack_something_are_refused(build_bundle, demo_corpora):
    bundle = build_bundle(family="sruner")
    batch = bundle.collator(some_features(bundle, demo_corpora))
    with pytest.raises(ValueError, match="need corpus_ids"):
        bundle.model(**{k: v for k, v in batch.items() if k != "corpus_ids"})
    with pytest.raises(ValueError, match="expected both unit_starts and unit_ends"):
        bundle.model(**{k: v for k, v in batch.items() if k != "unit_ends"})


# ---- saving, names, options


def test_a_saved_model_answers_the_same(build_bundle, demo_texts, tmp_path):
    bundle = build_bundle(family="sruner", lively=True)
    calm(bundle.model)
    bundle.model.save_pretrained(tmp_path)
    bundle.tokenizer.save_pretrained(tmp_path)
    code = {p.name for p in tmp_path.glob("*.py")}
    assert code >= {"modeling_sruner.py", "slot_memory.py", "transitions.py", "spans.py", "configuration_ner.py"}
    assert "modeling_span_cvae.py" not in code
    inputs = bundle.tokenizer(demo_texts[0][:80], return_tensors="pt")
    expected = MentionPredictor(bundle.model, bundle.tokenizer)(demo_texts[:2])
    assert sum(map(len, expected)) > 10
    loaded, tokenizer = load(str(tmp_path))
    for model in (loaded, *(auto.from_pretrained(tmp_path) for auto in (AutoModel, AutoModelForTokenClassification))):
        assert isinstance(model, SRUNERForNestedNER)
        assert model.config.to_dict()["id2label"] == bundle.model.config.to_dict()["id2label"]
        assert all(torch.equal(v, bundle.model.state_dict()[n]) for n, v in model.state_dict().items())
        torch.testing.assert_close(model.eval()(**inputs).logits, bundle.model(**inputs).logits, rtol=0, atol=1e-4)
        assert MentionPredictor(model, tokenizer)(demo_texts[:2]) == expected


def test_fresh_weights_are_initialised(build_bundle, tmp_path):
    bundle = build_bundle(family="sruner", latents_per_action=9)
    bundle.model.save_pretrained(tmp_path)
    config = SRUNERConfig.from_pretrained(tmp_path)
    for model in (bundle.model, SRUNERForNestedNER(config)):
        memory = model.memory
        for scale in (memory.scale, memory.score_scale, memory.output_scale):
            assert (scale == 1).all()
        here = config.context  # the row of the pointer's own slot, to which attention is drawn at first
        others = torch.cat([memory.positions[:here], memory.positions[here + 1 :]])
        for parameter in (memory.latents[1:], others, model.actions.weight, model.first):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.4)
        assert (memory.latents[0] @ memory.positions[here]).item() == pytest.approx(5.0, rel=1e-4)
        assert int((memory.latents @ memory.positions.t()).amax(0).argmax()) == here
        assert int(model.classifier.bias.argmax()) == SH
        for layer in (model.word, model.recall, model.classifier):
            assert layer.weight.std().item() == pytest.approx(96**-0.5, rel=0.2)
        assert memory.latents.shape[0] == 9 * config.num_labels
        assert memory.positions.shape[0] == 2 * 150 + 2


def test_actions_are_named_by_corpus_and_type():
    config = SRUNERConfig(label_space=DEMO_LABEL_SPACE.to_dict())
    assert config.num_labels == action_count(len(config.types)) == 22
    assert list(config.id2label.values())[:4] == ["SH", "EOA", "TR-demo_all:Gene", "RE-demo_all:Gene"]
    for kind, (corpus, name) in enumerate(config.types):
        assert config.label2id[f"TR-{corpus}:{name}"] == transition(kind)
        assert config.label2id[f"RE-{corpus}:{name}"] == reduction(kind)


def test_answers_in_shared_types_in_a_corpus_s_own_or_of_all(build_bundle, demo_texts):
    bundle = build_bundle(family="sruner", lively=True)
    model = bundle.model
    every, gene = model.config.task("ALL"), model.config.task("demo_gene")
    assert [task.name for task in model.config.tasks] == ["ALL", *CORPORA]
    assert not model.config.flat
    assert model.tasks_for("demo_gene") == model.tasks_for("demo_gene", "shared") == [gene]
    assert model.tasks_for() == model.tasks_for("nowhere") == model.tasks_for("demo_gene", "merged") == [every]
    assert model.tasks_for("demo_gene", "native") == [replace(gene, types="native")]
    assert model.tasks_named(["demo_gene"], "native") == [replace(gene, types="native")]
    assert model.tasks_for("nowhere", "native") == model.tasks_for(None, "native") == [every]
    assert model.knows_native_types("demo_gene")
    assert not model.knows_native_types("nowhere")
    with pytest.raises(LabelError, match="did you mean 'native'"):
        model.tasks_for("demo_gene", "natve")
    window = bundle.features.windower(demo_texts[:1])[0][0]
    with pytest.raises(ValueError, match="unknown task 'demo_gen'"):
        model.features(window, Task("demo_gen"))
    with pytest.raises(LabelError, match=r"unknown task 'demo_gen'; .*did you mean 'demo_gene'"):
        model.config.task("demo_gen")

    predictor = MentionPredictor(model, bundle.tokenizer)
    merged: set = set()
    for corpus in CORPORA:
        names = DEMO_LABEL_SPACE.corpora[corpus]
        (native, shared) = (
            [{(n, *m.key) for n, found in enumerate(predictor(demo_texts[:4], [task])) for m in found}]
            for task in (*model.tasks_for(corpus, "native"), *model.tasks_for(corpus))
        )
        assert {key[3] for key in native[0]} == set(names)
        assert {(n, s, e, names[t] or t) for n, s, e, t in native[0]} == shared[0]
        merged |= shared[0]
    together = {(n, *m.key) for n, found in enumerate(predictor(demo_texts[:4])) for m in found}
    assert together == merged
    assert {key[3] for key in together} == {"Gene", "Disease", "Chemical", "Species", "OTHER"}


def test_only_trained_corpora_have_actions(build_bundle, demo_texts):
    bundle = build_bundle(family="sruner", lively=True, trained=["demo_gene", "demo_disease"])
    assert {corpus for corpus, _ in bundle.model.config.types} == {"demo_gene", "demo_disease"}
    every = [bundle.model.config.task("ALL")]
    assert bundle.model.tasks_for("demo_all") == bundle.model.tasks_for("demo_all", "native") == every
    found = MentionPredictor(bundle.model, bundle.tokenizer)(demo_texts[:3])
    assert {m.type for mentions in found for m in mentions} == {"Gene", "Disease"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"histroy": "logits"}, "did you mean 'history'"),
        ({"latent_per_action": 2}, "did you mean 'latents_per_action'"),
        ({"max_action": 2}, "did you mean 'max_actions'"),
        ({"history": "logit"}, "expected one of logits, softmax"),
        ({"units": "words"}, "expected one of pretoken, token"),
        ({"latents_per_action": 0}, "latents_per_action is 0; expected 1 or more"),
        ({"context": -1}, "context is -1; expected 0 or more"),
        ({"max_actions": 0}, "max_actions is 0; expected 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        SRUNERConfig(label_space=DEMO_LABEL_SPACE.to_dict(), **options)
