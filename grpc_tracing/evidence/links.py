"""The links of a call, judged by what was sent and by the hops' records.

A link leads from one place to the next: from the requester to the first hop, and from hop to hop. A record is evidence
about its own hop; a hop without one is judged by its neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from grpc_tracing.evidence.causes import Finding, finding
from grpc_tracing.evidence.kept import WHY, breaking
from grpc_tracing.evidence.path import PathHop, called_nobody, ends_the_path
from grpc_tracing.evidence.records import Header, HopRecord, contexts, reported_id
from grpc_tracing.headers.families import REQUEST_ID, Metadata, carries_trace_id, is_span_key
from grpc_tracing.headers.forwarding import GOES_ON, KEY_ONLY
from grpc_tracing.headers.reading import TraceContext, distinct, in_32_digits, read, same_trace

REQUESTER = "requester"
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Link:
    """`holds` is None where nothing shows it; `by` names the evidence: records, spans, sent."""

    source: str
    target: str
    holds: bool | None
    by: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(one.text for one in self.findings)


@dataclass(frozen=True, slots=True)
class Context:
    """What the judging of one call needs beside its records.

    `required` are the keys given with -H or --require that a hop's list names; `given` are all of -H. `calls_of` maps
    each trace id of the run to the number of the call that it belongs to, from 1; `number` is this call's own.
    """

    sent: Metadata = ()
    required: Collection[str] = ()
    given: Collection[str] = ()
    calls_of: Mapping[str, int] = field(default_factory=dict)
    number: int = 1


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a link: who, and the headers that left or arrived there. `proxied`: a sidecar named the caller."""

    service: str
    headers: tuple[Header, ...]
    sent: bool = False
    proxied: bool = False

    def keys(self) -> set[str]:
        return {header.key for header in self.headers}

    def of(self, key: str) -> list[Header]:
        return [header for header in self.headers if header.key == key]

    def unread(self) -> set[str]:
        """Carriers whose value is not whole."""
        return {header.key for header in self.headers if not header.whole and carries_trace_id(header.key)}


def contradicts_itself(record: HopRecord) -> bool:
    """True where the trace id that a record names is not the one in the headers that it lists."""
    if record.shortened:
        return False
    read = contexts(record.headers)
    readable = [context for context in read.values() if context.trace_id]
    if readable:
        return record.trace_id not in {context.spelled for context in readable}
    unread = any(not header.whole and carries_trace_id(header.key) for header in record.headers)
    return bool(record.trace_id) and not unread and not any(context.fault for context in read.values())


def by_records(stops: Sequence[PathHop], context: Context) -> list[Link]:
    """One link for each step of the path, in order; `stops` holds at least one place."""
    return list(_Judge(stops, context).links())


