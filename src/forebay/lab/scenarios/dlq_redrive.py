"""Dead letters after the bug is mended: moved back, done once, and set aside if they fail again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from forebay.apps.verdicts import Verdict
from forebay.errors import ForebayError
from forebay.idempotency import AlreadyDone, CheckBeforeDoing, Guard
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import NotReached, Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
    named,
)
from forebay.protocol.actions import ListMessageMoveTasksRequest, StartMessageMoveTaskRequest
from forebay.worker import Queue, Received, Reject, Router, Worker, WorkerSettings

DEAD_LETTERED = "what the bug hit was dead-lettered"
REDRIVEN = "every dead letter came back as a new message"
QUARANTINED = "what fails again after the redrive is in quarantine"

#: What is done for a payment.
CHARGE = "charge"

#: The queue where a message lies that has failed before and after a redrive.
QUARANTINE = "quarantine"

#: What the consumer knows before and after its bug is mended. It charges, then writes a receipt.
CURRENCIES = {False: {"EUR", "USD"}, True: {"EUR", "USD", "JPY"}}
LANGUAGES = {False: {"en"}, True: {"en", "ja"}}

#: Looks at a move task, a second apart, after which it is taken to hang.
_LOOKS = 600


class Payment(Struct, frozen=True):
    """A payload: `id` names the payment however often SQS gives it a new MessageId."""

    id: str
    currency: str
    language: str = "en"


class DlqRedrive(Scenario):
    """A bug fills the dead-letter queue; it is mended, and the dead letters are moved back."""

    claim = (
        "Once the bug is mended, StartMessageMoveTask brings the dead letters back, no effect is"
        " done twice, and what fails again is set aside instead of going in circles."
    )
    queues = (LabQueue(), LabQueue(name=QUARANTINE, dead_letters=False))
    protections: ClassVar[Mapping[str, Protection]] = {
        "idempotency": Protection(
            "A payment is charged once for its id, whatever its MessageId. Without it each receive"
            " charges, also for payments that were charged before they failed.",
            breaks=EFFECTS_ONCE,
            because="performed more than once: ",
        ),
        "quarantine": Protection(
            "A message that failed before its redrive and fails again goes to the quarantine queue."
            " Without it it goes back to the dead-letter queue.",
            breaks=QUARANTINED,
            because="not in quarantine: .* in the dead-letter queue again",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=0, le=10_000, description="Payments without a fault.")] = 8
        refused: Annotated[
            int, Meta(ge=1, le=10_000, description="Payments that the bug hits before the charge.")
        ] = 4
        charged: Annotated[
            int, Meta(ge=1, le=10_000, description="Payments that the bug hits after the charge.")
        ] = 4
        hopeless: Annotated[
            int, Meta(ge=1, le=10_000, description="Payments that fail with and without the bug.")
        ] = 2
        consumers: Annotated[int, Meta(ge=1, le=50, description="Consumers at a time.")] = 2
        redrive_rate: Annotated[
            int,
            Meta(ge=0, le=500, description="Dead letters moved in a second; 0 lets SQS choose."),
        ] = 0

    async def setup(self, stage: Stage) -> None:
        options, chance = self.options, stage.random
        good, refused, charged, hopeless = (
            {stage.new_id() for _ in range(count)}
            for count in (options.count, options.refused, options.charged, options.hopeless)
        )
        self.hit, self.hopeless = refused | charged | hopeless, hopeless
        self.payable = good | refused | charged
        payments = [
            *({"id": each, "currency": chance.choice(("EUR", "USD"))} for each in sorted(good)),
            *({"id": each, "currency": "JPY"} for each in sorted(refused)),
            *({"id": each, "currency": "EUR", "language": "ja"} for each in sorted(charged)),
            *({"id": each, "currency": "none"} for each in sorted(hopeless)),
        ]
        chance.shuffle(payments)
        await stage.send(payments)

    async def fault(self, stage: Stage) -> None:
        stage.strike("the consumers have a bug")
        broken = [
            await stage.start(f"consumer-{number}", pay, mended=False)
            for number in range(1, self.options.consumers + 1)
        ]
        hit = len(self.hit)
        ledger = await stage.until(
            f"{hit} are dead-lettered",
            lambda ledger: ledger.dead >= hit and _at_rest(ledger),
            timeout_s=600,
        )
        self.dead_lettered = ledger.dead
        for consumer in broken:
            await stage.terminate(consumer)
        stage.strike("the bug is mended, and the consumers start again")
        for number in range(1, self.options.consumers + 1):
            await stage.start(f"consumer-{number}", pay, mended=True)
        await self._redrive(stage)
        hopeless = len(self.hopeless)
        await stage.until(
            f"all are done but the {hopeless} hopeless ones",
            lambda ledger: (
                _at_rest(ledger) and ledger.dead + ledger.readings[QUARANTINE].visible == hopeless
            ),
            timeout_s=600,
        )

    async def _redrive(self, stage: Stage) -> None:
        """Have SQS move the dead letters to where they came from, and wait until it has."""
        arn = stage.queue().dead_letters_arn or ""
        await stage.client.start_message_move_task(
            StartMessageMoveTaskRequest(
                source_arn=arn, max_number_of_messages_per_second=self.options.redrive_rate or None
            )
        )
        stage.strike("StartMessageMoveTask moves the dead letters back")
        for _ in range(_LOOKS):
            tasks = await stage.client.list_message_move_tasks(
                ListMessageMoveTasksRequest(source_arn=arn)
            )
            if [task for task in tasks.results or [] if task.status != "RUNNING"]:
                return
            await stage.sleep(1.0)
        raise NotReached("The move task still runs.")

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield Verdict(
            DEAD_LETTERED,
            self.dead_lettered >= len(self.hit),
            f"{self.dead_lettered} in the dead-letter queue, {len(self.hit)} that the bug hit",
        )
        lives: dict[str, set[str]] = {}
        for event in ledger.of(Kind.RECEIVED, queue=""):
            lives.setdefault(event.id, set()).add(event.message)
        gone = {each for each in self.hit if len(lives.get(each, ())) < 2}
        yield Verdict(
            REDRIVEN,
            not gone,
            named(gone, "never came back")
            if gone
            else f"{len(self.hit)} were received under two MessageIds",
        )
        yield effects_once(ledger, self.payable, CHARGE)
        quarantined = ledger.queue(QUARANTINE).visible_ids
        missing = self.hopeless - quarantined
        wrongly = quarantined - self.hopeless
        again = missing & ledger.queue().dead_ids
        yield Verdict(
            QUARANTINED,
            not missing and not wrongly,
            f"{len(quarantined)} in quarantine for {len(self.hopeless)} hopeless"
            + (f"; {named(missing, 'not in quarantine')}" if missing else "")
            + (f"; {len(again)} in the dead-letter queue again" if again else "")
            + (f"; {named(wrongly, 'in quarantine without cause')}" if wrongly else ""),
        )


def _at_rest(ledger: Ledger) -> bool:
    """Whether nobody has or awaits a message of the main queue."""
    reading = ledger.readings[""]
    return not reading.visible + reading.in_flight + reading.delayed


class Unpayable(ForebayError):
    """The payment cannot be made."""


async def pay(lab: Program, *, mended: bool) -> None:
    """A consumer that charges and then writes a receipt, with a bug in both until it is mended."""
    store = await lab.store()
    guard = Guard(store, clock=lab.clock)
    checked = CheckBeforeDoing(guard, store)
    router = Router()

    async def attempt_payment(received: Received[Payment]) -> None:
        payment = received.payload
        if payment.currency not in CURRENCIES[mended]:
            raise Unpayable(f"{payment.currency} is no currency that is known.")
        if lab.on("idempotency"):
            await checked.once(
                received,
                lambda attempt: lab.outside.perform(CHARGE, payment.id, key=attempt.key),
                by=("id",),
                action=CHARGE,
            )
        else:
            await lab.outside.perform(CHARGE, payment.id)
        if payment.language not in LANGUAGES[mended]:
            raise Unpayable(f"No receipt can be written in {payment.language}.")

    @router.raw(Payment)
    async def handle(received: Received[Payment]) -> None:
        try:
            await attempt_payment(received)
        except Unpayable as error:
            if lab.on("quarantine") and await failed_before_redrive(guard, received):
                raise Reject(f"It failed again after a redrive: {error}") from error
            raise

    # A rejected message goes to the queue that is named here, instead of to the dead-letter queue.
    queue = Queue(lab.queue_url, dead_letter_queue=lab.plan.queue_urls[QUARANTINE])
    settings = WorkerSettings(concurrency=2, pollers=1, wait_s=1, backoff_base_s=0)
    await lab.work(Worker(lab.client, queue, router, settings=settings, clock=lab.clock))


async def failed_before_redrive(guard: Guard, received: Received[Payment]) -> bool:
    """Whether this failure is not the first, and the earlier one was before a redrive.

    SQS's own count cannot tell: a message that was moved is a new one to SQS, with a new MessageId
    and a receive count from 1. So the MessageId of the first failure is kept.
    """
    first = await guard.run(f"first-failure/{received.payload.id}", lambda _: received.message_id)
    return isinstance(first, AlreadyDone) and first.read(str) != received.message_id
