"""Envoy's admin interface over its Unix socket."""

import http.client
import json
import socket
from pathlib import Path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("envoy", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(path: Path, method: str, url: str, timeout: float = 2.0) -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, url)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"Envoy's answer broke off: {error!r}") from error
    finally:
        connection.close()


def is_ready(path: Path) -> bool:
    try:
        status, _ = _ask(path, "GET", "/ready")
    except OSError:
        return False
    return status == 200


def stop_listening(path: Path, *, graceful: bool) -> None:
    """Graceful: tells callers to go, keeps serving them for the drain time, then closes. OSError: nobody there."""
    _ask(path, "POST", "/drain_listeners?graceful" if graceful else "/drain_listeners")


def value(path: Path, name: str) -> int:
    """A counter's or gauge's value; 0 where Envoy does not have it yet. OSError: nobody there."""
    _, body = _ask(path, "GET", f"/stats?format=json&filter=^{name}$")
    return sum(int(stat["value"]) for stat in json.loads(body)["stats"] if stat.get("name") == name)
