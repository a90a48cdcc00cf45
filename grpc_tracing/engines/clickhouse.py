"""ClickHouse: the SQL runs over the table of the OpenTelemetry exporter, and what comes back is small."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import httpx
import pyarrow as pa

from grpc_tracing.audit.facts import EXITS, INSTANCE, LONGEST, NO_VERSION, POD, SIDECAR, TARGET
from grpc_tracing.engines.evidence import EngineError
from grpc_tracing.engines.sql import Dialect, spans
from grpc_tracing.headers.families import REQUEST_ID

SCHEMES: Final = {"clickhouse": ("http", 8123), "clickhouses": ("https", 8443)}
_DIALECT: Final = Dialect(distinct="arraySort(groupUniqArray({}))", times="groupArray(tuple({}, {}))")
_SETTINGS: Final = {
    "join_use_nulls": "1",
    "output_format_arrow_string_as_string": "1",
    "output_format_arrow_low_cardinality_as_dictionary": "0",
    "wait_end_of_query": "1",  # so that what goes wrong late is no half answer
}
_CODES: Final = {
    "60": "has no table {table}: name its database in the URL, clickhouse://HOST/DATABASE, or ?table=NAME",
    "81": "has no database of this name: clickhouse://HOST/DATABASE",
    "47": "has a table {table} without the columns of the OpenTelemetry exporter",
    "193": "refuses the user: give the password in the URL, or in CLICKHOUSE_PASSWORD",
    "194": "refuses the user: give the password in the URL, or in CLICKHOUSE_PASSWORD",
    "516": "refuses the user: give the password in the URL, or in CLICKHOUSE_PASSWORD",
    "241": "has too little memory for it: ask for less with --last, or let the user have more (max_memory_usage)",
    "497": "does not let the user do it: GRANT SELECT on {table}, and CREATE TEMPORARY TABLE",
    "164": "does not let the user do it: GRANT SELECT on {table}, and CREATE TEMPORARY TABLE",
}


@dataclass(frozen=True)
class Server:
    """Where the table is. `name` is what messages show: no password, no user."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str
    table: str
    ca: str | None = None

    @property
    def name(self) -> str:
        return f"ClickHouse at {self.url}"


def server(text: str, ca: str | None = None) -> Server:
    """`clickhouse://USER:PASSWORD@HOST:PORT/DATABASE?table=NAME`, of which only the host is needed.

    ValueError says how to write one.
    """
    parts = urlsplit(text)
    try:
        scheme, port = SCHEMES[parts.scheme]
        port = parts.port or port
    except (KeyError, ValueError):
        raise ValueError("write ClickHouse's URL as clickhouse://USER@HOST:PORT/DATABASE") from None
    if not parts.hostname:
        raise ValueError("write ClickHouse's URL as clickhouse://USER@HOST:PORT/DATABASE")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Server(
        f"{scheme}://{host}:{port}",
        unquote(parts.username or "default"),
        unquote(parts.password or "") or os.environ.get("CLICKHOUSE_PASSWORD", ""),
        unquote(parts.path.strip("/")) or "default",
        parse_qs(parts.query).get("table", ["otel_traces"])[0],
        ca,
    )


@dataclass
class Clickhouse:
    """Tables are temporary ones of one session, which end with it."""

    server: Server
    client: httpx.Client
    first: int
    last: int
    """The window in Unix ns."""
    parts: int = 1
    dialect: Dialect = _DIALECT
    _session: str = field(default_factory=lambda: uuid4().hex)

    def open(self, part: int) -> None:
        del part
        self._do(f"CREATE OR REPLACE TEMPORARY TABLE spans {_STORED} AS {self._spans()}")

    def keep(self, name: str, query: str) -> None:
        self._do(f"CREATE OR REPLACE TEMPORARY TABLE {name} {_STORED} AS {query}")

    def add(self, name: str, query: str) -> None:
        self.keep(name, query)

    def rows(self, query: str) -> pa.Table:
        with pa.ipc.open_stream(self._do(f"{query} FORMAT ArrowStream")) as stream:
            return stream.read_all()

    def check(self) -> None:
        """That the table is there and what the exporter makes."""
        self._do(f"{GIVEN} FROM {self._table} LIMIT 0")

    @property
    def _table(self) -> str:
        return f"{_quoted(self.server.database)}.{_quoted(self.server.table)}"

    def _spans(self) -> str:
        first, last = (f"fromUnixTimestamp64Nano(toInt64({at}))" for at in (self.first, self.last))
        window = f"Timestamp >= {first} AND Timestamp <= {last}"
        return spans(f"({GIVEN} FROM {self._table} WHERE {window}) given")

    def _do(self, query: str) -> bytes:
        try:
            answer = self.client.post("/", content=query.encode(), params={"session_id": self._session})
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise EngineError(
                f"nothing answers at {self.server.name} ({error}): its HTTP port is wanted, 8123 if none is given"
            ) from None
        if answer.status_code != httpx.codes.OK:
            raise EngineError(f"{self.server.name} {self._why(answer)}")
        return answer.content

    def _why(self, answer: httpx.Response) -> str:
        code = answer.headers.get("x-clickhouse-exception-code", "")
        if answer.status_code in {401, 403} and not code:
            code = "516"
        table = f"{self.server.database}.{self.server.table}"
        if code in _CODES:
            return _CODES[code].format(table=table)
        return f"answers {answer.status_code}: {answer.text.partition(chr(10))[0][:300]}"


