"""Annotates a collection of any size: a shard of the output for each file of the input, on one computer or a Ray cluster.

mosaic-ner annotate pubmed/*.xml.gz --output annotated --model M
mosaic-ner annotate hf://datasets/OWNER/NAME/*.jsonl.gz --output annotated --model M --write jsonl.gz
mosaic-ner annotate pubmed/ --output annotated --model M --engine ray --workers 64 --address auto

INPUT is a file, a folder, a pattern or an address (hf://…), of any format. A shard appears whole or not at all. Start the same
command again after an interruption: it goes on with what is missing, and the result equals an uninterrupted run, byte for byte.
manifest.json says what was asked for, and for each shard its counts, what couldn't be read, and its checksums. Exit code 3:
records or shards are missing. docs/scale.md has the tables' columns, costs, and commands for clusters.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.options import FORMATS, ArgumentError

from .tag import add_question, before_types

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"


class RunError(ArgumentError):
    """An output folder that belongs to another run."""


def main(argv: list[str] | None = None) -> int:
    """Command line entry; returns 3 if records or shards are missing in what was written."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner annotate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="files, folders, patterns or addresses")
    parser.add_argument("--output", required=True, help="folder; every worker must see it")
    add_question(parser)
    parser.add_argument("--format", choices=FORMATS, help="of the input; default: what its content or ending says")
    parser.add_argument("--write", default="parquet", help="parquet, jsonl, bioc.xml or pubtator; .gz after a text's")
    parser.add_argument("--policy", choices=("lenient", "strict"), default="lenient",
                        help="strict: a record that can't be read or written ends its shard")  # fmt: skip
    parser.add_argument("--batch_size", type=int, default=16, help="windows that go through the model at once")
    parser.add_argument("--chunk", type=int, default=64, help="documents whose windows are batched together")
    parser.add_argument("--part", help="I/N: only every N-th shard, from the I-th (from 0); for independent processes")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, help="ray: models that work at the same time; default: 1")
    parser.add_argument("--gpus", type=float, help="ray: GPUs of each worker; default: none")
    parser.add_argument("--address", help="ray: of the cluster; default: this computer alone")
    options = parser.parse_args(argv)
    log_progress()
    with one_message("annotate"):
        return annotate(options)


