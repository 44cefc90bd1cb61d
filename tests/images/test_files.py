"""One image file at a time: what is read, and what every kind of broken file gets."""

import os
import resource
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from unetkit.errors import DataError, UsageError
from unetkit.images import array, open_bytes, open_image, read_single
from unetkit.images.convert import convert_image
from unetkit.images.image import as_pixels
from unetkit.storage.tree import open_tree

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (13, 17), np.uint8)
DEEP = RNG.integers(0, 65536, (13, 17), np.uint16)
RGB = RNG.integers(0, 256, (13, 17, 3), np.uint8)
STACK = RNG.integers(0, 256, (5, 13, 17), np.uint8)


def png(pixels: NDArray[np.generic] | Image.Image, form: str = "PNG") -> bytes:
    buffer = BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, form)
    return buffer.getvalue()


def tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def paged(pixels: NDArray[np.generic], **options: object) -> bytes:
    """Pages that are written one after the other, as Pillow and Fiji's plugins do."""
    buffer = BytesIO()
    first, *rest = (Image.fromarray(page) for page in pixels)
    first.save(buffer, "TIFF", save_all=True, append_images=rest, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def deep_rgb_png() -> tuple[bytes, NDArray[np.uint16]]:
    pixels = RNG.integers(0, 65536, (13, 17, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 17, 13, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body, pixels


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(GREY), GREY[None]),
        (png(DEEP), DEEP[None]),
        (png(RGB), RGB.transpose(2, 0, 1)),
        (png(np.dstack([RGB, GREY])), RGB.transpose(2, 0, 1)),
        (png(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY.T.reshape(13, 17))])), GREY[None]),
        (png(GREY, "BMP"), GREY[None]),
        (png(Image.fromarray(GREY > 99)), np.where(GREY > 99, np.uint8(255), np.uint8(0))[None]),
        (tiff(GREY), GREY[None]),
        (tiff(DEEP, byteorder=">"), DEEP[None]),
        (tiff(DEEP.astype(np.float32)), DEEP[None].astype(np.float32)),
        (tiff(DEEP.astype(np.int32)), DEEP[None].astype(np.float32)),
        (tiff(GREY.astype(np.float64)), GREY[None].astype(np.float32)),
        (tiff(RGB, photometric="rgb"), RGB.transpose(2, 0, 1)),
        (tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB.transpose(2, 0, 1)),
        (tiff(np.dstack([RGB, GREY]), photometric="rgb", extrasamples=["unassalpha"]), RGB.transpose(2, 0, 1)),
        (tiff(np.dstack([GREY, GREY]), extrasamples=["unassalpha"], photometric="minisblack"), GREY[None]),
        (tiff(GREY, photometric="miniswhite"), ~GREY[None]),
        (tiff(GREY, photometric="palette", colormap=np.arange(768).reshape(3, 256).astype(np.uint16)), GREY[None]),
    ],
)
def test_pixels_are_read_as_they_are_stored(content: bytes, expected: NDArray[np.generic]) -> None:
    pages = open_bytes(content, "a")
    pixels = as_pixels(pages.read(0), "a")
    assert (pages.count, pages.channels, pages.height, pages.width) == (1, *expected.shape)
    assert pixels.dtype == expected.dtype
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected)


def test_sixteen_bit_colour_keeps_its_sixteen_bits() -> None:
    content, expected = deep_rgb_png()
    np.testing.assert_array_equal(open_bytes(content, "a.png").read(0), expected.transpose(2, 0, 1))


def test_a_palette_image_has_its_colours() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    pages = open_bytes(png(image), "a.png")
    assert pages.channels == 3
    assert pages.read(0).tolist() == [[[10, 40]], [[20, 50]], [[30, 60]]]


def test_class_indices_of_two_and_four_bits_are_not_stretched() -> None:
    rows = b"\0" + bytes([0b00011011])
    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert open_bytes(content, "m.png", "mask").read(0).tolist() == [[[0, 1, 2, 3]]]
    assert open_bytes(content, "m.png", "image").read(0).tolist() == [[[0, 85, 170, 255]]]


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}])
def test_stacks_written_page_by_page_are_read(options: dict[str, object]) -> None:
    pages = open_bytes(paged(STACK, **options), "s.tif")
    np.testing.assert_array_equal(np.stack([pages.read(number)[0] for number in range(5)]), STACK)


