import subprocess
import sys
from pathlib import Path

import pytest

from grpc_tracing.calling.limits import MESSAGE_LIMIT, METADATA_LIMIT
from grpc_tracing.headers.families import FAMILIES
from talk.config import SETTINGS, ConfigError, load
from tests.client.certificates import issue
from tests.support.processes import ROOT, environment

GOOD = "name: svc2\nnext_hop: dns:///svc3:9996\n"
PEM = "a file with a certificate"


def written(folder: Path, text: str) -> Path:
    file = folder / "service.yaml"
    file.write_text(text)
    return file


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + "version: v1\ngrace: 10s\n")
    config = load(file, {"TALK_VERSION": "canary", "TALK_GRACE": "1500ms", "TALK_LISTEN": "127.0.0.1:0,[::1]:0"})
    assert (config.identity.version, config.drain.grace) == ("canary", 1.5)
    assert config.listen == ("127.0.0.1:0", "[::1]:0")
    assert config.next_hop is not None
    assert (config.next_hop.target, config.next_hop.name) == ("dns:///svc3:9996", "dns:///svc3:9996")


def test_without_a_file_the_variables_say_all() -> None:
    config = load(None, {"TALK_NAME": "svc4", "TALK_NEXT_HOP": "none"})
    assert (config.identity.service, config.next_hop) == ("svc4", None)


@pytest.mark.parametrize("given", [{}, {"TALK_NAME": "svc4"}])
def test_without_a_file_what_is_missing_is_a_variable(given: dict[str, str]) -> None:
    missing = "TALK_NEXT_HOP" if given else "TALK_NAME"
    with pytest.raises(ConfigError, match=f"^environment: {missing}: missing; write "):
        load(None, given)


def test_another_file_may_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, "name: other\nnext_hop: none\n")
    assert load(Path("nowhere.yaml"), {"TALK_CONFIG": str(file)}).identity.service == "other"


@pytest.mark.parametrize(
    ("text", "listed", "enabled"),
    [
        ("", FAMILIES["w3c"].keys[0], True),
        ("propagate: none\n", "traceparent", False),
        ("propagate: [b3]\n", "x-b3-traceid", True),
        ("propagate: w3c,x-tenant-*\n", "x-tenant-*", True),
        ("propagate_also: [x-lane]\n", "x-lane", True),
    ],
)
def test_propagation_is_the_default_none_or_a_list(tmp_path: Path, text: str, listed: str, enabled: bool) -> None:
    rule = load(written(tmp_path, GOOD + text), {}).propagation
    assert listed in rule.listed
    assert rule.enabled is enabled


@pytest.mark.parametrize(
    ("written_as", "target"),
    [
        ("svc3:9996", "svc3:9996"),
        (":9996", "localhost:9996"),
        ("[::1]:9996", "[::1]:9996"),
        ("dns:///h:1", "dns:///h:1"),
        ("dns://192.0.2.1/h:1", "dns://192.0.2.1/h:1"),
        ("ipv4:1.2.3.4:5,1.2.3.5:6", "ipv4:1.2.3.4:5,1.2.3.5:6"),
        ("ipv6:[::1]:5,[::2]:6", "ipv6:[::1]:5,[::2]:6"),
        ("unix:/s", "unix:/s"),
    ],
)
def test_a_next_hop_is_a_target_that_grpc_knows(tmp_path: Path, written_as: str, target: str) -> None:
    next_hop = load(written(tmp_path, GOOD), {"TALK_NEXT_HOP": written_as}).next_hop
    assert next_hop is not None
    assert next_hop.target == target


@pytest.mark.parametrize(
    ("written_as", "address"),
    [(":9996", "[::]:9996"), ("0.0.0.0:0", "0.0.0.0:0"), ("[::1]:9996", "[::1]:9996"), ("unix:/s", "unix:/s")],
)
def test_an_address_to_listen_on_may_leave_out_the_host(tmp_path: Path, written_as: str, address: str) -> None:
    assert load(written(tmp_path, GOOD), {"TALK_LISTEN": written_as}).listen == (address,)


