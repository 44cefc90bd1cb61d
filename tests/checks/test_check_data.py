"""`unetkit data check` on folders as people have them: every bad file is named, the rest is examined all the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import unetkit
from unetkit.checks.findings import CheckReport
from unetkit.data import write_sample
from unetkit.data.layouts.synthetic import generate
from unetkit.errors import ConfigError, DataError

STACK = generate(slices=6, size=96)


def put(path: Path, pixels: NDArray[np.generic], **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        put(tmp_path / "images" / f"{number}.png", STACK.images[number])
        put(tmp_path / "masks" / f"{number}.png", STACK.labels[number])
    return tmp_path


def found(report: CheckReport, check: str) -> list[str]:
    return [str(finding) for finding in report.findings if finding.check == check]


def test_every_unusable_file_is_named_and_the_rest_examined(folder: Path) -> None:
    images, masks = folder / "images", folder / "masks"
    put(images / "alone.png", STACK.images[0])
    put(masks / "lost.png", STACK.labels[0])
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:500])
    (images / "1.png").write_bytes(b"")
    put(masks / "2.png", np.asarray(Image.fromarray(STACK.labels[2]).resize((48, 48)).resize((96, 96))))
    put(masks / "3.png", STACK.labels[3][:50])
    put(masks / "4.png", np.ascontiguousarray(STACK.labels[4][::-1]))
    report = unetkit.check_data(folder, overrides=["train.patch=64"])
    named = found(report, "files")
    for words in ("alone.png: has no mask", "lost.png: has no image", "0.png: truncated", "1.png: the file is empty"):
        assert any(words in sentence for sentence in named), words
    assert any("2.png: holds grey values between its classes" in sentence for sentence in named)
    assert any("3.png: 50 x 96 pixels" in sentence for sentence in named)
    assert len(named) == 6
    assert list(report.indices) == ["4", "5"]
    assert "mirrored top to bottom" in found(report, "misaligned")[0]
    with pytest.raises(DataError, match=r"has no mask; .* \(2 more files are wrong\)"):
        unetkit.open_dataset(folder)


def test_damaged_stacks_and_masks_of_nuclei(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        put(tmp_path / name / "images" / "x.png", STACK.images[0])
        put(tmp_path / name / "masks" / "1.png", STACK.labels[0])
        put(tmp_path / name / "masks" / "2.png", STACK.labels[1])
    (tmp_path / "a" / "masks" / "2.png").unlink()
    (tmp_path / "a" / "masks" / "1.png").unlink()
    put(tmp_path / "b" / "images" / "y.png", STACK.images[0])
    named = found(unetkit.check_data(tmp_path), "files")
    assert len(named) == 2
    assert "has no masks in a/masks; leave it out, or draw them" in named[0]
    assert "b/images holds 2 images" in named[1]


def test_palettes_that_number_colours_differently(folder: Path) -> None:
    for number, colour in ((0, 200), (1, 200), (2, 90)):
        image = Image.fromarray(STACK.labels[number] // 255).convert("P")
        image.putpalette([0, 0, 0, colour, 0, 0])
        image.save(folder / "masks" / f"{number}.png")
    (sentence,) = found(unetkit.check_data(folder), "palettes")
    assert "class 1 (foreground) is #c80000 for 0, but #5a0000 for 2" in sentence


def test_data_that_is_divided_is_judged_by_its_own_division(tmp_path: Path) -> None:
    for part, numbers in (("train", (0, 2, 4)), ("val", (5, 0))):
        for number in numbers:
            put(tmp_path / part / str(number) / "image.png", STACK.images[number])
            put(tmp_path / part / str(number) / "mask.png", STACK.labels[number])
    assert "train-0, val-0 hold the same pixels, and lie on both sides" in str(
        found(unetkit.check_data(tmp_path), "leakage")
    )
    chosen = unetkit.check_data(tmp_path, overrides=["data.split.method=none"])
    assert not found(chosen, "leakage")
    assert found(chosen, "duplicates")


def test_what_cannot_be_opened_at_all(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.png", STACK.images[0])
    with pytest.raises(DataError, match="none could be paired with a mask"):
        unetkit.check_data(tmp_path, html=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(DataError, match="there is no such file"):
        unetkit.check_data(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"data\.splitt"):
        unetkit.check_data(tmp_path, overrides=["data.splitt=1"])


def test_the_page_shows_what_was_found(folder: Path) -> None:
    put(folder / "masks" / "4.png", np.ascontiguousarray(STACK.labels[4][:, ::-1]))
    put(folder / "images" / "<b>.png", STACK.images[5])
    put(folder / "masks" / "<b>.png", STACK.labels[5])
    unetkit.check_data(folder, overrides=["data.split.method=none"], html=folder / "page.html")
    page = (folder / "page.html").read_text()
    assert "mirrored left to right" in page
    assert "<b>.png" not in page
    assert page.count("<img") == 2 + 2, "labels as they are and mirrored, and two copies"
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_command_ends_with_2_where_training_would_be_spoilt(folder: Path, command: Callable[..., Any]) -> None:
    sound = command("data", "check", folder, "--json", folder / "found.json")
    assert sound.code == 0, sound.err
    assert "0 errors" in sound.out
    put(folder / "images" / "5.png", STACK.images[5] * 0)
    spoilt = command("data", "check", folder, "--json", "-")
    assert spoilt.code == 2
    told = json.loads(spoilt.out)
    assert told["errors"] == 1
    assert told["findings"][0]["check"] == "constant"
    assert told["findings"][0]["images"] == ["5"]
    before = json.loads((folder / "found.json").read_text())
    assert before["samples"] == 6
    assert set(before) == set(told)


def test_a_training_tells_what_the_checks_found(tmp_path: Path, command: Callable[..., Any]) -> None:
    data = write_sample(tmp_path / "data", slices=5, size=64)
    small = ["model.widths=[4,8]", "train.steps=2", "train.batch=2", "train.patch=80"]
    ended = command("train", "isbi", "--data", data, "--out", tmp_path / "run", *small)
    assert ended.code == 0, ended.err
    assert "note: 5 of 5 images are smaller than a patch of 80 x 80 px" in ended.out
    assert "note: 1 of 1 held-out slices lie next to slices that are trained on" in ended.out
    kept = json.loads((tmp_path / "run" / "data.json").read_text())["findings"]
    assert {"small", "neighbours"} <= {finding["check"] for finding in kept}
