"""The plugin's check: it tells each mistake that hops make, and finds none in hops that make none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from grpc_tracing.headers.families import Metadata
from grpc_tracing.propagation import headers_of, rule, sync
from grpc_tracing.testing import Leaf, Method, stream_stream, stream_unary, unary_stream, unary_unary
from protos.landing_pb2 import TalkRequest
from tests.support.processes import service
from tests.support.server import grpc_server
from tests.support.waiting import wait_for

Check = Callable[..., None]
Rewrite = Callable[[str, Metadata], Metadata]
METHODS: Final = (
    unary_unary("/hop/Talk", b"x"),
    unary_stream("/hop/TalkOneAnswerMore", b"x"),
    stream_unary("/hop/TalkMoreAnswerOne", b"x"),
    stream_stream("/hop/TalkBidirectional", b"x"),
)


class Hop(grpc.GenericRpcHandler):
    """Any method as a stream of bytes; what goes on is what `rewrite` makes of what a good hop sends."""

    def __init__(self, channel: grpc.Channel, rewrite: Rewrite) -> None:
        self._channel = channel
        self._rewrite = rewrite

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        onward: Any = self._channel.stream_stream(details.method)

        def relay(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            call = onward(iter(list(requests)), metadata=self._rewrite(details.method, headers_of(context)), timeout=10)
            context.add_callback(call.cancel)
            try:
                yield from call
            except grpc.RpcError as error:
                failed: Any = error
                context.abort(failed.code(), failed.details())

        return grpc.stream_stream_rpc_method_handler(relay)


@contextmanager
def hop(leaf: Leaf, rewrite: Rewrite, **options: Any) -> Iterator[str]:
    with (
        grpc.insecure_channel(leaf.target, options=(("grpc.enable_http_proxy", 0),)) as channel,
        grpc_server(Hop(channel, rewrite), **options) as address,
    ):
        yield address


def each(key: str, change: Callable[[str], str]) -> Rewrite:
    return lambda _, kept: tuple((name, change(str(value)) if name == key else value) for name, value in kept)


def without(key: str) -> Rewrite:
    return lambda _, kept: tuple(pair for pair in kept if pair[0] != key)


class Cached:
    """A global that all calls share, as guides have it."""

    def __init__(self) -> None:
        self.last: Metadata = ()

    def earlier(self, _: str, kept: Metadata) -> Metadata:
        """The call before this one."""
        before, self.last = self.last, kept
        return before

    def shared(self, _: str, kept: Metadata) -> Metadata:
        """Whichever came last."""
        self.last = kept
        time.sleep(0.01)  # the handler's own work, in which other calls come
        return self.last


def new_trace(_: str, kept: Metadata) -> Metadata:
    """Under the old span id."""
    return each("traceparent", lambda text: f"00-{'ab' * 16}-{text[36:52]}-01")(_, kept)


MISTAKES: Final[dict[str, tuple[Rewrite, str]]] = {
    "lost": (without("traceparent"), "/hop/Talk: traceparent was lost"),
    "lost in streams alone": (
        lambda rpc, kept: kept if rpc == "/hop/Talk" else (),
        "/hop/TalkOneAnswerMore: none of its headers came",
    ),
    "changed": (each("x-asm-prefer-tag", lambda _: "other"), "x-asm-prefer-tag was changed: .* became 'other'"),
    "doubled": (
        lambda _, kept: (*kept, next(pair for pair in kept if pair[0] == "x-request-id")),
        "x-request-id came 2 times, not 1",
    ),
    "joined": (
        lambda _, kept: (
            *without("baggage")(_, kept),
            ("baggage", ",".join(str(value) for key, value in kept if key == "baggage")),
        ),
        "baggage headers were joined into one",
    ),
    "a dict": (lambda _, kept: tuple(dict(kept).items()), "baggage came 1 times, not 2"),
    "emptied": (each("tracestate", lambda _: ""), "tracestate was emptied"),
    "cut to 64 bits": (each("x-b3-traceid", lambda text: text[16:]), "x-b3-traceid was changed"),
    "in upper case": (each("traceparent", str.upper), "traceparent was changed"),
    "a new trace": (new_trace, "traceparent was changed"),
    "not sampled any more": (each("traceparent", lambda text: f"{text[:-2]}00"), "traceparent was changed"),
    "B3 rebuilt": (without("x-b3-parentspanid"), "x-b3-parentspanid was lost"),
    "one spelling of B3 alone": (without("b3"), "/hop/Talk with b3 alone: b3 was lost"),
    "credentials": (lambda _, kept: (*kept, ("authorization", "secret")), "authorization went on"),
    "an earlier call's": (Cached().earlier, "none of its headers came, or those of another call did"),
    "another call's": (Cached().shared, "at once: .*another call's headers"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_hop_with_one_mistake_is_told(trace_leaf: Leaf, check_propagation: Check, mistake: str) -> None:
    rewrite, told = MISTAKES[mistake]
    with hop(trace_leaf, rewrite) as target, pytest.raises(AssertionError) as failed:
        check_propagation(target, *METHODS)
    assert re.search(told, str(failed.value)), failed.value


def test_a_good_hop_passes(trace_leaf: Leaf, check_propagation: Check) -> None:
    with hop(trace_leaf, lambda _, kept: kept) as target:
        check_propagation(target, *METHODS)


def test_a_hop_with_interceptors_passes(trace_leaf: Leaf, check_propagation: Check) -> None:
    own = rule(("w3c", "b3"), ("x-lane", "x-tenant-bin"))
    plain = grpc.insecure_channel(trace_leaf.target, options=(("grpc.enable_http_proxy", 0),))
    with grpc.intercept_channel(plain, *sync.client_interceptors(own)) as channel:

        def answer(request: bytes, _: object) -> bytes:
            call: Any = channel.unary_unary("/leaf/any")
            return bytes(call(request))

        handler: Any = grpc.unary_unary_rpc_method_handler(answer)
        handlers = grpc.method_handlers_generic_handler("hop", {"Talk": handler})
        trace_leaf.answers["/leaf/any"] = b"answer"
        with grpc_server(handlers, interceptors=sync.server_interceptors()) as address:
            check_propagation(address, METHODS[0], rule=own)


@pytest.mark.parametrize("module", ["svc2", "docs.examples.aio_hop", "docs.examples.sync_hop"])
def test_hops_of_this_repository_pass(trace_leaf: Leaf, check_propagation: Check, module: str, tmp_path: Path) -> None:
    service_name, request = "org.feuyeux.grpc.LandingService", TalkRequest(data="0")
    methods = [Method(method.path.replace("/hop", f"/{service_name}"), method.pattern, b"") for method in METHODS]
    methods = [Method(one.path, one.pattern, request.SerializeToString()) for one in methods]
    listen = f"unix:{tmp_path}/hop"
    with service(module, tmp_path / "log", listen=listen, next_hop=trace_leaf.target):
        wait_for((tmp_path / "hop").exists, f"{module} listens")
        check_propagation(listen, *methods)


def test_a_method_that_fails_by_itself_is_told(trace_leaf: Leaf, check_propagation: Check) -> None:
    with (
        grpc_server(threads=1) as address,
        pytest.raises(AssertionError, match="/hop/Talk failed by itself: UNIMPLEMENTED"),
    ):
        check_propagation(address, METHODS[0])


@pytest.mark.full
def test_a_hop_that_calls_nobody_is_told(
    trace_leaf: Leaf, check_propagation: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grpc_tracing.testing.check._TIMEOUT", 0.5)
    with (
        grpc_server(Silent(), threads=4) as address,
        pytest.raises(AssertionError, match=r"/hop/Talk: no call came to the last hop within 0.5 s"),
    ):
        check_propagation(address, METHODS[0])


class Silent(grpc.GenericRpcHandler):
    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)
