"""`mosaic-ner annotate --engine ray` on a real Ray of two nodes, of which a worker and a node are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from helpers_annotate import Stopper, citation, pubmed, tree, wait_for
from helpers_run import ROOT, environment
from mosaic_ner.prediction.collection import main
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each."""
    os.environ.update(RAY_worker_niceness="0")  # on a busy computer its 15 would make minutes of seconds
    made = Cluster(initialize_head=True, head_node_args=NODE)
    made.second = made.add_node(**NODE)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def collection(demo_texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pubmed")
    for number, count in enumerate((20, 3, 3, 3)):
        texts = demo_texts[5 * number :]
        pubmed(folder / f"p{number}.xml", [citation(100 * number + n, texts[n][:120]) for n in range(count)])
    return folder


@pytest.fixture(scope="module")
def command(saved_model_dir):
    """Function: inputs, output and options → the words of the command."""

    def words(inputs, target, *more) -> list[str]:
        words = [*inputs, "--output", target, "--model", saved_model_dir, "--chunk", "1", *more]
        return [str(word) for word in words]

    return words


@pytest.fixture(scope="module")
def reference(command, collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "out"
    assert main(command([collection], folder)) == 0
    return tree(folder)


@pytest.fixture
def files(collection, tmp_path):
    """A copy of the collection: its files, in order."""
    return sorted(shutil.copytree(collection, tmp_path / "in").iterdir())


@pytest.fixture
def on_ray(cluster, command):
    """Function: inputs, output, workers → the process that annotates on the cluster."""

    def begin(inputs, target, workers) -> subprocess.Popen:
        words = command(inputs, target, "--engine", "ray", "--workers", workers, "--address", cluster.address)
        return subprocess.Popen(
            [sys.executable, ROOT / "run_ner.py", "annotate", *words], env=environment(), stderr=subprocess.DEVNULL
        )

    return begin


def test_one_worker_writes_what_the_local_engine_writes(command, on_ray, files, reference, tmp_path):
    (tmp_path / "bad.xml").write_text("nothing", "utf-8")
    with on_ray([tmp_path / "bad.xml", *files], tmp_path / "out", 1) as run:
        assert run.wait() == 3
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert list(manifest["failed"]) == ["bad"]
    assert list(manifest["shards"]) == ["p0", "p1", "p2", "p3"]
    assert main(command(files, tmp_path / "out")) == 0  # nothing is left to do but the manifest
    assert tree(tmp_path / "out") == reference


def test_a_worker_that_is_killed(on_ray, files, reference, tmp_path):
    stopper = Stopper(files[1])
    with on_ray(files, tmp_path / "out", 2) as run:
        worker = stopper.reader()
        wait_for((tmp_path / "out" / "_done" / "p3.json").exists)  # the other worker goes on meanwhile
        stopper.release()
        os.kill(worker, signal.SIGKILL)
        assert run.wait() == 0
    stopper.close()
    assert tree(tmp_path / "out") == reference


def test_a_node_that_is_killed(cluster, on_ray, files, reference, tmp_path):
    stoppers = [Stopper(path) for path in files[:2]]
    with on_ray(files, tmp_path / "out", 2) as run:
        workers = [stopper.reader() for stopper in stoppers]
        parents = [psutil.Process(worker).ppid() for worker in workers]
        assert len(set(parents)) == 2  # a worker on each node
        (raylet,) = cluster.second.all_processes["raylet"]
        on_second = parents.index(raylet.process.pid)
        for stopper in stoppers:
            stopper.release()
        cluster.remove_node(cluster.second, allow_graceful=False)
        os.kill(workers[1 - on_second], signal.SIGKILL)  # it would read the fifo for ever
        assert run.wait() == 0
    for stopper in stoppers:
        stopper.close()
    assert tree(tmp_path / "out") == reference
