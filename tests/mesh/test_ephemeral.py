"""The meshes of these tests end with them."""

from collections.abc import Callable

import pytest

from tests.mesh.support import Mesh, mesh
from tests.support.processes import runs


def _test(body: Callable[[Mesh], object], seen: list[int]) -> None:
    with mesh("--no-mesh") as one:
        seen += one.pids.values()
        body(one)


def test_a_test_that_fails_leaves_nothing() -> None:
    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        _test(lambda _: 1 / 0, pids)
    assert pids
    assert [pid for pid in pids if runs(pid)] == []


@pytest.mark.full
def test_a_mesh_that_does_not_go_down_fails_the_test_and_leaves_nothing() -> None:
    pids: list[int] = []
    with pytest.raises(AssertionError, match="still ran at the end") as failed:
        _test(lambda one: one.state.chmod(0o755), pids)
    assert "is open to others" in str(failed.value.__context__)
    assert [pid for pid in pids if runs(pid)] == []
