"""What common tools make of a service by reflection and health alone, with their defaults."""

import json
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from talk.relay import SERVICES
from tests.support.processes import service

RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")
METHODS = [f"{name}/{rpc}" for name in SERVICES for rpc in RPCS]
ASKED = '{"data": "0", "meta": "TOOL"}'
OPERATION = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
EVERY = {*SERVICES, *OPERATION}

in_each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with service("svc3", tmp_path_factory.mktemp("last") / "log", listen="127.0.0.1:0") as last:
        yield last.addresses[0]


def need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: a tool of others, built by whoever wants to try it")


def ran(program: str, *words: str, code: int = 0) -> str:
    """What it says, on both outputs."""
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def grpcurl(*words: str) -> str:
    need("grpcurl")
    return ran("grpcurl", "-plaintext", *words)


def test_grpcurl_lists_every_service(target: str) -> None:
    assert set(grpcurl(target, "list").split()) == EVERY


def test_grpcurl_describes_every_service_and_each_symbol_in_it(target: str) -> None:
    for name in EVERY:
        assert f"{name} is a service:" in grpcurl(target, "describe", name)
        for method in grpcurl(target, "list", name).split():
            assert f"{method} is a method:" in grpcurl(target, "describe", method)
    for message in ("TalkRequest", "TalkResponse", "TalkResult"):
        symbol = f"org.feuyeux.grpc.{message}"
        assert f"{symbol} is a message:" in grpcurl(target, "describe", symbol)


@in_each_method
def test_grpcurl_calls_each_method(target: str, method: str) -> None:
    answer = json.loads(grpcurl("-d", ASKED, target, method))
    assert answer["results"][0]["kv"]["data"] == "Hello"


def curl(address: str, data: str, code: int = 0) -> str:
    need("buf")
    plain = ("--http2-prior-knowledge", "--protocol", "grpc")
    return ran("buf", "curl", *plain, "--data", data, f"http://{address}", code=code)


@in_each_method
def test_buf_curl_calls_each_method(target: str, method: str) -> None:
    assert json.loads(curl(f"{target}/{method}", ASKED))["results"][0]["kv"]["data"] == "Hello"


def test_buf_curl_asks_health_of_one_service_of_all_and_of_one_that_is_not_there(target: str) -> None:
    check = f"{target}/grpc.health.v1.Health/Check"
    assert json.loads(curl(check, json.dumps({"service": SERVICES[0]}))) == {"status": "SERVING"}
    listed = json.loads(curl(f"{target}/grpc.health.v1.Health/List", "{}"))
    assert EVERY | {""} == set(listed["statuses"])
    not_found = 8 * 5  # buf's exit code for a status
    assert "not_found" in curl(check, '{"service": "no.Such"}', code=not_found)


@in_each_method
def test_ghz_calls_each_method_with_its_defaults(target: str, method: str) -> None:
    need("ghz")
    told = json.loads(ran("ghz", "--insecure", "--call", method, "--data", ASKED, "--format", "json", target))
    assert told["statusCodeDistribution"] == {"OK": 200}


@pytest.mark.parametrize("name", ["", *SERVICES])
def test_the_health_probe_is_content_with_each_service(target: str, name: str) -> None:
    need("grpc-health-probe")
    assert "SERVING" in ran("grpc-health-probe", "-addr", target, "-service", name)


def test_the_health_probe_refuses_a_service_that_is_not_there(target: str) -> None:
    need("grpc-health-probe")
    refused = 3
    assert "NotFound" in ran("grpc-health-probe", "-addr", target, "-service", "no.Such", code=refused)


@pytest.fixture(scope="module")
def pages(target: str) -> Iterator[httpx.Client]:
    """grpcui's, which reads all descriptors before it serves any page."""
    need("grpcui")
    command = ("grpcui", "-plaintext", "-open-browser=false", "-port", "0", target)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        try:
            url = shown.stdout.readline().rpartition(" at ")[2].strip()
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield client
        finally:
            shown.kill()


def test_grpcui_shows_every_service_but_reflection_which_it_hides(pages: httpx.Client) -> None:
    page = pages.get("/").text
    assert {name for name in EVERY if f'value="{name}"' in page} == {*SERVICES, "grpc.health.v1.Health"}


@in_each_method
def test_grpcui_knows_the_fields_of_each_methods_request(pages: httpx.Client, method: str) -> None:
    told = pages.get("/metadata", params={"method": method.replace("/", ".")}).json()
    fields = {field["name"] for field in told["messageTypes"][told["requestType"]]}
    assert (fields, told["requestStream"]) == ({"data", "meta"}, "MoreAnswer" in method or "Bidirectional" in method)


@in_each_method
def test_grpcui_calls_each_method(pages: httpx.Client, method: str) -> None:
    pages.get("/")
    token = {"x-grpcui-csrf-token": pages.cookies["_grpcui_csrf_token"]}
    asked = {"metadata": [], "data": [json.loads(ASKED)]}
    told = pages.post(f"/invoke/{method.replace('/', '.')}", json=asked, headers=token).json()
    assert told["error"] is None
    assert told["responses"][0]["message"]["results"][0]["kv"]["data"] == "Hello"
