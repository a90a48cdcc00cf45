"""The shortest forwarder for the same contract: bytes through grpc.aio on uvloop, no records, no logs.

``python -m bench.bare LISTEN NEXT_HOP``. What talk costs is measured against it.
"""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from talk.relay import SERVICES


def handlers(channel: grpc.aio.Channel) -> list[grpc.GenericRpcHandler]:
    return [grpc.method_handlers_generic_handler(name, _methods(channel, name)) for name in SERVICES]


def _methods(channel: grpc.aio.Channel, name: str) -> dict[str, Any]:
    one: Any = channel.unary_unary(f"/{name}/Talk")
    more: Any = channel.unary_stream(f"/{name}/TalkOneAnswerMore")
    gather: Any = channel.stream_unary(f"/{name}/TalkMoreAnswerOne")
    both: Any = channel.stream_stream(f"/{name}/TalkBidirectional")

    async def talk(request: bytes, context: Any) -> bytes:
        answer: bytes = await one(request, metadata=context.invocation_metadata(), timeout=context.time_remaining())
        return answer

    async def talk_one_answer_more(request: bytes, context: Any) -> None:
        await _answers(more(request, metadata=context.invocation_metadata(), timeout=context.time_remaining()), context)

    async def talk_more_answer_one(_: Any, context: Any) -> bytes:
        call = gather(metadata=context.invocation_metadata(), timeout=context.time_remaining())
        await _requests(call, context)
        answer: bytes = await call
        return answer

    async def talk_bidirectional(_: Any, context: Any) -> None:
        call = both(metadata=context.invocation_metadata(), timeout=context.time_remaining())
        await asyncio.gather(_requests(call, context), _answers(call, context))

    return {
        "Talk": grpc.unary_unary_rpc_method_handler(talk),
        "TalkOneAnswerMore": grpc.unary_stream_rpc_method_handler(talk_one_answer_more),
        "TalkMoreAnswerOne": grpc.stream_unary_rpc_method_handler(talk_more_answer_one),
        "TalkBidirectional": grpc.stream_stream_rpc_method_handler(talk_bidirectional),
    }


async def _requests(call: Any, context: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        await call.write(message)
    await call.done_writing()


async def _answers(call: Any, context: Any) -> None:
    while (message := await call.read()) is not grpc.aio.EOF:
        await context.write(message)


async def serve(listen: str, next_hop: str) -> None:
    server = grpc.aio.server(options=LIMIT_OPTIONS)
    async with grpc.aio.insecure_channel(next_hop, options=LIMIT_OPTIONS) as channel:
        server.add_generic_rpc_handlers(handlers(channel))
        server.add_insecure_port(listen)
        await server.start()
        print(listen, flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
