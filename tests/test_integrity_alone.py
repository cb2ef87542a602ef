"""Hostile folders where this package isn't: transformers comes first, then the folder's own code."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers_hub import WITHOUT_PACKAGE
from helpers_integrity import CANARY, EVIL, HOSTILE
from helpers_run import shell

PROGRAM = """
import json, os, sys
from transformers import AutoModel, AutoTokenizer, pipeline

seen = {}
for name in sys.argv[1:]:
    for trust in (False, True):
        try:
            if "tokenizer" in name:
                AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
            elif "pipeline" in name:
                pipeline("ner", model=name, trust_remote_code=trust)
            else:
                AutoModel.from_pretrained(name, trust_remote_code=trust)
            error = None
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        seen[f"{os.path.basename(name)}, {trust}"] = [error, os.path.exists(os.environ["CANARY"])]
        if os.path.exists(os.environ["CANARY"]):
            os.remove(os.environ["CANARY"])
print("RESULT" + json.dumps(seen))
"""
ALONE = [
    "pickle as weights", "pickle, older", "code above", "code in a folder", "code of another repository", "code",
    "code that isn't there", "pipeline elsewhere", "tokenizer with code", "part of the head", "labels and numbers",
    "vocabulary and embeddings",
]  # fmt: skip
"""Of HOSTILE, and "code": a file of code that runs a command."""


@pytest.fixture(scope="module")
def alone(saved_model_dir, tmp_path_factory):
    """Folder and trust → [error, whether its code ran], of a process without the package."""
    place = tmp_path_factory.mktemp("alone")
    for name in ALONE:
        shutil.copytree(saved_model_dir, place / name / "model")
        if name == "code":
            with (place / name / "model" / "crf.py").open("a") as file:
                file.write(EVIL)
        else:
            HOSTILE[name][0](place / name / "model")
        if name == "pickle, older":
            (place / name / "model" / "model.safetensors").unlink()
        if name == "code in a folder":
            (place / name / "model" / "sub").mkdir()
            (place / name / "model" / "sub" / "outside.py").write_text(EVIL + "class Model: pass\n")
        if name == "tokenizer with code":
            (place / name / "model" / "outside.py").write_text(EVIL)
        (place / name / "model").rename(place / name / name)
    (place / "program.py").write_text(WITHOUT_PACKAGE + PROGRAM)
    done = shell(
        [place / "program.py", *(place / name / name for name in ALONE)], place,
        CANARY=str(place / CANARY), HF_MODULES_CACHE=str(place / "modules"), PYTHONPATH="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("RESULT")[2])


@pytest.mark.parametrize("name", ALONE)
def test_without_trust_nothing_runs(alone, name):
    error, ran = alone[f"{name}, False"]
    assert not ran
    if name == "tokenizer with code":
        assert error is None  # transformers takes its own class instead
    else:
        assert "trust_remote_code" in error


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("pickle as weights", "SafetensorError"),
        ("pickle, older", "pytorch_model.bin"),
        ("code of another repository", "connect"),  # transformers goes and asks for it: with a network, it would run
        ("code that isn't there", "nothing.py"),
        ("pipeline elsewhere", "connect"),
        ("part of the head", "the weights lack"),
        ("labels and numbers", "label2id isn't the inverse"),
        ("vocabulary and embeddings", "ignore_mismatched_sizes"),
        ("code above", "too many values"),
    ],
)
def test_with_trust_in_the_real_code_these_are_still_refused(alone, name, part):
    error, ran = alone[f"{name}, True"]
    assert part in error
    assert not ran


@pytest.mark.parametrize("name", ["code", "code in a folder", "tokenizer with code"])
def test_trust_is_trust(alone, name):
    """transformers runs what it was told to trust, before anything of this package could look: hence `verify`."""
    assert alone[f"{name}, True"][1]
