"""`client call` against real services: its verdict, its exit code, and what it prints."""

import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from grpc_tracing.evidence.causes import CAUSES
from tests.client.run import client
from tests.client.terminal import client_on_terminal
from tests.support.processes import ROOT, Chain, chain, environment, service
from tests.support.server import grpc_server

ALL_RPCS = ["Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional"]
PATH = ["svc1", "svc2", "svc3"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


def test_all_four_patterns_are_connected(whole: Chain) -> None:
    ended = client("call", "--target", whole.target, "--json")
    assert ended.code == 0, ended
    assert set(ended.json) == {"verdict", "target", "calls", "problems"}
    assert (ended.json["verdict"], ended.json["target"], ended.json["problems"]) == ("connected", whole.target, [])
    assert [call["rpc"] for call in ended.json["calls"]] == ALL_RPCS
    assert [call["answers"] for call in ended.json["calls"]] == [1, 3, 3, 3]
    for call in ended.json["calls"]:
        expected = {"status": "OK", "verdict": "connected", "path": PATH, "traces": 1, "problems": []}
        assert {key: call[key] for key in expected} == expected
        assert (call["spans"], call["edges"]) == (None, None)
        assert {hop["trace_id"] for hop in call["hops"]} == {call["trace_id"]}
        assert len(call["trace_id"]) == 32
        assert [hop["service"] for hop in call["hops"]] == PATH


def test_the_document_has_the_keys_of_the_contract_and_no_others(whole: Chain) -> None:
    (call,) = client("call", "--target", whole.target, "--json", "--rpc", "Talk").json["calls"]
    assert list(call) == [
        *("rpc", "status", "verdict", "answers", "duration_ms", "path", "trace_id", "traces", "spans", "edges"),
        *("hops", "links", "problems"),
    ]


def test_each_header_of_the_users_arrives_whole_and_in_order(whole: Chain) -> None:
    sent = [
        "baggage: a=1",
        "baggage: b=2",
        "tracestate: x=1",
        "tracestate: y=2",
        "x-lane: canary",
        "sw8: 1-dA==-cw==-0-c3Zj-aQ==-ZQ==-aDo5",
    ]
    arguments = [word for header in [*sent, "authorization: secret"] for word in ("-H", header)]
    ended = client("call", "--target", whole.target, "--json", "--rpc", "Talk", *arguments)
    assert ended.code == 0, ended
    arrived = [f"{header['key']}: {header['value']}" for header in ended.json["calls"][0]["hops"][2]["headers"]]
    for key in ("baggage", "tracestate", "x-lane", "sw8"):
        assert [one for one in arrived if one.startswith(f"{key}:")] == [
            one for one in sent if one.startswith(f"{key}:")
        ]
    assert "authorization went no further than svc1 (refused there)" in ended.err


def test_a_long_and_a_binary_header_are_compared_by_digest(tmp_path: Path) -> None:
    also = {"propagate_also": "x-long,blob-bin"}
    with chain(tmp_path, svc1=also, svc2=also, svc3=also) as running:
        ended = client(
            *("call", "--target", running.target, "--json", "--rpc", "Talk"),
            *("-H", f"x-long: {'v' * 4096}", "-H", "blob-bin: AAH/"),
        )
    assert ended.code == 0, ended
    assert ended.err.count("note:") == 1, ended.err  # only that it began the trace itself
    headers = {header["key"]: header for header in ended.json["calls"][0]["hops"][2]["headers"]}
    assert headers["blob-bin"]["value"] == "AAH/"
    assert headers["x-long"]["length"] == 4096


def test_it_repeats_each_call(whole: Chain) -> None:
    ended = client("call", "--target", whole.target, "--json", "--repeat", "3")
    assert [call["rpc"] for call in ended.json["calls"]] == ALL_RPCS * 3
    assert len({call["trace_id"] for call in ended.json["calls"]}) == 12


def test_a_proxy_in_the_environment_is_not_asked(whole: Chain) -> None:
    dead = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1", "grpc_proxy": "http://127.0.0.1:1"}
    assert client("call", "--target", whole.target, "--rpc", "Talk", env=dead).code == 0


BROKEN: list[tuple[Mapping[str, Mapping[str, str]], list[str]]] = [
    ({"svc2": {"propagate": "none"}}, ["svc2 received traceparent", "(its propagation is set to none)"]),
    ({"svc1": {"propagate": "b3,x-request-id"}}, ["svc1 received traceparent and did not forward it", "its own list"]),
]


@pytest.mark.parametrize(("settings", "words"), BROKEN)
def test_a_broken_trace_names_who_broke_it(
    tmp_path: Path, settings: Mapping[str, Mapping[str, str]], words: list[str]
) -> None:
    with chain(tmp_path, **settings) as running:
        ended = client("call", "--target", running.target)
    assert ended.code == 1, ended
    line = next(line for line in ended.out.splitlines() if words[0] in line)
    assert all(word in line for word in words)
    assert "broken: 4 of 4 calls" in ended.out


def test_without_records_and_spans_nothing_is_shown(tmp_path: Path) -> None:
    with chain(tmp_path, **{name: {"hop_records": "off"} for name in PATH}) as running:
        ended = client("call", "--target", running.target)
    assert ended.code == 3, ended
    assert "unproven: 4 of 4 calls" in ended.out
    assert "no hop left a record, so nothing shows where the trace went: give --traces [no-records]" in ended.out


def test_a_cause_is_explained_as_the_guide_does() -> None:
    told = client("explain", "not-forwarded")
    assert told.code == 0
    assert "helps: let the hop copy every trace header" in told.out
    assert client("explain", "[not-forwarded]").out == told.out, "pasted from a line"


def test_without_a_cause_all_are_listed_in_a_line_each() -> None:
    told = client("explain")
    assert told.code == 0
    assert [line.partition(" ")[0] for line in told.out.splitlines()] == list(CAUSES)


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("not-forwardd", "did you mean not-forwarded or no-header-forwarded?"),
        ("sidecar", "did you mean around-the-sidecar?"),
        ("forwarded", "did you mean not-forwarded or no-header-forwarded?"),
        ("zzz", "client explain lists them"),
        ("", "client explain lists them"),
    ],
)
def test_an_unknown_cause_is_exit_code_2_with_the_near_words(typed: str, fix: str) -> None:
    told = client("explain", typed)
    assert (told.code, told.out) == (2, "")
    assert told.err == f"client: {typed!r} is not a cause: {fix}\n"


