"""The server of a labelling project, as docs/serve.md has it: pixels, labels, strokes, the worker, and what is told.

Everything that the page has to know without asking comes by server-sent events: what the worker says, and the boxes
that another tab painted. The files of labels are written every few seconds and at the end; a stroke is in the journal
before it is answered. The worker is started with the server, so that it is warm when the first strokes come; the one
that ended by itself is started again with the next `start`.

Where the project says so, a training that is paused starts by itself: a few seconds after the last stroke, if two
classes are painted and there are strokes that it did not have when it was last started or paused. After a failure it
waits to be started.

Does not know how a network is trained.
"""

import asyncio
import base64
import json
import math
import secrets
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
import numpy as np
from PIL import Image as Pillow
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from unetkit.errors import UnetkitError, UsageError
from unetkit.images.write import to_png
from unetkit.labelling.guide import Suggestion, choose, first_window
from unetkit.labelling.project import LabelClass, Project, ProjectImage, accepted, run_folders
from unetkit.labelling.strokes import Labels, Place, Stroke
from unetkit.labelling.worker import Worker, prediction_file
from unetkit.serving.guard import Access, Guard, Limits, guarded, log
from unetkit.serving.server import page_routes
from unetkit.serving.tiles import ImageTiles, tile_answer

LIMITS = Limits(max_bytes=2**27)
_WRITTEN = 5.0  # seconds between writings of the files of labels
PAUSE = 3.0
"""Seconds without a stroke after which a training starts by itself, where the project says so."""

_LOOKED = 0.5  # seconds between looks whether it shall
_QUIET = 10.0  # seconds after which a silent stream says that it lives
_HISTORY = 2000  # points of the curves
_OVERVIEW = 8  # the largest level that is one tile

