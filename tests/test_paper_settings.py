"""The recipes of CVAE-NER and of the joint information bottleneck against what the papers state."""

from __future__ import annotations

import pytest
from helpers_run import ROOT
from mosaic_ner.analysis.repeats import read_header
from mosaic_ner.data_builders.corpora import TEN, get_corpus
from mosaic_ner.training.arguments import parse


def recipes(family: str) -> list:
    found = sorted((ROOT / "recipes" / family / "paper").glob("*.yaml"))
    assert found
    return found


def name(recipe) -> str:
    return recipe.stem


@pytest.mark.parametrize("recipe", recipes("span_cvae"), ids=name)
def test_cvae_ner(recipe):
    """Appendix A and Table 4; section 4.3."""
    asked = parse([str(recipe)])
    own, model, train, data = asked.own, asked.model, asked.train, asked.data
    rows = " ".join(f"{repeat.table}, {repeat.row}" for repeat in read_header(recipe).repeats)
    assert (model.packing, train.per_device_train_batch_size, asked.trainer["gradient_accumulation_steps"]) == (
        "single", 16, 4
    )  # fmt: skip
    assert train.early_stopping_patience == 5
    assert (own.max_span_width, own.latent_size) == (10, 150)
    single = "Single" in rows
    assert data.corpora == (["biored"] if single else list(TEN))
    assert train.grouped_batches == (not single)
    assert own.alpha == (1e-4 if "CVAE" in rows or "Figure 2" in rows else 0.0)
    assert own.labels_per == ("shared" if "Multi (Shared label)" in rows else "corpus")
    priors = {"Fixed": "fixed", "Unshared": "unshared", "CVAE (Shared label)": "shared", "Random": "random"}
    assert own.prior == next((prior for row, prior in priors.items() if row in rows), "full")
    t5 = "T5" in rows or "Table 2" in rows
    assert ("t5" in model.encoder) == t5 == (model.quantization is not None)
    assert model.lora_rank == (32 if t5 else None)
    assert (train.learning_rate if t5 else train.head_learning_rate) == 7e-4


def test_every_row_of_cvae_ner_s_tables_has_a_recipe():
    rows = {(r.table, r.row) for recipe in recipes("span_cvae") for r in read_header(recipe).repeats}
    settings = ["Single", "Multi", "Single + CVAE", "Multi + CVAE"]
    assert {row for table, row in rows if table == "Table 1"} == {f"{s}, {e}" for s in settings for e in ("BERT", "T5")}
    ablations = [f"Multi+CVAE ({name})" for name in ("Fixed", "Unshared", "Shared label", "Random")]
    assert {row for table, row in rows if table == "Table 2"} == {"Multi+CVAE", "Multi (Shared label)", *ablations}
    assert len([row for table, row in rows if table == "Table 8"]) == 18
    assert ("Figure 2", "T5-base") in rows


@pytest.mark.parametrize("recipe", recipes("joint_ib"), ids=name)
def test_joint_information_bottleneck(recipe):
    """Table 9 and section 5.1."""
    asked = parse([str(recipe)])
    own, model, train = asked.own, asked.model, asked.train
    assert (model.packing, model.max_tokens, train.per_device_train_batch_size, own.max_span_width) == (
        "single", 512, 16, 14
    )  # fmt: skip
    assert (own.word_size or 200, own.decoder_size, own.kl_weight, own.max_synonyms) == (200, 256, 1.0, None)
    assert own.compressed == (recipe.stem != "baseline")
    generates = recipe.stem in ("spanreco", "all", "all_shared_sigma", "all_unshared", "only_vaes")
    assert bool(own.synonyms) == (generates and recipe.stem != "spanreco")
    assert own.pretraining == (10 if generates else 0)
    assert train.num_train_epochs == own.pretraining + (0 if recipe.stem == "only_vaes" else 20)
    assert own.gamma == 0 or (generates and 1e-6 <= own.gamma <= 1e-4)
    if own.compressed and recipe.stem != "supvib_0":
        assert 1e-6 <= own.beta <= 1e-4
    assert 1e-5 <= train.learning_rate <= 3e-4
    assert train.generator_learning_rate is None or (generates and 1e-4 <= train.generator_learning_rate <= 1e-3)
    tied = {"all_shared_sigma": "mean_and_variance", "all_unshared": "none"}
    assert own.tied == tied.get(recipe.stem, "mean")


def test_every_setting_of_table_4_is_run_on_the_corpora_that_can_be_had():
    found = {}
    for recipe in recipes("joint_ib"):
        for repeat in read_header(recipe).repeats:
            if repeat.table == "Table 4":
                setting = repeat.row.partition(", ")[2]
                found.setdefault(setting, set()).add(repeat.corpus)
                if repeat.corpus != "genia":
                    assert get_corpus(repeat.corpus).splits == ["train", "validation", "test"]
                else:  # without UMLS nothing in GENIA has a synonym
                    assert ("MRCONSO.RRF" in repeat.options) == setting.startswith("All")
    variants = ["All", "All (w/ shared σ)", "All (w/o shared μ and σ)"]
    assert set(found) == {"Baseline", "SupVIB_0", "SupVIB", "SupVIB + SpanReco", *variants}
    corpora = {"ncbi_one_type", "bc5cdr_disease", "bc5cdr_chemical", "genia", "medmentions"}
    assert all(own == corpora for own in found.values())
