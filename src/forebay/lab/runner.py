"""Runs scenarios: everything is started, the fault strikes, and the books are closed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from forebay.apps.crew import free_ports
from forebay.apps.progress import Audience, Count
from forebay.apps.verdicts import Verdict
from forebay.client.http import HttpSqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError, SettingsError, in_words
from forebay.lab.events import Event
from forebay.lab.ledger import Ledger, QueueLedger, Reading
from forebay.lab.options import options_of
from forebay.lab.outside.client import OutsideClient
from forebay.lab.outside.ledger import PerformedEffect
from forebay.lab.processes import Processes
from forebay.lab.program import Plan
from forebay.lab.programs.serve_broker import BrokerPlan, run_broker
from forebay.lab.programs.serve_outside import run_outside
from forebay.lab.reading import QueueAddress, find_queue
from forebay.lab.scenario import PROJECT, LabQueue, Protection, Scenario
from forebay.lab.servers import LabServer
from forebay.lab.stage import Stage
from forebay.lab.verdicts import none_failed
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import DEFAULT_REGION

#: How much faster than the machine's time runs that of a run on the lab's own broker.
TIME_SCALE = 10.0

#: How often the depths are noted, and shown, in real seconds.
_SAMPLE_S = 0.1

#: How long they are asked for while SQS is away, in real seconds. Whoever watches tries again soon.
_LOOK_MAX_S = 1.0


class RunSettings(Struct, frozen=True, kw_only=True):
    """Where and how scenarios run."""

    #: Another SQS than the lab's own broker; its queues must be there.
    endpoint_url: str | None = None
    #: Amazon SQS itself.
    aws: bool = False
    region: str = DEFAULT_REGION
    project: str = PROJECT
    seed: int = 1
    #: Protections to go without.
    without: frozenset[str] = frozenset()
    #: Options of scenarios, by field.
    options: Mapping[str, Any] = {}
    #: How fast time passes at the SQS that is used. None is TIME_SCALE on the lab's own broker, and
    #: the machine's own time elsewhere.
    time_scale: float | None = None
    #: Where the data and logs of each run are kept; None keeps none.
    keep: Path | None = None

    @property
    def own_broker(self) -> bool:
        return self.endpoint_url is None and not self.aws

    @property
    def scale(self) -> float:
        """How much faster than the machine's time that of a run passes."""
        if self.time_scale is None:
            return TIME_SCALE if self.own_broker else 1.0
        return self.time_scale


