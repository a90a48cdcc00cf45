"""A table of figures: as Markdown, as JSON, as a plot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cell = str | float


@dataclass(frozen=True)
class Table:
    """Rows of figures. plotted: the columns to draw over the first one, by index."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    plotted: Sequence[int] = ()

    def markdown(self, machine: Mapping[str, Any]) -> str:
        lines = [f"### {self.title}", "", f"`{machine['command']}`, {_facts(machine)}", ""]
        lines += [_line(self.columns), _line(["---", *["--:"] * (len(self.columns) - 1)])]
        lines += [_line([_text(cell) for cell in row]) for row in self.rows]
        lines += ["", self.note] if self.note else []
        lines += ["", f"![{self.title}](results/{self.name}.svg)"] if self.plotted else []
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, machine: Mapping[str, Any]) -> None:
        """NAME.json with all there is to know, NAME.svg where there is something to draw."""
        document = {
            "machine": machine,
            "title": self.title,
            "columns": self.columns,
            "rows": self.rows,
            "note": self.note,
            "plotted": self.plotted,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        if self.plotted:
            self._draw(folder / f"{self.name}.svg")

    def _draw(self, path: Path) -> None:
        # Late: it takes a second to load.
        from matplotlib.figure import Figure  # noqa: PLC0415

        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots(1, len(self.plotted), squeeze=False)[0]
        for axis, column in zip(axes, self.plotted, strict=True):
            axis.plot([float(row[0]) for row in self.rows], [float(row[column]) for row in self.rows], marker="o")
            axis.set(xlabel=self.columns[0], ylabel=self.columns[column], ylim=(0, None))
            if float(self.rows[-1][0]) > 20 * float(self.rows[0][0]):
                axis.set_xscale("log")
            axis.grid(alpha=0.3)
        figure.suptitle(self.title)
        figure.savefig(path, metadata={"Date": None})


def read(path: Path) -> tuple[Table, dict[str, Any]]:
    """A table that was written before, and its machine's facts."""
    found = json.loads(path.read_text())
    table = Table(
        path.stem, found["title"], found["columns"], found["rows"], note=found["note"], plotted=found["plotted"]
    )
    return table, found["machine"]


def _facts(machine: Mapping[str, Any]) -> str:
    before, after = machine["load_before"][0], machine["load_after"][0]
    return (
        f"{machine['date']}, {machine['cores']} cores, CPython {machine['python']}, grpcio {machine['grpcio']}; "
        f"load average {before} before, {after} after"
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:g}"
