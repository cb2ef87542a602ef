"""The demo page and the endpoint's handler with several clients at once, on this computer's own network.

    python benchmarks/clients.py --model outputs/mine --input abstracts.pubtator --output clients.json --page README.md

Each client sends one request after the other. Every answer is compared with the one that its text gets alone. The handler
stands behind a small HTTP server that answers as the endpoint's toolkit does: what the handler raises is status 400. Beside
that: one text of a million characters, and requests that are malformed. The page's table stands between <!-- clients --> and
<!-- /clients -->.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import logging
import os
import platform
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from gradio_client import Client
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.data_builders.markdown import between, markdown_table
from mosaic_ner.hub.space import app
from mosaic_ner.modeling.handler import EndpointHandler

CLIENTS = (1, 8, 32)
LARGE = 1_000_000  # characters
MALFORMED = [
    b"", b"{", b"[]", b"null", b'"text"', b'{"input": "x"}', b'{"inputs": 1}', b'{"inputs": []}', b'{"inputs": ["a", null]}',
    b'{"inputs": "x", "parameters": []}', b'{"inputs": "x", "parameters": {"threshold": 2}}', b'{"inputs": "x", "more": 1}',
    b'{"inputs": "x", "parameters": {"corpus": "none"}}', b'\xff\xfe{"inputs": "x"}', b"[" * 100_000,
]  # fmt: skip


class Server(ThreadingHTTPServer):
    """A handler behind HTTP, a thread a connection."""

    daemon_threads, request_queue_size = True, 64

    def __init__(self, handler: Callable[[dict], list]):
        self.handler = handler
        super().__init__(("127.0.0.1", 0), _Request)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = 200, self.server.handler(json.loads(body))
        except (ValueError, RecursionError) as error:
            status, answer = 400, {"error": str(error)}
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments) -> None:
        """Nothing: texts are not logged."""


def post(port: int, body: bytes) -> tuple[int, object]:
    """Status and answer of a request to a `Server`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def at_once(
    ask: Callable[[int, str], tuple[int, object]], texts: list[str], expected: list, clients: int, most: float
) -> dict:
    """Sends each text once, by so many clients, for at most so many seconds; latencies are of the requests that were sent.

    Args:
        ask: number of the client, text → status, answer.
    """
    waiting, lock = iter(enumerate(texts)), threading.Lock()
    seconds, statuses, wrong, begin = [], Counter(), 0, time.perf_counter()

    def client(number: int) -> None:
        nonlocal wrong
        while time.perf_counter() - begin < most:
            with lock:
                which, text = next(waiting, (None, None))
            if which is None:
                return
            start = time.perf_counter()
            status, answer = ask(number, text)
            with lock:
                seconds.append(time.perf_counter() - start)
                statuses[str(status)] += 1
                wrong += answer != expected[which]

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    whole, ordered = time.perf_counter() - begin, sorted(seconds)
    return {
        "clients": clients, "requests": len(seconds), "statuses": dict(statuses), "wrong answers": wrong,
        "requests per second": round(len(seconds) / whole, 2),
        **{f"latency {p}%, s": round(ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 3) for p in (50, 95, 100)},
    }  # fmt: skip


def measure_handler(
    handler: EndpointHandler, texts: list[str], most: float, clients=CLIENTS, large: int = LARGE
) -> dict:
    """The handler behind HTTP."""
    expected = [handler({"inputs": text}) for text in texts]
    server = Server(handler)
    try:
        port = server.server_address[1]
        rows = [
            at_once(lambda _, text: post(port, json.dumps({"inputs": text}).encode()), texts, expected, n, most)
            for n in clients
        ]
        joined = " ".join(
            itertools.islice(itertools.cycle(texts), large // max(len(" ".join(texts)), 1) * len(texts) + len(texts))
        )
        start = time.perf_counter()
        status, answer = post(port, json.dumps({"inputs": joined[:large]}).encode())
        found = {
            "characters": large,
            "status": status,
            "mentions": len(answer),
            "last mention ends at": answer[-1]["end"],
        }
        found["seconds"] = round(time.perf_counter() - start, 1)
        statuses = Counter(str(post(port, body)[0]) for body in MALFORMED)
        after = post(port, json.dumps({"inputs": texts[0]}).encode()) == (200, expected[0])
    finally:
        server.shutdown()
        server.server_close()
    return {"at once": rows, "one long text": found, "malformed": dict(statuses), "answers afterwards": after}


def measure_page(model: str, texts: list[str], most: float, clients=CLIENTS) -> dict:
    """The page, asked as its visitors' programs would; answers carry HTML."""
    page = app.build_page([model])
    _, url, _ = app.serve(page, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        label = app.Taggers([model]).labels[0]
        visitors = [Client(url, verbose=False) for _ in range(max(clients))]

        def ask(number: int, text: str) -> tuple[int, object]:
            return 200, visitors[number].predict(text, label, "", 0.0, api_name="/find_mentions")

        expected = [ask(0, text)[1] for text in texts]
        rows = [at_once(ask, texts, expected, n, most) for n in clients]
        refused = [ask(0, text)[1] for text in ("", "x" * LARGE)]
        told = all(re.search('role="alert"', html) for html in refused)
        after = ask(0, texts[0])[1] == expected[0]
    finally:
        page.close(verbose=False)
    return {"at once": rows, "empty and too long texts are told": told, "answers afterwards": after}


def table(report: dict) -> str:
    """Requests a second and latencies, a row for each number of clients."""
    header, latencies = ["clients"], [f"latency {p}%, s" for p in (50, 95, 100)]
    for what in ("handler", "page"):
        header += [f"{what}: requests a second", "latency, median / 95% / longest, s"]
    cells = [
        [str(rows[0]["clients"])]
        + [
            cell
            for row in rows
            for cell in (row["requests per second"], " / ".join(f"{row[name]:.2f}" for name in latencies))
        ]
        for rows in zip(report["handler"]["at once"], report["page"]["at once"], strict=True)
    ]
    return markdown_table(header, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a published model")
    parser.add_argument("--input", required=True, type=Path, help="file with documents")
    parser.add_argument("--requests", type=int, default=64, help="documents, each a request (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=30, help="the longest that one row may take (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="page whose table is written")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp())
    texts = [
        d.text for d in itertools.islice(read_documents(options.input, policy="lenient", gold=False), options.requests)
    ]
    report = {
        "documents": len(texts), "characters": sum(map(len, texts)), "threads of torch": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(), "torch": torch.__version__,
        "handler": measure_handler(EndpointHandler(options.model), texts, options.seconds),
        "page": measure_page(options.model, texts, options.seconds),
    }  # fmt: skip
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    if options.page:
        page = between(options.page.read_text(encoding="utf-8"), "clients", table(report))
        options.page.write_text(page, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
