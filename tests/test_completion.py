"""Completed labels: gold stays, evaluation is left alone, an empty teacher changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import helpers_run
import pytest
import torch
from helpers_sruner import calm
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.analysis.errors import answer_again
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.data_builders.options import ArgumentError, DataOptions
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.transitions import reduction, transition
from mosaic_ner.training import families
from mosaic_ner.training.completion import (
    added_names,
    average,
    choose_thresholds,
    complete_corpus,
)
from mosaic_ner.training.completion_options import CompletionOptions
from mosaic_ner.training.relaxed import Seen
from mosaic_ner.training.results import Results
from mosaic_ner.training.teachers import train_teachers, unproven
from safetensors.torch import load_file

TYPES = ["Gene", "Disease", "Chemical"]
SPACE = LabelSpace(
    {
        "all": {"G": "Gene", "D": "Disease", "C": "Chemical"},
        "genes": {"Protein": "Gene", "Family": None, "Disease": None},
    }
)
TEXT = "abcdefghij" * 3


def spans(types):
    return st.builds(
        lambda start, length, kind, score: Mention(start, min(start + length, 30), kind, score=score),
        st.integers(0, 29),
        st.integers(1, 6),
        st.sampled_from(types),
        st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]),
    )


@given(
    st.lists(st.lists(spans(["Protein", "Family"]), max_size=5), min_size=1, max_size=3),
    st.lists(spans(TYPES), max_size=12),
    st.sampled_from([None, 0.3]),
)
def test_gold_stays_and_every_answer_is_a_label_masked_or_counted(gold, answer, mask_from):
    documents = [Document(str(i), "genes", TEXT, tuple({m.key: m for m in row}.values())) for i, row in enumerate(gold)]
    answer = list({m.key: m for m in answer}.values())
    names = added_names(SPACE, "genes", TYPES)
    thresholds = {"Gene": 0.5, "Disease": 0.7, "Chemical": 0.5}
    made, counts = complete_corpus(documents, [answer] * len(documents), SPACE, names, thresholds, mask_from)
    assert "Gene" not in counts  # the corpus annotates it
    for before, after in zip(documents, made, strict=True):
        own = set(before.mentions)
        added = [m for m in after.mentions if m not in own]
        assert own <= set(after.mentions)
        assert (after.id, after.text, after.article, after.passages) == (before.id, before.text, before.article, ())
        mapped = [m for m in before.mentions if m.type == "Protein"]
        for mention in [*added, *after.unclear]:
            assert mention.type in {"Disease (completed)", "Chemical"}
            assert not any(mention.start < m.end and m.start < mention.end for m in mapped)
        for one in added:
            assert one.score >= thresholds[one.type.split()[0]]
            assert not any(one is not m and one.start < m.end and m.start < one.end for m in added)
        for one in after.unclear:
            assert mask_from is not None
            assert mask_from <= one.score < thresholds[one.type.split()[0]]
        learnt = {t for t, n in counts.items() if n["added"]}
        expected = {"Protein", "Family", "Disease"} | {names[t] for t in learnt} if learnt else set()
        assert set(after.annotated_types or ()) == expected
    shown = sum(m.type not in ("Protein", "Family") for d in made for m in d.mentions)
    assert shown == sum(n["added"] for n in counts.values())


def test_a_document_that_declares_a_type_gets_no_labels_of_it():
    document = Document("1", "all", TEXT, (Mention(0, 3, "G"),), frozenset({"G", "D"}))
    answer = [
        Mention(5, 8, "Disease", score=0.9),
        Mention(10, 12, "Chemical", score=0.9),
        Mention(1, 4, "Chemical", score=1.0),
    ]
    names = added_names(SPACE, "all", TYPES)
    (made,), counts = complete_corpus([document], [answer], SPACE, names, dict.fromkeys(TYPES, 0.5), None)
    assert [m.key for m in made.mentions] == [(0, 3, "G"), (10, 12, "C")]
    assert counts == {"Chemical": {"documents": 1, "added": 1, "masked": 0, "beside_gold": 1}}
    assert made.annotated_types == {"G", "D", "C"}
    assert SPACE.annotated_shared_types(made) == TYPES


def test_scores_of_teachers_are_averaged_and_a_missing_answer_counts_as_zero():
    one = [Mention(0, 3, "Gene", score=0.8), Mention(5, 9, "Gene", score=0.6)]
    two = [Mention(0, 3, "Gene", score=0.6)]
    assert [(m.key, m.score) for m in average([one, two], [["Gene"], ["Gene"]])] == [
        ((0, 3, "Gene"), 0.7),
        ((5, 9, "Gene"), 0.3),
    ]


def test_a_teacher_does_not_vote_on_types_that_it_cannot_tell():
    genes, diseases = [Mention(0, 3, "Gene", score=0.9)], [Mention(5, 9, "Disease", score=0.8)]
    both = [Mention(0, 3, "Gene", score=0.7)]
    got = average([genes, diseases, both], [["Gene"], ["Disease"], ["Gene", "Disease"]])
    assert [(m.key, m.score) for m in got] == [((0, 3, "Gene"), 0.8), ((5, 9, "Disease"), 0.4)]


def test_thresholds_chosen_on_validation_have_the_best_f1():
    document = Document("1", "all", TEXT, (Mention(0, 3, "G"), Mention(5, 8, "G"), Mention(9, 10, "D")))
    answer = [
        Mention(0, 3, "Gene", score=0.62),
        Mention(5, 8, "Gene", score=0.42),
        Mention(11, 12, "Gene", score=0.33),
        Mention(13, 14, "Disease", score=0.9),
    ]
    other = Document("2", "genes", TEXT, ())  # declares no disease, so the answer there counts neither way
    chosen = choose_thresholds(
        [([document], [answer]), ([other], [[Mention(0, 2, "Disease", score=0.9)]])], SPACE, ["Gene", "Disease", "X"]
    )
    assert chosen["Gene"] == 0.4
    assert chosen["X"] == 0.7


def test_a_mask_from_the_threshold_on_has_no_effect():
    with pytest.raises(ArgumentError, match=r"complete_mask_from 0.7 has no effect"):
        CompletionOptions(complete_with=["m"], complete_mask_from=0.7).check()
    CompletionOptions(complete_with=["m"], complete_mask_from=0.7, complete_threshold='{"Gene": 0.9}').check()


@pytest.mark.parametrize("value", ["many", "1.2", '{"Gene": "x"}', "true", "[1]"])
def test_a_threshold_that_is_none_is_refused(value):
    with pytest.raises(ArgumentError, match="complete_threshold"):
        CompletionOptions(complete_with=["m"], complete_threshold=value).check()


def test_options_without_teachers_are_refused(capsys):
    assert "without --complete_with" in helpers_run.fails(capsys, "quickstart", "--complete_mask_from", "0.2")


# ---- what is unclear teaches nothing

TEACHING = "BRCA1 causes velosis in mice, as was seen in glioma before."
FAMILIES = [
    pytest.param({"family": "aioner"}, id="aioner"),
    pytest.param({"family": "aioner", "classifier": "softmax"}, id="aioner-softmax"),
    pytest.param({"family": "span_cvae", "alpha": 0.0}, id="span_cvae"),
    pytest.param(
        {"family": "joint_ib", "compressed": False, "beta": 0.0, "gamma": 0.0},
        id="joint_ib",
    ),
    pytest.param({"family": "sruner", "context": 6}, id="sruner"),
]


def loss_gradient(bundle, document):
    """(1, places, …) float64: that of the loss by the scores, 0 where a score isn't in the loss."""
    (feature,) = bundle.features.build([document]).features
    bundle.model.double().zero_grad()
    output = bundle.model(**bundle.collator([feature]))
    output.logits.retain_grad()
    output.loss.backward()
    return feature, output.logits.grad


