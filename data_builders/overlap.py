"""Leakage between corpora: documents that are in training and in an evaluation split are found, taken out and reported.

BioRED's articles are in many other corpora: the ten training files hold 72 of its 100 test documents, text for text.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import LabelSpace

logger = logging.getLogger(__name__)

# Shorter stretches are headings and stock phrases ("Materials and methods"), which many articles share.
MIN_CHARACTERS = 60
# Ids of these kinds name an article wherever they occur.
NAMESPACES = ("pmid", "pmcid", "medline")

_SYNONYMS = {"pmc": "pmcid", "pubmed": "pmid"}
_ID = re.compile(r"(?:([A-Za-z][\w.-]*):)?\s*(.+)", re.DOTALL)
_PMC = re.compile(r"PMC(\d+)", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W_]+")

CAUSES = ("by_id", "by_text", "by_sentence")
MODES = ("remove", "keep", "evaluation")
"""What is done with shared documents: taken out of training, kept, or taken out of what is scored."""

Place = tuple[str, int]
"""(evaluation set, position of the document in it)"""


@dataclass
class TrainingOverlap:
    """What was found in one training corpus.

    `causes` counts documents under the first cause that applies; `found_mentions` are the mentions of all of them,
    `articles` their article ids. `removed`, `removed_mentions`: what was taken out. `equal_ids` counts documents whose id is
    an evaluation document's, of another text, where one of the two ids isn't known to be an article's.
    """

    documents: int = 0
    mentions: int = 0
    causes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    found_mentions: int = 0
    articles: list[str] = field(default_factory=list)
    removed: int = 0
    removed_mentions: int = 0
    equal_ids: int = 0

    @property
    def found(self) -> int:
        """Documents that are in some evaluation set."""
        return sum(self.causes.values())


@dataclass
class EvaluationOverlap:
    """How much of one evaluation set the training corpora contain, before removal.

    `covered_by` counts per training corpus, `covered` counts documents once. `mentions` are those of a shared type that their
    document annotates;
    `mentions_in_training` of them are annotated in a training document of the same text, at the same offsets, with the
    same shared type: what a model gets right by copying. `copied` is what it would predict by copying: the distinct
    annotations of training documents of the same text, of the shared types that the document itself annotates.
    `mode` is one of `MODES`; `not_scored` counts the documents that were taken out of this set.
    """

    documents: int = 0
    covered: int = 0
    covered_by: dict[str, int] = field(default_factory=dict)
    mentions: int = 0
    mentions_in_training: int = 0
    copied: int = 0
    mode: str = "remove"
    not_scored: int = 0

    def copying(self) -> dict[str, float | int]:
        """Exact-match scores (0..1) of predicting the training annotations of the same text and nothing else."""
        right = self.mentions_in_training
        return {
            "precision": right / self.copied if self.copied else 0.0,
            "recall": right / self.mentions if self.mentions else 0.0,
            "f1": 2 * right / (self.copied + self.mentions) if right else 0.0,
            "predicted": self.copied,
        }


@dataclass
class OverlapReport:
    """What `part_overlap` found, per training corpus and per evaluation set."""

    training: dict[str, TrainingOverlap] = field(default_factory=dict)
    evaluation: dict[str, EvaluationOverlap] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether documents of some evaluation set were left in training and scored all the same."""
        return any(o.mode == "keep" for o in self.evaluation.values())

    @property
    def found(self) -> int:
        """Training documents, of all corpora, that are in some evaluation set."""
        return sum(overlap.found for overlap in self.training.values())

    def to_dict(self) -> dict:
        """JSON form, for results.json."""
        training = {
            name: {
                "documents": o.documents,
                "mentions": o.mentions,
                "found": o.found,
                **o.causes,
                "removed_documents": o.removed,
                "removed_mentions": o.removed_mentions,
                "equal_ids": o.equal_ids,
                "articles": list(o.articles),
            }
            for name, o in self.training.items()
        }
        evaluation = {
            name: {
                "documents": o.documents,
                "covered": o.covered,
                "covered_by": dict(o.covered_by),
                "mentions": o.mentions,
                "mentions_in_training": o.mentions_in_training,
                "copying": o.copying(),
                "mode": o.mode,
                "not_scored": o.not_scored,
            }
            for name, o in self.evaluation.items()
        }
        return {"kept": self.kept, "training": training, "evaluation": evaluation}

    def summary(self) -> str:
        """Readable lines, one per training corpus and evaluation set."""
        lines = [
            f"{name}: removed {o.removed:,} of {o.documents:,} documents ({o.removed_mentions:,} of {o.mentions:,} mentions); "
            f"{o.found:,} are in an evaluation set: {o.causes['by_id']:,} by article id, {o.causes['by_text']:,} by text, "
            f"{o.causes['by_sentence']:,} by sentence"
            + (f"; {o.found - o.removed:,} KEPT" if o.found > o.removed else "")
            for name, o in self.training.items()
        ]
        for name, o in self.evaluation.items():
            corpora = ", ".join(f"{corpus} {count:,}" for corpus, count in o.covered_by.items() if count)
            line = (
                f"{name}: {o.covered:,} of {o.documents:,} documents and {o.mentions_in_training:,} of {o.mentions:,} "
                f"mentions were in the training corpora" + (f" ({corpora})" if corpora else "")
            )
            if o.covered:
                precision, recall, f1 = (100 * o.copying()[key] for key in ("precision", "recall", "f1"))
                line += f"; copying them alone scores P {precision:.1f}, R {recall:.1f}, F1 {f1:.1f}"
            if o.not_scored:
                line += f"; {o.not_scored:,} of them are not scored"
            lines.append(line)
        return "\n".join(lines)


