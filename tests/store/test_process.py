"""The store as a process: its options, its ports, its end, its bounds."""

import socket
import subprocess
import sys
import time

import pytest

from tests.store.calls import new_id, talk_parts
from tests.store.support import Part, export_request, running_store

PORTS = {"--http": "127.0.0.1:0", "--otlp-grpc": "127.0.0.1:0", "--otlp-http": "127.0.0.1:0"}
MIB = 1024**2


def start(options: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [word for pair in options.items() for word in pair]
    return subprocess.run(
        [sys.executable, "-m", "grpc_tracing", "store", *words], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("option", ["--http", "--otlp-grpc", "--otlp-http", "--zipkin"])
def test_a_taken_port_is_one_line_that_names_the_option(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = start(PORTS | {option: address})
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"grpc-tracing store: cannot listen on {address}: address already in use; {option} HOST:PORT chooses another"
    ]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--http", "16686", "--http: '16686' has no port: write HOST:PORT"),
        ("--http", "127.0.0.1:70000", "--http: port '70000' is out of range: use 0 to 65535"),
        ("--otlp-grpc", "::1:4317", "--otlp-grpc: '::1:4317' has no host: write HOST:PORT, or [ADDRESS]:PORT for IPv6"),
        ("--otlp-http", "256.1.1.1:0", "cannot listen on 256.1.1.1:0"),
        ("--otlp-grpc", "256.1.1.1:0", "cannot listen on 256.1.1.1:0"),
        ("--max-traces", "0", "no whole number from 1 on"),
        ("--max-bytes", "64", "--max-bytes: '64' is not a size: write one such as 64MiB or 1GiB"),
        ("--max-bytes", "1MiB", "the least is 16MiB"),
        (
            "--allowed-host",
            "http://a",
            "--allowed-host: 'http://a' is no name of a host: write one such as",
        ),
        ("--nothing", "1", "unrecognized arguments"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_what_is_right(option: str, value: str, said: str) -> None:
    ended = start(PORTS | {option: value})
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr


def test_it_listens_on_ipv6_and_on_a_port_for_zipkin() -> None:
    with running_store("--http", "[::1]:0", "--zipkin", "127.0.0.1:0") as store:
        assert store.http.startswith("[::1]:")
        assert store.health()["status"] == "serving"


def test_sigterm_ends_it_at_once_with_code_0_while_a_page_is_open() -> None:
    with running_store() as store, store.client.stream("GET", f"http://{store.http}/events") as events:
        assert next(events.iter_lines()) == "retry: 1000"
        begun = time.monotonic()
        store.process.terminate()
        assert store.process.wait(20) == 0
        assert time.monotonic() - begun < 10


@pytest.mark.full
@pytest.mark.parametrize("bound", ["--max-bytes", "--max-traces"])
def test_of_50000_spans_the_newest_traces_stay_whole_within_the_bound(bound: str) -> None:
    """The bound is what the process needs besides its own 80 MB or so: its growth stays below it."""
    options = {"--max-bytes": "24MiB", "--max-traces": "100000"} if bound == "--max-bytes" else {"--max-traces": "2000"}
    ids = [new_id(16) for _ in range(50_001 // 7 + 1)]
    with running_store(*[word for pair in options.items() for word in pair]) as store:
        before = store.memory()
        for at in range(0, len(ids), 70):
            batch = export_request(ids[at], talk_parts())
            for trace_id in ids[at + 1 : at + 70]:
                batch.MergeFrom(export_request(trace_id, talk_parts()))
            store.export(batch)
        store.get("/api/v3/services")
        health, grown = store.health(), store.memory() - before
        kept = health["traces"]
        assert [len(store.spans(trace_id)) for trace_id in (ids[-1], ids[-kept], ids[-kept - 1])] == [7, 7, 0]
    assert health["received"]["spans"] == len(ids) * 7
    assert health["spans"] == kept * 7
    assert health["dropped"] == {"traces": len(ids) - kept, "spans": (len(ids) - kept) * 7}
    assert health["bytes"] <= health["limits"]["bytes"]
    assert kept <= health["limits"]["traces"]
    assert grown < max(health["limits"]["bytes"], 48 * MIB), f"grew by {grown / MIB:.0f} MiB"


def test_a_trace_that_is_too_long_is_cut_and_says_so() -> None:
    trace_id = new_id(16)
    with running_store("--max-spans-per-trace", "1000") as store:
        store.export(export_request(trace_id, [Part("svc1", 2, new_id()) for _ in range(900)]))
        store.export(export_request(trace_id, [Part("svc1", 2, new_id()) for _ in range(900)]))
        assert len(store.spans(trace_id)) == 1000
        assert store.health()["dropped"] == {"traces": 0, "spans": 800}
