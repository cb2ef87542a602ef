"""What the decoders of joint information bottleneck models generate from gold mentions (Nguyen et al. 2023, section 5.3):
BLEU-2 of reconstructed spans (their Table 7) and of synonyms, each beside that of untrained decoders, and examples (Table 8).
Needs sacrebleu: `pip install 'mosaic-ner[analysis]'`.

mosaic-ner generation outputs/reco outputs/all --corpora mtl_ncbi_disease --output outputs/generation

A model reads every gold span of the split in its context. Its decoder chooses each word greedily from z₁ = μ₁, or from
z₂ = μ₂ for synonyms. `--output` gets generation.json and generation.md, which hold text of the corpora.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.extras import require
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import TEST, VALIDATION, RunData, find_synonyms, load_run_data
from mosaic_ner.data_builders.synonyms import mention_texts
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.modeling.words import words_of
from mosaic_ner.prediction.folders import load_config
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.results import versions, without_local_paths, write_json

from .decoders import LONGEST, Generated, Key, Words, generate, gold_spans
from .generation_report import draw_examples, measure, tables

logger = logging.getLogger(__name__)

SHOWN_OPTIONS = ("max_span_width", "units", "latent_size", "decoder_size", "word_size", "beta", "gamma")
SHOWN_OPTIONS += ("generate_synonyms", "tied")
"""What the report says of a model, beside the size of its vocabulary."""


class GenerationError(UserError):
    """An analysis that can't be done: a model without decoders, a split without documents, no folder to write to."""


def check_model(name: str) -> JointIBConfig:
    """The config of a model that can generate.

    Raises:
        ModelError: there is no such model. GenerationError: it has no decoders.
    """
    config = load_config(name, "MODEL")
    expected = f"expected a {JointIBConfig.model_type!r} model (--family joint_ib)"
    if config.model_type != JointIBConfig.model_type:
        raise GenerationError(f"{name} holds a {config.model_type!r} model, which has no decoders; {expected}")
    if config.inference_only:
        raise GenerationError(
            f"{name} was saved for inference only, without its decoders; {expected} saved as a whole: train with "
            "--inference_only false, or name a checkpoint of the run"
        )
    if not config.gamma or not config.vocabulary:
        without = (
            "the generative losses (--gamma 0)" if config.vocabulary else "mentions, so its decoders have no words"
        )
        raise GenerationError(f"{name} was trained without {without}; {expected} with decoders")
    return config


def analyse(options: argparse.Namespace) -> dict:
    """The report of the command line's options, JSON-ready.

    Returns:
        `settings`; `models`: what each one is; `corpora`: of each `documents`, `mentions`, `mentions_with_synonyms`, `models`
        (`represented`, `lost` by cause, `unknown_words` and what `measure` gives) and `examples`; `versions`.
    Raises:
        UserError: a missing package, model, corpus or file, or a model without decoders.
    """
    require("analysis", "BLEU", "sacrebleu")
    models = _names(options.models)
    configs = {name: check_model(model) for name, model in models.items()}
    data = _load(options)
    splits = data.validation if options.split == VALIDATION else data.test
    gold = {corpus: gold_spans(documents) for corpus, documents in splits.items()}
    known: dict[str, dict[Key, list[Words]] | None] = dict.fromkeys(splits)
    if options.synonyms:
        if not any(config.generate_synonyms for config in configs.values()):
            logger.warning("--synonyms: none of the models generates synonyms")
        training = [document for documents in data.train.values() for document in documents]
        known |= _known_synonyms(options.synonyms, training, splits, gold)
    generated: dict[str, dict[str, dict[Key, Generated]]] = {corpus: {} for corpus in splits}
    lost: dict[tuple[str, str], Counter[str]] = {}
    for name, path in models.items():
        model, tokenizer = load(path)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        predictor = MentionPredictor(model, tokenizer, options.batch_size)
        for corpus, documents in splits.items():
            generated[corpus][name], lost[corpus, name] = generate(predictor, corpus, documents, options.seed)
            got = len(generated[corpus][name])
            logger.info("%s: %s: %d of %d gold mentions are in its span grid", name, corpus, got, len(gold[corpus]))
    corpora = {}
    for corpus, own in generated.items():
        corpora[corpus] = {
            "documents": len(splits[corpus]),
            "mentions": len(gold[corpus]),
            "mentions_with_synonyms": None if known[corpus] is None else len(known[corpus]),
            "models": {
                name: {"represented": len(found), "lost": dict(sorted(lost[corpus, name].items()))}
                | {"unknown_words": _unknown(configs[name], [gold[corpus][key] for key in found])}
                | measure(gold[corpus], found, known[corpus])
                for name, found in own.items()
            },
            "examples": draw_examples(gold[corpus], own, options.examples, f"{options.seed} {corpus}"),
        }
    return {
        "settings": _settings(options),
        "models": {
            name: {key: getattr(config, key) for key in SHOWN_OPTIONS} | {"vocabulary": len(config.vocabulary)}
            for name, config in configs.items()
        },
        "corpora": corpora,
        "versions": versions() | {"sacrebleu": version("sacrebleu")},
    }


