"""`grpc-tracing check` on the Talk service of a mesh, as users type it."""

from __future__ import annotations

import json
from typing import Any

from tests.mesh.support import Mesh, run

SERVICE = "org.feuyeux.grpc.LandingService"
RPCS = ("Talk", "TalkOneAnswerMore", "TalkMoreAnswerOne", "TalkBidirectional")
WAIT = ("--wait", "30s", "--timeout", "30s")
ONE = ("-d", '{"data": "0"}')


def check(one: Mesh, rpc: str, *arguments: str, code: int) -> Any:
    words = ("-m", "grpc_tracing", "check", one.target, f"{SERVICE}/{rpc}", "--traces", one.facts["traces"])
    done = run(*words, "--json", *ONE, *WAIT, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)
