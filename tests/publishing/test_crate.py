import hashlib
import json
import math
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from rocrate.rocrate import ROCrate

import unetkit
from unetkit.errors import DamagedFileError, DataError, RunFolderError, UsageError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.publishing.pack import METADATA, PROFILE
from unetkit.publishing.reproduce import compare_runs
from unetkit.run import Run, open_run


@pytest.fixture(scope="module")
def crate(run: Run, about: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unetkit.pack(run, out=tmp_path_factory.mktemp("crate") / "crate.zip", about=about)


def test_a_crate_says_what_was_done_with_what_to_what_and_by_whom(run: Run, crate: Path) -> None:
    opened = ROCrate(crate)
    root, action = opened.root_dataset, opened.dereference("#training")
    assert opened.dereference(root["conformsTo"].id).id == PROFILE
    assert root["mentions"].id == action.id
    assert root["license"].id == "https://spdx.org/licenses/CC-BY-4.0"
    assert root["author"].id == "https://orcid.org/0000-0002-1825-0097"
    assert action["instrument"]["softwareVersion"] == unetkit.__version__
    assert action["startTime"] <= action["endTime"]
    assert {one.id for one in action["object"]} >= {"config.yaml", "data.json", "environment.json", "#data"}
    assert {one.id for one in action["result"]} >= {"best.safetensors", "last.safetensors", "evaluation.json"}
    description = run.read_json("data.json") or {}
    assert f"sha256:{description['sha256_pixels']}" in opened.dereference("#data")["identifier"]
    assert opened.dereference("#data")["url"] == "https://example.org/membranes"
    scores = {one["name"]: one["value"] for one in root["variableMeasured"]}
    evaluation = run.read_json("evaluation.json") or {}
    assert scores.items() <= evaluation["scores"].items()
    assert run.config.train.best_metric in scores


def test_every_member_is_in_the_metadata_with_its_checksum_and_nothing_is_empty(crate: Path) -> None:
    with zipfile.ZipFile(crate) as archive:
        graph = json.loads(archive.read(METADATA))["@graph"]
        files = {entity["@id"]: entity["sha256"] for entity in graph if entity["@type"] == "File"}
        assert {*archive.namelist()} == {METADATA, *files}
        assert all(hashlib.sha256(archive.read(name)).hexdigest() == sha256 for name, sha256 in files.items())
        lock = archive.read("requirements.txt").decode().splitlines()
    assert f"torch=={torch.__version__.partition('+')[0]}" in lock
    assert all(value not in (None, "", [], {}) for entity in graph for value in entity.values())


def test_the_same_run_gives_the_same_bytes(run: Run, about: Path, crate: Path, tmp_path: Path) -> None:
    again = unetkit.pack(run.path, out=tmp_path / "again.zip", about=about)
    assert again.read_bytes() == crate.read_bytes()


def test_what_cannot_be_packed_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give --out FILE\.zip"):
        unetkit.pack(run, out=tmp_path / "crate")
    with pytest.raises(UsageError, match="crate, hub"):
        unetkit.pack(run, out=tmp_path / "crate.zip", to="tar")
    wrong = tmp_path / "about.yaml"
    wrong.write_text("licence: MIT")
    with pytest.raises(UsageError, match=r"licence: .*keys title, description, license"):
        unetkit.pack(run, out=tmp_path / "crate.zip", about=wrong)
    unfinished = shutil.copytree(run.path, tmp_path / "unfinished")
    (unfinished / "summary.json").unlink()
    with pytest.raises(RunFolderError, match="is not finished"):
        unetkit.pack(unfinished, out=tmp_path / "crate.zip")
    assert not (tmp_path / "crate.zip").exists()


def test_a_crate_is_trained_again_to_the_same_bits(crate: Path, data: Path, run: Run, tmp_path: Path) -> None:
    found = unetkit.reproduce(crate, data=data, out=tmp_path / "again")
    assert found.identical
    assert found.same
    assert (found.elsewhere, found.loss, found.tensors, found.scores) == ((), None, (), ())
    assert found.last_step == 6
    assert found.score_count > 10
    before, now = (Checkpoint.load(one.last).weights() for one in (run, open_run(tmp_path / "again")))
    assert found.tensor_count == 2 * len(before)
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())


def test_other_data_is_refused_with_the_files_that_differ(crate: Path, data: Path, tmp_path: Path) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    pixels = tifffile.imread(other / "train-volume.tif")
    pixels[3, 5, 5] ^= 1
    tifffile.imwrite(other / "train-volume.tif", pixels)
    labels = tifffile.imread(other / "train-labels.tif")
    labels[1, 7, 7] = 255 - labels[1, 7, 7]
    tifffile.imwrite(other / "train-labels.tif", labels)
    with pytest.raises(DataError) as raised:
        unetkit.reproduce(crate, data=other, out=tmp_path / "again")
    message = str(raised.value)
    assert f"the labels of train-volume[01] ({other / 'train-volume.tif'}) differ" in message
    assert f"the pixels of train-volume[03] ({other / 'train-volume.tif'}) differ" in message
    assert "train-volume[02]" not in message
    tifffile.imwrite(other / "train-volume.tif", np.concatenate([pixels, pixels[:1]]))
    tifffile.imwrite(other / "train-labels.tif", np.concatenate([labels, labels[:1]]))
    with pytest.raises(DataError, match=r"train-volume\[05\] .* was not there"):
        unetkit.reproduce(crate, data=other)
    assert not (tmp_path / "again").exists()


