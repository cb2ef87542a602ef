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

# Strings that name a gene or a disease, depending on the context.
AMBIGUOUS = ("KESD", "MOVS", "TRID", "VRED")

# What names are made of. Each kind has its own stems: a held-out name is a new combination, told by its form.
GENE_ROOTS = tuple(re.findall("...", "TOVVRQMEZBWDKXPNUVSZRDAQPYVRIJGUXHEQZIMLUWFOJQAB"))
STEMS = {
    "G": ("tolv", "vess", "brun", "mirn", "kalp", "nelk", "drum", "pexar", "sarv", "tund", "gliv", "rav"),
    "D": (
        "vel",
        "mord",
        "tarv",
        "skeld",
        "pland",
        "gord",
        "nuch",
        "brev",
        "zost",
        "harm",
        "lirth",
        "dorv",
        "kess",
        "muv",
    ),
    "C": ("lun", "tral", "zof", "nirl", "quom", "clev", "xolt", "bulp", "kerv", "dax", "fenv", "sorp", "ozar", "wim"),
    "S": ("triv", "palv", "gorn", "lask", "nird", "chrel", "astol", "murl", "vand", "stenk", "hylt", "fusk", "drosk"),
}
GENE_NOUNS = (" gene", " protein", " mRNA")
GRADES = ("severe ", "chronic ", "acute ", "familial ", "early-onset ", "refractory ")
RELATIONS = ("-related", "-associated", "-induced")
SALTS = (" hydrochloride", " sulfate", " maleate", " disodium")
ELEMENTS = ("zinc", "copper", "iron", "lithium", "sodium", "selenium", "Zn²⁺", "Ca²⁺", "Fe³⁺")
BUFFERS = ("Relmar buffer", "Tosk medium", "Pelin saline", "Odrin gel", "Relmar fixative", "Tosk stain")
COMMON_SPECIES = ("mice", "rats", "patients", "zebrafish", "rabbits", "children")
ORGANS = ("hepatic", "renal", "cortical", "pulmonary", "cardiac", "retinal", "gastric", "spinal")
CELL_LINES = ("KD-12", "HRT-9", "MV4", "LP-77", "BSK-2", "NT-101")
ASSAYS = ("ELISA", "qPCR", "MRI", "RNA-seq", "Western blotting", "mass spectrometry", "flow cytometry")

TITLES = (
    "{G} is required for the response to {C} in {Dm} {Sp}.",
    "Effect of {C} on {D} and {G} expression in {S}.",
    "Variants of {G} and the risk of {D}: a study in {S} treated with {C}.",
    "{C} protects {S} against {D} by silencing {G}.",
    "Loss of {G} in {S} causes {D} that responds to {C}.",
    "{Dx} changes of {G} and {C} levels in {S}.",
    "A role for {G}, {G} and {C} in {D} of {S}.",
    "{G}-dependent uptake of {C} in {S}: implications for {D}.",
)

