"""The card's examples: sentences of our own that have the model's types, and what the model finds in them."""

from __future__ import annotations

from collections.abc import Callable

EXAMPLES = (
    ("Mutations of PAX6 cause aniridia in mice and humans.", ("Gene", "Disease", "Species")),
    ("Cisplatin caused acute kidney injury in two of twelve patients.", ("Chemical", "Disease")),
    ("Tumours with the BRAF variant V600E responded to vemurafenib.", ("Gene", "Variant", "Chemical")),
    ("Doxorubicin slowed the growth of HeLa and MCF-7 cells.", ("Chemical", "CellLine")),
    ("Plasmodium falciparum is transmitted by Anopheles mosquitoes.", ("Species",)),
    ("Interleukin-2 activates T cells through the interleukin-2 receptor.", ("Gene", "CellType")),
    ("NF-kappa B binds to the IL-8 promoter and raises IL-8 mRNA in monocytes.", ("Gene", "DNA", "RNA", "CellType")),
    ("In Geneva, Ana Lopez of the Red Cross told Swiss reporters of the plan.", ("LOC", "PER", "ORG", "MISC")),
)
"""Sentences of our own, and the shared types of what is in them."""
DEMO_EXAMPLES = (
    ("Severe velosis in mice is reduced by nirlazole.", ("Disease", "Species", "Chemical")),
    ("TOVB2 protein is lost in velosis patients.", ("Gene", "Disease")),
)
"""The same in the invented words of the generated corpora."""
NATIVE = {"protein": "Gene", "gene": "Gene", "celltype": "CellType", "cellline": "CellLine"}
"""Corpora's own names of types, in lower case without underscores, → the shared type that the examples have."""


def examples_of(named: list[str], generated: bool) -> list[tuple[str, str]]:
    """(sentence, the model's types in it): few sentences that together have all of the model's types, richest first."""
    types = {NATIVE.get(t.lower().replace("_", ""), t) for t in named}
    found = [
        (text, [t for t in own if t in types], len(own)) for text, own in (DEMO_EXAMPLES if generated else EXAMPLES)
    ]
    found.sort(key=lambda row: (-len(row[1]), row[2]))
    chosen, left = [], set(types)
    for text, own, _ in found:
        if left & set(own) or (own and len(chosen) < 2):
            chosen.append((text, ", ".join(own)))
            left -= set(own)
    return chosen


def shown(text: str, title: str, answer: Callable[[str], list[dict]] | None) -> dict:
    """An example of the widget; its output is what the page shows before anyone runs the model."""
    return {"text": text, "example_title": title} | ({} if answer is None else {"output": answer(text)})
