"""The command line: what is typed, checked, run, shown; the exit code is 0, 1 or 2 as the contract says."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from client import usage
from client.call import run as call
from client.call.rpc import RPCS, SERVICE, SERVICES
from client.call.verdict import BROKEN, CONNECTED, FAILED, UNPROVEN
from client.load.fleet import WorkerLost
from client.load.result import document as load_document
from client.load.run import hold
from client.options import ARRIVALS, CallOptions, LoadOptions, Target
from client.view import load
from client.view.document import document, notes_for_store
from client.view.junit import junit
from client.view.terminal import Screen
from grpc_tracing.arguments import Parser
from grpc_tracing.backends.jaeger import leave_notes
from grpc_tracing.calling.channel import NothingAnswers, Tls
from grpc_tracing.commands.files import write_whole
from grpc_tracing.evidence.causes import CAUSES
from grpc_tracing.version import VERSION

_LONGEST_UPLOAD = 10_000  # one answer to all of it must fit in a message
EXIT_CODES = {CONNECTED: 0, BROKEN: 1, FAILED: 1, UNPROVEN: 3}
_INTERRUPTED = 130  # what a shell reports for Ctrl-C


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise usage.UsageError(f"{self.explained(message)}; see {self.prog} --help")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    screen = Screen()
    # The exporter's own words on a dead endpoint; the requester says it in a line.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    try:
        parsed = parser().parse_args(arguments)
        code = int(parsed.run(parsed, screen))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone; at exit Python would flush into the pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (usage.UsageError, NothingAnswers, WorkerLost) as error:
        screen.error(str(error))
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run_call(parsed: argparse.Namespace, screen: Screen) -> int:
    options = call_options(parsed)
    run = asyncio.run(_call(options, screen))
    # Before the output, whose reader may leave early; what went wrong comes after it.
    unwritten = _written("--report", options.report, lambda path: _write_report(path, run))
    unwritten = _written("--junit", options.junit, lambda path: write_whole(path, junit(run))) or unwritten
    if options.json:
        sys.stdout.write(json.dumps(document(run)) + "\n")
        screen.remarks(run)
    else:
        screen.show(run)
    if unwritten:
        raise unwritten
    return EXIT_CODES[run.verdict]


def _write_report(path: Path, run: call.Run) -> None:
    from client.view.report import write_report  # noqa: PLC0415 its templates take a seventh of the start

    write_report(path, run)


def _written(option: str, path: Path | None, write: Callable[[Path], None]) -> usage.UsageError | None:
    """What kept a file that is wanted from being written."""
    try:
        if path:
            write(path)
    except OSError as error:
        return usage.UsageError(f"{option} {path}: {error.strerror or error}: name a file elsewhere")
    return None


def _run_load(parsed: argparse.Namespace, screen: Screen) -> int:
    options = load_options(parsed)
    with load.progress(screen.err) as show:
        result = hold(options, show)
    if options.json:
        sys.stdout.write(json.dumps(load_document(result)) + "\n")
    else:
        load.show(screen.out, result)
    if result.interrupted:
        return _INTERRUPTED
    return 1 if result.tally.errors or result.tally.unstarted or result.broken else 0


async def _call(options: CallOptions, screen: Screen) -> call.Run:
    run = await call.run(options, screen.working)
    if options.traces and all(one.seen for one in run.calls):
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
        require=tuple(key for group in parsed.require for key in group),
        service=parsed.service,
        concurrency=parsed.concurrency,
        traces=usage.traces(parsed.traces, parsed.traces_headers, parsed.traces_ca) if parsed.traces else None,
        wait=parsed.wait,
        report=parsed.report,
        junit=parsed.junit,
        otlp=_otlp(parsed.otlp, parsed.traces, os.environ),
        json=parsed.json,
    )


def load_options(parsed: argparse.Namespace) -> LoadOptions:
    """The parsed command line of `client load`. Raises UsageError for what does not go together."""
    if "TalkMoreAnswerOne" in parsed.rpc and parsed.messages > _LONGEST_UPLOAD:
        raise usage.UsageError(f"--messages: TalkMoreAnswerOne takes at most {_LONGEST_UPLOAD}")
    concurrency = parsed.concurrency or (16 if parsed.rate is None else 1000)
    if parsed.arrivals and parsed.rate is None:
        raise usage.UsageError("--arrivals needs --rate: without it a call begins when another one ends")
    if (parsed.processes or 1) > concurrency:
        raise usage.UsageError(f"--processes: at most {concurrency}, for so many calls are in flight at once")
    return LoadOptions(
        target=_target(parsed),
        mix=parsed.rpc,
        messages=parsed.messages,
        rate=parsed.rate,
        arrivals=parsed.arrivals or "constant",
        concurrency=concurrency,
        warmup=parsed.warmup,
        duration=parsed.duration,
        processes=parsed.processes,
        json=parsed.json,
    )


def _otlp(given: str | None, traces: str | None, environment: Mapping[str, str]) -> str | None:
    """Where root spans go: --otlp, else OpenTelemetry's own variable, else the usual port beside --traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None  # whoever asks for them: the disabled SDK gives spans whose ids are zero
    if given:
        return given
    if endpoint := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return usage.url("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    if traces is None or "://" not in traces:
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


def parser() -> Parser:
    """Of all commands."""
    found = _Parser(prog="client", description="Drives the chain and proves from its answers that the trace is whole.")
    found.add_argument("--version", action="version", version=f"client {VERSION}")
    commands = found.add_subparsers(title="commands", metavar="call|load|explain", required=True)
    _add_call(commands.add_parser("call", help="call the chain and give the verdict", allow_abbrev=False))
    _add_explain(commands.add_parser("explain", help="say what a cause of a verdict means", allow_abbrev=False))
    _add_load(commands.add_parser("load", help="hold a load on the chain and measure it", allow_abbrev=False))
    return found


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run_call)
    parser.description = "Calls the chain once per pattern and gives the verdict."
    parser.epilog = (
        "Exit code 0: connected; 1: broken or failed, and the output says why; 3: unproven, and it says what was not "
        "seen; 2: wrong usage, or nothing answers."
    )
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
        "--concurrency",
        type=lambda text: usage.count("--concurrency", text, 1_000),
        default=1,
        metavar="N",
        help="calls in flight (1): headers that get mixed up between calls show only then",
    )
    parser.add_argument(
        "--require",
        type=usage.keys,
        action="append",
        default=[],
        metavar="KEY",
        help="a header that every hop must pass on, beside the trace headers; may repeat",
    )
    parser.add_argument("--service", choices=SERVICES, default=SERVICE, help=f"the service's full name ({SERVICE})")
    _add_traces(parser)
    parser.add_argument(
        "--otlp",
        type=partial(usage.url, "--otlp"),
        metavar="URL",
        help="export a root span per call there (OTEL_EXPORTER_OTLP_ENDPOINT, else port 4318 on the host of --traces)",
    )
    parser.add_argument(
        "--report",
        type=partial(usage.writable_file, "--report"),
        metavar="FILE.html",
        help="write what the trace pages show of these calls into one self-contained file",
    )
    parser.add_argument(
        "--junit",
        type=partial(usage.writable_file, "--junit"),
        metavar="FILE.xml",
        help="write the verdict for a CI system: a test case for each call and for each link of its path",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_traces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--traces",
        metavar="URL",
        help="read each trace back from this trace store or Jaeger 2, or from a file of OTLP JSON, as evidence",
    )
    parser.add_argument(
        "--traces-api", choices=("jaeger-v3",), default="jaeger-v3", help="the API at --traces (jaeger-v3)"
    )
    parser.add_argument(
        "--traces-header",
        dest="traces_headers",
        type=usage.traces_header,
        action="append",
        default=[],
        metavar="'Name: value'",
        help="send it with each request to --traces; @FILE reads it from a file; may repeat",
    )
    parser.add_argument("--traces-ca", metavar="FILE", help="PEM roots that vouch for --traces")
    parser.add_argument(
        "--wait",
        type=partial(usage.duration, "--wait"),
        default=10.0,
        metavar="10s",
        help="how long to wait for the traces, all together (10s)",
    )


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run_explain)
    parser.description = "Says what a cause means, what shows it, and what helps; without a cause, lists them all."
    parser.add_argument("cause", nargs="?", metavar="CAUSE", help="the word in brackets at the end of a problem's line")


