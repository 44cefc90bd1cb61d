"""The block engine: the same bytes whoever computes them and however often they are stopped; what is refused."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unetkit.config import ModelConfig
from unetkit.errors import FailedBlocksError, StorageError, UsageError
from unetkit.images import open_image
from unetkit.images.array import image_of_array
from unetkit.images.blocks import Blocks
from unetkit.images.convert import convert_image
from unetkit.images.write import Form
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.prediction import Predictor, engine, predict_to_file
from unetkit.prediction.blocks import choose_tiles, network_checksum
from unetkit.prediction.engine import Work
from unetkit.prediction.predict import predict_file
from unetkit.storage.lock import locked

Maker = Callable[..., Predictor]
LONG = np.random.default_rng(3).integers(0, 256, (2, 40, 2300), np.uint8)
"""Two pages of three blocks."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "long.tif", LONG, photometric="minisblack", compression="zlib", tile=(16, 64))
    return tmp_path / "long.tif"


@pytest.fixture
def model(make_predictor: Maker, tmp_path: Path) -> Path:
    """A network in a file, as every worker loads it."""
    predictor = make_predictor()
    network: Any = predictor.network
    config = ModelConfig(in_channels=1, num_classes=2, width=4, depth=2)
    card = predictor.card.model_copy(update={"model": config})
    Checkpoint(card=card, tensors=dict(network.state_dict())).save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def content(path: Path) -> dict[str, bytes]:
    """Return every file below a path, or the one that it is."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def blocks_done(out: Path) -> int:
    journal = out.with_name(f"{out.name}.unfinished") / "journal.jsonl"
    return journal.read_text().count('"crc32c"') if journal.exists() else 0


@pytest.mark.parametrize("predict", [{}, {"tile": 200}, {"tile": 400, "overlap": 4}, {"tta": True}])
@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_blocks_give_what_the_whole_gives(make_predictor: Maker, image: Path, predict: Any, name: str) -> None:
    predictor, out = make_predictor(predict=predict), image.with_name(name)
    predict_to_file(predictor, image, out, probabilities=True, work=Work(memory=8))
    found = open_image(out)
    for page in range(2):
        expected = predictor.probabilities(LONG[page][None])[1]
        np.testing.assert_allclose(found.read(page)[0], expected, atol=2e-6)
    assert sorted(one.name for one in image.parent.iterdir()) == sorted(["long.tif", name])


def test_small_images_are_the_same_with_and_without_blocks(make_predictor: Maker, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LONG[:, :, :90], photometric="minisblack")
    for number, work in enumerate((Work(), Work(memory=8))):
        predict_to_file(make_predictor(), tmp_path / "a.tif", tmp_path / f"{number}.tif", probabilities=True, work=work)
    assert (tmp_path / "0.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


def test_blocks_cover_every_pixel_once() -> None:
    form = Form(np.uint8, 50, 35, 2, (), None)
    count = np.zeros((2, 50, 35), int)
    for block in Blocks(form, 16):
        count[block.page, block.rows, block.columns] += 1
    assert (count == 1).all()
    assert len(Blocks(form, 16)) == 2 * 4 * 3


@pytest.mark.long
@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_two_workers_and_two_threads_write_the_same_bytes_as_one(model: Path, image: Path, name: str) -> None:
    outs = [image.with_name(f"{number}") / name for number in range(3)]
    for out, workers, threads in zip(outs, (1, 2, 1), (1, 1, 2), strict=True):
        predict_file(model, image, out, probabilities=True, workers=workers, options={"threads": threads})
    assert content(outs[0]) == content(outs[1]) == content(outs[2])


@pytest.mark.slow
def test_a_script_that_workers_cannot_read_is_told_so(model: Path, image: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom unetkit.errors import UsageError\nfrom unetkit.prediction.predict import predict_file\n"
        "try:\n    predict_file(*sys.argv[1:], workers=2, options={'threads': 1})\n"
        "except UsageError as error:\n    sys.exit(str(error))\n"
    )
    ended = subprocess.run(
        [sys.executable, script, model, image, tmp_path / "out.ome.zarr"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "--workers 2: its processes could not be started" in ended.stderr.splitlines()[-1]
    assert "if __name__ == '__main__'" in ended.stderr.splitlines()[-1]


KILLED = """
import sys, time
from pathlib import Path
from unetkit.prediction import blocks, engine
from unetkit.prediction.predict import predict_file
step = engine.write_block
def slow(job, number, values):
    time.sleep(0.2)
    return step(job, number, values)
