"""Stock exports: the encoder's own token classification class finds what the model finds, under the stock pipeline."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers_run import QUICK, run
from mosaic_ner.hub import card, export, publish, stock, verify
from mosaic_ner.hub.export_check import ExportError, Part, compare, parts_of
from mosaic_ner.hub.stock import StockPredictor, check_stock, export_stock, label_rows, longest_input
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.handler import EndpointHandler
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import Windower
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

REPO = "lab/stock-ner"
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def tagger(build_bundle, bert_dir):
    """A lively softmax tagger on BERT: tasks ALL, Gene, Disease, Chemical, one softmax over the labels of all."""
    return build_bundle(encoder=str(bert_dir), classifier="softmax", lively=True)


@pytest.fixture(scope="module")
def tagger_dir(tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    tagger.save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tagger_dir, tmp_path_factory):
    """What the command writes, with a comparison, and what it prints."""
    folder, printed = tmp_path_factory.mktemp("exports") / "stock", io.StringIO()
    with contextlib.redirect_stdout(printed):
        export.main([str(tagger_dir), "--format", "stock", "--output", str(folder), "--compare", "demo_gene"])
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def measured_dir(tagger_dir, tmp_path_factory):
    """The tagger's folder with the results of its evaluation."""
    folder = Path(shutil.copytree(tagger_dir, tmp_path_factory.mktemp("measured") / "tagger"))
    results = folder.parent / "results"
    corpora = ("--corpora", "demo", "--test_corpora", "demo_all", "demo_gene")
    run(*QUICK, *corpora, "--model_name_or_path", folder, "--output_dir", results)
    shutil.copy(results / "results.json", folder)
    (folder / "choices.md").write_text("Nothing else.")
    return folder


@pytest.fixture(scope="module")
def measured_export(measured_dir):
    """A stock export of that, compared on the test documents of the bridge corpus."""
    folder = measured_dir.parent / "stock"
    with contextlib.redirect_stdout(io.StringIO()):
        export.main([str(measured_dir), "--format", "stock", "--output", str(folder), "--compare", "demo_all"])
    return folder


@pytest.fixture(scope="module")
def published(measured_export):
    """That, published."""
    folder = measured_export.parent / "published"
    publish.build_folder(measured_export, folder, REPO)
    return folder


def fails(capsys, *argv, command=export) -> str:
    """The one message that a wrong command line ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command.main([str(a) for a in argv])
    assert stop.value.code == 2
    written = capsys.readouterr().err
    assert "Traceback" not in written
    return written


def differences(bundle, folder, texts, task) -> dict:
    """The comparison on texts, each cut into the model's windows."""
    config = bundle.model.config
    windower = Windower(bundle.tokenizer, config.max_tokens, config.num_special_tokens)
    parts = [p for i, text in enumerate(texts) for p in parts_of(Document(str(i), "x", text), windower)]
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    return compare(lambda texts: predictor(texts, [task]), StockPredictor(folder), parts)


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
    assert "| texts that both read whole |" in printed


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


# ---- results, card, publishing


def test_the_export_of_a_run_has_its_results_and_a_card(measured_dir, measured_export):
    results = json.loads((measured_export / "results.json").read_text(encoding="utf-8"))
    about = results.pop("export")
    assert results == json.loads((measured_dir / "results.json").read_text(encoding="utf-8"))
    assert about["format"] == "stock"
    assert (about["class"], about["task"], about["other_tasks"]) == ("BertForTokenClassification", "ALL", [])
    assert about["types"] == ["Gene", "Disease", "Chemical", "Species"]
    assert (about["max_tokens"], about["model_max_length"]) == (64, 512)
    assert about["same_task"] == ["demo_all"]  # demo_gene is answered by the task Gene
    report = json.loads((measured_export / "comparison.json").read_text(encoding="utf-8"))
    counted = about["comparison"]
    assert counted["in_parts"] == len(report["in_parts"]) > 0
    for way in ("compared", "whole_text"):
        assert counted[way]["differences"] == report[way]["differences"]
        assert not any(isinstance(value, list) for value in counted[way].values())
    text = (measured_export / "README.md").read_text(encoding="utf-8")
    assert text == card.card_text(measured_export)
    assert "## What was tried\n\nNothing else." in text


