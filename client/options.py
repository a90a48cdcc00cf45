"""The settings of a run, checked; see `client.cli` for how they are typed."""

from __future__ import annotations

from dataclasses import dataclass

from client.channel import Tls
from client.usage import Metadata


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
class CallOptions:
    """`client call`: each of `rpcs`, `repeat` times, over the services `expect`.

    `traces` is the URL of a trace backend with Jaeger's v3 API, `otlp` where the requester exports its own root spans.
    """

    target: Target
    rpcs: tuple[str, ...]
    data: tuple[int, ...]
    expect: tuple[str, ...]
    repeat: int = 1
    traces: str | None = None
    otlp: str | None = None
    json: bool = False