def annotate(options: argparse.Namespace) -> int:
    """Runs the command.

    Raises:
        UserError: of the inputs, the options, the model, or the output folder.
    """
    from .inputs import sources, split
    from .shards import WRITTEN, Job, receipt_of

    if not options.inputs:
        raise ArgumentError("no input: expected files, folders, patterns or addresses" + before_types(options.types))
    for name, least in (("batch_size", 1), ("chunk", 1), ("workers", 1), ("gpus", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            raise ArgumentError(f"--{name} is {value}; expected {least} or more")
    if options.write not in WRITTEN:
        raise ArgumentError(f"--write is {options.write!r}; expected one of {', '.join(WRITTEN)}")
    for name in ("workers", "gpus", "address"):
        if options.engine == "local" and getattr(options, name) is not None:
            raise ArgumentError(f"--{name} has no effect with --engine local; leave it out, or say --engine ray")
    part, parts = _part(options.part)
    found = sources(options.inputs, options.format)
    output = Path(options.output)
    for given in options.inputs:
        if Path(given).is_dir() and output.resolve().is_relative_to(Path(given).resolve()):
            raise ArgumentError(f"--output {output} is inside the input {given}; name a folder elsewhere")
    model = options.model
    if model and Path(model).is_dir():
        model = str(Path(model).resolve())  # workers may have another current folder
    job = Job(
        str(output.resolve()), options.write, model, options.corpus, tuple(options.types), options.threshold,
        options.batch_size, options.chunk, options.policy == "strict", options.precision,
    )  # fmt: skip
    tagger = job.tagger()  # in any case: a mistake is said before anything is written or started
    run = _claim(output, job)
    wanted = (found if len(found) >= parts else split(found, parts))[part::parts]
    for source in wanted:
        _check_content(source, receipt_of(source, output))
    todo = [source for source in wanted if receipt_of(source, output) is None]
    if len(todo) < len(wanted):
        logger.info("%d of %d shards are there", len(wanted) - len(todo), len(wanted))
    workers = options.workers or 1
    todo = todo if len(todo) >= workers else split(todo, workers)
    progress = Progress(len(todo), counts_shards=options.engine == "ray")
    if options.engine == "ray":
        from .on_ray import annotate_on_ray

        del tagger
        results = annotate_on_ray(todo, job, workers, options.gpus or 0, options.address)
    else:
        results = _locally(todo, job, tagger, progress.chunk)
    failed = {}
    for source, result in results:
        progress.shard(result)
        if result and "failed" in result:
            failed[source.name] = result["failed"]
            logger.warning("%s can't be read: %s", source.name, result["failed"])
    progress.close()
    return _finish(output, run, found, failed)


def _locally(todo: Iterable, job, tagger, tell: Callable[[int], None]) -> Iterator[tuple]:
    from .shards import annotate_shard

    for source in todo:
        yield source, annotate_shard(source, job, tagger, tell)


def _part(given: str | None) -> tuple[int, int]:
    if given is None:
        return 0, 1
    part, _, parts = given.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise ArgumentError(f"--part is {given!r}; expected I/N, as 0/8 to 7/8")
    return int(part), int(parts)


def _claim(output: Path, job) -> dict:
    """What the run is, written into its folder, or compared with what is there.

    Raises:
        RunError: the folder is that of another run, or has files of none.
    """
    from .loading import default_model
    from .resumable_output import fingerprint

    model = job.model or default_model()
    run = asdict(job) | {"model": model, "content of the model": fingerprint(model), "types": list(job.types)}
    del run["output"]
    named = [] if run["content of the model"] else ["model"]  # a folder may have moved
    path = output / MANIFEST
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["run"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is the manifest of another program; name another folder") from error
        changed = [
            f"{key} was {before.get(key)!r}, is {run.get(key)!r}"
            for key in [*sorted(run.keys() - {"model"}), *named]
            if before.get(key) != run.get(key)
        ]
        if changed:
            raise RunError(
                f"{output} is the output of another run: {'; '.join(changed)}; name another folder, or delete it"
            )
        return before
    # Files whose names begin with a dot may be another process's manifest on its way.
    if output.is_dir() and any(not path.name.startswith(".") for path in output.iterdir()):
        raise RunError(f"{output} has files, but no {MANIFEST} of a run to go on with; name an empty or a new folder")
    output.mkdir(parents=True, exist_ok=True)
    _write(path, {"run": run})
    return run


def _check_content(source, receipt: dict | None) -> None:
    if receipt and source.format and (before := receipt.get("format", source.format)) != source.format:
        raise RunError(
            f"{source.paths[0]} was read as {before} for the shard {source.name!r}, not as {source.format}; name "
            f"another output folder, or delete the shard and its receipt _done/{source.name}.json"
        )
    if receipt and source.content() != receipt["content"]:
        raise RunError(
            f"{source.paths[0]} isn't what the shard {source.name!r} was made of. If it is another file of that name, name "
            f"another output folder; if it has changed, delete the shard and its receipt _done/{source.name}.json"
        )


def _finish(output: Path, run: dict, found: list, failed: dict[str, str]) -> int:
    """Writes the manifest when no shard is missing but those that can't be read, and says what the run came to."""
    from .shards import WORK, receipts_of

    done = receipts_of(output)  # those of other inputs, too, that an earlier command has put here
    missing = [source.name for source in found if source.name not in done and source.name not in failed]
    total = {key: sum(r[key] for r in done.values()) for key in ("documents", "mentions", "missing", "deleted")}
    logger.info(
        "%s: %d shards, %d documents, %d mentions; %d shards failed, %d are still to come", output, len(done),
        total["documents"], total["mentions"], len(failed), len(missing),
    )  # fmt: skip
    if total["missing"]:
        logger.warning("%d records are not in the output; the manifest and _done/ list them", total["missing"])
    if not missing:
        kinds: Counter[str] = Counter()
        for receipt in done.values():
            kinds.update(receipt["types"])
        total["types"] = dict(sorted(kinds.items()))
        _write(output / MANIFEST, {"run": run} | total | {"failed": failed, "shards": dict(sorted(done.items()))})
        if not failed:
            shutil.rmtree(output / WORK, ignore_errors=True)
    return 3 if failed or total["missing"] else 0


def _write(path: Path, content: dict) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)


class Progress:
    """A bar of shards in a terminal, with documents a second; lines where there is none."""

    def __init__(self, shards: int, counts_shards: bool):
        from tqdm import tqdm

        self.shards, self.counts_shards = 0, counts_shards
        self.bar = tqdm(total=shards, unit="shard", disable=None, dynamic_ncols=True)
        self.documents, self.begun = 0, time.monotonic()

    def chunk(self, count: int) -> None:
        """So many documents are annotated."""
        self.documents += count
        self.bar.set_postfix_str(f"{self.documents:,} documents, {self.rate:.1f}/s")

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.documents / max(time.monotonic() - self.begun, 1e-9)

    def shard(self, result: dict | None) -> None:
        """A shard, or a part of one, is done; its documents count where no chunk of it was told."""
        if self.counts_shards:
            self.documents += (result or {}).get("documents", 0)
        self.shards += 1
        self.bar.update()
        if self.bar.disable:
            left = (time.monotonic() - self.begun) / self.shards * (self.bar.total - self.shards)
            logger.info(
                "%d of %d shards, %d documents, %.1f documents/s, about %d minutes left", self.shards, self.bar.total,
                self.documents, self.rate, -(-left // 60),
            )  # fmt: skip

    def close(self) -> None:
        """The work is over."""
        self.bar.close()


if __name__ == "__main__":
    sys.exit(main())
