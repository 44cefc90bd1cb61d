"""The page of `unetkit export --to web` in a real browser: the same numbers as PyTorch, files, keys, states."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from unetkit.config import ModelConfig
from unetkit.errors import UsageError
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.images import open_image
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

from .conftest import ARGUMENTS, CHROMIUM, PATIENCE

Visit = Callable[..., Any]
Drop = Callable[[Any, Path], None]
Sites = Callable[[str], tuple[Predictor, Path]]

ASK = Path(__file__).parents[2] / "web" / "test" / "ask.js"
WORKER = """
async ([card, bytes, name]) => {
  const worker = (window.worker ??= new Worker("worker.js", { type: "module" }));
  ASK
  const file = new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name);
  if (card) await ask({ op: "load", card });
  const facts = await ask({ op: "open", file });
  if (!card) {
    const pages = [];
    for (let page = 0; page < facts.pages; page += 1) pages.push(packed((await ask({ op: "read", page })).values));
    return { facts, pages };
  }
  const image = await ask({ op: "page", page: facts.pages >> 1 });
  await ask({ op: "predict", image });
  return { facts, parts: parts.map((part) => ({ ...part, probabilities: packed(part.probabilities) })) };
}
"""
"""Asks the worker as the page does, by what web/test/ask.js says. Without a card, of a file's pixels alone."""


def network(**model: Any) -> Predictor:
    """Return a predictor of a small network of noise, whose logits are far apart."""
    torch.manual_seed(1)
    config = ModelConfig.model_validate({"in_channels": 1, "num_classes": 2, "width": 8, "depth": 2, **model})
    module = build_model(config).eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else value + 0.3 * torch.randn_like(value))
        if name.startswith("head"):
            value.mul_(4)
    channels, classes = config.in_channels, config.num_classes
    names = ("background", "cell", "border")[:classes]
    mean, std = (120.0, 90.5, 30.25)[:channels], (40.0, 31.0, 10.1)[:channels]
    card = ModelCard(classes=names, mean=mean, std=std, border=classes == 3, temperature=1.7)
    return Predictor(module, module.geometry, card, torch.device("cpu"))


NETWORKS: dict[str, dict[str, Any]] = {
    "padded": {},
    "valid": {"padding": "valid", "in_channels": 3, "num_classes": 3, "downscale": 2, "depth": 1},
    "averaging": {"norm": "instance", "num_classes": 3},
}
CASES: list[tuple[str, tuple[int, int], dict[str, Any]]] = [
    ("padded", (131, 97), {}),
    ("padded", (150, 131), {"tile": 80}),
    ("padded", (150, 131), {"tile": 64, "tta": True, "calibrate": True}),
    ("padded", (1, 7), {}),
    ("padded", (150, 131), {"memory": 0.004, "padding_mode": "zeros", "threshold": 0.3}),
    ("padded", (90, 110), {"size": (64, 96)}),
    ("valid", (121, 90), {"tile": 72, "threshold": {"cell": 0.7}}),
    ("valid", (60, 75), {"padding_mode": "zeros", "tta": True}),
    ("averaging", (200, 170), {"tile": 96}),
    ("averaging", (200, 170), {"memory": 0.01}),
]
"""A network, an image's height and width, keys of `predict`: exact, mirrored, blended, turned, resized."""


