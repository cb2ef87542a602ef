"""What a document doesn't declare is unknown, from the file to the loss and the score: two documents of one file may differ."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

import pytest
import torch
from helpers_run import QUICK, fails, messages, results, run
from helpers_sruner import calm
from mosaic_ner.analysis.compare import ComparisonError, compare
from mosaic_ner.data_builders.builder import FEATURES, document_to_example, example_to_document
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.overlap import part_overlap
from mosaic_ner.data_builders.run_data import RunDataError, load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelError, LabelSpace
from mosaic_ner.training.aioner import build_scheme
from mosaic_ner.training.evaluator import Evaluator
from test_trainer import Parrot, figures
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import AutoConfig

TEXTS = [
    ("BRCA1 causes velosis in mice, as was seen before.", "BRCA1", "velosis"),
    ("We saw that TP53 is not expressed in glioma.", "TP53", "glioma"),
    ("No PAX6 was found in aniridia of the other eye.", "PAX6", "aniridia"),
]
GENE, DISEASE, BOTH = frozenset({"Gene"}), frozenset({"Disease"}), frozenset({"Gene", "Disease"})


def document(number: int, declared, *annotated: str) -> Document:
    """A text with a gene and a disease, of which those of the named types are annotated; by default the declared ones."""
    text, gene, disease = TEXTS[number % len(TEXTS)]
    text, kinds = f"{text} It is case {number}.", annotated or declared or BOTH
    found = [(gene, "Gene"), (disease, "Disease")]
    mentions = [Mention(text.index(s), text.index(s) + len(s), t) for s, t in found if t in kinds]
    return Document(f"d{number}", "user", text, tuple(mentions), declared)


def read(tmp_path, documents: list[Document], **options):
    """What a run makes of a file of the documents."""
    path = tmp_path / "train.jsonl"
    write_documents(documents, path)
    return load_run_data(DataOptions(train_file=str(path), **options))


FAMILIES = [
    pytest.param({"family": "aioner", "restrict_labels": True}, id="aio"),
    pytest.param({"family": "aioner", "scheme": "mtl"}, id="mtl"),
    pytest.param({"family": "aioner", "scheme": "mtl", "classifier": "softmax"}, id="mtl-softmax"),
    pytest.param({"family": "span_cvae"}, id="span_cvae"),
    pytest.param({"family": "span_cvae", "labels_per": "shared"}, id="span_cvae-shared"),
    pytest.param({"family": "joint_ib", "latent_size": 8, "hidden_size": 8, "decoder_size": 8}, id="joint_ib"),
    pytest.param({"family": "sruner", "context": 6}, id="sruner"),
    pytest.param({"family": "sruner", "context": 6, "history": "logits", "follow_gold": False}, id="sruner-paper"),
]


def bundle_of(build_bundle, data, **options):
    bundle = build_bundle(data.space, lively=True, documents=data.train["user"], dropout=0.0, **options)
    if options["family"] == "sruner":
        calm(bundle.model)
    return bundle


def outputs_of(model, kind: str) -> list[int]:
    """The scores that say something of a type: its labels, outputs or actions."""
    return [n for n, label in model.config.id2label.items() if kind in re.split("[-:@]", label)]


# ---- the loss


@pytest.mark.parametrize("options", FAMILIES)
def test_scores_of_types_that_a_document_does_not_declare_get_exactly_no_gradient(build_bundle, tmp_path, options):
    data = read(tmp_path, [document(0, GENE), document(1, DISEASE), document(2, BOTH), document(3, None)])
    bundle = bundle_of(build_bundle, data, **options)
    features = bundle.features.build(data.train["user"]).features
    assert len(features) == 4
    for dtype in (torch.float32, torch.float64):
        bundle.model.to(dtype).zero_grad()
        output = bundle.model(**bundle.collator(features))
        output.logits.retain_grad()
        output.loss.backward()
        reached = [
            [bool(row[..., outputs_of(bundle.model, kind)].any()) for kind in ("Gene", "Disease")]
            for row in output.logits.grad
        ]
        assert reached == [[True, False], [False, True], [True, True], [True, True]]


@pytest.mark.parametrize("options", [*FAMILIES, pytest.param({"family": "aioner"}, id="aioner")])
def test_mentions_that_a_document_does_not_declare_teach_nothing_and_are_counted(build_bundle, tmp_path, options):
    plain = [document(0, GENE), document(1, DISEASE), document(2, BOTH)]
    more = [document(0, GENE, *BOTH), document(1, DISEASE, *BOTH), document(2, BOTH)]
    data = read(tmp_path, more)
    bundle = bundle_of(build_bundle, data, **options)
    wanted = bundle.features.build(plain).features
    assert bundle.features.coverage.undeclared.total() == 0
    assert bundle.features.build(data.train["user"]).features == wanted
    row = bundle.features.coverage.to_dict()["user"]
    assert (row["mentions"], row["undeclared"]) == (2 * 4, 2)
    assert "beside them 2 of types that their documents don't declare" in bundle.features.coverage.summary()


def test_the_loss_of_spans_is_that_of_a_corpus_with_the_declared_types_alone(build_bundle, tmp_path):
    data = read(tmp_path, [document(0, GENE), document(1, DISEASE)])
    bundle = bundle_of(build_bundle, data, family="span_cvae", alpha=0.0)
    (feature,) = bundle.features.build([data.train["user"][0]]).features
    output = bundle.model(**bundle.collator([feature]))
    labels = {name: number for number, name in bundle.model.config.id2label.items()}
    chosen = [labels["user:O"], labels["user:Gene"]]
    assert torch.isneginf(output.logits[..., labels["user:Disease"]]).all()
    widest, total, cells = bundle.model.config.max_span_width, 0.0, dict(zip(feature["cells"], [1], strict=True))
    units = len(feature["unit_starts"])
    for first in range(units):
        for wide in range(min(widest, units - first)):
            target = torch.tensor(cells.get(first * widest + wide, 0))
            total += cross_entropy(output.logits[0, first, wide, chosen].double(), target)
    assert output.loss.item() == pytest.approx(total.item() / bundle.model.config.max_tokens, rel=1e-5)


def test_the_loss_of_sigmoids_is_that_of_the_declared_types(build_bundle, tmp_path):
    data = read(tmp_path, [document(0, GENE), document(1, DISEASE)])
    bundle = bundle_of(build_bundle, data, family="joint_ib", gamma=0.0, beta=0.0)
    (feature,) = bundle.features.build([data.train["user"][0]]).features
    output = bundle.model(**bundle.collator([feature]))
    units, widest = len(feature["unit_starts"]), bundle.model.config.max_span_width
    scores = output.logits[0, :units, :, bundle.model.config.types.index(("user", "Gene"))]  # the rest is padding
    inside = torch.tensor([[first + wide < units for wide in range(widest)] for first in range(units)])
    gold = torch.zeros(units * widest)
    gold[feature["cells"]] = 1
    wanted = binary_cross_entropy_with_logits(scores[inside], gold.view(units, widest)[inside], reduction="sum")
    assert output.loss.item() == pytest.approx(wanted.item() / bundle.model.config.max_tokens, rel=1e-5)


def test_the_cvae_is_not_told_that_a_span_of_unknown_type_is_none(build_bundle, tmp_path):
    empty = [Document(str(n), "user", TEXTS[0][0], (), own) for n, own in enumerate((GENE, BOTH))]
    data = read(tmp_path, [document(0, GENE), document(1, DISEASE)])
    bundle = bundle_of(build_bundle, data, family="span_cvae")
    partly, wholly = (bundle.features.build([d]).features for d in empty)
    terms = [bundle.model(**bundle.collator(part)).loss_terms for part in (partly, wholly)]
    assert terms[0]["reconstruction"] == terms[0]["kl"] == 0 < min(terms[1]["reconstruction"], terms[1]["kl"])
    assert terms[0]["ce"] > 0
    gold = bundle.features.build([data.train["user"][0]]).features
    assert bundle.model(**bundle.collator(gold)).loss_terms["kl"] > 0


@pytest.mark.parametrize("options", FAMILIES)
def test_a_document_that_declares_nothing_gives_no_example(build_bundle, tmp_path, options, caplog):
    silent = document(1, frozenset(), "Gene")
    data = read(tmp_path, [document(0, BOTH), silent])
    assert data.train["user"][1].annotated_types == frozenset()
    bundle = bundle_of(build_bundle, data, **options)
    with caplog.at_level(logging.WARNING):
        assert len(bundle.features.build(data.train["user"])) == 1
    assert "user: 1 documents teach nothing" in messages(caplog)
    assert bundle.features.coverage.to_dict()["user"]["undeclared"] == 1
    with pytest.raises(RunDataError, match="every training document declares annotated_types \\[\\]"):
        read(tmp_path, [silent], corpus_types=["Gene"]).check_trainable()


# ---- native and shared types

MAPPED = LabelSpace({"user": {"protein": "Gene", "family": "Gene", "illness": "Disease", "unit": None}})


@pytest.mark.parametrize(
    ("declared", "native", "shared"),
    [
        (None, ["protein", "family", "illness", "unit"], ["Gene", "Disease"]),
        ({"illness", "unit"}, ["illness", "unit"], ["Disease"]),
        ({"protein", "illness"}, ["protein", "illness"], ["Disease"]),  # a family name may be there, not annotated
        ({"family", "protein"}, ["protein", "family"], ["Gene"]),
        ({"unit"}, ["unit"], []),
        (set(), [], []),
    ],
)
def test_a_shared_type_is_declared_where_all_its_native_types_are(declared, native, shared):
    made = Document("1", "user", "text", (), None if declared is None else frozenset(declared))
    assert MAPPED.annotated_types(made) == native
    assert MAPPED.annotated_shared_types(made) == shared


def test_a_declared_type_that_the_mapping_lacks_is_an_error():
    with pytest.raises(LabelError, match="did you mean 'protein'"):
        MAPPED.annotated_types(Document("1", "user", "text", (), frozenset({"proteins"})))


def test_declared_types_are_the_corpus_s_though_they_never_occur(tmp_path):
    data = read(tmp_path, [document(0, BOTH, "Gene")])
    assert data.space.native_types("user") == ["Gene", "Disease"]
    with pytest.raises(RunDataError, match="the files annotate Disease, which --corpus_types doesn't name"):
        read(tmp_path, [document(0, BOTH, "Gene")], corpus_types=["Gene"])


def partly_mapped(declared) -> Document:
    text = "p53 and the kinases cause glioma."
    mentions = (Mention(0, 3, "protein"), Mention(12, 19, "family"), Mention(26, 32, "illness"))
    return Document("1", "user", text, mentions, frozenset(declared))


@pytest.mark.parametrize("options", [{"family": "aioner"}, {"family": "span_cvae", "labels_per": "shared"}])
def test_part_of_a_shared_type_leaves_it_unknown(build_bundle, options):
    documents = [partly_mapped({"protein", "illness"}), partly_mapped({"protein", "family", "illness"})]
    bundle = build_bundle(MAPPED, documents=documents, **options)
    half, whole = (bundle.features.build([d]).features for d in documents)
    assert bundle.features.coverage.to_dict()["user"]["undeclared"] == 2  # the protein and the family name of the first
    if options["family"] == "aioner":
        names = [[bundle.model.config.tasks[f["task_ids"]].name for f in part] for part in (half, whole)]
        assert names == [["Disease"], ["ALL"]]
    else:
        assert {bundle.model.config.id2label[n] for n, known in enumerate(half[0]["type_mask"]) if known} == {
            "Disease",
            "O",
        }
        assert bundle.model(**bundle.collator(half)).loss.isfinite()
    assert all(f["input_ids"] for f in whole)


def test_families_of_native_types_learn_the_part(build_bundle):
    documents = [partly_mapped({"protein", "illness"})]
    bundle = build_bundle(MAPPED, documents=documents, family="joint_ib")
    (feature,) = bundle.features.build(documents).features
    known = [name for (_, name), own in zip(bundle.model.config.types, feature["type_mask"], strict=True) if own]
    assert known == ["protein", "illness"]
    assert len(feature["cells"]) == 2


# ---- AIONER's tasks

ONE = LabelSpace({"user": {"Gene": "Gene", "Disease": "Disease"}})


def test_documents_that_declare_different_types_have_tasks_of_these_and_no_all():
    scheme = build_scheme("aio", ONE, declared={"user": {GENE, DISEASE}})
    assert [t.name for t in scheme.tasks] == ["Gene", "Disease"] == scheme.default_tasks == scheme.corpus_tasks["user"]
    assert scheme.labels == ("B-Gene", "I-Gene", "B-Disease", "I-Disease", "O-Gene", "O-Disease")
    with pytest.raises(LabelError, match="no training document of the bridge corpus 'user' annotates all of its types"):
        build_scheme("aio", ONE, ["user"], {"user": {GENE, DISEASE}})


def test_the_all_task_is_there_for_documents_that_declare_everything(build_bundle):
    documents = [document(0, GENE), document(1, BOTH), document(2, None)]
    scheme = build_scheme("aio", ONE, declared={"user": {GENE, BOTH}})
    assert [t.name for t in scheme.tasks] == ["ALL", "Gene"]
    assert scheme.corpus_tasks == {"user": ["ALL"]}
    assert (scheme.default_tasks, scheme.modes["ind"]) == (["ALL"], ["Gene"])
    bundle = build_bundle(ONE, documents=documents)
    dataset = bundle.features.build(documents)
    assert dataset.groups == ["Gene", "ALL", "ALL"]
    outside = [{bundle.model.config.id2label[n] for n in f["labels"] if n >= 0} for f in dataset.features]
    assert [{n for n in names if n[0] == "O"} for names in outside] == [{"O-Gene"}, {"O-ALL"}, {"O-ALL"}]


def test_a_type_that_no_document_declares_is_not_asked_for():
    wide = LabelSpace({"user": {"Gene": "Gene", "Disease": "Disease", "Cell": "Cell"}})
    scheme = build_scheme("aio", wide, declared={"user": {BOTH}})
    assert scheme.task("ALL").types == ("Gene", "Disease")
    assert not any("Cell" in label for label in scheme.labels)
    assert build_scheme("mtl", wide, declared={"user": {GENE}}).task("user").types == ("Gene",)


def test_naive_refuses_what_it_would_teach_as_negative(tmp_path, capsys):
    write_documents([document(0, GENE), document(1, BOTH)], tmp_path / "a.jsonl")
    message = fails(
        capsys, "--train_file", tmp_path / "a.jsonl", "--scheme", "naive", *QUICK, "--output_dir", tmp_path / "out"
    )
    assert "user has documents that declare Gene only, of Gene, Disease; take --scheme aio or mtl" in message
    assert build_scheme("naive", ONE, declared={"user": {BOTH}}).corpus_tasks == {"user": ["ALL"]}


def test_a_corpus_without_any_wholly_declared_type_trains_no_tagger(build_bundle):
    with pytest.raises(
        LabelError, match=r"user can't train a tagger.*none of its documents declares a type of the run"
    ):
        build_bundle(MAPPED, documents=[partly_mapped({"protein"})])


# ---- the scores


def test_undeclared_types_are_not_scored_on_either_side(shared_bundle):
    texts = [TEXTS[0][0], TEXTS[1][0]]
    gene, disease = Mention(0, 5, "Gene"), Mention(13, 20, "Disease")
    documents = [
        Document("1", "demo_all", texts[0], (gene, disease), GENE),
        Document("2", "demo_all", texts[1], (Mention(12, 16, "Gene"),), DISEASE),
    ]
    said = {
        texts[0]: [gene, replace(disease, end=19)],
        texts[1]: [Mention(37, 43, "Disease"), Mention(0, 2, "Species")],
    }
    parrot = Parrot(shared_bundle.model, said, shared_bundle.features.windower)
    space = LabelSpace({"demo_all": {t: t for t in ("Gene", "Disease", "Species")}})
    measured = Evaluator(parrot, space, tag_level=True).evaluate(documents, full=True)
    report = measured.report
    for row in (report["overall"], report["disjoint"]["overall"], report["merged"]["overall"]):
        assert figures(row) == (1 / 2, 1, 1, 2)
    assert set(report["per_type"]) == {"Gene", "Disease"}  # no document declares Species
    assert report["ignored"] == report["merged"]["ignored"] == {"gold": 2, "predicted": 2}
    assert report["errors"]["false_positives"]["total"] == 1
    assert (report["seqeval"]["support"], report["seqeval"]["recall"]) == (1, 1)
    assert measured.document_f1 == [1.0, 0.0]
    assert [[m.type for m in d.mentions] for d in measured.gold] == [["Gene"], []]
    assert [[m.type for m in d.mentions] for d in measured.predicted] == [["Gene"], ["Disease"]]
    assert "ignored, of types that aren't annotated: 2 gold, 2 predicted" in measured.summary()


def test_native_types_are_scored_where_they_are_declared_and_shared_ones_where_they_are_whole(build_bundle):
    gold = partly_mapped({"protein", "illness"})
    bundle = build_bundle(MAPPED, trained=["user"], family="joint_ib")
    said = [Mention(0, 3, "protein"), Mention(12, 19, "protein"), Mention(12, 19, "family"), Mention(26, 32, "illness")]
    parrot = Parrot(bundle.model, {gold.text: said}, bundle.features.windower)
    report = Evaluator(parrot, MAPPED).evaluate([gold], full=True).report
    assert figures(report["overall"]) == (1, 1, 1, 1)
    assert set(report["per_type"]) == {"Disease"}
    assert figures(report["disjoint"]["overall"]) == (2 / 3, 1, 2, 3)
    assert report["disjoint"]["ignored"] == {"gold": 1, "predicted": 1}


def test_validation_scores_leave_undeclared_types_out(build_bundle, trainer_for):
    documents = [document(0, GENE, *BOTH), document(1, DISEASE, *BOTH)]
    bundle = build_bundle(ONE, documents=documents)
    trainer = trainer_for(bundle, bundle.features.build(documents), {"user": documents})
    said = {d.text: [m for m in d.mentions if m.type in d.annotated_types] for d in documents}
    trainer.evaluator = Evaluator(Parrot(bundle.model, said), ONE)
    assert trainer.evaluate()["eval_f1"] == 1


def test_copying_is_scored_on_what_both_documents_declare():
    text = "BRCA1 causes velosis in mice, and the same text is in two corpora, word for word."
    gene, disease = Mention(0, 5, "Gene"), Mention(13, 20, "Disease")
    scored = Document("1", "user", text, (gene, disease), GENE)
    for declared, right, copied in ((BOTH, 1, 1), (GENE, 1, 1), (DISEASE, 0, 0)):
        training = Document("1", "user", text, (gene, disease), declared)
        report = part_overlap({"user": [training]}, {"user/test": [scored]}, labels=ONE)[2]
        found = report.evaluation["user/test"]
        assert (found.mentions, found.mentions_in_training, found.copied) == (1, right, copied)


def test_runs_scored_on_different_declarations_are_not_compared(tmp_path):
    folders = []
    for name, data in (("a", {"declared": {"Gene": 1}}), ("b", {}), ("c", {"declared": {"Gene": 1}})):
        folder = tmp_path / name
        folder.mkdir()
        found = {"settings": {}, "test": {"user": {"overall": {"f1": 0.5}}}, "data": {"test": {"user": data}}}
        (folder / "results.json").write_text(json.dumps(found))
        (folder / "document_f1.json").write_text(json.dumps({"user": [0.5]}))
        folders.append(folder)
    assert compare(folders[:1], folders[2:], "user")["p"] is None
    with pytest.raises(ComparisonError, match="scored on different types"):
        compare(folders[:1], folders[1:2], "user")


# ---- files and whole runs


@pytest.mark.parametrize("declared", [None, frozenset(), GENE])
def test_nothing_declared_and_nothing_said_are_told_apart_in_files(tmp_path, declared):
    made = document(0, declared, "Gene")
    write_documents([made], tmp_path / "a.jsonl")
    assert [*read_documents(tmp_path / "a.jsonl")] == [made]
    assert example_to_document(FEATURES.decode_example(FEATURES.encode_example(document_to_example(made)))) == made


def test_a_part_of_a_corpus_declares_no_more_than_its_documents(tmp_path):
    data = read(
        tmp_path, [document(0, GENE), document(1, None)], parts={"half": {"of": "user", "types": ["Disease"]}},
        corpora=["half"],
    )  # fmt: skip
    assert [d.annotated_types for d in data.train["half"]] == [frozenset(), DISEASE]


@pytest.mark.parametrize(
    ("family", "options", "names"),
    [
        ("aioner", [], ["Gene", "Disease"]),
        ("aioner", ["--scheme", "mtl"], ["user"]),
        ("span_cvae", [], ["user"]),
        ("joint_ib", ["--pretraining", "0.5"], ["ALL", "user"]),
        ("sruner", [], ["ALL", "user"]),
    ],
)
def test_a_run_on_documents_that_declare_different_types(tmp_path, family, options, names, caplog):
    for split, begin in (("train", 0), ("validation", 10), ("test", 20)):
        kinds = [GENE, DISEASE, GENE, BOTH if "mtl" in options else DISEASE]
        write_documents([document(begin + n, own, *BOTH) for n, own in enumerate(kinds)], tmp_path / f"{split}.jsonl")
    files = [word for s in ("train", "validation", "test") for word in (f"--{s}_file", tmp_path / f"{s}.jsonl")]
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO):
        run(*files, "--family", family, *options, *QUICK, "--article_ids", "pmid", "--output_dir", out)
    found = results(out)
    sets = {"Gene": 2, "Disease": 1, "Gene, Disease": 1} if "mtl" in options else {"Gene": 2, "Disease": 2}
    assert found["data"]["train"]["user"]["declared"] == found["data"]["test"]["user"]["declared"] == sets
    scored = 5 if "mtl" in options else 4
    assert found["test"]["user"]["overall"]["support"] == scored
    assert found["test"]["user"]["ignored"]["gold"] == found["validation"]["user"]["ignored"]["gold"] == 8 - scored
    assert found["coverage"]["user"]["undeclared"] == 3 * (8 - scored)
    assert "2 annotate Gene only" in messages(caplog)
    card = " ".join((out / "README.md").read_text().split())
    assert "Documents that declare fewer types than their corpus, by their types: user: 2 of Gene, " in card
    assert f"({8 - scored} gold and " in card
    tasks = [task["name"] for task in AutoConfig.from_pretrained(out).to_dict()["tasks"]]
    assert tasks == names
    run("--do_predict", "--model_name_or_path", out, "--predict_input", tmp_path / "test.jsonl",
        "--predict_output", tmp_path / "said.jsonl", "--report_to", "none")  # fmt: skip
    assert len([*read_documents(tmp_path / "said.jsonl")]) == 4
