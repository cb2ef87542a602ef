"""How fast others find mentions in the same abstracts: stock token classification, GLiNER and spaCy's transformer NER.

    python benchmarks/peers.py --data_dir D --tokenizer E --python gliner=G/bin/python spacy=S/bin/python --output peers.json

Every peer is a process of its own, of the Python given for it: one with `pip install gliner`, one with `pip install
'spacy[transformers]'` (first `pip install torch==2.13.0`, where the CPU's build is wanted). A peer without one is left out. All
have random weights of their published shape, which cost what trained ones do but for reading mentions off, and the tokenizer
given. They take turns; quoted are medians of CPU seconds on one thread over the repetitions, as documents a second and as a
ratio to the stock class of the same shape.

The stock pipeline reads stretches of 512 tokens with a stride, spaCy spans of 128 tokens with a stride of 96, as its trained
pipelines do. GLiNER is asked for six types; its words beyond the 384th are lost.

AIONER's own figure is quoted, not measured: 110 seconds for 100 abstracts on 24 CPU cores, as its authors write.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINILM = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
BERT_BASE = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
TYPES = ["Gene", "Disease", "Chemical", "Species", "Variant", "CellLine"]
AIONER = {"seconds": 110, "documents": 100, "cores": 24, "quoted": True}


def stock(shape: dict):
    """transformers' token classification pipeline."""

    def build(tokenizer: str, data_dir: str | None):
        from transformers import AutoModelForTokenClassification, AutoTokenizer, BertConfig, pipeline

        tokens = AutoTokenizer.from_pretrained(tokenizer, model_max_length=512)
        labels = ["O", *(f"{kind}-{name}" for name in TYPES for kind in "BI")]
        config = BertConfig(vocab_size=len(tokens), id2label=dict(enumerate(labels)), **shape)
        model = AutoModelForTokenClassification.from_config(config).eval()
        model.classifier.bias.data[0] = 1.0  # mostly O, as in abstracts
        found = pipeline("token-classification", model=model, tokenizer=tokens, device="cpu")
        return lambda texts: found(texts, aggregation_strategy="simple", stride=64, batch_size=8)

    return build


