"""Which corpus annotates which types, and what they are called in common. Ships to the Hub; standard library only."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .document import Document

NEGATIVE = "NEGATIVE"


class UserError(ValueError):
    """What a user can mend: the message says what was expected, what was got, where, and what to do.

    Command lines print it without a traceback.
    """


class LabelError(UserError):
    """A corpus or a type that the label space doesn't know."""


@dataclass(frozen=True)
class LabelSpace:
    """Corpora → native types → shared types.

    `corpora[corpus][native type]` is the shared type, or None for a type without a counterpart: a corpus annotates it,
    but it belongs to no shared type. Order is kept everywhere, so that label numbers are stable.
    """

    corpora: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def _types(self, corpus: str) -> dict[str, str | None]:
        if corpus not in self.corpora:
            raise LabelError(f"unknown corpus {corpus!r}{nearest(corpus, self.corpora)}")
        return self.corpora[corpus]

    def native_types(self, corpus: str) -> list[str]:
        """All types the corpus annotates, under its own names."""
        return list(self._types(corpus))

    def shared(self, corpus: str, native_type: str) -> str | None:
        """The shared type of a native type; None if it has no counterpart.

        Raises:
            LabelError: the corpus or the type isn't in the mapping (an unmapped type is an error, never a silent drop).
        """
        types = self._types(corpus)
        if native_type not in types:
            raise LabelError(
                f"type {native_type!r} of corpus {corpus!r} is not in the label mapping{nearest(native_type, types)}; "
                "add a row (corpus, native type, shared type or '-') to the mapping table"
            )
        return types[native_type]

    def shared_types_of(self, corpus: str) -> list[str]:
        """The shared types a corpus annotates, without repeats, in the order of `shared_types`."""
        own = set(self._types(corpus).values())
        return [t for t in self.shared_types if t in own]

    def annotated_types(self, document: Document) -> list[str]:
        """The native types that a document annotates: those that it declares, or all of its corpus's where it doesn't say.

        Raises:
            LabelError: it declares a type that the mapping doesn't know.
        """
        types = self._types(document.corpus)
        if document.annotated_types is None:
            return list(types)
        for name in document.annotated_types:
            self.shared(document.corpus, name)
        return [t for t in types if t in document.annotated_types]

    def annotated_shared_types(self, document: Document) -> list[str]:
        """The shared types that a document annotates: those of which it annotates every native type of its corpus.

        One that declares only some of them leaves the shared type unknown: what it doesn't annotate may be a mention of it.
        """
        types, own = self._types(document.corpus), set(self.annotated_types(document))
        unknown = {shared for native, shared in types.items() if native not in own}
        return [t for t in self.shared_types_of(document.corpus) if t not in unknown]

    @property
    def shared_types(self) -> list[str]:
        """All shared types, in order of first appearance."""
        return list(dict.fromkeys(s for types in self.corpora.values() for s in types.values() if s is not None))

    @property
    def labels(self) -> list[tuple[str, str]]:
        """All corpus-specific labels (corpus, native type), each corpus's negative last (CVAE-NER's 47 for the ten)."""
        return [(c, t) for c, types in self.corpora.items() for t in [*types, NEGATIVE]]

    def restricted_to(self, corpora) -> LabelSpace:
        """The label space of some of the corpora, in the order given."""
        return LabelSpace({c: dict(self._types(c)) for c in corpora})

    def to_dict(self) -> dict:
        """JSON form, stored in a model's config: lists of pairs, because configs are saved with their keys sorted."""
        return {"corpora": [[c, [[native, s] for native, s in types.items()]] for c, types in self.corpora.items()]}

    @classmethod
    def from_dict(cls, data: dict) -> LabelSpace:
        """The label space of `to_dict`."""
        return cls({c: dict(types) for c, types in dict(data.get("corpora", {})).items()})


def split_label(label: str) -> tuple[str, str]:
    """`B-Gene` → ("B", "Gene"); what follows an @ names the corpus of a label that is no other corpus's."""
    kind, _, name = label.partition("-")
    return kind, name.partition("@")[0]


def nearest(name: str, known, listing: bool = True) -> str:
    """`; did you mean 'x'?`, for error messages; where nothing is near, the list of known names (nothing if not `listing`)."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known)) or 'none'}" if listing else ""
