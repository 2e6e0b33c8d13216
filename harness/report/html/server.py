"""The report on this machine's own web address, made anew at every visit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.errors import HarnessError, UserError

_HOST = "127.0.0.1"


class ReportServer(ThreadingHTTPServer):
    """Answers ``/`` with what ``make`` returns, and nothing else; only this machine can reach it.

    Args:
        make: the page's HTML, called at every visit.
        port: 0 for any free one.

    Raises:
        UserError: if the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, make: Callable[[], str], port: int) -> None:
        self.make = make
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise UserError(
                f"cannot listen on port {port}: {error.strerror}. Give another one with --port, or 0 for any free one."
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that leaves before the page is sent is no error; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "harness", ""

    def do_GET(self) -> None:
        """Send the page. The host must be this one's name: another site's name that leads here gets nothing."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (_HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path.partition("?")[0] != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            try:
                self._send(HTTPStatus.OK, "text/html", self.server.make())
            except HarnessError as error:
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n")

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode("utf8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the terminal shows the address and stays readable."""
