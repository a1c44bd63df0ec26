"""One batcher with two faces: fire-and-forget `send` and acknowledged `publish`."""

from forebay.producer.ledger import DropReason, Lost, ProducerLedger
from forebay.producer.producer import Producer, Published
from forebay.producer.settings import ProducerSettings, SpillFull, WhenFull

__all__ = [
    "DropReason",
    "Lost",
    "Producer",
    "ProducerLedger",
    "ProducerSettings",
    "Published",
    "SpillFull",
    "WhenFull",
]
