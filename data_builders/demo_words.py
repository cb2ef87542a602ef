"""The words, names and patterns of sentences that the generated corpora are made of (see demo.py)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Entity:
    """Something that texts name: its name, its short form ("" if it has none), and its invented concept identifier."""

    name: str
    short: str
    identifier: str


class Names:
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
