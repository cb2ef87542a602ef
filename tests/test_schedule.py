"""The warm-up of everything but the encoder, and the choice of the best model by merged scores (SRU-NER, appendix B)."""

from __future__ import annotations

import pytest
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.training.evaluator import Measured


@pytest.fixture
def dataset(bundle, demo_corpora):
    return bundle.features.build(demo_corpora["demo_all"]["train"][:2])


def rates_while_training(trainer, steps: int) -> dict[bool, list[float]]:
    """Whether of the encoder → the learning rate of each of so many steps."""
    trainer.create_optimizer()
    scheduler = trainer.create_scheduler(steps)
    found = {True: [], False: []}
    for _ in range(steps):
        rates = {(group["encoder"], group["lr"]) for group in trainer.optimizer.param_groups}
        assert len(rates) == 2
        for encoder, rate in rates:
            found[encoder].append(rate)
        trainer.optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("warmup", "steps"), [(5, 5), (0.05, 5), (0, 0)])
def test_everything_but_the_encoder_may_warm_up_for_itself(bundle, dataset, trainer_for, warmup, steps):
    """Against the linear schedule written out: up to the full rate in the warm-up, then down to 0 (SRU-NER's Table 12)."""
    options = {"learning_rate": 1e-4, "head_learning_rate": 1e-2, "warmup_steps": 0.1, "head_warmup_steps": warmup}
    found = rates_while_training(trainer_for(bundle, dataset, **options), 100)
    for encoder, full, up in ((True, 1e-4, 10), (False, 1e-2, steps)):
        wanted = [full * (n / up if n < up else (100 - n) / (100 - up)) for n in range(100)]
        assert found[encoder] == pytest.approx(wanted)


def test_a_warm_up_that_the_schedule_has_not_is_refused(bundle, dataset, trainer_for):
    for kind in ("constant", "reduce_lr_on_plateau"):
        trainer = trainer_for(bundle, dataset, head_warmup_steps=3, lr_scheduler_type=kind, eval_strategy="epoch")
        trainer.create_optimizer()
        with pytest.raises(ArgumentError, match=f"--head_warmup_steps has no effect: --lr_scheduler_type {kind}"):
            trainer.create_scheduler(10)


@pytest.mark.parametrize(("choice", "wanted"), [("f1", {"f1": 0.5}), ("merged_f1", {"f1": 0.5, "merged_f1": 0.3})])
def test_merged_scores_choose_the_model_where_asked_for_and_cost_nothing_elsewhere(
    bundle, dataset, demo_corpora, trainer_for, choice, wanted
):
    f1s = {"demo_all": (0.4, 0.2), "demo_chem": (0.7, None), "demo_gene": (0.4, 0.0)}  # the headline's, the merged
    trainer = trainer_for(
        bundle,
        dataset,
        {c: demo_corpora[c]["validation"][:1] for c in f1s},
        metric_for_best_model=choice,
        load_best_model_at_end=True,
        eval_strategy="epoch",
        save_strategy="epoch",
    )
    asked = []

    def scored(documents, full=False):
        asked.append(full)
        own, merged = ({"overall": {"precision": 0, "recall": 0, "f1": f}} for f in f1s[documents[0].corpus])
        report = own | ({"merged": merged if merged["overall"]["f1"] is not None else None} if full else {})
        return Measured(report, [], [], [])

    trainer.evaluator.evaluate = scored
    metrics = trainer.evaluate()
    assert asked == [choice == "merged_f1"] * 3
    means = {name.removeprefix("eval_"): value for name, value in metrics.items() if name.count("_") <= 2}
    assert {n: v for n, v in means.items() if n in ("f1", "merged_f1")} == pytest.approx(wanted)
    trainer.state.epoch = 1.0
    trainer._determine_best_metric(metrics, trial=None)
    assert trainer.state.best_metric == pytest.approx(wanted[choice])
