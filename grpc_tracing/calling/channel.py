"""The connection to the target: its settings, its TLS, and whether anybody answers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import grpc
import grpc.aio

from grpc_tracing.calling.instrumented import mend
from grpc_tracing.calling.limits import LIMIT_OPTIONS

_OPTIONS: tuple[tuple[str, int], ...] = (
    *LIMIT_OPTIONS,
    ("grpc.enable_http_proxy", 0),
    # Channels to one target would share a connection otherwise, and a drained one with it.
    ("grpc.use_local_subchannel_pool", 1),
    # A server answers pings more often than every 5 minutes with too_many_pings unless it is set to allow them.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

_LOOKUP_SHARE = 0.8
"""Of the time that a caller waits: a name that no DNS server answers for fails before that, and says so."""
_LOOKUP_FAILED = re.compile(r"address lookup failed for \S+: ([^\]]+)")
_NO_SERVER = "DNS query cancelled"
"""gRPC's words where the time for a lookup is over."""


class NothingAnswers(Exception):  # noqa: N818 - reads as what it says
    """No gRPC server answers at the target; the message says what was tried and why it failed."""


@dataclass(frozen=True)
class Tls:
    """The bytes of PEM files; None: the roots that gRPC ships, no certificate of our own."""

    ca: bytes | None = None
    cert: bytes | None = None
    key: bytes | None = None


def open_channel(target: str, tls: Tls | None, authority: str | None, within: float) -> grpc.aio.Channel:
    """A channel to `target`, plaintext without `tls`, to be reached `within` seconds; the caller closes it."""
    lookup = ("grpc.dns_ares_query_timeout", max(1, int(within * _LOOKUP_SHARE * 1000)))
    options: list[tuple[str, int | str]] = [*_OPTIONS, lookup]
    if authority:
        options.append(("grpc.default_authority", authority))
    if tls is None:
        return mend(grpc.aio.insecure_channel(target, options))
    if authority:
        options.append(("grpc.ssl_target_name_override", authority))
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
    return mend(grpc.aio.secure_channel(target, credentials, options))


async def reach(channel: grpc.aio.Channel, target: str, within: float) -> None:
    """Returns once the channel is connected, `within` seconds. Raises NothingAnswers, at once where it is refused."""
    try:
        async with asyncio.timeout(within):
            await _connected(channel)
    except TimeoutError:
        raise NothingAnswers(f"nothing answers at {target} within {within:g}s: is it gRPC, and --tls right?") from None
    except ConnectionError:
        raise NothingAnswers(f"nothing answers at {target}: {await _reason(channel)}") from None


async def _connected(channel: grpc.aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state != grpc.ChannelConnectivity.READY:
        if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise ConnectionError
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


async def _reason(channel: grpc.aio.Channel) -> str:
    """Why the connection failed, in gRPC's words: only a call tells."""
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        await check(b"", timeout=1)
    except grpc.aio.AioRpcError as error:
        return _in_words(error.details() or error.code().name)
    return "it answers only now, try again"


def _in_words(details: str) -> str:
    if failed := _LOOKUP_FAILED.search(details):
        why = "no DNS server answered" if failed[1] == _NO_SERVER else failed[1]
        return f"the name does not resolve ({why})"
    return re.split(r"remote host: | error: ", details)[-1]
