"""Who does the steps of a prediction: this process, processes that are started here, or the workers of a dask cluster.

A step is a plain function of its number. What it makes does not depend on who does it, nor on the order; a step that
fails is tried again, and one that fails every time is given back with its error, while the others go on. dask starts
workers, watches over them and gives the steps of a lost worker to another. At any time it knows a bounded number of
steps, so that a scheduler holds a million of them as easily as ten.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar, cast

from unetkit.errors import StorageError, UsageError
from unetkit.formats.runtime import required

TRIES = 3
"""How often a step is tried; a worker that dies counts as one."""

_IN_FLIGHT = 4
"""Steps that a worker may have waiting."""

Made = TypeVar("Made")
Step = Callable[[int], Made]
Crew = Callable[[Step[Any], Iterable[int]], Iterator[tuple[int, Any]]]
"""Does the steps of some numbers in any order, and yields each number with what was made or the error."""


@contextmanager
def crew_of(workers: int, dask: str | None) -> Generator[Crew]:
    """Give who does the steps: this process for one worker and no address.

    Args:
        workers: processes to be started here.
        dask: the address of a scheduler, whose workers have one thread each and see the same files.

    Raises:
        UsageError: dask is not installed, or no scheduler with fitting workers is there.
    """
    if workers == 1 and dask is None:
        yield _here
        return
    with ExitStack() as stack:
        client = stack.enter_context(connected(dask) if dask else _started(workers))
        yield lambda step, numbers: _there(client, step, numbers)


def _here(step: Step[Any], numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    for number in numbers:
        for attempt in range(1, TRIES + 1):
            try:
                made = step(number)
            except StorageError:  # it will not be otherwise for the next one
                raise
            except Exception as error:
                if attempt == TRIES:
                    yield number, error
            else:
                yield number, made
                break


def _there(client: Any, step: Step[Any], numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    from distributed import as_completed

    waiting, tasks = iter(numbers), dict[Any, int]()
    following: Any = as_completed()

    def submit(count: int) -> None:
        for number in islice(waiting, count):
            task = client.submit(step, number, pure=False, retries=TRIES - 1)
            tasks[task] = number
            following.add(task)

    submit(_IN_FLIGHT * max(1, len(client.scheduler_info(n_workers=-1)["workers"])))
    try:
        for task in following:
            number, error = tasks.pop(task), task.exception()
            if isinstance(error, StorageError):
                raise error
            made = task.result() if error is None else error
            submit(1)
            yield number, made
    finally:
        client.cancel(list(tasks))


@contextmanager
def _started(workers: int) -> Generator[Any]:
    """Start workers on this machine, and give a client of them."""
    required("distributed", "dask")
    import dask.config
    from distributed import Client, LocalCluster

    settings: Any = {"n_workers": workers, "threads_per_worker": 1, "processes": True}
    settings |= {"memory_limit": 0, "dashboard_address": None}  # memory is bounded by the tiles that are chosen
    for name in ("distributed.nanny", "distributed.worker", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what matters of a lost worker comes as the block's error
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}),
        cast(AbstractContextManager[Any], LocalCluster(**settings)) as cluster,
        Client(cluster) as client,
    ):
        yield client


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
