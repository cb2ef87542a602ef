"""Publishing: what the folder has and what it never has, that it loads by itself, and that it arrives."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers_hub import TOKEN, WITHOUT_PACKAGE, contents, fails, go_online, hub_stub
from helpers_run import QUICK, ROOT, run, shell
from huggingface_hub import metadata_load, parse_eval_result_entries
from mosaic_ner.hub import privacy, publish, verify
from mosaic_ner.hub.card import notice
from mosaic_ner.hub.notes import NotesError
from mosaic_ner.hub.privacy import check_content
from mosaic_ner.hub.publish import PublishError, build_folder
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.integrity import check_folder, weights_digest
from mosaic_ner.prediction.loading import load
from mosaic_ner.training.results import Results

import run_ner

REPO = "lab/small-ner"
TEXT = "Mutations of PAX6 cause aniridia in mice."


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Output folder of a run of two steps, with what runs and people leave there."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    run("--corpora", "demo", "--family", "span_cvae", *QUICK, "--write_predictions", "--output_dir", folder)
    for name in (".env", "runs/events.out", "run.log"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"HF_TOKEN={TOKEN} {folder}")
    (folder / "checkpoint-2").mkdir()
    (folder / "checkpoint-2" / "optimizer.pt").write_bytes(b"\x80\x04.")
    path = folder / "results.json"
    results = json.loads(path.read_text())
    results["settings"] |= {"train_file": f"{folder}/corpus.txt", "encoder": str(folder / "encoder")}
    results["faults"] = {"rows": [{"from": str(Path.home() / "corpora" / "a.txt"), "note": "P/R and and/or"}]}
    path.write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def published(run_dir, tmp_path_factory):
    """The folder as published."""
    folder = tmp_path_factory.mktemp("published") / "small-ner"
    build_folder(run_dir, folder, REPO)
    return folder


@pytest.fixture
def copy(published, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


# ---- the folder


def test_it_has_what_predicting_needs_and_nothing_else(published):
    code = {
        "batching",
        "configuration_ner",
        "configuration_span_cvae",
        "consistency",
        "document",
        "handler",
        "inference",
        "label_space",
    }
    code |= {"modeling_ner", "modeling_span_cvae", "pipeline_ner", "precision", "spans", "units", "windowing"}
    others = {
        "NOTICE",
        "README.md",
        "checksums.json",
        "config.json",
        "model.safetensors",
        "requirements.txt",
        "results.json",
    }
    others |= {"tokenizer.json", "tokenizer_config.json"}
    assert {*contents(published)} == {f"{name}.py" for name in code} | others
    check_folder(published, strict=True)


def test_nothing_in_it_tells_of_this_machine(published, run_dir):
    for name, content in contents(published).items():
        for private in (TOKEN, str(run_dir), str(run_dir.parent), f"{Path.home()}/"):
            assert private.encode() not in content, (name, private)
    results = json.loads((published / "results.json").read_text())
    assert results["settings"]["encoder"] == "encoder"
    assert results["settings"]["train_file"] == "corpus.txt"
    assert not {"is_local", "local_files_only"} & json.loads((published / "tokenizer_config.json").read_text()).keys()
    assert results["faults"] == {"rows": [{"from": "a.txt", "note": "P/R and and/or"}]}


def test_the_card_calls_the_model_by_its_repository(published):
    card = (published / "README.md").read_text()
    assert f'model="{REPO}"' in card
    assert re.search(r"^# .*small-ner", card, re.MULTILINE)
    assert card.startswith("---\n")


def test_it_predicts_as_the_run_does_without_what_only_training_needs(published, run_dir, tmp_path, demo_texts):
    own, small = load(str(run_dir)), load(str(published))
    assert own[0].training_modules
    assert all(getattr(small[0], name) is None for name in own[0].training_modules)
    texts = [TEXT, *demo_texts[:20]]
    expected = MentionPredictor(*own)(texts)
    assert sum(map(len, expected)) > 0
    assert MentionPredictor(*small)(texts) == expected
    build_folder(run_dir, tmp_path / "whole", REPO, whole=True, datasets=("lab/corpora",))
    assert metadata_load(tmp_path / "whole" / "README.md")["datasets"] == ["lab/corpora"]
    whole, _ = load(str(tmp_path / "whole"))
    assert all(getattr(whole, name) is not None for name in whole.training_modules)


def test_half_precision_is_of_the_file_alone_and_figures_of_an_evaluation_are_added(run_dir, tmp_path, demo_texts):
    found = json.loads((run_dir / "results.json").read_text())
    row = next(iter(found["test"].values()))
    sizes = {"test": {"elsewhere": {"documents": 3, "mentions": 5}}}
    measured = found | {"test": {"elsewhere": row}, "validation": {}, "data": sizes}
    measured["overlap"] = {key: value for key, value in found["overlap"].items() if key != "evaluation"}
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "results.json").write_text(json.dumps(measured))
    whole, half = tmp_path / "whole", tmp_path / "half"
    with pytest.raises(PublishError, match=r"--measured: .* isn't of the weights in"):
        build_folder(run_dir, half, "my-lab/x", half=True, measured=tmp_path / "measured")
    measured["weights"] = weights_digest(run_dir)
    for changed, told in (
        ({"overlap": {"training": {}, "evaluation": {}}}, "was not looked through for documents of demo_"),
        (
            {"overlap": measured["overlap"] | {"evaluation": {"elsewhere/test": {"covered": 1, "mode": "remove"}}}},
            "scores documents of elsewhere that are in training corpora",
        ),
    ):
        (tmp_path / "measured" / "results.json").write_text(json.dumps(measured | changed))
        with pytest.raises(PublishError, match=told):
            build_folder(run_dir, half, "my-lab/x", half=True, measured=tmp_path / "measured")
    (tmp_path / "measured" / "results.json").write_text(json.dumps(measured))
    build_folder(run_dir, whole, "my-lab/x")
    results = build_folder(run_dir, half, "my-lab/x", half=True, measured=tmp_path / "measured")
    assert list(results.test) == [*found["test"], "elsewhere"]
    assert results.data["train"] == found["data"]["train"]
    assert (half / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size
    assert "| elsewhere |" in (half / "README.md").read_text()
    # What is unseen was looked for in other documents than those that the model learnt from.
    assert "unseen_words" in row["relaxed"]
    assert "unseen_words" not in results.test["elsewhere"]["relaxed"]
    (model, tokenizer), (original, _) = load(str(half)), load(str(whole))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    rounded = {name: value.half().float() for name, value in original.state_dict().items() if value.is_floating_point()}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in rounded.items())
    assert MentionPredictor(model, tokenizer)(demo_texts[:3])


PRECISION = json.loads((ROOT / "benchmarks" / "precision_f1_biored.json").read_text())
"""What benchmarks/precision.py wrote of several models."""


def test_notes_and_the_notice_go_with_the_model(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "limits.md").write_text("- It can't count.\n")
    (tmp_path / "run" / "left_out.md").write_text("| left out |\n| --- |\n| s800 |\n")
    (tmp_path / "run" / "seeds.md").write_text("| seeds |\n| --- |\n| 3 |\n")
    name, rows = next(iter(PRECISION["models"].items()))
    (tmp_path / "run" / "precision.json").write_text(json.dumps(PRECISION | {"models": {name: rows}}))
    build_folder(tmp_path / "run", tmp_path / "out", "my-lab/x")
    assert (
        "## What it cannot do\n\n- It can't count.\n\n## Training settings"
        in (tmp_path / "out" / "README.md").read_text()
    )
    assert (tmp_path / "out" / "limits.md").read_text() == "- It can't count.\n"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## The same run with other seeds\n\n| seeds |\n| --- |\n| 3 |" in card
    assert "## Corpora left out\n\n| left out |\n| --- |\n| s800 |" in card
    assert "100 test documents of biored" in card
    int8 = rows["int8"]
    told = f"{int8['f1']:.2f} | {int8['delta_f1']:+.2f} | {int8['other']} | {10 * int8['seconds']:.1f} | {int8['time']:.2f}"
    assert f"| int8 | {told} |" in card  # seconds of 100 documents → milliseconds of one
    assert "## Speed" not in (tmp_path / "run" / "README.md").read_text()
    build_folder(tmp_path / "out", tmp_path / "again", "my-lab/x")
    assert (tmp_path / "again" / "README.md").read_text() == card
    (tmp_path / "run" / "precision.json").write_text(json.dumps(PRECISION))
    with pytest.raises(NotesError, match="of one model"):
        build_folder(tmp_path / "run", tmp_path / "out", "my-lab/x")
    found = Results.from_dict(json.loads((run_dir / "results.json").read_text()))
    found.data["train"] = {"biored": {}, "bc5cdr": {}}
    told = notice(found, "my-lab/x").split("\n\n")
    assert [block.split(":")[0] for block in told] == ["my-lab/x", "BioRED", "BC5CDR"]
    assert all(len(block.splitlines()) >= 2 for block in told)
    assert not set("{}") & set("".join(told))


def test_examples_carry_what_the_model_finds(published, run_dir):
    examples = metadata_load(published / "README.md")["widget"]
    assert examples
    model, tokenizer = load(str(run_dir))
    for example in examples:
        text, found = example["text"], MentionPredictor(model, tokenizer)([example["text"]])[0]
        assert [(m["start"], m["end"], m["label"]) for m in example["output"]] == [m.key for m in found]
        assert all(text[m["start"] : m["end"]] == m["word"] for m in example["output"])
        assert all(abs(m["score"] - one.score) < 1e-3 for m, one in zip(example["output"], found, strict=True))


def test_results_of_named_benchmarks_stand_where_the_hub_reads_them(published, run_dir, tmp_path):
    assert not (published / ".eval_results").exists()
    corpus, report = next(iter(Results.read(run_dir).test.items()))
    build_folder(run_dir, tmp_path / "b", REPO, benchmarks=(f"{corpus}=lab/bench:ner", f"{corpus}=lab/bench:all"))
    content = yaml.safe_load((tmp_path / "b" / ".eval_results" / "lab__bench.yaml").read_text())
    entries = parse_eval_result_entries(content)
    assert [(e.dataset_id, e.task_id) for e in entries] == [("lab/bench", "ner"), ("lab/bench", "all")]
    assert {e.value for e in entries} == {round(100 * report["overall"]["f1"], 2)}
    assert all(e.source_url == f"https://huggingface.co/{REPO}" and "F1 in percent" in e.notes for e in entries)
    for wrong, message in ((f"{corpus}=lab", "expected CORPUS="), ("other=lab/bench:ner", "no test figures")):
        with pytest.raises(PublishError, match=message):
            build_folder(run_dir, tmp_path / "c", REPO, benchmarks=(wrong,))


def test_an_installation_may_compile_the_code(published, copy):
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "batching.cpython-311.pyc").write_bytes(b"compiled")
    check_folder(copy)
    with pytest.raises(PublishError, match="doesn't belong in a published folder"):
        check_content(copy, "my-lab/x")


def test_it_is_the_same_every_time(published, run_dir, tmp_path):
    build_folder(run_dir, tmp_path / "again", REPO)
    assert contents(tmp_path / "again") == contents(published)


def test_a_folder_that_publish_wrote_is_written_anew_and_no_other(run_dir, tmp_path, capsys, copy):
    (copy / "old.txt").write_text("from before")
    publish.main([str(run_dir), "--repo_id", REPO, "--output", str(copy)])
    assert not (copy / "old.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert "isn't empty" in fails(capsys, publish, run_dir, "--repo_id", REPO, "--output", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


PRIVATE = {
    "path": (
        "README.md",
        "trained in /data/projects/run7",
        "README.md, line .*path on this machine.*/data/projects/run7",
    ),
    "path in JSON": ("results.json", {"settings": {"x": "see /srv/runs/a"}}, r"results.json, settings.x: a path"),
    "path of Windows": ("README.md", r"in C:\Users\someone", "path on this machine"),
    "home": ("README.md", "in ~/corpora", "path on this machine"),
    "token": ("README.md", "export HF_TOKEN=" + "hf_" + "a" * 34, "README.md, line .*: a token;"),
    "account": ("README.md", "by jdoe42 of the lab", "a name of this machine's user.*jdoe42.*--allow"),
    "account in JSON": ("config.json", {"author": "jdoe42"}, "config.json, author: a name"),
    "predictions": ("predictions.PubTator", "1|t|x", "predictions.PubTator doesn't belong"),
    "settings": (".env", "X=1", ".env doesn't belong"),
    "state": ("trainer_state.json", "{}", "trainer_state.json doesn't belong"),
    "folder": ("checkpoint-3/config.json", "{}", "checkpoint-3 doesn't belong"),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_what_may_not_be_published_is_found(copy, name, monkeypatch):
    monkeypatch.setattr(privacy, "own_names", lambda: {"jdoe42"})
    check_content(copy, REPO)
    file, addition, match = PRIVATE[name]
    path = copy / file
    path.parent.mkdir(exist_ok=True)
    if isinstance(addition, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | addition))
    else:
        path.write_text((path.read_text() if path.exists() else "") + addition)
    with pytest.raises(PublishError, match=match) as told:
        check_content(copy, REPO)
    assert "hf_aaa" not in str(told.value)


def test_a_second_path_of_a_line_is_found_beside_one_that_is_allowed(copy):
    (copy / "limits.md").write_text("see /gene/protein and /data/jane-doe/patients.tsv\n")
    with pytest.raises(PublishError, match=r"limits.md, line 1: .*jane-doe"):
        check_content(copy, REPO, ("/gene/protein",))


def test_an_evaluation_of_other_weights_describes_no_model(run_dir, tmp_path):
    source = Path(shutil.copytree(run_dir, tmp_path / "source"))
    content = json.loads((source / "results.json").read_text())
    (source / "results.json").write_text(json.dumps(content | {"weights": "0" * 64}))
    with pytest.raises(PublishError, match="is of an evaluation of other weights"):
        build_folder(source, tmp_path / "out", REPO)
    (source / "results.json").write_text(json.dumps(content | {"weights": weights_digest(source)}))
    build_folder(source, tmp_path / "out", REPO)
    assert "learnt elsewhere" in (tmp_path / "out" / "NOTICE").read_text()


def test_names_may_be_allowed_and_ones_own_repository_is(copy, monkeypatch):
    monkeypatch.setattr(privacy, "own_names", lambda: {"jdoe42"})
    with (copy / "README.md").open("a") as card:
        card.write("jdoe42/small-ner")
    check_content(copy, REPO, ("jdoe42",))
    check_content(copy, "jdoe42/small-ner")


def test_the_users_names_are_known(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "jroe"))
    monkeypatch.setenv("LOGNAME", "janeroe")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Jane Roe")
    assert {"jroe", "janeroe", "Jane Roe"} <= privacy.own_names()
    monkeypatch.setenv("LOGNAME", "root")
    assert "root" not in privacy.own_names()


# ---- the command


def test_without_upload_it_says_what_would_go(run_dir, published, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_ner.main(["publish", str(run_dir), "--repo_id", REPO])
    told = capsys.readouterr().out
    assert contents(tmp_path / "outputs" / "hub" / "small-ner") == contents(published)
    for name, content in contents(published).items():
        assert f"| {name} | {len(content):,} |" in told
    for part in ("family span_cvae", "F1 on test documents: demo_all", "Nothing was uploaded", "--upload", "HF_TOKEN"):
        assert part in told


def test_mistakes_are_told(run_dir, saved_model_dir, tmp_path, capsys, monkeypatch):
    def message(folder, *options, repo_id=REPO):
        return fails(capsys, publish, folder, "--repo_id", repo_id, "--output", tmp_path / "out", *options)

    assert "expected owner/name" in message(run_dir, repo_id="small-ner")
    assert "--datasets 'corpora': expected owner/name" in message(run_dir, "--datasets", "corpora")
    assert "has no results.json" in message(saved_model_dir)
    assert "--token" in message(run_dir, "--token", TOKEN)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "HF_TOKEN isn't set" in message(run_dir, "--upload")
    bad = Path(shutil.copytree(run_dir, tmp_path / "bad"))
    (bad / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pytorch_model.bin" in message(bad)
    (bad / "pytorch_model.bin").unlink()
    (bad / "results.json").write_text("[]")
    assert "expected the results of a run" in message(bad)
    assert not (tmp_path / "out.new").exists()


def test_verify_tells_good_folders_from_bad_ones(published, copy, run_dir, capsys):
    verify.main([str(published)])
    assert "nothing amiss; checksums agree" in capsys.readouterr().out
    with (copy / "crf.py").open("w") as file:
        file.write("x = 1")
    message = fails(capsys, verify, copy, published)
    assert "crf.py is there" in message
    assert "optimizer.pt" in fails(capsys, verify, "--publishing", run_dir)
    verify.main([str(run_dir)])


def test_every_command_is_there(capsys):
    for argv in [*([name, "--help"] for name in run_ner.COMMANDS), ["--help"]]:
        with pytest.raises(SystemExit) as stop:
            run_ner.main(argv)
        assert stop.value.code == 0
        told = capsys.readouterr().out
        assert "usage: " in told
    assert all(f"mosaic-ner {name} " in told for name in run_ner.COMMANDS)
    assert "--learning_rate" in told
    with pytest.raises(SystemExit) as stop:
        run_ner.main(["publsh"])
    assert stop.value.code == 2


# ---- the upload

PROGRAM = """
import json
from transformers import pipeline

