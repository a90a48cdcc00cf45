"""Holds an object against the schema of its kind: what the schema does not know is an error, as a typing slip is."""

import copy
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped] # it publishes none
import yaml

from tests.deploy.kubernetes.rendering import ROOT, Object
from tests.support.missing import missing

# The oldest and the newest that ASM and the cloud's clusters run, and one between them.
KUBERNETES_VERSIONS = ("1.28", "1.32", "1.36")

GATEWAY_API = "gateway.networking.k8s.io"


# What Istio's definitions say in CEL, which an API server enforces and JSON Schema has no room for: the rules that can
# be said in its own words.
RULES: Mapping[str, Mapping[str, Any]] = {
    "duration(self) >= duration('1ms')": {"pattern": r"^(?=.*[1-9])(\d+(\.\d+)?(ms|s|m|h))+$"},
    "0 < self && self <= 65535": {"minimum": 1, "maximum": 65535},
    '!self.contains("*")': {"pattern": r"^[^*]*$"},
    'self != "*"': {"not": {"const": "*"}},
}


def is_istio(found: Object) -> bool:
    return str(found["apiVersion"]).split("/")[0].endswith(".istio.io")


def is_gateway_api(found: Object) -> bool:
    return str(found["apiVersion"]).startswith(f"{GATEWAY_API}/")


def schema_problem(found: Object, kubernetes: str = KUBERNETES_VERSIONS[-1]) -> str | None:
    """What the schema says against this object; None where it holds."""
    try:
        if is_istio(found):
            _check(found, istio_schemas()[found["apiVersion"], found["kind"]])
        elif is_gateway_api(found):
            _check(found, GATEWAY_API_SCHEMAS[found["kind"]])
        else:
            kubernetes_validate.validate(found, kubernetes, strict=True)
    except jsonschema.ValidationError as error:
        return f"{found['kind']}/{found['metadata']['name']} {error.json_path}: {error.message}"
    except kubernetes_validate.ValidationError as error:
        return f"{found['kind']}/{found['metadata']['name']}: {error.message}"
    return None


def _check(found: Object, schema: Mapping[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(found)


@cache
def istio_schemas() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """By API version and kind, out of Istio's own definitions."""
    path = Path(os.environ.get("TALK_ISTIO_CRDS", ROOT.parent / "shared" / "istio" / "crd-all.gen.yaml"))
    if not path.exists():
        missing(f"{path} does not exist: TALK_ISTIO_CRDS names a file with Istio's custom resource definitions")
    return dict(_definitions(path))


def _definitions(path: Path) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    for definition in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _closed(copy.deepcopy(version["schema"]["openAPIV3Schema"]))
            schema["properties"] |= _ENVELOPE
            yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


def _closed(schema: Any) -> Any:
    """The same schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(rules := schema.get("x-kubernetes-validations"), list):
        closed["allOf"] = [*closed.get("allOf", []), *(RULES.get(rule["rule"], {}) for rule in rules)]
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


# What a definition leaves to the API server.
_ENVELOPE = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": _object(
        ("name", "namespace"),
        name={"type": "string"},
        namespace={"type": "string"},
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
}

_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}

_FROM = _object() | {"properties": {"from": {"enum": ["All", "Same", "Selector"]}}}

# The part of the Gateway API (v1, standard channel) that our objects use: no package has its schemas.
GATEWAY_API_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "Gateway": _object(
        ("apiVersion", "kind", "metadata", "spec"),
        **_ENVELOPE,
        spec=_object(
            ("gatewayClassName", "listeners"),
            gatewayClassName=_NAME,
            listeners=_list(
                _object(
                    ("name", "port", "protocol"),
                    name=_NAME,
                    port=_PORT,
                    protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP", "UDP", "HBONE"]},  # the last is Istio's
                    allowedRoutes=_object(namespaces=_FROM),
                )
            ),
        ),
    ),
    "GRPCRoute": _object(
        ("apiVersion", "kind", "metadata", "spec"),
        **_ENVELOPE,
        spec=_object(
            ("parentRefs", "rules"),
            parentRefs=_list(_object(("name",), name=_NAME, sectionName=_NAME)),
            rules=_list(_object(backendRefs=_list(_object(("name", "port"), name=_NAME, port=_PORT)))),
        ),
    ),
}
