"""The settings of a run, checked; see `client.cli` for how they are typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from grpc_tracing.backends.jaeger import Source
from grpc_tracing.calling.channel import Tls
from grpc_tracing.headers.families import Metadata

Arrivals = Literal["constant", "poisson"]
ARRIVALS: Final[tuple[Arrivals, ...]] = ("constant", "poisson")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom to call and how: `custom` are the user's -H headers, `timeout` is in seconds."""

    address: str
    tls: Tls | None = None
    authority: str | None = None
    custom: Metadata = ()
    timeout: float = 5.0

    @property
    def custom_keys(self) -> frozenset[str]:
        return frozenset(key for key, _ in self.custom)


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """`client load`: `mix` holds the RPCs in the order of the calls, an RPC as often as it weighs.

    `rate` is in calls a second, None for a closed loop; `arrivals` how an open one spaces them; `concurrency` the
    calls in flight at most; `messages` the length of a stream; `warmup` and `duration` in seconds; `processes` None to
    take as many as are needed. Without `judge` the hop records stay unread, which shows what reading them costs.
    """

    target: Target
    mix: tuple[str, ...]
    messages: int = 3
    rate: float | None = None
    arrivals: Arrivals = "constant"
    concurrency: int = 16
    warmup: float = 2.0
    duration: float = 30.0
    processes: int | None = None
    judge: bool = True
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """`client call`: each of `rpcs` of `service`, `repeat` times, `concurrency` in flight, over the services `expect`.

    `require` are keys that must go on, beside the trace headers. `traces` is a trace backend, given `wait` seconds;
    `otlp` is where the requester exports its own root spans, `report` the file for an HTML report, `junit` the one for
    JUnit's XML.
    """

    target: Target
    rpcs: tuple[str, ...]
    data: tuple[int, ...]
    expect: tuple[str, ...]
    require: tuple[str, ...] = ()
    service: str = "org.feuyeux.grpc.LandingService"
    repeat: int = 1
    concurrency: int = 1
    traces: Source | None = None
    wait: float = 10.0
    otlp: str | None = None
    report: Path | None = None
    junit: Path | None = None
    json: bool = False
