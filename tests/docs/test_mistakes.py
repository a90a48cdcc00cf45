"""What the guide says of well-known mistakes, held to the libraries and to Envoy."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from docs.examples.mistakes import MISTAKES
from docs.examples.propagation import onward
from tests.docs.patterns import ANSWER, ASK, answering
from tests.store.envoy import ingress_to_health_service
from tests.store.support import Store, running_store
from tests.support.leaf import Leaf, serve
from tests.support.processes import ROOT
from tests.support.stub import Metadata
from tests.support.waiting import wait_for

B3: Metadata = [("x-b3-traceid", "1" * 32), ("x-b3-spanid", "2" * 16), ("x-b3-parentspanid", "3" * 16)]
LANES: Metadata = [("baggage", "a=1"), ("baggage", "b=2"), ("x-lane", "canary")]


@pytest.mark.parametrize(
    ("mistake", "rpc", "received", "forwarded"),
    [
        ("dictionary", "Talk", LANES, [("baggage", "b=2"), ("x-lane", "canary")]),
        ("streams-forgotten", "Talk", LANES, LANES),
        ("streams-forgotten", "TalkBidirectional", LANES, []),
        ("rebuilt", "Talk", B3, [*B3[:2], ("x-b3-sampled", "0")]),
        ("both-b3", "Talk", [("b3", "1-2"), *B3], [("b3", "1-2"), *B3]),
    ],
)
def test_a_mistake_is_what_its_name_says(mistake: str, rpc: str, received: Metadata, forwarded: Metadata) -> None:
    assert list(MISTAKES[mistake](rpc, received)) == forwarded
    assert mistake == "streams-forgotten" or list(onward(received)) != forwarded


class Noting:
    """An interceptor that notes the RPCs that it is called for, to be mixed with the kinds that it shall be of."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def _note(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        self.called.append(details.method.decode().rpartition("/")[2])
        return await continuation(details, request)

    intercept_unary_unary: Any = _note
    intercept_unary_stream: Any = _note
    intercept_stream_unary: Any = _note
    intercept_stream_stream: Any = _note


KINDS: tuple[type, ...] = (
    grpc.aio.UnaryUnaryClientInterceptor,
    grpc.aio.UnaryStreamClientInterceptor,
    grpc.aio.StreamUnaryClientInterceptor,
    grpc.aio.StreamStreamClientInterceptor,
)
RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")


@pytest.mark.parametrize(
    ("interceptors", "called"),
    [
        ([type("OneForAll", (Noting, *KINDS), {})], ["Talk"]),
        ([type("OneForEach", (Noting, kind), {}) for kind in KINDS], list(RPCS)),
    ],
    ids=["one class with four bases", "four classes"],
)
async def test_grpc_aio_asks_an_interceptor_for_its_first_kind_of_call_alone(
    tmp_path: Path, interceptors: list[type[Any]], called: list[str]
) -> None:
    leaf, made = Leaf(), [interceptor() for interceptor in interceptors]
    answering(leaf)
    with serve(f"unix:{tmp_path}/leaf", leaf) as target:
        async with grpc.aio.insecure_channel(target, interceptors=made) as channel:
            await _call_all(channel)
    assert [rpc for one in made for rpc in one.called] == called


async def _call_all(channel: grpc.aio.Channel) -> None:
    talk, one_more, more_one, more_more = (f"/org.feuyeux.grpc.LandingService/{rpc}" for rpc in RPCS)
    calls: dict[str, Any] = {
        talk: channel.unary_unary(talk),
        one_more: channel.unary_stream(one_more),
        more_one: channel.stream_unary(more_one),
        more_more: channel.stream_stream(more_more),
    }
    assert await calls[talk](ASK) == await calls[more_one](iter([ASK])) == ANSWER
    assert {answer async for answer in calls[one_more](ASK)} == {ANSWER}
    assert {answer async for answer in calls[more_more](iter([ASK]))} == {ANSWER}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="module")
def ingress(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ingress_to_health_service(store, "otlp", tmp_path_factory.mktemp("envoy")) as channel:
        yield health_pb2_grpc.HealthStub(channel)


UNSEEN: list[tuple[str, Metadata]] = [
    ("x-request-id is no UUID", [("traceparent", f"00-{'1' * 32}-{'3' * 16}-01"), ("x-request-id", "order-4711")]),
    ("the caller's context is not sampled", [("traceparent", f"00-{'1' * 32}-{'3' * 16}-00")]),
]


@pytest.mark.parametrize("headers", [row[1] for row in UNSEEN], ids=[row[0] for row in UNSEEN])
def test_envoy_by_its_defaults_makes_no_span_where(ingress: Any, store: Store, headers: Metadata) -> None:
    trace_id = uuid.uuid4().hex
    seen = [("traceparent", f"00-{trace_id}-{'3' * 16}-01"), ("x-request-id", str(uuid.uuid4()))]
    for sent in (headers, seen):
        ingress.Check(health_pb2.HealthCheckRequest(), metadata=sent, timeout=20)
    wait_for(lambda: store.spans(trace_id), "the second call's spans")
    assert store.spans("1" * 32) == []


@pytest.mark.full
def test_a_strange_path_ends_a_grpc_aio_server() -> None:
    command = [sys.executable, "-m", "docs.examples.strange_path"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split("\n")[:2] == ["before: True", "after: False"]
    assert "UnicodeDecodeError" in ended.stderr


def test_python_refuses_an_upper_case_key_in_the_synchronous_api() -> None:
    channel: Any = grpc.insecure_channel("127.0.0.1:1")
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/a.B/C")(b"", metadata=(("X-Lane", "canary"),), timeout=5)
    said: Any = refused.value
    assert (said.code(), said.details()) == (grpc.StatusCode.INTERNAL, "Invalid metadata")


async def test_python_refuses_an_upper_case_key_in_grpc_aio() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        call: Any = channel.unary_unary("/a.B/C")
        with pytest.raises(Exception, match="execute_batch") as refused:
            await call(b"", metadata=(("X-Lane", "canary"),), timeout=5)
    assert type(refused.value).__name__ == "ExecuteBatchError"
