"""unetkit-predict, the C++ program, gives the numbers that Python gives, and says in a line what it cannot do."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unetkit import load
from unetkit.data import open_dataset
from unetkit.evaluation.score import score_predictor
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.metrics.overlap import soft_dice
from unetkit.prediction.predict import predict_file


def run(program: Path, *words: object, code: int = 0) -> str:
    done = subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code == 2:
        assert re.fullmatch(r"unetkit-predict: [^\n]+\n", done.stderr), done.stderr
    return done.stderr if code else done.stdout


def random_pixels(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    top = 256 if dtype == np.uint8 else 700  # both bytes count, and logits stay in the range of rounding
    return np.random.default_rng(sum(shape)).integers(0, top, shape).astype(dtype)


def probabilities(exported: Any, pages_NCHW: NDArray[Any], **options: Any) -> NDArray[np.float32]:
    """Return what Python gives: of the second class where there are two, of every class otherwise."""
    predictor = exported.predictor.with_options(options)
    answers = np.stack([predictor.probabilities(page) for page in pages_NCHW])
    return answers[:, 1] if answers.shape[1] == 2 else answers


@pytest.mark.parametrize(
    "predict",
    [
        {"size": (64, 48)},
        {"size": (40, 130), "resize": "asymmetric", "padding_mode": "zeros"},
        {"padding_mode": "zeros", "tile": 48, "overlap": 8},
    ],
)
def test_what_a_founding_system_does_before_the_network(
    program: Path, exported: Callable, tmp_path: Path, predict: dict[str, Any]
) -> None:
    network, page = exported(predict=predict), random_pixels(61, 83)
    tifffile.imwrite(tmp_path / "image.tif", page)
    run(program, network.path, tmp_path / "image.tif", "--out", tmp_path / "out.tif", "--probabilities", "--tta")
    expected = network.predictor.with_options({"tta": True}).probabilities(page[None])[1]
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)


def test_gaps_are_left_open_and_a_note_says_so(program: Path, exported: Callable, tmp_path: Path) -> None:
    network, page = exported(predict={"close_gaps": True}), random_pixels(40, 50)
    tifffile.imwrite(tmp_path / "image.tif", page)
    words = [program, network.path, tmp_path / "image.tif", "--out", tmp_path / "out.tif", "--probabilities"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1
    assert "gaps in contours are left open" in done.stderr
    expected = network.predictor.with_options({"close_gaps": False}).probabilities(page[None])[1]
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"tile": 32, "overlap": 4}, ["--tile", 32, "--overlap", 4]),  # blended
        ({"tile": 64, "overlap": 24}, ["--tile", 64, "--overlap", 24, "--threads", 1]),
        ({"tile": 40}, ["--tile", 40]),
        ({"tta": True, "tile": 40}, ["--tta", "--tile", 40]),
    ],
    ids=str,
)
def test_a_stack_in_tiles(
    program: Path, exported: Callable, tmp_path: Path, options: dict[str, Any], words: list[object]
) -> None:
    network, pages = exported(), random_pixels(3, 75, 101)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    out = tmp_path / "out.tif"
    assert "written" in run(program, network.path, tmp_path / "stack.tif", "--out", out, "--probabilities", *words)
    found = tifffile.imread(out)
    assert (found.dtype, found.shape) == (np.float32, pages.shape)
    np.testing.assert_allclose(found, probabilities(network, pages[:, None], **options), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        FileOptions(output="softmax", preprocessing=True),
        FileOptions(layout="nhwc"),
        FileOptions(output="softmax", layout="nchw-nhwc", size=(64, 72)),
        FileOptions(size=(56, 64), batch=2),
    ],
    ids=str,
)
def test_every_form_of_network(program: Path, exported: Callable, tmp_path: Path, options: FileOptions) -> None:
    network = exported(options, in_channels=3, num_classes=3)
    pixels = random_pixels(64, 72, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    out = tmp_path / "out.tif"
    run(program, network.path, tmp_path / "image.png", "--out", out, "--probabilities")
    through = load(network.path, device="cpu")
    expected = through.probabilities(np.moveaxis(pixels, 2, 0))
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_imagej
        # ImageJ reads the pixels of all pages as one piece
        assert set(np.diff([page.dataoffsets[0] for page in tiff.pages])) == {tiff.pages[0].nbytes}
        np.testing.assert_allclose(tiff.asarray(), expected, rtol=0, atol=1e-5)


def test_class_indices_valid_convolutions_and_one_logit(program: Path, exported: Callable, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", random_pixels(50, 61))
    for number, (options, model) in enumerate(
        [
            (FileOptions(output="argmax"), {"num_classes": 5}),
            (FileOptions(), {"padding": "valid"}),
            (FileOptions(), {"num_classes": 1}),
        ]
    ):
        network = exported(options, **model)
        out = tmp_path / f"{number}.png"
        run(program, network.path, tmp_path / "image.tif", "--out", out)
        expected = load(network.path, device="cpu").labels(random_pixels(50, 61)[None])
        white = 255 if len(network.predictor.classes) == 2 else 1
        np.testing.assert_array_equal(np.asarray(Image.open(out)), expected * white)


FORMS: dict[str, dict[str, Any]] = {
    "lzw": {"compression": "lzw"},
    "lzw with differences": {"compression": "lzw", "predictor": 2, "rowsperstrip": 7},
    "deflate": {"compression": "zlib", "rowsperstrip": 16},
    "deflate with differences": {"compression": "zlib", "predictor": 2},
    "packbits": {"compression": "packbits"},
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "big endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True, "rowsperstrip": 5},
    "white is zero": {"photometric": "miniswhite"},
    "imagej": {"imagej": True},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_tiff(program: Path, exported: Callable, tmp_path: Path, form: str, dtype: Any) -> None:
    network, pages = exported(), random_pixels(2, 45, 70, dtype=dtype)
    pages[:, 10:30, 20:60] = 7  # something to compress
    stored = ~pages if form == "white is zero" else pages
    tifffile.imwrite(tmp_path / "stack.tif", stored, **{"photometric": "minisblack", **FORMS[form]})
    run(program, network.path, tmp_path / "stack.tif", "--out", tmp_path / "out.tif", "--probabilities")
    expected = probabilities(network, pages[:, None])
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)


def test_forms_of_colour_float_and_png(program: Path, exported: Callable, tmp_path: Path) -> None:
    grey, colour = exported(), exported(in_channels=3, num_classes=3)
    rgb, deep = random_pixels(40, 52, 3), random_pixels(40, 52, dtype=np.uint16)
    files: dict[str, tuple[Any, NDArray[Any]]] = {}
    Image.fromarray(rgb).save(tmp_path / "a.png")
    files["a.png"] = colour, np.moveaxis(rgb, 2, 0)
    Image.fromarray(np.dstack([rgb, rgb[..., :1]])).save(tmp_path / "alpha.png", compress_level=1)
    files["alpha.png"] = colour, np.moveaxis(rgb, 2, 0)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    files["deep.png"] = grey, deep[None]
    Image.fromarray(rgb[..., 0] > 99).save(tmp_path / "bits.png")
    files["bits.png"] = grey, (rgb[None, ..., 0] > 99) * np.uint8(255)
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    files["planar.tif"] = colour, np.moveaxis(rgb, 2, 0)
    tifffile.imwrite(tmp_path / "float.tif", deep.astype(np.float64) / 7)
    files["float.tif"] = grey, (deep.astype(np.float64) / 7).astype(np.float32)[None]
    tifffile.imwrite(tmp_path / "differences.tif", deep.astype(np.float32), compression="zlib", predictor=3)
    files["differences.tif"] = grey, deep.astype(np.float32)[None]
    Image.fromarray(rgb[..., 0] > 99).save(tmp_path / "bits.tif")
    files["bits.tif"] = files["bits.png"]
    for name, (network, pixels) in files.items():
        run(program, network.path, tmp_path / name, "--out", tmp_path / "out.tif", "--probabilities")
        found = tifffile.imread(tmp_path / "out.tif")
        np.testing.assert_allclose(found, probabilities(network, pixels[None])[0], rtol=0, atol=1e-5, err_msg=name)


def test_a_folder_and_its_scores(program: Path, exported: Callable, tmp_path: Path) -> None:
    network = exported()
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    images.mkdir()
    masks.mkdir()
    expected = []
    for name in ("b", "a"):
        pixels, labels = random_pixels(33, 47 + ord(name)), random_pixels(33, 47 + ord(name)) > 127
        Image.fromarray(pixels).save(images / f"{name}.png")
        tifffile.imwrite(masks / f"{name}.tif", labels.astype(np.uint8) * 255)
        expected.append(soft_dice(network.predictor.probabilities(pixels[None]), labels.astype(np.uint8)))
    text = run(program, network.path, images, "--out", out, "--labels", masks)
    found = [float(value) for value in re.findall(r"^single dice coeff is: (\S+), IOU is: ", text, re.MULTILINE)]
    assert found == pytest.approx(expected[::-1], abs=1e-6)
    mean = sum(expected) / 2
    assert f"============== Cross valid dice coeff is: {mean:.5f}" in text
    assert re.search(r"^============== Cross valid IOU is: 0\.\d{7}$", text, re.MULTILINE)
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    assert set(np.unique(np.asarray(Image.open(out / "a.png")))) <= {0, 255}


def test_the_real_stack(program: Path, exported: Callable, shared: Path, tmp_path: Path) -> None:
    network, data = exported(downscale=2, up_bias=True), shared / "data" / "isbi2012"
    run(program, network.path, data / "test-volume.tif", "--out", tmp_path / "p.tif", "--probabilities")
    pages = tifffile.imread(data / "test-volume.tif")
    expected = probabilities(network, pages[:, None])
    np.testing.assert_allclose(tifffile.imread(tmp_path / "p.tif"), expected, rtol=0, atol=1e-5)
    text = run(program, network.path, data / "train-volume.tif", "--labels", data / "train-labels.tif")
    card = network.predictor.card.model_copy(update={"classes": ("membrane", "interior")})
    scores = score_predictor(replace(network.predictor, card=card), open_dataset(data)).scores
    dice, iou = (float(re.findall(rf"Cross valid {name} is: (\S+)", text)[0]) for name in ("dice coeff", "IOU"))
    assert dice == pytest.approx(scores["soft_dice_two_class"], abs=1e-5)
    assert iou == pytest.approx(scores["soft_iou_two_class"], abs=1e-5)


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_wrong_usage(program: Path, exported: Callable, tmp_path: Path) -> None:
    network, image = exported().path, tmp_path / "image.tif"
    tifffile.imwrite(image, random_pixels(2, 20, 20))
    tifffile.imwrite(tmp_path / "rgb.tif", random_pixels(20, 20, 3), photometric="rgb")
    out = tmp_path / "out" / "x.tif"
    for words, complaint in [
        ([], "0 places were given"),
        ([network, image], "nothing is to be done"),
        ([network, image, "--out"], "--out: its value is missing"),
        ([network, image, "--out", out, "--tile", "0"], "--tile: found 0"),
        ([network, image, "--out", out, "--tile", "x"], "--tile: found x"),
        ([network, image, "--out", out, "--tile", 32, "--overlap", 16], "leaves nothing of a tile of 32"),
        ([network, image, "--out", out, "--depth", 3], "--depth: there is no such option"),
        ([tmp_path / "none.xml", image, "--out", out], "no network is there"),
        ([image, image, "--out", out], "its ending says no kind of network"),
        ([write_text(tmp_path / "a.pt2", "x"), image, "--out", out], "which this program was built without"),
        ([write_text(tmp_path / "a.xml", "<x/>"), image, "--out", out], "is no file of OpenVINO's"),
        (
            [write_text(tmp_path / "b.xml", '<?xml version="1.0"?><net name="a"/>'), image, "--out", out],
            "is no file of",
        ),
        ([network, tmp_path / "none.tif", "--out", out], "none.tif: cannot be read: No such file"),
        ([network, tmp_path / "rgb.tif", "--out", out], "has 3 channels, but the network was trained on images with 1"),
        ([network, image, "--out", tmp_path / "x.png"], "too much for a PNG file"),
        ([network, image, "--out", tmp_path / "x.jpg"], "its ending says no form that is written"),
        ([network, image, "--out", image], "is the image itself"),
        ([network, image, "--labels", tmp_path / "rgb.tif"], "rgb.tif: has 1 pages of 20 x 20 px"),
        ([network, image, "--labels", image], "which means no class"),
        ([network, write_text(tmp_path / "t.tif", "text"), "--out", out], "is no image that is known here"),
    ]:
        assert complaint in run(program, *words, code=2)
    assert not out.exists()
    assert not list(tmp_path.rglob("*.part"))


def test_cards_that_are_none(program: Path, exported: Callable, tmp_path: Path) -> None:
    network = exported().path
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, random_pixels(20, 20))
    text = network.read_text()
    card = json.loads(re.search(r'<unetkit value="([^"]*)"', text)[1].replace("&quot;", '"'))
    path = tmp_path / "net.xml"
    path.with_suffix(".bin").write_bytes(network.with_suffix(".bin").read_bytes())
    nested = "[" * 200_000 + "]" * 200_000
    for change, complaint in [
        ({"version": 2}, "it has version 2"),
        ({"classes": ["one"]}, "its classes or its normalisation are none"),
        ({"mean": "text"}, "type must be array, but is string"),
        ({"geometry": {**card["geometry"], "multiple": 0}}, "its geometry is none"),
        ({"classes": ["a", "b", "c"]}, "gives 2 classes, and its card names 3"),
        ({"batch": 1e300}, "a value in it is no whole number"),
        ({"border": 1}, "type must be boolean, but is number"),
        ("{}", "key 'version' not found"),
        ("[1]", "its card is damaged"),
        ("[" * 200_000, "it is no JSON at byte 200001"),
        (nested, "its card is damaged"),
        (json.dumps(card).replace('"size": null', f'"size": {nested}', 1), "type must be number, but is array"),
    ]:
        changed = (change if isinstance(change, str) else json.dumps({**card, **change})).replace('"', "&quot;")
        path.write_text(re.sub(r'<unetkit value="[^"]*"', f'<unetkit value="{changed}"', text))
        assert complaint in run(program, path, image, "--out", tmp_path / "out.tif", code=2)
    path.write_text(re.sub(r"<unetkit value=[^>]*>", "", text))
    assert "is without unetkit's card" in run(program, path, image, "--out", tmp_path / "out.tif", code=2)


def test_short_numbers(program: Path, exported: Callable, tmp_path: Path) -> None:
    import openvino

    network, page, out = exported(), random_pixels(40, 50), tmp_path / "out.tif"
    tifffile.imwrite(tmp_path / "image.tif", page)
    words = [program, network.path, tmp_path / "image.tif", "--out", out, "--probabilities", "--precision"]
    assert "expected float32, bfloat16 or float16" in run(*words, "int4", code=2)
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert "try another --precision" in run(*words, "bfloat16", code=2)
        return
    run(*words, "bfloat16")
    through = load(network.path, device="cpu", options={"precision": "bfloat16"})
    found = tifffile.imread(out)
    np.testing.assert_allclose(found, through.probabilities(page[None])[1], rtol=0, atol=1e-5)
    assert not np.allclose(found, network.predictor.probabilities(page[None])[1], rtol=0, atol=1e-6)


def test_help_says_what_there_is(program: Path) -> None:
    assert "--probabilities" in run(program, "--help")


@pytest.mark.parametrize(
    ("options", "model"),
    [
        (FileOptions(), {"num_classes": 3}),
        (FileOptions(), {"num_classes": 1}),
        (FileOptions(output="softmax", preprocessing=True), {}),
    ],
    ids=str,
)
def test_calibrated_probabilities(
    program: Path, exported: Callable, tmp_path: Path, options: FileOptions, model: dict[str, Any]
) -> None:
    network, page = exported(options, temperature=2.5, **model), random_pixels(40, 52)
    tifffile.imwrite(tmp_path / "image.tif", page)
    words = [network.path, tmp_path / "image.tif", "--out", tmp_path / "out.tif", "--probabilities"]
    for asked in ([], ["--calibrate"]):
        run(program, *words, *asked)
        expected = probabilities(network, page[None, None], calibrate=bool(asked))[0]
        np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)
    configured = exported(options, temperature=2.5, predict={"calibrate": True}, **model)
    run(program, configured.path, *words[1:])
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)
    complaint = run(program, exported().path, *words[1:], "--calibrate", code=2)
    assert "has no temperature to calibrate it with" in complaint


def test_the_held_out_slices_of_a_stack_are_scored(program: Path, exported: Callable, tmp_path: Path) -> None:
    network = exported(held_out=("stack[01]", "stack[03]"))
    pages, labels = random_pixels(4, 40, 52), random_pixels(4, 40, 52) > 127
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks.tif", labels.astype(np.uint8) * 255, photometric="minisblack")
    words = [network.path, tmp_path / "stack.tif", "--labels", tmp_path / "masks.tif"]
    dice = [
        soft_dice(network.predictor.probabilities(page[None]), truth.astype(np.uint8))
        for page, truth in zip(pages, labels, strict=True)
    ]
    text = run(program, *words, "--out", tmp_path / "out.tif")
    assert "scored are the 2 of 4 images that were held out" in text
    found = [float(value) for value in re.findall(r"^single dice coeff is: (\S+),", text, re.MULTILINE)]
    assert found == pytest.approx([dice[1], dice[3]], abs=1e-6)
    assert len(tifffile.imread(tmp_path / "out.tif")) == 4
    assert run(program, *words, "--all").count("single dice coeff is: ") == 4
    (tmp_path / "other.tif").write_bytes((tmp_path / "stack.tif").read_bytes())
    text = run(program, network.path, tmp_path / "other.tif", "--labels", tmp_path / "masks.tif")
    assert "no held-out image with these names: all 4 are scored" in text


def test_folders_of_ids_and_nuclei(program: Path, exported: Callable, tmp_path: Path) -> None:
    network, expected = exported(held_out=("val-b",)), {}
    for part, name in (("train", "a"), ("val", "b")):
        pixels, one = random_pixels(33, 47 + ord(name)), random_pixels(33, 47 + ord(name)) > 200
        multi, nuclei = tmp_path / "multi" / part / name, tmp_path / "nuclei" / name
        for folder in (multi, nuclei / "images", nuclei / "masks"):
            folder.mkdir(parents=True)
        two = ~one & (random_pixels(33, 47 + ord(name)) < 40)
        Image.fromarray(pixels).save(multi / "image.png")
        Image.fromarray(pixels).save(nuclei / "images" / f"{name}.png")
        Image.fromarray((one | two).astype(np.uint8) * 255).save(multi / "mask.png")
        Image.fromarray(one.astype(np.uint8) * 255).save(nuclei / "masks" / "1.png")
        Image.fromarray(two.astype(np.uint8) * 255).save(nuclei / "masks" / "2.png")
        expected[name] = soft_dice(network.predictor.probabilities(pixels[None]), (one | two).astype(np.uint8))
    text = run(program, network.path, tmp_path / "nuclei", "--labels", tmp_path / "nuclei", "--out", tmp_path / "out")
    found = [float(value) for value in re.findall(r"^single dice coeff is: (\S+),", text, re.MULTILINE)]
    assert found == pytest.approx([expected["a"], expected["b"]], abs=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    text = run(program, network.path, tmp_path / "multi", "--labels", tmp_path / "multi")
    found = [float(value) for value in re.findall(r"^single dice coeff is: (\S+),", text, re.MULTILINE)]
    assert found == pytest.approx([expected["b"]], abs=1e-6)
    (tmp_path / "empty" / "x").mkdir(parents=True)
    assert "holds no image files" in run(program, network.path, tmp_path / "empty", "--out", tmp_path / "o", code=2)


@pytest.mark.parametrize(("context", "colours"), [(1, 1), (2, 1), (1, 3)])
def test_a_stack_whose_slices_are_seen_together(
    program: Path, exported: Callable, tmp_path: Path, context: int, colours: int
) -> None:
    network = exported(context=context, in_channels=colours * (2 * context + 1))
    pages = random_pixels(*((4, 33, 45, 3) if colours == 3 else (4, 33, 45)))
    stack, out = tmp_path / "stack.tif", tmp_path / "out.tif"
    tifffile.imwrite(stack, pages, photometric="rgb" if colours == 3 else "minisblack")
    run(program, network.path, stack, "--out", out, "--probabilities", "--tta")
    predict_file(network.predictor, stack, tmp_path / "python.tif", probabilities=True, options={"tta": True})
    np.testing.assert_allclose(tifffile.imread(out), tifffile.imread(tmp_path / "python.tif"), rtol=0, atol=1e-5)
    tifffile.imwrite(tmp_path / "one.tif", pages[0])
    complaint = run(program, network.path, tmp_path / "one.tif", "--out", out, code=2)
    assert "one.tif: is a single slice, but the network sees each slice with its neighbours (model.cont" in complaint
    other = pages[..., 0] if colours == 3 else np.repeat(pages[..., None], 3, -1)
    tifffile.imwrite(tmp_path / "other.tif", other, photometric="minisblack" if colours == 3 else "rgb")
    complaint = run(program, network.path, tmp_path / "other.tif", "--out", out, code=2)
    assert f"has {4 - colours} channels, but the network was trained on images with {colours};" in complaint


def test_onnx_and_mindir(program: Path, exported: Callable, tmp_path: Path) -> None:
    network, page = exported(), random_pixels(40, 52)
    tifffile.imwrite(tmp_path / "image.tif", page)
    onnx = export_network(make_job(network.predictor, FileOptions()), "onnx", tmp_path / "net.onnx").path
    run(program, onnx, tmp_path / "image.tif", "--out", tmp_path / "out.tif", "--probabilities")
    expected = network.predictor.probabilities(page[None])[1]
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=0, atol=1e-5)
    mindir = tmp_path / "net.mindir"
    mindir.write_bytes(b"x")
    complaint = run(program, mindir, tmp_path / "image.tif", "--out", tmp_path / "out.tif", code=2)
    assert f"make an ONNX of it: unetkit export {mindir} --to onnx --out net.onnx" in complaint
