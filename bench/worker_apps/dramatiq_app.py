"""A dramatiq application with an actor that does nothing. Runs in dramatiq's environment.

`dramatiq_app.py send` sends it one message; the workers are `dramatiq dramatiq_app`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import dramatiq  # type: ignore[import-not-found]
from dramatiq_sqs import SQSBroker  # type: ignore[import-not-found]

broker: Any = SQSBroker()
dramatiq.set_broker(broker)


def nothing(number: int) -> None:
    pass


actor: Any = dramatiq.actor(nothing, queue_name=os.environ["QUEUE"])

if __name__ == "__main__" and sys.argv[1:] == ["send"]:
    actor.send(1)