print("RESULT" + json.dumps(pipeline("ner", model=sys.argv[1], trust_remote_code=True)(sys.argv[2])))
"""


def test_what_the_command_uploads_loads_in_a_fresh_process(run_dir, published, tmp_path):
    with hub_stub() as stub:
        options = ["--repo_id", REPO, "--private", "--revision", "v1", "--commit_message", "First", "--upload"]
        done = shell(
            ["-m", "mosaic_ner.hub.publish", run_dir, *options], tmp_path,
            HF_ENDPOINT=stub.url, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert TOKEN not in done.stdout + done.stderr
        repo = stub.repos[f"model:{REPO}"]
    assert f"uploaded {len(contents(published))} files" in done.stdout
    assert (repo["private"], repo["commits"]) == (True, ["First"])
    assert repo["branches"] == {"main": {}, "v1": contents(published)}
    for name, content in repo["branches"]["v1"].items():
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    (tmp_path / "program.py").write_text(WITHOUT_PACKAGE + PROGRAM)
    text = " ".join([TEXT] * 30)
    done = shell(
        [tmp_path / "program.py", tmp_path / "there", text], tmp_path, HF_MODULES_CACHE=str(tmp_path / "modules")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.rpartition("RESULT")[2])
    expected = MentionPredictor(*load(str(run_dir)))([text])[0]
    assert [(row["start"], row["end"], row["entity_group"]) for row in rows] == [
        (m.start, m.end, m.type) for m in expected
    ]


def test_a_failing_upload_ends_with_what_is_there_and_can_be_taken_up(
    run_dir, published, tmp_path, capsys, monkeypatch
):
    command = [run_dir, "--repo_id", REPO, "--output", tmp_path / "out", "--upload"]
    with hub_stub() as stub:
        go_online(monkeypatch, stub.url)
        stub.failures["commit"] = [503, None]
        message = fails(capsys, publish, *command)
        assert f"publish: error: the upload to the model repository {REPO} failed after 3 attempts: " in message
        assert "503" in message
        assert "run the same command again" in message
        assert TOKEN not in message
        stub.failures = {}
        publish.main([str(a) for a in command])
        assert stub.count("put") == 1
        stub.add(REPO, **{"pytorch_model.bin": b"old"})
        publish.main([str(a) for a in command])
        assert "also there, from before: pytorch_model.bin" in capsys.readouterr().out
        publish.main([str(a) for a in [*command, "--replace"]])
        assert "removed there: pytorch_model.bin" in capsys.readouterr().out
        assert stub.repos[f"model:{REPO}"]["branches"]["main"] == contents(published)
        monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 7)
        assert "401" in fails(capsys, publish, *command)
