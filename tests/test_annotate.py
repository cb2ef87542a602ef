"""`mosaic-ner annotate`: shards whole or not at all, the same bytes after any interruption, and what users get wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import fsspec
import pyarrow.parquet as pq
import pytest
from helpers_annotate import Stopper, citation, pubmed, tree
from helpers_run import ROOT, environment
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction import shards
from mosaic_ner.prediction.collection import main
from mosaic_ner.prediction.inputs import Source, sources, split
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.shards import Job, annotate_shard
from mosaic_ner.prediction.tagger import Tagger

CHUNK = 1  # so that a piece is of 16 documents
FILES = 4
TESTED = ("pubtator", "bioc.xml", "bioc.xml.gz", "jsonl.gz")


@pytest.fixture(scope="module")
def model(saved_model_dir):
    return str(saved_model_dir)


@pytest.fixture(scope="module")
def predictor(model):
    return MentionPredictor(*load(model))


@pytest.fixture(scope="module")
def collection(demo_texts, tmp_path_factory):
    """Files of PubMed's: of 40 citations, of 3, of one and of none (but a deletion)."""
    folder = tmp_path_factory.mktemp("pubmed")
    texts = iter(demo_texts)
    for number, count in enumerate((40, 3, 1, 0)):
        made = [citation(1000 * number + n, next(texts)[:120]) for n in range(count)]
        pubmed(folder / f"pubmed26n{number:04d}.xml.gz", made, [] if count else [(1, 1)])
    return folder


@pytest.fixture
def annotate(model, capsys):
    """Function: inputs and options → exit code."""

    def run(*argv, code=0):
        assert main([*map(str, argv), "--model", model, "--chunk", str(CHUNK)]) == code

    return run


@pytest.fixture(scope="module")
def references(collection, model, tmp_path_factory):
    """Format → the folder of an uninterrupted run; made before a test that interrupts runs begins."""
    made = {write: tmp_path_factory.mktemp("reference") / "out" for write in ("parquet", *TESTED)}
    for write, folder in made.items():
        argv = [collection, "--output", folder, "--model", model, "--chunk", CHUNK, "--write", write]
        assert main(list(map(str, argv))) == 0
    return made


def error(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, argv)))
    assert stop.value.code == 2
    return capsys.readouterr().err


