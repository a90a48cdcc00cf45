"""Hop records and outcomes as tables spell them."""

import hashlib
from typing import Any

from client.greetings import GREETINGS
from client.outcome import Outcome
from protos.hop_pb2 import FORWARDED, REFUSED, Fate, Header, Hop
from protos.landing_pb2 import TalkResponse, TalkResult

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "00000000000000000000000000abcdef"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def traceparent(trace_id: str = TRACE, span_id: str = "00f067aa0ba902b7", fate: Fate = FORWARDED) -> Header:
    return header("traceparent", f"00-{trace_id}-{span_id}-01", fate)


def header(key: str, value: str | bytes = "", fate: Fate = FORWARDED) -> Header:
    return Header(key=key, value=value if isinstance(value, bytes) else value.encode(), fate=fate)


def prefixed(key: str, value: bytes, fate: Fate = FORWARDED) -> Header:
    """A long value as its first 64 bytes, length and SHA-256."""
    return Header(key=key, value=value[:64], length=len(value), sha256=hashlib.sha256(value).digest(), fate=fate)


def digested(key: str, value: bytes, fate: Fate = FORWARDED) -> Header:
    """A value as its length and 8 bytes of its SHA-256, as in a record that would grow too long."""
    return Header(key=key, length=len(value), sha256=hashlib.sha256(value).digest()[:8], fate=fate)


def hop(service: str, *headers: Header, trace_id: str = TRACE, later_us: int = 900, **fields: Any) -> Hop:
    """A record; the user-agent that every real one holds comes with it."""
    agent = Header(key="user-agent", fate=REFUSED)
    return Hop(service=service, headers=[agent, *headers], trace_id=trace_id, later_us=later_us, **fields)


def last(service: str, *headers: Header, trace_id: str = TRACE, **fields: Any) -> Hop:
    """The record of a hop that calls nobody."""
    return hop(service, *headers, trace_id=trace_id, later_us=0, **fields)


def answer(*indices: int, **kv: str) -> TalkResponse:
    """One response that greets in these languages; `kv` goes over what is right."""
    return TalkResponse(
        status=200,
        results=[
            TalkResult(id=1, kv={"id": "a-uuid", "idx": str(index), "data": GREETINGS[index], "meta": "PYTHON"} | kv)
            for index in indices
        ],
    )


def outcome(*hops: Hop, status: str = "OK", **fields: Any) -> Outcome:
    """A Talk call for greeting 0 that left these records."""
    responses = (answer(0),) if status == "OK" else ()
    return Outcome(
        **{"rpc": "Talk", "asked": (0,), "sent": (), "responses": responses} | fields, status=status, hops=hops
    )
