"""What the chain must answer: the greetings of the contract, and the check of answers against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chain.greetings import GREETINGS
from protos import landing_pb2

_STREAMED_ANSWERS = frozenset({"TalkOneAnswerMore", "TalkBidirectional"})


def indices_asked(rpc: str, data: Sequence[int]) -> tuple[int, ...]:
    """The greetings that one call of `rpc` asks for: all of `data`, for Talk its first."""
    return tuple(data[:1]) if rpc == "Talk" else tuple(data)


def count_results(responses: Sequence[landing_pb2.TalkResponse]) -> int:
    return sum(len(response.results) for response in responses)


def wrong_answers(
    rpc: str, asked: Sequence[int], responses: Sequence[landing_pb2.TalkResponse], *, lenient: bool = False
) -> list[str]:
    """Why these are not the answers asked for, a line each; empty where they are.

    `lenient`: an answer without `idx`, `id` or `meta` counts, and so does a greeting of its own: the newer sample's
    service, `hello.LandingService`, answers so.
    """
    lines = list(_wrong_shape(rpc, asked, responses))
    results = [result for response in responses for result in response.results]
    if len(results) != len(asked):
        return [*lines, f"{len(results)} answers, expected {len(asked)}"]
    for place, (index, result) in enumerate(zip(asked, results, strict=True), start=1):
        lines += [f"answer {place}: {fault}" for fault in (() if lenient else _faults(index, result))]
    return lines


def _wrong_shape(rpc: str, asked: Sequence[int], responses: Sequence[landing_pb2.TalkResponse]) -> Iterator[str]:
    expected = len(asked) if rpc in _STREAMED_ANSWERS else 1
    if len(responses) != expected:
        yield f"{len(responses)} response messages, expected {expected}"
    for status in sorted({response.status for response in responses} - {200}):
        yield f"a response says status {status}, expected 200"


def _faults(index: int, result: landing_pb2.TalkResult) -> Iterator[str]:
    if result.type != landing_pb2.OK:
        yield f"its type is {result.type}, expected {landing_pb2.OK} (OK)"
    if result.kv.get("idx") != str(index):
        yield f"idx {result.kv.get('idx')!r}, asked for {str(index)!r}"
    if result.kv.get("data") != GREETINGS[str(index)]:
        yield f"data {result.kv.get('data')!r}, expected {GREETINGS[str(index)]!r}"
    yield from (f"{key} is missing" for key in ("id", "meta") if not result.kv.get(key))
