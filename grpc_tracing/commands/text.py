"""An audit as text, as JUnit's XML and as a page: all show the same object."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from grpc_tracing.audit.result import CUTTING, Audit, Route, Service, Word
from grpc_tracing.printable import one_line

_OPEN = frozenset({Word.CANNOT_TELL})
_SHOWN = 4


def table(audit: Audit) -> str:
    """A line a service, worst first; then what is no cut and looks like one, then what was not read."""
    words = max(len(one.verdict) for one in audit.services)
    names = min(40, max(len(one_line(one.service)) for one in audit.services))
    lines = [f"{one.verdict:<{words}}  {one_line(one.service):<{names}}  {told(one)}" for one in audit.services]
    lines += [f"{one.cause}: {one_line(one.service)}: {one.evidence}" for one in audit.problems]
    lines += [f"not read: {one}" for one in audit.missing]
    return "\n".join([*lines, "", summary(audit), ""])


def summary(audit: Audit) -> str:
    cutting = sum(one.verdict in CUTTING for one in audit.services)
    said = {
        "cuts": f"{cutting} of {len(audit.services)} services cut traces",
        "whole": "no service cuts traces",
        "unproven": "unproven: nothing was seen to cut, and not everything could be told",
    }[audit.verdict]
    return f"{said} ({audit.spans:,} spans, {audit.traces:,} traces)"


def told(one: Service) -> str:
    """The evidence for a service's word, with its figures."""
    match one.verdict:
        case Word.CUTS | Word.PARTLY:
            return _cutting(one)
        case Word.WHOLE:
            return f"{one.calls_out:,} of {one.calls_out:,} calls out continue the call in"
        case Word.JOB:
            chance = "no call comes in" if one.z is None else f"they follow no call in (z {one.z:.1f})"
            return f"{one.begun:,} of {one.calls_out:,} calls out begin traces; {chance}"
        case Word.UNKNOWN:
            return "leaves no spans for calls out: it makes none, or nothing traces them"
        case _:
            return _open(one)


def _cutting(one: Service) -> str:
    wrong = [route for route in one.routes if route.verdict in CUTTING]
    shown = "; ".join(map(_route, wrong[:_SHOWN]))
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    whole = sum(route.calls_out for route in one.routes if route.verdict is Word.WHOLE)
    rest = f"; {whole:,} others are whole" if whole else ""
    return f"{shown} began a trace of their own{more}{rest}{_by(one)}{_place(one)}{_instances(one)}{_since(one)}"


def _route(route: Route) -> str:
    called = f"in {one_line(route.called)}, " if route.called else ""
    return f"{called}calls to {one_line(route.out)}: {route.cut:,} of {route.calls_out:,}"


def _by(one: Service) -> str:
    if one.by_request_id:
        return f"; it forwards x-request-id and no trace headers ({one.by_request_id:,} by their request id)"
    return "" if one.z is None else f"; they follow calls in (z {one.z:.1f})"


def _place(one: Service) -> str:
    return {
        "in": "; on the way in: the sidecar's spans are whole, and its SDK reads no parent from the metadata",
        "inside": "; inside the service: its SDK loses the context",
        "out": "; on the way out: its SDK's spans are whole, and nothing writes them into the metadata",
    }.get(one.where or "", "")


def _instances(one: Service) -> str:
    """Named where some cut and others do not."""
    cutting = [each for each in one.instances if each.cut > 0.5 * each.calls_out]
    if not cutting or len(cutting) == len(one.instances) or one.verdict is not Word.PARTLY:
        return ""
    named = [f"{one_line(each.instance)} ({each.cut:,} of {each.calls_out:,})" for each in cutting[:_SHOWN]]
    versions = {each.version for each in cutting if each.version}
    version = f", version {one_line(versions.pop())}" if len(versions) == 1 and not one.since else ""
    return f"; see instance {', '.join(named)}{version}"


def _since(one: Service) -> str:
    return f"; since version {one_line(one.since)}" if one.since else ""


def _open(one: Service) -> str:
    if not one.begun:
        return f"the parents of its {one.calls_out:,} calls out did not come: are spans missing?"
    begun = f"{one.begun:,} calls out began traces"
    if not one.needs:
        return (
            f"{begun}, and its calls in left no spans at the instances that made them: nothing tells a cut from a job"
        )
    if (least := one.needs.sampling) is not None:
        known = f"a job if at least {_percent(least)} of traces are sampled: say so with --sampling"
        return f"{begun} and follow no call in that was seen; {known}"
    return f"{begun}; too few to tell a cut from a job: {one.needs.calls:,} more"


def _percent(share: float) -> str:
    """Rounded up, for it is a least share."""
    percent = math.ceil(share * 1000) / 10
    return f"{percent:.1f} %" if percent < 10 else f"{math.ceil(percent)} %"


def junit(audit: Audit) -> str:
    """A test case a service: a cut fails it, what cannot be told is an error."""
    suite = Element("testsuite", name="grpc-tracing audit", tests=str(len(audit.services)))
    for one in audit.services:
        case = SubElement(suite, "testcase", classname="audit", name=one_line(one.service))
        if one.verdict in CUTTING | _OPEN:
            kind = "failure" if one.verdict in CUTTING else "error"
            SubElement(case, kind, message=f"{one.verdict}: {told(one)}")
    if audit.missing:
        case = SubElement(suite, "testcase", classname="audit", name="reading")
        SubElement(case, "error", message="; ".join(audit.missing))
    cases = len(suite)
    suite.set("tests", str(cases))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2430;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;
border-bottom:1px solid #dde2ea;overflow-wrap:anywhere}.cuts,.partly{color:#a11212;font-weight:600}
@media(prefers-color-scheme:dark){body{color:#e3e8f0;background:#141922}th,td{border-color:#303a4a}
.cuts,.partly{color:#ff9c9c}}
"""


def page(audit: Audit) -> str:
    """One HTML file that asks nobody for anything."""
    return "\n".join(_page(audit))


def _page(audit: Audit) -> Iterator[str]:
    said = escape(summary(audit))
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{said}</title><style>{_STYLE}</style>'
    yield f"<h1>Trace propagation</h1><p>{said}</p>"
    yield "<table><thead><tr><th>Verdict<th>Service<th>Calls out<th>Cut<th>Evidence</tr></thead><tbody>"
    for one in audit.services:
        word = f'<td class="{one.verdict.value.partition(" ")[0]}">{one.verdict}'
        name, evidence = escape(one_line(one.service)), escape(told(one))
        yield f"<tr>{word}<td>{name}<td>{one.calls_out:,}<td>{one.cut:,}<td>{evidence}</tr>"
    yield "</tbody></table><ul>"
    for problem in audit.problems:
        yield f"<li>{escape(problem.cause)}: {escape(one_line(problem.service))}: {escape(problem.evidence)}"
    for missing in audit.missing:
        yield f"<li>not read: {escape(missing)}"
    yield "</ul></html>"
