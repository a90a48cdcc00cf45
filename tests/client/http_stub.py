"""An HTTP server that answers as a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress

Answer = tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]] | None
"""Status, body, and headers where there are some; None: never."""


@asynccontextmanager
async def http_stub(answer: Callable[[str], Answer]) -> AsyncIterator[str]:
    """Gives its URL; `answer` gets each request's path."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if (answered := answer(head.split(b" ")[1].decode())) is None:
                await asyncio.Event().wait()
                return
            status, body, *headers = answered
            more = "".join(f"{key}: {value}\r\n" for one in headers for key, value in one.items()).encode()
            length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            writer.write(b"HTTP/1.1 %d .\r\n%s%s%s" % (status, more, length, body))
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