def _run_explain(parsed: argparse.Namespace, screen: Screen) -> int:
    if parsed.cause is None:
        screen.list_causes(CAUSES.values())
        return 0
    name = parsed.cause.strip("[]").lower()
    if name not in CAUSES:
        near = _near(name)
        raise usage.UsageError(
            f"{parsed.cause!r} is not a cause: {f'did you mean {near}?' if near else 'client explain lists them'}"
        )
    screen.explain(CAUSES[name])
    return 0


def _near(name: str) -> str:
    """The causes that a word may mean: those that it is a part of, else those that are spelled alike."""
    holding = [cause for cause in CAUSES if name and name in cause]
    return " or ".join(holding or difflib.get_close_matches(name, CAUSES, n=2))


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run_load)
    parser.description = "Holds a load on the chain: progress while it runs, then throughput, errors and latency."
    parser.epilog = (
        "Exit code 0: no call failed, and no trace was torn as far as hop records show; 1: some did or were; "
        "2: nothing answers. Ctrl-C ends it with what it has."
    )
    _add_target(parser)
    parser.add_argument(
        "--rpc",
        type=lambda text: usage.mix(text, RPCS),
        default=RPCS,
        metavar="Talk=3,TalkBidirectional=1",
        help="which patterns, with weights (all)",
    )
    parser.add_argument(
        "--messages",
        type=lambda text: usage.count("--messages", text, 1_000_000),
        default=3,
        metavar="N",
        help="length of each stream (3)",
    )
    parser.add_argument(
        "--rate",
        type=usage.rate,
        metavar="R",
        help="begin R calls a second, whatever becomes of them; latency counts from the intended start",
    )
    parser.add_argument(
        "--arrivals",
        choices=ARRIVALS,
        help="how --rate spaces them: evenly, or at random as those of many users are (constant)",
    )
    parser.add_argument(
        "--concurrency",
        type=lambda text: usage.count("--concurrency", text, 100_000),
        metavar="N",
        help="calls in flight: all the time without --rate (16), at most with it (1000)",
    )
    parser.add_argument(
        "--duration",
        type=partial(usage.duration, "--duration"),
        default=30.0,
        metavar="30s",
        help="how long to measure (30s)",
    )
    parser.add_argument(
        "--warmup",
        type=lambda text: 0.0 if text in {"0", "0s"} else usage.duration("--warmup", text),
        default=2.0,
        metavar="2s",
        help="unmeasured load before it (2s; 0 for none)",
    )
    parser.add_argument(
        "--processes",
        type=lambda text: usage.count("--processes", text, 64),
        metavar="N",
        help="worker processes (as many as the warm-up shows to be needed)",
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
