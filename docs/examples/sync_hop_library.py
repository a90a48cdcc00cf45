"""`sync_hop` with the library: interceptors pass the headers on, and no handler names them.

`python -m docs.examples.sync_hop_library` listens on TALK_LISTEN and calls TALK_NEXT_HOP.
"""

# ruff: noqa: N802  (the handlers' names are the contract's)

import os
from collections.abc import Iterator
from concurrent import futures

import grpc

from docs.examples.sync_hop import NextHop, passing_back, remaining, whole
from grpc_tracing.propagation import rule, sync
from protos.landing_pb2 import TalkRequest, TalkResponse
from protos.landing_pb2_grpc import (
    LandingServiceServicer,
    add_LandingServiceServicer_to_server,
)

OWN = ("x-lane", "end-user", "tenant-bin")  # your routing and business headers: yours to name


class LandingService(LandingServiceServicer):
    """The four handlers of a hop that has a next one."""

    def __init__(self, next_hop: NextHop) -> None:
        self._next_hop = next_hop

    def Talk(self, request: TalkRequest, context: grpc.ServicerContext) -> TalkResponse:
        call = self._next_hop.Talk.future(request, timeout=remaining(context))
        with passing_back(call, context):
            return call.result()

    def TalkOneAnswerMore(self, request: TalkRequest, context: grpc.ServicerContext) -> Iterator[TalkResponse]:
        call = self._next_hop.TalkOneAnswerMore(iter((request,)), timeout=remaining(context))
        with passing_back(call, context):
            yield from call

    def TalkMoreAnswerOne(self, requests: Iterator[TalkRequest], context: grpc.ServicerContext) -> TalkResponse:
        call = self._next_hop.TalkMoreAnswerOne.future(whole(requests, context), timeout=remaining(context))
        with passing_back(call, context):
            return call.result()

    def TalkBidirectional(
        self, requests: Iterator[TalkRequest], context: grpc.ServicerContext
    ) -> Iterator[TalkResponse]:
        call = self._next_hop.TalkBidirectional(whole(requests, context), timeout=remaining(context))
        with passing_back(call, context):
            yield from call


def serve(channel: grpc.Channel) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(32), interceptors=sync.server_interceptors())
    stub = NextHop(grpc.intercept_channel(channel, *sync.client_interceptors(rule(also=OWN))))
    add_LandingServiceServicer_to_server(LandingService(stub), server)
    server.add_insecure_port(os.environ["TALK_LISTEN"])
    return server


def main() -> None:
    with grpc.insecure_channel(os.environ["TALK_NEXT_HOP"]) as channel:
        server = serve(channel)
        server.start()
        server.wait_for_termination()


if __name__ == "__main__":
    main()
