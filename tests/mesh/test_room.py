"""Too little memory or disk is said before a mesh is started."""

from pathlib import Path

import pytest

from mesh import room
from mesh.errors import MeshError

GB = "MemAvailable:    2097152 kB\n"


def _machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {"proc/meminfo": GB, "proc/self/cgroup": "0::/user/run\n"}
V1 = {"proc/meminfo": GB, "proc/self/cgroup": "9:cpu:/x\n4:memory:/docker/1\n"}


@pytest.mark.parametrize(
    "files",
    [
        V2 | {"sys/fs/cgroup/user/run/memory.max": "268435456\n"},
        V2 | {"sys/fs/cgroup/user/run/memory.max": "max\n", "sys/fs/cgroup/user/memory.max": "268435456\n"},
        V2 | {"sys/fs/cgroup/memory.max": "268435456\n"},
        V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"},
        {"proc/meminfo": "MemTotal: 9999999 kB\nMemAvailable:     163840 kB\nSwapFree:    98304 kB\n"},
    ],
)
def test_too_little_memory_is_said_with_the_figure_needed(files: dict[str, str], tmp_path: Path) -> None:
    root = _machine(tmp_path, files)
    with pytest.raises(
        MeshError, match=r"^300 MB of memory are needed and 256 may be taken here; --no-mesh takes 150$"
    ):
        room.check(tmp_path, mesh=True, root=root)
    room.check(tmp_path, mesh=False, root=root)


@pytest.mark.parametrize("files", [V2, V1, V2 | {"sys/fs/cgroup/memory.max": "max\n"}, {}])
def test_enough_memory_or_none_that_can_be_told_is_no_error(files: dict[str, str], tmp_path: Path) -> None:
    room.check(tmp_path, mesh=True, root=_machine(tmp_path, files))


def test_too_little_disk_is_said_with_the_figure_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "DISK", 99_999_999)
    with pytest.raises(
        MeshError, match=r"99999999 MB are needed in .* and \d+ are free: --state DIR, or GRPC_TRACING_HOME"
    ):
        room.check(tmp_path, mesh=True)
