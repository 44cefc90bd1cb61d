"""Work that takes longer than a request: waiting in a bounded line, done by a few threads, followed, cancelled, kept.

There are two lines, each with a thread: short work does not wait for long work. Who waits too long or too often is told
when to come again. A job ends by itself, by a cancel, at its time limit, or when the server ends; it hears of that when
its work says how far it is. What a job has made lies in a folder of its own, which is removed with it. A job that asks
for more memory than was free when it began fails, where the process is the server's alone; the process lives on.

Does not know what work is.
"""

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.exceptions import HTTPException

from unetkit.devices import bound_memory, is_out_of_memory
from unetkit.errors import UnetkitError
from unetkit.serving.guard import hiding
from unetkit.serving.layers import Layers

log = logging.getLogger("unetkit.server")

State = Literal["queued", "running", "done", "failed", "cancelled"]
LINES = ("short", "long")
_KEPT_OF_A_CLIENT = 16
"""Results of single files; older ones are removed."""


class Cancelled(Exception):
    """The work is not wanted any more."""


@dataclass(slots=True, eq=False)
class Job:
    """A piece of work; also the `Progress` that it reports to.

    Attributes:
        owner: the client.
        work: is given the job.
        folder: of what it makes; it is made before the work begins.
        megapixels: that the work is about.
        max_seconds: after which it is ended.
        id: random.
        state: where it stands.
        done: parts that are done.
        total: parts there are.
        error: one line, if it failed.
        made: the file that it made.
        layers: what it shows, if it does.
        source: the number of its image.
        results: files that are made of it, by output and ending.
        finished: is done when the job is over.
    """

    owner: str
    work: Callable[["Job"], None]
    folder: Path
    megapixels: float
    max_seconds: float
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    state: State = "queued"
    done: int = 0
    total: int = 0
    error: str | None = None
    made: Path | None = None
    layers: Layers | None = None
    source: str = ""
    results: dict[tuple[str, str], "Job"] = field(default_factory=dict[tuple[str, str], "Job"])
    finished: Future[None] = field(default_factory=Future[None])
    began: float = 0.0
    ended: float = 0.0
    _unwanted: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("queued", "running")

    def log(self, text: str) -> None:
        """Take a line of the work."""
        log.info("job %s: %s", self.id[:8], self.shown(text))

    def shown(self, text: str) -> str:
        """Return a text in one line, without the folders that lie next to the job's."""
        return " ".join(hiding(self.folder.parent)(text).split())

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Take how far the work is.

        Raises:
            Cancelled: it shall end.
        """
        self.done, self.total = done, total
        if self._unwanted.is_set():
            raise Cancelled("cancelled")
        if time.monotonic() - self.began > self.max_seconds:
            raise Cancelled(
                f"it took more than {self.max_seconds:.0f} s, the longest that this server works on one job"
            )

    def cancel(self) -> None:
        """Ask the work to end."""
        self._unwanted.set()

    def seen(self) -> dict[str, Any]:
        """Return what a client is told."""
        spent = (self.ended or time.monotonic()) - self.began if self.began else 0.0
        share = self.done / self.total if self.total else 0.0
        running = self.state == "running" and share > 0
        return {
            "id": self.id,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "megapixels_per_second": round(self.megapixels * share / spent, 3) if spent and share else None,
            "seconds_left": round(spent / share * (1 - share), 1) if running else None,
            "error": self.error,
            "layers": [] if self.layers is None else self.layers.names,
            "objects": None if self.layers is None else self.layers.count,
        }


@dataclass(slots=True)
class Memory:
    """What requests may hold in memory together.

    Attributes:
        most: bytes.
        taken: bytes.
    """

    most: int = 2 * 2**30
    taken: int = 0

    @contextmanager
    def of(self, size: int) -> Generator[None]:
        """Hold so many bytes for the time of a block, in one thread.

        Raises:
            HTTPException: 413, they are more than there ever are; 429, others hold them.
        """
        if size > self.most:
            raise HTTPException(
                413, f"{size:,} bytes would be held; {self.most:,} are there: send fewer images at once"
            )
        if self.taken + size > self.most:
            raise HTTPException(429, "other requests hold the memory; come again later", {"retry-after": "2"})
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


class Jobs:
    """All jobs, their lines and the threads that do them."""

    def __init__(self, *, of_a_client: int, waiting: int = 64, bounded: bool = False) -> None:
        """Begin without jobs; `start` starts the threads. Bounded, each job bounds the memory of this process."""
        self._bounded = bounded
        self._of_a_client, self._waiting, self._ends = of_a_client, waiting, False
        self._jobs, self._changed = dict[str, Job](), threading.Condition()
        self._lines = {name: deque[Job]() for name in LINES}
        self._threads = [threading.Thread(target=self._serve, args=(name,), daemon=True) for name in LINES]
        self.finished, self.megapixels, self.seconds = dict[str, int](), 0.0, 0.0

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = 20.0) -> None:
        """Cancel everything, wait for the threads, and remove what was made."""
        with self._changed:
            self._ends = True
            for job in self._jobs.values():
                job.cancel()
            self._changed.notify_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for job in list(self._jobs.values()):
            self.remove(job)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    @property
    def running(self) -> int:
        """How many are being done."""
        return sum(job.state == "running" for job in list(self._jobs.values()))

    def require_room(self, owner: str) -> None:
        """Make sure that a client may ask for one more job.

        Raises:
            HTTPException: 429 with `Retry-After`.
        """
        own = sum(job.owner == owner and not job.is_over for job in list(self._jobs.values()))
        full = self.waiting >= self._waiting
        if full or own >= self._of_a_client:
            found = f"{self.waiting} jobs wait here" if full else f"{own} of your jobs wait or run"
            mean = self.seconds / max(1, sum(self.finished.values()))
            after = min(60, max(1, round(mean * (self.waiting if full else 1))))
            raise HTTPException(429, f"{found}, which is the most; come again later", {"retry-after": str(after)})

    def add(self, job: Job, *, line: str) -> Job:
        """Put a job into a line.

        Raises:
            HTTPException: as `require_room`.
        """
        self.require_room(job.owner)
        kept = [one for one in self._jobs.values() if one.owner == job.owner and one.is_over and not one.source]
        for old in kept[: max(0, len(kept) + 1 - _KEPT_OF_A_CLIENT)]:
            self.remove(old)
        with self._changed:
            self._jobs[job.id] = job
            self._lines[line].append(job)
            self._changed.notify_all()
        return job

    def get(self, number: str, owner: str) -> Job:
        """Return a job of a client.

        Raises:
            HTTPException: 404, the client has no such job.
        """
        found = self._jobs.get(number)
        if found is None or found.owner != owner:
            raise HTTPException(
                404, "there is no such job (any more); results are kept for an hour, if the server is not started again"
            )
        return found

    def keeps(self, job: Job) -> bool:
        """Tell whether a job was not removed."""
        return job.id in self._jobs

    def of_image(self, number: str) -> list[Job]:
        """Return the jobs of an image."""
        return [job for job in list(self._jobs.values()) if job.source == number]

    def cancel(self, job: Job) -> None:
        """End a job: at once where it waits, soon where it runs."""
        job.cancel()
        for result in job.results.values():
            result.cancel()
        with self._changed:
            if job.state == "queued":
                for line in self._lines.values():
                    if job in line:
                        line.remove(job)
                self._end(job, "cancelled")

    def remove(self, job: Job) -> None:
        """Forget a job that is over, with its files; one that runs is cancelled, and goes when it ends."""
        self.cancel(job)
        self._jobs.pop(job.id, None)
        for result in job.results.values():
            self.remove(result)
        if job.is_over:
            shutil.rmtree(job.folder, ignore_errors=True)

    def older(self, seconds: float) -> list[Job]:
        """Return jobs that ended so long ago."""
        return [job for job in list(self._jobs.values()) if job.is_over and time.monotonic() - job.ended > seconds]

    def _end(self, job: Job, state: State, error: str | None = None) -> None:
        job.error, job.ended, job.state = error, time.monotonic(), state
        job.finished.set_result(None)
        self.finished[state] = self.finished.get(state, 0) + 1

    def _serve(self, name: str) -> None:
        line = self._lines[name]
        while True:
            with self._changed:
                while not line and not self._ends:
                    self._changed.wait()
                if self._ends:
                    while line:
                        self._end(line.popleft(), "cancelled")
                    return
                job = line.popleft()
                job.state, job.began = "running", time.monotonic()
            self._do(job)
            if job.id not in self._jobs:  # nobody waits for it any more
                shutil.rmtree(job.folder, ignore_errors=True)

    def _do(self, job: Job) -> None:
        try:
            if self._bounded:
                bound_memory()
            job.folder.mkdir(mode=0o700, exist_ok=True)
            job.update(job.done, job.total, {})
            job.work(job)
        except Cancelled as end:
            wanted = str(end) != "cancelled"
            self._end(job, "failed" if wanted else "cancelled", str(end) if wanted else None)
        except UnetkitError as failure:
            said = job.shown(str(failure))
            log.info("job %s: %s", job.id[:8], said)
            self._end(job, "failed", said)
        except Exception as failure:
            log.exception("job %s failed", job.id[:8])
            defect = f"this is a defect of unetkit; the log has it as {job.id[:8]}"
            no_memory = "this takes more memory than there is; give a smaller image"
            self._end(job, "failed", no_memory if is_out_of_memory(failure) else defect)
        else:
            self.megapixels += job.megapixels
            self._end(job, "done")
        self.seconds += job.ended - job.began
