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
    """`client call`: each of `rpcs`, `repeat` times, over the services `expect`."""

    target: Target
    rpcs: tuple[str, ...]
    data: tuple[int, ...]
    expect: tuple[str, ...]
    repeat: int = 1
    json: bool = False
