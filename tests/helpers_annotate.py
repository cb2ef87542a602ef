"""PubMed files of our own, folders compared, and waiting for what another process does."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.sax.saxutils import escape

DEADLINE = 120


def citation(pmid: int, text: str, version: int = 1) -> str:
    """A citation whose text is the given one, but for white space."""
    title, _, rest = text.partition(". ")
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><ArticleTitle>{escape(title)}.'
        f"</ArticleTitle><Abstract><AbstractText>{escape(rest)}</AbstractText></Abstract></Article></MedlineCitation>"
        "</PubmedArticle>"
    )


def pubmed(path: Path, citations: Iterable[str], deleted: Iterable[tuple[int, int]] = ()) -> Path:
    """Writes a (packed) file of PubMed's XML."""
    gone = "".join(f'<PMID Version="{version}">{pmid}</PMID>' for pmid, version in deleted)
    gone = f"<DeleteCitation>{gone}</DeleteCitation>" if gone else ""
    data = f"<PubmedArticleSet>{''.join(citations)}{gone}</PubmedArticleSet>".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def wait_for(true: Callable[[], object], what: str = "what was waited for"):
    """What the condition gives once it holds."""
    end, pause = time.monotonic() + DEADLINE, threading.Event()
    while not (found := true()):
        assert time.monotonic() < end, f"{what} did not happen in {DEADLINE} s"
        pause.wait(0.02)
    return found


class Stopper:
    """A file that stops whoever reads it, until `release` puts the real one in its place."""

    def __init__(self, path: Path):
        self.path, self.real = path, path.with_name(f".{path.name}.real")
        os.replace(path, self.real)
        os.mkfifo(path)
        self._handle = os.open(path, os.O_RDWR)  # so that readers can open it

    def reader(self) -> int:
        """The process that is stopped there."""
        return wait_for(self._reader, f"a process that reads {self.path}")

    def _reader(self) -> int | None:
        found = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != os.getpid()]
        return next((pid for pid in found if self._reads(pid)), None)

    def _reads(self, pid: int) -> bool:
        try:
            return any(os.readlink(handle) == str(self.path) for handle in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:  # it has ended
            return False

    def release(self) -> None:
        """Later readers find the real file; those that are stopped stay so."""
        os.replace(self.real, self.path)

    def close(self) -> None:
        """Lets the stopped ones go, if any live."""
        os.close(self._handle)
