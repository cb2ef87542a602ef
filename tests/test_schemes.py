"""Tasks and labels of the tagging schemes."""

from __future__ import annotations

import pytest
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelError, LabelSpace
from mosaic_ner.training.aioner import build_scheme
from mosaic_ner.training.evaluator import Evaluator

TYPES = ["Gene", "Disease", "Chemical", "Species", "Variant", "CellLine"]
SIX = LabelSpace(
    {"bridge": {t: t for t in TYPES}}
    | {f"only_{t.lower()}": {t: t} for t in TYPES}
    | {"two": {"Drug": "Chemical", "Illness": "Disease", "Buffer": None}, "nothing": {"Buffer": None}}
)


def test_six_types_with_a_bridge_have_the_papers_nineteen_labels():
    scheme = build_scheme("aio", SIX)
    assert len(scheme.labels) == len(set(scheme.labels)) == 19
    expected = [f"{kind}-{t}" for t in TYPES for kind in "BI"] + ["O-ALL"] + [f"O-{t}" for t in TYPES]
    assert sorted(scheme.labels) == sorted(expected)
    assert [t.name for t in scheme.tasks] == ["ALL", *TYPES]
    assert all(t.tagged for t in scheme.tasks)


def test_the_published_corpora_have_the_papers_nineteen_labels():
    scheme = build_scheme("aio", load_label_mapping(scheme="aioner"))
    assert len(scheme.labels) == 19
    assert [corpus for corpus, tasks in scheme.corpus_tasks.items() if tasks == ["ALL"]] == ["biored"]


def test_each_task_has_the_spans_of_its_types_and_an_outside_of_its_own():
    scheme = build_scheme("aio", SIX)
    assert set(scheme.task("Gene").labels) == {"B-Gene", "I-Gene", "O-Gene"}
    assert set(scheme.task("ALL").labels) == {f"{kind}-{t}" for t in TYPES for kind in "BI"} | {"O-ALL"}
    outside = [[label for label in t.labels if label[0] == "O"] for t in scheme.tasks]
    assert outside == [[f"O-{t.name}"] for t in scheme.tasks]


def test_a_corpus_has_a_copy_per_type_and_the_bridge_only_all():
    scheme = build_scheme("aio", SIX)
    assert scheme.corpus_tasks["bridge"] == ["ALL"]
    assert scheme.corpus_tasks["only_gene"] == ["Gene"]
    assert sorted(scheme.corpus_tasks["two"]) == ["Chemical", "Disease"]
    assert "nothing" not in scheme.corpus_tasks
    assert not any("Buffer" in label for label in scheme.labels)
    assert scheme.default_tasks == ["ALL"]


def test_tagging_modes():
    modes = build_scheme("aio", SIX).modes
    assert modes == {"aio": ["ALL"], "ind": TYPES, "combined": ["ALL", *TYPES]}
    # Without a bridge the single tasks together answer for any text.
    without = build_scheme("aio", SIX.restricted_to([c for c in SIX.corpora if c != "bridge"]))
    assert "O-ALL" not in without.labels
    assert without.default_tasks == without.modes["aio"] == without.modes["ind"] == [t.name for t in without.tasks]


def test_the_bridge_can_be_named():
    space = LabelSpace({**SIX.corpora, "second": {t: t for t in TYPES}})
    assert build_scheme("aio", space).corpus_tasks["second"] == ["ALL"]
    scheme = build_scheme("aio", space, bridge=["second"])
    assert scheme.corpus_tasks["second"] == ["ALL"]
    assert scheme.corpus_tasks["bridge"] == TYPES
    with pytest.raises(ValueError, match="did you mean 'second'"):
        build_scheme("aio", space, bridge=["secnd"])


def test_one_type_alone_is_one_task():
    space = LabelSpace({"a": {"Gene": "Gene"}, "b": {"FamilyName": "Gene"}})
    scheme = build_scheme("aio", space)
    assert [t.name for t in scheme.tasks] == scheme.default_tasks == ["Gene"]
    assert sorted(scheme.labels) == ["B-Gene", "I-Gene", "O-Gene"]
    assert scheme.corpus_tasks == {"a": ["Gene"], "b": ["Gene"]}


def test_naive_is_one_untagged_task_for_all_corpora():
    scheme = build_scheme("naive", SIX)
    assert len(scheme.labels) == 13
    (task,) = scheme.tasks
    assert not task.tagged
    assert set(scheme.corpus_tasks) == set(SIX.corpora) - {"nothing"}
    assert all(tasks == [task.name] for tasks in scheme.corpus_tasks.values())


def test_multi_task_labels_are_disjoint_and_every_corpus_answers_for_itself():
    scheme = build_scheme("mtl", SIX)
    assert scheme.restrict_labels
    assert scheme.corpus_tasks == {t.name: [t.name] for t in scheme.tasks}
    labels = [label for task in scheme.tasks for label in task.labels]
    assert len(labels) == len(set(labels)) == len(scheme.labels)
    assert scheme.default_tasks == ["bridge"]
    assert set(scheme.task("two").types) == {"Chemical", "Disease"}
    assert not any(t.tagged for t in scheme.tasks)


