"""What the ledger keeps of a call in."""

from __future__ import annotations

from grpc_tracing.audit.facts import Fact, Layer
from grpc_tracing.audit.ledger import Ledger, Onward, Place
from grpc_tracing.spans.model import Kind


def fact(span_id: str, parent_id: str, kind: Kind, layer: Layer, target: str = "") -> Fact:
    return Fact("1" * 32, span_id, parent_id, kind, "cart", "cart-1", "", layer, "rpc", target, 1, 2, "")


def test_a_call_out_of_the_sdk_goes_on_from_its_call_in_and_from_the_sidecars() -> None:
    ledger = Ledger()
    ledger.take_facts(
        (
            fact("a", "", Kind.CLIENT, Layer.SIDECAR, "cart")._replace(service="shop"),
            fact("b", "a", Kind.SERVER, Layer.SIDECAR),
            fact("c", "b", Kind.SERVER, Layer.SDK),
            fact("d", "c", Kind.INTERNAL, Layer.SDK),
            fact("e", "d", Kind.CLIENT, Layer.SDK, "stock"),
        )
    )
    ledger.close()
    for layer in Layer:
        (number,) = ledger.calls_in[Place("cart", layer, "cart-1")]["rpc"].goes_on
        assert ledger.onward.sets[number] == {"stock"}


def test_the_sets_of_targets_that_are_kept_are_bounded() -> None:
    onward = Onward()
    assert onward.number(["a", "b"]) == onward.number(["b", "a"]) != 0
    for number in range(10_000):
        onward.number([f"{number}"])
    assert len(onward.sets) < 5000
    assert onward.number(["another"]) == 0
    assert Onward().number(f"{number}" for number in range(1000)) == 0
