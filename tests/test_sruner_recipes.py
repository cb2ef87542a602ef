"""The recipes of SRU-NER's experiments: Table 12 in every point, and data that they can be run on."""

from __future__ import annotations

import pytest
from helpers_corpora import write_files
from helpers_run import ROOT
from mosaic_ner.data_builders.corpora import CORPORA
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.training.arguments import parse, trainer_specs

RECIPES = sorted((ROOT / "recipes" / "sruner" / "paper").glob("*.yaml"))
SIX = ("bc2gm", "mtl_bc4chemd", "mtl_bc5cdr", "mtl_jnlpba", "mtl_linnaeus", "mtl_ncbi_disease")
# Appendix B: Table 12, the optimizers, α and the encoders; sections 3.2 and 3.3 for the rest.
COMMON = {
    "num_train_epochs": 100, "early_stopping_patience": 30, "per_device_train_batch_size": 16, "max_tokens": 405,
    "max_grad_norm": 1.0, "dropout": 0.1, "slot_dropout": 0.2, "weight_decay": 1e-3, "head_learning_rate": 3e-4,
    "adam_beta2": 0.98, "adam_epsilon": 1e-6, "packing": "single", "history": "logits", "follow_gold": False,
    "adam_beta1": 0.9, "optim": "adamw_torch_fused", "gradient_accumulation_steps": 1,
    "warmup_steps": 0.01, "head_warmup_steps": 0.005,  # one epoch and half a one, of a hundred
}  # fmt: skip
OTHERS = {"latents_per_action": 2, "context": 150, "train_scale": False, "learning_rate": 2e-5}
GENIA = {"latents_per_action": 10, "context": 240, "train_scale": True, "learning_rate": 3e-5}
LINKBERT, XLM = "michiyasunaga/BioLinkBERT-large", "FacebookAI/xlm-roberta-large"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small files of every corpus of the package. Their texts are alike, so overlap is kept where they are read."""
    path = tmp_path_factory.mktemp("corpora")
    for corpus in CORPORA.values():
        write_files(corpus, path)
    return path


def data_of(*argv: str, folder, cache):
    where = ("--data_dir", str(folder), "--cache_dir", str(cache), "--overlap", "keep")
    return load_run_data(parse([*argv, *where]).data)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_hold_table_12(path):
    arguments = parse([str(path)])
    said = {n: spec.default for n, spec in trainer_specs().items()} | arguments.trainer
    said |= {n: v for group in arguments.groups for n, v in vars(group).items()}
    wanted = COMMON | (GENIA if path.stem == "genia" else OTHERS)
    assert {name: said[name] for name in wanted} == wanted
    assert arguments.model.encoder == (XLM if path.stem == "conll2003" else LINKBERT)
    several = len(arguments.data.corpora) > 1
    assert arguments.train.balanced_sampling == several
    # Footnote 9: merged scores choose the model where corpora have types in common.
    merged = path.stem in ("multitask", "cross_corpus")
    assert arguments.train.metric_for_best_model == ("merged_f1" if merged else "f1")
    assert arguments.data.mapping == "sruner"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_find_their_data_a_development_set_and_a_test_set(path, folder, tmp_path):
    data = data_of(str(path), folder=folder, cache=tmp_path)
    assert all(data.train.values())
    assert set(data.train) == set(parse([str(path)]).data.corpora)
    assert data.validation
    assert data.test


@pytest.mark.parametrize("corpus", SIX)
def test_each_of_the_six_alone_has_a_development_set(corpus, folder, tmp_path):
    data = data_of("sruner/paper/multitask", "--corpora", corpus, folder=folder, cache=tmp_path)
    assert list(data.train) == list(data.validation) == list(data.test) == [corpus]


def test_what_the_model_is_measured_on_in_the_cross_corpus_experiment(folder, tmp_path):
    data = data_of("sruner/paper/cross_corpus", folder=folder, cache=tmp_path)
    types = {c: {t for d in documents for t in d.annotated_types} for c, documents in data.test.items()}
    assert types == {"tmvar3_all": {"Gene"}, "medmentions_all": {"T103"}}
    assert [data.space.shared_types_of(c) for c in types] == [["Gene"], ["Chemical"]]
    assert len(data.test["medmentions_all"]) == 6  # all three splits
    assert list(data.validation) == ["biored", "scai_chemicals", "scai_disease"]
    assert len(data.train) == 9  # Table 9