# Slots: G gene, F family, L list of genes, D disease, Dm disease as modifier, Dx "…-related", Dn composite disease, Gd
# deficiency, C chemical, E element, B buffer, S species, Sp the subjects of a study; the rest is decoration.
SENTENCES = (
    "{G} encodes an enzyme that binds {C} in {S}",
    "mutations in {G} were found in {N} of {N} {Dm} {Sp}",
    "expression of {G} was {updown} after treatment with {C} ({conc}) in {S}",
    "{L} were {updown} in {S} with {D}",
    "knockdown of {G} in {K} cells reduced the phosphorylation of {G} {P}",
    "{G} interacts with {G} and with members of {F} {cite}",
    "the promoter of {G} contains a 5′-flanking element that is bound by {G}",
    "{F} is conserved from {S} to {S}, but only {G} responds to {C}",
    "overexpression of {G} restored the growth of {S} exposed to {C} for {N} h",
    "we cloned {G} from {S} and expressed it in {K} cells",
    "{G}-deficient {S} developed {D} within {N} weeks {P}",
    "silencing {G} abolished the {C}-induced activation of {G} in {S}",
    "serum levels of {G} correlated with the severity of {D} (r = 0.{N})",
    "{D} is a rare disorder of {S} whose cause is not known {cite}",
    "{Dm} {Sp} were given {C} ({dose}) for {N} days",
    "{N}% of the {Sp} had {D} or {D}, and {N} died",
    "{Dx} mortality was lower in {Sp} who received {C} than in controls {P}",
    "{D}, {D} and {D} were the most frequent diagnoses",
    "{Dx} anxiety improved after {N} weeks of {C}",
    "{Dm} cells from {Sp} showed {updown} {G} and {E} content",
    "we report {N} {Sp} with {Dn} who carried a variant of {G}",
    "{Dn} was diagnosed in {N} {Sp} by {assay}",
    "{Gd} was suspected in one child with {D} and confirmed by {assay}",
    "risk factors for {D} included exposure to {C} and {E} {cite}",
    "the incidence of {D} in {Sp} was {N} per 100,000 (95% CI, {N}–{N})",
    "{C} is widely used against {D}, yet its target in {S} is unclear",
    "treatment with {C} ({conc}) or {C} ({conc}) prevented {D} in {S}",
    "{S} received {dose} of {C} daily, dissolved in {B}",
    "{C}, but not {C}, inhibited {G} with an IC50 of {conc}",
    "plasma {C} and {E} were measured by {assay} in {Sp}",
    "{E} and {C} compete for the same site of {G}",
    "the toxicity of {C} in {S} depends on {E} and on {G}",
    "tissue was washed in {B}, stained and incubated with {C} at 37 °C",
    "after {N} h in {B} the cells were exposed to {C} ({conc})",
    "{C} at {dose} caused {D} in {N} of {N} {Sp}",
    "combined use of {C} and {C} increased the risk of {D} {P}",
    "{S} is a host of {S} and tolerates {C}",
    "infection of {S} with {S} led to {D} {cite}",
    "isolates of {S} were resistant to {C} (MIC ≥ {conc})",
    "in {S}, {G} is expressed at day {N} and {G} at day {N}",
    "the genome of {S} has two copies of {G}",
    "{S} fed with {C} and {E} had {updown} {G} activity",
    "{Sp} with {D} had higher {G} levels than healthy {Sp} {P}",
    "{G} and {C} may serve as markers of {D} in {Sp}",
    "deletion of {G} in {S} mimics {D}",
    "{Dm} models in {S} were used to test {C}",
)

# Sentences without any mention: upper case and digits alone do not make a gene.
FILLERS = (
    "samples were analysed by {assay} and {assay} (Table {digit})",
    "data are given as mean ± SD (𝑛 = {N}) unless stated otherwise",
    "{K} and {K} cells were kept at 37 °C and 5% CO2 until day {N}",
    "T2-weighted MRI was performed at {N} and {N} weeks (Fig. {digit})",
    "differences were tested by two-way ANOVA, with a false discovery rate of 0.05",
    "the median follow-up was {N} months (range, {N}–{N})",
    "these findings need to be confirmed in larger cohorts",
)

OPENINGS = (
    "notably, ",
    "in contrast, ",
    "moreover, ",
    "here, we show that ",
    "as expected, ",
    "in the second cohort, ",
    "to our knowledge, ",
    "at week {N}, ",
)

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Entity:
    """Something that texts name: its name, its short form ("" if it has none), and its invented concept identifier."""

    name: str
    short: str
    identifier: str


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
    names = _Names(random.Random(f"{seed}:names"))
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


