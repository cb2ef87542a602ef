"""Training features: unknown is never negative, and every mention is tagged or counted."""

from __future__ import annotations

import itertools

import pytest
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelError
from mosaic_ner.modeling.modeling_aioner import decode_tags
from mosaic_ner.modeling.windowing import CAUSES, align, keep_flat
from mosaic_ner.training.features import in_shared_types, shared_mentions

PARTIAL = ["demo_gene", "demo_disease", "demo_chem"]


@pytest.fixture(scope="module")
def fresh(build_bundle):
    """Function: model options → a bundle that has counted nothing yet."""
    return build_bundle


def labels_of(bundle, feature) -> set[str]:
    return {bundle.model.config.id2label[i] for i in feature["labels"] if i >= 0}


def document(text: str, *mentions: tuple, corpus: str = "demo_all") -> Document:
    found = []
    for surface, name in mentions:
        start = text.index(surface)
        found.append(Mention(start, start + len(surface), name))
    return Document("1", corpus, text, tuple(found))


def tagged_tokens(bundle, text, feature) -> list[tuple[str, str | None]]:
    """(token's text, label or None where there is none) of a document of one window."""
    (window,) = bundle.features.windower([text])[0]
    task = bundle.model.config.tasks[feature["task_ids"]]
    before = len(task.prefix_ids)
    labels = feature["labels"][before : before + len(window.input_ids)]
    assert set(feature["labels"][:before] + feature["labels"][before + len(labels) :]) == {-100}
    names = bundle.model.config.id2label
    return [(text[s:e], names.get(i)) for (s, e), i in zip(window.offsets, labels, strict=True)]


# ---- unknown is never negative


@pytest.mark.parametrize("corpus", PARTIAL)
def test_a_partial_corpus_never_gets_the_all_task_its_tag_or_its_negative(fresh, demo_corpora, corpus):
    bundle = fresh()
    dataset = bundle.features.build(demo_corpora[corpus]["train"][:40])
    (shared,) = DEMO_LABEL_SPACE.shared_types_of(corpus)
    own = {f"B-{shared}", f"I-{shared}", f"O-{shared}"}
    tags = {bundle.tokenizer.convert_tokens_to_ids(t) for t in ("<ALL>", "</ALL>")}
    assert set(dataset.groups) == {shared}
    for feature in dataset:
        assert labels_of(bundle, feature) <= own
        assert not tags & set(feature["input_ids"])
    assert set().union(*(labels_of(bundle, f) for f in dataset)) == own


def test_the_bridge_never_gets_the_negative_of_one_type(fresh, demo_corpora):
    bundle = fresh()
    dataset = bundle.features.build(demo_corpora["demo_all"]["train"][:40])
    assert set(dataset.groups) == {"ALL"}
    seen = set().union(*(labels_of(bundle, f) for f in dataset))
    types = DEMO_LABEL_SPACE.shared_types
    assert seen == {f"{kind}-{t}" for t in types for kind in "BI"} | {"O-ALL"}


def test_multi_task_features_stay_within_their_corpus(fresh, demo_corpora):
    bundle = fresh(scheme="mtl")
    for corpus in DEMO_LABEL_SPACE.corpora:
        dataset = bundle.features.build(demo_corpora[corpus]["train"][:5])
        assert set(dataset.groups) == {corpus}
        assert all(
            name.endswith(f"@{corpus}") or name == f"O-{corpus}" for f in dataset for name in labels_of(bundle, f)
        )


def test_the_naive_union_does_take_unknown_for_negative(fresh):
    text = "BRCA1 was seen in cancer."
    gene_only = document(text, ("BRCA1", "Gene"), corpus="demo_gene")
    (naive,) = fresh(scheme="naive").features.build([gene_only])
    bundle = fresh(scheme="naive")
    assert dict(tagged_tokens(bundle, text, naive))["."] == "O-ALL"
    assert all(label == "O-ALL" for token, label in tagged_tokens(bundle, text, naive) if token in "cancer")
    aio = fresh()
    (feature,) = aio.features.build([gene_only])
    assert all(label == "O-Gene" for token, label in tagged_tokens(aio, text, feature) if token in "cancer")


def test_a_type_without_counterpart_becomes_no_label_and_is_counted_apart(fresh):
    text = "BRCA1 was seen in aspirin and PBS."
    bundle = fresh()
    (feature,) = bundle.features.build([document(text, ("aspirin", "Chemical"), ("PBS", "OTHER"), corpus="demo_chem")])
    tagged = tagged_tokens(bundle, text, feature)
    start = [token for token, _ in tagged].index("and")
    assert {label for _, label in tagged[start:]} == {"O-Chemical"}
    assert not any("OTHER" in name for name in bundle.model.config.id2label.values())
    row = bundle.features.coverage.to_dict()["demo_chem"]
    assert (row["mentions"], row["represented"], row["outside_scheme"]) == (1, 1, 1)


# ---- labels


