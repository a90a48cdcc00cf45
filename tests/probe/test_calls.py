"""`grpc-tracing check` against services of somebody else's: what it sends, what it shows, how it fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from grpc_tracing.commands.check import main
from tests.client.certificates import issue
from tests.probe.shop import ECHO, PROTO, described, files, handlers, lying, never, reflecting
from tests.support.server import grpc_server

UNPROVEN = 3
"""The code of a call that worked and of which no spans were read."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with grpc_server(handlers(), reflecting()) as target:
        yield target


def answers(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    found: list[Any] = json.loads(capsys.readouterr().out)["calls"][0]["answers"]
    return found


ITEM = {"name": "one", "count": "5", "part": {"sizes": [1, 2]}, "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("method", "sent", "got"),
    [
        ("One", [ITEM], [ITEM]),
        ("Give", [ITEM], [ITEM, ITEM]),
        ("Take", [{"name": "a"}, {"count": 2}], [{"name": "a", "count": "2"}]),
        ("Both", [{"name": "a"}, {"name": "b"}], [{"name": "a"}, {"name": "b"}]),
    ],
)
def test_each_pattern_takes_json_and_gives_json(
    shop: str, capsys: pytest.CaptureFixture[str], method: str, sent: list[Any], got: list[Any]
) -> None:
    text = "\n".join(map(json.dumps, sent))
    assert main([shop, f"{ECHO}/{method}", "-d", text, "--json"]) == UNPROVEN
    assert answers(capsys) == got


def test_each_call_brings_a_trace_and_a_request_id_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[dict[str, Any]] = []
    with grpc_server(handlers(heard), reflecting()) as target:
        main([target, f"{ECHO}/One", "--repeat", "3", "-H", "x-lane: canary", "-H", "raw-bin: AAEC", "--json"])
    calls = json.loads(capsys.readouterr().out)["calls"]
    sent = {(one["trace_id"], one["request_id"]) for one in calls}
    got = {(one["traceparent"].split("-")[1], one["x-request-id"]) for one in heard}
    assert len(got) == 3
    assert got == sent
    assert all(one["x-b3-traceid"] in one["traceparent"] and one["traceparent"].endswith("-01") for one in heard)
    assert {(one["x-lane"], one["raw-bin"]) for one in heard} == {("canary", b"\x00\x01\x02")}


def test_without_data_an_empty_message_goes_and_a_line_says_so(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop, f"{ECHO}/One", "--json"]) == UNPROVEN
    got = capsys.readouterr()
    assert json.loads(got.out)["calls"][0]["answers"] == [{}]
    assert "One gets an empty Item" in got.err


def test_data_may_stand_in_a_file(shop: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text('{"name": "in a file"}')
    assert main([shop, f"{ECHO}/One", "-d", f"@{tmp_path}/item.json", "--json"]) == UNPROVEN
    assert answers(capsys) == [{"name": "in a file"}]


def test_a_stream_without_end_is_stopped_after_so_many_messages(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop, f"{ECHO}/Forever", "--max-messages", "7", "--json"]) == UNPROVEN
    (call,) = json.loads(capsys.readouterr().out)["calls"]
    assert (call["stopped"], len(call["answers"]), call["verdict"]) == (True, 7, "unproven")


def test_a_stream_without_end_is_stopped_by_its_deadline(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop, f"{ECHO}/Forever", "--max-messages", "99999999", "--timeout", "300ms"]) == 1
    assert "failed: the call did not end OK" in capsys.readouterr().out


def test_a_status_other_than_ok_is_a_failed_call(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop, f"{ECHO}/Fail"]) == 1
    assert "NOT_FOUND: no such item" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", [("--proto", str(PROTO)), ("--proto", str(PROTO), "-I", str(PROTO.parent)), ("--protoset", "{protoset}")]
)
def test_a_service_without_reflection_is_called_by_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: tuple[str, ...]
) -> None:
    (tmp_path / "shop.protoset").write_bytes(FileDescriptorSet(file=described()).SerializeToString())
    words = [word.format(protoset=tmp_path / "shop.protoset") for word in option]
    with grpc_server(handlers()) as target:
        assert main([target, f"{ECHO}/One", "-d", '{"name": "a"}', "--json", *words]) == UNPROVEN
    assert answers(capsys) == [{"name": "a"}]


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_and_mutual_tls(capsys: pytest.CaptureFixture[str], tmp_path: Path, mutual: bool) -> None:
    pki = issue(tmp_path, "shop.example")
    pair = (Path(pki.key).read_bytes(), Path(pki.cert).read_bytes())
    ca = Path(pki.ca).read_bytes()
    credentials = grpc.ssl_server_credentials([pair], ca if mutual else None, require_client_auth=mutual)
    own = ("--cert", pki.cert, "--key", pki.key) if mutual else ()
    with grpc_server(handlers(), reflecting(), credentials=credentials) as target:
        arguments = [target, f"{ECHO}/One", "--tls", "--ca", pki.ca, "--authority", "shop.example"]
        assert main([*arguments, *own, "--json"]) == UNPROVEN
        assert answers(capsys) == [{}]
        assert main([target, f"{ECHO}/One", "--tls", "--timeout", "2s"]) == 2
    assert "nothing answers" in capsys.readouterr().err


