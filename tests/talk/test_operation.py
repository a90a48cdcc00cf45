"""Health, reflection, channelz, TLS and the log line, as operators meet them."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from talk.config import NextHop
from talk.relay import SERVICES, channel_options
from tests.client.certificates import issue
from tests.support.leaf import Leaf, serve
from tests.support.processes import ROOT, environment, service
from tests.support.stub import Stub, ask, connect
from tests.support.waiting import wait_for
from tests.talk.conftest import TwoHops

SERVING = health_pb2.HealthCheckResponse.SERVING
T32 = "4bf92f3577b34da6a3ce929d0e0e4736"


def health(stub: Stub) -> Any:
    return health_pb2_grpc.HealthStub(stub.channel)


@pytest.mark.parametrize("name", ["", *SERVICES])
def test_health_answers_for_the_whole_and_for_both_names(stub: Stub, name: str) -> None:
    request = health_pb2.HealthCheckRequest(service=name)
    assert health(stub).Check(request, timeout=20).status == SERVING
    watch = health(stub).Watch(request, timeout=20)
    assert next(watch).status == SERVING
    watch.cancel()


def test_health_of_a_service_that_is_not_there_is_not_found(stub: Stub) -> None:
    request = health_pb2.HealthCheckRequest(service="no.Such")
    with pytest.raises(grpc.RpcError) as refused:
        health(stub).Check(request, timeout=20)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = health(stub).Watch(request, timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_health_lists_every_service(stub: Stub) -> None:
    messages: Any = health_pb2  # whose stubs lack List
    listed = health(stub).List(messages.HealthListRequest(), timeout=20).statuses
    assert {"", *SERVICES, "grpc.health.v1.Health"} <= set(listed)
    assert {one.status for one in listed.values()} == {SERVING}


in_both_versions = pytest.mark.parametrize("version", ["v1", "v1alpha"])
Question = reflection_pb2.ServerReflectionRequest


def reflect(stub: Stub, version: str, *questions: Question) -> list[reflection_pb2.ServerReflectionResponse]:
    ask_reflection: Any = stub.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        Question.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(ask_reflection(iter(questions), timeout=20))


@in_both_versions
def test_every_service_that_is_listed_is_described_and_healthy(stub: Stub, version: str) -> None:
    (listed,) = reflect(stub, version, Question(list_services=""))
    names = [one.name for one in listed.list_services_response.service]
    assert {*SERVICES, "grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health"} <= set(names)
    described = reflect(stub, version, *[Question(file_containing_symbol=name) for name in names])
    assert [name for name, one in zip(names, described, strict=True) if not defines(one, name)] == []
    for name in names:
        assert health(stub).Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == SERVING


def defines(answer: reflection_pb2.ServerReflectionResponse, service: str) -> bool:
    files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    return service in [f"{file.package}.{one.name}" for file in files for one in file.service]


@in_both_versions
@pytest.mark.parametrize(
    "symbol",
    [
        *[f"{name}.{rpc}" for name in SERVICES for rpc in ("Talk", "TalkOneAnswerMore", "TalkBidirectional")],
        "org.feuyeux.grpc.TalkRequest",
        "org.feuyeux.grpc.TalkRequest.data",
        "org.feuyeux.grpc.TalkResult.KvEntry",
        "org.feuyeux.grpc.ResultType",
        "org.feuyeux.grpc.OK",
        "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
        "grpc.reflection.v1.ServerReflectionRequest.host",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
    ],
)
def test_reflection_finds_the_file_of_a_symbol(stub: Stub, version: str, symbol: str) -> None:
    (found,) = reflect(stub, version, Question(file_containing_symbol=symbol))
    file = FileDescriptorProto.FromString(found.file_descriptor_response.file_descriptor_proto[0])
    assert symbol.startswith(f"{file.package}.")
    (again,) = reflect(stub, version, Question(file_by_filename=file.name))
    assert again.file_descriptor_response == found.file_descriptor_response


EXTENSION = reflection_pb2.ExtensionRequest(containing_type="org.feuyeux.grpc.TalkRequest", extension_number=100)
UNKNOWN = [
    Question(file_containing_symbol="org.feuyeux.grpc.Nope"),
    Question(file_containing_symbol="org.feuyeux.grpc.LandingService.Nope"),
    Question(file_containing_symbol="Nope"),
    Question(file_containing_symbol=""),
    Question(file_by_filename="nope.proto"),
    Question(file_containing_extension=EXTENSION),
    Question(all_extension_numbers_of_type="org.feuyeux.grpc.Nope"),
]


@in_both_versions
def test_reflection_says_not_found_and_goes_on(stub: Stub, version: str) -> None:
    *unknown, extensions = reflect(
        stub, version, *UNKNOWN, Question(all_extension_numbers_of_type=EXTENSION.containing_type)
    )
    assert [one.error_response.error_code for one in unknown] == [grpc.StatusCode.NOT_FOUND.value[0]] * len(UNKNOWN)
    assert list(extensions.all_extension_numbers_response.extension_number) == []
    assert extensions.all_extension_numbers_response.base_type_name == EXTENSION.containing_type


def test_channelz_is_served_where_it_is_asked_for(hops: TwoHops, stub: Stub) -> None:
    channelz: Any = channelz_pb2_grpc.ChannelzStub(stub.channel)
    assert channelz.GetServers(channelz_pb2.GetServersRequest(), timeout=20).server
    with connect(hops.svc2.addresses[0]) as other:
        without: Any = channelz_pb2_grpc.ChannelzStub(other.channel)
        with pytest.raises(grpc.RpcError) as refused:
            without.GetServers(channelz_pb2.GetServersRequest(), timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_hop_pings_more_rarely_than_any_server_forbids() -> None:
    # gRFC A8: by default a server answers pings closer together than 5 minutes with too_many_pings.
    options = dict(channel_options(NextHop("dns:///a:1", "a", None, retry=False, http_proxy=False)))
    assert options["grpc.keepalive_time_ms"] > 300_000


def test_several_addresses_are_called_in_turn(tmp_path: Path) -> None:
    leaves = [Leaf(), Leaf()]
    leaves[0].talk = lambda *_: b"0"
    leaves[1].talk = lambda *_: b"1"
    with (
        serve("127.0.0.1:0", leaves[0]) as first,
        serve("127.0.0.1:0", leaves[1]) as second,
        service("svc2", tmp_path / "log", listen="[::1]:0", next_hop=f"ipv4:{first},{second}") as svc2,
        connect(svc2.addresses[0]) as stub,
    ):
        wait_for(lambda: {stub.talk(ask("0"), timeout=20) for _ in range(4)} == {b"0", b"1"}, "both are called")
        assert sorted(stub.talk(ask("0"), timeout=20) for _ in range(10)) == [b"0"] * 5 + [b"1"] * 5


def test_a_taken_address_is_refused_in_one_line(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as holder,
        service("svc3", tmp_path / "log", listen=f"unix:{tmp_path}/s") as live,
    ):
        assert live.addresses
        for address in (f"127.0.0.1:{holder.getsockname()[1]}", f"unix:{tmp_path}/s"):
            ended = subprocess.run(
                [sys.executable, "-m", "svc3"],
                env=environment({"TALK_LISTEN": address}),
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ended.returncode == 2
            assert ended.stderr.startswith(f"cannot listen on {address}")
            assert len(ended.stderr.splitlines()) == 1
        with connect(f"unix:{tmp_path}/s") as stub:
            assert stub.talk(ask("0"), timeout=20)


def test_two_services_on_one_port_never_share_the_calls(tmp_path: Path) -> None:
    with (
        service("svc3", tmp_path / "1", listen="127.0.0.1:0") as first,
        service("svc3", tmp_path / "2", listen=first.addresses[0]) as second,
    ):
        assert second.process.wait(30) == 2


def test_mutual_tls_between_hops_and_never_plaintext(tmp_path: Path) -> None:
    near, far, stranger = (issue(tmp_path, name) for name in ("svc2", "svc3", "stranger"))
    last = {"tls_cert": far.cert, "tls_key": far.key, "tls_client_ca": near.ca}
    onward = {"next_hop_ca": far.ca, "next_hop_authority": "svc3"}
    certificate = {"next_hop_cert": near.cert, "next_hop_key": near.key}
    cases: list[tuple[dict[str, str], str]] = [
        (onward | certificate, "OK"),
        (onward, "UNAVAILABLE"),
        (onward | {"next_hop_cert": stranger.cert, "next_hop_key": stranger.key}, "UNAVAILABLE"),
        (onward | certificate | {"next_hop_ca": stranger.ca}, "UNAVAILABLE"),
        (onward | certificate | {"next_hop_authority": "another"}, "UNAVAILABLE"),
        ({}, "UNAVAILABLE"),
    ]
    with service("svc3", tmp_path / "3.log", listen="127.0.0.1:0", **last) as svc3:
        target = f"dns:///{svc3.addresses[0]}"
        for number, (settings, code) in enumerate(cases):
            log = tmp_path / f"{number}.log"
            with (
                service("svc2", log, listen="127.0.0.1:0", next_hop=target, **settings) as svc2,
                connect(svc2.addresses[0]) as stub,
            ):
                assert _code(stub) == code, settings


def _code(stub: Stub) -> str:
    try:
        return str(stub.talk.with_call(ask("0"), timeout=20)[1].code().name)
    except grpc.RpcError as error:
        return str(error.code().name)


def test_logs_are_one_json_line_per_finished_call_and_headers_never_break_it(tmp_path: Path) -> None:
    with service("svc3", tmp_path / "log", listen="127.0.0.1:0") as svc3, connect(svc3.addresses[0]) as stub:
        metadata = [
            ("traceparent", f"00-{T32}-00f067aa0ba902b7-01"),
            ("x-forwarded-client-cert", 'URI=spiffe://a"}\\n{"x":"y'),
        ]
        list(stub.talk_bidirectional(iter([ask("0"), ask("1")]), metadata=metadata, timeout=20))
        with pytest.raises(grpc.RpcError):
            stub.talk(ask("9"), timeout=20)
        calls = wait_for(lambda: _two([line for line in svc3.lines() if "rpc" in line]), "two calls are logged")
    first, second = calls
    assert {key: first[key] for key in ("service", "rpc", "code", "messages_in", "messages_out", "trace_id")} == {
        "service": "svc3",
        "rpc": f"/{SERVICES[0]}/TalkBidirectional",
        "code": "OK",
        "messages_in": 2,
        "messages_out": 2,
        "trace_id": T32,
    }
    assert first["duration_ms"] > 0
    assert first["peer"].startswith("spiffe://a")
    assert (second["code"], second["messages_out"], second["trace_id"]) == ("INVALID_ARGUMENT", 0, "")


def _two(lines: list[Any]) -> list[Any]:
    return lines if len(lines) == 2 else []


@pytest.mark.parametrize(("log_format", "lines"), [("text", 1), ("off", 0)])
def test_logs_may_be_text_or_off(tmp_path: Path, log_format: str, lines: int) -> None:
    socket_path = f"unix:{tmp_path}/s"
    with (
        service("svc3", tmp_path / "log", listen=socket_path, log_format=log_format) as svc3,
        connect(socket_path) as stub,
    ):
        wait_for(lambda: _answers(stub), "svc3 answers")
        assert svc3.stop() == 0
        said = [line for line in svc3.log.read_text().splitlines() if "code=OK" in line]
    assert len(said) >= lines
    assert bool(said) == bool(lines)
    for line in said:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)


def _answers(stub: Stub) -> bool:
    try:
        return bool(stub.talk(ask("0"), timeout=20))
    except grpc.RpcError:
        return False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to write to")
def test_a_full_standard_error_costs_lines_and_no_call(tmp_path: Path) -> None:
    socket_path = f"unix:{tmp_path}/s"
    variables = environment({"TALK_LISTEN": socket_path})
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen([sys.executable, "-m", "svc3"], stderr=full, env=variables, cwd=ROOT)
    try:
        with connect(socket_path) as stub:
            wait_for(lambda: _answers(stub), "svc3 answers")
            for _ in range(100):
                assert stub.talk(ask("0"), timeout=20)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_standard_error_that_nobody_reads_costs_lines_and_no_call(tmp_path: Path) -> None:
    socket_path = f"unix:{tmp_path}/s"
    process = subprocess.Popen(
        [sys.executable, "-m", "svc3"],
        stderr=subprocess.PIPE,
        env=environment({"TALK_LISTEN": socket_path}),
        cwd=ROOT,
    )
    try:
        with connect(socket_path) as stub:
            wait_for(lambda: _answers(stub), "svc3 answers")
            for _ in range(600):  # a pipe holds 64 KiB
                assert stub.talk(ask("0"), timeout=20)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
