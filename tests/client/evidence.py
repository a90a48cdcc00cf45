"""HopRecord records and outcomes as tables spell them."""

import hashlib
from typing import Any

from chain.greetings import GREETINGS
from client.call.outcome import Outcome
from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.headers.forwarding import Decision
from protos.landing_pb2 import TalkResponse, TalkResult

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "00000000000000000000000000abcdef"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def traceparent(trace_id: str = TRACE, span_id: str = "00f067aa0ba902b7", decision: int = Decision.FORWARDED) -> Header:
    return header("traceparent", f"00-{trace_id}-{span_id}-01", decision)


def header(key: str, value: str | bytes = "", decision: int = Decision.FORWARDED) -> Header:
    return Header(key=key, value=value if isinstance(value, bytes) else value.encode(), decision=decision)


def prefixed(key: str, value: bytes, decision: int = Decision.FORWARDED) -> Header:
    """A long value as its first 64 bytes, length and SHA-256."""
    return Header(
        key=key, value=value[:64], length=len(value), sha256=hashlib.sha256(value).digest(), decision=decision
    )


def digested(key: str, value: bytes, decision: int = Decision.FORWARDED) -> Header:
    """A value as its length and 8 bytes of its SHA-256, as in a record that would grow too long."""
    return Header(key=key, length=len(value), sha256=hashlib.sha256(value).digest()[:8], decision=decision)


def hop(service: str, *headers: Header, trace_id: str = TRACE, later_us: int = 900, **fields: Any) -> HopRecord:
    """A record; the user-agent that every real one holds comes with it."""
    agent = Header(key="user-agent", decision=Decision.REFUSED)
    return HopRecord(service=service, headers=(agent, *headers), trace_id=trace_id, later_us=later_us, **fields)


def last(service: str, *headers: Header, trace_id: str = TRACE, **fields: Any) -> HopRecord:
    """The record of a hop that calls nobody."""
    return hop(service, *headers, trace_id=trace_id, later_us=0, **fields)


def answer(*indices: int, **kv: str) -> TalkResponse:
    """One response that greets in these languages; `kv` goes over what is right."""
    return TalkResponse(
        status=200,
        results=[
            TalkResult(
                id=1, kv={"id": "a-uuid", "idx": str(index), "data": GREETINGS[str(index)], "meta": "PYTHON"} | kv
            )
            for index in indices
        ],
    )


def outcome(*hops: HopRecord, status: str = "OK", **fields: Any) -> Outcome:
    """A Talk call for greeting 0 that left these records."""
    responses = (answer(0),) if status == "OK" else ()
    return Outcome(
        **{"rpc": "Talk", "asked": (0,), "sent": (), "responses": responses} | fields, status=status, hops=hops
    )
