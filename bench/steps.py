"""What each step that talk takes for a call costs by itself, without any network."""

import timeit
from collections.abc import Callable
from queue import SimpleQueue

from bench.hop import HEADERS
from bench.table import Cell, Table
from grpc_tracing.headers import forwarding as propagation
from grpc_tracing.headers import reading
from protos.hop_pb2 import Hop
from talk import records as hops
from talk.logs import CallLog, Line

_CALLS = 2_000
_REPEATS = 15


def steps() -> Table:
    """The fastest of many repeats, as timeit has it: what else the machine does only adds."""
    baseline = _us(lambda: None)
    taken = {name: round(_us(step) - baseline, 2) for name, step in _steps().items()}
    rows: list[list[Cell]] = [[name, us] for name, us in taken.items()]
    note = "The steps of a unary call with five trace headers at a forwarding hop whose next one answers for itself."
    return Table("steps", "Single steps of a call", ("", "µs"), [*rows, ["sum", round(sum(taken.values()), 2)]], note)


def _us(step: Callable[[], object]) -> float:
    return min(timeit.repeat(step, number=_CALLS, repeat=_REPEATS)) / _CALLS * 1e6


def _steps() -> dict[str, Callable[[], object]]:
    metadata: list[tuple[str, str | bytes]] = [*HEADERS, ("user-agent", "grpc-python-asyncio/1.85.1")]
    rule = propagation.Propagation()
    received = rule.sort(metadata)
    later = (("talk-hop-bin", _record(received).SerializeToString()),)
    record = _record(received)
    lines: SimpleQueue[Line | None] = SimpleQueue()
    log = CallLog(lines, enabled=True)

    def write() -> None:
        log.call(rpc="/LandingService/Talk", code="OK", duration_ms=1.0, peer="unix:", messages_in=1, messages_out=1)
        lines.get()

    return {
        "sort the headers": lambda: rule.sort(metadata),
        "the onward metadata": lambda: tuple(propagation.onward(received)),
        "the trace id": lambda: reading.trace_id(metadata),
        "the peer's identity": lambda: hops.peer_identity(metadata, "unix:"),
        "what goes back": lambda: propagation.backward(later),
        "the hop record": lambda: _record(received),
        "the record encoded, in front of the others": lambda: hops.add(record, later),
        "the log line, queued": write,
    }


def _record(received: list[propagation.Received]) -> Hop:
    record = Hop(service="svc2", version="v1", instance="host", rpc="/LandingService/Talk", peer="unix:", here_us=100)
    hops.note_headers(record, received)
    return record
