"""The demo: a whole sale on this machine, its worker and its broker killed in the midst of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from forebay.apps.crew import Crew, free_ports, python
from forebay.apps.progress import Audience, Count
from forebay.apps.sale.catalogue import divide_seats
from forebay.apps.sale.domain import BUG_MARKER
from forebay.apps.sale.ledger import SaleFacts, SaleLedger, balance, judge
from forebay.apps.sale.notifications import NOTIFICATIONS_FILE, SqliteNotificationLog
from forebay.apps.sale.queues import declare_queues, find_queues
from forebay.apps.sale.readback import (
    USAGE_FILE,
    Progress,
    Stores,
    count_left,
    take_dead_letters,
)
from forebay.apps.sale.sqlite_store import SALE_FILE, SqliteSaleStore
from forebay.apps.usage.settings import (
    DATABASE_VARIABLE,
    QUEUE_VARIABLE,
    SECRET_VARIABLE,
    WITHIN_VARIABLE,
)
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.verdicts import Verdict
from forebay.client.base import SqsClient
from forebay.client.endpoint import ENDPOINT_VARIABLES
from forebay.client.http import HttpSqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import SettingsError

T = TypeVar("T")

BROKER = "broker"
APIS = ("api-1", "api-2")
WORKERS = ("orders-1", "orders-2")
NOTIFIER = "notifications"
USAGE_WRITER = "usage"
BUYERS = "buyers"

#: The visibility timeout of all queues, in seconds: how long a section waits for a killed worker.
_VISIBILITY_TIMEOUT_S = 5

#: The part of the buyers that is accepted when a worker is killed, and when the broker is.
_WORKER_KILL_AT = 0.25
_BROKER_KILL_AT = 0.5

#: How long the usage writer gathers a batch, in milliseconds.
_USAGE_WITHIN_MS = 500

#: How often the stores are looked at, in seconds.
_LOOK_S = 0.1

#: How long nothing may move, once the buyers are served, before the rest is given up, in seconds. A
#: section whose worker died stands still for the visibility timeout, and an order that fails is
#: tried three times.
_STUCK_S = 30.0

#: How long a process may take to start or to stop, in seconds.
_START_S = 20.0
_STOP_S = 15.0


class DemoSettings(Struct, frozen=True, kw_only=True):
    """What to sell, and to how many. Raises SettingsError for what cannot be a sale."""

    buyers: int = 10_000
    seats: int = 5_000
    sections: int = 10
    seed: int = 1
    keep: bool = False

    def __post_init__(self) -> None:
        for name, least in (("buyers", 1), ("sections", 1), ("seats", self.sections)):
            if getattr(self, name) < least:
                raise SettingsError(
                    f"--{name} is {getattr(self, name)}; it must be at least {least}."
                )


class DemoResult(Struct, frozen=True, kw_only=True):
    """What was found when everything had stopped."""

    ledger: SaleLedger
    verdicts: list[Verdict]
    worker_kills: int
    broker_kills: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return all(verdict.holds for verdict in self.verdicts)


async def run_demo(
    settings: DemoSettings, audience: Audience, *, clock: Clock | None = None
) -> DemoResult:
    """Sell everything and return what the stores and queues say of it.

    Raises ProcessDied and ProcessHangs, which show the end of the log of the process that failed.
    Whatever happens, no process and, unless it is to be kept, no file stays behind.
    """
    directory = Path(tempfile.mkdtemp(prefix="forebay-demo-"))
    ports = dict(zip((BROKER, *APIS), free_ports(1 + len(APIS)), strict=True))
    try:
        with ThreadPoolExecutor(1) as executor:
            await _create_stores(settings, directory)
            async with (
                Crew(directory / "logs", _usage_environment(directory, ports[BROKER])) as crew,
                HttpSqsClient(_url(ports[BROKER])) as client,
            ):
                demo = _Demo(
                    settings,
                    directory,
                    audience,
                    clock=clock or SystemClock(),
                    crew=crew,
                    client=client,
                    executor=executor,
                    ports=ports,
                )
                return await crew.guard(demo.run())
    finally:
        if settings.keep:
            audience.say(f"The data and the logs are kept in {directory}")
        else:
            shutil.rmtree(directory)


async def _create_stores(settings: DemoSettings, directory: Path) -> None:
    """Create every store before somebody looks at it, and put the seats on sale."""
    sale = await SqliteSaleStore.open(directory / SALE_FILE)
    await sale.open_sections(divide_seats(settings.seats, settings.sections))
    await sale.close()
    usage = await SqliteUsageStore.open(directory / USAGE_FILE)
    await usage.close()
    notifications = await SqliteNotificationLog.open(directory / NOTIFICATIONS_FILE)
    await notifications.close()


def _counts(progress: Progress, buyers: int) -> list[Count]:
    decidable = buyers - progress.failed
    return [
        Count("accepted", progress.accepted, buyers),
        Count("decided", progress.decided, decidable),
        Count("notified", progress.notified, decidable),
        # How many calls the buyers will make is not known before they have made them.
        Count("logged", progress.logged, max(progress.logged, buyers)),
    ]


def _usage_environment(directory: Path, broker_port: int) -> dict[str, str]:
    """Where the usage writer finds SQS and its database."""
    return {
        ENDPOINT_VARIABLES[0]: _url(broker_port),
        QUEUE_VARIABLE: "",
        SECRET_VARIABLE: "",
        DATABASE_VARIABLE: f"sqlite:///{directory / USAGE_FILE}",
        WITHIN_VARIABLE: str(_USAGE_WITHIN_MS),
    }


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


class _Demo:
    """The acts of the demo, in order."""

    def __init__(
        self,
        settings: DemoSettings,
        directory: Path,
        audience: Audience,
        *,
        clock: Clock,
        crew: Crew,
        client: SqsClient,
        executor: Executor,
        ports: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._audience = audience
        self._clock = clock
        self._crew = crew
        self._client = client
        self._executor = executor
        self._ports = ports
        self._stores = Stores(directory)
        self._kills: Counter[str] = Counter()

    async def run(self) -> DemoResult:
        started_ms = self._clock.monotonic_ms()
        with closing(self._stores):
            await self._open()
            await self._sell()
            await self._settle()
            await self._stop(*WORKERS, NOTIFIER, USAGE_WRITER)
            facts = await self._read_back()
            await self._stop(BROKER)
        return DemoResult(
            ledger=balance(facts),
            verdicts=judge(facts),
            worker_kills=self._kills[WORKERS[0]],
            broker_kills=self._kills[BROKER],
            seconds=(self._clock.monotonic_ms() - started_ms) / 1000,
        )

    async def _open(self) -> None:
        """Start everything but the buyers."""
        self._audience.say("Starting the broker, two API processes and the workers")
        await self._crew.start(
            BROKER,
            python(
                *("-m", "forebay", "serve"),
                *("--port", str(self._ports[BROKER])),
                *("--data", str(self._directory / "broker")),
            ),
        )
        await declare_queues(self._client, visibility_timeout_s=_VISIBILITY_TIMEOUT_S)
        for name in APIS:
            await self._start(
                "forebay.apps.sale.api_process", name, "--port", str(self._ports[name])
            )
        for name in WORKERS:
            await self._start("forebay.apps.sale.order_process", name, "--bug-marker", BUG_MARKER)
        await self._start("forebay.apps.sale.notification_process", NOTIFIER)
        await self._crew.start(USAGE_WRITER, python("-m", "forebay.apps.usage.writer_process"))
        for name in APIS:
            await self._crew.listening(name, self._ports[name], _START_S)

    async def _sell(self) -> None:
        """Let the buyers in, and crash a worker and the broker while they buy."""
        settings = self._settings
        self._audience.say(
            f"{settings.buyers:,} buyers come for {settings.seats:,} seats (seed {settings.seed})"
        )
        await self._crew.start(
            BUYERS,
            python(
                *("-m", "forebay.apps.sale.load_process"),
                *(f"--api-url={_url(self._ports[name])}" for name in APIS),
                *("--buyers", str(settings.buyers)),
                *("--seats", str(settings.seats)),
                *("--sections", str(settings.sections)),
                *("--seed", str(settings.seed)),
            ),
            ends=True,
        )
        await self._crash(WORKERS[0], _WORKER_KILL_AT)
        await self._crash(BROKER, _BROKER_KILL_AT)
        while self._crew.runs(BUYERS):
            await self._look()
        self._audience.say("Every buyer is served")

    async def _crash(self, name: str, part: float) -> None:
        """Kill a process once that part of the buyers is accepted, and start it again."""
        while (progress := await self._look()).accepted < part * self._settings.buyers:
            pass
        await self._crew.kill(name)
        self._kills[name] += 1
        self._audience.say(
            f"Killed {name} with {progress.accepted:,} orders accepted and {progress.decided:,}"
            " decided; starting it again"
        )
        await self._crew.restart(name)

    async def _settle(self) -> None:
        """Wait until all that was accepted has gone its whole way, or until nothing moves."""
        await self._stop(*APIS)
        usage = await self._in_thread(self._stores.usage_account)
        queues = await find_queues(self._client)
        moved: object = None
        moved_ms = self._clock.monotonic_ms()
        while self._clock.monotonic_ms() - moved_ms < _STUCK_S * 1000:
            left = await count_left(self._client, queues)
            progress = await self._look()
            settled = progress.notified >= progress.decided and progress.logged >= usage.delivered
            if settled and not any(left.values()):
                return
            if moved != (left, progress):
                moved, moved_ms = (left, progress), self._clock.monotonic_ms()

    async def _read_back(self) -> SaleFacts:
        queues = await find_queues(self._client)
        left = await count_left(self._client, queues)
        dead_letters = await take_dead_letters(self._client, queues, self._directory)
        return await self._in_thread(lambda: self._stores.facts(dead_letters, left))

    async def _look(self) -> Progress:
        """Show how far the sale has come, and let it go on for a moment."""
        await self._clock.sleep(_LOOK_S)
        progress = await self._in_thread(self._stores.progress)
        self._audience.show(_counts(progress, self._settings.buyers))
        return progress

    async def _start(self, module: str, name: str, *arguments: str) -> None:
        await self._crew.start(
            name,
            python(
                *("-m", module),
                *("--endpoint-url", _url(self._ports[BROKER])),
                *("--data", str(self._directory)),
                *("--node", name),
                *("--visibility-timeout-s", str(_VISIBILITY_TIMEOUT_S)),
                *arguments,
            ),
        )

    async def _stop(self, *names: str) -> None:
        await asyncio.gather(*(self._crew.stop(name, _STOP_S) for name in names))

    async def _in_thread(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)
