"""The one port of all processes, as probes, scrapers and strangers use it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from forebay.errors import AddressInUse, SettingsError
from forebay.observability.view import ProcessState
from forebay.supervisor.endpoint import serving
from tests.runtime.snapshots import process, view


def asked(url: str, method: str = "GET") -> tuple[int, str, str]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers["Content-Type"], refused.read().decode()


async def ask(url: str, method: str = "GET") -> tuple[int, str, str]:
    return await asyncio.to_thread(asked, url, method)


async def say(url: str, sent: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_pages_are_there_and_say_how_it_goes() -> None:
    now = view()
    async with serving(lambda: now, "127.0.0.1", 0) as url:
        status, kind, text = await ask(f"{url}/health")
        assert (status, kind, json.loads(text)["status"]) == (200, "application/json", "ok")
        now = view(process(state=ProcessState.DEAD, died="SIGSEGV"))
        status, _, text = await ask(f"{url}/health?why")
        assert status == 503
        assert "SIGSEGV" in json.loads(text)["reasons"][0]
        status, kind, text = await ask(f"{url}/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert "forebay_worker_healthy 0.0" in text
        status, _, text = await ask(f"{url}/snapshot")
        assert json.loads(text)["processes"][0]["died"] == "SIGSEGV"
        assert (await ask(f"{url}/"))[0] == 404
        assert (await ask(f"{url}/health", "POST"))[0] == 405
        assert (await ask(f"{url}/metrics", "HEAD"))[2] == ""


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\r\n\r\n", b"GET /health\r\n\r\n", b"x" * 20_000])
async def test_what_is_no_request_is_told_so(sent: bytes) -> None:
    async with serving(view, "127.0.0.1", 0) as url:
        answer = await say(url, sent)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert (await ask(f"{url}/health"))[0] == 200


async def test_a_caller_that_says_nothing_holds_up_no_stop() -> None:
    async with serving(view, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0)
    writer.close()


async def test_another_address_may_be_an_ipv6_one() -> None:
    async with serving(view, "::1", 0) as url:
        assert url.startswith("http://[::1]:")
        assert (await ask(f"{url}/health"))[0] == 200


async def test_a_taken_port_and_a_strange_host_are_said() -> None:
    async with serving(view, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(AddressInUse, match="Choose another --port"):
            async with serving(view, "127.0.0.1", port):
                pass
    with pytest.raises(SettingsError, match=r"Nobody can listen on 192\.0\.2\.1"):
        async with serving(view, "192.0.2.1", 0):
            pass


async def test_the_usual_port_is_left_to_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(view, "127.0.0.1", 0) as url:
        port = int(url.rpartition(":")[2])
        monkeypatch.setattr("forebay.supervisor.endpoint.DEFAULT_PORT", port)
        async with serving(view, "127.0.0.1", None) as other:
            assert other != url
            assert (await ask(f"{other}/health"))[0] == 200


@pytest.mark.parametrize("command", ["run", "check", "watch"])
def test_no_command_needs_what_only_extras_bring(command: str) -> None:
    code = (
        "import sys\n"
        "for name in ('aiohttp', 'opentelemetry', 'starlette', 'psycopg', 'pydantic'):\n"
        "    sys.modules[name] = None\n"
        f"import forebay.cli.worker.{command}\n"
        "import forebay.cli.worker.process\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
