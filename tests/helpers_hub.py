"""What the tests of hub/ share: commands that fail, contents of folders, a machine without this package, and a stand-in for
the Hub's HTTP interface on 127.0.0.1, which keeps what it gets, and fails when told to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest

WITHOUT_PACKAGE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mosaic_ner", "run_ner"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Blocker())
"""
"""Begins a program that runs where this package isn't."""
TOKEN = "hf_" + "T0ken" * 7
PART = 1 << 20
"""Bytes of a part where a file is sent in parts."""


def fails(capsys, command, *argv) -> str:
    """The one message that a wrong command line of a module of hub/ ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command.main([str(a) for a in argv])
    assert stop.value.code == 2
    written = capsys.readouterr().err
    assert "Traceback" not in written
    assert written.count(": error: ") == 1
    return written


def contents(folder: Path) -> dict[str, bytes]:
    """Path in the folder → content, of all files."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def go_online(monkeypatch, url: str | None = None) -> None:
    """As on a user's machine with the network and a token, but without the pauses between attempts.

    Args:
        url: the stand-in's, where it isn't given as an argument.
    """
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # The Xet protocol can't be had from a stand-in; without it huggingface_hub sends large files by Git LFS.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    if url is not None:
        monkeypatch.setattr(constants, "ENDPOINT", url)


def git_hash(content: bytes) -> str:
    """The name of a content in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubStub(ThreadingHTTPServer):
    """One Hub.

    Attributes:
        repos: "model:owner/name" → {"private", "branches": {branch: {path: content}}, "commits": messages, "sdk"}.
        blobs: sha256 → content of large files.
        requests: (kind of request, what it was for), in order; kinds: create, info, branch, tree, preupload, batch, put, part,
            complete, yaml, commit.
        failures: kind → statuses to answer its next requests with, before any is served; the last one stays if it is followed
            by None.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict] = {}
        self.blobs: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.failures: dict[str, list[int | None]] = {}
        self.lose_answers = 0
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, kind: str) -> int:
        """How many requests of a kind there were."""
        return Counter(k for k, _ in self.requests)[kind]

    def add(self, repo_id: str, kind: str = "model", private: bool = False, **files: bytes) -> None:
        """Makes a repository as if somebody had before."""
        self.repos[f"{kind}:{repo_id}"] = {"private": private, "branches": {"main": files}, "commits": [], "sdk": None}


