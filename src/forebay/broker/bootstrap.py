"""Declared queues become created queues: a TOML file says what should be there.

    [queues."orders.fifo"]
    VisibilityTimeout = 60
    ContentBasedDeduplication = true
    dead_letter_queue = "orders-dead.fifo"
    max_receive_count = 3
    tags = { team = "sale" }

    [queues."orders-dead.fifo"]
    MessageRetentionPeriod = 1209600

Attributes have SQS's names; a number, a boolean or a table stands for its text or JSON. Running it
again changes only what differs, so the file may be edited and used at every start. A queue or an
attribute that is not in the file is left alone, and so is its table [server], the settings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from forebay.broker.core.attributes import SETTABLE
from forebay.errors import SettingsError
from forebay.protocol import errors
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueRequest,
    CreateQueueResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListQueueTagsRequest,
    ListQueueTagsResult,
    SetQueueAttributesRequest,
    TagQueueRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import MAX_RECEIVE_COUNT_MAX

#: Receives after which a message is moved when the file names a dead-letter queue and no count.
#: Source: SQSDeveloperGuide/sqs-dead-letter-queues.html advises against 1.
DEFAULT_MAX_RECEIVE_COUNT = 3

Call = Callable[[AnyRequest], Awaitable[AnyResult]]


class Deed(StrEnum):
    """What was done about a declared queue."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


class DeclaredQueue(Struct, frozen=True):
    """A queue as the file wants it."""

    name: str
    attributes: dict[str, str]
    tags: dict[str, str] = {}
    dead_letter_queue: str | None = None
    max_receive_count: int = DEFAULT_MAX_RECEIVE_COUNT


class Outcome(Struct, frozen=True):
    """What was done about one queue, and which of its attributes and tags it touched."""

    name: str
    deed: Deed
    changed: list[str] = []


class _Options(Struct, forbid_unknown_fields=True):
    """What the file says beside attributes."""

    dead_letter_queue: str | None = None
    max_receive_count: int = DEFAULT_MAX_RECEIVE_COUNT
    tags: dict[str, str] = {}


def read_declarations(path: Path) -> list[DeclaredQueue]:
    """The queues that a file declares. Raises SettingsError, which names the file and the place."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"The queues in {path} could not be read: {error}.") from error
    unknown = document.keys() - {"queues", "server"}
    if unknown:
        raise SettingsError(
            f"{path} has {', '.join(sorted(unknown))}, which means nothing here."
            ' Declare each queue as a table, [queues."name"], and settings in [server].'
        )
    declared = [_declared(path, name, table) for name, table in document.get("queues", {}).items()]
    names = {queue.name for queue in declared}
    for queue in declared:
        if queue.dead_letter_queue is not None and queue.dead_letter_queue not in names:
            raise SettingsError(
                f"{path}: the dead_letter_queue of {queue.name} is {queue.dead_letter_queue},"
                " which the file does not declare. Add it."
            )
    return declared


async def create_declared(call: Call, declared: Sequence[DeclaredQueue]) -> list[Outcome]:
    """Make every declared queue be there as declared, and say what was done.

    `call` asks SQS. Raises SettingsError, which names the queue, when SQS refuses; what was done
    before stays.
    """
    outcomes: dict[str, Outcome] = {}
    urls: dict[str, str] = {}
    for queue in declared:
        try:
            urls[queue.name], outcomes[queue.name] = await _create(call, queue)
        except SqsError as refusal:
            raise _refused(queue, refusal) from refusal
    # Dead-letter queues may be declared in any order, so they are named once all are there.
    for queue in declared:
        try:
            changed = await _change(call, queue, urls)
        except SqsError as refusal:
            raise _refused(queue, refusal) from refusal
        if changed and outcomes[queue.name].deed is not Deed.CREATED:
            outcomes[queue.name] = Outcome(queue.name, Deed.UPDATED, changed)
    return list(outcomes.values())


def _declared(path: Path, name: str, table: object) -> DeclaredQueue:
    if not isinstance(table, dict):
        raise SettingsError(f'{path}: {name} must be a table: [queues."{name}"].')
    options = {key: value for key, value in table.items() if key[:1].islower()}
    try:
        chosen = msgspec.convert(options, _Options)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{path}, queue {name}: {error}. Beside attributes, which begin with a capital, a queue"
            " has dead_letter_queue, max_receive_count and tags."
        ) from error
    if not 1 <= chosen.max_receive_count <= MAX_RECEIVE_COUNT_MAX:
        raise SettingsError(
            f"{path}, queue {name}: max_receive_count is {chosen.max_receive_count};"
            f" it must be from 1 to {MAX_RECEIVE_COUNT_MAX}."
        )
    attributes = {key: _text(value) for key, value in table.items() if key not in options}
    if name.endswith(FIFO_SUFFIX):
        attributes["FifoQueue"] = "true"
    return DeclaredQueue(
        name, attributes, chosen.tags, chosen.dead_letter_queue, chosen.max_receive_count
    )


def _text(value: Any) -> str:
    """An attribute as SQS takes it: `true`, not `True`, and JSON for a table."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


