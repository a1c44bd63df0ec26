"""Sends a burst to three queues, all at once: `python burst.py 300`."""

import asyncio
import sys

from forebay import HttpSqsClient, Producer


async def send(client: HttpSqsClient, queue: str, count: int) -> None:
    url = await client.queue_url(queue)
    async with Producer(client, url, node="burst") as producer:
        await asyncio.gather(
            *(producer.publish("job", {"queue": queue, "number": n}) for n in range(count))
        )


async def main(count: int) -> None:
    async with HttpSqsClient() as client:
        await asyncio.gather(*(send(client, queue, count) for queue in ("low", "medium", "high")))
    print(f"sent {count} to each")


asyncio.run(main(int(sys.argv[1])))
