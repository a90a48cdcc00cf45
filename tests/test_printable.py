"""Words from elsewhere, as they are shown."""

import pytest

from grpc_tracing.printable import one_line, printable

SPELLED_OUT = [
    ("\x1b[2J", r"\x1b[2J"),
    ("\x00", r"\x00"),
    ("one\rtwo", r"one\rtwo"),
    ("\x9b31m", r"\x9b31m"),  # the eight-bit beginning of an escape sequence
    ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
    ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
    ("\udc80", r"\udc80"),  # what is left of a byte that is no UTF-8
    ("line\u2028line", r"line\u2028line"),
    ("こんにちは [bold] 안녕 ü", "こんにちは [bold] 안녕 ü"),
]


@pytest.mark.parametrize(("said", "shown"), SPELLED_OUT)
def test_what_would_steer_a_terminal_is_spelled_out_and_other_scripts_stay(said: str, shown: str) -> None:
    assert printable(said) == shown


def test_only_what_is_to_stay_stays() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"
    assert one_line("a\n\tb") == r"a \tb"
