"""Images of any format that unetkit reads, recognised by content; `FORMATS` is the table of them.

Assumes nothing about the name, but of `.nii.gz`. Does not know which images belong together.
"""

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.image import File, Image, Role, decoding
from unetkit.images.raster import decode_plain_png, decode_raster, open_raster
from unetkit.limits import MOST_BYTES
from unetkit.storage import is_remote, local_copy
from unetkit.storage.tree import ZARR_FILES

__all__ = [
    "FORMATS",
    "HEADERS",
    "HOLDING_ARRAYS",
    "SUFFIXES",
    "Format",
    "Image",
    "arrays_in",
    "decode_single",
    "has_pages",
    "image_path",
    "is_array",
    "is_folder",
    "is_image_name",
    "is_zarr",
    "natural",
    "open_bytes",
    "open_image",
    "read_single",
]


def _tiff(file: File, role: Role) -> Image:
    from unetkit.images.tiff import open_tiff  # tifffile is slow to import

    return open_tiff(file, role)


def _array(name: str, *options: str) -> Callable[[File, Role], Image]:
    def opened(file: File, role: Role) -> Image:
        from unetkit.images import array_files

        return getattr(array_files, f"open_{name}")(file, role, *options)

    return opened


@dataclass(frozen=True, slots=True)
class Format:
    """A format of image files.

    Attributes:
        name: for messages and the documentation.
        suffixes: the endings, in lower case, by which its files are found in a folder.
        magic: how its files begin; bytes that differ are dots.
        opens: reads the header.
        paged: whether a file may hold more than one page.
        package: what reads it, where that is not a part of every installation.
        extra: which extra of unetkit brings the package.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    opens: Callable[[File, Role], Image]
    paged: bool = False
    package: str = ""
    extra: str = ""

    def recognises(self, head: bytes, name: str) -> bool:
        """Tell whether a file that begins so, or has this name where the content does not tell, is of this format."""
        if not self.magic:
            return name.lower().endswith(self.suffixes)
        return any(
            len(head) >= len(magic)
            and all(wild == 0x2E or wild == byte for wild, byte in zip(magic, head, strict=False))
            for magic in self.magic
        )


FORMATS: tuple[Format, ...] = (
    Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff, paged=True),
    Format("PNG", (".png",), (b"\x89PNG",), open_raster),
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), open_raster),
    Format("BMP", (".bmp", ".dib"), (b"BM", b"(\0\0\0"), open_raster),
    Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), open_raster, paged=True),
    Format("WebP", (".webp",), (b"RIFF....WEBP",), open_raster),
    Format(
        "PPM, PGM, PBM", (".ppm", ".pgm", ".pbm", ".pnm"), tuple(b"P%d" % kind for kind in range(1, 7)), open_raster
    ),
    Format("JPEG 2000", (".jp2", ".j2k"), (b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51"), open_raster),
    Format("npy", (".npy",), (b"\x93NUMPY",), _array("npy"), paged=True),
    Format("npz", (".npz",), (b"PK\x03\x04",), _array("npz"), paged=True),
    Format("HDF5", (".h5", ".hdf5", ".hdf", ".ims"), (b"\x89HDF\r\n",), _array("hdf5"), True, "h5py", "hdf5"),
    Format("MATLAB", (".mat",), (b"MATLAB",), _array("matlab"), paged=True),
    Format("NIfTI", (".nii", ".nii.gz"), (), _array("nifti"), True, "nibabel", "nifti"),
    Format("MetaImage", (".mha", ".mhd"), (b"ObjectType", b"NDims"), _array("metaimage"), paged=True),
    Format("NRRD", (".nrrd", ".nhdr"), (b"NRRD",), _array("nrrd"), paged=True),
    Format("CZI", (".czi",), (b"ZISRAWFILE",), _array("bioio", "bioio_czi"), True, "bioio_czi", "czi"),
    Format("ND2", (".nd2",), (b"\xda\xce\xbe\x0a",), _array("bioio", "bioio_nd2"), True, "bioio_nd2", "nd2"),
    Format("LIF", (".lif",), (b"\x70\0\0\0",), _array("bioio", "bioio_lif"), True, "bioio_lif", "lif"),
)
"""The formats of image files; the first that recognises a file reads it."""

_PACKED = b"\x1f\x8b"  # gzip

SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes) | frozenset(
    f"{suffix}.gz" for form in FORMATS if form.opens is open_raster or form.opens is _tiff for suffix in form.suffixes
)
"""The endings, in lower case, by which images are found in a folder."""

_SEVERAL = tuple(suffix for form in FORMATS if form.name in ("npz", "HDF5", "MATLAB") for suffix in form.suffixes)
HOLDING_ARRAYS = (*_SEVERAL, ".zarr")
"""The endings of what may hold several arrays."""

HEADERS = (".mhd", ".nhdr")
"""The endings of headers whose pixels lie next to them, as `.raw`."""

_HEAD = 16


def is_image_name(name: str | Path) -> bool:
    """Tell whether a file's name ends as that of an image does."""
    return str(name).lower().endswith((*SUFFIXES, ".zarr"))


def natural(path: str) -> list[tuple[int, int, str]]:
    """Return what sorts paths with their numbers by value."""
    pieces = re.split(r"([0-9]{1,18})", path)
    return [(0, int(piece), piece) if number % 2 else (1, 0, piece) for number, piece in enumerate(pieces)]