def test_a_file_of_spans_that_is_cut_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "spans.json"
    file.write_text('{"resourceSpans": [{"scopeSpans": [')
    ended = client("call", "--traces", str(file))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "the JSON object that begins in line 1 is cut off" in ended.err


def test_svc2_with_propagation_off_is_broken_in_every_pattern(tmp_path: Path) -> None:
    with chain(tmp_path, svc2={"propagate": "none"}) as running:
        ended = client("call", "--target", running.target, "--json")
    assert (ended.code, ended.json["verdict"]) == (1, "broken")
    for call in ended.json["calls"]:
        assert (call["verdict"], call["status"], call["path"]) == ("broken", "OK", PATH)
        assert any(problem.startswith("svc2 received traceparent") for problem in call["problems"])
        assert not any(problem.startswith(("svc1", "svc3")) for problem in call["problems"])


def test_with_svc3_stopped_the_call_fails_and_the_records_before_it_are_shown(tmp_path: Path) -> None:
    with chain(tmp_path) as running:
        running["svc3"].stop()
        ended = client("call", "--target", running.target, "--json")
        shown = client("call", "--target", running.target)
    assert (ended.code, ended.json["verdict"]) == (1, "failed")
    for call in ended.json["calls"]:
        assert (call["status"], call["path"]) == ("UNAVAILABLE", ["svc1", "svc2"])
        assert call["problems"][0].startswith("UNAVAILABLE: svc2 -> svc3: ")
        assert call["hops"][2] == {"service": "svc3", "record": "unknown"}
    assert shown.code == 1
    assert "svc2 -> svc3" in shown.out


