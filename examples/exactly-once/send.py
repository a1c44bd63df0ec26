"""Sends the same orders to both queues: `python send.py 20`."""

import asyncio
import sys

from forebay import HttpSqsClient


async def main(count: int) -> None:
    async with HttpSqsClient() as client:
        for queue in ("guarded", "careless"):
            url = await client.queue_url(queue)
            await asyncio.gather(
                *(client.send(url, {"order_id": f"{queue}-{n}"}) for n in range(count))
            )


asyncio.run(main(int(sys.argv[1])))
