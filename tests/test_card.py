"""The model card: generated from results.json, valid for the Hub, true to the numbers."""

from __future__ import annotations

import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from helpers_run import results
from huggingface_hub import ModelCard
from mosaic_ner.data_builders.corpora import CORPORA
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.hub import card as card_module
from mosaic_ner.hub.examples import NATIVE
from mosaic_ner.training import families
from mosaic_ner.training.results import Results, versions, without_local_paths, write_json


def build_card(found: dict, name: str, **more):
    """The card of results.json's content."""
    return card_module.build_card(Results.from_dict(found), name, **more)


@pytest.fixture(scope="module")
def card(trained_dir):
    return ModelCard.load(trained_dir / "README.md")


def test_the_header_is_what_the_hub_reads(trained_dir, card):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    assert header["pipeline_tag"] == "token-classification"
    assert header["library_name"] == "transformers"
    assert header["license"]
    assert "mosaic-ner" in header["tags"]
    assert "base_model" not in header  # made from scratch
    assert card.data.to_dict()["model-index"] == header["model-index"]


def test_the_model_index_holds_the_test_results(trained_dir, card):
    found = results(trained_dir)["test"]
    listed = {(r.dataset_type, r.metric_type): r for r in card.data.eval_results}
    assert set(listed) == {(corpus, metric) for corpus in found for metric in ("precision", "recall", "f1")}
    for (corpus, metric), row in listed.items():
        assert (row.dataset_split, row.dataset_config) == ("test", corpus)
        assert row.metric_value == pytest.approx(found[corpus]["overall"][metric], abs=5e-5)
        assert row.task_type == "token-classification"
    assert card.data.model_name == trained_dir.name


def test_a_hub_id_is_in_the_code_and_its_last_part_is_the_name(trained_dir):
    made = build_card(results(trained_dir), "my-lab/my-model", datasets=["my-lab/corpora"])
    text = str(made)
    assert 'model="my-lab/my-model"' in text
    assert "\n# my-model\n" in text
    assert made.data.model_name == "my-model"
    assert made.data.datasets == ["my-lab/corpora"]
    assert "datasets" not in yaml.safe_load(str(build_card(results(trained_dir), "name")).split("---")[1])


def test_the_parser_reads_back_what_was_written(trained_dir):
    """Every metadata field survives `ModelCard`'s own reading and writing."""
    found = results(trained_dir)
    found["settings"]["encoder"] = "someone/some-encoder"
    made = build_card(found, "my-lab/my-model", datasets=["my-lab/corpora"])
    again = ModelCard(str(made))
    assert again.data.to_dict() == made.data.to_dict()
    assert [str(r) for r in again.data.eval_results] == [str(r) for r in made.data.eval_results]
    assert str(again) == str(made)


def test_the_hub_is_asked_for_its_opinion(trained_dir, monkeypatch):
    """`validate` sends the card as it is; the stand-in accepts what has the fields that the Hub insists on."""
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            header = yaml.safe_load(body["content"].split("---")[1])
            asked.append((self.path, body))
            good = all(
                r["task"]["type"] and r["dataset"]["type"] and r["dataset"]["name"] and r["metrics"]
                for model in header["model-index"]
                for r in model["results"]
            )
            good = good and all(w["text"] and w["example_title"] for w in header["widget"]) and header["license"]
            self.send_response(200 if good else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        card = build_card(results(trained_dir), "name")
        card.validate()
        server.shutdown()
    assert asked == [("/api/validate-yaml", {"repoType": "model", "content": str(card)})]


def measured_on(found: dict, types) -> dict:
    """Results of a model on one corpus of its own files with these types."""
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "predicted": 2}
    report = {"overall": row, "per_type": {t: row for t in types}, "documents": 1}
    trained = {"mine": {"documents": 1, "mentions": 2}}
    data = {"train": trained, "validation": {}, "test": trained}
    return found | {"test": {"mine": report}, "validation": {}, "data": data}


def test_the_widget_fits_the_types_of_the_model(trained_dir):
    found = results(trained_dir)
    shared = load_label_mapping(scheme="sruner").shared_types
    for types in (*([t] for t in shared), sorted(shared), ["Disease", "Chemical"], ["protein", "cell_line"]):
        made = build_card(measured_on(found, types), "name")
        titles = [set(w["example_title"].split(", ")) for w in made.data.widget]
        named = {NATIVE.get(t.replace("_", ""), t) for t in types}
        assert set().union(*titles) == named
        assert made.data.widget[0]["text"] in made.text.split("## Results")[0]
    unknown = build_card(measured_on(found, ["Instrument"]), "name")
    assert "widget" not in unknown.data.to_dict()
    assert "PAX6" in unknown.text  # some sentence is in the code
    invented = build_card(found, "name")
    assert "velosis" in invented.data.widget[0]["text"]