engine.write_block = slow
predict_file(sys.argv[1], sys.argv[2], sys.argv[3], options={"threads": 1}, memory=8)
"""


@pytest.mark.long
def test_a_killed_prediction_is_resumed_to_the_same_bytes(model: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ome.zarr"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(model), str(image), str(out)])
    while blocks_done(out) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = blocks_done(out)
    assert 2 <= done < 6
    assert not out.exists()
    with pytest.raises(UsageError, match=r"out.ome.zarr.unfinished: .* go on with it by --resume, or .* --overwrite"):
        predict_file(model, image, out, options={"threads": 1}, memory=8)
    with pytest.raises(UsageError, match=r"begun with 1 threads .* give --threads 1"):
        predict_file(model, image, out, options={"threads": 2}, memory=8, resume=True)
    predict_file(model, image, out, memory=8, resume=True)
    predict_file(model, image, tmp_path / "whole.ome.zarr", options={"threads": 1}, memory=8)
    names = [
        {key: value for key, value in content(path).items() if key != "zarr.json"}
        for path in (out, out.with_name("whole.ome.zarr"))
    ]
    assert names[0] == names[1]


@pytest.fixture
def stopped(make_predictor: Maker, image: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unfinished output, three of whose six blocks are there."""
    out, step = image.with_name("out.tif"), engine.write_block

    def failing(job: Any, number: int, values: Any) -> str:
        if number == 3:
            raise StorageError("the disk is full")
        return step(job, number, values)

    monkeypatch.setattr(engine, "write_block", failing)
    with pytest.raises(StorageError, match="full"):
        predict_to_file(make_predictor(), image, out, work=Work(memory=8))
    monkeypatch.setattr(engine, "write_block", step)
    assert blocks_done(out) == 3
    return out


