"""What a user says wins, or is refused: options without validation documents, arguments of the pipeline."""

from __future__ import annotations

import random

import pytest
from mosaic_ner.data_builders.options import ArgumentError, DataOptions
from mosaic_ner.data_builders.run_data import RunDataError, load_run_data
from mosaic_ner.modeling.document import Mention
from mosaic_ner.modeling.pipeline_ner import NERPipeline
from mosaic_ner.modeling.windowing import keep_flat
from mosaic_ner.training.arguments import TrainOptions
from mosaic_ner.training.trainer import run_arguments, without_validation


@pytest.fixture
def arguments(tmp_path):
    """Function: training options → what the Trainer is told."""

    def make(**options):
        return run_arguments(TrainOptions(output_dir=str(tmp_path), report_to="none", **options), {"use_cpu": True})

    return make


@pytest.mark.parametrize(
    "given",
    [
        {"early_stopping_patience": 2},
        {"load_best_model_at_end": True},
        {"eval_strategy": "steps"},
        {"save_strategy": "best"},
    ],
)
def test_what_needs_validation_documents_is_refused_without_them(arguments, given):
    with pytest.raises(
        ArgumentError, match=f"--{next(iter(given))}.* needs validation documents.*--validation_fraction"
    ):
        without_validation(arguments(), given)


def test_without_validation_documents_a_save_strategy_that_was_asked_for_stays(arguments, caplog):
    silent = arguments()
    without_validation(silent, {})
    assert (silent.eval_strategy, silent.save_strategy, silent.load_best_model_at_end) == ("no", "no", False)
    asked = arguments(save_strategy="epoch")
    without_validation(asked, {"save_strategy": "epoch", "eval_strategy": "no"})
    assert (asked.eval_strategy, asked.save_strategy) == ("no", "epoch")
    assert "no validation documents" in caplog.text


def test_a_best_f1_of_0_chooses_no_checkpoint(bundle, trainer_for, demo_corpora, caplog):
    dataset = bundle.features.build(demo_corpora["demo_all"]["train"][:4])
    trainer = trainer_for(bundle, dataset)
    trainer.state.best_metric, trainer.state.best_model_checkpoint = 0.0, "no such folder"
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    trainer._load_best_model()
    assert "no evaluation had a validation" in caplog.text
    assert all(value.equal(before[name]) for name, value in bundle.model.state_dict().items())


def test_more_training_documents_than_there_are():
    options = DataOptions(corpora=["demo_all"], max_train_documents={"demo_all": 5000})
    with pytest.raises(RunDataError, match=r"demo_all has \d+ training documents here, fewer than 5000"):
        load_run_data(options)


@pytest.fixture
def ner(bundle):
    return NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer)


def test_the_pipeline_takes_lists_of_any_length(ner, demo_texts):
    assert ner([]) == []
    texts = demo_texts[:40]
    together, alone = ner(texts), [ner(text) for text in texts]
    assert any(alone)
    assert [[(m["start"], m["end"], m["entity_group"]) for m in row] for row in together] == [
        [(m["start"], m["end"], m["entity_group"]) for m in row] for row in alone
    ]


def test_the_pipeline_leaves_out_ignored_labels(ner, demo_texts):
    found = ner(demo_texts[0])
    kinds = {m["entity_group"] for m in found}
    assert len(kinds) > 1
    left_out = sorted(kinds)[0]
    assert ner(demo_texts[0], ignore_labels=[left_out]) == [m for m in found if m["entity_group"] != left_out]


@pytest.mark.parametrize("value", ["0.5", True, [0.5]])
def test_the_pipeline_refuses_a_threshold_that_is_no_number(ner, value):
    with pytest.raises(ValueError, match=r"threshold is .*; expected a number"):
        ner("A text.", threshold=value)


def slow_keep_flat(mentions):
    """By definition: each mention against all that were kept."""
    kept, dropped = [], []
    for mention in sorted(mentions, key=lambda m: (m.start - m.end, -(m.score or 0.0), m.start, m.type)):
        clash = any(mention.start < other.end and other.start < mention.end for other in kept)
        (dropped if clash else kept).append(mention)
    return sorted(kept, key=lambda m: (m.start, m.end, m.type)), dropped


def test_keep_flat_equals_its_definition():
    draw = random.Random(0)
    for _ in range(500):
        starts = [draw.randrange(20) for _ in range(draw.randrange(12))]
        mentions = [
            Mention(start, start + draw.randrange(1, 8), draw.choice("ab"), score=draw.choice([None, 0.1, 0.5]))
            for start in starts
        ]
        assert keep_flat(mentions) == slow_keep_flat(mentions)
