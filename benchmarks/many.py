"""Where the time of many documents goes: the encoder's share, and that of each step outside it.

    python benchmarks/many.py --model outputs/aioner/biored --data_dir D --precision int8 --output many.json

Predicts the abstracts of BioRED, repeated with new ids until there are `--documents`, in chunks of 64 as `--do_predict` does.
Times are CPU seconds of the threads that do the steps; on one core they add up to the time that passes. On several, the next
chunk is tokenised while the model works on this one.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.prediction.precision import load_predictor
from mosaic_ner.prediction.tagger import Tagger
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.results import versions, write_json

STEPS = {
    "predictor": {"requests": "tokens, windows, features", "batch": "padding", "merge": "merging"},
    "model": {"encoder": "encoder", "forward": "rest of the model", "best_labels": "best labels", "decode": "spans"},
}


def main(argv: list[str] | None = None) -> dict:
    """Command line; returns the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained model")
    parser.add_argument("--data_dir", help="corpora folder; without it BioRED is downloaded")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", help="write the report as JSON, anew after every 500 documents")
    options = parser.parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    predictor = load_predictor(options.model, options.precision)
    corpus = [d for part in load_corpus("biored", data_dir=options.data_dir).values() for d in part]
    documents = (replace(d, id=f"{d.id}-{n}") for n in itertools.count() for d in corpus)
    spent = watch(predictor)
    begin, count, mentions = time.process_time(), 0, 0
    report = {"versions": versions(), "model": Path(options.model).name, "precision": options.precision}
    report |= {"device": str(predictor.model.device), "threads": options.threads}
    for part in Tagger(predictor).stream(itertools.islice(documents, options.documents)):
        count, mentions = count + len(part), mentions + sum(len(d.mentions) for d in part)
        if count // 500 > (count - len(part)) // 500 or count == options.documents:
            seconds = time.process_time() - begin
            shares = {name: round(value / seconds, 4) for name, value in spent.items()}
            shares["rest of the model"] = round(shares["rest of the model"] - shares["encoder"], 4)
            report |= {"documents": count, "mentions": mentions, "seconds": round(seconds, 1), "shares": shares}
            report["outside_the_encoder"] = round(1 - shares["encoder"], 4)
            print(report, flush=True)
            if options.output:
                write_json(Path(options.output), report)
    return report


def watch(predictor) -> dict[str, float]:
    """Seconds by step, growing while the predictor works."""
    spent: dict[str, float] = defaultdict(float)

    def timed(function, name: str):
        def run(*args, **kwargs):
            begin = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - begin

        return run

    for owner, steps in ((predictor, STEPS["predictor"]), (predictor.model, STEPS["model"])):
        for attribute, name in steps.items():
            if attribute == "encoder":
                owner.encoder.forward = timed(owner.encoder.forward, name)
            else:
                setattr(owner, attribute, timed(getattr(owner, attribute), name))
    return spent


if __name__ == "__main__":
    main()
