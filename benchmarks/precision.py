"""F1 and time of trained models in each precision, beside float32.

    python benchmarks/precision.py MODEL … --data_dir DIR --output results.json
    python benchmarks/precision.py MODEL --data_dir DIR --split validation --record

Each model, of any family, predicts the documents of a corpus as `run_ner.py` does when it evaluates. `delta_f1` is in points of
F1, against float32; `other` counts the mentions that only one of both answers has. Times are the process's CPU seconds of one
pass, after a warm-up. `--record` writes the difference of int8 on the validation documents into the model's config.json, for
`--precision auto`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.prediction.precision import load_predictor
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.results import versions, write_json


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folder of a trained model")
    parser.add_argument("--corpus", default="biored")
    parser.add_argument("--data_dir", help="corpora folder; without it the corpus is downloaded")
    parser.add_argument("--split", default="test", choices=("test", "validation"))
    parser.add_argument("--limit", type=int, help="documents; default: all")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "int8"], help="beside float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write int8's delta_f1 into the models' config.json")
    parser.add_argument("--output", help="write the report as JSON")
    options = parser.parse_args(argv)
    if options.record and (options.split != "validation" or "int8" not in options.precisions):
        parser.error("--record chooses how a model predicts: it needs --split validation and int8 among the precisions")
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    documents = load_corpus(options.corpus, data_dir=options.data_dir, splits=[options.split])[options.split]
    report = {"versions": versions(), "corpus": options.corpus, "split": options.split, "threads": options.threads}
    report |= {"capabilities": {k: v for k, v in torch.cpu.get_capabilities().items() if "bf16" in k or "vnni" in k}}
    report |= {"documents": len(documents[: options.limit]), "models": {}}
    for model in options.models:
        rows = report["models"][Path(model).name] = measure(model, documents[: options.limit], options.precisions)
        if options.record:
            record(Path(model), rows["int8"]["delta_f1"])
    print(json.dumps(report, indent=1))
    if options.output:
        write_json(Path(options.output), report)


def measure(model: str, documents: list, precisions: list[str]) -> dict:
    """A row for float32 and each precision; with the model's family and, where it has results.json, the F1 that it says."""
    rows, exact = {}, None
    for precision in ("float32", *precisions):
        predictor = load_predictor(model, precision, device="cpu")
        evaluator = Evaluator(predictor, predictor.model.config.labels)
        predictor(documents[:20])  # what an engine prepares for a length isn't counted
        begin = time.process_time()
        measured = evaluator.evaluate(documents)
        seconds = time.process_time() - begin
        f1 = measured.report["overall"]["f1"]
        found = {(d.id, *m.key) for d in measured.predicted for m in d.mentions}
        exact = exact or (f1, found, seconds)
        rows[precision] = {
            "f1": round(100 * f1, 2),
            "delta_f1": round(100 * (f1 - exact[0]), 2),
            "mentions": len(found),
        }
        rows[precision] |= {"other": len(found ^ exact[1]), "seconds": round(seconds, 2)}
        rows[precision]["time"] = round(seconds / exact[2], 3)
        print(f"{model} {precision}: {rows[precision]}", flush=True)
    return {"family": predictor.model.config.model_type, **rows}


def record(folder: Path, delta: float) -> None:
    """Writes the difference into config.json, and nothing else."""
    if (folder / "checksums.json").exists():
        raise SystemExit(f"{folder} was published: its checksums would no longer agree; record before publishing")
    path = folder / "config.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"int8_delta_f1": delta})


if __name__ == "__main__":
    main()
