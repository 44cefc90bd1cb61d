"""The interface of the page and of scripts: models, predictions, images, jobs and their tiles, as docs/serve.md has it.

Figures are counted for Prometheus, in its text format. Every endpoint finds the `Service` in the application's state.
Does not know the guard.
"""

import asyncio
import functools
import json
import math
import os
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from unetkit.machine import release_freed_memory, resident_memory
from unetkit.prediction.sources import open_fitting
from unetkit.serving.guard import Answered
from unetkit.serving.jobs import Job, Jobs, Memory
from unetkit.serving.layers import COLUMNS, Layers, compute, require_possible, write_result
from unetkit.serving.served import MEDIA_TYPES, Output, Served
from unetkit.serving.tiles import Levels, tile_answer
from unetkit.serving.uploads import Form, Upload, Uploads, read_form, require_space
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


KEPT_SECONDS = 3600.0
_SHORT_MEGAPIXELS = 4.0
"""Work on so many pixels waits in the short line."""

_LONGEST_WAIT = 60.0
_LARGEST_JSON = 2**18
_KEPT_OF_AN_IMAGE = 3
_POLL, _ALIVE = 0.2, 15.0
_CHUNK = 2**18

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """All that endpoints need.

    Attributes:
        models: by name.
        uploads: images of clients.
        jobs: theirs.
        counters: of answers.
        max_seconds: of a job.
        memory: that requests hold whose pixels are not on the disk.
        threads: that make tiles and open images.
    """

    models: dict[str, Served]
    uploads: Uploads
    jobs: Jobs
    counters: Counters
    max_seconds: float
    memory: Memory = field(default_factory=Memory)
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))

    def model(self, name: str) -> Served:
        """Return a network by its name; the only one where none is named.

        Raises:
            HTTPException: 404, there is none of this name.
        """
        if not name and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise HTTPException(404, f"there is no model {name[:100]!r}; this server has {', '.join(self.models)}")
        return self.models[name]

    async def in_thread(self, function: Callable[..., Value], *given: Any) -> Value:
        """Call a function that reads or decodes, beside the requests."""
        return await anyio.to_thread.run_sync(functools.partial(function, *given), limiter=self.threads)

    def sweep(self) -> None:
        """Remove what is older than it is kept."""
        for job in self.jobs.older(KEPT_SECONDS):
            self.jobs.remove(job)
        for upload in self.uploads.unused(KEPT_SECONDS):
            if all(job.is_over for job in self.jobs.of_image(upload.id)):
                self.remove(upload)

    def remove(self, upload: Upload) -> None:
        """Remove an image, its jobs and all that was made of it."""
        for job in self.jobs.of_image(upload.id):
            self.jobs.remove(job)
        self.uploads.remove(upload)
        release_freed_memory()


def service_of(request: Request) -> Service:
    """Return what the application serves."""
    return request.app.state.service


def owner_of(request: Request) -> str:
    """Return the client that asks."""
    return request.state.client


async def models(request: Request) -> Response:
    """Describe the networks."""
    return JSONResponse([one.described() for one in service_of(request).models.values()])


async def predict(request: Request) -> Response:
    """Answer an image with a file, or with a job where that takes longer."""
    service, owner = service_of(request), owner_of(request)
    service.jobs.require_room(owner)
    folder = service.uploads.new_folder()
    job: Job | None = None
    try:
        form = await read_form(request, folder)
        served = service.model(form.value("model", "")).with_keys(form.fields.get("key", []))
        suffix, wait = form.value("format", ".tif"), _seconds(form.value("wait", "20"))
        output = served.asked(form.value("output", "masks"), suffix)
        image = await service.in_thread(service.uploads.opened, form)
        source = _file(form)
        await service.in_thread(require_possible, served, source, output, suffix)
        megapixels = image.count * image.height * image.width / 1e6
        work = functools.partial(_write, served, source, output, suffix, None)
        job = Job(owner, work, folder, megapixels, service.max_seconds)
        service.jobs.add(job, line=line_of(megapixels))
        if not await over(request, job, wait):
            return JSONResponse({"job": job.id}, 202)
        made = _made(service, job)
        handle = made.open("rb")  # it is read to its end, though its folder is removed now
        service.jobs.remove(job)
        return StreamingResponse(
            iter(functools.partial(handle.read, _CHUNK), b""),
            media_type=MEDIA_TYPES[made.suffix],
            headers={
                "content-length": str(os.fstat(handle.fileno()).st_size),
                "content-disposition": f"attachment; filename*=utf-8''{quote(made.name)}",
            },
        )
    except BaseException:
        if job is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            service.jobs.remove(job)
        raise


