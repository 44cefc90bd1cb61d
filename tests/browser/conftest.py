"""A real browser, static folders served to it, and what it must never say."""

import base64
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from shutil import which
from typing import Any

import pytest

Drop = Callable[[Any, Path], None]

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--lang=en")
PATIENCE = 60_000
"""Milliseconds that a page may take for anything: this machine may be busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def bundles() -> Path:
    """The built pages."""
    folder = Path(str(resources.files("unetkit") / "bundles"))
    if not (folder / "page.html").is_file():
        pytest.skip("needs the built pages: make web")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, as Debian packages it."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, bundles: Path) -> Iterator[Callable[..., Any]]:
    """Open addresses in fresh profiles; at the end no page may have complained, but of what `ignore` matches."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def visit(address: str, *, ignore: str | None = None, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()

        def complain(said: str) -> None:
            if ignore is None or re.search(ignore, said) is None:
                complaints.append(said)

        page.on("console", lambda said: said.type in ("error", "warning") and complain(said.text))
        page.on("pageerror", lambda error: complain(str(error)))

        def failed(request: Any) -> None:
            # A page closes the events of a job when it hears of the end; the server may be the first to close them.
            if request.resource_type != "eventsource" or "ERR_ABORTED" not in str(request.failure):
                complain(f"{request.url}: {request.failure}")

        page.on("requestfailed", failed)
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve folders as `python -m http.server` does; give their addresses."""
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def findings() -> Callable[[Any], list[str]]:
    """Give what axe-core finds serious or critical on a page."""
    axe = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("needs axe-core: make web")

    def findings(page: Any) -> list[str]:
        page.evaluate(axe.read_text())
        found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    return findings


@pytest.fixture(scope="session")
def drop() -> Drop:
    """Drops a file on a page as a hand does."""

    def drop(page: Any, path: Path) -> None:
        packed = base64.b64encode(path.read_bytes()).decode()
        page.evaluate(
            """([bytes, name]) => {
              const given = new DataTransfer();
              given.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name));
              const event = { dataTransfer: given, bubbles: true, cancelable: true };
              document.body.dispatchEvent(new DragEvent("drop", event));
            }""",
            [packed, path.name],
        )

    return drop
