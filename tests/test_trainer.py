"""The Trainer: gradients, named loss terms, parameter groups, evaluation in characters."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.features import FeatureDataset


def first_features(bundle, demo_corpora, count: int) -> FeatureDataset:
    documents = [*demo_corpora["demo_all"]["train"][:4], *demo_corpora["demo_gene"]["train"][:4]]
    dataset = bundle.features.build(documents)
    every = range(0, len(dataset), len(dataset) // count)
    return FeatureDataset([dataset[i] for i in every][:count], [dataset.groups[i] for i in every][:count])


def without_dropout(bundle):
    """The same weights in a model that drops nothing."""
    config = bundle.model.config
    config.dropout = 0.0
    for name in ("attention_dropout", "mlp_dropout", "embedding_dropout"):
        setattr(config.encoder_config, name, 0.0)
    model = AIONERForTokenClassification(config)
    model.load_state_dict(bundle.model.state_dict())
    return replace(bundle, model=model)


@pytest.mark.parametrize("classifier", ["crf", "softmax"])
def test_accumulating_eight_batches_of_one_equals_one_batch_of_eight(
    build_bundle, demo_corpora, trainer_for, classifier
):
    after = []
    for batch, steps in ((8, 1), (1, 8), (2, 4)):
        bundle = without_dropout(build_bundle(lively=True, classifier=classifier))
        before = {n: p.detach().clone() for n, p in bundle.model.named_parameters()}
        dataset = first_features(bundle, demo_corpora, 8)
        assert len(set(dataset.lengths)) > 2
        trainer = trainer_for(
            bundle, dataset, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, num_train_epochs=1,
            optim="sgd", learning_rate=1.0, max_grad_norm=0.0, weight_decay=0.0, lr_scheduler_type="constant",
        )  # fmt: skip
        trainer.train()
        assert trainer.state.global_step == 1
        after.append({n: p.detach() for n, p in bundle.model.named_parameters()})
        assert max((after[-1][n] - before[n]).abs().max() for n in before) > 1e-2  # the step did something
    for other in after[1:]:
        for name, value in after[0].items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_loss_terms_are_logged_by_name_as_means_since_the_last_log(build_bundle, demo_corpora, trainer_for):
    bundle = without_dropout(build_bundle(lively=True))
    dataset = first_features(bundle, demo_corpora, 8)
    trainer = trainer_for(
        bundle, dataset, per_device_train_batch_size=2, num_train_epochs=1, learning_rate=1e-3, logging_steps=2
    )
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 2
    for row in rows:
        assert row["loss_nll"] > 0
        assert row["loss_nll"] == pytest.approx(row["loss"], rel=1e-4)
    assert rows[0]["loss_nll"] != rows[1]["loss_nll"]


@pytest.mark.parametrize("options", [{}, {"classifier": "softmax", "hidden_size": 16}, {"hidden_size": 16}])
def test_every_trainable_parameter_is_in_exactly_one_group(build_bundle, demo_corpora, trainer_for, options):
    bundle = build_bundle(**options)
    bundle.model.encoder.get_input_embeddings().weight.requires_grad_(False)
    dataset = first_features(bundle, demo_corpora, 2)
    trainer = trainer_for(bundle, dataset, learning_rate=1e-4, head_learning_rate=1e-2, weight_decay=0.05)
    groups = trainer.create_optimizer().param_groups
    names = {id(p): n for n, p in bundle.model.named_parameters()}
    placed = [names[id(p)] for g in groups for p in g["params"]]
    trainable = [n for n, p in bundle.model.named_parameters() if p.requires_grad]
    assert sorted(placed) == sorted(trainable)
    assert len(trainable) == len(names) - 1
    rates = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, (rate, decay) in rates.items():
        head = not name.startswith("encoder.")
        assert rate == (1e-2 if head else 1e-4), name
        free = name.endswith("bias") or "norm" in name or name.startswith("crf.")
        assert decay == (0.0 if free else 0.05), name
    assert {decay for _, decay in rates.values()} == {0.0, 0.05}
    assert ("crf.transitions" in rates) == (options.get("classifier") != "softmax")


def test_one_learning_rate_unless_a_second_is_given(build_bundle, demo_corpora, trainer_for):
    bundle = build_bundle()
    trainer = trainer_for(bundle, first_features(bundle, demo_corpora, 2), learning_rate=1e-4)
    assert {g["lr"] for g in trainer.create_optimizer().param_groups} == {1e-4}


def test_decoders_have_a_rate_of_their_own_and_what_they_read_has_the_heads(build_bundle, demo_corpora, trainer_for):
    documents = demo_corpora["demo_all"]["train"][:6]
    options = {"family": "joint_ib", "gamma": 0.1, "documents": documents, "synonyms": {"brcax": ("brx",)}}
    bundle = build_bundle(**options)
    assert bundle.model.generator.synonyms is not None
    rates = {"learning_rate": 1e-4, "head_learning_rate": 1e-3, "generator_learning_rate": 1e-2}
    trainer = trainer_for(bundle, first_features(bundle, demo_corpora, 2), **rates)
    names = {id(p): n for n, p in bundle.model.named_parameters()}
    for group in trainer.create_optimizer().param_groups:
        for name in (names[id(p)] for p in group["params"]):
            decoder = name.startswith(("generator.words.", "generator.reconstruction.", "generator.synonyms."))
            wanted = "learning_rate" if name.startswith("encoder.") else "head_learning_rate"
            assert group["lr"] == rates["generator_learning_rate" if decoder else wanted], name


def test_sampling_rates_reach_the_training_batches(build_bundle, demo_corpora, trainer_for):
    bundle = build_bundle()
    documents = [*demo_corpora["demo_all"]["train"][:4], *demo_corpora["demo_gene"]["train"][:6]]
    dataset = bundle.features.build(documents)
    share = dataset.groups.count("ALL")
    trainer = trainer_for(bundle, dataset, sampling_rates={"Gene": 0}, per_device_train_batch_size=2)
    windows, padding = trainer.describe_epoch()
    assert windows == share < len(dataset)
    assert 0 <= padding < 0.1
    loader = trainer.get_train_dataloader()
    seen = [i for batch in loader for i in batch["task_ids"].tolist()]
    assert seen == [bundle.model.config.task_index("ALL")] * share


@pytest.mark.parametrize("options", [{}, {"grouped_batches": True, "gradient_accumulation_steps": 2}])
def test_balanced_sampling_reaches_the_training_batches(build_bundle, demo_corpora, trainer_for, options):
    bundle = build_bundle()
    dataset = bundle.features.build(
        [
            *demo_corpora["demo_all"]["train"][:4],
            *demo_corpora["demo_gene"]["train"][:20],
            *demo_corpora["demo_chem"]["train"][:1],
        ]
    )
    sizes = Counter(dataset.groups)
    assert len(sizes) == len(set(sizes.values())) == 3
    plain = trainer_for(bundle, dataset, per_device_train_batch_size=2, **options)
    trainer = trainer_for(bundle, dataset, per_device_train_batch_size=2, balanced_sampling=True, **options)
    share = math.ceil(sizes.total() / 9)
    share += share % 2 if options else 0  # whole batches
    names = [t.name for t in bundle.model.config.tasks]
    for number in range(2):
        loader = trainer.get_train_dataloader()
        loader.batch_sampler.sampler.set_epoch(number)
        batches = [[names[i] for i in batch["task_ids"].tolist()] for batch in loader]
        assert Counter(name for batch in batches for name in batch) == dict.fromkeys(sizes, share)
        assert all(len(set(batch)) == 1 for batch in batches) == bool(options)
    assert trainer.describe_epoch()[0] == 3 * share < plain.describe_epoch()[0]


def told(tasks) -> list[str]:
    """The tasks' names, those in native types marked."""
    return [f"{task.name}:native" if task.types == "native" else task.name for task in tasks]


