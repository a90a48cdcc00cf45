"""What tests of the trace store and its pages share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.store.browsing import chromium
from tests.store.pages import Filled, fill
from tests.store.support import Store, running_store
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def filled(store: Store) -> Filled:
    made = fill(store)
    wait_for(lambda: "2 broken ones" in store.get("/traces").text, "the pieces count as broken")
    return made
