"""The command line: what is typed, checked, run, shown; the exit code is 0, 1 or 2 as the contract says."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from client import call, usage
from client.channel import NothingAnswers, Tls
from client.document import document
from client.options import CallOptions, Target
from client.rpc import RPCS
from client.show import Screen
from client.verdict import CONNECTED

_INTERRUPTED = 130  # what a shell reports for Ctrl-C


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise usage.UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    screen = Screen()
    try:
        return _run(_parser().parse_args(arguments), screen)
    except (usage.UsageError, NothingAnswers) as error:
        screen.error(str(error))
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(parsed: argparse.Namespace, screen: Screen) -> int:
    options = call_options(parsed)
    run = asyncio.run(call.run(options))
    if options.json:
        sys.stdout.write(json.dumps(document(run), ensure_ascii=False) + "\n")
        screen.remarks(run)
    else:
        screen.show(run)
    return 0 if run.verdict == CONNECTED else 1


def call_options(parsed: argparse.Namespace) -> CallOptions:
    """The parsed command line of `client call`. Raises UsageError for what does not go together."""
    return CallOptions(
        target=_target(parsed),
        rpcs=RPCS if parsed.rpc == "all" else (parsed.rpc,),
        data=parsed.data,
        expect=parsed.expect,
        repeat=parsed.repeat,
        json=parsed.json,
    )


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