class Parrot:
    """A predictor that says what it is told, and notes which tasks it was asked for."""

    def __init__(self, model, answers, windower=None):
        self.model, self.answers, self.windower = model, answers, windower
        self.asked = []

    def __call__(self, documents, tasks):
        self.asked.append((len(documents), told(tasks)))
        return [list(self.answers[document.text]) for document in documents]


def test_evaluation_is_in_shared_types_and_only_those_the_corpus_annotates(shared_bundle):
    text = "BRCA1 was seen in aspirin and PBS."
    gold = Document("1", "demo_gene", text, (Mention(0, 5, "FamilyName"),))
    said = [Mention(0, 5, "Gene", score=0.9), Mention(18, 25, "Chemical", score=0.9)]
    parrot = Parrot(shared_bundle.model, {text: said}, shared_bundle.features.windower)
    evaluator = Evaluator(parrot, DEMO_LABEL_SPACE, tag_level=True)
    assert "seqeval" not in evaluator.evaluate([gold]).report
    assert parrot.asked == [(1, ["Gene"])]
    measured = evaluator.evaluate([gold], full=True)
    assert parrot.asked[1:] == [(1, ["Gene"]), (1, ["ALL"])]
    assert measured.report["overall"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1, "predicted": 1}
    assert measured.report["seqeval"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1}
    assert measured.report["documents"] == 1
    assert [m.key for m in measured.gold[0].mentions] == [m.key for m in measured.predicted[0].mentions]
    assert measured.document_f1 == [1.0]
    assert "F1 100.00" in measured.summary()


