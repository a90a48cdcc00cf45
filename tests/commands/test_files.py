"""Files that a run leaves: whole or not at all, and nowhere else than where they are named."""

from pathlib import Path

import pytest

from grpc_tracing.commands.files import write_whole


def test_a_link_in_the_place_of_the_file_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    precious, report = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("mine")
    report.symlink_to(precious)
    write_whole(report, "verdict")
    assert (report.read_text(), report.is_symlink(), precious.read_text()) == ("verdict", False, "mine")


def test_the_name_under_which_it_grows_is_another_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    replace = Path.replace

    def noting(beside: Path, goal: Path) -> Path:
        names.append(beside.name)
        assert beside.parent == goal.parent
        return replace(beside, goal)

    monkeypatch.setattr(Path, "replace", noting)
    for _ in range(2):
        write_whole(tmp_path / "junit.xml", "verdict")
    assert len(set(names)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(report, "\udc80")
    assert report.read_text() == "before"
    assert list(tmp_path.iterdir()) == [report]


def test_it_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "report.html", "verdict")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "plain").stat().st_mode
