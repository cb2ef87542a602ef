"""Stock exports: the encoder's own token classification class finds what the model finds, under the stock pipeline."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from helpers_export import differences, export_stock_model, softmax_tagger
from helpers_hub import fails
from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.hub import export
from mosaic_ner.hub.export_check import ExportError
from mosaic_ner.hub.stock import StockPredictor, check_stock, export_stock, label_rows, longest_input
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    pipeline,
)

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def tagger(build_bundle, bert_dir):
    return softmax_tagger(build_bundle, bert_dir)


@pytest.fixture(scope="module")
def tagger_dir(tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    tagger.save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tagger_dir, tmp_path_factory):
    """What the command writes, with a comparison, and what it prints."""
    folder = tmp_path_factory.mktemp("exports") / "stock"
    return folder, export_stock_model(tagger_dir, folder, "demo_gene")


# ---- the whole command


def test_finds_the_same_mentions_as_the_model(exported):
    folder, printed = exported
    report = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert report["documents"] == len(set(report["in_parts"])) > 0
    assert report["compared"]["differences"] == 0
    assert report["compared"]["same"] == report["compared"]["original"] > 1000
    assert report["compared"]["largest_score_difference"] < 1e-5
    assert report["task"] == "ALL"
    assert report["model_max_length"] == 512
    assert printed == (folder / "comparison.md").read_text(encoding="utf-8")
    assert "| texts that both read whole, by tokens |" in printed


def test_what_the_original_answers_otherwise_since_it_keeps_to_units_is_counted(exported):
    folder, printed = exported
    report = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    units = report["units"]
    assert units["export"] == report["compared"]["export"]
    assert units["differences"] == units["only_original"] + units["only_export"] > 100
    assert f"the pipeline's with any token: {units['differences']} differ" in printed.replace("\n  ", " ")
    assert "| texts that both read whole, in units |" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_crf_is_left_out_if_asked_for_and_what_that_costs_is_scored(build_bundle, bert_dir, tmp_path):
    bundle = build_bundle(encoder=str(bert_dir), lively=True)
    with torch.no_grad():
        bundle.model.crf.transitions.normal_(std=3)
    bundle.model.config.document_consistency, bundle.model.config.calibration = True, [0.5, -0.5]
    bundle.save(tmp_path / "crf")
    folder = tmp_path / "stock"
    printed = export_stock_model(tmp_path / "crf", folder, "demo_gene", "--emissions")
    report = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert report["compared"]["differences"] == 0
    assert report["compared"]["same"] > 1000
    assert report["units"]["differences"] > 100
    documents = load_demo_corpora()["demo_gene"]["test"]
    wanted = {(d.id, m.start, m.end) for d in documents for m in d.mentions}  # all of one type, Gene
    reader = StockPredictor(folder)
    found = {(d.id, m.start, m.end) for d in documents for m in reader([d.text])[0] if m.type == "Gene"}
    scores = report["scores"]
    assert scores["export"]["f1"] == pytest.approx(2 * len(wanted & found) / (len(wanted) + len(found)))
    assert scores["export"]["support"] == len(wanted)
    assert {"export by first", "export by average", "export by max"} < scores.keys()
    assert f"original {100 * scores['original']['f1']:.2f} (P" in printed
    text = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert "The original has a CRF" in text
    assert "F1 on whole documents" in text
    assert bundle.model.crf is not None


def test_the_export_has_no_custom_code(exported):
    folder, _ = exported
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForTokenClassification"]
    assert config["model_type"] == "bert"
    assert not {"auto_map", "custom_pipelines", "_name_or_path", "tasks", "label_space"} & set(config)
    assert not list(folder.glob("*.py"))
    assert type(pipeline("ner", model=str(folder))).__name__ == "TokenClassificationPipeline"


def test_labels_are_entities_or_o_and_numbers_agree(exported):
    folder, _ = exported
    config = StockPredictor(folder).pipeline.model.config
    kinds = {f"{kind}-{name}" for kind in "BI" for name in ("Gene", "Disease", "Chemical", "Species")}
    assert set(config.id2label.values()) == {*kinds, "O"}
    assert config.num_labels == len(config.id2label) == 12
    assert {name: config.id2label[number] for name, number in config.label2id.items()} == {
        n: n for n in config.label2id
    }


def test_the_readme_says_what_the_stock_pipeline_does_not_read(exported):
    text = (exported[0] / "README.md").read_text(encoding="utf-8")
    assert "truncates silently" in text
    assert "first 512 tokens" in text
    assert "`stride=64`" in text
    assert "pipeline_tag: token-classification" in text
    assert "windows of up to 64 tokens" in text
    assert "Compared with the original" in text


# ---- tokenizer


def test_task_tags_survive_reloading_and_are_special(exported, tagger):
    for loader in (AutoTokenizer, PreTrainedTokenizerFast):
        tokenizer = loader.from_pretrained(exported[0])
        encoded = tokenizer("BRCA1 in mice", return_special_tokens_mask=True)
        assert tokenizer.convert_ids_to_tokens(encoded["input_ids"])[:2] == ["[CLS]", "<ALL>"]
        assert tokenizer.convert_ids_to_tokens(encoded["input_ids"])[-2:] == ["</ALL>", "[SEP]"]
        mask = encoded["special_tokens_mask"]
        assert mask[:2] == mask[-2:] == [1, 1]
        assert not any(mask[2:-2])
        assert tokenizer.model_max_length == 512
        assert "token_type_ids" not in encoded
        assert len(tokenizer("a " * 600, truncation=True)["input_ids"]) == 512


def test_special_tokens_in_a_text_are_text(exported, tagger, demo_texts):
    texts = [f"[SEP] {demo_texts[0]} <ALL> </Gene> [MASK]", "<ALL>", "[CLS] BRCA1", "", " \n "]
    report = differences(tagger, exported[0], texts, "ALL")
    assert report["differences"] == 0
    assert report["same"] > 10


# ---- tasks and schemes


@pytest.mark.parametrize("task", ["Gene", "Disease"])
def test_a_task_answers_as_the_model_asked_for_it(tagger, tmp_path, demo_texts, task):
    facts = export_stock(tagger.model, tagger.tokenizer, tmp_path, task)
    report = differences(tagger, tmp_path, demo_texts[:6], task)
    assert report["differences"] == 0
    assert report["same"] > 20
    assert facts["other_tasks"] == ["ALL"]
    assert {m.type for row in StockPredictor(tmp_path)(demo_texts[:3]) for m in row} == {task}


def test_restricted_labels_of_a_corpus(build_bundle, bert_dir, tmp_path, demo_texts):
    bundle = build_bundle(encoder=str(bert_dir), classifier="softmax", scheme="mtl", lively=True)
    assert any("@" in name for name in bundle.model.config.id2label.values())
    for task in ("demo_all", "demo_gene"):
        export_stock(bundle.model, bundle.tokenizer, tmp_path / task, task)
        report = differences(bundle, tmp_path / task, demo_texts[:6], task)
        assert report["differences"] == 0
        assert report["same"] > 20
        assert report["largest_score_difference"] < 1e-5  # the other tasks' labels have no share in the softmax
    names = StockPredictor(tmp_path / "demo_gene").pipeline.model.config.id2label.values()
    assert sorted(names) == ["B-Gene", "I-Gene", "O"]


def test_labels_that_another_task_looks_for_stay_in_the_softmax(tagger):
    rows, names = label_rows(tagger.model.config, tagger.model.config.task_index("Gene"))
    assert rows == list(range(12))
    assert names.count("O") == 10


def test_default_tasks_that_are_left_out_are_told(tagger, tmp_path, caplog):
    model = copy.copy(tagger.model)
    model.config = copy.deepcopy(model.config)
    model.config.default_tasks = ["ALL", "Chemical"]
    facts = export_stock(model, tagger.tokenizer, tmp_path)
    assert facts["task"] == "ALL"
    assert facts["other_tasks"] == ["Chemical"]
    assert "the export answers by ALL alone" in caplog.text


def test_precision_is_kept(build_bundle, bert_dir, tmp_path):
    bundle = build_bundle(encoder=str(bert_dir), classifier="softmax", lively=True)
    bundle.model.bfloat16()
    export_stock(bundle.model, bundle.tokenizer, tmp_path)
    assert StockPredictor(tmp_path).pipeline.model.dtype == torch.bfloat16


# ---- encoders


def byte_level(texts) -> PreTrainedTokenizerFast:
    """A RoBERTa-like tokenizer, whose tokens hold the space before them."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = dict(zip(("bos", "pad", "eos", "unk", "mask"), special, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=512,
        cls_token="<s>",
        sep_token="</s>",
        **{f"{k}_token": v for k, v in names.items()},
    )


