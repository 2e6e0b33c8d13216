"""A hub of one dataset repository on this machine, as far as huggingface_hub asks it when it uploads a folder."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_a_token_that_nobody_may_see"


@dataclass
class Hub:
    """What it holds: the files of the last commit, and who may write.

    Attributes:
        refuses: HTTP status with which it answers commits; None takes them.
    """

    address: str = ""
    private: bool | None = None
    refuses: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            url, wanted = {"url": f"{self.address}/datasets/me/quick"}, json.loads(body)
            if self.private is not None:
                return 409, {"error": "You already created this dataset repo", **url}
            self.private = bool(wanted.get("private", wanted.get("visibility") == "private"))
            return 200, url
        if path in ("/api/datasets/me/quick", "/api/datasets/me/quick/revision/main"):
            siblings = [{"rfilename": name} for name in sorted(self.files)]
            return 200, {"id": "me/quick", "private": self.private, "sha": "0" * 40, "siblings": siblings}
        if path.startswith("/api/datasets/me/quick/tree/"):
            return 200, [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in self.files.items()]
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/datasets/me/quick/preupload/main":
            asked = json.loads(body)["files"]
            return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
        if path == "/api/datasets/me/quick/commit/main":
            if self.refuses:
                return self.refuses, {"error": "you may not"}
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            self.commits += 1
            url = f"{self.address}/datasets/me/quick/commit/{self.commits:040d}"
            return 200, {"success": True, "commitUrl": url, "commitOid": f"{self.commits:040d}"}
        return 404, {"error": f"{method} {path} is not known here"}


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve one until the block ends."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            size = self.headers.get("Content-Length")
            body = self.rfile.read(int(size)) if size else self._chunks()
            state.asked.append(f"{self.command} {self.path}")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, found = 401, {"error": "Invalid username or password."}
            else:
                status, found = state.answer(self.command, self.path, body)
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _chunks(self) -> bytes:
            found = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            return found

        do_GET = do_POST = do_HEAD = _do

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()
