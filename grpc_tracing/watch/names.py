"""Names from spans, one string for all that are equal: so many and no more."""

from __future__ import annotations

from typing import Final

OTHER: Final = "(other)"
"""In place of the names that are too many."""
_MOST: Final = 50_000


class Names:
    """Gives the string that it holds. Who sends a new name with each span gets `OTHER` once there are `most`."""

    def __init__(self, most: int = _MOST) -> None:
        self.most = most
        self.folded = 0
        self._held: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        known = self._held.get(text)
        if known is not None:
            return known
        if len(self._held) >= self.most:
            self.folded += 1
            return OTHER
        self._held[text] = text
        return text

    def forget(self) -> None:
        """Names that nobody sends any more make room."""
        self._held = {}
