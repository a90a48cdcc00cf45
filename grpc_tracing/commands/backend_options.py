"""How a backend is asked, on every command line that has `--traces URL`."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from grpc_tracing.arguments import checked
from grpc_tracing.backends.apis import APIS
from grpc_tracing.backends.credentials import header
from grpc_tracing.backends.jaeger import Source


def add_backend(made: argparse.ArgumentParser) -> None:
    """How the URL of `--traces` is asked."""
    add = made.add_argument
    add("--traces-api", choices=("auto", *APIS), default="auto", help="what the URL speaks [%(default)s]")
    add(
        "--traces-header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=checked(header),
        help="goes with each request; @FILE reads it, so that no process list shows it",
    )
    add("--traces-ca", metavar="FILE", type=Path, help="the CA that vouches for the URL")


def backend(made: argparse.ArgumentParser, given: argparse.Namespace, text: str) -> Source:
    """The backend at this URL. Exits with code 2 and one line where it is none."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        made.error("--traces: a backend's URL begins with http:// or https:// and names a host")
    return Source.at(text, tuple(given.traces_header), given.traces_ca)
