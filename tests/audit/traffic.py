"""Traffic of one service as its sidecar sees it: calls in, calls out, and what it does to their traces."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from grpc_tracing.spans.model import Span
from tests.support.spans import make

BEGIN, MS = 1_700_000_000_000_000_000, 1_000_000


@dataclass(frozen=True)
class Traffic:
    """`rate` calls in a second for `seconds`, each with one call out to `stock`; `jobs` calls out a second beside."""

    name: str = "cart"
    instance: str = "cart-1"
    version: str = ""
    rpc: str = "shop.Cart/Get"
    cuts: bool = False
    passes_id: bool = False
    sdk: bool = False
    behind: bool = False
    """A sidecar before the SDK, whose headers the SDK does not read."""
    twin: bool = False
    """With each call in comes one by another RPC, `shop.Cart/List`, which is whole."""
    rate: float = 20.0
    seconds: float = 60.0
    length_ms: float = 20.0
    jobs: float = 0.0
    beat: float = 0.0
    """Seconds between the calls out of a timer."""
    job_target: str = "stock"
    sampling: float = 1.0
    seed: int = 1
    uneven: float = field(default=0.02, repr=False)
    """By how much of a beat a timer's calls are off."""
    pause_ms: float = field(default=0.0, repr=False)
    """A call out begins at random within so long; where 0, after a millisecond."""
    cut_share: float = field(default=1.0, repr=False)
    """Of a service that cuts: the share of its calls. Not in the text that seeds what is random."""

    def spans(self) -> Iterator[Span]:
        chance, now = random.Random(f"{self}"), 0.0  # noqa: S311
        while self.rate and (now := now + chance.expovariate(self.rate)) < self.seconds:
            yield from self._call(chance, BEGIN + int(now * 1e9))
        now = 0.0
        while self.jobs and (now := now + chance.expovariate(self.jobs)) < self.seconds:
            at = BEGIN + int(now * 1e9)
            yield self._span(_id(chance, 32), _id(chance, 16), "", "client", at, at + 5 * MS, self.job_target)

        for number in range(int(self.seconds / self.beat) if self.beat else 0):
            if chance.random() < self.sampling:
                at = BEGIN + int((number * self.beat + chance.uniform(0, self.uneven * self.beat)) * 1e9)
                yield self._span(_id(chance, 32), _id(chance, 16), "", "client", at, at + 5 * MS, self.job_target)

    def _call(self, chance: random.Random, at: int) -> Iterator[Span]:
        trace, entered, request = _id(chance, 32), _id(chance, 16), _id(chance, 16)
        end = at + int(self.length_ms * MS)
        cuts = self.cuts and (self.cut_share == 1 or chance.random() < self.cut_share)
        if self.twin:
            yield from replace(self, twin=False, cuts=False, rpc="shop.Cart/List")._call(chance, at)
        if self.behind:
            before = replace(self, sdk=False)
            yield before._span(_id(chance, 32), _id(chance, 16), "", "server", at - MS // 2, end + MS // 2)
        sampled = chance.random() < self.sampling
        if sampled:
            yield self._span(trace, entered, "", "server", at, end, request=request)
        onward, parent = (_id(chance, 32), "") if cuts else (trace, entered)
        if not (chance.random() < self.sampling if cuts and not self.passes_id else sampled):
            return
        request = request if self.passes_id else _id(chance, 16)
        begins = at + (int(chance.uniform(0, self.pause_ms) * MS) if self.pause_ms else MS)
        yield self._span(onward, _id(chance, 16), parent, "client", begins, end - MS, "stock", request=request)

    def _span(  # noqa: PLR0917 - positions are the columns
        self, trace: str, span: str, parent: str, kind: str, start: int, end: int, target: str = "", request: str = ""
    ) -> Span:
        sidecar = {"guid:x-request-id": request, "node_id": self.instance}
        peer = {"peer.service": target} if target else {}
        made = make(
            trace, span, parent, self.name, self.rpc, kind, start, end, False, **peer, **({} if self.sdk else sidecar)
        )
        return replace(made, version=self.version, resource=(("service.instance.id", self.instance),))


def _id(chance: random.Random, digits: int) -> str:
    return f"{chance.getrandbits(4 * digits - 1) + 1:0{digits}x}"


def a_minute_ago(spans: Iterable[Span]) -> list[Span]:
    """The same, so that what began first began a minute before now."""
    shift = time.time_ns() - 60 * 10**9 - BEGIN
    return [replace(one, start_ns=one.start_ns + shift, end_ns=one.end_ns + shift) for one in spans]
