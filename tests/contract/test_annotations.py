"""Annotation files as people's tools write them: each format gives the same objects, and says what is wrong with it."""

import base64
import csv
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from unetkit.checks import check
from unetkit.config import DataConfig, load_config
from unetkit.data import convert, open_dataset
from unetkit.data.annotations import FORMATS, format_of
from unetkit.data.annotations.text_files import read_cvat, read_imagescope
from unetkit.data.dataset import account_of, division_of
from unetkit.data.layouts import open_usable
from unetkit.data.outlines import Objects, Polygons, Shape, Spans, draw_runs, draw_shapes
from unetkit.errors import DataError
from unetkit.objects.find import polygons, regions

pytest.importorskip("pycocotools", reason="needs the extra 'coco'")
roifile = pytest.importorskip("roifile", reason="needs the extra 'imagej'")

HEIGHT, WIDTH = 40, 56
NAMES = ("a01", "a02", "a03")


class Marked(NamedTuple):
    """A polygon and its class."""

    name: str
    corners: list[tuple[float, float]]


def marks(number: int) -> list[Marked]:
    """Two cells that overlap and a spore, elsewhere in each image."""
    step = 3 * number
    return [
        Marked("cell", [(2 + step, 3), (14 + step, 3), (14 + step, 17), (2 + step, 17)]),
        Marked("cell", [(10 + step, 10), (22 + step, 10), (22 + step, 24), (10 + step, 24)]),
        Marked(
            "spore",
            [(30, 20 + step), (44, 20 + step), (44, 26 + step), (37, 26 + step), (37, 31 + step), (30, 31 + step)],
        ),
    ]


def expected(number: int, *, classes: tuple[str, ...] = ("background", "cell", "spore")) -> Objects:
    """The pixels, counted by hand: what is first is on top."""
    step = 3 * number
    instances = np.zeros((HEIGHT, WIDTH), np.int32)
    instances[20 + step : 26 + step, 30:44] = 3
    instances[26 + step : 31 + step, 30:37] = 3
    instances[10:24, 10 + step : 22 + step] = 2
    instances[3:17, 2 + step : 14 + step] = 1
    kinds = np.array([0, 1, 1, len(classes) - 1], np.uint8)
    return Objects(kinds[instances], instances)


def flat(corners: list[tuple[float, float]]) -> list[float]:
    return [value for corner in corners for value in corner]


def put_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def labelme(root: Path, images: dict[str, list[Marked]]) -> None:
    for file, its in images.items():
        shapes = [
            {"label": one.name, "points": one.corners, "group_id": None, "description": "", "shape_type": "polygon"}
            | {"flags": {}, "mask": None}
            for one in its
        ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{file}"}
        content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        put_json(root / "labels" / f"{Path(file).stem}.json", content)


def yolo(root: Path, images: dict[str, list[Marked]]) -> None:
    (root / "labels").mkdir()
    for file, its in images.items():
        lines = []
        for one in its:
            shares = [
                value / side for corner in one.corners for value, side in zip(corner, (WIDTH, HEIGHT), strict=True)
            ]
            lines.append(f"{['spore', 'cell'].index(one.name)} {' '.join(f'{value:.6f}' for value in shares)}")
        (root / "labels" / f"{Path(file).stem}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['spore', 'cell']\n")
    (root / "README.txt").write_text("exported on some day\n")


def via(root: Path, images: dict[str, list[Marked]]) -> None:
    content = {}
    for file, its in images.items():
        regions_ = [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [x for x, _ in one.corners],
                    "all_points_y": [y for _, y in one.corners],
                },
                "region_attributes": {"quality": {"good": True, "blurred": True}, "type": one.name},
            }
            for one in its
        ]
        content[f"{file}1234"] = {"filename": file, "size": 1234, "regions": regions_, "file_attributes": {}}
    put_json(
        root / "via_project.json", {"_via_settings": {"ui": {}}, "_via_img_metadata": content, "_via_attributes": {}}
    )


def via_of_version_1(root: Path, images: dict[str, list[Marked]]) -> None:
    via(root, images)
    content = json.loads((root / "via_project.json").read_text())["_via_img_metadata"]
    for image in content.values():
        image["regions"] = {str(place): one for place, one in enumerate(image["regions"])}
    put_json(root / "via_region_data.json", content)
    (root / "via_project.json").unlink()


