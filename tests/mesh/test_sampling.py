"""`up --sampling`: the ingress decides for the traces that begin there, and keeps what callers decided."""

from __future__ import annotations

import httpx
import pytest

from tests.mesh.support import call, mesh

CALLS = 60
ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.full
def test_a_share_of_the_traces_is_kept_and_whole_and_so_is_one_that_comes_sampled() -> None:
    with mesh("--hops", "2", "--sampling", "10") as one:
        ids = {call(one.target).trace_ids[0] for _ in range(CALLS)}
        call(one.target, ("traceparent", f"00-{ID}-b7ad6b7169203331-01"))
        assert len(one.spans(ID, 4)) == 4
        answers = [httpx.get(f"{one.facts['traces']}/api/v3/traces/{each}", trust_env=False) for each in ids]
    assert len(ids) == CALLS
    # At 10 %, 30 or more of 60 come once in 10 to the power of 14 times.
    assert sum(answer.is_success for answer in answers) < CALLS / 2