def test_mentions_that_windows_lose_count_as_missed(shared_bundle):
    text = "The study of the patient was in the end."
    (window,) = shared_bundle.features.windower([text])[0]
    start, end = next((s, e) for s, e in window.offsets if e - s > 2)
    gold = Document("1", "demo_gene", text, (Mention(start, end - 1, "Gene"),))
    parrot = Parrot(shared_bundle.model, {text: []}, shared_bundle.features.windower)
    overall = Evaluator(parrot, DEMO_LABEL_SPACE).evaluate([gold]).report["overall"]
    assert (overall["support"], overall["recall"]) == (1, 0)


def test_each_corpus_is_answered_by_its_own_tasks_in_input_order(shared_bundle):
    texts = {f"text {n}": [Mention(0, 4, "Gene", score=n / 10)] for n in range(4)}
    corpora = ["demo_gene", "demo_all", "demo_gene", "demo_chem"]
    documents = [Document(str(n), c, f"text {n}") for n, c in enumerate(corpora)]
    parrot = Parrot(shared_bundle.model, texts)
    found = Evaluator(parrot, DEMO_LABEL_SPACE, mode="combined").predict(documents)
    assert [m[0].score for m in found] == [0.0, 0.1, 0.2, 0.3]
    everything = ["ALL", "Gene", "Disease", "Chemical"]
    assert parrot.asked == [(2, ["Gene"]), (1, everything), (1, ["Chemical"])]


def counted(wanted, found) -> tuple[float, float, int, int]:
    """Precision, recall, gold and predicted mentions of sets of keys."""
    both = len(wanted & found)
    return both / len(found), both / len(wanted), len(wanted), len(found)


def figures(row) -> tuple[float, float, int, int]:
    return row["precision"], row["recall"], row["support"], row["predicted"]


@pytest.fixture(scope="module")
def span_bundle(build_bundle):
    return build_bundle(family="span_cvae", lively=True, trained=["demo_all", "demo_gene", "demo_chem"])


def test_a_model_with_the_corpus_s_own_types_is_scored_in_them_and_after_mapping(span_bundle):
    texts = ["BRCA1 was seen in aspirin and PBS.", "BRCA1 family, p53 and BRCA1"]
    gold = [
        Document("1", "demo_gene", texts[0], (Mention(0, 5, "FamilyName"),)),
        Document("2", "demo_gene", texts[1], (Mention(0, 5, "Gene"), Mention(14, 17, "Gene"), Mention(22, 27, "Gene"))),
    ]
    said = {
        texts[0]: [Mention(0, 5, "Gene", score=0.9), Mention(18, 25, "Gene", score=0.9)],
        texts[1]: [Mention(0, 5, "Gene", score=0.9), Mention(14, 17, "FamilyName", score=0.5)],
    }
    parrot = Parrot(span_bundle.model, said, span_bundle.features.windower)
    measured = Evaluator(parrot, DEMO_LABEL_SPACE).evaluate(gold, full=True)
    assert parrot.asked == [(2, ["demo_gene:native"]), (2, ["demo_all"])]
    assert figures(measured.report["disjoint"]["overall"]) == (1 / 4, 1 / 4, 4, 4)
    types = measured.report["disjoint"]["per_type"]
    assert figures(types["Gene"]) == (1 / 3, 1 / 3, 3, 3)
    assert figures(types["FamilyName"]) == (0, 0, 1, 1)
    assert figures(measured.report["overall"]) == (3 / 4, 3 / 4, 4, 4)
    assert set(measured.report["per_type"]) == {"Gene"}
    assert {m.type for d in [*measured.gold, *measured.predicted] for m in d.mentions} == {"Gene"}


