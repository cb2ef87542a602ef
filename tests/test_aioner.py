"""AIONER: task tags, loss, gradients, decoding and saving."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.crf import marginals
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification, decode_tags
from mosaic_ner.modeling.units import first_tokens
from mosaic_ner.modeling.windowing import align
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEXT = "BRCA1 was mutated in mice given aspirin. The drug [SEP] was not seen."


def training_batch(bundle, documents, count=5):
    """Features of some windows of unlike lengths, with their labels."""
    features = bundle.features.build(documents).features[:count]
    assert len({len(f["input_ids"]) for f in features}) > 1
    return features, pad_batch(features, bundle.collator.padding)


def in_float64(bundle):
    bundle.model.double().eval()
    return bundle.model


# ---- task tags


def test_task_tags_are_single_special_tokens(shared_bundle):
    tokenizer = shared_bundle.tokenizer
    for name in ("ALL", "Gene", "Disease", "Chemical"):
        for tag in (f"<{name}>", f"</{name}>"):
            assert tokenizer.tokenize(tag) == [tag]
            assert tokenizer.convert_tokens_to_ids(tag) in tokenizer.all_special_ids
    size = len(tokenizer)
    assert shared_bundle.model.encoder.get_input_embeddings().num_embeddings == size
    assert shared_bundle.model.config.encoder_config.vocab_size == size


@pytest.mark.parametrize("task", ["ALL", "Gene", "Disease", "Chemical"])
def test_tags_stand_around_the_window_and_outside_the_chain(shared_bundle, task):
    (window,) = shared_bundle.features.windower([TEXT])[0]
    feature = shared_bundle.model.features(window, shared_bundle.model.config.task(task))
    tokens = shared_bundle.tokenizer.convert_ids_to_tokens(feature["input_ids"])
    assert tokens[:2] == ["[CLS]", f"<{task}>"]
    assert tokens[-2:] == [f"</{task}>", "[SEP]"]
    assert tuple(feature["input_ids"][2:-2]) == window.input_ids
    assert feature["chain_mask"] == [0, 0, *[1] * len(window.input_ids), 0, 0]
    assert shared_bundle.model.config.tasks[feature["task_ids"]].name == task


def test_a_full_window_with_its_tags_fits_the_encoder(shared_bundle):
    config = shared_bundle.model.config
    (first, *_) = shared_bundle.features.windower(["gene " * 500])[0]
    assert len(first.input_ids) <= shared_bundle.features.windower.budget
    for task in config.tasks:
        assert len(shared_bundle.model.features(first, task)["input_ids"]) <= config.max_tokens


def test_the_default_task_is_the_tokenizers_template_and_survives_saving(shared_bundle, tmp_path):
    (window,) = shared_bundle.features.windower(["The BRCA1 gene."])[0]
    expected = shared_bundle.model.features(window)["input_ids"]
    shared_bundle.tokenizer.save_pretrained(tmp_path)
    for tokenizer in (
        shared_bundle.tokenizer,
        PreTrainedTokenizerFast.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    ):
        assert tokenizer("The BRCA1 gene.")["input_ids"] == expected
        assert tokenizer.is_fast
        assert tokenizer.tokenize("<Gene>") == ["<Gene>"]
    assert expected[1:-1] != list(window.input_ids)  # the template adds the tags, not only [CLS] and [SEP]


# ---- loss and gradients


@pytest.mark.parametrize("classifier", ["crf", "softmax"])
def test_loss_depends_neither_on_padding_nor_on_companions(build_bundle, demo_corpora, classifier):
    bundle = build_bundle(classifier=classifier, hidden_size=16)
    model = in_float64(bundle)
    documents = [*demo_corpora["demo_all"]["train"][:3], *demo_corpora["demo_gene"]["train"][:2]]
    features, batch = training_batch(bundle, documents)
    alone = [model(**pad_batch([f], bundle.collator.padding)).loss for f in features]
    together = model(**batch)
    torch.testing.assert_close(together.loss, torch.stack(alone).mean(), rtol=0, atol=1e-10)
    assert together.loss_terms["nll"] == together.loss > 0
    # More padding, and whatever token it is.
    wider = {
        k: torch.nn.functional.pad(v, (0, 7), value=-100 if k == "labels" else 0)
        for k, v in batch.items()
        if v.ndim == 2
    }
    wider |= {k: v for k, v in batch.items() if v.ndim == 1}
    wider["input_ids"] = wider["input_ids"].masked_fill(wider["attention_mask"] == 0, 17)
    torch.testing.assert_close(model(**wider).loss, together.loss, rtol=0, atol=1e-10)


def test_the_softmax_loss_is_cross_entropy_over_the_labelled_tokens(build_bundle, demo_corpora):
    bundle = build_bundle(classifier="softmax")
    model = in_float64(bundle)
    _, batch = training_batch(bundle, demo_corpora["demo_disease"]["train"][:5])
    output = model(**batch)
    total = 0.0
    for row, column in (batch["labels"] >= 0).nonzero().tolist():
        total -= output.logits[row, column].log_softmax(0)[batch["labels"][row, column]].item()
    assert output.loss.item() == pytest.approx(total / (len(batch["labels"]) * model.config.max_tokens), abs=1e-10)


def test_unlabelled_tokens_tags_and_padding_get_no_gradient(build_bundle, demo_corpora):
    bundle = build_bundle()
    model = in_float64(bundle)
    _, batch = training_batch(bundle, demo_corpora["demo_all"]["train"][:4])
    batch["labels"][0, 5:9] = -100  # e.g. the tokens of a mention that no window can hold
    scores = {}
    model.classifier.register_forward_hook(
        lambda module, inputs, output: (output.retain_grad(), scores.update(raw=output))[1]
    )
    model(**batch).loss.backward()
    outside = batch["labels"] < 0
    assert outside[0, 5:9].all()
    assert (scores["raw"].grad[outside] == 0).all()
    assert (scores["raw"].grad[~outside].abs().sum(1) > 0).all()


@pytest.mark.parametrize("classifier", ["crf", "softmax"])
@pytest.mark.parametrize("options", [{"scheme": "mtl"}, {"scheme": "aio", "restrict_labels": True}])
def test_restricted_labels_of_other_tasks_get_exactly_no_gradient(build_bundle, demo_corpora, classifier, options):
    bundle = build_bundle(classifier=classifier, **options)
    model = in_float64(bundle)
    for corpus in ("demo_gene", "demo_chem"):
        dataset = bundle.features.build(demo_corpora[corpus]["train"][:3])
        batch = pad_batch(dataset.features, bundle.collator.padding)
        (name,) = set(dataset.groups)
        own = list(model.config.task(name).labels)
        foreign = [i for i in range(model.config.num_labels) if i not in own]
        assert foreign
        model.zero_grad()
        model(**batch).loss.backward()
        assert (model.classifier.weight.grad[foreign] == 0).all()
        assert (model.classifier.bias.grad[foreign] == 0).all()
        assert (model.classifier.weight.grad[own] != 0).any(1).all()
        if classifier == "crf":
            assert (model.crf.transitions.grad[foreign] == 0).all()
            assert (model.crf.transitions.grad[:, foreign] == 0).all()
            assert (model.crf.transitions.grad[own][:, own] != 0).any()


def test_restricted_models_never_predict_labels_of_other_tasks(build_bundle, demo_texts):
    bundle = build_bundle(scheme="mtl", lively=True)
    model = bundle.model
    (window,) = bundle.features.windower([demo_texts[0][:150]])[0]
    for task in model.config.tasks:
        batch = pad_batch([model.features(window, task)], bundle.collator.padding)
        with torch.no_grad():
            tags = model.best_labels(model(**batch), batch)["tags"]
        assert set(tags[batch["chain_mask"]].tolist()) <= set(task.labels)
    with pytest.raises(ValueError, match="pass task_ids"):
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])


def test_unrestricted_labels_do_get_one(build_bundle, demo_corpora):
    """The paper's single chain over all labels (what makes the test above mean something)."""
    bundle = build_bundle()
    _, batch = training_batch(bundle, demo_corpora["demo_gene"]["train"][:3])
    bundle.model(**batch).loss.backward()
    names = bundle.model.config.id2label
    assert (bundle.model.classifier.weight.grad[[i for i, n in names.items() if "Disease" in n]] != 0).any()


