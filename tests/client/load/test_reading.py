"""Records judged as bytes count as they would decoded."""

import random
from collections.abc import Sequence

import pytest

from client.call.outcome import decoded
from client.load import reading
from client.load.reading import Reader
from client.load.tally import Tally
from protos.hop_pb2 import Header, Hop

A, B = "4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000abcdef"
NAMES = ("grpc-server-svc1", "grpc-server-svc2", "grpc-server-svc3")


def record(service: str, trace_id: str, **fields: object) -> bytes:
    hop = Hop(service=service, version="v1", here_us=100, later_us=50, trace_id=trace_id, **fields)  # type: ignore[arg-type]
    hop.headers.append(Header(key="traceparent", value=b"00"))
    return hop.SerializeToString()


def call(*ids: str) -> tuple[bytes, ...]:
    return tuple(record(name, one) for name, one in zip(NAMES, ids, strict=False))


WHOLE = call(A, A, A)
CALLS: dict[str, Sequence[bytes]] = {
    "whole": WHOLE,
    "whole, of another trace": call(B, B, B),
    "torn at the first link": call(A, B, B),
    "torn at the second link": call(A, A, B),
    "another call's in the middle": call(A, B, A),
    "no trace": call("", "", ""),
    "a trace that is lost": call(A, "", ""),
    "an id of 16 digits": call(A[16:], A[16:], A[16:]),
    "a shorter path": call(A, A),
    "in another order": WHOLE[::-1],
    "twice the same service": (WHOLE[0], WHOLE[0], WHOLE[2]),
    "shortened": (WHOLE[0], Hop(service=NAMES[1], trace_id=A, shortened=True).SerializeToString(), WHOLE[2]),
    "a name that is as long as a field of two bytes' length": (record("x" * 200, A), WHOLE[1]),
    "a field of a later version at the end": (WHOLE[0], WHOLE[1] + b"\xfa\x01\x01x", WHOLE[2]),
    "no record": (),
    "what is none": (b"\xff\xff", b""),
    "one that is none among others": (WHOLE[0], b"\xff" * 40, WHOLE[2]),
    "an id without a name": (Hop(trace_id=A).SerializeToString(), WHOLE[1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_after_many_like_it_counts_as_if_it_were_decoded(name: str) -> None:
    assert counted([WHOLE, *[CALLS[name]] * 20]) == counted_by_decoding([WHOLE, *[CALLS[name]] * 20])


def test_calls_in_any_mix_count_as_if_they_were_decoded() -> None:
    calls = random.Random(7).choices(list(CALLS.values()), k=2_000)  # noqa: S311 - no secret
    assert counted(calls) == counted_by_decoding(calls)


def test_most_calls_are_not_decoded_and_some_are_for_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def counting(value: bytes) -> Hop | None:
        seen.append(value)
        return decoded(value)

    monkeypatch.setattr(reading, "decoded", counting)
    tally = Tally()
    reader = Reader()
    for _ in range(321):
        assert reader.read(tally, "Talk", WHOLE, 1000)
    assert (len(seen), tally.timed, tally.judged["Talk", f"{NAMES[0]} > {NAMES[1]}"]) == (33, 11, 321)


def test_it_tells_that_no_trace_came_to_the_first_hop() -> None:
    assert [Reader().read(Tally(), "Talk", values, 1) for values in (WHOLE, call("", ""), ())] == [True, False, True]


def counted(calls: Sequence[Sequence[bytes]]) -> tuple[object, object]:
    tally, reader = Tally(), Reader()
    for values in calls:
        reader.read(tally, "Talk", values, 1000)
    return tally.judged, tally.torn


def counted_by_decoding(calls: Sequence[Sequence[bytes]]) -> tuple[object, object]:
    tally = Tally()
    for values in calls:
        tally.read("Talk", [hop for value in values if (hop := decoded(value))], 1000)
    return tally.judged, tally.torn