def part_overlap(
    training: dict[str, list[Document]],
    evaluation: dict[str, list[Document]],
    modes: Mapping[str, str] | None = None,
    *,
    labels: LabelSpace | None = None,
    min_characters: int = MIN_CHARACTERS,
) -> tuple[dict[str, list[Document]], dict[str, list[Document]], OverlapReport]:
    """Training and evaluation documents without what they share, and a report.

    A training document is in an evaluation set if one of its documents has
    - the same article id, where both are known to be article ids: of the same namespace (`pmid:1` and `pmcid:1` differ; the id
      of a user's own file has a namespace where the user gives it); otherwise the same id and the same text, however short;
    - the same text, whole or a passage (e.g. the abstract alone), after NFKC and case folding and without white space
      and punctuation, where that leaves at least `min_characters` characters;
    - where the id of one of the two is of none of `NAMESPACES` (e.g. a sentence of an IOB file, or an abstract with its
      keywords): a text that contains the other's whole text.

    Args:
        training: corpus name → documents.
        evaluation: set name, e.g. `biored/test` → documents.
        modes: set name → one of `MODES`, by default "remove". Documents shared with a set of mode "remove" leave training;
            those that training still shares with a set of mode "evaluation" leave that set.
        labels: maps native to shared types, to compare mentions across corpora; None compares the types as they are.
    Returns:
        The training documents, the evaluation documents, the report.
    """
    modes = {name: (modes or {}).get(name, "remove") for name in evaluation}
    report = OverlapReport()
    index = TextIndex(evaluation, min_characters)
    right: dict[str, set[tuple[int, tuple]]] = {name: set() for name in evaluation}
    copied: dict[str, set[tuple[int, tuple]]] = {name: set() for name in evaluation}
    covered: dict[str, set[int]] = {name: set() for name in evaluation}
    hidden: dict[str, set[int]] = {name: set() for name in evaluation}
    for name, documents in evaluation.items():
        mentions = sum(len(_keys(document, labels)) for document in documents)
        report.evaluation[name] = EvaluationOverlap(len(documents), mentions=mentions, mode=modes[name])
    remaining = {}
    for corpus, documents in training.items():
        remaining[corpus], places = _sift(documents, index, modes, report, corpus)
        by_set: dict[str, set[int]] = defaultdict(set)
        for document, (name, position), stays in places:
            by_set[name].add(position)
            if stays and modes[name] == "evaluation":
                hidden[name].add(position)
            twin = evaluation[name][position]
            if document.text == twin.text:
                keys = _keys(document, labels)
                right[name].update((position, key) for key in keys & _keys(twin, labels))
                annotated = None if labels is None else labels.annotated_shared_types(twin)
                copied[name].update((position, key) for key in keys if annotated is None or key[2] in annotated)
        for name, overlap in report.evaluation.items():
            overlap.covered_by[corpus] = len(by_set[name])
            covered[name] |= by_set[name]
    for name, overlap in report.evaluation.items():
        overlap.covered, overlap.mentions_in_training = len(covered[name]), len(right[name])
        overlap.copied, overlap.not_scored = len(copied[name]), len(hidden[name])
    scored = {name: [d for i, d in enumerate(part) if i not in hidden[name]] for name, part in evaluation.items()}
    _warn(report)
    return remaining, scored, report


