"""Run the notebooks in Jupyter, and give the documentation their pages with what they show.

    python scripts/notebooks.py                 # run all of notebooks/ but translations, whose code is the same
    python scripts/notebooks.py course volume   # or some

mkdocs calls `on_files` (`hooks` in mkdocs.yml), which runs every notebook and adds its page to the site; a translation
shows what its original showed. Nothing is written next to the sources. Needs the extra `notebooks`.
"""

import os
import re
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_LONGEST = 3600  # seconds that a cell may take, on however busy a machine
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Run the notebooks named on the command line, or all; return the exit code."""
    failed = 0
    for path in [NOTEBOOKS / f"{name}.md" for name in sys.argv[1:]] or originals():
        begun = time.perf_counter()
        try:
            cells = len(executed(path).cells)
            print(f"{path.name}: {cells} cells in {time.perf_counter() - begun:.0f} s", flush=True)
        except Exception as error:  # of a cell, of whatever kind
            failed += 1
            print(f"{path.name}: {_COLOURS.sub('', str(error))}", file=sys.stderr, flush=True)
    return int(failed > 0)


def originals() -> list[Path]:
    """Return the notebooks that are no translations."""
    return [path for path in sorted(NOTEBOOKS.glob("*.md")) if not path.stem.endswith(".zh")]


def executed(path: Path) -> Any:
    """Return a notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the kernel's debugger is not used
    import jupytext
    from nbclient import NotebookClient

    notebook: Any = jupytext.read(path)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        quiet = ["--IPKernelApp.log_level=40"]  # it warns of the sockets that it is talked to by, on this machine alone
        client = NotebookClient(
            notebook, timeout=_LONGEST, kernel_name="python3", resources=resources, extra_arguments=quiet
        )
        client.execute()
    return notebook


def translated(path: Path, original: Any) -> Any:
    """Return a translated notebook with the outputs of the original, whose code it shares."""
    import jupytext

    notebook: Any = jupytext.read(path)
    outputs = [cell.outputs for cell in original.cells if cell.cell_type == "code"]
    for cell, shown in zip((one for one in notebook.cells if one.cell_type == "code"), outputs, strict=True):
        cell.outputs = shown
    return notebook


def page(notebook: Any) -> str:
    """Return a notebook with its outputs as Markdown; links to docs/ become links inside of the site."""
    parts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts += [f"```python\n{cell.source}\n```", *(_shown(output) for output in cell.outputs)]
        else:
            parts.append(cell.source.replace("](../docs/", "](../"))
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(output: Any) -> str:
    if output.output_type == "stream":
        return f"```text\n{_COLOURS.sub('', output.text).rstrip()}\n```" if output.name == "stdout" else ""
    data = output.get("data", {})
    if "text/html" in data:
        return re.sub(r"\n\s*\n", "\n", f"<div>{data['text/html']}</div>")  # a blank line would end the block
    if "image/png" in data:
        return f'<div><img alt="" src="data:image/png;base64,{data["image/png"].strip()}"></div>'
    return f"<pre>{escape(data['text/plain'])}</pre>" if "text/plain" in data else ""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the notebooks to the site; called by mkdocs."""
    from mkdocs.structure.files import File

    for path in originals():
        notebook, twin = executed(path), path.with_suffix(".zh.md")
        files.append(File.generated(config, f"notebooks/{path.name}", content=page(notebook)))
        if twin.exists():
            files.append(File.generated(config, f"notebooks/{twin.name}", content=page(translated(twin, notebook))))
    return files


if __name__ == "__main__":
    sys.exit(main())
