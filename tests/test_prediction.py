"""`--do_predict`: any format in, any single-file format out, in order, as a stream, the same bytes in any way."""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import subprocess
import sys
from collections import Counter

import pytest
from helpers_run import QUICK, ROOT, environment, fails, messages, results, run, shell, without_fit
from mosaic_ner.data_builders.formats import read_documents, write_documents
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.resumable_output import ResumableOutput
from mosaic_ner.prediction.tagger import Tagger

INPUTS = [".pubtator", ".bioc.xml", ".bioc.json", ".jsonl", ".iob2", ".jsonl.gz", ".brat", ".txt"]
OUTPUTS = [".pubtator", ".bioc.xml", ".bioc.json", ".jsonl", ".iob2"]


@pytest.fixture(scope="module")
def collection(demo_corpora):
    """Documents of every shape, in an order that is no sorting's; one of 3,000 words, one with astral characters."""
    demo = demo_corpora["demo_all"]["test"][:9]
    long = " ".join(d.text for d in demo_corpora["demo_all"]["train"])
    words = long.split(" ")
    assert len(words) >= 3000
    long = " ".join(words[:3000])
    astral = "𝔤𝔢𝔫𝔢 " + demo[0].text.replace(" ", " \U0001f9ec ", 3)
    made = [Document("long", "user", long), Document("astral", "user", astral), Document("one", "user", "x")]
    plain = [Document(f"d{i}", "user", d.text) for i, d in enumerate(demo)]
    return [plain[3], made[0], plain[1], made[1], *plain[4:], made[2], plain[2], plain[0]]


