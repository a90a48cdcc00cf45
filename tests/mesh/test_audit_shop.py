"""The audit of eight services behind real Envoys: who cuts is named, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mesh.support import Mesh, mesh
from tests.mesh.test_otel import audit, talk_at_random
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

EXAMPLE = ROOT / "docs" / "examples" / "shop.yaml"
CALLS = 150


def words(one: Mesh) -> dict[str, str]:
    """Of each service, once the spans of all calls and 20 of the timer's are in."""

    def found() -> dict[str, str]:
        services = audit(one)
        made = {name: service["calls_out"] for name, service in services.items()}
        if made.get("payment", 0) < CALLS or made.get("cart", 0) < CALLS or made.get("mailer", 0) <= 20:
            return {}
        return {name: service["verdict"] for name, service in services.items()}

    return wait_for(found, "the spans of all calls", timeout=120)


def beating_faster(text: str) -> str:
    """Its timer shows its beat within seconds."""
    assert "every: 2s" in text
    return text.replace("every: 2s", "every: 500ms")


@pytest.mark.full
@pytest.mark.parametrize("mended", [False, True], ids=["two cut", "mended"])
def test_who_cuts_is_named_and_nobody_else(tmp_path: Path, mended: bool) -> None:
    """By unary calls alone, which cart passes on: its streams are in the ten minutes of docs/audit.md."""
    text = beating_faster(EXAMPLE.read_text())
    if mended:
        text = text.replace("propagate: [x-request-id]", "").replace("propagate: {streams: none}", "")
    (tmp_path / "shop.yaml").write_text(text)
    with mesh("--topology", str(tmp_path / "shop.yaml")) as one:
        talk_at_random(one.target, calls=CALLS)
        found = words(one)
    cutting = {name for name, word in found.items() if word in {"cuts", "partly"}}
    assert cutting == (set() if mended else {"payment"})
    assert {found["frontend"], found["checkout"], found["catalog"], found["cart"]} == {"whole"}
