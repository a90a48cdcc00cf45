"""`grpc-tracing check`: describes the method, calls it, reads its spans, judges, shows."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from grpc_tracing.backends.jaeger import StoreUnreadable
from grpc_tracing.calling.channel import NothingAnswers, open_channel, reach
from grpc_tracing.commands import check_text
from grpc_tracing.commands.check_options import Options, options
from grpc_tracing.commands.check_text import count
from grpc_tracing.commands.files import write_whole
from grpc_tracing.printable import one_line
from grpc_tracing.probe import descriptors, messages, methods, reflection
from grpc_tracing.probe.calls import Asked, Call, call
from grpc_tracing.probe.judge import Before, Evidence, judge
from grpc_tracing.probe.result import Check
from grpc_tracing.probe.traces import look_up


def main(arguments: list[str]) -> int:
    """Runs the check and returns the exit code."""
    given = options(arguments)
    try:
        method, check = asyncio.run(_check(given))
        return _show(given, method, check)
    except (NothingAnswers, methods.NoMethod, ValueError, OSError) as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def _tell(what: str) -> None:
    sys.stderr.write(f"grpc-tracing check: {one_line(what)}\n")


async def _check(given: Options) -> tuple[MethodDescriptor, Check]:
    async with open_channel(given.target, given.tls, given.authority, given.within) as channel:
        described = _described(given)
        await reach(channel, given.target, given.within)
        if described is None:
            described = await reflection.files(channel, given.service, given.headers, given.within)
        method = methods.find(described, given.service, given.method)
        calls = await _calls(channel, given, method)
    evidence, before = await _look_up(given, calls)
    seen, cuts = judge(evidence, before, given.expected)
    return method, Check(given.target, methods.path(method), seen, cuts)


def _described(given: Options) -> list[FileDescriptorProto] | None:
    """What files describe, before anything is called; None where the service itself is to be asked."""
    if given.protosets:
        return [file for path in given.protosets for file in descriptors.protoset(path)]
    return descriptors.sources(given.sources, given.roots) if given.sources else None


async def _calls(channel: grpc.aio.Channel, given: Options, method: MethodDescriptor) -> list[Call]:
    requests = messages.requests(method, given.data or "")
    if given.data is None:
        _tell(f"without -d, {method.name} gets an empty {method.input_type.name}")
    asked = Asked(method, requests, given.headers, given.within, given.most)
    gate = asyncio.Semaphore(given.concurrency)

    async def one() -> Call:
        async with gate:
            return await call(channel, asked)

    return await asyncio.gather(*(one() for _ in range(given.repeat)))


async def _look_up(given: Options, calls: Sequence[Call]) -> tuple[list[Evidence], Before]:
    if given.traces is None:
        unread = "no spans were read: give --traces URL"
        return [Evidence(one, [], unread=unread) for one in calls], Before()
    _tell(f"reading the spans of {count(len(calls), 'call')} at {given.traces.url}, up to {given.wait:g}s")
    try:
        return await look_up(given.traces, given.api, calls, given.wait)
    except StoreUnreadable as error:
        return [Evidence(one, [], unread=str(error)) for one in calls], Before()


def _show(given: Options, method: MethodDescriptor, check: Check) -> int:
    """Files first: a pipe that closes early loses none."""
    if given.save:
        edges = list(dict.fromkeys(edge for one in check.calls for edge in one.edges))
        saved = {"method": check.method, "edges": edges}
        write_whole(given.save, json.dumps(saved, indent=2) + "\n")
    if given.junit:
        write_whole(given.junit, check_text.junit(check))
    answers = [check_text.answers(method, one.call) for one in check.calls]
    document = check.document(answers)
    text = json.dumps(document, indent=2) + "\n" if given.json else check_text.told(check, answers)
    with suppress(BrokenPipeError):
        sys.stdout.write(text)
        sys.stdout.flush()
    return check.exit_code
