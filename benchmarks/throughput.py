"""Prediction and training step as ratios to the bare encoder on the same batches, interleaved in one process.

    python benchmarks/throughput.py                           # MiniLM and BERT-base shapes, random weights
    python benchmarks/throughput.py --family span_cvae        # training with the CVAE's loss; --alpha 0 without
    python benchmarks/throughput.py --model outputs/aioner/biored --data_dir DIR
    python benchmarks/throughput.py --model DIR --words 32 64 128 256   # prediction on passages of so many words
    python benchmarks/throughput.py --precisions float32 bfloat16 int8 --no_training

Quoted are medians of ratios over the repetitions; absolute times depend on the machine, ratios hardly. On one thread of a CPU,
times are the process's CPU seconds, which other processes on the machine change least. The floor of prediction is the encoder's
forward pass in float32 over the padded batches that prediction makes, and beside it (`same`) in the precision measured; end to
end means text in, mentions in characters out. The floor of a training step is the encoder's forward and backward pass over the
batch; both sides go without the optimizer, in bfloat16 under autocast.

`limit` is what a machine without any cost but the encoder's products would reach: the operations at the rate of the encoder's
largest product in that precision, as PyTorch computes it, or reading the weights and writing each layer's activations at the
speed of a copy, whichever takes longer, as a ratio to the same floor.

The labels of a random model are biased towards O until about a sixth of the text is in mentions, as in abstracts, so that
reading mentions off costs what it costs in earnest.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import re
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from operator import truediv as ratio
from pathlib import Path

import torch
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.modeling_ner import build_encoder
from mosaic_ner.modeling.transitions import EOA
from mosaic_ner.prediction.encoders import plain_tokenizer
from mosaic_ner.prediction.model_classes import PREFIX
from mosaic_ner.prediction.precision import prepare
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.arguments import ModelOptions
from mosaic_ner.training.bundle import TrainingData, build, restore
from mosaic_ner.training.encoders import SCRATCH, load_encoder_parts
from mosaic_ner.training.families import family
from mosaic_ner.training.sampler import MixtureSampler, padding_share
from transformers import AutoTokenizer, BertConfig

SHAPES = {"minilm": (6, 384, 12, 1536), "bert-base": (12, 768, 12, 3072)}  # layers, hidden, heads, intermediate
TINY = {"tiny": (1, 32, 2, 64)}  # for tests
TEN_CORPORA = [
    "biored", "bc5cdr", "bioid", "gnormplus", "linnaeus", "ncbi_disease", "nlm_chem", "nlm_gene", "s800", "tmvar3",
]  # fmt: skip
ABSTRACTS = 36_000_000


def main() -> None:
    arguments = _arguments()
    keep_freed_memory()  # as run_ner.py does; both sides of every ratio have it
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    documents = _documents(arguments)
    report = {
        "machine": {"processor": platform.machine(), "threads": arguments.threads, "device": str(device)},
        "torch": torch.__version__,
        "family": arguments.family,
        "documents": len(documents),
        "characters": sum(len(d.text) for d in documents),
        "repetitions": arguments.repetitions,
        "shapes": {},
    }
    if device.type == "cuda":
        report["machine"]["gpu"] = torch.cuda.get_device_name(device)
    for shape in arguments.shapes:
        bundle = _bundle(arguments, shape, documents)
        bundle.model.to(device)
        report["family"] = bundle.model.config.model_type.removeprefix(PREFIX)
        texts = {"prediction": [d.text for d in documents]}
        if arguments.words:
            texts = {f"prediction, {n} words": passages(documents, n) for n in arguments.words}
        rows = report["shapes"][shape] = {}
        for precision in arguments.precisions:
            measured = replace(bundle, model=copy.deepcopy(bundle.model))
            prepare(measured.model, precision)
            for kind, part in texts.items():
                kind = kind if precision == "float32" else f"{kind}, {precision}"
                rows[kind] = measure_prediction(measured, part, arguments, bundle.model.encoder.eval(), precision)
                _print_row(shape, kind, rows[kind])
        corpus = documents[0].corpus
        if arguments.no_training:
            continue
        if not bundle.model.knows(corpus):
            print(f"{shape} training: not measured, because the model wasn't trained on {corpus}", flush=True)
            continue
        for precision in [p for p in arguments.precisions if p in ("float32", "bfloat16")]:
            kind = f"training, {bundle.model.config.packing}" + (", bfloat16" if precision == "bfloat16" else "")
            rows[kind] = measure_training(bundle, documents, arguments, precision == "bfloat16")
            _print_row(shape, kind, rows[kind])
    report["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if device.type == "cuda":
        report["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    print(json.dumps(report, indent=1))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _print_row(shape: str, kind: str, row: dict) -> None:
    print(f"{shape} {kind}: " + ", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


def measure_prediction(bundle, texts: list[str], arguments, encoder=None, precision: str = "float32") -> dict:
    """End-to-end prediction against an encoder's forward pass (default: the model's own) on the same batches."""
    predictor = MentionPredictor(bundle.model, bundle.tokenizer, arguments.batch_size)
    device, model = bundle.model.device, bundle.model.eval()
    chunks = [texts[i : i + arguments.chunk] for i in range(0, len(texts), arguments.chunk)]
    batches = [
        predictor.batch([requests[i] for i in numbers])
        for requests in map(predictor.requests, chunks)
        for numbers in predictor.batches(requests)
    ]
    tokens = sum(int(b["attention_mask"].sum()) for b in batches)
    padded = sum(b["input_ids"].numel() for b in batches)

    def ours():
        return sum(len(found) for part in predictor.stream(chunks) for found in part)

    @torch.inference_mode()
    def floor(encoder):
        for batch in batches:
            encoder(input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device))

    sides = {"floor": lambda: floor(encoder or model.encoder), "ours": ours}
    if encoder is not None and precision != "float32":
        sides["same"] = lambda: floor(model.encoder)
    times = _interleaved(sides, arguments, device)
    ratios = [own / below for own, below in zip(times["ours"], times["floor"], strict=True)]
    seconds, below = statistics.median(times["ours"]), statistics.median(times["floor"])
    row = {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "documents_per_second": round(len(texts) / seconds, 2),
        "tokens_per_second": round(tokens / seconds),
        "padding": round(1 - tokens / padded, 4),
        "mentions": sum(len(m) for m in predictor(texts)),
        "hours_for_36_million_abstracts": round(ABSTRACTS * seconds / len(texts) / 3600, 1),
    }
    if "same" in times:
        row["encoder_alone"] = round(statistics.median(map(ratio, times["same"], times["floor"])), 3)
        row["ratio_to_same"] = round(statistics.median(map(ratio, times["ours"], times["same"])), 3)
    return row | limit(model.config.encoder_config, batches, precision, below, device)


def limit(config, batches: list[dict], precision: str, floor: float, device) -> dict:
    """How near the machine's matrix products and memory let prediction come to nothing but them; see the file's docstring."""
    layers, hidden, inner = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    weights = layers * (4 * hidden * hidden + 2 * hidden * inner)
    operations = moved = 0
    size = {"float32": 4, "int8": 1}.get(precision, 2)
    for batch in batches:
        rows, length = batch["input_ids"].shape
        operations += 2 * rows * length * weights + 4 * layers * rows * length * length * hidden
        moved += size * (weights + layers * rows * length * (6 * hidden + 2 * inner))
    rate, speed = product_rate(2048, hidden, inner, precision, device), copy_speed(device)
    return {
        "operations": operations,
        "operations_per_second": round(rate),
        "bytes": moved,
        "bytes_per_second": round(speed),
        "limit": round(max(operations / rate, moved / speed) / floor, 3),
    }


@cache
@torch.inference_mode()
def product_rate(rows: int, inner: int, columns: int, precision: str, device) -> float:
    """Operations a second of the best of ten products (rows, inner) · (inner, columns)."""
    if precision == "int8":
        one, other = (torch.randint(-99, 99, shape, dtype=torch.int8) for shape in ((rows, inner), (columns, inner)))
        return 2 * rows * inner * columns / _best(lambda: torch._int_mm(one, other.t()), device)
    dtype = getattr(torch, precision)
    one, other = (torch.randn(shape, device=device).to(dtype) for shape in ((rows, inner), (columns, inner)))
    return 2 * rows * inner * columns / _best(lambda: torch.nn.functional.linear(one, other), device)


@cache
def copy_speed(device) -> float:
    """Bytes read and written a second, of the best of ten copies of 256 MiB."""
    values, other = torch.ones(2**26, device=device), torch.empty(2**26, device=device)
    return 2 * 2**28 / _best(lambda: other.copy_(values), device)


def _best(function, device, times: int = 10) -> float:
    function()
    return min(_timed(function, device) for _ in range(times))


def passages(documents, words: int) -> list[str]:
    """The texts one after the other, cut after every so many words separated by white space; the rest is left out."""
    text = " ".join(d.text for d in documents)
    starts = [m.start() for m in re.finditer(r"\S+", text)]
    cuts = starts[::words]
    return [text[begin:end].rstrip() for begin, end in pairwise(cuts)]


def measure_training(bundle, documents, arguments, half: bool = False) -> dict:
    """Forward, loss and backward against the encoder's forward and backward on the same batches."""
    dataset = bundle.features.build(documents)
    order = list(MixtureSampler(dataset.lengths, dataset.groups, arguments.batch_size))
    groups = [order[i : i + arguments.batch_size] for i in range(0, len(order), arguments.batch_size)]
    groups = groups[: arguments.steps]
    device, model = bundle.model.device, bundle.model.train()
    batches = [{k: v.to(device) for k, v in bundle.collator([dataset[i] for i in g]).items()} for g in groups]

    def ours():
        for batch in batches:
            model(**batch).loss.backward()
            model.zero_grad()

    def floor():
        for batch in batches:
            hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            hidden.last_hidden_state.float().square().mean().backward()
            model.zero_grad()

    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        found = _interleaved({"floor": floor, "ours": ours}, arguments, device)
    times, ratios = found["ours"], [*map(ratio, found["ours"], found["floor"])]
    tokens = sum(int(b["attention_mask"].sum()) for b in batches)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "tokens_per_second": round(tokens / statistics.median(times)),
        "padding": round(padding_share([dataset.lengths[i] for i in order], arguments.batch_size), 4),
    }


