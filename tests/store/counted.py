"""What the pages have to say, counted from the spans that the query API gives: none of the library's code is used."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

SERVER, CLIENT = 2, 3
_EVER = {
    "query.startTimeMin": "1970-01-01T00:00:00Z",
    "query.startTimeMax": "2200-01-01T00:00:00Z",
    "query.searchDepth": "1000",
}
_CHAIN = ("requester", "ingress", "svc1", "svc2", "svc3")
Span = dict[str, Any]


@dataclass
class Edge:
    """Calls from one service to another: how many, how many failed, and how long they lasted in all, in ns."""

    calls: int = 0
    failed: int = 0
    lasted: int = 0
    tries: int = 0


@dataclass
class Counted:
    """`states` by trace id; `edges` by caller, callee and whether they hang below a cut."""

    states: dict[str, str] = field(default_factory=dict)
    edges: defaultdict[tuple[str, str, bool], Edge] = field(default_factory=lambda: defaultdict(Edge))

    def of(self, state: str) -> set[str]:
        return {trace_id for trace_id, one in self.states.items() if one == state}

    @property
    def totals(self) -> Counter[str]:
        return Counter(self.states.values())


def count(url: str) -> Counted:
    counted = Counted()
    for trace_id, spans in _traces(url).items():
        _take(counted, trace_id, spans)
    return counted


def _traces(url: str) -> dict[str, list[Span]]:
    answer = httpx.get(f"{url}/api/v3/traces", params=_EVER, timeout=60, trust_env=False).json()
    traces: dict[str, list[Span]] = defaultdict(list)
    for group in answer["result"]["resourceSpans"]:
        named = {pair["key"]: pair["value"].get("stringValue") for pair in group["resource"]["attributes"]}
        for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
            traces[span["traceId"]].append(span | {"service": named["service.name"]})
    return traces


def _take(counted: Counted, trace_id: str, spans: list[Span]) -> None:
    by_id = {span["spanId"]: span for span in spans}
    root = next((span for span in spans if not span.get("parentSpanId")), None)
    if root is None:
        counted.states[trace_id] = "arriving"
        return
    cut = root["service"] == "svc2"
    counted.states[trace_id] = _state(root, spans)
    tried: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        caller = by_id.get(span.get("parentSpanId", ""))
        if caller and caller["service"] != span["service"]:
            tried[caller["spanId"]].append(span)
    for span_id, attempts in tried.items():
        caller = by_id[span_id]
        edge = counted.edges[caller["service"], attempts[0]["service"], cut]
        edge.calls += 1
        edge.failed += failed(caller)
        edge.lasted += int(caller["endTimeUnixNano"]) - int(caller["startTimeUnixNano"])
        edge.tries += len(attempts)


def _state(root: Span, spans: list[Span]) -> str:
    if root["service"] == "svc2":
        return "broken"
    if failed(root):
        return "failed"
    return "whole" if {span["service"] for span in spans} == set(_CHAIN) else "unproven"


def failed(span: Span) -> bool:
    return span.get("status", {}).get("code") == 2 or _attributes(span).get("grpc.status_code", "0") != "0"


def _attributes(span: Span) -> dict[str, str]:
    return dict(_pairs(span))


def _pairs(span: Span) -> Iterator[tuple[str, str]]:
    for pair in span.get("attributes", ()):
        yield pair["key"], str(next(iter(pair["value"].values()), ""))