Answer = TypeVar("Answer")
Form = TypeVar("Form", bound=BaseModel)
Number = Annotated[int, Field(ge=0, lt=2**53)]
Box = tuple[Number, Number, Number, Number]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ClassBody(_Body):
    """A class: its name and its colour."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class ClassesBody(_Body):
    """All classes, in order."""

    classes: list[ClassBody]


class PageBody(_Body):
    """A page of the image that the path names."""

    page: Number


class StrokeBody(PageBody):
    """A box that was painted."""

    number: Annotated[int, Field(ge=1, lt=2**53)]
    session: Annotated[str, Field(min_length=1, max_length=64)]
    box: Box
    png: Base64Bytes


class AcceptBody(PageBody):
    """A part of a prediction that is taken: a box, or what is connected with a point."""

    number: Annotated[int, Field(ge=1, lt=2**53)]
    session: Annotated[str, Field(min_length=1, max_length=64)]
    box: Box | None = None
    region: tuple[Number, Number] | None = None


Order = Literal["start", "pause", "stop"]


class TrainBody(_Body):
    """What the worker shall do."""

    state: Order


class AutomaticBody(_Body):
    """Whether a training starts by itself when painting pauses."""

    on: bool


class Labelling:
    """What the server knows: the project, the worker, and who listens."""

    def __init__(self, project: Project, overrides: Sequence[str], folder: Path) -> None:
        """Take a project; `folder` holds tiles and is removed by its owner."""
        self.project, self.overrides = project, tuple(overrides)
        images = project.contents.images
        self.tiles = [ImageTiles(one.image, folder / str(number)) for number, one in enumerate(images)]
        self.wholes = {
            one.path: ImageTiles(one.whole, folder / f"whole-{number}")
            for number, one in enumerate(images)
            if one.part is not None
        }
        self.threads = anyio.CapacityLimiter(8)
        self.history = _history(project.contents.folder)
        step, loss, dice = self.history[-1] if self.history else (0, None, None)
        self.training: dict[str, Any] = {"state": "paused", "step": step, "loss": loss, "dice": dice}
        self.versions: dict[Place, str] = {}
        self.windows: dict[Place, list[Suggestion]] = {}
        self.suggested: set[tuple[Place, tuple[int, int, int, int]]] = set()
        self.listeners: dict[asyncio.Queue[str], str] = {}
        self.worker: Worker | None = None
        self.started, self._current = False, ""
        self.painted_at, self._considered = -math.inf, project.painting.strokes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def begin(self) -> None:
        """Start the worker; in the server's loop."""
        self._loop = asyncio.get_running_loop()
        self.start_worker()

    def start_worker(self) -> None:
        """Start a worker, in the place of the one that is there."""
        with self._starting:
            self._current = ""
            if self.worker is not None:
                self.worker.close()
            self._current = secrets.token_hex(4)
            heard = partial(self._heard, self._current)
            self.worker = Worker(self.project.contents.folder, heard, overrides=self.overrides)
            if self.started:
                self.worker.tell(do="start")

    def end(self) -> None:
        """Let the worker end; what it says on its way is not told."""
        with self._starting:
            self._current = ""
            if self.worker is not None:
                self.worker.close()

    def train(self, order: Order) -> None:
        """Start or stop the training, and tell every tab."""
        self.started, self._considered = order == "start", self.project.painting.strokes
        if self.started and self.training.pop("error", None) is not None:
            self.training["state"] = "waiting"
        if self.worker is not None and self.worker.alive:
            self.worker.tell(do=order)
        elif self.started:
            self.start_worker()
        self.told({"event": "training", **self.described})

    def start_after_pause(self) -> None:
        """Start the training if it shall start by itself now."""
        project, strokes = self.project, self.project.painting.strokes
        waits = project.contents.automatic and not self.started and self.training["state"] != "failed"
        if not waits or strokes == self._considered or time.monotonic() - self.painted_at < PAUSE:
            return
        self._considered = strokes
        with project.changing:
            trainable = project.painting.is_trainable
        if trainable:
            self.train("start")

    @property
    def described(self) -> dict[str, Any]:
        """The training, as tabs know it."""
        return self.training | {"started": self.started, "automatic": self.project.contents.automatic}

    def told(self, event: dict[str, Any], *, but: str = "") -> None:
        """Send an event to every tab, but the one of a session; from any thread."""
        kind = event.pop("event")
        text = f"event: {kind}\ndata: {json.dumps(event)}\n\n"
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._spread, text, but)

    def _spread(self, text: str, but: str) -> None:
        for listener, session in self.listeners.items():
            if not but or session != but:
                listener.put_nowait(text)

    def _heard(self, worker: str, event: dict[str, Any]) -> None:
        """Take what a worker says."""
        if worker != self._current:
            return
        kind = event["event"]
        if kind == "training":
            self.training = {name: value for name, value in event.items() if name != "event"}
            if event["loss"] is not None:
                self.history.append([event["step"], event["loss"], event["dice"]])
                del self.history[:-_HISTORY]
            event = {"event": "training", **self.described}
        elif kind == "prediction":
            place = int(event["image"]), int(event["page"])
            self.versions[place] = event["version"]
            self.windows[place] = [
                Suggestion(place, tuple(one["box"]), one["uncertainty"]) for one in event.pop("windows")
            ]
        elif kind == "failed":
            log.warning("the training failed: %s", event["error"])
            self.training |= {"state": "failed", "error": event["error"]}
        elif kind == "ended":
            if event["code"] and self.training["state"] != "failed":
                log.warning("the training process ended with code %d", event["code"])
                self.training |= {"state": "failed", "error": f"the training process ended (code {event['code']})"}
            event = {"event": "training", **self.described}
        self.told(event)

    def next(self) -> Suggestion:
        """Return where to paint next: no window twice until all were suggested."""
        project, places = self.project, self.project.contents.places
        with project.changing:
            pages = dict(project.painting.pages)
        chosen = choose(self.windows, pages, self.suggested)
        if chosen is not None:
            self.suggested.add((chosen.place, chosen.box))
            return chosen
        self.suggested.clear()
        bare = [place for place in places if place not in pages] or list(places)
        place = bare[len(bare) // 2]
        return first_window(place, project.contents.images[place[0]].pixels(place[1]))

    def as_json(self) -> dict[str, Any]:
        """Return the whole state."""
        contents, painting = self.project.contents, self.project.painting
        with self.project.changing:
            shares = {place: float((page > 0).mean()) for place, page in painting.pages.items()}
        images = [
            {
                "id": str(number),
                "name": one.name,
                "width": one.image.width,
                "height": one.image.height,
                "pages": one.image.count,
                "part": None if one.part is None else self._part(one),
                "tile": 256,
                "painted": [round(shares.get((number, page), 0.0), 6) for page in range(one.image.count)],
                "versions": [self.versions.get((number, page)) for page in range(one.image.count)],
            }
            for number, one in enumerate(contents.images)
        ]
        classes = [
            {"name": one.name, "colour": one.colour, "key": str(place) if place < 10 else ""}
            for place, one in enumerate(contents.classes, 1)
        ]
        return {
            "name": contents.name,
            "folder": str(contents.folder),
            "classes": classes,
            "images": images,
            "training": self.described | {"history": self.history},
            "session": secrets.token_hex(8),
            "tabs": len(self.listeners),
        }

    def _part(self, one: ProjectImage) -> dict[str, Any]:
        """Return where a part of a large page lies."""
        assert one.part is not None
        of = list(self.wholes).index(one.path)
        return {"of": of, "box": list(one.part), "height": one.whole.height, "width": one.whole.width}


def _history(folder: Path) -> list[list[Any]]:
    """Return step, loss and held-out Dice of the newest run, as far as its log tells."""
    runs = [log for run in run_folders(folder) if (log := run / "log.jsonl").is_file()]
    found: list[list[Any]] = []
    dice: float | None = None
    for line in runs[-1].read_text(encoding="utf-8").splitlines() if runs else ():
        with suppress(ValueError):
            record = json.loads(line)
            dice = record.get("foreground_dice", dice)
            found += [[record["step"], record["loss"], dice]] if "loss" in record else []
    return found[-_HISTORY:]


def labelling_app(project: Project, *, access: Access, folder: Path, overrides: Sequence[str] = ()) -> Guard:
    """Return the guarded application of an open project; its owner closes it, and removes `folder`, of tiles."""
    state = Labelling(project, overrides, folder)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async def write_now_and_then() -> None:
            while True:
                await asyncio.sleep(_WRITTEN)
                try:
                    await anyio.to_thread.run_sync(project.write)
                except UnetkitError as error:
                    log.warning("%s; every stroke is in the journal", error)

        async def look_for_pauses() -> None:
            while True:
                await asyncio.sleep(_LOOKED)
                try:
                    await anyio.to_thread.run_sync(state.start_after_pause)
                except OSError as error:
                    log.warning("the training cannot be started: %s", error)

        state.begin()
        tasks = [asyncio.create_task(write_now_and_then()), asyncio.create_task(look_for_pauses())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await anyio.to_thread.run_sync(project.write)
            await anyio.to_thread.run_sync(state.end)

    routes = [*page_routes("label"), *_routes(Answers(state))]
    return guarded(routes, access=access, limits=LIMITS, lifespan=lifespan, private=folder)


class Answers:
    """What is answered under /api/project."""

    def __init__(self, state: Labelling) -> None:
        """Answer from a state."""
        self.state, self.project = state, state.project

    async def thread(self, call: Callable[[], Answer]) -> Answer:
        """Call in a thread, so that others are answered meanwhile."""
        return await anyio.to_thread.run_sync(call, limiter=self.state.threads)

    def place_of(self, request: Request, page: int) -> Place:
        """Return the page that a request names."""
        image = int(request.path_params["image"])
        if (
            image >= len(self.project.contents.images)
            or not 0 <= page < self.project.contents.images[image].image.count
        ):
            raise HTTPException(404, f"there is no page {page} of an image {image} in this project")
        return image, page

    async def describe(self, request: Request) -> Response:
        """Answer with the whole state."""
        return JSONResponse(await self.thread(self.state.as_json))

    async def classes(self, request: Request) -> Response:
        """Name and colour the classes anew; the worker begins again where names have changed."""
        body = await _read(request, ClassesBody)
        names = [one.name for one in self.project.contents.classes]
        await self.thread(
            lambda: self.project.set_classes([LabelClass(one.name.strip(), one.colour) for one in body.classes])
        )
        if names != [one.name for one in self.project.contents.classes]:
            self.state.windows, self.state.versions, self.state.history = {}, {}, []
            await self.thread(self.project.write)
            await self.thread(self.state.start_worker)
        self.state.told({"event": "classes"})
        return await self.describe(request)

    async def tile(self, request: Request) -> Response:
        """Answer with a tile of pixels."""
        image, _ = self.place_of(request, int(request.path_params["page"]))
        return await tile_answer(request, self.state.tiles[image], self.state.threads)

    async def overview(self, request: Request) -> Response:
        """Answer with the large page that an image is a part of, made small."""
        image, page = self.place_of(request, int(request.path_params["page"]))
        one = self.project.contents.images[image]
        if one.part is None:
            raise HTTPException(404, "this image is no part of a larger one")
        tiles = self.state.wholes[one.path]

        def small() -> bytes:
            low, high = tiles.range(page)
            return tiles.tile(page, _OVERVIEW, 0, 0, low=low, high=high)

        content = await self.thread(small)
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    async def contrast(self, request: Request) -> Response:
        """Answer with the values of a page that are shown black and white."""
        image, page = self.place_of(request, int(request.path_params["page"]))
        low, high = await self.thread(lambda: self.state.tiles[image].range(page))
        return JSONResponse({"range": [low, high]})

    async def labels(self, request: Request) -> Response:
        """Answer with what is painted on a page."""
        place = self.place_of(request, int(request.path_params["page"]))

        def png() -> bytes:
            with self.project.changing:
                page = self.project.painting.at(place).copy()
            return to_png(page)

        return Response(await self.thread(png), media_type="image/png")

    async def strokes(self, request: Request) -> Response:
        """Paint a box."""
        body = await _read(request, StrokeBody)
        top, left, height, width = body.box
        stroke = Stroke(self.place_of(request, body.page), top, left, body.png, body.session, body.number)
        if stroke.labels.shape != (height, width):
            found = "{} x {}".format(*stroke.labels.shape)
            raise UsageError(f"a box of {height} x {width} px, but a PNG of {found} px; both were expected alike")
        return await self.paint(stroke)

    async def paint(self, stroke: Stroke) -> Response:
        """Add a stroke, and tell the other tabs."""
        new = await self.thread(lambda: self.project.paint(stroke))
        if new:
            self.state.painted_at = time.monotonic()
            height, width = stroke.labels.shape
            box = [stroke.top, stroke.left, height, width]
            image, page = stroke.place
            event = {"event": "labels", "image": str(image), "page": page, "box": box, "session": stroke.session}
            self.state.told(event, but=stroke.session)
        return JSONResponse({"number": stroke.number, "new": new, "strokes": self.project.painting.strokes})

    async def prediction(self, request: Request) -> Response:
        """Answer with the newest prediction of a page."""
        place = self.place_of(request, int(request.path_params["page"]))
        file = prediction_file(self.project.contents.folder, place)
        if place not in self.state.versions:
            raise HTTPException(404, "this page was not predicted yet")
        version = self.state.versions[place]
        content = await self.thread(file.read_bytes)
        return Response(content, media_type="image/png", headers={"x-version": version})

    async def accept(self, request: Request) -> Response:
        """Paint a part of a prediction."""
        body = await _read(request, AcceptBody)
        place = self.place_of(request, body.page)
        if place not in self.state.versions:
            raise HTTPException(404, "this page was not predicted yet")

        def made() -> Stroke:
            with Pillow.open(prediction_file(self.project.contents.folder, place)) as image:
                predicted: Labels = np.array(image)[..., 0]
            whose = (body.session, body.number)
            return accepted(self.project, place, predicted, whose, box=body.box, point=body.region)

        stroke = await self.thread(made)
        answer = await self.paint(stroke)
        height, width = stroke.labels.shape
        painted = {"box": [stroke.top, stroke.left, height, width], "png": base64.b64encode(stroke.png).decode()}
        return JSONResponse(json.loads(bytes(answer.body)) | painted)

    async def train(self, request: Request) -> Response:
        """Start or stop the training."""
        order = (await _read(request, TrainBody)).state
        await self.thread(lambda: self.state.train(order))
        return JSONResponse(self.state.described)

    async def automatic(self, request: Request) -> Response:
        """Let a training start by itself when painting pauses, or not."""
        on = (await _read(request, AutomaticBody)).on
        await self.thread(lambda: self.project.set_automatic(on))
        self.state.told({"event": "training", **self.state.described})
        return JSONResponse(self.state.described)

    async def see(self, request: Request) -> Response:
        """Predict this page first from now on."""
        image, page = self.place_of(request, (await _read(request, PageBody)).page)
        if self.state.worker is not None:
            self.state.worker.tell(see=[image, page])
        return JSONResponse({"version": self.state.versions.get((image, page))})

    async def where(self, request: Request) -> Response:
        """Answer where to paint next."""
        found = await self.thread(self.state.next)
        return JSONResponse(found.as_json())

    async def events(self, request: Request) -> Response:
        """Tell what happens."""
        return StreamingResponse(_events(self.state, request), media_type="text/event-stream")


def _routes(answers: Answers) -> list[Route]:
    image = "/api/project/images/{image:int}"
    return [
        Route("/api/project", answers.describe),
        Route("/api/project/classes", answers.classes, methods=["POST"]),
        Route("/api/project/train", answers.train, methods=["POST"]),
        Route("/api/project/automatic", answers.automatic, methods=["POST"]),
        Route("/api/project/events", answers.events),
        Route("/api/project/next", answers.where),
        Route(image + "/tiles/{page:int}/{level:int}/{column:int}_{row:int}.png", answers.tile),
        Route(image + "/overview/{page:int}.png", answers.overview),
        Route(image + "/range/{page:int}", answers.contrast),
        Route(image + "/labels/{page:int}.png", answers.labels),
        Route(image + "/prediction/{page:int}.png", answers.prediction),
        Route(image + "/strokes", answers.strokes, methods=["POST"]),
        Route(image + "/accept", answers.accept, methods=["POST"]),
        Route(image + "/see", answers.see, methods=["POST"]),
    ]


async def _events(state: Labelling, request: Request) -> AsyncIterator[str]:
    """Yield what happens, from the state as it is, until the tab or the server is gone."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    state.listeners[queue] = request.query_params.get("session", "")
    state.told({"event": "tabs", "tabs": len(state.listeners)})
    try:
        yield f"event: training\ndata: {json.dumps(state.described)}\n\n"
        waited = 0.0
        while not request.state.draining():
            try:
                yield await asyncio.wait_for(queue.get(), 0.5)
                waited = 0.0
            except TimeoutError:
                waited += 0.5
                if waited >= _QUIET:
                    yield ": still here\n\n"
                    waited = 0.0
    finally:
        del state.listeners[queue]
        state.told({"event": "tabs", "tabs": len(state.listeners)})


async def _read(request: Request, form: type[Form]) -> Form:
    """Return what a request's body says.

    Raises:
        UsageError: it is not of this form.
    """
    try:
        return form.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{field}: {first['msg']}" if field else first["msg"]) from None