@pytest.mark.parametrize("options", FAMILIES)
def test_scores_of_what_is_unclear_get_exactly_no_gradient(build_bundle, options):
    start = TEACHING.index("glioma")
    gold = (Mention(0, 5, "Gene"), Mention(13, 20, "Disease"))
    clear = Document("1", "user", TEACHING, gold)
    unclear = Document("1", "user", TEACHING, gold, unclear=(Mention(start, start + 6, "Disease"),))
    space = LabelSpace({"user": {"Gene": "Gene", "Disease": "Disease"}})
    bundle = build_bundle(space, lively=True, documents=[clear], dropout=0.0, **options)
    calm(bundle.model) if options["family"] == "sruner" else bundle.model.eval()
    _, plain = loss_gradient(bundle, clear)
    feature, masked = loss_gradient(bundle, unclear)
    (window,) = bundle.features.windower([TEACHING])[0]
    tokens = [i for i, (a, b) in enumerate(window.offsets) if a < start + 6 and start < b]
    units = window.units(bundle.model.config.units) if options["family"] != "aioner" else []
    if options["family"] == "aioner":
        where = (0, torch.tensor(tokens) + len(bundle.model.default_task().prefix_ids))
        rest = [i for i in range(plain.shape[1]) if i not in where[1].tolist()]
        untouched = plain[0, rest].any(), masked[0, rest].any()
    elif options["family"] == "sruner":  # test_sruner_loss.py shows that unclear actions have no share of the loss
        (unit,) = [i for i, (a, _) in enumerate(units) if a == tokens[0]]
        number = bundle.features.numbers["user", "Disease"]
        open_actions = {(place, act(number)) for place in (unit, unit + 1) for act in (transition, reduction)}
        assert set(zip(feature["unclear_places"], feature["unclear_actions"], strict=True)) == open_actions
        return
    else:
        (unit,) = [i for i, (a, _) in enumerate(units) if a == tokens[0]]
        widest = bundle.model.config.max_span_width
        cells = [(f, w) for f in range(unit + 1) for w in range(widest) if unit <= f + w < len(units)]
        where = (0, [f for f, _ in cells], [w for _, w in cells])
        untouched = plain.any(), masked.any()
    assert all(untouched)
    assert plain[where].any()
    assert not masked[where].any()


