"""TLS to the target, and mutual TLS: what the requester shows and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.certificates import Files, issue
from tests.client.run import client
from tests.support.processes import service

ONE_HOP = ("--rpc", "Talk", "--expect", "svc3")


@pytest.fixture
def server(tmp_path: Path) -> Files:
    return issue(tmp_path, "svc3.example")


@pytest.fixture
def caller(tmp_path: Path) -> Files:
    return issue(tmp_path, "caller.example")


@pytest.fixture
def target(tmp_path: Path, server: Files) -> Iterator[str]:
    log = tmp_path / "svc3.log"
    with service("svc3", log, listen="127.0.0.1:0", tls_cert=server.cert, tls_key=server.key) as running:
        yield running.addresses[0]


def test_it_calls_over_tls(target: str, server: Files) -> None:
    assert client("call", "--target", target, "--tls", "--ca", server.ca, *ONE_HOP).code == 0


def test_the_authority_is_the_name_asked_for(target: str, server: Files) -> None:
    tls = ("--tls", "--ca", server.ca, "--authority")
    assert client("call", "--target", target, *tls, "svc3.example", *ONE_HOP).code == 0
    assert client("call", "--target", target, *tls, "other.example", *ONE_HOP).code == 2


@pytest.mark.parametrize("tls", [(), ("--tls",)], ids=["plaintext", "roots that do not vouch for it"])
def test_it_does_not_answer_to(target: str, tls: tuple[str, ...]) -> None:
    ended = client("call", "--target", target, "--timeout", "2s", *tls, *ONE_HOP)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"client: nothing answers at {target}")
    assert ended.err.count("\n") == 1


def test_mutual_tls_needs_the_callers_certificate(tmp_path: Path, server: Files, caller: Files) -> None:
    tls = {"tls_cert": server.cert, "tls_key": server.key, "tls_client_ca": caller.ca}
    with service("svc3", tmp_path / "svc3.log", listen="127.0.0.1:0", **tls) as running:
        base = ("call", "--target", running.addresses[0], "--timeout", "2s", "--tls", "--ca", server.ca)
        assert client(*base, "--cert", caller.cert, "--key", caller.key, *ONE_HOP).code == 0
        assert client(*base, *ONE_HOP).code == 2
