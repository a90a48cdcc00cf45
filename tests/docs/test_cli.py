"""docs/cli.md and the completions say what the parsers say."""

import shutil
import subprocess

import pytest

from scripts import completion, reference


def test_the_page_is_what_the_parsers_make_it() -> None:
    assert reference.PAGE.read_text() == reference.page(), "python -m scripts.reference makes it anew"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (("client", "ca"), "call"),
        (("client", "call", "--ju"), "--junit"),
        (("mesh", "up", "--repl"), "--replicas"),
        (("grpc-tracing", "store", "--otlp-g"), "--otlp-grpc"),
    ],
)
def test_bash_completes_commands_and_options(
    typed: tuple[str, ...], completed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    assert completion.main(["bash"]) == 0
    name = typed[0].replace("-", "_")
    words = " ".join(typed)
    code = f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _shtab_{name}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        [bash, "-c", f"{capsys.readouterr().out}\n{code}"], capture_output=True, text=True, check=False
    )
    assert completed in done.stdout.split(), done


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_gets_completions_of_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main([shell]) == 0
    printed = capsys.readouterr().out
    assert [
        word for word in ("grpc-tracing", "client", "mesh", "junit", "replicas", "zipkin") if word not in printed
    ] == []


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main(["tcl"]) == 2
    assert capsys.readouterr().err == "name one shell of bash, zsh, fish\n"