def test_unclear_mentions_survive_json_lines(tmp_path):
    document = Document(
        "1", "user", TEACHING, (Mention(0, 5, "Gene"),), unclear=(Mention(13, 20, "Disease", score=0.4),)
    )
    write_documents([document], tmp_path / "d.jsonl")
    assert list(read_documents(tmp_path / "d.jsonl")) == [document]
    (bare,) = read_documents(tmp_path / "d.jsonl", gold=False)
    assert bare.unclear == ()


# ---- whole runs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of which one declares genes and the other diseases."""
    folder = tmp_path_factory.mktemp("files")
    for split, ids in (("train", range(12)), ("test", range(20, 24))):
        rows = [
            {
                "id": f"{split}{i}",
                "text": f"GENE{i} causes aniridia number {i} in mice.",
                "mentions": [{"start": 0, "end": len(f"GENE{i}"), "type": "Gene"}],
            }
            for i in ids
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    return folder


def run(folder, files, *more):
    helpers_run.run(
        *helpers_run.QUICK, "--train_file", files / "train.jsonl", "--test_file", files / "test.jsonl",
        "--write_predictions", "--output_dir", folder, "--use_cpu", "true", *more,
    )  # fmt: skip
    return helpers_run.results(folder)


def test_a_teacher_that_is_a_recipe_is_trained_once_and_completes(files, tmp_path, caplog):
    recipe = tmp_path / "teacher.yaml"
    recipe.write_text(
        "corpora: [demo_all]\nencoder: scratch\nscratch_layers: 1\nscratch_hidden_size: 64\nmax_tokens: 64\nmax_steps: 60\n"
        "learning_rate: 0.008\nper_device_train_batch_size: 8\neval_strategy: 'no'\nsave_strategy: 'no'\n"
        "load_best_model_at_end: false\ndropout: 0.0\n",
        encoding="utf-8",
    )
    plain = run(tmp_path / "plain", files)
    options = ["--complete_with", recipe, "--complete_threshold", "0.2", "--complete_mask_from", "0.05"]
    options += ["--cache_dir", tmp_path / "cache"]
    found = run(tmp_path / "out", files, *options)
    labels = found["completion"]["labels"]["user"]
    assert "Gene" not in labels
    assert sum(n["added"] for n in labels.values()) > 0
    made = list(read_documents(tmp_path / "out" / "completed" / "user.jsonl"))
    assert sum(m.type != "Gene" for d in made for m in d.mentions) == sum(n["added"] for n in labels.values())
    assert sum(len(d.unclear) for d in made) == sum(n["masked"] for t, n in labels.items() if n["added"])
    # What is measured is the user's guideline, as without a teacher.
    assert found["test"]["user"]["per_type"].keys() == plain["test"]["user"]["per_type"].keys() == {"Gene"}
    size = plain["data"]["test"]["user"]
    assert found["data"]["test"]["user"] == size | {"declared": {"Gene": size["documents"]}}
    gold = "predictions/user.gold.PubTator"
    assert (tmp_path / "out" / gold).read_bytes() == (tmp_path / "plain" / gold).read_bytes()
    assert found["settings"]["complete_with"] == ["teacher.yaml"]
    weights = tmp_path / "out" / "teachers" / "teacher" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    caplog.clear()
    options += ["--test_corpora", "demo_all"]
    again = run(tmp_path / "again", files, *options[2:], "--complete_with", weights.parent)
    assert weights.stat().st_mtime_ns == before
    assert again["completion"]["labels"] == found["completion"]["labels"]
    assert "answers for" not in helpers_run.messages(caplog)  # they were kept
    # What training had seen is its gold mentions, not the teacher's answers.
    seen = Seen(read_documents(files / "train.jsonl"))
    measured = list(read_documents(tmp_path / "again" / "predictions" / "demo_all.gold.PubTator"))
    unseen = sum(seen.unseen("unseen_mentions", d.surface(m)) for d in measured for m in d.mentions)
    assert again["test"]["demo_all"]["relaxed"]["unseen_mentions"]["overall"]["support"] == unseen


def test_types_may_name_what_only_a_teacher_knows(trained_dir, demo_corpora, tmp_path, capsys):
    for split in ("train", "test"):
        genes = [
            d.with_mentions(m for m in d.mentions if m.type == "Gene") for d in demo_corpora["demo_all"][split][:20]
        ]
        write_documents([replace(d, annotated_types=None) for d in genes], tmp_path / f"{split}.jsonl")
    options = ["--complete_with", trained_dir, "--cache_dir", tmp_path / "cache"]
    found = run(tmp_path / "out", tmp_path, *options, "--types", "Gene", "Disease")
    assert found["completion"]["labels"]["user"].keys() == {"Disease"}
    assert found["completion"]["labels"]["user"]["Disease"]["added"] > 0
    made = read_documents(tmp_path / "out" / "completed" / "user.jsonl")
    assert {m.type for d in made for m in d.mentions} == {"Gene", "Disease"}
    # The run's settings name a type that no corpus has.
    again = answer_again(tmp_path / "out", ["user"], "test", str(tmp_path))
    assert "as in results.json" in again.notes[0]
    message = helpers_run.fails(
        capsys, *helpers_run.QUICK, "--train_file", tmp_path / "train.jsonl", *options, "--types", "Gene", "Diseases",
        "--output_dir", tmp_path / "typo", "--use_cpu", "true",
    )  # fmt: skip
    assert "no corpus of the run and no teacher has type 'Diseases'; did you mean 'Disease'" in message


@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ({}, {"test_corpora": ["biored", "bc5cdr"]}),
        ({"test_corpora": ["tmvar3"]}, {"test_corpora": ["biored", "bc5cdr", "tmvar3"]}),
        (
            {"test_corpora": ["biored"], "validation_corpora": ["nlm_gene"]},
            {"test_corpora": ["biored"], "validation_corpora": ["nlm_gene"]},
        ),
    ],
)
def test_a_recipes_teacher_is_measured_on_what_the_run_is_measured_on(given, measured, tmp_path):
    asked = {}
    data = DataOptions(corpora=["biored", "bc5cdr"], **given)
    completion = CompletionOptions(complete_with=["teacher.yaml"])
    arguments = SimpleNamespace(completion=completion, data=data, given={}, train=SimpleNamespace(output_dir=tmp_path))
    (folder,) = train_teachers(arguments, lambda name, values: asked.update({name: values}))
    process = dict.fromkeys(("use_cpu", "bf16", "fp16"), False)
    assert asked == {"teacher.yaml": measured | process | {"output_dir": folder}}


