"""Document 002's metrics: names, dimensions, rhythm, and what its program got wrong."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from forebay.errors import SettingsError
from forebay.observability.cloudwatch import (
    NAMESPACE,
    CloudWatchPublisher,
    Datum,
    MetricsRefused,
    MetricsUnsent,
    Reader,
)
from forebay.observability.put_metric_data import BotocoreSender
from forebay.observability.view import WorkersView
from forebay.worker.snapshot import Histogram
from tests.runtime.snapshots import buffer, histogram, ledger, process, queue, view, worker
from tests.runtime.virtual_time import LoopClock, run

START_MS = 1_700_000_000_000
REGION = "eu-west-1"


def seen(
    *,
    at_s: float = 0,
    acked: int = 0,
    failures: int = 0,
    handling: Histogram | None = None,
    out: int = 0,
    refused: int = 0,
    wait: Histogram | None = None,
    processes: int = 1,
) -> WorkersView:
    one = worker(
        queue(
            failures=failures,
            ledger=ledger(received=acked, acked=acked),
            handling=handling or histogram(),
        ),
        buffers=[
            buffer(
                3, size=4, came_in=out + 4, went_out=out, refused=refused, wait=wait or histogram()
            ),
            buffer(2, size=2),
            buffer(1, size=0),
        ],
    )
    return view(*[process(one)] * processes, at_ms=START_MS + round(at_s * 1000))


def values(data: Sequence[Datum]) -> dict[str, float]:
    """The values by component and metric; the buckets by theirs."""
    return {
        "/".join(
            [each.dimensions["Component"], each.name, *([bucket] if bucket else [])]
        ): each.value
        for each in data
        for bucket in [each.dimensions.get("TimeBucket")]
    }


def test_every_metric_of_the_document_is_there_with_its_dimensions() -> None:
    reader = Reader(REGION)
    reader.data(seen())
    data = reader.data(
        seen(
            at_s=60,
            acked=12,
            failures=3,
            handling=histogram(100, 300),
            out=30,
            refused=2,
            wait=histogram(50, 400, 900, 3_000, 8_000, 20_000, 70_000),
        )
    )
    assert values(data) == {
        "orders/VisibleMessages": 7,
        "orders/InFlightMessages": 2,
        "orders/ProcessedMessages": 12,
        "orders/Errors": 3,
        "orders/AverageProcessingTime": 200,
        "orders/MaxLatency": 300,
        "Buffer/BufferHighPriorityUsage": 50,
        "Buffer/BufferMediumPriorityUsage": 25,
        "Buffer/BufferLowPriorityUsage": 0,
        "Buffer/BufferTotalSize": 6,
        "Buffer/BufferMessagesIn": 30,
        "Buffer/BufferMessagesOut": 30,
        "Buffer/BufferOverflows": 2,
        "Buffer/BufferProcessingRate": 0.5,
        "Buffer/BufferAverageWaitTime": pytest.approx(102_350 / 7),
        "Buffer/BufferMaxWaitTime": 70_000,
        "Buffer/BufferWaitTimeDistribution/0-100ms": 1,
        "Buffer/BufferWaitTimeDistribution/100-500ms": 1,
        "Buffer/BufferWaitTimeDistribution/500-1000ms": 1,
        "Buffer/BufferWaitTimeDistribution/1-5s": 1,
        "Buffer/BufferWaitTimeDistribution/5-10s": 1,
        "Buffer/BufferWaitTimeDistribution/10s+": 2,
    }
    assert {each.dimensions["Region"] for each in data} == {REGION}
    assert {each.at_ms for each in data} == {START_MS + 60_000}
    units = {each.name: each.unit for each in data}
    assert units["BufferHighPriorityUsage"] == "Percent"
    assert units["BufferProcessingRate"] == "Count/Second"
    assert units["MaxLatency"] == "Milliseconds"


def test_readers_share_neither_counts_nor_rates() -> None:
    one, other = Reader(REGION), Reader(REGION)
    for reader in (one, other):
        reader.data(seen())
    for at_s in (10, 20, 30):
        one.data(seen(at_s=at_s, acked=at_s, out=at_s))
    late = values(other.data(seen(at_s=40, acked=40, out=40)))
    assert late["orders/ProcessedMessages"] == 40
    assert late["Buffer/BufferProcessingRate"] == 1
    assert values(one.data(seen(at_s=40, acked=40, out=40)))["orders/ProcessedMessages"] == 10


def test_no_update_is_lost_between_views() -> None:
    reader = Reader(REGION)
    counts = (0, 3, 3, 10, 250)
    reported = [
        values(reader.data(seen(at_s=at_s, acked=acked))).get("orders/ProcessedMessages", 0)
        for at_s, acked in enumerate(counts)
    ]
    assert sum(reported) == counts[-1]


def test_processes_are_summed_and_usage_is_of_all_of_them() -> None:
    reader = Reader(REGION)
    reader.data(seen(processes=2))
    found = values(reader.data(seen(at_s=1, acked=5, processes=2)))
    assert found["orders/ProcessedMessages"] == 10
    assert found["Buffer/BufferTotalSize"] == 12
    assert found["Buffer/BufferHighPriorityUsage"] == 50


def test_a_maximum_is_that_of_its_own_minute() -> None:
    reader = Reader(REGION)
    reader.data(seen(handling=histogram(45_000)))
    found = values(reader.data(seen(at_s=60, handling=histogram(45_000, 300))))
    assert found["orders/MaxLatency"] == 500, "the bound of its bucket, not the 45 s of before"
    again = values(reader.data(seen(at_s=120, handling=histogram(45_000, 300))))
    assert "orders/MaxLatency" not in again


class Sender:
    """Keeps what is sent, and fails as it is told."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Datum]] = []
        self.namespaces: set[str] = set()
        self.error: Exception | None = None

    async def send(self, namespace: str, data: Sequence[Datum]) -> None:
        if self.error is not None:
            raise self.error
        self.namespaces.add(namespace)
        self.calls.append(data)


