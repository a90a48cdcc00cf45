"""An audit as text and as JUnit's XML: both show the same object."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from grpc_tracing.audit.result import CUTTING, Audit, Word
from grpc_tracing.audit.words import summary, told
from grpc_tracing.printable import one_line

_OPEN = frozenset({Word.CANNOT_TELL})


def table(audit: Audit) -> str:
    """A line a service, worst first; then what is no cut and looks like one, then what was not read."""
    words = max(len(one.verdict) for one in audit.services)
    names = min(40, max(len(one_line(one.service)) for one in audit.services))
    lines = [f"{one.verdict:<{words}}  {one_line(one.service):<{names}}  {told(one)}" for one in audit.services]
    lines += [f"{one.cause}: {one_line(one.service)}: {one.evidence}" for one in audit.problems]
    lines += [f"not read: {one}" for one in audit.missing]
    return "\n".join([*lines, "", summary(audit), ""])


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
