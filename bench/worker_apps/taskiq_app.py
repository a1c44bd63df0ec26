"""A taskiq application with a task that does nothing. Runs in taskiq's environment.

`taskiq_app.py send` calls it once; the workers are `taskiq worker taskiq_app:broker`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from taskiq_aio_sqs import SQSBroker  # type: ignore[import-not-found]

broker: Any = SQSBroker(
    os.environ["QUEUE"],
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    region_name=os.environ["AWS_REGION"],
    aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    max_number_of_messages=10,
)


async def nothing(number: int) -> None:
    pass


task: Any = broker.task(task_name="nothing")(nothing)


async def send() -> None:
    await broker.startup()
    await task.kiq(1)
    await broker.shutdown()


if __name__ == "__main__" and sys.argv[1:] == ["send"]:
    asyncio.run(send())