def _names(models: list[str]) -> dict[str, str]:
    """Name to publish → model as given. A folder goes by its own name, numbered where several have it."""
    out: dict[str, str] = {}
    for model in models:
        short = name = Path(model).resolve().name if Path(model).exists() else model
        number = 1
        while name in out:
            number += 1
            name = f"{short} ({number})"
        out[name] = model
    return out


def _load(options: argparse.Namespace) -> RunData:
    where = {"corpora": options.corpora, "data_dir": options.data_dir, "cache_dir": options.cache_dir}
    if not options.validation_fraction:
        named = "validation_corpora" if options.split == VALIDATION else "test_corpora"
        return load_run_data(DataOptions(**where, **{named: options.corpora}), options.seed)
    data = load_run_data(DataOptions(**where, validation_fraction=options.validation_fraction), options.seed)
    if missing := [name for name in options.corpora if name not in data.validation]:
        there = ", ".join(data.validation) or "none"
        raise GenerationError(
            f"--validation_fraction {options.validation_fraction}: nothing is held out of {', '.join(missing)}; validation "
            f"documents there are of: {there}. Training articles are held out where no corpus has a validation split"
        )
    return data


def _known_synonyms(
    sources: list[str], training: list[Document], splits: dict[str, list[Document]], gold: dict[str, dict[Key, Words]]
) -> dict[str, dict[Key, list[Words]]]:
    """Corpus → gold span → the synonyms that the sources know. Spans without any are left out."""
    found = find_synonyms(sources, training, mention_texts(d for documents in splits.values() for d in documents))
    known: dict[str, dict[Key, list[Words]]] = {}
    for corpus, documents in splits.items():
        texts = {key: found.get(documents[key[0]].text[key[1] : key[2]], ()) for key in gold[corpus]}
        known[corpus] = {key: [words_of(name) for name in names] for key, names in texts.items() if names}
    return known


def _unknown(config: JointIBConfig, names: list[Words]) -> float | None:
    """The share of the words that the vocabulary lacks, 0..1. The decoders can't generate them."""
    vocabulary = set(config.vocabulary)
    words = [word not in vocabulary for name in names for word in name]
    return sum(words) / len(words) if words else None


def _settings(options: argparse.Namespace) -> dict:
    """The options of the report."""
    names = ("corpora", "split", "validation_fraction", "data_dir", "synonyms", "examples", "seed", "batch_size")
    settings = without_local_paths({name: getattr(options, name) for name in names})
    settings["synonyms"] = [*without_local_paths(dict(enumerate(options.synonyms or []))).values()]
    return settings | {"longest": LONGEST}


def main(argv: list[str] | None = None) -> None:
    """Command line: prints the tables, and writes them and their figures."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner generation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folders or Hub ids of trained joint_ib models")
    parser.add_argument("--corpora", nargs="+", required=True, help="by name, e.g. mtl_ncbi_disease genia; or demo")
    parser.add_argument("--data_dir", help="folder with the corpora's files; without it they are downloaded")
    parser.add_argument("--cache_dir", help="cache of the built corpora; default: that of datasets")
    parser.add_argument("--split", choices=(VALIDATION, TEST), default=VALIDATION, help="default: validation")
    parser.add_argument(
        "--validation_fraction",
        type=float,
        default=0.0,
        help="for corpora without a validation split: the share of the training articles that the models' run held out; "
        "--seed has to be the run's too",
    )
    parser.add_argument("--examples", type=int, default=10, help="examples per corpus (default: 10)")
    parser.add_argument(
        "--synonyms",
        nargs="+",
        help="what generated synonyms are compared with: corpora (the training documents' identifiers), a UMLS MRCONSO.RRF "
        "file, OBO files; default: nothing",
    )
    parser.add_argument("--output", type=Path, help="folder for generation.json and generation.md; default: only print")
    parser.add_argument("--seed", type=int, default=42, help="draws examples and untrained decoders (default: 42)")
    parser.add_argument("--batch_size", type=int, default=16, help="windows per batch (default: 16)")
    options = parser.parse_args(argv)
    for name, least in (("examples", 0), ("batch_size", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}; expected {least} or more")
    if not 0 <= options.validation_fraction < 1:
        parser.error(f"--validation_fraction is {options.validation_fraction}; expected a share from 0 to below 1")
    if options.validation_fraction and options.split != VALIDATION:
        parser.error("--validation_fraction is for --split validation")
    log_progress()
    with one_message("generation"):
        if options.output:
            _make(options.output)  # before anything is computed
        report = analyse(options)
    text = tables(report)
    if options.output:
        write_json(options.output / "generation.json", report)
        (options.output / "generation.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenerationError(f"--output: {str(folder)!r} can't be made a folder ({error.strerror})") from error


if __name__ == "__main__":
    main()
