"""Prediction and training step as ratios to the bare encoder on the same batches, interleaved in one process.

    python benchmarks/throughput.py                           # MiniLM and BERT-base shapes, random weights
    python benchmarks/throughput.py --family span_cvae        # training with the CVAE's loss; --alpha 0 without
    python benchmarks/throughput.py --model outputs/aioner/biored --data_dir DIR
    python benchmarks/throughput.py --model DIR --words 32 64 128 256   # prediction on passages of so many words

Quoted are medians of ratios over the repetitions; absolute times depend on the machine, ratios hardly. The floor of
prediction is the encoder's forward pass over the padded batches that prediction makes; end to end means text in, mentions in
characters out. The floor of a training step is the encoder's forward and backward pass over the batch; both sides go
without the optimizer. The labels of a random model are biased towards O until about a sixth of the text is in mentions, as in
abstracts, so that reading mentions off costs what it costs in earnest.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
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
from mosaic_ner.training.allocator import keep_freed_memory
from mosaic_ner.training.arguments import ModelOptions
from mosaic_ner.training.bundle import TrainingData, build, restore
from mosaic_ner.training.encoders import SCRATCH, load_encoder_parts
from mosaic_ner.training.families import family
from mosaic_ner.training.sampler import MixtureSampler, padding_share
from transformers import AutoTokenizer, BertConfig

SHAPES = {"minilm": (6, 384, 12, 1536), "bert-base": (12, 768, 12, 3072)}  # layers, hidden, heads, intermediate
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
        texts = {"prediction": [d.text for d in documents]}
        if arguments.words:
            texts = {f"prediction, {n} words": passages(documents, n) for n in arguments.words}
        rows = report["shapes"][shape] = {}
        for kind, part in texts.items():
            rows[kind] = measure_prediction(bundle, part, arguments)
            _print_row(shape, kind, rows[kind])
        corpus = documents[0].corpus
        if not bundle.model.knows(corpus):
            print(f"{shape} training: not measured, because the model wasn't trained on {corpus}", flush=True)
            continue
        kind = f"training, {bundle.model.config.packing}"
        rows[kind] = measure_training(bundle, documents, arguments)
        _print_row(shape, kind, rows[kind])
    report["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if device.type == "cuda":
        report["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    print(json.dumps(report, indent=1))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _print_row(shape: str, kind: str, row: dict) -> None:
    print(f"{shape} {kind}: " + ", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


def measure_prediction(bundle, texts: list[str], arguments) -> dict:
    """End-to-end prediction against the encoder's forward pass on the same batches."""
    predictor = MentionPredictor(bundle.model, bundle.tokenizer, arguments.batch_size)
    device, model = bundle.model.device, bundle.model.eval()
    chunks = [texts[i : i + arguments.chunk] for i in range(0, len(texts), arguments.chunk)]
    batches = [
        pad_batch([requests[i].features for i in numbers], predictor.padding)
        for requests in map(predictor.requests, chunks)
        for numbers in predictor.batches(requests)
    ]
    tokens = sum(int(b["attention_mask"].sum()) for b in batches)
    padded = sum(b["input_ids"].numel() for b in batches)

    def ours():
        return sum(len(found) for part in predictor.stream(chunks) for found in part)

    @torch.inference_mode()
    def floor():
        for batch in batches:
            model.encoder(input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device))

    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=arguments.bf16):
        ratios, times = _interleaved(ours, floor, arguments.repetitions, device)
        mentions = sum(len(m) for m in predictor(texts))
    seconds = statistics.median(times)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "documents_per_second": round(len(texts) / seconds, 2),
        "tokens_per_second": round(tokens / seconds),
        "padding": round(1 - tokens / padded, 4),
        "mentions": mentions,
        "hours_for_36_million_abstracts": round(ABSTRACTS * seconds / len(texts) / 3600, 1),
    }


def passages(documents, words: int) -> list[str]:
    """The texts one after the other, cut after every so many words separated by white space; the rest is left out."""
    text = " ".join(d.text for d in documents)
    starts = [m.start() for m in re.finditer(r"\S+", text)]
    cuts = starts[::words]
    return [text[begin:end].rstrip() for begin, end in pairwise(cuts)]


def measure_training(bundle, documents, arguments) -> dict:
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

    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=arguments.bf16):
        ratios, times = _interleaved(ours, floor, arguments.repetitions, device)
    tokens = sum(int(b["attention_mask"].sum()) for b in batches)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "tokens_per_second": round(tokens / statistics.median(times)),
        "padding": round(padding_share([dataset.lengths[i] for i in order], arguments.batch_size), 4),
    }


def _interleaved(ours, floor, repetitions: int, device) -> tuple[list[float], list[float]]:
    """Ratios pair by pair, the order alternating, after one warm-up of each; and our times in seconds."""

    def timed(function) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    timed(floor)
    timed(ours)
    ratios, times = [], []
    for turn in range(repetitions):
        if turn % 2:
            below, own = timed(floor), timed(ours)
        else:
            own, below = timed(ours), timed(floor)
        ratios.append(own / below)
        times.append(own)
    return ratios, times


def _bundle(arguments, shape: str, documents):
    space = load_label_mapping(scheme="shared").restricted_to(TEN_CORPORA)
    if arguments.model:
        return restore(arguments.model, space)
    layers, hidden, heads, intermediate = SHAPES[shape]
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


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="aioner", help="model family of the random weights")
    parser.add_argument("--alpha", type=float, default=1e-4, help="span_cvae: weight of the CVAE's loss in training")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
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
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--output", help="write the report as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