class _Judge:
    def __init__(self, stops: Sequence[PathHop], context: Context) -> None:
        self._stops = [stop if _is_evidence(stop) else PathHop(stop.service) for stop in stops]
        self._all = stops
        self._context = context

    def links(self) -> Iterator[Link]:
        sent = _End(REQUESTER, _as_headers(self._context.sent), sent=True)
        before: _End | None = sent
        pending: list[str] = []
        for place, stop in enumerate(self._stops):
            source = self._stops[place - 1].service if place else REQUESTER
            if stop.hop is None:
                pending.append(stop.service)
                yield self._unseen(source, place)
                continue
            yield self._step(source, before, stop.hop, pending, place)
            before, pending = _forwarded_by(stop.hop), []

    def _step(self, source: str, before: _End | None, hop: HopRecord, silent: list[str], place: int) -> Link:
        own = self._own_findings(place - 1, hop) if place else []
        if hop.shortened or before is None:
            found = own or self._by_reported_ids(place, hop)
            by = ("records",) if any(one.cause.means == "broken" for one in found) else ()
            return Link(source, hop.service, False if by else None, by, tuple(found))
        compared = _Compared(before, _End(hop.service, hop.headers, proxied=_identified(hop)), silent, self._context)
        found = own or list(compared.findings())
        found += list(self._around_sidecar(place, hop))
        if any(one.cause.means == "broken" for one in found):
            return Link(source, hop.service, False, compared.by, tuple(found))
        holds = compared.holds if not found else None
        return Link(source, hop.service, holds, compared.by if holds else (), tuple(found or compared.unshown()))

    def _own_findings(self, place: int, later: HopRecord) -> list[Finding]:
        """What the hop before says that it kept, although it carries the trace or is required."""
        stop = self._stops[place]
        if stop.hop is None or ends_the_path(self._stops, place):
            return []
        lost = breaking(stop.hop, self._context.required)
        return [_blame(stop.hop, lost, later, self._records())] if lost else []

    def _records(self) -> list[HopRecord]:
        return [stop.hop for stop in self._stops if stop.hop]

    def _by_reported_ids(self, place: int, hop: HopRecord) -> list[Finding]:
        earlier = next((stop.hop for stop in reversed(self._stops[:place]) if stop.hop), None)
        if earlier and not same_trace(reported_id(earlier), reported_id(hop)):
            between = f"{hop.service}'s record or {earlier.service}'s is shortened and does not say which headers went"
            return [_new_trace(earlier.service, reported_id(earlier), hop.service, reported_id(hop), between)]
        return [finding("record-shortened", hop=hop.service if hop.shortened else (earlier or hop).service)]

    def _around_sidecar(self, place: int, hop: HopRecord) -> Iterator[Finding]:
        """The first hop's caller is left out, for it may stand outside the mesh."""
        before = [stop.hop for stop in self._stops[:place] if stop.hop]
        witnesses = before or [stop.hop for stop in self._stops[place + 1 :] if stop.hop]
        if place and witnesses and not hop.shortened and not _identified(hop) and all(map(_identified, witnesses)):
            yield finding("around-the-sidecar", target=hop.service)

    def _unseen(self, source: str, place: int) -> Link:
        """The link to a hop without a record: its neighbours decide about it, at the next record."""
        stop = self._stops[place]
        original = self._all[place].hop
        if original:
            return Link(source, stop.service, None, (), (_contradiction(original),))
        if any(later.hop for later in self._stops[place + 1 :]):
            return Link(source, stop.service, None)
        if place and self._duty_ends(place):
            return Link(source, stop.service, None, ("records",))
        return Link(source, stop.service, None, (), (self._why_unseen(place),))

    def _duty_ends(self, place: int) -> bool:
        """A silent last service after a hop that shows what it forwarded: it forwards nothing."""
        return place + 1 == len(self._stops) and self._stops[place - 1].hop is not None

    def _why_unseen(self, place: int) -> Finding:
        if not self._records():
            return finding("no-records")
        if place + 1 == len(self._stops):
            place -= 1  # the last one forwards nothing: who comes before it is unseen
        return finding("unseen-hop", hop=self._stops[place].service)


def _is_evidence(stop: PathHop) -> bool:
    return stop.hop is None or not contradicts_itself(stop.hop)


def _contradiction(record: HopRecord) -> Finding:
    shown = distinct(context.trace_id for context in contexts(record.headers).values())
    return finding(
        "record-contradicts-itself",
        hop=record.service,
        named=record.trace_id or "none",
        shown=", ".join(shown) or "none",
    )


def _identified(hop: HopRecord) -> bool:
    return hop.peer.startswith("spiffe://")


def _as_headers(sent: Metadata) -> tuple[Header, ...]:
    return tuple(Header(key=k, value=v if isinstance(v, bytes) else v.encode("latin-1", "replace")) for k, v in sent)


def _forwarded_by(hop: HopRecord) -> _End | None:
    if hop.shortened:
        return None
    return _End(hop.service, tuple(one for one in hop.headers if one.decision in GOES_ON))


def _blame(hop: HopRecord, lost: Sequence[Header], later: HopRecord, records: Sequence[HopRecord]) -> Finding:
    keys = list(dict.fromkeys(header.key for header in lost))
    return finding(
        "not-forwarded",
        hop=hop.service,
        keys=", ".join(keys),
        them="it" if len(keys) == 1 else "them",
        consequence=_consequence(hop, later, records) if any(map(carries_trace_id, keys)) else "",
        reason=WHY[lost[0].decision],
    )


def _consequence(hop: HopRecord, later: HopRecord, records: Sequence[HopRecord]) -> str:
    if same_trace(reported_id(hop), reported_id(later)):
        return ""
    if not later.trace_id:
        return f": {later.service} received no trace id"
    return f": {len(distinct(map(reported_id, records)))} traces, expected 1"


