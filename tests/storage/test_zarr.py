"""OME-Zarr in object storage: read where it lies, chunk by chunk."""

from pathlib import Path

import numpy as np
import pytest

from unetkit.errors import RemoteError
from unetkit.images import image_path, open_image
from unetkit.images.convert import convert_image

STACK = np.random.default_rng(0).integers(0, 255, (2, 40, 50), np.uint8)


@pytest.mark.usefixtures("wire")
def test_a_volume_is_written_and_read_by_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    convert_image(tmp_path / "a.npy", "s3://lab/a.ome.zarr")
    assert image_path("s3://lab/a.ome.zarr") == Path("s3://lab/a.ome.zarr")
    image = open_image(Path("s3://lab/a.ome.zarr"))
    assert image.source == "s3://lab/a.ome.zarr"
    np.testing.assert_array_equal(image[1, slice(5, 9), slice(40)][0], STACK[1, 5:9, :40])
    with pytest.raises(RemoteError, match=r"s3://lab/b\.ome\.zarr: nothing is there"):
        open_image(Path("s3://lab/b.ome.zarr"))
