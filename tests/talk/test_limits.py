"""What one service bears: connections, streams, idleness, and messages that never end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import h2.settings
import psutil
import pytest

from grpc_tracing.calling.limits import MESSAGE_LIMIT
from talk.intake import MOST_AT_ONCE
from tests.hostile.peer import SILENT, Peer, changed
from tests.mesh.support import call
from tests.support.files import allow_files
from tests.support.processes import Service, service
from tests.support.waiting import wait_for

MIB = 1024 * 1024
MOST_CONNECTIONS, MOST_STREAMS = 4_000, 1_000
HALF = b"\0" + (MESSAGE_LIMIT - 1024).to_bytes(4, "big") + bytes(MESSAGE_LIMIT // 2)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""With empty settings."""
PATIENCE = 10.0


@pytest.fixture
def last(tmp_path: Path) -> Iterator[Service]:
    with service("svc3", tmp_path / "log", listen="127.0.0.1:0,127.0.0.1:0") as svc3:
        assert svc3.addresses
        yield svc3


@contextmanager
def connected(target: str, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    allow_files(count)
    host, _, port = target.rpartition(":")
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(count)]
        for one in found:
            one.sendall(said)
        yield found


class HalfSent:
    """A Talk of which half a message comes, and no more; `ending` as `Peer.ending` says it, once it is known."""

    def __init__(self, target: str) -> None:
        self._peer = Peer(target, patience=PATIENCE)
        self._stream = self._peer.http.get_next_available_stream_id()
        self._peer.http.send_headers(self._stream, list(changed()))
        self._peer.flush()
        self._thread = threading.Thread(target=self._send)
        self.ending = ""
        self._thread.start()

    def _send(self) -> None:
        self._peer.upload(self._stream, HALF)
        self.ending = self._peer.ending(self._stream)

    def __enter__(self) -> HalfSent:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._peer.__exit__(None, None, None)


@pytest.mark.full
def test_idle_connections_and_half_sent_messages_take_less_than_the_manifest_allows(last: Service) -> None:
    target = last.addresses[0]
    process = psutil.Process(last.process.pid)
    with connected(target, 2_000, PREFACE), ExitStack() as stack:
        sending = [stack.enter_context(HalfSent(target)) for _ in range(100)]
        most = 0
        while not all(one.ending for one in sending):
            most = max(most, process.memory_info().rss)
            assert call(target, timeout=PATIENCE).code is grpc.StatusCode.OK
    assert most < 250 * MIB, f"{most / MIB:.0f} MiB"
    assert call(target, timeout=PATIENCE).code is grpc.StatusCode.OK


@pytest.mark.full
def test_half_sent_messages_keep_their_places_until_somebody_needs_one(last: Service) -> None:
    target = last.addresses[0]
    with ExitStack() as stack:
        sending = [stack.enter_context(HalfSent(target)) for _ in range(MOST_AT_ONCE + 10)]
    assert sorted(one.ending for one in sending) == sorted(["grpc 8"] * 10 + [SILENT] * MOST_AT_ONCE)


def test_connections_beyond_the_bound_are_closed_and_another_address_answers_all_the_same(last: Service) -> None:
    first, second = last.addresses
    with connected(first, MOST_CONNECTIONS, PREFACE):
        wait_for(lambda: call(first, timeout=PATIENCE).code is grpc.StatusCode.UNAVAILABLE, "the first one is full")
        assert call(second, timeout=PATIENCE).code is grpc.StatusCode.OK
    wait_for(lambda: call(first, timeout=PATIENCE).code is grpc.StatusCode.OK, "there is room again")


@pytest.mark.full
def test_a_connection_that_says_nothing_ends(last: Service) -> None:
    with connected(last.addresses[0], 1) as (silent,):
        silent.settimeout(100)
        while silent.recv(MIB):
            pass


def test_a_connection_has_a_thousand_streams_at_most(last: Service) -> None:
    with Peer(last.addresses[0]) as peer:
        assert peer.ask() == "grpc 0"
        assert peer.http.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] == MOST_STREAMS


def test_an_idle_connection_is_closed_and_the_next_call_opens_another(tmp_path: Path) -> None:
    with service("svc3", tmp_path / "log", listen="127.0.0.1:0", connection_idle="1s") as svc3:
        with Peer(svc3.addresses[0]) as peer:
            assert peer.ask() == "grpc 0"
            assert peer.is_cut()
        assert call(svc3.addresses[0]).code is grpc.StatusCode.OK
