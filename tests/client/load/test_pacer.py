"""When an open loop begins its calls: evenly, or at random."""

import random
import statistics
from itertools import pairwise

import pytest

from client import usage
from client.cli import load_options, parser
from client.load.pacer import at_random, evenly


def test_random_arrivals_are_as_many_as_asked_for_in_order_and_cluster_as_a_poisson_process_does() -> None:
    starts = list(at_random(5.0, 100.0, 2000, random.Random(7)))  # noqa: S311 - no secret
    assert len(starts) == 2000
    assert starts == sorted(starts)
    assert 5.0 <= starts[0] < starts[-1] <= 105.0
    gaps = [after - before for before, after in pairwise(starts)]
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.1)


def test_arrivals_are_even_unless_said_otherwise() -> None:
    assert list(evenly(5.0, 0.25, 3)) == [5.0, 5.25, 5.5]


def test_arrivals_are_those_of_an_open_loop_alone() -> None:
    assert load_options(parser().parse_args(["load", "--rate", "5", "--arrivals", "poisson"])).arrivals == "poisson"
    assert load_options(parser().parse_args(["load", "--rate", "5"])).arrivals == "constant"
    with pytest.raises(usage.UsageError, match="--arrivals needs --rate"):
        load_options(parser().parse_args(["load", "--arrivals", "poisson"]))
