"""What command lines say while they work."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mosaic_ner.modeling.label_space import UserError


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
    """Ends the command with one message and exit code 2 when a user's mistake is raised."""
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"{command}: error: {error}\n")
        sys.exit(2)