def test_scores_in_own_types_and_after_mapping_are_those_of_what_the_model_finds(build_bundle, demo_corpora):
    bundle = build_bundle(family="span_cvae", lively=True)
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    documents = demo_corpora["demo_chem"]["validation"]
    # Some of what the model finds becomes gold, so that there is something to count.
    found = predictor(documents, bundle.model.tasks_named(["demo_chem"], "native"))
    gold = [d.with_mentions([*d.mentions, *rows[::3]]) for d, rows in zip(documents, found, strict=True)]
    report = Evaluator(predictor, DEMO_LABEL_SPACE).evaluate(gold, full=True).report
    wanted = {(d.id, *m.key) for d in gold for m in d.mentions}
    keys = {(d.id, *m.key) for d, rows in zip(documents, found, strict=True) for m in rows}
    assert {key[3] for key in keys} == {"Chemical", "OTHER"}
    assert figures(report["disjoint"]["overall"]) == pytest.approx(counted(wanted, keys))
    wanted, keys = ({key for key in part if key[3] == "Chemical"} for part in (wanted, keys))
    assert figures(report["overall"]) == pytest.approx(counted(wanted, keys))
    assert 0.1 < report["overall"]["f1"] < 0.9
    for mode in ("shared", "native"):
        again = Evaluator(predictor, DEMO_LABEL_SPACE, mode=mode).evaluate(gold, full=True).report
        assert again == report


def test_corpora_that_a_model_was_not_trained_on_have_no_scores_in_their_own_types(span_bundle):
    gold = Document("1", "demo_disease", "cancer", (Mention(0, 6, "Modifier"),))
    parrot = Parrot(span_bundle.model, {"cancer": [Mention(0, 6, "Disease", score=0.5)]})
    report = Evaluator(parrot, DEMO_LABEL_SPACE).evaluate([gold], full=True).report
    assert parrot.asked == [(1, ["demo_all"])]
    assert report["disjoint"] is None
    assert figures(report["overall"]) == figures(report["merged"]["overall"]) == (1, 1, 1, 1)


class TaskParrot(Parrot):
    """A parrot whose answers depend on the tasks that it was asked for: {tasks: mentions}, the same for every text."""

    def __call__(self, texts, tasks):
        self.asked.append((len(texts), told(tasks)))
        return [list(self.answers[tuple(told(tasks))]) for _ in texts]


MIXED = LabelSpace(
    {
        "full": {"Gene": "Gene", "Disease": "Disease"},
        "genes": {"GENE": "Gene", "Family": "Gene", "Site": None},
        "odd": {"protein": None, "DNA": None},
    }
)


def test_disjoint_and_merged_by_hand(build_bundle):
    model = build_bundle(space=MIXED, family="sruner").model
    gold = (Mention(0, 9, "GENE"), Mention(0, 4, "Family"), Mention(10, 14, "GENE"), Mention(20, 24, "Site"))
    document = Document("1", "genes", "x" * 40, gold)
    native = [Mention(0, 9, "GENE"), Mention(0, 4, "GENE"), Mention(20, 24, "Site"), Mention(30, 34, "Family")]
    # All types in shared names; those without one keep their own, as `Site` and `protein`.
    every = [Mention(0, 9, "Gene"), Mention(10, 14, "Gene"), Mention(30, 34, "Gene"), Mention(12, 14, "Gene")]
    every += [Mention(0, 4, "Disease"), Mention(20, 24, "Site"), Mention(36, 38, "protein")]
    parrot = TaskParrot(model, {("genes:native",): native, ("ALL",): every})
    report = Evaluator(parrot, MIXED).evaluate([document], full=True).report
    assert parrot.asked == [(1, ["genes:native"]), (1, ["ALL"])]
    # Under the guideline, mapped: (0, 9) and (0, 4) of three, of three predicted.
    assert figures(report["overall"]) == (2 / 3, 2 / 3, 3, 3)
    # In its own types: (0, 9) GENE and (20, 24) Site of four, of four predicted.
    assert figures(report["disjoint"]["overall"]) == (2 / 4, 2 / 4, 4, 4)
    assert figures(report["disjoint"]["per_type"]["Site"]) == (1, 1, 1, 1)
    # Of all types, only Gene counts here: (0, 9) and (10, 14) of three, of four predicted.
    assert figures(report["merged"]["overall"]) == (2 / 4, 2 / 3, 3, 4)
    assert set(report["merged"]["per_type"]) == {"Gene"}
    # (0, 9) and (0, 4) are nested in each other; both are found under the guideline.
    assert report["nested"] == {"recall": 1, "support": 2, "found": 2}