def geojson(root: Path, images: dict[str, list[Marked]]) -> None:
    for file, its in images.items():
        features = [
            {
                "type": "Feature",
                "id": f"6f1c{place}",
                "geometry": {"type": "Polygon", "coordinates": [[*map(list, one.corners), list(one.corners[0])]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": one.name, "color": [200, 0, 0]},
                },
            }
            for place, one in enumerate(its)
        ]
        put_json(root / "labels" / f"{file}.geojson", {"type": "FeatureCollection", "features": features})


def supervisely(root: Path, images: dict[str, list[Marked]]) -> None:
    for file, its in images.items():
        objects = [
            {"id": place, "classTitle": one.name, "geometryType": "polygon", "tags": []}
            | {"points": {"exterior": one.corners, "interior": []}}
            for place, one in enumerate(its)
        ]
        content = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        put_json(root / "ann" / f"{file}.json", content)
    put_json(root / "meta.json", {"classes": [], "tags": [], "projectType": "images"})


def cvat(root: Path, images: dict[str, list[Marked]]) -> None:
    text = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    for place, (file, its) in enumerate(images.items()):
        text.append(f'  <image id="{place}" name="{file}" width="{WIDTH}" height="{HEIGHT}">')
        for one in its:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in one.corners)
            text.append(f'    <polygon label="{one.name}" source="manual" occluded="0" points="{points}" z_order="0">')
            text.append("    </polygon>")
        text.append("  </image>")
    (root / "annotations.xml").write_text("\n".join([*text, "</annotations>"]))


def imagescope(root: Path, images: dict[str, list[Marked]]) -> None:
    (root / "Annotations").mkdir()
    for file, its in images.items():
        text = ['<Annotations MicronsPerPixel="0.25">']
        for one in its:
            corners = "".join(f'<Vertex X="{x:.2f}" Y="{y:.2f}" Z="0"/>' for x, y in one.corners)
            region = f'<Region Id="1" Type="0" NegativeROA="0"><Vertices>{corners}</Vertices></Region>'
            text.append(f'<Annotation Id="1" Name="{one.name}"><Regions>{region}</Regions></Annotation>')
        (root / "Annotations" / f"{Path(file).stem}.xml").write_text("".join([*text, "</Annotations>"]))


def coco(root: Path, images: dict[str, list[Marked]]) -> None:
    listed = [
        {"id": place, "file_name": file, "height": HEIGHT, "width": WIDTH} for place, file in enumerate(images, 1)
    ]
    every = [(place, one) for place, its in enumerate(images.values(), 1) for one in its]
    annotations = [
        {"id": number, "image_id": image, "category_id": ["spore", "cell"].index(one.name) + 1, "iscrowd": 0}
        | {"segmentation": [flat(one.corners)], "bbox": [0, 0, 1, 1], "area": 1}
        for number, (image, one) in enumerate(every)
    ]
    categories = [{"id": 1, "name": "spore"}, {"id": 2, "name": "cell"}]
    put_json(root / "_annotations.coco.json", {"images": listed, "annotations": annotations, "categories": categories})


def pairs_of(mask: NDArray[np.bool_], *, by_rows: bool = False) -> str:
    """Starts from 1 and lengths, as Kaggle writes them."""
    pixels = np.flatnonzero((mask if by_rows else mask.T).ravel())
    breaks = np.flatnonzero(np.diff(pixels, prepend=-2) != 1)
    lengths = np.diff(np.append(breaks, len(pixels)))
    return " ".join(f"{pixels[start] + 1} {length}" for start, length in zip(breaks, lengths, strict=True))


def whole(one: Marked) -> NDArray[np.bool_]:
    return draw_shapes([Shape("", Polygons([[flat(one.corners)]]), "")], {"": 1}, (HEIGHT, WIDTH), "").labels > 0