def open_image(path: Path, role: Role = "image", *, companions: bool = False) -> Image:
    """Open an image file: its header is read and checked, its pixels are not.

    Args:
        path: a file; of one with several arrays, `file.h5/name` or `file.h5:name`; a zarr, one of its levels or
            labels, on the disk or in object storage.
        role: what it is read as.
        companions: of an OME-TIFF that is one of a set, open the others, too, which lie in its folder; without, it is
            refused.

    Raises:
        DataError: missing, empty, unreadable, damaged, of another form, or larger than is decoded; a format whose
            package is not installed.
    """
    if is_zarr(path):
        from unetkit.images.omezarr import open_zarr  # zarr is slow to import

        return open_zarr(path, role)
    file, inside = path, ""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: is a pipe or a device; an image file was expected")
    if not path.exists():
        before, _, after = str(path).rpartition(":")
        places = [(above, path.relative_to(above).as_posix()) for above in path.parents] + [(Path(before), after)]
        file, inside = next(((place, name.strip("/")) for place, name in places if place.is_file()), (path, ""))
    return _open(File(str(path), lambda: file.open("rb"), file, inside, companions), role)


def is_zarr(path: str | Path) -> bool:
    """Tell whether a path is a zarr group or array, or lies in one; in object storage, by `.zarr` in its name."""
    if is_remote(path):
        return any(part.endswith(".zarr") for part in Path(path).parts)
    here = Path(path)
    return here.is_dir() and any((here / mark).is_file() for mark in ZARR_FILES)


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder of files, and not an image that happens to be one."""
    return path.is_dir() and not is_zarr(path)


@lru_cache(maxsize=4096)
def _arrays_in(path: Path, modified: int) -> tuple[str, ...]:
    from unetkit.images import array_files

    return array_files.arrays_in(path)


def arrays_in(path: Path) -> tuple[str, ...]:
    """Return the names of the images in a file of several arrays, to be opened as `file/name`; none for other files.

    Those of a zarr are the image, of no name, and its labels.
    """
    if is_zarr(path):
        from unetkit.images.omezarr import label_names  # zarr is slow to import

        labels = tuple(f"labels/{name}" for name in label_names(path))
        return ("", *labels) if labels else ()
    several = path.suffix.lower() in _SEVERAL and path.is_file()
    return _arrays_in(path, path.stat().st_mtime_ns) if several else ()


def image_path(path: str | Path) -> Path:
    """Return the path that an image or a folder of images is read at.

    A zarr is read where it lies; anything else in object storage is copied to this machine first.

    Raises:
        UsageError, RemoteError, StorageError: as `local_copy`.
    """
    return Path(path) if is_zarr(path) else local_copy(path)


def is_array(path: str | Path) -> bool:
    """Tell whether a path names an array: a zarr, or what lies in a file of several."""
    here = Path(path)
    return is_zarr(path) or (not here.exists() and any(above.is_file() for above in here.parents))


def open_bytes(content: bytes, source: str, role: Role = "image") -> Image:
    """Open an image file that is in memory; `source` names it in messages.

    Raises:
        DataError: as `open_image`.
    """
    return _open(File(source, lambda: BytesIO(content)), role)


def decode_single(content: bytes, source: str, role: Role = "image") -> NDArray[Any]:
    """Decode a file of one page that is in memory as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_image`, or more than one page.
    """
    plain = decode_plain_png(content)
    if plain is not None:
        return plain
    form = _format_of(content[:_HEAD], source) if content else None
    if form is not None and form.opens is open_raster and not form.paged:
        return decode_raster(BytesIO(content), source, role)  # its header is read once
    return _only_page(open_bytes(content, source, role))


def read_single(path: Path, role: Role = "image") -> NDArray[Any]:
    """Read a file of one page as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_image`, or more than one page.
    """
    return _only_page(open_image(path, role))


def has_pages(path: Path) -> bool:
    """Tell whether a file is of a format that may hold several pages; its header is not read.

    Raises:
        DataError: missing, unreadable or of no known format.
    """
    if not path.is_file():
        return True  # an array in a file, or what `open_image` will say is missing
    with decoding(str(path)), path.open("rb") as handle:
        form = _format_of(handle.read(_HEAD), path.name)
    return form is not None and form.paged


def _only_page(image: Image) -> NDArray[Any]:
    if image.count != 1:
        raise DataError(f"{image.source}: has {image.count} pages; one was expected")
    return image.read(0)


def _format_of(head: bytes, name: str) -> Format | None:
    return next((form for form in FORMATS if form.recognises(head, name)), None)


def _unpacked(file: File) -> BytesIO:
    """Return the content of a file packed by gzip, of no more bytes than are unpacked."""
    with file.open() as handle, gzip.open(handle) as packed:
        content = packed.read(MOST_BYTES.value + 1)
    if len(content) > MOST_BYTES.value or content.startswith(_PACKED):
        what = "a packed file" if content.startswith(_PACKED) else f"more than {MOST_BYTES.value:,} bytes"
        raise DataError(f"{file.source}: unpacks to {what}; unpack it yourself")
    return BytesIO(content)


def _open(file: File, role: Role) -> Image:
    with decoding(file.source):
        with file.open() as handle:
            head = handle.read(_HEAD)
        if head.startswith(_PACKED) and not file.source.lower().endswith(".nii.gz"):
            return _open(File(file.source, lambda: _unpacked(file)), role)
        if not head:
            raise DataError(f"{file.source}: the file is empty (0 bytes); an image was expected")
        form = _format_of(head, (file.path or Path(file.source)).name)
        if form is None:
            known = ", ".join(form.name for form in FORMATS)
            raise DataError(f"{file.source}: not a format that is read ({known}); save it as TIFF or PNG")
        if form.package and find_spec(form.package) is None:
            raise DataError(
                f"{file.source}: {form.name} files need the extra {form.extra}: pip install 'unetkit[{form.extra}]'"
            )
        return form.opens(file, role)
