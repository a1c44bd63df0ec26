"""The sale's store in a SQLite file that several processes share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import cast

import apsw
import msgspec

from forebay.apps.sale.domain import (
    Availability,
    Decision,
    Order,
    OrderStatus,
    Outcome,
    Section,
    SectionKind,
    decide,
)
from forebay.apps.sale.store import (
    AlreadyAccepted,
    Arrival,
    Delivery,
    Notification,
    OrderRecord,
    OtherRequest,
    OutboxRow,
    Queued,
    Unqueued,
)
from forebay.sqlite import SharedWriter

#: The store's file in a data directory.
SALE_FILE = "sale.sqlite3"

_SCHEMA = files("forebay.apps.sale").joinpath("schema.sql").read_text()

_decode_notification = msgspec.json.Decoder(Notification).decode


class SqliteSaleStore:
    """A SaleStore in one SQLite file, written in groups of operations, each atomic by itself."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> SqliteSaleStore:
        """Open or create the file. Raises StoreError."""
        return cls(await SharedWriter.open(path, _SCHEMA))

    async def close(self) -> None:
        await self._writer.close()

    async def claim(self, arrival: Arrival) -> Unqueued | AlreadyAccepted | OtherRequest:
        return await self._writer.run(lambda connection: _claim(connection, arrival))

    async def accept(self, order_id: str, queued: Queued, now_ms: int) -> None:
        await self._writer.run(lambda connection: _accept(connection, order_id, queued, now_ms))

    async def find(self, order_id: str) -> OrderRecord | None:
        return await self._writer.read(lambda connection: _find(connection, order_id))

    async def open_sections(self, sections: Sequence[Section]) -> None:
        await self._writer.run(lambda connection: _open_sections(connection, sections))

    async def sections(self) -> list[Section]:
        return await self._writer.read(_sections)

    async def decide(self, order: Order, delivery: Delivery, now_ms: int) -> Decision:
        return await self._writer.run(
            lambda connection: _decide(connection, order, delivery, now_ms)
        )

    async def fail(self, order: Order, reason: str, now_ms: int) -> None:
        await self._writer.run(lambda connection: _fail(connection, order, reason, now_ms))

    async def unsent(self, limit: int) -> list[OutboxRow]:
        return await self._writer.read(lambda connection: _unsent(connection, limit))

    async def mark_sent(self, numbers: Sequence[int], now_ms: int) -> None:
        await self._writer.run(lambda connection: _mark_sent(connection, numbers, now_ms))


def _claim(
    connection: apsw.Connection, arrival: Arrival
) -> Unqueued | AlreadyAccepted | OtherRequest:
    order = arrival.order
    known = connection.execute(
        "SELECT fingerprint, accepted_at_ms FROM requests WHERE order_id = ?", (order.order_id,)
    ).fetchone()
    if known is None:
        connection.execute(
            "INSERT INTO requests"
            " (order_id, event, section, buyer, fingerprint, arrived_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                order.order_id,
                order.event,
                order.section,
                order.buyer,
                arrival.fingerprint,
                arrival.arrived_at_ms,
            ),
        )
        return Unqueued()
    fingerprint, accepted_at_ms = known
    if fingerprint != arrival.fingerprint:
        return OtherRequest()
    result = _result(connection, order.order_id)
    if result is None and accepted_at_ms is None:
        return Unqueued()
    connection.execute(
        "UPDATE requests SET acceptances = acceptances + 1,"
        " accepted_at_ms = coalesce(accepted_at_ms, ?) WHERE order_id = ?",
        (arrival.arrived_at_ms, order.order_id),
    )
    return AlreadyAccepted(result or OrderRecord(order.order_id, OrderStatus.RECEIVED))


def _accept(connection: apsw.Connection, order_id: str, queued: Queued, now_ms: int) -> None:
    connection.execute(
        "UPDATE requests SET acceptances = acceptances + 1,"
        " accepted_at_ms = coalesce(accepted_at_ms, ?),"
        " message_id = coalesce(message_id, ?),"
        " sequence_number = coalesce(sequence_number, ?) WHERE order_id = ?",
        (now_ms, queued.message_id, queued.sequence_number, order_id),
    )


def _result(connection: apsw.Connection, order_id: str) -> OrderRecord | None:
    row = connection.execute(
        "SELECT status, seat, reason FROM orders WHERE order_id = ?", (order_id,)
    ).fetchone()
    return None if row is None else OrderRecord(order_id, OrderStatus(row[0]), row[1], row[2])


def _find(connection: apsw.Connection, order_id: str) -> OrderRecord | None:
    result = _result(connection, order_id)
    if result is not None:
        return result
    accepted = connection.execute(
        "SELECT 1 FROM requests WHERE order_id = ? AND accepted_at_ms IS NOT NULL", (order_id,)
    ).fetchone()
    return None if accepted is None else OrderRecord(order_id, OrderStatus.RECEIVED)


def _open_sections(connection: apsw.Connection, sections: Sequence[Section]) -> None:
    for section in sections:
        connection.execute(
            "INSERT OR IGNORE INTO sections (event, name, kind, capacity) VALUES (?, ?, ?, ?)",
            (section.event, section.name, section.kind, section.capacity),
        )
        if connection.changes() and section.kind is SectionKind.RESERVED:
            connection.executemany(
                "INSERT INTO seats (event, section, seat) VALUES (?, ?, ?)",
                ((section.event, section.name, seat) for seat in range(1, section.capacity + 1)),
            )


