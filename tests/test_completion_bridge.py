"""Completed corpora teach the bridge's outputs, in families with outputs per corpus."""

from __future__ import annotations

import helpers_run
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.completion import under_bridge

TEXT = "abcdefghij" * 3
SPACE = LabelSpace(
    {
        "all": {"G": "Gene", "D": "Disease", "C1": "Chemical", "C2": "Chemical", "O": None},
        "genes": {
            "Protein": "Gene",
            "DNA": "Gene",
            "Disease": None,
            "Disease (completed)": "Disease",
            "Drug": "Chemical",
        },
        "rest": {"Drug": "Chemical"},
    }
)
NATIVE = [*SPACE.corpora["genes"]]


def spans(types):
    return st.builds(
        lambda start, length, kind: Mention(start, min(start + length, 30), kind),
        st.integers(0, 29),
        st.integers(1, 6),
        st.sampled_from(types),
    )


@given(
    st.lists(
        st.tuples(
            st.lists(spans(NATIVE), max_size=6, unique_by=lambda m: m.key),
            st.sets(st.sampled_from(NATIVE)),
            st.lists(spans(["Disease (completed)", "Drug"]), max_size=2),
        ),
        max_size=3,
    )
)
def test_under_the_bridge_every_mention_is_told_or_counted_and_nothing_else_is_known(rows):
    texts = [
        Document(str(i), "genes", TEXT, tuple(gold), annotated_types=frozenset(types), unclear=tuple(unclear))
        for i, (gold, types, unclear) in enumerate(rows)
    ]
    train = {"all": [Document("a", "all", TEXT)], "genes": texts, "rest": [Document("r", "rest", TEXT)]}
    made, lost = under_bridge(train, SPACE, "all", ["genes"])
    assert made["rest"] == train["rest"]
    assert made["all"][0] == train["all"][0]
    assert len(made["all"]) == 1 + len(texts)
    assert "genes" not in made
    told = {"Protein": "G", "DNA": "G", "Disease (completed)": "D"}
    untold = 0
    for before, after in zip(texts, made["all"][1:], strict=True):
        assert (after.id, after.text, after.corpus) == (before.id, before.text, "all")
        both = {"Protein", "DNA"} <= before.annotated_types  # one of them alone leaves genes unknown
        known = {"G": both, "D": "Disease (completed)" in before.annotated_types}
        assert after.annotated_types == {name for name, true in known.items() if true}
        for old, new in ((before.mentions, after.mentions), (before.unclear, after.unclear)):
            assert {m.key for m in new} == {(m.start, m.end, told[m.type]) for m in old if m.type in told}
        untold += sum(m.type not in told for m in before.mentions)
    assert sum(lost["genes"].values()) == untold
    assert lost["genes"].keys() <= {"Disease", "Drug"}


def test_without_a_bridge_or_labels_nothing_moves():
    train = {"genes": [Document("1", "genes", TEXT)], "all": [Document("2", "all", TEXT)]}
    assert under_bridge(train, SPACE, None, ["genes"]) == (train, {})
    assert under_bridge(train, SPACE, "all", []) == (train, {})


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (["--family", "aioner"], {"demo_gene", "demo_all"}),
        (["--family", "aioner", "--scheme", "mtl"], {"demo_all"}),
        (["--family", "span_cvae"], {"demo_all"}),
        (["--family", "span_cvae", "--labels_per", "shared"], {"demo_gene", "demo_all"}),
        (["--family", "joint_ib"], {"demo_all"}),
        (["--family", "sruner"], {"demo_all"}),
    ],
)
def test_completed_corpora_teach_the_bridges_outputs(options, known, build_bundle, tmp_path):
    build_bundle(lively=True).save(tmp_path / "teacher")
    more = ["--corpora", "demo_gene", "demo_all", "--complete_threshold", "0.01", "--cache_dir", tmp_path]
    out = tmp_path / "out"
    helpers_run.run(*helpers_run.QUICK, *options, *more, "--complete_with", tmp_path / "teacher", "--use_cpu", "true",
                    "--output_dir", out)  # fmt: skip
    found = helpers_run.results(out)
    model, _ = load(str(out))
    assert set(model.config.labels.corpora) == known
    assert found["completion"]["bridge"] == "demo_all"
    assert found["completion"]["under_bridge"] == ({} if "demo_gene" in known else {"demo_gene": {}})
    assert set(found["data"]["train"]) == {"demo_gene", "demo_all"}  # results and card name the corpora as they are
    card = (out / "README.md").read_text(encoding="utf-8")
    assert ("taught the outputs of demo_all" in " ".join(card.split())) == ("demo_gene" not in known)
    assert {"demo_gene", "demo_all"} == set(found["test"])
