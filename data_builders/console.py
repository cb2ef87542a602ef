"""What command lines say while they work."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mosaic_ner.modeling.label_space import UserError

from .markdown import between


def quiet_requests() -> None:
    """No line per HTTP request where a command logs what it does: the addresses that files are sent to are as good as keys."""
    for name in ("httpx", "httpx2", "httpcore", "datasets", "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_progress() -> None:
    """What a command does goes to the terminal, a line each."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    quiet_requests()


@contextmanager
def one_message(command: str) -> Iterator[None]:
    """Ends the command with one message and exit code 2 when a user's mistake is raised, or a file can't be read or written."""
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of no file, such as a pipe
            raise
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        return
    sys.stderr.write(f"{command}: error: {message}\n")
    sys.exit(2)


def check_output(
    *files: Path | None, page: Path | None = None, mark: str = "", inputs: Iterable[str | Path] = ()
) -> None:
    """Before the work: whether the files can be written.

    Args:
        page: a Markdown file that gets something between the marks of the name `mark`.
        inputs: what is read; none of it may be overwritten.
    Raises:
        UserError: one is a folder, or its folder isn't there, or it is an input or named twice, or the page lacks the marks.
        OSError: there is no such page.
    """
    read, written = {Path(given).resolve() for given in inputs}, set()
    if page:
        between(page.read_text(encoding="utf-8"), mark, "")
    for file in filter(None, files):
        if file.is_dir():
            raise UserError(f"{file} is a folder; expected the name of a file to write")
        if not file.parent.is_dir():
            raise UserError(f"{file} can't be written: there is no folder {file.parent}; make it, or name another file")
        if file.resolve() in read:
            raise UserError(f"{file} is an input, which would be overwritten; name another file")
        if file.resolve() in written:
            raise UserError(f"{file} is named for two outputs; name another file for one of them")
        written.add(file.resolve())
