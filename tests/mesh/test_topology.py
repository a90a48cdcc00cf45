"""The file of `up --topology`: what it may say, and the line for what it may not."""

from __future__ import annotations

import pytest

from mesh.errors import MeshError
from mesh.options import Options
from mesh.topology import Job, parse
from tests.support.processes import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "shop.yaml"

WRONG = {
    "services: [": "no YAML",
    "a: b": r"the file\.a: unknown, known are services",
    "services: {a: }": "services: name 2 to 20 services",
    "services: {A: , b: }": r"services\.A: write up to 24 small letters",
    "services: {ingress: , b: }": r"services\.ingress: the mesh itself has such a name",
    "services: {a-2: , b: }": r"services\.a-2: the mesh itself",
    "services: {a: [b], b: }": r"services\.a: write `key: value` lines",
    "services: {a: {call: [b]}, b: }": r"services\.a\.call: unknown, known are calls, .*did you mean calls",
    "services: {a: {calls: b}, b: }": r"services\.a\.calls: write a list, such as \[b\]",
    "services: {a: {calls: [c]}, b: }": r"services\.a\.calls\[0\]: 'c' is none of the services",
    "services: {a: {calls: [b, b]}, b: }": r"services\.a\.calls: name each other service once",
    "services: {a: {calls: [a]}, b: }": r"services\.a\.calls: name each other service once, and not a itself",
    "services: {a: {calls: [b]}, b: {calls: [a]}}": r"services\.b\.calls: a call would never end: a -> b -> a",
    "services: {a: {propagate: [X]}, b: }": r"services\.a\.propagate: 'X' has upper-case letters",
    "services: {a: {propagate: {stream: none}}, b: }": r"services\.a\.propagate\.stream: .*did you mean streams",
    "services: {a: {propagate: {streams: zip}}, b: }": r"services\.a\.propagate\.streams: unknown family 'zip'",
    "services: {a: {delay: 5}, b: }": r"services\.a\.delay: '5' is not a duration",
    "services: {a: {replicas: 10}, b: }": r"services\.a\.replicas: 10 is not 1 to 9",
    "services: {a: {jobs: [{calls: b}]}, b: }": r"services\.a\.jobs\[0\]: write both",
    "services: {a: {jobs: [{calls: b, every: 0s}]}, b: }": r"services\.a\.jobs\[0\]\.every: '0s' is zero",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_what_cannot_be_is_one_line_with_the_path_of_the_field(text: str, said: str) -> None:
    with pytest.raises(MeshError, match=f"^{said}") as refused:
        parse(text)
    assert "\n" not in str(refused.value)


def test_the_example_says_who_calls_whom_and_who_cuts() -> None:
    found = parse(EXAMPLE.read_text())
    assert len(found.services) == 8
    assert found.graph.first == "frontend"
    assert found.graph.next_hops("frontend") == ("checkout", "catalog", "cart")
    assert set(found.graph.callers("ledger")) == {"payment", "mailer"}
    cutting = {name: one for name, one in found.services.items() if (one.propagate, one.by_rpc) != ("default", {})}
    assert set(cutting) == {"payment", "cart"}
    assert set(cutting["cart"].by_rpc) == {"TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional"}
    assert found.services["mailer"].jobs == (Job("ledger", 2.0),)
    assert Options(topology=EXAMPLE.read_text()).replicas_of("catalog") == 2


@pytest.mark.parametrize("also", [{"hops": 4}, {"replicas": 2}, {"run": ("frontend=x",)}])
def test_what_the_file_says_is_not_said_twice(also: dict[str, object]) -> None:
    with pytest.raises(MeshError, match=r"^--topology says which services there are"):
        Options(topology=EXAMPLE.read_text(), **also)  # type: ignore[arg-type]


def test_sampling_by_the_zipkin_tracer_is_refused() -> None:
    with pytest.raises(MeshError, match=r"^--sampling needs --tracer otlp"):
        Options(tracer="zipkin", sampling=10.0)
