"""Figures of a server for Prometheus, in its text format."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from unetkit.machine import resident_memory
from unetkit.serving.guard import Answered
from unetkit.serving.jobs import Jobs
from unetkit.version import __version__

_BOUNDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Seconds that answers are counted by."""


@dataclass(slots=True)
class Counters:
    """What was answered since the start."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    buckets: list[int] = field(default_factory=lambda: [0] * len(_BOUNDS))
    seconds: float = 0.0
    received: int = 0
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answered: Answered) -> None:
        """Count an answer."""
        with self._lock:
            key = (answered.endpoint, answered.status)
            self.requests[key] = self.requests.get(key, 0) + 1
            self.seconds += answered.seconds
            self.received += answered.received
            self.sent += answered.sent
            for place, bound in enumerate(_BOUNDS):
                self.buckets[place] += answered.seconds <= bound

    def text(self, jobs: Jobs, images: int) -> str:
        """Return all figures."""
        with self._lock:
            total, requests, buckets = sum(self.requests.values()), dict(self.requests), list(self.buckets)
        ends = [*(f'le="{bound:g}"' for bound in _BOUNDS), 'le="+Inf"']
        spent = [(f"_bucket{{{end}}}", count) for end, count in zip(ends, [*buckets, total], strict=True)]
        spent += [("_sum", round(self.seconds, 6)), ("_count", total)]
        answered = [(f'{{endpoint="{name}",status="{status}"}}', count) for (name, status), count in requests.items()]
        ended = [(f'{{state="{state}"}}', count) for state, count in sorted(jobs.finished.items())]
        return "".join(
            [
                _family("info", "gauge", "the version", [(f'{{version="{__version__}"}}', 1)]),
                _family("requests_total", "counter", "answers by endpoint and status", sorted(answered)),
                _family("request_seconds", "histogram", "seconds until an answer was sent", spent),
                _family("received_bytes_total", "counter", "bytes of bodies", [("", self.received)]),
                _family("sent_bytes_total", "counter", "bytes of answers", [("", self.sent)]),
                _family("jobs_waiting", "gauge", "jobs that wait", [("", jobs.waiting)]),
                _family("jobs_running", "gauge", "jobs that are done", [("", jobs.running)]),
                _family("jobs_total", "counter", "jobs that ended, by how", ended),
                _family("job_seconds_total", "counter", "seconds of work", [("", round(jobs.seconds, 3))]),
                _family("megapixels_total", "counter", "predicted", [("", round(jobs.megapixels, 6))]),
                _family("images", "gauge", "images of clients", [("", images)]),
                _family("resident_memory_bytes", "gauge", "memory of the process", [("", int(resident_memory()))]),
            ]
        )


def _family(name: str, kind: str, meaning: str, values: Iterable[tuple[str, float]]) -> str:
    lines = (f"unetkit_{name}{end} {value}\n" for end, value in values)
    return f"# HELP unetkit_{name} {meaning}\n# TYPE unetkit_{name} {kind}\n{''.join(lines)}"
