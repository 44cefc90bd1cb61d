"""OME-Zarr: what is written is valid and read back by others; what others wrote is read; what lies is refused."""

import errno
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from zarr.storage import _local

from unetkit.errors import DataError, UsageError
from unetkit.images import is_zarr, open_image
from unetkit.images.convert import convert_image
from unetkit.images.image import PixelSize
from unetkit.images.omewrite import ome_zarr
from unetkit.images.write import Form

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 65536, (2, 3, 2, 21, 37), np.uint16)
"""Times, channels, depths."""

SIZES = {"z": PixelSize(2.0, "micrometer"), "y": PixelSize(0.25, "micrometer"), "x": PixelSize(0.25, "micrometer")}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetkit.images.omewrite.SHARD", 16)
    monkeypatch.setattr("unetkit.images.omewrite.CHUNK", 8)
    monkeypatch.setattr("unetkit.images.omewrite._SMALLEST", 10)


def form(**changes: Any) -> Form:
    pages = {"pages": 4, "page_axes": (("t", 2), ("z", 2)), "channels": ("a", "b", "c"), "white": None}
    return Form(**({"dtype": np.uint16, "height": 21, "width": 37, "pixel_size": SIZES} | pages | changes))


def write(path: Path, form: Form, pixels: np.ndarray) -> None:
    """Write [pages, K, H, W] in bands of seven rows."""
    with ome_zarr(path, form) as output:
        for page, values in enumerate(pixels):
            for top in range(0, form.height, 7):
                output.put(page, top, 0, values[:, top : top + 7])


PAGES = np.moveaxis(VOLUME, 1, 2).reshape(4, 3, 21, 37)
LABELS = RNG.integers(0, 3, (21, 37), np.uint8)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_what_is_written_is_read(version: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write(path, form(version=version), PAGES)
    image = open_image(path)
    assert (image.axes, image.shape, image.dtype, image.pixel_size) == ("tzcyx", (2, 2, 3, 21, 37), np.uint16, SIZES)
    for page in range(4):
        np.testing.assert_array_equal(image.read(page), PAGES[page])
    np.testing.assert_array_equal(image[3, slice(5, 20), slice(11, 33)], PAGES[3, :, 5:20, 11:33])
    smaller = open_image(path / "1")
    assert smaller.shape == (2, 2, 3, 11, 19)
    assert smaller.pixel_size["x"] == PixelSize(0.5, "micrometer")
    np.testing.assert_array_equal(
        smaller.read(3)[:, :10, :18], np.rint(PAGES[3, :, :20, :36].reshape(3, 10, 2, 18, 2).mean((2, 4)))
    )
    assert open_image(path / "2").shape[-2:] == (6, 10)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.ome.zarr"]


def test_the_standards_own_models_find_it_valid(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v05")
    write(tmp_path / "a.ome.zarr", form(), PAGES)
    image = models.Image.from_zarr(zarr.open_group(tmp_path / "a.ome.zarr", mode="r"))
    assert [axis.name for axis in image.attributes.ome.multiscales[0].axes] == list("tczyx")
    path = tmp_path / "a.ome.zarr" / "labels" / "cells"
    write(path, Form(np.uint8, 21, 37, 1, (), None, labels=("background", "cell", "edge")), LABELS[None, None])
    label = models.ImageLabel.from_zarr(zarr.open_group(path, mode="r")).attributes.ome.image_label
    assert [(one.label_value, one.rgba[3]) for one in label.colors] == [(0, 0), (1, 255), (2, 255)]
    assert label.source.image == "../../"
    assert models.Image.from_zarr(zarr.open_group(tmp_path / "a.ome.zarr", mode="r")).labels.attributes.ome.labels == [
        "cells"
    ]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.filterwarnings("default")
def test_ome_zarr_py_opens_it(version: Any, tmp_path: Path) -> None:
    pytest.importorskip("ome_zarr.reader")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    write(tmp_path / "a.ome.zarr", form(version=version), PAGES)
    write(tmp_path / "a.ome.zarr/labels/cells", form(labels=("background", "cell"), channels=()), PAGES[:, :1] % 2)
    nodes = list(Reader(parse_url(tmp_path / "a.ome.zarr"))())
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), VOLUME)
    assert nodes[0].metadata["axes"][-1] == {"name": "x", "type": "space", "unit": "micrometer"}
    assert nodes[0].metadata["channel_names"] == ["a", "b", "c"]
    assert any(node.zarr.path.endswith("labels/cells") for node in nodes)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.filterwarnings("default")
