"""ClickHouse's HTTP interface over chDB, ClickHouse in a process: `python chdb_server.py PASSWORD` says its port.

It runs in the environment of requirements/engines.lock, and so imports nothing of ours. One session for all requests.
"""

from __future__ import annotations

import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

import chdb

PASSWORD = sys.argv[1]
_OWN = {"session_id", "wait_end_of_query", "default_format"}


class Handler(BaseHTTPRequestHandler):
    """Answers what is posted, with ClickHouse's own codes where it cannot."""

    engine = chdb.connect(":memory:")

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers.get("X-ClickHouse-Key") != PASSWORD:
            self._answer(403, b"Code: 516. DB::Exception: default: Authentication failed", "516")
            return
        try:
            for name, value in parse_qsl(urlsplit(self.path).query):
                if name not in _OWN:
                    self.engine.query(f"SET {name} = {value}")
            self._answer(200, self.engine.query(query, "CSV").bytes())
        except Exception as error:  # as the server does
            code = re.search(r"Code: (\d+)", str(error))
            self._answer(404, str(error).encode(), code[1] if code else "")

    def _answer(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
