"""What every reader of images promises: one table of formats, and the same checks for all."""

import bz2
import gzip
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from unetkit.errors import DataError
from unetkit.images import FORMATS, SUFFIXES, arrays_in, open_bytes, open_image
from unetkit.images.array import axes_by_size
from unetkit.images.image import PixelSize

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 37, 53
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
STACK = RNG.integers(0, 65536, (4, HEIGHT, WIDTH), np.uint16)
LONG = np.arange(12, dtype=np.uint8)[:, None, None] + GREY // 2
HYPER = RNG.integers(0, 65536, (2, 3, 5, HEIGHT, WIDTH), np.uint16)
"""Times, depths, channels."""


def tiff(pixels: NDArray[np.generic], **options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def pillow(pixels: NDArray[np.generic], form: str, **options: object) -> Callable[[Path], None]:
    return lambda path: Pillow.fromarray(pixels).save(path, form, **options)


def jpeg2000(pixels: NDArray[np.generic]) -> Callable[[Path], None]:
    from imagecodecs import jpeg2k_encode

    return lambda path: path.write_bytes(jpeg2k_encode(pixels, reversible=True, level=0))


def hdf5(pixels: NDArray[np.generic], *, tags: str = "", **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as tree:
            dataset = tree.create_dataset("volumes/raw", data=pixels, **options)
            if tags:
                dataset.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in tags]})

    return write


