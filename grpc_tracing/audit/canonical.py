"""One order for what a ledger holds, so that sums of floats come out the same whatever order its spans came in."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from grpc_tracing.audit.ledger import Entered, Ledger, Onward, Outs, Times

_Key = TypeVar("_Key", bound=Any)
_Value = TypeVar("_Value")
_TYPES: Final = {"q": np.int64, "H": np.uint16}


def put_in_order(ledger: Ledger) -> None:
    """Sorts in place. Spans may come afterwards still."""
    ledger.onward, numbers = _onward(ledger.onward)
    ledger.services = Counter(_by_name(ledger.services))
    ledger.calls_in = defaultdict(dict, {place: _by_name(held) for place, held in _by_name(ledger.calls_in).items()})
    ledger.outs = defaultdict(Outs, _by_name(ledger.outs))
    for routes in ledger.calls_in.values():
        for entered in routes.values():
            _sort_entered(entered, numbers)
    for outs in ledger.outs.values():
        outs.whole = Counter(_by_name(outs.whole))
        outs.by_request_id = Counter(_by_name(outs.by_request_id))
        outs.began = _by_name(outs.began)
        for times in outs.began.values():
            _sort_times(times)


def _by_name(held: Mapping[_Key, _Value]) -> dict[_Key, _Value]:
    return {key: held[key] for key in sorted(held)}


def _onward(onward: Onward) -> tuple[Onward, NDArray[np.uint16]]:
    """And by the number that a set had the one that it gets."""
    ranked = sorted(range(len(onward.sets)), key=lambda number: sorted(onward.sets[number]))
    made = Onward()
    numbers = np.zeros(len(ranked), np.uint16)
    for number in ranked:
        numbers[number] = made.number(onward.sets[number])
    return made, numbers


def _sort_times(times: Times) -> None:
    _sort([times.starts, times.ends])


def _sort_entered(entered: Entered, numbers: NDArray[np.uint16]) -> None:
    goes_on = _view(entered.goes_on)
    goes_on[:] = numbers[goes_on]
    _sort([entered.starts, entered.ends, entered.goes_on])


def _sort(columns: Sequence[array[int]]) -> None:
    views = [_view(column) for column in columns]
    if np.all(views[0][1:] > views[0][:-1]):
        return
    order = np.lexsort(views[::-1])
    for view in views:
        view[:] = view[order]


def _view(column: array[int]) -> NDArray[Any]:
    """The same memory."""
    return np.frombuffer(column, _TYPES[column.typecode]) if column else np.zeros(0, _TYPES[column.typecode])