def test_the_card_of_an_export_is_true_to_it(measured_export):
    text = (measured_export / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    for part in (
        'model="stock", aggregation_strategy="simple")',
        "truncates silently",
        "`stride=64`",
        "windows of up to 64 tokens",
        "## Results of the original on the test sets",
        "whose mentions the export finds in texts of up to 64 tokens",
        "Left out: demo_gene,",
        "## Compared with the original",
        "| texts that both read whole |",
        "documents were compared in parts",
    ):
        assert part in text, part
    for part in ("trust_remote_code", "does not run custom code", "nothing is\ntruncated", "isjoint", "| demo_gene | "):
        assert part not in text.split("## Training data")[0], part
    assert "does not run custom code" not in text
    assert header["widget"]
    assert "model-index" not in header  # whole documents are read otherwise, and so have other figures


def test_a_run_whose_results_make_no_card_is_refused_before_anything_is_written(tagger_dir, tmp_path, capsys):
    folder = Path(shutil.copytree(tagger_dir, tmp_path / "bad"))
    (folder / "results.json").write_text('{"settings": {}}')
    message = fails(capsys, folder, "--format", "stock", "--output", tmp_path / "new")
    assert "expected the results of a run" in message
    assert not (tmp_path / "new").exists()


def test_what_is_published_of_an_export(measured_export, published, capsys):
    names = {"README.md", "checksums.json", "comparison.json", "comparison.md", "config.json", "handler.py"}
    names |= {"model.safetensors", "requirements.txt", "results.json", "tokenizer.json", "tokenizer_config.json"}
    assert {p.name for p in published.iterdir()} == names
    verify.main([str(published)])
    assert "nothing amiss; checksums agree" in capsys.readouterr().out
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "results.json", "comparison.json"):
        assert json.loads((published / name).read_text()) == json.loads((measured_export / name).read_text()), name
    publish.main([str(measured_export), "--repo_id", REPO, "--output", str(published)])
    assert "F1 of the original on test documents: demo_all" in capsys.readouterr().out


def test_the_published_export_finds_what_the_model_finds(published, tagger, demo_texts):
    texts = [text[:150] for text in demo_texts[:6]]
    report = differences(tagger, published, texts, "ALL")
    assert report["differences"] == 0
    assert report["same"] > 50
    handler = EndpointHandler(published)
    found = [{(m["start"], m["end"], m["entity_group"]) for m in row} for row in handler({"inputs": texts})]
    assert found == [{m.key for m in row} for row in StockPredictor(published)(texts)]


