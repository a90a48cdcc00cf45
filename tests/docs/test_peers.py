from pathlib import Path

import pytest

from bench import peers


def test_a_peer_whose_language_is_missing_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "EXAMPLES", {"Go example": "go"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with peers.running() as chains:
        assert list(chains) == ["talk", "bare forwarder"]
    assert capsys.readouterr().err == "left out: Go example: go is not installed\n"
