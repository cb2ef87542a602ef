"""What the end-to-end tests share: tiny runs, a way to read what a run prints, subprocesses without the network."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import run_ner

ROOT = Path(run_ner.__file__).resolve().parent
TINY = ["--encoder", "scratch", "--scratch_layers", "1", "--scratch_hidden_size", "32", "--max_tokens", "64"]
QUICK = [
    *TINY, "--max_steps", "2", "--per_device_train_batch_size", "4", "--eval_strategy", "no", "--save_strategy", "no",
    "--load_best_model_at_end", "false", "--report_to", "none", "--disable_tqdm", "true",
]  # fmt: skip


def run(*argv) -> None:
    """The command line in this process."""
    run_ner.main([str(a) for a in argv])


def fails(capsys, *argv) -> str:
    """The one message that a wrong command line ends with."""
    capsys.readouterr()
    try:
        run(*argv)
    except SystemExit as stop:
        assert stop.code == 2  # noqa: PT017 (what was written is read afterwards)
    else:
        raise AssertionError(f"{argv} was accepted")
    written = capsys.readouterr().err
    assert "Traceback" not in written
    message = written[written.index("run_ner.py: error: ") :]
    assert message.count("run_ner.py: error: ") == 1
    return message


def results(folder) -> dict:
    """A run's results.json."""
    return json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))


def without_fit(reports: dict) -> dict:
    """A split's reports without what only the run has that fitted the scores; their calibration error in six digits."""
    return {c: r | {"calibration": round(r["calibration"]["ece"], 6)} for c, r in reports.items()}


def environment(**more) -> dict[str, str]:
    """That of a subprocess: one thread, no network."""
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"} | more


def shell(argv, cwd, **more) -> subprocess.CompletedProcess:
    """Runs this Python with arguments, in a folder."""
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def messages(caplog) -> str:
    """Everything logged at INFO and above."""
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.INFO)