def pixels(channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return smooth noise [C, H, W]."""
    random = np.random.default_rng(height)
    noise = random.normal(size=(channels, height, width)).cumsum(1).cumsum(2)
    return (128 + 50 * np.sin(noise / 9) + random.normal(size=noise.shape) * 9).clip(0, 255).astype(np.uint8)


def tiff_of(pixels_CHW: NDArray[Any], path: Path) -> Path:
    """Write an image as the microscopes' own programs do: strips, deflate."""
    colour = len(pixels_CHW) == 3
    tifffile.imwrite(
        path,
        np.moveaxis(pixels_CHW, 0, -1) if colour else pixels_CHW[0],
        photometric="rgb" if colour else "minisblack",
        compression="zlib",
    )
    return path


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> Sites:
    """Export networks as pages, each once."""
    made: dict[str, tuple[Predictor, Path]] = {}

    def site(name: str) -> tuple[Predictor, Path]:
        if name not in made:
            predictor, folder = network(**NETWORKS[name]), tmp_path_factory.mktemp(name) / "site"
            written = export_network(make_job(predictor, FileOptions()), "web", folder)
            assert written.path == folder / "model.onnx"
            made[name] = predictor, folder
        return made[name]

    return site


@pytest.fixture
def padded(sites: Sites, serve: Callable[[Path], str]) -> str:
    """The address of the page of a network for grey images and two classes."""
    return serve(sites("padded")[1])


def gathered(answer: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Put the worker's parts together; each pixel may come once."""
    whole = np.full(shape, np.nan, np.float32)
    for part in answer["parts"]:
        values = np.frombuffer(base64.b64decode(part["probabilities"]), np.float32)
        rows = slice(part["top"], part["top"] + part["height"])
        columns = slice(part["left"], part["left"] + part["width"])
        assert np.isnan(whole[:, rows, columns]).all()
        whole[:, rows, columns] = values.reshape(shape[0], part["height"], part["width"])
    return whole


def asked(page: Any, path: Path, card: dict[str, Any] | None) -> dict[str, Any]:
    """Ask the page's worker of a file."""
    script = WORKER.replace("ASK", ASK.read_text(encoding="utf-8"))
    return page.evaluate(script, [card, base64.b64encode(path.read_bytes()).decode(), path.name])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_worker_gives_the_probabilities_of_pytorch(
    sites: Sites, serve: Callable[[Path], str], visit: Visit, tmp_path: Path, name: str
) -> None:
    predictor, folder = sites(name)
    page = visit(serve(folder))
    for number, (_, size, keys) in enumerate(case for case in CASES if case[0] == name):
        image = pixels(predictor.card.channels, *size)
        configured = predictor.with_options(keys)
        card = make_job(configured, FileOptions()).card.model_dump(mode="json")
        answer = asked(page, tiff_of(image, tmp_path / f"{number}.tif"), card)
        expected = configured.probabilities(image)
        found = gathered(answer, expected.shape)
        assert np.abs(found - expected).max() < 1e-4, (size, keys)
        assert len(answer["parts"]) == configured.plan(*size).parts, (size, keys)


def test_files_are_read_as_the_command_reads_them(padded: str, visit: Visit, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    grey = random.integers(0, 65536, (37, 53), np.uint16)
    colour = random.integers(0, 256, (37, 53, 3), np.uint8)
    written: dict[str, Path] = {}

    def tiff(name: str, values: NDArray[Any], **how: Any) -> None:
        written[name] = tmp_path / f"{name}.tif"
        tifffile.imwrite(written[name], values, **how)

    tiff("strips", grey, rowsperstrip=5, compression="lzw", predictor=2)
    tiff("tiles", grey, tile=(16, 32), compression="zlib")
    tiff("big-endian", grey, byteorder=">", compression="zlib")
    tiff("rgb", colour, photometric="rgb", compression="lzw")
    tiff("separate", np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate", compression="zlib")
    tiff("white-is-zero", colour[:, :, 0], photometric="miniswhite")
    tiff("float", grey.astype(np.float32) / 7, photometric="minisblack")
    tiff("stack", np.stack([grey, grey[::-1]]), photometric="minisblack", imagej=True)
    tiff("channels", np.stack([grey, grey[::-1]]), photometric="minisblack", metadata={"axes": "CYX"})
    tiff(
        "composite",
        np.stack([grey, grey[::-1], grey]),
        photometric="minisblack",
        imagej=True,
        metadata={"axes": "CYX", "mode": "composite"},
    )
    for name, image in {
        "grey": Image.fromarray(colour[:, :, 0]),
        "rgba": Image.fromarray(np.dstack([colour, colour[:, :, :1]])),
        "sixteen": Image.fromarray(grey),
        "palette": Image.fromarray(colour).quantize(17),
        "one-bit": Image.fromarray(colour[:, :, 0] > 99),
    }.items():
        written[name] = tmp_path / f"{name}.png"
        image.save(written[name])
    smooth = pixels(3, 40, 64)
    for name, values in {"photo": np.moveaxis(smooth, 0, 2), "dull": smooth[0]}.items():
        written[name] = tmp_path / f"{name}.jpg"
        Image.fromarray(values).save(written[name], quality=95, subsampling=0)
    page = visit(padded)
    for name, path in written.items():
        expected, answer = open_image(path), asked(page, path, None)
        facts = answer["facts"]
        shape = expected.channels, expected.height, expected.width
        assert (facts["channels"], facts["height"], facts["width"]) == shape, name
        assert facts["pages"] == expected.count, name
        for number, packed in enumerate(answer["pages"]):
            stored = expected.page(number)[:, :, :]
            dtype = np.uint8 if stored.dtype == bool else stored.dtype
            found = np.frombuffer(base64.b64decode(packed), dtype).reshape(shape)
            assert np.abs(found.astype(float) - stored).max() <= (2 if path.suffix == ".jpg" else 0), name


def test_a_slice_is_seen_with_its_neighbours(
    bundles: Path, serve: Callable[[Path], str], visit: Visit, tmp_path: Path
) -> None:
    alone = network(in_channels=3)
    predictor = replace(alone, card=alone.card.model_copy(update={"context": 1}))
    job = make_job(predictor, FileOptions())
    export_network(job, "web", tmp_path / "page")
    slices = pixels(3, 60, 72)
    tifffile.imwrite(tmp_path / "stack.tif", slices, photometric="minisblack")
    answer = asked(visit(serve(tmp_path / "page")), tmp_path / "stack.tif", job.card.model_dump(mode="json"))
    expected = predictor.probabilities(slices)
    assert answer["facts"]["pages"] == 3
    assert np.abs(gathered(answer, expected.shape) - expected).max() < 1e-4


def loaded(page: Any) -> Any:
    """Wait until the network is there."""
    page.get_by_role("status").get_by_text("Ready", exact=True).wait_for()
    return page


def finished(page: Any) -> Any:
    """Wait until the image is segmented."""
    page.get_by_role("status").get_by_text("Done", exact=True).wait_for()
    return page


def test_a_dropped_stack_comes_back_as_the_command_s_masks(
    sites: Sites, padded: str, visit: Visit, tmp_path: Path, drop: Drop
) -> None:
    stack = np.concatenate([pixels(1, 70, 90), pixels(1, 70, 90)[:, ::-1]])
    tifffile.imwrite(tmp_path / "cells.tif", stack, photometric="minisblack", compression="zlib")
    page = loaded(visit(padded))
    drop(page, tmp_path / "cells.tif")
    finished(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Masks of all slices, TIFF").click()
    download.value.save_as(tmp_path / "cells-mask.tif")
    assert download.value.suggested_filename == "cells-mask.tif"
    expected = np.stack([sites("padded")[0].labels(one[None]) for one in stack]) * 255
    assert (tifffile.imread(tmp_path / "cells-mask.tif") == expected).all()
    page.get_by_label("Slice", exact=True).press("ArrowRight")
    with page.expect_download() as download:
        page.get_by_role("button", name="Mask of this slice, PNG").click()
    download.value.save_as(tmp_path / "second.png")
    assert download.value.suggested_filename == "cells-0001-mask.png"
    assert (np.asarray(Image.open(tmp_path / "second.png")) == expected[1]).all()


def test_a_threshold_changes_the_mask_that_is_saved(
    sites: Sites, padded: str, visit: Visit, tmp_path: Path, drop: Drop
) -> None:
    image = pixels(1, 64, 64)
    Image.fromarray(image[0]).save(tmp_path / "cells.png")
    page = loaded(visit(padded))
    drop(page, tmp_path / "cells.png")
    finished(page)
    page.get_by_label("Threshold").press("End")
    with page.expect_download() as download:
        page.get_by_role("button", name="Mask PNG").click()
    download.value.save_as(tmp_path / "mask.png")
    expected = sites("padded")[0].with_options({"threshold": 0.98}).labels(image) * 255
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == expected).all()
    assert (expected != sites("padded")[0].labels(image) * 255).any()


def test_what_is_no_image_for_the_network_is_one_clear_line(
    padded: str, visit: Visit, tmp_path: Path, drop: Drop
) -> None:
    page = loaded(visit(padded))
    tiff_of(pixels(3, 40, 40), tmp_path / "colour.tif")
    for name, content, line in (
        ("notes.txt", b"no image at all", "Not an image that this page reads; expected PNG, JPEG or TIFF"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "The image cannot be read"),
        ("cut.tif", b"II*\x00\xff\xff\x00\x00", "The image cannot be read"),
        ("colour.tif", None, "The image has 3 channels, the network takes 1"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        drop(page, tmp_path / name)
        page.get_by_role("alert").get_by_text(line).wait_for()
        page.get_by_role("button", name="Close").click()
        page.get_by_role("alert").get_by_text(line).wait_for(state="hidden")


def test_everything_is_reached_by_keyboard_alone(padded: str, visit: Visit, tmp_path: Path) -> None:
    stack = np.concatenate([pixels(1, 70, 90), pixels(1, 70, 90)[:, ::-1]])
    tifffile.imwrite(tmp_path / "cells.tif", stack, photometric="minisblack")
    page, choosers = visit(padded), list[Any]()
    page.on("filechooser", lambda one: choosers.append(one))
    loaded(page)
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Choose an image":
            break
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files(tmp_path / "cells.tif")
    finished(page)
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "(() => { const one = document.activeElement; return one.ariaLabel || one.labels?.[0]?.textContent ||"
                " one.textContent || one.tagName; })()"
            )
        )
    controls = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a, [tabindex=\"0\"]')].filter((one) =>"
        " one.checkVisibility() && !one.disabled && one.type !== 'file').map((one) => one.ariaLabel ||"
        " one.labels?.[0]?.textContent || one.textContent || one.tagName)"
    )
    assert set(controls) <= seen
    assert len(controls) > 15
    viewer = page.get_by_role("application")
    viewer.focus()
    page.keyboard.press("PageDown")
    page.get_by_text("2/2").wait_for()
    before = viewer.screenshot()
    for key in ("+", "+", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_timeout(600)
    zoomed = viewer.screenshot()
    page.keyboard.press("0")
    page.wait_for_timeout(600)
    assert zoomed != before
    page.keyboard.press("m")
    assert not page.get_by_label("Mask", exact=True).is_checked()


def test_nobody_is_shut_out(
    padded: str, visit: Visit, findings: Callable[[Any], list[str]], tmp_path: Path, drop: Drop
) -> None:
    Image.fromarray(pixels(1, 64, 80)[0]).save(tmp_path / "cells.png")
    for options in ({"color_scheme": "light"}, {"color_scheme": "dark", "locale": "zh-CN"}):
        page = visit(padded, **options)
        page.get_by_role("status").get_by_text(re.compile("Ready|就绪")).wait_for()
        assert findings(page) == []
        drop(page, tmp_path / "cells.png")
        page.get_by_role("status").get_by_text(re.compile("Done|完成")).wait_for()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.lang") == options.get("locale", "en")[:2]
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="Mask PNG").wait_for()


def test_nothing_leaves_the_browser(padded: str, visit: Visit, tmp_path: Path, drop: Drop) -> None:
    Image.fromarray(pixels(1, 64, 80)[0]).save(tmp_path / "cells.png")
    page = loaded(visit(padded))
    requests: list[tuple[str, str]] = []
    page.on("request", lambda one: requests.append((one.method, one.url)))
    drop(page, tmp_path / "cells.png")
    finished(page)
    assert [one for one in requests if not one[1].startswith(("blob:", "data:"))] == []


def test_a_page_without_its_files_says_so(
    sites: Sites, serve: Callable[[Path], str], visit: Visit, tmp_path: Path
) -> None:
    for name in ("index.html", "page.js", "page.css"):
        (tmp_path / name).write_bytes((sites("padded")[1] / name).read_bytes())
    page = visit(serve(tmp_path), ignore="404")
    page.get_by_text("files are not there (model.json: HTTP 404); export the page again").wait_for()


def test_a_browser_without_simd_is_told(browser: Any, padded: str) -> None:
    flags = [*ARGUMENTS, "--js-flags=--no-enable-sse4-1"]
    chromium = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    try:
        page = chromium.new_page()
        page.goto(padded)
        page.get_by_role("alert").get_by_text("This browser has no WebAssembly SIMD").wait_for(timeout=PATIENCE)
        page.get_by_role("status").get_by_text("Not possible here").wait_for()
        assert not page.get_by_text("Drop an image here").is_visible()
    finally:
        chromium.close()


def test_the_contrast_of_the_next_image_is_its_own(padded: str, visit: Visit, tmp_path: Path, drop: Drop) -> None:
    page, grey = loaded(visit(padded)), pixels(1, 60, 60)[0]
    tifffile.imwrite(tmp_path / "wide.tif", grey.astype(np.uint16) * 200 + 5000)
    Image.fromarray(grey).save(tmp_path / "narrow.png")
    for name in ("wide.tif", "narrow.png"):
        drop(page, tmp_path / name)
        page.get_by_text(name).first.wait_for()
        page.get_by_role("status").get_by_text("Done").wait_for()
    for control in ("Black", "White"):
        slider = page.get_by_label(control)
        shown = slider.evaluate("one => one.nextElementSibling.textContent")
        assert slider.input_value() == shown


def test_a_folder_with_other_files_is_left_alone(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(UsageError, match="is no folder of the format web; choose a new or empty folder"):
        export_network(make_job(network(), FileOptions()), "web", tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_without_the_built_page_an_export_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("unetkit.formats.web.resources.files", lambda name: tmp_path)
    with pytest.raises(UsageError, match="the page is not built; write `make web`"):
        export_network(make_job(network(), FileOptions()), "web", tmp_path / "new" / "page")
    assert not list(tmp_path.iterdir())
