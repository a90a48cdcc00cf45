"""Ordinary traffic through real Envoys: four patterns; some calls torn, some tried again, some failed."""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import httpx

from talk.relay import SERVICES
from tests.mesh.support import Mesh, mesh
from tests.store.calls import CLIENT, new_id
from tests.store.support import Part, export_request
from tests.support.stub import ask

PATTERNS = {
    "Talk": "unary_unary",
    "TalkOneAnswerMore": "unary_stream",
    "TalkMoreAnswerOne": "stream_unary",
    "TalkBidirectional": "stream_stream",
}
RATE = 30
CALLS = 500
TORN_EACH = 10
"""One call of so many loses its headers at svc2."""
KEPT = 600
"""Traces that the store keeps: some more than the calls leave."""
FAULTS = ("svc1=abort:UNAVAILABLE:5%", "svc3=abort:INTERNAL:3%")


@dataclass(frozen=True)
class Made:
    """A call as its requester knows it. `began_ns` and `lasted_ns` are of its own span."""

    trace_id: str
    rpc: str
    torn: bool
    code: grpc.StatusCode
    began_ns: int
    lasted_ns: int
    span_id: str

    @property
    def failed(self) -> bool:
        return self.code is not grpc.StatusCode.OK


@contextmanager
def busy_mesh(calls: int = CALLS) -> Iterator[tuple[Mesh, list[Made]]]:
    """A mesh whose store holds all spans of these calls: the ingress tries again what svc1's sidecar refuses."""
    hop = f"svc2='{sys.executable}' -m tests.mesh.told_hop"
    faults = [word for fault in FAULTS for word in ("--faults", fault)]
    with mesh("--run", hop, "--max-traces", str(KEPT), *faults) as one:
        # A thread of its own: Playwright's loop runs in the test's.
        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(lambda: asyncio.run(_calls(one.target, calls))).result()
        _export(one, made)
        yield one, made


async def _calls(target: str, calls: int) -> list[Made]:
    async with grpc.aio.insecure_channel(target) as channel:
        begin = time.monotonic()
        return list(await asyncio.gather(*(_paced(channel, number, begin) for number in range(calls))))


async def _paced(channel: grpc.aio.Channel, number: int, begin: float) -> Made:
    await asyncio.sleep(begin + number / RATE - time.monotonic())
    rpc = list(PATTERNS)[number % 4]
    # Not always the same pattern: 10 and 4 share a factor.
    return await _call(channel, rpc, torn=(number * 7 + number // 40) % TORN_EACH == 0)


async def _call(channel: grpc.aio.Channel, rpc: str, *, torn: bool) -> Made:
    trace_id, span_id, began = new_id(16), new_id(), time.time_ns()
    pattern = PATTERNS[rpc]
    metadata = [("traceparent", f"00-{trace_id}-{span_id}-01")]
    metadata += [("baggage", "mistake=forwards+nothing,run=1")] if torn else []
    method: Any = getattr(channel, pattern)(f"/{SERVICES[0]}/{rpc}")
    asked = [ask("0"), ask("1")]
    call = method(_each(asked) if pattern.startswith("stream") else asked[0], metadata=metadata, timeout=30)
    if pattern.endswith("stream"):
        _ = [one async for one in _until_error(call)]
    code = await call.code()
    return Made(trace_id, rpc, torn, code, began, time.time_ns() - began, span_id)


async def _each(messages: list[bytes]) -> Any:
    for message in messages:
        yield message


async def _until_error(call: Any) -> Any:
    try:
        async for one in call:
            yield one
    except grpc.aio.AioRpcError:
        return


def _export(one: Mesh, made: list[Made]) -> None:
    """The requester's own spans, all at once, as an exporter in its process sends them."""
    body = b"".join(
        export_request(call.trace_id, [_root(call)], start_ns=call.began_ns).SerializeToString() for call in made
    )
    send(one, body)


def send(one: Mesh, body: bytes) -> None:
    """Spans to the mesh's store, by OTLP."""
    url = f"{one.facts['otlp_http']}/v1/traces"
    answer = httpx.post(url, content=body, headers={"content-type": "application/x-protobuf"}, trust_env=False)
    assert answer.status_code == httpx.codes.OK, answer.text


def _root(call: Made) -> Part:
    attributes = {"talk.rpc": call.rpc, "rpc.grpc.status_code": str(call.code.value[0])}
    return Part(
        "requester", CLIENT, call.span_id, lasts_us=call.lasted_ns // 1000, name=call.rpc, error=call.failed,
        attributes=attributes,
    )  # fmt: skip
