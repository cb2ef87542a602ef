"""CVAE-NER's answers: saving with and without the CVAE, decoding, and under which names a corpus is answered."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace

import pytest
import torch
from helpers_span_cvae import EXAMPLE, SMALL, run, some_features
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.configuration_ner import Task
from mosaic_ner.modeling.configuration_span_cvae import SpanCVAEConfig
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.modeling_span_cvae import SpanCVAEForNER, prior_distribution_vectors
from mosaic_ner.prediction.loading import load
from safetensors.torch import load_file

# ---- saving and loading


def answers(model, tokenizer, texts, tasks=None):
    return [[(m.key, m.score) for m in found] for found in MentionPredictor(model, tokenizer)(texts, tasks)]


def test_a_model_saved_for_inference_has_no_cvae_and_answers_the_same(build_bundle, demo_texts, tmp_path):
    bundle = build_bundle(**SMALL, lively=True)
    before = copy.deepcopy(bundle.model.state_dict())
    for name, only in (("whole", False), ("inference", True)):
        bundle.model.save_pretrained(tmp_path / name, inference_only=only)
        bundle.tokenizer.save_pretrained(tmp_path / name)
        assert bundle.model.config.inference_only is False
        assert bundle.model.cvae is not None
        assert bundle.model.state_dict().keys() == before.keys()
    kept = load_file(tmp_path / "inference" / "model.safetensors")
    every = load_file(tmp_path / "whole" / "model.safetensors")
    assert kept.keys() == {n for n in every if not n.startswith("cvae.")} < every.keys()
    assert json.loads((tmp_path / "inference" / "config.json").read_text())["inference_only"] is True
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["inference_only"] is False
    whole, tokenizer = load(str(tmp_path / "whole"))
    small, _ = load(str(tmp_path / "inference"))
    assert small.cvae is None
    assert whole.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[n]) for n, v in whole.state_dict().items())
    inputs = tokenizer(demo_texts[0][:80], return_tensors="pt")
    expected = answers(bundle.model, bundle.tokenizer, demo_texts[:3])
    assert sum(map(len, expected)) > 10
    for model in (small, whole):
        torch.testing.assert_close(model.eval()(**inputs).logits, bundle.model(**inputs).logits)
        for found, rows in zip(answers(model, tokenizer, demo_texts[:3]), expected, strict=True):
            assert [key for key, _ in found] == [key for key, _ in rows]
            assert [score for _, score in found] == pytest.approx([score for _, score in rows], abs=1e-6)
    small.save_pretrained(tmp_path / "again", inference_only=True)
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == kept.keys()


def test_weights_that_a_folder_lacks_are_initialised(build_bundle, tmp_path):
    bundle = build_bundle(**SMALL, lively=True)
    bundle.model.save_pretrained(tmp_path, inference_only=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"inference_only": False}))
    torch.manual_seed(1)
    with pytest.raises(ValueError, match=r"the weights lack \d+ parameters of this model, the first is cvae\."):
        SpanCVAEForNER.from_pretrained(tmp_path)
    model = SpanCVAEForNER.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert torch.equal(model.cvae.prior.data, prior_distribution_vectors(DEMO_LABEL_SPACE))
    for name, parameter in model.cvae.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif name != "prior":
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2)
    for name, value in model.state_dict().items():
        if not name.startswith("cvae."):
            assert torch.equal(value, bundle.model.state_dict()[name])


def test_no_cvae_is_built_without_a_weight_for_it(build_bundle, demo_corpora, tmp_path):
    bundle = build_bundle(**SMALL, alpha=0)
    assert bundle.model.cvae is None
    output, _ = run(bundle, some_features(bundle, demo_corpora))
    assert set(output.loss_terms) == {"ce"}
    assert output.loss == output.loss_terms["ce"]
    for only in (False, True):
        bundle.model.save_pretrained(tmp_path, inference_only=only)
        bundle.tokenizer.save_pretrained(tmp_path)
        model, _ = load(str(tmp_path))
        assert model.state_dict().keys() == bundle.model.state_dict().keys()
        assert all(torch.equal(v, bundle.model.state_dict()[n]) for n, v in model.state_dict().items())


# ---- decoding


def overlapping(spans) -> int:
    return sum(a.start < b.end and b.start < a.end for a, b in itertools.combinations(spans, 2))


def test_nested_models_keep_all_and_flat_ones_the_best(build_bundle, demo_corpora):
    flat, nested = (build_bundle(**SMALL, lively=True, flat=flag) for flag in (True, False))
    features = some_features(flat, demo_corpora, count=4)
    texts = [d.text for part in demo_corpora.values() for d in part["train"][:6]]
    windows = [w for own in flat.features.windower(texts) for w in own]
    overlaps = 0
    for feature in features:
        window = next(w for w in windows if list(w.input_ids) == feature["input_ids"][2:-1])
        request = Request(window, flat.model.config.tasks[feature["corpus_ids"]], feature)
        kept, every = [], []
        for bundle, found in ((flat, kept), (nested, every)):
            output, batch = run(bundle, [feature])
            found += bundle.model.decode(bundle.model.best_labels(output, batch), [request])[0]
        assert overlapping([s for s, _, _ in kept]) == 0
        assert set(kept) <= set(every)
        overlaps += overlapping([s for s, _, _ in every])
        for span, _, score in every:
            rivals = [s for s, _, other in kept if s.start < span.end and span.start < s.end and other >= score]
            assert rivals  # itself, or a better one that was taken
    assert overlaps > 0


def test_a_threshold_leaves_out_the_doubtful(build_bundle, demo_texts):
    every = answers(*(b := build_bundle(**SMALL, lively=True, flat=False), b.model, b.tokenizer)[1:], demo_texts[:2])
    sure = build_bundle(**SMALL, lively=True, flat=False, threshold=0.5)
    found = answers(sure.model, sure.tokenizer, demo_texts[:2])
    assert found == [[row for row in rows if row[1] >= 0.5] for rows in every]
    assert 0 < sum(map(len, found)) < sum(map(len, every))


# ---- names, tasks, modes


def names_of(tasks) -> list[str]:
    return [task.name for task in tasks]


def test_outputs_are_named_by_corpus_or_by_shared_type():
    own = SpanCVAEConfig(label_space=EXAMPLE.to_dict())
    names = ["target:Chemical_T", "target:Protein_T", "target:O", "source:Disease_S", "source:Protein_S", "source:O"]
    assert list(own.id2label.values()) == names
    assert own.label2id == {name: number for number, name in own.id2label.items()}
    assert own.outputs[1] == [0, 1, 2, 3, 4, 5]
    shared = SpanCVAEConfig(label_space=EXAMPLE.to_dict(), labels_per="shared", id2label={0: "stale"})
    assert list(shared.id2label.values()) == ["Chemical", "Protein", "O", "source:Disease_S"]
    assert shared.outputs[1] == [0, 1, 2, 3, 1, 2]
    assert own.outputs[0][:4] == [
        ("Chemical", "Chemical_T"),
        ("Protein", "Protein_T"),
        None,
        ("Disease_S", "Disease_S"),
    ]
    assert shared.outputs[0] == [("Chemical", "Chemical"), ("Protein", "Protein"), None, ("Disease_S", "Disease_S")]
    assert shared.num_labels == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_span_widht": 5}, "did you mean 'max_span_width'"),
        ({"label_per": "shared"}, "did you mean 'labels_per'"),
        ({"units": "words"}, "expected one of pretoken, token"),
        ({"labels_per": "type"}, "expected one of corpus, shared"),
        ({"prior": "frozen"}, "expected one of full, fixed, unshared, shared, random"),
        ({"max_span_width": 0}, "max_span_width is 0"),
        ({"alpha": -1.0}, "alpha is -1.0"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        SpanCVAEConfig(label_space=EXAMPLE.to_dict(), **options)


def test_a_corpus_answers_in_shared_types_or_in_its_own(build_bundle, demo_texts):
    bundle = build_bundle(family="span_cvae", lively=True, flat=False)
    model = bundle.model
    every, gene = model.config.task("demo_all"), model.config.task("demo_gene")
    assert model.tasks_for() == [every]
    assert model.tasks_for("demo_gene") == model.tasks_for("demo_gene", "shared") == [gene]
    assert model.tasks_for("demo_gene", "native") == [replace(gene, types="native")]
    assert model.tasks_for(None, "native") == [replace(every, types="native")]
    assert model.tasks_for("nowhere", "native") == [every]  # another corpus's names say nothing there
    assert model.tasks_named(["demo_gene"], "native") == [replace(gene, types="native")]
    assert model.knows_native_types("demo_gene")
    assert not model.knows_native_types("nowhere")
    with pytest.raises(LabelError, match="did you mean 'native'"):
        model.tasks_for("demo_gene", "natve")
    for corpus in DEMO_LABEL_SPACE.corpora:
        native = answers(model, bundle.tokenizer, demo_texts[:4], model.tasks_for(corpus, "native"))
        shared = answers(model, bundle.tokenizer, demo_texts[:4], model.tasks_for(corpus))
        names = DEMO_LABEL_SPACE.corpora[corpus]
        assert {key[2] for rows in native for key, _ in rows} == set(names)
        mapped = [[((s, e, names[t] or t), score) for (s, e, t), score in rows] for rows in native]
        assert mapped == shared


def test_shared_outputs_have_shared_names_only(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, labels_per="shared")
    assert not bundle.model.knows_native_types("demo_gene")
    with pytest.raises(LabelError, match="known: shared"):
        bundle.model.tasks_for("demo_gene", "native")
    with pytest.raises(LabelError, match="task 'demo_gene' of this model tells shared types only"):
        bundle.model.tasks_named(["demo_gene"], "native")
    found = answers(bundle.model, bundle.tokenizer, demo_texts[:3], bundle.model.tasks_for("demo_gene"))
    assert {key[2] for rows in found for key, _ in rows} == {"Gene"}


def test_corpora_without_training_are_answered_by_the_default_one(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, trained=["demo_all", "demo_chem"])
    model = bundle.model
    assert [task.name for task in model.config.tasks] == ["demo_all", "demo_chem"]
    assert not model.knows_native_types("demo_gene")
    assert model.tasks_for("demo_gene") == model.tasks_for() == [model.config.task("demo_all")]
    token = bundle.tokenizer.convert_tokens_to_ids("<demo_all>")
    window = bundle.features.windower(demo_texts[:1])[0][0]
    (native,) = model.tasks_named(["demo_chem"], "native")
    for task, name in ((None, "demo_all"), (model.config.task("demo_all"), "demo_all"), (native, "demo_chem")):
        feature = model.features(window, task)
        tag = bundle.tokenizer.convert_tokens_to_ids(f"<{name}>")
        assert feature["input_ids"][1] == tag
        assert tag != bundle.tokenizer.unk_token_id
        ids = feature["input_ids"][2:-1]
        assert ids == list(window.input_ids)
        assert [feature["unit_starts"][0], feature["unit_ends"][-1]] == [2, len(feature["input_ids"]) - 2]
    assert bundle.tokenizer(demo_texts[0])["input_ids"][1] == token
    with pytest.raises(ValueError, match="unknown task 'demo_gene'"):
        model.features(window, Task("demo_gene"))
    with pytest.raises(LabelError, match="unknown task 'demo_gene'"):
        model.config.task("demo_gene")


def test_without_a_corpus_that_has_all_types_every_corpus_answers(build_bundle, demo_texts):
    bundle = build_bundle(**SMALL, lively=True, trained=["demo_gene", "demo_disease"])
    assert (
        names_of(bundle.model.tasks_for())
        == names_of(bundle.model.tasks_for("demo_all"))
        == ["demo_gene", "demo_disease"]
    )
    found = answers(bundle.model, bundle.tokenizer, demo_texts[:3])
    assert {key[2] for rows in found for key, _ in rows} == {"Gene", "Disease"}
    chosen = build_bundle(**SMALL, trained=["demo_gene", "demo_disease"], bridge=["demo_disease"])
    assert names_of(chosen.model.tasks_for()) == ["demo_disease"]
    with pytest.raises(LabelError, match="demo_chem"):
        build_bundle(**SMALL, trained=["demo_gene", "demo_disease"], bridge=["demo_chem"])


def test_a_run_saves_for_inference_only_what_it_needs(build_bundle, tmp_path):
    build_bundle(**SMALL).save(tmp_path, inference_only=True)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if name.startswith("cvae")]
    assert (tmp_path / "tokenizer.json").exists()
    build_bundle().save(tmp_path / "tagger", inference_only=True)  # a family without such parts: all of it
    assert (tmp_path / "tagger" / "model.safetensors").exists()