def nifti(pixels_ZYX: NDArray[np.generic]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        volume = nibabel.Nifti1Image(pixels_ZYX.T, np.eye(4))
        volume.header.set_zooms((0.5, 0.5, 2.0))
        volume.header.set_xyzt_units("micron")
        nibabel.save(volume, path)

    return write


def metaimage(pixels: NDArray[np.generic], *, packed: bool = False, samples: int = 1) -> Callable[[Path], None]:
    """Write planes in one file, or for `.mhd` next to it; of several samples, they are the last axis."""

    def write(path: Path) -> None:
        data = pixels.astype(pixels.dtype.newbyteorder(">" if packed else "<")).tobytes()
        data = zlib.compress(data) if packed else data
        sizes = pixels.shape[::-1] if samples == 1 else pixels.shape[-2::-1]
        kind = {"uint8": "UCHAR", "uint16": "USHORT", "float32": "FLOAT"}[pixels.dtype.name]
        place = f"{path.stem}.raw" if path.suffix == ".mhd" else "LOCAL"
        lines = ["ObjectType = Image", f"NDims = {len(sizes)}", "BinaryData = True"]
        lines += [f"BinaryDataByteOrderMSB = {packed}", f"CompressedData = {packed}", "TransformMatrix = 1 0 0 1"]
        lines += ["ElementSpacing = 0.5 0.5 2", f"DimSize = {' '.join(map(str, sizes))}"]
        lines += [f"ElementNumberOfChannels = {samples}"] * (samples > 1)
        lines += [f"ElementType = MET_{kind}", f"ElementDataFile = {place}", ""]
        head = "\n".join(lines).encode()
        path.write_bytes(head + (data if place == "LOCAL" else b""))
        if place != "LOCAL":
            path.with_name(place).write_bytes(data)

    return write


def nrrd(pixels: NDArray[np.generic], *, encoding: str = "raw", kinds: str = "") -> Callable[[Path], None]:
    """Write the fields of an array, whose last axis is the fastest, and its bytes."""

    def write(path: Path) -> None:
        packer = {"gzip": gzip.compress, "bzip2": bz2.compress, "raw": bytes}[encoding]
        kind = {"uint8": "unsigned char", "uint16": "ushort", "float32": "float"}[pixels.dtype.name]
        lines = ["NRRD0005", "# a comment", f"type: {kind}", f"dimension: {pixels.ndim}", "endian: little"]
        lines += [f"sizes: {' '.join(map(str, pixels.shape[::-1]))}", f"encoding: {encoding}", "key:=a word"]
        steps = ["(0.5,0,0)", "(0,0.5,0)", "(0,0,2)"]
        steps = ["none" if one == "list" else steps.pop(0) for one in kinds.split() or ["domain"] * pixels.ndim]
        lines += ["space: left-posterior-superior", f"space directions: {' '.join(steps)}"]
        lines += [f"kinds: {kinds}"] * bool(kinds)
        data = packer(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
        if path.suffix == ".nhdr":
            lines.append(f"data file: {path.stem}.raw")
            path.with_suffix(".raw").write_bytes(data)
        path.write_bytes(("\n".join(lines) + "\n\n").encode() + (b"" if path.suffix == ".nhdr" else data))

    return write


def gif(pixels_NYX: NDArray[np.uint8]) -> Callable[[Path], None]:
    first, *rest = (Pillow.fromarray(page) for page in pixels_NYX)
    return lambda path: first.save(path, save_all=True, append_images=rest)


def channels_first(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.moveaxis(pixels, -1, -3)


def matlab(pixels: NDArray[Any]) -> Callable[[Path], None]:
    return lambda path: scipy.io.savemat(path, {"image": pixels}, do_compression=True)


def matlab_of_hdf5(pixels: NDArray[Any]) -> Callable[[Path], None]:
    """As from version 7.3 on: a header of 512 bytes before HDF5, whose arrays have their axes in reverse."""

    def write(path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file.create_dataset("image", data=pixels.T, chunks=True, compression="gzip")
        with path.open("r+b") as handle:
            handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")

    return write


def gzipped(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def packed(path: Path) -> None:
        plain = path.with_suffix("")
        write(plain)
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()

    return packed


@dataclass(frozen=True)
class Case:
    name: str
    write: Callable[[Path], None]
    axes: str
    pixels: NDArray[np.generic]
    """[..., C, H, W]"""


FRAMES = np.stack([np.full((HEIGHT, WIDTH), value, np.uint8) + (GREY > 99) for value in (10, 200, 77)])
CASES = [
    Case("grey.png", pillow(GREY, "PNG"), "cyx", GREY[None]),
    Case("deep.png", pillow(DEEP, "PNG"), "cyx", DEEP[None]),
    Case("grey.bmp", pillow(GREY, "BMP"), "cyx", GREY[None]),
    Case("colour.bmp", pillow(RGB, "BMP"), "cyx", channels_first(RGB)),
    Case("grey.gif", pillow(GREY, "GIF"), "cyx", GREY[None]),
    Case("frames.gif", gif(FRAMES), "tcyx", FRAMES[:, None]),
    Case("colour.webp", pillow(RGB, "WEBP", lossless=True), "cyx", channels_first(RGB)),
    Case("grey.pgm", pillow(GREY, "PPM"), "cyx", GREY[None]),
    Case("deep.pgm", pillow(DEEP, "PPM"), "cyx", DEEP[None]),
    Case("colour.ppm", pillow(RGB, "PPM"), "cyx", channels_first(RGB)),
    Case("grey.jp2", jpeg2000(GREY), "cyx", GREY[None]),
    Case("deep.jp2", jpeg2000(DEEP), "cyx", DEEP[None]),
    Case("colour.jp2", jpeg2000(RGB), "cyx", channels_first(RGB)),
    Case("mapped.tif", tiff(STACK, photometric="minisblack"), "zcyx", STACK[:, None]),
    Case(
        "strips.tif", tiff(STACK, photometric="minisblack", compression="lzw", rowsperstrip=5), "zcyx", STACK[:, None]
    ),
    Case("tiles.tif", tiff(DEEP, compression="zlib", tile=(16, 16), predictor=True), "cyx", DEEP[None]),
    Case("plain-tiles.tif", tiff(STACK, tile=(16, 32), photometric="minisblack"), "zcyx", STACK[:, None]),
    Case(
        "big.tif",
        tiff(STACK, bigtiff=True, byteorder=">", compression="zlib", photometric="minisblack"),
        "zcyx",
        STACK[:, None],
    ),
    Case(
        "mapped-big.tif",
        tiff(STACK, bigtiff=True, byteorder=">", photometric="minisblack"),
        "zcyx",
        STACK.astype(">u2")[:, None],
    ),
    Case("predicted.tif", tiff(DEEP, compression="lzw", predictor=True, rowsperstrip=3), "cyx", DEEP[None]),
    Case("colour.tif", tiff(RGB, photometric="rgb", compression="lzw", rowsperstrip=7), "cyx", channels_first(RGB)),
    Case("hwc.tif", tiff(HYPER[0, 0].transpose(1, 2, 0)), "cyx", HYPER[0, 0]),
    Case(
        "contiguous.tif",
        tiff(HYPER[0, 0].transpose(1, 2, 0), planarconfig="contig", photometric="minisblack", compression="zlib"),
        "cyx",
        HYPER[0, 0],
    ),
    Case(
        "planes.tif",
        tiff(HYPER[0, 0], planarconfig="separate", photometric="minisblack", compression="zlib", tile=(16, 16)),
        "cyx",
        HYPER[0, 0],
    ),
    Case("chw.tif", tiff(HYPER[0, 0], metadata={"axes": "CYX"}, photometric="minisblack"), "cyx", HYPER[0, 0]),
    Case("imagej.tif", tiff(HYPER, imagej=True), "tzcyx", HYPER),
    Case("imagej-packed.tif", tiff(HYPER, imagej=True, compression="zlib"), "tzcyx", HYPER),
    Case("imagej-slices.tif", tiff(STACK, imagej=True), "zcyx", STACK[:, None]),
    Case("imagej-composite.tif", tiff(STACK, imagej=True, metadata={"axes": "CYX", "mode": "composite"}), "cyx", STACK),
    Case("tzcyx.ome.tif", tiff(HYPER, ome=True, metadata={"axes": "TZCYX"}), "tzcyx", HYPER),
    Case(
        "ctzyx.ome.tif",
        tiff(np.moveaxis(HYPER, 2, 0), ome=True, metadata={"axes": "CTZYX"}, compression="zlib", tile=(16, 16)),
        "tzcyx",
        HYPER,
    ),
    Case("slices.ome.tif", tiff(HYPER[0, 0], ome=True, photometric="minisblack"), "zcyx", HYPER[0, 0, :, None]),
    Case(
        "named.ome.tif",
        tiff(HYPER[0, 0], ome=True, metadata={"axes": "CYX", "Channel": {"Name": list("abcde")}}),
        "cyx",
        HYPER[0, 0],
    ),
    Case("stack.npy", lambda path: np.save(path, STACK), "zcyx", STACK[:, None]),
    Case("colour.npy", lambda path: np.save(path, RGB), "cyx", channels_first(RGB)),
    Case("hyper.npy", lambda path: np.save(path, HYPER.transpose(0, 2, 1, 3, 4)), "tzcyx", HYPER),
    Case("stack.npz", lambda path: np.savez_compressed(path, raw=STACK), "zcyx", STACK[:, None]),
    Case("stack.h5", hdf5(STACK), "zcyx", STACK[:, None]),
    Case("chunks.h5", hdf5(STACK, chunks=(2, 16, 16), compression="gzip"), "zcyx", STACK[:, None]),
    Case("tagged.h5", hdf5(np.moveaxis(HYPER[0], 1, -1), tags="zyxc"), "zcyx", HYPER[0]),
    Case("stack.hdf", hdf5(STACK), "zcyx", STACK[:, None]),
    Case("grey.mat", matlab(GREY), "cyx", GREY[None]),
    Case("stack.mat", matlab(STACK), "zcyx", STACK[:, None]),
    Case("slices-last.mat", matlab(np.moveaxis(LONG, 0, -1)), "zcyx", LONG[:, None]),
    Case("colour.mat", matlab(RGB.astype(np.float64)), "cyx", channels_first(RGB).astype(np.float64)),
    Case("new.mat", matlab_of_hdf5(DEEP), "cyx", DEEP[None]),
    Case("new-slices-last.mat", matlab_of_hdf5(np.moveaxis(LONG, 0, -1)), "zcyx", LONG[:, None]),
    Case("packed.tif.gz", gzipped(tiff(STACK, photometric="minisblack")), "zcyx", STACK[:, None]),
    Case("packed.ppm.gz", gzipped(pillow(RGB, "PPM")), "cyx", channels_first(RGB)),
    Case("volume.nii", nifti(STACK), "zcyx", STACK[:, None]),
    Case("packed.nii.gz", nifti(STACK), "zcyx", STACK[:, None]),
    Case("packed.mha", metaimage(STACK, packed=True), "zcyx", STACK[:, None]),
    Case("colour.mha", metaimage(RGB, samples=3), "cyx", channels_first(RGB)),
    Case("volume.mhd", metaimage(STACK), "zcyx", STACK[:, None]),
    Case("volume.nrrd", nrrd(STACK), "zcyx", STACK[:, None]),
    Case("packed.nrrd", nrrd(STACK, encoding="gzip"), "zcyx", STACK[:, None]),
    Case("bzip2.nrrd", nrrd(STACK, encoding="bzip2"), "zcyx", STACK[:, None]),
    Case("layers.nrrd", nrrd(np.moveaxis(HYPER[0], 1, -1), kinds="list domain domain domain"), "zcyx", HYPER[0]),
    Case("volume.nhdr", nrrd(STACK), "zcyx", STACK[:, None]),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def path(case: Case, tmp_path: Path) -> Path:
    case.write(tmp_path / case.name)
    return tmp_path / case.name


def test_header_and_pixels_are_those_of_the_file(case: Case, path: Path) -> None:
    image = open_image(path)
    assert (image.axes, image.shape, image.dtype) == (case.axes, case.pixels.shape, case.pixels.dtype)
    pages = case.pixels.reshape(-1, *case.pixels.shape[-3:])
    assert (image.count, image.channels, image.height, image.width) == pages.shape
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(image.read(number), page)


def test_a_window_is_that_part_of_the_page(case: Case, path: Path) -> None:
    image = open_image(path)
    whole = image.read(image.count - 1)
    for rows, columns in [
        (slice(0, 1), slice(0, 1)),
        (slice(3, 30), slice(15, 49)),
        (slice(20, None), slice(-9, None)),
    ]:
        np.testing.assert_array_equal(image[image.count - 1, rows, columns], whole[:, rows, columns])


def test_a_file_in_memory_is_read_alike(case: Case, path: Path) -> None:
    if path.name.endswith((".nii", ".nii.gz", ".mhd", ".nhdr")):
        pytest.skip("NIfTI is told by its name, and the pixels of others lie in another file")
    np.testing.assert_array_equal(open_bytes(path.read_bytes(), "a").read(0), open_image(path).read(0))


def test_a_damaged_file_gets_one_line(case: Case, path: Path) -> None:
    content = path.read_bytes()
    refusals: list[str] = []
    for length in [1, 3, 7, *range(9, len(content), len(content) // 9)]:
        path.write_bytes(content[:length])
        try:
            image = open_image(path)
            pages = np.stack([image.read(number) for number in range(image.count)])
        except DataError as error:
            refusals.append(str(error))
        else:
            np.testing.assert_array_equal(pages.reshape(case.pixels.shape), case.pixels)
    assert len(refusals) > 6
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in refusals)


def test_every_ending_of_the_table_has_a_case_or_a_package_of_its_own() -> None:
    tried = {suffix for case in CASES for suffix in SUFFIXES if case.name.endswith(suffix)}
    free = {suffix for form in FORMATS if form.extra not in ("czi", "nd2", "lif") for suffix in form.suffixes}
    assert free - tried == {".tiff", ".jpg", ".jpeg", ".pbm", ".pnm", ".j2k", ".hdf5", ".ims", ".dib"}


def test_a_packed_file_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pgm.gz").write_bytes(gzip.compress(b"P5 64 64 255\n" + bytes(64 * 64)))
    assert open_image(tmp_path / "a.pgm.gz").read(0).shape == (1, 64, 64)
    monkeypatch.setenv("UNETKIT_MOST_BYTES", "4000")
    with pytest.raises(DataError, match=r"a\.pgm\.gz: unpacks to more than 4,000 bytes"):
        open_image(tmp_path / "a.pgm.gz")


def test_a_file_of_structures_alone_is_told(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"truth": {"mask": GREY}})
    assert arrays_in(tmp_path / "a.mat") == ()
    with pytest.raises(DataError, match=r"a\.mat: holds no array of numbers \(structures and links are not read\)"):
        open_image(tmp_path / "a.mat")


def test_the_images_of_a_file_of_several_arrays_are_named(tmp_path: Path) -> None:
    arrays = {"raw": STACK, "labels/ids": STACK, "centres": np.zeros((3, 2))}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    np.savez(tmp_path / "a.npz", **arrays)
    scipy.io.savemat(tmp_path / "a.mat", {name.replace("/", "_"): values for name, values in arrays.items()})
    hdf5(STACK)(tmp_path / "one.h5")
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    assert set(arrays_in(tmp_path / "a.h5")) == {"raw", "labels/ids"}
    assert set(arrays_in(tmp_path / "a.npz")) == {"raw", "labels/ids"}
    assert set(arrays_in(tmp_path / "a.mat")) == {"raw", "labels_ids"}
    assert arrays_in(tmp_path / "one.h5") == arrays_in(tmp_path / "damaged.npz") == ()
    assert arrays_in(tmp_path / "missing.h5") == ()
    np.testing.assert_array_equal(open_image(tmp_path / "a.mat" / "raw").read(0), STACK[:1])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((512, 512), "yx"),
        ((30, 512, 512), "zyx"),
        ((512, 512, 3), "yxc"),
        ((512, 512, 8), "yxc"),
        ((3, 512, 512), "zyx"),
        ((30, 512, 512, 2), "zyxc"),
        ((30, 2, 512, 512), "zcyx"),
        ((5, 30, 512, 512), "tzyx"),
        ((2, 3, 30, 512, 512), "tczyx"),
    ],
)
def test_axes_without_names_are_told_by_their_lengths(shape: tuple[int, ...], axes: str) -> None:
    assert axes_by_size(shape) == axes


def test_steps_and_their_units_are_found(tmp_path: Path) -> None:
    names = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 50, "PhysicalSizeZUnit": "nm"}
    tiff(STACK, ome=True, metadata={"axes": "ZYX", **names})(tmp_path / "a.ome.tif")
    found = open_image(tmp_path / "a.ome.tif").pixel_size
    assert found == {"x": PixelSize(0.25, "micrometer"), "z": PixelSize(50, "nanometer")}
    steps = {"axes": "ZYX", "unit": "um", "spacing": 0.5}
    tiff(STACK, imagej=True, resolution=(4, 4), metadata=steps)(tmp_path / "b.tif")
    found = open_image(tmp_path / "b.tif").pixel_size
    assert found == dict.fromkeys("xy", PixelSize(0.25, "micrometer")) | {"z": PixelSize(0.5, "micrometer")}
    nifti(STACK)(tmp_path / "c.nii")
    assert open_image(tmp_path / "c.nii").pixel_size["z"] == PixelSize(2.0, "micrometer")
    for name, write in (("c.mha", metaimage), ("c.nrrd", nrrd)):
        write(STACK)(tmp_path / name)
        assert open_image(tmp_path / name).pixel_size["z"] == PixelSize(2.0, "millimeter")
    tiff(GREY, resolution=(300, 300), resolutionunit="inch")(tmp_path / "d.tif")
    assert open_image(tmp_path / "d.tif").pixel_size == {}


@pytest.mark.parametrize("form", ["two.h5/{}", "two.h5:{}", "two.npz/{}"])
def test_an_array_is_named_after_its_file(form: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as tree:
        tree["a/raw"], tree["a/labels"] = STACK, STACK[::-1]
    np.savez(tmp_path / "two.npz", **{"a/raw": STACK, "a/labels": STACK[::-1]})
    np.testing.assert_array_equal(open_image(tmp_path / form.format("a/labels")).read(0)[0], STACK[-1])
    with pytest.raises(DataError, match=r"holds 2 arrays \(a/labels, a/raw\); name one array after the file"):
        open_image(tmp_path / form[:-3])
    with pytest.raises(DataError, match=r"holds no array b \(a/labels, a/raw\)"):
        open_image(tmp_path / form.format("b"))


def test_no_file_runs_code(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[object()]], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=np.array([[object()]], object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="holds Python objects"):
            open_image(tmp_path / name).read(0)


def test_an_hdf5_file_never_opens_another_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(GREY.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as tree:
        tree.create_dataset("raw", (HEIGHT, WIDTH), "u1", external=[(str(tmp_path / "secret"), 0, GREY.nbytes)])
    with pytest.raises(DataError, match="takes its pixels from other files"):
        open_image(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as tree:
        tree["raw"] = h5py.ExternalLink(str(tmp_path / "stack.h5"), "/volumes/raw")
    hdf5(STACK)(tmp_path / "stack.h5")
    with pytest.raises(DataError, match="holds no array of numbers"):
        open_image(tmp_path / "b.h5")


FILTERS: list[dict[str, Any]] = [
    {"compression": "gzip"},
    {"compression": "gzip", "shuffle": True, "fletcher32": True},
    {"compression": "gzip", "scaleoffset": 0},
    {"compression": "lzf"},
    {"compression": "lzf", "fletcher32": True},
    *([{"compression": "szip"}] if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP) else []),
]


@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_a_chunk_of_hdf5_unpacks_to_no_more_than_it_has(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetkit.images.array_files._UNSEEN", 0)  # every chunk is looked at
    hdf5(STACK, chunks=(2, 16, 16), **options)(tmp_path / "a.h5")
    assert np.array_equal(open_image(tmp_path / "a.h5").read(1)[0], STACK[1])
    hdf5(np.zeros((1, 1024, 1024), np.uint8), chunks=(1, 1024, 1024), **options)(tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as tree:
        mask, packed = tree["volumes/raw"].id.read_direct_chunk((0, 0, 0))
        small = tree.create_dataset("small", (1, 64, 64), "u1", chunks=(1, 64, 64), **options)
        small.id.write_direct_chunk((0, 0, 0), packed, mask)
    with pytest.raises(DataError, match="a chunk of /small unpacks to more bytes than it has, or is damaged"):
        open_image(tmp_path / "b.h5/small").read(0)


def test_a_variable_of_matlab_unpacks_to_no_more_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matlab(np.zeros((2048, 2048), np.uint8))(tmp_path / "a.mat")
    content = (tmp_path / "a.mat").read_bytes()
    lying = zlib.decompress(content[136:]).replace(struct.pack("<ii", 2048, 2048), struct.pack("<ii", 32, 32))
    packed = zlib.compress(lying)
    (tmp_path / "a.mat").write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    monkeypatch.setenv("UNETKIT_MOST_BYTES", str(2**20))
    with pytest.raises(DataError, match=r"a\.mat: .*a variable unpacks to more than 1,048,576 bytes"):
        open_image(tmp_path / "a.mat").read(0)


@pytest.mark.parametrize("place", ["../secret.raw", "/secret.raw", "LIST", "slice%03d.raw 0 3 1"])
@pytest.mark.parametrize(("name", "write"), [("a.mhd", metaimage), ("a.nhdr", nrrd)])
def test_a_header_takes_pixels_from_one_file_next_to_it(
    tmp_path: Path, name: str, write: Callable[..., Callable[[Path], None]], place: str
) -> None:
    write(STACK)(tmp_path / name)
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("a.raw", place))
    with pytest.raises(DataError, match="takes its pixels from"):
        open_image(tmp_path / name)


def test_headers_that_promise_too_much_are_not_allocated(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as tree:
        tree.create_dataset("raw", (2, 100_000, 100_000), "u1", chunks=(1, 1000, 1000), compression="gzip")
        tree.create_dataset("chunk", (20_000, 20_000), "u1", chunks=(20_000, 20_000), compression="gzip")
    image = open_image(tmp_path / "a.h5/raw")
    assert not image[1, slice(99_990, None), slice(0, 9)].any()  # it streams
    with pytest.raises(DataError, match=f"at most {2**27:,} pixels are decoded at once"):
        image.read(0)
    with pytest.raises(DataError, match="400,000,000 pixels in one piece"):
        open_image(tmp_path / "a.h5/chunk")
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (9, 90_000, 90_000), "fortran_order": False, "descr": "|u1"})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("raw.npy", header.getvalue() + bytes(100))
    with pytest.raises(DataError, match="promises more pixels"):
        open_image(tmp_path / "a.npz")
    for name, write in (("a.mha", metaimage(STACK, packed=True)), ("a.nrrd", nrrd(STACK, encoding="gzip"))):
        write(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b" 53 37 4", b" 53000 37000 400"))
        with pytest.raises(DataError, match="its header promises"):
            open_image(tmp_path / name)
    nifti(STACK)(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[42:48] = np.array([30_000, 30_000, 30_000], "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DataError, match="its header promises"):
        open_image(tmp_path / "a.nii.gz")


def test_a_window_of_a_tiled_file_decodes_the_tiles_that_it_touches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetkit.images.tiff import _Segments

    tiff(np.zeros((1024, 1024), np.uint8), tile=(64, 64), compression="zlib")(tmp_path / "a.tif")
    decoded: list[tuple[slice, ...]] = []
    original = _Segments.__getitem__
    monkeypatch.setattr(_Segments, "__getitem__", lambda self, where: decoded.append(where) or original(self, where))
    image = open_image(tmp_path / "a.tif")
    image[0, slice(60, 70), slice(128, 192)]
    assert [(rows.start, columns.start) for rows, columns in decoded] == [(0, 128), (64, 128)]
    image[0, slice(0, 64), slice(128, 129)]
    assert len(decoded) == 2  # kept


def test_a_format_whose_package_is_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(50))
    monkeypatch.setattr("unetkit.images.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"ND2 files need the extra nd2: pip install 'unetkit\[nd2\]'"):
        open_image(tmp_path / "a.nd2")


def test_czi_is_read_where_its_package_is(tmp_path: Path) -> None:
    pytest.importorskip("bioio_czi")
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(tmp_path / "a.czi")) as document:
        for depth, channels in enumerate(HYPER[0]):
            for channel, plane in enumerate(channels):
                document.write(data=plane[..., None], plane={"Z": depth, "C": channel, "T": 0}, scene=0)
        document.write_metadata(document_name="a", scale_x=2e-7, scale_y=2e-7)
    image = open_image(tmp_path / "a.czi")
    assert (image.axes, image.shape) == ("tzcyx", (1, *HYPER.shape[1:]))
    assert image.pixel_size["x"] == PixelSize(0.2, "micrometer")
    np.testing.assert_array_equal(image[2, slice(5, 9), slice(7)], HYPER[0, 2, :, 5:9, :7])
    (tmp_path / "a.czi").write_bytes((tmp_path / "a.czi").read_bytes()[:500])
    with pytest.raises(DataError, match="truncated, damaged or not an image"):
        open_image(tmp_path / "a.czi")


def test_pages_become_channels_and_channels_are_chosen(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    image = open_image(tmp_path / "a.npy").pages_as_channels()
    np.testing.assert_array_equal(image.read(0), STACK)
    np.testing.assert_array_equal(image.with_channels((2, 0))[0, slice(5, 9), slice(7)], STACK[[2, 0], 5:9, :7])
    with pytest.raises(DataError, match="has 4 channels .*names channel 4; name channels below 4"):
        image.with_channels((4,))


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb", "ycbcr"])
def test_jpeg_in_tiff_is_decoded_as_tifffile_does(
    tmp_path: Path, photometric: str, tile: tuple[int, int] | None
) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    shape = (2, 64, 80) if photometric == "minisblack" else (2, 64, 80, 3)
    pixels = rng.integers(0, 255, shape, np.uint8)
    tifffile.imwrite(path, pixels, photometric=photometric, compression="jpeg", tile=tile)
    image, expected = open_image(path), tifffile.imread(path)
    for page in range(2):
        found = image.read(page, slice(10, 40), slice(20, 70))
        assert np.array_equal(found, np.atleast_3d(expected[page])[10:40, 20:70].transpose(2, 0, 1))
