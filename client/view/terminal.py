"""What a person sees: tables in colour on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from client.call.answers import count_results
from client.call.drive import Tell
from client.call.run import Judged, Run
from client.call.verdict import BROKEN, CONNECTED, FAILED, UNPROVEN
from grpc_tracing.evidence.causes import Cause, Finding
from grpc_tracing.evidence.kept import not_forwarded
from grpc_tracing.evidence.path import PathHop
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.records import Header, HopRecord
from grpc_tracing.headers.forwarding import GOES_ON, Decision
from grpc_tracing.printable import one_line
from grpc_tracing.spans.model import Span
from grpc_tracing.spans.names import operation

# Seconds: until a step is told of, between updates on a terminal, and between lines elsewhere.
_PATIENCE, _REFRESH, _PLAIN_EVERY = 2.0, 0.1, 10.0
_UNBOUND = 100_000  # columns
_COLOUR = {CONNECTED: "bold green", BROKEN: "bold yellow", FAILED: "bold red", UNPROVEN: "bold magenta"}
_COLUMNS = ("hop", "caller", "received", "forwarded", "status", "here")
_NO_RECORD = "no record: unknown"
_UNSHOWN = frozenset({Decision.UNLISTED, Decision.REFUSED})


class _Step:
    """Something that takes its time, and how far it has come."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._reached = ""

    def reach(self, how_far: str) -> None:
        self._reached = how_far

    @property
    def words(self) -> str:
        return one_line(f"{self._what}: {self._reached}" if self._reached else self._what)