def test_a_stack_of_colour_pages(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (4, 13, 17, 3), np.uint8)
    pages = open_bytes(tiff(colour, photometric="rgb"), "s.tif")
    assert (pages.count, pages.channels) == (4, 3)
    np.testing.assert_array_equal(pages.read(2), colour[2].transpose(2, 0, 1))


def test_an_uncompressed_stack_is_mapped_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.tif"
    stored = tifffile.memmap(path, shape=(64, 256, 256), dtype=np.uint8, photometric="minisblack")
    stored[63, 5:9, 7] = 3
    stored.flush()
    for reader in ("asarray", "segments", "aszarr"):
        for kind in (tifffile.TiffFile, tifffile.TiffPage, tifffile.TiffPageSeries):
            monkeypatch.setattr(kind, reader, None, raising=False)
    page = open_image(path).read(63)
    assert page.sum() == 12
    page[:] = 0  # a copy: the file is as it was
    assert stored[63].sum() == 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"hello, this is text", "not a format that is read (TIFF, PNG, "),
        (b"GIF89a" + bytes(50), "truncated, damaged or not an image"),
        (b"II*\0", "truncated, damaged or not an image"),
        (b"II*\0" + bytes(4), "pages differ (none)"),
        (png_of_size(20_000, 20_000), "decompression bomb"),
        (
            png_of_size(11_600, 11_600),
            f"{11_600**2:,} pixels in one piece; of compressed pixels at most {2**27:,} pixels",
        ),
        (tiff(np.dstack([RGB, GREY]), photometric="separated"), "has 4 channels of ink (CMYK)"),
    ],
)
def test_what_is_no_usable_image_gets_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_image(path).read(0)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message


def test_pages_of_two_sizes_are_refused() -> None:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY)
        writer.write(GREY[:5])
    with pytest.raises(DataError, match=r"pages differ \(13 x 17 \(uint8\), 5 x 17 \(uint8\)\)"):
        open_bytes(buffer.getvalue(), "s.tif")


def test_images_of_their_own_in_one_file_are_counted() -> None:
    content = BytesIO()
    with tifffile.TiffWriter(content, ome=True) as tiff:
        for _ in range(2):
            tiff.write(np.zeros((3, 16, 16), np.uint8), metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match=r"a.ome.tif: holds 2 images \(series\) of 16 x 16 \(uint8\); save each"):
        open_bytes(content.getvalue(), "a.ome.tif")


def test_a_single_page_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    path.write_bytes(tiff(STACK))
    with pytest.raises(DataError, match="has 5 pages; one was expected"):
        read_single(path)


def test_missing_files_folders_and_locked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(DataError, match="is a folder"):
        open_image(tmp_path)

    def locked(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(DataError, match="permission denied"):
        open_image(tmp_path / "locked.png")


def test_a_set_may_have_more_images_than_a_process_may_have_open_files(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    np.save(tmp_path / "a.npy", STACK)
    np.save(tmp_path / "columns-first.npy", np.asfortranarray(STACK))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, hard))
    try:
        images = [open_image(path) for path in sorted(tmp_path.iterdir()) for _ in range(20)]
        pages = [image.read(3)[0] for image in images]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(np.array_equal(page, STACK[3]) for page in pages)


class Counted:
    """Pixels that count how often they are decoded."""

    shape, dtype = GREY.shape, GREY.dtype

    def __init__(self) -> None:
        self.times = 0

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[np.uint8]:
        self.times += 1
        return GREY[where]


def test_what_was_decoded_is_kept_up_to_a_size_of_all_images_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array, "CACHE_BYTES", GREY.nbytes)
    stored = [Counted(), Counted()]
    images = [array.CachedArray("a", one, GREY.shape) for one in stored]
    for number in (0, 0, 1, 0):
        np.testing.assert_array_equal(images[number][:, :], GREY)
    assert [one.times for one in stored] == [2, 1]