# ---- reading tags off

NAMES = ["B-Gene", "I-Gene", "B-Cell-Line@x", "I-Cell-Line@x", "O-ALL", "O-Gene"]


def looped(tags, scores, mask, names):
    """Token by token, as one would do by hand."""
    found = []
    for row in range(len(tags)):
        mentions, current = [], None
        for column in range(len(tags[row])):
            if not mask[row][column]:
                continue
            name, score = names[tags[row][column]], scores[row][column]
            kind, entity = name[0], name[2:].split("@")[0]
            if kind == "I" and current is not None and current[2] == entity:
                current[1] = column + 1
                current[3].append(score)
                continue
            if current is not None:
                mentions.append(current)
                current = None
            if kind in "BI":
                current = [column, column + 1, entity, [score]]
        if current is not None:
            mentions.append(current)
        found.append([(s, e, t, sum(p) / len(p)) for s, e, t, p in mentions])
    return found


@st.composite
def tagged(draw):
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    cells = shape[0] * shape[1]
    tags = draw(st.lists(st.integers(0, len(NAMES) - 1), min_size=cells, max_size=cells))
    scores = draw(st.lists(st.one_of(st.just(1.0), st.floats(0, 1, width=32)), min_size=cells, max_size=cells))
    mask = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=cells, max_size=cells))
    return tuple(torch.tensor(v).reshape(shape) for v in (tags, scores, mask))


