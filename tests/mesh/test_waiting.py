"""What one hears while a mesh comes up."""

import time
from itertools import count
from typing import Any

import pytest

from mesh import control


class _Line:
    """A supervisor whose parts run, and answer one after the other: each question takes a second."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, _command: str) -> dict[str, Any]:
        self.asked += 1
        late = {"traces": 10, "svc1": 5}
        return {"processes": [{"name": name, "runs": True, "answers": self.asked > at} for name, at in late.items()]}


def test_each_part_that_is_waited_for_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) / 2)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(control, "_with_answers", lambda found: found)
    said: list[str] = []
    control._until_ready(_Line(), said.append)  # type: ignore[arg-type]
    assert said == ["waiting for traces, svc1", "waiting for traces"]
