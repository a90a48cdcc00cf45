"""Bad input gets the status that the contract names, and the service serves the next call."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.greetings import GREETINGS
from protos import landing_pb2
from tests.support.processes import Chain, chain
from tests.support.stub import Stub, ask, connect

INVALID, INTERNAL = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain(tmp_path_factory.mktemp("chain")) as services:
        yield services


@pytest.fixture(scope="module")
def stub(running: Chain) -> Iterator[Stub]:
    with connect(running.target) as stub:
        yield stub


@pytest.fixture(autouse=True)
def _serves_the_next_call(stub: Stub, running: Chain) -> Iterator[None]:
    yield
    answer = landing_pb2.TalkResponse.FromString(stub.talk(ask("1"), timeout=20))
    assert (answer.status, answer.results[0].kv["data"]) == (200, "Bonjour")
    for name in ("svc1", "svc2", "svc3"):
        assert "Traceback" not in running[name].log.read_text()


def _refused(run: Any) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        run()
    return refused.value


@pytest.mark.parametrize("data", ["", "hello", "-1", "6", "1.0", " 1", "01", "0,1", "\uff11", "9" * 1000])
def test_what_is_no_index_is_an_invalid_argument_that_names_the_field(stub: Stub, data: str) -> None:
    request = ask(data)
    for run in (
        lambda: stub.talk(request, timeout=20),
        lambda: stub.talk_more_answer_one(iter([ask("0"), request]), timeout=20),
        lambda: list(stub.talk_bidirectional(iter([request]), timeout=20)),
    ):
        _assert_names_the_field(_refused(run))


@pytest.mark.parametrize("data", ["", "0,", ",", "0,6", "0;1", "0, 1"])
def test_a_list_with_what_is_no_index_is_refused_before_any_answer(stub: Stub, data: str) -> None:
    call = stub.talk_one_answer_more(ask(data), timeout=20)
    _assert_names_the_field(_refused(lambda: next(call)))


def test_too_many_indices_are_an_invalid_argument(stub: Stub) -> None:
    data = ",".join("0" * 1_000_001)
    _assert_names_the_field(_refused(lambda: list(stub.talk_one_answer_more(ask(data), timeout=60))))


@pytest.mark.full
def test_too_many_requests_are_an_invalid_argument_and_the_most_allowed_fit_one_answer(stub: Stub) -> None:
    most = 10_000
    answer = stub.talk_more_answer_one((ask("3") for _ in range(most)), timeout=60)
    assert len(landing_pb2.TalkResponse.FromString(answer).results) == most
    _assert_names_the_field(
        _refused(lambda: stub.talk_more_answer_one((ask("3") for _ in range(most + 1)), timeout=60))
    )


def _assert_names_the_field(error: Any) -> None:
    assert error.code() == INVALID
    status = rpc_status.from_call(error)
    assert status is not None
    details = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(details)
    assert [violation.field for violation in details.field_violations] == ["data"]


def test_a_message_above_the_limit_is_too_much(running: Chain) -> None:
    unlimited = -1
    with connect(running.target, max_send_message_length=unlimited) as big:
        assert _refused(lambda: big.talk(ask("0", "x" * 5_000_000), timeout=20)).code() == EXHAUSTED
        assert big.talk(ask("0", "x" * 4_000_000), timeout=20)


@pytest.mark.parametrize("size", [16_500, 40_000])
def test_metadata_above_the_limit_is_too_much(stub: Stub, size: int) -> None:
    metadata = [("baggage", "x" * size)]
    assert _refused(lambda: stub.talk(ask("0"), metadata=metadata, timeout=20)).code() == EXHAUSTED


def test_metadata_up_to_the_limit_always_passes(stub: Stub) -> None:
    for _ in range(50):  # between gRPC's default limits calls are refused at random
        assert stub.talk(ask("0"), metadata=[("baggage", "x" * 14_000)], timeout=20)


@pytest.mark.parametrize("pattern", ["talk", "talk_one_answer_more", "talk_more_answer_one", "talk_bidirectional"])
def test_bytes_that_do_not_parse_are_an_internal_error(stub: Stub, pattern: str) -> None:
    garbage = b"\x0a\xff\xff"
    request = iter([garbage]) if pattern in ("talk_more_answer_one", "talk_bidirectional") else garbage
    call: Any = getattr(stub, pattern)
    assert _refused(lambda: _consume(call(request, timeout=20))).code() == INTERNAL


def _consume(answer: Any) -> Any:
    return answer if isinstance(answer, bytes) else list(answer)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(request=st.one_of(st.binary(max_size=200), st.text(max_size=20).map(lambda text: b"\x0a" + _field(text))))
def test_random_bytes_get_an_answer_or_the_status_that_the_contract_names(stub: Stub, request: bytes) -> None:
    try:
        code = stub.talk.with_call(request, timeout=20)[1].code()
    except grpc.RpcError as error:
        code = error.code()
    assert code in _expected(request)


def _field(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw if len(raw) < 128 else b"\x00"


def _expected(request: bytes) -> tuple[grpc.StatusCode, ...]:
    try:
        data = landing_pb2.TalkRequest.FromString(request).data
    except Exception:
        return (INTERNAL,)
    return (grpc.StatusCode.OK,) if data in GREETINGS else (INVALID,)
