"""Everything at once: a broker, PostgreSQL, a worker that is killed, and the ledger."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
from server import postgres

from forebay import EmbeddedBroker, HttpSqsClient
from forebay.protocol.actions import GetQueueAttributesRequest

ORDERS = 40


async def wait_until_empty(client: HttpSqsClient, url: str) -> None:
    """Until neither a visible nor a hidden message is left."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=names)
    while True:
        counts = (await client.get_queue_attributes(request)).attributes or {}
        if set(counts.values()) == {"0"}:
            return
        await asyncio.sleep(0.1)


async def sell(broker_url: str, database: psycopg.Connection, worker: list[str]) -> None:
    async with HttpSqsClient(broker_url) as client:
        queue = await client.create_queue("orders", VisibilityTimeout=2, dead_letter_queue="dead")
        # Each order twice, as a producer sends that is not sure: one order is one fact.
        for number in range(ORDERS):
            for _ in range(2):
                await client.send(
                    queue.queue_url, {"order_id": f"o-{number}", "seat": f"A-{number}"}
                )
        running = subprocess.Popen(worker)
        try:
            while not database.execute("SELECT 1 FROM sale LIMIT 1").fetchone():
                await asyncio.sleep(0.02)
            process_id = int(Path("worker.pid").read_text())
            print(f"killing process {process_id} in the middle")
            os.kill(process_id, signal.SIGKILL)
            await wait_until_empty(client, queue.queue_url)
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait()


def main() -> int:
    with ExitStack() as stack:
        address = os.environ.get("DATABASE_URL") or stack.enter_context(postgres())
        broker = stack.enter_context(EmbeddedBroker())
        database = stack.enter_context(psycopg.connect(address, autocommit=True))
        database.execute("DROP TABLE IF EXISTS sale")
        database.execute("CREATE TABLE sale (order_id TEXT NOT NULL, seat TEXT NOT NULL)")
        os.environ |= {"DATABASE_URL": address, "AWS_ENDPOINT_URL_SQS": broker.endpoint_url}
        worker = [sys.executable, "-m", "forebay", "worker", "run", "shop:office", "--port", "0"]
        asyncio.run(sell(broker.endpoint_url, database, worker))
        rows = database.execute("SELECT order_id, count(*) FROM sale GROUP BY order_id").fetchall()
    once = sum(count == 1 for _, count in rows)
    print(f"{2 * ORDERS} messages about {ORDERS} orders: {once} were sold exactly once")
    return int(once != ORDERS or len(rows) != ORDERS)


if __name__ == "__main__":
    sys.exit(main())
