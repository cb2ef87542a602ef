"""What a collection is made of: files, folders, globs and addresses → the shards of a run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from glob import glob, has_magic
from itertools import groupby
from pathlib import Path

import fsspec
from mosaic_ner.data_builders.formats import FormatError, ReadReport, format_of_name, parts_of
from mosaic_ner.data_builders.formats.detect import stem_of
from mosaic_ner.modeling.label_space import UserError

from .resumable_output import fingerprint

logger = logging.getLogger(__name__)

TOGETHER = ("text", "brat", "jats")
"""Formats of which a file is one document: several files of a folder make a shard."""
FILES_A_SHARD = 1000


class InputError(UserError):
    """Inputs that no run can be made of."""


@dataclass(frozen=True)
class Source:
    """The input of one shard; plain values, so that another machine finds it.

    Args:
        name: of the shard, without ending, relative to the output folder.
        paths: files or addresses (`hf://…`), read one after the other; nearly always one.
        format: theirs; None: what their content says.
        root: the folder that ids begin in, where the paths are files of one.
        part, parts: which pieces of it are asked for: those whose number leaves `part` when divided by `parts`.
    """

    name: str
    paths: tuple[str, ...]
    format: str | None = None
    root: str | None = None
    part: int = 0
    parts: int = 1

    def content(self) -> str:
        """A digest that changes with the input."""
        each = [_content(path) for path in self.paths]
        return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]


def is_address(path: str) -> bool:
    """Whether a path is an address, as `hf://…`."""
    return "://" in path


def _content(path: str) -> str:
    if not is_address(path):
        return fingerprint(path)
    system, place = fsspec.url_to_fs(path)
    info = system.info(place)
    return f"{info.get('size')} {info.get('blob_id') or info.get('ETag') or ''}".strip()


@contextlib.contextmanager
def local(path: str) -> Iterator[Path]:
    """A file of this machine: the file itself, or a copy of what an address names, for the time being.

    Raises:
        FormatError: the address can't be had.
    """
    if not is_address(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.rpartition("/")[2]
        try:
            system, place = fsspec.url_to_fs(path)
            system.get_file(place, str(copy))
        except (OSError, ValueError, ImportError) as error:
            raise FormatError(path, "an address that can be read", str(error), "see to the address") from error
        yield copy


def sources(inputs: list[str], format: str | None = None) -> list[Source]:
    """The shards of a run, in the order of the inputs and, within each, of names; their paths are absolute.

    Raises:
        InputError: nothing is there, a folder mixes formats, or two inputs would make the same shard.
    """
    found = [source for given in inputs for source in _of(given, format)]
    seen: dict[str, Source] = {}
    for source in found:
        other = seen.setdefault(source.name, source)
        if other is not source:
            raise InputError(
                f"{other.paths[0]} and {source.paths[0]} would both become the shard {source.name!r}; give the folder "
                "above them, or annotate them into two output folders"
            )
    return found


def split(found: list[Source], count: int) -> list[Source]:
    """At least `count` sources, if need be parts of those given."""
    times = -(-count // len(found)) if found else 1
    return [
        replace(source, part=source.part + source.parts * n, parts=source.parts * times)
        for source in found
        for n in range(times)
    ]


def _of(given: str, format: str | None) -> list[Source]:
    if is_address(given):
        return _of_address(given, format)
    given = os.path.abspath(given)
    if has_magic(given) and not Path(given).exists():
        files = sorted(path for path in glob(given, recursive=True) if Path(path).is_file())
        if not files:
            raise InputError(f"no file matches {given!r}; put it in quotes, or give a folder")
        return [Source(_name(Path(path).name), (path,), format) for path in files]
    if Path(given).is_dir():
        return _of_folder(Path(given), format)
    if not Path(given).exists():
        raise InputError(f"{given}: no such file or folder")
    return [Source(_name(Path(given).name), (given,), format)]


def _of_folder(folder: Path, format: str | None) -> list[Source]:
    report = ReadReport()
    parts = parts_of(folder, format, report)
    _left_out(str(folder), report.counts["file_not_read"], report.examples["file_not_read"])
    _one_format(str(folder), {found: str(path) for path, found in parts})
    if parts[0][1] not in TOGETHER:
        return [Source(_name(str(path.relative_to(folder))), (str(path),), found) for path, found in parts]
    made = []
    for number, (_, group) in enumerate(groupby(enumerate(parts), lambda pair: pair[0] // FILES_A_SHARD)):
        paths = tuple(str(path) for _, (path, _) in group)
        made.append(Source(f"{folder.resolve().name}-{number:05d}", paths, parts[0][1], str(folder)))
    return made


def _left_out(where: str, count: int, examples: list[str]) -> None:
    if count:
        logger.warning("%s: %d files of no known format are left out, e.g. %s", where, count, examples[0])


def _one_format(where: str, example: dict[str, str]) -> None:
    if len(example) > 1:
        told = "; ".join(f"{found}: {path}" for found, path in sorted(example.items()))
        raise InputError(
            f"{where} mixes formats ({told}); expected one; give a pattern such as '{where}/*.xml.gz', or say --format"
        )


def _of_address(given: str, format: str | None) -> list[Source]:
    try:
        system, root = fsspec.url_to_fs(given)
        folder = not has_magic(root) and system.isdir(root)
        files = system.glob(root) if has_magic(root) else sorted(system.find(root)) if folder else [root]
        files = [path for path in files if system.isfile(path)]
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{given}: can't be had ({error})") from error
    if folder:
        known = [path for path in files if format or (format_of_name(path) and not fnmatch(path, "*.md"))]
        _left_out(given, len(files) - len(known), sorted({*files} - {*known}))
        files = known
        _one_format(given, {format or format_of_name(path): path for path in files})
    if not files:
        raise InputError(f"no file matches {given!r}")
    base = root.rstrip("/") + "/" if folder else None
    names = [path.removeprefix(base) if base else path.rpartition("/")[2] for path in files]
    return [
        Source(_name(name), (system.unstrip_protocol(path),), format) for name, path in zip(names, files, strict=True)
    ]


def _name(path: str) -> str:
    """A shard's name: the path without the ending that tells its format."""
    return (Path(path).parent / stem_of(Path(path))).as_posix()
