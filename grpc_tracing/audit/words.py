"""An audit in words: what each service does, and what shows it."""

from __future__ import annotations

import math

from grpc_tracing.audit.result import CUTTING, Audit, Route, Service, Word
from grpc_tracing.printable import one_line

_SHOWN = 4


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