def manifest(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", TESTED)
def test_files_hold_what_the_engine_finds(references, collection, predictor, write):
    folder = references[write]
    for file in sorted(collection.iterdir()):
        name = file.name.removesuffix(".xml.gz")
        read = list(read_documents(file))
        expected = [d for part in Tagger(predictor).stream(read, CHUNK) for d in part]
        got = list(read_documents(folder / f"{name}.{write}", shards.TEXTS[write.removesuffix(".gz")]))
        assert [(d.id, d.text) for d in got] == [(d.id, d.text) for d in read]
        assert [[m.key for m in d.mentions] for d in got] == [[m.key for m in d.mentions] for d in expected]
        assert manifest(folder)["shards"][name]["documents"] == len(read)
    deleted = (folder / "pubmed26n0003.deleted.tsv").read_text("utf-8")
    assert deleted == "pmid\tversion\tfile\n1\t1\tpubmed26n0003.xml.gz\n"


def test_the_manifest_says_what_was_asked_and_what_is_there(references):
    folder = references["parquet"]
    said = manifest(folder)
    assert {"model", "content of the model", "threshold", "write"} <= set(said["run"])
    assert [said["shards"][name]["documents"] for name in sorted(said["shards"])] == [40, 3, 1, 0]
    assert (said["documents"], said["deleted"], said["failed"], said["missing"]) == (44, 1, {}, 0)
    assert sum(said["types"].values()) == said["mentions"] > 44
    files = {name: sums for shard in said["shards"].values() for name, sums in shard["files"].items()}
    there = {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}
    assert there == set(files)
    assert len(there) == 3 * FILES
    assert files == {name: shards.digest(folder / name) for name in files}
    assert sorted(p.name for p in folder.iterdir()) == ["_done", "deleted", "documents", "manifest.json", "mentions"]


# --- interruptions ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill at any moment."""


@pytest.mark.parametrize("write", ["parquet", "bioc.xml.gz"])
@pytest.mark.parametrize("after", [0, 1, 17, 33, 41, 43])
def test_a_run_that_ends_anywhere_goes_on(annotate, references, collection, tmp_path, monkeypatch, write, after):
    whole, seen = Tagger.stream, 0

    def stream(self, documents, chunk, keep=False):
        nonlocal seen
        for part in whole(self, documents, chunk, keep):
            if seen == after:
                raise Killed
            seen += len(part)
            yield part

    monkeypatch.setattr(Tagger, "stream", stream)
    target = tmp_path / "out"
    with pytest.raises(Killed):
        annotate(collection, "--output", target, "--write", write)
    before, reference = tree(target), tree(references[write])
    # What has its own name is whole.
    assert all(
        reference[name] == data for name, data in before.items() if name != "manifest.json" and name[:5] != "_work"
    )
    assert not [name for name in before if name.endswith(".partial")]
    monkeypatch.setattr(Tagger, "stream", whole)
    count = []
    monkeypatch.setattr(Tagger, "stream", lambda *args: (count.extend(part) or part for part in whole(*args)))
    annotate(collection, "--output", target, "--write", write)
    assert tree(target) == reference
    assert len(count) <= 44 - after // 16 * 16 if after < 40 else len(count) <= 44 - 40


def interrupted(annotate, monkeypatch, documents, *argv):
    """A run that ends when so many documents are annotated."""
    whole = Tagger.stream

    def stream(self, given, chunk, keep=False):
        for count, part in enumerate(whole(self, given, chunk, keep)):
            if count == documents:
                raise Killed
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "stream", stream)
        with pytest.raises(Killed):
            annotate(*argv)


def test_pieces_of_an_input_that_changed_are_made_again(annotate, demo_texts, tmp_path, monkeypatch):
    rows = [json.dumps({"id": str(n), "text": text[:60]}) + "\n" for n, text in enumerate(demo_texts[:20])]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(rows), "utf-8")
    interrupted(annotate, monkeypatch, 18, file, "--output", tmp_path / "out", "--write", "jsonl")
    file.write_text("".join([rows[-1], *rows[:-1]]), "utf-8")
    annotate(file, "--output", tmp_path / "out", "--write", "jsonl")
    written = (tmp_path / "out" / "texts.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["id"] for row in written] == ["19", *map(str, range(19))]


def test_a_shard_named_like_the_folder_of_another_takes_no_pieces_of_it(annotate, demo_texts, tmp_path, monkeypatch):
    rows = "".join(json.dumps({"id": str(n), "text": text[:60]}) + "\n" for n, text in enumerate(demo_texts[:20]))
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "b.jsonl").write_text(rows, "utf-8")
    interrupted(annotate, monkeypatch, 18, tmp_path / "in", "--output", tmp_path / "out")
    pieces = set(tree(tmp_path / "out" / "_work"))
    (tmp_path / "in" / "a.jsonl").write_text(rows.splitlines(keepends=True)[0], "utf-8")
    interrupted(annotate, monkeypatch, 2, tmp_path / "in", "--output", tmp_path / "out")
    assert (tmp_path / "out" / "_done" / "a.json").exists()
    assert pieces
    assert pieces <= set(tree(tmp_path / "out" / "_work"))


