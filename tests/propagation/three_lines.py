"""A hop with the library, as the first screen of docs/library.md has it: mypy --strict and pyright check it."""

import asyncio
import os

import grpc

from grpc_tracing.propagation import aio


async def main() -> None:
    channel = grpc.aio.insecure_channel(os.environ["TALK_NEXT_HOP"], interceptors=aio.client_interceptors())
    server = grpc.aio.server(interceptors=aio.server_interceptors())
    # add_YourServicer_to_server(YourServicer(YourStub(channel)), server)
    server.add_insecure_port(os.environ["TALK_LISTEN"])
    await server.start()
    await server.wait_for_termination()
    await channel.close()


if __name__ == "__main__":
    asyncio.run(main())
