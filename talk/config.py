"""A service's facts: a YAML file, then the environment, checked once at start, immutable afterwards.

Each setting has one name: ``next_hop`` in the file, ``TALK_NEXT_HOP`` in the environment. docs/configuration.md has the
table; a test holds it against `SETTINGS`.
"""

import difflib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import yaml

from grpc_tracing.calling import targets
from grpc_tracing.headers.forwarding import Propagation, check_entry, rule
from grpc_tracing.values import duration, positive_duration
from protos import landing_pb2

LogFormat = Literal["json", "text", "off"]


class ConfigError(Exception):
    """A configuration that cannot be used; the message is one line with the source, the key and the fix."""


@dataclass(frozen=True)
class ServerTls:
    """PEM files of the listening side. With `client_ca`, a client without a certificate from it is refused."""

    cert: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True)
class ClientTls:
    """PEM files of the calling side: the CA that signed the next hop, and a certificate of our own for mutual TLS."""

    ca: Path
    cert: Path | None
    key: Path | None
    authority: str


@dataclass(frozen=True)
class NextHop:
    """Whom to call. `name` stands in messages and need not be the host: `svc2 -> svc3`."""

    target: str
    name: str
    tls: ClientTls | None
    retry: bool
    http_proxy: bool


@dataclass(frozen=True)
class Job:
    """A timer of the service's own: calls `target` about `every` so many seconds, because of no call in."""

    target: str
    every: float


@dataclass(frozen=True)
class Identity:
    """Who this process says it is, in hop records and logs."""

    service: str
    version: str
    instance: str


@dataclass(frozen=True)
class Drain:
    """Seconds: `pause` between NOT_SERVING and the refusal of new calls, `grace` for calls in flight after that."""

    pause: float
    grace: float


@dataclass(frozen=True)
class Config:
    identity: Identity
    listen: tuple[str, ...]
    connection_idle: float
    tls: ServerTls | None
    next_hop: NextHop | None
    also_call: tuple[NextHop, ...]
    jobs: tuple[Job, ...]
    propagation: Propagation
    propagation_by_rpc: Mapping[str, Propagation]
    hop_records: bool
    log_format: LogFormat
    drain: Drain
    channelz: bool
    otel: bool


class Setting(NamedTuple):
    """How a setting is read: `parse` gets the text or YAML value and raises ValueError with the fix."""

    parse: Callable[[Any], Any]
    default: Any


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r} is no text on one line: write a plain string")
    return value