def test_finished_blocks_are_not_computed_again_but_lost_ones_are(
    make_predictor: Maker, image: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished, numbers, step = stopped.with_name("out.tif.unfinished") / "output", list[int](), engine.predict_block

    def counting(job: Any, number: int, crops: Any) -> Any:
        numbers.append(number)
        return step(job, number, crops)

    tifffile.memmap(unfinished)[0, 5, 1500] ^= 255  # a block that the disk has otherwise than the journal
    with stopped.with_name("out.tif.unfinished").joinpath("journal.jsonl").open("a") as journal:
        journal.write('{"block": 3, "cr')  # a line that was not finished
    monkeypatch.setattr(engine, "predict_block", counting)
    predict_to_file(make_predictor(), image, stopped, work=Work(memory=8, resume=True))
    assert numbers == [1, 3, 4, 5]
    predict_to_file(make_predictor(), image, stopped.with_name("whole.tif"), work=Work(memory=8))
    assert stopped.read_bytes() == stopped.with_name("whole.tif").read_bytes()


def test_another_job_is_not_resumed(make_predictor: Maker, image: Path, stopped: Path) -> None:
    resume = Work(memory=8, resume=True)
    with pytest.raises(UsageError, match="another job: predict"):
        predict_to_file(make_predictor(predict={"tta": True}), image, stopped, work=resume)
    with pytest.raises(UsageError, match="another job: network"):
        predict_to_file(make_predictor(depth=1), image, stopped, work=resume)
    os.utime(image)
    with pytest.raises(UsageError, match="another job: input"):
        predict_to_file(make_predictor(), image, stopped, work=resume)
    predict_to_file(make_predictor(), image, stopped, work=Work(memory=8, overwrite=True))
    assert not stopped.with_name("out.tif.unfinished").exists()


def test_two_processes_do_not_write_one_output(make_predictor: Maker, image: Path, stopped: Path) -> None:
    with (
        locked(stopped.with_name("out.tif.unfinished") / "lock"),
        pytest.raises(UsageError, match="another process is writing it"),
    ):
        predict_to_file(make_predictor(), image, stopped, work=Work(memory=8, resume=True))


def test_an_output_that_is_there_is_replaced_only_when_asked(make_predictor: Maker, image: Path) -> None:
    for out in (image.with_name("o.tif"), image.with_name("o.ome.zarr")):
        predict_to_file(make_predictor(), image, out)
        before = content(out)
        for work in (Work(), Work(resume=True)):
            with pytest.raises(UsageError, match="is there already.*--overwrite"):
                predict_to_file(make_predictor(predict={"threshold": 0.9}), image, out, work=work)
        assert content(out) == before
        predict_to_file(make_predictor(predict={"threshold": 0.9}), image, out, work=Work(overwrite=True))
        assert content(out) != before


@pytest.mark.parametrize(
    ("name", "predict", "work", "message"),
    [
        ("o.tif", {"size": (64, 64)}, Work(memory=8), "resizes whole images"),
        ("o.tif", {}, Work(dask="tcp://x:1"), "do not write into one TIFF"),
        ("o.tif", {}, Work(workers=2), "give its path instead of a Predictor"),
        ("o.ome.zarr", {}, Work(workers=2, dask="tcp://x:1"), "give one of them"),
        ("o.ome.zarr", {}, Work(memory=0.05), r"--memory 0.05GB: .* give --memory [0-9.]+GB"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    make_predictor: Maker, image: Path, name: str, predict: Any, work: Work, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        predict_to_file(make_predictor(predict=predict), image, image.with_name(name), work=work)
    assert [one.name for one in image.parent.iterdir()] == ["long.tif"]


def test_less_memory_makes_smaller_tiles_of_the_same_result(
    make_predictor: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, predictor = Form(np.uint8, 5000, 5000, 1, (), None), make_predictor(width=16)
    image = image_of_array("zeros", np.zeros((5000, 5000), np.uint8), "yx")
    monkeypatch.setattr("unetkit.prediction.blocks.resident_memory", lambda: 4e8)
    tiles = [
        choose_tiles(predictor, form, image, side=1024, memory=gigabytes, workers=1) for gigabytes in (4, 0.8, 0.65)
    ]
    areas = [one.step[0] * one.step[1] for one in tiles if one.step]
    assert areas[0] > areas[1] > areas[2]
    with pytest.raises(UsageError, match="smallest tiles") as refused:
        choose_tiles(predictor, form, image, side=1024, memory=0.55, workers=1)
    smallest = float(str(refused.value).rpartition("--memory ")[2].removesuffix("GB"))
    choose_tiles(predictor, form, image, side=1024, memory=smallest, workers=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not say the peak of a process")
@pytest.mark.parametrize(("kind", "allowed"), [("packed.tif", 700), ("plain.tif", 550)])
def test_a_process_stays_below_what_is_allowed(model: Path, tmp_path: Path, kind: str, allowed: int) -> None:
    pixels = np.tile(LONG[0, :, :2048].astype(np.float64), (200, 2))  # 262 MB, mapped as a whole if it is not packed
    options: Any = {"compression": "zlib", "tile": (256, 256)} if kind == "packed.tif" else {}
    tifffile.imwrite(tmp_path / kind, pixels, photometric="minisblack", **options)
    command = [sys.executable, "-m", "unetkit", "predict", str(model), str(tmp_path / kind), "--probabilities"]
    command += ["--out", str(tmp_path / "out.tif"), "--memory", f"{allowed}MB"]
    process, peak = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
        time.sleep(0.02)
    assert process.returncode == 0
    assert 200_000 < peak < allowed * 1e6 / 1024


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_full_disk_ends_the_command_at_once_and_what_is_done_is_kept(
    make_predictor: Maker, image: Path, name: str, mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, numbers, step = mounted("size=1m"), list[int](), engine.predict_block
    (disk / "other").write_bytes(bytes(700_000))

    def counting(job: Any, number: int, crops: Any) -> Any:
        numbers.append(number)
        return step(job, number, crops)

    monkeypatch.setattr(engine, "predict_block", counting)
    predict = partial(predict_to_file, make_predictor(), image, probabilities=True)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left .* go on by --resume"):
        predict(disk / name, work=Work(memory=8, options={"threads": 1}))  # with more, as many blocks are under way
    assert len(numbers) < 6
    (disk / "other").unlink()
    predict(disk / name, work=Work(memory=8, resume=True))
    predict(image.with_name(name), work=Work(memory=8))
    pixels = [
        {key: value for key, value in content(one / name).items() if key != "zarr.json"} for one in (disk, image.parent)
    ]
    assert pixels[0] == pixels[1]


def test_a_missing_chunk_is_the_fill_value_and_a_broken_one_is_named(make_predictor: Maker, image: Path) -> None:
    volume, out = image.with_name("volume.ome.zarr"), image.with_name("out.ome.zarr")
    convert_image(image, volume)
    (volume / "0/c/0/0/1").unlink()
    predict_to_file(make_predictor(), volume, out)
    holed = LONG[0].copy()
    holed[:, 1024:2048] = 0
    np.testing.assert_array_equal(open_image(out).read(0)[0], make_predictor().labels(holed[None]))
    broken = volume / "0/c/1/0/2"
    broken.write_bytes(broken.read_bytes()[:-700])
    with pytest.raises(
        FailedBlocksError, match=r"2 of 6 blocks failed 3 times.*block 4 \(page 1, .*chunk 1/0/4"
    ) as one:
        predict_to_file(make_predictor(), volume, out, work=Work(overwrite=True))
    assert one.value.exit_code == 1
    assert blocks_done(out) == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_is_replaced_and_a_block_that_always_fails_is_named(
    model: Path, image: Path, tmp_path: Path
) -> None:
    volume, out, whole = (tmp_path / f"{name}.ome.zarr" for name in ("volume", "out", "whole"))
    tifffile.imwrite(image, np.tile(LONG, (2, 12, 1)), photometric="minisblack")  # four pages of 480 x 2300
    convert_image(image, volume)
    broken = volume / "0/c/3/0/2"
    sound = broken.read_bytes()
    broken.write_bytes(sound[:-700])
    killed = list[int]()

    def kill() -> None:
        while not (blocks_done(out) and (workers := spawned())):
            time.sleep(0.005)
        os.kill(workers[0], signal.SIGKILL)
        killed.append(workers[0])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    options: Any = {"threads": 1, "tta": True}
    with pytest.raises(FailedBlocksError, match=r"of 12 blocks failed 3 times.*block 11 \(page 3, .*chunk 3/0/4"):
        predict_file(model, volume, out, workers=2, options=options)
    killer.join()
    assert killed
    assert 9 <= blocks_done(out) < 12
    broken.write_bytes(sound)
    predict_file(model, volume, out, options=options, resume=True)
    predict_file(model, volume, whole, options=options, memory=8)
    pixels = [{name: value for name, value in content(one).items() if name != "zarr.json"} for one in (out, whole)]
    assert pixels[0] == pixels[1]


def spawned() -> list[int]:
    """Return the processes that this one, or one of these, has started by multiprocessing, without its tracker."""
    import psutil

    found = list[int]()
    for process in psutil.Process().children(recursive=True):
        try:
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_the_checksum_of_a_function_reads_no_file(
    around: Callable[..., Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = network_checksum(around(lambda x: x), None)
    (tmp_path / "other.bin").write_bytes(b"1")
    assert network_checksum(around(lambda x: x), None) == before
