"""A hop in the synchronous API with generated stubs: it calls the next one with the headers and the time it was given.

`python -m docs.examples.sync_hop` listens on TALK_LISTEN and calls TALK_NEXT_HOP.
"""

# ruff: noqa: N802  (the handlers' names are the contract's)

import os
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from docs.examples.propagation import onward
from protos.landing_pb2 import TalkRequest, TalkResponse
from protos.landing_pb2_grpc import (
    LandingServiceServicer,
    LandingServiceStub,
    add_LandingServiceServicer_to_server,
)


class NextHop(LandingServiceStub):
    """The stub, with an answer of many messages to a stream of one request, which is the same on the wire.

    To a single request OpenTelemetry's auto-instrumentation gives a plain generator, which nobody can cancel.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self.TalkOneAnswerMore = channel.stream_stream(
            "/org.feuyeux.grpc.LandingService/TalkOneAnswerMore",
            TalkRequest.SerializeToString,
            TalkResponse.FromString,
        )


class LandingService(LandingServiceServicer):
    """The four handlers of a hop that has a next one."""

    def __init__(self, next_hop: NextHop) -> None:
        self._next_hop = next_hop

    def Talk(self, request: TalkRequest, context: grpc.ServicerContext) -> TalkResponse:
        call = self._next_hop.Talk.future(
            request, metadata=onward(context.invocation_metadata()), timeout=remaining(context)
        )
        with passing_back(call, context):
            return call.result()

    def TalkOneAnswerMore(self, request: TalkRequest, context: grpc.ServicerContext) -> Iterator[TalkResponse]:
        call = self._next_hop.TalkOneAnswerMore(
            iter((request,)), metadata=onward(context.invocation_metadata()), timeout=remaining(context)
        )
        with passing_back(call, context):
            yield from call

    def TalkMoreAnswerOne(self, requests: Iterator[TalkRequest], context: grpc.ServicerContext) -> TalkResponse:
        call = self._next_hop.TalkMoreAnswerOne.future(
            whole(requests, context), metadata=onward(context.invocation_metadata()), timeout=remaining(context)
        )
        with passing_back(call, context):
            return call.result()

    def TalkBidirectional(
        self, requests: Iterator[TalkRequest], context: grpc.ServicerContext
    ) -> Iterator[TalkResponse]:
        call = self._next_hop.TalkBidirectional(
            whole(requests, context), metadata=onward(context.invocation_metadata()), timeout=remaining(context)
        )
        with passing_back(call, context):
            yield from call


def remaining(context: grpc.ServicerContext) -> float | None:
    """Seconds that the caller still waits, None without a deadline: the synchronous API then says some 9.2e18."""
    seconds = context.time_remaining()
    return seconds if seconds is not None and seconds < 1e9 else None


def whole(requests: Iterator[TalkRequest], context: grpc.ServicerContext) -> Iterator[TalkRequest]:
    """The requests; raises where they were cut, and gRPC then cancels the onward call.

    gRPC ends a stream that was cut like a complete one, and learns a moment later that the call is cancelled.
    Half-closed meanwhile, the onward call would be taken for a complete, shorter one. Asked once more, gRPC knows.
    """
    yield from requests
    next(requests, None)  # raises grpc.RpcError for a call that was cancelled
    if not context.is_active():
        raise grpc.RpcError


@contextmanager
def passing_back(call: Any, context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the onward call with the incoming one; its status and trailers go back unchanged.

    A grpc.RpcError that leaves a handler uncaught turns every status into UNKNOWN.
    """
    if not context.add_callback(call.cancel):  # the incoming call has ended already
        call.cancel()
    try:
        yield
    except grpc.FutureCancelledError:
        context.abort(grpc.StatusCode.CANCELLED, "cancelled with the incoming call")
    except grpc.RpcError as error:
        ended: Any = error
        context.set_trailing_metadata(ended.trailing_metadata() or ())
        context.abort(ended.code(), ended.details())
    context.set_trailing_metadata(call.trailing_metadata())


def main() -> None:
    with grpc.insecure_channel(os.environ["TALK_NEXT_HOP"]) as channel:
        server = grpc.server(futures.ThreadPoolExecutor(32))
        add_LandingServiceServicer_to_server(LandingService(NextHop(channel)), server)
        server.add_insecure_port(os.environ["TALK_LISTEN"])
        server.start()
        server.wait_for_termination()


if __name__ == "__main__":
    main()
