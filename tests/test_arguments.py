"""A wrong word on a command line is answered with the one that comes near it."""

import pytest

from grpc_tracing.arguments import Parser, near


def _parser() -> Parser:
    parser = Parser(prog="some")
    parser.add_argument("--port")
    parser.add_argument("action", nargs="?", choices=("up", "down"))
    return parser


def _commands() -> Parser:
    parser = Parser(prog="some")
    parser.add_subparsers(required=True).add_parser("status").add_argument("--json", action="store_true")
    return parser


@pytest.mark.parametrize(
    ("parser", "typed", "answer"),
    [
        (_parser(), ["--prot=5"], "unrecognized arguments: --prot; did you mean --port?"),
        (_parser(), ["--prot", "5"], "unrecognized arguments: --prot; did you mean --port?"),
        (_parser(), ["--nothing-like-it"], "unrecognized arguments: --nothing-like-it"),
        (_parser(), ["donw"], "did you mean down?"),
        (_commands(), ["statsu"], "did you mean status?"),
        (_commands(), ["status", "--jsno"], "unrecognized arguments: --jsno; did you mean --json?"),
    ],
)
def test_the_near_word_is_named(
    parser: Parser, typed: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(typed)
    assert (ended.value.code, capsys.readouterr().err.rstrip().endswith(answer)) == (2, True)


def test_no_word_is_named_that_is_far() -> None:
    assert near("mars", ("local", "compose")) == ""
