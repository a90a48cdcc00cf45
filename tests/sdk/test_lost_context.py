"""Services without a mesh, whose SDK makes the spans: the audit names the one that loses context, and says where."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from scripts.examples import kept
from tests.docs.kinds import download, java_program, need, node_program
from tests.store.support import Store, running_store
from tests.support.arrivals import call_at_random
from tests.support.processes import ROOT
from tests.support.server import grpc_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.full

CALLS, RATE = 150, 20
HERE = ROOT / "tests" / "sdk"
PACKAGES = HERE / "node"
Command = Sequence[str | Path]


def python(_: Path) -> Command:
    return (sys.executable, "-m", "tests.sdk.cart")


def node(_: Path) -> Command:
    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGES / name, folder)
        download((need("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"), folder)

    return node_program(PACKAGES / "cart.js", kept("node-sdk", PACKAGES / "package-lock.json", install))


def java(folder: Path) -> Command:
    return java_program(HERE / "java" / "Cart.java", folder, "java-sdk")


@contextmanager
def cart(command: Command, context: str, stock: str, store: Store) -> Iterator[str]:
    """The service, by its address; it is told to end, so that its last spans are sent."""
    words = [str(word) for word in (*command, context, stock, f"http://{store.otlp_http}/v1/traces")]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def stock_handler() -> grpc.GenericRpcHandler:
    def echo(request: bytes, _: grpc.ServicerContext) -> bytes:
        return request

    take: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    return grpc.method_handlers_generic_handler("shop.Stock", {"Take": take})


def get_at_random(target: str) -> None:
    """One call first, for which a JVM loads its classes: calls of a second tell nothing within ten."""
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        get: Any = channel.unary_unary("/shop.Cart/Get")
        assert get(b"one", timeout=60) == b"one"
        answers = call_at_random(lambda _: get.future(b"one", timeout=60), CALLS, RATE)
    assert answers == [b"one"] * CALLS


def audit(store: Store) -> dict[str, Any]:
    command = [sys.executable, "-m", "grpc_tracing", "audit", "--traces", f"http://{store.http}", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found: dict[str, Any] = json.loads(ended.stdout) if ended.stdout else {"services": []}
    return found


def all_in(store: Store) -> dict[str, Any]:
    def service() -> dict[str, Any]:
        found = [one for one in audit(store)["services"] if one["service"] == "cart"]
        return found[0] if found and found[0]["calls_out"] == CALLS + 1 else {}

    return wait_for(service, "the spans of all calls")


@pytest.mark.parametrize(("context", "verdict", "where"), [("lost", "cuts", "inside"), ("kept", "whole", None)])
@pytest.mark.parametrize("language", [python, node, java], ids=["python", "node", "java"])
def test_a_context_lost_in_a_pool_is_a_cut_inside(
    language: Callable[[Path], Command], context: str, verdict: str, where: str | None, tmp_path: Path
) -> None:
    command = language(tmp_path)
    with running_store() as store, grpc_server(stock_handler()) as stock:
        with cart(command, context, stock, store) as target:
            get_at_random(target)
        found = all_in(store)
    assert (found["verdict"], found["where"]) == (verdict, where), found
