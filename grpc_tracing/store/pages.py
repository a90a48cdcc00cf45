"""The pages: topology, traces, one trace, end-to-end aggregation, propagation."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from grpc_tracing.spans.names import fold
from grpc_tracing.store import views, views_audit
from grpc_tracing.store.auditing import Auditor
from grpc_tracing.store.calls import Call, CallLog
from grpc_tracing.store.query import parse_duration
from grpc_tracing.store.store import TraceStore, read_trace, settled
from grpc_tracing.store.summary import Summary
from grpc_tracing.store.suspects import Suspects, suspects
from grpc_tracing.store.trace_status import Known, TraceStatus, trace_statuses
from grpc_tracing.store.views_call import CallView, call_view, chosen
from grpc_tracing.store.wholeness import Judged

if TYPE_CHECKING:
    from grpc_tracing.audit.result import Audit

_RANGES = {"5m": ("5 min", 300), "15m": ("15 min", 900), "1h": ("1 hour", 3600), "all": ("All", 0)}
_USUAL = "1h"
_STATES = {"whole", "unproven", "broken", "failed", "error"}


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Links between the pages of this server, which keep what was asked for.

    `kept` are the time range, where it is not the usual one, and the filter and page of the list that one came by.
    """

    kept: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request) -> Self:
        """Values that mean nothing are left out, empty ones too."""
        kept = {"range": _range(request).name, **Form(request).params}
        page = _page_number(request.query_params.get("page", "1"))
        return cls(_without_defaults({**kept, "page": str(page)}))

    def page(self, path: str) -> str:
        """Another page, in the same time range."""
        return _url(path, {name: value for name, value in self.kept.items() if name == "range"})

    def back(self) -> str:
        """The list that this trace was found in."""
        return _url("/traces", self.kept)

    def trace(self, trace_id: str) -> str:
        return _url(f"/trace/{trace_id}", self.kept)

    def raw(self, trace_id: str) -> str:
        """The trace with its times as they were reported."""
        return _url(f"/trace/{trace_id}", {**self.kept, "clocks": "raw"})

    def events(self, trace_id: str, span_id: str) -> str:
        return f"/trace/{trace_id}/events/{span_id}"

    def traces(self, **filters: str) -> str:
        kept = {name: value for name, value in self.kept.items() if name == "range"}
        return _url("/traces", _without_defaults({**kept, **filters}))

    def json(self, trace_id: str) -> str:
        return f"/api/v3/traces/{trace_id}"

    def propagation(self, service: str, place: int) -> str:  # noqa: ARG002 - a page of its own has no place
        return f"/propagation/{quote(service, safe='')}"

    def span(self, trace_id: str) -> str:
        return self.trace(trace_id)


def _without_defaults(params: Mapping[str, str]) -> dict[str, str]:
    usual = {"range": _USUAL, "page": "1"}
    return {name: value for name, value in params.items() if value and value != usual.get(name)}


def _url(path: str, params: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(params)}" if params else path


@dataclass(frozen=True, slots=True)
class Range:
    """The time range asked for; one that is not known is an hour."""

    name: str

    @property
    def choices(self) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in _RANGES.items()]

    def since(self, now_ns: int) -> int:
        """Its begin, in Unix nanoseconds."""
        seconds = _RANGES[self.name][1]
        return now_ns - seconds * 10**9 if seconds else 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was in the store at a moment; the summaries newest first, as the calls are. `lost_ns` is the store's."""

    now_ns: int
    summaries: tuple[Summary, ...]
    calls: tuple[Call, ...]
    lost_ns: int
    judged: Judged = field(default_factory=Judged)

    def within(self, at: Range) -> list[Summary]:
        since = at.since(self.now_ns)
        return [one for one in self.summaries if one.start_ns >= since]

    def statuses(self) -> dict[str, TraceStatus]:
        """Of all traces: a piece may lie before the time range that is shown."""
        return trace_statuses(self.summaries, Known(self.now_ns, self.calls, self.judged, self.lost_ns))