@settings(max_examples=400, deadline=None)
@given(tagged())
@example((torch.zeros(2, 4, dtype=torch.long), torch.tensor([[1e-9, 1e-9, 1, 1], [1.0] * 4]), torch.ones(2, 4).bool()))
def test_decode_tags_is_the_loop(case):
    tags, scores, mask = case
    got = decode_tags(tags, scores, mask, NAMES)
    expected = looped(tags.tolist(), scores.tolist(), mask.tolist(), NAMES)
    assert [[m[:3] for m in row] for row in got] == [[m[:3] for m in row] for row in expected]
    for one, other in zip(chain.from_iterable(got), chain.from_iterable(expected), strict=True):
        assert one[3] == pytest.approx(other[3], abs=1e-9)
        assert 0 <= one[3] <= 1


@pytest.mark.parametrize(
    ("tags", "mentions"),
    [
        ([4, 0, 1, 1, 4], [(1, 4, "Gene")]),
        ([1, 1, 4, 1, 5], [(0, 2, "Gene"), (3, 4, "Gene")]),  # I without B opens a mention
        ([0, 0, 1, 0, 4], [(0, 1, "Gene"), (1, 3, "Gene"), (3, 4, "Gene")]),  # adjacent mentions stay apart
        ([0, 3, 3, 1, 4], [(0, 1, "Gene"), (1, 3, "Cell-Line"), (3, 4, "Gene")]),
        ([4, 5, 4, 5, 4], []),
    ],
)
def test_decode_tags_by_hand(tags, mentions):
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1] = False
    got = decode_tags(torch.tensor([tags, tags]), torch.full((2, 5), 0.5), mask, NAMES)
    assert got == [[(*m, 0.5) for m in mentions], []]


