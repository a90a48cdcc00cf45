"""What of the user's settings reaches an installer: where packages come from, and nothing that puts them elsewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Mapping

Settings = Mapping[str, str]
"""Of pip's settings, by the names of its options."""

_OF_PIP = frozenset(
    {"index-url", "extra-index-url", "no-index", "find-links", "proxy", "cert", "client-cert", "trusted-host"}
    | {"timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider", "use-feature"}
)
_OF_UV = re.compile(
    r"UV_((DEFAULT_)?INDEX(_\w+)?|EXTRA_INDEX_URL|FIND_LINKS|(NO_)?CACHE(_DIR)?|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST"
    r"|KEYRING_PROVIDER|HTTP_TIMEOUT|OFFLINE|LINK_MODE)"
)
_ORDER = ("global", "install", ":env:")  # the later ones hold


def clean() -> dict[str, str]:
    """Our environment without what steers other Pythons and their installers."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON", "CONDA_")) and name != "VIRTUAL_ENV"
    }


def read(python: str) -> Settings:
    """Those of this Python's pip, from its files and variables; empty without a pip."""
    names = {"PIP_CONFIG_FILE", *map(_variable, _OF_PIP)}
    said = clean() | {name: value for name, value in os.environ.items() if name in names}
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], env=said, capture_output=True, text=True, check=False
    ).stdout
    pairs = [pair for pair in re.findall(r"(?m)^(.+)\.([a-z-]+)=(.+)$", listed) if pair[0] in _ORDER]
    pairs.sort(key=lambda pair: _ORDER.index(pair[0]))
    return {key: str(ast.literal_eval(value)) for _, key, value in pairs if key in _OF_PIP}


def _variable(key: str) -> str:
    return f"PIP_{key.replace('-', '_').upper()}"


def for_pip(settings: Settings) -> dict[str, str]:
    """The environment to run pip in."""
    said = {_variable(key): value for key, value in settings.items()}
    return clean() | said | {"PIP_CONFIG_FILE": os.devnull}


def for_uv(settings: Settings) -> dict[str, str]:
    """The environment to run uv in, which does not read pip's settings: they hold where it has none of its own."""
    own = {name: value for name, value in os.environ.items() if _OF_UV.fullmatch(name)}
    names = {"find-links": "UV_FIND_LINKS", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
    if not any("INDEX" in name for name in own):
        names |= {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}
    return {names[key]: value for key, value in settings.items() if key in names} | clean() | own