def test_errors_name_what_is_known():
    with pytest.raises(ValueError, match="did you mean 'naive'"):
        build_scheme("naiv", SIX)
    with pytest.raises(ValueError, match="nothing to tag"):
        build_scheme("aio", SIX.restricted_to(["nothing"]))


def test_an_unmapped_type_or_corpus_is_an_error_never_a_silent_drop():
    assert SIX.shared("two", "Drug") == "Chemical"
    assert SIX.shared("two", "Buffer") is None
    with pytest.raises(LabelError, match="did you mean 'Drug'"):
        SIX.shared("two", "Drugs")
    with pytest.raises(LabelError, match="did you mean 'bridge'"):
        SIX.native_types("bridges")
    assert LabelSpace.from_dict(SIX.to_dict()) == SIX
    assert SIX.shared_types_of("two") == ["Disease", "Chemical"]


def test_new_types_have_tasks_of_their_own_beside_the_bridges():
    """AIONER-Merged: ALL looks for what the bridge annotates; the bridge never teaches the negative of a new type."""
    space = LabelSpace({**DEMO_LABEL_SPACE.corpora, "plants": {"Plant": "Plant", "Fungus": "Fungus"}})
    scheme = build_scheme("aio", space, ["demo_all"])
    assert scheme.task("ALL").types == ("Gene", "Disease", "Chemical", "Species")
    assert scheme.corpus_tasks["demo_all"] == ["ALL"]
    assert scheme.corpus_tasks["plants"] == ["Plant", "Fungus"]
    assert scheme.default_tasks == ["ALL", "Plant", "Fungus"]
    assert scheme.modes["ind"] == ["Gene", "Disease", "Chemical", "Plant", "Fungus"]


def test_bridge_corpora_must_annotate_the_same_types():
    space = LabelSpace({**DEMO_LABEL_SPACE.corpora, "half": {"Gene": "Gene", "Disease": "Disease"}})
    with pytest.raises(LabelError, match="annotate different types"):
        build_scheme("aio", space, ["demo_all", "half"])


# ---- corpora that a tagger can't be taught by

ODD = LabelSpace({**DEMO_LABEL_SPACE.corpora, "odd": {"protein": None, "cell_type": None}})
SCHEMES = ["aio", "naive", "mtl"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("trained", [["odd"], ["demo_all", "odd"], None])
def test_a_corpus_without_any_shared_type_trains_no_tagger(build_bundle, bert_dir, scheme, trained):
    with pytest.raises(LabelError, match=r"^odd can't train a tagger, which learns shared types: ") as error:
        build_bundle(ODD, encoder=str(bert_dir), trained=trained, scheme=scheme)
    for piece in ("(protein, cell_type)", "--mapping", "--extra_mapping", "--types", "--family", "--test_corpora"):
        assert piece in str(error.value)


def test_the_corpus_is_named_where_it_is_the_only_one(build_bundle):
    with pytest.raises(LabelError, match="odd can't train a tagger"):
        build_bundle(ODD.restricted_to(["odd"]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_corpus_without_any_shared_type_may_be_measured(build_bundle, bert_dir, scheme):
    bundle = build_bundle(ODD, encoder=str(bert_dir), trained=["demo_all", "demo_gene"], scheme=scheme)
    document = Document("1", "odd", "p53 in T cells", (Mention(0, 3, "protein"),))
    assert bundle.features.report([[document]])["odd"]["outside_scheme"] == 1
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    assert Evaluator(predictor, ODD).evaluate([document], full=True).report["overall"]["support"] == 0


@pytest.mark.parametrize("family", ["span_cvae", "sruner", "joint_ib"])
def test_families_that_learn_own_types_are_taught_by_it(build_bundle, family):
    bundle = build_bundle(ODD, trained=["odd"], family=family)
    (feature,) = bundle.features.build([Document("1", "odd", "p53 in T cells", (Mention(0, 3, "protein"),))]).features
    assert feature.keys() & {"cells", "gold_actions"}
    assert bundle.features.coverage.to_dict()["odd"]["represented"] == 1


def test_jnlpba_trains_a_tagger_under_sru_ner_s_mapping_only(build_bundle):
    both = ["biored", "jnlpba"]
    with pytest.raises(LabelError, match=r"jnlpba can't train .*\(protein, DNA, RNA, cell_type, cell_line\)"):
        build_bundle(load_label_mapping().restricted_to(both))
    model = build_bundle(load_label_mapping(scheme="sruner").restricted_to(both)).model
    assert {task.name for task in model.tasks_for("jnlpba")} == {"Gene", "DNA", "RNA", "CellType", "CellLine"}