def test_labels_by_hand(fresh):
    text = "The BRCA1 breast cancer mice."
    bundle = fresh()
    (feature,) = bundle.features.build(
        [document(text, ("BRCA1", "Gene"), ("breast cancer", "Disease"), ("mice", "Species"))]
    )
    tagged = tagged_tokens(bundle, text, feature)
    for surface, name in (("BRCA1", "Gene"), ("breast cancer", "Disease"), ("mice", "Species")):
        start = text.index(surface)
        position = next(
            i
            for i in range(len(tagged))
            if len("".join(t for t, _ in tagged[:i])) == len(text[:start].replace(" ", ""))
        )
        labels = []
        length = len(surface.replace(" ", ""))
        while length > 0:
            labels.append(tagged[position][1])
            length -= len(tagged[position][0])
            position += 1
        assert labels == [f"B-{name}"] + [f"I-{name}"] * (len(labels) - 1)
    assert tagged[0] == ("The", "O-ALL")
    assert tagged[-1] == (".", "O-ALL")
    assert sum(label[0] == "B" for _, label in tagged) == 3


def test_tokens_of_a_mention_that_cannot_be_represented_are_left_out_of_the_loss(fresh):
    text = "The study of the patient was in the end."
    bundle = fresh()
    (window,) = bundle.features.windower([text])[0]
    start, end = next((s, e) for s, e in window.offsets if e - s > 2)
    lost = Document("1", "demo_all", text, (Mention(start, end - 1, "Gene"),))
    (feature,) = bundle.features.build([lost])
    tagged = tagged_tokens(bundle, text, feature)
    assert next(label for token, label in tagged if token == text[start:end]) is None
    assert sum(label is None for _, label in tagged) == 1
    assert bundle.features.coverage.to_dict()["demo_all"]["lost"] == {"token_boundary": 1}


def test_a_mention_cut_by_a_window_is_left_out_of_the_loss_in_every_window(fresh):
    text = " ".join(f"w{n % 10}" for n in range(200))
    bundle = fresh()
    windows = bundle.features.windower([text])[0]
    assert len(windows) > 2
    mention = Mention(windows[0].offsets[3][0], windows[1].offsets[-4][1], "Gene")
    features = bundle.features.build([Document("1", "demo_all", text, (mention,))])
    for window, feature in zip(windows, features, strict=True):
        for (start, end), label in zip(window.offsets, feature["labels"][2:-2], strict=True):
            inside = start < mention.end and mention.start < end
            assert (label == -100) == inside
    assert bundle.features.coverage.to_dict()["demo_all"]["lost"] == {"window_cut": 1}


def test_a_lost_mention_of_another_task_does_not_matter(fresh):
    text = "The study of the patient was in the end."
    bundle = fresh(space=DEMO_LABEL_SPACE, bridge=[])
    (window,) = bundle.features.windower([text])[0]
    start, end = next((s, e) for s, e in window.offsets if e - s > 2)
    dataset = bundle.features.build([Document("1", "demo_all", text, (Mention(start, end - 1, "Gene"),))])
    missing = {
        g: sum(label == -100 for label in f["labels"][2:-2]) for g, f in zip(dataset.groups, dataset, strict=True)
    }
    assert missing == {"Gene": 1, "Disease": 0, "Chemical": 0, "Species": 0}


def test_the_longest_of_nested_mentions_is_tagged_and_the_other_counted(fresh):
    text = "The breast cancer of mice."
    bundle = fresh()
    nested = document(text, ("breast cancer", "Disease"), ("cancer", "Disease"))
    (feature,) = bundle.features.build([nested])
    (alone,) = bundle.features.build([document(text, ("breast cancer", "Disease"))])
    assert feature == alone
    assert bundle.features.coverage.to_dict()["demo_all"]["lost"] == {"nested": 1}


def test_what_a_crossing_mention_has_beyond_the_longer_one_is_not_negative(fresh):
    text = "The severe breast cancer cells grew."
    bundle = fresh()
    crossing = document(text, ("severe breast cancer", "Disease"), ("cancer cells", "Gene"))
    (feature,) = bundle.features.build([crossing])
    tagged = tagged_tokens(bundle, text, feature)
    place = len("The severe breast cancer".replace(" ", ""))
    after = [
        label for i, (_, label) in enumerate(tagged) if place <= len("".join(t for t, _ in tagged[:i])) < place + 5
    ]
    assert after
    assert set(after) == {None}
    assert {label for token, label in tagged if token in ("The", "grew", ".")} == {"O-ALL"}
    assert bundle.features.coverage.to_dict()["demo_all"]["lost"] == {"nested": 1}


def test_tags_on_first_tokens_lose_mentions_inside_words_and_say_so(fresh):
    text = "The anti-BRCA1 and BRCA2 genes."
    bundle = fresh(label_first_token_only=True)
    (feature,) = bundle.features.build([document(text, ("BRCA1", "Gene"), ("BRCA2", "Gene"))])
    assert bundle.features.coverage.to_dict()["demo_all"]["lost"] == {"token_boundary": 1}
    tagged = [label for _, label in tagged_tokens(bundle, text, feature) if label is not None]
    assert [label for label in tagged if label != "O-ALL"] == ["B-Gene"]