ENCODERS = {
    "roberta": (RobertaModel, RobertaConfig, {**SMALL, "max_position_embeddings": 130, "pad_token_id": 1}, 128),
    "electra": (ElectraModel, ElectraConfig, {**SMALL, "embedding_size": 16, "max_position_embeddings": 128}, 128),
    "deberta-v2": (DebertaV2Model, DebertaV2Config, {**SMALL, "max_position_embeddings": 128}, 128),
    "distilbert": (
        DistilBertModel,
        DistilBertConfig,
        {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 128},
        128,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_other_encoders(name, build_bundle, tiny_parts, tmp_path, demo_texts):
    model, config, size, longest = ENCODERS[name]
    tokenizer = byte_level(demo_texts[:20]) if name == "roberta" else tiny_parts.tokenizer
    tokenizer.save_pretrained(tmp_path / "encoder")
    torch.manual_seed(0)
    model(config(vocab_size=len(tokenizer), **size)).save_pretrained(tmp_path / "encoder")
    bundle = build_bundle(encoder=str(tmp_path / "encoder"), classifier="softmax", lively=True)
    facts = export_stock(bundle.model, bundle.tokenizer, tmp_path / "export")
    assert facts["model_max_length"] == longest == longest_input(bundle.model.encoder)
    # Without characters of several bytes, which such a tokenizer may cut.
    texts = [text.encode("ascii", "ignore").decode() for text in (" " + demo_texts[0], *demo_texts[1:4])]
    report = differences(bundle, tmp_path / "export", texts, "ALL")
    assert report["only_original"] == 0
    assert report["same"] > 20
    # An untrained model tags lone spaces, too; they have no text, and the model leaves them out.
    assert report["differences"] == report["empty"]
    assert (report["empty"] > 0) == (name == "roberta")
    long = StockPredictor(tmp_path / "export")([" ".join(demo_texts[:8])])[0]  # as long as the positions reach
    assert long


def test_white_space_of_a_tokenizer_is_reported(build_bundle, t5_dir, tmp_path, demo_texts):
    """A Unigram tokenizer's tokens hold the space before them, and nothing in the tokenizer can take it off the offsets."""
    bundle = build_bundle(encoder=str(t5_dir), classifier="softmax", lively=True)
    export_stock(bundle.model, bundle.tokenizer, tmp_path)
    report = differences(bundle, tmp_path, demo_texts[:3], "ALL")
    assert report["white_space"] > 10
    assert report["differences"] >= 2 * report["white_space"]


# ---- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": "crf"}, "expected classifier: softmax and hidden_size: 0, got crf and 0"),
        ({"classifier": "softmax", "hidden_size": 16}, "got softmax and 16"),
        ({"family": "span_cvae"}, "got a mosaic_span_cvae model"),
        ({"classifier": "softmax", "label_first_token_only": True}, "label_first_token_only"),
    ],
)
def test_models_that_no_stock_class_holds(build_bundle, bert_dir, options, message):
    config = build_bundle(encoder=str(bert_dir), **options).model.config
    with pytest.raises(ExportError, match=message) as error:
        check_stock(config)
    assert "biored_stock.yaml" in str(error.value) or "label_first_token_only" in options