def _name(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", _text(value)):
        raise ValueError(f"{value!r} is no name: use 1 to 63 letters, digits, '-', '_', '.'")
    return _text(value)


def _switch(value: Any) -> bool:
    # YAML 1.1 reads a bare on/off as a boolean; the environment has text.
    states = {True: True, False: False, "on": True, "off": False, "true": True, "false": False, "1": True, "0": False}
    if not isinstance(value, str | bool) or value not in states:
        raise ValueError(f"{value!r} is no switch: write on or off")
    return states[value]


def _seconds(value: Any) -> float:
    return duration(str(value))  # YAML reads a bare 10 as a number: the message says what to write


def _log_format(value: Any) -> str:
    formats = {False: "off", "json": "json", "text": "text", "off": "off"}  # YAML 1.1 reads a bare off as False
    if not isinstance(value, str | bool) or value not in formats:
        raise ValueError(f"{value!r} is no log format: write json, text or off")
    return formats[value]


def _items(value: Any) -> tuple[str, ...]:
    """A list in YAML, or a comma-separated text."""
    parts = value if isinstance(value, list) else _text(value).split(",")
    return tuple(_text(part).strip() for part in parts if part != "")


def _pem(value: Any) -> Path:
    path = Path(_text(value))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; give the path of a PEM file") from error
    if b"-----BEGIN " not in content:
        raise ValueError(f"no PEM in {path}; give the path of a file that holds -----BEGIN ... -----")
    return path


def _authorities(value: Any) -> Path:
    path = _pem(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"no certificate in {path}; give the path of a PEM file with the CA's certificate") from error
    return path


def _listen(value: Any) -> tuple[str, ...]:
    addresses = tuple(map(targets.listening, _items(value)))
    if not addresses:
        raise ValueError("no address to listen on: write :9996, 0.0.0.0:9996, [::]:9996 or unix:/PATH")
    return addresses


def _target(value: Any) -> str | None:
    """A gRPC target, or None for the last hop of the chain."""
    text = _text(value)
    return None if text == "none" else targets.target(text)


def _propagation(value: Any) -> Propagation:
    return rule(_items(value))


def _also_call(value: Any) -> Mapping[str, str]:
    """Targets by name, a mapping in YAML or `NAME=TARGET` with commas between."""
    pairs = value.items() if isinstance(value, dict) else [text.partition("=")[::2] for text in _items(value)]
    return {_name(name): targets.target(_text(target)) for name, target in pairs}


def _jobs(value: Any) -> tuple[Job, ...]:
    """Items such as `dns:///ledger:9996 every 2s`."""
    return tuple(map(_job, _items(value)))


def _job(text: str) -> Job:
    target, every, interval = text.rpartition(" every ")
    if not every:
        raise ValueError(f"{text!r} is no job: write whom to call and how often, as 'dns:///HOST:PORT every 2s'")
    return Job(targets.target(target), positive_duration(interval))


def _by_rpc(value: Any) -> Mapping[str, Propagation]:
    """Rules by RPC, a mapping in YAML or `RPC=RULE` with commas between; in a rule, '+' stands for a comma."""
    pairs = value.items() if isinstance(value, dict) else [text.partition("=")[::2] for text in _items(value)]
    return {
        _rpc(name): rule(_items(given.replace("+", ",") if isinstance(given, str) else given)) for name, given in pairs
    }


def _rpc(name: str) -> str:
    if name not in RPCS:
        raise ValueError(f"{name!r} is no RPC: use {', '.join(RPCS)}")
    return name


def _additions(value: Any) -> tuple[str, ...]:
    return tuple(check_entry(entry) for entry in _items(value))


_MISSING: Final = ""

RPCS: Final = tuple(method.name for method in landing_pb2.DESCRIPTOR.services_by_name["LandingService"].methods)

SETTINGS: Final[Mapping[str, Setting]] = {
    "name": Setting(_name, None),
    "version": Setting(_name, "v1"),
    "instance": Setting(_name, None),
    "listen": Setting(_listen, ("0.0.0.0:9996",)),
    "connection_idle": Setting(_seconds, 300.0),
    "next_hop": Setting(_target, _MISSING),
    "next_name": Setting(_name, None),
    "also_call": Setting(_also_call, {}),
    "jobs": Setting(_jobs, ()),
    "propagate": Setting(_propagation, Propagation()),
    "propagate_by_rpc": Setting(_by_rpc, {}),
    "propagate_also": Setting(_additions, ()),
    "hop_records": Setting(_switch, True),
    "log_format": Setting(_log_format, "json"),
    "drain_pause": Setting(_seconds, 0.0),
    "grace": Setting(_seconds, 10.0),
    "retry": Setting(_switch, False),
    "channelz": Setting(_switch, False),
    "otel": Setting(_switch, False),
    "http_proxy": Setting(_switch, False),
    "tls_cert": Setting(_pem, None),
    "tls_key": Setting(_pem, None),
    "tls_client_ca": Setting(_authorities, None),
    "next_hop_ca": Setting(_authorities, None),
    "next_hop_cert": Setting(_pem, None),
    "next_hop_key": Setting(_pem, None),
    "next_hop_authority": Setting(_name, ""),
}


def load(file: Path | None, environ: Mapping[str, str]) -> Config:
    """Reads `file` (or the one that TALK_CONFIG names), if any, then TALK_* variables. ConfigError: exit code 2."""
    source = Path(environ["TALK_CONFIG"]) if environ.get("TALK_CONFIG") else file
    read = dict(_read_settings(source)) if source else {}
    values = read | dict(_environment_settings(environ))
    where = {key: origin for key, (origin, _) in values.items()}
    settings = {key: setting.default for key, setting in SETTINGS.items()}
    for key, (origin, raw) in values.items():
        try:
            settings[key] = SETTINGS[key].parse(raw)
        except ValueError as error:
            raise ConfigError(f"{origin}: {error}") from error
    return _build(settings, lambda key: where.get(key) or _place(source, key))


def _place(source: Path | None, key: str) -> str:
    """Where a setting is to be written that stands nowhere."""
    return f"{source}: {key}" if source else f"environment: TALK_{key.upper()}"


def _read_settings(file: Path) -> Iterator[tuple[str, tuple[str, Any]]]:
    for key, value in _read_yaml(file).items():
        if key not in SETTINGS:
            raise ConfigError(f"{file}: {key}: unknown key; {_did_you_mean(str(key), SETTINGS)}")
        yield str(key), (f"{file}: {key}", value)


def _read_yaml(file: Path) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; write it, or name another file in TALK_CONFIG") from error
    except (yaml.YAMLError, ValueError) as error:  # no UTF-8, or a date that there is not
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file}: no YAML: {reason}; write `key: value` lines") from error
    if document is not None and not isinstance(document, dict):
        raise ConfigError(f"{file}: holds a {type(document).__name__}; write `key: value` lines")
    return document or {}


