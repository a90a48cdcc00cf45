"""Whether a machine has the memory and the disk that a mesh takes: asked before anything is started."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mesh.errors import MeshError

MEMORY = {True: 300, False: 150}
"""MB, with Envoys and without, requester included: under less, as measured, the kernel kills one of them."""

DISK = 20
"""MB for sockets, identities, configurations and the logs of a short run."""

_MIB = 2**20


def check(directory: Path, *, mesh: bool, root: Path = Path("/")) -> None:
    """MeshError where there is too little; `root` is where proc and sys are mounted."""
    memory = min(_memory(root), default=None)
    if memory is not None and memory < MEMORY[mesh]:
        less = f"; --no-mesh takes {MEMORY[False]}" if mesh else ""
        raise MeshError(f"{MEMORY[mesh]} MB of memory are needed and {memory} may be taken here{less}")
    free = shutil.disk_usage(directory).free // _MIB
    if free < DISK:
        raise MeshError(
            f"{DISK} MB are needed in {directory} and {free} are free: --state DIR, or GRPC_TRACING_HOME, is elsewhere"
        )


def _memory(root: Path) -> Iterator[int]:
    """In MB: what is left of the machine's, swap included, and the limits of the control groups that we are in."""
    found = dict(re.findall(r"(?m)^(\w+): +(\d+) kB$", _read(root / "proc" / "meminfo")))
    if "MemAvailable" in found:
        yield (int(found["MemAvailable"]) + int(found.get("SwapFree", 0))) // 1024
    for limit in _limits(root):
        if (text := _read(limit).strip()).isdecimal():
            yield int(text) // _MIB


def _limits(root: Path) -> Iterator[Path]:
    """Of both versions of control groups, from our own up to the topmost; in a container ours is the topmost."""
    groups = root / "sys" / "fs" / "cgroup"
    for controllers, path in re.findall(r"(?m)^\d+:(.*?):(/.*)$", _read(root / "proc" / "self" / "cgroup")):
        if controllers in {"", "memory"}:
            top, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
            own = top / path.lstrip("/")
            yield from (folder / name for folder in (own, *own.parents) if folder.is_relative_to(top))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