def test_an_encoder_whose_class_has_a_larger_head(build_bundle, tmp_path):
    bundle = build_bundle(classifier="softmax")
    with pytest.raises(ExportError, match="ModernBertForTokenClassification has more between encoder and labels"):
        export_stock(bundle.model, bundle.tokenizer, tmp_path)


def test_a_type_that_the_pipeline_takes_for_no_mention(tagger):
    config = copy.deepcopy(tagger.model.config)
    config.tasks[0] = replace(config.tasks[0], types=(*config.tasks[0].types, "O"))
    with pytest.raises(ExportError, match="a type is called 'O'"):
        check_stock(config)


def test_other_scores_are_noticed(tagger, monkeypatch, tmp_path):
    model = copy.deepcopy(tagger.model)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **batch: type(forward(**batch))(logits=forward(**batch).logits + 0.1))
    with pytest.raises(ExportError, match="computes other scores than the model"):
        export_stock(model, tagger.tokenizer, tmp_path)


def test_command_line_errors(tagger_dir, saved_model_dir, bert_dir, tmp_path, capsys):
    new = tmp_path / "new"
    assert "export: error: --task: unknown task 'Genes'; this model has ALL, Gene" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", new, "--task", "Genes"
    )
    message = fails(capsys, export, saved_model_dir, "--format", "stock", "--output", new)
    assert "got crf and 0" in message
    assert "add --emissions" in message
    assert "this model has classifier: softmax" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", new, "--emissions"
    )
    assert "holds a 'bert' model" in fails(capsys, export, bert_dir, "--format", "stock", "--output", new)
    assert "neither a folder" in fails(capsys, export, tmp_path / "nothing", "--format", "stock", "--output", new)
    assert "unknown corpus 'biorid'" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", new, "--compare", "biorid"
    )
    assert not new.exists()
    assert "is not an empty folder" in fails(capsys, export, tagger_dir, "--format", "stock", "--output", tagger_dir)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "is not an empty folder" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", tmp_path / "file"
    )
    assert "can't be made a folder" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", tmp_path / "file" / "in it"
    )
    assert "--split needs --compare" in fails(
        capsys, export, tagger_dir, "--format", "stock", "--output", new, "--split", "test"
    )
