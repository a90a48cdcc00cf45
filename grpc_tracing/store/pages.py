"""The pages: topology, traces, one trace, end-to-end aggregation, propagation."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from grpc_tracing.spans.names import fold
from grpc_tracing.spans.tree import Trace
from grpc_tracing.store import listing, views, views_audit, views_many
from grpc_tracing.store.asking import USUAL, Form, Range, moment_error, moment_or, page_number
from grpc_tracing.store.auditing import Auditor
from grpc_tracing.store.differences import compared
from grpc_tracing.store.standing import Seen, Standing
from grpc_tracing.store.store import TraceStore, read_trace
from grpc_tracing.store.suspects import Suspects, suspects
from grpc_tracing.store.trace_pages import TracePages
from grpc_tracing.store.trace_status import TraceStatus
from grpc_tracing.store.views_call import CallView, call_view, chosen


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Links between the pages of this server, which keep what was asked for.

    `kept` are the time range, where it is not the usual one, and the filter and page of the list that one came by.
    """

    kept: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request) -> Self:
        """Values that mean nothing are left out, empty ones too."""
        at, form = Range.of(request.query_params), Form.of(request.query_params)
        return cls(_without_defaults({**at.params, **form.params, "page": str(form.page)}))

    def page(self, path: str) -> str:
        """Another page, in the same time range."""
        return _url(path, self._range())

    def back(self) -> str:
        """The list that this trace was found in."""
        return _url("/traces", self.kept)

    def trace(self, trace_id: str) -> str:
        return _url(f"/trace/{trace_id}", self.kept)

    def raw(self, trace_id: str) -> str:
        """The trace with its times as they were reported."""
        return _url(f"/trace/{trace_id}", {**self.kept, "clocks": "raw"})

    def stretch(self, trace_id: str, first: int, **asked: str) -> str:
        """The trace with its rows from this one on."""
        return _url(f"/trace/{trace_id}", _without_defaults({**self.kept, **asked, "row": str(first or "")}))

    def one(self, trace_id: str, key: str) -> str:
        """A span on a page of its own."""
        return f"/trace/{trace_id}/span/{quote(key, safe='')}"

    def otlp(self, trace_id: str) -> str:
        return f"/trace/{trace_id}/otlp.json"

    def events(self, trace_id: str, span_id: str) -> str:
        return f"/trace/{trace_id}/events/{span_id}"

    def traces(self, **filters: str) -> str:
        return _url("/traces", _without_defaults({**self._range(), **filters}))

    def node(self, name: str) -> str:
        """A service's own page, in the same time range."""
        return _url(f"/node/{quote(name, safe='')}", self._range())

    def changes(self, **filters: str) -> str:
        """Before and after a moment, in the same time range."""
        return _url("/changes", _without_defaults({**self._range(), **filters}))

    def compare(self, trace_id: str) -> str:
        """This trace and one more."""
        return _url("/compare", {"a": trace_id})

    def paths(self, **filters: str) -> str:
        """The end-to-end aggregation, in the same time range."""
        return _url("/paths", _without_defaults({**self._range(), **filters}))

    def _range(self) -> dict[str, str]:
        return {name: value for name, value in self.kept.items() if name in {"range", "from", "to"}}

    def json(self, trace_id: str) -> str:
        return f"/api/v3/traces/{trace_id}"

    def propagation(self, service: str, place: int) -> str:  # noqa: ARG002 - a page of its own has no place
        return f"/propagation/{quote(service, safe='')}"

    def span(self, trace_id: str) -> str:
        return self.trace(trace_id)


def _without_defaults(params: Mapping[str, str]) -> dict[str, str]:
    usual = {"range": USUAL, "page": "1"}
    return {name: value for name, value in params.items() if value and value != usual.get(name)}


def _url(path: str, params: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(params)}" if params else path


