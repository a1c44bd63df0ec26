"""Gives every log line of a handler the ids of its message."""

from __future__ import annotations

import logging

from forebay.worker.handled import HANDLED

#: Most ids of a batch that a line shows.
_IDS_SHOWN = 10


class MessageContext(logging.Filter):
    """Adds what a handler has to the records that are made in it.

    `queue`, `message_id`, `envelope_id`, `handler` and `receive_count` for one message; `queue`,
    `handler`, `messages` (how many) and `message_ids` (the first ten) for a batch. What a record
    has already stays. Add it to a logging handler: `handler.addFilter(MessageContext())`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _context().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def _context() -> dict[str, object]:
    handled = HANDLED.get()
    if handled is None:
        return {}
    route, messages = handled
    first = messages[0]
    common: dict[str, object] = {"queue": first.queue, "handler": route.handler_name}
    if route.batch:
        return common | {
            "messages": len(messages),
            "message_ids": [one.message_id for one in messages[:_IDS_SHOWN]],
        }
    return common | {
        "message_id": first.message_id,
        "envelope_id": first.id,
        "receive_count": first.receive_count,
    }