@dataclass(frozen=True, slots=True)
class _Compared:
    """What left on one side of a link, and what arrived on the other; `silent` left no record between them."""

    before: _End
    after: _End
    silent: Sequence[str]
    context: Context

    @property
    def by(self) -> tuple[str, ...]:
        return ("sent", "records") if self.before.sent else ("records",)

    @property
    def _left(self) -> dict[str, TraceContext]:
        return {key: one for key, one in contexts(self.before.headers).items() if one.trace_id}

    @property
    def _arrived(self) -> dict[str, TraceContext]:
        return contexts(self.after.headers)

    @property
    def holds(self) -> bool | None:
        """True where a trace id left and arrived; at the first hop also where it arrived and none was sent."""
        if self.before.unread() or self.after.unread():
            return None
        arrived = [one for one in self._arrived.values() if one.trace_id]
        if not arrived or (self.silent and not self._left):
            return None
        return True if self._left or self.before.sent else None

    def unshown(self) -> list[Finding]:
        """Why it is not shown, where nothing contradicts."""
        if self.holds:
            return []
        if self.before.unread() or self.after.unread():
            return [finding("record-shortened", hop=self.after.service)]
        if self.silent and not self._left:
            return [finding("first-hop-unseen", hop=self.silent[0])]
        return []

    def findings(self) -> Iterator[Finding]:
        broken = [*self._unreadable(), *self._ids(), *self._named_twice()]
        yield from broken
        if not broken:
            yield from self._sampling()
        yield from self._required()

    def _unreadable(self) -> Iterator[Finding]:
        known = {(key, one.fault) for key, one in contexts(self.before.headers).items() if not self.before.sent}
        for key, one in self._arrived.items():
            if one.fault and (key, one.fault) not in known:
                yield self._fault(self._culprit(), self.after, key, one)
        for key, one in contexts(self.before.headers).items():
            if self.before.sent and one.fault and not self._arrived.get(key, TraceContext(key)).fault:
                yield self._fault("the requester sent", self.before, key, one)

    def _fault(self, who: str, end: _End, key: str, one: TraceContext) -> Finding:
        # B3 has its ids in two headers.
        shown = "x-b3-spanid" if key == "x-b3-traceid" and "span id has" in one.fault else key
        value = next(header.value for header in end.headers if header.key == shown)
        rule = f"{one.fault}; {who}" if self.silent else one.fault
        return finding(
            "unreadable-value",
            f"{end.service} received a {key} that no tracer reads",
            hop=end.service,
            key=shown,
            value=repr(_shortened(value.decode("latin-1"))),
            rule=rule,
        )

    def _ids(self) -> Iterator[Finding]:
        left, arrived = self._left, self._arrived
        faulty = {key for key, one in arrived.items() if one.fault}
        lost = [key for key in left if key not in arrived and key not in self.after.unread()]
        changed = [k for k in left if k in arrived and k not in faulty and arrived[k].trace_id != left[k].trace_id]
        kept = [key for key in left if key in arrived and key not in faulty and key not in changed]
        cut = [key for key in changed if same_trace(left[key].trace_id, arrived[key].trace_id)]
        if cut:
            yield self._cut(cut[0])
        elif changed:
            yield self._changed(changed[0], kept)
        elif lost:
            yield self._lost(lost[0], kept)

    def _cut(self, key: str) -> Finding:
        before, after = self._left[key].spelled, self._arrived[key].spelled
        return finding(
            "id-cut", source=self.before.service, target=self.after.service, key=key, before=before, after=after,
            between=self._culprit(),
        )  # fmt: skip

    def _changed(self, key: str, kept: Sequence[str]) -> Finding:
        before, after = self._left[key].trace_id, self._arrived[key].trace_id
        other = self.context.calls_of.get(in_32_digits(after))
        if other and other != self.context.number:
            hop = self.silent[0] if self.silent else f"what lies between {self.before.service} and {self.after.service}"
            return finding(
                "another-calls-headers", f"{hop} sent another call's {key}",
                hop=hop, key=key, target=self.after.service, after=after, call=other,
            )  # fmt: skip
        if kept and self.silent and self.after.proxied:
            return self._one_family(kept, key, before, after)
        return _new_trace(self.before.service, before, self.after.service, after, self._culprit())

    def _one_family(self, kept: Sequence[str], key: str, before: str, after: str) -> Finding:
        copied = [REQUEST_ID] if self._request_id_kept() else []
        names = ", ".join([*copied, *("x-b3-*" if one.startswith("x-b3-") else one for one in kept)])
        return finding(
            "one-family-copied", f"{self.silent[0]} copies {names}, not {key}: the sidecar began a new trace",
            hop=self.silent[0], kept=names, lost=key, before=before, after=after,
        )  # fmt: skip

    def _request_id_kept(self) -> bool:
        return REQUEST_ID in self.before.keys() & self.after.keys()

    def _lost(self, key: str, kept: Sequence[str]) -> Finding:
        arrived = [one for one in self._arrived.values() if one.trace_id]
        if arrived and not kept:
            before, after = self._left[key].trace_id, arrived[0].trace_id
            if not same_trace(before, after):
                return _new_trace(self.before.service, before, self.after.service, after, self._culprit())
        value = self._left[key].spelled
        return finding(
            "lost-on-the-way", f"{self.before.service} sent {key} and {self.after.service} did not receive it: "
            f"{self._culprit()}",
            source=self.before.service, target=self.after.service, key=key, value=_shortened(value),
            between=self._culprit(),
        )  # fmt: skip

    def _named_twice(self) -> Iterator[Finding]:
        """Families of one hop that name two traces; where one of them changed on this link, that was said already."""
        named = {key: one.trace_id for key, one in self._arrived.items() if one.trace_id}
        before = {key: one.trace_id for key, one in self._left.items()}
        if len(distinct(named.values())) < 2 or any(before.get(key, one) != one for key, one in named.items()):
            return
        if len(distinct(before.values())) > 1 and not self.before.sent:
            return
        fresh = [key for key in named if key not in before]
        kept = [key for key in named if key in before]
        if self.silent and fresh and kept and self.after.proxied:
            yield self._one_family(kept, fresh[0], named[kept[0]], named[fresh[0]])
        else:
            text = ", ".join(f"{key} {one}" for key, one in named.items())
            yield finding("two-traces-named", hop=self.after.service, named=text)

    def _sampling(self) -> Iterator[Finding]:
        for key, one in self._left.items():
            after = self._arrived.get(key)
            # The ingress decides on sampling, and says so.
            decided = self.before.sent and not self.silent and after is not None and after.sampled is False
            if one.sampled and after and after.trace_id and not after.sampled and not decided:
                yield finding(
                    "sampling-lost", source=self.before.service, target=self.after.service, key=key,
                    between=self._culprit(),
                )  # fmt: skip

    def _required(self) -> Iterator[Finding]:
        for key in sorted({*self.context.required, *self._given()} & self.before.keys()):
            if not carries_trace_id(key) and (what := self._missing(key)):
                yield finding(
                    "header-lost", source=self.before.service, key=key, target=self.after.service, what=what,
                    between=self._culprit(),
                )  # fmt: skip

    def _given(self) -> Collection[str]:
        """What was sent on purpose has to reach the first hop; a record too long for it may leave out bare keys."""
        complete = any(one.decision in KEY_ONLY for one in self.after.headers)
        if not self.before.sent or not complete:
            return ()
        return [key for key in self.context.given if not is_span_key(key)]

    def _missing(self, key: str) -> str:
        """In words, what of a key's headers did not arrive; a proxy may have folded several into one."""
        left, arrived = self.before.of(key), self.after.of(key)
        if not arrived:
            return "it"
        if len(arrived) >= len(left) or not all(map(_shows_its_value, (*left, *arrived))):
            return ""
        lost = Counter(_items(left)) - Counter(_items(arrived))
        return f"all {len(left)} of it" if lost else ""

    def _culprit(self) -> str:
        """Who may have done it, in words that blame nobody who left a record."""
        if self.silent:
            did = "it or a proxy beside it" if len(self.silent) == 1 else "one of them or a proxy beside it"
            return f"{', '.join(self.silent)} between them left no record, so {did} did this"
        return "what lies between them changed it"