class _Names:
    """Invented names of the four kinds, each with a list for all texts (`seen`) and a held-out one (`held_out`).

    No string names two things, short forms included; `AMBIGUOUS` is the only exception.
    """

    COUNTS = (("G", 450, 150), ("D", 350, 150), ("C", 350, 150), ("S", 220, 100))  # kind, seen, held out

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.used = {*AMBIGUOUS, *COMMON_SPECIES, *CELL_LINES, *ASSAYS, *ELEMENTS}
        makers = {"G": self._gene, "D": self._disease, "C": self._chemical, "S": self._species}
        self.seen, self.held_out = {}, {}
        for kind, seen, held_out in self.COUNTS:
            entities = [self._entity(makers[kind], f"DEMO:{kind}{i:04d}") for i in range(seen + held_out)]
            self.seen[kind], self.held_out[kind] = entities[:seen], entities[seen:]
        self.families = [self._entity(self._family, f"DEMO:F{i:04d}") for i in range(40)]

    def _entity(self, make, identifier: str) -> Entity:
        while True:
            name, short = make()
            if name not in self.used and short not in self.used:
                self.used.update({name, short} - {""})
                return Entity(name, short, identifier)

    def _stem(self, kind: str, syllables: int) -> str:
        return "".join(self.rng.choice(STEMS[kind]) for _ in range(syllables))

    def _gene(self) -> tuple[str, str]:
        rng = self.rng
        greek = rng.choice(6 * "αβγδ" + "𝛾")  # the last one is a character beyond 16 bits, as in text taken from a PDF
        form = rng.random()
        if form < 0.65:  # TOVB2, Tovb14
            symbol = rng.choice(GENE_ROOTS) + rng.choice(("", *"ABCDKLR"))
            return (symbol if rng.random() < 0.8 else symbol.capitalize()) + str(rng.randint(1, 19)), ""
        if form < 0.75:  # VRQ-β
            return f"{rng.choice(GENE_ROOTS)}-{greek}", ""
        # tolvessin 2, α-brunase
        name = self._stem("G", rng.choice((1, 2))) + rng.choice(("in", "ase"))
        return rng.choice((f"{name} {rng.randint(1, 9)}", f"{greek}-{name}", name)), ""

    def _disease(self) -> tuple[str, str]:
        rng = self.rng
        form = rng.random()
        if form < 0.25:  # Velbrev syndrome
            noun = rng.choice(("syndrome", "disease"))
            name = self._stem("D", 2).capitalize()
            return f"{name} {noun}", self._initials(name, noun)
        stem = self._stem("D", rng.choice((1, 2))) + rng.choice(("osis", "itis", "oma", "opathy", "emia", "oplasia"))
        if form < 0.55:  # hepatic velosis
            organ = rng.choice(ORGANS)
            return f"{organ} {stem}", self._initials(organ, stem)
        if form < 0.65:  # mordemia type 2
            return f"{stem} type {rng.choice(('1', '2', '3', 'II'))}", ""
        return stem, ""

    def _initials(self, first: str, second: str) -> str:
        """Two or three letters of the first word and one of the second, as authors shorten a disease."""
        inner = re.sub("[aeiou]", "", first[1:]) or first[1:]
        return (first[0] + inner[: self.rng.choice((1, 2))] + second[0]).upper()

    def _chemical(self) -> tuple[str, str]:
        rng = self.rng
        stem = self._stem("C", rng.choice((1, 2)))
        name = stem + rng.choice(("ine", "ol", "amide", "azole", "idone", "anib", "oxacin"))
        if rng.random() < 0.15:  # 3-methylbulpine
            name = rng.choice(("2-chloro", "3-methyl", "5-hydroxy", "N-acetyl")) + name
            return name, ""
        return name, re.sub("[aeiou]", "", name)[:3].upper() if len(stem) > 5 else ""

    def _species(self) -> tuple[str, str]:
        rng = self.rng
        genus = self._stem("S", rng.choice((1, 2))).capitalize() + rng.choice(
            ("ella", "ium", "omyces", "obacter", "ia")
        )
        name = self._stem("S", 1) + rng.choice(("ax", "ensis", "osa", "icus", "orum"))
        return f"{genus} {name}", f"{genus[0]}. {name}"

    def _family(self) -> tuple[str, str]:
        root = self.rng.choice(GENE_ROOTS) + self.rng.choice(("", *"ABCDKLR"))
        return f"{root} {self.rng.choice(('family', 'superfamily'))}", ""


class _Writer:
    """Writes the drafts of one split; `held_out` is the chance that a document's thing has a held-out name."""

    def __init__(self, rng: random.Random, names: _Names, held_out: float):
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
        raise KeyError(f"slot {slot!r} of a pattern in demo.py is unknown")
