"""A run as JUnit's XML: a case for each call and for each link, and what is wrong in the case that it is wrong in."""

from xml.etree import ElementTree

from client.call.run import Judged, Run
from client.call.verdict import Question, judge
from client.view.junit import junit
from grpc_tracing.evidence.causes import finding
from grpc_tracing.evidence.records import HopRecord
from tests.client.evidence import OTHER, TRACE, hop, outcome, traceparent

PATH = ("svc1", "svc2", "svc3")
ASKED = Question(expected=PATH)


def _cases(*hops: HopRecord) -> dict[str, tuple[str, str]]:
    """By name: what is beneath each case, and its message."""
    call = outcome(*hops)
    root = ElementTree.fromstring(junit(Run("127.0.0.1:1", (Judged(call, judge(call, ASKED)),))))  # noqa: S314 our own
    return {
        case.get("name", ""): next(((one.tag, one.get("message", "")) for one in case), ("", ""))
        for case in root.iter("testcase")
    }


def _hop(service: str, trace: str = TRACE) -> HopRecord:
    return hop(service, traceparent(trace), trace_id=trace)


def test_each_call_and_each_link_is_a_case() -> None:
    assert _cases(*map(_hop, PATH)) == dict.fromkeys(
        ("Talk", "requester -> svc1", "svc1 -> svc2", "svc2 -> svc3"), ("", "")
    )


def test_a_link_at_which_the_trace_breaks_fails_and_the_others_do_not() -> None:
    found = _cases(_hop("svc1"), _hop("svc2"), _hop("svc3", OTHER))
    assert found["Talk"][0] == "failure"
    assert found["svc1 -> svc2"] == ("", "")
    assert found["svc2 -> svc3"] == (
        "failure",
        f"svc2 forwarded trace {TRACE} and svc3 received trace {OTHER}: what lies between them changed it [new-trace]",
    )


def test_a_link_that_nothing_tells_of_is_skipped_as_unproven() -> None:
    found = _cases(_hop("svc1"))
    assert found["svc2 -> svc3"] == (
        "skipped",
        "unproven: svc2 left no record, and nothing after it shows what it forwarded: give --traces",
    )


def test_the_counts_are_those_of_the_cases_and_no_character_breaks_the_file() -> None:
    call = outcome(_hop("svc1"), _hop("svc2", OTHER), _hop("svc3", OTHER))
    unread = finding("backend-unread", reason="the store said \x00\x1b[31m")
    run = Run("127.0.0.1:1", (Judged(call, judge(call, ASKED)),), unproven=(unread,))
    root = ElementTree.fromstring(junit(run))  # noqa: S314 our own
    assert [root.get(name) for name in ("tests", "failures", "skipped")] == ["5", "3", "0"]
    assert "the store said \\x00\\x1b[31m" in junit(run)