def _new_trace(source: str, before: str, target: str, after: str, between: str) -> Finding:
    return finding(
        "new-trace",
        f"{target} received another trace id than {source} forwarded: {between}",
        source=source,
        before=before or "none",
        target=target,
        after=after or "none",
        between=between,
    )


def _shows_its_value(header: Header) -> bool:
    return header.whole and header.decision not in KEY_ONLY


def _items(headers: Sequence[Header]) -> Iterator[bytes]:
    return (item.strip() for header in headers for item in header.value.split(b","))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def not_sampled_from_the_start(stops: Sequence[PathHop], sent: Metadata = ()) -> tuple[str, str] | None:
    """The first hop with a record and the header, where the headers that it received say that nothing is sampled.

    The edge writes the family that it speaks and passes the others on as they were sent: these decide nothing.
    """
    first = next((stop.hop for stop in stops if stop.hop), None)
    if first is None:
        return None
    found = [one for one in contexts(first.headers).values() if one.trace_id and one.sampled is not None]
    before = {one.key: one.span_id for one in read(sent)}
    decided = [one for one in found if before.get(one.key) != one.span_id] or found
    if not decided or any(one.sampled for one in decided):
        return None
    return first.service, decided[0].key


def path_findings(stops: Sequence[PathHop], path: Sequence[str], expected: Sequence[str], fits: bool) -> list[Finding]:
    """What is wrong with the order of the services that left a record."""
    if not fits:
        return [finding("another-path", path=", ".join(path), expected=", ".join(expected))]
    last = next((place for place in reversed(range(len(stops))) if stops[place].hop), len(stops))
    if last + 1 < len(stops) and called_nobody(stops[last]):
        return [finding("answered-by-itself", hop=stops[last].service, target=stops[last + 1].service)]
    return []
