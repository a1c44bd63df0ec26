"""The MD5 digests that SQS answers with, so that a client can check what the service understood.

Source: SQSDeveloperGuide/sqs-message-metadata.html, "Calculating the MD5 message digest for message
attributes".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from struct import Struct as Layout

from forebay.protocol.actions import MessageAttributeValue

_LENGTH = Layout(">I")
_STRING = b"\x01"
_BINARY = b"\x02"


def md5_of_body(body: str) -> str:
    """The hex MD5 of a message body."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, MessageAttributeValue]) -> str:
    """The hex MD5 of message attributes: sorted by name, each part behind its length."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        for text in (name, value.data_type):
            encoded = text.encode()
            digest.update(_LENGTH.pack(len(encoded)) + encoded)
        if value.binary_value is not None:
            digest.update(_BINARY + _LENGTH.pack(len(value.binary_value)) + value.binary_value)
        else:
            encoded = (value.string_value or "").encode()
            digest.update(_STRING + _LENGTH.pack(len(encoded)) + encoded)
    return digest.hexdigest()


def content_deduplication_id(body: str) -> str:
    """The deduplication id of content-based deduplication: the SHA-256 of the body alone."""
    return hashlib.sha256(body.encode()).hexdigest()
