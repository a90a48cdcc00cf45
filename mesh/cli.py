"""The command line of the mesh. Results on standard output, progress and errors on standard error.

Exit codes: 0 it is as asked; 1 it is not, and a line says why; 2 wrong usage; 3 no mesh is up (status, logs).
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grpc_tracing.arguments import Parser
from grpc_tracing.printable import printable
from grpc_tracing.version import VERSION
from mesh import control, options
from mesh.errors import MeshError, NotUpError
from mesh.options import Options
from mesh.state import State, default_directory

Json = dict[str, Any]

WRONG_USAGE = 2
NOT_UP = 3


def main(arguments: list[str], prog: str = "python -m mesh") -> int:
    """Runs a command and returns its exit code; `prog` is what its help calls itself."""
    parsed = parser(prog).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.handler
    try:
        return command(parsed)
    except MeshError as error:
        say(str(error))
        return 1
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def say(text: str) -> None:
    """A line on standard error; a process's last words may be in it."""
    print("mesh:", printable(text, keep="\n"), file=sys.stderr, flush=True)  # noqa: T201


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def parser(prog: str) -> Parser:
    """Of all commands."""
    found = Parser(prog=prog, description=__doc__)
    found.add_argument("--version", action="version", version=f"mesh {VERSION}")
    commands = found.add_subparsers(required=True, metavar="up|status|down|logs")
    _add_up(commands)
    status = _command(commands, "status", _status, "say how every process is")
    status.add_argument("--json", action="store_true", help="all there is to know, as one object")
    _command(commands, "down", _down, "let calls in flight finish, then end everything")
    logs = _command(commands, "logs", _logs, "print a process's log: svc2, svc2-sidecar, ingress, traces, mesh, …")
    logs.add_argument("service", help="the process, as status names it")
    logs.add_argument("-n", "--lines", type=_lines, default=100, metavar="N", help="the last N lines [100]")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    return found


def _lines(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def _add_up(commands: Any) -> None:
    up = _command(commands, "up", _up, "start the mesh, or start again what is dead in the one that is up")
    options.add_to(up)


def _command(
    commands: Any, name: str, handler: Callable[[argparse.Namespace], int], what: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
    parser.set_defaults(handler=handler)
    add_state_to(parser)
    return parser


def add_state_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=lambda text: State(Path(text).absolute()),
        default=State(default_directory()),
        metavar="DIR",
        help="the mesh's private directory, one mesh each [/tmp/grpc-tracing-UID, or mesh in GRPC_TRACING_HOME]",
    )


def _up(parsed: argparse.Namespace) -> int:
    given = options.given_in(parsed)
    try:
        wanted = Options(**given)
    except MeshError as error:
        say(str(error))
        return WRONG_USAGE
    started = time.monotonic()
    found = control.up(wanted, parsed.state, say)
    if found is None:
        return _heal(parsed.state, given)
    _print(f"mesh is up ({time.monotonic() - started:.1f} s)")
    _print(describe(found))
    return 0


def _heal(state: State, given: Json) -> int:
    """A mesh is up: it must be the one that was asked for."""
    running = control.status(state)
    different = [name for name, value in given.items() if _plain(running["options"].get(name)) != _plain(value)]
    if different:
        names = ", ".join(name.replace("_", "-") for name in different)
        raise MeshError(f"a mesh with another {names} is up: take it down first, or --state DIR starts one beside it")
    healed, found = control.heal(state, say)
    _print(f"started again: {', '.join(healed)}" if healed else "mesh is up already")
    _print(describe(found))
    return 0


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def describe(found: Json) -> str:
    """Where the ingress and the trace pages are, for people."""
    lines = [f"  ingress  {found['target']}"]
    if found["traces"]:
        lines.append(f"  pages    {found['traces']}")
    if collector := found["options"].get("collector"):
        lines.append(f"  spans    to {collector}{' too' if found['traces'] else ' alone'}")
    return "\n".join(lines)


def _status(parsed: argparse.Namespace) -> int:
    try:
        found = control.status(parsed.state)
    except NotUpError:
        return _not_up(parsed)
    _print(json.dumps(found, indent=2) if parsed.json else _table(found))
    return 0 if all(part["answers"] for part in found["processes"]) else 1


def _not_up(parsed: argparse.Namespace) -> int:
    if parsed.json:
        _print(json.dumps({"pid": None, "directory": str(parsed.state.directory), "processes": []}))
    say(f"no mesh is up in {parsed.state.directory}" + (_left_behind(parsed.state)))
    return NOT_UP


def _left_behind(state: State) -> str:
    if state.is_there() and state.is_stale():
        return ": the last one was killed (up starts afresh, down clears what it left)"
    return ""


def _table(found: Json) -> str:
    width = max(len(part["name"]) for part in found["processes"])
    rows = [f"  {part['name']:<{width}}  {part['pid']:>8}  {_condition(part)}" for part in found["processes"]]
    return "\n".join([describe(found), *rows])


def _condition(part: Json) -> str:
    if not part["runs"]:
        return f"{part['state']} (up starts it again)"
    return "runs" if part["answers"] else "runs, and does not answer"


def _down(parsed: argparse.Namespace) -> int:
    state: State = parsed.state
    if control.down(state, say):
        _print("mesh is down")
    elif state.is_there() and state.is_stale():
        _clear(state)
    else:
        _print(f"no mesh is up in {state.directory}")
    return 0


def _clear(state: State) -> None:
    state.prepare()
    with state.locked() as ours:
        if ours:
            state.clear()
            _print("cleared what a killed mesh left behind")


def _logs(parsed: argparse.Namespace) -> int:
    log: Path = parsed.state.log(parsed.service)
    names = sorted(path.stem for path in parsed.state.logs.glob("*.log")) if parsed.state.is_there() else []
    if parsed.service not in names:
        raise MeshError(f"no log of {parsed.service}: there are {', '.join(names)}" if names else "no logs yet")
    for line in _followed(log, parsed.lines) if parsed.follow else _last(log, parsed.lines):
        _print(printable(line.decode(errors="replace").removesuffix("\n"), keep="\t"))
    return 0


def _last(log: Path, lines: int) -> deque[bytes]:
    with log.open("rb") as file:
        return deque(file, maxlen=lines)


def _followed(log: Path, lines: int) -> Iterator[bytes]:
    """The last lines, then each that comes: of the file of this name, also after it was cut or begun anew."""
    command = ["tail", "-n", str(lines), "-F", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:
        try:
            yield from tail.stdout or ()
        finally:
            tail.terminate()
