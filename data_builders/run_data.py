"""The documents of one run: named corpora, the generated ones and the user's own files, without overlap."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import LabelSpace, nearest

from .builder import load_corpus
from .corpora import CORPORA
from .demo import DEMO_LABEL_SPACE, load_demo_corpora
from .formats import ReadReport, read_documents
from .mapping import load_label_mapping
from .options import DataOptions
from .overlap import OverlapReport, article_key, part_overlap
from .parts import RunDataError, Splits, add_parts, check_name, read_parts, told_apart
from .synonyms import CORPORA_SOURCE, Synonyms, collect, coverage, coverage_table, mention_texts

logger = logging.getLogger(__name__)

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass
class RunData:
    """What a run trains on, chooses its checkpoint by, and is measured on: corpus → documents, native types."""

    train: Splits
    validation: Splits
    test: Splits
    space: LabelSpace
    overlap: OverlapReport
    faults: ReadReport

    def sizes(self) -> dict:
        """Documents and mentions (native types) of each split, JSON-ready; `ids`: a digest of their ids in their order;
        `declared`: set of types → how many documents annotate just these, where some don't annotate all of their corpus's."""
        return {
            split: {
                c: {"documents": len(d), "mentions": sum(len(x.mentions) for x in d), "ids": _digest(d)}
                | self._declared(d)
                for c, d in part.items()
            }
            for split, part in ((TRAIN, self.train), (VALIDATION, self.validation), (TEST, self.test))
        }

    def _declared(self, documents: list[Document]) -> dict[str, dict[str, int]]:
        sets = Counter(tuple(self.space.annotated_types(d)) for d in documents)
        if set(sets) <= {tuple(self.space.native_types(d.corpus)) for d in documents}:
            return {}
        return {"declared": {", ".join(own) or "no type": count for own, count in sets.most_common()}}

    def summary(self) -> str:
        """What was read, what was wrong with it, and what was taken out of training, readable."""
        lines = [
            f"{corpus}/{split}: {size['documents']} documents, {size['mentions']} mentions"
            + "".join(f"; {count} annotate {own} only" for own, count in size.get("declared", {}).items())
            for split, part in self.sizes().items()
            for corpus, size in part.items()
        ]
        faults = [self.faults.summary()] if self.faults.counts else []
        return "\n".join([*lines, *faults, self.overlap.summary()])

    def check_trainable(self) -> None:
        """Raises RunDataError if no document is left to train on."""
        if not self.train:
            raise RunDataError("nothing to train on: name --corpora with a training split, or give --train_file")
        if not any(self.train.values()):
            raise RunDataError(
                "nothing to train on: every training document is in an evaluation split of the run (see --overlap)"
            )
        if not any(self.space.annotated_types(d) for part in self.train.values() for d in part):
            raise RunDataError(
                "nothing to train on: every training document declares annotated_types [], so that nothing is known of any "
                "type; name the types that are annotated exhaustively, or leave the key out where they are the corpus's"
            )


def load_run_data(options: DataOptions, seed: int = 42, teachers: bool = False) -> RunData:
    """Reads everything a run needs and takes overlapping documents out of training; a summary is logged.

    Args:
        options: which documents, in which roles.
        seed: draws subsets and the validation share.
        teachers: whether the run has any; they may know types of --types that no corpus has.
    Raises:
        RunDataError: no corpus at all, an unknown corpus, a split that a corpus doesn't have, a wrong --parts.
    """
    faults = ReadReport()
    names = list(dict.fromkeys([*options.corpora, *(options.test_corpora or []), *(options.validation_corpora or [])]))
    demo = list(DEMO_LABEL_SPACE.corpora)
    names = [n for name in names for n in (demo if name == "demo" else [name])]
    own = {options.corpus_name: [*files]} if (files := _file_options(options)) else {}
    known = [*CORPORA, *demo, "demo", *own, *(options.parts or {})]
    for name in names:
        if name not in known:
            raise RunDataError(f"unknown corpus {name!r}{nearest(name, known)}")
    if own:
        check_name("--corpus_name", options.corpus_name)
    if own and options.corpus_name in (*CORPORA, *demo, "demo"):
        raise RunDataError(
            f"--corpus_name: {options.corpus_name!r} is a corpus of this package; name your files otherwise"
        )
    parts = read_parts(options.parts, names, own)
    sources = list(dict.fromkeys(parts[n].of if n in parts else n for n in names))
    # The user's files are in the run without being named, but where they only serve to make parts.
    implied = [n for n in own if n not in {p.of for p in parts.values()}]
    documents: dict[str, Splits] = {}
    if set(sources) & set(demo):
        generated = load_demo_corpora()
        documents |= {n: generated[n] for n in sources if n in demo}
    for name in sources:
        if name in CORPORA:
            documents[name] = load_corpus(name, data_dir=options.data_dir, cache_dir=options.cache_dir, report=faults)
    spaces = [_published_space(sources, options), DEMO_LABEL_SPACE.restricted_to([n for n in sources if n in demo])]
    if own:
        documents[options.corpus_name] = _own_files(options, faults)
        spaces.append(_own_space(options, documents[options.corpus_name], spaces[0]))
        documents[options.corpus_name] = _of_known_types(documents[options.corpus_name], spaces[-1])
    if not documents:
        raise RunDataError("no data: name --corpora (e.g. demo, biored) or give --train_file / --test_file")
    space = LabelSpace({c: t for s in spaces for c, t in s.corpora.items()})
    documents, space = add_parts(documents, space, parts, [*names, *implied], seed)
    space = _limit_types(space, options.types, teachers)
    trained = dict.fromkeys(_expand(options.corpora, demo) + (implied if options.train_file else []))
    if options.merge_validation:
        documents |= {c: _merged(documents[c]) for c in trained}
    train = {c: list(documents[c].get(TRAIN, [])) for c in trained}
    for corpus in [c for c, part in train.items() if not part]:
        logger.warning("%s has no training split here; it is only evaluated", corpus)
        del train[corpus]
    validation = _chosen(documents, _expand(options.validation_corpora, demo), VALIDATION, implied)
    test = _chosen(documents, _expand(options.test_corpora, demo), TEST, implied)
    if options.validation_fraction and not validation:
        validation = _hold_out(train, options.validation_fraction, seed)
    evaluation = {f"{c}/{VALIDATION}": d for c, d in validation.items()} | {f"{c}/{TEST}": d for c, d in test.items()}
    measured = [*dict.fromkeys(name.rpartition("/")[0] for name in evaluation)]
    for corpus in options.overlap_modes():
        if corpus and corpus not in measured:
            raise RunDataError(
                f"--overlap: this run has no evaluation documents of {corpus!r}{nearest(corpus, measured)}"
            )
    modes = {name: options.overlap_mode(name.rpartition("/")[0]) for name in evaluation}
    train, evaluation, overlap = part_overlap(train, evaluation, modes, labels=space)
    validation = {c: evaluation[f"{c}/{VALIDATION}"] for c in validation if evaluation[f"{c}/{VALIDATION}"]}
    test = {c: evaluation[f"{c}/{TEST}"] for c in test if evaluation[f"{c}/{TEST}"]}
    train = _subsets(train, options.max_train_documents or {}, seed)
    empty = [c for c, part in train.items() if not part]
    for corpus in empty if len(empty) < len(train) else ():
        logger.warning("%s has no training documents left: all are evaluation documents; it teaches nothing", corpus)
        del train[corpus]
    data = RunData(train, validation, test, space, overlap, faults)
    logger.info("%s", data.summary())
    return data


def _digest(documents: list[Document]) -> str:
    names = "\0".join(f"{d.id}#{d.index}" for d in documents)
    return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _expand(names: Iterable[str] | None, demo: list[str]) -> list[str]:
    return [n for name in names or [] for n in (demo if name == "demo" else [name])]


def _published_space(names: list[str], options: DataOptions) -> LabelSpace:
    scheme = options.mapping
    space = load_label_mapping(scheme=scheme)
    return space.restricted_to([n for n in names if n in CORPORA])


def _file_options(options: DataOptions) -> dict[str, str]:
    """Split → the user's file."""
    files = {TRAIN: options.train_file, VALIDATION: options.validation_file, TEST: options.test_file}
    return {split: path for split, path in files.items() if path}


