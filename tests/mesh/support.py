"""Meshes as users start them, calls through them, and what the trace store says of the calls."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil

from mesh.identities import Files
from protos import hop_pb2, landing_pb2
from tests.support.processes import ROOT, environment
from tests.support.waiting import wait_for

ANY_PORTS = tuple("--port 0 --pages-port 0 --otlp-grpc-port 0 --otlp-http-port 0".split())  # noqa: SIM905 as typed

# A first start on a busy machine; only a hang takes longer.
STARTING = 180.0

Json = dict[str, Any]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in the repository, with settings on top of a clean environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=STARTING,
        check=False,
    )


@dataclass(frozen=True)
class Mesh:
    """The mesh of one state directory, up or not."""

    state: Path

    def run(self, command: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run("-m", "mesh", command, "--state", str(self.state), *arguments, **settings)

    def up(self, *options: str) -> None:
        done = self.run("up", *options)
        assert done.returncode == 0, done.stderr

    def status(self) -> Json:
        found: Json = json.loads(self.run("status", "--json").stdout)
        return found

    @property
    def facts(self) -> Json:
        found: Json = json.loads((self.state / "mesh.json").read_text())
        return found

    @property
    def target(self) -> str:
        found: str = self.facts["target"]
        return found

    @property
    def pids(self) -> dict[str, int]:
        """By process, the supervisor's under `mesh`."""
        facts = self.facts
        return {"mesh": facts["pid"], **{part["name"]: part["pid"] for part in facts["processes"]}}

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(self.pids[name])

    def spans(self, trace_id: str, at_least: int) -> list[Json]:
        """A trace's spans with their `service` and resource attributes (`resource`), once there are that many."""
        url = f"{self.facts['traces']}/api/v3/traces/{trace_id}"
        return wait_for(lambda: _enough(_spans(url), at_least), f"{at_least} spans at {url}")


@contextmanager
def mesh(*options: str) -> Iterator[Mesh]:
    """A mesh on free ports in a directory of its own, up; down again at the end."""
    with state_directory() as directory:
        one = Mesh(directory)
        one.up(*ANY_PORTS, *options)
        yield one


@contextmanager
def state_directory() -> Iterator[Path]:
    """Like tmp_path, and short enough for the Unix sockets in it.

    A mesh that is up in it, or in a folder of it, goes down at the end. AssertionError where it does not, once it has
    been killed.
    """
    directory = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    try:
        yield directory
    finally:
        try:
            _take_down(directory)
        finally:
            left = _killed(belonging_to(directory))
            shutil.rmtree(directory, ignore_errors=True)
            assert left == [], "still ran at the end"


def _take_down(directory: Path) -> None:
    for facts in (directory / "mesh.json", *directory.glob("*/mesh.json")):
        if facts.exists():
            done = Mesh(facts.parent).run("down")
            assert done.returncode == 0, done.stderr


def belonging_to(directory: Path) -> list[psutil.Process]:
    """Every process that has the directory's name in its command or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join(process.cmdline()) + str(process.environ())
        except psutil.Error:
            continue
        if str(directory) in text:
            found.append(process)
    return found


def _killed(processes: list[psutil.Process]) -> list[str]:
    """The commands of those that had to be killed: the last one's children end a moment after it."""
    _, left = psutil.wait_procs(processes, timeout=5)
    commands = []
    for process in left:
        with suppress(psutil.NoSuchProcess):
            commands.append(" ".join(process.cmdline()))
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return commands


@dataclass(frozen=True)
class Outcome:
    """What came of one call: the status, and the records of the hops it passed, the first hop's first."""

    code: grpc.StatusCode
    details: str
    hops: list[hop_pb2.Hop] = field(default_factory=list)

    @property
    def path(self) -> list[str]:
        return [hop.service for hop in self.hops]

    @property
    def trace_ids(self) -> list[str]:
        """Each once, in the order of the hops."""
        return list(dict.fromkeys(hop.trace_id for hop in self.hops))


def files(one: Mesh, account: str) -> Files:
    return Files.of(Path(one.facts["identities"]), account)


def credentials(one: Mesh, account: str) -> grpc.ChannelCredentials:
    own = files(one, account)
    return grpc.ssl_channel_credentials(
        Path(own.ca).read_bytes(), Path(own.key).read_bytes(), Path(own.certificate).read_bytes()
    )


@contextmanager
def channel(target: str, credentials: grpc.ChannelCredentials | None = None, name: str = "") -> Iterator[grpc.Channel]:
    """A connection that is shared with no other channel; name: whom the server's certificate must name."""
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if credentials is None:
        made = grpc.insecure_channel(target, options=options)
    else:
        made = grpc.secure_channel(target, credentials, options=[*options, ("grpc.ssl_target_name_override", name)])
    with made:
        yield made


def talk(connection: grpc.Channel, *metadata: tuple[str, str], timeout: float = 20.0) -> Outcome:
    """One unary call."""
    method = connection.unary_unary(
        "/org.feuyeux.grpc.LandingService/Talk",
        request_serializer=landing_pb2.TalkRequest.SerializeToString,
        response_deserializer=landing_pb2.TalkResponse.FromString,
    )
    call: Any
    try:
        _, call = method.with_call(landing_pb2.TalkRequest(data="0", meta="TEST"), metadata=metadata, timeout=timeout)
    except grpc.RpcError as error:
        call = error
    return Outcome(call.code(), call.details(), _records(call.trailing_metadata()))


def call(target: str, *metadata: tuple[str, str], timeout: float = 20.0) -> Outcome:
    """One unary call on a connection of its own."""
    with channel(target) as connection:
        return talk(connection, *metadata, timeout=timeout)


def _records(trailers: Any) -> list[hop_pb2.Hop]:
    return [hop_pb2.Hop.FromString(value) for key, value in trailers or () if key == "talk-hop-bin"]


def _enough(spans: list[Json], at_least: int) -> list[Json]:
    return spans if len(spans) >= at_least else []


def _spans(url: str) -> list[Json]:
    answer = httpx.get(url, timeout=20, trust_env=False)
    if answer.status_code != httpx.codes.OK:
        return []
    return [
        {**span, "service": attributes["service.name"], "resource": attributes}
        for resource in answer.json()["result"]["resourceSpans"]
        for attributes in [_plain(resource["resource"]["attributes"])]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _plain(attributes: list[Json]) -> dict[str, str]:
    return {attribute["key"]: attribute["value"].get("stringValue", "") for attribute in attributes}