def _write(served: Served, source: Path, output: Output, suffix: str, layers: Layers | None, job: Job) -> None:
    job.made = write_result(served, source, job.folder / "made", output, suffix, layers, job)


def _file(form: Form) -> Path:
    assert form.file is not None
    return form.file


def line_of(megapixels: float) -> str:
    """Return the line that work waits in: short work does not wait for long work."""
    return "short" if megapixels <= _SHORT_MEGAPIXELS else "long"


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= _LONGEST_WAIT:
        raise HTTPException(400, f"wait {text[:20]!r}: 0 to {_LONGEST_WAIT:.0f} seconds were expected")
    return found


async def over(request: Request, job: Job, wait: float) -> bool:
    """Wait for a job and tell whether it is over.

    Raises:
        HTTPException: the client is gone, or the server ends before the job does.
    """
    finished = asyncio.wrap_future(job.finished)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({finished, gone}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not job.is_over:
            raise HTTPException(499, "the client is gone")
    finally:
        gone.cancel()
    if not job.is_over and request.state.draining():
        raise HTTPException(503, "the server ends; ask again when it is back")
    return job.is_over


async def _gone(request: Request) -> None:
    """Wait until the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _made(service: Service, job: Job) -> Path:
    """Return the file that a job made.

    Raises:
        HTTPException: it failed or was cancelled.
    """
    if job.state != "done" or job.made is None:
        raise HTTPException(409 if job.state == "cancelled" else 422, job.error or "it was cancelled")
    return job.made


def _file_of(service: Service, job: Job) -> Response:
    made = _made(service, job)
    return FileResponse(made, media_type=MEDIA_TYPES[made.suffix], filename=made.name)


async def add_image(request: Request) -> Response:
    """Take an image to be looked at."""
    service, owner = service_of(request), owner_of(request)
    service.uploads.require_room(owner)
    folder = service.uploads.new_folder()
    try:
        form = await read_form(request, folder)
        upload = await service.in_thread(service.uploads.add, form, owner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return JSONResponse(upload.described(), 201)


def _upload(request: Request) -> Upload:
    return service_of(request).uploads.get(request.path_params["image"], owner_of(request))


async def image(request: Request) -> Response:
    """Describe an image, or remove it with all that was made of it."""
    upload = _upload(request)
    if request.method != "DELETE":
        return JSONResponse(upload.described())
    await service_of(request).in_thread(service_of(request).remove, upload)
    return Response(status_code=204)


async def image_tile(request: Request) -> Response:
    """Answer a tile of an image."""
    return await tile_answer(request, _upload(request).tiles, service_of(request).threads)


async def add_job(request: Request) -> Response:
    """Begin to compute the layers of an image."""
    service, upload, owner = service_of(request), _upload(request), owner_of(request)
    service.jobs.require_room(owner)
    asked = await _json_of(request)
    keys = asked.get("keys", {})
    if not isinstance(keys, dict):
        raise HTTPException(400, 'keys: an object was expected, such as {"objects.threshold": 0.4}')
    texts = [f"{name}={json.dumps(value)}" for name, value in cast(dict[str, Any], keys).items()]
    served = service.model(str(asked.get("model", ""))).with_keys(texts)
    fitting = await service.in_thread(open_fitting, served.predictor, upload.path)
    served.predictor.require_usable(fitting.shape[-3:])
    require_space(service.uploads.folder, Layers.bytes_of(len(served.predictor.classes), fitting))
    before = [job for job in service.jobs.of_image(upload.id) if job.is_over]
    for old in before[: max(0, len(before) + 1 - _KEPT_OF_AN_IMAGE)]:
        await service.in_thread(service.jobs.remove, old)

    def work(job: Job) -> None:
        levels = Levels(fitting.height, fitting.width)
        job.layers = Layers(served, fitting.count, levels, job.folder / "layers")
        compute(job.layers, fitting, job)

    megapixels = fitting.count * fitting.height * fitting.width / 1e6
    job = Job(owner, work, service.uploads.new_folder(), megapixels, service.max_seconds, source=upload.id)
    service.jobs.add(job, line=line_of(megapixels))
    return JSONResponse({"job": job.id}, 202)


async def _json_of(request: Request) -> dict[str, Any]:
    """Return a small body of JSON.

    Raises:
        HTTPException: 400, it is none; 413, it is large.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_JSON:
            raise HTTPException(413, f"a body of JSON has {_LARGEST_JSON:,} bytes at most here")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body is JSON, but not an object")
    return cast(dict[str, Any], found)


def _job(request: Request) -> Job:
    job = service_of(request).jobs.get(request.path_params["job"], owner_of(request))
    if job.source:
        service_of(request).uploads.get(job.source, owner_of(request))  # it is still used
    return job


async def job_state(request: Request) -> Response:
    """Tell where a job stands, or cancel it."""
    service, job = service_of(request), _job(request)
    if request.method != "DELETE":
        return JSONResponse(job.seen())
    service.jobs.cancel(job)
    return Response(status_code=204)


async def job_events(request: Request) -> Response:
    """Tell every change of a job by server-sent events, until it ends."""
    job = _job(request)

    async def events() -> AsyncGenerator[str]:
        last, said = "", time.monotonic()
        while not request.state.draining():
            over, seen = job.is_over, json.dumps(job.seen())
            if seen != last:
                last, said = seen, time.monotonic()
                yield f"data: {seen}\n\n"
            elif time.monotonic() - said > _ALIVE:
                said = time.monotonic()
                yield ": alive\n\n"
            if over:
                return
            await asyncio.sleep(_POLL)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def job_objects(request: Request) -> Response:
    """Give the table of objects."""
    layers = _job(request).layers
    if layers is None:
        raise HTTPException(409, "this job looks for no objects, or has not begun")
    rows = list(layers.rows)
    return JSONResponse({"columns": list(COLUMNS), "rows": rows, "count": layers.count, "note": layers.note})


async def job_result(request: Request) -> Response:
    """Give a file of what a job found; it is made when it is first asked for."""
    service, job, owner = service_of(request), _job(request), owner_of(request)
    if not job.is_over:
        return JSONResponse({"job": job.id}, 202)
    if job.layers is None:
        return _file_of(service, job)
    if job.state != "done":
        raise HTTPException(409, f"the job is {job.state}; ask for a new one")
    asked, upload = request.query_params, service.uploads.get(job.source, owner)
    suffix, wait = asked.get("format", ".tif"), _seconds(asked.get("wait", "20"))
    output = job.layers.served.asked(asked.get("output", "masks"), suffix)
    result = job.results.get((output, suffix))
    if result is None or result.state in ("failed", "cancelled") or not service.jobs.keeps(result):
        await service.in_thread(require_possible, job.layers.served, upload.path, output, suffix)
        work = functools.partial(_write, job.layers.served, upload.path, output, suffix, job.layers)
        result = Job(owner, work, service.uploads.new_folder(), job.megapixels, service.max_seconds)
        job.results[output, suffix] = service.jobs.add(result, line=line_of(job.megapixels))
    if await over(request, result, wait):
        return _file_of(service, result)
    return JSONResponse({"job": result.id}, 202)


async def job_tile(request: Request) -> Response:
    """Answer a tile of a layer."""
    service, job, place = service_of(request), _job(request), request.path_params
    try:
        given = request.query_params.get("threshold")
        threshold = None if given is None else float(given)
    except ValueError:
        threshold = math.nan
    if threshold is not None and not 0 <= threshold <= 1:
        raise HTTPException(400, "threshold: a number from 0 to 1 was expected")
    layers = job.layers
    if layers is None:
        raise HTTPException(404, "there are no layers yet")
    where = {name: int(place[name]) for name in ("page", "level", "column", "row")}
    tile = functools.partial(layers.tile, place["layer"], threshold=threshold, **where)
    final = "private, max-age=3600" if job.state == "done" else "no-store"
    content = await service.in_thread(tile)
    return Response(content, media_type="image/png", headers={"cache-control": final})


async def metrics(request: Request) -> Response:
    """Give figures to Prometheus."""
    service = service_of(request)
    text = service.counters.text(service.jobs, len(service.uploads))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


_TILE = "{page:int}/{level:int}/{column:int}_{row:int}.png"
ROUTES = [
    Route("/api/models", models),
    Route("/api/predict", predict, methods=["POST"]),
    Route("/api/images", add_image, methods=["POST"]),
    Route("/api/images/{image}", image, methods=["GET", "DELETE"]),
    Route("/api/images/{image}/jobs", add_job, methods=["POST"]),
    Route(f"/api/images/{{image}}/tiles/{_TILE}", image_tile),
    Route("/api/jobs/{job}", job_state, methods=["GET", "DELETE"]),
    Route("/api/jobs/{job}/events", job_events),
    Route("/api/jobs/{job}/objects", job_objects),
    Route("/api/jobs/{job}/result", job_result),
    Route(f"/api/jobs/{{job}}/tiles/{{layer:path}}/{_TILE}", job_tile),
    Route("/metrics", metrics),
]