@pytest.fixture(scope="module")
def jsonl(collection, tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "in.jsonl"
    write_documents(collection, path)
    return path


@pytest.fixture(scope="module")
def predictor(trained_dir):
    return MentionPredictor(*load(str(trained_dir)))


@pytest.fixture(scope="module")
def expected(collection, predictor):
    """document id → its mentions, each document predicted alone."""
    return {d.id: [m.key for m in predictor([d.text])[0]] for d in collection}


def predict(model, source, target, *more):
    run("--do_predict", "--model_name_or_path", model, "--predict_input", source, "--predict_output", target,
        "--predict_chunk", "3", *more)  # fmt: skip


@pytest.fixture(scope="module")
def reference(trained_dir, jsonl, tmp_path_factory):
    """The bytes of an uninterrupted run on one process."""
    path = tmp_path_factory.mktemp("out") / "reference.jsonl"
    predict(trained_dir, jsonl, path)
    return path.read_bytes()


def found_in(path, **options):
    return {d.id: [m.key for m in d.mentions] for d in read_documents(path, **options)}


# ---- formats


def test_the_model_finds_something(expected):
    assert sum(map(len, expected.values())) > 100
    assert len(expected["long"]) > 50
    assert len({kind for keys in expected.values() for _, _, kind in keys}) > 2


@pytest.mark.parametrize("ending", OUTPUTS)
def test_every_output_format(trained_dir, jsonl, collection, expected, tmp_path, ending):
    target = tmp_path / f"out{ending}"
    predict(trained_dir, jsonl, target)
    documents = list(read_documents(target))
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    if ending == ".iob2":  # holds no text: tokens and mentions alone
        assert len(documents) == len(collection)
        assert [len(d.mentions) for d in documents] == [len(expected[d.id]) for d in collection]
        return
    assert [d.id for d in documents] == [d.id for d in collection]
    for got, source in zip(documents, collection, strict=True):
        assert got.text.split() == source.text.split()
        assert [m.key for m in got.mentions] == expected[got.id]


@pytest.mark.parametrize("ending", INPUTS)
def test_every_input_format(trained_dir, collection, predictor, tmp_path, ending):
    source = tmp_path / f"in{ending}"
    if ending == ".brat":
        source = tmp_path / "folder"
        write_documents(collection, source, "brat")
    elif ending == ".txt":
        source.write_text(collection[1].text, encoding="utf-8")
    else:
        write_documents(collection, source)
    target = tmp_path / "out.jsonl"
    predict(trained_dir, source, target)
    read, got = list(read_documents(source)), list(read_documents(target))
    assert len(read) == (1 if ending == ".txt" else len(collection))
    assert [(d.id, d.text) for d in got] == [(d.id, d.text) for d in read]
    assert [[m.key for m in d.mentions] for d in got] == [[m.key for m in predictor([d.text])[0]] for d in read]


def test_gold_mentions_of_the_input_are_replaced(trained_dir, collection, tmp_path):
    marked = Document("m", "user", collection[0].text, (Mention(0, 2, "Nonsense"),))
    write_documents([marked], tmp_path / "in.pubtator")
    predict(trained_dir, tmp_path / "in.pubtator", tmp_path / "out.pubtator")
    assert "Nonsense" not in (tmp_path / "out.pubtator").read_text(encoding="utf-8")


def test_an_empty_document_stays_in_its_place(trained_dir, collection, tmp_path):
    documents = [collection[0], Document("empty", "user", ""), Document("blank", "user", "  "), collection[2]]
    write_documents(documents, tmp_path / "in.jsonl")
    for name in ("out.jsonl", "out.bioc.xml", "out.bioc.json"):
        predict(trained_dir, tmp_path / "in.jsonl", tmp_path / name)
        got = list(read_documents(tmp_path / name))
        assert [d.id for d in got] == [d.id for d in documents]
        assert [len(d.mentions) for d in got[1:3]] == [0, 0]


def test_only_empty_documents(trained_dir, tmp_path):
    write_documents([Document("empty", "user", "")], tmp_path / "in.jsonl")
    predict(trained_dir, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert [d.mentions for d in read_documents(tmp_path / "out.jsonl")] == [()]


def test_offsets_count_characters_with_astral_text(trained_dir, collection, expected, jsonl, tmp_path):
    predict(trained_dir, jsonl, tmp_path / "out.pubtator")
    astral = next(d for d in read_documents(tmp_path / "out.pubtator") if d.id == "astral")
    assert [m.key for m in astral.mentions] == expected["astral"]
    assert astral.mentions
    assert all(not astral.surface(m).isspace() for m in astral.mentions)


def test_scores_are_written(reference):
    scores = [m["score"] for line in reference.decode().splitlines() for m in json.loads(line)["mentions"]]
    assert scores
    assert all(0 < s <= 1 for s in scores)


def test_another_guideline_gives_its_types(trained_dir, jsonl, expected, tmp_path):
    predict(trained_dir, jsonl, tmp_path / "out.jsonl", "--predict_corpus", "demo_gene")
    counts = Counter(m.type for d in read_documents(tmp_path / "out.jsonl") for m in d.mentions)
    # One CRF over all labels: nothing but what it learnt keeps a task to its own types.
    assert counts["Gene"] > 0.8 * counts.total()
    assert Counter(kind for keys in expected.values() for _, _, kind in keys)["Gene"] < 0.8 * sum(
        map(len, expected.values())
    )


def test_chunks_and_batches_do_not_change_the_mentions(trained_dir, jsonl, expected, tmp_path):
    run("--do_predict", "--model_name_or_path", trained_dir, "--predict_input", jsonl, "--predict_output",
        tmp_path / "out.jsonl", "--predict_chunk", "100", "--per_device_eval_batch_size", "5")  # fmt: skip
    assert found_in(tmp_path / "out.jsonl") == expected


# ---- streaming


def test_the_reader_is_never_far_ahead(predictor, collection):
    taken = 0

    def source():
        nonlocal taken
        for number in range(60):
            taken += 1
            yield Document(str(number), "user", collection[number % 3 * 2].text[:80])

    ahead, order = [], []
    for done, part in enumerate(Tagger(predictor).stream(source(), 4), 1):
        order += [d.id for d in part]
        ahead.append(taken - 4 * done)
    assert order == [str(n) for n in range(60)]
    assert max(ahead) <= 4  # the chunk that is tokenised while this one is predicted
    assert len(ahead) == 15


def test_an_endless_collection_can_be_begun(predictor):
    endless = (Document(str(n), "user", "BRCA1 and velosis.") for n in itertools.count())
    stream = Tagger(predictor).stream(endless, 2)
    assert [d.id for d in next(stream)] == ["0", "1"]
    assert [d.id for d in next(stream)] == ["2", "3"]
    stream.close()


def test_a_fault_in_the_middle_of_the_input_keeps_what_was_done(trained_dir, collection, tmp_path, capsys):
    source, target = tmp_path / "in.pubtator", tmp_path / "out.jsonl"
    write_documents(collection, source)
    good = source.read_text(encoding="utf-8")
    source.write_text(good + "bad line\n", encoding="utf-8")
    message = fails(
        capsys, "--do_predict", "--model_name_or_path", trained_dir, "--predict_input", source, "--predict_output",
        target, "--predict_chunk", "3", "--policy", "strict",
    )  # fmt: skip
    assert "in.pubtator" in message
    assert not target.exists()
    assert (tmp_path / "out.jsonl.journal.json").exists()


def test_a_bad_record_is_left_out_and_told(trained_dir, collection, tmp_path, caplog):
    source, target = tmp_path / "in.pubtator", tmp_path / "out.jsonl"
    write_documents(collection[:2], source)
    good = source.read_text(encoding="utf-8")
    number = good.count("\n") + 1
    source.write_text(good + "bad line\n\n" + good.replace("\n\n", "\n").replace("|t|", "x|t|"), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        predict(trained_dir, source, target)
    assert stop.value.code == 3
    assert [d.id for d in read_documents(target)][:2] == [d.id for d in collection[:2]]
    assert f"in.pubtator:{number}: expected a title line" in caplog.text


# ---- interruption


class Killed(Exception):
    pass


def test_killed_and_resumed_gives_the_same_bytes(trained_dir, jsonl, reference, tmp_path, monkeypatch, capsys):
    target = tmp_path / "reference.jsonl"
    write, written = ResumableOutput.write, []

    def killing(self, documents):
        if len(written) == 2:
            raise Killed
        written.append(len(documents))
        write(self, documents)

    with monkeypatch.context() as patch:
        patch.setattr(ResumableOutput, "write", killing)
        with pytest.raises(Killed):
            predict(trained_dir, jsonl, target)
    assert not target.exists()
    assert written == [3, 3]
    message = fails(
        capsys,
        "--do_predict",
        "--model_name_or_path",
        trained_dir,
        "--predict_input",
        jsonl,
        "--predict_output",
        target,
    )
    assert "unfinished output (6 documents)" in message
    assert "--resume" in message
    calls = []

    def counting(self, documents):
        calls.append([d.id for d in documents])
        write(self, documents)

    monkeypatch.setattr(ResumableOutput, "write", counting)
    predict(trained_dir, jsonl, target, "--resume")
    assert target.read_bytes() == reference
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    ids = [json.loads(line)["id"] for line in reference.decode().splitlines()]
    assert list(itertools.chain(*calls)) == ids[6:]  # nothing was done twice


def test_a_changed_input_or_option_is_refused(trained_dir, collection, tmp_path, capsys, monkeypatch):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_documents(collection, source)

    def killed(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ResumableOutput, "close", killed)
        with pytest.raises(Killed):
            predict(trained_dir, source, target)
    argv = ["--do_predict", "--model_name_or_path", trained_dir, "--predict_input", source, "--predict_output", target]
    argv += ["--predict_chunk", "3", "--resume"]
    assert "predict_corpus" in fails(capsys, *argv, "--predict_corpus", "demo_gene")
    assert "another predict_chunk" in fails(capsys, *argv[:-2], "4", "--resume")
    write_documents(collection[::-1], source)
    assert "another content of the input" in fails(capsys, *argv)
    assert not target.exists()


def test_a_process_that_really_dies_can_be_resumed(trained_dir, jsonl, reference, tmp_path):
    target = tmp_path / "reference.jsonl"
    argv = ["--do_predict", "--model_name_or_path", str(trained_dir), "--predict_input", str(jsonl)]
    argv += ["--predict_output", str(target), "--predict_chunk", "3"]
    code = f"""
import os, run_ner
from mosaic_ner.data_builders.formats import DocumentWriter
write = DocumentWriter.write
def dying(self, document):
    if self.documents_written == 7:
        self._handle.write(b'{{"id": "torn'); self._handle.flush(); os._exit(9)
    write(self, document)
DocumentWriter.write = dying
run_ner.main({argv!r})
"""
    done = shell(["-c", code], tmp_path)
    assert done.returncode == 9, done.stderr
    assert not target.exists()
    assert (tmp_path / "reference.jsonl.partial").read_bytes().endswith(b'"torn')
    predict(trained_dir, jsonl, target, "--resume")
    assert target.read_bytes() == reference


def test_an_older_output_stays_until_the_new_one_is_complete(trained_dir, jsonl, reference, tmp_path, monkeypatch):
    target = tmp_path / "reference.jsonl"
    target.write_text("older")
    seen = []
    write = ResumableOutput.write

    def watching(self, documents):
        write(self, documents)
        seen.append(target.read_text())

    monkeypatch.setattr(ResumableOutput, "write", watching)
    predict(trained_dir, jsonl, target)
    assert set(seen) == {"older"}
    assert target.read_bytes() == reference


# ---- several processes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(cwd, *argv) -> subprocess.CompletedProcess:
    # accelerate's launcher starts several processes for GPUs only; on a CPU torchrun does.
    port = str(free_port())
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    command.append(str(ROOT / "run_ner.py"))
    return subprocess.run(
        [*command, *map(str, argv)], cwd=cwd, env=environment(MASTER_PORT=port), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def test_two_processes_write_the_same_bytes(trained_dir, jsonl, reference, tmp_path):
    target = tmp_path / "reference.jsonl"
    done = launch(
        tmp_path, "--do_predict", "--model_name_or_path", trained_dir, "--predict_input", jsonl, "--predict_output",
        target, "--predict_chunk", "3", "--use_cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert target.read_bytes() == reference
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert "2 processes" in done.stderr
    lines = [line for line in done.stderr.splitlines() if "documents/s" in line]
    assert len(lines) == -(-len(reference.splitlines()) // 3)  # one process speaks, the other is silent


def test_two_processes_train_and_measure_together(tmp_path, demo_corpora):
    out = tmp_path / "out"
    argv = [*QUICK, "--corpora", "demo_gene", "--learning_rate", "1e-2", "--use_cpu", "--output_dir", out]
    done = launch(tmp_path, *argv, "--write_predictions")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes" in done.stderr
    together = results(out)
    assert done.stderr.count("demo_gene/test: P ") == 1
    # what both measured together is what one measures alone
    run(
        "--model_name_or_path", out, "--corpora", "demo_gene", "--report_to", "none", "--output_dir", tmp_path / "alone"
    )
    assert without_fit(results(tmp_path / "alone")["test"]) == without_fit(together["test"])
    assert together["test"]["demo_gene"]["overall"]["predicted"] > 0
    assert len(list(read_documents(out / "predictions" / "demo_gene.predicted.PubTator"))) == 40


def test_progress_is_logged(trained_dir, jsonl, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        predict(trained_dir, jsonl, tmp_path / "out.jsonl")
    assert "12 documents, " in messages(caplog)
    assert os.environ.get("HF_HUB_OFFLINE") is None or "Retrying" not in messages(caplog)