def test_a_hop_without_a_record_is_unknown_and_not_broken(tmp_path: Path) -> None:
    with chain(tmp_path, svc2={"hop_records": "off"}) as running:
        ended = client("call", "--target", running.target, "--json")
    assert (ended.code, ended.json["verdict"]) == (0, "connected")
    assert ended.json["calls"][0]["hops"][1] == {"service": "svc2", "record": "unknown"}
    assert "svc2 left no record: unknown" in ended.err


def test_a_report_without_a_trace_backend_shows_the_hops(tmp_path: Path, whole: Chain) -> None:
    report = tmp_path / "report.html"
    assert client("call", "--target", whole.target, "--rpc", "Talk", "--report", str(report)).code == 0
    assert all(name in report.read_text() for name in ("svc1", "svc2", "svc3", "connected"))


@pytest.mark.full
def test_a_report_that_cannot_be_written_costs_nobody_the_verdict(tmp_path: Path, whole: Chain) -> None:
    longest = "x" * 250 + ".html"  # as long as a file's name may be
    assert client("call", "--target", whole.target, "--rpc", "Talk", "--report", str(tmp_path / longest)).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [longest]
    # As on a full disk.
    no_room = f"ulimit -f 0; exec '{sys.executable}' -m client call --rpc Talk --target {whole.target} --report"
    command = ["sh", "-c", f'{no_room} "$0"', str(tmp_path / "report.html")]
    ended = subprocess.run(command, cwd=ROOT, env=environment({}), capture_output=True, text=True, check=False)
    assert (ended.returncode, "connected: " in ended.stdout) == (2, True)
    assert ended.stderr == f"client: --report {tmp_path}/report.html: File too large: name a file elsewhere\n"
    assert [path.name for path in tmp_path.iterdir()] == [longest], "no half of it"


def test_a_stream_that_is_refused_keeps_its_status() -> None:
    with grpc_server(threads=4) as target:
        ended = client("call", "--target", target, "--data", "0,1,2,3,4,5", "--repeat", "100", "--json")
    statuses = Counter((call["rpc"], call["status"]) for call in ended.json["calls"])
    assert statuses == {(rpc, "UNIMPLEMENTED"): 100 for rpc in ALL_RPCS}


def test_a_trace_id_that_no_hop_can_read_is_no_whole_trace(whole: Chain) -> None:
    upper = "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01"
    ended = client("call", "--target", whole.target, "--rpc", "Talk", "-H", upper)
    assert ended.code == 1
    assert "no hop received a trace id that can be read" in ended.out


def test_another_path_than_expected_is_broken(whole: Chain) -> None:
    ended = client("call", "--target", whole.target, "--expect", "svc1,svc3,svc2", "--rpc", "Talk")
    assert ended.code == 1
    assert "the path was svc1, svc2, svc3, expected svc1, svc3, svc2" in ended.out


USAGE: list[tuple[list[str], str]] = [
    ([], "see client --help"),
    (["dance"], "see client --help"),
    (["call", "--speed", "9"], "unrecognized arguments: --speed"),
    (["call", "--rpc", "Sing"], "invalid choice: 'Sing'"),
    (["call", "--target", "localhost"], "write HOST:PORT"),
    (["call", "--timeout", "5"], "write a number with ms, s, m or h"),
    (["call", "--wait", "x"], "--wait: 'x' is not a duration"),
    (["call", "--concurrency", "0"], "--concurrency '0': write a whole number from 1 to 1000"),
    (["call", "--require", ""], "--require '': write header keys"),
    (["call", "--service", "nope"], "invalid choice: 'nope'"),
    (["call", "--data", "9"], "write indices from 0 to 5"),
    (["call", "--repeat", "0"], "write a whole number from 1"),
    (["call", "--expect", "svc1,"], "write names separated by commas"),
    (["call", "-H", "X-Lane: 1"], "write x-lane"),
    (["call", "--traces", "127.0.0.1:16686"], "write a URL such as"),
    (["call", "--report", "/nowhere/report.html"], "name a file in a folder that is there"),
    (["call", "-H", "grpc-trace: 1"], "gRPC sets grpc-trace itself"),
    (["call", "--ca", "/nowhere"], "add --tls"),
    (["call", "--tls", "--ca", "/nowhere"], "--ca /nowhere: No such file or directory"),
    (["call", "--tls", "--cert", "/nowhere"], "--cert goes with --key"),
]