def test_positions_outside_the_chain_neither_break_nor_lengthen_a_mention():
    mask = torch.tensor([[False, True, False, True, False]])
    got = decode_tags(torch.tensor([[0, 0, 4, 1, 1]]), torch.ones(1, 5), mask, NAMES)
    assert got == [[(1, 4, "Gene", 1.0)]]


@pytest.mark.parametrize("options", [{}, {"classifier": "softmax"}, {"scores": "emission"}])
def test_scores_are_the_probabilities_of_the_chosen_tags(build_bundle, demo_texts, options):
    bundle = build_bundle(lively=True, **options)
    model = bundle.model
    predictor = MentionPredictor(model, bundle.tokenizer)
    requests = predictor.requests(demo_texts[:3])[:4]
    batch = pad_batch([r.features for r in requests], predictor.padding)
    with torch.no_grad():
        output = model(**batch)
        best = model.best_labels(output, batch)
    found = model.decode(best, requests)
    assert sum(map(len, found)) > 10
    assert all(0 < score <= 1 for row in found for _, _, score in row)
    if options.get("scores") == "emission":
        chances = output.logits.softmax(2)
    else:
        steps = model._steps(output.logits.device)
        chances = marginals(steps, output.logits, batch["chain_mask"], batch["borders"])
    row = next(i for i, r in enumerate(found) if r)
    span, kind, score = found[row][0]
    before = len(model.config.tasks[0].prefix_ids)
    places = range(before + span.start, before + span.end)
    assert score == pytest.approx(
        sum(chances[row, p, best["tags"][row, p]].item() for p in places) / len(places), abs=1e-5
    )
    assert model.config.id2label[best["tags"][row, places[0]].item()][2:] == kind


# ---- tags on first tokens only


def test_first_tokens(shared_bundle):
    (window,) = shared_bundle.features.windower(["BRCA1-related thing, in mice"])[0]
    marked = [s for (s, _), first in zip(window.offsets, first_tokens(window.offsets), strict=True) if first]
    assert marked == [0, 14, 21, 24]


def test_label_first_token_only_round_trip(build_bundle, demo_corpora):
    """Gold labels as the model's answer give back every gold mention that consists of whole words."""
    bundle = build_bundle(label_first_token_only=True)
    predictor, count = MentionPredictor(bundle.model, bundle.tokenizer), 0
    for document in demo_corpora["demo_gene"]["train"][:12]:
        requests = predictor.requests([document.text], bundle.model.tasks_for(document.corpus))
        batch = pad_batch(bundle.features.build([document]).features, bundle.collator.padding)
        assert ((batch["labels"] >= 0) <= batch["chain_mask"]).all()
        best = {"tags": batch["labels"].clamp(min=0), "scores": torch.ones(batch["labels"].shape)}
        best["mask"] = batch["chain_mask"]
        for request, found in zip(requests, bundle.model.decode(best, requests), strict=True):
            offsets = request.window.offsets
            got = {(offsets[s][0], offsets[e - 1][1]) for (s, e), _, _ in found}
            first = first_tokens(offsets)
            for span, mention in align(request.window, document.mentions):
                ends_word = span.end == len(first) or first[span.end]
                if first[span.start] and ends_word:
                    assert (mention.start, mention.end) in got
                    count += 1
    assert count > 10


# ---- saving and loading


@pytest.mark.parametrize("options", [{}, {"scheme": "mtl"}, {"classifier": "softmax", "hidden_size": 16}])
def test_a_saved_model_gives_the_same_logits_and_keeps_every_parameter(build_bundle, demo_texts, tmp_path, options):
    bundle = build_bundle(lively=True, **options)
    model = bundle.model
    model.save_pretrained(tmp_path)
    again = AIONERForTokenClassification.from_pretrained(tmp_path).eval()
    assert set(again.state_dict()) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    (window, *_) = bundle.features.windower(demo_texts[:1])[0]
    batch = pad_batch([model.features(window)], bundle.collator.padding)
    assert again.features(window) == model.features(window)
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert LabelSpace.from_dict(again.config.label_space) == DEMO_LABEL_SPACE
    assert again.config.id2label == model.config.id2label
    assert again.config.label2id == {v: k for k, v in model.config.id2label.items()}
    assert "tmp" not in (tmp_path / "config.json").read_text()  # no local path


