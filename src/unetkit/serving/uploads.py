"""Uploads: multipart bodies that go to the disk as they come, and the images that clients have here.

A body has one file, `image`, and a few short fields. The file lies in a folder of its own below the server's private
one, under its client's name made harmless, because results are named by it: of a path the last part, without what a
file system or a message could take for something else. Fields may come before the file or after it.

Assumes that the guard bounds bytes and time.
"""

import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread
import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from unetkit.errors import DataError, StorageError
from unetkit.images import open_image
from unetkit.images.image import ALL, Image
from unetkit.serving.tiles import ImageTiles
from unetkit.storage.atomic import not_written

_MOST_FIELDS, _LARGEST_FIELD, _MOST_HEADERS = 64, 2**16, 16
_LONGEST_NAME = 120
_WRITTEN_AT_ONCE = 2**20
_SPARE_BYTES = 2**28
"""That stay free on the disk."""


def harmless(name: str) -> str:
    """Return the last part of a client's path as a name: letters, digits and a few signs, its ending kept.

    Example:
        >>> harmless("../images/cells 1.ome.tif")
        'cells 1.ome.tif'
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(letter if letter.isalnum() or letter in "._-+() " else "_" for letter in last).strip(". ")
    encoded = kept.encode(errors="ignore")
    if len(encoded) > _LONGEST_NAME:
        ending = encoded[-20:].partition(b".")
        tail = b"." + ending[2] if ending[1] else b""
        kept = (encoded[: _LONGEST_NAME - len(tail)] + tail).decode(errors="ignore")
    return kept or "image"


@dataclass(slots=True)
class Form:
    """A multipart body that was read.

    Attributes:
        folder: of the file.
        file: the image; None: none was sent.
        fields: values by name, in their order.
    """

    folder: Path
    file: Path | None = None
    fields: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def value(self, name: str, default: str) -> str:
        """Return the last value of a field."""
        return self.fields.get(name, [default])[-1]


async def read_form(request: Request, folder: Path) -> Form:
    """Read a multipart body; its file goes to a folder, which is made.

    Raises:
        HTTPException: 400, the body is not what is expected; as the guard.
        StorageError: the disk is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise HTTPException(400, "a body of multipart/form-data was expected, with the file as its field image")
    require_space(folder.parent, int(request.headers.get("content-length", "0")))
    folder.mkdir(mode=0o700)
    parts = _Parts(Form(folder))
    try:
        parser = MultipartParser(boundary, parts.callbacks)  # pyright: ignore[reportArgumentType] a TypedDict of all
        async for chunk in request.stream():
            parser.write(chunk)
            if parts.waiting >= _WRITTEN_AT_ONCE:
                await anyio.to_thread.run_sync(parts.flush)
        await anyio.to_thread.run_sync(parts.flush)
        if not parts.ended:
            raise HTTPException(400, "the body ends before its last part does; send it again")
    except FormParserError as failure:
        raise HTTPException(400, f"not a body of multipart/form-data ({str(failure)[:100]}); send it again") from None
    except OSError as failure:
        raise not_written(folder, failure) from failure
    finally:
        parts.close()
    return parts.form


