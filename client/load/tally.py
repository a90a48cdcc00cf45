"""What a worker measured: plain sums and latencies that travel between processes and add up."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from grpc_tracing.evidence.records import HopRecord


def _latencies() -> defaultdict[str, array[int]]:
    return defaultdict(_microseconds)


def _microseconds() -> array[int]:
    return array("Q")


@dataclass
class Tally:
    """Calls of one worker, or of several added up.

    `latencies` are of successful calls, by RPC, in µs; from the intended start where there is one. `parts` is the
    time in µs that `timed` calls spent in each hop and between them. `lateness` is how late calls were begun, in µs.
    `judged` and `torn` count calls by RPC and by link, such as `svc1 > svc2`: those of which the records show whether
    the trace went on there, and those of which they show that it did not.
    """

    latencies: defaultdict[str, array[int]] = field(default_factory=_latencies)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    timed: int = 0
    lateness: array[int] = field(default_factory=_microseconds)
    unstarted: int = 0
    judged: Counter[tuple[str, str]] = field(default_factory=Counter)
    torn: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return sum(map(len, self.latencies.values())) + self.errors.total()

    def succeeded(self, rpc: str, microseconds: int, answers: int) -> None:
        self.latencies[rpc].append(microseconds)
        self.answers[rpc] += answers

    def failed(self, rpc: str, status: str) -> None:
        self.errors[rpc, status] += 1

    def judge(self, rpc: str, hops: Sequence[HopRecord]) -> None:
        """Counts the links of a call, each by whether both its ends name one trace."""
        for link, holds in links_of(hops):
            self.judged[rpc, link] += 1
            self.torn[rpc, link] += not holds

    def time(self, hops: Sequence[HopRecord], took: int) -> None:
        """Adds where a call's `took` µs went, as far as the records of its hops tell."""
        if hops and not any(hop.shortened for hop in hops):
            self.timed += 1
            self.parts.update(dict(parts_of(hops, took)))

    def add(self, other: Tally) -> None:
        for rpc, latencies in other.latencies.items():
            self.latencies[rpc].extend(latencies)
        self.errors.update(other.errors)
        self.answers.update(other.answers)
        self.parts.update(other.parts)
        self.timed += other.timed
        self.lateness.extend(other.lateness)
        self.unstarted += other.unstarted
        self.judged.update(other.judged)
        self.torn.update(other.torn)


def links_of(hops: Sequence[HopRecord]) -> Iterator[tuple[str, bool]]:
    """Each link between two records, and whether the trace went on there.

    Nothing is shown where none came to the first hop. The ids as the records spell them are enough at this rate:
    `client call` reads the headers too.
    """
    if not hops or not hops[0].trace_id:
        return
    for hop, later in pairwise(hops):
        yield f"{hop.service} > {later.service}", bool(hop.trace_id) and hop.trace_id == later.trace_id


def parts_of(hops: Sequence[HopRecord], took: int) -> Iterator[tuple[str, int]]:
    """A call's time in µs by where it was spent: on the way to each hop, and in it, in the order of the path."""
    first = hops[0]
    yield f"requester > {first.service}", max(0, took - first.here_us - first.later_us)
    yield first.service, first.here_us
    for hop, later in pairwise(hops):
        yield f"{hop.service} > {later.service}", max(0, hop.later_us - later.here_us - later.later_us)
        yield later.service, later.here_us
