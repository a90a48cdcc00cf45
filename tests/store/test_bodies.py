"""Request bodies: what is read and unpacked at most."""

import gzip
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from grpc_tracing.store.bodies import MAX_BODY, Bodies, RefusedError

LIMIT = 8 * 1024 * 1024


def posted(body: bytes) -> Request:
    receive: Callable[[], Awaitable[dict[str, Any]]] = _sending(body)
    return Request({"type": "http", "method": "POST", "headers": [(b"content-encoding", b"gzip")]}, receive)


def _sending(body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def read_body(request: Request) -> bytes:
    async with Bodies().read(request) as body:
        return body


async def test_a_body_up_to_8_mib_is_taken_and_one_byte_more_is_not() -> None:
    assert MAX_BODY == LIMIT
    assert await read_body(posted(gzip.compress(bytes(LIMIT), 1))) == bytes(LIMIT)
    with pytest.raises(RefusedError, match="longer than 8 MiB") as refused:
        await read_body(posted(gzip.compress(bytes(LIMIT + 1), 1)))
    assert refused.value.status == 413


async def test_a_gzip_body_is_unpacked_no_further_than_the_limit() -> None:
    packed = gzip.compress(bytes(32 * LIMIT), 1)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="longer than 8 MiB"):
            await read_body(posted(packed))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * LIMIT
