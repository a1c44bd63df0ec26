"""One batcher with two faces: fire-and-forget `send` and acknowledged `publish`."""

from forebay.producer.ledger import DropReason, ProducerLedger
from forebay.producer.producer import Producer, Published
from forebay.producer.settings import ProducerSettings

__all__ = ["DropReason", "Producer", "ProducerLedger", "ProducerSettings", "Published"]