def test_a_pipe_is_not_waited_for_and_a_device_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    (tmp_path / "b.tif").symlink_to("/dev/zero")
    for name in ("a.tif", "b.tif"):
        with pytest.raises(DataError, match=rf"{name}: is a pipe or a device; an image file was expected"):
            open_image(tmp_path / name)
        with pytest.raises(DataError, match=rf"{name}: is a pipe or a device; a file was expected"):
            open_tree(tmp_path).read(name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_counted(value: float) -> None:
    pixels = GREY.astype(np.float32)
    pixels[2, 3] = pixels[4, 5] = value
    with pytest.raises(DataError, match=r"a\.tif: 2 pixels are NaN or infinite"):
        as_pixels(open_bytes(tiff(pixels), "a.tif").read(0), "a.tif")


def test_doubles_beyond_the_range_of_floats_are_infinite() -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        as_pixels(np.full((1, 2, 2), 1e300), "a.tif")
    with pytest.raises(DataError, match="complex64"):
        as_pixels(np.zeros((1, 2, 2), np.complex64), "a.tif")


def test_a_tiff_that_promises_more_than_it_holds_is_not_allocated() -> None:
    content = bytearray(tiff(np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64))
    for tag in (256, 257, 278):
        place = content.index(struct.pack("<HHI", tag, 3 if tag == 278 else 4, 1)[:2], 8)
        content[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 50_000)
    with pytest.raises(DataError, match="2,500,000,000 pixels"):
        open_bytes(bytes(content), "bomb.tif")


OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="17" SizeY="13" SizeZ="{planes}" SizeC="1" SizeT="1">
<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{blocks}</Pixels></Image></OME>"""
BLOCK = '<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{uuid}</UUID></TiffData>'


def ome(planes: int, *blocks: str) -> bytes:
    return tiff(GREY, description=OME.format(planes=planes, blocks="".join(blocks)), metadata=None)


def test_an_ome_file_never_opens_another_one(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.tif").write_bytes(tiff(255 - GREY))
    (folder / "x.ome.tif").write_bytes(ome(1, BLOCK.format(z=0, name="../secret.tif", uuid=1)))
    np.testing.assert_array_equal(read_single(folder / "x.ome.tif")[0], GREY)


@pytest.mark.parametrize("present", [True, False])
def test_a_part_of_an_ome_set_is_refused(tmp_path: Path, *, present: bool) -> None:
    (tmp_path / "a.ome.tif").write_bytes(
        ome(2, BLOCK.format(z=0, name="a.ome.tif", uuid=1), BLOCK.format(z=1, name="b.ome.tif", uuid=2))
    )
    if present:
        (tmp_path / "b.ome.tif").write_bytes(tiff(GREY))
    with pytest.raises(DataError, match=r"is a part of an OME-TIFF set \(a\.ome\.tif, b\.ome\.tif"):
        open_image(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_set_of_one_folder_is_opened_where_companions_are_allowed(tmp_path: Path, compression: str | None) -> None:
    names = ("a.ome.tif", "b.ome.tif", "c.ome.tif")
    blocks = [BLOCK.format(z=number, name=name, uuid=number) for number, name in enumerate(names)]
    options = {"compression": compression, "description": OME.format(planes=3, blocks="".join(blocks))}
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(tiff(GREY + np.uint8(number), metadata=None, **options))
    image = open_image(tmp_path / "b.ome.tif", companions=True)
    assert (image.axes, image.count) == ("zcyx", 3)
    for number in range(3):
        np.testing.assert_array_equal(image.read(number)[0], GREY + np.uint8(number))
    (tmp_path / "c.ome.tif").write_bytes(tiff(np.vstack([GREY, GREY]), metadata=None, **options))
    with pytest.raises(DataError, match="the files of its set differ in size or type"):
        open_image(tmp_path / "b.ome.tif", companions=True)
    (tmp_path / "c.ome.tif").write_bytes(b"II*\0" + b"\xff" * 8)
    with pytest.raises(DataError, match=r"c\.ome\.tif: truncated or damaged"):
        open_image(tmp_path / "b.ome.tif", companions=True)
    (tmp_path / "c.ome.tif").unlink()
    with pytest.raises(DataError, match=r"its set has the file c\.ome\.tif, which is missing"):
        open_image(tmp_path / "b.ome.tif", companions=True)


@pytest.mark.parametrize("name", ["../secret.tif", "link.tif", "", "..", "{folder}/secret.tif"])
def test_a_set_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.tif").write_bytes(tiff(255 - GREY))
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    other = name.format(folder=tmp_path)
    blocks = [BLOCK.format(z=0, name="a.ome.tif", uuid=1), BLOCK.format(z=1, name=other, uuid=2)]
    (folder / "a.ome.tif").write_bytes(ome(2, *blocks))
    with pytest.raises(DataError, match="which lies in another folder"):
        open_image(folder / "a.ome.tif", companions=True)


@pytest.mark.parametrize("blocks", ['<TiffData IFD="0" PlaneCount="99999999999"/>', '<TiffData NumPlanes="70000"/>'])
def test_planes_that_a_file_promises_are_not_allocated(blocks: str) -> None:
    with pytest.raises(DataError, match=r"its OME-XML promises [\d,]+ pages; it has 1: copy it again"):
        open_bytes(ome(1, blocks), "x.tif")
    with pytest.raises(DataError, match="its OME-XML promises 5,000,000,000 pages"):
        open_bytes(ome(5_000_000_000, '<TiffData IFD="0"/>'), "x.tif")


def test_an_ome_file_with_fewer_pages_than_it_promises_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ome.tif").write_bytes(ome(2, '<TiffData IFD="0" PlaneCount="2"/>'))
    with pytest.raises(DataError, match="its OME-XML promises more"):
        open_image(tmp_path / "a.ome.tif")


def test_an_ome_file_may_be_renamed(tmp_path: Path) -> None:
    (tmp_path / "b.ome.tif").write_bytes(ome(1, BLOCK.format(z=0, name="a.ome.tif", uuid=1)))
    np.testing.assert_array_equal(read_single(tmp_path / "b.ome.tif")[0], GREY)


def test_a_file_of_very_many_pages_is_refused_at_once() -> None:
    header, entries = struct.pack("<2sHI", b"II", 42, 8), struct.pack("<H", 0)
    pages = [entries + struct.pack("<I", 8 + 6 * (number + 1)) for number in range(2**16 + 1)]
    with pytest.raises(DataError, match="has more than 65,536 pages"):
        open_bytes(header + b"".join(pages) + bytes(6), "x.tif")


def test_limits_are_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tiff(STACK & 1, compression="zlib", rowsperstrip=STACK.shape[1])
    frames = tiff(STACK)
    monkeypatch.setenv("UNETKIT_MOST_BYTES", str(GREY.nbytes - 1))
    with pytest.raises(DataError, match=f"{GREY.nbytes} bytes in one piece.*or allow more with UNETKIT_MOST_BYTES="):
        open_bytes(stored, "x.tif")
    monkeypatch.setenv("UNETKIT_MOST_BYTES", str(GREY.nbytes))
    np.testing.assert_array_equal(open_bytes(stored, "x.tif").read(1)[0], STACK[1] & 1)
    monkeypatch.setenv("UNETKIT_MOST_PAGES", "2")
    with pytest.raises(DataError, match="more than 2 pages.*or allow more with UNETKIT_MOST_PAGES="):
        open_bytes(frames, "x.tif")
    for wrong in ("much", "0", "-1", "1e9"):
        monkeypatch.setenv("UNETKIT_MOST_PAGES", wrong)
        with pytest.raises(UsageError, match=f"UNETKIT_MOST_PAGES: found '{wrong}'.*a whole number above 0"):
            open_bytes(frames, "x.tif")


WHOLE = {
    "png": png(GREY),
    "png16": png(DEEP),
    "rgb16": deep_rgb_png()[0],
    "jpg": png(RGB, "JPEG"),
    "bmp": png(RGB, "BMP"),
    "stack": tiff(STACK),
    "bigtiff": tiff(STACK, bigtiff=True, byteorder=">"),
    "deflate": tiff(STACK, compression="zlib"),
    "lzw": tiff(STACK, compression="lzw"),
    "imagej": tiff(STACK, imagej=True),
    "ome": tiff(STACK, ome=True, photometric="minisblack"),
    "paged": paged(STACK),
    "paged-lzw": paged(STACK, compression="tiff_lzw"),
    "tiled": tiff(STACK, tile=(16, 16), compression="zlib"),
}
LOSSLESS = [name for name in WHOLE if name != "jpg"]


def all_pixels(content: bytes) -> NDArray[np.generic]:
    pages = open_bytes(content, "f")
    return np.stack([as_pixels(pages.read(number), "f") for number in range(pages.count)])


def pixels_or_complaint(content: bytes) -> NDArray[np.generic] | str:
    try:
        return all_pixels(content)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_cut_file_is_refused_or_whole_and_says_nothing_else(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content = WHOLE[name]
    expected = all_pixels(content)
    lengths = {*range(0, len(content), max(1, len(content) // 60)), *range(len(content) - 20, len(content))}
    refused = 0
    for length in sorted(lengths):
        found = pixels_or_complaint(content[:length])
        if isinstance(found, str):
            refused += 1
            assert found.startswith("f: ")
            assert "\n" not in found
        else:
            np.testing.assert_array_equal(found, expected)
    assert refused > len(lengths) / 2
    assert capfd.readouterr() == ("", "")


def test_a_cut_photograph_is_refused() -> None:
    assert isinstance(pixels_or_complaint(WHOLE["jpg"][: len(WHOLE["jpg"]) * 2 // 3]), str)


@pytest.mark.parametrize("name", list(WHOLE))
@settings(max_examples=40, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_raises_nothing_but_our_error(name: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    found = pixels_or_complaint(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert not isinstance(found, str) or "\n" not in found


@given(st.binary(max_size=200))
def test_noise_raises_nothing_but_our_error(noise: bytes) -> None:
    for magic in (b"", b"II*\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"):
        with pytest.raises(DataError):
            all_pixels(magic + noise)


def test_colours_of_channels_are_read_and_kept(tmp_path: Path) -> None:
    colours = ((255, 0, 0), (0, 200, 50))
    tables = [np.array([np.arange(256) * part // 255 for part in colour], np.uint8) for colour in colours]
    pixels = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30)
    metadata = {"axes": "CYX", "mode": "composite", "LUTs": tables, "unit": "micron"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 4), metadata=metadata)
    code = [int.from_bytes(bytes((*colour, 255)), "big", signed=True) for colour in colours]
    ome = {"axes": "CYX", "Channel": {"Name": ["x", "y"], "Color": code}}
    tifffile.imwrite(tmp_path / "b.ome.tif", pixels, metadata=ome)
    for name in ("a.tif", "b.ome.tif"):
        assert open_image(tmp_path / name).colours == colours
        again = open_image(convert_image(tmp_path / name, tmp_path / f"again-{name}.tif"))
        assert again.colours == colours
        np.testing.assert_array_equal(again.read(0), pixels)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tiff:
        description = tiff.pages.first.description.replace(str(code[0]), "red")
    tifffile.tiffcomment(tmp_path / "b.ome.tif", description)
    named = open_image(tmp_path / "b.ome.tif")  # a colour that is no number is no reason to refuse pixels
    assert named.colours == ()
    np.testing.assert_array_equal(named.read(0), pixels)
    with tifffile.TiffFile(tmp_path / "again-a.tif.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["mode"] == "composite"
        assert tiff.pages.first.resolution == (4.0, 4.0)
    tifffile.imwrite(tmp_path / "grey.tif", pixels, imagej=True, metadata={"axes": "CYX", "mode": "grayscale"})
    assert open_image(tmp_path / "grey.tif").colours == ()
