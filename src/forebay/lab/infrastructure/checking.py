"""Whether what the scenarios need is there, and as they need it: queues, redrives, tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from forebay.broker.bootstrap import DeclaredQueue, canonical
from forebay.client.base import SqsClient
from forebay.errors import StoreError
from forebay.lab.infrastructure.directory import LabDirectory
from forebay.lab.infrastructure.tables import TABLES, missing_tables
from forebay.lab.infrastructure.wanted import WantedQueues
from forebay.protocol.actions import GetQueueAttributesRequest, GetQueueUrlRequest
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError

#: Queues that SQS is asked about at once.
_AT_ONCE = 16


class Check(Struct, frozen=True, kw_only=True):
    """One thing that a scenario needs, and what is wrong with it."""

    scenario: str
    #: Queue or tables.
    kind: str
    name: str
    #: Each a sentence; none when it is as it should be.
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.problems


async def check_queues(client: SqsClient, wanted: Sequence[WantedQueues]) -> list[Check]:
    """Compare every queue with what it should be, without changing any.

    Raises what the client raises, but for a queue that does not exist.
    """
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def found(name: str) -> Mapping[str, str] | None:
        async with at_once:
            return await _attributes(client, name)

    names = [queue.name for each in wanted for queue in each.queues]
    actual = dict(zip(names, await asyncio.gather(*map(found, names)), strict=True))
    return [
        Check(
            scenario=each.scenario,
            kind="queue",
            name=queue.name,
            problems=tuple(_differences(queue, actual)),
        )
        for each in wanted
        for queue in each.queues
    ]


def check_tables(directory: LabDirectory, wanted: Sequence[WantedQueues]) -> list[Check]:
    """Look for the tables of every scenario."""
    checks = []
    for each in wanted:
        path = directory.tables_of(each.scenario)
        checks.append(
            Check(
                scenario=each.scenario,
                kind="tables",
                name=str(path),
                problems=tuple(_table_problems(path)),
            )
        )
    return checks


def _table_problems(path: Path) -> list[str]:
    try:
        missing = missing_tables(path)
    except StoreError as error:
        return [f"{error} Remove the file."]
    if list(TABLES) == missing and not path.exists():
        return ["The file is not there."]
    return [f"It has no table {name}." for name in missing]


def _differences(queue: DeclaredQueue, actual: Mapping[str, Mapping[str, str] | None]) -> list[str]:
    found = actual[queue.name]
    if found is None:
        return ["It is not there."]
    problems = [
        f"{name} is {found.get(name, 'not set')}; it should be {canonical(name, value)}."
        for name, value in queue.attributes.items()
        if found.get(name) != canonical(name, value)
    ]
    if queue.dead_letter_queue is not None:
        dead = actual.get(queue.dead_letter_queue) or {}
        problems += _redrive_problems(queue, found.get("RedrivePolicy"), dead.get("QueueArn"))
    elif found.get("RedrivePolicy") and "RedrivePolicy" not in queue.attributes:
        problems.append(
            f"It has a redrive policy and should have none. Take it away:"
            f" forebay attributes {queue.name} RedrivePolicy="
        )
    return problems


def _redrive_problems(queue: DeclaredQueue, text: str | None, dead_arn: str | None) -> list[str]:
    wanted = f"{queue.dead_letter_queue} after {queue.max_receive_count} receives"
    try:
        policy = json.loads(text) if text else None
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        return [f"It has no redrive policy; dead letters should go to {wanted}."]
    problems = []
    target = str(policy.get("deadLetterTargetArn"))
    # Without the dead-letter queue its name must do; that it is missing is said where it is.
    same = target == dead_arn if dead_arn else target.endswith(f":{queue.dead_letter_queue}")
    if not same:
        problems.append(f"Its dead letters go to {target}; they should go to {wanted}.")
    count = str(policy.get("maxReceiveCount"))
    if count != str(queue.max_receive_count):
        problems.append(f"Its maxReceiveCount is {count}; it should be {queue.max_receive_count}.")
    return problems


async def _attributes(client: SqsClient, name: str) -> Mapping[str, str] | None:
    """The attributes of a queue; None when there is no such queue."""
    try:
        url = (await client.get_queue_url(GetQueueUrlRequest(queue_name=name))).queue_url
        answer = await client.get_queue_attributes(
            GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
        )
    except SqsError as refusal:
        if refusal.fault != QUEUE_DOES_NOT_EXIST:
            raise
        return None
    return answer.attributes or {}
