"""The watch's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpc_tracing.watch.core import Bounds
from grpc_tracing.watch.options import parse

LISTEN = ["--listen", "127.0.0.1:0"]


def test_the_defaults_are_ten_minutes_judged_each_minute_on_the_loopback() -> None:
    options = parse(["--listen", ":4317"])
    assert options.bounds == Bounds(window=600.0, step=60.0, settle=15.0, spans=100_000, size=512 * 1024**2)
    assert str(options.metrics) == "127.0.0.1:9464"
    assert options.grpc
    assert (options.source, options.http, options.otlp, options.sampling) == (None, None, None, None)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://collector:4318", "http://collector:4318/v1/metrics"),
        ("https://collector/", "https://collector/v1/metrics"),
        ("http://collector/otlp/v1/metrics", "http://collector/otlp/v1/metrics"),
    ],
)
def test_metrics_go_to_otlp_s_path(url: str, sent: str) -> None:
    assert parse([*LISTEN, "--otlp-metrics", url]).otlp == sent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to watch: give --traces URL to read a backend, or --listen HOST:PORT to take spans"),
        ([*LISTEN, "--traces", "http://a"], "--traces reads a backend and --listen takes spans: give one of them"),
        ([*LISTEN, "--traces-header", "A: b"], "are for a backend: give its URL to --traces"),
        (["--traces", "jaeger:16686"], "--traces: a backend's URL begins with http:// or https://"),
        ([*LISTEN, "--window", "30s"], "--window 30s is shorter than --step 60s: give a longer window"),
        ([*LISTEN, "--window", "10h", "--step", "1s"], "--window has more than 1,000 steps: give a longer --step"),
        ([*LISTEN, "--step", "0s"], "is zero"),
        ([*LISTEN, "--step", "1"], "'1' is not a duration"),
        (["--listen", "4317"], "--listen: '4317' has no port"),
        ([*LISTEN, "--metrics", "here"], "--metrics: 'here' has no port"),
        ([*LISTEN, "--max-bytes", "1MiB"], "the least is 16MiB"),
        ([*LISTEN, "--max-spans", "0"], "no whole number from 1 on"),
        ([*LISTEN, "--sampling", "10"], "write a share up to 1"),
        ([*LISTEN, "--otlp-metrics", "collector:4318"], "--otlp-metrics: write the URL of an OTLP receiver"),
        ([*LISTEN, "--otlp-metrics-header", "token-of-mine"], "write it as 'Name: value'"),
        ([*LISTEN, "--windows", "1m"], "did you mean --window?"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_is_right(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (2, 1)
    assert said in told
    assert "token-of-mine" not in told


def test_a_secret_is_read_from_a_file_and_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "header").write_text("Authorization: Bearer of-mine\n")
    options = parse([*LISTEN, "--otlp-metrics", "http://a", "--otlp-metrics-header", f"@{tmp_path}/header"])
    assert options.otlp_headers == (("Authorization", "Bearer of-mine"),)