def _own_files(options: DataOptions, faults: ReadReport) -> Splits:
    splits, reading = {}, options.reading(*_file_options(options).values())
    for split, path in _file_options(options).items():
        documents = read_documents(
            path, corpus=options.corpus_name, policy=options.policy or "strict", report=faults, **reading
        )
        splits[split] = [_own(document, options) for document in documents]
        if not splits[split]:
            raise RunDataError(f"--{split}_file: {path} holds no document")
    return splits


def _own(document: Document, options: DataOptions) -> Document:
    """A document of the user's corpus; its id names an article where the user says so."""
    article = document.article
    if options.article_ids and not article_key(article)[0]:
        article = f"{options.article_ids}:{article}"
    return replace(document, corpus=options.corpus_name, article=article)


def _own_space(options: DataOptions, splits: Splits, published: LabelSpace) -> LabelSpace:
    """The user's types: given, or found and declared; each shared under its own name unless a mapping table says otherwise."""
    documents = [d for part in splits.values() for d in part]
    found = dict.fromkeys(m.type for d in documents for m in d.mentions)
    found |= dict.fromkeys(t for d in documents for t in sorted(d.annotated_types or ()))
    types = options.corpus_types or list(found)
    missing = [t for t in found if t not in types]
    if missing:
        raise RunDataError(
            f"{options.corpus_name}: the files annotate {', '.join(missing)}, which --corpus_types doesn't name"
            f"{nearest(missing[0], types)}"
        )
    if not types:
        raise RunDataError(
            f"{options.corpus_name}: no mentions and no annotated_types in the files, so give --corpus_types"
        )
    if options.extra_mapping:
        space = load_label_mapping(scheme=options.mapping, extra=options.extra_mapping)
        if options.corpus_name not in space.corpora:
            raise RunDataError(f"{options.extra_mapping} has no rows for {options.corpus_name!r}")
        for name in types:
            space.shared(options.corpus_name, name)  # an unmapped type is an error
        return space.restricted_to([options.corpus_name])
    return LabelSpace({options.corpus_name: {t: t for t in types}})


