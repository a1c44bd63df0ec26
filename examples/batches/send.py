"""Sends readings: `python send.py 500`. Every hundredth is impossible, and one is far too hot."""

import asyncio
import sys

from forebay import HttpSqsClient, Producer


def celsius(number: int) -> float:
    if number == 50:
        return 2_000.0
    return -300.0 if number % 100 == 99 else 20 + number / 100


async def main(count: int) -> None:
    async with HttpSqsClient() as client:
        url = await client.queue_url("readings")
        async with Producer(client, url, node="sensors") as producer:
            await asyncio.gather(
                *(producer.publish("reading", {"celsius": celsius(n)}) for n in range(count))
            )


asyncio.run(main(int(sys.argv[1])))
