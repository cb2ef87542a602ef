"""What the decoders of joint information bottleneck models generate from gold mentions (Nguyen et al. 2023, section 5.3):
BLEU-2 of the reconstructions (their Table 7) beside that of untrained decoders, the same for synonyms, and examples (Table
8). Needs sacrebleu: `pip install 'mosaic-ner[analysis]'`.

python -m mosaic_ner.analysis.generation outputs/reco outputs/all --corpora mtl_ncbi_disease --output outputs/generation

Every gold span of the split goes through the model in its context; the decoder chooses each word greedily from z₁ = μ, or
z₂ = μ for synonyms. `--output` gets generation.json and generation.md, which hold text of the corpora.
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from mosaic_ner.data_builders.builder import MissingFileError
from mosaic_ner.data_builders.console import log_progress
from mosaic_ner.data_builders.corpora import CorpusError
from mosaic_ner.data_builders.formats import FormatError
from mosaic_ner.data_builders.run_data import TEST, VALIDATION, RunData, RunDataError, find_synonyms, load_run_data
from mosaic_ner.data_builders.synonyms import SynonymError, mention_texts
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.modeling_joint_ib import PAD, UNKNOWN, SpanGenerator, words_of
from mosaic_ner.modeling.units import find_units
from mosaic_ner.modeling.windowing import CAUSES, align, lost_by_windows
from mosaic_ner.prediction.folders import load_config
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training.arguments import DataArguments
from mosaic_ner.training.results import versions, without_local_paths, write_json

from .markdown import markdown_table

logger = logging.getLogger(__name__)

LONGEST = 40
"""Words after which a decoder is stopped that doesn't stop by itself."""
SHOWN = 15
"""Words of an example that the table shows."""
UNKNOWN_WORD = "[UNK]"
"""How the decoders' word for all others is written; `words_of` makes no such word, so it is always wrong."""

Key = tuple[int, int, int]
"""(document's number, start, end): a gold span."""
Words = list[str]


class GenerationError(ValueError):
    """An analysis that can't be done: a missing package, a model without decoders, a folder that can't be written to."""


USER_ERRORS = (GenerationError, RunDataError, FormatError, LabelError, CorpusError, MissingFileError, ModelError)
USER_ERRORS += (SynonymError,)


class Generated(NamedTuple):
    """What one model generates from one gold span, and what its decoders would if they weren't trained; None without
    synonyms."""

    span: Words
    untrained: Words
    synonym: Words | None = None
    untrained_synonym: Words | None = None


# ---- generation


def gold_spans(documents: list[Document]) -> dict[Key, Words]:
    """The words of each gold span, in reading order. A span of several types is one, as in training."""
    return {
        (number, m.start, m.end): words_of(document.surface(m))
        for number, document in enumerate(documents)
        for m in sorted(document.mentions)
    }