def _of_known_types(splits: Splits, space: LabelSpace) -> Splits:
    """The documents without `unclear` mentions of types that the files don't annotate: nothing is taught there."""
    made, dropped = {}, 0
    for split, documents in splits.items():
        made[split] = []
        for document in documents:
            kept = tuple(m for m in document.unclear if m.type in space.native_types(document.corpus))
            dropped += len(document.unclear) - len(kept)
            made[split].append(replace(document, unclear=kept))
    if dropped:
        logger.warning("%d unclear mentions have no effect: the files don't annotate their types", dropped)
    return made


def _limit_types(space: LabelSpace, types: list[str] | None, teachers: bool) -> LabelSpace:
    if not types:
        return space
    for name in types:
        if name not in space.shared_types and not teachers:
            raise RunDataError(f"--types: no corpus of the run has type {name!r}{nearest(name, space.shared_types)}")
    return LabelSpace({c: {n: s if s in types else None for n, s in own.items()} for c, own in space.corpora.items()})


def _chosen(documents: dict[str, Splits], names: list[str], split: str, implied: list[str]) -> Splits:
    """The named corpora's split and the user's own, or that of every corpus of the run that has one."""
    if names:
        for name in names:
            if not documents[name].get(split):
                raise RunDataError(f"{name} has no {split} split; it has {', '.join(documents[name])}")
        return {n: documents[n][split] for n in [*names, *implied] if documents[n].get(split)}
    return {name: splits[split] for name, splits in documents.items() if splits.get(split)}


