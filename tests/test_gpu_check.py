"""benchmarks/gpu_check.sh runs through on a CPU at a tiny shape; what it says of a GPU only a GPU can tell."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
TINY = ["--device", "cpu", "--shapes", "tiny", "--limit", "3", "--repetitions", "1", "--steps", "1"]


@pytest.fixture
def check(monkeypatch):
    """The program's main function; it imports its neighbour, throughput.py."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("gpu_check").main


def test_every_part_of_every_family_is_in_the_report(check, tmp_path):
    output = tmp_path / "report.json"
    report = check([*TINY, "--output", str(output)])
    assert json.loads(output.read_text()) == report
    parts = report["parts"]
    assert len(parts) == 16
    assert report["left_out"] == []
    assert {name.split()[1] for name in parts} == {"aioner", "span_cvae", "sruner", "joint_ib"}
    assert sum(part.get("mentions", 0) for part in parts.values()) > 0
    for name, part in parts.items():
        if name.endswith("agreement"):
            exact = part["float32"]  # here the "GPU" is the CPU
            assert exact == {"both": part["mentions"], "cpu_alone": 0, "other_alone": 0, "score": 0.0}
            assert part["bfloat16"].keys() == exact.keys()
        elif name.endswith("shares"):
            assert part.keys() == {"windows", "tokens", "seconds", "encoder", "rest_of_forward", "best_labels"}
        else:
            assert part["ratio"] > 0


def test_what_does_not_fit_the_time_is_named(check):
    report = check([*TINY, "--families", "aioner", "--seconds", "-1"])
    assert report["parts"] == {}
    assert report["left_out"] == [f"tiny aioner {p}" for p in ("agreement", "prediction", "shares", "training")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = subprocess.run([FOLDER / "gpu_check.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PyTorch sees no GPU here" in done.stderr