class Screen:
    """Standard output and standard error; colour only where they are terminals, and NO_COLOR is honoured."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    @asynccontextmanager
    async def working(self, what: str) -> AsyncIterator[Tell]:
        """Tells on standard error what goes on and how far it has come, once it has taken 2 s.

        In place on a terminal, else in a line every 10 s.
        """
        step = _Step(what)
        telling = asyncio.create_task(self._tell(step))
        try:
            yield step.reach
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell(self, step: _Step) -> None:
        await asyncio.sleep(_PATIENCE)
        if self._err.is_terminal:
            with self._err.status(Text(step.words)) as status:
                while True:
                    status.update(Text(step.words))
                    await asyncio.sleep(_REFRESH)
        while True:
            self._line(self._err, Text(f"{step.words} …"))
            await asyncio.sleep(_PLAIN_EVERY)

    @property
    def out(self) -> Console:
        """Standard output."""
        return self._out

    @property
    def err(self) -> Console:
        """Standard error."""
        return self._err

    def error(self, message: str) -> None:
        """One line on standard error."""
        self._line(self._err, Text.assemble(("client: ", "bold red"), one_line(message)))

    def remarks(self, run: Run) -> None:
        """The notes alone, on standard error: what --json has no place for."""
        for note in _grouped_notes(run):
            self._line(self._err, Text(one_line(f"note: {note}"), "dim"))

    def show(self, run: Run) -> None:
        """The calls, one of each kind, then the verdict in a sentence, problems and notes in a line each."""
        for call, times in _kinds(run.calls):
            self._call(call, times)
        self._line(self._out, Text.assemble((run.verdict, _COLOUR[run.verdict]), f": {one_line(sentence(run))}"))
        for problem in _grouped_problems(run):
            self._line(self._out, Text(one_line(f"  {problem}"), _COLOUR[run.verdict].removeprefix("bold ")))
        for note in _grouped_notes(run):
            self._line(self._out, Text(one_line(f"  note: {note}"), "dim"))

    def explain(self, cause: Cause) -> None:
        """A cause: what it means, how it is said, what shows it, what helps, where to read on."""
        self._line(self._out, Text.assemble((cause.name, "bold"), f" ({cause.means})"))
        for what, text in (("said as", cause.sentence), ("shown by", cause.shown_by), ("helps", cause.fix)):
            self._line(self._out, Text(f"  {what}: {text}"))
        self._line(self._out, Text(f"  read on: {cause.anchor}"))

    def list_causes(self, causes: Iterable[Cause]) -> None:
        """A line each."""
        for cause in causes:
            self._line(self._out, Text.assemble((cause.name, "bold"), f" ({cause.means}): {cause.sentence}"))

    def _call(self, call: Judged, times: int) -> None:
        outcome, judgement = call.outcome, call.judgement
        said = "" if judgement.verdict == CONNECTED else f"{judgement.verdict}; "
        facts = [f"{outcome.status} in {outcome.duration * 1000:.1f} ms", _answers(call)]
        facts += [f"trace {judgement.trace_id}"] if judgement.trace_id else ["no trace id"]
        facts += [f"and {times - 1} more like it"] if times > 1 else []
        title = Text.assemble((outcome.rpc, _COLOUR[judgement.verdict]), f": {said}{one_line(', '.join(facts))}")
        self._line(self._out, title)
        rows = [_row(stop, last=stop is judgement.stops[-1]) for stop in judgement.stops]
        if self._out.is_terminal:
            self._out.print(_table(rows))
        else:
            for row in rows:
                self._line(self._out, Text(_plain(row)))
        if call.picture and call.picture.spans:
            self._picture(call.picture)

    def _picture(self, picture: Picture) -> None:
        if self._out.is_terminal:
            self._out.print(_Unwrapped(_tree(picture)), crop=False)
            return
        for depth, span in picture.tree():
            self._line(self._out, Text(f"  {'  ' * depth}{_span(picture, span)}"))

    @staticmethod
    def _line(console: Console, text: Text) -> None:
        console.print(text, soft_wrap=True)


@dataclass(frozen=True)
class _Unwrapped:
    """A tree whose lines are as long as they are: a trace id stays in one piece, to be copied."""

    tree: Tree

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbound = options.update(max_width=_UNBOUND)
        yield from console.render(self.tree, unbound.update(width=Measurement.get(console, unbound, self.tree).maximum))


def sentence(run: Run) -> str:
    """The verdict in words."""
    total = len(run.calls)
    bad = sum(call.judgement.verdict == run.verdict for call in run.calls)
    which = "the call" if total == 1 else f"{bad} of {total} calls"
    if run.verdict == FAILED:
        return f"{which} did not succeed"
    if run.verdict == BROKEN:
        return f"{which} left a trace that is not whole"
    if run.verdict == UNPROVEN:
        return f"{which} left a trace that nothing shows to be whole" if bad else "nothing contradicts, but"
    who, each = ("the call", "") if total == 1 else (f"all {total} calls", " each")
    return f"{who} passed {_paths(run.calls)} in one trace{each}"


def _paths(calls: Iterable[Judged]) -> str:
    paths = Counter(", ".join(_place(stop) for stop in call.judgement.stops) for call in calls)
    if len(paths) == 1:
        return next(iter(paths))
    return " or ".join(f"{path} ({times} times)" for path, times in paths.most_common())


def _place(stop: PathHop) -> str:
    """A service, with its version where it is not the usual one."""
    if stop.hop is None:
        return f"{stop.service} (unknown)"
    return stop.service if stop.hop.version in {"", "v1"} else f"{stop.service} ({stop.hop.version})"


def _answers(call: Judged) -> str:
    found = count_results(call.outcome.responses)
    return f"{found} answer{'' if found == 1 else 's'}"


def _kinds(calls: Iterable[Judged]) -> list[tuple[Judged, int]]:
    """The first call of each kind and how many there are: calls that differ in nothing but ids and times are one."""
    kinds: dict[tuple[object, ...], list[Judged]] = {}
    for call in calls:
        versions = tuple(_place(stop) for stop in call.judgement.stops)
        kinds.setdefault((call.outcome.rpc, call.outcome.status, call.judgement.verdict, versions), []).append(call)
    return [(alike[0], len(alike)) for alike in kinds.values()]


def _grouped_problems(run: Run) -> list[str]:
    """What failed, then each cause once: of many calls that differ in ids alone, in general words with their number."""
    return [*_grouped_failures(run.calls), *run.problems, *_grouped_findings(run.calls)]


def _grouped_failures(calls: Sequence[Judged]) -> list[str]:
    """Failures of one status are alike, whatever ids the server puts into its words, where there are many calls."""
    alike: dict[str, list[tuple[str, Finding]]] = {}
    for call in calls:
        for one in call.judgement.failures:
            key = one.text if _one_of_each(calls) else one.general
            alike.setdefault(key, []).append((call.outcome.rpc, one))
    return [_failure(found, calls) for found in alike.values()]


def _failure(found: Sequence[tuple[str, Finding]], calls: Sequence[Judged]) -> str:
    first = found[0][1]
    if len({one.text for _, one in found}) == 1:
        return f"{_who(found, calls)}{first.line}"
    return f"{_who(found, calls)}{first.text}, and others like it, see --json [{first.cause.name}]"


def _one_of_each(calls: Sequence[Judged]) -> bool:
    return len({call.outcome.rpc for call in calls}) == len(calls)


def _who(found: Sequence[tuple[str, object]], calls: Sequence[Judged]) -> str:
    """Of which calls something is said: of none in particular where it is of all."""
    if len(found) == len(calls):
        return ""
    if _one_of_each(calls) or len(found) == 1:
        return f"{', '.join(dict.fromkeys(rpc for rpc, _ in found))}: "
    return f"{len(found)} of {len(calls)}: "


def _grouped_findings(calls: Sequence[Judged]) -> list[str]:
    alike: dict[tuple[str, str], list[tuple[str, Finding]]] = {}
    for call in calls:
        for one in call.judgement.findings:
            alike.setdefault((one.cause.name, one.general), []).append((call.outcome.rpc, one))
    return [_group(found, calls) for found in alike.values()]


def _group(found: Sequence[tuple[str, Finding]], calls: Sequence[Judged]) -> str:
    first = found[0][1]
    if len({one.text for _, one in found}) == 1 and (_one_of_each(calls) or len(found) == 1):
        return f"{_who(found, calls)}{first.line}"
    return f"{len(found)} of {len(calls)}: {first.general}, see --json [{first.cause.name}]"


def _grouped_notes(run: Run) -> list[str]:
    return [*run.notes, *_grouped([(call.outcome.rpc, call.judgement.notes) for call in run.calls])]


def _grouped(lines: Sequence[tuple[str, Collection[str]]]) -> list[str]:
    """Each line once, with the RPCs that it was said of unless it was said of all calls."""
    said: dict[str, list[str]] = {}
    for rpc, texts in lines:
        for text in dict.fromkeys(texts):
            said.setdefault(text, []).append(rpc)
    return [
        text if len(rpcs) == len(lines) else f"{', '.join(dict.fromkeys(rpcs))}: {text}" for text, rpcs in said.items()
    ]


def _row(stop: PathHop, last: bool) -> tuple[str, ...]:
    """A hop's cells, one for each of `_COLUMNS`."""
    hop = stop.hop
    if hop is None:
        return (one_line(stop.service), "", _NO_RECORD, "", "", "")
    received = "shortened record" if hop.shortened else _keys(h for h in hop.headers if h.decision not in _UNSHOWN)
    forwarded = "" if hop.shortened else "(the last)" if last else _forwarded(hop)
    cells = (f"{hop.service} {hop.version}".strip(), _caller(hop.peer), received, forwarded, _status(hop.status))
    return tuple(one_line(cell) for cell in (*cells, f"{hop.here_us / 1000:.1f} ms"))


