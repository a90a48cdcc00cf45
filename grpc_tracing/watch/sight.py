"""For how long nothing was read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Sight:
    """Seconds on any clock that goes on; `heard` is when something was read last, or when the watch began."""

    heard: float
    lost: float = 0.0
    """Seconds of which nothing was read and nothing will be."""
    _blind: bool = False

    def hears(self, now: float) -> float:
        """How long it was blind until now; 0 where it was not."""
        blind = self.blind(now)
        self.heard, self._blind = now, False
        return blind

    def misses(self) -> bool:
        """Nothing came where something was due. True where that is new."""
        known, self._blind = self._blind, True
        return not known

    def blind(self, now: float) -> float:
        return now - self.heard if self._blind else 0.0
