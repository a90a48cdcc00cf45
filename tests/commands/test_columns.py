"""`fetch -o spans.parquet` and `audit` of columns, as people run them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.audit.traffic import Traffic
from tests.client.http_stub import http_stub
from tests.commands.test_audit import run, write
from tests.support.cells import cells, rows

SECRET = "s3cret-word"  # noqa: S105


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    return write(folder / "spans.jsonl", Traffic(cuts=True, seconds=10), Traffic("shop", seconds=10))


@pytest.fixture(scope="module")
def parquet(lines: Path) -> Path:
    kept = lines.with_suffix(".parquet")
    assert run("fetch", "--traces", lines, "-o", kept).returncode == 0
    return kept


def test_what_fetch_keeps_as_parquet_is_audited_as_the_lines_are(lines: Path, parquet: Path, tmp_path: Path) -> None:
    of_lines = run("audit", "--traces", lines, "--json")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part-0.parquet").symlink_to(parquet)
    of_columns = run("audit", "--traces", folder, "--json", "--memory", "300MiB", "--threads", "1", "--spill", tmp_path)
    assert (of_columns.returncode, of_columns.stderr.count("\n")) == (1, 1)
    assert "part-0.parquet by DuckDB" in of_columns.stderr
    assert of_columns.stdout == of_lines.stdout
    assert json.loads(of_columns.stdout)["verdict"] == "cuts"
    assert list(tmp_path.iterdir()) == [folder]  # what was spilled is gone


@pytest.mark.full
def test_a_pattern_names_several_files(parquet: Path) -> None:
    ended = run("audit", "--traces", parquet.parent / "*.parquet")
    assert ended.stdout.startswith("cuts   cart  in shop.Cart/Get, calls to stock: ")


def _cut_off(parquet: Path, folder: Path) -> Path:
    file = folder / "cut.parquet"
    file.write_bytes(parquet.read_bytes()[:-100])
    return file


def _without_columns(parquet: Path, folder: Path) -> Path:
    file = folder / "columns.parquet"
    pq.write_table(pq.read_table(parquet).drop_columns(["route", "linked"]), file)
    return file


def _other_type(parquet: Path, folder: Path) -> Path:
    read = pq.read_table(parquet)
    at = read.schema.get_field_index("start_ns")
    file = folder / "type.parquet"
    pq.write_table(read.set_column(at, "start_ns", read["start_ns"].cast(pa.timestamp("ns"))), file)
    return file


def _none(parquet: Path, folder: Path) -> Path:
    file = folder / "none.parquet"
    pq.write_table(pq.read_table(parquet).slice(0, 0), file)
    return file


BAD: dict[str, Callable[[Path, Path], Path]] = {
    "cut.parquet: is cut off, or no Parquet": _cut_off,
    "columns.parquet lacks the columns route, linked: docs/scale.md says what each holds": _without_columns,
    "the column start_ns is timestamp[ns], and has to be int64": _other_type,
    "none.parquet holds no spans": _none,
    "there is no file": lambda _, folder: folder / "another.parquet",
    "holds no file with .json, .jsonl or .parquet in its name": lambda _, folder: folder,
}


@pytest.mark.parametrize("said", cells(BAD, [next(iter(BAD))]))
def test_what_is_no_table_of_spans_is_one_line_and_2(said: str, parquet: Path, tmp_path: Path) -> None:
    ended = run("audit", "--traces", BAD[said](parquet, tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--master", "local[1]"), "--master is Spark's: give --engine spark too"),
        (("--spill", "/none/such"), "there is no folder '/none/such'"),
        (("--memory", "2"), "is not a size"),
    ],
)
def test_wrong_options_for_columns_are_one_line_and_2(arguments: tuple[str, ...], said: str, parquet: Path) -> None:
    ended = run("audit", "--traces", parquet, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr


def _lacking(module: str, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command where a package is not installed."""
    folder.mkdir()
    (folder / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})\n")
    command = [sys.executable, "-m", "grpc_tracing", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{Path.cwd()}"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


DUCKDB = ("duckdb", ("audit", "--traces", "{}"), "duckdb")


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    rows(
        [
            DUCKDB,
            ("pyspark", ("audit", "--traces", "{}", "--engine", "spark"), "spark"),
            ("pyarrow", ("audit", "--traces", "{}"), "duckdb"),
            ("pyarrow", ("audit", "--traces", "clickhouse://127.0.0.1:1"), "clickhouse"),
            ("pyarrow", ("fetch", "--traces", "{}", "-o", "{}.out.parquet"), "duckdb"),
        ],
        [DUCKDB],
    ),
)
def test_what_is_not_installed_is_named_with_its_extra(
    module: str, arguments: tuple[str, ...], extra: str, parquet: Path, tmp_path: Path
) -> None:
    source = str(parquet.with_suffix(".jsonl") if arguments[0] == "fetch" else parquet)
    ended = _lacking(module, tmp_path / "lacking", *(one.replace("{}", source) for one in arguments))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith(f"needs {module}, which is not installed: pip install 'grpc-tracing[audit,{extra}]'\n")


@pytest.mark.full
def test_fetch_reads_no_parquet(parquet: Path, tmp_path: Path) -> None:
    ended = run("fetch", "--traces", parquet, "-o", tmp_path / "out.jsonl")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "reads no Parquet: grpc-tracing audit does" in ended.stderr


@pytest.mark.full
def test_a_clickhouse_that_does_not_answer_is_one_line_and_2() -> None:
    ended = run("audit", "--traces", f"clickhouse://me:{SECRET}@127.0.0.1:1/otel")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "nothing answers at ClickHouse at http://127.0.0.1:1" in ended.stderr
    assert SECRET not in ended.stderr


REFUSALS = {
    "516": "refuses the user: give the password in the URL, or in CLICKHOUSE_PASSWORD",
    "60": "has no table otel.spans",
    "47": "without the columns of the OpenTelemetry exporter",
    "241": "has too little memory for it",
    "497": "GRANT SELECT on otel.spans",
    "": "answers 500: a line of its own",
}


@pytest.mark.parametrize("code", cells(REFUSALS, ["516"]))
async def test_what_clickhouse_refuses_is_one_line_and_2(code: str) -> None:
    headers = {"X-ClickHouse-Exception-Code": code} if code else {}
    async with http_stub(lambda _: (500, b"a line of its own\nand more", headers)) as url:
        where = url.replace("http://", f"clickhouse://me:{SECRET}@") + "/otel?table=spans"
        ended = await asyncio.to_thread(run, "audit", "--traces", where)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert REFUSALS[code] in ended.stderr
    assert SECRET not in ended.stderr
