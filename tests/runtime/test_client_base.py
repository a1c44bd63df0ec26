"""The typed faces: one for every action, each asking what it says and answering what comes."""

from __future__ import annotations

import re
from typing import get_overloads, get_type_hints

import pytest

from forebay.client.base import SqsClient
from forebay.client.fake import ScriptedSqsClient
from forebay.protocol.actions import (
    ACTIONS,
    Action,
    AnyRequest,
    AnyResult,
    ListQueuesRequest,
    ListQueuesResult,
)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_every_action_has_a_face_of_its_types(action: Action) -> None:
    face = getattr(SqsClient, re.sub(r"(?<!^)(?=[A-Z])", "_", action.name).lower())
    hints = get_type_hints(next(iter(get_overloads(face)), face))
    assert (hints["request"], hints["return"]) == (action.request_type, action.result_type)


async def test_a_face_asks_and_answers() -> None:
    async def answer(request: AnyRequest) -> AnyResult:
        return ListQueuesResult(queue_urls=["a"])

    async with ScriptedSqsClient(answer) as sqs:
        request = ListQueuesRequest(queue_name_prefix="a")
        assert await sqs.list_queues(request) == ListQueuesResult(queue_urls=["a"])
        assert sqs.requests == [request]