def _environment_settings(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    variables = {f"TALK_{key.upper()}": key for key in SETTINGS}
    for variable, value in environ.items():
        if variable in variables:
            yield variables[variable], (f"environment: {variable}", value)
        # Kubernetes and test tools set variables of their own: only what looks like a slip is refused.
        elif variable.startswith("TALK_") and variable != "TALK_CONFIG" and _close(variable, variables):
            raise ConfigError(f"environment: {variable}: unknown variable; {_did_you_mean(variable, variables)}")


def _close(word: str, known: Mapping[str, Any]) -> list[str]:
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.85)


def _did_you_mean(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _build(settings: Mapping[str, Any], where: Callable[[str], str]) -> Config:
    if settings["name"] is None:
        raise ConfigError(f"{where('name')}: missing; write the service's name, for example svc1")
    also = settings["propagate_also"]
    next_hop = _next_hop(settings, where)
    if settings["also_call"] and next_hop is None:
        raise ConfigError(f"{where('also_call')}: needs a next hop, which answers; write the first as next_hop")
    return Config(
        identity=Identity(settings["name"], settings["version"], settings["instance"] or socket.gethostname()),
        listen=settings["listen"],
        connection_idle=settings["connection_idle"],
        tls=_server_tls(settings, where),
        next_hop=next_hop,
        also_call=tuple(_plain_hop(target, name) for name, target in settings["also_call"].items()),
        jobs=settings["jobs"],
        propagation=_with(settings["propagate"], also),
        propagation_by_rpc={name: _with(rule, also) for name, rule in settings["propagate_by_rpc"].items()},
        hop_records=settings["hop_records"],
        log_format=settings["log_format"],
        drain=Drain(settings["drain_pause"], settings["grace"]),
        channelz=settings["channelz"],
        otel=settings["otel"],
    )


def _with(rule: Propagation, also: tuple[str, ...]) -> Propagation:
    return Propagation(tuple(dict.fromkeys(rule.listed + also)), rule.enabled)


def _plain_hop(target: str, name: str) -> NextHop:
    """In plaintext: a sidecar's own address, or a hop's on a network that is trusted."""
    return NextHop(target=target, name=name, tls=None, retry=False, http_proxy=False)


def _server_tls(settings: Mapping[str, Any], where: Callable[[str], str]) -> ServerTls | None:
    cert, key, client_ca = (settings[name] for name in ("tls_cert", "tls_key", "tls_client_ca"))
    if (cert is None) != (key is None):
        raise ConfigError(f"{where('tls_cert')}: a certificate needs its key; set tls_cert and tls_key together")
    if cert is None and client_ca is not None:
        raise ConfigError(f"{where('tls_client_ca')}: needs a certificate of our own; set tls_cert and tls_key")
    if cert is None:
        return None
    _check_pair(cert, key, where("tls_cert"))
    return ServerTls(cert, key, client_ca)


def _check_pair(cert: Path, key: Path, where: str) -> None:
    """ConfigError where they are no pair: gRPC would say no more than that it cannot listen, or cannot connect."""
    try:
        # With a password of its own, none is asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        reason = error.reason or "one of them does not parse"
        raise ConfigError(
            f"{where}: {cert} and {key} are no pair ({reason}); name a certificate and its own key"
        ) from error


def _next_hop(settings: Mapping[str, Any], where: Callable[[str], str]) -> NextHop | None:
    target = settings["next_hop"]
    if target == _MISSING:
        raise ConfigError(f"{where('next_hop')}: missing; write whom to call, or none for the last hop of the chain")
    if target is None:
        return None
    return NextHop(
        target=target,
        name=settings["next_name"] or target,
        tls=_client_tls(settings, where),
        retry=settings["retry"],
        http_proxy=settings["http_proxy"],
    )


def _client_tls(settings: Mapping[str, Any], where: Callable[[str], str]) -> ClientTls | None:
    ca, cert, key = (settings[name] for name in ("next_hop_ca", "next_hop_cert", "next_hop_key"))
    if (cert is None) != (key is None):
        raise ConfigError(f"{where('next_hop_cert')}: needs its key; set next_hop_cert and next_hop_key together")
    if ca is None and (cert is not None or settings["next_hop_authority"]):
        # Without it the call would go out in plaintext, and nobody would notice.
        raise ConfigError(f"{where('next_hop_ca')}: missing; name the CA that signed the next hop's certificate")
    if cert is not None:
        _check_pair(cert, key, where("next_hop_cert"))
    return ClientTls(ca, cert, key, settings["next_hop_authority"]) if ca is not None else None