def _warn(report: OverlapReport) -> None:
    if kept := report.kept and sum(o.found - o.removed for o in report.training.values()):
        logger.warning("%d training documents are in an evaluation set and are KEPT: the scores will be too high", kept)
    if equal := sum(o.equal_ids for o in report.training.values()):
        logger.warning(
            "%d training documents have the id of an evaluation document with another text. They stay, since the ids aren't "
            "known to be article ids; if they are, say so with --article_ids",
            equal,
        )


def _sift(documents: list[Document], index: TextIndex, modes: Mapping[str, str], report: OverlapReport, corpus: str):
    """The documents to keep, and (document, place, whether the document stays) for each match."""
    overlap = report.training[corpus] = TrainingOverlap(
        documents=len(documents), mentions=sum(len(document.mentions) for document in documents)
    )
    kept, matches, articles = [], [], {}
    for document in documents:
        causes = index.find(document)
        places = list(dict.fromkeys(p for found in causes.values() for p in found))
        stays = not any(modes[name] == "remove" for name, _ in places)
        if stays:
            kept.append(document)
        else:
            overlap.removed += 1
            overlap.removed_mentions += len(document.mentions)
        if not places:
            overlap.equal_ids += index.has_id(document)
            continue
        overlap.causes[next(cause for cause, found in causes.items() if found)] += 1
        overlap.found_mentions += len(document.mentions)
        articles[document.article] = None
        matches += [(document, place, stays) for place in places]
    overlap.articles = list(articles)
    return kept, matches


def _keys(document: Document, labels: LabelSpace | None) -> set[tuple[int, int, str]]:
    """(start, end, shared type) of the mentions of a shared type that the document annotates."""
    if labels is None:
        return {mention.key for mention in document.mentions}
    types = {t: labels.shared(document.corpus, t) for t in {m.type for m in document.mentions}}
    own = set(labels.annotated_shared_types(document)) if types else ()
    return {(m.start, m.end, types[m.type]) for m in document.mentions if types[m.type] in own}


