"""Where the trace store listens when it is told nothing."""

import pytest

from grpc_tracing.store.options import Address, parse
from grpc_tracing.store.store import Limits


def test_the_standard_ports_on_the_loopback_and_no_other() -> None:
    options = parse([])
    assert [options.http, options.otlp_grpc, options.otlp_http, options.zipkin] == [
        Address("--http", "127.0.0.1", 16686),
        Address("--otlp-grpc", "127.0.0.1", 4317),
        Address("--otlp-http", "127.0.0.1", 4318),
        None,
    ]


def test_what_it_holds_at_most_is_what_is_documented_and_what_is_given() -> None:
    assert parse([]).limits == Limits(traces=10_000, size=134_217_728, spans_per_trace=10_000)
    given = "--max-traces 7 --max-bytes 64MiB --max-spans-per-trace 9"
    assert parse(given.split()).limits == Limits(traces=7, size=67_108_864, spans_per_trace=9)


def test_the_pages_answer_under_the_host_that_they_listen_on() -> None:
    given = ["--http", "Traces.Example:80", "--allowed-host", "*.INTERNAL", "--allowed-host", "other"]
    assert parse(given).allowed_hosts == ("traces.example", "*.internal", "other")


def test_a_trace_is_kept_back_for_no_time_but_what_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert (parse([]).tail, parse(["--tail", "10s"]).tail) == (0.0, 10.0)
    with pytest.raises(SystemExit):
        parse(["--tail", "10"])
    assert "--tail: '10' is not a duration" in capsys.readouterr().err
