"""The command line: what is typed, checked, run, shown; the exit code is 0, 1 or 2 as the contract says."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NoReturn
from urllib.parse import urlsplit

from client import call, usage
from client.channel import NothingAnswers, Tls
from client.document import document, notes_for_store
from client.options import CallOptions, Target
from client.rpc import RPCS
from client.show import Screen
from client.store import leave_notes
from client.verdict import CONNECTED

_INTERRUPTED = 130  # what a shell reports for Ctrl-C


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise usage.UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    screen = Screen()
    # The exporter's own words on a dead endpoint; the requester says it in a line.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    try:
        return _run(_parser().parse_args(arguments), screen)
    except (usage.UsageError, NothingAnswers) as error:
        screen.error(str(error))
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(parsed: argparse.Namespace, screen: Screen) -> int:
    options = call_options(parsed)
    run = asyncio.run(_call(options, screen))
    if options.json:
        sys.stdout.write(json.dumps(document(run), ensure_ascii=False) + "\n")
        screen.remarks(run)
    else:
        screen.show(run)
    return 0 if run.verdict == CONNECTED else 1


async def _call(options: CallOptions, screen: Screen) -> call.Run:
    run = await call.run(options, screen.working)
    if options.traces and all(one.picture for one in run.calls):
        await leave_notes(options.traces, notes_for_store(run))
    return run


def call_options(parsed: argparse.Namespace) -> CallOptions:
    """The parsed command line of `client call`. Raises UsageError for what does not go together."""
    return CallOptions(
        target=_target(parsed),
        rpcs=RPCS if parsed.rpc == "all" else (parsed.rpc,),
        data=parsed.data,
        expect=parsed.expect,
        repeat=parsed.repeat,
        traces=parsed.traces,
        otlp=parsed.otlp or _otlp(parsed.traces, os.environ),
        json=parsed.json,
    )


def _otlp(traces: str | None, environment: Mapping[str, str]) -> str | None:
    """Where root spans go unless --otlp says it: OpenTelemetry's own variable, else the usual port beside --traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if endpoint := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return usage.url("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    if traces is None:
        return None
    host = urlsplit(traces).hostname or ""
    return f"http://[{host}]:4318" if ":" in host else f"http://{host}:4318"


def _target(parsed: argparse.Namespace) -> Target:
    return Target(
        address=parsed.target,
        tls=_tls(parsed),
        authority=parsed.authority,
        custom=tuple(parsed.headers),
        timeout=parsed.timeout,
    )


def _tls(parsed: argparse.Namespace) -> Tls | None:
    files = {option: getattr(parsed, option) for option in ("ca", "cert", "key")}
    given = [option for option, path in files.items() if path is not None]
    if given and not parsed.tls:
        raise usage.UsageError(f"--{given[0]} has no effect without --tls: add --tls")
    if (parsed.cert is None) != (parsed.key is None):
        raise usage.UsageError(
            f"--{'key' if parsed.key else 'cert'} goes with --{'cert' if parsed.key else 'key'}: give both"
        )
    return (
        Tls(**{option: path and usage.pem(f"--{option}", path) for option, path in files.items()})
        if parsed.tls
        else None
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="client", description="Drives the chain and proves from its answers that the trace is whole.")
    commands = parser.add_subparsers(title="commands", metavar="call", required=True)
    _add_call(commands.add_parser("call", help="call the chain and give the verdict", allow_abbrev=False))
    return parser


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.description = "Calls the chain once per pattern and gives the verdict."
    parser.epilog = "Exit code 0: the trace is whole; 1: it is not, and the output says why; 2: nothing answers."
    _add_target(parser)
    parser.add_argument("--rpc", choices=("all", *RPCS), default="all", help="which pattern (all)")
    parser.add_argument(
        "--data",
        type=usage.greeting_indices,
        default=(0, 1, 2),
        metavar="0,1,2",
        help="greetings to ask for, 0 to 5 (0,1,2; Talk asks for the first)",
    )
    parser.add_argument(
        "--expect",
        type=partial(usage.names, "--expect"),
        default=("svc1", "svc2", "svc3"),
        metavar="svc1,svc2,svc3",
        help="the services that a call must pass, in order",
    )
    parser.add_argument(
        "--repeat",
        type=lambda text: usage.count("--repeat", text, 10_000),
        default=1,
        metavar="N",
        help="make each call N times (1)",
    )
    parser.add_argument(
        "--traces",
        type=partial(usage.url, "--traces"),
        metavar="URL",
        help="read each trace back from this trace store, or Jaeger 2, and hold it against the verdict",
    )
    parser.add_argument(
        "--otlp",
        type=partial(usage.url, "--otlp"),
        metavar="URL",
        help="export a root span per call there (OTEL_EXPORTER_OTLP_ENDPOINT, else port 4318 on the host of --traces)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=usage.target,
        default="127.0.0.1:9999",
        metavar="HOST:PORT",
        help="whom to call (127.0.0.1:9999)",
    )
    parser.add_argument(
        "-H",
        dest="headers",
        type=usage.header,
        action="append",
        default=[],
        metavar="'key: value'",
        help="send a header too; may repeat, also one key; the value of a -bin key is base64",
    )
    parser.add_argument(
        "--timeout",
        type=partial(usage.duration, "--timeout"),
        default=5.0,
        metavar="5s",
        help="each call's deadline (5s)",
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls", action="store_true", help="speak TLS to the target")
    tls.add_argument("--ca", metavar="FILE", help="PEM roots that vouch for the target (gRPC's own roots)")
    tls.add_argument("--cert", metavar="FILE", help="PEM certificate chain to show, with --key")
    tls.add_argument("--key", metavar="FILE", help="PEM private key of --cert")
    tls.add_argument("--authority", metavar="NAME", help="the name to ask for, where it is not the target's")