def _merged(splits: Splits) -> Splits:
    """Training and validation documents as one training split."""
    both = told_apart([*splits.get(TRAIN, []), *splits.get(VALIDATION, [])])
    return {s: d for s, d in splits.items() if s not in (TRAIN, VALIDATION)} | ({TRAIN: both} if both else {})


def _hold_out(train: Splits, fraction: float, seed: int) -> Splits:
    """Moves a share of the articles of each training corpus to validation, records of one article together."""
    validation = {}
    for corpus, documents in train.items():
        articles = sorted({d.article for d in documents})
        random.Random(seed).shuffle(articles)
        held = set(articles[: round(len(articles) * fraction)])
        validation[corpus] = [d for d in documents if d.article in held]
        train[corpus] = [d for d in documents if d.article not in held]
    return {c: d for c, d in validation.items() if d}


def draw_synonyms(train: Splits, sources: list[str], limit: int | None, seed: int) -> dict[str, tuple[str, ...]]:
    """The other names of the training documents' mentions, or up to `limit`, drawn by the seed; how many have one is logged.

    Args:
        train: corpus → training documents.
        sources: as for `find_synonyms`.
    """
    documents = [d for part in train.values() for d in part]
    found = find_synonyms(sources, documents, mention_texts(documents))
    report = coverage(found, {corpus: {TRAIN: part} for corpus, part in train.items()})
    logger.info("%s", coverage_table(report))
    draw = random.Random(seed)
    chosen = {text: found[text] for text in sorted(found)}
    few = {t for t, names in chosen.items() if limit is None or len(names) <= limit}
    return {t: names if t in few else tuple(sorted(draw.sample(names, limit))) for t, names in chosen.items()}


def find_synonyms(sources: list[str], training: list[Document], wanted: set[str]) -> Synonyms:
    """The synonyms of the wanted texts from sources named as in --synonyms.

    Args:
        sources: `corpora` (the training documents), an MRCONSO.RRF file, OBO files.
        training: the run's training documents.
        wanted: normalised texts (`mention_texts`).
    Raises:
        RunDataError: something that is no source, or two UMLS files.
        SynonymError: a file that can't be read.
    """
    files = [name for name in sources if name != CORPORA_SOURCE]
    umls = [name for name in files if ".rrf" in name.lower()]
    if len(umls) > 1:
        raise RunDataError(f"--synonyms: expected one MRCONSO.RRF file, got {', '.join(umls)}")
    for name in files:
        if name not in umls and not name.lower().endswith(".obo"):
            raise RunDataError(
                f"--synonyms: {name!r} is no source; expected {CORPORA_SOURCE}, a file MRCONSO.RRF (or .RRF.gz) or *.obo"
            )
    source = training if CORPORA_SOURCE in sources else []
    return collect(source, wanted, umls=umls[0] if umls else None, obo=[n for n in files if n not in umls])


def _subsets(train: Splits, sizes: dict[str, int], seed: int) -> Splits:
    """Draws the training subsets of section 3.2 of AIONER (Figure 3); larger subsets contain the smaller ones.

    Raises:
        RunDataError: a corpus that is not trained on, or that has fewer documents.
    """
    for corpus, size in sizes.items():
        if corpus not in train:
            raise RunDataError(f"--max_train_documents: {corpus!r} is not trained on{nearest(corpus, train)}")
        if size < 1:
            raise RunDataError(f"--max_train_documents: {size} documents of {corpus}; expected 1 or more")
        if size > len(train[corpus]):
            raise RunDataError(
                f"--max_train_documents: {corpus} has {len(train[corpus])} training documents here, fewer than {size}; "
                "--merge_validation adds those of its validation split"
            )
        order = list(range(len(train[corpus])))
        random.Random(seed).shuffle(order)
        train[corpus] = [train[corpus][i] for i in sorted(order[:size])]
    return train
