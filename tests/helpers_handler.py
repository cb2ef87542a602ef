"""What the tests of modeling/handler.py are made of: a server like an inference endpoint's, and folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from mosaic_ner.modeling import handler
from transformers import BertConfig, BertForTokenClassification

HANDLER = Path(handler.__file__)

SERVER = """
import importlib.util
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

def load(folder):
    # as the toolkit does
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", Path(folder) / "handler.py")
    sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler.EndpointHandler"] = module
    spec.loader.exec_module(module)
    sys.path.remove(folder)
    return module.EndpointHandler(folder)

handlers = {"/" + Path(folder).name: load(folder) for folder in sys.argv[1:]}

class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, content):
        body = json.dumps(content, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        model = handlers[self.path].pipeline.model
        self.answer(200, {"class": type(model).__name__, "dtype": str(model.dtype), "device": model.device.type})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            data = json.loads(body)
            if "inputs" not in data:
                raise ValueError("Body needs to provide a inputs key")
            self.answer(200, handlers[self.path](data))
        except Exception as error:
            self.answer(400, {"error": str(error)})

    def log_message(self, *arguments):
        pass

with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def publish(folder: Path) -> Path:
    shutil.copyfile(HANDLER, folder / "handler.py")
    return folder


def stock_model(folder: Path, tokenizer) -> Path:
    """A model of transformers' own class that has learnt nothing, as an export would save it; 64 tokens at most."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, id2label=dict(enumerate(["O", "B-Gene", "I-Gene", "B-Disease", "I-Disease"])),
    )  # fmt: skip
    model = BertForTokenClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 64}))
    return publish(folder)
