"""Sends the same orders to both queues: `python send.py 20`."""

import asyncio
import sys

from forebay import HttpSqsClient


async def main(count: int) -> None:
    async with HttpSqsClient() as client:
        await asyncio.gather(
            *(
                client.send(queue, {"order_id": f"{queue}-{n}"})
                for n in range(count)
                for queue in ("guarded", "careless")
            )
        )


asyncio.run(main(int(sys.argv[1])))
