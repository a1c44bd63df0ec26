"""A server that accepts connections, takes what comes and never answers.

It is what a load balancer without targets or a firewall that swallows packets looks like to a
client. Run as `python -m bench.silent_server PORT`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


async def serve(port: int) -> None:
    """Say nothing on the loopback interface until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
