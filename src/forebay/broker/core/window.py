"""How much of each queue is in memory."""

from __future__ import annotations

from msgspec import Struct

from forebay.broker.core.message import Message

#: Messages of one queue that were never received and are held in memory.
WINDOW_MESSAGES = 20_000

#: Size of their bodies and attributes, in characters.
WINDOW_SIZE = 33_554_432

#: Messages that are read from the journal at once. Few, because a commit may wait for them.
PAGE_MESSAGES = 1_000

#: Messages of one tenant that are read at once to be served ahead of their turn. Few, because they
#: are held beside the window.
TENANT_PAGE_MESSAGES = 100

#: Messages of a FIFO queue among which a deliverable group is looked for.
#: Source: SQSDeveloperGuide/quotas-fifo.html (120,000 messages).
SEARCHED_MESSAGES = 120_000

#: Delays that end within so long of each other are counted as one, in ms, so that counting them
#: takes no more memory than the longest delay allows. Counts are late by no more than this.
DELAY_STEP_MS = 10


class Window(Struct, frozen=True):
    """The bounds of each queue's share of memory."""

    messages: int = WINDOW_MESSAGES
    size: int = WINDOW_SIZE
    page_messages: int = PAGE_MESSAGES
    tenant_page_messages: int = TENANT_PAGE_MESSAGES
    searched_messages: int = SEARCHED_MESSAGES
    delay_step_ms: int = DELAY_STEP_MS


def size_of(message: Message) -> int:
    """What a message counts for in a window, in characters."""
    size = len(message.body)
    if message.extras is None:
        return size
    for name, value in (message.attributes or {}).items():
        size += len(name) + len(value.string_value or value.binary_value or "")
    return size
