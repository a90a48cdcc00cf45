"""A service's life: configuration, health, reflection, signals, drain."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
import ctypes
import errno
import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from talk import relay
from talk.config import Config, ConfigError, Drain, ServerTls, load
from talk.logs import CallLog, open_log
from talk.service import Answerer, CallTracker, Forwarder, Service, generic_handlers

USAGE: Final = 2
"""Exit code for a configuration that cannot be used."""

_REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
_CHANNELZ: Final = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_ARENA_MAX: Final = -8  # M_ARENA_MAX of glibc's malloc.h
_BRIEF: Final = 1.0
_CHECKING: Final = 0.2


def run(file: Path | None) -> int:
    """Reads the configuration, serves until SIGTERM or Ctrl-C, and returns the exit code."""
    try:
        config = load(file, os.environ)
        _bound_arenas()
        with open_log(config.identity, config.log_format) as log:
            _run_loop(serve(config, log))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 (one line for the person who starts it)
        return USAGE
    return 0


def _bound_arenas() -> None:
    """Lets gRPC's threads share two heaps: with glibc's eight per processor, each keeps the most it ever held."""
    with contextlib.suppress(AttributeError, TypeError):  # a C library other than glibc; Windows
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def _run_loop(main_task: Any) -> None:
    # uvloop does not exist on Windows.
    run = asyncio.run if sys.platform == "win32" else importlib.import_module("uvloop").run
    run(main_task)


async def serve(config: Config, log: CallLog) -> None:
    """Serves until the first SIGTERM or SIGINT, then drains; a second signal ends the process at once.

    ConfigError where an address cannot be listened on.
    """
    listen: Sequence[str] = config.listen
    with _stop_signal() as stopped:
        async with _service(config, log) as (service, tracker):
            while not stopped.is_set():
                async with _server(config, listen, service, log) as (server, healthy, listen):
                    if await _breaks(server, stopped):
                        log.event("restarting", in_flight=tracker.in_flight)
                        continue
                    log.event("draining", in_flight=tracker.in_flight)
                    await _drain(server, tracker, healthy, config.drain)
    log.event("stopped")


async def _breaks(server: grpc.aio.Server, stopped: asyncio.Event) -> bool:
    """Waits for the signal to stop, False, or until the server has ended by itself, True.

    A path that is no UTF-8 ends the accept loop of grpc.aio (1.84 and 1.85): nobody could connect from then on.
    """
    waiting = asyncio.create_task(stopped.wait())
    while not stopped.is_set():
        await asyncio.wait([waiting], timeout=_CHECKING)
        try:
            await server.wait_for_termination(0)
        except UnicodeDecodeError:
            waiting.cancel()
            return True
    return False


@contextlib.asynccontextmanager
async def _server(
    config: Config, listen: Sequence[str], service: Service, log: CallLog
) -> AsyncIterator[tuple[grpc.aio.Server, health.aio.HealthServicer, Sequence[str]]]:
    """A server that serves, its health, and the addresses that it has bound."""
    server = grpc.aio.server(options=_server_options(config))
    server.add_generic_rpc_handlers(generic_handlers(service))
    healthy = await _add_operation(server, channelz_too=config.channelz)
    addresses = [_listen(server, address, config.tls) for address in listen]
    await server.start()
    gc.freeze()  # what start-up made lives as long as the process: not to be gone through again and again
    try:
        log.event("listening", addresses=addresses)
        yield server, healthy, addresses
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def _service(config: Config, log: CallLog) -> AsyncIterator[tuple[Service, CallTracker]]:
    next_name = config.next_hop.name if config.next_hop else None
    tracker = CallTracker(config.identity, next_name, config.propagation, log, with_records=config.hop_records)
    if config.next_hop is None:
        yield Answerer(tracker), tracker
    else:
        async with relay.connect(config.next_hop) as onward:
            yield Forwarder(tracker, onward), tracker


def _server_options(config: Config) -> list[tuple[str, Any]]:
    return [
        *LIMIT_OPTIONS,
        # Without this, a second service on a taken port would start and get every other call.
        ("grpc.so_reuseport", 0),
        # Clients may ping as often as every 10 s, with calls or without, before they get too_many_pings.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.enable_channelz", int(config.channelz)),
    ]


async def _add_operation(server: grpc.aio.Server, *, channelz_too: bool) -> health.aio.HealthServicer:
    """Adds health for the whole and both service names, reflection in both its versions, and channelz if wanted."""
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in relay.SERVICES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    names = [*relay.SERVICES, _HEALTH, reflection.SERVICE_NAME, _REFLECTION_V1]
    if channelz_too:
        channelz.add_channelz_servicer(server)
        names.append(_CHANNELZ)
    _add_reflection(server, names)
    return healthy


def _add_reflection(server: grpc.aio.Server, names: list[str]) -> None:
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    # v1 is v1alpha under another name (gRPC's reflection protocol); newer clients ask for it first.
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    v1 = grpc.method_handlers_generic_handler(_REFLECTION_V1, {"ServerReflectionInfo": handler})
    server.add_generic_rpc_handlers([v1])


def _listen(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> str:
    """Binds an address and returns the one that was bound; ConfigError where it cannot be."""
    _check_free(address)
    try:
        port = server.add_secure_port(address, _credentials(tls)) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address}: taken, or not an address of this machine; set TALK_LISTEN"
        ) from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def _check_free(address: str) -> None:
    """gRPC takes over a Unix socket that another process serves, and makes none in a missing folder."""
    if not address.startswith("unix:"):
        return
    path = Path(address.removeprefix("unix:"))
    if not path.parent.is_dir():
        raise ConfigError(f"cannot listen on {address}: no folder {path.parent}; make it, or set TALK_LISTEN")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(os.fspath(path)) not in (errno.ENOENT, errno.ECONNREFUSED):
            raise ConfigError(f"cannot listen on {address}: another process does, or it is no socket; set TALK_LISTEN")


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.cert.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )


@contextlib.contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """Sets the event at the first SIGTERM or SIGINT; the next one takes its default course, the end."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopped.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _drain(
    server: grpc.aio.Server, tracker: CallTracker, healthy: health.aio.HealthServicer, drain: Drain
) -> None:
    with contextlib.suppress(TimeoutError):  # a watcher that does not read holds up the others, not the drain
        await asyncio.wait_for(healthy.enter_graceful_shutdown(), _BRIEF)
    # New calls still come while load balancers take notice of NOT_SERVING.
    await asyncio.sleep(drain.pause)
    stopping = asyncio.create_task(server.stop(drain.grace))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tracker.idle.wait(), drain.grace)
    # What is left are health watches and reflection streams, which never end by themselves.
    await asyncio.wait([stopping], timeout=min(_BRIEF, drain.grace))
    await server.stop(None)
    await stopping
