import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unetkit.errors import StorageError
from unetkit.evaluation.score import Evaluation
from unetkit.reporting.history import read_history
from unetkit.reporting.pictures import Example
from unetkit.reporting.plots import curves, trial_scores
from unetkit.reporting.report import write_report
from unetkit.run import Run

CLASSES = ("membrane", "interior")
VOID = frozenset({"img", "meta", "wbr"})


class Reader(HTMLParser):
    """Collects the text, the tags and what they point to, and fails on tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def look_in(exhibits: list[Example]) -> Any:
    return {exhibit.name: exhibit for exhibit in exhibits}.__getitem__


def test_a_finished_run_gives_a_whole_page_and_its_pictures(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    run, exhibits = make_run(), make_exhibits()
    run.best.write_bytes(b"")
    evaluation = evaluate_exhibits(exhibits, CLASSES)
    path = write_report(run, evaluation, look_in(exhibits), extra={"Parameters": "481,250"})
    page = read(path)
    assert path == run.report
    for expected in (
        "finished, all 400 steps",
        f"soft_dice_two_class = {evaluation.scores['soft_dice_two_class']:.4f} over 6 held-out images",
        "Parameters481,250",
        "chosen by soft_dice_two_class on these same images",
        "2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p probability",
        "false membrane: truth is interior",
        "SHA-256 of pixels" + "3f" * 32,
        "train.steps",
        "unetkit train",
    ):
        assert expected in page.text, expected
    for name, value in evaluation.scores.items():
        assert re.search(rf"▸?\s*{re.escape(name)}{value:.4f}", page.text), name
    written = {file.name for file in run.pictures.iterdir()}
    assert written == {"curves.png", *(f"{end}-{place}.png" for end in ("worst", "best") for place in (1, 2, 3))}
    for name in written:
        with Image.open(run.pictures / name) as image:
            assert image.size[0] > 400


def test_the_page_holds_everything_itself(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    exhibits = make_exhibits(2)
    page = read(write_report(make_run(), evaluate_exhibits(exhibits, CLASSES), look_in(exhibits)))
    tags = {name for name, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "object", "video", "form"}
    sources = [attributes["src"] for name, attributes in page.seen if name == "img"]
    assert len(sources) == 1 + 1 + 2 * 5  # curves, the worst image in the summary, and the tiles of two images
    assert all(re.match(r"data:image/(png|svg\+xml);base64,", str(source)) for source in sources)
    targets = {attributes["href"] for name, attributes in page.seen if name == "a"}
    anchors = {f"#{attributes['id']}" for _, attributes in page.seen if "id" in attributes}
    assert targets <= anchors


def test_six_slices_of_512_make_a_page_of_about_3_megabytes(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    exhibits = make_exhibits(6, size=512)
    path = write_report(make_run(), evaluate_exhibits(exhibits, CLASSES), look_in(exhibits))
    assert path.stat().st_size < 3_200_000


def test_names_of_files_cannot_bring_markup(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    hostile = '<script>alert(1)</script>"&'
    exhibits = [Example(hostile, one.pixels, one.labels, one.probabilities) for one in make_exhibits(1)]
    classes = ("<b>bold</b>", "<i>")
    run = make_run(classes=("<b>bold</b>", "<i>"), steps_done=0, overrides=("data.path='<script>'",))
    data = run.read_json("data.json")
    run.write_json("data.json", data | {"train": [hostile], "validation": [hostile], "dtype": hostile})
    environment = run.read_json("environment.json")
    run.write_json("environment.json", environment | {"processor": hostile, "command": ["/bin/unetkit", hostile]})
    path = write_report(run, evaluate_exhibits(exhibits, classes), look_in(exhibits), extra={hostile: hostile})
    page = read(path)
    assert "script" not in {name for name, _ in page.seen}
    assert hostile in page.text


def test_an_unfinished_run_says_so(make_run: Callable[..., Run]) -> None:
    run = make_run(finished=False, steps_done=120)
    page = read(write_report(run))
    assert f"not finished: the log ends at step 120 of 400; go on with unetkit train --resume {run.path}" in page.text
    assert "no weights have been scored yet" in page.text
    assert "its log holds the work so far" in page.text
    assert re.search(r"Training14\.4", page.text)


def test_an_extended_run_that_was_stopped_is_not_finished(make_run: Callable[..., Run]) -> None:
    run = make_run(steps_done=0, overrides=("train.steps=800",))
    run.append_log({"step": 500, "train_seconds": 60.0, "loss": 0.2, "lr": 0.001, "images_per_second": 60.0})
    run.write_json("summary.json", {"step": 400, "best": None, "scores": {}, "seconds": {"training": 48.0}})
    assert "not finished: the log ends at step 500 of 800" in read(write_report(run)).text


def test_a_run_that_ended_early_says_why(make_run: Callable[..., Run]) -> None:
    page = read(write_report(make_run(steps_done=200, overrides=("train.patience=3",))))
    assert "finished at step 200 of 400: the last 3 validations were no better" in page.text


def test_a_run_that_held_nothing_out_has_curves_and_no_scores(make_run: Callable[..., Run]) -> None:
    run = make_run(validated=False, overrides=("data.split.method=none",))
    page = read(write_report(run))
    assert "There are no scores: nothing was held out (data.split.method: none)." in page.text
    assert "No validation was made." in page.text
    assert (run.pictures / "curves.png").is_file()


def test_a_run_before_its_first_line_of_log_has_a_page(make_run: Callable[..., Run]) -> None:
    run = make_run(finished=False, steps_done=0)
    for name in ("data.json", "environment.json"):
        (run.path / name).unlink()
    page = read(write_report(run))
    assert "The log holds no steps yet." in page.text
    assert "the data was not recorded" in page.text
    assert not (run.pictures / "curves.png").exists()


def test_many_classes_of_which_one_is_nowhere(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    classes = ("background", "nucleus", "vesicle", "细胞膜")
    exhibits = make_exhibits(3, classes=3, channels=3)
    absent = [
        Example(one.name, one.pixels, one.labels, np.concatenate((one.probabilities, 0 * one.probabilities[:1])))
        for one in exhibits
    ]
    run = make_run(classes=classes, overrides=("train.best_metric=dice_nucleus",))
    evaluation = evaluate_exhibits(absent, classes)
    page = read(write_report(run, evaluation, look_in(absent)))
    assert "dice_细胞膜" not in evaluation.scores
    assert "细胞膜" in page.text
    assert "in the colour of the class that was predicted" in page.text
    assert not re.search(r"\b(nan|inf|None)\b", page.text)


def test_numbers_that_are_none_do_not_reach_the_page(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    run, exhibits = make_run(), make_exhibits(2)
    with (run.path / "log.jsonl").open("a") as log:
        log.write('{"step": 401, "train_seconds": NaN, "validation_seconds": 1.0, "soft_dice_two_class": NaN}\n{"ste')
    page = read(write_report(run, evaluate_exhibits(exhibits, CLASSES), look_in(exhibits)))
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)


def test_very_many_images_show_both_ends_of_the_table(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    one = make_exhibits(1, size=16)[0]
    exhibits = [Example(f"cell_{index:03}", one.pixels, one.labels, one.probabilities) for index in range(200)]
    run = make_run(steps_done=0)
    page = read(write_report(run, evaluate_exhibits(exhibits, CLASSES), look_in(exhibits), each=1))
    assert "The 60 at the ends of 200 images." in page.text
    assert page.text.count("cell_") < 80


def test_writing_again_replaces_pictures_that_are_no_longer_shown(
    make_run: Callable[..., Run],
    make_exhibits: Callable[..., list[Example]],
    evaluate_exhibits: Callable[..., Evaluation],
) -> None:
    run, exhibits = make_run(steps_done=0), make_exhibits()
    evaluation = evaluate_exhibits(exhibits, CLASSES)
    (run.pictures).mkdir()
    (run.pictures / "mine.png").write_bytes(b"")
    write_report(run, evaluation, look_in(exhibits))
    write_report(run, evaluation, look_in(exhibits), each=1)
    assert {file.name for file in run.pictures.iterdir()} == {"worst-1.png", "best-1.png", "mine.png"}


def test_a_folder_that_takes_no_pictures_is_told(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.pictures.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="pictures"):
        write_report(run)


def test_what_differs_from_the_defaults_is_marked(make_run: Callable[..., Run]) -> None:
    source = write_report(make_run(steps_done=0, overrides=("train.seed=17",))).read_text(encoding="utf-8")
    row = re.search(r"<tr[^>]*><td><code>train\.seed</code>.*?</tr>", source)
    assert row is not None
    assert row.group(0).startswith('<tr class="marked">')
    assert "<td><code>17</code></td><td><code>0</code></td>" in row.group(0)
    assert "<tr><td><code>train.batch</code>" in source


def test_curves_are_the_same_file_for_the_same_log(make_run: Callable[..., Run]) -> None:
    history = read_history(make_run())
    first, second = (curves(history, "soft_dice_two_class") for _ in range(2))
    assert first == second
    assert b"<svg" in first["svg"]


def test_curves_leave_the_settings_of_matplotlib_alone(make_run: Callable[..., Run]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves(read_history(make_run()), "soft_dice_two_class")
    assert dict(matplotlib.rcParams) == before


def test_numbers_below_the_axes_of_a_search_stand_apart() -> None:
    """Values by magnitude within less than a decade, and few trials."""
    trials = [(0.66, True, {"lr": "0.01252"}), (0.64, True, {"lr": "0.007424"}), (0.65, True, {"lr": "0.0123"})]
    texts = re.findall(r"<!-- (.*?) -->", trial_scores(trials, "score", ["lr"], higher=True).decode())
    assert texts[: texts.index("trial")] == ["0", "1", "2"]
    assert texts[texts.index("lr") - 3 : texts.index("lr")] == ["0.00742", "0.00964", "0.0125"]


def test_a_summary_of_other_work_is_shown_as_it_is(make_run: Callable[..., Run]) -> None:
    run = make_run(steps_done=0)
    summary = json.loads((run.path / "summary.json").read_text())
    summary["seconds"]["imports"], summary["seconds"]["waiting"] = 2.5, 1.25
    run.write_json("summary.json", summary)
    text = read(write_report(run)).text
    assert text.index("Reading0.9") < text.index("Training48.0") < text.index("Imports2.5") < text.index("Waiting1.2")
