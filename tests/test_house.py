"""The outside of the house: sizes, pins, package, drawing, and that nothing is ignored without a reason."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from unetkit.version import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = ("src", "tests", "scripts", "benchmarks", "examples", "docs", ".ci")
SUFFIXES = {".py", ".md", ".sh", ".yaml", ".yml", ".toml", ".txt", ".cff"}
NAMES = {"Makefile", "run", ".gitignore"}


def texts(suffixes: set[str] = SUFFIXES) -> Iterator[tuple[Path, str]]:
    files = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in files:
        wanted = path.suffix in suffixes or (path.name in NAMES and suffixes is SUFFIXES)
        if wanted and path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in found}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]]


BODY = "    x = 1\n"


@pytest.mark.parametrize(
    ("source", "complaints"),
    [
        ("def f():\n" + BODY * 60, []),
        ("def f():\n" + BODY * 61, ["m.py:1: f: a body of 61 lines, at most 60"]),
        ("def f():\n    '''Do it.\n\n    Well.\n    '''\n" + BODY * 60, []),
        (
            "class A:\n    async def f(self):\n    " + "    x = 1\n    " * 61 + "\n",
            ["m.py:2: f: a body of 61 lines, at most 60"],
        ),
        ("x = 1\n" * 700, []),
        ("x = 1\n" * 701, ["m.py: 701 lines, at most 700"]),
    ],
)
def test_sizes_are_measured(tmp_path: Path, source: str, complaints: list[str]) -> None:
    path = tmp_path / "m.py"
    path.write_text(source)
    found = [line.removeprefix(f"{tmp_path}/") for line in script("check_sizes").complaints_of(path, ast.parse(source))]
    assert found == complaints


def test_private_functions_that_are_used_once_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = script("check_sizes")
    source = "def _a(): ...\ndef _b(): ...\ndef c():\n    _a()\n    _b()\n    _b()\n"
    path = sizes.ROOT / "scripts" / "check_sizes.py"
    (complaint,) = sizes.shares({path: ast.parse(source)})
    assert "33.3%" in complaint
    assert "3 functions, 1 private and used once" in capsys.readouterr().out


def test_every_requirement_is_pinned_within_its_range() -> None:
    known = pins()
    for requirement in requirements():
        assert known[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_every_package_that_a_requirement_brings_along_is_pinned() -> None:
    known, seen = pins(), set[str]()
    todo = [(canonicalize_name(requirement.name), requirement.extras) for requirement in requirements()]
    while todo:
        name, extras = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in known, f"{name} is missing in constraints.txt; run: make constraints"
        todo += [(canonicalize_name(r.name), r.extras) for r in _needs(name, extras)]
    assert len(seen) > len(requirements())


def _needs(name: str, extras: set[str]) -> list[Requirement]:
    try:
        needed = [Requirement(text) for text in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:  # of an extra that is not installed here
        return []
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [r for r in needed if r.marker is None or any(r.marker.evaluate(e) for e in environments)]


def test_constraints_hold_exact_versions_and_nothing_of_the_machine() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
        assert "://" not in line
    assert "torch==2.13.0" in lines
    assert len(pins()) == sum(not line.startswith("#") for line in lines), "a package is pinned twice"


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert PROJECT["version"] == __version__
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    present = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert packed == {name for name in present if "__pycache__" not in name}
    assert {"unetkit/py.typed", "unetkit/config/presets/isbi.yaml"} <= packed


def test_architecture_draws_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "src" / "unetkit").iterdir():
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed"):
            assert re.search(rf"^ +{re.escape(path.name)}{'/' if path.is_dir() else ''} +\w", page, re.MULTILINE), path


def test_reference_pages_are_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["write_reference.py", "--check"])
    assert script("write_reference").main() == 0


def test_ignores_name_their_rule_and_their_reason() -> None:
    mark = re.compile(r"[#]\s*(?:noqa|type:\s*ignore|pyright:\s*(?:ignore|basic)|fmt:\s*(?:off|skip))(.*)")
    told = re.compile(r"(?:: *[A-Z]+\d+(?:, *[A-Z]+\d+)*|\[[\w, -]+\]) +(?:#|-+|:)? *\w+")
    for path, text in texts({".py"}):
        for line in text.splitlines():
            for rest in mark.findall(line):
                assert told.match(rest), f"{path}: {line.strip()}"


def test_texts_name_no_place_of_this_machine_and_leave_no_loose_ends() -> None:
    places = [f"{place}/" for place in (ROOT, Path.home()) if len(place.parts) > 1]
    for path, text in texts():
        for place in places:
            assert place not in text, f"{path} names {place}"
        for line in text.splitlines():
            assert not re.search(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b(?!.*#\d)", line), f"{path}: {line.strip()}"


def test_continuous_integration_runs_make_test() -> None:
    entry = ROOT / ".ci" / "run"
    assert entry.stat().st_mode & 0o100
    assert re.search(r"^make test\b", entry.read_text(), re.MULTILINE)


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (declared,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert sorted(re.findall(r"^make (\S+)", shown, re.MULTILINE)) == sorted(declared.split())