class Pages:
    """The pages over one store.

    Views are pure functions of what was seen: they and the templates work in a thread, so that thousands of traces on a
    page keep no exporter waiting. Envoy's waits half a second.
    """

    def __init__(
        self,
        store: TraceStore,
        calls: CallLog,
        auditor: Auditor,
        environment: Environment,
        state: Callable[[], dict[str, object]],
    ) -> None:
        self._store = store
        self._auditor = auditor
        self._calls = calls
        self._environment = environment
        self._state = state

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.topology),
            Route("/traces", self.traces),
            Route("/trace/{trace_id}", self.trace),
            Route("/trace/{trace_id}/events/{span_id}", self.events),
            Route("/paths", self.paths),
            Route("/propagation", self.propagation),
            Route("/propagation/{service:path}", self.propagation_of),
        ]

    async def topology(self, request: Request) -> Response:
        at, seen = _range(request), await self._see()

        def view() -> views.TopologyView:
            return views.topology_view(seen.within(at), seen.statuses(), seen.now_ns)

        return await self._page("topology.html", view, links=PageLinks.of(request), page="Topology", at=at)

    async def traces(self, request: Request) -> Response:
        at, seen, form = _range(request), await self._see(), Form(request)

        def view() -> views.ListView:
            return views.list_view(seen.within(at), seen.statuses(), form.filter, form.page)

        return await self._page("traces.html", view, links=PageLinks.of(request), page="Traces", at=at, filters=form)

    async def trace(self, request: Request) -> Response:
        trace_id, seen = request.path_params["trace_id"].lower(), await self._see()
        reported = request.query_params.get("clocks") == "raw"
        trace = self._store.trace(trace_id)
        if trace is None:
            return await self._gone(request, trace_id)

        by_id = {one.trace_id: one for one in seen.summaries}
        status = await asyncio.to_thread(lambda: seen.statuses()[trace_id])
        call = await self._call(by_id, status, trace_id)

        def view() -> views.TraceView:
            return views.trace_view(trace, by_id, status, reported=reported)

        return await self._page("trace.html", view, links=PageLinks.of(request), page="Traces", call=call)

    async def _call(self, by_id: Mapping[str, Summary], status: TraceStatus, trace_id: str) -> CallView:
        own = by_id[trace_id]
        # By time only where nothing certain joins anything: the audit takes time.
        judged = self._auditor.latest() if not status.torn and (own.calls.begun or own.calls.entries) else None
        known = await asyncio.to_thread(suspects, own, by_id.values(), judged.audit) if judged else Suspects()
        near = [one for pair in known.sure for one in (pair.above, pair.below) if one != trace_id]
        others = dict.fromkeys([*status.siblings, *near])
        ids, left_out = chosen(own, [by_id[one] for one in others if one in by_id])
        held = [self._store.chunks(one) for one in ids]

        def view() -> CallView:
            return call_view([read_trace(chunks) for chunks in held if chunks], status, known, left_out)

        return await asyncio.to_thread(view)

    async def events(self, request: Request) -> Response:
        trace_id, span_id = request.path_params["trace_id"].lower(), request.path_params["span_id"].lower()
        trace = self._store.trace(trace_id)
        if trace is None:
            return await self._gone(request, trace_id)
        view = views.events_view(trace, span_id, _page_number(request.query_params.get("page", "1")))
        if view is None:
            return await self.problem(404, "This span is not here", [f"The trace has no span {span_id[:64]}."])
        return await self._page("events.html", lambda: view, page="Traces")

    async def paths(self, request: Request) -> Response:
        at, seen, call = _range(request), await self._see(), request.query_params.get("call", "")

        def view() -> views.PathsView:
            return views.paths_view(seen.within(at), seen.statuses(), call)

        return await self._page("paths.html", view, links=PageLinks.of(request), page="End to end", at=at, call=call)

    async def propagation(self, _: Request) -> Response:
        judged = await self._auditor.current()

        def view() -> views_audit.AuditView:
            return views_audit.audit_view(judged.audit, judged.at_ns)

        return await self._page("propagation.html", view, page="Propagation")

    async def propagation_of(self, request: Request) -> Response:
        name, judged = request.path_params["service"], await self._auditor.current()
        service = judged.service(name)
        if service is None:
            return await self.problem(404, "This service is not here", [f"No span of {name[:200]} is in the store."])
        examples = await self._auditor.examples(service)

        def view() -> views_audit.ServiceView:
            return views_audit.service_view(service, examples, judged.languages.get(name, ()))

        return await self._page("propagation_service.html", view, page="Propagation", node=fold(name))

    async def _gone(self, request: Request, trace_id: str) -> Response:
        """To the script of an open page 204, which leaves what it shows; 404 would be an error on its console."""
        if request.headers.get("x-live"):
            return Response(status_code=204)
        return await self.problem(404, "This trace is not here", _gone(trace_id))

    async def problem(self, status: int, title: str, lines: Iterable[str]) -> Response:
        """A page that says what is wrong and what to do next."""
        return await self._page("problem.html", lambda: None, status, page="", title=title, lines=tuple(lines))

    async def _see(self) -> Seen:
        await settled(self._store)
        return Seen(
            time.time_ns(),
            tuple(self._store.summaries()),
            tuple(self._calls),
            self._store.lost_ns,
            _judged(self._auditor.last),
        )

    async def _page(
        self,
        template: str,
        view: Callable[[], object],
        status: int = 200,
        links: PageLinks | None = None,
        **values: Any,
    ) -> Response:
        state = self._state()

        def write() -> str:
            made = self._environment.get_template(template)
            return made.render(links=links or PageLinks(), state=state, view=view(), **values)

        return HTMLResponse(await asyncio.to_thread(write), status)


