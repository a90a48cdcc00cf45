"""The headers of the call that this code runs for, kept in a context variable while that call lasts."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from grpc_tracing.headers.families import Metadata, Pair
from grpc_tracing.headers.forwarding import Propagation, onward

T = TypeVar("T")
P = ParamSpec("P")


class Received:
    """What one call came with. A task that outlives the call shares it, and finds it ended."""

    __slots__ = ("_ended", "_known", "_metadata", "_task")

    def __init__(self, metadata: Sequence[Pair], task: asyncio.Task[Any] | None = None) -> None:
        """`task`: the one whose end is the call's end; without one, `end` says it."""
        self._metadata = metadata
        self._task = task
        # One attribute: threads of one call may ask by different rules.
        self._known: tuple[Propagation | None, Metadata] = (None, ())
        self._ended = False

    def onward(self, rule: Propagation) -> Metadata:
        """What goes on by `rule`; worked out once for all calls by one rule."""
        known, pairs = self._known
        if known is not rule:
            pairs = onward(rule.sort(self._metadata))
            self._known = (rule, pairs)
        return pairs

    @property
    def ended(self) -> bool:
        """The call is over: work that it left behind is no longer its own."""
        return self._ended or (self._task is not None and self._task.done())

    def end(self) -> None:
        self._ended = True

    def copy(self) -> Received:
        return Received(self._metadata)


_current: Final[contextvars.ContextVar[Received | None]] = contextvars.ContextVar("received headers", default=None)


def keep(metadata: Sequence[Pair], task: asyncio.Task[Any] | None = None) -> Received:
    """Keeps the headers in this context, until `task` is done or whoever serves the call ends them."""
    received = Received(metadata, task)
    _current.set(received)
    return received


def current() -> Received | None:
    """The headers of the call that is being served here; None outside a call and after its end."""
    received = _current.get()
    return None if received is None or received.ended else received


@contextmanager
def serving(metadata: Sequence[Pair]) -> Iterator[None]:
    """Serves a call of another protocol, or a message of a queue, with these headers: keys in lower case."""
    received = Received(metadata)
    token = _current.set(received)
    try:
        yield
    finally:
        received.end()
        _current.reset(token)


def lasting() -> contextvars.Context:
    """A copy of this context in which the headers outlast the call.

    For work that is left behind on purpose: ``create_task(job(), context=lasting())``, ``lasting().run(job)``.
    """
    context = contextvars.copy_context()
    if received := current():
        context.run(_current.set, received.copy())
    return context


def wrap(executor: Executor) -> Executor:
    """`executor`, for jobs that run with the headers of the call that hands them in, while it lasts.

    TypeError for a pool of processes: a context cannot be sent to one; pass `outgoing()` as an argument of the job.
    """
    if isinstance(executor, ProcessPoolExecutor):
        raise TypeError("headers in a context cannot reach another process: pass outgoing() as an argument of the job")
    return _Wrapped(executor)


class _Wrapped(Executor):
    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._executor.submit(partial(contextvars.copy_context().run, fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait, cancel_futures=cancel_futures)