def test_a_teacher_that_was_asked_for_otherwise_is_refused(tmp_path):
    def arguments(**given):
        data = DataOptions(corpora=["biored"], test_corpora=["biored"], validation_corpora=["biored"])
        completion = CompletionOptions(complete_with=["teacher.yaml"])
        return SimpleNamespace(
            completion=completion, data=data, given=given, train=SimpleNamespace(output_dir=tmp_path)
        )

    asked = []
    train = lambda name, values: asked.append(values)  # noqa: E731
    train_teachers(arguments(seed=1, data_dir="a", format="iob2"), train)
    train_teachers(arguments(seed=1, data_dir="b", format="iob2"), train)  # the same, interrupted
    assert [values["data_dir"] for values in asked] == ["a", "b"]
    assert "format" not in asked[0]  # of the training file, which is the student's alone
    with pytest.raises(ArgumentError, match=r"seed was 1, is 2; delete it"):
        train_teachers(arguments(seed=2), train)


def test_what_a_models_results_do_not_show_to_be_unseen(tmp_path):
    def shown(**more) -> list[str]:
        Results({}, **more).write(tmp_path)
        return unproven(tmp_path, data)

    sizes = {"test": {"a": {"documents": 2, "ids": "x"}}, "validation": {"b": {"documents": 1, "ids": "y"}}}
    data = SimpleNamespace(sizes=lambda: sizes | {"train": {"c": {"documents": 3, "ids": "z"}}})
    assert unproven(tmp_path, data) == ["a/test", "b/validation"]
    assert shown(data=sizes) == []
    assert shown(data={"test": {"a": {"documents": 2}}}) == ["b/validation"]  # results of earlier versions have no ids
    assert shown(data=sizes | {"test": {"a": {"ids": "others"}}}) == ["a/test"]
    assert shown(data=sizes, overlap={"kept": True}) == ["a/test", "b/validation"]