def normalise(text: str) -> str:
    """NFKC and case folded, without white space and punctuation."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text).casefold())


def article_key(article: str) -> tuple[str, str]:
    """(namespace, id): `pmid:1` → (pmid, 1), `PMC1` → (pmcid, 1), `1` → ("", 1)."""
    namespace, bare = _ID.fullmatch(article.strip()).groups() if article.strip() else ("", article)
    namespace = (namespace or "").lower()
    namespace = _SYNONYMS.get(namespace, namespace)
    pmc = _PMC.fullmatch(bare)
    if pmc and namespace in ("", "pmcid"):
        return "pmcid", pmc.group(1)
    return namespace, bare


def _same_article(one: tuple[str, str], other: tuple[str, str]) -> bool:
    # Readers number records without ids, `file:1`, and two files may have the same name: their texts decide. So they do where
    # an id has no namespace: every file may count from 0.
    namespace, bare = one
    return one == other and bool(namespace) and (namespace in NAMESPACES or not bare.isdecimal())


class TextIndex:
    """Documents, in sets, by article id, by text and by the words that they start with."""

    def __init__(self, evaluation: dict[str, list[Document]], min_characters: int):
        self.min_characters = min_characters
        self._ids: dict[str, list[tuple[tuple[str, str], Place]]] = defaultdict(list)
        self._texts: dict[bytes, list[Place]] = defaultdict(list)
        # first characters of a document → (its text, place): of records without id, of the others
        self._records: dict[str, list[tuple[str, Place]]] = defaultdict(list)
        self._articles: dict[str, list[tuple[str, Place]]] = defaultdict(list)
        # a run of characters of any evaluation text → places, filled when a record without an id asks
        self._evaluation = evaluation
        self._runs: dict[int, list[Place]] | None = None
        for name, documents in evaluation.items():
            for position, document in enumerate(documents):
                self._add(document, (name, position))

    def _add(self, document: Document, place: Place) -> None:
        namespace, bare = key = article_key(document.article)
        self._ids[bare].append((key, place))
        for digest in _digests(document, self.min_characters):
            self._texts[digest].append(place)
        text = normalise(document.text)
        if len(text) >= self.min_characters:
            starts = self._articles if namespace in NAMESPACES else self._records
            starts[text[: self.min_characters]].append((text, place))

    def has_id(self, document: Document) -> bool:
        """Whether an evaluation document has the same id, and one of the two has no namespace."""
        namespace, bare = article_key(document.article)
        return any(not (namespace and other) for (other, _), _ in self._ids.get(bare, ()))

    def find(self, document: Document) -> dict[str, list[Place]]:
        """Cause → places of the evaluation documents that match."""
        namespace, bare = key = article_key(document.article)
        by_id = [
            place
            for other, place in self._ids.get(bare, ())
            if _same_article(key, other)
            or (not (namespace and other[0]) and normalise(document.text) == normalise(self._document(place).text))
        ]
        by_text = [p for digest in _digests(document, self.min_characters) for p in self._texts.get(digest, ())]
        unnamed = namespace not in NAMESPACES
        by_sentence = self._contained_in(document, unnamed) if self._records or unnamed else []
        if unnamed:
            by_sentence = [*by_sentence, *self._containing(document)]
        return {"by_id": by_id, "by_text": by_text, "by_sentence": by_sentence}

    def _contained_in(self, document: Document, unnamed: bool) -> list[Place]:
        """Evaluation records, and of a document without an article's id articles, whose whole text the document contains."""
        text, starts = _words(document.text)
        found = []
        for start in starts:
            first = text[start : start + self.min_characters]
            for record, place in (*self._records.get(first, ()), *(self._articles.get(first, ()) if unnamed else ())):
                if text.startswith(record, start):
                    found.append(place)
        return found

    def _containing(self, document: Document) -> list[Place]:
        """Evaluation documents that contain the record."""
        record = normalise(document.text)
        if len(record) < self.min_characters:
            return []
        places = self._evaluation_runs().get(hash(record[: self.min_characters]), ())
        return [place for place in dict.fromkeys(places) if record in normalise(self._document(place).text)]

    def _evaluation_runs(self) -> dict[int, list[Place]]:
        if self._runs is None:
            self._runs = defaultdict(list)
            for name, documents in self._evaluation.items():
                for position, document in enumerate(documents):
                    text, starts = _words(document.text)
                    for start in starts:
                        run = text[start : start + self.min_characters]
                        if len(run) == self.min_characters:
                            self._runs[hash(run)].append((name, position))
        return self._runs

    def _document(self, place: Place) -> Document:
        return self._evaluation[place[0]][place[1]]


def _words(text: str) -> tuple[str, Iterable[int]]:
    """The normalised text and where its words begin in it."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    starts, position = [], 0
    for word in words:
        starts.append(position)
        position += len(word)
    return "".join(words), starts


def _digests(document: Document, min_characters: int) -> Iterator[bytes]:
    """Hashes of the normalised text and of each passage, those that are long enough, each once."""
    stretches = {(0, len(document.text)), *((passage.start, passage.end) for passage in document.passages)}
    for start, end in sorted(stretches):
        text = normalise(document.text[start:end])
        if len(text) >= min_characters:
            yield hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
