"""Speed and memory of reading PubMed's XML, on a file made of repeated citations of the given files with new ids.

    python benchmarks/reading.py ARTICLES.xml … --articles 30000 --output reading.json

Each measurement is a process of its own: one core, documents made and dropped. Peak memory is read at a third of the file and
at its end, so that growth shows. Indentation is taken out of the citations first, because pretty-printed files read faster by
the megabyte. Megabytes are 10⁶ bytes of XML, unpacked.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mosaic_ner.data_builders.formats import read_documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="PubMed files whose citations are repeated")
    parser.add_argument(
        "--articles", type=int, default=30_000, help="of the file that is made; a baseline file has 30,000"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        sys.stdout.write(json.dumps(read(arguments.read, arguments.articles)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pubmed.xml"
        size = make(path, citations(arguments.files), arguments.articles)
        packed = path.with_suffix(".xml.gz")
        with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            while piece := source.read(1 << 20):
                target.write(piece)
        report = {
            "machine": {"processor": platform.machine(), "python": platform.python_version(), "cores used": 1},
            "articles": arguments.articles, "megabytes": round(size / 1e6, 1), "bytes an article": size // arguments.articles,
        }  # fmt: skip
        for name, file in (("xml", path), ("xml.gz", packed)):
            runs = [measured(file, arguments.articles) for _ in range(arguments.repetitions)]
            seconds = statistics.median(run["seconds"] for run in runs)
            report[name] = {
                "megabytes a second": round(size / 1e6 / seconds, 1), "documents a second": round(arguments.articles / seconds),
                "peak memory at a third, MiB": max(run["third"] for run in runs),
                "peak memory, MiB": max(run["peak"] for run in runs), "seconds of each run": [run["seconds"] for run in runs],
            }  # fmt: skip
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


def citations(files: list[Path]) -> list[bytes]:
    """The <PubmedArticle> elements of files, without indentation."""
    found = [
        r for path in files for r in re.findall(rb"<PubmedArticle>.*?</PubmedArticle>", path.read_bytes(), re.DOTALL)
    ]
    return [re.sub(rb"\n\s+", b"\n", record) for record in found]


def make(path: Path, records: list[bytes], count: int) -> int:
    """Writes a file of `count` citations with ids of their own; returns its size in bytes."""
    with path.open("wb") as handle:
        handle.write(
            b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "pubmed.dtd">\n<PubmedArticleSet>\n'
        )
        for number, record in enumerate(itertools.islice(itertools.cycle(records), count), 1):
            handle.write(re.sub(rb"(<PMID[^>]*>)[0-9]+", rb"\g<1>%d" % number, record, count=1) + b"\n")
        handle.write(b"</PubmedArticleSet>\n")
        return handle.tell()


def read(path: Path, count: int) -> dict:
    """Reads a file; seconds, and the process's peak memory in MiB at a third and at the end."""
    third, number, begin = 0, 0, time.perf_counter()
    for number, _ in enumerate(documents(path), 1):
        if number == count // 3:
            third = peak()
    if number != count:
        raise SystemExit(f"{path}: {number} documents, not {count}")
    return {"seconds": round(time.perf_counter() - begin, 2), "third": third, "peak": peak()}


def documents(path: Path) -> Iterator:
    """What prediction reads."""
    return read_documents(path, policy="lenient", gold=False, skip_bad=True, keep_source=True)


def peak() -> int:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def measured(path: Path, count: int) -> dict:
    """`read` in a process of its own."""
    command = [sys.executable, __file__, "--read", str(path), "--articles", str(count)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