def run_lengths(root: Path, images: dict[str, list[Marked]]) -> None:
    with (root / "train.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["ImageId", "EncodedPixels", "ClassId"])
        table.writerows(
            [Path(file).stem, pairs_of(whole(one)), one.name] for file, its in images.items() for one in its
        )


def imagej(root: Path, images: dict[str, list[Marked]]) -> None:
    (root / "rois").mkdir()
    for file, its in images.items():
        path = root / "rois" / f"{Path(file).stem}.zip"
        for place, one in enumerate(its):
            region = roifile.ImagejRoi.frompoints(np.array(one.corners))
            region.roitype = roifile.ROI_TYPE.POLYGON
            region.name = f"{one.name}-{place:03}"
            region.tofile(path)


def label_studio(root: Path, images: dict[str, list[Marked]]) -> None:
    tasks = []
    for number, (file, its) in enumerate(images.items()):
        about = {"original_width": WIDTH, "original_height": HEIGHT, "from_name": "label", "type": "polygonlabels"}
        result = [
            about
            | {
                "value": {
                    "points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in one.corners],
                    "polygonlabels": [one.name],
                }
            }
            for one in its
        ]
        image = f"/data/upload/1/0a1b2c{number:02}-{file}"
        answers = [{"was_cancelled": True, "result": []}, {"result": result}, {"result": []}]
        tasks.append({"id": number, "data": {"image": image}, "annotations": answers})
    put_json(root / "project-1-at-2024.json", tasks)


def brushes(root: Path, images: dict[str, list[Marked]]) -> None:
    """Run lengths of pictures of red, green, blue and alpha, as Label Studio packs what was painted."""
    tasks = []
    for number, (file, its) in enumerate(images.items()):
        result = []
        for one in its:
            top, left, inside = Polygons([[flat(one.corners)]]).draw((HEIGHT, WIDTH), file)
            mask = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
            mask[top : top + inside.shape[0], left : left + inside.shape[1]] = np.where(inside, 255, 0)[..., None]
            about = {"original_width": WIDTH, "original_height": HEIGHT, "from_name": "label", "type": "brushlabels"}
            value = {"format": "rle", "rle": packed(mask.ravel()), "brushlabels": [one.name]}
            result.append(about | {"value": value})
        tasks.append({"id": number, "data": {"image": file}, "annotations": [{"result": result}]})
    put_json(root / "project-2.json", tasks)


def packed(values: NDArray[np.uint8]) -> list[int]:
    """Pack values as runs of one value, and runs of several where each is shorter than eight."""
    bits = f"{len(values):032b}{7:05b}{2:04b}{7:04b}{9:04b}{15:04b}"
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    start = 0
    for end in ends:
        if end - start > 8:
            bits += f"1{3:02b}{end - start - 1:016b}{values[start]:08b}"
        else:
            bits += f"0{0:02b}{end - start - 1:03b}" + "".join(f"{value:08b}" for value in values[start:end])
        start = end
    return np.packbits([int(bit) for bit in bits]).tolist()


def darwin(root: Path, images: dict[str, list[Marked]]) -> None:
    for file, its in images.items():
        found = [
            {"name": one.name, "polygon": {"paths": [[{"x": x, "y": y} for x, y in one.corners]]}, "slot_names": ["0"]}
            for one in its
        ]
        content = {"version": "2.0", "item": {"name": file, "slots": []}, "annotations": found}
        put_json(root / "annotations" / f"{Path(file).stem}.json", content)


Write = Callable[[Path, dict[str, list[Marked]]], None]
WRITERS: dict[str, tuple[str, Write]] = {
    "LabelMe": ("LabelMe", labelme),
    "YOLO": ("YOLO", yolo),
    "VIA": ("VIA", via),
    "VIA 1": ("VIA", via_of_version_1),
    "GeoJSON": ("GeoJSON", geojson),
    "Supervisely": ("Supervisely", supervisely),
    "Label Studio": ("Label Studio", label_studio),
    "brushes of Label Studio": ("Label Studio", brushes),
    "Darwin": ("Darwin", darwin),
    "CVAT": ("CVAT", cvat),
    "ImageScope": ("ImageScope", imagescope),
    "COCO by another name": ("COCO", coco),
    "run lengths": ("run lengths", run_lengths),
    "ImageJ regions": ("ImageJ regions", imagej),
}


def put_images(folder: Path, names: tuple[str, ...] = NAMES, suffix: str = ".png") -> dict[str, list[Marked]]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)).save(folder / f"{name}{suffix}")
    return {f"{name}{suffix}": marks(place) for place, name in enumerate(names)}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    form, write = WRITERS[request.param]
    write(tmp_path / "set", put_images(tmp_path / "set" / "images"))
    return form, tmp_path / "set"


