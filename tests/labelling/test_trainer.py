"""The training follows the strokes, counts painted pixels alone, goes on where it stood and can be repeated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import unetkit
from unetkit.labelling.project import Contents, LabelClass, run_folders
from unetkit.labelling.trainer import Session, open_session, repeat
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import open_run

from .conftest import SMALL, Painter, bright_discs

Open = Callable[..., Painter]


@pytest.fixture
def painter(folder: Path, opened: Open) -> Painter:
    painter = opened(folder, classes=["ground", "cell"])
    painter.lines((0, 0), bright_discs(0)[1])
    return painter


def _session(painter: Painter) -> Session:
    session = open_session(painter.project.contents, overrides=SMALL)
    session.sync()
    return session


def _weights(session: Session) -> dict[str, torch.Tensor]:
    session.save()
    return Checkpoint.load(session.run.last).weights()


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_waits_for_two_classes_and_then_learns_what_is_painted(folder: Path, opened: Open) -> None:
    painter, truth = opened(folder), bright_discs(0)[1]
    painter.box((0, 0), 0, 0, np.ones((4, 4), np.uint8))
    session = _session(painter)
    assert not session.ready
    painter.lines((0, 0), truth)
    assert session.sync()
    assert session.ready
    session.train(60)
    predicted = session.predict((1, 0))
    assert (predicted.classes == bright_discs(1)[1]).mean() > 0.9
    assert predicted.as_rgb().shape == (96, 96, 3)
    assert ((predicted.uncertainty >= 0) & (predicted.uncertainty <= 1)).all()


def test_pixels_that_are_not_painted_or_held_out_count_nowhere(painter: Painter) -> None:
    session = _session(painter)
    session.train(5)
    trainer, painting = session._trainer, painter.project.painting
    assert trainer is not None
    measured, drawn = trainer.step(5), trainer.step.batch(5).valid
    assert measured.counting is not None
    assert drawn is not None
    assert torch.equal(measured.counting, drawn.float().mean())
    store, trained = trainer.step.store, painting.part((0, 0), held_out=False)
    assert store.valid_P is not None
    np.testing.assert_array_equal(store.valid_P[:-1].view(96, 96).numpy(), trained)
    held = painting.part((0, 0), held_out=True)
    assert held.any()
    scores, predicted = session.validate(), session.predict((0, 0)).classes
    expected = (predicted == painting.at((0, 0)).astype(int) - 1)[held].mean()
    assert scores["pixel_accuracy"] == pytest.approx(expected)
    painter.lines((1, 0), bright_discs(1)[1], every=30)
    session.sync()
    assert len(trainer.step.store.height) == 2


def test_it_goes_on_where_it_stood_to_the_same_weights(painter: Painter, tmp_path: Path) -> None:
    session = _session(painter)
    session.train(20)
    session.save()
    session.train(10)
    whole = {name: tensor.clone() for name, tensor in _weights(session).items()}
    session.run.checkpoint_paths()[-1].unlink()  # as killed after step 20
    again = _session(painter)
    assert again.step == 20
    again.train(10)
    assert _same(_weights(again), whole)


def test_what_the_page_trained_can_be_repeated_bit_by_bit(painter: Painter, tmp_path: Path) -> None:
    session = _session(painter)
    session.train(10)
    painter.lines((1, 0), bright_discs(1)[1], every=20)
    session.predict((0, 0))
    session.sync()
    session.train(5)
    session.validate()
    painter.box((0, 0), 40, 40, np.full((6, 6), 2, np.uint8))
    session.sync()
    session.train(5)
    weights = _weights(session)
    repeated = repeat(open_run(session.run.path), tmp_path / "again")
    assert _same(Checkpoint.load(repeated.last).weights(), weights)


def test_another_class_begins_another_run_with_what_the_first_has_learned(painter: Painter) -> None:
    session = _session(painter)
    session.train(5)
    first = _weights(session)
    project = painter.project
    project.set_classes([*project.contents.classes, LabelClass("dirt", "#123456")])
    following = _session(painter)
    assert [path.name for path in run_folders(project.contents.folder)] == ["run-1", "run-2"]
    assert following.step == 0
    assert following._trainer is not None
    state = following._trainer.step.model.state_dict()
    inner = [name for name in first if not name.startswith("head") and "weight" in name]
    assert inner
    assert all(torch.equal(state[name], first[name]) for name in inner)
    following.train(2)


def test_the_run_is_an_ordinary_run(painter: Painter) -> None:
    session = _session(painter)
    session.train(20)
    painter.project.write()
    session.validate()
    session.save()
    scored = unetkit.evaluate(session.run.path)
    assert [image.name for image in scored.images] == ["a-val"]
    assert scored.scores["pixel_accuracy"] == pytest.approx(session.scores["pixel_accuracy"])
    assert json.loads((session.run.path / "data.json").read_text())["validation"] == ["a-val"]
    assert Contents.read(painter.project.contents.folder).sizes == ((96, 96), (96, 96))


@pytest.mark.slow
def test_report_and_export_take_the_run_and_a_training_takes_the_configuration(
    painter: Painter, tmp_path: Path
) -> None:
    session = _session(painter)
    session.train(20)
    painter.project.write()
    session.save()
    assert unetkit.report(session.run.path).is_file()
    unetkit.export(session.run.path, to="onnx", out=tmp_path / "model.onnx")
    config = painter.project.contents.folder / "config.yaml"
    run = unetkit.train(str(config), out=tmp_path / "run", overrides=[*SMALL, "train.steps=4"])
    assert run.last.is_file()
