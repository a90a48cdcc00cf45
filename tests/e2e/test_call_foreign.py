"""A hop that is not ours in svc2's place: the verdict blames only who its own record blames, or says unknown."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protos.landing_pb2 import TalkResponse, TalkResult
from tests.client.foreign import Change, Pair, answering_hop, babbling_hop, foreign_hop, hanging_hop
from tests.client.run import client, client_beside
from tests.support.cells import cells, rows
from tests.support.processes import ROOT, chain, environment, service

TRACE, OTHER, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
SENT = [
    f"traceparent: 00-{TRACE}-{SPAN}-01",
    "tracestate: a=1",
    "tracestate: b=2",
    "baggage: k=v",
]
HEADERS = [word for header in SENT for word in ("-H", header)]
LANES = ["-H", "x-lane: a", "-H", "x-lane: b"]


def drop(key: str) -> Change:
    return lambda received: [pair for pair in received if pair[0] != key]


def reorder(received: Sequence[Pair]) -> Sequence[Pair]:
    return list(reversed(received))


def fold(received: Sequence[Pair]) -> Sequence[Pair]:
    return [*drop("tracestate")(received), ("tracestate", "a=1,b=2")]


def another_trace(received: Sequence[Pair]) -> Sequence[Pair]:
    return [*drop("traceparent")(received), ("traceparent", f"00-{OTHER}-{SPAN}-01")]


def another_span(received: Sequence[Pair]) -> Sequence[Pair]:
    return [*drop("traceparent")(received), ("traceparent", f"00-{TRACE}-{'b' * 16}-01")]


def drop_the_second_lane(received: Sequence[Pair]) -> Sequence[Pair]:
    return [pair for pair in received if pair != ("x-lane", "b")]


@asynccontextmanager
async def with_svc2_in_the_hands_of(folder: Path, change: Change) -> AsyncIterator[str]:
    with service("svc3", folder / "svc3.log", listen="127.0.0.1:0") as svc3:
        async with foreign_hop(svc3.addresses[0], change) as svc2:
            with service("svc1", folder / "svc1.log", listen="127.0.0.1:0", next_hop=f"dns:///{svc2}") as svc1:
                yield svc1.addresses[0]


BETWEEN = "between svc1 and svc3 (svc2 left no record)"
HARMLESS: list[tuple[str, Change, str]] = [
    ("passes all on", lambda received: received, ""),
    ("writes a new span id", another_span, ""),
    ("reorders duplicates", reorder, f"{BETWEEN}: tracestate headers changed their order"),
    ("folds tracestate", fold, f"{BETWEEN}: 2 tracestate headers were folded into one, comma-joined"),
]


@pytest.mark.parametrize(("name", "change", "note"), rows(HARMLESS, HARMLESS[:2]))
async def test_a_foreign_svc2_is_unknown_and_not_blamed_when_it(
    tmp_path: Path, name: str, change: Change, note: str
) -> None:
    async with with_svc2_in_the_hands_of(tmp_path, change) as target:
        ended = await client_beside("call", "--target", target, "--json", *HEADERS)
    assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended
    for call in ended.json["calls"]:
        assert (call["path"], call["traces"], call["problems"]) == (["svc1", "svc3"], 1, [])
    notes = [line for line in ended.notes if line != "note: svc2 left no record: unknown"]
    assert notes == ([f"note: {note}"] if note else [])


BREAKING: list[tuple[str, Change, str, int]] = [
    ("changes the trace id", another_trace, f"svc1 forwarded trace {TRACE} and svc3 received trace {OTHER}: ", 2),
    ("drops traceparent", drop("traceparent"), f"svc1 sent traceparent {TRACE} and svc3 did not receive it: ", 1),
    ("drops what was given with -H", drop("baggage"), "svc1 sent baggage, which is required, and svc3", 1),
    (
        "drops one of two that were given",
        drop_the_second_lane,
        "svc1 sent x-lane, which is required, and svc3 did not receive all 2 of it",
        1,
    ),
]


@pytest.mark.parametrize(("name", "change", "words", "traces"), rows(BREAKING, BREAKING[:1]))
async def test_the_trace_is_broken_and_svc2_unknown_when_a_foreign_svc2(
    tmp_path: Path, name: str, change: Change, words: str, traces: int
) -> None:
    async with with_svc2_in_the_hands_of(tmp_path, change) as target:
        ended = await client_beside("call", "--target", target, "--json", *HEADERS, *LANES)
    assert (ended.code, ended.json["verdict"]) == (1, "broken"), ended
    for call in ended.json["calls"]:
        (problem,) = call["problems"]
        assert problem.startswith(words)
        assert "svc2 between them left no record" in problem
        assert (call["traces"], call["hops"][1]) == (traces, {"service": "svc2", "record": "unknown"})


BEFORE_SVC1: list[tuple[str, Change, str]] = [
    ("drops traceparent", drop("traceparent"), f"requester sent traceparent {TRACE} and svc1 did not receive it"),
    ("changes the trace id", another_trace, f"requester forwarded trace {TRACE} and svc1 received trace {OTHER}"),
    ("drops what was given with -H", drop("baggage"), "requester sent baggage, which is required, and svc1"),
]


@pytest.mark.parametrize(("name", "change", "words"), rows(BEFORE_SVC1, BEFORE_SVC1[:1]))
async def test_the_trace_is_broken_where_an_ingress(tmp_path: Path, name: str, change: Change, words: str) -> None:
    with chain(tmp_path) as whole:
        async with foreign_hop(whole.target, change) as ingress:
            ended = await client_beside("call", "--target", ingress, "--rpc", "Talk", "--json", *HEADERS)
    assert (ended.code, ended.json["verdict"]) == (1, "broken"), ended
    assert ended.json["calls"][0]["problems"][-1].startswith(words)


ROOT_ID, SELF = "Root=1-67891233-abcdef012345678912345678", "Self=1-67891234-12456789abcdef0123456789"


EITHER_ORDER = (f"{ROOT_ID};{SELF}", f"{SELF};{ROOT_ID}")


@pytest.mark.full
@pytest.mark.parametrize("value", cells(EITHER_ORDER, EITHER_ORDER[:1]))
async def test_amazons_header_is_held_by_its_root_in_either_order(tmp_path: Path, value: str) -> None:
    sent = ("--rpc", "Talk", "--json", "-H", f"x-amzn-trace-id: {value}")
    async with with_svc2_in_the_hands_of(tmp_path, lambda received: received) as target:
        whole = await client_beside("call", "--target", target, *sent)
    (tmp_path / "torn").mkdir()
    async with with_svc2_in_the_hands_of(tmp_path / "torn", drop("x-amzn-trace-id")) as target:
        torn = await client_beside("call", "--target", target, *sent)
    assert (whole.code, whole.json["calls"][0]["trace_id"]) == (0, "67891233abcdef012345678912345678"), whole
    assert (torn.code, torn.json["verdict"]) == (1, "broken"), torn


async def test_answers_that_cannot_be_read_are_told() -> None:
    async with babbling_hop() as target:
        called = await client_beside("call", "--target", target, "--json")
        loaded = await client_beside("load", "--target", target, "--warmup", "0", "--duration", "300ms", "--json")
    assert (called.code, called.json["verdict"]) == (1, "failed"), called
    for call in called.json["calls"]:
        assert call["problems"][0] == "1 of the answers cannot be read: not a TalkResponse [unreadable-answers]"
    assert (loaded.code, list(loaded.json["errors"])) == (1, ["WRONG_ANSWERS"]), loaded
    assert "Traceback" not in called.err + loaded.err


NEWER = TalkResponse(status=200, results=[TalkResult(kv={"data": "Hello, thanks"})]).SerializeToString()


async def test_the_newer_samples_answers_are_counted_and_it_says_so() -> None:
    one = ("--rpc", "Talk", "--expect", "svc1", "--json")
    async with answering_hop(NEWER) as target:
        newer = await client_beside("call", "--target", target, "--service", "hello.LandingService", *one)
        strict = await client_beside("call", "--target", target, *one)
    assert (newer.code, newer.json["verdict"]) == (3, "unproven"), newer
    assert (
        "note: the answers were counted and no more, for they are not the contract's: answer 1: idx None" in newer.err
    )
    assert (strict.code, strict.json["verdict"]) == (1, "failed"), strict


@pytest.mark.full
def test_our_own_chain_under_the_newer_name_is_connected_and_needs_no_leniency(tmp_path: Path) -> None:
    with chain(tmp_path) as whole:
        ended = client("call", "--target", whole.target, "--service", "hello.LandingService", "--json")
    assert (ended.code, ended.json["verdict"]) == (0, "connected"), ended
    assert [call["path"] for call in ended.json["calls"]] == [["svc1", "svc2", "svc3"]] * 4
    assert "counted" not in ended.err


async def test_hostile_trailers_end_at_grpcs_limit_in_one_line() -> None:
    async with answering_hop(NEWER, [b"\x0a\xff" * 100_000] * 1000) as target:
        ended = await client_beside("call", "--target", target, "--rpc", "Talk", "--timeout", "30s")
    assert ended.code == 1, ended
    (line,) = [line for line in ended.out.splitlines() if line.endswith("[call-failed]")]
    assert "RESOURCE_EXHAUSTED" in line
    assert "Traceback" not in ended.out + ended.err


async def test_a_call_past_its_deadline_says_how_long_it_waited() -> None:
    async with hanging_hop() as target:
        ended = await client_beside("call", "--target", target, "--timeout", "300ms", "--json", "--rpc", "Talk")
    assert (ended.code, ended.json["verdict"]) == (1, "failed")
    (call,) = ended.json["calls"]
    assert (call["status"], call["problems"], call["hops"]) == (
        "DEADLINE_EXCEEDED",
        ["no answer within 0.3s [no-answer]"],
        [{"service": name, "record": "unknown"} for name in ("svc1", "svc2", "svc3")],
    )


async def test_a_long_wait_says_what_it_waits_for() -> None:
    async with hanging_hop() as target:
        ended = await client_beside("call", "--target", target, "--timeout", "2500ms", "--json", "--rpc", "Talk")
    assert ended.code == 1
    assert f"calling {target} …" in ended.err


async def test_ctrl_c_ends_a_hanging_call_without_a_traceback() -> None:
    called = asyncio.Event()
    async with hanging_hop(called) as target:
        command = (sys.executable, "-m", "client", "call", "--target", target, "--timeout", "1m")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=PIPE, cwd=ROOT, env=environment({})
        )
        await asyncio.wait_for(called.wait(), 20)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (130, b"", b"")
