"""Documents, UMLS rows and an ontology of invented names, for the tests of synonyms."""

from __future__ import annotations

from pathlib import Path

from mosaic_ner.data_builders.synonym_sources import UMLS_COLUMNS
from mosaic_ner.modeling.document import Document, Mention

OBO = """format-version: 1.2
ontology: own
import: http://example.invalid/other.obo

[Term]
id: OWN:1
name: Blue fever
synonym: "azure  Fever" EXACT []
synonym: "BF" EXACT OWN:abbreviation []
synonym: "fever" BROAD []

[Term]
id: OWN:2
name: old fever
synonym: "ancient fever" EXACT []
is_obsolete: true

[Term]
id: OWN:3
"""


def document(*mentions: tuple[str, str, str], corpus: str = "own", id: str = "1") -> Document:
    """A document of nothing but mentions: (text, type, identifiers separated by blanks)."""
    text, found = "", []
    for surface, type, identifiers in mentions:
        found.append(Mention(len(text), len(text) + len(surface), type, tuple(identifiers.split())))
        text += surface + " "
    return Document(id, corpus, text, tuple(found))


def row(cui: str, name: str, **fields: str) -> str:
    """A row of MRCONSO.RRF."""
    values = {"CUI": cui, "LAT": "ENG", "SAB": "MSH", "STR": name, "SUPPRESS": "N"} | fields
    return "".join(f"{values.get(column, '')}|" for column in UMLS_COLUMNS) + "\n"


ROWS = [
    row("C1", "Blue fever"),
    row("C2", "bf", SAB="SNOMEDCT_US"),
    row("C1", "BF", SAB="SNOMEDCT_US"),
    row("C1", "fièvre bleue", LAT="FRE"),
    row("C1", "obsolete fever", SUPPRESS="O"),
    row("C1", "edited fever", SUPPRESS="Y"),
    row("C1", "suppressed fever", SUPPRESS="E"),
    row("C2", "banana\u2028fruit"),
    row("C3", "yellow fever"),
    row("C3", "amber fever"),
]


def umls(path: Path, rows=ROWS) -> Path:
    path.write_bytes("".join(rows).encode())
    return path


def obo(path: Path, text: str = OBO) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


TRAINING = [document(("blue fever", "Disease", "D1"), ("azure fever", "Disease", "D1"), ("quartz", "Chemical", "D2"))]