def test_what_ome_zarr_py_writes_is_read(version: Any, tmp_path: Path) -> None:
    pytest.importorskip("ome_zarr.writer")
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    write_image(VOLUME, group, axes="tczyx", fmt=FormatV04() if version == 2 else FormatV05())
    image = open_image(tmp_path / "a.zarr")
    assert (image.axes, image.shape) == ("tzcyx", (2, 2, 3, 21, 37))
    np.testing.assert_array_equal(image.read(3), PAGES[3])


def test_labels_keep_their_values_in_every_level(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write(path, Form(np.uint8, 21, 37, 1, (), None, labels=("background", "cell", "edge")), LABELS[None, None])
    np.testing.assert_array_equal(open_image(path / "1").read(0)[0], LABELS[::2, ::2])
    np.testing.assert_array_equal(open_image(path / "2").read(0)[0], LABELS[::4, ::4])


def test_the_network_is_kept_in_the_attributes(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", form(card={"classes": ["a", "b"]}), PAGES)
    assert zarr.open_group(tmp_path / "a.ome.zarr", mode="r").attrs["unetkit"] == {"classes": ["a", "b"]}


def test_a_file_system_without_hard_links_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for version in ("0.4", "0.5"):
        write(tmp_path / f"{version}.ome.zarr", form(version=version), PAGES)
        assert np.array_equal(open_image(tmp_path / f"{version}.ome.zarr").read(3), PAGES[3])


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="could not broadcast"), ome_zarr(tmp_path / "a.ome.zarr", form()) as output:
        output.put(0, 0, 0, PAGES[0][:2])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_a_signal_comes_while_zarr_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    put = _local._put

    def slow(path: Path, *given: Any, **options: Any) -> int:  # in a thread of zarr's
        if "c" in path.parts:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.3)
        return put(path, *given, **options)

    monkeypatch.setattr(_local, "_put", slow)
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "a.ome.zarr", form(pages=1, page_axes=(), channels=("a",)), PAGES[:1, :1])
    finally:
        signal.signal(signal.SIGUSR1, before)
    time.sleep(0.5)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", form(), PAGES)
    with pytest.raises(UsageError, match="is there already"):
        write(tmp_path / "a.ome.zarr", form(), PAGES)
    with pytest.raises(UsageError, match="lies in a zarr"):
        write(tmp_path / "a.ome.zarr" / "other.ome.zarr", form(), PAGES)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tall=st.integers(1, 20),
    wide=st.integers(1, 20),
    order=st.randoms(),
)
def test_parts_of_any_size_in_any_order_make_the_same(
    tmp_path: Path, height: int, width: int, tall: int, wide: int, order: Any
) -> None:
    shutil.rmtree(tmp_path / "a.ome.zarr", ignore_errors=True)
    values = RNG.integers(0, 65536, (1, height, width), np.uint16)
    places = [(top, left) for top in range(0, height, tall) for left in range(0, width, wide)]
    order.shuffle(places)
    with ome_zarr(tmp_path / "a.ome.zarr", Form(np.uint16, height, width, 1, (), None)) as output:
        for top, left in places:
            output.put(0, top, left, values[:, top : top + tall, left : left + wide])
    np.testing.assert_array_equal(open_image(tmp_path / "a.ome.zarr").read(0), values)


def test_a_stack_goes_to_ome_zarr_and_back(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    convert_image(tmp_path / "a.npy", tmp_path / "a.ome.zarr")
    convert_image(tmp_path / "a.ome.zarr", tmp_path / "a.tif")
    image = open_image(tmp_path / "a.tif")
    assert (image.axes, image.shape) == ("tzcyx", (2, 2, 3, 21, 37))
    np.testing.assert_array_equal(np.stack([image.read(page) for page in range(4)]), PAGES)
    convert_image(tmp_path / "a.ome.zarr/1", tmp_path / "b.tif")
    for out in ("a.tif", "a.ome.zarr"):
        with pytest.raises(UsageError, match="is there already, and nothing is overwritten"):
            convert_image(tmp_path / "a.npy", tmp_path / out)
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif").read(1), open_image(tmp_path / "a.ome.zarr/1").read(1))
    with pytest.raises(UsageError, match="its ending says no form"):
        convert_image(tmp_path / "a.npy", tmp_path / "b.jpg")


def test_a_folder_of_sections_is_a_volume_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    slices = np.random.default_rng(0).integers(0, 2, (12, 20, 30), np.uint8) * np.uint8(255)
    for number, one in enumerate(slices):
        picture = Picture.fromarray(one)
        (picture.convert("1") if number % 2 else picture).save(tmp_path / "raw" / f"s{number}.png")  # 8 bits, 1 bit
    (tmp_path / "raw" / "notes.txt").write_text("not a section")
    convert_image(tmp_path / "raw", tmp_path / "raw.ome.zarr")
    found = open_image(tmp_path / "raw.ome.zarr")
    np.testing.assert_array_equal([found.read(page)[0] for page in range(found.count)], slices)
    Picture.fromarray(slices[0, 1:]).save(tmp_path / "raw" / "s12.png")
    with pytest.raises(DataError, match=r"s12.png: is 1 x 19 x 30 \(uint8\), .*s0.png is 1 x 20 x 30 \(uint8\); sect"):
        convert_image(tmp_path / "raw", tmp_path / "b.ome.zarr")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="a folder without image files"):
        convert_image(tmp_path / "none", tmp_path / "b.ome.zarr")
    assert not (tmp_path / "b.ome.zarr").exists()


