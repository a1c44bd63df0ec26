"""One worker for three queues. Each job takes 20 ms, and 16 run at a time."""

import asyncio
from collections import Counter

from forebay import HIGH, LOW, MEDIUM, App, Received, WorkerSettings

app = App(settings=WorkerSettings(concurrency=16, age_bound_s=0.3))
done: Counter[str] = Counter()


async def work(received: Received[dict[str, object]]) -> None:
    await asyncio.sleep(0.02)
    done[received.queue] += 1
    if done.total() % 100 == 0:
        print("done so far:", dict(done))


app.consume("high", dict, priority=HIGH)(work)
app.consume("medium", dict, priority=MEDIUM)(work)
app.consume("low", dict, priority=LOW, concurrency=8)(work)