def untrained_generator(model, seed: int) -> SpanGenerator:
    """A generator as the model's own was before training, on the model's device and in its precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = SpanGenerator(model.config).apply(model._init_weights)
    return fresh.to(model.device, model.dtype).eval()


@torch.inference_mode()
def generate(
    predictor: MentionPredictor, corpus: str, documents: list[Document], seed: int
) -> tuple[dict[Key, Generated], Counter]:
    """What a model generates from the gold spans, each in its window.

    Args:
        predictor: of a JointIBForNER that has its `generator`.
        corpus: the documents' corpus.
        seed: of the untrained decoders.
    Returns:
        what is generated from each span that the model's grid has, in reading order; the others by cause (see `CAUSES`).
    """
    model = predictor.model
    training = model.training
    model.eval()
    requests, keys, lost = _requests(predictor, corpus, documents)
    fresh = untrained_generator(model, seed)
    found: dict[Key, Generated] = {}
    for numbers in predictor.batches(requests):
        batch = pad_batch([requests[i].features for i in numbers], predictor.pad_token_id)
        names = ("input_ids", "attention_mask", "unit_starts", "unit_ends", "cells")
        spans = model.span_vectors(**{name: batch[name].to(model.device) for name in names})
        columns = []
        for synonyms in (False, True) if model.generator.synonyms is not None else (False,):
            for generator in (model.generator, fresh):
                columns.append(_spelt(generator.generate(spans, LONGEST, synonyms).tolist(), model.config.vocabulary))
        rows = zip(*columns, strict=True)
        found |= {key: Generated(*row) for key, row in zip((k for i in numbers for k in keys[i]), rows, strict=True)}
    model.train(training)
    return {key: found[key] for key in sorted(found)}, lost


def _requests(predictor: MentionPredictor, corpus: str, documents: list[Document]):
    """The windows that have a gold span, with its `cells` among their features; their keys; the spans lost by cause."""
    model, widest = predictor.model, predictor.model.config.max_span_width
    task = model.tasks_for(corpus)[0]  # the encoder's input is the same for all of a model's tasks
    requests: list[Request] = []
    keys: list[list[Key]] = []
    lost: Counter = Counter()
    for number, windows in enumerate(predictor.windower([d.text for d in documents])):
        document = documents[number]
        spans = {(m.start, m.end): Mention(m.start, m.end, "") for m in document.mentions}
        document = document.with_mentions(spans.values())
        causes = lost_by_windows(document, windows)
        lost.update(causes.values())
        for window in windows:
            units = find_units(window, model.config.boundaries)
            starts = {start: unit for unit, (start, _) in enumerate(units)}
            ends = {end: unit for unit, (_, end) in enumerate(units)}
            cells = {}
            for span, m in align(window, [m for m in document.mentions if m not in causes and window.owns(m)]):
                first, last = starts.get(span.start), ends.get(span.end)
                if first is None or last is None:
                    lost["unit_boundary"] += 1
                elif last - first >= widest:
                    lost["too_wide"] += 1
                else:
                    cells[number, m.start, m.end] = first * widest + last - first
            if cells:
                requests.append(Request(window, task, model.features(window, task) | {"cells": [*cells.values()]}))
                keys.append([*cells])
    return requests, keys, lost


def _spelt(rows: list[list[int]], vocabulary: list[str]) -> list[Words]:
    """The words of numbers as `SpanGenerator.generate` gives them."""
    return [
        [UNKNOWN_WORD if word <= UNKNOWN else vocabulary[word - UNKNOWN - 1] for word in row if word != PAD]
        for row in rows
    ]


# ---- figures


def score(generated: list[Words], references: list[list[Words]]) -> dict:
    """BLEU-2 of generated names against one or more references each, over all of them together, by sacrebleu.

    N-grams are counted over the whole corpus: a name of one word adds to the single words and has no pair to add. No
    smoothing, which only changes a score without any right pair: that is 0 here, as it is where no name has two words. No
    effective order: it is for single sentences. Words are compared as they are, with their case.

    Returns:
        `bleu2`, `precisions` (words, pairs), `brevity_penalty` and `exact_match` (the share that equals a reference), all
        0..1 (sacrebleu's are percentages, the paper's BLEU is 0..1); `scored`, `one_word` (names whose references all are
        one word), `signature` (sacrebleu's; of 2-grams). Shares are None where there is nothing to score.
    """
    from sacrebleu.metrics import BLEU

    count = {"scored": len(generated), "one_word": sum(max(map(len, names)) == 1 for names in references)}
    if not generated:
        return {"bleu2": None, "exact_match": None} | count
    bleu = BLEU(max_ngram_order=2, tokenize="none", smooth_method="none", effective_order=False, force=True)
    most = max(map(len, references))
    streams = [[" ".join(names[i]) if i < len(names) else None for names in references] for i in range(most)]
    result = bleu.corpus_score([" ".join(words) for words in generated], streams)
    exact = sum(words in names for words, names in zip(generated, references, strict=True))
    return {
        "bleu2": result.score / 100,
        "exact_match": exact / len(generated),
        "precisions": [p / 100 for p in result.precisions],
        "brevity_penalty": result.bp,
        "signature": str(bleu.get_signature()),
    } | count


def measure(gold: dict[Key, Words], generated: dict[Key, Generated], synonyms: dict[Key, list[Words]] | None) -> dict:
    """The figures of one model on one corpus, JSON-ready.

    Args:
        gold: all gold spans. generated: from those that the model's grid has.
        synonyms: the names that count as right synonyms of a span; spans without any aren't there. None: not looked up.
    Returns:
        `reconstruction` and `synonyms`, each as `score` with `untrained` beside, the score of untrained decoders; `synonyms` is
        None where the model generates none or there is nothing to compare them with.
    """
    names = [[gold[key]] for key in generated]
    out: dict = {
        "reconstruction": score([g.span for g in generated.values()], names)
        | {"untrained": score([g.untrained for g in generated.values()], names)},
        "synonyms": None,
    }
    known = [key for key in generated if synonyms and key in synonyms and generated[key].synonym is not None]
    if known:
        names = [synonyms[key] for key in known]
        out["synonyms"] = score([generated[k].synonym for k in known], names)
        out["synonyms"]["untrained"] = score([generated[k].untrained_synonym for k in known], names)
    return out


def draw_examples(
    gold: dict[Key, Words], generated: dict[str, dict[Key, Generated]], count: int, seed: str
) -> list[dict]:
    """Distinct names (the first mention of each), half of them where the models differ and half where they agree, as far as
    there are; of a single model, where it differs from the name and where it agrees with it.

    Args:
        generated: model → what it generates; only spans that all models' grids have are drawn.
        seed: draws them.
    Returns:
        in reading order, those that differ first: `{"span", "differ", "models": {model: {"span", "synonym"}}}`.
    """
    first: dict[tuple[str, ...], Key] = {}
    for key, words in gold.items():
        if all(key in own for own in generated.values()):
            first.setdefault(tuple(words), key)
    groups: dict[bool, list[Key]] = {True: [], False: []}
    for words, key in first.items():
        texts = {tuple(own[key].span) for own in generated.values()} | ({words} if len(generated) == 1 else set())
        groups[len(texts) > 1].append(key)
    differ = min(len(groups[True]), max((count + 1) // 2, count - len(groups[False])))
    sizes = {True: differ, False: min(len(groups[False]), count - differ)}
    draw = random.Random(seed)
    return [
        {
            "span": " ".join(gold[key]),
            "differ": group,
            "models": {
                name: {
                    "span": " ".join(own[key].span),
                    "synonym": None if own[key].synonym is None else " ".join(own[key].synonym),
                }
                for name, own in generated.items()
            },
        }
        for group, keys in groups.items()
        for key in sorted(draw.sample(keys, sizes[group]))
    ]


# ---- tables

HEADER = """# What the decoders generate

From the gold mentions of the {split} documents, each in its context, greedily from the mean of its latent. BLEU-2 is
sacrebleu's, over all mentions of a corpus, divided by 100 to be 0 to 1 as in the paper: words and pairs of words are counted
over the whole corpus (a mention of one word has no pair), without smoothing and without effective order, with their case; a
word that the vocabulary lacks is an error. *Untrained*: the same decoder before training (seed {seed}), on the same encoder.
*Exact*: the share of mentions generated word for word. A mention of several types counts once. Written by
`python -m mosaic_ner.analysis.generation`.
"""
SYNONYMS = """## Synonyms

Only mentions with a known synonym ({sources}) are scored, against all of them.
"""
EXAMPLES = """## Examples

Drawn by the seed: first where {difference}, then where not. They are texts of the corpora, under the corpora's licences.
"""


def tables(report: dict) -> str:
    """A report (see `main`) as Markdown."""
    settings, models = report["settings"], [*report["models"]]
    parts = [HEADER.format(**settings), "## Reconstruction of spans (Table 7)\n"]
    parts += [_score_table(report, "reconstruction", models), *_losses(report)]
    generating = [n for n in models if any(r["models"][n]["synonyms"] for r in report["corpora"].values())]
    if generating:
        sources = ", ".join(settings["synonyms"])
        parts += [SYNONYMS.format(sources=sources), _score_table(report, "synonyms", generating)]
    examples = {corpus: own["examples"] for corpus, own in report["corpora"].items() if own["examples"]}
    if examples:
        many = "the models differ" if len(models) > 1 else "the reconstruction differs from the span"
        parts.append(EXAMPLES.format(difference=many))
        spelling = [name for name in models if report["models"][name]["synonyms"]]
        for corpus, rows in examples.items():
            header = ["Original span", *models, *(f"{name}: synonym" for name in spelling)]
            cells = [
                [row["span"], *(row["models"][n]["span"] for n in models)]
                + [row["models"][n]["synonym"] for n in spelling]
                for row in rows
            ]
            parts += [f"### {corpus}\n", markdown_table(header, [[_cell(c) for c in row] for row in cells]) + "\n"]
    return "\n".join(parts)


def _score_table(report: dict, what: str, models: list[str]) -> str:
    header = [
        "corpus",
        *(f"{n}{column}" for n in models for column in (": BLEU-2", ", untrained", ", exact", ", scored")),
    ]
    rows = []
    for corpus, own in report["corpora"].items():
        row = [corpus]
        for name in models:
            got = own["models"][name][what] or {
                "bleu2": None,
                "exact_match": None,
                "scored": 0,
                "untrained": {"bleu2": None},
            }
            row += [_figure(x) for x in (got["bleu2"], got["untrained"]["bleu2"], got["exact_match"])]
            row.append(f"{got['scored']} of {own['mentions']}")
        rows.append(row)
    return markdown_table(header, rows) + "\n"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _losses(report: dict) -> list[str]:
    """Which mentions are not scored, a line per corpus and model, then an empty one."""
    lines = []
    for corpus, own in report["corpora"].items():
        for name, row in own["models"].items():
            causes = ", ".join(f"{count} {CAUSES[cause]}" for cause, count in row["lost"].items())
            if causes:
                lines.append(f"- {corpus}, {name}: not in the model's grid and not scored: {causes}")
    return [*lines, ""] if lines else []


def _cell(text: str) -> str:
    """Words as a cell of a Markdown table; a decoder that doesn't end is cut short, in the table only."""
    words = text.split()
    short = [*words[:SHOWN], "…"] if len(words) > SHOWN else words
    return re.sub(r"([\\|`<])", r"\\\1", " ".join(short)) or "*nothing*"


# ---- command line


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


def _names(models: list[str]) -> dict[str, str]:
    """Name to publish → model as given: a folder's own name, numbered where several are alike."""
    out: dict[str, str] = {}
    for model in models:
        short = name = Path(model).resolve().name if Path(model).exists() else model
        number = 1
        while name in out:
            number += 1
            name = f"{short} ({number})"
        out[name] = model
    return out


def analyse(options: argparse.Namespace) -> dict:
    """The report of the command line's options, JSON-ready.

    Returns:
        `settings`; `models`: what each one is; `corpora`: of each `documents`, `mentions`, `models` (`represented`, `lost` by
        cause, and what `measure` gives) and `examples`; `versions`.
    Raises:
        what is in `USER_ERRORS`.
    """
    try:
        import sacrebleu  # noqa: F401
    except ImportError as error:
        raise GenerationError(
            f"BLEU needs sacrebleu, and {error.name} is missing: pip install 'mosaic-ner[analysis]'"
        ) from error
    models = _names(options.models)
    configs = {name: check_model(model) for name, model in models.items()}
    data = _load(options)
    splits = data.validation if options.split == VALIDATION else data.test
    gold = {corpus: gold_spans(documents) for corpus, documents in splits.items()}
    known: dict[str, dict[Key, list[Words]] | None] = dict.fromkeys(splits)
    if options.synonyms:
        if not any(config.synonyms for config in configs.values()):
            logger.warning("--synonyms: none of the models generates synonyms")
        everything = [document for documents in splits.values() for document in documents]
        training = [document for documents in data.train.values() for document in documents]
        found = find_synonyms(options.synonyms, training, mention_texts(everything))
        for corpus, documents in splits.items():
            texts = {key: found.get(documents[key[0]].text[key[1] : key[2]], ()) for key in gold[corpus]}
            known[corpus] = {key: [words_of(name) for name in names] for key, names in texts.items() if names}
    generated: dict[str, dict[str, dict[Key, Generated]]] = {corpus: {} for corpus in splits}
    lost: dict[tuple[str, str], Counter] = {}
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
    kept = (
        "max_span_width",
        "boundaries",
        "latent_size",
        "decoder_size",
        "word_size",
        "beta",
        "gamma",
        "synonyms",
        "shared",
    )
    sources = without_local_paths(dict(enumerate(options.synonyms or []))).values()
    settings = {
        "corpora": options.corpora,
        "split": options.split,
        "validation_fraction": options.validation_fraction,
        "data_dir": options.data_dir,
        "synonyms": [*sources],
    }
    settings |= {
        "examples": options.examples,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "longest": LONGEST,
    }
    return {
        "settings": without_local_paths(settings),
        "models": {
            name: {k: getattr(config, k) for k in kept} | {"vocabulary": len(config.vocabulary)}
            for name, config in configs.items()
        },
        "corpora": corpora,
        "versions": versions() | {"sacrebleu": version("sacrebleu")},
    }


def _load(options: argparse.Namespace) -> RunData:
    where = {"corpora": options.corpora, "data_dir": options.data_dir, "cache_dir": options.cache_dir}
    if not options.validation_fraction:
        named = "validation_corpora" if options.split == VALIDATION else "test_corpora"
        return load_run_data(DataArguments(**where, **{named: options.corpora}), options.seed)
    data = load_run_data(DataArguments(**where, validation_fraction=options.validation_fraction), options.seed)
    if missing := [name for name in options.corpora if name not in data.validation]:
        there = ", ".join(data.validation) or "none"
        raise GenerationError(
            f"--validation_fraction {options.validation_fraction}: nothing is held out of {', '.join(missing)}; validation "
            f"documents there are of: {there}. Training articles are held out where no corpus has a validation split"
        )
    return data


def _unknown(config: JointIBConfig, names: list[Words]) -> float | None:
    """The share of the words that the vocabulary lacks, 0..1: these can't be generated."""
    vocabulary = set(config.vocabulary)
    words = [word not in vocabulary for name in names for word in name]
    return sum(words) / len(words) if words else None


def main(argv: list[str] | None = None) -> None:
    """Command line: prints the tables, and writes them and their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    try:
        if options.output:
            _make(options.output)  # before anything is computed
        report = analyse(options)
    except USER_ERRORS as error:
        sys.stderr.write(f"generation: error: {error}\n")
        sys.exit(2)
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