@contextlib.contextmanager
def hub_stub():
    """A running stub."""
    server = HubStub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubStub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _answer(self, status: int, content=None, **headers) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refused(self, kind: str, about: str = "") -> bool:
        """Notes a request; whether it was answered with a failure."""
        server = self.server
        server.requests.append((kind, about))
        if kind not in ("put", "part"):
            server.tokens.add(self.headers.get("Authorization"))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}" and kind != "complete":
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
                return True
        waiting = server.failures.get(kind) or []
        if not waiting:
            return False
        status = waiting[0] if waiting[1:] == [None] else waiting.pop(0)
        self._answer(status, {"error": f"stub says {status} to {kind}"})
        return True

    def _repo(self, kind: str, repo_id: str) -> dict | None:
        repo = self.server.repos.get(f"{kind.rstrip('s')}:{repo_id}")
        if repo is None:
            self._answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        return repo

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/tree/(.+?)/?", path):
            if self._refused("tree", found[2]) or (repo := self._repo(found[1], found[2])) is None:
                return
            files = repo["branches"].get(found[3])
            if files is None:
                return self._answer(404, {"error": "no such branch"}, **{"X-Error-Code": "RevisionNotFound"})
            rows = [{"type": "file", "path": p, "size": len(c), "oid": git_hash(c)} for p, c in files.items()]
            return self._answer(200, rows)
        found = re.fullmatch(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        if not found:
            return self._answer(404, {"error": f"stub: GET {path}"})
        if self._refused("info", found[2]) or (repo := self._repo(found[1], found[2])) is None:
            return None
        info = {"id": found[2], "private": repo["private"], "sha": "0" * 40, "tags": [], "siblings": []}
        return self._answer(200, info)

    def do_POST(self):
        path, body, server = unquote(urlsplit(self.path).path), self._body(), self.server
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            if self._refused("create", name):
                return None
            key = f"{asked.get('type') or 'model'}:{name}"
            if key in server.repos:
                return self._answer(409, {"error": "You already created this repo", "url": f"{server.url}/{name}"})
            server.add(name, asked.get("type") or "model")
            server.repos[key]["private"] = asked.get("visibility") == "private" or bool(asked.get("private"))
            server.repos[key]["sdk"] = asked.get("sdk")
            return self._answer(200, {"url": f"{server.url}/{name}"})
        if path == "/api/validate-yaml":
            return None if self._refused("yaml") else self._answer(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/(?:datasets/|spaces/)?[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            return None if self._refused("batch") else self._batch(json.loads(body))
        if found := re.fullmatch(r"/complete/(\w+)", path):
            return None if self._refused("complete", found[1]) else self._complete(found[1], json.loads(body))
        found = re.fullmatch(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)/(branch|preupload|commit)/(.+)", path)
        if not found:
            return self._answer(404, {"error": f"stub: POST {path}"})
        kind, repo_id, action, branch = found.groups()
        if self._refused(action, branch) or (repo := self._repo(kind, repo_id)) is None:
            return None
        if action == "branch":
            if branch in repo["branches"]:
                return self._answer(409, {"error": "Reference already exists"})
            repo["branches"][branch] = dict(repo["branches"]["main"])
            return self._answer(201, {})
        if branch not in repo["branches"]:
            return self._answer(404, {"error": "no such branch"}, **{"X-Error-Code": "RevisionNotFound"})
        files = repo["branches"][branch]
        return self._modes(files, json.loads(body)) if action == "preupload" else self._commit(repo, files, body)

    def _modes(self, files: dict[str, bytes], asked: dict) -> None:
        rows = []
        for file in asked["files"]:
            large = file["path"].endswith((".safetensors", ".parquet"))
            content = files.get(file["path"])
            oid = None if content is None else (hashlib.sha256(content).hexdigest() if large else git_hash(content))
            row = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            rows.append(row | ({"oid": oid} if oid else {}))
        self._answer(200, {"files": rows})

    def _batch(self, asked: dict) -> None:
        rows = []
        for wanted in asked["objects"]:
            row = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.blobs:
                url = self.server.url
                upload = {"href": f"{url}/put/{wanted['oid']}"}
                if wanted["size"] > PART:
                    numbers = range(1, -(-wanted["size"] // PART) + 1)
                    header = {str(n): f"{url}/part/{wanted['oid']}/{n}" for n in numbers}
                    upload = {"href": f"{url}/complete/{wanted['oid']}", "header": header | {"chunk_size": str(PART)}}
                row["actions"] = {"upload": upload}
            rows.append(row)
        self._answer(200, {"transfer": "basic", "objects": rows})

    def do_PUT(self):
        path, body = urlsplit(self.path).path, self._body()
        if found := re.fullmatch(r"/put/(\w+)", path):
            if not self._refused("put", found[1]):
                if hashlib.sha256(body).hexdigest() != found[1]:
                    return self._answer(400, {"error": "another content than was announced"})
                self.server.blobs[found[1]] = body
                self._answer(200)
        elif (found := re.fullmatch(r"/part/(\w+)/(\d+)", path)) and not self._refused("part", path):
            self.server.parts[found[1], int(found[2])] = body
            self._answer(200, None, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        return None

    def _complete(self, oid: str, asked: dict) -> None:
        content = b"".join(self.server.parts[oid, part["partNumber"]] for part in asked["parts"])
        if hashlib.sha256(content).hexdigest() != oid:
            return self._answer(400, {"error": "the parts make another content"})
        self.server.blobs[oid] = content
        return self._answer(200, {})

    def _commit(self, repo: dict, files: dict[str, bytes], body: bytes) -> None:
        fresh = dict(files)
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "header":
                repo["commits"].append(value["summary"])
            elif row["key"] == "file":
                fresh[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                if value["oid"] not in self.server.blobs:
                    return self._answer(400, {"error": f"no content for {value['path']}"})
                fresh[value["path"]] = self.server.blobs[value["oid"]]
            elif row["key"] == "deletedFile" and fresh.pop(value["path"], None) is None:
                return self._answer(404, {"error": f"{value['path']} isn't there"})
        files.clear()
        files.update(fresh)
        if self.server.lose_answers:
            self.server.lose_answers -= 1
            return self._answer(502, {"error": "the answer got lost"})
        return self._answer(200, {"commitUrl": f"{self.server.url}/lab/name/commit/{'1' * 40}", "commitOid": "1" * 40})
