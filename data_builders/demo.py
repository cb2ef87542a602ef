"""A generated set of small biomedical corpora that disagree, so that the main job runs without any download.

Names, words and sentences are inventions; nothing is taken from a corpus. Everything follows from the seed.

Four corpora, and what each one annotates (`GUIDELINES` is the same as a table):

==============  ======================================  ==========================================================
corpus          native types → shared types             role
==============  ======================================  ==========================================================
demo_all        Gene, Disease, Chemical, Species        the small bridge: every shared type
demo_gene       Gene, FamilyName → Gene                 genes only
demo_disease    SpecificDisease, Modifier → Disease     diseases only, nested mentions included
demo_chem       Chemical; OTHER → none                  chemicals only, and buffers, which have no counterpart
==============  ======================================  ==========================================================

Every text mentions genes, diseases, chemicals and species, whatever its corpus annotates. So a model that takes "not
annotated here" for "negative" learns to miss most of demo_all. On top of that, the guidelines conflict, always in the
same way:

===============================  ============================  ====================================================
in the text                      demo_all                      the other corpus
===============================  ============================  ====================================================
``TOVB2 protein``                ``TOVB2``                     demo_gene: ``TOVB2 protein`` (gene, mRNA likewise)
``the TOVB family``              nothing                       demo_gene: ``TOVB family`` (FamilyName)
``severe velosis``               ``velosis``                   demo_disease: ``severe velosis``
``velosis-related anxiety``      ``velosis``                   demo_disease: ``velosis-related`` (Modifier)
``velosis patients``             ``velosis``                   demo_disease: ``velosis``, but as Modifier
``velosis-like mordopathy``      the whole                     demo_disease: the whole, and ``velosis`` (nested)
``zoflunine hydrochloride``      ``zoflunine``                 demo_chem: ``zoflunine hydrochloride``
``zoflunine (ZFL)``, ``ZFL``     ``zoflunine``, ``ZFL``        demo_chem: ``zoflunine`` (no abbreviations)
``zinc``, ``Zn²⁺``               Chemical                      demo_chem: nothing (no plain elements)
``Relmar buffer``                nothing                       demo_chem: ``Relmar buffer`` (OTHER)
===============================  ============================  ====================================================

``TOVB2 deficiency`` is a disease that holds a gene: the only nesting in demo_all, rare, and beyond a flat model.

About four in ten mentions of validation and test texts are names that no training text has: they are told by form
and context (TOVB2, velosis, zoflunine, *Trivella palvax*). A few strings (`AMBIGUOUS`) name a gene or a disease,
depending on the context.

No text is in two splits, but for one thing, done on purpose: the first two test documents of demo_all are also in the
training split of demo_gene, with the same id and text (and demo_gene's annotations), as happens with published corpora.
The overlap filter must find and remove exactly these (`SHARED_DOCUMENTS`).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from mosaic_ner.modeling.document import Document, Mention, Passage
from mosaic_ner.modeling.label_space import LabelSpace

from .demo_words import (
    AMBIGUOUS,
    ASSAYS,
    BUFFERS,
    CELL_LINES,
    COMMON_SPECIES,
    ELEMENTS,
    FILLERS,
    GENE_NOUNS,
    GRADES,
    OPENINGS,
    RELATIONS,
    SALTS,
    SENTENCES,
    TITLES,
    Entity,
    Names,
)

DEMO_LABEL_SPACE = LabelSpace(
    {
        "demo_all": {"Gene": "Gene", "Disease": "Disease", "Chemical": "Chemical", "Species": "Species"},
        "demo_gene": {"Gene": "Gene", "FamilyName": "Gene"},
        "demo_disease": {"SpecificDisease": "Disease", "Modifier": "Disease"},
        "demo_chem": {"Chemical": "Chemical", "OTHER": None},
    }
)

# Documents per corpus and split: a two-layer encoder learns them from scratch in about a minute on two cores.
SIZES = {
    "demo_all": {"train": 80, "validation": 20, "test": 60},
    "demo_gene": {"train": 200, "validation": 20, "test": 40},
    "demo_disease": {"train": 200, "validation": 20, "test": 40},
    "demo_chem": {"train": 200, "validation": 20, "test": 40},
}

# How many test documents of demo_all are also in the training split of demo_gene.
SHARED_DOCUMENTS = 2

# Chance that a document outside the training splits names a thing by a held-out name.
HELD_OUT = 0.28

# What a text can contain (kinds of stretches, some inside others) → what a corpus calls it. A kind that isn't listed is
# not annotated by that corpus. "core" kinds are the part that demo_all takes out of a longer stretch.
GUIDELINES: dict[str, dict[str, str]] = {
    "demo_all": {
        "gene": "Gene",
        "gene_core": "Gene",
        "gene_of_disease": "Gene",
        "disease": "Disease",
        "disease_core": "Disease",
        "disease_as_modifier": "Disease",
        "disease_composite": "Disease",
        "deficiency": "Disease",
        "chemical": "Chemical",
        "chemical_core": "Chemical",
        "chemical_abbreviation": "Chemical",
        "element": "Chemical",
        "species": "Species",
    },
    "demo_gene": {"gene": "Gene", "gene_with_noun": "Gene", "gene_of_disease": "Gene", "family": "FamilyName"},
    "demo_disease": {
        "disease": "SpecificDisease",
        "disease_graded": "SpecificDisease",
        "disease_as_modifier": "Modifier",
        "disease_related": "Modifier",
        "disease_composite": "SpecificDisease",
        "disease_in_composite": "Modifier",
        "deficiency": "SpecificDisease",
    },
    "demo_chem": {"chemical": "Chemical", "chemical_with_salt": "Chemical", "buffer": "OTHER"},
}

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Stretch:
    """A stretch of text that some guideline may annotate; `kind` is a key of `GUIDELINES[corpus]`."""

    start: int
    end: int
    kind: str
    identifier: str


@dataclass(frozen=True)
class Draft:
    """A text before a corpus has annotated it."""

    id: str
    title: str
    text: str
    stretches: tuple[Stretch, ...]


def load_demo_corpora(seed: int = 0) -> dict[str, dict[str, list[Document]]]:
    """The demo set: corpus → "train", "validation", "test" → documents with their gold mentions.

    Types are the corpus's native ones; `DEMO_LABEL_SPACE` maps them. The same seed gives the same documents.
    """
    return {
        corpus: {split: [annotate(draft, corpus) for draft in drafts] for split, drafts in splits.items()}
        for corpus, splits in draft_corpora(seed).items()
    }


def draft_corpora(seed: int = 0) -> dict[str, dict[str, list[Draft]]]:
    """The texts of `load_demo_corpora` with all that could be annotated in them, under any guideline."""
    names = Names(random.Random(f"{seed}:names"))
    drafts, number = {}, 0
    for corpus, splits in SIZES.items():
        drafts[corpus] = {}
        for split, size in splits.items():
            # One generator per split, so that changing the size of one leaves the others as they are.
            writer = _Writer(random.Random(f"{seed}:{corpus}:{split}"), names, 0.0 if split == "train" else HELD_OUT)
            drafts[corpus][split] = [writer.draft(f"D{number + i:06d}") for i in range(1, size + 1)]
            number += size
    for i in range(SHARED_DOCUMENTS):
        drafts["demo_gene"]["train"][50 * (i + 1)] = drafts["demo_all"]["test"][i]
    return drafts


def annotate(draft: Draft, corpus: str) -> Document:
    """The draft as a document of a corpus, annotated under the corpus's guideline."""
    guideline = GUIDELINES[corpus]
    document = Document(
        id=draft.id,
        corpus=corpus,
        text=draft.text,
        article=f"demo:{draft.id}",
        annotated_types=frozenset(DEMO_LABEL_SPACE.native_types(corpus)),
        passages=(
            Passage(0, len(draft.title), "title"),
            Passage(len(draft.title) + 1, len(draft.text), "abstract"),
        ),
    )
    return document.with_mentions(
        Mention(s.start, s.end, guideline[s.kind], (s.identifier,)) for s in draft.stretches if s.kind in guideline
    )


