"""A run as the one JSON object that `--json` prints."""

from __future__ import annotations

import base64
from typing import Any

from client.call.answers import count_results
from client.call.outcome import Outcome
from client.call.run import Judged, Run
from grpc_tracing.evidence.links import Link
from grpc_tracing.evidence.path import PathHop
from grpc_tracing.evidence.records import Header, reported_id
from grpc_tracing.headers.forwarding import Decision
from grpc_tracing.headers.reading import distinct


def document(run: Run) -> dict[str, Any]:
    return {
        "verdict": run.verdict,
        "target": run.target,
        "calls": [_call(call) for call in run.calls],
        "problems": list(run.problems),
    }


def notes_for_store(run: Run) -> list[dict[str, Any]]:
    """What a trace backend is told of each call, beside its spans."""
    return [_note(call) for call in run.calls]


def _note(call: Judged) -> dict[str, Any]:
    outcome, judgement = call.outcome, call.judgement
    seen = [span.trace_id for span in call.picture.spans] if call.picture else []
    return {
        "request_id": _request_id(outcome),
        "trace_ids": distinct([*seen, *map(reported_id, outcome.hops)]),
        "rpc": outcome.rpc,
        "verdict": judgement.verdict,
        "problems": list(judgement.problems),
        "hops": [_hop(stop) for stop in judgement.stops],
    }


def _request_id(outcome: Outcome) -> str:
    """As the first hop received it, where its record says: the edge may have rewritten a digit of what was sent."""
    received = [
        (header.key, header.value.decode(errors="replace")) for hop in outcome.hops[:1] for header in hop.headers
    ]
    return str(next((value for key, value in (*received, *outcome.sent) if key == "x-request-id"), ""))


def _call(call: Judged) -> dict[str, Any]:
    outcome, judgement = call.outcome, call.judgement
    return {
        "rpc": outcome.rpc,
        "status": outcome.status,
        "verdict": judgement.verdict,
        "answers": count_results(outcome.responses),
        "duration_ms": round(outcome.duration * 1000, 3),
        "path": list(judgement.path),
        "trace_id": judgement.trace_id or None,
        "traces": judgement.traces,
        "spans": len(call.picture.spans) if call.picture else None,
        "edges": [list(edge) for edge in call.picture.edges] if call.picture else None,
        "hops": [_hop(stop) for stop in judgement.stops],
        "links": [_link(link) for link in judgement.links],
        "problems": list(judgement.problems),
    }


def _link(link: Link) -> dict[str, Any]:
    return {"from": link.source, "to": link.target, "holds": link.holds, "by": list(link.by), "why": link.why}


def _hop(stop: PathHop) -> dict[str, Any]:
    """A hop's record, times in ms; a hop without one is there by name, its record `unknown`."""
    if stop.hop is None:
        return {"service": stop.service, "record": "unknown"}
    hop = stop.hop
    return {
        "service": hop.service,
        "record": "shortened" if hop.shortened else "whole",
        "version": hop.version,
        "instance": hop.instance,
        "rpc": hop.rpc,
        "peer": hop.peer,
        "trace_id": hop.trace_id or None,
        "status": hop.status,
        "remaining_ms": hop.remaining_ms,
        "here_ms": hop.here_us / 1000,
        "later_ms": hop.later_us / 1000,
        "headers": [_header(header) for header in hop.headers],
    }


def _header(header: Header) -> dict[str, Any]:
    """Text values as they are, those of `-bin` keys in base64; `length` and `sha256` where a value is not whole."""
    binary = header.key.endswith("-bin")
    value = base64.b64encode(header.value).decode() if binary else header.value.decode(errors="backslashreplace")
    entry = {"key": header.key, "value": value, "fate": _decision(header.decision)}
    return entry | ({"length": header.length, "sha256": header.sha256.hex()} if header.length else {})


def _decision(decision: int) -> str:
    """Its name; its number where a later version of a hop has one that is not known here."""
    return Decision(decision).name.lower() if decision in set(Decision) else str(decision)
