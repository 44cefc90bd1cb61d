"""A server that is started again when something ends it: a crash of a decoder or a runtime, or the system for memory.

The process that was started keeps the socket and waits; a child of it serves. While there is no child, clients wait in
the line of the socket instead of being refused. Signals go on to the child, and how it ends is how the whole ends, but
for a crash. A child whose parent is killed ends at the same moment.

Only Linux is known to let a process that has loaded this much go on in a copy of itself: elsewhere there is no child,
and a crash ends the server; so, too, where there are threads already.
"""

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

log = logging.getLogger("unetkit.server")

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
