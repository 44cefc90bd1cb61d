"""Signals that ask a training to stop are kept until the step is done; a second one ends it at once."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether a signal has asked to stop, and which."""

    def __init__(self) -> None:
        """Start without a request."""
        self.signal_number: int | None = None

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Listen to SIGINT and SIGTERM inside the block; outside the main thread nothing can be listened to."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._take) for number in (signal.SIGINT, signal.SIGTERM)}  # pyright: ignore[reportPrivateUsage] same module
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
