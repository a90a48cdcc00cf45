"""The command line of `check`, read once and checked."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grpc_tracing import values
from grpc_tracing.arguments import Parser, checked
from grpc_tracing.backends.jaeger import Source
from grpc_tracing.calling import given as typed
from grpc_tracing.calling import targets
from grpc_tracing.calling.channel import Tls
from grpc_tracing.commands.backend_options import add_backend, backend
from grpc_tracing.commands.files import writable
from grpc_tracing.headers.families import REQUEST_ID, Metadata, Pair, carries_trace_id
from grpc_tracing.probe import methods
from grpc_tracing.probe.judge import Expected

_MOST: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """`grpc-tracing check`, checked: `within` and `wait` are in seconds, `most` bounds the answers of a call."""

    target: str
    service: str
    method: str
    data: str | None
    headers: Metadata
    tls: Tls | None
    authority: str | None
    protosets: tuple[Path, ...]
    sources: tuple[Path, ...]
    roots: tuple[Path, ...]
    within: float
    most: int
    repeat: int
    concurrency: int
    traces: Source | None
    api: str
    wait: float
    expected: Expected
    save: Path | None
    junit: Path | None
    json: bool


def parser() -> Parser:
    """Of `grpc-tracing check`."""
    made = Parser(
        prog="grpc-tracing check",
        description="Calls a method of any gRPC service with a trace of its own, and says which services the call "
        "passed and where its trace was cut. What the method does, it does: it is your choice.",
        epilog="Exit code 0: connected, 1: broken or failed, 2: wrong usage, or nothing answers, 3: unproven.",
    )
    add = made.add_argument
    add("target", metavar="HOST:PORT", type=checked(targets.target), help="whom to call, as gRPC writes targets")
    add("method", metavar="package.Service/Method", type=checked(methods.split), help="what to call")
    add(
        "-d",
        "--data",
        metavar="JSON",
        help="the messages, JSON one after the other; @FILE reads them, - standard input",
    )
    add(
        "-H",
        "--header",
        metavar="'KEY: VALUE'",
        action="append",
        default=[],
        type=checked(_header),
        help="metadata of the call; may repeat",
    )
    _add_description(made)
    _add_connection(made)
    add(
        "--max-messages",
        metavar="N",
        type=checked(values.count),
        default=100,
        help="a stream that gives more is cancelled then, and that is well [%(default)s]",
    )
    add("--repeat", metavar="N", type=checked(_calls), default=1, help="so many calls [%(default)s]")
    add("--concurrency", metavar="N", type=checked(_calls), default=1, help="so many at once [%(default)s]")
    _add_judging(made)
    return made


def _add_description(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add(
        "--protoset",
        metavar="FILE",
        action="append",
        default=[],
        type=Path,
        help="descriptors of a service without reflection, as protoc --include_imports --descriptor_set_out or buf "
        "build -o writes them; may repeat",
    )
    add("--proto", metavar="FILE", action="append", default=[], type=Path, help="the same from a .proto; may repeat")
    add(
        "-I",
        "--import-path",
        metavar="FOLDER",
        action="append",
        default=[],
        type=Path,
        help="where --proto looks for imports [the file's own folder]",
    )


def _add_connection(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add("--tls", action="store_true", help="call with TLS")
    add("--ca", metavar="FILE", type=Path, help="PEM roots that vouch for the server [those that gRPC ships]")
    add("--cert", metavar="FILE", type=Path, help="PEM certificate chain of the caller, for mTLS")
    add("--key", metavar="FILE", type=Path, help="PEM private key of the caller, for mTLS")
    add("--authority", metavar="NAME", help="the :authority, and the name that the server's certificate must have")
    add(
        "--timeout",
        metavar="TIME",
        type=checked(values.positive_duration),
        default="10s",
        help="the deadline of each call, and of connecting [%(default)s]",
    )


def _add_judging(made: argparse.ArgumentParser) -> None:
    add = made.add_argument
    add("--traces", metavar="URL", help="the backend that has the services' spans; without it nothing is proven")
    add_backend(made)
    add(
        "--wait",
        metavar="TIME",
        type=checked(values.positive_duration),
        default="10s",
        help="how long the spans may take [%(default)s]",
    )
    add(
        "--expect", metavar="A,B,C", type=checked(_names), default=(), help="services that the call must pass, in order"
    )
    add("--expect-file", metavar="FILE", type=Path, help="the same from a file that --save wrote")
    add("--save", metavar="FILE", type=checked(writable), help="keep which services called which, for --expect-file")
    add("--junit", metavar="FILE", type=checked(writable), help="also write JUnit's XML, a test case a call")
    add("--json", action="store_true", help="print one JSON object")


def options(arguments: list[str]) -> Options:
    """Exits with code 2 and one line where an option is wrong."""
    made = parser()
    given = made.parse_args(arguments)
    service, method = given.method
    if given.protoset and given.proto:
        made.error("--protoset and --proto exclude each other: give one of them")
    for option, wants in ((given.import_path, given.proto), (given.traces_header, given.traces)):
        if option and not wants:
            made.error("-I needs --proto" if option is given.import_path else "--traces-header needs --traces")
    for option in ("expect", "expect_file", "save"):
        if getattr(given, option) and not given.traces:
            made.error(f"--{option.replace('_', '-')} needs --traces: the spans show which services were called")
    return Options(
        target=given.target,
        service=service,
        method=method,
        data=_data(made, given.data),
        headers=tuple(given.header),
        tls=_tls(made, given),
        authority=given.authority,
        protosets=tuple(given.protoset),
        sources=tuple(given.proto),
        roots=tuple(given.import_path),
        within=given.timeout,
        most=given.max_messages,
        repeat=given.repeat,
        concurrency=given.concurrency,
        traces=backend(made, given, given.traces) if given.traces else None,
        api=given.traces_api,
        wait=given.wait,
        expected=Expected(given.expect, _edges(made, given.expect_file)),
        save=given.save,
        junit=given.junit,
        json=given.json,
    )


def _header(text: str) -> Pair:
    pair = typed.header(text)
    if carries_trace_id(pair[0]) or pair[0] == REQUEST_ID:
        raise ValueError(f"{pair[0]}: each call brings a trace and a request id of its own, leave it out")
    return pair


def _calls(text: str) -> int:
    found = values.count(text)
    if found > _MOST:
        raise ValueError(f"{text!r} is too many: {_MOST:,} at most")
    return found


def _names(text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise ValueError(f"{text!r}: write services separated by commas, for example cart,stock,ledger")
    return found


def _data(made: Parser, text: str | None) -> str | None:
    try:
        if text == "-":
            return sys.stdin.read()
        return Path(text[1:]).read_text(encoding="utf-8") if text and text.startswith("@") else text
    except OSError as error:
        made.error(f"-d {text}: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError:
        made.error(f"-d {text}: it is not UTF-8")


def _tls(made: Parser, given: argparse.Namespace) -> Tls | None:
    files = {name: getattr(given, name) for name in ("ca", "cert", "key")}
    if not given.tls:
        if extra := next((name for name, path in files.items() if path), None):
            made.error(f"--{extra} has no effect without --tls: add --tls")
        return None
    if (given.cert is None) != (given.key is None):
        made.error("--cert and --key go together: give both")
    content: dict[str, bytes | None] = {}
    for name, path in files.items():
        try:
            content[name] = typed.pem(path) if path else None
        except ValueError as error:
            made.error(f"--{name} {error}")
    return Tls(**content)


def _edges(made: Parser, path: Path | None) -> tuple[tuple[str, str], ...]:
    if path is None:
        return ()
    try:
        return tuple(_edge(one) for one in json.loads(path.read_text(encoding="utf-8"))["edges"])
    except OSError as error:
        made.error(f"--expect-file {path}: {(error.strerror or str(error)).lower()}")
    except (ValueError, TypeError, KeyError, RecursionError):
        made.error(f"--expect-file {path}: it is not what --save writes")


def _edge(one: Any) -> tuple[str, str]:
    caller, callee = one
    if not isinstance(caller, str) or not isinstance(callee, str):
        raise TypeError("an edge is two names")
    return caller, callee
