"""The page and the handler with many clients at once: no answer is another's, none is an error of the server."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
from helpers_handler import publish
from helpers_run import ROOT
from mosaic_ner.modeling.handler import EndpointHandler


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("clients", ROOT / "benchmarks" / "clients.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(saved_model_dir, tmp_path_factory):
    place = tmp_path_factory.mktemp("clients") / "model"
    shutil.copytree(saved_model_dir, place)
    publish(place)
    return str(place)


@pytest.fixture(scope="module")
def texts(demo_corpora):
    return [d.text for d in demo_corpora["demo_all"]["test"][:16]]


def right(rows, texts) -> bool:
    return all(
        (row["requests"], row["statuses"], row["wrong answers"]) == (len(texts), {"200": len(texts)}, 0) for row in rows
    )


def test_the_handler_serves_many_clients(script, folder, texts):
    found = script.measure_handler(EndpointHandler(folder), texts, 60, clients=(1, 8, 32), large=20_000)
    assert right(found["at once"], texts)
    assert found["one long text"]["status"] == 200
    assert found["one long text"]["last mention ends at"] > 19_000
    assert found["malformed"] == {"400": len(script.MALFORMED)}
    assert found["answers afterwards"]


def test_the_page_serves_many_clients(script, folder, texts, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = script.measure_page(folder, texts, 60, clients=(1, 8))
    assert right(found["at once"], texts)
    assert found["empty and too long texts are told"]
    assert found["answers afterwards"]


def test_a_mixed_up_answer_is_found(script, texts):
    """The twin that must not pass: a server that gives every client the answer of the first."""
    row = script.at_once(lambda number, text: (200, texts[0]), texts, texts, 4, 60)
    assert row["wrong answers"] == len(texts) - 1
