"""Every family on a GPU, in bfloat16: speed, memory, where the time goes, and whether CPU and GPU agree.

    benchmarks/gpu_check.sh --tokenizer E --data_dir D --output gpu.json
    benchmarks/gpu_check.sh --device cpu --shapes tiny --limit 3 --repetitions 1    # its test

Per shape and family, with random weights (see throughput.py, whose functions measure):
- `agreement`: mentions of the GPU in float32 and in bfloat16 beside those of the CPU in float32: how many both have, how many
  one has, and the largest difference of scores of those that both have;
- `prediction`, `training`: ratios to the bare encoder in bfloat16, documents a second, peak memory of the GPU;
- `shares` of a batch's time: the encoder, the rest of the forward pass (SRU-NER: its steps), and the best labels (AIONER: the
  CRF's Viterbi and marginals).
The report is written after each part. Parts that would begin after `--seconds` are left out and named.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from dataclasses import replace
from pathlib import Path

import throughput
import torch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.precision import set_precision
from mosaic_ner.training.families import names
from mosaic_ner.training.results import device_name, versions, write_json

AGREEMENT = 12
"""Documents that CPU and GPU predict both."""


def main(argv: list[str] | None = None) -> dict:
    """Command line; returns the report."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--seconds", type=float, default=330, help="no part begins later")
    parser.add_argument("--families", nargs="+", default=names())
    parser.add_argument("--device", default="cuda", help=SUPPRESS)
    own, rest = parser.parse_known_args(argv)
    defaults = ["--limit", "64", "--repetitions", "3", "--steps", "2"]
    arguments = throughput._arguments([*defaults, "--precisions", "bfloat16", "--device", own.device, *rest])
    if own.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check: PyTorch sees no GPU here; --device cpu --shapes tiny tests the program alone")
    begin, device = time.perf_counter(), torch.device(own.device)
    report = {"device": device_name(device), "versions": versions()}
    report |= {"documents": arguments.limit, "repetitions": arguments.repetitions, "parts": {}, "left_out": []}
    documents = throughput._documents(arguments)
    for shape in arguments.shapes:
        for family in own.families:
            bundle = None
            for part in (agreement, prediction, shares, training):
                name = f"{shape} {family} {part.__name__}"
                if time.perf_counter() - begin > own.seconds:
                    report["left_out"].append(name)
                    continue
                arguments.family = family
                bundle = bundle or throughput._bundle(arguments, shape, documents)
                report["parts"][name] = part(bundle, documents, arguments, device)
                print(f"{name}: {json.dumps(report['parts'][name])}", flush=True)
                report["seconds"] = round(time.perf_counter() - begin, 1)
                if arguments.output:
                    write_json(Path(arguments.output), report)
    print(json.dumps(report, indent=1))
    return report


def agreement(bundle, documents, arguments, device) -> dict:
    texts = [d.text for d in documents[:AGREEMENT]]
    expected = _found(copy.deepcopy(bundle.model).to("cpu"), bundle.tokenizer, texts)
    out = {"mentions": len(expected)}
    for precision in ("float32", "bfloat16"):
        model = copy.deepcopy(bundle.model).to(device)
        set_precision(model, precision)
        found = _found(model, bundle.tokenizer, texts)
        both = found.keys() & expected.keys()
        out[precision] = {
            "both": len(both),
            "cpu_alone": len(expected) - len(both),
            "other_alone": len(found) - len(both),
        }
        out[precision]["score"] = max((abs(found[key] - expected[key]) for key in both), default=0.0)
    return out


def _found(model, tokenizer, texts: list[str]) -> dict[tuple, float]:
    mentions = MentionPredictor(model, tokenizer)(texts)
    return {(number, *m.key): m.score for number, row in enumerate(mentions) for m in row}


def prediction(bundle, documents, arguments, device) -> dict:
    converted = _converted(bundle, device)
    texts = [d.text for d in documents]
    row = throughput.measure_prediction(
        converted, texts, arguments, None, "float32"
    )  # the floor is the converted encoder
    return row | _memory(device)


def training(bundle, documents, arguments, device) -> dict:
    bundle.model.to(device)
    _reset(device)
    return throughput.measure_training(bundle, documents, arguments, True) | _memory(device)


@torch.inference_mode()
def shares(bundle, documents, arguments, device) -> dict:
    converted = _converted(bundle, device)
    model, predictor = converted.model.eval(), MentionPredictor(converted.model, bundle.tokenizer, arguments.batch_size)
    requests = predictor.requests([d.text for d in documents[: arguments.batch_size]])
    batch = {k: v.to(device) for k, v in predictor.batch([requests[i] for i in predictor.batches(requests)[0]]).items()}
    output = model(**batch)
    sides = {
        "encoder": lambda: model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]),
        "forward": lambda: model(**batch),
        "best_labels": lambda: model.best_labels(output, batch),
    }
    seconds = {name: throughput._best(side, device, 3) for name, side in sides.items()}
    whole = seconds["forward"] + seconds["best_labels"]
    parts = {"encoder": seconds["encoder"], "rest_of_forward": max(0.0, seconds["forward"] - seconds["encoder"])}
    parts["best_labels"] = seconds["best_labels"]
    rows, length = batch["input_ids"].shape
    return {"windows": rows, "tokens": length, "seconds": whole} | {n: round(s / whole, 3) for n, s in parts.items()}


def _converted(bundle, device):
    converted = replace(bundle, model=copy.deepcopy(bundle.model))
    set_precision(converted.model.to(device), "bfloat16")
    _reset(device)
    return converted


def _reset(device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _memory(device) -> dict:
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {"peak_device_memory_mib": round(peak / 2**20)}


if __name__ == "__main__":
    main()
