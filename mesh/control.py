"""The mesh from outside: bring one up, ask how it is, heal it, take it down."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from mesh import process, room
from mesh.envoy import admin, binary
from mesh.errors import MeshError, NotUpError
from mesh.options import Options
from mesh.plan import ROOT, on_tcp
from mesh.state import State

Json = dict[str, Any]
Say = Callable[[str], None]

# Seconds. A first start reads everything from disk; going down waits for calls and slow processes.
READY = 60.0
ANSWER = 30.0
GOING_DOWN = 60.0
RECONNECTING = 3.0
BETWEEN = 10.0  # how long a mesh may be up without listening to us: it begins, or it ends


class Line:
    """A conversation with the supervisor: a line of JSON each way."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER)
        self._connection = connection
        self._file = connection.makefile("rb")
        self.released = False

    def release(self) -> None:
        """Let a mesh that we started stay up without us."""
        self.ask("release")
        self.released = True

    def ask(self, command: str) -> Json:
        """The answer. MeshError where the mesh refuses, hangs or is gone."""
        with suppress(OSError):
            self._connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        return self.hear()

    def hear(self) -> Json:
        answer = self._read()
        if answer is None:
            raise MeshError("the mesh's supervisor ended: python -m mesh logs mesh has its words")
        if "error" in answer:
            raise MeshError(answer["error"])
        return answer

    def steps(self) -> Iterator[str]:
        """What the supervisor says it does, until it is gone."""
        while (answer := self._read()) is not None:
            if "step" in answer:
                yield answer["step"]

    def _read(self) -> Json | None:
        try:
            line = self._file.readline()
        except TimeoutError as error:
            raise MeshError(f"the mesh's supervisor does not answer within {ANSWER:g} s") from error
        except ConnectionError:
            line = b""
        answer: Json | None = json.loads(line) if line else None
        return answer

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_up(state: State) -> bool:
    """Whether a supervisor lives: it holds the directory's lock as long as it does."""
    if not state.is_there():
        return False
    with state.locked() as ours:
        return not ours


def status(state: State) -> Json:
    """The supervisor's word on every process, with `answers` added to each. NotUpError where no mesh is."""
    with _connect(state) as line:
        return _with_answers(line.ask("status"))


def up(options: Options, state: State, say: Say) -> Json | None:
    """Start a mesh that stays up without us: its status once every part answers. None: one is up already.

    MeshError where it does not come up, and then nothing is left of it but its logs.
    """
    options = _with_envoy(options)
    lock = _lock_unless_up(state)
    if lock is None:
        return None
    room.check(state.directory, mesh=options.mesh)
    _warn(options, say)
    with _started(options, state, lock) as line:
        found = _until_ready(line, say)
        line.release()
        return found


@contextmanager
def private(options: Options, state: State, say: Say) -> Iterator[Json]:
    """A mesh of our own, its status given: it goes down, its directory with it, at the end of the block or with us."""
    options = _with_envoy(options)
    lock = _lock_unless_up(state)
    if lock is None:
        raise MeshError(f"a mesh is up in {state.directory}: --state DIR chooses another")
    try:
        room.check(state.directory, mesh=options.mesh)
        _warn(options, say)
        with _started(options, state, lock, ephemeral=True) as line:
            yield _until_ready(line, say)
    finally:
        shutil.rmtree(state.directory, ignore_errors=True)


def _warn(options: Options, say: Say) -> None:
    if names := on_tcp(options):
        say(f"{', '.join(names)}: on TCP ports of 127.0.0.1, which anyone on this machine can call")


def _with_envoy(options: Options) -> Options:
    """Found here: the supervisor runs in another folder than the user. MeshError where there is none."""
    return replace(options, envoy=str(binary.find())) if options.mesh and not options.envoy else options


def heal(state: State, say: Say) -> tuple[list[str], Json]:
    """Start again what is dead: its names, and the status once every part answers."""
    with _connect(state) as line:
        healed: list[str] = line.ask("heal")["healed"]
        found = _until_ready(line, say)
        _until_connected(state, healed, found["target"])
        return healed, found


def down(state: State, say: Say) -> bool:
    """Take the mesh down, calls in flight first; False: none was up. MeshError where it does not go."""
    if not is_up(state):
        return False
    with state.watched() as is_held:
        with suppress(NotUpError), _connect(state) as line:  # it may end by itself meanwhile
            say(line.ask("down")["step"])
            for step in line.steps():
                say(step)
        _until_gone(state, is_held)
    return True