def test_a_model_of_generated_text_says_so(trained_dir):
    found = results(trained_dir)
    warning = "Trained on generated text"
    assert warning in str(build_card(found, "name"))
    assert warning not in str(build_card(measured_on(found, ["Gene"]), "name"))


def test_titles_licences_and_citations_are_those_of_the_corpora(trained_dir):
    found = results(trained_dir)
    sizes = {"documents": 3, "mentions": 4}
    found["data"]["train"] = {"biored": sizes, "mtl_bc5cdr": sizes, "mtl_linnaeus": sizes, "half": sizes, "mine": sizes}
    found["settings"] |= {"corpora": ["biored", "nlm_chem", "mtl_bc5cdr"], "parts": {"half": {"of": "genia"}}}
    text = str(build_card(found, "name"))
    assert f"| biored | BioRED | {CORPORA['biored'].licence} | 3 | 4 |" in text
    assert "| half | part of GENIA | GENIA licence | 3 | 4 |" in text
    assert "| mine | - | - | 3 | 4 |" in text
    assert "\nAsked for, but without training documents at hand: nlm_chem.\n" in text
    bibliography = text.split("## How to cite")[1]
    for key in (
        "mosaic_ner",
        "luo2023aioner",
        "luo2022biored",
        "li2016biocreative",
        "gerner2010linnaeus",
        "kim2003genia",
    ):
        assert len(re.findall(rf"^@\w+\{{{key},$", bibliography, re.MULTILINE)) == 1
    assert bibliography.count("crichton2017neural") == 1  # cited by two
    assert bibliography.count("{") == bibliography.count("}")


@pytest.mark.parametrize("family", families.names())
def test_every_family_is_told_of(trained_dir, family):
    found = results(trained_dir)
    found["settings"]["family"] = family
    about = families.family(family).FACTS
    text = str(build_card(found, "name"))
    assert f"- Family: `{family}` of mosaic-ner: {about.idea}\n" in text
    assert f"- {about.overlap}\n" in text
    assert about.paper in text
    assert family in yaml.safe_load(text.split("---")[1])["tags"]


@pytest.mark.parametrize("family", ["aioner", "sruner"])
def test_the_code_in_the_card_finds_mentions(trained_dir, build_bundle, tmp_path, capsys, family):
    found = results(trained_dir)
    found["settings"]["family"] = family
    folder = trained_dir
    if family != "aioner":
        folder = tmp_path
        build_bundle(lively=True, family=family).save(folder, False)
    code = str(build_card(found, str(folder))).split("```python\n")[1].split("```")[0]
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"\d+ \d+ [A-Za-z]+ .+ \d[\d.e-]*", line)
    if family == "aioner":  # a trained one
        assert any("velosis" in line for line in lines)


def exported(found: dict, whole: int = 0, compared: int = 0, **more) -> dict:
    """Results with a stock export's key: so many differences in whole documents, and in those that both read whole."""
    row = {"texts": 1, "original": 9, "export": 9, "same": 9, "only_original": compared, "only_export": 0}
    row |= {"white_space": 0, "differences": compared, "largest_score_difference": 1e-6}
    whole_text = row | {"differences": whole, "truncated": 0, "unread_characters": 0, "unread_mentions": 0}
    documents = found["data"]["test"]["demo_all"]["documents"]
    comparison = {"corpus": "demo_all", "split": "test", "documents": documents, "in_parts": 0, "max_tokens": 64}
    comparison |= {
        "model_max_length": 512,
        "stride": None,
        "compared": row,
        "whole_text": whole_text,
        "with_stride": None,
    }
    export = {"format": "stock", "class": "BertForTokenClassification", "task": "ALL", "other_tasks": ["Gene"]}
    export |= {"types": ["Gene", "Disease"], "max_tokens": 64, "model_max_length": 512, "comparison": comparison}
    return found | {"export": export | {"same_task": ["demo_all"]} | more}


