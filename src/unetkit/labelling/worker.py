"""The process that trains while one paints, and its end in the server: lines of JSON on its standard input and output.

The worker follows the journal by itself, so that a stroke needs no message. It is told what to do ({"do": "start"},
"pause" or "stop", and {"see": [image, page]} for the page that is looked at), and says what it does: `training` with
step, loss and held-out Dice, `prediction` of a page, `suggestion`, `failed`. It trains while it is started and two
classes are painted, stops by itself when nothing was painted for many steps, and goes on at the next stroke. When its
input ends, because the server was killed, it writes a checkpoint and ends, too.

Predictions take at most a third of its time: the page that is looked at comes first, then the others in turn, so that
`guide` knows all of them.
"""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unetkit.errors import UnetkitError
from unetkit.images.write import to_png
from unetkit.labelling.guide import Suggestion, choose, rank_windows
from unetkit.labelling.project import Contents
from unetkit.labelling.strokes import Place
from unetkit.storage.atomic import atomic_write, make_folder

if TYPE_CHECKING:
    from unetkit.labelling.trainer import Session

State = Literal["waiting", "training", "idle", "paused", "failed"]
"""Of a training: waiting for two classes, training, idle as nothing new is painted, paused by the user, failed."""

FIRST_STEPS = 30
"""Steps before the first prediction."""

IDLE_AFTER = 1500
"""Steps without a new stroke after which a training waits for one."""

_STEPS = 5
_SAID = 10
_VALIDATED = 50
_SHARE = 2.0  # of training to predicting, in time
_SOONEST = 1.5  # seconds between predictions of the page that is looked at
_WAIT = 0.05

Emit = Callable[[dict[str, Any]], None]
Receive = Callable[[float], dict[str, Any] | None]
"""Gives the next message within so many seconds, or {}; None when there will be no more."""


def prediction_file(folder: Path, place: Place) -> Path:
    """Return the file of the newest prediction of a page: an RGB PNG of class, confidence and uncertainty."""
    return folder / "predictions" / f"{place[0]}-{place[1]}.png"


class Work:
    """A training with all that is asked of it."""

    def __init__(self, session: "Session", emit: Emit) -> None:
        """Take a training, and what is told of it."""
        self.session, self.emit = session, emit
        self.started = False
        self.state: State = "paused"
        self.seen: Place = (0, 0)
        self.ranked: dict[Place, list[Suggestion]] = {}
        self.version = self.turn = self.last_change = self.last_validation = 0
        self.due = 0.0

    def go(self, receive: Receive) -> None:
        """Work until there are no more messages."""
        while (message := receive(0.0 if self.state == "training" else _WAIT)) is not None:
            self.hear(message)
            if self.session.sync():
                self.last_change = self.session.step
            self._say_state()
            if self.state == "training":
                self.session.train(_STEPS)
                self._after_steps()
        self.session.save()

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message."""
        if "do" in message:
            self.started = message["do"] == "start"
            self.last_change = self.session.step
        if "see" in message:
            image, page = message["see"]
            self.seen, self.due = (int(image), int(page)), min(self.due, time.monotonic() + _WAIT)
            if self.session.ready and self.session.step >= FIRST_STEPS and self.state != "training":
                self._predict(self.seen)

    def _say_state(self) -> None:
        session = self.session
        idle = session.step - self.last_change >= IDLE_AFTER
        state: State = "paused" if not self.started else "waiting" if not session.ready else "training"
        state = "idle" if state == "training" and idle else state
        if state == self.state:
            return
        if self.state == "training":
            session.save()
        self.state = state
        self._say_training()

    def _say_training(self) -> None:
        session = self.session
        self.emit(
            {
                "event": "training",
                "state": self.state,
                "step": session.step,
                "loss": session.last_loss,
                "dice": session.scores.get("foreground_dice"),
                "strokes": session.painting.strokes,
                "run": session.run.path.name,
            }
        )

    def _after_steps(self) -> None:
        session, now = self.session, time.monotonic()
        if session.step >= self.last_validation + _VALIDATED:
            session.validate()
            self.last_validation = session.step
        if session.step % _SAID < _STEPS:
            self._say_training()
        if session.step < FIRST_STEPS or now < self.due:
            return
        self._predict(self.seen)
        places = session.contents.places
        self.turn = (self.turn + 1) % len(places)
        if (other := places[self.turn]) != self.seen:
            self._predict(other)
        if (chosen := choose(self.ranked, session.painting.pages)) is not None:
            self.emit({"event": "suggestion", **chosen.as_json()})
        spent = time.monotonic() - now
        self.due = time.monotonic() + max(_SOONEST, _SHARE * spent)

    def _predict(self, place: Place) -> None:
        """Predict a page, and say so when the file is there."""
        session = self.session
        found = session.predict(place)
        file = prediction_file(session.contents.folder, place)
        make_folder(file.parent)
        atomic_write(file, to_png(found.as_rgb()))
        self.ranked[place] = rank_windows(place, found.uncertainty, session.painting.at(place) > 0)
        self.version += 1
        windows = [one.as_json() for one in self.ranked[place]]
        image, page = place
        self.emit(
            {
                "event": "prediction",
                "image": str(image),
                "page": page,
                "version": f"{session.run.path.name}-{session.step}-{self.version}",
                "step": session.step,
                "windows": windows,
            }
        )


def main(folder: Path, overrides: list[str]) -> None:
    """Work for a server: messages come on standard input and go to standard output, a line each."""
    messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            messages.put(json.loads(line))
        messages.put(None)

    def receive(seconds: float) -> dict[str, Any] | None:
        try:
            return messages.get(timeout=seconds) if seconds else messages.get_nowait()
        except queue.Empty:
            return {}

    def emit(event: dict[str, Any]) -> None:
        print(json.dumps(event), flush=True)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the server says when to end
    threading.Thread(target=listen, daemon=True).start()
    try:
        from unetkit.devices import cpu_threads
        from unetkit.labelling.trainer import open_session

        session = open_session(Contents.read(folder), overrides=overrides)
        with cpu_threads(session.config.train.threads), session.run.held():
            Work(session, emit).go(receive)
    except UnetkitError as error:
        emit({"event": "failed", "error": str(error)})
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)


class Worker:
    """The process, as the server has it."""

    def __init__(self, folder: Path, heard: Emit, *, overrides: Sequence[str] = ()) -> None:
        """Start it; `heard` takes what it says, in a thread of its own; at last {"event": "ended", "code"}."""
        command = [sys.executable, "-m", "unetkit.labelling.worker", str(folder), *overrides]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._heard = heard
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def tell(self, **message: Any) -> None:
        """Send a message; one to a process that has ended is lost."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def close(self, seconds: float = 20.0) -> None:
        """Let it write a checkpoint and end; after so many seconds it is killed, and its last checkpoint stands."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(1.0)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                self._heard(json.loads(line))
        self._heard({"event": "ended", "code": self._process.wait()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
