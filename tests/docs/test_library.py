"""docs/library.md shows what tests see, and its first screen is what type checkers pass."""

from tests.propagation.table import BEGIN, END, LIBRARY, markdown
from tests.support.processes import ROOT


def test_the_table_is_the_one_that_the_matrix_is_held_to() -> None:
    shown = LIBRARY.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == f"\n{markdown()}\n", "run python -m tests.propagation.table"


def test_the_first_screen_is_the_service_that_is_type_checked() -> None:
    checked = (ROOT / "tests" / "propagation" / "three_lines.py").read_text()
    page = LIBRARY.read_text()
    for line in (
        "from grpc_tracing.propagation import aio",
        "server = grpc.aio.server(interceptors=aio.server_interceptors())",
        "interceptors=aio.client_interceptors())",
    ):
        assert line in page
        assert line in checked
