"""A guarded application as a process: its socket, its address, its pages, its end, and its start after a crash.

The socket is taken before anything slow, so that a port in use is told at once. SIGTERM, SIGINT and SIGHUP let what is
being answered end, for `DRAIN_SECONDS` at most; `Guard.draining` tells long answers of it. Connections that say nothing
or no longer take what they asked for are closed.

A server is started again when something ends it: a crash of a decoder or a runtime, or the system for memory
(`keep_serving`). The process that was started keeps the socket and waits; a child of it serves. While there is no
child, clients wait in the line of the socket instead of being refused. Signals go on to the child, and how it ends is
how the whole ends, but for a crash. A child whose parent is killed ends at the same moment. Only Linux is known to let
a process that has loaded this much go on in a copy of itself: elsewhere there is no child, and a crash ends the server;
so, too, where there are threads already.

Does not know what is served.
"""

import errno
import logging
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from unetkit.errors import UsageError
from unetkit.serving.guard import Access, Guard, is_address, log

if TYPE_CHECKING:
    import uvicorn

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

DRAIN_SECONDS = 30
IDLE_SECONDS = 15.0
"""That a connection may take to send the head of a request, or the rest of a body that nobody waits for."""

MOST_CONNECTIONS = 600
BUNDLES = Path(__file__).parents[1] / "bundles"
_TYPES = {"js": "text/javascript", "css": "text/css"}


@contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """Give a socket that listens at an address; port 0 is any that is free.

    Raises:
        UsageError: it is in use, or no address of this machine.
    """
    bare = host.strip("[]")
    try:
        family = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.create_server((bare, port), family=family, backlog=1024, reuse_port=False)
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE:
            raise UsageError(f"{host}:{port}: another program listens there; choose another --port") from None
        if failure.errno == errno.EACCES:
            raise UsageError(f"{host}:{port}: ports below 1024 are the system's; choose another --port") from None
        reason = failure.strerror or failure
        raise UsageError(f"{host}:{port}: is no address of this machine ({reason}); choose another --host") from None
    with found:
        yield found


def address_of(listener: socket.socket, host: str, access: Access) -> str:
    """Return the address to open, with the token where there is one."""
    port = listener.getsockname()[1]
    everywhere = is_address(host) and host in ("0.0.0.0", "::")
    name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={access.token}" if access.token else "")


def run(app: Guard, listener: socket.socket) -> None:
    """Answer until a signal ends it; the signal is raised again when all is ended."""
    import uvicorn  # slow to import

    idle = dict[Any, float]()

    async def reap() -> None:
        _close_idle(server, idle)

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_notify=1,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        callback_notify=reap,
    )
    server = uvicorn.Server(config)
    app.draining = lambda: server.should_exit
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # the guard logs
    if sys.platform == "win32":
        server.run([listener])
        return
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, server.handle_exit)
    try:
        server.run([listener])
    finally:
        signal.signal(signal.SIGHUP, before)


def _close_idle(server: "uvicorn.Server", idle: dict[Any, float]) -> None:
    """Close connections that have been waiting for their client for too long; `idle` says since when."""
    now, connections = time.monotonic(), [*server.server_state.connections]
    for gone in [one for one in idle if one not in server.server_state.connections]:
        del idle[gone]
    for one in connections:
        connection: Any = one  # of h11's protocol
        closing = connection.transport.is_closing()
        if connection.cycle is not None and not connection.cycle.response_complete and not closing:
            idle.pop(connection, None)
        elif now - idle.setdefault(connection, now) > IDLE_SECONDS:
            connection.transport.abort()


def page_routes(name: str) -> list[Route]:
    """Return the routes of a page: `/`, its script and its style, as `make web` builds them.

    Where they are not built, `/` says so, and so does the log.
    """
    built = (BUNDLES / f"{name}.html").is_file()
    if not built:
        log.warning("the page is not built, the interface works without it: run make web in the source tree")

    async def page(request: Request) -> Response:
        if not built:
            missing = "<!doctype html><title>unetkit</title><p>This page is not built. Run <code>make web</code>."
            return HTMLResponse(missing)
        return HTMLResponse((BUNDLES / f"{name}.html").read_bytes())

    async def part(request: Request) -> Response:
        kind = request.url.path.rpartition(".")[2]
        return Response((BUNDLES / f"{name}.{kind}").read_bytes(), media_type=_TYPES[kind])

    async def icon(request: Request) -> Response:
        return Response(status_code=204)

    parts = [Route(f"/{name}.{kind}", part) for kind in _TYPES if (BUNDLES / f"{name}.{kind}").is_file()]
    return [Route("/", page), Route("/favicon.ico", icon), *parts]


_CRASHES = frozenset(("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGKILL"))
"""What defects of native code, and the system when memory is short, end a process with."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a process knows that serves.

    Attributes:
        again: another one served before it, and crashed.
    """

    again: bool = False
    _parent: socket.socket | None = None

    def say(self, text: str) -> None:
        """Print a line, but not again."""
        if not self.again:
            print(text, flush=True)

    def announce(self, text: str) -> None:
        """Print that it serves, but not again; if it crashes from now on, it is started again."""
        self.say(text)
        if self._parent is not None:
            self._parent.send(b"\n")


def keep_serving() -> Kept:
    """Return in a process that serves, and in another one when that crashed; the process that called waits for them.

    Raises:
        SystemExit: in the process that called, with the code of the last child.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return Kept()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    again = False
    while True:
        ours, its = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            os.setpgid(0, 0)  # a terminal's signals come from the parent alone, each once
            threading.Thread(target=_end_with, args=(its,), daemon=True).start()
            return Kept(again, its)

        def pass_on(number: int, frame: FrameType | None, child: int = child) -> None:
            with suppress(ProcessLookupError):
                os.kill(child, number)

        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        its.close()
        _, status = os.waitpid(child, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        code = os.waitstatus_to_exitcode(status)
        with ours:
            served = ours.recv(1) == b"\n"
        name = signal.Signals(-code).name if code < 0 else ""
        if name not in _CRASHES:
            sys.exit(128 - code if code < 0 else code)
        if not served:
            log.error("the server was ended by %s before it was ready", name)
            sys.exit(128 - code)
        again = True
        log.error("the server was ended by %s; it is started again, and what it was working on is lost", name)


def _end_with(parent: socket.socket) -> None:
    """End this process when the other end is gone, as that was ended: at once."""
    with suppress(OSError):
        parent.recv(1)
    os._exit(1)