_STORED: Final = "ENGINE = MergeTree ORDER BY tuple()"
"""On the server's disk: its Memory engine would hold all."""


@contextmanager
def opened(where: Server, window: tuple[int, int]) -> Iterator[Clickhouse]:
    """The engine over what began in this window, Unix ns. Raises EngineError."""
    headers = {"X-ClickHouse-User": where.user, "X-ClickHouse-Key": where.password}
    try:
        verify = ssl.create_default_context(cafile=where.ca)
    except (OSError, ssl.SSLError):
        raise EngineError(f"{where.ca}: is no CA that can be read") from None
    timeout = httpx.Timeout(10, read=None)
    with httpx.Client(base_url=where.url, headers=headers, params=_SETTINGS, timeout=timeout, verify=verify) as client:
        made = Clickhouse(where, client, *window)
        made.check()
        yield made


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _first(column: str, keys: Sequence[str]) -> str:
    found = ", ".join(f"nullIf({column}[{_text(key)}], '')" for key in keys)
    return f"coalesce({found}, '')"


def _cut(text: str) -> str:
    return f"leftUTF8({text}, {LONGEST})"


def _kinds(kinds: frozenset[str]) -> str:
    return f"({', '.join(_text(str(kind)) for kind in sorted(kinds))})"


_NODE: Final = "SpanAttributes['node_id']"
_POD_OF_NODE: Final = f"""
if(length(splitByChar('~', {_NODE})) = 4, splitByChar('.', splitByChar('~', {_NODE})[3])[1], {_NODE})"""
_URL: Final = _first("SpanAttributes", ("http.url", "url.path"))
_METHOD: Final = "SpanAttributes['rpc.method']"
_LATEST: Final = ", ".join(_text(one) for one in sorted(NO_VERSION))

GIVEN: Final = f"""
WITH
  lower(TraceId) AS own_trace,
  lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS own_kind,
  {
    _cut(
        f"coalesce(nullIf({_first('ResourceAttributes', INSTANCE)}, ''), nullIf({_POD_OF_NODE}, ''), "
        f"{_first('SpanAttributes', INSTANCE)})"
    )
} AS own_instance,
  coalesce(nullIf(ResourceAttributes['service.version'], ''), SpanAttributes['service.version']) AS told_version,
  extract(own_instance, {_text(f"^{POD.pattern}$")}) AS template,
  {_URL} AS url,
  if(position(url, '://') > 0, substring(url, position(url, '://') + 3), '') AS after_scheme,
  if(position(url, '://') > 0,
     if(position(after_scheme, '/') > 0, substring(after_scheme, position(after_scheme, '/') + 1), ''), url) AS path,
  trim(LEADING '/' FROM splitByChar('?', path)[1]) AS rpc_of_path,
  {_first("SpanAttributes", TARGET)} AS told_target,
  splitByChar('.', trim(TRAILING ';' FROM splitByChar('|', told_target)[-1]))[1] AS cluster_service,
  {_first("SpanAttributes", (f"guid:{REQUEST_ID}", REQUEST_ID))} AS told_id
SELECT
  own_trace AS trace_id,
  lower(SpanId) AS span_id,
  if(match(ParentSpanId, '^0*$'), '', lower(ParentSpanId)) AS parent_id,
  if(own_kind = '', 'unspecified', own_kind) AS kind,
  {_cut("if(ServiceName = '', 'unknown', ServiceName)")} AS service,
  own_instance AS instance,
  {_cut(f"if(told_version IN ({_LATEST}) AND template <> '', template, told_version)")} AS version,
  if({" OR ".join(f"mapContains(SpanAttributes, {_text(key)})" for key in SIDECAR)}, 'sidecar', 'sdk') AS layer,
  {
    _cut(f'''multiIf(
    SpanAttributes['grpc.path'] <> '', trim(LEADING '/' FROM SpanAttributes['grpc.path']),
    {_METHOD} <> '' AND SpanAttributes['rpc.service'] <> '',
      concat(SpanAttributes['rpc.service'], '/', {_METHOD}),
    {_METHOD} <> '', trim(LEADING '/' FROM {_METHOD}),
    rpc_of_path <> '', rpc_of_path, SpanName)''')
} AS route,
  {
    _cut(f'''multiIf(own_kind NOT IN {_kinds(EXITS)}, '',
    position(told_target, '|') > 0 AND cluster_service <> '', cluster_service, told_target)''')
} AS target,
  toUnixTimestamp64Nano(Timestamp) AS start_ns,
  toUnixTimestamp64Nano(Timestamp) + toInt64(Duration) AS end_ns,
  if(lengthUTF8(told_id) > {LONGEST}, '', told_id) AS request_id,
  arrayExists(one -> lower(one) <> own_trace, `Links.TraceId`) AS linked
"""
"""The layout's columns of the exporter's, by the rules of `facts.fact`."""
