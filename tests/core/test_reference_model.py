"""The engine against a small reference model, through any history, restarts included."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from forebay.broker.core.window import Window
from forebay.protocol import errors
from forebay.protocol.actions import (
    ChangeMessageVisibilityRequest,
    DeleteMessageRequest,
    PurgeQueueRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.limits import PURGE_INTERVAL_MS
from tests.core.harness import CALLER, JournaledSqs, arn_of, url_of
from tests.core.reference_model import VISIBILITY_CAP_MS, Model, Sent

TIMEOUT_S = 3
MAX_RECEIVES = 3
GROUPS = st.sampled_from(["g1", "g2", "g3"])


class QueueMachine(RuleBasedStateMachine):
    """One queue with a dead-letter queue, used in every way at once."""

    suffix = ""
    window = Window()
    retention_s = 60
    handles: Bundle[str] = Bundle("handles")

    @initialize()
    def open(self) -> None:
        self.sqs = JournaledSqs(self.window)
        self.sent = 0
        self.jobs = f"jobs{self.suffix}"
        self.dead = f"dead{self.suffix}"
        self.sqs.create(self.dead, {"MessageRetentionPeriod": 1_209_600})
        policy = {"deadLetterTargetArn": arn_of(self.dead), "maxReceiveCount": MAX_RECEIVES}
        self.sqs.create(
            self.jobs,
            {
                "VisibilityTimeout": TIMEOUT_S,
                "MessageRetentionPeriod": self.retention_s,
                "RedrivePolicy": json.dumps(policy),
            },
        )
        self.model = Model(
            fifo=bool(self.suffix),
            timeout_ms=TIMEOUT_S * 1000,
            retention_ms=self.retention_s * 1000,
        )
        self.deduplication_id = "m0"
        self.next_purge_ms = 0
        self.sqs.commit()

    @rule(count=st.integers(1, 4), group=GROUPS, delay_s=st.integers(0, 4), again=st.booleans())
    def send_some(self, count: int, group: str, delay_s: int, again: bool) -> None:
        for _ in range(count):
            self.send(group, delay_s, again)

    def send(self, group: str, delay_s: int, again: bool) -> None:
        self.sent += 1
        body = f"m{self.sent}"
        now = self.sqs.now_ms
        if not self.model.fifo:
            self.sqs.send(self.jobs, body, delay_s=delay_s, group=None if again else group)
            self.model.messages.append(Sent(body, None, now, now + delay_s * 1000))
            return
        if not again:
            self.deduplication_id = body
        self.sqs.send(self.jobs, body, group=group, deduplication_id=self.deduplication_id)
        if not self.model.is_duplicate(self.deduplication_id, now):
            self.model.originals[self.deduplication_id] = now
            self.model.messages.append(Sent(body, group, now, now + self.model.delay_ms))

    @rule(
        target=handles,
        limit=st.sampled_from([1, 2, 3, 10]),
        timeout_s=st.sampled_from([None, None, 0, 1, 30]),
    )
    def receive(self, limit: int, timeout_s: int | None) -> MultipleResults[str]:
        return multiple(*self.take(limit, timeout_s))

    def take(self, limit: int, timeout_s: int | None = None) -> list[str]:
        """Receive, and answer the receipt handles."""
        now = self.sqs.now_ms
        receivable = self.model.receivable(now)
        deliverable = [sent for sent in receivable if sent.received < MAX_RECEIVES]
        received = self.sqs.receive(self.jobs, limit, timeout_s=timeout_s)
        by_body = {sent.body: sent for sent in deliverable}
        bodies = [message.body for message in received]
        assert len(set(bodies)) == len(bodies), "a message twice in one receive"
        assert set(bodies) <= set(by_body), "a message that must not be received"
        assert len(bodies) >= self.owed(limit, deliverable), "a message withheld"
        if self.model.fifo:
            self.check_group_order(bodies, deliverable)
        self.follow_the_dead(receivable, ran_dry=len(bodies) < limit)
        timeout_ms = self.model.timeout_ms if timeout_s is None else timeout_s * 1000
        for message in received:
            sent = by_body[message.body]
            sent.received += 1
            sent.taken_at = now
            sent.visible_at = now + timeout_ms
            sent.handles.append(message.receipt_handle)
            assert message.attributes is not None
            assert message.attributes["ApproximateReceiveCount"] == str(sent.received)
        return [message.receipt_handle for message in received]

    def owed(self, limit: int, deliverable: list[Sent]) -> int:
        """How many messages a receive has to answer at least."""
        return min(limit, len(deliverable))

    def check_group_order(self, bodies: list[str], deliverable: list[Sent]) -> None:
        for group in {sent.group for sent in deliverable}:
            in_group = [sent.body for sent in deliverable if sent.group == group]
            got = [body for body in bodies if body in in_group]
            assert got == in_group[: len(got)], "a group out of order"

    def follow_the_dead(self, receivable: list[Sent], *, ran_dry: bool) -> None:
        """See which exhausted messages the receive moved; when it ran dry, it moved them all."""
        dead = set()
        while messages := self.sqs.receive(self.dead):
            for message in messages:
                assert message.body not in dead, "a dead letter twice"
                dead.add(message.body)
                self.sqs.delete(self.dead, message)
        exhausted = [sent for sent in receivable if sent.received >= MAX_RECEIVES]
        assert dead <= {sent.body for sent in exhausted}, "moved without cause"
        assert len(dead) == len(exhausted) or not ran_dry, "an exhausted message stayed"
        for sent in exhausted:
            if sent.body in dead:
                self.model.messages.remove(sent)

    @rule(handle=handles)
    def delete(self, handle: str) -> None:
        now = self.sqs.now_ms
        self.model.settle(now)
        sent = self.model.find(handle)
        request = DeleteMessageRequest(queue_url=url_of(self.jobs), receipt_handle=handle)
        if self.model.fifo and sent is not None and not self.model.is_current(sent, handle, now):
            with pytest.raises(SqsError, match="expired"):
                self.sqs.call(request)
            return
        self.sqs.call(request)
        if sent is not None:
            self.model.messages.remove(sent)

    @rule(handle=handles, timeout_s=st.sampled_from([0, 0, 1, 5, 43_200]))
    def change_visibility(self, handle: str, timeout_s: int) -> None:
        now = self.sqs.now_ms
        self.model.settle(now)
        sent = self.model.find(handle)
        request = ChangeMessageVisibilityRequest(
            queue_url=url_of(self.jobs), receipt_handle=handle, visibility_timeout=timeout_s
        )
        visible_at = now + timeout_s * 1000
        is_current = sent is not None and self.model.is_current(sent, handle, now)
        refused = (
            sent is None
            or (self.model.fifo and not is_current)
            or (is_current and visible_at > sent.taken_at + VISIBILITY_CAP_MS)
        )
        if refused:
            with pytest.raises(SqsError) as refusal:
                self.sqs.call(request)
            assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE
            return
        self.sqs.call(request)
        assert sent is not None
        if is_current:
            sent.visible_at = visible_at

    @rule(seconds=st.sampled_from([0.001, 0.999, 1, 3, 20, 299, 300]))
    def wait(self, seconds: float) -> None:
        self.sqs.wait(seconds)

    @rule()
    def tick(self) -> None:
        self.sqs.engine.tick(self.sqs.now_ms)
        due = self.sqs.engine.next_due()
        assert due > self.sqs.now_ms

    @rule()
    def purge(self) -> None:
        request = PurgeQueueRequest(queue_url=url_of(self.jobs))
        if self.sqs.now_ms < self.next_purge_ms:
            with pytest.raises(SqsError) as refusal:
                self.sqs.call(request)
            assert refusal.value.fault is errors.PURGE_QUEUE_IN_PROGRESS
            return
        self.sqs.call(request)
        self.next_purge_ms = self.sqs.now_ms + PURGE_INTERVAL_MS
        self.model.messages.clear()
        self.model.originals.clear()

    @rule()
    def restart(self) -> None:
        """Lose the engine and build it anew from what was committed."""
        self.sqs.restart()
        self.see_the_backlog()

    def see_the_backlog(self) -> None:
        """Have what was never received read, all of which is in the first page."""
        self.sqs.engine.peek(url_of(self.jobs), CALLER, self.sqs.now_ms)
        self.sqs.bring_all()

    @rule(handle=consumes(handles))
    def forget(self, handle: str) -> None:
        """A consumer dies with its handle."""

    @invariant()
    def the_counts_are_exact(self) -> None:
        if hasattr(self, "model"):
            expected = self.model.counts(self.sqs.now_ms)
            # Messages behind the horizon expire when the pages before them have.
            while sum(self.sqs.counts(self.jobs)) > sum(expected) and self.sqs.bring_all():
                pass
            assert self.sqs.counts(self.jobs) == expected

    def teardown(self) -> None:
        """Every message that may be received is."""
        if not hasattr(self, "model"):
            return
        deliverable = [
            sent.body
            for sent in self.model.receivable(self.sqs.now_ms)
            if sent.received < MAX_RECEIVES
        ]
        received = []
        while messages := self.sqs.receive(self.jobs):
            for message in messages:
                received.append(message.body)
                self.sqs.delete(self.jobs, message)
        assert sorted(received) == sorted(deliverable)


class FifoQueueMachine(QueueMachine):
    """The same, first in, first out within each group."""

    suffix = ".fifo"

    @rule(delay_s=st.sampled_from([0, 1, 4, 50]))
    def change_delay(self, delay_s: int) -> None:
        self.sqs.set_attributes(self.jobs, DelaySeconds=delay_s)
        self.model.change_delay(delay_s * 1000, self.sqs.now_ms)


class DeepQueueMachine(QueueMachine):
    """The same with a window so small that most messages are in the journal alone."""

    window = Window(messages=4, page_messages=3, delay_step_ms=1)

    def owed(self, limit: int, deliverable: list[Sent]) -> int:
        return min(1, limit, len(deliverable))

    def see_the_backlog(self) -> None:
        """The receives see to that."""

    @rule(
        count=st.integers(1, 5),
        group=GROUPS,
        delay_s=st.integers(0, 4),
        again=st.booleans(),
        when=st.sampled_from(["asked", "taken", "read"]),
        then_commit=st.booleans(),
    )
    def send_while_a_page_comes(
        self, count: int, group: str, delay_s: int, again: bool, when: str, then_commit: bool
    ) -> None:
        self.sqs.engine.peek(url_of(self.jobs), CALLER, self.sqs.now_ms)
        for step, act in {
            "asked": self.sqs.take,
            "taken": self.sqs.read,
            "read": self.sqs.bring,
        }.items():
            if step == when:
                for _ in range(count):
                    self.send(group, delay_s, again)
                if then_commit:
                    self.sqs.commit()
            act()

    @rule()
    def take_page(self) -> None:
        self.sqs.take()

    @rule()
    def read_page(self) -> None:
        self.sqs.read()

    @rule()
    def bring_page(self) -> None:
        self.sqs.bring()


class DeepFairQueueMachine(DeepQueueMachine):
    """The same with noisy tenants, so that pages of quiet ones come between."""

    window = Window(messages=8, page_messages=5, tenant_page_messages=2, delay_step_ms=1)
    retention_s = 1_209_600

    @initialize()
    def open(self) -> None:
        super().open()
        self.flood("g1", ["g2", "g3", "g2", "g2"], delay_s=0)
        self.receive_slowly()

    @rule(noisy=GROUPS, quiet=st.lists(GROUPS, max_size=4), delay_s=st.integers(0, 4))
    def flood(self, noisy: str, quiet: list[str], delay_s: int) -> None:
        for group in [*[noisy] * 12, *quiet]:
            self.send(group, delay_s, again=False)

    @rule(target=QueueMachine.handles)
    def receive_slowly(self) -> MultipleResults[str]:
        """A consumer takes so long that the tenant of its message is noisy."""
        received = self.take(1, timeout_s=30)
        self.sqs.wait(10)
        for handle in received:
            self.change_visibility(handle, 0)
        return multiple(*received)

    @rule(limit=st.integers(1, 4), then_commit=st.booleans())
    def finish_some_while_a_page_comes(self, limit: int, then_commit: bool) -> None:
        self.sqs.engine.peek(url_of(self.jobs), CALLER, self.sqs.now_ms)
        self.sqs.take()
        self.sqs.read()
        for handle in self.take(limit):
            self.delete(handle)
        if then_commit:
            self.sqs.commit()
        self.sqs.bring()


class DeepFifoQueueMachine(DeepQueueMachine, FifoQueueMachine):
    """The same, first in, first out within each group."""

    suffix = ".fifo"


THOROUGH = settings(
    max_examples=400,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

TestStandardQueue = QueueMachine.TestCase
TestStandardQueue.settings = THOROUGH
TestFifoQueue = FifoQueueMachine.TestCase
TestFifoQueue.settings = THOROUGH
TestDeepQueue = DeepQueueMachine.TestCase
TestDeepQueue.settings = THOROUGH
TestDeepFairQueue = DeepFairQueueMachine.TestCase
TestDeepFairQueue.settings = THOROUGH
TestDeepFifoQueue = DeepFifoQueueMachine.TestCase
TestDeepFifoQueue.settings = THOROUGH
