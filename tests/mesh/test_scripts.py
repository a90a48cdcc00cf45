"""apply.sh and test.sh for the local mesh, as users type them."""

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from deploy import EXAMPLES
from grpc_tracing.version import VERSION
from tests.mesh.support import ANY_PORTS, STARTING, Mesh, mesh
from tests.support.cells import cells, rows
from tests.support.processes import ROOT, environment
from tests.support.waiting import wait_for

EDGES = [["requester", "ingress"], ["ingress", "svc1"], ["svc1", "svc2"], ["svc2", "svc3"]]
PATTERNS = ["Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional"]


@dataclass(frozen=True)
class Marked:
    """Runs a script so that everything that came of it can be found."""

    mark: str

    def start(self, *command: str, folder: Path = ROOT) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment({"MARK": self.mark}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        with self.start(*command, folder=folder) as process:
            output, errors = process.communicate(timeout=STARTING)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def processes(self) -> list[tuple[psutil.Process, str]]:
        """What still runs of it, each with its command."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # another's, or one that has just ended
                if process.environ().get("MARK") == self.mark:
                    found.append((process, " ".join(process.cmdline())))
        return found

    def left(self) -> list[str]:
        """What still runs of it, by command."""
        return [command for _, command in self.processes()]

    def directory(self) -> Path | None:
        """The private mesh's, once one is on its way."""
        found = re.search(r"/tmp/grpc-tracing-\w+", " ".join(self.left()))
        return Path(found.group()) if found else None


@pytest.fixture
def marked() -> Iterator[Marked]:
    one = Marked(uuid.uuid4().hex)
    yield one
    left = one.processes()
    for process, _ in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert [command for _, command in left] == []


@pytest.mark.parametrize("shell", cells(["sh", "bash", "dash"], ["sh"]))
def test_alone_it_brings_up_a_mesh_tests_it_and_takes_it_down(marked: Marked, shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} on this machine")
    done = marked.run(shell, str(ROOT / "test.sh"), "--json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["problems"]) == ("connected", [])
    assert [call["rpc"] for call in found["calls"]] == PATTERNS
    for call in found["calls"]:
        assert (call["verdict"], call["traces"], call["spans"], call["edges"]) == ("connected", 1, 7, EDGES)


@pytest.mark.full
def test_the_same_command_shows_it_falling_apart(marked: Marked) -> None:
    done = marked.run("./test.sh", "--propagate", "svc2=none", "--rpc", "Talk", "--json")
    assert done.returncode == 1
    (call,) = json.loads(done.stdout)["calls"]
    assert (call["verdict"], call["traces"]) == ("broken", 2)
    assert any(text.startswith("svc2 received traceparent") for text in call["problems"])


def test_without_envoys_the_verdict_is_read_from_the_hop_records(marked: Marked) -> None:
    done = marked.run("./test.sh", "local", "--no-mesh", "--json")
    assert done.returncode == 0, done.stderr
    assert {call["spans"] for call in json.loads(done.stdout)["calls"]} == {None}


@pytest.mark.full
def test_a_mesh_that_is_up_is_tested_and_left_up(marked: Marked) -> None:
    with mesh() as one:
        before = one.pids
        done = marked.run("./test.sh", "local", "--state", str(one.state), "--rpc", "Talk", "--json")
        assert (done.returncode, json.loads(done.stdout)["target"]) == (0, one.target), done.stderr
        assert one.pids == before
        one.kill("svc3")
        wait_for(lambda: one.run("status").returncode == 1, "it is dead")
        broken = marked.run("./test.sh", "local", "--state", str(one.state), "--rpc", "Talk")
        assert broken.returncode == 1
        assert "svc2 -> svc3: " in broken.stdout + broken.stderr


CUT_SHORT = {"start": ("--run", "svc3=sleep 600"), "calls": ("--repeat", "100000")}
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
BY_DEFAULT = (("start", signal.SIGINT), ("calls", signal.SIGTERM))


@pytest.mark.full
@pytest.mark.parametrize(
    ("moment", "number"), rows([(moment, number) for moment in CUT_SHORT for number in NUMBERS], BY_DEFAULT)
)
def test_cut_short_it_leaves_nothing(marked: Marked, moment: str, number: signal.Signals) -> None:
    arguments = CUT_SHORT[moment]
    with marked.start("./test.sh", *arguments) as process:
        directory = wait_for(marked.directory, "a mesh is on its way", timeout=STARTING)
        assert directory
        if arguments[0] == "--repeat":
            wait_for(lambda: any("client call" in one for one in marked.left()), "calls are made", timeout=STARTING)
        wait_for((directory / "mesh.json").exists, "a mesh is on its way", timeout=STARTING)
        if number is signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.communicate(timeout=STARTING)
    if number is signal.SIGKILL:  # what it called directly is beyond its reach
        for child, command in marked.processes():
            if "client call" in command:
                child.kill()
    wait_for(lambda: not marked.left(), "everything ends")
    wait_for(lambda: not directory.exists(), "its directory goes too")
    assert process.returncode == {2: 130, 15: 143, 9: -9}[number]


def test_apply_brings_it_up_and_down(marked: Marked, state: Path) -> None:
    up = marked.run("sh", "apply.sh", "local", "up", "--state", str(state), *ANY_PORTS)
    assert up.returncode == 0, up.stderr
    facts = Mesh(state).facts
    assert facts["target"] in up.stdout
    assert facts["traces"] in up.stdout
    again = marked.run("./apply.sh", "--state", str(state))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "mesh is up already")
    down = marked.run("./apply.sh", "down", "--state", str(state))
    assert (down.returncode, down.stdout) == (0, "mesh is down\n")


@pytest.mark.parametrize("script", ["apply.sh", "test.sh"])
def test_a_place_that_does_not_exist_is_wrong_usage(marked: Marked, script: str) -> None:
    done = marked.run(f"./{script}", "mars")
    assert done.returncode == 2
    assert done.stderr.endswith("one of local, compose, k8s, asm\n")


@pytest.mark.parametrize("script", ["apply.sh", "test.sh"])
def test_a_place_that_is_nearly_right_is_named(marked: Marked, script: str) -> None:
    assert marked.run(f"./{script}", "locl").stderr.endswith("asm; did you mean local?\n")


@pytest.mark.parametrize("script", ["apply.sh", "test.sh"])
def test_help_tells_the_places_and_each_its_options_and_examples(marked: Marked, script: str) -> None:
    overview = marked.run(f"./{script}", "--help")
    assert overview.returncode == 0
    for place, examples in EXAMPLES[script.removesuffix(".sh")].items():
        assert examples[0] in overview.stdout
        shown = marked.run(f"./{script}", place, "--help")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert all(f"  {one}\n" in shown.stdout for one in examples)
        options = [word for one in examples for word in one.split() if word.startswith("--")]
        before = shown.stdout.replace("examples:", "", 1)
        assert [option for option in options if before.count(f"{option}") < 2] == [], "an example's option is explained"


def test_the_scripts_tell_the_version(marked: Marked) -> None:
    assert {marked.run(f"./{script}.sh", "--version").stdout for script in ("apply", "test")} == {
        f"grpc-tracing {VERSION}\n"
    }


def test_the_scripts_are_a_few_lines_that_shellcheck_passes() -> None:
    scripts = ["apply.sh", "test.sh", "scripts/venv.sh"]
    command = [str(ROOT / ".venv/bin/shellcheck"), "--external-sources", "--shell", "sh", *scripts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert all(len((ROOT / script).read_text().splitlines()) <= 12 for script in scripts[:2])
