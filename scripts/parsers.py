"""The command lines that people type, each with its parser: docs/cli.md and the completions are made from them."""

from __future__ import annotations

import argparse

import client.cli
import deploy.compose.place
import deploy.kubernetes.place
import deploy.local.place
import grpc_tracing.commands.check_options
import grpc_tracing.commands.options
import grpc_tracing.store.options
import grpc_tracing.watch.options
import mesh.cli
from grpc_tracing.arguments import Parser
from grpc_tracing.version import VERSION


def scripts() -> dict[str, argparse.ArgumentParser]:
    """By what is typed; `./test.sh compose` has no options but the requester's."""
    return {
        "./apply.sh local": mesh.cli.parser("./apply.sh local"),
        "./test.sh local": deploy.local.place.test_parser(),
        "./apply.sh compose": deploy.compose.place.parser(),
        "./apply.sh k8s": deploy.kubernetes.place.parser("k8s"),
        "./test.sh k8s": deploy.kubernetes.place.test_parser("k8s"),
        "./apply.sh asm": deploy.kubernetes.place.parser("asm"),
        "./test.sh asm": deploy.kubernetes.place.test_parser("asm"),
    }


def commands() -> dict[str, argparse.ArgumentParser]:
    """By the name that is completed."""
    return {"grpc-tracing": library(), "client": client.cli.parser(), "mesh": mesh.cli.parser("mesh")}


def library() -> argparse.ArgumentParser:
    """Of `grpc-tracing`, which dispatches by itself, so that a command's packages may be missing."""
    found = Parser(prog="grpc-tracing", description="Trace propagation for gRPC.")
    found.add_argument("--version", action="version", version=VERSION, help="print the version")
    options = grpc_tracing.commands.options
    parsers = {
        "audit": options.audit_parser(),
        "check": grpc_tracing.commands.check_options.parser(),
        "fetch": options.fetch_parser(),
        "store": grpc_tracing.store.options.parser(),
        "watch": grpc_tracing.watch.options.parser(),
    }
    commands = found.add_subparsers(metavar="COMMAND")
    for name, made in parsers.items():
        commands.add_parser(name, parents=[made], add_help=False, description=made.description, help=made.description)
    return found
