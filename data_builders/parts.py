"""Corpora made from others (--parts): some of the types, a share of the articles, splits in other roles.

    bc5_chemical: {of: mtl_bc5cdr, types: [Chemical], articles: [0, 0.5]}
    bc5_disease: {of: mtl_bc5cdr, types: [Disease], articles: [0.5, 1]}
    genia_dev: {of: genia, train: [validation]}
    tmvar3_all: {of: tmvar3, test: [train, test]}

The first two are the synthetic halves of SRU-NER's section 3.6 (after Huang et al. 2019): corpora that disagree on what
is annotated, made from one that annotates everything, so that a model trained on both can be measured.

A part is named in the corpora options like any corpus. The corpus it is made of is read, but is itself in the run only
where it is named too.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import LabelSpace, UserError, nearest

from .corpora import CORPORA, SPLITS
from .demo import DEMO_LABEL_SPACE
from .overlap import NAMESPACES, article_key

logger = logging.getLogger(__name__)

Splits = dict[str, list[Document]]
KEYS = ("of", "types", "articles", *SPLITS)


class RunDataError(UserError):
    """A run whose data can't be put together as asked. (Here, because run_data.py imports this file.)"""


@dataclass(frozen=True)
class Part:
    """One corpus made from another.

    Attributes:
        of: the corpus it is made of.
        types: native types kept and annotated; empty for all.
        articles: [from, to), shares of the articles of each source split, in an order drawn by the run's seed.
        roles: role → the source splits put together for it. Empty for training and validation as published: the only
            roles that may be missing in the corpus.
    """

    name: str
    of: str
    types: tuple[str, ...] = ()
    articles: tuple[float, float] = (0, 1)
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()


def read_parts(
    given: dict | None, named: Iterable[str], own: dict[str, Iterable[str]] | None = None
) -> dict[str, Part]:
    """The parts of a run, checked as far as that goes before anything is read.

    Args:
        given: --parts: name → {"of": corpus, "types": [...], "articles": [from, to], role: [split, ...]}; all keys but
            the first may be left out.
        named: all names in the run's corpora options.
        own: the user's own corpus and its splits, if there is one.

    Raises:
        RunDataError: an unknown key, corpus, type or split; a range that is empty or outside 0..1; a part named like a
            corpus; a part that no corpora option names.
    """
    if given is not None and not isinstance(given, dict):
        raise RunDataError(f"--parts: expected a mapping of names to parts, got {given!r}")
    own, named = own or {}, list(named)
    parts = {name: _part(name, value) for name, value in (given or {}).items()}
    corpora = [*CORPORA, *DEMO_LABEL_SPACE.corpora, *own]
    for part in parts.values():
        if part.name in (*corpora, "demo"):
            raise RunDataError(f"--parts: {part.name!r} is the name of a corpus; name the part otherwise")
        if part.name not in named:
            raise RunDataError(
                f"--parts: {part.name!r} is in none of --corpora, --test_corpora and --validation_corpora; name it there "
                f"or leave it out{nearest(part.name, [n for n in named if n not in parts], listing=False)}"
            )
        if part.of in parts:
            raise RunDataError(
                f"--parts: {part.name!r} is made of {part.of!r}, a part; name a corpus: {parts[part.of].of!r}"
            )
        if part.of not in corpora:
            raise RunDataError(
                f"--parts: {part.name!r} is made of {part.of!r}, which is no corpus of this package, no generated one and "
                f"not that of your own files (--train_file, --corpus_name){nearest(part.of, corpora)}"
            )
        if part.of in own:
            _check_splits(part, list(own[part.of]))
        elif part.of in CORPORA:
            _check_types(part, CORPORA[part.of].types)
            _check_splits(part, CORPORA[part.of].splits)
        else:
            _check_types(part, DEMO_LABEL_SPACE.native_types(part.of))
    return parts


def add_parts(
    documents: dict[str, Splits], space: LabelSpace, parts: dict[str, Part], named: Iterable[str], seed: int
) -> tuple[dict[str, Splits], LabelSpace]:
    """The corpora of the run and their label space: those read that are `named`, then the parts.

    A part's documents keep their article ids, so that they are known for those of the corpus they are made of.

    Args:
        documents: corpus → split → documents, the sources of all parts among them.
        space: label space of these corpora.
        named: the corpora that are in the run themselves.
        seed: draws the order of the articles.

    Raises:
        RunDataError: a type or a split that isn't there, a part without a document.
    """
    documents = {**documents, **{of: _with_articles(of, documents[of]) for of in {p.of for p in parts.values()}}}
    kept = [name for name in documents if name in {*named}]
    made, rows = {}, {}
    for part in parts.values():
        row = space.corpora[part.of]
        _check_types(part, row)
        rows[part.name] = {native: shared for native, shared in row.items() if native in (part.types or row)}
        made[part.name] = _splits(part, documents[part.of], frozenset(rows[part.name]), seed)
    space = LabelSpace({**space.restricted_to(kept).corpora, **rows})
    return {name: documents[name] for name in kept} | made, space


