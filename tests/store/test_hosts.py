"""The pages answer under addresses, the loopback's names, and what --http and --allowed-host name."""

from collections.abc import Iterator

import pytest

from grpc_tracing.store import hosts
from tests.store.support import Store, running_store

ALLOWED = (
    "localhost",
    "localhost:16686",
    "pages.localhost",
    "127.0.0.1",
    "[::1]:16686",
    "10.1.2.3:80",
    "Traces.Example",
    "a.b.internal",
)
FOREIGN = (
    "evil.example",
    "traces.example.evil.example",
    "localhost.evil.example",
    "internal",
    "127.0.0.1.evil.example",
)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("--allowed-host", "traces.example", "--allowed-host", "*.internal") as running:
        yield running


@pytest.mark.parametrize("host", ALLOWED)
def test_it_answers_as(store: Store, host: str) -> None:
    assert store.client.get(f"http://{store.http}/api/v3/services", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/api/v3/services", "/events", "/static/style.css"])
def test_it_does_not_answer_as(store: Store, host: str, path: str) -> None:
    answer = store.client.get(f"http://{store.http}{path}", headers={"host": host})
    assert (answer.status_code, "--allowed-host" in answer.text) == (403, True)


@pytest.mark.parametrize("text", ["http://traces", "*", "*.", "a b", "", "traces:80", "a*b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a host"):
        hosts.pattern(text)
