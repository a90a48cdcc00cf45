"""A check as text and as JUnit's XML: both show the same object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from google.protobuf.descriptor import MethodDescriptor

from grpc_tracing.printable import one_line
from grpc_tracing.probe import messages
from grpc_tracing.probe.calls import Call
from grpc_tracing.probe.result import BROKEN, CONNECTED, FAILED, Check, Cut, Edge, Seen

_SHOWN: Final = 4


def answers(method: MethodDescriptor, call: Call) -> list[Any]:
    """A call's answers as JSON has them; in words what is none."""
    return [_answer(method, one) for one in call.answers]


def _answer(method: MethodDescriptor, data: bytes) -> Any:
    try:
        return messages.answer(method, data)
    except ValueError as error:
        return {"unreadable": one_line(str(error))}


def told(check: Check, answers: Sequence[Sequence[Any]]) -> str:
    """The first call with its answers, the others where something else became of them, then the verdict."""
    lines: list[str] = []
    shown: set[tuple[object, ...]] = set()
    for number, (one, its) in enumerate(zip(check.calls, answers, strict=True)):
        kind = (one.verdict, one.call.status, one.edges, one.problems)
        if kind in shown:
            continue
        shown.add(kind)
        lines += _call(one)
        if not number:
            lines += [json.dumps(answer, ensure_ascii=True) for answer in its]
    lines += [f"{check.verdict}: {sentence(check)}"]
    lines += [f"  {_cut(one)}" for one in check.cuts if one.certain]
    lines += [f"  {one}" for one in _problems(check)]
    return "\n".join(one_line(line) for line in lines) + "\n"


def count(number: int, what: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _call(one: Seen) -> Iterator[str]:
    call = one.call
    took = (call.ended_ns - call.began_ns) / 1e6
    status = f"{call.status}: {call.message}" if call.message and not call.stopped else call.status
    how = "stopped" if call.stopped else status
    yield f"{how} after {took:.1f} ms with {count(len(call.answers), 'answer')}, trace {call.trace_id}"
    if one.services:
        yield f"  passed {_path(one.services, one.edges)}"


def _path(services: Sequence[str], edges: Sequence[Edge]) -> str:
    """`a -> b -> c` where the calls are a chain, else each call."""
    chain = [edges[0][0]] if edges else list(services[:1])
    for caller, callee in edges:
        if caller != chain[-1] or callee in chain:
            return ", ".join(f"{one} -> {other}" for one, other in edges)
        chain.append(callee)
    return " -> ".join(chain)


def sentence(check: Check) -> str:
    """What the verdict says, with its figures."""
    total = len(check.calls)
    count = sum(one.verdict == check.verdict for one in check.calls)
    calls = f"{count:,} of {total:,} calls" if total > 1 else "the call"
    if check.verdict == CONNECTED:
        names = list(dict.fromkeys(name for one in check.calls for name in one.services))
        return f"{'all ' if total > 1 else ''}{calls} stayed in one trace through {', '.join(names)}"
    if check.verdict == FAILED:
        return f"{calls} did not end OK"
    if check.verdict == BROKEN:
        return f"the trace of {calls} is cut"
    return f"something of {calls} was not seen"


def _cut(cut: Cut) -> str:
    share = f"{cut.calls:,} of {count(cut.of, 'call')}"
    if not cut.service:
        return (
            f"{cut.target} began a trace of its own in {share}, with the call's x-request-id: what calls it hands no "
            "trace header on that its sidecar reads"
        )
    how = "each bears its call's x-request-id" if cut.chance is None else f"by chance with p {cut.chance:.1g}"
    return f"{cut.service} began a trace of its own for its calls to {cut.target} in {share} ({how})"


def _problems(check: Check) -> list[str]:
    """Each once, with how many calls have it."""
    found: dict[str, int] = {}
    for one in check.calls:
        for problem in one.problems:
            shape = problem.replace(one.call.trace_id, "…") if len(check.calls) > 1 else problem
            found[shape] = found.get(shape, 0) + 1
    total = len(check.calls)
    lines = [f"{what} ({times:,} of {count(total, 'call')})" if total > 1 else what for what, times in found.items()]
    more = [f"and {len(lines) - _SHOWN:,} more such lines"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def junit(check: Check) -> str:
    """A test case a call: a broken or failed one is a failure, an unproven one an error."""
    suite = Element("testsuite", name="grpc-tracing check")
    certain = "; ".join(_cut(one) for one in check.cuts if one.certain)
    for number, one in enumerate(check.calls, start=1):
        case = SubElement(suite, "testcase", classname=check.method, name=f"call {number}")
        if one.verdict != CONNECTED:
            kind = "failure" if one.verdict in {BROKEN, FAILED} else "error"
            why = {FAILED: f"{one.call.status}: {one.call.message}", BROKEN: certain}.get(
                one.verdict, "; ".join(one.problems)
            )
            SubElement(case, kind, message=one_line(f"{one.verdict}: {why}"))
    for name, words in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        suite.set(name, str(len(suite.findall(words))))
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
