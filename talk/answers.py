"""What the last hop answers: greetings, and what it says to a request that asks for none of them."""

import time
import uuid

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from chain.greetings import GREETINGS, MOST_INDICES
from protos.landing_pb2 import OK, TalkRequest, TalkResponse, TalkResult


class RefusalError(Exception):
    """A request that cannot be answered, as the status that says so."""

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def parse(request: bytes) -> TalkRequest:
    """RefusalError INTERNAL, as gRPC documents it, for bytes that are no TalkRequest."""
    try:
        return TalkRequest.FromString(request)
    except DecodeError as error:
        raise RefusalError(grpc.StatusCode.INTERNAL, "the request is no TalkRequest: it does not parse") from error


def indices(request: bytes) -> list[str]:
    """The indices of a TalkOneAnswerMore, in order; RefusalError INVALID_ARGUMENT where there are too many."""
    data = parse(request).data
    if data.count(",") >= MOST_INDICES:
        raise invalid(f"has more than {MOST_INDICES} indices")
    return data.split(",")


def check(indices: list[str]) -> None:
    """RefusalError INVALID_ARGUMENT for the first that is no index: a stream is refused whole, not half way."""
    for index in indices:
        if index not in GREETINGS:
            raise _no_index(index)


def result(index: str) -> TalkResult:
    """The greeting of one index; RefusalError INVALID_ARGUMENT for what is no index."""
    greeting = GREETINGS.get(index)
    if greeting is None:
        raise _no_index(index)
    return TalkResult(
        id=int(time.time()),
        type=OK,
        kv={"id": str(uuid.uuid4()), "idx": index, "data": greeting, "meta": "PYTHON"},
    )


def answer(results: list[TalkResult]) -> bytes:
    return TalkResponse(status=200, results=results).SerializeToString()


def invalid(description: str) -> RefusalError:
    """INVALID_ARGUMENT with google.rpc.BadRequest details that name the field."""
    message = f"data: {description}"
    violation = error_details_pb2.BadRequest.FieldViolation(field="data", description=description)
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=message)
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, message, status.SerializeToString())


def _no_index(text: str) -> RefusalError:
    excerpt = text if len(text) <= 40 else f"{text[:40]}..."
    return invalid(f"{excerpt!a} is no index from 0 to {len(GREETINGS) - 1}")