def check_name(option: str, name: str) -> None:
    """Raises RunDataError if a corpus's name can't be part of file names, as those of corpora are."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise RunDataError(f"{option}: expected a name of letters, digits, '_', '-' and '.', got {name!r}")


def _part(name: str, value: object) -> Part:
    check_name("--parts", name)
    if not isinstance(value, dict):
        raise RunDataError(f'--parts: {name!r}: expected a mapping such as {{"of": "biored"}}, got {value!r}')
    for key in value:
        if key not in KEYS:
            raise RunDataError(f"--parts: {name!r} has an unknown key {key!r}{nearest(key, KEYS)}")
    if not isinstance(value.get("of"), str):
        raise RunDataError(
            f'--parts: {name!r}: expected the corpus it is made of, "of": "...", got {value.get("of")!r}'
        )
    roles = tuple((role, _names(name, value, role, "splits")) for role in SPLITS if value.get(role) is not None)
    types = _names(name, value, "types", "native types") if value.get("types") is not None else ()
    return Part(name, value["of"], types, _range(name, value.get("articles")), roles)


def _names(name: str, value: dict, key: str, what: str) -> tuple[str, ...]:
    found = value[key]
    if not (isinstance(found, list) and found and all(isinstance(n, str) for n in found)):
        raise RunDataError(f"--parts: {name!r}: expected a list of {what} for {key!r}, got {found!r}")
    if len(set(found)) != len(found):
        raise RunDataError(f"--parts: {name!r}: {key!r} names one of {', '.join(found)} twice; name each once")
    return tuple(found)


def _range(name: str, value: object) -> tuple[float, float]:
    if value is None:
        return (0, 1)
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        numbers = [1, 0]
    start, end = numbers
    if not 0 <= start < end <= 1:
        raise RunDataError(
            f'--parts: {name!r}: expected "articles": [from, to], shares with 0 <= from < to <= 1 (e.g. [0, 0.5]), '
            f"got {value!r}"
        )
    return start, end


def _check_types(part: Part, known: Iterable[str]) -> None:
    for name in part.types:
        if name not in known:
            raise RunDataError(
                f"--parts: {part.name!r} keeps type {name!r}, which {part.of!r} doesn't annotate; types are named as its "
                f"files spell them{nearest(name, known)}"
            )


def _check_splits(part: Part, known: list[str]) -> None:
    for role, sources in part.roles:
        for split in sources:
            if split not in known:
                raise RunDataError(
                    f"--parts: {part.name!r} takes its {role} documents from split {split!r}, which {part.of!r} doesn't "
                    f"have here{nearest(split, known)}"
                )


def _with_articles(corpus: str, splits: Splits) -> Splits:
    """The same documents, those that a reader only numbered (`file:1`) with article ids that are theirs alone.

    Such numbers are no evidence of overlap, as two files may have the same name; but a part's documents are known to be
    the corpus's.
    """

    def named(document: Document, split: str) -> Document:
        namespace, bare = article_key(document.article)
        if namespace in ("", *NAMESPACES) or not bare.isdecimal():
            return document
        return replace(document, article=f"{corpus}.{split}:{document.article}")

    return {split: [named(d, split) for d in documents] for split, documents in splits.items()}


def _splits(part: Part, parent: Splits, types: frozenset[str], seed: int) -> Splits:
    """Role → documents, of the roles that have any."""
    there = [split for split, documents in parent.items() if documents]
    _check_splits(part, there)  # again: not every split's file need be there
    roles = part.roles or tuple((role, (role,)) for role in ("train", "validation") if role in there)
    made = {}
    for role, sources in roles:
        documents = [d for split in sources for d in _share(part, parent[split], split, seed)]
        if documents:
            made[role] = told_apart([_annotated(d, part.name, types) for d in documents])
        else:
            logger.warning("%s has no %s document: its range %s holds no article", part.name, role, list(part.articles))
    if not made:
        raise RunDataError(
            f"--parts: {part.name!r} has no document: "
            + (
                f"its range {list(part.articles)} holds no article of {part.of!r}; make it wider"
                if roles
                else f"{part.of!r} has {', '.join(there) or 'no split'} here, and neither train nor validation; say which "
                'splits to use, e.g. "test": ["test"]'
            )
        )
    return made


def _share(part: Part, documents: list[Document], split: str, seed: int) -> list[Document]:
    """The documents of the part's range of articles, in their own order."""
    articles = sorted({d.article for d in documents})
    random.Random(f"{seed} {part.of} {split}").shuffle(articles)
    # The same rounding for the end of one range and the start of the next: no article is in both, or in neither.
    start, end = (round(share * len(articles)) for share in part.articles)
    chosen = set(articles[start:end])
    return [d for d in documents if d.article in chosen]


def _annotated(document: Document, name: str, types: frozenset[str]) -> Document:
    mentions = tuple(m for m in document.mentions if m.type in types)
    declared = types if document.annotated_types is None else types & document.annotated_types
    return replace(document, corpus=name, mentions=mentions, annotated_types=declared)


def told_apart(documents: list[Document]) -> list[Document]:
    """Records of two splits with the same id get another index: `index` counts within one file."""
    seen: set[tuple[str, str, int]] = set()
    out = []
    for document in documents:
        while document.key in seen:
            document = replace(document, index=document.index + 1)
        seen.add(document.key)
        out.append(document)
    return out
