"""A producer at one moment, as who measures it sees it."""

from __future__ import annotations

from msgspec import Struct, field

from forebay.producer.ledger import ProducerLedger


class ProducerSnapshot(Struct, frozen=True, kw_only=True):
    """Counts are since the producer was made; what is spilled may be older."""

    #: The queue's URL, and its name.
    queue_url: str
    queue: str
    node: str
    ledger: ProducerLedger
    #: Most envelopes that may be buffered.
    capacity: int
    #: SendMessageBatch calls under way, and the envelopes in them.
    calls_in_flight: int = 0
    events_in_flight: int = 0
    #: Attempts of a SendMessageBatch that were answered, and those that failed as a whole.
    calls_answered: int = 0
    calls_failed: int = 0
    #: How long the attempts took together, in seconds.
    calls_s: float = 0.0
    #: What attempts failed for, of whole calls and of single messages, by the error's code.
    errors: dict[str, int] = field(default_factory=dict)
    #: Messages that SQS acknowledged, packs and single ones.
    messages_delivered: int = 0
    #: Packs sealed, their records' size, and their size as billed.
    packs: int = 0
    packed_bytes: int = 0
    pack_billed_bytes: int = 0
    #: How long the oldest envelope that is not settled has waited, in milliseconds.
    oldest_ms: int = 0
    #: Bytes in the spill directory.
    spill_bytes: int = 0
