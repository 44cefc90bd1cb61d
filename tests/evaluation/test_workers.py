"""What is refused before a job is sent; real workers are met in tests/api/test_crossval.py."""

from typing import Any

import distributed
import pytest

from unetkit.errors import UsageError
from unetkit.progress import NoProgress
from unetkit.training.crossval import carry_out


class Cluster:
    """A connected client of a cluster whose workers have the given numbers of threads."""

    def __init__(self, *threads: int) -> None:
        self.threads = threads

    def __call__(self, address: str, timeout: float) -> "Cluster":
        return self

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *reasons: object) -> None: ...

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {str(number): {"nthreads": count} for number, count in enumerate(self.threads)}}

    def submit(self, job: Any, pure: bool) -> None:
        raise AssertionError("nothing may be sent")


@pytest.mark.parametrize(("threads", "complaint"), [((1, 4), "a worker has 4 threads"), ((), "there is no worker")])
def test_workers_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, threads: tuple[int, ...], complaint: str
) -> None:
    monkeypatch.setattr(distributed, "Client", Cluster(*threads))
    with pytest.raises(UsageError, match=complaint):
        carry_out({"fold-0": print}, "tcp://somewhere:8786", NoProgress())
