"""Measure the Python of the project against the house's limits: print what is over and exit 1, else print three shares.

A file holds at most 700 lines, a function's body at most 60 without its docstring. There is no limit on parameters. The
shares are of `src`: the median file, the small files, and the private functions that are referenced once. Of those a
house has at most 12 %: a function is extracted when it is used twice or when its name says something the code does not.
It knows no style.
"""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "benchmarks", "scripts", "plugins")
FILE_LINES, BODY_LINES, SMALL_LINES, USED_ONCE = 700, 60, 60, 0.12

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    """Check the files named on the command line, or all of the project's; return the exit code."""
    named = [Path(word) for word in sys.argv[1:]]
    files = named or [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8"), filename=str(path)) for path in files}
    complaints = [line for path, tree in trees.items() for line in complaints_of(path, tree)]
    if not named:
        source = {path: tree for path, tree in trees.items() if path.is_relative_to(ROOT / "src")}
        complaints += shares(source)
    print("\n".join(complaints) or f"sizes: {len(files)} files within the limits")
    return 1 if complaints else 0


def complaints_of(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield one line for every limit that the file exceeds."""
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if (lines := lines_of(path)) > FILE_LINES:
        yield f"{name}: {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, Function) and (lines := body_lines(node)) > BODY_LINES:
            yield f"{name}:{node.lineno}: {node.name}: a body of {lines} lines, at most {BODY_LINES}"


def lines_of(path: Path) -> int:
    """Count the lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def body_lines(function: Function) -> int:
    """Count the lines of a body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1


def shares(trees: dict[Path, ast.Module]) -> list[str]:
    """Print the three shares of the sources; return a complaint where private functions used once are too many."""
    sizes = [lines_of(path) for path in trees]
    small = sum(size < SMALL_LINES for path, size in zip(trees, sizes, strict=True) if path.name != "__init__.py")
    functions, once = 0, Counter[str]()
    for path, tree in trees.items():
        every = [node for node in ast.walk(tree) if isinstance(node, Function)]
        uses = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        functions += len(every)
        private = [node.name for node in every if node.name.startswith("_") and not node.name.startswith("__")]
        once[str(path.relative_to(ROOT))] = sum(uses[name] == 1 for name in private)
    share = once.total() / functions
    middle = statistics.median(sizes)
    print(f"src: {len(sizes)} files, {sum(sizes):,} lines, the median file {middle:.0f}, {small} small")
    print(f"src: {functions} functions, {once.total()} private and used once ({share:.1%}, at most {USED_ONCE:.0%})")
    if share <= USED_ONCE:
        return []
    most = ", ".join(f"{name} {count}" for name, count in once.most_common(8))
    return [f"too many private functions are referenced once ({share:.1%}); inline them; most are in {most}"]


if __name__ == "__main__":
    sys.exit(main())
