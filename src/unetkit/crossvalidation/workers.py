"""Jobs on the workers of a dask cluster that is there already. Assumes that they see the same files as this process.

A worker must have one thread: two trainings in one process would share its random numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unetkit.errors import UsageError
from unetkit.progress import Reporter


def carry_out(jobs: Mapping[str, Callable[[], None]], address: str, reporter: Reporter) -> None:
    """Run every job once on some worker; the first failure ends it: jobs that wait are not begun any more.

    Raises:
        UsageError: the package, the scheduler or fitting workers are not there.
        UnetkitError: as the jobs.
    """
    client = _connected(address)
    with client:
        _require_single_threads(client, address)
        tasks = {client.submit(job, pure=False): name for name, job in jobs.items()}
        try:
            for done, task in enumerate(_as_completed(tasks), 1):
                task.result()
                reporter.line(f"{tasks[task]}: finished, {done} of {len(tasks)}")
        except BaseException:
            client.cancel(list(tasks))
            raise


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the package distributed: pip install 'unetkit[dask]'") from None
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError):
        raise UsageError(f"--dask {address}: no scheduler answers there; start one: dask scheduler") from None


def _require_single_threads(client: Any, address: str) -> None:
    threads = {worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
    if threads != {1}:
        found = f"a worker has {max(threads)} threads" if threads else "there is no worker"
        raise UsageError(f"--dask {address}: {found}; start workers: dask worker {address} --nthreads 1")


def _as_completed(tasks: Any) -> Any:
    from distributed import as_completed

    return as_completed(tasks)
