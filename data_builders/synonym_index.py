"""Concepts and their names, looked up by a mention's text.

A mention and a name match when they are equal in lower case with white space normalised. The joint information bottleneck
does the same (Nguyen, Miwa and Ananiadou 2023, section 4.1, footnote 2). So a short form gets the names of every concept
that it stands for (their section 5.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mosaic_ner.modeling.document import Document, normalise_name


class Concept(NamedTuple):
    """One concept of one source; its names are normalised, distinct and sorted."""

    source: str
    identifier: str
    names: tuple[str, ...]


class Synonyms(Mapping[str, tuple[str, ...]]):
    """Mention text → the other names of its concepts, in alphabetical order, never the mention itself.

    Keys and names are normalised (`normalise_name`); a text is normalised before it is looked up. Iteration runs over the
    texts that have a synonym, in alphabetical order. A text that names several concepts has the names of all.

    Args:
        concepts: concept identifier → its names.
        source: where they are from, kept for every synonym (`provenance`).
        wanted: the texts that will be looked up; no others are kept. None keeps all.
    """

    def __init__(
        self,
        concepts: Mapping[str, Iterable[str]] | None = None,
        source: str = "own",
        wanted: Iterable[str] | None = None,
    ):
        self.sources: tuple[str, ...] = () if concepts is None else (source,)
        kept = None if wanted is None else {normalise_name(text) for text in wanted}
        index: dict[str, list[Concept]] = {}
        for identifier, names in (concepts or {}).items():
            concept = Concept(source, identifier, tuple(sorted({normalise_name(name) for name in names} - {""})))
            if len(concept.names) > 1:
                for name in concept.names:
                    if kept is None or name in kept:
                        index.setdefault(name, []).append(concept)
        # All names of a concept share one object.
        self._index = {name: tuple(index[name]) for name in sorted(index)}

    @classmethod
    def merged(cls, *parts: Synonyms) -> Synonyms:
        """The synonyms of all parts, with their sources. Concepts of different parts are never joined."""
        result, index = cls(), {}
        for part in parts:
            for name, concepts in part._index.items():
                index[name] = (*index.get(name, ()), *(c for c in concepts if c not in index.get(name, ())))
        result._index = {name: index[name] for name in sorted(index)}
        result.sources = tuple(dict.fromkeys(source for part in parts for source in part.sources))
        return result

    def __getitem__(self, text: str) -> tuple[str, ...]:
        """The synonyms of a mention text; KeyError where it has none."""
        mention = normalise_name(text)
        if mention not in self._index:
            raise KeyError(f"{text!r} has no synonym in {', '.join(self.sources) or 'no source'}")
        names = {name for concept in self._index[mention] for name in concept.names}
        return tuple(sorted(names - {mention}))

    def __contains__(self, text: object) -> bool:
        """Whether the mention text has a synonym."""
        return isinstance(text, str) and normalise_name(text) in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def concepts(self, text: str) -> tuple[Concept, ...]:
        """The concepts that have the text and at least one other name; empty where there are none."""
        return self._index.get(normalise_name(text), ())

    def provenance(self, text: str) -> dict[str, tuple[str, ...]]:
        """Synonym, in alphabetical order → the sources that have it, in the order of `sources`."""
        concepts = self.concepts(text)
        given = {name: {concept.source for concept in concepts if name in concept.names} for name in self.get(text, ())}
        return {name: tuple(s for s in self.sources if s in sources) for name, sources in given.items()}

    def sources_of(self, text: str) -> tuple[str, ...]:
        """The sources that have a synonym of the mention text, in the order of `sources`."""
        given = {concept.source for concept in self.concepts(text)}
        return tuple(source for source in self.sources if source in given)


def mention_texts(documents: Iterable[Document]) -> set[str]:
    """The distinct mention texts of some documents, normalised: what a source takes as `wanted`."""
    return {normalise_name(document.surface(mention)) for document in documents for mention in document.mentions}