def _caller(peer: str) -> str:
    return peer.rpartition("/")[2] if peer.startswith("spiffe://") else ""


def _status(code: int) -> str:
    return next((status.name for status in grpc.StatusCode if status.value[0] == code), str(code))


def _forwarded(hop: HopRecord) -> str:
    kept = not_forwarded(hop, ())
    went = [header for header in hop.headers if header.decision in GOES_ON]
    anew = [header for header in went if header.decision == Decision.REWRITTEN]
    said = "all" if not kept else f"all but {_keys(kept)}" if went else "none"
    return f"{said}, its SDK wrote {_keys(anew)}" if anew else said


def _keys(headers: Iterable[Header]) -> str:
    counted = Counter("x-b3-*" if header.key.startswith("x-b3-") else header.key for header in headers)
    return ", ".join(key if times == 1 else f"{key} ×{times}" for key, times in counted.items()) or "nothing"


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    filled = [place for place in range(len(_COLUMNS)) if any(row[place] for row in rows)]
    for place in filled:
        table.add_column(_COLUMNS[place], justify="right" if _COLUMNS[place] == "here" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[place], _cell_colour(row[place])) for place in filled))
    return table


def _tree(picture: Picture) -> Tree:
    """The spans, each below its parent; the pieces of a broken trace beside each other."""
    tree = Tree(Text(f"{len(picture.spans)} spans", "dim"), guide_style="dim")
    branches = [tree]
    for depth, span in picture.tree():
        del branches[depth + 1 :]
        branches.append(branches[depth].add(Text(_span(picture, span), "red" if span.error else "")))
    return tree


def _span(picture: Picture, span: Span) -> str:
    place = picture.place(span)
    name = operation(span, next(iter(picture.above(span)), None))
    several = len({one.trace_id for one in picture.tops()}) > 1
    took = f"{span.duration_ms:.1f} ms{', error' if span.error else ''}"
    trace = f"(trace {span.trace_id})" if several and span in picture.tops() else ""
    return one_line(" ".join(filter(None, (place, span.kind, name, took, trace))))


def _cell_colour(cell: str) -> str:
    if cell in {"none", _NO_RECORD} or cell.startswith("all but "):
        return "yellow"
    return "green" if cell in {"all", "OK"} else ""


def _plain(row: tuple[str, ...]) -> str:
    service, caller, received, forwarded, status, here = row
    parts = [service]
    parts += [f"called by {caller}"] if caller else []
    parts += [f"received {received}"] if status else [received]
    parts += [f"forwarded {forwarded}"] if forwarded else []
    return "  " + "; ".join([*parts, *([f"{status} in {here}"] if status else [])])
