"""The process that owns a mesh: starts its parts, notices their ends, and takes all down when it ends itself.

It has one thread, because the kernel's promise to end the children (process.py) hangs on the thread that started them.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mesh import ports, process
from mesh.envoy import admin, binary
from mesh.errors import MeshError
from mesh.identities import Authority, write
from mesh.options import Options
from mesh.plan import Plan, Ports, entry_name, on_tcp, plan, workloads
from mesh.process import Child
from mesh.state import State

Json = dict[str, Any]
Say = Callable[[str], None]

# Calls in flight get this long to finish when the mesh goes down, and a process to end when asked, in seconds.
DRAIN = 10.0
ENDING = 15.0
# A log that grows past this is cut: its last part stays under the name LOG.1.
LOG_LIMIT = 32 * 1024**2

_ACTIVE = "http.ingress.downstream_rq_active"


class Supervisor:
    """A mesh from start to end; the state directory's lock is held by whoever makes one."""

    def __init__(self, options: Options, state: State) -> None:
        self.options = options
        self.state = state
        self.children: dict[str, Child] = {}
        self.asked_to_stop = asyncio.Event()
        self.audience: set[Say] = set()  # who wants to hear how the stop goes
        self._held: list[socket.socket] = []
        self._seen_dead: set[str] = set()

    def start(self) -> None:
        """MeshError where a port, a binary or a configuration is not as it must be; then call stop()."""
        self.ports = self._hold_ports()
        if self.options.mtls and self.options.mesh:
            write(Authority(), self.state.identities, *self.options.graph.identities)
        self.plan = plan(self.options, self.state, self.ports)
        self._configure(self.plan)
        self._write_facts()

    def _configure(self, planned: Plan) -> None:
        """Write Envoy's configurations and, while services are already starting, have Envoy check them."""
        for path, configuration in planned.configurations.items():
            path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        envoys = [p for p in planned.processes if p.probe.kind == "envoy"]
        for part in planned.processes:
            if part not in envoys:
                self._start(part.name)
        if envoys:
            binary.validate(Path(envoys[0].command[0]), list(planned.configurations))
        for part in envoys:
            self._start(part.name)

    def _hold_ports(self) -> Ports:
        if not self.options.mesh:
            return Ports(self._hold(self.options.port, "--port", for_envoy=False), inbound={}, app=self._hold_apps())
        entry = self._hold(self.options.port, "--port")
        inbound = {w.name: self._hold(0, "an inbound port") for w in workloads(self.options)}
        apps = self._hold_apps()
        out = {name: self._hold(0, "an outbound port") for name in apps}
        if not self.options.has_store:
            return Ports(entry, inbound, apps, out)
        return Ports(
            entry,
            inbound,
            apps,
            out,
            pages=self._hold(self.options.pages_port, "--pages-port", for_envoy=False),
            otlp_grpc=self._hold(self.options.otlp_grpc_port, "--otlp-grpc-port", for_envoy=False),
            otlp_http=self._hold(self.options.otlp_http_port, "--otlp-http-port", for_envoy=False),
        )

    def _hold_apps(self) -> dict[str, int]:
        return {name: self._hold(0, "an app's port", for_envoy=False) for name in on_tcp(self.options)}

    def _hold(self, port: int, option: str, *, for_envoy: bool = True) -> int:
        held = ports.hold_for_envoy(port, option) if for_envoy else ports.hold_for_server(port, option)
        self._held.append(held)
        return ports.number(held)

    def _start(self, name: str) -> None:
        part = next(p for p in self.plan.processes if p.name == name)
        self.children[name] = process.start(part, self.state.log(name))
        self._seen_dead.discard(name)
        _note(f"{name} started, pid {self.children[name].popen.pid}")

    def heal(self) -> list[str]:
        """Start again what is dead; the names of it."""
        dead = [name for name, child in self.children.items() if not child.runs]
        for name in dead:
            self._start(name)
        if dead:
            self._write_facts()
        return dead

    def reap(self) -> None:
        """Notice, and write down, which children ended."""
        for name, child in self.children.items():
            if not child.runs and name not in self._seen_dead:
                self._seen_dead.add(name)
                _note(f"{name}, pid {child.popen.pid}, {child.how_it_ended()}")

    def status(self) -> Json:
        return {
            "pid": os.getpid(),
            "directory": str(self.state.directory),
            "options": asdict(self.options),
            "services": list(self.options.graph.services),
            **self._addresses(),
            "processes": [self._describe(child) for child in self.children.values()],
        }

    def _addresses(self) -> Json:
        found = self.ports
        return {
            "target": f"{ports.HOST}:{found.entry}",
            "traces": None if found.pages is None else f"http://{ports.HOST}:{found.pages}",
            "otlp_grpc": None if found.otlp_grpc is None else f"{ports.HOST}:{found.otlp_grpc}",
            "otlp_http": None if found.otlp_http is None else f"http://{ports.HOST}:{found.otlp_http}",
            "inbound": {name: f"{ports.HOST}:{port}" for name, port in found.inbound.items()},
            "identities": str(self.state.identities) if self.options.mesh and self.options.mtls else None,
        }

    def _describe(self, child: Child) -> Json:
        return {
            "name": child.plan.name,
            "pid": child.popen.pid,
            "runs": child.runs,
            "state": child.how_it_ended(),
            "started": child.started,
            "log": str(self.state.log(child.plan.name)),
            "probe": asdict(child.plan.probe),
        }

    def _write_facts(self) -> None:
        self.state.write_facts(self.status())

    async def stop(self) -> None:
        """From the ingress inwards: calls in flight finish, then everything ends; leaves the logs and nothing else."""
        if self.children:
            await self._drain()
        for tier in sorted({child.plan.tier for child in self.children.values()}):
            await self._end([child for child in self.children.values() if child.plan.tier == tier])
        for held in self._held:
            held.close()
        self.state.clear()

    def _tell(self, text: str) -> None:
        _note(text)
        for say in self.audience:
            say(text)

    async def _drain(self) -> None:
        """A bare SIGTERM would break calls in flight: have the ingress send callers away first, and wait for them."""
        entry = self.children.get(entry_name(self.options))
        if entry is None or entry.plan.probe.kind != "envoy" or not entry.runs:
            return
        path = Path(entry.plan.probe.target)
        with suppress(OSError, ValueError):
            connected = admin.value(path, "http.ingress.downstream_cx_active") > 0
            admin.stop_listening(path, graceful=connected)
            if connected:
                self._tell("waiting for calls in flight")
            await self._until_quiet(path)

    async def _until_quiet(self, path: Path) -> None:
        give_up = time.monotonic() + DRAIN
        # Callers that were sent away may come back until the listener is closed.
        while not admin.value(path, "listener_manager.listener_stopped") or admin.value(path, _ACTIVE):
            if time.monotonic() > give_up:
                self._tell(f"cutting {admin.value(path, _ACTIVE)} calls that did not end within {DRAIN:g} s")
                return
            await asyncio.sleep(0.02)

    async def _end(self, children: list[Child]) -> None:
        for child in children:
            child.ask_to_end()
        give_up = time.monotonic() + ENDING
        while left := [child for child in children if child.runs]:
            if time.monotonic() > give_up:
                self._kill(left)
                return
            await asyncio.sleep(0.01)

    def _kill(self, children: list[Child]) -> None:
        for child in children:
            self._tell(f"{child.plan.name} does not end when asked: killing it")
            child.kill()
            child.popen.wait()

    def bound_logs(self) -> None:
        for name in self.children:
            log = self.state.log(name)
            with suppress(OSError):
                if log.stat().st_size > LOG_LIMIT:
                    _cut(log)

    def stop_soon(self) -> None:
        """A second time: at once."""
        if self.asked_to_stop.is_set():
            for child in self.children.values():
                child.kill()
        self.asked_to_stop.set()