@pytest.mark.parametrize(("arguments", "fix"), USAGE)
def test_wrong_usage_is_exit_code_2_and_one_line(arguments: list[str], fix: str) -> None:
    ended = client(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert fix in ended.err
    assert ended.err.count("\n") == 1


def test_nothing_that_answers_is_exit_code_2() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # never listens: refused
        ended = client("call", "--target", f"127.0.0.1:{held.getsockname()[1]}")
    assert (ended.code, ended.out) == (2, "")
    assert "nothing answers at 127.0.0.1:" in ended.err
    assert "Connection refused" in ended.err
    assert ended.err.count("\n") == 1


def test_a_listener_that_says_nothing_is_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ended = client("call", "--target", f"127.0.0.1:{mute.getsockname()[1]}", "--timeout", "300ms")
    assert (ended.code, ended.out) == (2, "")
    assert "within 0.3s" in ended.err


def test_a_name_that_does_not_resolve_is_what_it_says() -> None:
    ended = client("call", "--target", "lb.invalid:9999")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("client: nothing answers at lb.invalid:9999: the name does not resolve (")
    assert ended.err.count("\n") == 1


def test_a_dns_server_that_says_nothing_is_what_it_says() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        target = f"dns://127.0.0.1:{mute.getsockname()[1]}/lb.example:9999"
        ended = client("call", "--target", target, "--timeout", "1s")
    assert (ended.code, ended.out) == (2, "")
    said = f"client: nothing answers at {target}: the name does not resolve (no DNS server answered)\n"
    assert ended.err == said


@contextmanager
def one_service(folder: Path, **settings: str) -> Iterator[str]:
    """svc3 alone, answering by itself."""
    with service("svc3", folder / "svc3.log", listen="127.0.0.1:0", **settings) as running:
        yield running.addresses[0]


def test_a_chain_that_ends_too_early_is_broken(tmp_path: Path) -> None:
    with one_service(tmp_path) as target:
        ended = client("call", "--target", target, "--expect", "svc3,svc4", "--rpc", "Talk")
    assert ended.code == 1
    assert "svc3 answered by itself, expected svc4 after it" in ended.out


def test_a_reader_that_goes_away_is_no_traceback(whole: Chain) -> None:
    command = [sys.executable, "-m", "client", "call", "--target", whole.target]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment({})
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        told = process.stderr.read()
        process.wait(60)
    assert b"Traceback" not in told
    assert b"BrokenPipe" not in told


def test_an_output_without_utf_8_is_no_traceback(whole: Chain) -> None:
    ended = client("call", "--target", whole.target, "--expect", "svc1,größer", env={"PYTHONIOENCODING": "ascii"})
    assert (ended.code, ended.err) == (1, "")
    assert r"expected svc1, gr\xf6\xdfer" in ended.out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_a_table_in_colour_that_fits(whole: Chain, columns: int) -> None:
    ended = client_on_terminal("call", "--target", whole.target, "--rpc", "Talk", columns=columns)
    assert ended.code == 0
    assert "\x1b[1;32mconnected\x1b[0m" in ended.shown
    assert "received" in ended.shown
    table = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", ended.shown).splitlines() if line.startswith(" ")]
    assert max(len(line) for line in table if "note:" not in line) <= columns


def test_no_color_is_honoured(whole: Chain) -> None:
    ended = client_on_terminal("call", "--target", whole.target, "--rpc", "Talk", env={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", ended.shown)
