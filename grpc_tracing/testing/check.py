"""Calls a service in each way that headers get lost in, and compares what its next hop received."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import grpc

from grpc_tracing.headers.families import Metadata, Pair
from grpc_tracing.headers.forwarding import DEFAULT, Propagation
from grpc_tracing.testing.headers import faults, names_of, of_one_call, owners, with_both_b3, with_single_b3
from grpc_tracing.testing.leaf import Leaf
from grpc_tracing.testing.methods import Method

_TIMEOUT: Final = 10.0
"""Seconds that one call may take."""
_AT_ONCE: Final = 32
_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


def check_propagation(leaf: Leaf, target: str, *methods: Method, rule: Propagation = DEFAULT) -> None:
    """Calls each method of the service at `target`, whose next hop is `leaf`: alone, failing, cancelled, all at once.

    `rule` says what has to go on, as the service's own configuration does. AssertionError names each fault once.
    """
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        caller = _Caller(leaf, channel, rule)
        found = [fault for method in methods for fault in caller.one_by_one(method)]
        found = found or list(caller.all_at_once(methods))
    assert not found, "headers did not go on:\n  " + "\n  ".join(dict.fromkeys(found))  # noqa: S101 (what a test wants)


class _Caller:
    def __init__(self, leaf: Leaf, channel: grpc.Channel, rule: Propagation) -> None:
        self._leaf = leaf
        self._channel = channel
        self._rule = rule

    def one_by_one(self, method: Method) -> Iterator[str]:
        sent = of_one_call(self._rule)
        yield from self._call(method, "", sent)
        if {"b3", "x-b3-traceid"} <= set(self._rule.listed):
            yield from self._call(method, " with b3 alone", with_single_b3(of_one_call(self._rule)))
            yield from self._call(method, " with b3 and x-b3-*", with_both_b3(of_one_call(self._rule)))
        self._leaf.fails = True
        yield from self._call(method, " that fails", of_one_call(self._rule), may_fail=True)
        self._leaf.fails = False
        yield from self._call(method, " after one that failed", of_one_call(self._rule))
        yield from self._cancelled(method)
        yield from self._call(method, " after one that was cancelled", of_one_call(self._rule))

    def _call(self, method: Method, which: str, sent: Metadata, *, may_fail: bool = False) -> Iterator[str]:
        call = method.begin(self._channel, sent, _TIMEOUT)
        try:
            method.finish(call)
        except grpc.RpcError as error:
            if not may_fail:
                raise AssertionError(f"{method.path} failed by itself: {_status(error)}") from error
        yield from _compared(f"{method.path}{which}", sent, self._leaf.take(1, _TIMEOUT))

    def _cancelled(self, method: Method) -> Iterator[str]:
        self._leaf.holds = True
        sent = of_one_call(self._rule)
        call = method.begin(self._channel, sent, _TIMEOUT)
        came = self._leaf.take(1, _TIMEOUT)
        call.cancel()
        with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
            method.finish(call)
        self._leaf.holds = False
        yield from _compared(f"{method.path} that is cancelled", sent, came)

    def all_at_once(self, methods: Sequence[Method]) -> Iterator[str]:
        """Calls of all methods in flight together, each with ids of its own."""
        self._leaf.gathers = True
        begun = [
            (method, sent, method.begin(self._channel, sent, _TIMEOUT))
            for method, sent in ((methods[turn % len(methods)], of_one_call(self._rule)) for turn in range(_AT_ONCE))
        ]
        for method, _, call in begun:
            try:
                method.finish(call)
            except grpc.RpcError as error:
                yield f"{method.path} failed beside {_AT_ONCE - 1} others: {_status(error)}"
        self._leaf.gathers = False
        yield from _sorted_out([sent for _, sent, _ in begun], self._leaf.take(_AT_ONCE, _TIMEOUT))


def _status(error: Any) -> str:
    return f"{error.code().name}: {error.details()}"


def _compared(which: str, sent: Metadata, calls: Iterable[Metadata]) -> Iterator[str]:
    came = list(calls)
    if not came:
        yield f"{which}: no call came to the last hop within {_TIMEOUT:g} s"
    for one in came:
        if not owners(one, dict.fromkeys(names_of(sent), 0)) and one:
            yield f"{which}: none of its headers came, or those of another call did"
        else:
            yield from (f"{which}: {fault}" for fault in faults(sent, one))


def _sorted_out(sent: Sequence[Metadata], came: Iterable[Metadata]) -> Iterator[str]:
    names: dict[Pair, int] = {pair: number for number, one in enumerate(sent) for pair in names_of(one)}
    missing = set(range(len(sent)))
    for one in came:
        found = owners(one, names)
        missing -= found
        if len(found) != 1:
            yield f"at once: a call came with headers of {len(found)} calls"
        else:
            yield from (f"at once: {fault}" for fault in faults(sent[found.pop()], one))
    if missing:
        yield f"at once: {len(missing)} of {len(sent)} calls came with another call's headers, or not at all"