def changed(crate: Path, out: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a crate again whose members were changed, with the checksums that its metadata then should have."""
    with zipfile.ZipFile(crate) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = members[METADATA]
    change(members)
    if members[METADATA] == metadata:
        described = json.loads(metadata)
        described["@graph"] += [{"@id": "functions.json", "sha256": ""}]
        for entity in described["@graph"]:
            if entity["@id"] in members and "sha256" in entity:
                entity["sha256"] = hashlib.sha256(members[entity["@id"]]).hexdigest()
        members[METADATA] = json.dumps(described).encode()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out


def edited(run: Run, folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Run:
    """Return a copy of a run with a change of one of its JSON files."""
    copy = open_run(Path(shutil.copytree(run.path, folder)))
    content = copy.read_json(name) or {}
    change(content)
    copy.write_json(name, content)
    return copy


def test_trainings_that_part_say_where(run: Run, tmp_path: Path) -> None:
    other = open_run(Path(shutil.copytree(run.path, tmp_path / "other")))
    log = [
        line | ({"loss": line["loss"] + 1e-9} if line["step"] >= 4 and "loss" in line else {})
        for line in run.read_log()
    ]
    (other.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    checkpoint = Checkpoint.load(run.last)
    (name, tensor), *_ = checkpoint.weights().items()
    checkpoint.model_copy(update={"tensors": checkpoint.tensors | {name: tensor + 0.5}}).save(other.last)
    found = compare_runs(run, other)
    assert not found.same
    assert found.loss is not None
    assert found.loss.what == "step 4"
    assert [(one.what, one.again) for one in found.tensors] == [(f"last.safetensors: {name}", pytest.approx(0.5))]
    assert found.scores == ()


@pytest.mark.parametrize(("drift", "same"), [(0.01, True), (-0.03, False), (math.nan, False)])
def test_on_another_kind_of_machine_a_small_difference_of_scores_is_the_same(
    run: Run, tmp_path: Path, drift: float, same: bool
) -> None:
    scored = {"foreground_dice": (run.read_json("evaluation.json") or {})["scores"]["foreground_dice"] + drift}
    here = edited(run, tmp_path / "here", "evaluation.json", lambda content: content["scores"].update(scored))
    found = compare_runs(run, here)
    assert not found.same  # on the same kind of machine nothing may differ
    assert [one.what for one in found.scores] == ["foreground_dice"]
    there = edited(here, tmp_path / "there", "environment.json", lambda content: content.update(processor="Abacus"))
    found = compare_runs(run, there)
    assert found.same == same
    assert not found.identical
    assert found.elsewhere[0].startswith("processor Abacus, was ")
    assert [one.what for one in found.beyond] == ([] if same else ["foreground_dice"])


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")


def _upwards(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../config.yaml", "data: {}")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(("harm", "says"), [(_link, "link"), (_upwards, "unsafe file name"), (_cut, "not a whole")])
def test_archives_that_could_do_harm_are_refused(
    crate: Path, data: Path, tmp_path: Path, harm: Callable[[Path], None], says: str
) -> None:
    path = Path(shutil.copy(crate, tmp_path / "crate.zip"))
    harm(path)
    with pytest.raises(DataError, match=says):
        unetkit.reproduce(path, data=data)


def test_a_member_that_is_not_what_was_packed_is_refused(crate: Path, data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(crate) as archive:
        archive.extractall(tmp_path / "folder")
    config = tmp_path / "folder" / "config.yaml"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(DamagedFileError, match=r"config\.yaml: is not the file that was packed"):
        unetkit.reproduce(tmp_path / "folder", data=data)
    config.unlink()
    with pytest.raises(UsageError, match=r"has no config\.yaml"):
        unetkit.reproduce(tmp_path / "folder", data=data)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.json", b'{"samples": "many"}'),
        ("data.json", b"[]"),
        ("environment.json", b'{"packages": 1}'),
        ("evaluation.json", b'{"scores": {"foreground_dice": "high"}}'),
        ("log.jsonl", b'{"step": "one", "loss": 1.0}\n'),
        ("functions.json", b'{"loss": {}}'),
        ("last.safetensors", b"not one"),
        ("config.yaml", b"train: {steps: many}"),
        (METADATA, b'{"@graph": 1}'),
    ],
)
def test_members_of_nonsense_end_in_one_line(
    crate: Path, data: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    path = changed(crate, tmp_path / "other.zip", lambda members: members.update({name: content}))
    with pytest.raises(unetkit.UnetkitError):
        unetkit.reproduce(path, data=data)
