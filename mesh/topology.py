"""The file of `up --topology`: any services, who calls whom, what each forwards, timers, delays, replicas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import yaml

from chain.topology import CLIENT, INGRESS, Graph
from grpc_tracing.arguments import near
from grpc_tracing.headers.forwarding import rule
from grpc_tracing.values import positive_duration
from mesh.errors import MeshError

_UNARY: Final = ("Talk",)
_STREAMS: Final = ("TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,22}[a-z0-9])?")
_TAKEN: Final = re.compile(rf"{INGRESS}|{CLIENT}|mesh|traces|control|.*-sidecar|.*-\d")
_MOST: Final = 20
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Job:
    """A timer: a call to a service about every so many seconds, because of no call in."""

    calls: str
    every: float


@dataclass(frozen=True)
class Service:
    """`propagate` and `by_rpc`, which goes before it, are TALK_PROPAGATE's texts; `delay` is in seconds."""

    calls: tuple[str, ...] = ()
    propagate: str = "default"
    by_rpc: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    replicas: int = 1
    jobs: tuple[Job, ...] = ()

    @property
    def callees(self) -> tuple[str, ...]:
        """Whom it calls, because of a call in or of a timer."""
        return tuple(dict.fromkeys((*self.calls, *(job.calls for job in self.jobs))))


@dataclass(frozen=True)
class Topology:
    """The services by name, in the order of the file; the first is called from outside."""

    services: Mapping[str, Service]

    @property
    def graph(self) -> Graph:
        calls = ((name, callee) for name, service in self.services.items() for callee in service.callees)
        return Graph(tuple(self.services), tuple(calls))


def parse(text: str) -> Topology:
    """MeshError with the path of the field that is wrong, and what to write there."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise MeshError(f"no YAML: {' '.join(str(error).split())}") from error
    root = _fields("the file", document, ("services",))
    listed = root.get("services")
    if not isinstance(listed, dict) or not 1 < len(listed) <= _MOST:
        raise MeshError(f"services: name 2 to {_MOST} services, each with what it does")
    found = Topology({_name(name): _service(f"services.{name}", fields, listed) for name, fields in listed.items()})
    for name in found.services:
        _refuse_circle(found, (name,))
    return found


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MeshError(f"services.{name}: write up to 24 small letters, digits and '-', and a letter first")
    if _TAKEN.fullmatch(name):
        raise MeshError(f"services.{name}: the mesh itself has such a name: choose another")
    return name


def _fields(path: str, given: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """What stands under `path`; nothing at all is as good as an empty mapping."""
    if given is not None and not isinstance(given, dict):
        raise MeshError(f"{path}: write `key: value` lines with {', '.join(known)}")
    for key in given or {}:
        if key not in known:
            raise MeshError(f"{path}.{key}: unknown, known are {', '.join(known)}{near(str(key), known)}")
    return given or {}


def _service(path: str, given: Any, services: Mapping[Any, Any]) -> Service:
    fields = _fields(path, given, ("calls", "propagate", "delay", "replicas", "jobs"))
    propagate, by_rpc = _propagate(f"{path}.propagate", fields.get("propagate", "default"))
    found = Service(
        calls=tuple(_called(where, name, services) for where, name in _items(f"{path}.calls", fields.get("calls"))),
        propagate=propagate,
        by_rpc=by_rpc,
        delay=_seconds(f"{path}.delay", fields["delay"]) if "delay" in fields else 0.0,
        replicas=_replicas(f"{path}.replicas", fields.get("replicas", 1)),
        jobs=tuple(_job(where, job, services) for where, job in _items(f"{path}.jobs", fields.get("jobs"))),
    )
    own = path.removeprefix("services.")
    if own in found.callees or len(set(found.calls)) < len(found.calls):
        raise MeshError(f"{path}.calls: name each other service once, and not {own} itself")
    return found


def _items(path: str, given: Any) -> Iterator[tuple[str, Any]]:
    if given is not None and not isinstance(given, list):
        raise MeshError(f"{path}: write a list, such as [{given}]")
    yield from ((f"{path}[{number}]", item) for number, item in enumerate(given or []))


def _called(path: str, name: Any, services: Mapping[Any, Any]) -> str:
    if not isinstance(name, str) or name not in services:
        raise MeshError(f"{path}: {name!r} is none of the services{near(str(name), map(str, services))}")
    return name


def _job(path: str, given: Any, services: Mapping[Any, Any]) -> Job:
    fields = _fields(path, given, ("calls", "every"))
    if len(fields) < 2:
        raise MeshError(f"{path}: write both, such as {{calls: {next(iter(services))}, every: 2s}}")
    return Job(_called(f"{path}.calls", fields["calls"], services), _seconds(f"{path}.every", fields["every"]))


def _seconds(path: str, given: Any) -> float:
    return _read(path, lambda: positive_duration(str(given)))


def _replicas(path: str, given: Any) -> int:
    if not isinstance(given, int) or not 1 <= given <= 9:
        raise MeshError(f"{path}: {given!r} is not 1 to 9")
    return given


def _propagate(path: str, given: Any) -> tuple[str, dict[str, str]]:
    """The service's rule, and those of single RPCs."""
    if not isinstance(given, dict):
        return _rule(path, given), {}
    fields = _fields(path, given, ("unary", "streams", *_UNARY, *_STREAMS))
    texts = {name: _rule(f"{path}.{name}", value) for name, value in fields.items()}
    by_rpc: dict[str, str] = {}
    for name, members in {"unary": _UNARY, "streams": _STREAMS}.items():
        by_rpc |= dict.fromkeys(members, texts.pop(name)) if name in texts else {}
    return "default", by_rpc | texts


def _rule(path: str, given: Any) -> str:
    """A propagation as TALK_PROPAGATE has it; a list is as good as text with commas."""
    text = ",".join(map(str, given)) if isinstance(given, list) else str(given)
    _read(path, lambda: rule(text.split(",")))
    return text


def _read(path: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except ValueError as error:
        raise MeshError(f"{path}: {error}") from None


def _refuse_circle(found: Topology, way: tuple[str, ...]) -> None:
    for callee in found.services[way[-1]].calls:
        if callee in way:
            circle = " -> ".join((*way[way.index(callee) :], callee))
            raise MeshError(f"services.{way[-1]}.calls: a call would never end: {circle}")
        _refuse_circle(found, (*way, callee))
