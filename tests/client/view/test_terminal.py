"""What a person sees: the verdict in a sentence, nothing that steers the terminal, every problem once."""

import pytest

from client.call.outcome import Outcome
from client.call.run import Judged, Run
from client.call.verdict import Question, judge
from client.view.terminal import Screen, sentence
from grpc_tracing.evidence.causes import Finding, finding
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.seen import Seen
from grpc_tracing.headers.forwarding import Decision
from tests.client.evidence import OTHER, TRACE, hop, last, outcome, traceparent
from tests.support.spans import make

SWITCHED_OFF = Decision.SWITCHED_OFF

EXPECTED = Question(expected=("svc1", "svc2", "svc3"))
GOOD = outcome(hop("svc1", traceparent()), hop("svc2", traceparent()), last("svc3", traceparent()))
CANARY = outcome(hop("svc1", traceparent()), hop("svc2", traceparent()), last("svc3", traceparent(), version="canary"))
BROKEN = outcome(hop("svc1", traceparent()), hop("svc2", traceparent(decision=SWITCHED_OFF)), last("svc3", trace_id=""))
DOWN = outcome(hop("svc1", traceparent()), status="UNAVAILABLE", message="svc1 -> svc2: \x1b[2Jrefused\nreally")

STEERING = outcome(hop("svc1", version="\x1b[2J", trace_id="\x1b[31m"), last("svc2", trace_id="\x1b[31m"))


def run(*calls: Outcome, unproven: tuple[Finding, ...] = ()) -> Run:
    return Run("127.0.0.1:1", tuple(Judged(call, judge(call, EXPECTED)) for call in calls), unproven)


UNSAMPLED = finding("not-sampled", hop="svc1", key="traceparent")
SENTENCES = [
    (run(GOOD), "connected", "the call passed svc1, svc2, svc3 in one trace"),
    (run(GOOD, GOOD), "connected", "all 2 calls passed svc1, svc2, svc3 in one trace each"),
    (
        run(GOOD, CANARY, GOOD),
        "connected",
        "all 3 calls passed svc1, svc2, svc3 (2 times) or svc1, svc2, svc3 (canary) (1 times) in one trace each",
    ),
    (run(GOOD, BROKEN), "broken", "1 of 2 calls left a trace that is not whole"),
    (run(GOOD, BROKEN, DOWN), "failed", "1 of 3 calls did not succeed"),
    (
        run(GOOD, unproven=(finding("not-sampled", hop="svc1", key="traceparent"),)),
        "unproven",
        "nothing contradicts, but",
    ),
    (run(outcome()), "unproven", "the call left a trace that nothing shows to be whole"),
]


@pytest.mark.parametrize(("ended", "verdict", "words"), SENTENCES)
def test_the_verdict_in_words_is(ended: Run, verdict: str, words: str) -> None:
    assert (ended.verdict, sentence(ended)) == (verdict, words)


def test_what_a_server_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(run(STEERING))
    Screen().show(run(DOWN))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"UNAVAILABLE: svc1 -> svc2: \x1b[2Jrefused really" in shown.splitlines()[-1]


def pieces() -> Run:
    spans = (
        make(TRACE, "a" * 16, "", "svc1", "Talk", "server", 1, 9),
        make(TRACE, "b" * 16, "a" * 16, "svc1", "Talk", "client", 2, 8, error=True),
        make(OTHER, "c" * 16, "", "svc2", "Talk", "server", 3, 7),
    )
    return Run(
        "127.0.0.1:1", (Judged(BROKEN, judge(BROKEN, EXPECTED), Seen(Picture(spans, ("svc1", "svc2", "svc3")))),)
    )


@pytest.mark.parametrize("columns", ["40", "60", "200"])
def test_on_a_terminal_no_trace_id_is_wrapped(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", columns)
    Screen().show(pieces())
    shown = capsys.readouterr().out
    assert "└──" in shown
    assert (shown.count(TRACE), shown.count(OTHER)) == (2, 1)


def test_on_a_terminal_colour_says_nothing_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    Screen().show(pieces())
    Screen().show(run(GOOD, BROKEN, DOWN))
    shown = capsys.readouterr().out
    assert "svc1 client Talk 0.0 ms, error" in shown
    for words in ("Talk: OK in", "Talk: broken; OK in", "Talk: failed; UNAVAILABLE in"):
        assert words in shown


def test_a_problem_of_all_calls_is_said_once_and_of_some_with_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    other = Outcome(**{**vars(BROKEN), "rpc": "TalkBidirectional"})
    Screen().show(run(BROKEN, BROKEN, other))
    assert capsys.readouterr().out.count("svc2 received traceparent") == 1
    Screen().show(run(GOOD, BROKEN))
    assert "Talk: svc2 received traceparent" in capsys.readouterr().out


def test_calls_of_one_kind_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(run(GOOD, GOOD, GOOD, CANARY))
    shown = capsys.readouterr().out
    assert "and 2 more like it" in shown
    assert shown.count("Talk: OK") == 2


def test_without_a_terminal_there_is_no_colour_and_no_frame(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(run(GOOD))
    assert capsys.readouterr().out.splitlines() == [
        "Talk: OK in 0.0 ms, 1 answer, trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "  svc1; received traceparent; forwarded all; OK in 0.0 ms",
        "  svc2; received traceparent; forwarded all; OK in 0.0 ms",
        "  svc3; received traceparent; forwarded (the last); OK in 0.0 ms",
        "connected: the call passed svc1, svc2, svc3 in one trace",
    ]
