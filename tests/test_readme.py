"""What is written for users is true, in both languages: links resolve, commands parse, functions exist."""

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import unetkit
from unetkit.cli import app
from unetkit.config import load_config, preset_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_lines(page: Path) -> Iterator[str]:
    """Yield the lines of indented and fenced blocks, comments cut off, those that go on (`\\`) in one."""
    fenced = False
    for line in re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield re.sub(r"\s+#.*", "", line.removeprefix("    "))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


@pages
def test_commands_exist(page: Path) -> None:
    for line in code_lines(page):
        words = shlex.split(line) if re.match(r"(\.venv/bin/)?unetkit ", line) else []
        if words:
            _require_command(words[1 : words.index("--") if "--" in words else None], line)


def _require_command(words: list[str], line: str) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"no such verb: {line}"
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known, line
    words = [word for place, word in enumerate(words) if place == 0 or words[place - 1] != "--over"]  # ranges
    overrides = [word for word in words if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+=\S+", word)]
    presets = [word for word in words if word in preset_names()]
    load_config(presets[0] if presets else "isbi", overrides)


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


@pages
def test_functions_exist(page: Path) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)*^    import unetkit\n(?:^    .*\n|^\n)*", page.read_text(), re.MULTILINE)
    for block in blocks:
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "unetkit":
                assert hasattr(unetkit, node.attr), f"unetkit.{node.attr} in {page.name}"


def test_readme_opens_with_the_two_commands() -> None:
    assert [line.strip() for line in code_lines(ROOT / "README.md") if line.strip()][:2] == ["make demo", "make test"]


def test_every_page_is_in_the_navigation_and_the_readme() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        readme = ROOT / ("README.zh-CN.md" if page.stem.endswith(".zh") else "README.md")
        assert f": {page.name}\n" in navigation
        assert page.name in ("index.md", "index.zh.md") or f"docs/{page.name}" in readme.read_text(encoding="utf-8")