def test_a_corpus_without_shared_types_is_scored_in_its_own(build_bundle):
    model = build_bundle(space=MIXED, family="sruner").model
    document = Document("1", "odd", "x" * 40, (Mention(0, 9, "protein"), Mention(10, 14, "DNA")))
    native = [Mention(0, 9, "protein"), Mention(10, 14, "protein")]
    every = [Mention(0, 9, "protein"), Mention(10, 14, "DNA"), Mention(20, 22, "DNA"), Mention(0, 9, "Gene")]
    parrot = TaskParrot(model, {("odd:native",): native, ("ALL",): every})
    measured = Evaluator(parrot, MIXED).evaluate([document], full=True)
    report = measured.report
    assert figures(report["overall"]) == figures(report["disjoint"]["overall"]) == (1 / 2, 1 / 2, 2, 2)
    assert set(report["per_type"]) == {"protein", "DNA"}
    assert figures(report["merged"]["overall"]) == (2 / 3, 1, 2, 3)
    assert "nested" not in report
    assert measured.document_f1 == [0.5]
    assert Evaluator(parrot, MIXED).evaluate([document]).report["overall"] == report["overall"]
    # A model that answers in shared types only has none for this corpus.
    tagger = build_bundle(space=MIXED, trained=["full", "genes"]).model
    parrot = TaskParrot(tagger, {("ALL",): every})
    report = Evaluator(parrot, MIXED).evaluate([document], full=True).report
    assert figures(report["overall"]) == (0, 0, 0, 0)
    assert report["disjoint"] is report["merged"] is None
    # Nor has one that was never told its names.
    stranger = build_bundle(space=MIXED, family="sruner", trained=["full"]).model
    report = Evaluator(TaskParrot(stranger, {("ALL",): every}), MIXED).evaluate([document], full=True).report
    assert report["disjoint"] is report["merged"] is None


def test_a_tagger_s_guideline_is_its_tasks_for_the_corpus_and_no_answer_is_asked_for_twice(build_bundle):
    model = build_bundle(trained=["demo_all", "demo_gene"]).model
    text = Document("1", "demo_gene", "x" * 40, (Mention(0, 4, "Gene"), Mention(5, 9, "FamilyName")))
    answers = {("Gene",): [Mention(0, 4, "Gene")], ("Disease",): []}
    answers["ALL",] = [Mention(0, 4, "Gene"), Mention(5, 9, "Gene"), Mention(10, 12, "Disease")]
    parrot = TaskParrot(model, answers)
    evaluator = Evaluator(parrot, DEMO_LABEL_SPACE)
    report = evaluator.evaluate([text], full=True).report
    assert parrot.asked == [(1, ["Gene"]), (1, ["ALL"])]
    assert figures(report["disjoint"]["overall"]) == figures(report["overall"]) == (1, 1 / 2, 2, 1)
    assert figures(report["merged"]["overall"]) == (1, 1, 2, 2)
    parrot.asked.clear()
    report = evaluator.evaluate([Document("1", "demo_all", "x" * 40, (Mention(0, 4, "Gene"),))], full=True).report
    assert parrot.asked == [(1, ["ALL"])]
    assert figures(report["disjoint"]["overall"]) == figures(report["merged"]["overall"]) == (1 / 3, 1, 1, 3)
    # It has tasks for corpora that the run only measures, but not their guidelines.
    report = evaluator.evaluate([Document("1", "demo_disease", "x" * 40)], full=True).report
    assert report["disjoint"] is None
    assert figures(report["merged"]["overall"]) == (0, 0, 0, 1)


