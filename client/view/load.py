"""What a person sees of a load: how it goes, and its figures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.live import Live as LiveDisplay
from rich.table import Table
from rich.text import Text

from client.load.result import PERCENTILES, Figures, LoadResult
from client.load.run import Live, Show
from grpc_tracing.printable import one_line

_PLAIN_EVERY = 5.0  # seconds between lines where standard error is no terminal
_BAR = 30
_PLAIN_WIDTH = 120


@contextmanager
def progress(console: Console) -> Iterator[Show]:
    """Shows the state on `console`: in place on a terminal, else a line every 5 s."""
    if console.is_terminal:
        with LiveDisplay(console=console, transient=True, auto_refresh=False) as display:
            yield lambda live: display.update(_state(live), refresh=True)
    else:
        yield _Lines(console).show


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + _PLAIN_EVERY

    def show(self, live: Live) -> None:
        if time.monotonic() >= self._next:
            self._next += _PLAIN_EVERY
            self._console.print(_words(live), soft_wrap=True)


def _state(live: Live) -> Text:
    done = round(_BAR * live.passed / live.seconds)
    return Text.assemble(("━" * done, "green"), ("━" * (_BAR - done), "dim"), " ", _words(live))


def _words(live: Live) -> Text:
    return Text.assemble(
        f"{live.what} {live.passed:.0f} of {live.seconds:g} s: ",
        f"{live.calls_per_s:,.0f} calls/s, p99 {live.p99:.1f} ms, ",
        (f"{live.errors} errors", "red" if live.errors else ""),
    )


def show(console: Console, result: LoadResult) -> None:
    """The figures per RPC, errors by status, where the time went, and what limited the load."""
    console.print(_summary(result), soft_wrap=True)
    width = None if console.is_terminal else _PLAIN_WIDTH
    console.print(_figures(result, console.is_terminal), width=width)
    for rpc in result.rpcs:
        for status, count in result.figures(rpc).errors.most_common():
            console.print(Text(f"  {rpc}: {count} × {status}", "red"), soft_wrap=True)
    for told in _wholeness(result):
        console.print(told, soft_wrap=True)
    if result.parts():
        console.print(_parts(result, console.is_terminal), width=width)
    for line in result.limits:
        console.print(Text(f"  note: {line}", "yellow"), soft_wrap=True)


def _wholeness(result: LoadResult) -> Iterator[Text]:
    """A line each for what is whole, and for each RPC and link at which traces were torn."""
    whole = result.wholeness()
    if not whole:
        yield Text("  wholeness: no hop left a record that shows it", "dim")
    elif not result.broken:
        yield Text(f"  wholeness: every trace went on at each link that the records show, {len(whole)} RPCs", "green")
    for (rpc, link), torn in sorted(result.tally.torn.items()):
        if torn:
            judged = result.tally.judged[rpc, link]
            share = f"{1 - torn / judged:.2%} whole"
            yield Text(one_line(f"  {rpc}: {link}: {torn:,} of {judged:,} traces were torn ({share})"), "yellow")


def _summary(result: LoadResult) -> Text:
    total, options = result.total(), result.options
    asked = f"{options.concurrency} at a time" if options.rate is None else f"asked for {options.rate:g} a second"
    return Text.assemble(
        (f"{total.calls_per_s:,.1f} calls/s", "bold"),
        f" in {result.seconds:.1f} s, {asked}, {len(result.cpu_shares)} process"
        f"{'' if len(result.cpu_shares) == 1 else 'es'}, ",
        (f"{total.errors.total()} errors", "red" if total.errors else "green"),
        " (interrupted)" if result.interrupted else "",
    )


def _figures(result: LoadResult, framed: bool) -> Table:
    names = (*(f"p{one:g}" for one in PERCENTILES), "max")
    table = _table(framed, "latency in ms", "calls", "calls/s", "answers/s", *names)
    rows = [(rpc, result.figures(rpc)) for rpc in result.rpcs]
    for name, figures in [*rows, ("all", result.total())] if len(rows) > 1 else rows:
        table.add_row(name, *_row(figures))
    return table


def _row(figures: Figures) -> list[str]:
    counts = [f"{figures.calls:,}", f"{figures.calls_per_s:,.1f}", f"{figures.answers_per_s:,.1f}"]
    return [*counts, *map(_ms, (*figures.latency.percentiles, figures.latency.highest))]


def _ms(value: float) -> str:
    """Four figures at most, so that the table fits into 80 columns where a machine is slow."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _parts(result: LoadResult, framed: bool) -> Table:
    table = _table(framed, "where the time goes", "share", "mean", "")
    for name, share, mean in result.parts():
        table.add_row(one_line(name), f"{share:.1%}", f"{mean:.2f} ms", Text("█" * round(share * _BAR), "cyan"))
    return table


def _table(framed: bool, first: str, *others: str) -> Table:
    box_ = box.SIMPLE_HEAD if framed else None
    table = Table(box=box_, header_style="dim", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    return table