BAD_FILES = [
    ("next_hop: none\n", "name: missing"),
    ("name: svc2\n", "next_hop: missing; write whom to call, or none"),
    (GOOD + "nexthop: x\n", "nexthop: unknown key; did you mean next_hop?"),
    (GOOD + "listen: ''\n", "listen: no address to listen on: write :9996, 0.0.0.0:9996"),
    (GOOD + "listen: 0.0.0.0\n", "listen: '0.0.0.0' has no port"),
    (GOOD + "listen: ::9996\n", "listen: '::9996' has no host: write HOST:PORT, or [ADDRESS]:PORT for IPv6"),
    (GOOD + "listen: 0.0.0.0:70000\n", "listen: port '70000' is out of range"),
    (GOOD + f"listen: unix:/{'x' * 120}\n", "has 121 bytes: use 1 to 107"),
    (GOOD + "propagate: [zipkin]\n", "propagate: unknown family 'zipkin'"),
    (GOOD + "propagate: []\n", "propagate: no entries; write default, none or a list"),
    (GOOD + "propagate: [X-Lane]\n", "propagate: 'X-Lane' has upper-case letters"),
    (GOOD + "also_call: {svc9: svc9}\n", "also_call: 'svc9' has no port"),
    ("name: svc3\nnext_hop: none\nalso_call: {svc9: ':1'}\n", "also_call: needs a next hop, which answers"),
    (GOOD + "jobs: ['svc9:1']\n", "jobs: 'svc9:1' is no job: write whom to call and how often"),
    (GOOD + "jobs: ['svc9:1 every 0s']\n", "jobs: '0s' is zero"),
    (GOOD + "propagate_by_rpc: {Walk: none}\n", "propagate_by_rpc: 'Walk' is no RPC: use Talk, "),
    (GOOD + "propagate_by_rpc: {Talk: zipkin}\n", "propagate_by_rpc: unknown family 'zipkin'"),
    (GOOD + "propagate_also: [grpc-timeout]\n", "propagate_also: 'grpc-timeout' is reserved"),
    (GOOD + "propagate_also: [x-envoy-retry-on]\n", "propagate_also: 'x-envoy-retry-on' is reserved"),
    (
        GOOD + "grace: 10\n",
        "grace: '10' is not a duration: write a number with ms, s, m or h, for example 500ms or 10s",
    ),
    (GOOD + "retry: perhaps\n", "retry: 'perhaps' is no switch"),
    (GOOD + "log_format: xml\n", "log_format: 'xml' is no log format"),
    (GOOD + "tls_cert: /nowhere.pem\n", "tls_cert: cannot read /nowhere.pem"),
    (GOOD + f"tls_cert: {ROOT}/LICENSE\n", f"tls_cert: no PEM in {ROOT}/LICENSE"),
    (GOOD + "next_hop_authority: svc3\n", "next_hop_ca: missing; name the CA"),
    ("name: [a\n", "no YAML"),
    ("version: 2025-02-30\n", "no YAML: day is out of range"),
    ("- a\n- b\n", "holds a list"),
    ("name: svc 2\nnext_hop: none\n", "name: 'svc 2' is no name"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_with_file_key_and_fix(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert str(refused.value).startswith(str(file))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TALK_NEXT_HOP": "dns:///:9996"}, "environment: TALK_NEXT_HOP: ':9996' has no host"),
        (
            {"TALK_NEXT_HOP": "dns:///svc3:9996/path"},
            "environment: TALK_NEXT_HOP: 'dns:///svc3:9996/path' is not a target: write dns:///HOST:PORT",
        ),
        ({"TALK_NEXT_HOP": "svc3"}, "environment: TALK_NEXT_HOP: 'svc3' has no port: write HOST:PORT"),
        ({"TALK_NEXT_HOP": "dns:///svc3:0"}, "port '0' is out of range"),
        ({"TALK_NEXT_HOP": "ipv4:svc3:9996"}, "'svc3' is not an address of ipv4: for a name write dns:///HOST:PORT"),
        ({"TALK_NEXT_HOP": "ipv4:1.2.3.4:5,[::1]:5"}, "'::1' is not an address of ipv4"),
        ({"TALK_NEXT_HOP": "ipv6:1.2.3.4:5"}, "'1.2.3.4' is not an address of ipv6"),
        ({"TALK_PROPAGTE": "none"}, "environment: TALK_PROPAGTE: unknown variable; did you mean TALK_PROPAGATE?"),
        ({"TALK_CONFIG": "/nowhere.yaml"}, "/nowhere.yaml: No such file or directory"),
        ({"TALK_PROPAGATE": ""}, "environment: TALK_PROPAGATE: no entries; write default, none or a list"),
        ({"TALK_TLS_CERT": PEM}, "TALK_TLS_CERT: a certificate needs its key"),
        ({"TALK_TLS_CLIENT_CA": PEM}, "TALK_TLS_CLIENT_CA: needs a certificate of our own"),
        ({"TALK_NEXT_HOP_KEY": PEM}, "needs its key; set next_hop_cert and next_hop_key together"),
        ({"TALK_TLS_CERT": PEM, "TALK_TLS_KEY": PEM}, "TALK_TLS_CERT: "),
    ],
)
def test_a_bad_variable_is_refused_by_name(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    pem = issue(tmp_path, "some").ca
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, GOOD), {name: pem if value == PEM else value for name, value in variables.items()})
    assert expected in str(refused.value)