def test_two_recipes_of_one_file_name_would_be_one_teacher(tmp_path):
    completion = CompletionOptions(complete_with=["aioner/biored.yaml", "sruner/biored.yaml"])
    arguments = SimpleNamespace(completion=completion, train=SimpleNamespace(output_dir=tmp_path))
    with pytest.raises(ArgumentError, match="2 recipes are called 'biored'"):
        train_teachers(arguments, lambda name, values: pytest.fail("trained"))


def test_an_empty_teacher_gives_the_plain_run_bit_for_bit(files, tmp_path, build_bundle):
    teacher = build_bundle()
    with torch.no_grad():
        for number, name in teacher.model.config.id2label.items():
            teacher.model.classifier.bias[number] = 50.0 if name.startswith("O") else -50.0
    teacher.model.save_pretrained(tmp_path / "teacher")
    teacher.tokenizer.save_pretrained(tmp_path / "teacher")
    plain, taught = tmp_path / "plain", tmp_path / "taught"
    run(plain, files)
    found = run(
        taught, files, "--complete_with", tmp_path / "teacher", "--complete_threshold", "0", "--cache_dir", tmp_path
    )
    assert not any(n["added"] for n in found["completion"]["labels"]["user"].values())
    one, other = (load_file(folder / "model.safetensors") for folder in (plain, taught))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert Path(plain / "config.json").read_bytes() == Path(taught / "config.json").read_bytes()


@pytest.mark.parametrize("family", families.names())
def test_a_teacher_of_any_family_completes(family, build_bundle, files, tmp_path):
    teacher = build_bundle(lively=True, family=family)
    teacher.save(tmp_path / "teacher")
    more = ["--complete_threshold", '{"Disease": 0.01, "Gene": 0.5}', "--cache_dir", tmp_path]
    found = run(tmp_path / "out", files, "--complete_with", tmp_path / "teacher", *more)["completion"]
    assert found["thresholds"].keys() == {"Gene", "Disease", "Chemical", "Species"}
    assert found["labels"]["user"]["Disease"]["added"] + found["labels"]["user"]["Disease"]["beside_gold"] > 0
    narrow = [*more[2:], "--types", "Gene"]
    found = run(tmp_path / "narrow", files, "--complete_with", tmp_path / "teacher", *narrow)["completion"]
    assert found["labels"]["user"] == {}


def test_answers_of_types_without_a_shared_one_are_left_out():
    found = average([[Mention(0, 3, "Gene", score=0.8), Mention(5, 9, "Finding", score=0.8)]], [["Gene"]])
    assert [m.key for m in found] == [(0, 3, "Gene")]


def test_a_type_that_several_native_types_are_is_not_completed():
    space = LabelSpace({"c": {"Protein": "Gene", "DNA": "Gene", "Illness": "Disease", "Drug": None, "Species": None}})
    names = added_names(space, "c", ["Gene", "Disease", "Chemical", "Species"])
    assert names == {"Disease": "Illness", "Chemical": "Chemical", "Species": "Species (completed)"}


def test_a_parts_teacher_is_measured_on_its_corpus_where_the_part_has_no_test_documents(tmp_path):
    asked = {}
    parts = {"half": {"of": "biored", "articles": [0, 0.5]}, "tested": {"of": "bc5cdr", "test": ["test"]}}
    data = DataOptions(corpora=["half", "tested"], parts=parts)
    completion = CompletionOptions(complete_with=["teacher.yaml"])
    arguments = SimpleNamespace(completion=completion, data=data, given={}, train=SimpleNamespace(output_dir=tmp_path))
    train_teachers(arguments, lambda name, values: asked.update(values))
    assert asked["test_corpora"] == ["biored", "tested"]
    assert asked["parts"] == {"tested": parts["tested"]}
