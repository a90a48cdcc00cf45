"""The guide to the trace store names every page."""

import re
from types import SimpleNamespace
from typing import Any

from starlette.routing import Route

from grpc_tracing.store.pages import Pages
from tests.support.processes import ROOT

NAMES = {"trace_id": "ID", "span_id": "SPAN", "key": "SPAN", "node": "NAME", "service": "NAME"}
FOR_THE_SCRIPT = {"/trace/ID/rows", "/trace/ID/find"}


def test_every_page_of_the_store_is_in_its_guide() -> None:
    nothing: Any = SimpleNamespace(current=None)
    routes = Pages(nothing, nothing, nothing, nothing, nothing).routes()
    served = {spelled(route.path) for route in routes if isinstance(route, Route)} - FOR_THE_SCRIPT
    named = set(re.findall(r"`(/[^`]*)`", (ROOT / "docs" / "store.md").read_text()))
    assert sorted(served - named) == []


def spelled(path: str) -> str:
    """As the guide does: `/trace/ID`."""
    return re.sub(r"{(\w+)(?::path)?}", lambda found: NAMES[found[1]], path)
