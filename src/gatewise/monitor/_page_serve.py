"""Serves the live page to this machine alone: the page, and the numbers as `status.json`."""

import base64
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._page import page
from ._status import StatusSettings
from ._status_follow import Follower

HOST = "127.0.0.1"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class PageServer(ThreadingHTTPServer):
    """One folder's page on a port of this machine. It looks at the folder at most every `every_s` seconds.

    Raises:
        GatewiseError: no such folder; a port that is taken.
    """

    daemon_threads = True

    def __init__(self, folder: Path, settings: StatusSettings, *, port: int, every_s: float) -> None:
        self._follower = Follower(folder, settings)
        self._every_s = every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, dict[str, Any]] | None = None
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise GatewiseError(f"port {port} cannot be used: {error.strerror}\nanother one: --serve 0") from error

    def document(self) -> dict[str, Any]:
        """The status, not older than `every_s`."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] >= self._every_s:
                self._seen = time.monotonic(), self._follower.document()
            return self._seen[1]

    def forget(self) -> None:
        """Look again at the next request."""
        with self._lock:
            self._seen = None

    def html(self) -> str:
        """The page, which renews itself."""
        return page(self.document(), refresh_s=max(1, round(self._every_s)))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of two paths; everything else is refused."""

    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version = "gatewise"
    sys_version = ""
    timeout = 10.0

    def do_GET(self) -> None:
        # A page of somebody else's that points a name of its own at this machine must not read the numbers.
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if host not in (HOST, "localhost"):
            self._answer(403, "text/plain", "ask for 127.0.0.1 or localhost\n")
            return
        path = self.path.partition("?")[0]
        if path not in ("/", "/status.json"):
            self._answer(404, "text/plain", "here are / and /status.json\n")
            return
        try:
            if path == "/":
                self._answer(200, "text/html", self.server.html())
            else:
                self._answer(200, "application/json", json.dumps(self.server.document(), allow_nan=False))
        except GatewiseError as error:
            self._answer(500, "text/plain", f"{error}\n")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        allowed = "".join(f" 'sha256-{_digest(each)}'" for each in _SCRIPT.findall(text)) if kind == "text/html" else ""
        script = f"script-src{allowed}; connect-src 'self'; " if allowed else ""
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy", f"default-src 'none'; {script}style-src 'unsafe-inline'; img-src data:"
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: who looks at a page is not worth a line."""


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def serve_page(folder: Path, settings: StatusSettings, *, port: int, every_s: float = 2.0) -> int:
    """Serve the live page until Ctrl-C; 0 then."""
    with PageServer(folder, settings, port=port, every_s=every_s) as server:
        print(f"http://{HOST}:{server.port}/ (Ctrl-C ends it)", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
