"""What a user types: what it becomes, and the line that a mistake gets."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from client import usage

GOOD: list[tuple[Callable[[str], object], str, object]] = [
    (usage.header, "x-lane: canary", ("x-lane", "canary")),
    (usage.header, "x-lane:canary", ("x-lane", "canary")),
    (usage.header, "x-empty:", ("x-empty", "")),
    (usage.header, "baggage: a=1:2", ("baggage", "a=1:2")),
    (usage.header, "trace-bin: AAEC", ("trace-bin", b"\x00\x01\x02")),
    (usage.header, "trace-bin: /w", ("trace-bin", b"\xff")),
    (usage.header, "trace-bin:", ("trace-bin", b"")),
    (partial(usage.duration, "--timeout"), "500ms", 0.5),
    (partial(usage.duration, "--timeout"), "1.5s", 1.5),
    (partial(usage.duration, "--timeout"), "2m", 120.0),
    (usage.target, "127.0.0.1:9999", "127.0.0.1:9999"),
    (usage.target, "svc1.grpc-tracing:9996", "svc1.grpc-tracing:9996"),
    (usage.target, "[::1]:9999", "[::1]:9999"),
    (usage.target, "unix:/run/svc1.sock", "unix:/run/svc1.sock"),
    (usage.target, "dns:///localhost:9999", "dns:///localhost:9999"),
    (usage.greeting_indices, "0, 5,5", (0, 5, 5)),
    (partial(usage.names, "--expect"), "svc1, svc2", ("svc1", "svc2")),
    (lambda text: usage.count("--repeat", text, 10), "10", 10),
    (partial(usage.url, "--traces"), "http://127.0.0.1:16686/", "http://127.0.0.1:16686"),
    (partial(usage.url, "--otlp"), "https://host/a/b", "https://host/a/b"),
]


@pytest.mark.parametrize(("read", "text", "value"), GOOD)
def test_it_is_read_as(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


BAD: list[tuple[Callable[[str], object], str, str]] = [
    (usage.header, "x-lane", "write it as 'key: value'"),
    (usage.header, ": canary", "write it as 'key: value'"),
    (usage.header, "X-Lane: canary", "write x-lane"),
    (usage.header, "x lane: canary", "a key is made of"),
    (usage.header, "x-länge: 1", "a key is made of"),
    (usage.header, ":authority: a", "write it as 'key: value'"),
    (usage.header, "grpc-timeout: 1S", "gRPC sets grpc-timeout itself"),
    (usage.header, "te: trailers", "gRPC sets te itself"),
    (usage.header, "x-lane: grün", "send other bytes as base64 under x-lane-bin"),
    (usage.header, "x-lane: a\nb", "send other bytes as base64 under x-lane-bin"),
    (usage.header, "trace-bin: ***", "is base64"),
    (usage.header, "trace-bin: A", "is base64"),
    (partial(usage.duration, "--timeout"), "5", "--timeout: '5' is not a duration: write a number with ms, s, m or h"),
    (partial(usage.duration, "--timeout"), "0s", "--timeout: '0s' is zero: write a duration above 0"),
    (partial(usage.duration, "--timeout"), "-5s", "'-5s' is not a duration: write a number with ms, s, m or h"),
    (partial(usage.duration, "--timeout"), "٥s", "'٥s' is not a duration: write a number with ms, s, m or h"),
    (usage.target, "localhost", "write HOST:PORT"),
    (usage.target, "localhost:0", "--target: port '0' is out of range: use 1 to 65535"),
    (usage.target, "localhost:70000", "--target: port '70000' is out of range: use 1 to 65535"),
    (usage.target, "http://localhost:9999", "write HOST:PORT"),
    (usage.target, "::1:9999", "write HOST:PORT"),
    (usage.greeting_indices, "6", "indices from 0 to 5"),
    (usage.greeting_indices, "0,,1", "indices from 0 to 5"),
    (usage.greeting_indices, "", "indices from 0 to 5"),
    (partial(usage.names, "--expect"), "svc1,,svc2", "names separated by commas"),
    (lambda text: usage.count("--repeat", text, 10), "11", "from 1 to 10"),
    (lambda text: usage.count("--repeat", text, 10), "0", "from 1 to 10"),
    (lambda text: usage.count("--repeat", text, 10), "²", "from 1 to 10"),
    (partial(usage.url, "--traces"), "127.0.0.1:16686", "write a URL such as"),
    (partial(usage.url, "--traces"), "http:///x", "write a URL such as"),
    (partial(usage.url, "--traces"), "http://[::1", "write a URL such as"),
    (partial(usage.url, "--traces"), "http://h:port", "write a URL such as"),
    (partial(usage.url, "--traces"), "http://h:99999", "write a URL such as"),
    (partial(usage.url, "--otlp"), "http://:4318", "write a URL such as"),
    (partial(usage.url, "--otlp"), "http://a..b:4318", "write a URL such as"),
    (partial(usage.url, "--otlp"), f"http://{'a' * 64}.example:4318", "write a URL such as"),
    (partial(usage.url, "--traces"), "http://127.0.0.256:16686", "write a URL such as"),
    (partial(usage.writable_file, "--report"), "x" * 300, "name a file in a folder that is there and yours"),
    (partial(usage.writable_file, "--report"), "/dev/null", "name a file in a folder that is there and yours"),
    (partial(usage.writable_file, "--report"), "/", "name a file in a folder that is there and yours"),
    (
        partial(usage.writable_file, "--report"),
        f"{__file__}/report.html",
        "name a file in a folder that is there and yours",
    ),
]


@pytest.mark.parametrize(("read", "text", "fix"), BAD)
def test_it_is_refused_in_a_line_that_names_the_fix(read: Callable[[str], object], text: str, fix: str) -> None:
    with pytest.raises(usage.UsageError) as caught:
        read(text)
    assert fix in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_report_may_be_a_new_file_or_take_the_place_of_one(tmp_path: Path) -> None:
    there = tmp_path / "there.html"
    there.touch()
    for path in (there, tmp_path / "new.html"):
        assert usage.writable_file("--report", str(path)) == path


def test_a_pem_file_is_read_and_others_are_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "ca.pem", tmp_path / "ca.der"
    good.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    bad.write_bytes(b"\x30\x82")
    assert usage.pem("--ca", str(good)) == good.read_bytes()
    for path, fix in ((bad, "no PEM in it"), (tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(usage.UsageError, match=fix):
            usage.pem("--ca", str(path))
