"""Two runs and two traces beside each other."""

import random
from dataclasses import replace

import numpy as np
import pytest

from grpc_tracing.spans.model import Kind
from grpc_tracing.spans.tree import Edge, assemble
from grpc_tracing.store.chosen import Chosen
from grpc_tracing.store.differences import differences
from grpc_tracing.store.runs import changes, ranked
from grpc_tracing.store.views_many import alike, changes_view
from tests.spans.test_tree import CHAIN, span
from tests.store.test_trace_status import WHOLE, stand, summary


def run(seed: int, *, count: int = 200, slower: float = 1.0, fails: float = 0.02) -> Chosen:
    random_ = random.Random(seed)  # noqa: S311 - for durations
    edges = tuple(
        Edge(("a", "b"), 0, took, took, random_.random() < fails, seen=True)
        for took in (int(random_.lognormvariate(10, 0.5) * slower) for _ in range(count))
    )
    made = replace(WHOLE, edges=edges)
    return Chosen.of([made], stand(made))


@pytest.mark.parametrize(
    ("after", "time", "errors"),
    [
        ({"slower": 1.3}, "slower", "no difference shown"),
        ({"slower": 0.7}, "faster", "no difference shown"),
        ({"fails": 0.2}, "no difference shown", "more"),
        ({"count": 10, "slower": 3.0}, "too few calls", "too few calls"),
    ],
)
def test_what_changed_is_named(after: dict[str, float], time: str, errors: str) -> None:
    (one,) = changes(run(1), run(2, **after))  # type: ignore[arg-type]
    assert (one.time, one.errors) == (time, errors)


def test_where_nothing_changed_a_difference_is_named_in_one_of_a_hundred_at_most() -> None:
    words = [
        word
        for seed in range(0, 600, 2)
        for one in changes(run(seed, count=60), run(seed + 1, count=60))
        for word in (one.time, one.errors)
    ]
    assert sum(word != "no difference shown" for word in words) <= 9


def test_ties_count_half_and_equal_runs_have_no_difference() -> None:
    same = np.array([1, 1, 2, 2, 3] * 10)
    same.sort()
    assert ranked(same, same) == pytest.approx(0)
    assert ranked(np.ones(30, np.int64), np.ones(30, np.int64)) == 0
    # By hand: U of [2, 4] over [1, 3] is 3 of 4, mean 2, variance 2 * 2 * 5 / 12.
    assert ranked(np.array([1, 3]), np.array([2, 4])) == pytest.approx(1 / (20 / 12) ** 0.5)


def test_a_path_of_one_run_alone_is_new_or_gone() -> None:
    other = replace(WHOLE, edges=(Edge(("a", "c"), 0, 1, 1, error=False, seen=True),))
    found = {one.path.nodes[-1]: one.time for one in changes(run(1), Chosen.of([other], stand(other)))}
    assert found == {"b": "gone", "c": "new"}


def test_a_moment_parts_the_traces_in_two_runs() -> None:
    early, late = replace(WHOLE, start_ns=10), replace(summary("x", *CHAIN), start_ns=20)
    among = Chosen.of([late, early], stand(late, early))
    view = changes_view(among, 20, "")
    assert (view.before, view.after) == (1, 1)
    assert {(one.before.count, one.after.count) for one in view.changes if one.before and one.after} == {(1, 1)}
    assert [one.trace_id for one in alike(among, early)] == ["x"]


def test_two_traces_are_laid_over_each_other() -> None:
    first = assemble(CHAIN)
    second = assemble((*CHAIN[:6], span("n", "f", "other", Kind.SERVER, 35, 30)))
    pairs, hidden = differences(first, second)
    alone = [
        (pair.node, pair.first is not None, pair.second is not None)
        for pair in pairs
        if not (pair.first and pair.second)
    ]
    assert alone == [("svc3", True, False), ("other", False, True)]
    assert (len(pairs), hidden) == (8, 0)
    same, _ = differences(first, first)
    assert [pair.first for pair in same] == [row.span for row in first.rows]
    assert [pair.depth for pair in same] == [row.depth for row in first.rows]