def _lock_unless_up(state: State) -> int | None:
    """The directory's lock, or None once a mesh that is up listens to us."""
    state.prepare()
    give_up = time.monotonic() + BETWEEN
    while (lock := state.lock()) is None:
        if line := _try_to_connect(state, give_up):
            line.close()
            return None
    return lock


def _hangs(state: State) -> MeshError:
    pid = state.read_facts().get("pid")
    fix = f"kill -9 {pid} (its supervisor) ends it and all it started" if pid else "it still starts, try again"
    return MeshError(f"the mesh in {state.directory} does not listen: {fix}")


def _connect(state: State) -> Line:
    give_up = time.monotonic() + BETWEEN
    while is_up(state):
        if line := _try_to_connect(state, give_up):
            return line
    raise NotUpError(f"no mesh is up in {state.directory}: python -m mesh up starts one")


def _try_to_connect(state: State, give_up: float) -> Line | None:
    """To a mesh that is up, but may only begin or be about to end. MeshError once it is time to give up."""
    with suppress(OSError):
        return Line(_dial(state))
    if time.monotonic() > give_up:
        raise _hangs(state)
    time.sleep(0.05)
    return None


def _dial(state: State) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(state.control))
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _started(options: Options, state: State, lock: int, *, ephemeral: bool = False) -> Iterator[Line]:
    """A supervisor that ends when the block does, unless it was released in it. The lock becomes its own."""
    ours, its = socket.socketpair()
    arguments = {"options": asdict(options), "state": str(state.directory), "ephemeral": ephemeral}
    with state.watched() as is_held:
        line = Line(ours)
        try:
            with its:
                _spawn(its.fileno(), lock, arguments)
            line.hear()
            yield line
        finally:
            line.close()
            if not line.released:
                _until_gone(state, is_held)


def _spawn(connection: int, lock: int, arguments: Json) -> None:
    command = [sys.executable, "-m", "mesh.supervisor", str(connection), json.dumps(arguments)]
    try:
        # It leaves us at once (see its main), so that this waits for a moment only.
        started = subprocess.run(command, cwd=ROOT, pass_fds=(connection, lock), start_new_session=True, check=False)
    finally:
        os.close(lock)
    if started.returncode != 0:
        raise MeshError("the mesh's supervisor did not start: its words stand above")


def _until_ready(line: Line, say: Say) -> Json:
    give_up = time.monotonic() + READY
    speak = time.monotonic() + 2
    said: list[str] = []
    while True:
        found = _with_answers(line.ask("status"))
        _check_alive(found)
        if not (silent := [part for part in found["processes"] if not part["answers"]]):
            return found
        if time.monotonic() > give_up:
            words = [f"{part['name']}: {_last_words(part)}" for part in silent]
            raise MeshError(f"no answer within {READY:g} s from {'; '.join(words)}")
        if time.monotonic() > speak and said != (said := [part["name"] for part in silent]):
            say(f"waiting for {', '.join(said)}")
        time.sleep(0.02)


def _until_connected(state: State, healed: list[str], target: str) -> None:
    """The neighbours of a process that was dead reconnect within a second. Where calls are made to fail, go on."""
    from mesh.ready import call_passes  # noqa: PLC0415 as below

    give_up = time.monotonic() + RECONNECTING
    while healed and time.monotonic() < give_up:
        if call_passes(target) and all(_has_its_app(state, name) for name in healed):
            return
        time.sleep(0.05)


def _has_its_app(state: State, sidecar: str) -> bool:
    """Whether the app has connected to its sidecar again; also true of everything that no app connects to."""
    outbound = state.socket(sidecar.removesuffix("-sidecar"), "out")
    admin_socket = state.socket(sidecar, "adm")
    if not (outbound.exists() and admin_socket.exists()):
        return True
    with suppress(OSError, ValueError):  # dead again, or too busy to answer
        return admin.value(admin_socket, "http.outbound.downstream_cx_active") > 0
    return False


def _check_alive(found: Json) -> None:
    for part in found["processes"]:
        if not part["runs"]:
            raise MeshError(f"{part['name']} {part['state']}: {_last_words(part)}")


def _last_words(part: Json) -> str:
    return process.last_words(Path(part["log"])) or "it said nothing"


def _with_answers(found: Json) -> Json:
    from mesh.ready import answers  # noqa: PLC0415 gRPC takes its time to load, and not every command needs it

    for part in found["processes"]:
        part["answers"] = part["runs"] and answers(part["probe"])
    return found


def _until_gone(state: State, is_held: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GOING_DOWN
    while is_held():
        if time.monotonic() > give_up:
            raise _hangs(state)
        time.sleep(0.01)
