"""A service outside of ours: each effect asked of it is applied and written down.

    python -m tests.acceptance.effect_server LOG

It prints its URL. `POST /NAME` applies the effect NAME. With an Idempotency-Key it applies a key
once, as such services do, and answers a repeated attempt as it answered the first. Every attempt is
a line in LOG, on the disk before it is answered.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

#: How long an answer takes once the effect is applied, in seconds: there a kill hurts most.
ANSWER_S = 0.01


class Attempt(msgspec.Struct):
    """A line of the log."""

    effect: str
    key: str | None
    #: The process id that the client gave.
    process_id: int
    applied: bool


class EffectServer(ThreadingHTTPServer):
    """Applies effects, one at a time, and remembers the keys that it has applied."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._log = log.open("ab", buffering=0)
        self._turn = threading.Lock()
        self._applied: set[str] = set()

    def apply(self, effect: str, key: str | None, process_id: int) -> bool:
        """Apply an effect unless its key has been applied. Returns whether it was."""
        with self._turn:
            applied = key is None or key not in self._applied
            if key is not None:
                self._applied.add(key)
            line = msgspec.json.encode(Attempt(effect, key, process_id, applied))
            self._log.write(line + b"\n")
            os.fsync(self._log.fileno())
        return applied


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: Or the head would wait for the body's acknowledgement.
    disable_nagle_algorithm = True
    server: EffectServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        effect, process_id = self.path.removeprefix("/"), int(self.headers["Process-Id"])
        self.server.apply(effect, self.headers.get("Idempotency-Key"), process_id)
        time.sleep(ANSWER_S)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The log is the other one."""

    def handle(self) -> None:
        """A client that is killed in mid-request is what this server is for."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True


def main() -> None:
    server = EffectServer(Path(sys.argv[1]))
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
