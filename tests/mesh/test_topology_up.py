"""`up --topology` as people type it: a graph behind real Envoys, and the line for a file that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.support import Mesh, call, mesh, run
from tests.support.waiting import wait_for

SHOP = """
services:
  shop: {calls: [cart, stock]}
  cart: {calls: [stock], propagate: none, replicas: 2}
  stock: {delay: 50ms}
  timer: {jobs: [{calls: stock, every: 100ms}]}
"""
SERVER, CLIENT = 2, 3
ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    file = tmp_path_factory.mktemp("shop") / "shop.yaml"
    file.write_text(SHOP)
    with mesh("--topology", str(file)) as one:
        yield one


def test_a_call_fans_out_and_a_service_that_forwards_nothing_begins_a_trace(shop: Mesh) -> None:
    answered = call(shop.target, ("traceparent", f"00-{ID}-b7ad6b7169203331-01"))
    assert answered.path == ["shop", "cart", "stock"]
    assert answered.trace_ids[0] == ID
    assert len(answered.trace_ids) == 2
    kinds = {(span["service"], span["kind"]) for span in shop.spans(ID, 6)}
    assert kinds == {("ingress", CLIENT), ("shop", SERVER), ("shop", CLIENT), ("cart", SERVER), ("stock", SERVER)}
    begun = {(span["service"], span["kind"]) for span in shop.spans(answered.trace_ids[1], 2)}
    assert begun == {("cart", CLIENT), ("stock", SERVER)}


def test_a_delay_is_spent_at_the_service_that_has_it(shop: Mesh) -> None:
    hops = {hop.service: hop for hop in call(shop.target).hops}
    assert hops["cart"].later_us >= 50_000


def test_a_timer_begins_traces_that_follow_no_call(shop: Mesh) -> None:
    def found() -> bool:
        done = run("-m", "grpc_tracing", "fetch", "--traces", shop.facts["traces"], "--last", "1m", "-o", str(kept))
        return done.returncode == 0 and '"timer' in kept.read_text()

    kept = Path(shop.state) / "logs" / "spans.jsonl"
    wait_for(found, "spans of the timer")


def test_a_file_that_is_wrong_is_one_line_and_2(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("services: {a: {calls: [c]}, b: }")
    ended = run("-m", "mesh", "up", "--topology", str(file))
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert f"{file}: services.a.calls[0]: 'c' is none of the services" in ended.stderr
