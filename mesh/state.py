"""The mesh's one private directory: who holds it, what lies in it."""

import fcntl
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mesh.errors import MeshError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
# Names of sockets stand in gRPC's addresses, which are URIs and, where there may be several, separated by commas.
_NOT_IN_AN_ADDRESS = re.compile(r"[^!-~]|[\"#%,<>?\\^`{|}]")
_ANOTHER = "--state DIR or GRPC_TRACING_HOME chooses another"
_LONGEST_NAME = "sock/svc3-canary-sidecar.adm"


def default_directory() -> Path:
    """One per user, and the same from every folder and shell: mesh in GRPC_TRACING_HOME, else in /tmp."""
    if home := os.environ.get("GRPC_TRACING_HOME"):
        return Path(home).absolute() / "mesh"
    return Path(f"/tmp/grpc-tracing-{os.getuid()}")  # noqa: S108 made 0700, and refused when it is somebody else's


class State:
    """Paths, and the lock that says whether a mesh is up.

    The supervisor holds an flock on the directory for as long as it lives: the kernel lets go of it whatever way it
    ends, so no pid has to be trusted. (It also keeps systemd-tmpfiles from clearing the directory away.)
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sockets = directory / "sock"
        self.identities = directory / "identities"
        self.envoy = directory / "envoy"
        self.logs = directory / "logs"
        self.control = directory / "sock" / "control"
        self.facts_file = directory / "mesh.json"

    def prepare(self) -> None:
        """Make the directory, or find it as we would have made it. MeshError where that cannot be."""
        self._check_name()
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_private()
            self._check_ours()
        except OSError as error:
            raise self._unusable(error) from error

    def is_there(self) -> bool:
        """MeshError where it is not ours alone: another user's mesh is none to talk to."""
        try:
            self._check_private()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def _unusable(self, error: OSError) -> MeshError:
        return MeshError(f"cannot use {self.directory}: {error.strerror}; {_ANOTHER}")

    def _check_name(self) -> None:
        if found := _NOT_IN_AN_ADDRESS.search(str(self.directory)):
            raise MeshError(f"{self.directory} has a {found[0]!r}, which no address may have: {_ANOTHER}")
        excess = len(os.fsencode(self.directory / _LONGEST_NAME)) - _LONGEST_SOCKET_PATH
        if excess > 0:
            raise MeshError(f"{self.directory} is {excess} bytes too long for the Unix sockets in it: {_ANOTHER}")

    def _check_private(self) -> None:
        found = self.directory.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise MeshError(f"{self.directory} is no directory: {_ANOTHER}")
        if found.st_uid != os.geteuid():
            raise MeshError(f"{self.directory} belongs to somebody else: {_ANOTHER}")
        if found.st_mode & 0o077:
            raise MeshError(f"{self.directory} is open to others: chmod 700 it, or {_ANOTHER}")

    def _check_ours(self) -> None:
        ours = {path.name for path in (self.sockets, self.identities, self.envoy, self.logs, self.facts_file)}
        strange = sorted(path.name for path in self.directory.iterdir() if path.name not in ours)
        if strange:
            raise MeshError(f"{self.directory} holds what is not the mesh's ({strange[0]}): {_ANOTHER}")

    def lock(self) -> int | None:
        """A descriptor that holds the directory; None: a mesh is up."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Whether we hold it now; False: a mesh is up, or there is no such directory. MeshError as above."""
        descriptor = self.lock() if self.is_there() else None
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """A way to ask whether a supervisor still holds the directory, even when its name is gone."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)

        def is_held() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return False

        try:
            yield is_held
        finally:
            os.close(descriptor)

    def is_stale(self) -> bool:
        """With the lock held: a mesh ended without clearing up."""
        return self.facts_file.exists() or self.sockets.exists()

    def make(self) -> None:
        """With the lock held: a clean start. Logs of the last mesh go too."""
        self.clear()
        shutil.rmtree(self.logs, ignore_errors=True)
        for directory in (self.sockets, self.identities, self.envoy, self.logs):
            directory.mkdir(mode=0o700)

    def clear(self) -> None:
        """With the lock held: leave the logs and nothing else."""
        for directory in (self.sockets, self.identities, self.envoy):
            shutil.rmtree(directory, ignore_errors=True)
        self.facts_file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def socket(self, workload: str, kind: str) -> Path:
        """kind: app, out (where the app calls its sidecar), adm (Envoy's admin interface). MeshError where too long."""
        path = self.sockets / f"{workload}.{kind}"
        if (excess := len(os.fsencode(path)) - _LONGEST_SOCKET_PATH) > 0:
            raise MeshError(f"{path} is {excess} bytes too long for a Unix socket: {_ANOTHER}")
        return path

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Whole or not at all: a reader never sees half of it."""
        descriptor, name = tempfile.mkstemp(dir=self.envoy)
        with os.fdopen(descriptor, "w") as file:
            json.dump(facts, file, indent=2)
        Path(name).replace(self.facts_file)

    def read_facts(self) -> dict[str, Any]:
        """What the last mesh said of itself; empty where there is nothing readable."""
        with suppress(OSError, ValueError):
            facts: dict[str, Any] = json.loads(self.facts_file.read_text())
            return facts
        return {}
