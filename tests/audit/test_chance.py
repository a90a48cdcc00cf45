"""The statistics: what chance gives, and what it does not."""

from __future__ import annotations

import random

import pytest

from grpc_tracing.audit import chance

MS = 1_000_000


def stream(seed: int, rate: float, seconds: float = 60) -> list[int]:
    rng, now, made = random.Random(seed), 0.0, []  # noqa: S311
    while (now := now + rng.expovariate(rate)) < seconds:
        made.append(int(now * 1e9))
    return made


@pytest.mark.parametrize(("rate", "length"), [(5, 20), (50, 100), (200, 250)], ids=["quiet", "busy", "always busy"])
def test_calls_out_that_follow_calls_in_stand_out_and_others_do_not(rate: float, length: int) -> None:
    starts = stream(1, rate)
    calls = chance.held(starts, [one + length * MS for one in starts])
    window = (starts[0], starts[-1])
    following = chance.meet(calls, [one + MS for one in starts], window)
    job = chance.meet(calls, stream(2, rate), window)
    assert following.z > 10
    assert following.share == pytest.approx(1, abs=0.25)
    assert abs(job.z) < 4
    assert job.p > 1e-4


def test_a_sampled_tenth_of_the_calls_in_shows_a_tenth_of_the_effect() -> None:
    every = stream(1, 200)
    sampled = random.Random(3).sample(every, len(every) // 10)  # noqa: S311
    calls = chance.held(sampled, [one + 20 * MS for one in sampled])
    found = chance.meet(calls, [one + MS for one in every], (every[0], every[-1]))
    assert found.share == pytest.approx(0.1, abs=0.03)


def test_one_coincidence_in_five_proves_nothing() -> None:
    assert chance.Met(5, seen=1, mean=0.01, variance=0.01).p > 1e-3


@pytest.mark.parametrize(("count", "mean", "tail"), [(0, 3, 1), (5, 1, 0.00366), (1, 0.1, 0.09516), (20, 10, 0.00345)])
def test_the_tail_of_a_poisson_variable(count: int, mean: float, tail: float) -> None:
    assert chance.poisson_tail(count, mean) == pytest.approx(tail, rel=0.01)


def test_false_discoveries_are_held_over_all_tests() -> None:
    assert chance.significant([0.0004, 0.5, 0.0009, 0.2], 0.002) == [True, False, True, False]
    assert chance.significant([0.0009, 0.5, 0.9, 0.2], 0.002) == [False] * 4