class Result(Struct, frozen=True, kw_only=True):
    """How a run of a scenario ended."""

    scenario: str
    title: str
    claim: str
    seed: int
    without: tuple[str, ...]
    options: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    #: Why there is no verdict, or why there might be none.
    error: str | None
    #: What it went without, as the scenario says it.
    protections: tuple[Protection, ...] = ()
    queues: tuple[QueueLedger, ...]
    events: tuple[Event, ...]
    effects: tuple[PerformedEffect, ...]
    readings: tuple[Reading, ...]
    #: When it began, in its own time: milliseconds since the Unix epoch.
    began_ms: int
    #: How long it took, in real seconds, and how fast its own time passed.
    seconds: float
    time_scale: float

    @property
    def passed(self) -> bool:
        """Whether all that must be true is: of no verdict at all nobody knows."""
        return self.error is None and bool(self.verdicts) and not self.broken

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The verdicts that do not hold."""
        return tuple(verdict for verdict in self.verdicts if not verdict.holds)


def check_protections(scenarios: Sequence[type[Scenario]], without: frozenset[str]) -> None:
    """Raise SettingsError for a protection that one of the scenarios does not have."""
    for scenario in scenarios:
        for name in without - scenario.protections.keys():
            raise SettingsError(
                f"{scenario.name()} has no protection {name}. It has"
                f" {', '.join(scenario.protections)}."
            )


def protections_of(scenario: type[Scenario], without: frozenset[str]) -> list[Protection]:
    """The protections that a run goes without."""
    return [scenario.protections[name] for name in sorted(without)]


def planned(
    scenarios: Iterable[type[Scenario]], settings: RunSettings, repeat: int = 1
) -> list[tuple[type[Scenario], RunSettings]]:
    """The runs of scenarios, each `repeat` times with seeds that count up, all with the first seed
    before any with the next.

    Raises SettingsError for options and protections that cannot be, so that nothing runs before.
    """
    chosen = list(scenarios)
    check_protections(chosen, settings.without)
    for scenario in chosen:
        options_of(scenario, settings.options)
    return [
        (scenario, msgspec.structs.replace(settings, seed=settings.seed + number))
        for number in range(repeat)
        for scenario in chosen
    ]


async def run_scenario(
    scenario_type: type[Scenario],
    settings: RunSettings,
    audience: Audience,
    *,
    clock: Clock | None = None,
) -> Result:
    """Run a scenario once. Whatever goes wrong in it is in the result.

    Raises SettingsError for options and protections that it does not have. Whatever happens, no
    process stays behind.
    """
    clock = clock or SystemClock()
    check_protections([scenario_type], settings.without)
    options = options_of(scenario_type, settings.options)
    scenario = scenario_type(options, settings.without)
    started_ms, began_ms = clock.monotonic_ms(), clock.wall_ms()
    directory = _directory(scenario, settings)
    ledger: Ledger | None = None
    verdicts: list[Verdict] = []
    error: str | None = None
    try:
        _require_possible(scenario, settings)
        async with _stage(scenario, settings, directory, clock) as stage:
            began_ms = stage.plan.origin_ms
            await stage.empty_queues()
            try:
                async with _watched(stage, audience):
                    await scenario.setup(stage)
                    await scenario.fault(stage)
                ledger = await stage.close_books()
            except Exception:
                ledger = await stage.last_look()
                raise
            # One by one: what was found before one that cannot be given is told all the same.
            for verdict in scenario.verdict(ledger):
                verdicts.append(verdict)  # noqa: PERF402
            verdicts.append(none_failed(ledger))
    except ForebayError as caught:
        error = in_words(caught)
    except Exception:
        # A mistake in the scenario itself. The others are to run all the same.
        error = f"The scenario broke off.\n{traceback.format_exc()}"
    finally:
        if settings.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    return Result(
        scenario=scenario.name(),
        title=scenario.title(),
        claim=scenario.claim,
        seed=settings.seed,
        without=tuple(sorted(settings.without)),
        options=msgspec.to_builtins(options),
        verdicts=tuple(verdicts),
        error=error,
        protections=tuple(protections_of(scenario_type, settings.without)),
        queues=tuple(ledger.queues.values()) if ledger else (),
        events=tuple(ledger.events) if ledger else (),
        effects=tuple(ledger.effects) if ledger else (),
        readings=tuple(ledger.readings.values()) if ledger else (),
        began_ms=began_ms,
        seconds=(clock.monotonic_ms() - started_ms) / 1000,
        time_scale=settings.scale,
    )


class CannotRun(ForebayError):
    """The scenario cannot run there."""


def _require_possible(scenario: Scenario, settings: RunSettings) -> None:
    if settings.own_broker:
        return
    if scenario.own_broker_only:
        raise CannotRun(f"It runs on the lab's own broker only: {scenario.own_broker_only}")
    if list(scenario.wanted_queues()) != list(scenario.queues):
        raise CannotRun(
            f"Without {', '.join(sorted(settings.without))} it needs queues that are set up"
            " otherwise, which the lab makes on its own broker only."
        )


def _directory(scenario: Scenario, settings: RunSettings) -> Path:
    if settings.keep is None:
        return Path(tempfile.mkdtemp(prefix=f"forebay-{scenario.name()}-"))
    path = settings.keep / "-".join(
        [scenario.name(), f"seed-{settings.seed}", *sorted(settings.without)]
    )
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@asynccontextmanager
async def _stage(
    scenario: Scenario, settings: RunSettings, directory: Path, clock: Clock
) -> AsyncIterator[Stage]:
    """The broker, the queues and the service outside of a run, until it is over."""
    processes = Processes(directory)
    broker_port, outside_port = free_ports(2)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(processes.end_all)
        broker = None
        endpoint_url = settings.endpoint_url
        if settings.own_broker:
            broker = _broker(scenario, settings, processes, directory, broker_port)
            endpoint_url = broker.url
            await broker.start()
        client = await stack.enter_async_context(
            HttpSqsClient(endpoint_url, region=settings.region)
        )
        queues = [
            await _address(client, scenario, queue, settings) for queue in scenario.wanted_queues()
        ]
        plan = Plan(
            scenario=scenario.name(),
            directory=directory,
            endpoint_url=endpoint_url,
            region=settings.region,
            seed=settings.seed,
            time_scale=settings.scale,
            origin_ms=clock.wall_ms(),
            queue_urls={queue.name: queue.url for queue in queues},
            dead_letter_urls={
                queue.name: queue.dead_letters_url for queue in queues if queue.dead_letters_url
            },
            outside_url=f"http://127.0.0.1:{outside_port}",
            without=settings.without,
        )
        outside_server = LabServer(
            processes, "outside", outside_port, run_outside, plan, outside_port
        )
        await outside_server.start()
        outside = await stack.enter_async_context(OutsideClient(plan.outside_url, plan.clock()))
        yield Stage(
            scenario,
            plan,
            client=client,
            processes=processes,
            queues={queue.name: queue for queue in queues},
            outside=outside,
            outside_server=outside_server,
            broker=broker,
        )


def _broker(
    scenario: Scenario, settings: RunSettings, processes: Processes, directory: Path, port: int
) -> LabServer:
    """The lab's own broker, with the scenario's queues."""
    plan = BrokerPlan(
        port=port,
        data=directory / "broker",
        settings=scenario.broker(),
        time_scale=settings.scale,
        seed=settings.seed,
        region=settings.region,
        queues=[
            declared
            for queue in scenario.wanted_queues()
            for declared in queue.declared(scenario.name(), settings.project)
        ],
    )
    return LabServer(processes, "broker", port, run_broker, plan)


async def _address(
    client: HttpSqsClient, scenario: Scenario, queue: LabQueue, settings: RunSettings
) -> QueueAddress:
    full_name = queue.full_name(scenario.name(), settings.project)
    dead_name = queue.dead_name(scenario.name(), settings.project)
    try:
        return await find_queue(client, queue.name, full_name, dead_name)
    except SqsError as refusal:
        if refusal.fault != QUEUE_DOES_NOT_EXIST:
            raise
        raise CannotRun(
            f"Its queue {full_name} or its dead-letter queue is not there. Run `make infra-up`, or"
            " `forebay lab up`, and see `forebay lab validate`."
        ) from refusal


@asynccontextmanager
async def _watched(stage: Stage, audience: Audience) -> AsyncIterator[None]:
    """Note the depths of the queues, and show them and the faults, until the block ends."""
    told = _Faults(stage, audience)
    watching = asyncio.create_task(_watch(stage, audience, told))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        told.tell()


class _Faults:
    """Tells each fault once."""

    def __init__(self, stage: Stage, audience: Audience) -> None:
        self._stage = stage
        self._audience = audience
        self._told = 0

    def tell(self) -> None:
        faults = self._stage.faults()
        for fault in faults[self._told :]:
            self._audience.say(f"{_time(self._stage, fault.at_ms)}  {fault.text}")
        self._told = len(faults)


async def _watch(stage: Stage, audience: Audience, faults: _Faults) -> None:
    while True:
        faults.tell()
        with suppress(ForebayError, TimeoutError):
            async with asyncio.timeout(_LOOK_MAX_S):
                ledger = await stage.look()
            # What struck meanwhile was before what is shown now.
            faults.tell()
            stage.note_depths(ledger.readings.values())
            audience.show(
                [
                    Count("sent", ledger.sent, ledger.sent),
                    Count("in flight", ledger.in_flight, ledger.sent),
                    Count("done", ledger.done, ledger.sent),
                    Count("dead", ledger.dead, ledger.sent),
                ],
                at=_time(stage, ledger.now_ms),
            )
        await asyncio.sleep(_SAMPLE_S)


def _time(stage: Stage, at_ms: int) -> str:
    """How long the run has lasted, in its own time."""
    return f"{(at_ms - stage.plan.origin_ms) / 1000:7.1f} s"
