"""`pipeline(…)(list of texts)` beside `MentionPredictor` on the same texts and model, interleaved in one process.

    python benchmarks/pipeline.py --model outputs/aioner/biored --data_dir DIR --output results.json

The pipeline batches the windows of 32 texts of a list; the predictor those of all texts, by length. Quoted is the median of the
ratios over the repetitions. The mentions of both must be the same, or the program fails.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.results import versions
from transformers import pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained model, whose code is run")
    parser.add_argument("--data_dir", required=True, help="corpora folder: BioRED's documents are read")
    parser.add_argument("--limit", type=int, default=500, help="documents")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", help="write the report as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    documents = [d for part in load_corpus("biored", data_dir=arguments.data_dir).values() for d in part]
    texts = [d.text for d in documents[: arguments.limit]]
    ner = pipeline("token-classification", model=arguments.model, trust_remote_code=True, device="cpu")
    predictor = MentionPredictor(ner.model, ner.tokenizer)

    def told(some: list[str]) -> list[list[tuple]]:
        return [[(m["start"], m["end"], m["entity_group"]) for m in found] for found in ner(some)]

    def predicted(some: list[str]) -> list[list[tuple]]:
        return [[(m.start, m.end, m.type) for m in found] for found in predictor(some)]

    sides = {"pipeline": told, "predictor": predicted}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for function in sides.values():
        function(texts[:32])  # warm-up
    for turn in range(arguments.repetitions):
        answers = []
        for name in sorted(sides, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            answers.append(sides[name](texts))
            seconds[name].append(time.perf_counter() - begin)
        differing = sum(one != other for one, other in zip(*answers, strict=True))
        if differing:
            raise SystemExit(
                f"{differing} of {len(texts)} texts have other mentions in the pipeline than in the predictor"
            )
    ratios = [one / other for one, other in zip(seconds["pipeline"], seconds["predictor"], strict=True)]
    report = {
        "machine": {"processor": platform.machine(), "threads": arguments.threads, "device": "cpu"},
        "versions": versions(),
        "documents": len(texts),
        "characters": sum(map(len, texts)),
        "mentions": sum(map(len, answers[0])),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "documents_per_second": {n: round(len(texts) / statistics.median(s), 2) for n, s in seconds.items()},
    }
    print(json.dumps(report, indent=1))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
