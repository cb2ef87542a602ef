"""benchmarks/paper_on_gpu.sh without a GPU: what it runs, and how it goes on after an interruption (see test_recipes, too)."""

from __future__ import annotations

import os
import subprocess

import pytest
from helpers_run import ROOT

SCRIPT = ROOT / "benchmarks" / "paper_on_gpu.sh"
STUB = """#!/usr/bin/env bash
# Writes down what it was asked for; the run named in FAILS is interrupted behind its checkpoints 9 and 10.
printf '%s\\n' "$*" >> asked
[ "$1" = results ] && exit
while [ "$1" != --output_dir ]; do shift; done
mkdir -p "$2"
if [[ -n "${FAILS:-}" && "$2" = *"$FAILS" ]]; then
    mkdir -p "$2/checkpoint-9" "$2/checkpoint-10" "$2/checkpoint-11"
    touch "$2/checkpoint-9/trainer_state.json" "$2/checkpoint-10/trainer_state.json"
    exit 1
fi
touch "$2/results.json"
"""


@pytest.fixture
def script(tmp_path):
    """Function: arguments, environment → exit status and the lines that `mosaic-ner` was asked for since the last call."""
    stub = tmp_path / "bin" / "mosaic-ner"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)

    def call(*arguments, **more) -> tuple[int, list[str]]:
        asked = tmp_path / "asked"
        asked.write_text("")
        environment = os.environ | {"PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}"} | more
        done = subprocess.run(
            [SCRIPT, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, asked.read_text().splitlines()

    return call


def test_all_runs_then_nothing_but_the_table(script):
    status, asked = script("--bf16", "true")
    assert status == 0
    assert [line.split("/")[0] for line in asked[:-1]] == ["aioner", "span_cvae", "joint_ib", "sruner"]
    assert all(line.endswith(" --bf16 true") for line in asked[:-1])
    assert script("--bf16", "true") == (0, asked[-1:])
    assert asked[-1].startswith("results outputs/paper_on_gpu/aioner ")


def test_an_interrupted_run_goes_on_from_its_last_whole_checkpoint(script):
    status, asked = script(FAILS="span_cvae", FOLDER="here")
    assert status == 1
    assert len(asked) == 2
    assert "--resume_from_checkpoint" not in asked[1]
    status, asked = script(FOLDER="here")
    assert status == 0
    assert asked[0].startswith("span_cvae/paper/single ")
    assert asked[0].endswith(" --resume_from_checkpoint here/span_cvae/checkpoint-10")
    assert len(asked) == 4
