"""The checks of the manifests are worth what they catch: each mistake planted here has to be found."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deploy.kubernetes.references import problems
from tests.deploy.kubernetes.rendering import COMPONENTS, K8S, Object, render, render_with
from tests.deploy.kubernetes.schemas import schema_problem

# Maps whose keys are the user's own.
FREE_FORM = {"labels", "annotations", "matchLabels", "headers", "requests", "limits"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    return render_with(COMPONENTS, tmp_path_factory.mktemp("everything"))


@pytest.fixture
def everything(rendered: list[Object]) -> list[Object]:
    return copy.deepcopy(rendered)


def _maps(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in an object a field can stand that its schema has to know."""
    if isinstance(node, dict) and not (path and path[-1] in FREE_FORM) and path[-2:] != ("spec", "selector"):
        yield path
        for key, value in node.items():
            yield from _maps(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _maps(value, (*path, index))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@pytest.mark.full
def test_an_unknown_field_anywhere_in_any_object_is_found(everything: list[Object]) -> None:
    planted, missed = 0, []
    for found in everything:
        for path in _maps(found):
            changed = copy.deepcopy(found)
            _at(changed, path)["plantedField"] = "x"
            planted += 1
            if schema_problem(changed) is None:
                missed.append((found["kind"], found["metadata"]["name"], path))
    assert planted > 300
    assert missed == []


# What an API server refused when it was tried, and its schema alone would let pass.
REFUSED = [
    ("VirtualService", "grpc-server-svc2", ("spec", "http", 0, "timeout"), "0s"),
    ("VirtualService", "grpc-server-svc3", ("spec", "http", 1, "fault", "delay", "fixedDelay"), "0s"),
    ("DestinationRule", "grpc-server-svc1", ("spec", "trafficPolicy", "connectionPool", "tcp", "connectTimeout"), "1"),
]


@pytest.mark.parametrize(("kind", "name", "path", "value"), REFUSED)
def test_a_value_that_an_api_server_refuses_is_found(
    everything: list[Object], kind: str, name: str, path: tuple[Any, ...], value: str
) -> None:
    found = next(one for one in everything if (one["kind"], one["metadata"]["name"]) == (kind, name))
    assert schema_problem(found) is None
    _at(found, path[:-1])[path[-1]] = value
    assert schema_problem(found) is not None


def _set(*path: Any, to: Any) -> Callable[[Object], None]:
    def plant(found: Object) -> None:
        parent = _at(found, path[:-1])
        assert not isinstance(parent, dict) or parent.get(path[-1]) != to, "the mistake has to change something"
        parent[path[-1]] = to

    return plant


_POD = ("spec", "template", "spec")
_TALK = (*_POD, "containers", 0)
_RULE = ("spec", "rules", 0)
_ROUTE = ("spec", "http", 0, "route", 0, "destination")
_PRINCIPAL = "cluster.local/ns/grpc-tracing/sa/nobody"

# Kind, name, what is planted, and what has to be said about it.
MISTAKES = [
    ("Deployment", "grpc-server-svc2", _set(*_POD, "serviceAccountName", to="svc9"), "runs as svc9"),
    ("Deployment", "grpc-server-svc2", _set(*_TALK, "ports", 0, "containerPort", to=9995), "opens port 9996, which"),
    ("Deployment", "grpc-server-svc2", _set(*_TALK, "ports", 0, "name", to="http"), "sends to port grpc"),
    ("Deployment", "grpc-server-svc3", _set(*_TALK, "livenessProbe", "grpc", "port", to=9995), "livenessProbe asks"),
    ("Deployment", "grpc-client", _set(*_POD, "serviceAccountName", to="default"), "runs as default"),
    ("CronJob", "audit", _set("spec", "jobTemplate", *_POD, "serviceAccountName", to="x"), "audit runs as x"),
    (
        "Deployment",
        "grpc-server-svc1",
        _set("spec", "selector", "matchLabels", "app", to="grpc-server-svc2"),
        "matches not its own pods alone",
    ),
    (
        "Deployment",
        "grpc-server-svc3",
        _set("spec", "selector", "matchLabels", to={"app": "grpc-server-svc3"}),
        "matches not its own pods alone",
    ),
    (
        "Deployment",
        "grpc-server-svc3",
        _set(*_POD, "topologySpreadConstraints", 0, "labelSelector", "matchLabels", "app", to="x"),
        "spreads other pods",
    ),
    ("Service", "grpc-server-svc1", _set("spec", "ports", 0, "port", to=9999), "'port': 9996}, which does not"),
    ("Service", "grpc-server-svc1", _set("spec", "ports", 0, "targetPort", to="http"), "sends to port http"),
    ("Service", "grpc-server-svc2", _set("spec", "selector", "app", to="svc2"), "selects no pod"),
    ("Service", "grpc-server-svc3", _set("metadata", "name", to="grpc-server-svc4"), "does not exist"),
    ("Service", "traces", _set("spec", "ports", 0, "targetPort", to="otlp"), "sends to port otlp"),
    ("ServiceAccount", "svc2", _set("metadata", "name", to="svc22"), "runs as svc2, which does not exist"),
    ("ServiceAccount", "svc2", _set("metadata", "namespace", to="default"), "not in the namespace"),
    ("ServiceAccount", "svc3", _set("metadata", "labels", to={}), "lacks our label"),
    ("ServiceAccount", "svc3", _set("metadata", "name", to="svc2"), "stands twice"),
    (
        "PodDisruptionBudget",
        "grpc-server-svc2",
        _set("spec", "selector", "matchLabels", "app", to="svc2"),
        "selects no pod",
    ),
    ("VirtualService", "grpc-server-svc2", _set("spec", "hosts", to=["svc2"]), "is for host svc2"),
    ("VirtualService", "grpc-server-svc2", _set(*_ROUTE, "host", to="svc2"), "sends to svc2"),
    ("VirtualService", "grpc-server-svc2", _set(*_ROUTE, "port", "number", to=9999), "sends to port 9999"),
    ("VirtualService", "grpc-server-svc3", _set(*_ROUTE, "subset", to="v2"), "sends to subset v2"),
    ("VirtualService", "grpc-server-svc2", _set("spec", "gateways", to=["nowhere"]), "bound to gateway nowhere"),
    ("DestinationRule", "grpc-server-svc1", _set("spec", "host", to="svc1"), "is for host svc1"),
    ("DestinationRule", "grpc-server-svc3", _set("spec", "subsets", 1, "labels", "version", to="v3"), "holds no pod"),
    ("AuthorizationPolicy", "grpc-server-svc2", _set("spec", "selector", "matchLabels", "app", to="x"), "no pod"),
    (
        "AuthorizationPolicy",
        "grpc-server-svc2",
        _set(*_RULE, "to", 0, "operation", "ports", to=["9999"]),
        "opens port 9999",
    ),
    (
        "AuthorizationPolicy",
        "grpc-server-svc3",
        _set(*_RULE, "from", 0, "source", "principals", to=[_PRINCIPAL]),
        "sa/nobody in, which does not exist",
    ),
    (
        "AuthorizationPolicy",
        "grpc-tracing-gateway",
        _set("spec", "targetRefs", 0, "name", to="other"),
        "selects no pod",
    ),
    ("Gateway", "grpc-tracing", _set("spec", "listeners", 0, "name", to="other"), "hangs on"),
    ("GRPCRoute", "grpc-tracing", _set("spec", "parentRefs", 0, "name", to="other"), "hangs on"),
    ("GRPCRoute", "grpc-tracing", _set("spec", "rules", 0, "backendRefs", 0, "port", to=9999), "sends to"),
    ("NetworkPolicy", "grpc-server-svc3", _set("spec", "podSelector", "matchLabels", "app", to="x"), "no pod"),
    ("NetworkPolicy", "grpc-server-svc3", _set("spec", "ingress", 0, "ports", 0, "port", to=1), "opens port 1"),
    (
        "NetworkPolicy",
        "grpc-server-svc3",
        _set("spec", "ingress", 0, "from", 0, "podSelector", "matchLabels", "app", to="x"),
        "in, which no pod matches",
    ),
]


@pytest.mark.parametrize(("kind", "name", "plant", "said"), MISTAKES)
def test_a_wrong_reference_is_found(
    everything: list[Object], kind: str, name: str, plant: Callable[[Object], None], said: str
) -> None:
    found = next(one for one in everything if (one["kind"], one["metadata"]["name"]) == (kind, name))
    plant(found)
    assert any(said in problem for problem in problems(everything)), problems(everything)


def test_an_ingress_bound_to_a_gateway_that_is_not_there_is_found() -> None:
    objects = render(K8S / "overlays" / "istio")
    ingress = next(one for one in objects if one["metadata"]["name"] == "grpc-tracing-ingress")
    ingress["spec"]["gateways"] = ["other"]
    assert [problem for problem in problems(objects) if "bound to gateway other" in problem]


def test_every_kind_of_object_has_a_mistake_planted(everything: list[Object]) -> None:
    # These name nothing, and nothing names them: their schema is all there is to hold them against.
    plain = {"Namespace", "PeerAuthentication", "Telemetry"}
    assert {found["kind"] for found in everything} == {kind for kind, *_ in MISTAKES} | plain