def ordered(classes: tuple[str, ...], found: Objects) -> NDArray[np.uint8]:
    """Class indices as if the classes were in the order of `expected`."""
    return np.array([("background", "cell", "spore").index(name) for name in classes], np.uint8)[found.labels]


def check_objects(root: Path, config: DataConfig | None = None) -> None:
    dataset = open_dataset(root, config=config or DataConfig())
    assert len(dataset) == 3
    assert sorted(dataset.classes) == ["background", "cell", "spore"]
    for index in range(3):
        sample, truth = dataset[index], expected(index)
        assert sample.labels is not None
        assert sample.instances is not None
        np.testing.assert_array_equal(ordered(dataset.classes, Objects(sample.labels, sample.instances)), truth.labels)
        np.testing.assert_array_equal(sample.instances, truth.instances)


def test_every_format_is_written_here() -> None:
    assert {form for form, _ in WRITERS.values()} == {form.name for form in FORMATS}


def test_objects_classes_and_what_is_on_top(written: tuple[str, Path]) -> None:
    check_objects(written[1])


def test_what_is_taken_for_what_is_said_and_fixes_the_answer(written: tuple[str, Path]) -> None:
    form, root = written
    account = account_of(open_usable(root))
    taken = dict(account.taken)
    assert "3 with masks, images/a*.png" in taken["images"]
    assert f"9 objects, {form}" in taken["objects"]
    assert not any(file.endswith((".csv", ".xml", ".zip", ".geojson", ".yaml")) for file in account.unused)
    words = [f"data.{key}={value}" for key, value in account.section]
    check_objects(root, load_config({}, words).data)


def test_an_archive_is_read_as_its_folder_is(written: tuple[str, Path]) -> None:
    root = written[1]
    check_objects(Path(shutil.make_archive(str(root.parent / "packed"), "zip", root)))


def test_it_is_checked_and_written_as_masks(written: tuple[str, Path], tmp_path: Path) -> None:
    root = written[1]
    report = check.check_data(root, overrides=["train.patch=32"])
    assert not report.of("error")
    dataset = open_dataset(root)
    convert(dataset, tmp_path / "out")
    again = open_dataset(tmp_path / "out")
    for index in range(3):
        np.testing.assert_array_equal(again[index].labels, dataset[index].labels)


def test_classes_may_be_chosen(written: tuple[str, Path]) -> None:
    dataset = open_dataset(written[1], config=DataConfig(classes=("rest", "spore")))
    np.testing.assert_array_equal(dataset[0].labels, expected(0).labels == 2)
    with pytest.raises(DataError, match="no category 'spores'; did you mean 'spore'"):
        open_dataset(written[1], config=DataConfig(classes=("rest", "spores")))


@pytest.mark.parametrize("name", WRITERS)
def test_parts_of_a_set(tmp_path: Path, name: str) -> None:
    """A folder for each part, each with its images and annotations, as exports of several tools have them."""
    for place, part in enumerate(("train", "valid", "test")):
        images = put_images(tmp_path / part / "images", tuple(f"{part}{number}" for number in range(2)))
        WRITERS[name][1](tmp_path / part, {file: marks(place) for file in images})
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 6
    division = division_of(dataset)
    assert (len(division.held_out), len(division.test)) == (2, 2)
    assert "train" in dataset[0].name


@pytest.mark.parametrize("name", ["LabelMe", "GeoJSON", "YOLO", "ImageJ regions"])
def test_next_to_its_image(tmp_path: Path, name: str) -> None:
    WRITERS[name][1](tmp_path, put_images(tmp_path))
    for folder in ("labels", "rois"):
        for file in (tmp_path / folder).glob("*"):
            file.rename(tmp_path / file.name)
        (tmp_path / folder).exists() and (tmp_path / folder).rmdir()
    check_objects(tmp_path)