def gliner(layers: int):
    """GLiNER's span model on DeBERTa v3, small (6 layers) or base (12)."""

    def build(tokenizer: str, data_dir: str | None):
        from gliner import GLiNER, GLiNERConfig

        shape = {"num_hidden_layers": layers, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
        relative = {"relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm"}
        relative |= {"share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
        encoder = {"model_type": "deberta-v2", "vocab_size": 128100, "type_vocab_size": 0, **shape, **relative}
        model = GLiNER.from_config(
            GLiNERConfig(model_name=tokenizer, encoder_config=encoder), backbone_from_pretrained=False
        ).eval()
        return lambda texts: model.inference(texts, TYPES, threshold=0.9, batch_size=8)

    return build


def spacy(shape: dict):
    """spaCy's transition-based recogniser on a transformer."""

    def build(tokenizer: str, data_dir: str | None):
        import spacy
        from spacy.training import Example
        from transformers import AutoModel, AutoTokenizer, BertConfig

        folder = tempfile.mkdtemp()
        tokens = AutoTokenizer.from_pretrained(tokenizer, model_max_length=512)
        AutoModel.from_config(BertConfig(vocab_size=len(tokens), **shape)).save_pretrained(folder)
        tokens.save_pretrained(folder)
        nlp = spacy.blank("en")
        spans = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 128, "stride": 96}
        model = {"@architectures": "spacy-transformers.TransformerModel.v3", "name": folder, "get_spans": spans}
        nlp.add_pipe("transformer", config={"model": model})
        listener = {"@architectures": "spacy-transformers.TransformerListener.v1", "grad_factor": 1.0}
        listener["pooling"] = {"@layers": "reduce_mean.v1"}
        parser = {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner", "extra_state_tokens": False}
        parser |= {"hidden_width": 64, "maxout_pieces": 2, "use_upper": False, "tok2vec": listener}
        nlp.add_pipe("ner", config={"model": parser})
        gold = {"entities": [(0, 1, name) for name in TYPES[:1]]}
        examples = [Example.from_dict(nlp.make_doc("A b c."), gold)]
        for name in TYPES:
            nlp.get_pipe("ner").add_label(name)
        nlp.initialize(lambda: examples)
        return lambda texts: [doc.ents for doc in nlp.pipe(texts, batch_size=8)]

    return build


def mosaic(shape: str, precision: str):
    """This package's AIONER, asked for the six types in one pass, as the model in the box is."""

    def build(tokenizer: str, data_dir: str | None):
        import throughput
        from mosaic_ner.data_builders.builder import load_corpus
        from mosaic_ner.modeling.inference import MentionPredictor
        from mosaic_ner.prediction.precision import prepare

        arguments = throughput._arguments(["--shapes", shape, "--tokenizer", tokenizer])
        documents = load_corpus("biored", data_dir=data_dir, splits=["test"])["test"]
        bundle = throughput._bundle(arguments, shape, documents)
        prepare(bundle.model.eval(), precision)
        predictor = MentionPredictor(bundle.model, bundle.tokenizer)
        return lambda texts: predictor(texts, bundle.model.tasks_for("biored"))

    return build


PEERS = {
    "stock minilm": ("own", stock(MINILM)),
    "stock bert-base": ("own", stock(BERT_BASE)),
    **{f"mosaic-ner minilm {p}": ("own", mosaic("minilm", p)) for p in ("float32", "bfloat16", "int8")},
    **{f"mosaic-ner bert-base {p}": ("own", mosaic("bert-base", p)) for p in ("float32", "bfloat16", "int8")},
    "gliner small": ("gliner", gliner(6)),
    "gliner base": ("gliner", gliner(12)),
    "spacy bert-base": ("spacy", spacy(BERT_BASE)),
}
"""Name → whose Python runs it, and what builds it: tokenizer, corpora folder → a function of texts."""


def serve(name: str, tokenizer: str, texts: list[str], data_dir: str | None = None) -> None:
    """A peer's process: a line on standard input, one pass over the texts, its CPU seconds on standard output."""
    import torch

    torch.set_num_threads(1)
    answer, sys.stdout = sys.stdout, sys.stderr
    with torch.inference_mode():
        predict = PEERS[name][1](tokenizer, data_dir)
        predict(texts)
        for _ in iter(sys.stdin.readline, ""):
            begin = time.process_time()
            predict(texts)
            answer.write(f"{time.process_time() - begin}\n")
            answer.flush()


def main(argv: list[str] | None = None) -> dict:
    """Command line; returns the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="corpora folder; without it BioRED is downloaded")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer with a vocabulary of English")
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PYTHON", help="of gliner, spacy")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--limit", type=int, default=8, help="abstracts")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", help="write the report as JSON")
    parser.add_argument("--page", type=Path, help="Markdown file with the marks <!-- peers -->, whose table is written")
    options = parser.parse_args(argv)
    from mosaic_ner.data_builders.builder import load_corpus
    from mosaic_ner.training.results import versions, write_json

    pythons = {"own": sys.executable} | dict(pair.split("=", 1) for pair in options.python)
    documents = load_corpus("biored", data_dir=options.data_dir, splits=["test"])["test"][: options.limit]
    texts = json.dumps([d.text for d in documents])
    report = {"versions": versions(), "documents": len(documents), "threads": 1, "repetitions": options.repetitions}
    report |= {"aioner": AIONER, "peers": {}, "left_out": []}
    running, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(texts, encoding="utf-8")
        for name in options.peers:
            if PEERS[name][0] not in pythons:
                report["left_out"].append(name)
                continue
            command = [pythons[PEERS[name][0]], __file__, "--serve", name, options.tokenizer, str(file)]
            command += [options.data_dir] if options.data_dir else []
            running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            seconds[name] = []
        for turn in range(options.repetitions):
            for name in sorted(running, reverse=bool(turn % 2)):
                running[name].stdin.write("go\n")
                running[name].stdin.flush()
                line = running[name].stdout.readline()
                if not line:
                    raise SystemExit(f"{name} failed; what it said is above")
                seconds[name].append(float(line))
        for process in running.values():
            process.stdin.close()
            process.wait()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        floor = medians.get("stock minilm" if "minilm" in name else "stock bert-base")
        row = {"seconds": round(median, 3), "all": [round(value, 3) for value in seconds[name]]}
        row |= {"documents_per_second": round(len(documents) / median, 2)}
        report["peers"][name] = row | ({"ratio_to_stock": round(median / floor, 3)} if floor else {})
    print(json.dumps(report, indent=1))
    if options.output:
        write_json(Path(options.output), report)
    if options.page:
        from mosaic_ner.data_builders.markdown import between

        page = between(options.page.read_text(encoding="utf-8"), "peers", table(report))
        options.page.write_text(page, encoding="utf-8")
    return report


def table(report: dict) -> str:
    """A row a peer, the fastest first."""
    from mosaic_ner.data_builders.markdown import markdown_table

    peers = sorted(report["peers"].items(), key=lambda item: item[1]["seconds"])
    rows = [[name, f"{p['documents_per_second']:.2f}", f"{p.get('ratio_to_stock', math.nan):.3f}"] for name, p in peers]
    return markdown_table(["peer", "abstracts a second", "time as a ratio to the stock class of its shape"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], json.loads(Path(sys.argv[4]).read_text(encoding="utf-8")), *sys.argv[5:])
    else:
        main()
