"""Two starts at once, a folder that is gone, a disk that takes nothing: one clear line, nothing of others lost."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from unetkit.config import Config, load_config
from unetkit.data import write_sample
from unetkit.errors import RunFolderError, StorageError
from unetkit.progress import NoProgress
from unetkit.run import create_run, new_run
from unetkit.storage.lock import locked
from unetkit.training.crossval import crossval
from unetkit.training.search import search
from unetkit.training.train import train

SMALL = {"model": {"width": 4, "depth": 1}, "train": {"steps": 4, "batch": 1, "patch": 32, "threads": 1}}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    data = write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)
    return load_config(SMALL, [f"data.path={data}", "train.checkpoint_every=1", "train.log_every=1"])


def test_of_two_starts_at_once_one_goes_on_and_loses_nothing(config: Config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    with locked(out / ".lock"), pytest.raises(RunFolderError, match="another process is training in this folder"):
        train(config, out=out)
    assert out.is_dir(), "the folder is the other's"
    first = create_run(out, config)
    with first.held(), pytest.raises(RunFolderError, match="holds another run"):
        train(config, out=out)
    assert (out / "config.yaml").is_file()


def test_a_run_is_held_from_its_first_file_on(config: Config, tmp_path: Path) -> None:
    with new_run(tmp_path / "run", config) as run:
        assert run.is_held
        with pytest.raises(RunFolderError, match="holds another run"):
            create_run(tmp_path / "run", config)
    assert not run.is_held


def test_of_two_cross_validations_at_once_one_goes_on(config: Config, tmp_path: Path) -> None:
    out = tmp_path / "folds"

    class Second(NoProgress):
        """Starts the same once more while the first one trains."""

        said = ""

        def log(self, text: str) -> None:
            if text.startswith("fold-0-seed-0: training"):
                with pytest.raises(RunFolderError) as caught:
                    crossval(config, out=out, folds=2)
                self.said = str(caught.value)

    second = Second()
    crossval(config, out=out, folds=2, progress=second)
    assert second.said == f"{out}: another process is training in this folder; wait for it or stop it"
    assert (out / "report.html").is_file()


def test_what_a_killed_cross_validation_or_search_left_is_no_obstacle(config: Config, tmp_path: Path) -> None:
    for folder in ("folds", "search"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".lock").touch()
    assert crossval(config, out=tmp_path / "folds", folds=2).path == tmp_path / "folds"
    found = search(config, over=["optimizer.lr=1e-3,1e-2"], out=tmp_path / "search", trials=1)
    assert len(found.trials) == 1


def test_what_a_killed_start_left_is_no_obstacle(config: Config, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".config.yaml.00000000-1-1-00000000.part").touch()
    assert train(config, out=out).report.is_file()


class Remover(NoProgress):
    """Removes a folder in the middle of a training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def test_a_folder_that_is_removed_ends_the_training_with_one_line(config: Config, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"run/\S+: cannot be written \(No such file.*its folder is not there"):
        train(config, out=tmp_path / "run", progress=Remover(tmp_path / "run"))


def test_a_read_only_disk_is_one_line(config: Config, mounted: Callable[[str], Path]) -> None:
    with pytest.raises(StorageError, match=r"run: cannot be written \(Read-only file system\); choose another place"):
        train(config, out=mounted("ro") / "run")
