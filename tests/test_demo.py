"""The generated corpora: reproducible, well formed, and in conflict in the ways that their docstring promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from mosaic_ner.data_builders import demo
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, GUIDELINES, SHARED_DOCUMENTS, SIZES, load_demo_corpora
from mosaic_ner.modeling.windowing import split_sentences

CORPORA = list(SIZES)
PARTIAL = [corpus for corpus in CORPORA if corpus != "demo_all"]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def corpora():
    return load_demo_corpora()


@pytest.fixture(scope="module")
def drafts():
    return demo.draft_corpora()


@pytest.fixture(scope="module")
def documents(corpora):
    return [document for splits in corpora.values() for split in splits.values() for document in split]


def spans(document):
    return {(m.start, m.end) for m in document.mentions}


def nested(document):
    """The mentions that lie inside another one."""
    return [
        inner
        for inner in document.mentions
        if any(o != inner and o.start <= inner.start and inner.end <= o.end for o in document.mentions)
    ]


def clean_train(corpora):
    """The training documents that are in no test split."""
    tested = {d.id for splits in corpora.values() for d in splits["test"]}
    return [d for splits in corpora.values() for d in splits["train"] if d.id not in tested]


def test_same_seed_same_documents(corpora):
    assert load_demo_corpora(0) == corpora
    assert load_demo_corpora(1) != corpora


def test_documents_do_not_depend_on_hash_randomisation(corpora):
    code = (
        "import hashlib; from mosaic_ner.data_builders.demo import load_demo_corpora as load;"
        "parts = [repr((d.id, d.text, d.mentions)) for c in load().values() for s in c.values() for d in s];"
        "print(hashlib.sha256(''.join(parts).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_sizes(corpora):
    assert {c: {s: len(d) for s, d in splits.items()} for c, splits in corpora.items()} == SIZES
    characters = sum(len(d.text) for splits in corpora.values() for d in splits["train"])
    assert 200_000 < characters < 500_000  # a tiny encoder trains on it in about a minute


def test_mentions_are_sorted_typed_and_trimmed(documents):
    for document in documents:
        assert document.annotated_types == frozenset(DEMO_LABEL_SPACE.native_types(document.corpus))
        order = [(m.start, m.end, m.type) for m in document.mentions]
        assert order == sorted(set(order))
        for mention in document.mentions:
            surface = document.surface(mention)
            assert mention.type in document.annotated_types
            assert surface == surface.strip()
            assert len(mention.identifiers) == 1
            # A mention neither starts nor ends inside a word.
            before, after = document.text[: mention.start][-1:], document.text[mention.end :][:1]
            assert not (before.isalnum() and surface[0].isalnum())
            assert not (after.isalnum() and surface[-1].isalnum())


def test_offsets_give_the_name_of_the_concept(drafts):
    """text[start:end] is what the generator wrote there: one concept is called by its name or its short form only."""
    names = demo.Names(demo.random.Random("0:names"))
    known = {e.identifier: {e.name, e.short} for k in "GDCS" for e in [*names.seen[k], *names.held_out[k]]}
    checked = 0
    for splits in drafts.values():
        for draft in (d for split in splits.values() for d in split):
            for stretch in draft.stretches:
                if (
                    stretch.identifier in known
                    and "_with_" not in stretch.kind
                    and stretch.kind
                    not in (
                        "disease_graded",
                        "disease_related",
                        "disease_composite",
                    )
                ):
                    surface = draft.text[stretch.start : stretch.end]
                    called = {n[:1].upper() + n[1:] for n in known[stretch.identifier]}
                    assert surface[:1].upper() + surface[1:] in called
                    checked += 1
    assert checked > 5000


def test_passages_are_title_and_abstract(documents):
    for document in documents:
        title, abstract = document.passages
        assert (title.kind, abstract.kind) == ("title", "abstract")
        assert (title.start, abstract.end) == (0, len(document.text))
        assert abstract.start == title.end + 1
        assert document.text[title.end] == " "
        assert document.text[title.end - 1] == document.text[-1] == "."
        # No mention crosses from one passage into the other.
        assert all(m.end <= title.end or m.start >= abstract.start for m in document.mentions)
        # Four to seven are written; the splitter takes some ends, as in "37 °C. The", for abbreviations.
        assert 2 <= len(split_sentences(document.text[abstract.start :])) <= 8


def test_text_is_not_plain_ascii(documents):
    text = "".join(d.text for d in documents)
    assert set("αβγδµ±′²⁺≥–") <= set(text)
    astral = [d for d in documents if any(ord(c) > 0xFFFF for c in d.text)]
    assert 0.02 < len(astral) / len(documents) < 0.2
    # Offsets after such a character differ between code points and UTF-16, so a mix-up shows.
    assert any(ord(c) > 0xFFFF for d in documents for m in d.mentions for c in d.text[: m.start])


def test_ids_are_unique_and_splits_disjoint_except_the_shared_documents(corpora):
    where = defaultdict(list)
    for corpus, splits in corpora.items():
        for split, docs in splits.items():
            for document in docs:
                where[document.id].append((corpus, split))
    shared = {i: places for i, places in where.items() if len(places) > 1}
    assert len(shared) == SHARED_DOCUMENTS
    assert all(sorted(places) == [("demo_all", "test"), ("demo_gene", "train")] for places in shared.values())
    texts = Counter(d.text.lower() for splits in corpora.values() for docs in splits.values() for d in docs)
    assert sum(count > 1 for count in texts.values()) == SHARED_DOCUMENTS


def test_shared_documents_have_one_text_and_each_corpus_annotates_its_own_way(corpora):
    test = {d.id: d for d in corpora["demo_all"]["test"]}
    shared = [d for d in corpora["demo_gene"]["train"] if d.id in test]
    assert [d.id for d in shared] == [d.id for d in corpora["demo_all"]["test"][:SHARED_DOCUMENTS]]
    for document in shared:
        assert document.text == test[document.id].text
        assert document.corpus == "demo_gene"
        assert document.mentions != test[document.id].mentions


def test_every_text_mentions_all_shared_types(drafts):
    for splits in drafts.values():
        for draft in (d for split in splits.values() for d in split):
            types = {m.type for m in demo.annotate(draft, "demo_all").mentions}
            assert types == {"Gene", "Disease", "Chemical", "Species"}


def test_ignoring_the_unknown_costs_recall(drafts):
    """What naive union takes for negative: most of what demo_all would annotate in the partial corpora."""
    missing = total = 0
    for corpus in PARTIAL:
        for draft in drafts[corpus]["train"]:
            bridge = spans(demo.annotate(draft, "demo_all"))
            missing += len(bridge - spans(demo.annotate(draft, corpus)))
            total += len(bridge)
    assert missing / total > 0.7


CONFLICTS = [
    # corpus, kind, its span in that corpus is longer than the one of demo_all, or one of the two has none
    ("demo_gene", "gene_with_noun", "longer"),
    ("demo_gene", "family", "added"),
    ("demo_disease", "disease_graded", "longer"),
    ("demo_disease", "disease_related", "longer"),
    ("demo_disease", "disease_in_composite", "added"),
    ("demo_chem", "chemical_with_salt", "longer"),
    ("demo_chem", "chemical_abbreviation", "left out"),
    ("demo_chem", "element", "left out"),
    ("demo_chem", "buffer", "added"),
]


@pytest.mark.parametrize(("corpus", "kind", "conflict"), CONFLICTS)
def test_guidelines_conflict_systematically(drafts, corpus, kind, conflict):
    seen = 0
    for draft in drafts[corpus]["train"]:
        own, bridge = spans(demo.annotate(draft, corpus)), spans(demo.annotate(draft, "demo_all"))
        for stretch in (s for s in draft.stretches if s.kind == kind):
            span = (stretch.start, stretch.end)
            seen += 1
            if conflict == "left out":
                assert span in bridge - own
            else:
                assert span in own - bridge
            if conflict == "longer":
                inside = [(s, e) for s, e in bridge if span[0] <= s and e <= span[1]]
                assert len(inside) == 1
                assert inside[0] not in own
    assert seen >= 15


def test_modifiers_have_a_type_of_their_own_in_demo_disease_only(drafts):
    kinds = Counter(
        (demo.GUIDELINES["demo_all"][s.kind], demo.GUIDELINES["demo_disease"][s.kind])
        for draft in drafts["demo_disease"]["train"]
        for s in draft.stretches
        if s.kind in ("disease_as_modifier", "disease")
    )
    assert set(kinds) == {("Disease", "Modifier"), ("Disease", "SpecificDisease")}
    assert min(kinds.values()) > 50


def test_nesting(corpora):
    counts = {}
    for corpus, splits in corpora.items():
        documents = [d for docs in splits.values() for d in docs]
        mentions = sum(len(d.mentions) for d in documents)
        counts[corpus] = sum(len(nested(d)) for d in documents) / mentions
    assert 0.02 < counts["demo_disease"] < 0.08
    assert 0 < counts["demo_all"] < 0.015
    assert counts["demo_gene"] == counts["demo_chem"] == 0
    # Both kinds of nesting: a gene in a disease, and a disease in a disease.
    inner = {m.type for d in corpora["demo_all"]["train"] + corpora["demo_all"]["test"] for m in nested(d)}
    assert inner == {"Gene"}
    assert {m.type for d in corpora["demo_disease"]["train"] for m in nested(d)} == {"Modifier"}


def test_a_share_of_the_test_names_is_unseen(corpora):
    seen = {d.surface(m).lower() for d in clean_train(corpora) for m in d.mentions}
    for split in ("validation", "test"):
        mentions = [d.surface(m).lower() for d in corpora["demo_all"][split] for m in d.mentions]
        assert 0.25 < sum(m not in seen for m in mentions) / len(mentions) < 0.5


def test_held_out_names_are_in_no_training_text(corpora):
    names = demo.Names(demo.random.Random("0:names"))
    for kind in "GDCS":
        held_out = {e.identifier for e in names.held_out[kind]}
        assert not held_out & {i for d in clean_train(corpora) for m in d.mentions for i in m.identifiers}
        assert held_out & {i for d in corpora["demo_all"]["test"] for m in d.mentions for i in m.identifiers}


def test_few_strings_have_two_types(corpora):
    types = defaultdict(set)
    documents = [d for split in SPLITS for d in corpora["demo_all"][split]]
    for document in documents:
        for mention in document.mentions:
            types[document.surface(mention)].add(mention.type)
    ambiguous = {surface for surface, kinds in types.items() if len(kinds) > 1}
    assert ambiguous
    assert ambiguous <= set(demo.AMBIGUOUS)
    mentions = [document.surface(m) for document in documents for m in document.mentions]
    assert sum(m in ambiguous for m in mentions) / len(mentions) < 0.03


def test_label_space_covers_every_type(documents):
    assert list(DEMO_LABEL_SPACE.corpora) == CORPORA
    assert DEMO_LABEL_SPACE.shared_types == ["Gene", "Disease", "Chemical", "Species"]
    used = defaultdict(set)
    for document in documents:
        used[document.corpus] |= {m.type for m in document.mentions}
    for corpus in CORPORA:
        assert used[corpus] == set(DEMO_LABEL_SPACE.native_types(corpus)) == set(GUIDELINES[corpus].values())
    assert DEMO_LABEL_SPACE.shared("demo_chem", "OTHER") is None


def test_every_kind_of_every_guideline_occurs(drafts):
    occurring = {
        s.kind for splits in drafts.values() for docs in splits.values() for draft in docs for s in draft.stretches
    }
    assert {kind for guideline in GUIDELINES.values() for kind in guideline} == occurring


@pytest.mark.parametrize("seed", [1, 7])
def test_other_seeds_are_well_formed_too(seed):
    corpora = load_demo_corpora(seed)
    assert {c: {s: len(d) for s, d in splits.items()} for c, splits in corpora.items()} == SIZES
    ids = Counter(d.id for splits in corpora.values() for docs in splits.values() for d in docs)
    assert sum(count > 1 for count in ids.values()) == SHARED_DOCUMENTS
