"""Annotation files that are broken are refused in one line that names the file and the place."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetkit.checks import check
from unetkit.data import open_dataset
from unetkit.errors import DataError

pytest.importorskip("pycocotools", reason="needs the extra 'coco'")
pytest.importorskip("roifile", reason="needs the extra 'imagej'")

HEIGHT, WIDTH = 40, 56

BROKEN: dict[str, tuple[str, object, str]] = {
    "LabelMe without points": (
        "a.json",
        {"imagePath": "", "shapes": [{"label": "x", "points": [[1, 2]]}]},
        "shapes.0 (x): a polygon of 2",
    ),
    "LabelMe cut off": ("a.json", '{"imagePath": "", "shapes": [{"label"', "EOF"),
    "LabelMe with a word": (
        "a.json",
        {"imagePath": "", "shapes": [{"label": "x", "points": [["a", 2]]}]},
        "shapes.0.points.0.0",
    ),
    "LabelMe far away": (
        "a.json",
        {"imagePath": "", "shapes": [{"label": "x", "points": [[1e9, 2]] * 3}]},
        "far outside",
    ),
    "LabelMe of another size": (
        "a.json",
        {"imagePath": "", "shapes": [], "imageHeight": 9, "imageWidth": 9},
        "says 9 x 9",
    ),
    "LabelMe deep": ("a.json", '{"imagePath": "", "shapes": ' + "[" * 5000, "recursion limit"),
    "LabelMe mask": (
        "a.json",
        {"imagePath": "", "shapes": [{"label": "x", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "!"}]},
        "not base64",
    ),
    "YOLO box": ("a.txt", "0 0.5 0.5 0.2 0.2\n", "line 1: a box"),
    "YOLO word": ("a.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2\n0 x\n", "line 2: '0 x'"),
    "YOLO pixels": ("a.txt", "0 10 10 20 10 20 20\n", "shares of the image"),
    "YOLO odd": ("a.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2 0.3\n", "line 1: a polygon of 7"),
    "GeoJSON words": (
        "a.geojson",
        {"type": "FeatureCollection", "features": [{"geometry": {"type": "Polygon", "coordinates": "x"}}]},
        "features.0: coordinates",
    ),
    "GeoJSON list": ("a.geojson", {"type": "FeatureCollection", "features": {}}, "features: Input should be"),
    "Supervisely": (
        "a.json",
        {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [{"geometryType": "polygon"}]},
        "objects.0 (): a polygon without",
    ),
    "VIA": (
        "v.json",
        {"a": {"filename": "a.png", "regions": [{"shape_attributes": {"name": "circle", "cx": "q"}}]}},
        "_via_img_metadata.a.regions.0.shape_attributes.cx",
    ),
    "Label Studio": (
        "p.json",
        [{"data": {"image": "a.png"}, "annotations": [{"result": [{"original_width": 0, "from_name": ""}]}]}],
        "tasks.0.annotations.0.result.0.original_width",
    ),
    "Label Studio brush": (
        "p.json",
        [
            {
                "data": {"image": "a.png"},
                "annotations": [{"result": [{"type": "brushlabels", "from_name": "", "value": {"rle": [0, 0, 1]}}]}],
                "note": "original_width",
            }
        ],
        "result 0: a brush whose run lengths end early",
    ),
    "Darwin": (
        "a.json",
        {"item": {"slots": []}, "annotations": [{"name": "x", "polygon": {"paths": [[{"x": 1}]]}}]},
        "annotations.0.polygon.paths.0.0.y",
    ),
    "VIA corners": (
        "v.json",
        {"a": {"filename": "a.png", "regions": [{"shape_attributes": {"name": "polygon", "all_points_x": [1]}}]}},
        "as many all_points_x",
    ),
    "runs odd": ("t.csv", "ImageId,EncodedPixels\na,1 2 3\n", "line 2: run lengths '1 2 3'"),
    "runs word": ("t.csv", "ImageId,EncodedPixels\na,1 -2\n", "line 2: run lengths '1 -2'"),
    "runs too far": ("t.csv", "ImageId,EncodedPixels\na,2239 5\n", "has the pixels 1 to 2240"),
    "runs empty": ("t.csv", "ImageId,EncodedPixels\na,1 0\n", "runs that begin"),
    "CVAT cut off": ("c.xml", '<annotations><image name="a.png">', "not whole XML"),
    "CVAT entity": (
        "c.xml",
        '<!DOCTYPE x [<!ENTITY y "z">]><annotations><image name="a.png"></image></annotations>',
        "declares a document type",
    ),
    "CVAT word": (
        "c.xml",
        '<annotations><image name="a.png"><polygon points="1,x"/></image></annotations>',
        "a.png, polygon 0",
    ),
    "CVAT runs": (
        "c.xml",
        '<annotations><image name="a.png"><mask rle="1" left="0" top="0" width="9" height="8"/></image></annotations>',
        "mask 0: rle",
    ),
    "ImageScope corner": (
        "a.xml",
        '<Annotations><Annotation><Regions><Region><Vertices><Vertex X="1"/></Vertices></Region>'
        "</Regions></Annotation></Annotations>",
        "region 0: 'Y' is missing",
    ),
    "ImageJ": ("a.roi", "Iout" + "\0" * 70, "a.roi"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, name: str) -> None:
    file, content, words = BROKEN[name]
    Image.fromarray(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / file).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)[0]
    message = str(caught.value)
    assert words in message
    assert file in message
    assert "\n" not in message
    report = check.check_data(tmp_path)
    assert report.of("error")
