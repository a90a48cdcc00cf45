"""The one JSON object of a run."""

from client.call.run import Judged, Run
from client.call.verdict import Question, judge
from client.view.document import document
from grpc_tracing.evidence.records import Header
from tests.client.evidence import hop, outcome


def test_a_decision_that_only_a_later_version_knows_stands_as_its_number() -> None:
    call = outcome(hop("svc1", Header(key="x-lane", decision=9)))
    found = document(Run("127.0.0.1:1", (Judged(call, judge(call, Question(expected=("svc1",)))),)))
    assert found["calls"][0]["hops"][0]["headers"][1] == {"key": "x-lane", "value": "", "fate": "9"}
