"""A model goes to a hub and comes back. The hub is a server of this test that speaks its protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import medner

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Repositories, preupload, Git LFS, commits, and `resolve`."""

    objects: dict[str, bytes] = {}
    files: dict[str, bytes] = {}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self) -> None:
        self.objects[self.path.removeprefix("/store/")] = self.body()
        self.answer(b"")

    def do_POST(self) -> None:
        body = self.body()
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(b"", 401)
        if self.path == "/api/repos/create":
            return self.answer(b"{}")
        if self.path == "/api/models/me/mine/preupload/main":
            modes = [
                {"path": file["path"], "uploadMode": "lfs" if file["size"] > 100_000 else "regular"}
                for file in json.loads(body)["files"]
            ]
            return self.answer(json.dumps({"files": modes}).encode())
        if self.path == "/me/mine.git/info/lfs/objects/batch":
            host = self.headers["Host"]
            objects = [
                {**item, "actions": {"upload": {"href": f"http://{host}/store/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self.answer(json.dumps({"objects": objects}).encode())
        assert self.path == "/api/models/me/mine/commit/main", self.path
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
        return self.answer(json.dumps({"commitOid": COMMIT}).encode())

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if not self.path.startswith("/me/mine/resolve/") or name not in self.files:
            return self.answer(b"", 404, X_Error_Code="EntryNotFound")
        content = self.files[name]
        etag = hashlib.sha256(content).hexdigest()
        self.answer(content, X_Repo_Commit=COMMIT, ETag=f'"{etag}"')

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path), "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield address
    server.shutdown()


def test_a_pushed_model_is_loaded_back(hub: str, folder: str, model: medner.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert medner.push(folder, "me/mine", private=True) == f"{hub}/me/mine"
    assert b"## Scores" in Hub.files["README.md"]
    text = "Naloxone reverses the effect of clonidine."
    with medner.load("me/mine") as back:
        assert [(m.start, m.type, m.confidence) for m in back(text)] == [
            (m.start, m.type, m.confidence) for m in model(text)
        ]
    with pytest.raises(medner.ModelError, match="me/other.* sought on the hub"):
        medner.load("me/other")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(medner.CommandError, match="set HF_TOKEN"):
        medner.push(folder, "me/mine")
