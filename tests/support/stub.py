"""The four RPCs on bytes, for tests that look at the wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from protos import hop_pb2, landing_pb2
from talk.relay import SERVICES

Metadata = list[tuple[str, str | bytes]]


class Stub:
    def __init__(self, channel: grpc.Channel, service: str = SERVICES[0]) -> None:
        self.channel = channel
        self.talk: Any = channel.unary_unary(f"/{service}/Talk")
        self.talk_one_answer_more: Any = channel.unary_stream(f"/{service}/TalkOneAnswerMore")
        self.talk_more_answer_one: Any = channel.stream_unary(f"/{service}/TalkMoreAnswerOne")
        self.talk_bidirectional: Any = channel.stream_stream(f"/{service}/TalkBidirectional")


@contextmanager
def connect(target: str, service: str = SERVICES[0], **options: int) -> Iterator[Stub]:
    """A stub on a connection of its own: grpcio else shares connections between channels to one target."""
    arguments = [*LIMIT_OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    arguments += [(f"grpc.{name}", value) for name, value in options.items()]
    with grpc.insecure_channel(target, options=arguments) as channel:
        yield Stub(channel, service)


def ask(data: str, meta: str = "PYTHON") -> bytes:
    return landing_pb2.TalkRequest(data=data, meta=meta).SerializeToString()


def records(call: Any) -> list[hop_pb2.Hop]:
    """The hop records in a finished call's or an error's trailing metadata, in order."""
    pairs = call.trailing_metadata() or ()
    return [hop_pb2.Hop.FromString(value) for key, value in pairs if key == "talk-hop-bin"]


def path(call: Any) -> list[str]:
    return [record.service for record in records(call)]
