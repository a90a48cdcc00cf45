"""`grpc-tracing audit`: reads spans, judges, shows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from grpc_tracing.arguments import Parser
from grpc_tracing.audit.judge import judge
from grpc_tracing.audit.ledger import Ledger
from grpc_tracing.audit.result import Audit
from grpc_tracing.commands import columns, reading
from grpc_tracing.commands.column_options import how, is_clickhouse, is_parquet
from grpc_tracing.commands.files import write_whole
from grpc_tracing.commands.options import audit_parser, where, window
from grpc_tracing.commands.text import junit, table
from grpc_tracing.commands.workers import no_cycles
from grpc_tracing.store import audit_report


def main(arguments: list[str]) -> int:
    """Runs the audit and returns the exit code."""
    made = audit_parser()
    given = made.parse_args(arguments)
    try:
        ledger, missing = _read(made, given)
        with no_cycles():
            audit = judge(ledger, missing, given.sampling)
        return _show(audit, given)
    except (reading.NothingRead, OSError) as error:
        sys.stderr.write(f"grpc-tracing audit: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _read(made: Parser, given: argparse.Namespace) -> tuple[Ledger, list[str]]:
    """What the spans show, and what of them could not be read. Raises NothingRead."""
    if is_parquet(given.traces):
        return columns.ledger(given.traces, how(made, given)), []
    if is_clickhouse(given.traces):
        return columns.clickhouse(given.traces, given.traces_ca, window(given.last)), []
    ledger = Ledger()
    missing = reading.facts(where(made, given), ledger.take_facts)
    ledger.close()
    return ledger, missing


def _show(audit: Audit, given: argparse.Namespace) -> int:
    """Files first: a pipe that closes early loses none."""
    files: list[tuple[Path | None, Callable[[Audit], str]]] = [
        (given.junit, junit),
        (given.report, audit_report.render),
    ]
    for path, text_of in files:
        if path:
            write_whole(path, text_of(audit))
    sys.stdout.write(json.dumps(audit.document(), indent=2) + "\n" if given.json else table(audit))
    return audit.exit_code