def test_the_card_of_an_export_lists_as_its_own_only_what_was_found_to_be(trained_dir):
    found = results(trained_dir)
    made = build_card(exported(found), "name")
    assert {r.dataset_type for r in made.data.eval_results} == {"demo_all"}
    assert "In demo_all the export found the same mentions in whole documents" in made.text
    assert "Left out: demo_gene, demo_disease" in made.text
    for case, sentence in (
        (exported(found, whole=1), "of up to 64 tokens: none differed"),
        (exported(found, whole=3, compared=3), "(3 differences, see below)"),
        (exported(found, comparison=None), "were not compared"),
        (exported(found, same_task=[]), "Left out: demo_all, demo_gene"),
    ):
        made = build_card(case, "name")
        assert not made.data.eval_results
        assert "measured with the original model" in made.text
        assert sentence in " ".join(made.text.split())
        assert "## Training data" in made.text
    assert "| --- |" not in made.text.split("## Compared")[0]  # the last one has no figures
    claim = "the pipeline finds what the original's labels say token by token in texts of up to 64 tokens"
    assert claim in " ".join(str(build_card(exported(found, whole=1), "name")).split())
    units = exported(found)
    units["export"]["comparison"]["units"] = units["export"]["comparison"]["compared"] | {"differences": 5}
    text = " ".join(str(build_card(units, "name")).split())
    assert claim in text
    assert "(5 differences, see below)" in text
    for case in (exported(found, whole=3, compared=3), exported(found, comparison=None)):
        text = " ".join(str(build_card(case, "name")).split())
        assert claim not in text
        assert "by the tasks Gene, which this export does not" in text


def test_what_becomes_of_overlapping_mentions_follows_the_settings(trained_dir):
    found = results(trained_dir)
    for family, flat, sentence in (
        ("span_cvae", False, families.NESTED), ("sruner", True, families.FLAT), ("aioner", False, families.LONGEST),
    ):  # fmt: skip
        found["settings"] |= {"family": family, "flat": flat}
        assert f"\n- {sentence}\n" in str(build_card(found, "name"))


def test_scores_with_test_documents_in_training_are_called_too_high(trained_dir):
    found = results(trained_dir)
    assert "likely too high" not in str(build_card(found, "name"))
    found["overlap"]["kept"] = True
    found["overlap"]["training"]["demo_gene"]["removed_documents"] = 0
    text = str(build_card(found, "name"))
    assert "so these scores are likely too high" in " ".join(text.split())
    assert re.search(r"\| demo_gene \| 200 \| 2 \| kept \|", text)


def test_the_tables_hold_the_results(trained_dir):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    for corpus, report in results(trained_dir)["test"].items():
        for row in [report["overall"], *report["per_type"].values()]:
            figures = [f"{100 * row[k]:.2f}" for k in ("precision", "recall", "f1")] + [str(row["support"])]
            assert re.search(rf"\| {corpus} \|.*{' .. '.join(map(re.escape, figures)).replace(' .. ', ' [|] ')}", text)
    assert re.search(r"\| demo_gene \| 200 \| 2 \| removed \|", text)
    assert "nested" in text  # what the model cannot represent, by cause


def test_the_overlap_of_each_evaluation_split_is_shown_with_what_copying_would_score(trained_dir):
    found = results(trained_dir)
    for name, row in found["overlap"]["evaluation"].items():
        scores = [f"{100 * row['copying'][k]:.2f}" for k in ("precision", "recall", "f1")]
        counts = [row[k] for k in ("documents", "covered", "mentions", "mentions_in_training")]
        line = " | ".join(map(str, [name, *counts, *scores]))
        assert f"| {line} |" in str(build_card(found, "name"))
    row = found["overlap"]["evaluation"]["demo_gene/test"] = {
        "documents": 10, "covered": 7, "mentions": 35, "mentions_in_training": 18, "covered_by": {},
        "copying": {"precision": 0.9683, "recall": 0.5106, "f1": 0.6686, "predicted": 19},
    }  # fmt: skip
    text = str(build_card(found, "name"))
    assert "| demo_gene/test | 10 | 7 | 35 | 18 | 96.83 | 51.06 | 66.86 |" in text
    del row["copying"]  # as in results of earlier versions
    text = str(build_card(found, "name"))
    assert "| demo_gene/test | 10 | 7 | 35 | 18 | - | - | - |" in text


def test_disjoint_and_merged_scores_and_nested_recall_are_shown(trained_dir):
    found = results(trained_dir)
    report = found["test"]["demo_gene"]
    for name, f1 in (("disjoint", 0.5), ("merged", 0.25)):
        report[name] = report[name] | {"overall": report[name]["overall"] | {"f1": f1}}
    report["nested"] = {"recall": 0.125, "support": 8, "found": 1}
    found["test"]["demo_disease"]["disjoint"] = None
    merged = 100 * found["test"]["demo_disease"]["merged"]["overall"]["f1"]
    text = str(build_card(found, "name"))
    assert "| demo_gene | 50.00 | 25.00 |" in text
    assert f"| demo_disease | - | {merged:.2f} |" in text
    assert re.search(r"Recall of nested mentions .*demo_gene 12\.50% \(1 of 8\)", text)
    for part in found["test"].values():
        part.pop("nested", None)
    assert "Recall of nested mentions" not in str(build_card(found, "name"))