@pytest.mark.parametrize("moment", ["mentions", "documents", "_done"])
def test_a_kill_between_two_files_of_a_shard(annotate, references, collection, tmp_path, monkeypatch, moment):
    replace = os.replace

    def killing(source, target):
        replace(source, target)
        if os.path.basename(os.path.dirname(target)) == moment:
            raise Killed

    monkeypatch.setattr(os, "replace", killing)
    with pytest.raises(Killed):
        annotate(collection, "--output", tmp_path / "out")
    monkeypatch.setattr(os, "replace", replace)
    annotate(collection, "--output", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(references["parquet"])


def test_a_process_that_is_killed_goes_on(annotate, references, collection, model, tmp_path):
    folder, target = shutil.copytree(collection, tmp_path / "in"), tmp_path / "out"
    stopper = Stopper(folder / "pubmed26n0002.xml.gz")
    command = [
        sys.executable,
        ROOT / "run_ner.py",
        "annotate",
        *(folder / p.name for p in sorted(collection.iterdir())),
    ]
    command += ["--output", target, "--model", model, "--chunk", str(CHUNK)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        assert stopper.reader() == process.pid
        process.send_signal(signal.SIGKILL)
    assert sorted(p.name for p in (target / "_done").iterdir()) == ["pubmed26n0000.json", "pubmed26n0001.json"]
    stopper.release()
    annotate(folder, "--output", target)
    assert tree(target) == tree(references["parquet"])
    stopper.close()


def test_two_workers_at_the_same_shard(references, collection, predictor, model, tmp_path):
    """A worker that was given up, and lives: both write the same."""
    (source, *_) = sources([str(collection)])
    job = Job(str(tmp_path), model=model, chunk=CHUNK)
    one, two = shards._Shard(source, job), shards._Shard(source, job)
    assert one.annotate(Tagger(predictor), lambda count: None)
    assert two.annotate(Tagger(predictor), lambda count: None)
    receipt = two.finish()
    assert one.finish() == receipt == annotate_shard(source, job, Tagger(predictor))
    reference = tree(references["parquet"])
    assert {name: data for name, data in tree(tmp_path).items() if data != reference[name]} == {}


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 7])
def test_parts_make_the_whole(annotate, references, collection, tmp_path, parts):
    for part in reversed(range(parts)):
        assert "shards" not in (manifest(tmp_path / "out") if part < parts - 1 else {})
        annotate(collection, "--output", tmp_path / "out", "--part", f"{part}/{parts}")
    assert tree(tmp_path / "out") == tree(references["parquet"])


