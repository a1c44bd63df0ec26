"""Names, URLs, ARNs, message ids, receipt handles, sequence numbers. Entropy is an argument."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from struct import Struct as Layout
from urllib.parse import unquote, urlsplit
from zlib import crc32

import msgspec
from msgspec import Struct

from forebay.protocol import limits

#: The account that a request without one belongs to.
DEFAULT_ACCOUNT_ID = "000000000000"

#: The region that a request without a signature belongs to.
DEFAULT_REGION = "us-east-1"

FIFO_SUFFIX = ".fifo"

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)

# Source: https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_REGION_IN_HOST = re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z]{2,4}-[a-z0-9-]+)\.")
_REGION_IN_OLD_HOST = re.compile(r"^(?:([a-z0-9-]+)\.)?queue\.amazonaws\.com")

#: Added to the broker's own counter so that a SequenceNumber has SQS's 20 digits.
_SEQUENCE_NUMBER_BASE = 18_850_000_000_000_000_000

#: The digit of a version 4 UUID that says its variant, by the random digit that it is made from.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

#: Version, queue number, sequence, receive count and tag of the message id.
_HANDLE = Layout(">BIQI18s")
_CHECKSUM_BYTES = 4
_HANDLE_VERSION = 1


class QueueKey(Struct, frozen=True, gc=False):
    """What tells one queue from another."""

    region: str
    account_id: str
    name: str


class ReceiptHandle(Struct, frozen=True, gc=False):
    """What a receipt handle says: which delivery of which message of which queue."""

    queue_number: int
    sequence: int
    receive_count: int
    #: What `message_tag` says of the message, so that a handle cannot be made up from counters.
    message_tag: bytes


def is_queue_name(name: str) -> bool:
    """Whether SQS would take `name` for a queue, the `.fifo` suffix allowed."""
    if not 1 <= len(name) <= limits.QUEUE_NAME_CHARACTERS_MAX:
        return False
    return _QUEUE_NAME.fullmatch(name.removesuffix(FIFO_SUFFIX)) is not None


def is_account_id(text: str) -> bool:
    """Whether `text` is the number of an AWS account: 12 digits."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def region_of_host(host: str) -> str | None:
    """The region that the host name of an SQS endpoint names; None when it names none."""
    found = _REGION_IN_HOST.search(host)
    if found is not None:
        return found[1]
    found = _REGION_IN_OLD_HOST.match(host)
    return (found[1] or DEFAULT_REGION) if found is not None else None


def queue_url(endpoint_url: str, key: QueueKey) -> str:
    """The URL of a queue at an endpoint (scheme, host and port, no trailing slash)."""
    return f"{endpoint_url}/{key.account_id}/{key.name}"


def queue_key_from_url(
    url: str, region: str = DEFAULT_REGION, account_id: str = DEFAULT_ACCOUNT_ID
) -> QueueKey | None:
    """The queue that a QueueUrl names in the caller's region; None when it names none.

    The account and name in the path decide. The host does not matter, and a bare queue name counts
    as a URL of the caller's own account.
    """
    try:
        path = urlsplit(url).path if "://" in url else url
    except ValueError:
        return None
    parts = [unquote(part) for part in path.split("/") if part]
    if not parts:
        return None
    if len(parts) > 1 and is_account_id(parts[-2]):
        account_id = parts[-2]
    return QueueKey(region, account_id, parts[-1])


def queue_arn(key: QueueKey) -> str:
    """The Amazon Resource Name of a queue."""
    return f"arn:aws:sqs:{key.region}:{key.account_id}:{key.name}"


def queue_key_from_arn(arn: str) -> QueueKey | None:
    """The queue that an ARN names; None when it is not the ARN of a queue."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs" or not all(parts[3:]):
        return None
    return QueueKey(*parts[3:])


def message_id(entropy: bytes) -> str:
    """A version 4 UUID from 16 random bytes."""
    return message_ids(entropy)[0]


def message_ids(entropy: bytes) -> list[str]:
    """As many version 4 UUIDs as there are 16 random bytes."""
    every = entropy.hex()
    return [
        f"{every[at : at + 8]}-{every[at + 8 : at + 12]}-4{every[at + 13 : at + 16]}"
        f"-{_VARIANTS[every[at + 16]]}{every[at + 17 : at + 20]}-{every[at + 20 : at + 32]}"
        for at in range(0, len(every), 32)
    ]


def message_tag(identifier: str) -> bytes:
    """The part of a message id that its receipt handles carry: its first 60 random bits."""
    return identifier[:18].encode()


def encode_receipt_handle(
    queue_number: int, sequence: int, receive_count: int, identifier: str
) -> str:
    """The receipt handle of one delivery. It stays valid over a restart: it holds all it needs."""
    packed = _HANDLE.pack(
        _HANDLE_VERSION, queue_number, sequence, receive_count, identifier[:18].encode()
    )
    checksum = crc32(packed).to_bytes(_CHECKSUM_BYTES)
    return b2a_base64(packed + checksum, newline=False).decode()


def decode_receipt_handle(handle: str) -> ReceiptHandle | None:
    """What a handle says; None when this broker never gave it out."""
    try:
        packed = a2b_base64(handle, strict_mode=True)
    except ValueError:
        return None
    if len(packed) != _HANDLE.size + _CHECKSUM_BYTES:
        return None
    if int.from_bytes(packed[_HANDLE.size :]) != crc32(packed[: _HANDLE.size]):
        return None
    version, queue_number, sequence, receive_count, tag = _HANDLE.unpack_from(packed)
    if version != _HANDLE_VERSION:
        return None
    return ReceiptHandle(queue_number, sequence, receive_count, tag)


class TaskHandle(Struct, frozen=True, rename="camel"):
    """What the handle of a message move task says."""

    task_id: str
    source_arn: str


def encode_task_handle(handle: TaskHandle) -> str:
    """The TaskHandle that SQS would show: base64 of JSON."""
    return urlsafe_b64encode(msgspec.json.encode(handle)).decode()


def decode_task_handle(handle: str) -> TaskHandle | None:
    """What a handle says; None when it is not the handle of a task."""
    try:
        return msgspec.json.decode(urlsafe_b64decode(handle), type=TaskHandle)
    except (Base64Error, ValueError, msgspec.DecodeError):
        return None


def sequence_number(sequence: int) -> str:
    """The SequenceNumber that SQS would show: 20 digits, rising with `sequence`."""
    return str(_SEQUENCE_NUMBER_BASE + sequence)