async def serve(options: Options, state: State, owner: socket.socket) -> int:
    """Run a mesh until it is asked to stop, or until its owner's end of the socket closes before a release."""
    supervisor = Supervisor(options, state)
    with _signals(supervisor):
        try:
            supervisor.start()
            async with _control(supervisor, owner):
                await _until_asked(supervisor)
                await supervisor.stop()
        except MeshError as error:
            with suppress(OSError):  # whoever asked is gone
                owner.sendall(_line({"error": str(error)}))
            return 1
        finally:
            await supervisor.stop()  # also where something failed that nobody foresaw, such as a full disk
    _note("down")
    return 0


async def _until_asked(supervisor: Supervisor) -> None:
    while not supervisor.asked_to_stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(supervisor.asked_to_stop.wait(), timeout=2)
        supervisor.bound_logs()


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop_soon)
    try:
        yield
    finally:
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _control(supervisor: Supervisor, owner: socket.socket) -> AsyncIterator[None]:
    """Listen to the command line: each line a request, each answer a line (see _Conversation)."""
    server = await asyncio.start_unix_server(
        lambda reader, writer: _Conversation(supervisor, reader, writer).hold(), supervisor.state.control
    )
    reader, writer = await asyncio.open_connection(sock=owner)
    conversation = _Conversation(supervisor, reader, writer, owns=True)
    owned = asyncio.create_task(conversation.hold())
    conversation.say({"started": True})
    try:
        yield
    finally:
        server.close()
        owned.cancel()


