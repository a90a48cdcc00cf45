"""A service's life: configuration, health, reflection, signals, drain."""

from __future__ import annotations  # the types of grpc.aio are subscripted in stubs only

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from grpc_tracing.calling.limits import LIMIT_OPTIONS
from talk import fan_out, jobs, reflection, relay
from talk.config import Config, ConfigError, load
from talk.listening import SHARED, Place, hold
from talk.logs import CallLog, open_log
from talk.service import Answerer, CallTracker, Forwarder, Service, generic_handlers

if TYPE_CHECKING:
    from talk.telemetry import Telemetry

USAGE: Final = 2
"""Exit code for a configuration that cannot be used."""

_CHANNELZ: Final = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_ARENA_MAX: Final = -8  # M_ARENA_MAX of glibc's malloc.h
_BRIEF: Final = 1.0
_MOST_CONNECTIONS: Final = 4_000
"""By each address; an idle one weighs 14 KB (grpcio 1.85)."""
_MOST_STREAMS: Final = 1_000
_LONGEST_CALL: Final = 30 * 24 * 3600.0
"""Seconds that calls of a server that has crashed may go on: what no call reaches."""
_GRPC_LOGGER: Final = "grpc._cython.cygrpc"


def run(file: Path | None) -> int:
    """Reads the configuration, serves until SIGTERM or Ctrl-C, and returns the exit code."""
    try:
        config = load(file, os.environ)
        _bound_arenas()
        _allow_files()
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


def _allow_files() -> None:
    """Lets this process have as many connections as it may: most shells allow 1,024 files where more can be had."""
    if sys.platform == "win32":
        return
    resource = importlib.import_module("resource")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):  # macOS refuses what it calls unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run_loop(main_task: Any) -> None:
    # uvloop does not exist on Windows.
    run = asyncio.run if sys.platform == "win32" else importlib.import_module("uvloop").run
    run(main_task)


async def serve(config: Config, log: CallLog) -> None:
    """Serves until the first SIGTERM or SIGINT, then drains; a second signal ends the process at once.

    ConfigError where an address cannot be listened on.
    """
    healthy = await _healthy(_names(config))
    with _stop_signal() as stopped, _telemetry(config) as telemetry:
        async with _service(config, log, telemetry) as (service, tracker):
            with hold(config.listen) as places:
                servers = Servers(partial(_server, config, places, service, healthy, telemetry))
                await servers.start()
                log.event("listening", addresses=[place.told for place in places])
                gc.freeze()  # what start-up made lives as long as the process: not to be gone through again and again
                await servers.serve_until(stopped)
                log.event("draining", in_flight=tracker.in_flight)
                await _leave(healthy, config.drain.pause)
            await _drain(servers, tracker, config.drain.grace)
    log.event("stopped")


class Servers:
    """The server that takes calls, and those before it that have crashed, until their calls are done."""

    def __init__(self, make: Callable[[], grpc.aio.Server]) -> None:
        """`make` gives one that listens and has not started."""
        self._make = make
        self._current = make()
        self._ending: dict[grpc.aio.Server, asyncio.Task[None]] = {}

    async def start(self) -> None:
        await self._current.start()

    async def serve_until(self, stopped: asyncio.Event) -> None:
        """Replaces servers that crash, until `stopped`; ConfigError where nothing can listen any more."""
        async with asyncio.TaskGroup() as tasks:
            with _on_crash(lambda: tasks.create_task(self._replace())):
                await stopped.wait()

    async def _replace(self) -> None:
        """Another server takes the calls from now on, and those in flight go on."""
        crashed, self._current = self._current, self._make()
        self._ending[crashed] = asyncio.create_task(self._end(crashed))
        await self.start()

    async def _end(self, crashed: grpc.aio.Server) -> None:
        await crashed.stop(_LONGEST_CALL)
        del self._ending[crashed]

    async def stop(self, grace: float | None) -> None:
        await asyncio.gather(*[server.stop(grace) for server in (self._current, *self._ending)])


@contextlib.contextmanager
def _on_crash(replace: Callable[[], object]) -> Iterator[None]:
    """Calls `replace` when a path that is no UTF-8 ends the accept loop of grpc.aio (1.84 and 1.85).

    Nobody could call from then on, and gRPC says so at once nowhere but in its log. Its next step is to close the
    server's addresses: a task made here runs before that.
    """

    def notice(record: logging.LogRecord) -> bool:
        if isinstance(record.msg, UnicodeDecodeError):
            replace()
        return True

    logger = logging.getLogger(_GRPC_LOGGER)
    logger.addFilter(notice)
    try:
        yield
    finally:
        logger.removeFilter(notice)