def test_results_of_earlier_versions_still_make_a_card(trained_dir):
    found = results(trained_dir)
    for part in found["test"].values():
        for name in ("disjoint", "merged", "nested"):
            part.pop(name, None)
    text = str(build_card(found, "name"))
    assert "isjoint" not in text
    assert "\n## Training data\n" in text
    for folder in sorted((card_module.TEMPLATE.parents[1] / "model_cards").iterdir()):
        # A published model is called by its repository.
        if (folder / "results.json").exists() and not (folder / "checksums.json").exists():
            assert card_module.card_text(folder) == (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_of_a_published_folder_is_left_alone(trained_dir, tmp_path, capsys):
    for name in ("run", "published"):
        (tmp_path / name).mkdir()
        shutil.copy(trained_dir / "results.json", tmp_path / name)
    (tmp_path / "published" / "checksums.json").write_text("{}")
    with pytest.raises(SystemExit):
        card_module.main([str(tmp_path / "run"), str(tmp_path / "published")])
    assert "mosaic-ner publish" in capsys.readouterr().err
    assert not list(tmp_path.rglob("README.md"))
    card_module.main([str(tmp_path / "run")])
    assert (tmp_path / "run" / "README.md").exists()


def test_a_run_without_test_documents_shows_its_validation_figures_and_what_was_tried(trained_dir, tmp_path):
    found = results(trained_dir)
    found["validation"], found["test"] = found["test"], {}
    (tmp_path / "results.json").write_text(json.dumps(found))
    (tmp_path / "choices.md").write_text("All of it.\n\n| setting | F1 |\n| --- | --- |\n| reference | 73.92 |\n")
    text = card_module.card_text(tmp_path)
    assert "## Results on the validation documents\n" in text
    assert "## What was tried\n\nAll of it.\n\n| setting | F1 |" in text
    assert f"{100 * found['validation']['demo_all']['overall']['f1']:.2f}" in text
    listed = ModelCard(text).data.eval_results
    assert {r.dataset_split for r in listed} == {"validation"}
    assert {r.dataset_type for r in listed} == set(found["validation"])
    plain = card_module.card_text(trained_dir)
    assert "## Results on the test sets\n" in plain
    assert "What was tried" not in plain


def test_the_card_has_no_holes(trained_dir):
    text = (trained_dir / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"\{\{|\}\}|\bNone\b|nan", text.split("## How to cite")[0])  # BibTeX has braces, too
    assert "trust_remote_code=True" in text
    assert f'model="{trained_dir.name}"' in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_the_card_is_generated_again_from_the_results(trained_dir, tmp_path, capsys):
    folder = tmp_path / trained_dir.name
    folder.mkdir()
    shutil.copy(trained_dir / "results.json", folder)
    card_module.main([str(folder)])
    assert (folder / "README.md").read_bytes() == (trained_dir / "README.md").read_bytes()
    changed = results(folder)
    changed["test"]["demo_gene"]["overall"]["f1"] = 0.123456
    (folder / "results.json").write_text(json.dumps(changed))
    card_module.main([str(folder)])
    assert "12.35" in (folder / "README.md").read_text(encoding="utf-8")
    listed = ModelCard.load(folder / "README.md").data.eval_results
    assert {r.metric_type: r.metric_value for r in listed if r.dataset_type == "demo_gene"}["f1"] == 0.1235


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no results.json that can be read"),
        ("{", "expected the results of a run"),
        ("{}", "expected the results of a run (TypeError"),
    ],
)
def test_a_folder_without_results_is_named(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        card_module.main([str(tmp_path)])
    assert stop.value.code == 2
    written = capsys.readouterr().err
    assert written.startswith(f"card: error: {tmp_path}")
    assert message in written
    assert not (tmp_path / "README.md").exists()


def test_a_hub_encoder_is_the_base_model(trained_dir):
    found = results(trained_dir)
    found["settings"]["encoder"] = "someone/some-encoder"
    made = build_card(found, "name")
    assert made.data.base_model == "someone/some-encoder"
    header = yaml.safe_load(str(made).split("---")[1])
    assert header["base_model_relation"] == "finetune"


def test_local_paths_are_reduced_to_their_last_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpora" / "pubtator").mkdir(parents=True)
    settings = {
        "data_dir": str(tmp_path / "corpora"), "other": "corpora/pubtator",
        "gone": "/no/such/place", "home": "~/models/x", "up": "../a/b",
        "encoder": "someone/some-encoder", "corpora": ["demo"], "rate": 0.1, "scheme": "aio",
    }  # fmt: skip
    assert without_local_paths(settings) == {
        "data_dir": "corpora", "gone": "place", "other": "pubtator", "home": "x", "up": "b", "encoder": "someone/some-encoder",
        "corpora": ["demo"], "rate": 0.1, "scheme": "aio",
    }  # fmt: skip


def test_versions_are_those_installed():
    import torch

    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é"}
