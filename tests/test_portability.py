"""What only some systems have is asked for where it is known to be there: nobody here runs Windows or macOS."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "msvcrt", "winreg"}
NAMES = {
    "os": {
        *("fork", "forkpty", "kill", "killpg", "setsid", "setpgid", "getpgid", "getppid", "wait", "waitpid", "nice"),
        *("getuid", "geteuid", "getgid", "getloadavg", "mkfifo", "uname", "sysconf", "statvfs", "sched_getaffinity"),
        *(
            "sched_setaffinity",
            "sched_yield",
            "posix_fadvise",
            "pread",
            "pwrite",
            "O_DIRECTORY",
            "O_DIRECT",
            "startfile",
        ),
    },
    "signal": {
        *("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGQUIT", "SIGPIPE", "SIGSTOP", "SIGCONT"),
        *("alarm", "setitimer", "pause", "sigwait", "pthread_sigmask", "pthread_kill", "CTRL_C_EVENT"),
    },
}
PLACES = ("/proc", "/sys/", "/dev/", "/tmp", "/etc", "C:\\")
FORGIVING = {"OSError", "ImportError", "AttributeError", "Exception"}


def uses(tree: ast.AST, above: tuple[ast.AST, ...] = ()) -> Iterator[tuple[int, str]]:
    """Yield line and name of what is not everywhere, where nothing around it asks whether it is."""
    named = ""
    if isinstance(tree, ast.Import):
        named = next((one.name for one in tree.names if one.name in MODULES), "")
    elif isinstance(tree, ast.ImportFrom):
        named = tree.module if tree.module in MODULES else ""
    elif isinstance(tree, ast.Attribute) and isinstance(tree.value, ast.Name):
        named = f"{tree.value.id}.{tree.attr}" if tree.attr in NAMES.get(tree.value.id, ()) else ""
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str) and tree.value.startswith(PLACES):
        named = tree.value
    if named and not any(map(asks, above)) and not leaves_before(tree, above):
        yield getattr(tree, "lineno", 0), named
    for child in ast.iter_child_nodes(tree):
        yield from uses(child, (*above, tree))


def asks(around: ast.AST) -> bool:
    """Whether a statement or an expression looks at the system, or takes a failure into account."""
    if isinstance(around, ast.If | ast.IfExp):
        return looks_at_the_system(around.test)
    if isinstance(around, ast.BoolOp):
        return looks_at_the_system(around.values[0])
    if isinstance(around, ast.Try):
        return any(
            FORGIVING & {name.id for name in ast.walk(one) if isinstance(name, ast.Name)} for one in around.handlers
        )
    if isinstance(around, ast.With):
        return any("suppress(OSError" in ast.unparse(item.context_expr) for item in around.items)
    return False


def looks_at_the_system(test: ast.expr) -> bool:
    return any(words in ast.unparse(test) for words in ("sys.platform", "hasattr(os", "hasattr(signal"))


def leaves_before(tree: ast.AST, above: tuple[ast.AST, ...]) -> bool:
    """Whether the function has returned elsewhere before it comes to this line, or reads a file where it is there."""
    for around in above:
        if isinstance(around, ast.Call) and ast.unparse(around.func) in ("words_in", "sizes_in"):
            return True  # a file that is not there has no words
        if isinstance(around, ast.FunctionDef):
            line = getattr(tree, "lineno", 0)
            early = (one for one in around.body if isinstance(one, ast.If) and one.lineno < line)
            if any(looks_at_the_system(one.test) and isinstance(one.body[-1], ast.Return | ast.Raise) for one in early):
                return True
    return False


def test_nothing_is_used_that_only_some_systems_have() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, name in uses(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "ask by sys.platform or hasattr before, or expect the failure"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", ["fcntl"]),
        ("from resource import getrusage", ["resource"]),
        ("import sys\nif sys.platform != 'win32':\n    import fcntl", []),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", []),
        ("try:\n    import fcntl\nexcept ValueError:\n    fcntl = None", ["fcntl"]),
        ("import os\ndef f():\n    os.kill(1, 9)", ["os.kill"]),
        ("import os\ndef f():\n    if sys.platform == 'win32':\n        return\n    os.kill(1, 9)", []),
        ("import os\nn = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1", []),
        ("import signal\nS = (signal.SIGINT, signal.SIGHUP)", ["signal.SIGHUP"]),
        ("open('/proc/meminfo')", ["/proc/meminfo"]),
        ("with suppress(OSError):\n    open('/proc/meminfo')", []),
    ],
)
def test_what_is_not_everywhere_is_found(source: str, found: list[str]) -> None:
    assert [name for _, name in uses(ast.parse(source))] == found
