"""Good files of every kind that unetkit reads, small and generated, to be damaged; and traps, made to do harm.

A case is a folder; what is opened is a path in it. A trap leads out of its folder, to the file SECRET next to it, or
runs a command that makes the file MARKER. Does not know what happens when a case is opened.
"""

import gzip
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import scipy.io
import tifffile
import torch
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi

import unetkit
from unetkit.config import ModelConfig, load_config
from unetkit.data import write_sample
from unetkit.data.layouts.synthetic import generate
from unetkit.images.convert import convert_image
from unetkit.labelling.project import open_project
from unetkit.legacy.networks import MILESIAL
from unetkit.models import build_model
from unetkit.training.train import train

SECRET, MARKER = "secret", "marker"
PIXELS = generate(slices=2, size=40)


def images(root: Path) -> dict[str, Path]:
    """Image files in their usual forms."""
    grey, folder = PIXELS.images, root / "images"
    folder.mkdir()
    for name, options in {
        "plain": {},
        "lzw": {"compression": "lzw"},
        "zlib": {"compression": "zlib", "predictor": True},
        "jpeg": {"compression": "jpeg"},
        "tiled": {"tile": (16, 16), "compression": "zlib"},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
        "big": {"bigtiff": True},
    }.items():
        tifffile.imwrite(folder / f"{name}.tif", grey, **options)
    tifffile.imwrite(folder / "float.tif", grey.astype(np.float32) / 255)
    colour = np.stack([grey[0]] * 3, 2)
    for suffix in ("png", "jpg", "bmp", "gif", "webp", "ppm", "jp2"):
        Image.fromarray(colour).save(folder / f"colour.{suffix}")
    Image.fromarray(grey[0].astype(np.uint16) * 200).save(folder / "deep.png")
    scipy.io.savemat(folder / "matlab.mat", {"image": grey[0]}, do_compression=True)
    np.save(folder / "array.npy", grey)
    np.savez_compressed(folder / "arrays.npz", image=grey)
    with h5py.File(folder / "arrays.h5", "w") as file:
        file.create_dataset("raw", data=grey, chunks=(1, 16, 16), compression="gzip")
    for suffix in ("nii", "nii.gz"):
        nibabel.save(nibabel.Nifti1Image(grey.T, np.eye(4)), folder / f"volume.{suffix}")
    for version in ("0.4", "0.5"):
        convert_image(folder / "imagej.tif", folder / f"volume-{version}.ome.zarr", version=version)
    (folder / "packed.tif.gz").write_bytes(gzip.compress((folder / "plain.tif").read_bytes()))
    return {f"image {path.name}": path for path in sorted(folder.iterdir())}


