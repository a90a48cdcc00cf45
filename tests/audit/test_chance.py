"""The statistics: what chance gives, and what it does not."""

from __future__ import annotations

import random

import numpy as np
import pytest

from grpc_tracing.audit import chance
from grpc_tracing.audit.chance import ALL, Calls, Key, Met, Trial

MS = 1_000_000


def stream(seed: int, rate: float, seconds: float = 60) -> list[int]:
    rng, now, made = random.Random(seed), 0.0, []  # noqa: S311
    while (now := now + rng.expovariate(rate)) < seconds:
        made.append(int(now * 1e9))
    return made


def held(starts: list[int], length: int) -> Calls:
    return chance.calls(starts, [one + length for one in starts], [0] * len(starts))


def met(into: Calls, out: Calls) -> Trial:
    return chance.meet(into, out, 1, 1)[Key(ALL, ALL)]


@pytest.mark.parametrize(("rate", "length"), [(5, 20), (50, 100), (200, 250)], ids=["quiet", "busy", "always busy"])
def test_calls_out_that_follow_calls_in_stand_out_and_others_do_not(rate: float, length: int) -> None:
    starts = stream(1, rate)
    into = held(starts, length * MS)
    following = met(into, held([one + MS for one in starts], (length - 2) * MS))
    job = met(into, held(stream(2, rate), MS))
    assert following.z > 10
    assert following.p < 1e-9
    assert following.best.share == pytest.approx(1, abs=0.25)
    assert abs(job.within.z) < 4
    assert job.p > 1e-4


def test_a_sampled_tenth_of_the_calls_in_shows_a_tenth_of_the_effect() -> None:
    every = stream(1, 200)
    sampled = random.Random(3).sample(every, len(every) // 10)  # noqa: S311
    found = met(held(sampled, 20 * MS), held([one + MS for one in every], MS))
    assert found.best.share == pytest.approx(0.1, abs=0.03)


def test_targets_and_rpcs_are_told_apart() -> None:
    own, other = stream(1, 20), stream(2, 20)
    starts = own + other
    into = chance.calls(starts, [one + 20 * MS for one in starts], [0] * len(own) + [1] * len(other))
    job = stream(3, 20)
    begun = [one + MS for one in own] + job
    out = chance.calls(begun, [one + MS for one in begun], [0] * len(own) + [1] * len(job))
    found = chance.meet(into, out, 2, 2)
    assert {key for key, trial in found.items() if trial.p < 1e-9} == {
        Key(0, 0),
        Key(0, ALL),
        Key(ALL, 0),
        Key(ALL, ALL),
    }


def test_a_call_in_that_goes_on_to_a_target_made_no_call_there_that_began_a_trace() -> None:
    """Of two targets the calls to one are cut: none of its calls in goes on to it, all go on to the other."""
    starts = stream(1, 50)
    rng = random.Random(4)  # noqa: S311
    rows = [rng.randrange(2) for _ in starts]
    into = chance.calls(starts, [one + 100 * MS for one in starts], [0] * len(starts), rows)
    begun = [one + MS for one, row in zip(starts, rows, strict=True) if not row]
    out = chance.calls(begun, [one + MS for one in begun], [0] * len(begun))
    goes_on = np.array([[False, True], [True, True]])
    found = chance.meet(into, out, 2, 1, goes_on)[Key(0, ALL)]
    assert found.instead.mean == pytest.approx(found.within.mean / 2, rel=0.1)
    assert found.instead.seen - found.instead.mean == pytest.approx(len(begun), rel=0.2)
    assert found.best is found.instead


def test_two_strict_timers_of_one_rate_prove_nothing() -> None:
    beats = [n * 100 * MS for n in range(600)]
    assert met(held(beats, 20 * MS), held([one + 5 * MS for one in beats], MS)).p > 1e-4


def test_bursts_on_both_sides_count_once_each() -> None:
    bursts = [one + n for one in stream(5, 0.5) for n in range(0, 20 * MS, MS)]
    others = [one + n for one in stream(6, 0.5) for n in range(0, 20 * MS, MS)]
    assert met(held(bursts, 20 * MS), held(others, MS)).p > 1e-4


def test_too_short_a_time_says_nothing() -> None:
    assert not chance.meet(held([0, MS], MS), held([0, MS], MS), 1, 1)


def test_one_coincidence_in_five_proves_nothing() -> None:
    assert Met(5, seen=1, apart=1, mean=0.01, variance=0.01, pairs=10).p > 1e-3


@pytest.mark.parametrize(("count", "mean", "tail"), [(0, 3, 1), (5, 1, 0.00366), (1, 0.1, 0.09516), (20, 10, 0.00345)])
def test_the_tail_of_a_poisson_variable(count: int, mean: float, tail: float) -> None:
    assert chance.poisson_tail(count, mean) == pytest.approx(tail, rel=0.01)


def test_false_discoveries_are_held_over_all_tests() -> None:
    assert chance.significant([0.0004, 0.5, 0.0009, 0.2], 0.002) == [True, False, True, False]
    assert chance.significant([0.0009, 0.5, 0.9, 0.2], 0.002) == [False] * 4
