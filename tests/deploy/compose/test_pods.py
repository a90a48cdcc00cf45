"""What compose's one-shot writes, and that compose.yaml, the topology and it say the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from chain import topology
from deploy.compose import pods
from deploy.compose.place import JAEGER_PORTS, PORTS
from mesh.envoy import binary
from tests.deploy.kubernetes.rendering import ROOT


@pytest.fixture
def made(tmp_path: Path) -> Path:
    assert pods.main([str(tmp_path)]) == 0
    return tmp_path


def test_each_workload_gets_its_own_identity_and_the_common_authority(made: Path) -> None:
    for workload in pods.WORKLOADS:
        found = sorted(path.name for path in (made / workload).iterdir())
        assert found == ["ca.pem", "envoy.yaml", f"{workload}.key", f"{workload}.pem"]
        assert (made / workload / f"{workload}.key").stat().st_mode & 0o777 == 0o600
        certificate = x509.load_pem_x509_certificate((made / workload / f"{workload}.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        identities = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert identities == [topology.spiffe_id(workload)]
    assert len({(made / workload / "ca.pem").read_bytes() for workload in pods.WORKLOADS}) == 1


def test_a_second_run_keeps_the_identities(made: Path) -> None:
    before = _keys(made)
    assert pods.main([str(made)]) == 0
    assert _keys(made) == before


def test_a_lost_identity_renews_all_since_the_authority_is_gone(made: Path) -> None:
    before = _keys(made)
    (made / "svc2" / "svc2.key").unlink()
    assert pods.main([str(made)]) == 0
    assert all(new != old for new, old in zip(_keys(made), before, strict=True))


def test_an_identity_that_soon_ends_renews_all(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _keys(made)
    monkeypatch.setattr("deploy.compose.pods._RENEW_WITHIN", pods._RENEW_WITHIN * 100)
    assert pods.main([str(made)]) == 0
    assert all(new != old for new, old in zip(_keys(made), before, strict=True))


def _keys(root: Path) -> list[bytes]:
    return [(root / workload / f"{workload}.key").read_bytes() for workload in pods.WORKLOADS]


def test_envoy_takes_every_configuration(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for workload in pods.WORKLOADS:
        monkeypatch.setattr("deploy.compose.pods.FOLDER", made / workload)
        (made / workload / "envoy.yaml").write_text(yaml.safe_dump(pods.configuration(workload, "traces")))
    binary.validate(binary.find(), [made / workload / "envoy.yaml" for workload in pods.WORKLOADS])


def test_without_a_folder_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert pods.main([]) == 2
    assert capsys.readouterr().err == "usage: python -m deploy.compose.pods FOLDER\n"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def test_compose_has_a_pod_for_each_service_and_a_volume_for_each_workload(compose: dict[str, Any]) -> None:
    pods_of = [f"{service}{part}" for service in topology.DEFAULT.services for part in ("", "-pod", "-sidecar")]
    assert set(compose["services"]) == {*pods_of, "identities", "ingress", "traces", "jaeger"}
    assert set(compose["volumes"]) == set(pods.WORKLOADS)
    mounted = [volume.split(":") for volume in compose["services"]["identities"]["volumes"]]
    assert mounted == [[workload, f"/pods/{workload}"] for workload in pods.WORKLOADS]


@pytest.mark.parametrize("service", topology.DEFAULT.services)
def test_a_compose_pod_is_wired_as_its_envoy_expects(compose: dict[str, Any], service: str) -> None:
    parts = compose["services"]
    app, pod, sidecar = parts[service], parts[f"{service}-pod"], parts[f"{service}-sidecar"]
    last = topology.DEFAULT.next_hop(service) is None
    assert app["environment"]["TALK_LISTEN"] == f"{pods.APP.host}:{pods.APP.port}"
    onward = f"ipv4:{pods.OUTBOUND.host}:{pods.OUTBOUND.port}"
    assert app["environment"]["TALK_NEXT_HOP"] == ("none" if last else onward)
    assert f'insecure_channel("{pods.APP.host}:{pods.APP.port}", ' in app["healthcheck"]["test"][-1]
    assert (app["command"], sidecar["volumes"]) == ([service], [f"{service}:{pods.FOLDER}:ro"])
    assert app["network_mode"] == sidecar["network_mode"] == f"service:{service}-pod"
    assert pod["networks"]["default"]["aliases"] == [topology.host(service)]


def test_compose_starts_envoy_as_the_local_mesh_does(compose: dict[str, Any]) -> None:
    expected = binary.command(Path("envoy"), pods.FOLDER / "envoy.yaml")
    for name in ("ingress", *(f"{service}-sidecar" for service in topology.DEFAULT.services)):
        envoy = compose["services"][name]
        assert [*envoy["entrypoint"], *envoy["command"]] == expected
        assert f'Path("{pods.ADMIN.path}")' in envoy["healthcheck"]["test"][-1]


def test_compose_publishes_the_topology_s_ports_on_the_loopback(compose: dict[str, Any]) -> None:
    published = [port for name in ("ingress", "traces", "jaeger") for port in compose["services"][name]["ports"]]
    # Jaeger's are one higher here, where the trace store has the same.
    defaults = [*((port, port.inside) for port in PORTS), *((port, port.inside + 1) for port in JAEGER_PORTS)]
    assert published == [f"127.0.0.1:${{{port.variable}:-{default}}}:{port.inside}" for port, default in defaults]


def test_compose_s_health_checks_never_use_a_proxy(compose: dict[str, Any]) -> None:
    for service in topology.DEFAULT.services:
        assert '("grpc.enable_http_proxy", 0)' in compose["services"][service]["healthcheck"]["test"][-1]
    assert "ProxyHandler({})" in compose["services"]["traces"]["healthcheck"]["test"][-1]


def test_every_long_running_container_of_compose_is_locked(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        locks = (service["user"], service["read_only"], service["cap_drop"], service["security_opt"])
        assert locks == ("65532:65532", True, ["ALL"], ["no-new-privileges:true"]), name


@pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")
def test_compose_accepts_the_file() -> None:
    from deploy.compose.place import Compose

    assert Compose({}, jaeger=True)("config", "--quiet").returncode == 0
