"""What holds for every test: which of them start no process, which run one after the other, how many examples."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.processes import ROOT
from tests.talk.instrumented import install

if TYPE_CHECKING:
    from tests.mesh.support import Mesh

pytest_plugins = ["grpc_tracing.testing.plugin"]  # the wheel's own entry point names it

UNIT = (
    "tests/backends/test_jaeger.py",
    "tests/chain",
    "tests/client/call/test_answers.py",
    "tests/client/load",
    "tests/client/view",
    "tests/commands/test_files.py",
    "tests/evidence",
    "tests/headers",
    "tests/mesh/test_options.py",
    "tests/mesh/test_topology.py",
    "tests/probe/test_judge.py",
    "tests/spans",
    "tests/store/test_bodies.py",
    "tests/store/test_options.py",
    "tests/store/test_trace_status.py",
    "tests/store/test_store.py",
    "tests/store/test_tail.py",
    "tests/store/test_views.py",
    "tests/talk/test_logs.py",
    "tests/talk/test_records.py",
    "tests/test_arguments.py",
    "tests/watch/test_intake.py",
    "tests/watch/test_metrics.py",
    "tests/watch/test_options.py",
    "tests/watch/test_window.py",
)
"""Files and folders of tests that start no process: `./check.sh --quick` runs these."""

ALONE = "machine"
"""The group of tests that share what the machine has once: the container engine, the README's fixed ports."""
_LONGEST = 200
"""Characters of a text in a test's id."""
FIXED_PORTS = ("tests/docs/test_transcripts.py",)


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("default", max_examples=50, deadline=None)
    settings.register_profile("long", max_examples=2_000, deadline=None)
    settings.load_profile(config.getoption("--hypothesis-profile") or "default")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A long text is told by its beginning: a test's id goes to each process it starts, in PYTEST_CURRENT_TEST, and
    Linux starts none with a variable of more than 128 KiB."""
    return f"{val[:_LONGEST]}..." if isinstance(val, str) and len(val) > _LONGEST else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spares `-m unit` the imports of all other tests."""
    spared = config.getoption("-m") == "unit" and collection_path.name.startswith("test_")
    return (spared and not _stands_in(collection_path, UNIT)) or None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _stands_in(item.path, UNIT):
            item.add_marker(pytest.mark.unit)
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    # The short ones last: they fill the time that a worker waits for the other's last file.
    items.sort(key=lambda item: item.get_closest_marker("unit") is not None)


def _group(item: pytest.Item) -> str:
    """Tests that share meshes and processes stay on one worker, as all that share an environment; the rest need not."""
    if item.get_closest_marker("docker") or _stands_in(item.path, FIXED_PORTS):
        return ALONE
    if isinstance(item, pytest.Function) and "instrumented" in item.fixturenames:
        return "instrumented"
    return str(item.path.relative_to(ROOT)) if _shares(item) else ""


def _shares(item: pytest.Item) -> bool:
    """Whether it has a fixture of ours that lasts longer than one test."""
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}  # no public way tells it
    ours = (one for defined in known.values() for one in defined if one.baseid.startswith("tests"))
    return any(one.scope != "function" for one in ours)


def _stands_in(path: Path, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(ROOT / place) for place in places)


@pytest.fixture(autouse=True)
def _no_process_in_a_unit_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"a unit test starts no process: {arguments}; tests/conftest.py lists which are unit tests")

    if request.node.get_closest_marker("unit"):
        monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture(scope="session")
def shared_mesh() -> Iterator[Mesh]:
    """A mesh as `up` makes it. Call it, and leave it as it is."""
    from tests.mesh.support import mesh  # not above, which spares `-m unit` its imports

    with mesh() as one:
        yield one


@pytest.fixture(scope="session")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with gRPC and the instrumentations, which would reach into pytest's own process otherwise."""
    folder = tmp_path_factory.mktemp("instrumented") / "venv"
    install(folder)
    return folder
