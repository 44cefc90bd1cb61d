"""`unetkit serve`: networks, the page and both interfaces as one application, and as a process.

Everything that requests leave lies in one private folder, which is removed when the server ends; what a kill left is
removed by the next server on the machine.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from unetkit.prediction.load import LoadOptions
from unetkit.serving import api, inference
from unetkit.serving.api import Counters, Service
from unetkit.serving.guard import Access, Guard, Limits, guarded
from unetkit.serving.jobs import Jobs
from unetkit.serving.served import Served, load_served
from unetkit.serving.server import address_of, page_routes, run
from unetkit.serving.uploads import Uploads
from unetkit.storage.atomic import temporary_folder

_SWEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What clients may take.

    Attributes:
        max_bytes: of an upload.
        max_pixels: of an image, all pages together.
        max_jobs: of a client that wait or run.
        max_images: of a client.
        max_seconds: of a job.
    """

    max_bytes: int = 4 * 2**30
    max_pixels: int = 2**30
    max_jobs: int = 4
    max_images: int = 16
    max_seconds: float = 3600.0


def create_app(
    models: Sequence[Served],
    folder: Path,
    *,
    access: Access = Access(),
    limits: ServeLimits = ServeLimits(),
    own_process: bool = False,
) -> Guard:
    """Make the application of some networks; what requests leave goes into `folder`, an empty one of its own.

    The memory of a process that serves and does nothing else (`own_process`) may be bounded.
    """
    service = Service(
        {one.name: one for one in models},
        Uploads(folder, max_pixels=limits.max_pixels, of_a_client=limits.max_images),
        Jobs(of_a_client=limits.max_jobs, bounded=own_process),
        Counters(),
        limits.max_seconds,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        app.state.service = service
        service.jobs.start()
        sweeping = asyncio.create_task(_sweep(service))
        try:
            yield
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping
            await asyncio.to_thread(service.jobs.stop)

    routes = [*page_routes("serve"), *inference.ROUTES, *api.ROUTES]
    of_requests = Limits(max_bytes=limits.max_bytes)
    observe = service.counters.add
    return guarded(routes, access=access, limits=of_requests, lifespan=lifespan, private=folder, observe=observe)


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await asyncio.to_thread(service.sweep)


def serve(
    models: Sequence[Path],
    listener: socket.socket,
    *,
    host: str = "127.0.0.1",
    access: Access = Access(),
    limits: ServeLimits = ServeLimits(),
    device: str = "auto",
    options: LoadOptions | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve networks until a signal ends it.

    `listener` is as `listening` gives it, `access` as `access_for` says it of this host; `announce` takes the address.

    Raises:
        ModelFileError, UsageError, ConfigError, DeviceError: as `load`.
        StorageError: no folder can be made for what requests leave.
    """
    with temporary_folder() as folder:
        served = load_served(models, device=device, options=options)
        app = create_app(served, folder, access=access, limits=limits, own_process=True)
        announce(f"{', '.join(one.name for one in served)}: {address_of(listener, host, access)}")
        run(app, listener)