def test_without_a_default_corpus_all_training_corpora_answer_together(build_bundle):
    model = build_bundle(family="span_cvae", trained=["demo_gene", "demo_disease"]).model
    gold = Document("1", "demo_gene", "x" * 40, (Mention(0, 4, "Gene"),))
    told = {("demo_gene:native",): [], ("demo_gene", "demo_disease"): [Mention(0, 4, "Gene"), Mention(0, 4, "Disease")]}
    for mode in (None, "native"):
        parrot = TaskParrot(model, told)
        report = Evaluator(parrot, DEMO_LABEL_SPACE, mode).evaluate([gold], full=True).report
        assert figures(report["disjoint"]["overall"]) == (0, 0, 1, 0)
        assert figures(report["merged"]["overall"]) == (1, 1, 1, 1)


def test_merged_is_what_every_corpus_s_types_give_under_shared_names(build_bundle, demo_corpora):
    bundle = build_bundle(family="sruner", lively=True)
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    documents = demo_corpora["demo_chem"]["validation"][:6]
    found = set()
    for corpus, names in DEMO_LABEL_SPACE.corpora.items():
        tasks = bundle.model.tasks_named([corpus], "native")
        for document, rows in zip(documents, predictor(documents, tasks), strict=True):
            found |= {(document.id, m.start, m.end) for m in rows if names[m.type] == "Chemical"}
    gold = [
        d.with_mentions([*d.mentions, *(Mention(s, e, "Chemical") for i, s, e in sorted(found)[::3] if i == d.id)])
        for d in documents
    ]
    wanted = {(d.id, m.start, m.end) for d in gold for m in d.mentions if m.type == "Chemical"}
    report = Evaluator(predictor, DEMO_LABEL_SPACE).evaluate(gold, full=True).report
    assert figures(report["merged"]["overall"]) == pytest.approx(counted(wanted, found))
    assert 0.1 < report["merged"]["overall"]["f1"] < 0.9


def test_validation_f1_is_the_mean_over_corpora(bundle, demo_corpora, trainer_for):
    validation = {c: demo_corpora[c]["validation"][:2] for c in ("demo_all", "demo_chem")}
    dataset = first_features(bundle, demo_corpora, 2)
    trainer = trainer_for(bundle, dataset, validation)
    answers = {d.text: [m for m in d.mentions if m.type != "OTHER"] for d in validation["demo_chem"]}
    answers |= {d.text: [] for d in validation["demo_all"]}
    trainer.evaluator.predictor = Parrot(bundle.model, answers)
    metrics = trainer.evaluate()
    assert trainer.evaluator.predictor.asked == [
        (2, ["ALL"]),
        (2, ["Chemical"]),
    ]  # nothing but the headline is paid for
    assert metrics["eval_demo_chem_f1"] == 1
    assert metrics["eval_demo_all_f1"] == 0
    assert metrics["eval_f1"] == 0.5
    assert [row["eval_f1"] for row in trainer.validation_history()] == [0.5]


def test_a_masked_run_goes_on_inside_an_epoch_as_if_it_had_not_stopped(build_bundle, demo_corpora, trainer_for):
    after = []
    for checkpoint in (None, "checkpoint-3"):
        bundle = build_bundle(token_masking=0.3)
        trainer = trainer_for(
            bundle, first_features(bundle, demo_corpora, 16), per_device_train_batch_size=2, max_steps=6, seed=3,
            save_strategy="steps", save_steps=3, save_total_limit=5, learning_rate=1e-2,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=checkpoint and str(Path(trainer.args.output_dir) / checkpoint))
        after.append({n: p.detach().clone() for n, p in bundle.model.named_parameters()})
    assert all(torch.equal(after[0][name], value) for name, value in after[1].items())
    plain = build_bundle()
    trainer = trainer_for(plain, first_features(plain, demo_corpora, 16), per_device_train_batch_size=2, max_steps=6, seed=3,
                          learning_rate=1e-2)  # fmt: skip
    trainer.train()
    assert any(not torch.equal(after[0][n], p) for n, p in plain.model.named_parameters())