def test_pages_in_another_order_stay_in_it(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", PAGES[:, 0].reshape(2, 2, 21, 37), metadata={"axes": "ZTYX"}, photometric="minisblack"
    )
    assert open_image(tmp_path / "a.tif").axes == "ztcyx"
    for name in ("b.tif", "b.ome.zarr"):
        image = open_image(convert_image(tmp_path / "a.tif", tmp_path / name))
        assert image.axes == "zcyx"
        np.testing.assert_array_equal(np.stack([image.read(page)[0] for page in range(4)]), PAGES[:, 0])


def test_steps_go_to_tiff_and_back(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", form(), PAGES)
    convert_image(tmp_path / "a.ome.zarr", tmp_path / "a.tif")
    found = open_image(tmp_path / "a.tif").pixel_size
    assert {axis: found[axis].unit for axis in found} == dict.fromkeys("xyz", "micrometer")
    assert [found[axis].size for axis in "zyx"] == pytest.approx([2.0, 0.25, 0.25])


def edited(path: Path, change: Any) -> None:
    content = json.loads((path / "zarr.json").read_text())
    change(content["attributes"]["ome"]["multiscales"][0])
    (path / "zarr.json").write_text(json.dumps(content))


def scaled(multiscale: Any, by: list[float]) -> None:
    multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] = by


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.update(axes=one["axes"][1:]), "names the axes c, z, y, x of an array with 5"),
        (lambda one: one["axes"][0].update(name="q"), "names the axes q, c, z, y, x"),
        (lambda one: one["axes"][0].update(name="y"), "names the axes y, c, z, y, x"),
        (lambda one: one["datasets"][0].update(path="9"), "names the level '9', but no array is there"),
        (lambda one: one["datasets"][0].update(path="../b"), "leads out of it"),
        (lambda one: one.update(datasets=[]), "metadata is wrong at multiscales.0.datasets"),
        (
            lambda one: one["datasets"][0].update(coordinateTransformations=7),
            "metadata is wrong at multiscales.0.datasets.0",
        ),
        (lambda one: scaled(one, [1.0, 1, 0, 1, 1]), "scales 5 axes by 1.0, 1.0, 0.0, 1.0, 1.0; a number above 0"),
        (lambda one: scaled(one, [1.0, 1, 1, -2, 1]), "scales 5 axes by"),
        (lambda one: scaled(one, [1.0, 1, 1, 1, float("inf")]), "scales 5 axes by"),
        (lambda one: scaled(one, [1.0, float("nan"), 1, 1, 1]), "scales 5 axes by"),
        (lambda one: scaled(one, [4.0, 4]), "scales 5 axes by 4.0, 4.0; a number above 0 for each"),
    ],
)
def test_metadata_that_lies_gets_one_line(change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write(path, form(), PAGES)
    edited(path, change)
    with pytest.raises(DataError) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_chunk_is_empty_and_a_broken_one_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", form(), PAGES)
    shards = tmp_path / "a.ome.zarr" / "0" / "c" / "0" / "0" / "1"
    (shards / "0" / "1").unlink()
    assert not open_image(tmp_path / "a.ome.zarr")[1, slice(0, 16), slice(16, 32)].any()
    (shards / "1" / "1").write_bytes(b"broken" * 99)
    with pytest.raises(DataError, match=r"a\.ome\.zarr, chunk 0/0/1/2/2: truncated, damaged"):
        open_image(tmp_path / "a.ome.zarr")[1, slice(16, 21), slice(16, 32)]


def test_plain_arrays_and_groups(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "plain.zarr", VOLUME[0, 0])
    assert open_image(tmp_path / "plain.zarr").axes == "zcyx"
    group = zarr.create_group(tmp_path / "two.zarr")
    group.create_array("raw", data=VOLUME[0, 0], dimension_names=["z", "y", "x"])
    assert open_image(tmp_path / "two.zarr").shape == (2, 1, 21, 37)
    group.create_array("labels", data=VOLUME[0, 0])
    with pytest.raises(DataError, match=r"that holds labels, raw; name one image, as .*two.zarr/labels"):
        open_image(tmp_path / "two.zarr")
    assert open_image(tmp_path / "two.zarr/raw").shape == (2, 1, 21, 37)
    assert not is_zarr(tmp_path)


def test_an_image_of_a_plate_or_of_several_series_is_named(tmp_path: Path) -> None:
    plate, well = tmp_path / "plate.zarr", {"images": [{"path": "0"}, {"path": "1"}], "version": "0.5"}
    zarr.create_group(plate, attributes={"ome": {"version": "0.5", "plate": {"wells": [{"path": "B/3"}]}}})
    zarr.create_group(plate / "B")
    zarr.create_group(plate / "B/3", attributes={"ome": {"version": "0.5", "well": well}})
    for field in "01":
        write(tmp_path / "field.ome.zarr", form(), PAGES)
        (tmp_path / "field.ome.zarr").rename(plate / "B/3" / field)
    for path in (plate, plate / "B", plate / "B/3"):
        with pytest.raises(DataError) as caught:
            open_image(path)
        assert str(caught.value).endswith(f"name one image, as {plate}/B/3/0")
    assert open_image(plate / "B/3/0").shape == open_image(plate / "B/3/1").shape
    zarr.create_group(tmp_path / "empty.zarr")
    with pytest.raises(DataError, match="that holds nothing; an image was expected"):
        open_image(tmp_path / "empty.zarr")


def test_a_packed_zarr_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.zarr", form(), PAGES)
    packed = shutil.make_archive(str(tmp_path / "a.ome.zarr"), "zip", tmp_path / "a.ome.zarr")
    with pytest.raises(DataError, match=r"a.ome.zarr.zip: is a packed zarr; unpack it"):
        open_image(Path(packed))


def test_no_pickled_values_and_no_unknown_codecs_are_read(tmp_path: Path) -> None:
    from numcodecs import PackBits, Pickle

    zarr.create_array(tmp_path / "a.zarr", shape=(9, 9), dtype="u1", zarr_format=2, filters=[Pickle()])
    with pytest.raises(DataError, match="truncated, damaged or not an image"):
        open_image(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", shape=(9, 9), dtype="?", zarr_format=2, filters=[PackBits()])
    with pytest.raises(
        DataError, match="b.zarr: its chunks are stored by 'packbits', which is not read; compress them by"
    ):
        open_image(tmp_path / "b.zarr")


def _written(path: Path, version: int, codec: str, pixels: np.ndarray) -> None:
    """Write slices with a compressor, as zarr itself does; small ones in several chunks, and of version 3 in shards."""
    import numcodecs
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
    from zarr.codecs import numcodecs as of_three

    named = {
        "blosc": "Blosc",
        "zstd": "Zstd",
        "gzip": "GZip",
        "zlib": "Zlib",
        "lz4": "LZ4",
        "bz2": "BZ2",
        "lzma": "LZMA",
    }
    options: Any = {"compressors": getattr(numcodecs, named[codec])() if version == 2 else None}
    if version == 3:
        standard = {"blosc": BloscCodec, "gzip": GzipCodec, "zstd": ZstdCodec}
        options["compressors"] = standard[codec]() if codec in standard else getattr(of_three, named[codec])()
        options |= {"shards": (1, 16, 16)} if len(pixels) > 1 else {}
    chunks = (1, 8, 8) if len(pixels) > 1 else pixels.shape
    zarr.create_array(path, data=pixels, chunks=chunks, zarr_format=version, **options)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak of memory that begins anew")
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma"])
@pytest.mark.parametrize("version", [2, 3])
def test_every_compressor_is_read_and_unpacks_no_more_than_a_chunk(version: int, codec: str, tmp_path: Path) -> None:
    pixels = VOLUME[0, 0, :, :16, :16]
    _written(tmp_path / "a.zarr", version, codec, pixels)
    assert np.array_equal(open_image(tmp_path / "a.zarr").read(1)[0], pixels[1])
    bomb = tmp_path / "b.zarr"
    _written(bomb, version, codec, np.ones((1, 2**11, 2**12), np.uint16))  # 16 MiB, of which little is left
    for name, keys in {".zarray": ("shape", "chunks"), "zarr.json": ("shape", "chunk_grid")}.items():
        if (bomb / name).exists():
            header = json.loads((bomb / name).read_text())
            for key in keys:
                small = {"name": "regular", "configuration": {"chunk_shape": [1, 8, 8]}}
                header[key] = small if key == "chunk_grid" else [1, 8, 8]
            (bomb / name).write_text(json.dumps(header))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    before = _peak()
    with pytest.raises(DataError, match=r"b\.zarr, chunk 0/0/0: truncated, damaged or not an image"):
        open_image(bomb).read(0)
    assert _peak() - before < 2**23


def _peak() -> int:
    """Return the most memory that was resident, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
