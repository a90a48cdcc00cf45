"""What the page tests share: a store filled with calls, whole and broken, as a mesh and a requester leave them."""

import re
import time
import uuid
from dataclasses import dataclass, replace
from html import unescape
from typing import Any

import httpx

from tests.store.calls import cut_at, new_id, talk_parts
from tests.store.support import Part, Store, export_request

RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")


@dataclass(frozen=True)
class Filled:
    """Trace ids: of a whole call for each RPC, a failed one, one through the canary, and a broken call's two."""

    whole: dict[str, str]
    failed: str
    canary: str
    pieces: tuple[str, str]


def send(store: Store, parts: list[Part], ago_s: float = 0) -> str:
    trace_id = new_id(16)
    store.export(export_request(trace_id, parts, start_ns=time.time_ns() - int(ago_s * 1e9) - 10**7))
    return trace_id


def fill(store: Store) -> Filled:
    whole = {rpc: send(store, talk_parts(rpc, version="v1"), ago_s=60 - at * 5) for at, rpc in enumerate(RPCS)}
    failed = send(store, talk_parts("Talk", fails_at="svc3", version="v1"), ago_s=30)
    canary = send(store, talk_parts("Talk", version="canary"), ago_s=20)
    return Filled(whole, failed, canary, broken_call(store, ago_s=10))


def broken_call(
    store: Store, *, ago_s: float = 0, shared_request_id: bool = False, noted: bool = True
) -> tuple[str, str]:
    """A call whose trace fell apart at svc2. Envoy makes a request id anew where none was forwarded."""
    request_id = str(uuid.uuid4())
    upper, lower = cut_at(talk_parts("Talk", request_id), "svc2")
    if not shared_request_id:
        other = cut_at(talk_parts("Talk"), "svc2")[1]
        lower = [replace(mine, attributes=its.attributes) for mine, its in zip(lower, other, strict=True)]
    ids = send(store, upper, ago_s), send(store, lower, ago_s)
    if noted:
        note(store, request_id=request_id, trace_ids=list(ids))
    return ids


def note(store: Store, **facts: Any) -> None:
    """What the requester posts of a call that svc2 broke."""
    header = {"key": "traceparent", "value": f"00-{facts['trace_ids'][0]}-00f067aa0ba902b7-01"}
    svc1 = {
        "service": "svc1",
        "record": "whole",
        "version": "v1",
        "instance": "laptop",
        "trace_id": facts["trace_ids"][0],
        "status": 0,
        "here_ms": 0.8,
        "later_ms": 5.1,
        "headers": [header | {"fate": "forwarded"}, {"key": "authorization", "value": "", "fate": "refused"}],
    }
    svc2 = svc1 | {"service": "svc2", "headers": [header | {"fate": "switched_off"}]}
    call = {
        "rpc": "Talk",
        "verdict": "broken",
        "problems": ["svc2 received traceparent and did not forward it: 2 traces, expected 1"],
        "hops": [svc1, svc2, {"service": "svc3", "record": "unknown"}],
    }
    answer = store.client.post(f"http://{store.http}/api/calls", json=call | facts)
    assert answer.status_code == 202, answer.text


def propagation_rows(url: str) -> dict[str, tuple[str, str, str]]:
    """By service: verdict, calls out and cut, as the page "Propagation" of the store at this URL has them."""
    answer = httpx.get(f"{url}/propagation", timeout=240, trust_env=False)
    assert answer.status_code == 200, answer.text
    table = answer.text.partition('class="grid audit"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    found = {}
    for row in table.split("<tr")[1:]:
        verdict, service, calls_out, cut, _ = (_cell(cell) for cell in row.split("<td")[1:])
        found[service] = (verdict, calls_out, cut)
    return found


def _cell(markup: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", markup.partition(">")[2])).strip()
