"""A last service that is not ours, as a program: it answers by the contract and leaves no record."""

import os
import threading

from tests.support.leaf import Leaf, serve


def _answer(data: str) -> bytes:
    from chain.greetings import GREETINGS
    from protos.landing_pb2 import OK, TalkResponse, TalkResult

    results = [
        TalkResult(id=1, type=OK, kv={"id": "a-uuid", "idx": one, "data": GREETINGS[one], "meta": "OTHER"})
        for one in data.split(",")
    ]
    return TalkResponse(status=200, results=results).SerializeToString()


def main() -> None:
    """Serves on TALK_LISTEN until it is ended."""
    from protos.landing_pb2 import TalkRequest

    def asked(request: bytes) -> str:
        return TalkRequest.FromString(request).data

    leaf = Leaf()
    leaf.talk = lambda request, _: _answer(asked(request))
    leaf.talk_one_answer_more = lambda request, _: [_answer(one) for one in asked(request).split(",")]
    leaf.talk_more_answer_one = lambda requests, _: _answer(",".join(map(asked, requests)))
    leaf.talk_bidirectional = lambda requests, _: (_answer(asked(request)) for request in requests)
    with serve(os.environ["TALK_LISTEN"], leaf):
        threading.Event().wait()


if __name__ == "__main__":
    main()
