"""Records what Jaeger 1 answers: ``python -m tests.backends.record``, with jaeger-all-in-one on PATH."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from grpc_tracing.backends.apis import APIS, SECOND, Window
from grpc_tracing.spans.model import Span
from tests.audit.traffic import Traffic, a_minute_ago
from tests.backends import recording, servers
from tests.backends.sending import export
from tests.support.waiting import wait_for


def sent() -> list[Span]:
    """Few, of a minute ago: a service that cuts and one that does not."""
    traffic = [Traffic("cart", "cart-1", cuts=True, rate=4, seconds=20), Traffic("shop", "shop-1", rate=4, seconds=20)]
    return a_minute_ago(span for one in traffic for span in one.spans())


def answers(url: str, window: Window) -> Mapping[str, tuple[int, str]]:
    """Of all that the audit asks it for."""
    api, found = APIS["jaeger1"], {}
    with httpx.Client(base_url=url, trust_env=False) as http:
        asked: list[tuple[str, dict[str, str]]] = [(api.services, {})]
        asked += [(api.search, api.parameters(name, window, 1000)) for name in ("", "cart", "shop")]
        for path, parameters in asked:
            answer = http.get(path, params={key: value for key, value in parameters.items() if value})
            found[recording.asked(str(answer.url.raw_path, "ascii"))] = (answer.status_code, answer.text)
    return found


def traces(found: Mapping[str, tuple[int, str]]) -> int:
    return sum(body.count('"processes"') for _, body in found.values())


def main(spans: Sequence[Span]) -> None:
    window = Window(min(one.start_ns for one in spans) - SECOND, max(one.end_ns for one in spans) + SECOND)
    with tempfile.TemporaryDirectory() as folder, servers.jaeger1(Path(folder)) as (url, otlp):
        export(otlp, spans)
        wanted = len({span.trace_id for span in spans})
        recording.write(
            spans, wait_for(lambda: found if traces(found := answers(url, window)) >= wanted else {}, "all")
        )


if __name__ == "__main__":
    main(sent())