async def _create(call: Call, queue: DeclaredQueue) -> tuple[str, Outcome]:
    try:
        found = await call(GetQueueUrlRequest(queue_name=queue.name))
    except SqsError as refusal:
        if refusal.fault is not errors.QUEUE_DOES_NOT_EXIST:
            raise
    else:
        assert isinstance(found, GetQueueUrlResult)
        return found.queue_url, Outcome(queue.name, Deed.UNCHANGED)
    created = await call(
        CreateQueueRequest(
            queue_name=queue.name, attributes=queue.attributes, tags=queue.tags or None
        )
    )
    assert isinstance(created, CreateQueueResult)
    return created.queue_url, Outcome(queue.name, Deed.CREATED)


async def _change(call: Call, queue: DeclaredQueue, urls: Mapping[str, str]) -> list[str]:
    """Set the attributes and tags that differ, and name them."""
    url = urls[queue.name]
    wanted = dict(queue.attributes)
    if queue.dead_letter_queue is not None:
        target = await _attributes(call, urls[queue.dead_letter_queue])
        wanted["RedrivePolicy"] = _text(
            {
                "deadLetterTargetArn": target["QueueArn"],
                "maxReceiveCount": queue.max_receive_count,
            }
        )
    current = await _attributes(call, url)
    attributes = {
        name: value for name, value in wanted.items() if current.get(name) != canonical(name, value)
    }
    if attributes:
        await call(SetQueueAttributesRequest(queue_url=url, attributes=attributes))
    listed = await call(ListQueueTagsRequest(queue_url=url))
    assert isinstance(listed, ListQueueTagsResult)
    tags = {
        key: value for key, value in queue.tags.items() if (listed.tags or {}).get(key) != value
    }
    if tags:
        await call(TagQueueRequest(queue_url=url, tags=tags))
    return [*attributes, *(f"tag {key}" for key in tags)]


async def _attributes(call: Call, url: str) -> dict[str, str]:
    result = await call(GetQueueAttributesRequest(queue_url=url, attribute_names=["All"]))
    assert isinstance(result, GetQueueAttributesResult)
    return result.attributes or {}


def canonical(name: str, value: str) -> str:
    """An attribute's value as SQS answers it; as it is when SQS would refuse it."""
    attribute = SETTABLE.get(name)
    try:
        return attribute.canonical(value) if attribute is not None else value
    except (ValueError, SqsError):
        return value


def _refused(queue: DeclaredQueue, refusal: SqsError) -> SettingsError:
    detail = f" {refusal.log_detail}" if refusal.log_detail else ""
    return SettingsError(f"The queue {queue.name} was refused: {refusal}{detail}")
