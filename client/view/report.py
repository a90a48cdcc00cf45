"""A run as one self-contained HTML file with the views of the trace pages."""

from __future__ import annotations

from pathlib import Path

from client.call.run import Run
from client.view.document import notes_for_store
from grpc_tracing.commands.files import write_whole
from grpc_tracing.store import report


def write_report(path: Path, run: Run) -> None:
    """Writes the file whole or not at all. Raises OSError."""
    documents = [document for call in run.calls if call.picture for document in call.picture.documents]
    page = report.render(documents, notes_for_store(run), title=f"client call {run.target}: {run.verdict}")
    write_whole(path, page)