@pytest.mark.parametrize("variable", ["TALK_TLS_CLIENT_CA", "TALK_NEXT_HOP_CA"])
def test_a_ca_without_a_certificate_is_refused_by_name(tmp_path: Path, variable: str) -> None:
    key = issue(tmp_path, "svc2").key
    with pytest.raises(ConfigError, match=f"{variable}: no certificate in {key}"):
        load(written(tmp_path, GOOD), {variable: key})


@pytest.mark.parametrize("side", ["TLS", "NEXT_HOP"])
def test_a_certificate_with_anothers_key_is_refused_by_name(tmp_path: Path, side: str) -> None:
    ours, other = (issue(tmp_path, name) for name in ("svc2", "other"))
    variables = {f"TALK_{side}_CERT": ours.cert, f"TALK_{side}_KEY": other.key, "TALK_NEXT_HOP_CA": ours.ca}
    with pytest.raises(ConfigError, match=f"TALK_{side}_CERT: {ours.cert} and {other.key} are no pair"):
        load(written(tmp_path, GOOD), variables)
    assert load(written(tmp_path, GOOD), variables | {f"TALK_{side}_KEY": ours.key})


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD), {"TALK_ISTIO_CRDS": "x", "TALKATIVE": "y"}).identity.service == "svc2"


@pytest.mark.parametrize(
    "variables",
    [
        {"TALK_NEXT_HOP": "dns:///:9996"},
        {"TALK_LISTEN": "127.0.0.1:99999"},
        {"TALK_LISTEN": "192.0.2.1:9996"},
        {"TALK_LISTEN": "unix:/nowhere/socket"},
        {"TALK_CONFIG": "/nowhere.yaml"},
        {"TALK_PROPAGATE_ALSO": "host"},
    ],
)
def test_a_service_that_cannot_start_exits_with_2_and_one_line(variables: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "svc2"],
        env=environment(variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_documented_table_names_every_setting_and_no_other() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    documented = {key.strip().strip("`"): variable.strip().strip("`") for key, variable, _ in rows}
    assert documented == {key: f"TALK_{key.upper()}" for key in SETTINGS}


def test_the_documented_limits_are_those_in_force() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert f"messages up to {MESSAGE_LIMIT // 1024**2} MiB, metadata up to {METADATA_LIMIT // 1024} KiB" in text
