"""What a scenario acts with: queues, producers, consumers, a service outside, and faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from forebay.client.base import SqsClient
from forebay.errors import ForebayError
from forebay.lab.events import KILLED, TOLD_TO_STOP, Event, EventLog, EventReader, Kind
from forebay.lab.ledger import Ledger, Reading
from forebay.lab.outside.client import OutsideClient, OutsideError
from forebay.lab.outside.ledger import PerformedEffect
from forebay.lab.processes import Process, Processes
from forebay.lab.program import Plan, ProgramFunction, run_program
from forebay.lab.programs.consume import consume
from forebay.lab.programs.send import Outgoing, send
from forebay.lab.reading import QueueAddress, read_queue, take_out
from forebay.lab.scenario import Scenario
from forebay.lab.servers import LabServer
from forebay.protocol.actions import PurgeQueueRequest
from forebay.protocol.errors import PURGE_QUEUE_IN_PROGRESS, SqsError
from forebay.scaled_clock import ScaledClock

#: How often it is looked whether something has come about, in real seconds.
_LOOK_S = 0.02

#: How long anything is waited for at least, in real seconds, however fast the run's time passes: a
#: busy machine is not faster for it.
_PATIENCE_MIN_S = 30.0

#: How long an earlier run's messages may be in flight, in seconds: longer than any scenario's
#: visibility timeout.
_EMPTIED_WITHIN_S = 120.0

#: Looks in a row that must find the same counts, where a queue counts only about right.
_SAME_LOOKS = 3

#: Looks in a row that must find a queue empty. Source: the runner of document 001.
_EMPTY_LOOKS = 3


class NotReached(ForebayError):
    """What a scenario waited for has not come about."""


class Stage:
    """Everything that a scenario may touch. Times are in the run's own seconds."""

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        *,
        client: SqsClient,
        processes: Processes,
        queues: Mapping[str, QueueAddress],
        outside: OutsideClient,
        outside_server: LabServer,
        broker: LabServer | None,
    ) -> None:
        self.options = scenario.options
        self.without = scenario.without
        self.plan = plan
        self.directory: Path = plan.directory
        #: Everything that is drawn is drawn from this, so that a seed gives the same run.
        self.random = random.Random(plan.seed)
        self.clock: ScaledClock = plan.clock()
        #: Asks SQS for the scenario itself. What it does is in no ledger.
        self.client = client
        self.outside = outside
        self.outside_server = outside_server
        #: The lab's own broker; None when the run is on another SQS.
        self.broker = broker
        self.exits: dict[str, int] = {}
        self._scenario = scenario
        self._processes = processes
        self._queues = queues
        self._events = EventLog(plan.directory, "lab", self.clock)
        self._reader = EventReader(plan.directory)
        #: Those whose end nobody has waited for.
        self._started: list[Process] = []

    def on(self, protection: str) -> bool:
        """Whether a protection is on."""
        return self._scenario.on(protection)

    def queue(self, name: str = "") -> QueueAddress:
        """Where a queue of the scenario is."""
        return self._queues[name]

    def new_id(self) -> str:
        """An id for a message, of the seed."""
        return f"{self.random.getrandbits(128):032x}"

    async def send(
        self,
        payloads: Iterable[Mapping[str, Any] | Outgoing],
        *,
        queue: str = "",
        rate: float = 0.0,
        batch: int = 10,
        process: str = "producer",
    ) -> None:
        """Send messages from a process of its own, and wait until SQS has taken them all.

        A payload is the body; it gets an `id` when it has none. `rate` is in messages a second, 0
        for as fast as possible. Raises NotReached when some were not sent.
        """
        producer = await self.start_producer(
            payloads, queue=queue, rate=rate, batch=batch, process=process
        )
        code = await self.ended(producer)
        if code != 0:
            raise NotReached(f"{process} has not sent everything. {producer.tail()}")

    async def start_producer(
        self,
        payloads: Iterable[Mapping[str, Any] | Outgoing],
        *,
        queue: str = "",
        rate: float = 0.0,
        batch: int = 10,
        process: str = "producer",
        endless: bool = False,
        retries: bool = True,
    ) -> Process:
        """As `send`, without waiting. `endless` begins again at the end, until SIGTERM.

        Without `retries` a call that fails is not made again.
        """
        messages = [self._outgoing(payload) for payload in payloads]
        file = self.directory / f"{process}.json"
        file.write_bytes(msgspec.json.encode(messages))
        return await self.start(
            process,
            send,
            file=file,
            queue_url=self.queue(queue).url,
            rate=rate,
            batch=batch,
            endless=endless,
            retries=retries,
        )

    async def consume(
        self, process: str, *, queue: str = "", heartbeat: bool = True, **variables: object
    ) -> Process:
        """Start `forebay consume`, with the document's variables; the rest as by default.

        Its tables are the run's own, unless they are given as "". The effect is in the service
        outside. Without `heartbeat` nobody extends the visibility timeout of what it works on.
        """
        database = f"sqlite:///{self.directory / 'tables.sqlite3'}"
        given = {
            "QUEUE_URL": self.queue(queue).url,
            "MESSAGE_STATUS_TABLE": database,
            "MESSAGE_SIDE_EFFECTS_TABLE": self.plan.outside_url,
            **{name: str(value) for name, value in variables.items()},
        }
        return await self.start(process, consume, variables=given, heartbeat=heartbeat)

    async def start(self, process: str, program: ProgramFunction, **arguments: Any) -> Process:
        """Start a program of a module in a process of its own.

        Its name may have been used by one that has ended.
        """
        started = self._processes.start(
            process, run_program, self.plan, process, program, arguments
        )
        self._started.append(started)
        return started

    async def ended(self, process: Process, timeout_s: float = 300.0) -> int:
        """Wait until a process has ended, and return its exit code. Raises ProcessHangs."""
        code = await process.wait(self._real_s(timeout_s))
        self.exits[process.name] = code
        if process in self._started:
            self._started.remove(process)
        self._events.write(Kind.ENDED, subject=process.name, value=code)
        return code

    async def kill(self, process: Process) -> None:
        """SIGKILL a process, and mark it on the timeline."""
        self.strike(f"{process.name}{KILLED}")
        process.kill()
        await self.ended(process)

    async def terminate(self, process: Process, timeout_s: float = 300.0) -> int:
        """SIGTERM a process, mark it, and wait for its exit code. Raises ProcessHangs."""
        self.strike(f"{process.name}{TOLD_TO_STOP}")
        process.terminate()
        return await self.ended(process, timeout_s)

    async def purge(self, queue: str = "") -> bool:
        """Have SQS delete all messages of a queue.

        False when it refuses, because it was told so within the last 60 seconds.
        """
        address = self.queue(queue)
        try:
            await self.client.purge_queue(PurgeQueueRequest(queue_url=address.url))
        except SqsError as refusal:
            if refusal.fault != PURGE_QUEUE_IN_PROGRESS:
                raise
            self.strike(f"{PURGE_QUEUE_IN_PROGRESS.name}: {address.full_name} is not purged again")
            return False
        self._events.write(Kind.PURGED, queue=address.full_name)
        return True

    def strike(self, text: str) -> None:
        """Mark a fault, or whatever else the scenario does, on the timeline."""
        self._events.write(Kind.FAULT, text=text)

    async def sleep(self, duration_s: float) -> None:
        await self.clock.sleep(duration_s)

    async def until(
        self, what: str, holds: Callable[[Ledger], bool], timeout_s: float = 300.0
    ) -> Ledger:
        """Wait until something is so in the ledger, and return it.

        Raises NotReached, with what is so instead, when it takes longer than `timeout_s`.
        """
        until_ms = self.clock.monotonic_ms() + self._real_s(timeout_s) * 1000 * self.clock.scale
        while True:
            ledger = await self.look()
            if holds(ledger):
                return ledger
            if self.clock.monotonic_ms() >= until_ms:
                books = "; ".join(str(queue) for queue in ledger.queues.values())
                raise NotReached(f"It was waited in vain until {what}. {books}.")
            await self.clock.sleep(_LOOK_S * self.clock.scale)

    async def drained(self, queue: str = "", timeout_s: float = 600.0) -> Ledger:
        """Wait until a queue has nothing visible, in flight or delayed any more."""
        looks = 0

        def empty(ledger: Ledger) -> bool:
            nonlocal looks
            reading = ledger.readings[queue]
            left = reading.visible + reading.in_flight + reading.delayed
            looks = 0 if left else looks + 1
            return looks >= _EMPTY_LOOKS

        return await self.until("the queue is empty", empty, timeout_s)

    async def look(self) -> Ledger:
        """The ledger at this moment. Raises what the client raises while SQS is away."""
        readings = [await read_queue(self.client, queue) for queue in self._queues.values()]
        return await self._ledger(readings)

    async def last_look(self) -> Ledger:
        """The ledger of a run that breaks off: what is known of it, whether SQS answers or not."""
        try:
            return await self.look()
        except ForebayError:
            return await self._ledger([])

    def faults(self) -> list[Event]:
        """The faults so far, as they were found: a later call has the same ones first."""
        self._reader.read()
        return [event for event in self._reader.events if event.kind is Kind.FAULT]

    def note_depths(self, readings: Iterable[Reading]) -> None:
        """Write down how many messages each queue has, for the timeline."""
        for reading in readings:
            for subject, value in (
                ("visible", reading.visible + reading.delayed),
                ("in flight", reading.in_flight),
                ("dead-lettered", reading.dead),
            ):
                self._events.write(Kind.DEPTH, queue=reading.queue, subject=subject, value=value)

    async def empty_queues(self) -> None:
        """Take out what an earlier run has left in the queues, where there can be any.

        Raises NotReached when messages stay in flight.
        """
        if self.broker is not None:
            return
        urls = [
            url
            for queue in self._queues.values()
            for url in (queue.url, queue.dead_letters_url)
            if url is not None
        ]

        async def take_all_out() -> bool:
            for url in urls:
                await take_out(self.client, url)
            ledger = await self.look()
            return not any(
                each.visible + each.in_flight + each.delayed + each.dead
                for each in ledger.readings.values()
            )

        until_ms = self.clock.monotonic_ms() + _EMPTIED_WITHIN_S * 1000
        while not await take_all_out():
            if self.clock.monotonic_ms() >= until_ms:
                raise NotReached(
                    "Its queues have messages of somebody else in flight. Stop who receives them,"
                    " or wait until their visibility timeout is over."
                )
            await self.clock.sleep(1)

    async def close_books(self) -> Ledger:
        """Stop what still runs, take out what the queues hold, and return the last ledger."""
        for process in self._started:
            if process.runs:
                process.terminate()
        for process in list(self._started):
            await self.ended(process)
        readings = []
        for queue in self._queues.values():
            reading = await self._settled(queue)
            found = await take_out(self.client, queue.url)
            dead = (
                await take_out(self.client, queue.dead_letters_url)
                if queue.dead_letters_url
                else []
            )
            readings.append(msgspec.structs.replace(reading, found=found, found_dead=dead))
        self.note_depths(readings)
        return await self._ledger(readings)

    async def _settled(self, queue: QueueAddress) -> Reading:
        """The counts of a queue that nobody uses any more.

        The lab's own broker counts exactly. SQS counts within about a minute, so there they are
        read until they stay the same.
        """
        reading = await read_queue(self.client, queue)
        same = 0
        while self.broker is None and same < _SAME_LOOKS:
            await self.clock.sleep(1)
            before, reading = reading, await read_queue(self.client, queue)
            same = same + 1 if reading == before else 0
        return reading

    async def _ledger(self, readings: list[Reading]) -> Ledger:
        self._reader.read()
        return Ledger(
            self._reader.events,
            readings,
            await self._effects(),
            now_ms=self.clock.wall_ms(),
            exits=self.exits,
        )

    async def _effects(self) -> list[PerformedEffect]:
        try:
            return await self.outside.effects()
        except OutsideError:
            # It was killed and starts again; it has its ledger then.
            return []

    def _outgoing(self, payload: Mapping[str, Any] | Outgoing) -> Outgoing:
        if isinstance(payload, Outgoing):
            if "id" in payload.body:
                return payload
            return msgspec.structs.replace(payload, body={"id": self.new_id(), **payload.body})
        return Outgoing(body={"id": self.new_id(), **payload})

    def _real_s(self, duration_s: float) -> float:
        return max(duration_s / self.clock.scale, _PATIENCE_MIN_S)