def _sections(connection: apsw.Connection) -> list[Section]:
    return [
        Section(event, name, SectionKind(kind), capacity)
        for event, name, kind, capacity in connection.execute(
            "SELECT event, name, kind, capacity FROM sections ORDER BY event, name"
        )
    ]


def _decide(connection: apsw.Connection, order: Order, delivery: Delivery, now_ms: int) -> Decision:
    earlier = _earlier_decision(connection, order.order_id)
    section, availability = _look_up(connection, order)
    decision = decide(order, section, availability, earlier)
    if earlier is None:
        _take_place(connection, order, decision)
        _set_status(connection, order, OrderStatus(decision.outcome), now_ms, seat=decision.seat)
        _log_decision(
            connection, order, decision, free=availability.free, delivery=delivery, now_ms=now_ms
        )
        _put_in_outbox(connection, order, decision)
    return decision


def _earlier_decision(connection: apsw.Connection, order_id: str) -> Decision | None:
    row = connection.execute(
        "SELECT status, seat FROM orders WHERE order_id = ? AND status <> ?",
        (order_id, OrderStatus.FAILED),
    ).fetchone()
    return None if row is None else Decision(Outcome(row[0]), row[1])


def _look_up(connection: apsw.Connection, order: Order) -> tuple[Section | None, Availability]:
    place = (order.event, order.section)
    row = connection.execute(
        "SELECT kind, capacity, sold FROM sections WHERE event = ? AND name = ?", place
    ).fetchone()
    if row is None:
        return None, Availability(free=0)
    kind, capacity, sold = row
    section = Section(order.event, order.section, SectionKind(kind), capacity)
    if section.kind is SectionKind.GENERAL:
        return section, Availability(free=capacity - sold)
    free_seats = "SELECT min(seat) FROM seats WHERE event = ? AND section = ? AND order_id IS NULL"
    if order.seat is None:
        best_seat = connection.execute(free_seats, place).get
        return section, Availability(capacity - sold, best_seat=cast("int | None", best_seat))
    asked_seat = connection.execute(free_seats + " AND seat = ?", (*place, order.seat)).get
    return section, Availability(capacity - sold, asked_seat_free=asked_seat is not None)


def _take_place(connection: apsw.Connection, order: Order, decision: Decision) -> None:
    if decision.outcome is not Outcome.CONFIRMED:
        return
    connection.execute(
        "UPDATE sections SET sold = sold + 1 WHERE event = ? AND name = ?",
        (order.event, order.section),
    )
    if decision.seat is not None:
        connection.execute(
            "UPDATE seats SET order_id = ? WHERE event = ? AND section = ? AND seat = ?",
            (order.order_id, order.event, order.section, decision.seat),
        )


def _set_status(
    connection: apsw.Connection,
    order: Order,
    status: OrderStatus,
    now_ms: int,
    *,
    seat: int | None = None,
    reason: str | None = None,
) -> None:
    connection.execute(
        "INSERT INTO orders (order_id, event, section, buyer, status, seat, reason, changed_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET"
        " status = excluded.status, seat = excluded.seat, reason = excluded.reason,"
        " changed_at_ms = excluded.changed_at_ms",
        (
            order.order_id,
            order.event,
            order.section,
            order.buyer,
            status,
            seat,
            reason,
            now_ms,
        ),
    )


def _log_decision(
    connection: apsw.Connection,
    order: Order,
    decision: Decision,
    *,
    free: int,
    delivery: Delivery,
    now_ms: int,
) -> None:
    connection.execute(
        "INSERT INTO decisions (order_id, event, section, asked_seat, outcome, seat, free,"
        " message_id, sequence_number, decided_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            order.order_id,
            order.event,
            order.section,
            order.seat,
            decision.outcome,
            decision.seat,
            free,
            delivery.message_id,
            delivery.sequence_number,
            now_ms,
        ),
    )


def _put_in_outbox(connection: apsw.Connection, order: Order, decision: Decision) -> None:
    notification = Notification(
        order_id=order.order_id,
        buyer=order.buyer,
        event=order.event,
        section=order.section,
        outcome=decision.outcome,
        seat=decision.seat,
    )
    connection.execute(
        "INSERT INTO outbox (order_id, payload) VALUES (?, ?)",
        (order.order_id, msgspec.json.encode(notification)),
    )


def _fail(connection: apsw.Connection, order: Order, reason: str, now_ms: int) -> None:
    if _earlier_decision(connection, order.order_id) is None:
        _set_status(connection, order, OrderStatus.FAILED, now_ms, reason=reason)


def _unsent(connection: apsw.Connection, limit: int) -> list[OutboxRow]:
    return [
        OutboxRow(number, _decode_notification(payload))
        for number, payload in connection.execute(
            "SELECT number, payload FROM outbox WHERE sent_at_ms IS NULL ORDER BY number LIMIT ?",
            (limit,),
        )
    ]


def _mark_sent(connection: apsw.Connection, numbers: Sequence[int], now_ms: int) -> None:
    connection.executemany(
        "UPDATE outbox SET sent_at_ms = ? WHERE number = ?",
        ((now_ms, number) for number in numbers),
    )