class _Conversation:
    """One connection. Requests: {"command": "status" | "heal" | "down" | "release"}."""

    def __init__(
        self,
        supervisor: Supervisor,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        owns: bool = False,
    ) -> None:
        self._supervisor = supervisor
        self._reader = reader
        self._writer = writer
        self._owns = owns

    async def hold(self) -> None:
        try:
            while line := await self._reader.readline():
                self.say(self._answer(line))
        except ConnectionError:
            pass
        finally:
            self._supervisor.audience.discard(self._tell)
            self._writer.close()
            if self._owns:
                self._supervisor.stop_soon()

    def _heal(self) -> Json:
        try:
            return {"healed": self._supervisor.heal()}
        except MeshError as error:
            return {"error": str(error)}

    def say(self, answer: Json) -> None:
        self._writer.write(_line(answer))

    def _tell(self, text: str) -> None:
        self.say({"step": text})

    def _answer(self, line: bytes) -> Json:
        command = json.loads(line)["command"]
        if self._supervisor.asked_to_stop.is_set():
            return {"error": "the mesh is going down"}
        if command == "status":
            return self._supervisor.status()
        if command == "heal":
            return self._heal()
        if command == "release":
            self._owns = False
            return {"released": True}
        self._supervisor.audience.add(self._tell)
        self._supervisor.stop_soon()
        return {"step": "taking the mesh down"}


def _line(answer: Json) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _note(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")


def _cut(log: Path) -> None:
    """Keep the log's last part beside it. The writer appends, and goes on at the new end."""
    with log.open("rb") as file, log.with_suffix(".log.1").open("wb") as kept:
        file.seek(-LOG_LIMIT // 2, os.SEEK_END)
        shutil.copyfileobj(file, kept)  # a piece at a time: read whole, it would stay in this process's memory
    os.truncate(log, 0)


def main(owner: int, arguments: Json) -> int:
    """What control.py starts: a daemon that holds the inherited lock for as long as it lives."""
    if os.fork():  # the one who started us waits for this process; the one that goes on is nobody's child
        os._exit(0)
    os.umask(0o077)
    state = State(Path(arguments["state"]))
    connection = socket.socket(fileno=owner)
    state.make()
    with state.log("mesh").open("ab", buffering=0) as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    try:
        return asyncio.run(serve(Options(**arguments["options"]), state, connection))
    finally:
        if arguments["ephemeral"]:
            shutil.rmtree(state.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), json.loads(sys.argv[2])))