def _timed(function, device) -> float:
    """Seconds; on one thread of a CPU those that the process computed."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begin


def _interleaved(sides: dict, arguments, device) -> dict[str, list[float]]:
    """The seconds of each side, turn by turn, the order alternating, after one warm-up of each."""
    for function in sides.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.repetitions):
        for name in sorted(sides, reverse=bool(turn % 2)):
            times[name].append(_timed(sides[name], device))
    return times


def _bundle(arguments, shape: str, documents):
    space = load_label_mapping(scheme="shared").restricted_to(TEN_CORPORA)
    if arguments.model:
        return restore(arguments.model, space)
    layers, hidden, heads, intermediate = (SHAPES | TINY)[shape]
    if arguments.tokenizer:  # a real vocabulary: real numbers of tokens per word
        tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(arguments.tokenizer))
    else:
        tokenizer = load_encoder_parts(SCRATCH, (d.text for d in documents)).tokenizer
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=intermediate,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        build_encoder(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model = ModelOptions(
            family=arguments.family, encoder=folder, max_tokens=arguments.max_tokens, packing=arguments.packing
        )
        own = family(arguments.family).Options()
        if arguments.family == "span_cvae":
            own.alpha = arguments.alpha
        train = {corpus: documents if corpus == "biored" else [] for corpus in TEN_CORPORA}
        bundle = build(model, own, TrainingData(space, train))
    _bias_towards_outside(bundle, documents[:4])
    return bundle


def _bias_towards_outside(bundle, documents, share: float = 1 / 6) -> None:
    """Shifts the scores of the negative labels, or of all types where there is none, until about `share` of the text is in
    mentions, or of a transition system's actions so many open or close mentions."""
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    names = bundle.model.config.id2label
    outside = [i for i, name in names.items() if name in ("O-ALL", "SH") or name.endswith(":O")]
    sign = 1 if outside else -1
    outside = outside or list(names)
    texts = [d.text for d in documents]
    low, high = -20.0, 20.0
    for _ in range(12):
        middle = (low + high) / 2
        with torch.no_grad():
            bundle.model.classifier.bias[outside] = sign * middle
        if "SH" in names.values():
            tagged, total = _actions(bundle.model, predictor, texts)
        else:
            tagged = sum(m.end - m.start for mentions in predictor(texts) for m in mentions)
            total = sum(map(len, texts))
        if tagged > share * total:
            low = middle
        else:
            high = middle


