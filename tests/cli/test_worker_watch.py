"""`forebay worker watch`: what it shows, in a pipe and in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from rich.console import Console

from forebay.cli.worker.picture import picture
from forebay.cli.worker.watch import base_url
from forebay.errors import SettingsError
from forebay.observability.view import ProcessState, WorkersView
from forebay.worker.snapshot import PoolSnapshot
from tests.cli.conftest import Run
from tests.runtime.snapshots import buffer, decision, ledger, process, queue, view, worker

BUSY = PoolSnapshot(target=4, busy=3, least=1, most=8)


def seen(acked: int = 0, at_ms: int = 1_700_000_000_000) -> WorkersView:
    orders = queue(age_s=90.0, ledger=ledger(received=acked + 5, acked=acked, in_hand=5))
    one = worker(
        orders,
        queue("mail", 1, trouble="No SQS answers"),
        processors=BUSY,
        buffers=[buffer(size=2), buffer(1, size=8)],
        decisions=[decision()],
        held_back={"database": "no connection is free"},
        hanging=1,
    )
    dead = process(number=2, state=ProcessState.DEAD, died="SIGKILL", deaths=3)
    dead.snapshot = None
    return view(process(one), dead, at_ms=at_ms)


def drawn(width: int, height: int = 40) -> str:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(picture(seen(), seen(acked=300, at_ms=1_700_000_002_000), "http://x"))
    return capture.get()


def test_the_picture_shows_all_of_it() -> None:
    lines = [" ".join(line.split()) for line in drawn(120).splitlines()]
    assert lines[0] == "http://x 1 working 2 dead (died 3×)"
    assert "orders high 7 5 1.5 min 1 150 150 0" in lines
    assert any(line.startswith("buffer high █████") and line.endswith(" 2 of 8") for line in lines)
    assert any(line.endswith("3 of 4 (1 to 8)") for line in lines)
    assert any("process 1: processors 4 → 8: the backlog grows" in line for line in lines)
    assert "Process 1: mail: No SQS answers" in lines
    assert "Process 1: database holds back receives: no connection is free." in lines
    assert "Process 1: 1 handlers go on though their time is over." in lines
    assert any("Process 2 has died (SIGKILL)" in line for line in lines)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_the_picture_fits_every_terminal(width: int) -> None:
    assert all(len(line) <= width for line in drawn(width).splitlines())


@contextmanager
def answering(*bodies: bytes) -> Iterator[str]:
    """The URL of a port whose answers these are, the last one again and again."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_in_a_pipe_it_prints_lines_and_each_decision_once(run: Run) -> None:
    encode = msgspec.json.encode
    bodies = [encode(seen()), encode(seen(acked=300, at_ms=1_700_000_002_000))]
    with answering(*bodies) as url:
        ended = run("worker", "watch", url, "--every", "0.1", "--seconds", "0.15")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("processors 4 → 8: the backlog grows") == 1
    assert "orders: 7 visible, 2 in flight, 5 in hand, oldest 1.5 min, 150 done/s" in ended.out
    assert "2 processes" not in ended.out
    # Nothing is known of the speed at the first look.
    assert ", ? done/s, ? failed/s" in ended.out
    assert "\x1b" not in ended.out


def test_workers_that_are_away_are_said_and_waited_for(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    ended = run(
        *("worker", "watch", "127.0.0.1:1", "--every", "0.1"),
        *("--seconds", "0.15", "--plot", str(page)),
    )
    assert ended.code == 0
    assert ended.err.count("No workers answer at http://127.0.0.1:1: ") == 2
    assert ended.out == f"Wrote {page}, 0 points.\n"
    assert "No worker was seen." in page.read_text()


def test_what_is_no_worker_is_said(run: Run) -> None:
    with answering(b"<html>") as url:
        ended = run("worker", "watch", url, "--seconds", "0")
    assert f"What answers at {url} is no `forebay worker run`." in ended.err


def test_a_plot_is_written_at_the_end(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    with answering(msgspec.json.encode(seen())) as url:
        ended = run("worker", "watch", url, "--seconds", "0", "--plot", str(page))
    assert f"Wrote {page}, 1 points." in ended.out
    assert "the backlog grows" in page.read_text()


def test_a_plot_with_no_place_is_refused_before_it_is_recorded(run: Run) -> None:
    ended = run("worker", "watch", "--plot", "/nowhere/run.html", "--seconds", "0")
    assert (ended.code, ended.out) == (2, "")
    assert "that directory does not exist" in ended.err


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("localhost:9325", "http://localhost:9325"),
        ("http://localhost:9325/health", "http://localhost:9325"),
        ("https://workers.test/", "https://workers.test"),
    ],
)
def test_a_url_is_taken_as_people_say_it(said: str, meant: str) -> None:
    assert base_url(said) == meant


@pytest.mark.parametrize("said", ["", "ftp://x", "file:///etc/passwd", "http://x:port", "://"])
def test_what_is_no_url_is_refused(said: str) -> None:
    with pytest.raises(SettingsError, match="is not a URL such as"):
        base_url(said)
