"""A run as JUnit's XML, which CI systems show: a suite per call, in it a case for the verdict and one for each link."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from client.call.run import Judged, Run
from client.call.verdict import CONNECTED
from grpc_tracing.evidence.links import Link
from grpc_tracing.printable import printable


def junit(run: Run) -> str:
    root = Element("testsuites", name=f"client call {run.target}")
    for number, call in enumerate(run.calls, start=1):
        _add_call(root, call, number)
    if run.problems:
        _fail(_case(_suite(root, "run"), "run", "run"), "broken", run.problems)
    for suite in root:
        _count(suite)
    _count(root)
    indent(root)
    _make_printable(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Element, name: str) -> Element:
    return SubElement(root, "testsuite", name=name)


def _add_call(root: Element, call: Judged, number: int) -> None:
    outcome, judgement = call.outcome, call.judgement
    suite = _suite(root, f"{outcome.rpc} {number}")
    case = _case(suite, outcome.rpc, outcome.rpc, seconds=outcome.duration)
    if judgement.verdict != CONNECTED:
        _fail(case, judgement.verdict, judgement.problems)
    for link in judgement.links:
        _judge_link(_case(suite, outcome.rpc, f"{link.source} -> {link.target}"), link)


def _case(suite: Element, group: str, name: str, seconds: float = 0.0) -> Element:
    return SubElement(suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}")


def _judge_link(case: Element, link: Link) -> None:
    if link.holds is False:
        _fail(case, "broken", tuple(one.line for one in link.findings))
    elif link.holds is None:
        SubElement(case, "skipped", message=f"unproven: {link.why or 'nothing shows it'}")


def _fail(case: Element, kind: str, problems: tuple[str, ...]) -> None:
    failure = SubElement(case, "failure", type=kind, message=problems[0])
    failure.text = "\n".join(problems)


def _make_printable(root: Element) -> None:
    """XML has no way to write control characters, and names and messages are a peer's."""
    for element in root.iter():
        element.text = element.text and printable(element.text, keep="\n\t")
        for name, value in element.items():
            element.set(name, printable(value))


def _count(element: Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
