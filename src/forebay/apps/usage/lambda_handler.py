"""The usage writer as an AWS Lambda function: `forebay.apps.usage.lambda_handler.handler`.

It takes the events of an event source mapping for SQS, and writes what they hold with the writer's
own handlers. The mapping must have ReportBatchItemFailures: without it AWS deletes what the answer
says is to come again. The environment names the database as for the writer, and
FOREBAY_USAGE_ROWS_PER_INVOCATION bounds what one invocation writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Protocol

from forebay.apps.usage.lambda_function import UsageFunction
from forebay.apps.usage.linked_store import quiet_pool


class LambdaContext(Protocol):
    """What is asked of the context that AWS hands over."""

    def get_remaining_time_in_millis(self) -> int: ...


class Environment:
    """What lives from one invocation to the next: the function, and an event loop for it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._function: UsageFunction | None = None

    def invoke(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        return self._runner.run(self._invoke(event, context))

    def close(self) -> None:
        """Let go of the database. AWS ends an environment without asking."""
        if self._function is not None:
            self._runner.run(self._function.close())
        self._runner.close()

    async def _invoke(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        if self._function is None:
            quiet_pool()
            self._function = UsageFunction.of_environment(os.environ)
        return await self._function.invoke(event, context.get_remaining_time_in_millis)


_environment = Environment()


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write the messages of an SQS event, and say which are to come again.

    Raises when nothing was written: then AWS hands all of them out again after their visibility
    timeout.
    """
    return _environment.invoke(event, context)
