"""Who does the steps of a prediction: this process, processes that are started here, or the workers of a dask cluster.

A step is a plain function of its number. What it makes does not depend on who does it, nor on the order; a step that
fails is tried again, and one that fails every time is given back with its error, while the others go on. Of a step in
stages this process reads the next number and writes the last one while it computes; other processes, which have a core
each, do one stage after the other. dask starts workers, watches over them and gives the steps of a lost worker to
another. At any time it knows a bounded number of steps, so that a scheduler holds a million of them as easily as ten.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

from unetkit.errors import StorageError, UsageError
from unetkit.formats.runtime import required
from unetkit.prediction.crops import in_lanes, prefetch

TRIES = 3
"""How often a step is tried; a worker that dies counts as one."""

_IN_FLIGHT = 8
"""Steps that a worker may have waiting."""

Made = TypeVar("Made")
Step = Callable[[int], Made]
Crew = Callable[[Step[Any], Iterable[int]], Iterator[tuple[int, Any]]]
"""Does the steps of some numbers in any order, and yields each number with what was made or the error."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A step in three stages, each of which is given what the one before has made.

    Attributes:
        read: what a number needs.
        compute: from that to its result.
        write: puts the result to its place.
        lanes: how many numbers are computed at once where this process does it.
    """

    read: Callable[[int], Any]
    compute: Callable[[int, Any], Any]
    write: Callable[[int, Any], Any]
    lanes: int = 1

    def __call__(self, number: int) -> Any:
        """Do all stages."""
        return self.write(number, self.compute(number, self.read(number)))


@contextmanager
def crew_of(workers: int, dask: str | None) -> Generator[Crew]:
    """Give who does the steps: this process for one worker and no address of a dask scheduler.

    Its workers have one thread each and see the same files.

    Raises:
        UsageError: dask is not installed, or no scheduler with fitting workers is there.
    """
    if workers == 1 and dask is None:
        yield lambda step, numbers: _overlapped(step, numbers) if isinstance(step, Staged) else _here(step, numbers)
        return
    with ExitStack() as stack:
        client = stack.enter_context(connected(dask) if dask else _started(workers))
        yield lambda step, numbers: _there(client, step, numbers)


def _here(step: Step[Any], numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    for number in numbers:
        yield number, _again(step, number, _made(step, number))


def _made(make: Callable[..., Any], *given: Any) -> Any:
    """Return what is made, or the error.

    Raises:
        StorageError: it will not be otherwise for the next one.
    """
    try:
        return make(*given)
    except StorageError:
        raise
    except Exception as error:
        return error


def _again(step: Step[Any], number: int, made: Any) -> Any:
    """Try a step again while what was made of it is an error."""
    for _ in range(TRIES - 1):
        made = _made(step, number) if isinstance(made, Exception) else made
    return made


def _overlapped(step: Staged, numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """Do steps in this process: while some are computed, the next is read, and the last one is written."""

    def then(make: Callable[[int, Any], Any], made: tuple[int, Any]) -> tuple[int, Any]:
        number, given = made
        return number, given if isinstance(given, Exception) else _made(make, number, given)

    read = prefetch((number, _made(step.read, number)) for number in numbers)
    compute = partial(then, step.compute)  # a thread of its own takes memory of its own
    computed = map(compute, read) if step.lanes == 1 else in_lanes(compute, read, step.lanes)
    for number, made in in_lanes(partial(then, step.write), computed, 1):
        yield number, _again(step, number, made)


def _there(client: Any, step: Step[Any], numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    from distributed import as_completed

    waiting, tasks = iter(numbers), dict[Any, int]()
    following: Any = as_completed(with_results=True, raise_errors=False)  # results come many at a time

    def submit(count: int) -> None:
        for number in islice(waiting, count):
            task = client.submit(step, number, pure=False, retries=TRIES - 1)
            tasks[task] = number
            following.add(task)

    submit(_IN_FLIGHT * max(1, len(client.scheduler_info(n_workers=-1)["workers"])))
    try:
        for task, made in following:
            number = tasks.pop(task)
            if task.status == "error":
                _, made, _ = made
                if isinstance(made, StorageError):
                    raise made
            submit(1)
            yield number, made
    finally:
        client.cancel(list(tasks))


@contextmanager
def _started(workers: int) -> Generator[Any]:
    """Start workers on this machine, and give a client of them.

    Raises:
        UsageError: the package is not there, or the processes do not start.
    """
    required("distributed", "dask")
    import dask.config
    from distributed import Client, LocalCluster

    settings: Any = {"n_workers": workers, "threads_per_worker": 1, "processes": True}
    settings |= {"memory_limit": 0}  # it is bounded by the tiles that are chosen
    settings |= {"dashboard_address": "127.0.0.1:0"}  # any port that is free: others may run clusters here, too
    for name in ("distributed.nanny", "distributed.worker", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of a lost worker comes as the block's error
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}))
        try:
            cluster = stack.enter_context(cast(AbstractContextManager[Any], LocalCluster(**settings)))
        except (RuntimeError, OSError) as error:
            raise UsageError(
                f"--workers {workers}: its processes could not be started ({error}); a script that asks for workers "
                "does so below if __name__ == '__main__':, because each of them reads it"
            ) from error
        yield stack.enter_context(Client(cluster))


@contextmanager
def connected(address: str) -> Generator[Any]:
    """Give a client of a cluster whose workers have one thread each.

    Raises:
        UsageError: the package, the scheduler or fitting workers are not there.
    """
    required("distributed", "dask")
    from distributed import Client

    try:
        client: Any = Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError):
        raise UsageError(f"--dask {address}: no scheduler answers there; start one: dask scheduler") from None
    with client:
        threads = {worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
        if threads != {1}:
            found = f"a worker has {max(threads)} threads" if threads else "there is no worker"
            raise UsageError(f"--dask {address}: {found}; start workers: dask worker {address} --nthreads 1")
        yield client