def test_files_together_and_apart(annotate, demo_texts, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(5):
        (folder / f"t{n}.txt").write_text(demo_texts[n][:80], "utf-8")
    annotate(folder, "--output", tmp_path / "together", "--write", "jsonl")
    annotate(f"{folder}/t[0-2].txt", folder / "t3.txt", "--output", tmp_path / "apart", "--write", "jsonl")
    together = [json.loads(line) for line in (tmp_path / "together/texts-00000.jsonl").read_text("utf-8").splitlines()]
    assert [d["id"] for d in together] == [f"t{n}" for n in range(5)]
    apart = [json.loads((tmp_path / f"apart/t{n}.jsonl").read_text("utf-8")) for n in range(4)]
    assert apart == together[:4]
    assert manifest(tmp_path / "together")["shards"]["texts-00000"]["input"] == ["t0.txt", "…"]


def test_inputs_by_address(annotate, collection, references, tmp_path):
    system = fsspec.filesystem("memory")
    for path in collection.iterdir():
        system.pipe_file(f"/pubmed/{path.name}", path.read_bytes())
    annotate("memory://pubmed/*.xml.gz", "--output", tmp_path / "pattern")
    annotate("memory://pubmed", "--output", tmp_path / "folder")
    for name in ("pattern", "folder"):
        for table in ("mentions", "documents", "deleted"):
            assert tree(tmp_path / name / table) == tree(references["parquet"] / table)


# --- what can't be done -----------------------------------------------------------------------------------------------


def test_what_can_not_be_read_is_said_and_the_rest_is_done(annotate, references, collection, tmp_path, caplog):
    folder = shutil.copytree(collection, tmp_path / "in")
    good = (folder / "pubmed26n0001.xml.gz").read_bytes()
    (folder / "pubmed26n0001.xml.gz").write_bytes(b"\x1f\x8b nothing")
    annotate(folder, "--format", "pubmed", "--output", tmp_path / "out", code=3)
    assert "pubmed26n0001 can't be read" in caplog.text
    assert list(manifest(tmp_path / "out")["failed"]) == ["pubmed26n0001"]
    assert len(manifest(tmp_path / "out")["shards"]) == FILES - 1
    (folder / "pubmed26n0001.xml.gz").write_bytes(good)
    annotate(folder, "--output", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(references["parquet"])


def test_a_file_that_breaks_in_the_middle_keeps_what_was_before(annotate, demo_texts, tmp_path, caplog):
    file = pubmed(tmp_path / "in.xml", [citation(n, text) for n, text in enumerate(demo_texts[:20])])
    file.write_bytes(file.read_bytes()[:-900])
    annotate(file, "--output", tmp_path / "out", code=3)
    (shard,) = manifest(tmp_path / "out")["shards"].values()
    assert 16 < shard["documents"] < 20
    assert (shard["missing"], shard["causes"]["broken_file"]) == (1, 1)
    assert str(file) in shard["bad"][0]
    assert "1 records are not in the output" in caplog.text
    annotate(file, "--output", tmp_path / "strict", "--policy", "strict", code=3)
    assert list(manifest(tmp_path / "strict")["failed"]) == ["in"]
    assert not list((tmp_path / "strict").glob("m*/*"))


def test_a_full_disk_leaves_no_part_of_a_shard(annotate, references, collection, tmp_path, monkeypatch, capsys):
    fsync, times = os.fsync, 0

    def full(handle):
        nonlocal times
        times += 1
        if times == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit):
        annotate(collection, "--output", tmp_path / "out")
    assert "no room is left" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.partial")) + list(tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(os, "fsync", fsync)
    annotate(collection, "--output", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(references["parquet"])


def test_another_run_s_folder_is_refused(capsys, references, collection, model, tmp_path):
    folder = references["parquet"]
    same = [collection, "--output", folder, "--model", model, "--chunk", CHUNK]
    assert "threshold was 0.0, is 0.5" in error(capsys, *same, "--threshold", "0.5")
    message = error(capsys, *same, "--write", "jsonl", "--types", "Disease")
    assert "types was [], is ['Disease']; write was 'parquet', is 'jsonl'; name" in message
    (tmp_path / "mine.txt").write_text("precious", "utf-8")
    assert "no manifest.json" in error(capsys, collection, "--output", tmp_path, "--model", model)


def test_an_input_that_changed_is_refused(annotate, capsys, demo_texts, model, tmp_path):
    file = pubmed(tmp_path / "in.xml", [citation(1, demo_texts[0])])
    annotate(file, "--output", tmp_path / "out")
    pubmed(file, [citation(1, demo_texts[1])])
    again = [file, "--output", tmp_path / "out", "--model", model, "--chunk", CHUNK]
    assert "has changed" in error(capsys, *again)


def test_files_of_a_folder_keep_their_places_and_one_that_is_broken_is_left_out(annotate, tmp_path, caplog):
    folder = tmp_path / "in"
    title = "<title-group><article-title>TP53</article-title></title-group>"
    article = f"<article><front><article-meta>{title}</article-meta></front></article>"
    for name, content in (("p1/note.txt", "TP53."), ("p2/note.txt", "BRCA1."), ("p2/list.md", "no text")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    annotate(folder, "--output", tmp_path / "out", "--write", "jsonl")
    ids = [json.loads(line)["id"] for line in (tmp_path / "out" / "in-00000.jsonl").read_text().splitlines()]
    assert ids == ["p1/note", "p2/note"]
    assert "1 files of no known format are left out, e.g. " in caplog.text
    annotate(folder, "--output", tmp_path / "tables")
    rows = pq.read_table(tmp_path / "tables" / "documents" / "in-00000.parquet").to_pylist()
    assert [(row["document_id"], row["file"]) for row in rows] == [
        ("p1/note", "p1/note.txt"),
        ("p2/note", "p2/note.txt"),
    ]
    other = tmp_path / "jats"
    other.mkdir()
    for name, content in (("a.nxml", article), ("b.nxml", article[:60]), ("c.nxml", article)):
        (other / name).write_text(content)
    annotate(other, "--output", tmp_path / "articles", "--write", "jsonl", code=3)
    receipt = json.loads((tmp_path / "articles" / "_done" / "jats-00000.json").read_text())
    assert (receipt["documents"], receipt["causes"]["broken_file"]) == (2, 1)


def test_another_format_of_the_input_is_refused(capsys, demo_texts, model, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text('{"id": "1", "text": "TP53"}')
    assert main([str(path), "--output", str(tmp_path / "out"), "--model", str(model)]) == 0
    told = error(capsys, path, "--output", tmp_path / "out", "--model", model, "--format", "text")
    assert "was read as" in told


def test_mistakes(capsys, collection, demo_texts, model, tmp_path):
    def said(*argv):
        return error(capsys, *argv, "--output", tmp_path / "out", "--model", model)

    assert "no file matches" in said(f"{collection}/*.nothing")
    assert "no file matches" in said("memory://nowhere/*.xml")
    assert "no such file" in said(collection / "absent.xml")
    mixed = shutil.copytree(collection, tmp_path / "mixed")
    (mixed / "a.jsonl").write_text('{"id": "1", "text": "x"}\n', "utf-8")
    assert "mixes formats (jsonl: " in said(mixed)
    twice = pubmed(tmp_path / "other" / "pubmed26n0000.xml.gz", [citation(1, demo_texts[0])])
    assert "would both become the shard 'pubmed26n0000'" in said(collection, twice)
    assert "--write is 'csv'" in said(collection, "--write", "csv")
    assert "--workers has no effect" in said(collection, "--workers", "2")
    assert "expected I/N" in said(collection, "--part", "2/2")
    assert "expected 1 or more" in said(collection, "--chunk", "0")
    assert "expected 0 to 1" in said(collection, "--threshold", "2")
    assert "did you mean 'Disease'" in said(collection, "--types", "Desease")
    assert not (tmp_path / "out").exists()
    assert "is inside the input" in error(capsys, collection, "--output", collection / "out", "--model", model)


def test_what_says_where_a_source_is_travels(collection):
    (first, *_) = sources([str(collection)])
    assert first == Source("pubmed26n0000", (str(collection / "pubmed26n0000.xml.gz"),), "pubmed")


def test_parts_of_parts_are_all_pieces_once():
    twice = [part for half in split([Source("a", ("a",))], 2) for part in split([half], 3)]
    owners = [[n for n in range(60) if n % part.parts == part.part] for part in twice]
    assert sorted(n for own in owners for n in own) == list(range(60))
    assert len(twice) == 6


def test_a_second_command_into_the_same_folder_keeps_the_first_shards(annotate, demo_texts, tmp_path, capsys, model):
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "text": demo_texts[0]}) + "\n", "utf-8")
        annotate(tmp_path / f"{name}.jsonl", "--output", tmp_path / "out")
    said = manifest(tmp_path / "out")
    assert list(said["shards"]) == ["one", "two"]
    assert said["documents"] == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "two.jsonl").write_text('{"id": "x", "text": "y"}\n')
    told = error(
        capsys, tmp_path / "other" / "two.jsonl", "--output", tmp_path / "out", "--model", model, "--chunk", CHUNK
    )
    assert "isn't what the shard 'two' was made of. If it is another file of that name" in told
    (tmp_path / "out" / "manifest.json").write_text("{}")
    told = error(capsys, tmp_path / "one.jsonl", "--output", tmp_path / "out", "--model", model, "--chunk", CHUNK)
    assert "is the manifest of another program" in told
    assert "expected 1 or more" in error(
        capsys, tmp_path / "one.jsonl", "--output", "o", "--engine", "ray", "--workers", "0"
    )
    assert "no input: expected files" in error(capsys, "--output", "o")
