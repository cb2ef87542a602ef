"""What a run measures is what the saved model answers."""

from __future__ import annotations

import pytest
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.training import families
from mosaic_ner.training.bundle import restore
from mosaic_ner.training.evaluator import evaluator_for

SPACE = LabelSpace({"user": {"Disease": "Disease", "Chemical": "Chemical"}})


def answers(bundle, space, documents) -> list:
    return [
        [(m.key, m.score) for m in row] for row in evaluator_for(bundle, space, None, 8, "float32").predict(documents)
    ]


@pytest.mark.parametrize("family", families.names())
def test_figures_of_a_run_in_half_precision_are_those_of_its_saved_model(
    family, build_bundle, demo_corpora, trainer_for, tmp_path
):
    bundle = build_bundle(lively=True, family=family)
    dataset, space = bundle.features.build(demo_corpora["demo_gene"]["train"][:2]), bundle.features.space
    weights = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    trainer_for(bundle, dataset, max_steps=1, bf16=True).train()
    bundle.model.load_state_dict(weights)  # one step from lively weights leads anywhere
    wrapped, documents = bundle.model.forward, demo_corpora["demo_all"]["test"][:3]
    found = answers(bundle, space, documents)
    assert bundle.model.forward is wrapped  # training goes on as it was
    assert wrapped.__func__ is not type(bundle.model).forward
    bundle.save(tmp_path / "saved")
    again = answers(restore(str(tmp_path / "saved"), space), space, documents)
    assert [[key for key, _ in row] for row in again] == [[key for key, _ in row] for row in found]
    # A saved model's weights lie elsewhere in memory, and some processors then add in another order: a score's last bit. Those
    # of autocast, a thousand times as far off, don't pass.
    scores, wanted = ([score for row in rows for _, score in row] for rows in (again, found))
    assert scores == pytest.approx(wanted, rel=0, abs=1e-6)
    assert sum(map(len, found)) > 5


@pytest.mark.parametrize("family", families.names())
def test_files_may_have_fewer_types_than_the_model_knows(family, build_bundle, tmp_path):
    text = "Patients with asthma took aspirin."
    documents = [Document("1", "user", text, (Mention(14, 20, "Disease"), Mention(26, 33, "Chemical")))]
    bundle = build_bundle(SPACE, lively=True, documents=documents, family=family)
    bundle.save(tmp_path)
    narrow = LabelSpace({"user": {"Disease": "Disease"}})
    test = [Document(str(n), "user", text * 3, (Mention(14, 20, "Disease"),)) for n in range(4)]
    report = evaluator_for(restore(str(tmp_path), narrow), narrow, None, 8).evaluate(test, full=True).report
    assert list(report["per_type"]) == ["Disease"]
    assert report["overall"]["support"] == 4
    assert report["ignored"]["predicted"] > 0