def at_work(now_s: float) -> Histogram:
    """A handler of 200 ms, and a wait in the buffer as long, each second."""
    return histogram(*[200] * round(now_s))


def test_twenty_data_go_in_a_call_every_minute() -> None:
    async def scenario() -> None:
        sender = Sender()
        clock = LoopClock()
        publisher = CloudWatchPublisher(
            lambda: seen(
                at_s=(now_s := clock.monotonic_ms() / 1000),
                handling=at_work(now_s),
                wait=at_work(now_s),
            ),
            sender,
            region=REGION,
            clock=clock,
        )
        running = asyncio.create_task(publisher.run())
        await asyncio.sleep(59)
        assert [len(call) for call in sender.calls] == [6]
        await asyncio.sleep(2)
        assert [len(call) for call in sender.calls] == [6, 20, 2]
        await asyncio.sleep(59)
        assert len(sender.calls) == 5
        running.cancel()
        assert sender.namespaces == {NAMESPACE}

    run(scenario())


def test_a_thousand_data_are_kept_in_their_order_and_sent_when_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        sender = Sender()
        sender.error = MetricsUnsent("CloudWatch is away")
        at_s = iter(range(10_000))
        publisher = CloudWatchPublisher(
            lambda: seen(at_s=next(at_s)), sender, region=REGION, namespace="Mine"
        )
        for _ in range(100):
            await publisher.publish()
        sender.error = None
        await publisher.publish()
        sent = [datum for call in sender.calls for datum in call]
        assert len(sent) == 1_000
        assert all(len(call) <= 20 for call in sender.calls)
        assert [datum.at_ms for datum in sent] == sorted(datum.at_ms for datum in sent)
        assert sent[-1].at_ms == START_MS + 100_000
        assert sender.namespaces == {"Mine"}

    asyncio.run(scenario())
    assert [record.message for record in caplog.records].count("CloudWatch is away") == 1
    assert any("are dropped, the oldest" in record.message for record in caplog.records)


def test_what_is_refused_for_good_holds_up_nothing() -> None:
    async def scenario() -> None:
        sender = Sender()
        sender.error = MetricsRefused("not so")
        publisher = CloudWatchPublisher(seen, sender, region=REGION)
        await publisher.publish()
        sender.error = None
        await publisher.publish()
        assert len(sender.calls) == 1

    asyncio.run(scenario())


@contextmanager
def cloudwatch(
    status: int = 200, answer: bytes = b""
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A stand-in for CloudWatch, and the requests that came to it."""
    requests: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            requests.append((self.path, dict(self.headers), body))
            self.send_response(status)
            # botocore speaks the one or the other, by its version.
            cbor = self.headers.get("smithy-protocol")
            if cbor:
                self.send_header("smithy-protocol", cbor)
            self.end_headers()
            self.wfile.write(answer or (b"\xa0" if cbor else b"{}"))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.usefixtures("credentials")
def test_botocore_signs_and_sends_them() -> None:
    with cloudwatch() as (url, requests):
        sender = BotocoreSender(url)
        data = Reader(sender.region).data(seen())
        asyncio.run(sender.send(NAMESPACE, data))
    ((path, headers, body),) = requests
    assert "PutMetricData" in f"{path}{headers.get('X-Amz-Target')}"
    assert f"/{REGION}/monitoring/aws4_request" in headers["Authorization"]
    for text in (NAMESPACE, "VisibleMessages", "Component", "orders", "Region", REGION, "Percent"):
        assert text.encode() in body


@pytest.mark.usefixtures("credentials")
def test_an_outage_of_cloudwatch_is_one_error_and_no_secret() -> None:
    with cloudwatch(503) as (url, requests):
        sender = BotocoreSender(url)
        with pytest.raises(MetricsUnsent, match="503") as raised:
            asyncio.run(sender.send(NAMESPACE, Reader(REGION).data(seen())))
        assert len(requests) == 1
    assert "secret" not in str(raised.value)
    with pytest.raises(MetricsUnsent, match="CloudWatch is not reached"):
        asyncio.run(BotocoreSender("http://127.0.0.1:1").send(NAMESPACE, []))


@pytest.mark.usefixtures("credentials")
def test_what_is_no_cloudwatch_is_an_outage_too() -> None:
    with cloudwatch(500, b"\xff<html>") as (url, _), pytest.raises(MetricsUnsent):
        asyncio.run(BotocoreSender(url).send(NAMESPACE, Reader(REGION).data(seen())))


def test_without_a_region_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SettingsError, match="No AWS region is known for CloudWatch"):
        BotocoreSender()