class _Writer:
    """Writes the drafts of one split; `held_out` is the chance that a document's thing has a held-out name."""

    def __init__(self, rng: random.Random, names: Names, held_out: float):
        self.rng, self.names, self.held_out = rng, names, held_out

    def draft(self, identifier: str) -> Draft:
        """A title and an abstract of four to seven sentences that mention genes, diseases, chemicals and species."""
        rng = self.rng
        # A document speaks of a few things again and again.
        self.topics = {kind: self._draw(kind, n) for kind, n in (("G", 3), ("D", 3), ("C", 2), ("S", 2))}
        self.introduced: set[str] = set()
        self.parts: list[str] = []
        self.length = 0
        self.stretches: list[Stretch] = []

        self._sentence(rng.choice(TITLES), in_title=True)
        title_length = self.length
        patterns = rng.sample(SENTENCES, rng.choice((3, 4, 4, 4, 5, 5, 6)))
        patterns.insert(rng.randint(1, len(patterns)), rng.choice(FILLERS))
        for pattern in patterns:
            self._add(" ")
            opening = rng.choice(OPENINGS) if rng.random() < 0.2 else ""
            self._sentence(opening + pattern + ".")
        text = "".join(self.parts)
        return Draft(identifier, text[:title_length], text, tuple(self.stretches))

    def _draw(self, kind: str, count: int) -> list[Entity]:
        """`count` different things of a kind."""
        drawn: list[Entity] = []
        while len(drawn) < count:
            names = self.names.held_out[kind] if self.rng.random() < self.held_out else self.names.seen[kind]
            # The square favours the first names, as some genes are in every other paper.
            entity = names[int(len(names) * self.rng.random() ** 1.5)]
            if entity not in drawn:
                drawn.append(entity)
        return drawn

    def _next(self, kind: str) -> Entity:
        """One of the document's things; a sentence names another one each time, as long as there are any."""
        if not self.unused[kind]:
            self.unused[kind] = self.rng.sample(self.topics[kind], len(self.topics[kind]))
        return self.unused[kind].pop()

    def _sentence(self, pattern: str, in_title: bool = False) -> None:
        first = len(self.parts)
        self.unused: dict[str, list[Entity]] = {kind: [] for kind in self.topics}
        for i, piece in enumerate(_SLOT.split(pattern)):
            if i % 2:
                self._fill(piece, in_title)
            elif piece:
                self._add(piece)
        # A capital at the start, unless that would change a name (β-vessin, N-acetyl…). The length stays the same.
        first = next(i for i in range(first, len(self.parts)) if self.parts[i])
        start = self.parts[first]
        if start[0].isascii() and (start[:2].islower() or start[1:2] == " "):
            self.parts[first] = start[0].upper() + start[1:]

    def _add(self, text: str) -> int:
        """Appends text; returns where it starts."""
        start = self.length
        self.parts.append(text)
        self.length += len(text)
        return start

    def _mark(self, kind: str, start: int, identifier: str) -> None:
        """Records that the text from `start` up to here is of a kind."""
        self.stretches.append(Stretch(start, self.length, kind, identifier))

    def _name(self, kind: str, text: str, identifier: str) -> int:
        start = self._add(text)
        self._mark(kind, start, identifier)
        return start

    def _fill(self, slot: str, in_title: bool) -> None:
        rng = self.rng
        if slot in ("G", "D", "C", "S"):
            entity = self._next(slot)
            {"G": self._gene, "D": self._disease, "C": self._chemical, "S": self._species}[slot](entity, in_title)
        elif slot == "L":
            for separator, entity in zip(("", ", ", " and "), rng.sample(self.topics["G"], 3), strict=True):
                self._add(separator)
                self._name("gene", entity.name, entity.identifier)
        elif slot == "F":
            family = rng.choice(self.names.families)
            self._add("the ")
            self._name("family", family.name, family.identifier)
        elif slot == "Dm":
            entity = self._next("D")
            self._name("disease_as_modifier", self._known_form(entity), entity.identifier)
        elif slot == "Dx":
            entity = self._next("D")
            start = self._name("disease_core", self._known_form(entity), entity.identifier)
            self._add(rng.choice(RELATIONS))
            self._mark("disease_related", start, entity.identifier)
        elif slot == "Dn":
            self._composite()
        elif slot == "Gd":
            entity = self._next("G")
            start = self._name("gene_of_disease", entity.name, entity.identifier)
            self._add(" deficiency")
            self._mark("deficiency", start, entity.identifier.replace("G", "GD"))
        elif slot == "E":
            element = rng.choice(ELEMENTS)
            self._name("element", element, f"DEMO:E{ELEMENTS.index(element):04d}")
        elif slot == "B":
            buffer = rng.choice(BUFFERS)
            self._name("buffer", buffer, f"DEMO:B{BUFFERS.index(buffer):04d}")
        elif slot == "Sp":
            self._common_species(("patients", "children", "mice", "rats"))
        else:
            self._add(self._decoration(slot))

    def _gene(self, entity: Entity, in_title: bool) -> None:
        rng = self.rng
        if rng.random() < 0.02:
            # Only with a noun: the context must tell the gene from the disease of the same name.
            entity = Entity(rng.choice(AMBIGUOUS), "", "DEMO:G9999")
        elif rng.random() > 0.25:
            self._name("gene", entity.name, entity.identifier)
            return
        start = self._name("gene_core", entity.name, entity.identifier)
        self._add(rng.choice(GENE_NOUNS))
        self._mark("gene_with_noun", start, entity.identifier)

    def _disease(self, entity: Entity, in_title: bool) -> None:
        rng = self.rng
        if rng.random() < 0.02:
            self._name("disease", rng.choice(AMBIGUOUS), "DEMO:D9999")
            return
        if entity.identifier in self.introduced and rng.random() < 0.6:
            self._name("disease", entity.short, entity.identifier)
            return
        if rng.random() < 0.25:
            start = self._add(rng.choice(GRADES))
            self._name("disease_core", entity.name, entity.identifier)
            self._mark("disease_graded", start, entity.identifier)
        else:
            self._name("disease", entity.name, entity.identifier)
        self._introduce("disease", entity, in_title)

    def _chemical(self, entity: Entity, in_title: bool) -> None:
        rng = self.rng
        if entity.identifier in self.introduced and rng.random() < 0.6:
            self._name("chemical_abbreviation", entity.short, entity.identifier)
        elif rng.random() < 0.15:
            start = self._name("chemical_core", entity.name, entity.identifier)
            self._add(rng.choice(SALTS))
            self._mark("chemical_with_salt", start, entity.identifier)
        else:
            self._name("chemical", entity.name, entity.identifier)
            self._introduce("chemical_abbreviation", entity, in_title)

    def _species(self, entity: Entity, in_title: bool) -> None:
        if self.rng.random() < 0.3:
            self._common_species(("mice", "rats", "zebrafish", "rabbits"))
        elif entity.identifier in self.introduced and self.rng.random() < 0.7:
            self._name("species", entity.short, entity.identifier)
        else:
            self._name("species", entity.name, entity.identifier)
            if not in_title:
                self.introduced.add(entity.identifier)

    def _common_species(self, words: tuple[str, ...]) -> None:
        word = self.rng.choice(words)
        self._name("species", word, f"DEMO:S9{COMMON_SPECIES.index(word):03d}")

    def _composite(self) -> None:
        """A disease named after another: "velosis-like mordopathy"."""
        inner, outer = self._next("D"), self._next("D")
        start = self._name("disease_in_composite", inner.name, inner.identifier)
        self._add(f"-like {outer.name}")
        self._mark("disease_composite", start, outer.identifier)

    def _introduce(self, kind: str, entity: Entity, in_title: bool) -> None:
        """Adds the short form in brackets, once per document; later mentions may use it."""
        if entity.short and not in_title and entity.identifier not in self.introduced and self.rng.random() < 0.6:
            self._add(" (")
            self._name(kind, entity.short, entity.identifier)
            self._add(")")
            self.introduced.add(entity.identifier)

    def _known_form(self, entity: Entity) -> str:
        """The short form once the text has introduced it, mostly."""
        if entity.identifier in self.introduced and self.rng.random() < 0.5:
            return entity.short
        return entity.name

    def _decoration(self, slot: str) -> str:
        """Numbers, units, assays, citations, cell lines: what no guideline annotates."""
        rng = self.rng
        number = rng.randint(2, 98)
        if slot == "N":
            return str(number)
        if slot == "digit":
            return str(rng.randint(1, 6))
        if slot == "K":
            return rng.choice(CELL_LINES)
        if slot == "assay":
            return rng.choice(ASSAYS)
        if slot == "updown":
            return rng.choice(("increased", "reduced", "unchanged", "lower", "higher"))
        if slot == "conc":
            return f"{number} {rng.choice(('µM', 'nM', 'mM', 'µg/ml'))}"
        if slot == "dose":
            return f"{number} {rng.choice(('mg/kg', 'mg', 'µg/day'))}"
        if slot == "P":
            return rng.choice((f"(p < 0.0{number % 9 + 1})", f"(P = 0.0{number})", f"[{number % 30 + 1}]"))
        if slot == "cite":
            return rng.choice((f"[{number}]", f"[{number},{number + 1}]", f"(Olmer et al., {1990 + number % 30})"))
        raise KeyError(f"slot {slot!r} of a pattern in demo_words.py is unknown")
