"""What can be asked for, and the line for what cannot."""

import argparse
from pathlib import Path

import pytest

from mesh import options
from mesh.envoy.parts import Fault
from mesh.errors import MeshError
from mesh.options import Options, parse_faults, parse_propagate, parse_run

FAULTS = {
    "svc3=abort:UNAVAILABLE:50%": ("svc3", Fault(50, status=14)),
    "svc1=abort:RESOURCE_EXHAUSTED:0.1%": ("svc1", Fault(0.1, status=8)),
    "svc2=delay:200ms:10%": ("svc2", Fault(10, delay=0.2)),
    "svc2=delay:1.5s:100%": ("svc2", Fault(100, delay=1.5)),
}

WRONG = {
    ("faults", "svc4=abort:UNAVAILABLE:50%"): "begin with svc1=, svc2=, svc3=",
    ("faults", "svc3"): "begin with",
    ("faults", "svc3=abort:OK:50%"): "no gRPC status that a call can fail with",
    ("faults", "svc3=abort:GONE:50%"): "no gRPC status",
    ("faults", "svc3=abort:UNAVAILABLE:101%"): "write abort:STATUS:PERCENT%",
    ("faults", "svc3=abort:UNAVAILABLE:50"): "write abort:STATUS:PERCENT%",
    ("faults", "svc3=delay:10x:5%"): "is not a duration",
    ("faults", "svc3=delay:0s:5%"): "is zero: write a duration above 0",
    ("faults", "svc3=crash:now:5%"): "write abort:STATUS:PERCENT%",
    ("propagate", "svc2"): "begin with",
    ("propagate", "client=none"): "begin with",
    ("run", "svc2='"): "quote the command",
    ("run", "svc2= "): "write the command to run",
}

NEEDS_ENVOYS: dict[str, dict[str, object]] = {
    "--replicas": {"replicas": 2},
    "--faults": {"faults": ("svc3=abort:UNAVAILABLE:50%",)},
    "--no-mtls": {"mtls": False},
    "--access-log": {"access_log": True},
    "--topology": {"topology": "services: {a: {calls: [b]}, b: }"},
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items())
def test_a_fault_is_read_as_it_is_written(text: str, expected: tuple[str, Fault]) -> None:
    service, fault = expected
    assert parse_faults((text,)) == {service: (fault,)}


def test_a_service_may_have_several_faults() -> None:
    texts = ("svc3=abort:UNAVAILABLE:50%", "svc3=delay:200ms:10%")
    assert parse_faults(texts) == {"svc3": (Fault(50, status=14), Fault(10, delay=0.2))}


def test_what_to_propagate_and_what_to_run_is_read_by_service() -> None:
    assert parse_propagate(("svc1=none", "svc2=w3c,b3")) == {"svc1": "none", "svc2": "w3c,b3"}
    assert parse_run(("svc2=java -jar 'my hop.jar'",)) == {"svc2": ("java", "-jar", "my hop.jar")}


@pytest.mark.parametrize(("given", "words"), WRONG.items())
def test_what_cannot_be_read_is_refused_in_a_line(given: tuple[str, str], words: str) -> None:
    field, text = given
    with pytest.raises(MeshError, match=words) as error:
        Options(**{field: (text,)})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("option", "given"), NEEDS_ENVOYS.items())
def test_what_only_envoys_do_is_refused_without_them(option: str, given: dict[str, object]) -> None:
    with pytest.raises(MeshError, match=f"{option} needs Envoys"):
        Options(mesh=False, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"sampling": 10.0}, {"tail": 1.0}, {"max_traces": 9}, {"max_bytes": 2**30}])
def test_what_only_a_store_does_is_refused_without_one(given: dict[str, object]) -> None:
    with pytest.raises(MeshError, match=f"--{next(iter(given)).replace('_', '-')} needs spans"):
        Options(mesh=False, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": False}, "--no-store needs --collector HOST:PORT"),
        ({"collector_tls": True}, "--collector-tls needs --collector HOST:PORT"),
        ({"collector_ca": "/ca"}, "--collector-ca needs --collector HOST:PORT"),
        ({"collector_headers": "/h"}, "--collector-headers needs --collector HOST:PORT"),
        ({"collector": "a:1", "store": False, "tail": 1.0}, "--tail is the trace store's"),
        ({"collector": "a:1", "store": False, "tracer": "zipkin"}, "--no-store needs --tracer otlp"),
        ({"collector": "a:1", "mesh": False}, "--collector needs spans"),
    ],
)
def test_a_collector_s_options_that_do_not_go_together_are_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(MeshError, match=said):
        Options(**given)  # type: ignore[arg-type]


def parse(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    options.add_to(parser)
    return options.given_in(parser.parse_args(arguments))


def test_every_field_is_an_option_and_only_what_is_given_counts(tmp_path: Path) -> None:
    shop = tmp_path / "shop.yaml"
    shop.write_text("services: {a: {calls: [b]}, b: }")
    everything = parse(
        *("--topology", str(shop), "--sampling", "10", "--tail", "10s", "--max-traces", "9", "--max-bytes", "1GiB"),
        *("--hops", "5", "--replicas", "2"),
        *("--port", "1", "--pages-port", "2", "--otlp-grpc-port", "3", "--otlp-http-port", "4"),
        *("--no-mesh", "--no-mtls", "--tracer", "zipkin", "--propagate", "svc2=none", "--faults", "svc3=delay:1s:1%"),
        *(
            "--collector",
            "a:1",
            "--collector-tls",
            "--collector-ca",
            str(shop),
            "--collector-headers",
            str(shop),
            "--no-store",
        ),
        *("--run", "svc2=x", "--batch-spans", "--access-log", "--envoy", "/envoy"),
    )
    assert set(everything) == set(Options.__dataclass_fields__)
    assert (everything["topology"], everything["sampling"], everything["tail"]) == (shop.read_text(), 10.0, 10.0)
    assert everything["run_folder"] == str(Path.cwd()), "where the commands of --run were typed"
    assert parse() == {}
    assert parse("--propagate", "svc1=none", "--propagate", "svc2=none") == {"propagate": ("svc1=none", "svc2=none")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "65536"),
        ("--port", "x"),
        ("--replicas", "0"),
        ("--hops", "x"),
        ("--tracer", "x"),
        ("--sampling", "0"),
        ("--sampling", "101"),
        ("--tail", "10"),
        ("--max-traces", "0"),
        ("--max-bytes", "128"),
        ("--max-bytes", "1MiB"),
        ("--topology", "/none/such"),
        ("--collector", "a"),
        ("--collector", "a:0"),
        ("--collector", "a:1", "--collector-ca", "/none/such"),
    ],
)
def test_a_value_out_of_range_is_wrong_usage(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(*arguments)
    assert left.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("hops", [0, 1, 10])
def test_a_chain_too_short_or_too_long_is_refused_in_a_line(hops: int) -> None:
    with pytest.raises(MeshError, match=f"^--hops {hops}: write 2 to 9$"):
        Options(hops=hops)


def test_options_by_service_know_the_services_of_a_longer_chain() -> None:
    assert Options(hops=4, propagate=("svc4=none",)).graph.services == ("svc1", "svc2", "svc3", "svc4")
    with pytest.raises(MeshError, match=r"begin with svc1=, svc2=$"):
        Options(hops=2, propagate=("svc3=none",))
