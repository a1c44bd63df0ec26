"""Chromium: what the pages that it has open can do to a broker on the same machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.origins import Origins
from tests.clients.browser.chromium import find_or_install
from tests.clients.environments import ROOT, javascript_environment
from tests.clients.peers import REGION, answer_of, configuration, own_client

SCENARIOS = Path(__file__).parent / "scenarios"

#: Where what the browser saw is kept.
REPORTS = ROOT / ".venv-browser" / "report"

PATIENCE_S = 300


class _Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None: ...


@contextmanager
def pages(directory: Path) -> Iterator[int]:
    """Serve an empty page. Answers the port."""
    (directory / "index.html").write_text("<!doctype html><link rel=icon href=data:,><body>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Any:
    """What the pages got of the broker, and how many messages they left in it."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        browser = find_or_install()
    if isinstance(browser, str):
        pytest.skip(f"{browser}.")
    directory = tmp_path_factory.mktemp("pages")
    node, environment = javascript_environment("browser")
    scenarios = environment / "scenarios"
    shutil.copytree(SCENARIOS, scenarios, dirs_exist_ok=True)
    REPORTS.mkdir(exist_ok=True)
    with ExitStack() as stack:
        page_port, allowed_port = (stack.enter_context(pages(directory)) for _ in range(2))
        allowed = f"http://localhost:{allowed_port}"
        broker = stack.enter_context(EmbeddedBroker(region=REGION, origins=Origins([allowed])))
        sqs = own_client(broker.endpoint_url)
        stack.callback(sqs.close)
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        port = broker.endpoint_url.rpartition(":")[2]
        answer = answer_of(
            node,
            scenarios / "pages.js",
            browser,
            tmp_path_factory.mktemp("profile"),
            REPORTS / "pages.png",
            broker.endpoint_url,
            f"http://evil.example:{page_port}/",
            f"http://localhost:{page_port}/",
            f"{allowed}/",
            f"http://evil.example:{port}",
            environment=configuration(broker.endpoint_url),
            directory=environment,
            patience_s=PATIENCE_S,
        )
        left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        answer["messages"] = int(left["ApproximateNumberOfMessages"])
    (REPORTS / "pages.json").write_text(json.dumps(answer, indent=1))
    with capture.global_and_fixture_disabled():
        print(f"\nWhat Chromium got: {REPORTS}/pages.json and pages.png")
    return answer


@pytest.mark.parametrize("origin", ["evil", "other"])
def test_pages_of_other_origins_get_and_do_nothing(report: Any, origin: str) -> None:
    got = report[origin]
    assert got["form"]["answers"] == ["POST 403"]
    # Chromium does not tell what the picture was answered; it sent no message, as seen below.
    assert got["picture"]["got"] == "failed"
    assert got["blind"] == {"got": "opaque", "answers": ["POST 403"]}
    assert got["sdk"]["got"] == "TypeError"
    assert "POST 200" not in got["sdk"]["answers"]
    assert got["messages"]["got"] == "TypeError"
    assert report["messages"] == 0


def test_a_name_pointed_at_the_broker_reads_nothing(report: Any) -> None:
    rebound = report["rebound"]
    assert rebound["answers"] == ["GET 403", "GET 403"]
    status, text = rebound["got"]
    assert status == 403
    assert "--allow-host evil.example" in text


def test_an_sdk_in_a_page_of_an_allowed_origin_works_whole(report: Any) -> None:
    assert report["allowed"] == {
        "body": "A-12 \U0001f3ab",
        "same": True,
        "left": {"ApproximateNumberOfMessages": "0"},
        "refusal": ["AWS.SimpleQueueService.NonExistentQueue", 400, "string"],
    }
    status, text = report["read"]["got"]
    assert status == 200
    assert '"name":"orders"' in text
