"""One queue at work: what came from it, what keeps it, and how each message of it ends."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.clock import Clock
from forebay.errors import SettingsError
from forebay.protocol.actions import Message
from forebay.protocol.identifiers import queue_key_from_url
from forebay.worker.acknowledge import Acknowledger
from forebay.worker.batch_calls import BatchCalls
from forebay.worker.context import Context
from forebay.worker.heartbeat import Heartbeat, Rhythm
from forebay.worker.lease import Event, Lease
from forebay.worker.ledger import LedgerBook, WorkerLedger
from forebay.worker.outcomes import Outcome
from forebay.worker.queue import Priority, Queue
from forebay.worker.queue_facts import QueueFacts, read_facts
from forebay.worker.release import Releaser
from forebay.worker.settlement import Settled, Settlement


class Source:
    """Takes in the messages of one queue, keeps them hidden and ends them.

    Each message is a lease from `take_in` on: `start` it when its handler begins, and `settle` it
    with the handler's outcome. One that never starts is given to `release_all`, or is settled as
    rejected. Its end comes later, when SQS confirms it; until then it is in hand.

    Raises SettingsError when the queue is to be its own dead-letter queue.
    """

    def __init__(self, context: Context, queue: Queue, facts: QueueFacts) -> None:
        self._context = context
        self.queue = queue
        self.facts = facts
        key = queue_key_from_url(facts.url)
        self.name = facts.url if key is None else key.name
        self.url = facts.url
        if queue.dead_letter_queue in (queue.name, self.name, facts.url, facts.arn):
            raise SettingsError(
                f"Queue {queue.name}: dead_letter_queue is the queue itself, to which what is"
                " rejected would come back. Name another queue."
            )
        self.priority: Priority = queue.priority
        self.fifo = facts.fifo
        #: For how long a receive is to hide its messages, in seconds.
        self.visibility_timeout_s: int = (
            queue.visibility_timeout_s
            or context.settings.visibility_timeout_s
            or facts.visibility_timeout_s
        )
        self.max_receive_count = facts.max_receive_count
        self._book = LedgerBook()
        rhythm = Rhythm(
            self.visibility_timeout_s,
            context.settings.heartbeat_fraction,
            context.settings.heartbeat_max_s,
        )
        calls = BatchCalls(context, facts.url)
        self._heartbeat = Heartbeat(context, calls, rhythm)
        self._acknowledger = Acknowledger(context, calls)
        self._settlement = Settlement(
            context,
            queue,
            facts,
            self._heartbeat,
            self._acknowledger,
            Releaser(context, calls, self._heartbeat),
        )

    @classmethod
    async def open(cls, context: Context, queue: Queue) -> Source:
        """Find the queue and read its attributes, once SQS can be reached.

        Raises SqsError when there is no such queue, and any other ForebayError of the client.
        """
        return cls(context, queue, await read_facts(context, queue.name))

    @property
    def clock(self) -> Clock:
        return self._context.clock

    @property
    def ledger(self) -> WorkerLedger:
        """Where every message received so far has gone."""
        return self._book.ledger()

    @property
    def in_hand(self) -> int:
        """Messages whose ending SQS has not confirmed, those that wait or run included."""
        return self._book.in_hand

    @property
    def failures(self) -> int:
        """Handlers that failed so far."""
        return self._settlement.failures

    def take_in(
        self, messages: Sequence[Message], taken_ms: int, asked_ms: int | None = None
    ) -> list[Lease]:
        """The leases of received messages, kept hidden from now on.

        `taken_ms` is the latest monotonic time from which their visibility timeout can be counted
        safely. It counts from earlier when a handler held up the event loop, because their answer
        has then waited to be read; but not from before `asked_ms`, when they were asked for.
        """
        held_since_ms = self._context.loop_watch.held_since_ms()
        if held_since_ms is not None:
            earliest_ms = held_since_ms if asked_ms is None else max(held_since_ms, asked_ms)
            taken_ms = min(taken_ms, earliest_ms)
        until_ms = taken_ms + self.visibility_timeout_s * 1000
        leases = []
        for message in messages:
            group_id = (message.attributes or {}).get("MessageGroupId") if self.fifo else None
            lease = Lease(message, self, taken_ms, taken_ms, until_ms, group_id)
            self._heartbeat.hold(lease)
            leases.append(lease)
        self._book.receive(leases)
        return leases

    def start(self, lease: Lease) -> None:
        """Its handler begins."""
        lease.step(Event.STARTED)

    async def settle(self, lease: Lease, outcome: Outcome, *, followed: bool = False) -> Settled:
        """Begin the end of a message, and say what its group does.

        It waits only for the copy of one that is rejected. `followed` tells whether others wait
        behind it in its group: a failure at the last receive would take them along. One that is
        StillRunning is settled again with how it ends.
        """
        return await self._settlement.settle(lease, outcome, followed=followed)

    def release_all(self, leases: Sequence[Lease], delay_s: int = 0) -> None:
        """Let messages come back after whole seconds that did not run. Groups keep their order."""
        self._settlement.release(list(leases), delay_s)

    async def extend(self, lease: Lease, duration_s: float) -> bool:
        """Hide a message for at least so long from now; SQS takes up to 12 hours in all.

        Returns False when SQS could not be told, or when somebody else may have the message.
        """
        return await self._heartbeat.extend(lease, duration_s)

    def flush(self) -> None:
        """Delete now what is gathered for deletion."""
        self._acknowledger.flush()

    def lose_all(self) -> int:
        """Give up everything in hand. Returns how much that was."""
        return self._book.lose_all()

    async def run_heartbeat(self) -> None:
        """Keep what is in hand hidden, until cancelled."""
        await self._heartbeat.run()

    def ended(self, lease: Lease) -> None:
        """A lease has ended; the lease itself says so."""
        self._heartbeat.let_go(lease)
        self._book.end(lease)
        self._context.changed()
