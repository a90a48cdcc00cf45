"""Simulated shops as Parquet. ``python -m bench.audit.scale --shops 100 FOLDER``, a file a shop.

A shop's columns go into Arrow as they are, no object a span. Services of the n-th shop are called `mNNN-sNN`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.audit.scenes import SCENES
from bench.audit.shop import RPCS, Part, Scene, Spans, simulate
from grpc_tracing.audit.facts import Layer
from grpc_tracing.engines.layout import LAYOUT, writer

_Column = NDArray[Any]
_ROWS = 1 << 18
_DIGITS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint8).reshape(256, 2)


def table(spans: Spans, prefix: str = "") -> pa.Table:
    """The spans of a shop in the layout, in the order in which they come."""
    order = spans.order()
    members = spans.shop.members
    names = [prefix + one.name for one in members]
    places = [place for one in members for place in one.instances]
    offsets = np.cumsum([0, *(len(one.instances) for one in members)])
    held = {name: _joined(spans.parts, name)[order] for name in ("trace", "span", "parent", "rpc", "request")}
    member, kind, target = (
        np.repeat([getattr(part, name) for part in spans.parts], [len(part.trace) for part in spans.parts])[order]
        for name in ("member", "kind", "target")
    )
    place = _joined(spans.parts, "instance")[order] + offsets[member]
    called = np.where(target < 0, member, target)
    clock = np.array([one.clock for one in places])[place]
    columns = {
        "trace_id": _hex(held["trace"], 32),
        "span_id": _hex(held["span"], 16),
        "parent_id": _hex(held["parent"], 16),
        "kind": _named(*_numbered(kind)),
        "service": _named(member, names),
        "instance": _named(place, [prefix + one.name for one in places]),
        "version": _named(place, [one.version for one in places]),
        "layer": _named(np.zeros(len(order), np.int64), [Layer.SIDECAR.value]),
        "route": _named(called * len(RPCS) + held["rpc"], [f"shop.{name}/{rpc}" for name in names for rpc in RPCS]),
        "target": _named(target + 1, ["", *names]),
        "start_ns": pa.array(_joined(spans.parts, "start")[order] + clock),
        "end_ns": pa.array(_joined(spans.parts, "end")[order] + clock),
        "request_id": _hex(held["request"], 16),
        "linked": pa.array(np.zeros(len(order), bool)),
    }
    return pa.table({name: columns[name] for name in LAYOUT.names})


def _joined(parts: Sequence[Part], name: str) -> _Column:
    return np.concatenate([getattr(part, name) for part in parts])


def _numbered(kinds: _Column) -> tuple[_Column, list[str]]:
    names, numbers = np.unique(kinds, return_inverse=True)
    return numbers, [str(name) for name in names]


def _named(numbers: _Column, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), pa.array(names, pa.string()))


def _hex(numbers: _Column, digits: int) -> pa.Array:
    """Of 64 bits each, zeros before them; empty where a number is 0."""
    text = _DIGITS[numbers.astype(">u8").view(np.uint8)].reshape(len(numbers), 16)
    wide = np.full((len(numbers), digits), ord("0"), np.uint8)
    wide[:, digits - 16 :] = text
    there = numbers != 0
    offsets = np.concatenate([[0], np.cumsum(there * digits)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(wide[there].tobytes()))


def write(scene: Scene, seed: int, path: Path, prefix: str = "") -> int:
    """Writes a shop's spans and returns how many."""
    made = table(simulate(scene, seed), prefix).cast(LAYOUT)
    with writer(path) as file:
        file.write_table(made, row_group_size=_ROWS)
    return int(made.num_rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.audit.scale", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets a file a shop")
    parser.add_argument("--shops", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first shop [%(default)s]")
    parser.add_argument("--seed", type=int, default=1000, help="of shop 0 [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60, help="of traffic a shop [%(default)g]")
    parser.add_argument("--scene", choices=[one.name for one in SCENES], default=SCENES[0].name, help="[%(default)s]")
    options = parser.parse_args()
    scene = replace(next(one for one in SCENES if one.name == options.scene), seconds=options.seconds)
    options.folder.mkdir(parents=True, exist_ok=True)
    spans = 0
    for number in range(options.first, options.first + options.shops):
        path = options.folder / f"shop-{number:04}.parquet"
        spans += write(scene, options.seed + number, path, f"m{number:03}-")
        print(f"{path.name}, {spans:,} spans", flush=True)


if __name__ == "__main__":
    main()