class Pages:
    """The pages over one store.

    Views are pure functions of what was seen: they and the templates work in a thread, so that thousands of traces on a
    page keep no exporter waiting. Envoy's waits half a second.
    """

    def __init__(
        self,
        store: TraceStore,
        standing: Standing,
        auditor: Auditor,
        environment: Environment,
        state: Callable[[], dict[str, object]],
    ) -> None:
        self._store = store
        self._auditor = auditor
        self._standing = standing
        self._environment = environment
        self._state = state

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.topology),
            Route("/traces", self.traces),
            *self._of_one_trace().routes(),
            Route("/trace/{trace_id}/events/{span_id}", self.events),
            Route("/paths", self.paths),
            Route("/node/{node:path}", self.node),
            Route("/changes", self.changes),
            Route("/compare", self.compare),
            Route("/propagation", self.propagation),
            Route("/propagation/{service:path}", self.propagation_of),
        ]

    def _of_one_trace(self) -> TracePages:
        return TracePages(
            self._store,
            see=self._standing.current,
            write=self._answer,
            gone=self._gone,
            missing=self._no_span,
            call=self._call,
        )

    async def topology(self, request: Request) -> Response:
        seen, at = await self._standing.current(), Range.of(request.query_params)

        weight = views_many.weight_of(request.query_params.get("weight", ""))

        def view() -> views_many.TopologyView:
            return views_many.topology_view(seen.within(at.bounds(seen.now_ns)), seen.now_ns, weight)

        shown: dict[str, Any] = {"at": at, "weight": weight}
        return await self._page("topology.html", view, links=PageLinks.of(request), page="Topology", **shown)

    async def node(self, request: Request) -> Response:
        seen, at, node = await self._standing.current(), Range.of(request.query_params), request.path_params["node"]

        def view() -> views_many.NodeView:
            return views_many.node_view(seen.within(at.bounds(seen.now_ns)), node, seen.now_ns)

        return await self._page("node.html", view, links=PageLinks.of(request), page="Topology", at=at, node=node)

    async def traces(self, request: Request) -> Response:
        seen, at, form = await self._standing.current(), Range.of(request.query_params), Form.of(request.query_params)

        def view() -> listing.ListView:
            among = seen.within(at.bounds(seen.now_ns))
            return listing.list_view(among, seen.statuses, form.wanted, self._store.chunks)

        shown: dict[str, Any] = {"at": at, "moments": at.errors(), "filters": form, "sorts": listing.SORTS}
        return await self._page("traces.html", view, links=PageLinks.of(request), page="Traces", **shown)

    async def _call(self, seen: Seen, status: TraceStatus, trace_id: str) -> CallView:
        own, by_id = seen.by_id[trace_id], seen.by_id
        # By time only where nothing certain joins anything: the audit takes time.
        judged = self._auditor.latest() if not status.torn and (own.calls.begun or own.calls.entries) else None
        # Of those here now: the thread goes on while others come.
        known = await asyncio.to_thread(suspects, own, tuple(by_id.values()), judged.audit) if judged else Suspects()
        near = [one for pair in known.sure for one in (pair.above, pair.below) if one != trace_id]
        others = dict.fromkeys([*status.siblings, *near])
        ids, left_out = chosen(own, [by_id[one] for one in others if one in by_id])
        # One piece is sewn to nothing, and a long one takes long to read.
        held = [self._store.chunks(one) for one in ids] if len(ids) > 1 or len(own.tops) > 1 else []

        def view() -> CallView:
            return call_view([read_trace(chunks) for chunks in held if chunks], status, known, left_out)

        return await asyncio.to_thread(view)

    async def _read(self, trace_id: str) -> Trace | None:
        """None where it is not here."""
        chunks = self._store.chunks(trace_id)
        return await asyncio.to_thread(read_trace, chunks) if chunks else None

    async def events(self, request: Request) -> Response:
        trace_id, span_id = request.path_params["trace_id"].lower(), request.path_params["span_id"].lower()
        trace = await self._read(trace_id)
        if trace is None:
            return await self._gone(request, trace_id)
        view = views.events_view(trace, span_id, page_number(request.query_params.get("page", "1")))
        if view is None:
            return await self._no_span(span_id)
        return await self._page("events.html", lambda: view, page="Traces")

    async def paths(self, request: Request) -> Response:
        seen, at = await self._standing.current(), Range.of(request.query_params)
        call, row = (request.query_params.get(name, "") for name in ("call", "row"))

        def view() -> views_many.PathsView:
            return views_many.paths_view(seen.within(at.bounds(seen.now_ns)), call, row)

        return await self._page("paths.html", view, links=PageLinks.of(request), page="End to end", at=at, call=call)

    async def changes(self, request: Request) -> Response:
        seen, at = await self._standing.current(), Range.of(request.query_params)
        split, call = (request.query_params.get(name, "").strip() for name in ("at", "call"))
        error = moment_error(split)

        def view() -> views_many.ChangesView:
            among = seen.within(at.bounds(seen.now_ns))
            moment = views_many.middle(among, seen.now_ns)
            return views_many.changes_view(among, moment_or(split, seen.now_ns, moment), call)

        shown: dict[str, Any] = {"at": at, "split": split, "call": call, "error": error}
        return await self._page("changes.html", view, links=PageLinks.of(request), page="End to end", **shown)

    async def compare(self, request: Request) -> Response:
        ids = [request.query_params.get(name, "").strip().lower() for name in ("a", "b")]
        seen = await self._standing.current()
        traces = [await self._read(one) for one in ids]
        problems = [
            f"No span of {one[:64]} is in the store."
            for one, trace in zip(ids, traces, strict=True)
            if one and not trace
        ]
        first, second = traces
        shown: dict[str, Any] = {"first": ids[0], "second": ids[1], "problems": problems, "pairs": (), "others": ()}
        if first and second:
            shown |= await asyncio.to_thread(compared, first, second)
        elif first and (own := seen.by_id.get(ids[0])):
            among = seen.within(Range("all").bounds(seen.now_ns))
            shown["others"] = await asyncio.to_thread(views_many.alike, among, own)
        return await self._page("compare.html", lambda: None, links=PageLinks.of(request), page="Traces", **shown)

    async def propagation(self, _: Request) -> Response:
        judged = await self._auditor.current()

        def view() -> views_audit.AuditView:
            return views_audit.audit_view(judged.audit, judged.at_ns)

        return await self._page("propagation.html", view, page="Propagation", matrix=judged.wholeness)

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

    async def _no_span(self, key: str) -> Response:
        return await self.problem(404, "This span is not here", [f"The trace has no span {key[:64]}."])

    async def problem(self, status: int, title: str, lines: Iterable[str]) -> Response:
        """A page that says what is wrong and what to do next."""
        return await self._page("problem.html", lambda: None, status, page="", title=title, lines=tuple(lines))

    async def _answer(self, request: Request, template: str, view: Callable[[], object], **values: Any) -> Response:
        return await self._page(template, view, links=PageLinks.of(request), **values)

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


def _gone(trace_id: str) -> tuple[str, ...]:
    return (
        f"No span of {trace_id[:64]} is in the store.",
        "It may have made room for newer ones: the oldest go first, and the foot of each page counts them.",
        "If its call has just been made, wait: this page shows it as soon as its first span comes in.",
    )
