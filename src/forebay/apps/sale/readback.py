"""Reads the sale's stores and queues back: for the progress bars, and for the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from msgspec import Struct

from forebay.apps.sale.domain import Order, OrderStatus, Outcome, Section, SectionKind
from forebay.apps.sale.ledger import (
    AcceptedOrder,
    HeldSeat,
    LoggedDecision,
    SaleFacts,
)
from forebay.apps.sale.notifications import NOTIFICATIONS_FILE
from forebay.apps.sale.queues import DEAD_LETTER_QUEUES, ORDERS, messages_left
from forebay.apps.sale.sqlite_store import SALE_FILE
from forebay.apps.sale.usage_terms import FROM_QUEUE, PLACE_ORDER
from forebay.apps.usage.accounts import UsageAccount, kept_account
from forebay.client.base import SqsClient
from forebay.messages.envelope import EnvelopeError, decode_envelope
from forebay.protocol.actions import (
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    Message,
    ReceiveMessageRequest,
)
from forebay.protocol.limits import BATCH_ENTRIES_MAX

#: Where the usage logs are, in the data directory.
USAGE_FILE = "usage.sqlite3"

#: Where the dead letters that were read are kept, in the data directory, one JSON object a line.
DEAD_LETTERS_FILE = "dead-letters.jsonl"

_decode_order = msgspec.json.Decoder(Order).decode


class Progress(Struct, frozen=True):
    """How far the sale has come, counted in the stores."""

    accepted: int = 0
    decided: int = 0
    failed: int = 0
    notified: int = 0
    logged: int = 0


class Stores:
    """The sale's SQLite files, which must exist, opened to look and not to write.

    Use it in one thread.
    """

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._sale = _open(data_directory / SALE_FILE)
        self._notifications = _open(data_directory / NOTIFICATIONS_FILE)
        self._usage = _open(data_directory / USAGE_FILE)

    def close(self) -> None:
        for connection in (self._sale, self._notifications, self._usage):
            connection.close()

    def progress(self) -> Progress:
        """The counts of this moment."""
        return Progress(
            accepted=_number(
                self._sale, "SELECT count(*) FROM requests WHERE accepted_at_ms IS NOT NULL"
            ),
            decided=_number(self._sale, "SELECT count(*) FROM decisions"),
            failed=_number(
                self._sale, "SELECT count(*) FROM orders WHERE status = ?", OrderStatus.FAILED
            ),
            notified=_number(self._notifications, "SELECT count(*) FROM sent_notifications"),
            logged=self.usage_stored(),
        )

    def usage_stored(self) -> int:
        """How many usage logs are stored."""
        return _number(self._usage, "SELECT count(*) FROM usage_logs")

    def usage_account(self) -> UsageAccount:
        """What the API processes that have stopped wrote down about their usage logs."""
        return kept_account(self._data_directory)

    def facts(self, dead_letters: list[str], left_in_queues: dict[str, int]) -> SaleFacts:
        """Everything there is to read, with what the queues said."""
        return SaleFacts(
            sections=self._sections(),
            sold={
                (event, name): sold
                for event, name, sold in _rows(self._sale, "SELECT event, name, sold FROM sections")
            },
            held_seats=[
                HeldSeat(*row)
                for row in _rows(
                    self._sale,
                    "SELECT event, section, seat, order_id FROM seats WHERE order_id IS NOT NULL",
                )
            ],
            accepted=[
                AcceptedOrder(*row)
                for row in _rows(
                    self._sale,
                    "SELECT order_id, event, section, buyer, arrived_at_ms, arrival_number,"
                    " acceptances FROM requests WHERE accepted_at_ms IS NOT NULL",
                )
            ],
            decisions=self._decisions(),
            dead_letters=dead_letters,
            notified=[
                order_id
                for (order_id,) in _rows(
                    self._notifications, "SELECT order_id FROM sent_notifications"
                )
            ],
            usage=self.usage_account(),
            usage_stored=self.usage_stored(),
            left_in_queues=left_in_queues,
            accept_us=[
                response_time_us
                for (response_time_us,) in _rows(
                    self._usage,
                    "SELECT response_time_us FROM usage_logs WHERE source = ? AND cache_tier = ?",
                    PLACE_ORDER,
                    FROM_QUEUE,
                )
            ],
        )

    def _sections(self) -> list[Section]:
        return [
            Section(event, name, SectionKind(kind), capacity)
            for event, name, kind, capacity in _rows(
                self._sale, "SELECT event, name, kind, capacity FROM sections"
            )
        ]

    def _decisions(self) -> list[LoggedDecision]:
        return [
            LoggedDecision(
                decision_number=number,
                order_id=order_id,
                event=event,
                section=section,
                outcome=Outcome(outcome),
                sequence_number=int(sequence_number),
                decided_at_ms=decided_at_ms,
                asked_seat=asked_seat,
                seat=seat,
                free=free,
            )
            for (
                number,
                order_id,
                event,
                section,
                outcome,
                sequence_number,
                decided_at_ms,
                asked_seat,
                seat,
                free,
            ) in _rows(
                self._sale,
                "SELECT decision_number, order_id, event, section, outcome, sequence_number,"
                " decided_at_ms, asked_seat, seat, free FROM decisions ORDER BY decision_number",
            )
        ]


async def count_left(client: SqsClient, queues: dict[str, str]) -> dict[str, int]:
    """How many messages are in each queue that has to be empty at the end.

    The orders' dead-letter queue is not one of them: it is where poison belongs.
    """
    return {
        name: await messages_left(client, url)
        for name, url in queues.items()
        if name != DEAD_LETTER_QUEUES[ORDERS]
    }


async def take_dead_letters(
    client: SqsClient, queues: dict[str, str], data_directory: Path
) -> list[str]:
    """The order id of each message in the orders' dead-letter queue.

    Only the first messages of a group can be looked at while they stay in a FIFO queue. So each is
    written to a file, and then deleted.
    """
    url = queues[DEAD_LETTER_QUEUES[ORDERS]]
    order_ids: list[str] = []
    with (data_directory / DEAD_LETTERS_FILE).open("ab") as archive:
        while True:
            answer = await client.receive_message(
                ReceiveMessageRequest(
                    queue_url=url,
                    max_number_of_messages=BATCH_ENTRIES_MAX,
                    wait_time_seconds=0,
                    message_attribute_names=["All"],
                    message_system_attribute_names=["All"],
                )
            )
            messages = answer.messages or []
            if not messages:
                return order_ids
            for message in messages:
                archive.write(msgspec.json.encode(message) + b"\n")
                order_ids.append(_order_id(message))
            archive.flush()
            await client.delete_message_batch(
                DeleteMessageBatchRequest(
                    queue_url=url,
                    entries=[
                        DeleteMessageBatchRequestEntry(
                            id=str(place), receipt_handle=message.receipt_handle
                        )
                        for place, message in enumerate(messages)
                    ],
                )
            )


def _order_id(message: Message) -> str:
    """The order that a dead letter is about; its message id when it cannot be read."""
    try:
        return _decode_order(decode_envelope(message.body).payload).order_id
    except (EnvelopeError, msgspec.MsgspecError):
        return message.message_id


def _open(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def _rows(connection: apsw.Connection, query: str, *values: str) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


def _number(connection: apsw.Connection, query: str, *values: str) -> int:
    return cast("int", connection.execute(query, values).get)
