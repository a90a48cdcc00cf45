"""Whatever a peer says, in a name, a header or a status, nothing of it steers a terminal, a CI page or a browser."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from client.call.run import Judged, Run
from client.call.verdict import Question, judge
from client.load.result import LoadResult
from client.load.tally import Tally
from client.options import LoadOptions, Target
from client.view.document import document
from client.view.junit import junit
from client.view.load import show
from client.view.report import write_report
from client.view.terminal import Screen
from grpc_tracing.evidence.causes import finding
from grpc_tracing.evidence.notes import note
from grpc_tracing.evidence.picture import Picture
from grpc_tracing.evidence.seen import Seen
from tests.client.evidence import header, hop, last, outcome, traceparent
from tests.support.spans import make

EVIL = "\x1b[2J\x1b]0;title\x07\x00\r\x9b\u202eevil\u2066\udc80"
SPELLED = r"\x1b[2J\x1b]0;title\x07\x00\r\x9b\u202eevil\u2066\udc80"
OUR_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HOPS = (
    hop("svc1" + EVIL, traceparent(), header("x-lane" + EVIL, EVIL.encode(errors="replace")), version=EVIL),
    hop("svc2" + EVIL, traceparent(), peer=f"spiffe://cluster.local/ns/n/sa/{EVIL}", rpc=EVIL, instance=EVIL),
    last("svc3" + EVIL, trace_id=EVIL),
)
SPAN = make("a" * 32, "b" * 16, "", "svc1" + EVIL, "Talk" + EVIL, "server", 1, 2)


def evil_run() -> Run:
    ended = outcome(*HOPS, sent=(("x-request-id", "r"),))
    failed = outcome(status="UNAVAILABLE", message=EVIL, sent=(("x-request-id", "r"),))
    asked = Question(expected=("svc1", "svc2", "svc3" + EVIL), custom=("x-lane" + EVIL,), unread=EVIL)
    seen = Seen(Picture((SPAN,), ("svc1", "svc2", "svc3")))
    calls = [
        Judged(one, judge(one, asked, seen=with_spans), seen) for one in (ended, failed) for with_spans in (seen, None)
    ]
    return Run("127.0.0.1:1", tuple(calls), (finding("backend-unread", reason=EVIL),), (note("unread", reason=EVIL),))


def text(_: Path) -> str:
    Screen().show(evil_run())
    Screen().remarks(evil_run())
    Screen().error(EVIL)
    return ""


def report(folder: Path) -> str:
    write_report(folder / "report.html", evil_run())
    return (folder / "report.html").read_text()


def load(_: Path) -> str:
    tally = Tally()
    tally.succeeded("Talk", 1000, 1)
    tally.read("Talk", HOPS, 1000)
    options = LoadOptions(target=Target(address="127.0.0.1:1"), mix=("Talk",))
    show(Screen().out, LoadResult(options, tally, 1.0, (0.1,)))
    return ""


VIEWS: dict[str, Callable[[Path], str]] = {
    "text": text,
    "report": report,
    "JUnit": lambda _: junit(evil_run()),
    "JSON": lambda _: json.dumps(document(evil_run())),
    "load": load,
}


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_a_peer_steers_nothing(
    view: str, terminal: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("NO_COLOR", "1")
    shown = VIEWS[view](tmp_path)
    printed = capsys.readouterr()
    every = OUR_COLOURS.sub("", shown + printed.out + printed.err)
    assert "evil" in every
    assert [one for one in every if not one.isprintable() and one != "\n"] == []


def test_the_words_are_there_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(evil_run())
    assert f"UNAVAILABLE: {SPELLED}" in capsys.readouterr().out
    names = [case.get("name", "") for case in ElementTree.fromstring(junit(evil_run())).iter("testcase")]  # noqa: S314
    assert any(f"svc1{SPELLED}" in name for name in names)
