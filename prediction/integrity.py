"""Whether a folder with a trained model is what it says, found out before anything of it is loaded.

`check_folder` reads: it imports, executes and unpickles nothing of the folder. What it protects from, and what not:

- No pickles: reading one runs code. Weights are safetensors files, whose tensors fit the config.
- Code. This package never runs the code of a folder: it loads a model by its own classes. transformers runs that code where
  `trust_remote_code=True` is given. So the code of a published folder equals this package's own, byte for byte
  (`strict=True`), and `foreign_code` tells which code of any other folder doesn't. Nothing here judges what code does.
- References to code name classes of files in the folder, never a path, another repository or a library.
- Checksums tell a damaged or altered copy. They are no signature: whoever may write the folder can write them, too.
"""

from __future__ import annotations

import hashlib
import json
import pickletools
import re
import struct
import zipfile
from pathlib import Path

from mosaic_ner.modeling import configuration_ner
from safetensors import SafetensorError, safe_open

from .model_files import (
    INDEX,
    WEIGHTS,
    IntegrityError,
    check_labels,
    check_references,
    check_tokenizer,
    check_weights,
    read_config,
    read_json,
    read_shapes,
    reading,
)

CHECKSUMS = "checksums.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz")
"""Endings of files that are pickles, or may hold some."""
RESUMING = re.compile(r"(optimizer|scheduler|scaler)\.pt|rng_state(_\d+)?\.pth|training_args\.bin")
"""What Trainer writes beside a checkpoint's weights; loading a model doesn't open it."""
NOT_CONTENT = {".git", ".cache", ".gitattributes", "__pycache__", CHECKSUMS}
"""Names that a repository, a download or an installation adds."""
FOR_READERS = {"README.md", "NOTICE", "LICENSE", "LICENSE.md", "LICENSE.txt", "CITATION.cff"}
"""What an owner may change or add on the Hub's pages, and no program reads."""
ADAPTER = ("adapter_model.safetensors", "head.safetensors")
"""Weights of an adapter, beside its adapter_config.json (see adapters.py)."""
LARGEST_TEXT = 1 << 26
"""Bytes of the largest file that is looked through for a pickle of the oldest kind, which is text."""


def check_folder(folder: str | Path, strict: bool = False) -> None:
    """Checks a folder with a model of any family, an adapter of one, or a stock token classifier.

    Args:
        folder: weights, config.json, tokenizer and, where it was saved by this package, code.
        strict: as for publishing: files in subfolders too, nothing for resuming a training, code equal to this package's.
    Raises:
        IntegrityError: the first fault found, or something that can't be read.
    """
    with reading(Path(folder)):
        _check(Path(folder), strict)


def foreign_code(folder: str | Path) -> list[str]:
    """The names of the folder's Python files, outside subfolders, that are none of this package's or differ from them."""
    with reading(Path(folder)):
        return [path.name for path in sorted(Path(folder).glob("*.py")) if not _is_own(path)]


def own_file(name: str) -> Path | None:
    """This package's file that is published under a name; None if there is none."""
    path = Path(configuration_ner.__file__).with_name(name)
    return path if path.is_file() and name != "__init__.py" else None


def _is_own(path: Path) -> bool:
    own = own_file(path.name)
    return own is not None and own.read_bytes() == path.read_bytes()


def _check(folder: Path, strict: bool) -> None:
    if not folder.is_dir():
        raise IntegrityError(f"{folder} is no folder")
    everything = _files(folder)
    if (folder / CHECKSUMS).exists() or (folder / CHECKSUMS).is_symlink():
        _check_links(folder, everything)
        _check_checksums(folder, everything, set() if strict else FOR_READERS)
    files = everything if strict else [p for p in everything if p.parent == folder]
    _check_links(folder, files)
    resumable = not strict and (folder / "trainer_state.json").exists()
    shapes = {}
    for path in files:
        with reading(path):
            if not (resumable and RESUMING.fullmatch(path.name)):
                _check_no_pickle(path)
            if path.suffix == ".safetensors":
                shapes[path] = read_shapes(path)
    for path in files:
        with reading(path):
            if strict and path.suffix == ".py":
                _check_own_code(path)
            elif path.suffix == ".json" and "config" in path.name:
                check_references(path)
                if strict and path.name == "adapter_config.json":
                    _check_adapter_alone(path)
    if not (folder / "config.json").exists():
        raise IntegrityError(f"{folder} holds no model: it has no config.json")
    with reading(folder / "config.json"):
        config = read_config(folder)
        check_labels(folder, config)
    check_tokenizer(folder, config)
    own = {path.name: found for path, found in shapes.items() if path.parent == folder}
    adapter = (folder / "adapter_config.json").exists() and all(name in own for name in ADAPTER)
    if not adapter or WEIGHTS in own or (folder / INDEX).exists():
        check_weights(folder, config, own)