@pytest.mark.parametrize("name", ["VIA", "CVAT", "run lengths", "COCO by another name", "LabelMe"])
def test_the_file_itself_may_be_named(tmp_path: Path, name: str) -> None:
    WRITERS[name][1](tmp_path, put_images(tmp_path / "images"))
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".xml", ".csv")]
    if name == "LabelMe":
        assert len(open_dataset(sorted(files)[1])) == 1
    elif name != "COCO by another name":  # its images are sought where COCO has them
        check_objects(files[0])


def test_masks_are_preferred_and_outlines_named(tmp_path: Path) -> None:
    labelme(tmp_path, put_images(tmp_path / "images"))
    (tmp_path / "masks").mkdir()
    for name in NAMES:
        Image.fromarray((expected(0).labels > 0).astype(np.uint8) * 255).save(tmp_path / "masks" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "foreground")
    assert "data.labels='labels/a*.json' (LabelMe)" in " ".join(account_of(dataset).unsure)
    (tmp_path / "masks" / "a03.png").unlink()
    with_outlines = open_usable(tmp_path)
    assert len(with_outlines) == 3
    assert "data.labels='masks/a*.png'" in " ".join(account_of(with_outlines).unsure)


def test_an_image_without_annotations_is_named(tmp_path: Path) -> None:
    labelme(tmp_path, put_images(tmp_path / "images"))
    put_images(tmp_path / "images", ("a04",))
    with pytest.raises(DataError, match=r"a04\.png: has no mask; one that is paired by name was expected in labels"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, config=DataConfig(unlabelled="skip"))) == 3


def test_images_that_a_file_lists_and_that_are_not_there(tmp_path: Path) -> None:
    images = put_images(tmp_path / "images")
    cvat(tmp_path, images | {"b1.png": marks(0)})
    dataset = open_usable(tmp_path)
    with pytest.raises(DataError, match=r"annotations\.xml: lists b1\.png, which are not among the images"):
        open_dataset(tmp_path)
    assert len(dataset) == 3


def test_boxes_are_doubted_and_points_are_named(tmp_path: Path) -> None:
    images = put_images(tmp_path / "images")
    labelme(tmp_path, images)
    for place, path in enumerate(sorted((tmp_path / "labels").iterdir())):
        content = json.loads(path.read_text())
        box = {"label": "cell", "shape_type": "rectangle", "points": [[20, 12], [4, 2]]}
        content["shapes"] = [box, {"label": "tip", "shape_type": "point", "points": [[3, 3]]}]
        put_json(path, content)
        assert place < 3
    dataset = open_dataset(tmp_path)
    unsure = " ".join(account_of(dataset).unsure)
    assert "marks without an area are left out: 3 point" in unsure
    assert "are they boxes around objects" in unsure
    assert np.argwhere(dataset[0].labels).tolist() == [[row, column] for row in range(2, 12) for column in range(4, 20)]