WRONG = [
    ([f"{ECHO}/Onne"], f"{ECHO} has no method Onne; did you mean One"),
    (["shop.v1.Ecco/One"], "it serves no shop.v1.Ecco; did you mean shop.v1.Echo"),
    ([f"{ECHO}/One", "-d", '{"nme": 1}'], "nme: no such field of shop.v1.Item: it has name, count, part, at, sizes"),
    ([f"{ECHO}/One", "-d", '{"part": {"part": {"count": "x"}}}'], "part.part.count: "),
    ([f"{ECHO}/One", "-d", '{"part": {"nme": 1}}'], "part.nme: no such field"),
    ([f"{ECHO}/Take", "-d", '{"name": "a"} {"name": 7}'], "message 2: name: "),
    ([f"{ECHO}/One", "-d", "[]"], "a shop.v1.Item is a JSON object"),
    ([f"{ECHO}/One", "-d", "{"], "no JSON at line 1, column 2"),
    ([f"{ECHO}/One", "-d", "{}{}"], "One takes one message, and here are 2"),
    ([f"{ECHO}/One", "-d", "[" * 100_000], "nested too deeply"),
    ([f"{ECHO}/One", "-d", "@nowhere"], "-d @nowhere: no such file"),
    ([f"{ECHO}/One", "--protoset", "nowhere"], "--protoset nowhere: no such file"),
    ([f"{ECHO}/One", "--protoset", __file__], "it is no protoset"),
    ([f"{ECHO}/One", "--proto", "nowhere"], "--proto nowhere: there is no such file"),
    ([f"{ECHO}/One", "-H", "traceparent: x"], "leave it out"),
    ([f"{ECHO}/One", "-H", "X-Lane: x"], "write x-lane"),
    ([f"{ECHO}/One", "--expect", "a,b"], "--expect needs --traces"),
    ([f"{ECHO}/One", "--ca", "x"], "add --tls"),
    ([f"{ECHO}/One", "--traces", "jaeger:16686"], "begins with http"),
    ([f"{ECHO}/One", "--traces", "http://x", "--expect-file", __file__], "it is not what --save writes"),
    ([f"{ECHO}/One", "--timeout", "x"], "is not a duration"),
    ([f"{ECHO}/One", "--junit", "/nowhere/a.xml"], "/nowhere/a.xml: cannot be written"),
    (["One"], "write package.Service/Method"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_does_not_fit_is_one_line_that_names_the_fix(
    shop: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    try:
        code = main([shop, *arguments])
    except SystemExit as ended:
        code = int(str(ended.code))
    got = capsys.readouterr()
    assert (code, got.out) == (2, ""), got
    assert said in got.err
    assert got.err.count("\n") == 1


def _loop(asked: ServerReflectionRequest) -> Iterator[bytes]:
    other = "b.proto" if asked.file_by_filename != "b.proto" else "a.proto"
    name = asked.file_by_filename or "a.proto"
    yield files(FileDescriptorProto(name=name, package="shop.v1", dependency=[other]))


def _endless(asked: ServerReflectionRequest, numbers: Iterator[int] = count()) -> Iterator[bytes]:  # noqa: B008
    yield files(FileDescriptorProto(name=asked.file_by_filename or "0", dependency=[f"{next(numbers)}.proto"]))


def _garbage(_: ServerReflectionRequest) -> Iterator[bytes]:
    yield b"\xff\xff\xff"


def _no_descriptor(_: ServerReflectionRequest) -> Iterator[bytes]:
    yield b"\x22\x04\x0a\x02\xff\xff"


def _another(_: ServerReflectionRequest) -> Iterator[bytes]:
    yield files(FileDescriptorProto(name="other.proto", package="other"))


def _nothing(_: ServerReflectionRequest) -> Iterator[bytes]:
    yield files()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_loop, "imports itself"),
        pytest.param(_endless, "does not come to an end", marks=pytest.mark.full),
        (_garbage, "answers with something else"),
        (_no_descriptor, "gives a file that is no descriptor"),
        (_another, "no descriptor of service shop.v1.Echo"),
        (_nothing, "it serves no shop.v1.Echo"),
        (never, "its reflection ends"),
    ],
    ids=["a loop", "without end", "garbage", "no descriptor", "another service", "nothing", "never"],
)
def test_a_reflection_that_lies_is_one_line_and_2(capsys: pytest.CaptureFixture[str], answer: Any, said: str) -> None:
    with grpc_server(handlers(), lying(answer)) as target:
        assert main([target, f"{ECHO}/One", "--timeout", "1s" if answer is never else "60s"]) == 2
    assert re.fullmatch(rf"grpc-tracing check: [^\n]*{re.escape(said)}[^\n]*\n", capsys.readouterr().err)


def test_a_service_without_reflection_and_files_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with grpc_server(handlers()) as target:
        assert main([target, f"{ECHO}/One"]) == 2
    assert "it has no reflection: give --protoset FILE or --proto FILE" in capsys.readouterr().err


def test_where_nobody_listens_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1", f"{ECHO}/One"]) == 2
    assert "nothing answers at 127.0.0.1:1" in capsys.readouterr().err


def test_junit_has_a_case_for_each_call(shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shop, f"{ECHO}/Fail", "--repeat", "2", "--junit", str(tmp_path / "j.xml")]) == 1
    assert 'tests="2" failures="2" errors="0"' in (tmp_path / "j.xml").read_text()
    assert capsys.readouterr().out


def test_it_needs_no_numpy() -> None:
    """Its extra brings none."""
    code = "import sys; sys.modules['numpy'] = None; import grpc_tracing.commands.check"
    subprocess.run([sys.executable, "-c", code], check=True)