def _files(folder: Path) -> list[Path]:
    """All files, also those that links lead to, but for what a repository or a download adds."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir())
    return [p for p in paths if p.relative_to(folder).parts[0] not in NOT_CONTENT]


def _check_links(folder: Path, files: list[Path]) -> None:
    inside = folder.resolve()
    # In the Hub's cache the files of a snapshot are links to the contents that all snapshots share.
    blobs = inside.parent.parent / "blobs" if inside.parent.name == "snapshots" else None
    for path in files:
        if path.is_symlink():
            target = path.resolve()
            if not (target.is_relative_to(inside) or (blobs and target.parent == blobs)):
                raise IntegrityError(f"{path} is a symbolic link that leaves the folder; put the file itself there")
            if not target.is_file():
                raise IntegrityError(f"{path} is a symbolic link to something that isn't a file")
        elif not path.is_file():
            raise IntegrityError(f"{path} is neither a file nor a folder")


def _check_own_code(path: Path) -> None:
    if own_file(path.name) is None:
        raise IntegrityError(f"{path} is none of this package's files; only those are published")
    if not _is_own(path):
        raise IntegrityError(
            f"{path} differs from this package's own file; load the model with the package and save it again, so that "
            "what was tested is what is published"
        )


def _check_adapter_alone(path: Path) -> None:
    """From the Hub, transformers would load the model that adapter_config.json names instead, with that model's code."""
    if beside := [name for name in (WEIGHTS, INDEX) if (path.parent / name).exists()]:
        raise IntegrityError(
            f"{path} is beside {beside[0]}; publish the merged model or the adapter, not both in one folder"
        )
    config = path.parent / "config.json"
    if config.exists() and (code := {"auto_map", "custom_pipelines"} & read_json(config).keys()):
        raise IntegrityError(
            f"{path} is beside a config.json with {min(code)}, whose code may come from elsewhere then; remove one of them"
        )


# ---- checksums


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        state = hashlib.sha256()
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder's weights, hexadecimal; of several files, of their checksums."""
    sums = [digest(path) for path in sorted(folder.glob("*.safetensors"))]
    return sums[0] if len(sums) == 1 else hashlib.sha256(" ".join(sums).encode()).hexdigest()


def write_checksums(folder: Path) -> None:
    """Writes the SHA-256 of every file of the folder into its checksums.json."""
    sums = {p.relative_to(folder).as_posix(): digest(p) for p in _files(folder)}
    content = json.dumps({"algorithm": "sha256", "files": sums}, indent=1, ensure_ascii=False)
    (folder / CHECKSUMS).write_text(content + "\n", encoding="utf-8")


def _check_checksums(folder: Path, files: list[Path], ignored: set[str]) -> None:
    sums = read_json(folder / CHECKSUMS)
    listed = sums.get("files")
    if sums.get("algorithm") != "sha256" or not isinstance(listed, dict):
        raise IntegrityError(f'{folder / CHECKSUMS}: expected {{"algorithm": "sha256", "files": {{path: checksum}}}}')
    remedy = f"get the folder again from where it was published, or, if you changed it yourself, delete {CHECKSUMS}"
    found = {p.relative_to(folder).as_posix(): p for p in files}
    listed, found = ({k: v for k, v in names.items() if k not in ignored} for names in (listed, found))
    if missing := sorted(listed.keys() - found.keys()):
        raise IntegrityError(f"{folder / missing[0]} is missing, but {CHECKSUMS} lists it; {remedy}")
    if extra := sorted(found.keys() - listed.keys()):
        raise IntegrityError(f"{folder / extra[0]} is there, but {CHECKSUMS} doesn't list it; {remedy}")
    for name, path in found.items():
        if digest(path) != listed[name]:
            raise IntegrityError(f"{path} is not the file that {CHECKSUMS} lists (another SHA-256); {remedy}")


# ---- pickles


def _check_no_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise IntegrityError(
            f"{path} is, or may hold, a pickle, which runs code when it is read; expected weights as model.safetensors "
            "(save_pretrained writes it) and nothing else of the kind"
        )
    if _is_pickle(path):
        raise IntegrityError(f"{path} is a pickle in spite of its name, and would run code when read; remove it")


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle does, is an archive with one, or is one of the oldest kind, which are text."""
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        return path.suffix != ".safetensors" or not _reads_as_weights(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix in PICKLES for name in archive.namelist())
    if path.suffix == ".safetensors" or path.stat().st_size > LARGEST_TEXT:
        return False
    imports = False
    try:
        for opcode, _, _ in pickletools.genops(path.read_bytes()):
            imports |= opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL", "REDUCE")
            if opcode.name == "STOP":
                return imports
    except (ValueError, IndexError, OverflowError, struct.error):
        return False
    return False


def _reads_as_weights(path: Path) -> bool:
    try:
        with safe_open(path, "pt"):
            return True
    except SafetensorError:
        return False