def png(mask: NDArray[np.bool_]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def test_other_shapes_of_labelme_via_cvat_and_supervisely() -> None:
    """A disc of radius 8 about (20, 15), and a mask of three pixels at row 6, column 5."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    disc = (rows + 0.5 - 15) ** 2 + (columns + 0.5 - 20) ** 2
    corner = np.array([[True, True], [True, False]])
    text = base64.b64encode(png(corner)).decode()
    deflated = base64.b64encode(zlib.compress(png(corner))).decode()

    def drawn(name: str, content: object) -> list[NDArray[np.bool_]]:
        stored = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        form = format_of(name, stored)
        assert form is not None
        (image,) = form.read(stored, name)
        return [draw_shapes([one], {one.name: 1}, (HEIGHT, WIDTH), name).labels > 0 for one in image.shapes]

    circle = {"name": "circle", "cx": 20, "cy": 15, "r": 8}
    oval = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 8, "ry": 8, "theta": 0.3}
    rect = {"name": "rect", "x": 4, "y": 5, "width": 10, "height": 3}
    found = [
        *drawn(
            "a.json",
            {
                "imagePath": "a.png",
                "shapes": [
                    {"label": "x", "shape_type": "circle", "points": [[20, 15], [28, 15]]},
                    {"label": "x", "shape_type": "mask", "points": [[5, 6], [6, 7]], "mask": text},
                ],
            },
        ),
        *drawn(
            "via.json",
            {"a.png1": {"filename": "a.png", "regions": [{"shape_attributes": one} for one in (circle, oval, rect)]}},
        ),
        *drawn(
            "a.png.json",
            {
                "size": {"height": HEIGHT, "width": WIDTH},
                "objects": [
                    {"classTitle": "x", "geometryType": "bitmap", "bitmap": {"data": deflated, "origin": [5, 6]}},
                    {"geometryType": "rectangle", "points": {"exterior": [[4, 5], [14, 8]], "interior": []}},
                ],
            },
        ),
        *drawn(
            "annotations.xml",
            f'<annotations><image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">'
            '<ellipse label="x" cx="20" cy="15" rx="8" ry="8"/><mask label="x" rle="0, 3, 1" left="5" top="6" '
            'width="2" height="2"/><box label="x" xtl="4" ytl="5" xbr="14" ybr="8"/></image></annotations>',
        ),
    ]
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[5:8, 4:14] = True
    small = np.zeros((HEIGHT, WIDTH), bool)
    small[[6, 6, 7], [5, 6, 5]] = True
    kinds = ["disc", "small", "disc", "disc", "square", "small", "square", "disc", "small", "square"]
    assert len(found) == len(kinds)
    for mask, kind in zip(found, kinds, strict=True):
        if kind == "disc":
            assert mask[disc < 7.4**2].all()
            assert not mask[disc > 8.6**2].any()
        else:
            np.testing.assert_array_equal(mask, square if kind == "square" else small)


def test_regions_of_imagej_of_every_kind_and_on_pages(tmp_path: Path) -> None:
    import tifffile

    stack = np.random.default_rng(0).integers(0, 256, (9, HEIGHT, WIDTH), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    files = {}
    box = {"left": 4, "top": 5, "right": 14, "bottom": 8}
    for place, kind in enumerate((roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL)):
        files[f"{place:04}-0007.roi"] = roifile.ImagejRoi(roitype=kind, position=place + 1, **box).tobytes()
    line = roifile.ImagejRoi.frompoints([[1, 1], [9, 9]])
    line.roitype = roifile.ROI_TYPE.POLYLINE
    files["line.roi"] = line.tobytes()
    with zipfile.ZipFile(tmp_path / "stack_rois.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "object")
    assert len(dataset) == 9
    counts = [int(dataset[page].labels.sum()) for page in range(9)]
    assert counts[0] == 30
    assert 18 <= counts[1] <= 30
    assert counts[2:] == [0] * 7
    assert "1 polyline" in " ".join(account_of(dataset).unsure)


masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(masks, st.booleans())
def test_run_lengths_come_back(mask: NDArray[np.bool_], by_rows: bool) -> None:
    text = pairs_of(mask, by_rows=by_rows)
    pairs = np.array(text.split(), np.int64).reshape(-1, 2) - (1, 0)
    drawn = draw_shapes([Shape("x", Spans(pairs, by_rows), "")], {"x": 1}, (mask.shape[0], mask.shape[1]), "")
    np.testing.assert_array_equal(drawn.labels > 0, mask)


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), max_size=6))
def test_spans_that_overlap_or_are_out_of_order(spans: list[tuple[int, int]]) -> None:
    naive = np.zeros(11 * 10, bool)
    for start, length in spans:
        naive[start : start + length] = True
    pairs = np.array(spans, np.int64).reshape(-1, 2)
    drawn = draw_shapes([Shape("x", Spans(pairs), "")], {"x": 1}, (10, 11), "")
    np.testing.assert_array_equal(drawn.labels > 0, naive.reshape(11, 10).T)


@given(masks)
@settings(max_examples=40)
def test_outlines_with_holes_come_back_through_geojson(mask: NDArray[np.bool_]) -> None:
    ids = regions(mask)
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [[[*ring.tolist(), ring[0].tolist()] for ring in part] for part in parts],
            },
            "properties": {"classification": {"name": "x"}},
        }
        for parts in polygons(ids)
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    form = format_of("a.geojson", content)
    assert form is not None
    (image,) = form.read(content, "a.geojson")
    drawn = draw_shapes(image.shapes, {"x": 1}, (mask.shape[0], mask.shape[1]), "")
    np.testing.assert_array_equal(drawn.instances, ids)


@given(st.lists(st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=8), max_size=3))
@settings(max_examples=60)
def test_a_polygon_in_its_box_is_what_pycocotools_draws_in_the_image(rings: list[list[tuple[float, float]]]) -> None:
    from pycocotools import mask as codec

    size = (30, 41)
    lists = [[float(value) for corner in ring for value in corner] for ring in rings]
    runs = codec.frPyObjects(lists, *size) if lists else []
    truth = np.zeros(size, bool)
    for one in runs:
        truth |= draw_runs(one["counts"].decode(), size, "")
    shapes = [Shape("x", Polygons([[ring] for ring in lists]), "")] if lists else []
    np.testing.assert_array_equal(draw_shapes(shapes, {"x": 1}, size, "").labels > 0, truth)


def test_rows_are_told_from_columns_where_the_file_says_the_size(tmp_path: Path) -> None:
    """Sartorius' cells are numbered row after row; its .csv has width and height."""
    images = put_images(tmp_path / "images")
    with (tmp_path / "train.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["id", "annotation", "width", "height", "cell_type"])
        for file, its in images.items():
            table.writerows(
                [Path(file).stem, pairs_of(whole(one), by_rows=True), WIDTH, HEIGHT, one.name] for one in its
            )
    check_objects(tmp_path)


def test_run_lengths_give_what_the_masks_of_a_public_set_say(shared: Path, tmp_path: Path) -> None:
    """The masks of a few images of DSB-2018, written as its stage1_train_labels.csv has them."""
    whole_set = open_dataset(shared / "data" / "dsb2018" / "stage1_train.zip")
    rows = [["ImageId", "EncodedPixels"]]
    (tmp_path / "images").mkdir()
    chosen = range(0, 30, 10)
    for index in chosen:
        sample = whole_set[index]
        assert sample.instances is not None
        Image.fromarray(np.moveaxis(sample.pixels, 0, 2)).save(tmp_path / "images" / f"{sample.name}.png")
        ids = [number for number in np.unique(sample.instances) if number]
        rows += [[sample.name, pairs_of(sample.instances == number)] for number in ids]
    with (tmp_path / "stage1_train_labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    dataset = open_dataset(tmp_path)
    assert len(dataset) == len(chosen)
    place_of = {dataset[place].name: place for place in range(len(dataset))}
    for index in chosen:
        place = place_of[whole_set[index].name]
        np.testing.assert_array_equal(dataset[place].labels, whole_set[index].labels)
        found: Any = dataset[place].instances
        assert len(np.unique(found)) == len(np.unique(whole_set[index].instances))


def test_regions_of_imagescope_are_told_apart_by_their_layers() -> None:
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ((1, 1), (9, 1), (9, 9)))
    own = '<Attributes><Attribute Name="Area" Value="3"/></Attributes>'
    region = f'<Region Type="0">{own}<Vertices>{corners}</Vertices></Region>'
    layers = [
        f'<Annotation Name=""><Attributes><Attribute Name="{name}"/></Attributes><Regions>{region * count}'
        f'<Region Type="3"><Vertices>{corners}</Vertices></Region>'
        f'<Region Type="0" NegativeROA="1"><Vertices>{corners}</Vertices></Region></Regions></Annotation>'
        for name, count in (("Epithelial", 1), ("Lymphocyte", 2))
    ]
    (image,) = read_imagescope(f"<Annotations>{''.join(layers)}</Annotations>".encode(), "a.xml")
    assert [shape.name for shape in image.shapes] == ["Epithelial", "Lymphocyte", "Lymphocyte"]
    assert image.left_out == {"arrow": 2, "hole": 2}


def test_a_size_that_is_no_number_of_pixels_is_none() -> None:
    for side in ("9" * 5000, "0", "-4", "x"):
        (image,) = read_cvat(
            f'<annotations><image name="a" width="{side}" height="4"/></annotations>'.encode(), "a.xml"
        )
        assert image.size is None