def test_parameters_that_a_checkpoint_lacks_are_initialised(build_bundle, tmp_path):
    """from_pretrained builds on the meta device, where what is not loaded would hold whatever was in memory."""
    build_bundle(classifier="softmax").model.save_pretrained(tmp_path)
    config = AIONERConfig.from_pretrained(tmp_path, classifier="crf", hidden_size=16)
    model = AIONERForTokenClassification.from_pretrained(tmp_path, config=config, ignore_mismatched_sizes=True)
    for parameter in model.crf.parameters():
        assert 0 < parameter.abs().max() <= 0.1
        assert len(parameter.unique()) == parameter.numel()
    assert 0.01 < model.hidden.weight.std() < 0.03
    assert (model.hidden.bias == 0).all()


def test_misspelt_config_options_fail(shared_bundle):
    with pytest.raises(ValueError, match="did you mean 'max_tokens'"):
        type(shared_bundle.model.config)(max_token=3)
    with pytest.raises(ValueError, match="expected one of crf, softmax"):
        type(shared_bundle.model.config)(classifier="crff")


def test_tasks_for_a_corpus_and_a_mode(shared_bundle, monkeypatch):
    model = shared_bundle.model
    gene, everything = model.config.task("Gene"), model.config.task("ALL")
    assert model.tasks_for("demo_gene") == [gene]
    assert model.tasks_for() == model.tasks_for("demo_all") == model.tasks_for("never seen") == [everything]
    assert [t.name for t in model.tasks_for(None, "combined")] == ["ALL", "Gene", "Disease", "Chemical"]
    assert model.tasks_for("demo_gene", "combined") == [gene]
    # A corpus that the run only measured has taught no guideline.
    monkeypatch.setattr(model.config, "trained_corpora", ["demo_all"])
    assert model.tasks_for("demo_gene") == [everything]
    with pytest.raises(ValueError, match="unknown tagging mode"):
        model.tasks_for(None, "all")


@pytest.mark.parametrize("name", ["ALL", "Gene", "Chemical"])
def test_a_text_is_answered_with_the_types_of_its_task_only(shared_bundle, demo_texts, name):
    """The one chain may choose a label of another task: asked for genes, the model must not answer with chemicals."""
    model = shared_bundle.model
    task = model.config.task(name)
    predictor = MentionPredictor(model, shared_bundle.tokenizer)
    requests = predictor.requests(demo_texts[:8], [task])
    batch = pad_batch([r.features for r in requests], predictor.padding)
    with torch.no_grad():
        best = model.best_labels(model(**batch), batch)
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    chosen = {m[2] for row in decode_tags(best["tags"], best["scores"], batch["chain_mask"], names) for m in row}
    wanted = set(task.types)
    if name != "ALL":
        assert chosen - wanted  # the untrained chain does choose other tasks' labels
    predicted = {m.type for mentions in predictor(demo_texts[:8], [task]) for m in mentions}
    assert predicted == chosen & wanted


@pytest.mark.parametrize("scheme", ["aio", "mtl"])
def test_what_is_only_measured_decides_no_task(build_bundle, scheme):
    space = LabelSpace({"wide": {"D": "Disease", "C": "Chemical"}, "narrow": {"D": "Disease"}})
    alone = build_bundle(space.restricted_to(["narrow"]), scheme=scheme).model.config
    both = build_bundle(space, trained=["narrow"], scheme=scheme).model
    assert both.config.to_dict() == alone.to_dict()
    assert [t.types for t in both.tasks_for("wide")] == [("Disease",)]