def test_the_code_in_the_published_card_runs(published, tmp_path, monkeypatch, capsys):
    code = (published / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert f'model="{REPO}"' in code
    shutil.copytree(published, tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.fullmatch(r"\d+ \d+ [A-Za-z]+ .+ \d[\d.e-]*", line) for line in lines)


def test_an_export_with_something_private_or_of_others_is_refused(measured_export, tmp_path, capsys):
    folder = Path(shutil.copytree(measured_export, tmp_path / "export"))

    def message() -> str:
        return fails(capsys, folder, "--repo_id", REPO, "--output", tmp_path / "out", command=publish)

    def changed(name, old, new) -> str:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        told = message()
        path.write_text(text, encoding="utf-8")
        assert not (tmp_path / "out").exists()
        return told

    assert "comparison.md, line 1: a path on this machine" in changed("comparison.md", "# ", "# of /srv/runs/mine ")
    assert "comparison.json, note: a path" in changed("comparison.json", "{", '{"note": "in /srv/runs/mine",')
    assert "of another export: a RobertaForTok" in changed("results.json", "BertForTokenC", "RobertaForTokenC")
    assert 'no "export" that says' in changed("results.json", '"export": {', '"exported": {')
    assert "auto_map names code" in changed("config.json", "{", '{"auto_map": {},')
    (folder / "results.json").rename(tmp_path / "results.json")
    assert "export it again from the output folder of a finished run" in message()
    (folder / "model.onnx").write_bytes(b"")
    assert "is an ONNX export" in message()


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


# ---- long texts


def test_what_the_widget_would_lose_is_counted(exported, tagger, demo_texts):
    text = " ".join(demo_texts[:10])
    assert len(tagger.tokenizer(text)["input_ids"]) > 1500
    report = export.compare_stock(
        tagger.model,
        tagger.tokenizer,
        exported[0],
        "ALL",
        [Document("long", "x", text), Document("short", "x", "BRCA1.")],
    )
    read = StockPredictor(exported[0]).reads(text)
    assert report["compared"]["differences"] == 0
    assert report["in_parts"] == report["whole_text"]["truncated"] == ["long"]
    assert report["whole_text"]["unread_characters"] == len(text) - read
    whole = MentionPredictor(tagger.model, tagger.tokenizer)([text], ["ALL"])[0]
    assert report["whole_text"]["unread_mentions"] == sum(m.end > read for m in whole) > 100
    assert report["whole_text"]["only_original"] >= report["whole_text"]["unread_mentions"]
    assert report["stride"] == 64
    assert report["with_stride"]["texts"] == 1
    assert max(m.end for m in StockPredictor(exported[0], 64)([text])[0]) > read


def test_a_text_that_just_fits_is_not_truncated(exported):
    stock_pipeline = StockPredictor(exported[0])
    fits = " ".join(["a"] * 508)  # and the special tokens: 512
    assert stock_pipeline.reads(fits) is None
    assert stock_pipeline.reads(fits + " a") == len(fits)


def test_parts_fit_and_cover_the_text(tagger, demo_texts):
    text = " ".join(demo_texts[:5]) + " " + "x1" * 200  # the last: one sentence, one word, longer than a window
    windower = Windower(tagger.tokenizer, 64, 4)
    parts = parts_of(Document("d", "x", text), windower)
    covered = {i for p in parts for i in range(p.start, p.start + len(p.text))}
    assert len(parts) > 5
    assert not any(p.whole for p in parts)
    assert all(text[p.start : p.start + len(p.text)] == p.text for p in parts)
    assert all(len(windower([p.text])[0]) == 1 for p in parts)
    assert covered >= {i for i, character in enumerate(text) if not character.isspace()}


# ---- the comparison can fail


def test_a_worse_export_ends_with_exit_code_1(tagger_dir, tmp_path, monkeypatch, capsys):
    def without_beginnings(config, task):
        rows, names = label_rows(config, task)
        return rows, [name.replace("B-", "I-") for name in names]

    monkeypatch.setattr(stock, "label_rows", without_beginnings)
    with pytest.raises(SystemExit) as stop:
        export.main([str(tagger_dir), "--format", "stock", "--output", str(tmp_path / "e"), "--compare", "demo_gene"])
    assert stop.value.code == 1
    report = json.loads((tmp_path / "e" / "comparison.json").read_text(encoding="utf-8"))["compared"]
    assert report["export"] < report["original"]  # neighbours were joined
    assert report["differences"] == report["only_original"] + report["only_export"] > 100
    assert len(report["examples"]) == 20
    assert set(report["examples"][0]) == {"document", "start", "end", "type", "only"}
    assert f"{report['differences']} mentions differ" in capsys.readouterr().err


def test_differences_are_counted_one_by_one():
    text = "abc def ghi"
    left = [Mention(0, 3, "Gene", score=0.5), Mention(4, 7, "Gene", score=0.5), Mention(8, 11, "Gene", score=0.5)]
    right = [Mention(0, 3, "Gene", score=0.75), Mention(3, 7, "Gene", score=0.5), Mention(8, 11, "Disease", score=0.5)]
    report = compare(lambda texts: [left], lambda texts: [right], [Part("d", 100, text, False)])
    assert (report["original"], report["export"], report["same"]) == (3, 3, 1)
    assert (report["only_original"], report["only_export"], report["differences"]) == (2, 2, 4)
    assert report["white_space"] == 1
    assert report["largest_score_difference"] == 0.25
    assert report["examples"][0] == {"document": "d", "start": 104, "end": 107, "type": "Gene", "only": "original"}
    empty = compare(
        lambda texts: [left], lambda texts: [[*left, Mention(3, 4, "Gene", score=0.5)]], [Part("d", 0, text, True)]
    )
    assert (empty["empty"], empty["differences"]) == (1, 1)
    twice = compare(lambda texts: [left], lambda texts: [[*left, left[0]]], [Part("d", 0, text, True)])
    assert twice["differences"] == 1


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
    config.tasks[0]["types"].append("O")
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
        capsys, tagger_dir, "--format", "stock", "--output", new, "--task", "Genes"
    )
    assert "got crf and 0" in fails(capsys, saved_model_dir, "--format", "stock", "--output", new)
    assert "holds a 'bert' model" in fails(capsys, bert_dir, "--format", "stock", "--output", new)
    assert "neither a folder" in fails(capsys, tmp_path / "nothing", "--format", "stock", "--output", new)
    assert "unknown corpus 'biorid'" in fails(
        capsys, tagger_dir, "--format", "stock", "--output", new, "--compare", "biorid"
    )
    assert not new.exists()
    assert "is not an empty folder" in fails(capsys, tagger_dir, "--format", "stock", "--output", tagger_dir)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "is not an empty folder" in fails(capsys, tagger_dir, "--format", "stock", "--output", tmp_path / "file")
    assert "can't be made a folder" in fails(
        capsys, tagger_dir, "--format", "stock", "--output", tmp_path / "file" / "in it"
    )
    assert "--split needs --compare" in fails(
        capsys, tagger_dir, "--format", "stock", "--output", new, "--split", "test"
    )
    assert "--task is for --format stock" in fails(
        capsys, tagger_dir, "--format", "onnx", "--output", new, "--task", "Gene"
    )
