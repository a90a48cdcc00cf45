"""Spans that are sent: traces settle, and steps end by the clock."""

from __future__ import annotations

import asyncio
from typing import Final

from grpc_tracing.watch.live import Live, say

_TICK: Final = 0.2
_AT_ONCE: Final = 2_000
"""Spans that are judged to be whole without a break: some 30 ms."""


async def settling(live: Live) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(_TICK)
        now = live.clock()
        live.known.weigh()
        await _settled(live, now)
        if now - live.sight.heard > live.known.bounds.step and live.sight.misses():
            say(f"blind: no span came for {live.known.bounds.step:g} s")


async def _settled(live: Live, now: float) -> None:
    more = True
    while more:
        more = live.known.settle(now, _AT_ONCE)
        await asyncio.sleep(0)


async def stepping(live: Live) -> None:
    """Until it is cancelled: a step that is judged for longer than it lasts makes the next one longer."""
    begin = live.clock()
    while True:
        await asyncio.sleep(max(0.0, begin + live.known.bounds.step - live.clock()))
        end = live.clock()
        await live.judge(live.known.turn(begin, end))
        begin = end