def _server(
    config: Config,
    places: Sequence[Place],
    service: Service,
    healthy: health.aio.HealthServicer,
    telemetry: Telemetry | None,
) -> grpc.aio.Server:
    server = grpc.aio.server(options=_server_options(config), interceptors=telemetry.server if telemetry else None)
    server.add_generic_rpc_handlers(generic_handlers(service))
    _add_operation(_Unregistered(server), healthy, config)
    for place in places:
        place.add_to(server, config.tls)
    return server


class _Health(health.aio.HealthServicer):
    """With List, which grpcio's lacks (1.85)."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = names

    async def List(self, _: object, context: Any) -> Any:  # noqa: N802 (gRPC's name)
        messages: Any = health_pb2  # whose stubs lack List
        asked = [messages.HealthCheckRequest(service=name) for name in self._names]
        statuses = {one.service: await self.Check(one, context) for one in asked}
        return messages.HealthListResponse(statuses=statuses)


async def _healthy(names: list[str]) -> health.aio.HealthServicer:
    """Health for the whole and for each name."""
    healthy = _Health(["", *names])
    for name in names:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    return healthy


@contextlib.asynccontextmanager
async def _service(
    config: Config, log: CallLog, telemetry: Telemetry | None
) -> AsyncIterator[tuple[Service, CallTracker]]:
    next_name = config.next_hop.name if config.next_hop else None
    anew = telemetry.keys if telemetry and config.next_hop else ()
    tracker = CallTracker(
        config.identity,
        next_name,
        config.propagation,
        log,
        with_records=config.hop_records,
        anew=anew,
        by_rpc=config.propagation_by_rpc,
    )
    interceptors = telemetry.client if telemetry else ()
    async with jobs.running(config.jobs, interceptors):
        if config.next_hop is None:
            yield Answerer(tracker), tracker
        else:
            async with (
                relay.connect(config.next_hop, interceptors) as onward,
                fan_out.connect(config.also_call, interceptors) as others,
            ):
                yield Forwarder(tracker, onward, others if config.also_call else None), tracker


@contextlib.contextmanager
def _telemetry(config: Config) -> Iterator[Telemetry | None]:
    """The SDK where it is switched on, else nothing, not even its import. ConfigError where it is not installed."""
    if not config.otel:
        yield None
        return
    try:
        from talk import telemetry  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"TALK_OTEL: no module {error.name}; install requirements/otel.lock, or build the image with LOCK=otel"
        ) from error
    with telemetry.opened(config.identity) as opened:
        yield opened


def _server_options(config: Config) -> list[tuple[str, Any]]:
    return [
        *LIMIT_OPTIONS,
        *SHARED,
        # Beyond them nobody gets in by that address: who watches a service asks at another one.
        ("grpc.max_allowed_incoming_connections", _MOST_CONNECTIONS),
        ("grpc.max_concurrent_streams", _MOST_STREAMS),
        # Else a quick sender's window grows to megabytes, of requests too that nobody reads yet.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_idle_ms", round(config.connection_idle * 1000)),
        ("grpc.server_handshake_timeout_ms", 30_000),
        # A caller that is gone without a word is found out, and its calls end.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping as often as every 10 s, with calls or without, before they get too_many_pings.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.enable_channelz", int(config.channelz)),
    ]


class _Unregistered:
    """A server as generated code adds services to it, without registering their methods.

    gRPC waits for the calls of each registered method apart, and writes to memory that it has freed when such a server
    crashes (grpcio 1.85): the next one then hangs.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Does nothing: the same handlers have been added already."""


def _add_operation(server: Any, healthy: health.aio.HealthServicer, config: Config) -> None:
    """Adds health, reflection in both its versions, and channelz if wanted."""
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if config.channelz:
        channelz.add_channelz_servicer(server)
    server.add_generic_rpc_handlers(reflection.handlers(_names(config)))


def _names(config: Config) -> list[str]:
    """Every service that is served."""
    return [*relay.SERVICES, _HEALTH, reflection.V1, reflection.V1ALPHA, *([_CHANNELZ] if config.channelz else [])]


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


async def _leave(healthy: health.aio.HealthServicer, pause: float) -> None:
    with contextlib.suppress(TimeoutError):  # a watcher that does not read holds up the others, not the drain
        await asyncio.wait_for(healthy.enter_graceful_shutdown(), _BRIEF)
    # New calls still come while load balancers take notice of NOT_SERVING.
    await asyncio.sleep(pause)


async def _drain(servers: Servers, tracker: CallTracker, grace: float) -> None:
    stopping = asyncio.create_task(servers.stop(grace))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tracker.idle.wait(), grace)
    # What is left are health watches and reflection streams, which never end by themselves.
    await asyncio.wait([stopping], timeout=min(_BRIEF, grace))
    await servers.stop(None)
    await stopping
