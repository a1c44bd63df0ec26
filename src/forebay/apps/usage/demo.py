"""The usage demo: a price API under load, a writer and the broker killed, and exact books."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from forebay.apps.crew import Crew, free_ports, python
from forebay.apps.progress import Audience, Count
from forebay.apps.usage.accounts import kept_account
from forebay.apps.usage.demo_ledger import (
    UsageFacts,
    UsageResult,
    count_rows,
    judge,
    read_database,
)
from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.prices.load_report import LoadReport
from forebay.apps.usage.prices.price_crew import PriceSettings, start_prices, stop_prices
from forebay.apps.usage.queues import UsageQueues, declare_usage_queues
from forebay.apps.usage.report import UsageReport, gather_report
from forebay.apps.usage.report_page import report_page
from forebay.apps.usage.retention import Span
from forebay.apps.usage.settings import (
    DATABASE_VARIABLE,
    QUEUE_VARIABLE,
    SECRET_VARIABLE,
    WITHIN_VARIABLE,
)
from forebay.client.endpoint import ENDPOINT_VARIABLES
from forebay.client.http import HttpSqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import SettingsError
from forebay.observability.chart import Mark
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.testing.postgres import postgres_server

T = TypeVar("T")

BROKER = "broker"
PRICES = ("prices-1", "prices-2")
WRITERS = ("writer-1", "writer-2")
CLIENTS = "clients"

#: How long messages stay hidden that a killed writer had, in seconds.
_VISIBILITY_TIMEOUT_S = 5

#: How long writers gather a batch, in milliseconds: shorter than usual, for something to be seen.
_WITHIN_MS = 500

#: The part of the load after which a writer is killed, and the broker.
_WRITER_KILL_AT = 0.3
_BROKER_KILL_AT = 0.6

#: How often the demo looks at how far it is, in seconds.
_LOOK_S = 0.25

#: How long nothing may move, once the load is over, before the rest is given up, in seconds.
_STUCK_S = 30.0

#: How long a process may take to stop, in seconds.
_STOP_S = 20.0

#: The page with what was found, in the demo's directory.
REPORT_FILE = "usage.html"

_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

#: Asks servers of this machine, whatever proxy the environment names.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class UsageDemoSettings(Struct, frozen=True, kw_only=True):
    """How much is asked. Raises SettingsError for what cannot be a load."""

    #: Requests a second on average: they rise and fall.
    rate: float = 800
    seconds: float = 20
    seed: int = 1
    keep: bool = False
    #: Where the report is written to, beside the demo's directory.
    html: Path | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("rate", 1, 100_000), ("seconds", 2, 3_600)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise SettingsError(f"--{name} is {value:g}; it must be {least} to {most:,}.")


class _Health(Struct):
    class _Usage(Struct):
        offered: int
        delivered: int

    usage: _Usage


def run_usage_demo(
    settings: UsageDemoSettings, audience: Audience, *, clock: Clock | None = None
) -> UsageResult:
    """Run everything on this machine, and return what the books say.

    Raises ProcessDied and ProcessHangs, which show the end of the log of the process that failed,
    and PostgresNotStarted. Whatever happens, no process and, unless it is to be kept, no file stays
    behind.
    """
    with _directory(settings, audience) as directory:
        audience.say("Starting PostgreSQL, the broker, two writers and two processes of the API")
        with postgres_server(_cluster(settings, directory)) as conninfo:
            return asyncio.run(
                _run(settings, directory, conninfo, audience, clock or SystemClock())
            )


@contextmanager
def _directory(settings: UsageDemoSettings, audience: Audience) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="forebay-usage-demo-"))
    try:
        yield directory
    finally:
        if settings.keep:
            audience.say(f"The data, the logs and the report are kept in {directory}")
        else:
            shutil.rmtree(directory)


def _cluster(settings: UsageDemoSettings, directory: Path) -> Path | None:
    """Where PostgreSQL keeps its files; None for a place that goes when it stops."""
    if not settings.keep:
        return None
    # PostgreSQL does not run as root, and its user has to reach its files.
    directory.chmod(0o711)
    return directory / "postgres"


async def _run(
    settings: UsageDemoSettings, directory: Path, conninfo: str, audience: Audience, clock: Clock
) -> UsageResult:
    running = asyncio.current_task()
    assert running is not None
    # SIGTERM stops the demo as Ctrl-C does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    names = (BROKER, *PRICES)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    with ThreadPoolExecutor(1) as executor:
        async with (
            Crew(directory / "logs", _environment(ports[BROKER], conninfo)) as crew,
            HttpSqsClient(_url(ports[BROKER])) as client,
        ):
            demo = _Demo(
                settings,
                directory,
                audience,
                clock=clock,
                crew=crew,
                client=client,
                executor=executor,
                ports=ports,
                conninfo=conninfo,
            )
            return await crew.guard(demo.run())


def _environment(broker_port: int, conninfo: str) -> dict[str, str]:
    """Where whoever is started finds SQS and the database."""
    return {
        ENDPOINT_VARIABLES[0]: _url(broker_port),
        QUEUE_VARIABLE: "",
        SECRET_VARIABLE: "",
        DATABASE_VARIABLE: conninfo,
        WITHIN_VARIABLE: str(_WITHIN_MS),
    }


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


class _Demo:
    """The acts of the demo, in order."""

    def __init__(
        self,
        settings: UsageDemoSettings,
        directory: Path,
        audience: Audience,
        *,
        clock: Clock,
        crew: Crew,
        client: HttpSqsClient,
        executor: Executor,
        ports: dict[str, int],
        conninfo: str,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._audience = audience
        self._clock = clock
        self._crew = crew
        self._client = client
        self._executor = executor
        self._ports = ports
        self._prices = {name: ports[name] for name in PRICES}
        self._conninfo = conninfo
        self._kills: Counter[str] = Counter()
        self._marks: list[Mark] = []
        self._load_began_ms = 0
        self._offered = self._delivered = self._rows = 0

    async def run(self) -> UsageResult:
        started_ms, began_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        queues = await self._open(began_ms)
        await self._ask()
        await stop_prices(self._crew, self._prices)
        await self._settle()
        for name in WRITERS:
            await self._crew.stop(name, _STOP_S)
        await self._report(Span(began_ms, self._clock.wall_ms() + 1))
        facts = UsageFacts(
            load=msgspec.json.decode(self._load_file.read_bytes(), type=LoadReport),
            account=kept_account(self._directory),
            database=await self._in_thread(lambda: read_database(self._conninfo)),
            left_in_queues={
                url.rpartition("/")[2]: await self._messages(url)
                for url in (queues.usage_logs, queues.dead_letters)
            },
            writer_kills=self._kills[WRITERS[0]],
            broker_kills=self._kills[BROKER],
            seconds=(self._clock.monotonic_ms() - started_ms) / 1000,
        )
        await self._crew.stop(BROKER, _STOP_S)
        return judge(facts)

    async def _open(self, began_ms: int) -> UsageQueues:
        """Start everything but the clients."""
        broker = self._ports[BROKER]
        await self._crew.start(
            BROKER,
            python(
                *("-m", "forebay", "serve", "--port", str(broker)),
                *("--data", str(self._directory / "broker")),
            ),
        )
        store = await PostgresUsageStore.open(self._conninfo)
        await store.maintain()
        await store.close()
        queues = await declare_usage_queues(
            self._client, visibility_timeout_s=_VISIBILITY_TIMEOUT_S
        )
        for name in WRITERS:
            await self._crew.start(
                name,
                python("-m", "forebay.apps.usage.writer_process"),
            )
        settings = PriceSettings(
            queue=queues.usage_logs,
            data=self._directory,
            seed=self._settings.seed,
            began_ms=began_ms,
        )
        await start_prices(self._crew, settings, self._prices)
        return queues

    async def _ask(self) -> None:
        """Let the clients ask, and crash a writer and the broker while they do."""
        settings = self._settings
        self._audience.say(
            f"{settings.rate:g} requests a second on average for {settings.seconds:g} s"
            f" (seed {settings.seed})"
        )
        self._load_began_ms = self._clock.monotonic_ms()
        await self._crew.start(
            CLIENTS,
            python(
                *("-m", "forebay.apps.usage.prices.load_process"),
                *(f"--api-url={_url(port)}" for port in self._prices.values()),
                *("--rate", str(settings.rate)),
                *("--seconds", str(settings.seconds)),
                *("--seed", str(settings.seed)),
                *("--report", str(self._load_file)),
            ),
            ends=True,
        )
        await self._crash(WRITERS[0], _WRITER_KILL_AT)
        await self._crash(BROKER, _BROKER_KILL_AT)
        while self._crew.runs(CLIENTS):
            await self._look()
        self._audience.say("Every request is answered; the API stops and sends what it still has")

    async def _crash(self, name: str, part: float) -> None:
        """Kill a process once that part of the load is over, and start it again."""
        due_ms = self._load_began_ms + part * self._settings.seconds * 1000
        while self._clock.monotonic_ms() < due_ms:
            await self._look()
        await self._crew.kill(name)
        self._kills[name] += 1
        self._marks.append(Mark(self._clock.wall_ms(), f"{name} was killed"))
        self._audience.say(
            f"Killed {name} with {self._offered:,} logs offered and {self._rows:,} rows written;"
            " starting it again"
        )
        await self._crew.restart(name)

    async def _settle(self) -> None:
        """Wait until all that was delivered is written, or until nothing moves."""
        delivered = kept_account(self._directory).delivered
        moved_ms, rows = self._clock.monotonic_ms(), -1
        while rows < delivered and self._clock.monotonic_ms() - moved_ms < _STUCK_S * 1000:
            await self._look()
            if self._rows != rows:
                moved_ms, rows = self._clock.monotonic_ms(), self._rows

    async def _report(self, span: Span) -> None:
        store = await PostgresUsageStore.open(self._conninfo)
        report: UsageReport = await gather_report(store, span)
        await store.close()
        page = report_page(report, "Usage of the price API", self._marks)
        for path in filter(None, (self._directory / REPORT_FILE, self._settings.html)):
            path.write_text(page)

    async def _look(self) -> None:
        """Show how far everything is, and let it go on for a moment."""
        await self._clock.sleep(_LOOK_S)
        await self._in_thread(self._count)
        total = max(self._offered, round(self._settings.rate * self._settings.seconds))
        self._audience.show(
            [
                Count("offered", self._offered, total),
                Count("delivered", self._delivered, total),
                Count("rows", self._rows, total),
            ]
        )

    def _count(self) -> None:
        self._rows = count_rows(self._conninfo)
        ledgers = [_ask_health(port) for port in self._prices.values()]
        if all(ledgers):
            self._offered = sum(ledger.usage.offered for ledger in ledgers if ledger)
            self._delivered = sum(ledger.usage.delivered for ledger in ledgers if ledger)
        else:
            # They have stopped, one after the other.
            account = kept_account(self._directory)
            self._offered = max(self._offered, account.offered)
            self._delivered = max(self._delivered, account.delivered)

    @property
    def _load_file(self) -> Path:
        return self._directory / "clients.json"

    async def _messages(self, queue_url: str) -> int:
        answer = await self._client.get_queue_attributes(
            GetQueueAttributesRequest(queue_url=queue_url, attribute_names=list(_COUNTS))
        )
        return sum(int(count) for count in (answer.attributes or {}).values())

    async def _in_thread(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)


def _ask_health(port: int) -> _Health | None:
    """What a process of the API says of its logs; None when it is not there."""
    try:
        with _DIRECTLY.open(f"{_url(port)}/health", timeout=5) as answer:
            return msgspec.json.decode(answer.read(), type=_Health)
    except OSError:
        return None