def data_sets(root: Path) -> dict[str, Path]:
    """Data sets: a stack, multi-class folders, nuclei in a .zip, COCO, configurations."""
    found = {"data stack": write_sample(root / "stack", slices=2, size=64)}
    one, name = np.uint8(PIXELS.labels[0] > 0), "a" * 8
    for number in range(2):
        place = root / "folders" / f"{number}"
        place.mkdir(parents=True)
        Image.fromarray(PIXELS.images[number]).save(place / "image.png")
        Image.fromarray(one * 255).save(place / "mask.png")
    found["data folders"] = root / "folders"
    shutil.copytree(root / "folders", root / "project")
    project = open_project(root / "project")
    project.write()
    project.close()
    found["project"] = root / "project"
    with zipfile.ZipFile(root / "nuclei.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for part, pixels in (("images", PIXELS.images[0]), ("masks", one * 255)):
            stored = io.BytesIO()
            Image.fromarray(pixels).save(stored, format="PNG")
            archive.writestr(f"{name}/{part}/{name}.png", stored.getvalue())
    found["data nuclei.zip"] = root / "nuclei.zip"
    coco = root / "coco"
    (coco / "images" / "train2017").mkdir(parents=True)
    (coco / "annotations").mkdir()
    Image.fromarray(PIXELS.images[0]).save(coco / "images" / "train2017" / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0, "area": 100, "bbox": [2, 2, 10, 10]}
    annotations = [
        square | {"segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]]},
        square | {"id": 2, "iscrowd": 1, "segmentation": {"size": [40, 40], "counts": [10, 5, 1585]}},
    ]
    pictures = [{"id": 1, "file_name": "a.png", "height": 40, "width": 40}]
    content = {"images": pictures, "annotations": annotations, "categories": [{"id": 3, "name": "cell"}]}
    (coco / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    found["data coco"] = coco
    found |= annotations_of_tools(root)
    (root / "config.yaml").write_text(
        "model: {width: 4, depth: 2}\ntrain: {steps: 3, batch: 2}\ndata: {path: sample}\n"
    )
    zoo = "model: 'unet_medical'\nlr: 0.0001\nepochs: 400\nbatchsize: 16\ncross_valid_ind: 1\nnum_classes: 2\n"
    (root / "zoo.yaml").write_text(zoo)
    (root / "config.py").write_text(
        "cfg_unet = {'model': 'unet_medical', 'lr': 0.0001, 'epochs': 400, 'batchsize': 16}\n"
    )
    return found | {f"config {one}": root / one for one in ("config.yaml", "zoo.yaml", "config.py")}


def annotations_of_tools(root: Path) -> dict[str, Path]:
    """One image with a file of each annotation tool next to it."""
    corners, shares = [[2, 2], [12, 2], [12, 12], [2, 12]], "0.05 0.05 0.3 0.05 0.3 0.3 0.05 0.3"
    shape = {"name": "polygon", "all_points_x": [2, 12, 12], "all_points_y": [2, 2, 12]}
    ring = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    region = ImagejRoi.frompoints(np.array(corners))
    region.roitype = ROI_TYPE.POLYGON
    regions = io.BytesIO()
    with zipfile.ZipFile(regions, "w") as archive:
        archive.writestr("cell-1.roi", region.tobytes())
    files: dict[str, str | bytes] = {
        "labelme/a.json": json.dumps(
            {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 40, "shapes": [{"label": "x", "points": corners}]}
        ),
        "via/via.json": json.dumps({"a": {"filename": "a.png", "regions": [{"shape_attributes": shape}]}}),
        "geojson/a.geojson": json.dumps({"type": "FeatureCollection", "features": [{"geometry": ring}]}),
        "cvat/c.xml": '<annotations><image name="a.png" width="40" height="40"><polygon label="x" '
        'points="2,2;12,2;12,12"/><mask label="x" rle="1,3" left="20" top="20" width="2" height="2"/>'
        "</image></annotations>",
        "yolo/a.txt": f"0 {shares}\n1 {shares}\n",
        "runs/t.csv": "ImageId,EncodedPixels\na,1 5 100 3\na,200 20\n",
        "imagej/a.zip": regions.getvalue(),
    }
    found: dict[str, Path] = {}
    for name, content in files.items():
        place = root / "annotated" / name
        place.parent.mkdir(parents=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        Image.fromarray(PIXELS.images[0]).save(place.parent / "a.png")
        found[f"data {place.parent.name}"] = place.parent
    return found


def networks(root: Path, shared: Path | None, *, fast: bool) -> dict[str, Path]:
    """A run, its exports (where it is to be `fast`, none that begin with ONNX), and files of the older systems."""
    config = load_config(
        {"model": {"width": 4, "depth": 1}, "train": {"steps": 2, "batch": 1, "patch": 32, "threads": 1}}
    )
    run = train(config, data=write_sample(root / "stack-of-run", slices=4, size=64), out=root / "run")
    found = {"run": run.path, "network safetensors": root / "net.safetensors"}
    shutil.copy(run.best, root / "net.safetensors")
    for to, suffix in {"pt2": "pt2", "torchscript": "pt", "mindir": "mindir", "air": "air"}.items():
        fixed = {"size": (64, 64)} if to in ("mindir", "air") else {}
        found[f"network {to}"] = unetkit.export(run, to=to, out=root / f"{to}.{suffix}", options=fixed).path
    if not fast:
        found["network onnx"] = unetkit.export(run, to="onnx", out=root / "onnx.onnx").path
        (root / "openvino").mkdir()
        unetkit.export(run, to="openvino", out=root / "openvino" / "net.xml")
        found["network openvino"] = root / "openvino"
        with zipfile.ZipFile(root / "package.zip", "w") as archive:
            archive.writestr("rdf.yaml", "type: model\n")
            archive.write(root / "onnx.onnx", "weights.onnx")
        found["network bioimageio"] = root / "package.zip"
    scored = root / "scored.json"
    scored.write_text(json.dumps(unetkit.evaluate(run.path, everything=True).as_json()))
    found["scores"] = scored
    if shared is not None:
        for name in ("ms_small_simple_fs16.ckpt", "medical_w4_ms200.onnx", "of080_w4_checkpoints", "tf115_w4_step3"):
            if (shared / "fixtures" / "seeds" / name).exists():
                found[f"legacy {name}"] = shared / "fixtures" / "seeds" / name
    state = build_model(ModelConfig(in_channels=1, num_classes=2, width=2, depth=2, **MILESIAL.fixed)).state_dict()
    names = MILESIAL.names(2)
    torch.save({theirs: state[ours] for ours, theirs in names.items() if ours in state}, root / "state.pth")
    return found | {"legacy pytorch": root / "state.pth"}


class Evil:
    """A pickle of it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        import os

        return os.system, (f"touch {self.marker}",)


def _case(root: Path, name: str) -> Path:
    folder = root / "trap" / name
    folder.mkdir(parents=True)
    return folder


def _add(root: Path, found: dict[str, Path], name: str, file: str, content: bytes) -> None:
    found[f"trap {name}"] = _case(root, name) / file
    found[f"trap {name}"].write_bytes(content)


def traps(root: Path, seeds: dict[str, Path]) -> dict[str, Path]:
    """Files that want to be more than files; each in a folder of its own below `root`."""
    secret, found = root / SECRET, dict[str, Path]()
    secret.mkdir()
    tifffile.imwrite(secret / "secret.tif", np.full((40, 40), 77, np.uint8))
    Image.fromarray(np.full((40, 40), 77, np.uint8)).save(secret / "secret.png")
    (secret / "secret.bin").write_bytes(b"\x11" * 65_536)

    good = tifffile.TiffFile(seeds["image ome.tif"]).ome_metadata or ""
    for name, target in {"ome above": "../../secret/secret.tif", "ome absolute": str(secret / "secret.tif")}.items():
        xml = good.replace(
            "<TiffData", f'<TiffData FirstZ="1"><UUID FileName="{target}">urn:uuid:1</UUID></TiffData><TiffData'
        )
        place = _case(root, name) / "a.ome.tif"
        tifffile.imwrite(place, PIXELS.images[0], description=xml.encode("ascii", "ignore"), metadata=None)
        found[f"trap {name}"] = place
    _traps_of_code(root, seeds, found)
    if "network onnx" in seeds:
        _traps_of_graphs(root, seeds, found)
    _traps_of_data(root, seeds, found)
    return found


def _traps_of_code(root: Path, seeds: dict[str, Path], found: dict[str, Path]) -> None:
    marker = root / MARKER
    _add(root, found, "pickle", "net.pth", pickle.dumps(Evil(marker)))
    for name, file in {
        "torch": "net.pth",
        "torch ckpt": "net.ckpt",
        "renamed": "net.safetensors",
        "onnx": "net.onnx",
    }.items():
        stored = io.BytesIO()
        torch.save({"a": Evil(marker)}, stored)
        _add(root, found, name, file, stored.getvalue())
    stored = io.BytesIO()
    torch.save(Evil(marker), stored)
    for file in ("x.pt2", "x.safetensors"):
        place = _case(root, f"program {file}") / file
        with zipfile.ZipFile(seeds["network pt2"]) as old, zipfile.ZipFile(place, "w") as new:
            for name in old.namelist():
                new.writestr(name, stored.getvalue() if name.endswith("sample_inputs/model.pt") else old.read(name))
            new.comment = old.comment
        found[f"trap program {file}"] = place
    yaml = f"model: !!python/object/apply:os.system ['touch {marker}']\n"
    _add(root, found, "yaml", "config.yaml", yaml.encode())
    _add(
        root,
        found,
        "python",
        "config.py",
        f"import os\nos.system('touch {marker}')\ncfg_unet = {{'model': 'unet_medical'}}\n".encode(),
    )
    _add(
        root,
        found,
        "python call",
        "config.py",
        f"cfg_unet = {{'model': __import__('os').system('touch {marker}')}}\n".encode(),
    )


def _traps_of_graphs(root: Path, seeds: dict[str, Path], found: dict[str, Path]) -> None:
    secret = root / SECRET
    entity = f'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file://{secret}/secret.bin">]>'
    for name, change in {
        "xml entity": lambda text: entity + text.partition("?>")[2].replace('name="', 'name="&x;', 1),
        "xml parameter entity": lambda text: entity.replace("ENTITY x", "ENTITY % x").replace("]>", " %x;]>") + text,
    }.items():
        place = _case(root, name)
        shutil.copytree(seeds["network openvino"], place, dirs_exist_ok=True)
        (place / "net.xml").write_text(change((place / "net.xml").read_text()))
        found[f"trap {name}"] = place / "net.xml"
    for name, target in {
        "onnx above": "../../secret/secret.bin",
        "onnx absolute": str(secret / "secret.bin"),
    }.items():
        found[f"trap {name}"] = _case(root, name) / "net.onnx"
        _external(seeds["network onnx"], found[f"trap {name}"], target)


def _traps_of_data(root: Path, seeds: dict[str, Path], found: dict[str, Path]) -> None:
    secret = root / SECRET
    place = _case(root, "coco above")
    shutil.copytree(seeds["data coco"], place, dirs_exist_ok=True)
    file = place / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text().replace('"a.png"', '"../../../../secret/secret.png"'))
    found["trap coco above"] = place
    for name, member in {"zip above": "../../secret/x.png", "zip absolute": f"{secret}/x.png"}.items():
        place = _case(root, name) / "nuclei.zip"
        shutil.copy(seeds["data nuclei.zip"], place)
        with zipfile.ZipFile(place, "a") as archive:
            archive.writestr(member, b"x")
        found[f"trap {name}"] = place
    place = _case(root, "zip link") / "nuclei.zip"
    with zipfile.ZipFile(seeds["data nuclei.zip"]) as old, zipfile.ZipFile(place, "w") as new:
        for entry in old.infolist():
            entry.external_attr = 0o120777 << 16
            new.writestr(entry, str(secret / "secret.png"))
    found["trap zip link"] = place
    place = _case(root, "tensorflow above")
    (place / "checkpoint").write_text(f'model_checkpoint_path: "{secret}/secret"\n')
    found["trap tensorflow above"] = place


def _external(source: Path, out: Path, target: str) -> None:
    import onnx

    model = onnx.load(source)
    tensor = model.graph.initializer[0]
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": target, "offset": "0", "length": str(length)}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    out.write_bytes(model.SerializeToString())