def _judged(audit: "Audit | None") -> Judged:
    """By the services' names in pictures, without their namespace."""
    words = [(fold(one.service), one.verdict.value) for one in audit.services] if audit else []
    return Judged(
        cutters=frozenset(name for name, word in words if word in {"cuts", "partly"}),
        jobs=frozenset(name for name, word in words if word == "job"),
    )


def _gone(trace_id: str) -> tuple[str, ...]:
    return (
        f"No span of {trace_id[:64]} is in the store.",
        "It may have made room for newer ones: the oldest go first, and the foot of each page counts them.",
        "If its call has just been made, wait: this page shows it as soon as its first span comes in.",
    )


def _range(request: Request) -> Range:
    name = request.query_params.get("range", "")
    return Range(name if name in _RANGES else _USUAL)


class Form:
    """The filter as it was typed, what it means, and what is wrong with it."""

    def __init__(self, request: Request) -> None:
        given = request.query_params
        self.service, self.id = given.get("service", ""), given.get("id", "").strip()
        self.path, self.edge, self.call = given.get("path", ""), given.get("edge", ""), given.get("call", "")
        self.state = given.get("state", "") if given.get("state") in _STATES else ""
        self.min = given.get("min", "").strip()
        self.errors = {"min": ""}
        self.page = _page_number(given.get("page", "1"))
        fields = {"service": self.service, "state": self.state, "min": self.min, "id": self.id}
        fields |= {"path": self.path, "edge": self.edge, "call": self.call}
        self.params = {name: value for name, value in fields.items() if value}
        self.filter = views.Filter(
            self.service, self.state, self._min_ns(), self.id.lower(), self.path, self.edge, self.call
        )

    def _min_ns(self) -> int:
        try:
            return parse_duration(self.min.replace(" ", "")) if self.min else 0
        except ValueError as error:
            self.errors["min"] = f"{error}; this part of the filter is left out"
            return 0


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 8 and int(text) else 1
