"""A connection to PostgreSQL that can break between a commit and its answer."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType

_SOCKET = ".s.PGSQL.5432"


class LostAnswers:
    """Stands between a client and a server, on Unix sockets."""

    def __init__(self, conninfo: str) -> None:
        found = re.search(r"host=(\S+)", conninfo)
        assert found is not None
        self._server = Path(found[1]) / _SOCKET
        self._directory = Path(tempfile.mkdtemp(prefix="forebay-lost-"))
        self.conninfo = conninfo.replace(found[0], f"host={self._directory}")
        self.lost = 0
        self._lose = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / _SOCKET))
        self._listener.listen()

    def __enter__(self) -> LostAnswers:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._directory)

    def lose_next_commit(self) -> None:
        """Let the next COMMIT reach the server, and its answer nobody."""
        self._lose = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            committing = threading.Event()
            for target, ends in ((self._ask, (client, server)), (self._answer, (server, client))):
                threading.Thread(target=target, args=(*ends, committing), daemon=True).start()

    def _ask(
        self, client: socket.socket, server: socket.socket, committing: threading.Event
    ) -> None:
        while asked := _received(client):
            if self._lose and b"COMMIT\0" in asked:
                self._lose = False
                committing.set()
            server.sendall(asked)
        _shut(server)

    def _answer(
        self, server: socket.socket, client: socket.socket, committing: threading.Event
    ) -> None:
        while answered := _received(server):
            if committing.is_set():
                # The server has answered, so it has committed.
                self.lost += 1
                break
            client.sendall(answered)
        _shut(client)
        server.close()
        client.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65_536)
    except OSError:
        return b""


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
