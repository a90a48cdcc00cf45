import json
import re
from typing import Any

import pytest

from talk.config import Identity
from talk.logs import open_log

FIELDS: dict[str, Any] = {
    "event": 'a "quoted" text\\ of two\nlines, é and 안, and \x00',
    "messages_in": 3,
    "duration_ms": 0.25,
    "tiny": 1e-07,
    "huge": 10**20,
    "flag": True,
    "nothing": None,
    "addresses": ["127.0.0.1:1", "unix:/a"],
}


def test_a_line_is_what_the_standard_library_makes_of_its_fields(capfd: pytest.CaptureFixture[str]) -> None:
    with open_log(Identity("svc1", "v1", "host"), "json") as log:
        log.event(**FIELDS)
    line = capfd.readouterr().err
    found = json.loads(line)
    assert line == json.dumps(found) + "\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found.pop("time"))
    assert found == {"service": "svc1", **FIELDS}
