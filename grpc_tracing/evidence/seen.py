"""The links of a call, judged by its spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from grpc_tracing.evidence.causes import Finding, finding
from grpc_tracing.evidence.links import REQUESTER, Link
from grpc_tracing.evidence.notes import Note, note
from grpc_tracing.evidence.picture import INGRESS, Picture
from grpc_tracing.headers.families import REQUEST_ID
from grpc_tracing.spans.model import Kind, Span

_ENTRY = frozenset({Kind.SERVER, Kind.CONSUMER})


def request_id_of(span: Span) -> str:
    """The x-request-id that a span tells: Envoy writes `guid:x-request-id`, the requester `talk.request_id`."""
    return span.attribute(f"guid:{REQUEST_ID}", "talk.request_id", REQUEST_ID)


@dataclass(frozen=True)
class Seen:
    """What a backend shows of a call.

    `pieces` are spans of other traces that may belong to it: root client spans of its hops, with what stands below
    them. `waited` is how long the backend was given, as people write it; `request_ids` are those of this call.
    """

    picture: Picture
    pieces: tuple[Span, ...] = ()
    waited: str = "10s"
    request_ids: frozenset[str] = frozenset()

    def links(self) -> list[Link]:
        """One link for each step from the requester to the last expected service."""
        places = (REQUESTER, *self.picture.expected)
        if not self._by_proxies():
            empty = finding("no-spans")
            return [Link(a, b, None, (), (empty,)) for a, b in pairwise(places)]
        return [self._link(number, a, b) for number, (a, b) in enumerate(pairwise(places))]

    def gone(self) -> Iterator[Finding]:
        """A service that ended while it served the call, as Envoy's response flags of its own sidecar tell it."""
        for name in self.picture.expected:
            entries = sorted(self.picture.at(name, Kind.SERVER), key=lambda span: span.start_ns)
            flags = [span.attribute("response_flags") for span in entries]
            if "UC" in flags:
                since = "UF" in flags[flags.index("UC") :]
                yield finding("went-away", hop=name, since=", and nothing listens there since" if since else "")

    def _by_proxies(self) -> bool:
        """Whether any span is of the ingress or a service: the requester's own says nothing of the mesh."""
        return any(self.picture.fold(span.service) != REQUESTER for span in self.picture.spans)

    def notes(self) -> Iterator[Note]:
        """What is missing from a trace that is whole all the same."""
        if not self._by_proxies():
            return
        absent = [name for name in self.picture.expected if not self.picture.at(name)]
        for name in absent:
            if self._below_absent(name):
                yield note("no-span", hop=name)
        first = self.picture.at(self.picture.expected[0])
        if self.picture.exported and first and not self.picture.at(INGRESS):
            yield note("no-span-of-ingress")

    def _below_absent(self, name: str) -> bool:
        place = self.picture.expected.index(name)
        return any(self.picture.at(later) for later in self.picture.expected[place + 1 :])

    def _link(self, number: int, source: str, target: str) -> Link:
        if any(self._continues(span, number) for span in self.picture.at(target)) or self._skipped(number, target):
            return Link(source, target, True, ("spans",))
        found = self._why(number, source, target)
        broken = found.cause.means == "broken"
        return Link(source, target, False if broken else None, ("spans",) if broken else (), (found,))

    def _continues(self, span: Span, number: int) -> bool:
        """Whether this span of the target hangs below the source's, and the source's below what called it."""
        above = self.picture.above(span)
        places = [self.picture.place(one) for one in above]
        if not number:
            return REQUESTER in places if self.picture.exported else True
        source = self.picture.expected[number - 1]
        if source not in places:
            return not self.picture.at(source) and self._reaches_before(places, number)
        entered = any(one.kind in _ENTRY and self.picture.place(one) == source for one in above)
        return entered or self._reaches_before(places, number)

    def _reaches_before(self, places: Sequence[str], number: int) -> bool:
        """Whether something before the source stands above: then the source's proxy only left no span of its own."""
        before = {REQUESTER, INGRESS, *self.picture.expected[: number - 1]}
        return bool(before & set(places))

    def _skipped(self, number: int, target: str) -> bool:
        """True where the target left no span and what comes after it hangs below what comes before it."""
        if self.picture.at(target):
            return False
        later = self.picture.expected[number + 1 :]
        before = {REQUESTER, INGRESS, *self.picture.expected[:number]}
        spans = [span for name in later for span in self.picture.at(name)]
        return any(self.picture.place(one) in before for span in spans for one in self.picture.above(span))

    def _why(self, number: int, source: str, target: str) -> Finding:
        hop = source if number else INGRESS
        return (
            self._cut_at(hop, target)
            or self._orphan(hop, target)
            or self._second_root(target)
            or self._renamed(target)
            or self._absent(source, target)
        )

    def _cut_at(self, hop: str, target: str) -> Finding | None:
        """A root client span of the hop that made the call: in a trace that a record names, or in one found."""
        tops = [span for span in self.picture.tops() if span.kind is Kind.CLIENT and not span.parent_id]
        own = [span for span in tops if self.picture.place(span) == hop]
        entered = {span.trace_id for span in self.picture.at(hop) if span.kind in _ENTRY}
        torn = [span for span in own if entered and span.trace_id not in entered]
        torn += [span for span in self.pieces if self._root_of(span, hop)]
        if torn:
            return self._torn(hop, torn[0])
        roots = [span for span in self.picture.tops() if self.picture.place(span) == target and not span.parent_id]
        others = {span.trace_id for _, span in self.picture.tree() if self.picture.place(span) != target}
        if roots and others and roots[0].trace_id not in others:
            return finding(
                "new-trace", f"{target} began a trace of its own", source=hop, before=min(others), target=target,
                after=roots[0].trace_id, between="what lies between them lost the headers",
            )  # fmt: skip
        return None

    def _root_of(self, span: Span, hop: str) -> bool:
        return span.kind is Kind.CLIENT and not span.parent_id and self.picture.fold(span.service) == hop

    def _torn(self, hop: str, top: Span) -> Finding:
        if request_id_of(top) in self.request_ids:
            # Envoy's OpenTelemetry tracer names itself, and reads traceparent alone.
            by_w3c = ("telemetry.sdk.name", "envoy") in top.resource
            family = "traceparent" if by_w3c else "the headers that its sidecar reads"
            text = f"{hop} copies x-request-id, not {family}: the sidecar began a new trace"
            return finding("torn-trace", text, hop=hop, family=family, after=top.trace_id)
        return finding("no-header-forwarded", f"{hop} forwarded no trace header", hop=hop, after=top.trace_id)

    def _orphan(self, hop: str, target: str) -> Finding | None:
        for (_, parent), spans in self.picture.missing.items():
            span = spans[0]
            place = self.picture.place(span)
            entered = [one for one in self.picture.at(place) if one.kind in _ENTRY and one is not span]
            if place == hop and span.kind is Kind.CLIENT and entered:
                return finding("spans-not-exported", hop=hop, parent=parent)
            if place in {hop, target}:
                return finding("spans-late", hop=place, parent=parent, wait=self.waited)
        return None

    def _second_root(self, target: str) -> Finding | None:
        roots = [span for span in self.picture.tops() if not span.parent_id]
        by_trace = [span for span in roots if span.trace_id == roots[0].trace_id]
        if len(by_trace) < 2 or not self.picture.at(target):
            return None
        names = ", ".join(self.picture.place(span) for span in by_trace)
        return finding("several-roots", count=len(by_trace), roots=names)

    def _renamed(self, target: str) -> Finding | None:
        if self.picture.at(target):
            return None
        known = {*self.picture.expected, REQUESTER, INGRESS}
        seen = list(dict.fromkeys(s.service for _, s in self.picture.tree() if s.kind in _ENTRY and s.service))
        others = [name for name in seen if self.picture.fold(name) not in known and not name.startswith("waypoint")]
        if len(others) < len(self.picture.expected) or set(map(self.picture.fold, seen)) & set(self.picture.expected):
            return None
        return finding(
            "other-names", seen=", ".join(seen), expected=", ".join(self.picture.expected), seen_list=",".join(others)
        )

    def _absent(self, source: str, target: str) -> Finding:
        silent = [name for name in self.picture.expected if not self.picture.at(name)]
        if target in silent and source not in silent and self._exports_calls(source):
            return finding("no-call-made", hop=source, target=target)
        return finding("spans-missing", hops=", ".join(silent or [target]), wait=self.waited)

    def _exports_calls(self, source: str) -> bool:
        """Its sidecar left the span of the call in, and none of a call out."""
        spans = self.picture.at(source)
        return any(span.kind in _ENTRY for span in spans) and not any(span.kind is Kind.CLIENT for span in spans)