@torch.inference_mode()
def _actions(model, predictor, texts: list[str]) -> tuple[int, int]:
    """How many of the chosen actions open or close a mention, and how many there are."""
    requests = predictor.requests(texts)
    batch = pad_batch([r.features for r in requests], predictor.padding)
    best = model.eval()(**batch).logits.argmax(2)
    return int((best > EOA).sum()), int((best != EOA).sum())


def _documents(arguments):
    if arguments.data_dir:
        documents = load_corpus("biored", data_dir=arguments.data_dir, splits=["test"])["test"]
    else:
        documents = [replace(d, corpus="biored") for d in load_demo_corpora()["demo_all"]["train"]]
    return documents[: arguments.limit]


def _arguments(argv: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="aioner", help="model family of the random weights")
    parser.add_argument("--alpha", type=float, default=1e-4, help="span_cvae: weight of the CVAE's loss in training")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES | TINY))
    parser.add_argument("--model", help="a trained model instead of random weights (name the one shape it has)")
    parser.add_argument("--tokenizer", help="tokenizer of the random models; default: one learnt from the texts")
    parser.add_argument("--data_dir", help="corpora folder: measure on the BioRED test set")
    parser.add_argument("--words", type=int, nargs="+", help="predict passages of so many words instead of documents")
    parser.add_argument(
        "--packing", default="packed", choices=("packed", "single"), help="windows of the random models"
    )
    parser.add_argument("--limit", type=int, default=48, help="documents")
    parser.add_argument("--chunk", type=int, default=64, help="documents predicted together")
    parser.add_argument("--batch_size", type=int, default=16, help="windows per batch")
    parser.add_argument("--max_tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3, help="training batches per repetition")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precisions", nargs="+", default=["float32"], choices=("float32", "bfloat16", "float16", "int8")
    )
    parser.add_argument("--no_training", action="store_true", help="measure prediction only")
    parser.add_argument("--output", help="write the report as JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
