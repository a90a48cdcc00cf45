"""The causes that have a sentence of their own.

A cause is an entry of the table: its name, which ends each line that tells of it; what shows it; the sentence; and the
row of docs/troubleshooting.md that has the fix. `{…}` in a sentence are the facts of a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILS, BREAKS, UNPROVEN = "failed", "broken", "unproven"


@dataclass(frozen=True, slots=True)
class Cause:
    """`means` is the verdict of a call that has it; `shown_by` the evidence; `fix` one line for the reader."""

    name: str
    means: str
    shown_by: str
    sentence: str
    fix: str

    @property
    def anchor(self) -> str:
        """Its row of the troubleshooting guide."""
        return f"docs/troubleshooting.md#{self.name}"


CAUSES: Final = {
    cause.name: cause
    for cause in (
        Cause(
            "call-failed",
            FAILS,
            "the status of the call",
            "{status}{message}",
            "a prefix such as svc2 -> svc3 names the two between which it happened; the guide has each status",
        ),
        Cause(
            "no-answer",
            FAILS,
            "the requester's own clock: no status came back",
            "no answer within {timeout}{deepest}",
            "--traces names the deepest hop that left a span; a hop that hangs looks so, a dead one gives UNAVAILABLE",
        ),
        Cause(
            "went-away",
            FAILS,
            "spans: its sidecar lost the connection to it (response_flags UC), then found nobody (UF)",
            "{hop} went away during the call (connection lost){since}",
            "read the last words of its process: it ended, or was ended, while it served this call",
        ),
        Cause(
            "wrong-answers",
            FAILS,
            "the answers",
            "{fault}",
            "look at the service that answers: it is not ours, or it is another version; --service for the alias",
        ),
        Cause(
            "unreadable-answers",
            FAILS,
            "the answers",
            "{count} of the answers cannot be read: not a {message}",
            "what answers there does not speak landing.proto",
        ),
        Cause(
            "not-forwarded",
            BREAKS,
            "the hop's own record",
            "{hop} received {keys} and did not forward {them}{consequence} ({reason})",
            "let the hop copy every trace header: TALK_PROPAGATE=default, or its code's list",
        ),
        Cause(
            "lost-on-the-way",
            BREAKS,
            "the records of its neighbours, or what was sent",
            "{source} sent {key} {value} and {target} did not receive it: {between}",
            "copy this header in the hop between them; where only a proxy lies there, look at its header rules",
        ),
        Cause(
            "new-trace",
            BREAKS,
            "the records of its neighbours, or what was sent",
            "{source} forwarded trace {before} and {target} received trace {after}: {between}",
            "the hop, or the proxy that found no header it reads, began a trace: copy what comes in, unchanged",
        ),
        Cause(
            "another-calls-headers",
            BREAKS,
            "trace ids of all calls of the run",
            "{hop} sent another call's {key}: {target} received trace {after}, which is that of call {call}",
            "keep headers per call (a local variable, contextvars), never in a global or in a field of the service",
        ),
        Cause(
            "one-family-copied",
            BREAKS,
            "the record after the hop: two families name two traces",
            "{hop} copies {kept}, not {lost}: the sidecar began a new trace ({after}), and the old one "
            "({before}) stands beside it",
            "copy every family: the mesh speaks another one than the hop copies",
        ),
        Cause(
            "two-traces-named",
            BREAKS,
            "one hop's received headers",
            "{hop} received headers of two traces: {named}",
            "let ingress, sidecars and services speak one family, or copy and rewrite them together",
        ),
        Cause(
            "unreadable-value",
            BREAKS,
            "what was sent, or the hop's received headers",
            "{hop} received {key} {value}: {rule}",
            "no tracer reads such a value, and begins a trace of its own: copy the header as it came",
        ),
        Cause(
            "id-cut",
            BREAKS,
            "the records of its neighbours",
            "{source} forwarded {key} {before} and {target} received {after}: {between}",
            "ids are text: copy all 32 (16) digits, leading zeros too",
        ),
        Cause(
            "sampling-lost",
            BREAKS,
            "the sampling decision before and after",
            "{source} forwarded a sampled {key} and {target} received one that is not sampled: {between}",
            "copy the flags and x-b3-sampled as they came; an SDK's sampler has to be parent-based",
        ),
        Cause(
            "header-lost",
            BREAKS,
            "-H or --require, and the records",
            "{source} sent {key}, which is required, and {target} did not receive {what}: {between}",
            "add the header to the hop's list (TALK_PROPAGATE_ALSO)",
        ),
        Cause(
            "around-the-sidecar",
            BREAKS,
            "the records: right headers, no caller identity",
            "{target} was called around its sidecar: it knows no caller, though the other hops do",
            "call the service's name, on a port whose name or appProtocol is grpc; see headless services in the guide",
        ),
        Cause(
            "answered-by-itself",
            BREAKS,
            "the path",
            "{hop} answered by itself, expected {target} after it",
            "set its next hop, or give --expect without what comes after it",
        ),
        Cause(
            "another-path",
            BREAKS,
            "the path",
            "the path was {path}, expected {expected}",
            "give --expect as the chain is, or mend where a hop calls",
        ),
        Cause(
            "no-trace-id",
            BREAKS,
            "the records",
            "no hop received a trace id that can be read: see the -H headers, and what stands in front of {hop}",
            "nothing begins a trace: let the ingress trace, or give --otlp",
        ),
        Cause(
            "torn-trace",
            BREAKS,
            "spans: a root client span of the hop with the call's x-request-id",
            "{hop} copies x-request-id, not {family}: the sidecar began a new trace ({after})",
            "copy the trace headers of the family that the mesh speaks",
        ),
        Cause(
            "no-header-forwarded",
            BREAKS,
            "spans: a root client span of the hop, inside this very call",
            "{hop} forwarded no trace header: its call to the next hop began trace {after}",
            "copy the trace headers from the incoming call to each call made because of it",
        ),
        Cause(
            "no-call-made",
            UNPROVEN,
            "spans: the hop has a server span and no client span",
            "the spans end at {hop}: no sidecar saw a call from there, expected {target} after it",
            "it answered by itself, called around its sidecar, or its spans are late: --wait 30s",
        ),
        Cause(
            "spans-not-exported",
            BREAKS,
            "spans: a parent inside the hop that nobody exported",
            "a span of {hop} names a parent that nobody exported ({parent}): something in {hop} makes spans and sends "
            "them nowhere",
            "export the SDK's spans to the same backend, or switch its instrumentation off (OTEL_SDK_DISABLED=true)",
        ),
        Cause(
            "several-roots",
            BREAKS,
            "spans",
            "the trace has {count} roots ({roots}), expected 1",
            "a hop between them began anew under the same trace id: copy the parent too",
        ),
        Cause(
            "no-records",
            UNPROVEN,
            "no record, no spans",
            "no hop left a record, so nothing shows where the trace went: give --traces",
            "--traces URL of the backend that the mesh reports to; our own hops: TALK_HOP_RECORDS=on",
        ),
        Cause(
            "unseen-hop",
            UNPROVEN,
            "no record of the hop, nor of one after it",
            "{hop} left no record, and nothing after it shows what it forwarded: give --traces",
            "--traces URL of the backend that the mesh reports to",
        ),
        Cause(
            "first-hop-unseen",
            UNPROVEN,
            "no record of the first hop, and the requester sent no trace id",
            "{hop} left no record, and no trace id was sent that could show what it did with it: give --traces",
            "--traces URL, or --otlp so that the requester begins the trace",
        ),
        Cause(
            "record-shortened",
            UNPROVEN,
            "a record that had to be shortened",
            "the record of {hop} is shortened and does not say which headers it forwarded",
            "send fewer headers, or give --traces",
        ),
        Cause(
            "record-contradicts-itself",
            UNPROVEN,
            "a record whose trace id is not in its own headers",
            "the record of {hop} contradicts itself and counts for nothing: it names trace {named}, "
            "its headers {shown}",
            "mend what writes the record, or give --traces",
        ),
        Cause(
            "no-spans",
            UNPROVEN,
            "records whole, spans of none",
            "the backend has no span of a sidecar for this call: no provider is defined or named, "
            "the spans go elsewhere, or they are late",
            "--wait 30s; istioctl proxy-config bootstrap|listeners of a sidecar shows its tracer; ./apply.sh k8s check",
        ),
        Cause(
            "spans-missing",
            UNPROVEN,
            "spans of some",
            "no span of {hops} came within {wait}: late, not exported, or their connections are "
            "older than the provider",
            "--wait 30s; restart their pods; see what their sidecars trace with",
        ),
        Cause(
            "spans-late",
            UNPROVEN,
            "a parent that is missing between two hops",
            "the parent {parent} of a span of {hop} did not come within {wait}: late, or not exported",
            "--wait 30s; look at what samples at the tail",
        ),
        Cause(
            "not-sampled",
            UNPROVEN,
            "traceparent ends in -00, or its like",
            "the call was not sampled in front of {hop} ({key}), so that no span of it can exist",
            "raise the sampling at the ingress; or judge by records alone, without --traces",
        ),
        Cause(
            "backend-unread",
            UNPROVEN,
            "the backend's answer",
            "the traces could not be read: {reason}",
            "see the reason",
        ),
        Cause(
            "other-names",
            UNPROVEN,
            "spans of services that are not expected",
            "the spans name {seen}, expected {expected}: --expect {seen_list}",
            "give --expect with the names that the spans have",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause with the facts of one call. `general` is the same without what differs from call to call."""

    cause: Cause
    text: str
    general: str

    @property
    def line(self) -> str:
        """As it is printed: the sentence, then the cause's name to ask `client explain` for."""
        return f"{self.text} [{self.cause.name}]"


def finding(name: str, general: str = "", **facts: object) -> Finding:
    """The finding of a cause by its name; `general` is said of many calls at once, by default the sentence itself."""
    text = CAUSES[name].sentence.format(**facts)
    return Finding(CAUSES[name], text, general or text)
