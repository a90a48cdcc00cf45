"""The code in the guide is taken from files that run: `python -m tests.docs.excerpts` writes it anew.

So is the code that the store's page "Propagation" shows as the fix: the wheel holds it in FIXES_FILE.

A block of code follows a comment that names its file and what of it: functions, methods, classes or assignments of a
Python file, or what stands between `// excerpt: NAME` and `// excerpt end` in any other.

    <!-- excerpt: talk/service.py Forwarder.talk -->
"""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ROOT

_BLOCK = re.compile(
    r"(<!-- excerpt: (?P<file>\S+)(?P<names>(?: [\w.-]+)+) -->\n```(?P<language>\w+)\n)(?P<code>.*?)(?=^```$)",
    re.DOTALL | re.MULTILINE,
)


FIXES_FILE = ROOT / "grpc_tracing" / "store" / "fixes.json"
_FIXES = {
    "python": (
        ("With this library, in grpc.aio", "docs/examples/aio_hop_library.py", "serve main"),
        ("With this library, in synchronous gRPC", "docs/examples/sync_hop_library.py", "serve main"),
        (
            "By hand: metadata=onward(context.invocation_metadata())",
            "docs/examples/propagation.py",
            "HEADERS PREFIXES OWN BY_SDK onward _goes_on",
        ),
    ),
    "go": (("Every call out takes onward(ctx)", "docs/examples/go/main.go", "headers onward"),),
    "java": (
        (
            "Two interceptors, on the server and on each channel",
            "docs/examples/java/Hop.java",
            "headers onward interceptors",
        ),
    ),
    "nodejs": (
        (
            "Every call out takes onward(call.metadata) and { parent: call }",
            "docs/examples/node/hop.js",
            "headers onward",
        ),
    ),
}
"""By language, as `telemetry.sdk.language` spells it: what a piece of code is, its file, and what of it."""


def fixes() -> str:
    """What FIXES_FILE holds."""
    made = {
        language: [
            {"title": title, "file": file, "code": excerpt(ROOT / file, names.split())} for title, file, names in pieces
        ]
        for language, pieces in _FIXES.items()
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def guides() -> list[Path]:
    """Every page of the documentation, the README with them."""
    return sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README.md")])


def refreshed(text: str, root: Path = ROOT) -> str:
    """The page with the code of each excerpt as its file has it now; LookupError where it has no such thing."""
    return _BLOCK.sub(lambda found: found[1] + excerpt(root / found["file"], found["names"].split()), text)


def excerpt(file: Path, names: list[str]) -> str:
    take = _of_python if file.suffix == ".py" else _between_marks
    parts = [take(file.read_text(), name) for name in names]
    missing = [name for name, part in zip(names, parts, strict=True) if part is None]
    if missing:
        raise LookupError(f"{file}: no {', '.join(missing)}")
    return "\n".join(part for part in parts if part is not None)


def _of_python(source: str, name: str) -> str | None:
    lines = source.splitlines()
    node = next((node for known, node in _definitions(ast.parse(source)) if known == name), None)
    if node is None:
        return None
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)])
    return textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno])) + "\n"


def _definitions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{prefix}{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((prefix + target.id, node) for target in targets if isinstance(target, ast.Name))


def _between_marks(source: str, name: str) -> str | None:
    found = re.search(rf"^ *// excerpt: {re.escape(name)}\n(.*?)^ *// excerpt end$", source, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(found[1]).strip("\n") + "\n" if found else None


def main() -> None:
    for page in guides():
        text = page.read_text()
        if (now := refreshed(text)) != text:
            page.write_text(now)
            print(f"{page.relative_to(ROOT)}: excerpts written anew")  # noqa: T201
    FIXES_FILE.write_text(fixes())


if __name__ == "__main__":
    main()
