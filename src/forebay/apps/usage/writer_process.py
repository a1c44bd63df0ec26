"""A usage writer that is this process, for who starts and watches it himself.

Where its queue and its database are the environment says, as for `forebay usage writer`.
"""

from __future__ import annotations

from forebay.apps import process
from forebay.apps.usage.writer_worker import writer
from forebay.worker import run_until_signalled


async def write_usage_logs() -> None:
    """Write until a signal says to stop."""
    async with writer() as worker:
        await run_until_signalled(worker)


if __name__ == "__main__":
    process.run(write_usage_logs())
