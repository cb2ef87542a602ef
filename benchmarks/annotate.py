"""Speed and memory of `mosaic-ner annotate`, on PubMed files made of the given texts' abstracts, repeated with new ids.

    python benchmarks/annotate.py ABSTRACTS.PubTator … --tokenizer E --articles 20000 --output annotate.json
    python benchmarks/annotate.py ABSTRACTS.PubTator … --tokenizer E --articles 4000 --workers 2 --output annotate_two.json

Without --model the encoder is a random one of 2 layers and 64 units, so that what stands around the encoder is measured, and
20,000 abstracts take minutes. One process annotates all of them; its memory is read when its first and its last shard appear.
With --workers N a Ray of N CPUs annotates them, too, and so do N independent processes (--part): their documents a second,
without the start of the processes, are compared. Each process has one thread. N needs as many free cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

from mosaic_ner.data_builders.formats import read_documents

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="files with abstracts")
    parser.add_argument("--articles", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--model", help="default: a small random one")
    parser.add_argument("--tokenizer", help="a folder with the random model's tokenizer")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = [text for path in arguments.files for text in abstracts(path)]
        size = make(folder / "in", texts, arguments.articles, arguments.shards)
        model = arguments.model or small_model(folder / "model", arguments.tokenizer)
        report = {
            "machine": {"processor": platform.machine(), "python": platform.python_version(), "date": str(date.today())},
            "model": "as given" if arguments.model else "random, 2 layers of 64 units, with a CRF",
            "threads a process": 1, "articles": arguments.articles, "different abstracts": len(texts),
            "shards": arguments.shards, "megabytes of XML": round(size / 1e6, 1), "reading": reading(folder / "in"),
            "one process": measured(folder, model, "one"),
        }  # fmt: skip
        report["one process"]["bytes of output a document"] = {
            table.name: sum(p.stat().st_size for p in table.iterdir()) // arguments.articles
            for table in sorted((folder / "one").iterdir()) if table.name in ("mentions", "documents", "deleted")
        }  # fmt: skip
        if (n := arguments.workers) > 1:
            apart = [start(folder, model, f"apart{part}", "--part", f"{part}/{n}") for part in range(n)]
            for process, output in apart:
                follow(process, output)
            together = rate([output for _, output in apart], n)
            ray = measured(folder, model, "ray", "--engine", "ray", "--workers", str(n), workers=n)
            report |= {
                f"{n} independent processes": together, f"{n} Ray workers": ray,
                "Ray to independent": round(ray["documents a second"] / together["documents a second"], 3),
            }  # fmt: skip
            report["equal output"] = same(folder / "one", folder / "ray")
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


def abstracts(path: Path) -> list[tuple[str, str]]:
    """(title, abstract) of the documents that have both."""
    found = []
    for document in read_documents(path, policy="lenient", gold=False, skip_bad=True):
        parts = [document.text[p.start : p.end] for p in document.passages if p.end > p.start]
        if len(parts) == 2:
            found.append(tuple(parts))
    return found


def make(folder: Path, texts: list[tuple[str, str]], count: int, shards: int) -> int:
    """Writes PubMed files of `count` citations; returns their size in bytes."""
    folder.mkdir()
    endless, size = itertools.cycle(texts), 0
    for shard in range(shards):
        path = folder / f"pubmed26n{shard:04d}.xml"
        with path.open("w", encoding="utf-8") as handle:
            handle.write("<PubmedArticleSet>\n")
            for number in range(shard * count // shards, (shard + 1) * count // shards):
                title, abstract = map(escape, next(endless))
                handle.write(
                    f'<PubmedArticle><MedlineCitation><PMID Version="1">{number + 1}</PMID><Article><ArticleTitle>{title}'
                    f"</ArticleTitle><Abstract><AbstractText>{abstract}</AbstractText></Abstract></Article>"
                    "</MedlineCitation></PubmedArticle>\n"
                )
            handle.write("</PubmedArticleSet>\n")
        size += path.stat().st_size
    return size


def small_model(folder: Path, tokenizer: str | None) -> str:
    """A random model of 2 layers of 64 units."""
    from every_format import random_bundle

    bundle = random_bundle(tokenizer, layers=2, hidden_size=64)
    bundle.model.save_pretrained(folder)
    bundle.tokenizer.save_pretrained(folder)
    return str(folder)


def reading(folder: Path) -> dict:
    """The reader alone, in this process."""
    begin, count = time.perf_counter(), 0
    for path in sorted(folder.iterdir()):
        count += sum(1 for _ in read_documents(path, policy="lenient", gold=False, skip_bad=True, keep_source=True))
    seconds, size = time.perf_counter() - begin, sum(path.stat().st_size for path in folder.iterdir())
    return {"documents a second": round(count / seconds), "megabytes a second": round(size / seconds / 1e6, 1)}


def start(folder: Path, model: str, name: str, *more: str) -> tuple[subprocess.Popen, Path]:
    """A process that annotates, and its output folder."""
    output = folder / name
    command = [
        sys.executable,
        "-m",
        "run_ner",
        "annotate",
        str(folder / "in"),
        "--output",
        str(output),
        "--model",
        model,
    ]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *more], env=os.environ | threads, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return process, output


def follow(process: subprocess.Popen, output: Path) -> list[int]:
    """Waits for the end; the process's peak memory in MiB after each shard."""
    memory, shards = [], 0
    while process.poll() is None:
        time.sleep(0.02)
        done = len(list((output / "_done").glob("*.json")))
        if done > shards and (now := resident(process.pid)):
            shards = done
            memory.append(now)
    if process.returncode:
        raise SystemExit(f"{output}: exit code {process.returncode}")
    return memory


def rate(outputs: list[Path], workers: int) -> dict:
    """Documents a second, from the moment when as many shards are done as there are workers: what the start takes, and
    fetching a model, doesn't count."""
    paths = sorted((p for o in outputs for p in (o / "_done").glob("*.json")), key=lambda p: p.stat().st_mtime)
    done = [(path.stat().st_mtime, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    documents = sum(receipt["documents"] for _, receipt in done[workers:])
    seconds = done[-1][0] - done[workers - 1][0]
    return {
        "documents a second": round(documents / seconds, 1), "of documents": documents, "in seconds": round(seconds, 1),
        "mentions a document": round(sum(r["mentions"] for _, r in done) / sum(r["documents"] for _, r in done), 1),
    }  # fmt: skip


def measured(folder: Path, model: str, name: str, *more: str, workers: int = 1) -> dict:
    """`rate` of one run, with its processor time and, of one process, the growth of its memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = follow(*start(folder, model, name, *more))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = rate([folder / name], workers)
    if not more:
        found |= {
            "processor seconds, start included": round(
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
            ),
            "peak memory after each shard, MiB": memory,
            "growth of the peak, first to last shard": round(memory[-1] / memory[0] - 1, 4),
        }
    return found


def resident(pid: int) -> int | None:
    """A process's peak memory so far, MiB; None when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM")), None)


def same(one: Path, two: Path) -> bool:
    """Whether two folders hold the same bytes, but for what is not asked for in the same way."""
    names = [{p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} for folder in (one, two)]
    return names[0] == names[1] and all((one / n).read_bytes() == (two / n).read_bytes() for n in names[0])


if __name__ == "__main__":
    main()
