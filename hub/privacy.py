"""What a published folder may hold: known files, and nothing private in their texts."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.constants import EVAL_RESULTS_FOLDER
from mosaic_ner.prediction.integrity import own_file

from .notes import FILES
from .staging import PublishError

CONTENT = re.compile(
    r"README\.md|NOTICE|(config|tokenizer|tokenizer_config|special_tokens_map|results|checksums|comparison)\.json|"
    r"\.eval_results/[\w.-]+\.yaml|comparison\.md|requirements\.txt|model(-\d{5}-of-\d{5})?\.safetensors|"
    r"model\.safetensors\.index\.json|" + "|".join(map(re.escape, FILES))
)
"""What a published folder has, besides this package's code."""
LOCAL_PATH = re.compile(
    # An absolute path of two parts at least; a slash after a word, as in P/R or in an address, begins none.
    r"(?<![\w/.<)}~-])(/[\w.+@-]+(?:/[\w.+@-]+)+|~\w*/[A-Za-z_.][\w.]*)|\b[A-Za-z]:[\\/]+\w[\w\\/]*|\\\\+\w+\\+\w+|file://\S+"
)
NAME, PATH = "a name of this machine's user", "a path on this machine"
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}\b")
EVERYBODY = {"root", "user", "admin", "ubuntu", "runner", "home", "nobody", "jovyan", "app", "test", "model", "models"}
"""User names that tell nothing about anybody, and may stand in any text."""


def _home() -> Path | None:
    """The user's home folder; None where there is none worth the name (in containers)."""
    try:
        home = Path.home()
    except RuntimeError:  # an account without one
        return None
    return home if home.name else None


def own_names() -> set[str]:
    """Names of this machine's user: of the account, the home folder, and in git's settings."""
    names = {home.name} if (home := _home()) else set()
    with contextlib.suppress(OSError, KeyError):  # an account without a name
        names.add(getpass.getuser())
    for key in ("user.name", "user.email"):
        try:
            done = subprocess.run(["git", "config", key], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            break  # no git, no name there
        names.add(done.stdout.strip())
    return {name for name in names if len(name) > 2 and name.lower() not in EVERYBODY}


def check_content(folder: Path, repo_id: str, allowed: tuple[str, ...] = ()) -> None:
    """Checks that nothing but published files is there, and nothing private in their text.

    Args:
        allowed: what may stay although it is a name of this machine's user, or looks like a path.
    Raises:
        PublishError: names file, line and what was found.
    """
    names = own_names() - {*allowed, *repo_id.split("/")}
    private = [(re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), NAME) for name in names]
    private.append((TOKEN, "a token"))
    if home := _home():
        private.append((re.compile(re.escape(str(home)) + r"(?!\w)"), "the home folder"))
    if token := os.environ.get("HF_TOKEN", "").strip():
        private.append((re.compile(re.escape(token)), "a token"))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and name == EVAL_RESULTS_FOLDER:
            continue
        if path.is_dir() or not (CONTENT.fullmatch(name) or (path.suffix == ".py" and own_file(name))):
            raise PublishError(f"{path} doesn't belong in a published folder; remove it")
        if path.suffix in (".py", ".safetensors"):  # code equals this package's (check_folder); weights are numbers
            continue
        if name == "tokenizer.json":  # a vocabulary is full of words and slashes that mean nothing
            patterns = [row for row in private if row[1] != NAME]
        else:
            patterns = [*private, (LOCAL_PATH, PATH)]
        for where, text in _texts(path):
            for pattern, what in patterns:
                if found := next((m for m in pattern.finditer(text) if m[0] not in allowed), None):
                    shown = "" if what == "a token" else f" ({found[0]!r})"
                    advice = "; if it means something else, add it to --allow" if what in (NAME, PATH) else ""
                    raise PublishError(
                        f"{name}, {where}: {what}{shown}; take it out of the run's folder and publish again{advice}"
                    )


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of a file: its lines, or the strings of a JSON file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        yield from ((f"line {number}", line) for number, line in enumerate(text.splitlines(), 1))
        return

    def strings(value, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from strings(item, f"{place}[{number}]")
        elif isinstance(value, dict):
            for key, item in value.items():
                yield place, key
                yield from strings(item, f"{place}.{key}".lstrip("."))

    yield from strings(json.loads(text), "")


def without_paths(value):
    """A JSON value whose texts that are a path of this machine are reduced to its last part."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and LOCAL_PATH.fullmatch(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value