@pytest.mark.parametrize("options", [{}, {"scheme": "mtl"}, {"max_tokens": 32}, {"packing": "single"}, {"bridge": []}])
def test_gold_labels_decode_to_the_gold_mentions_and_the_rest_is_counted(fresh, demo_corpora, options):
    bundle = fresh(**options)
    for corpus in DEMO_LABEL_SPACE.corpora:
        documents = demo_corpora[corpus]["train"][:15]
        dataset = bundle.features.build(documents)
        batch = pad_batch(dataset.features, bundle.collator.padding)
        names = [bundle.model.config.id2label[i] for i in range(bundle.model.config.num_labels)]
        chain = batch["labels"] >= 0
        found = decode_tags(batch["labels"].clamp(min=0), chain.float(), chain, names)
        expected, rows = [], iter(zip(dataset.groups, found, strict=True))
        count = nested = 0
        for d, windows in zip(documents, bundle.features.windower([d.text for d in documents]), strict=True):
            mentions = shared_mentions(d, DEMO_LABEL_SPACE)
            whole = [m for m in mentions if any(w.owns(m) and align(w, [m]) for w in windows)]
            count += len(mentions)
            tasks = bundle.model.tasks_for(corpus)
            kept = {}
            for task in tasks:
                kept[task], dropped = keep_flat([m for m in whole if m.type in task.types])
                nested += len(dropped)
            for window, task in itertools.product(windows, tasks):
                name, row = next(rows)
                assert name == task.name
                before = len(task.prefix_ids)
                got = {(window.offsets[s - before][0], window.offsets[e - 1 - before][1], t) for s, e, t, _ in row}
                assert got == {m.key for _, m in align(window, kept[task])}
                expected += got
        row = bundle.features.coverage.to_dict()[corpus]
        assert row["mentions"] == count == row["represented"] + sum(row["lost"].values())
        assert set(row["lost"]) <= set(CAUSES)
        assert row["lost"].get("nested", 0) == nested
        assert len(expected) > 20


def test_evaluation_documents_are_counted_like_training_documents(fresh, demo_corpora):
    one, other = fresh(), fresh()
    documents = demo_corpora["demo_disease"]["test"][:20]
    one.features.build(documents)
    report = other.features.report([documents])
    assert report == one.features.coverage.to_dict()
    assert report["demo_disease"]["lost"]["nested"] > 0


def test_mentions_that_share_a_shared_type_are_one():
    text = "cancer cells"
    twice = Document("1", "demo_disease", text, (Mention(0, 6, "SpecificDisease"), Mention(0, 6, "Modifier")))
    assert [m.key for m in shared_mentions(twice, DEMO_LABEL_SPACE)] == [(0, 6, "Disease")]
    assert in_shared_types(twice, DEMO_LABEL_SPACE).mentions == (Mention(0, 6, "Disease"),)
    with pytest.raises(LabelError, match="did you mean 'Modifier'"):
        shared_mentions(Document("1", "demo_disease", text, (Mention(0, 6, "Modifiers"),)), DEMO_LABEL_SPACE)


def test_padding(fresh, demo_corpora):
    bundle = fresh()
    dataset = bundle.features.build(demo_corpora["demo_all"]["train"][:3])
    assert dataset.lengths == [len(f["input_ids"]) for f in dataset]
    batch = bundle.collator(list(dataset))
    assert batch["attention_mask"].sum(1).tolist() == dataset.lengths
    padding = batch["attention_mask"] == 0
    assert padding.any()
    assert (batch["labels"][padding] == -100).all()
    assert (batch["input_ids"][padding] == bundle.tokenizer.pad_token_id).all()
    assert not batch["chain_mask"][padding].any()
    assert batch["chain_mask"].dtype.is_floating_point is False


@pytest.mark.parametrize("tokens", [5, 16, 17, 40])
def test_tokens_and_units_are_rounded_up_and_types_are_not_even_where_there_are_as_many(tokens):
    def window(n):
        units = {"unit_starts": [*range(n - 2)], "unit_ends": [*range(n - 2)]}
        return {
            "input_ids": [1] * n,
            "chain_mask": [1] * n,
            "type_mask": [1] * tokens,
            "cells": [[0, 0]],
            "corpus_ids": 3,
        } | units

    batch = pad_batch([window(tokens), window(tokens)], {"unit_starts": -1, "unit_ends": -1}, 16, 40)
    rounded = {5: (16, 16), 16: (16, 16), 17: (32, 16), 40: (40, 40)}[tokens]
    assert (batch["input_ids"].shape[1], batch["unit_starts"].shape[1]) == rounded
    assert batch["chain_mask"].shape == batch["attention_mask"].shape == batch["input_ids"].shape
    assert batch["unit_ends"].shape == batch["unit_starts"].shape
    assert batch["type_mask"].shape == (2, tokens)
    assert (batch["attention_mask"].sum(), batch["chain_mask"].sum()) == (2 * tokens, 2 * tokens)
    assert (batch["unit_starts"] >= 0).sum() == 2 * (tokens - 2)