class _Parts:
    """What the parser calls while a body comes."""

    def __init__(self, form: Form) -> None:
        self.form, self.ended, self.waiting = form, False, 0
        self._file: BinaryIO | None = None
        self._pieces, self._headers = list[bytes](), list[tuple[bytes, bytes]]()
        self._name, self._text, self._to_file = "", b"", False
        self._key, self._value, self._fields = b"", b"", 0
        named = (name for name in dir(self) if name.startswith("on_"))
        self.callbacks: dict[str, Callable[..., None]] = {name: getattr(self, name) for name in named}

    def flush(self) -> None:
        """Write what has come of the file."""
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        if self._file is not None:
            self._file.writelines(pieces)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def on_part_begin(self) -> None:
        """Begin a part."""
        self._headers, self._text, self._fields = [], b"", self._fields + 1
        if self._fields > _MOST_FIELDS:
            raise HTTPException(400, f"more than {_MOST_FIELDS} fields; a file and a few options were expected")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self._key += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self._value += data[start:end]
        if len(self._key) + len(self._value) > _LARGEST_FIELD:
            raise HTTPException(400, "a header of a part is too long")

    def on_header_end(self) -> None:
        """End a header."""
        self._headers.append((self._key.lower(), self._value))
        self._key = self._value = b""
        if len(self._headers) > _MOST_HEADERS:
            raise HTTPException(400, "a part has too many headers")

    def on_headers_finished(self) -> None:
        """Open the file, if the part is it."""
        _, options = parse_options_header(dict(self._headers).get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._to_file = b"filename" in options
        if not self._to_file:
            return
        if self._name != "image" or self._file is not None:
            raise HTTPException(400, f"found the file {self._name[:50]!r}; one file named image was expected")
        self.form.file = self.form.folder / harmless(options[b"filename"].decode(errors="replace"))
        self._file = self.form.file.open("xb")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of the file or of a field."""
        if self._to_file:
            self._pieces.append(data[start:end])
            self.waiting += end - start
            return
        self._text += data[start:end]
        if len(self._text) > _LARGEST_FIELD:
            raise HTTPException(400, f"the field {self._name[:50]!r} is longer than {_LARGEST_FIELD:,} bytes")

    def on_part_end(self) -> None:
        """End a part."""
        if not self._to_file:
            self.form.fields.setdefault(self._name, []).append(self._text.decode(errors="replace"))

    def on_end(self) -> None:
        """Note that the body is whole."""
        self.ended = True


def require_space(folder: Path, wanted: int) -> None:
    """Make sure that a disk has room.

    Raises:
        StorageError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if wanted + _SPARE_BYTES > free:
        raise StorageError(
            f"{(wanted + _SPARE_BYTES) / 1e6:,.0f} MB have to be free on the server's disk for this, and "
            f"{free / 1e6:,.0f} MB are; try again later"
        )


@dataclass(slots=True, eq=False)
class Upload:
    """An image that a client has here.

    Attributes:
        id: random.
        owner: the client.
        path: of its file, alone in a folder.
        image: opened.
        tiles: of it.
        range: the values that are shown black and white.
        used: when, by the monotonic clock.
    """

    id: str
    owner: str
    path: Path
    image: Image
    tiles: ImageTiles
    range: tuple[float, float]
    used: float = field(default_factory=time.monotonic)

    def described(self) -> dict[str, object]:
        """Return what a client knows of it."""
        image, steps = self.image, self.image.pixel_size
        return {
            "id": self.id,
            "name": self.path.name,
            "width": image.width,
            "height": image.height,
            "pages": image.count,
            "channels": image.channels,
            "dtype": np.dtype(image.dtype).name,
            "pixel_size": [steps[axis].size for axis in "yx"] if {"x", "y"} <= set(steps) else None,
            "unit": steps["x"].unit if "x" in steps else None,
            "levels": self.tiles.levels.count,
            "tile": 256,
            "range": list(self.range),
        }


class Uploads:
    """The images of all clients, in one private folder."""

    def __init__(self, folder: Path, *, max_pixels: int, of_a_client: int) -> None:
        """Begin without images."""
        self.folder, self._max_pixels, self._of_a_client = folder, max_pixels, of_a_client
        self._images = dict[str, Upload]()

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    def new_folder(self) -> Path:
        """Return the path of a folder that is not there yet."""
        return self.folder / secrets.token_hex(16)

    def require_room(self, owner: str) -> None:
        """Make sure that a client may have one more image.

        Raises:
            HTTPException: 429, it has enough.
        """
        if sum(one.owner == owner for one in self._images.values()) >= self._of_a_client:
            raise HTTPException(
                429, f"you have {self._of_a_client} images here; remove one of them first", {"retry-after": "60"}
            )

    def opened(self, form: Form) -> Image:
        """Open the image of a body and refuse what is too large.

        Raises:
            HTTPException: 400, no file was sent.
            DataError: not an image that is read, or more pixels than are taken.
        """
        if form.file is None:
            raise HTTPException(400, "no file was sent; send it as the field image")
        image = open_image(form.file)
        pixels = image.count * image.height * image.width
        if pixels > self._max_pixels:
            raise DataError(
                f"{form.file.name}: {image.count} pages of {image.width} x {image.height} pixels; this server takes "
                f"{self._max_pixels:,} pixels at most: cut it into parts, or ask for a larger --max-pixels"
            )
        return image

    def add(self, form: Form, owner: str) -> Upload:
        """Keep the image of a body for its client; its middle page is looked at.

        Raises:
            HTTPException, DataError: as `opened`, or damaged.
        """
        image = self.opened(form)
        assert form.file is not None
        page = image.page(image.count // 2)
        _ = page[ALL, slice(0, 1), slice(0, 1)]
        tiles = ImageTiles(image, form.folder / "levels")
        upload = Upload(form.folder.name, owner, form.file, image, tiles, tiles.range(image.count // 2))
        self._images[upload.id] = upload
        return upload

    def get(self, number: str, owner: str) -> Upload:
        """Return an image of a client.

        Raises:
            HTTPException: 404, the client has no such image.
        """
        found = self._images.get(number)
        if found is None or found.owner != owner:
            raise HTTPException(404, "there is no such image (any more); send it again")
        found.used = time.monotonic()
        return found

    def remove(self, upload: Upload) -> None:
        """Forget an image and delete its files."""
        self._images.pop(upload.id, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)

    def unused(self, seconds: float) -> list[Upload]:
        """Return images that nobody asked for in that time."""
        return [one for one in self._images.values() if time.monotonic() - one.used > seconds]
