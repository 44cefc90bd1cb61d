"""Measure every Python file and function of the project against the house's limits; print what is over, exit 1.

A file holds at most 400 lines. A function spans at most 40 lines, its signature and docstring counted, and takes
at most 8 parameters, 4 of them by position. `self` and `cls` are not counted. A verb of the command, whose parameters
are its options, and a test, whose parameters are fixtures and drawn values, may take any number. It knows no style.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "benchmarks", "scripts", "examples")
FILE_LINES, FUNCTION_LINES, PARAMETERS, POSITIONAL = 400, 40, 8, 4

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    """Check the files named on the command line, or all of the project's; return the exit code."""
    named = [Path(word) for word in sys.argv[1:]]
    files = named or [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    complaints = [line for path in files for line in complaints_of(path)]
    print("\n".join(complaints) or f"sizes: {len(files)} files within the limits")
    return 1 if complaints else 0


def complaints_of(path: Path) -> Iterator[str]:
    """Yield one line for every limit that the file exceeds."""
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{name}: {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(ast.parse(text, filename=str(path))):
        if isinstance(node, Function):
            yield from (f"{name}:{node.lineno}: {node.name}: {problem}" for problem in problems_of(node))


def problems_of(function: Function) -> Iterator[str]:
    """Yield what is too large about a function."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{lines} lines, at most {FUNCTION_LINES}"
    if function.name.startswith("test_") or any("command(" in ast.unparse(d) for d in function.decorator_list):
        return
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
    total = len(positional) + len(function.args.kwonlyargs)
    if total > PARAMETERS:
        yield f"{total} parameters, at most {PARAMETERS}"
    if len(positional) > POSITIONAL:
        yield f"{len(positional)} parameters by position, at most {POSITIONAL}"


if __name__ == "__main__":
    sys.exit(main())
