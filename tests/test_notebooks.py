"""The notebooks run: every cell in order, in this process; `make notebooks` runs them in Jupyter."""

import ast
import linecache
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))
ENGLISH = [path for path in NOTEBOOKS if not path.stem.endswith(".zh")]
QUICK = {"course", "main-job", "moving-in-oneflow"}


def cells(notebook: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", notebook.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.long
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow, id=path.stem) for path in ENGLISH],
)
def test_every_cell_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for number, source in enumerate(cells(notebook)):
        name = f"{notebook.stem}, cell {number}"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        *body, last = ast.parse(source).body
        if not isinstance(last, ast.Expr):
            body.append(last)
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            for way in ("_repr_html_", "_repr_png_"):
                assert getattr(shown, way, lambda: True)(), f"{name} shows nothing"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_and_navigation(notebook: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)", notebook.read_text(encoding="utf-8"))
    assert all((notebook.parent / target).exists() for target in targets if not target.startswith("http"))
    assert f"notebooks/{notebook.name}" in (ROOT / "mkdocs.yml").read_text()
