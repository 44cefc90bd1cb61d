from pathlib import Path

import numpy as np

from unetkit.data import in_memory, open_dataset, write_sample


def test_a_set_in_memory_is_cut_off_from_its_files(tmp_path: Path) -> None:
    held = in_memory(open_dataset(write_sample(tmp_path, slices=2, size=64)))
    before = held[0].pixels.copy()
    (tmp_path / "train-volume.tif").write_bytes(b"")
    np.testing.assert_array_equal(held[0].pixels, before)
    assert in_memory(held) is held
    assert held.classes == ("membrane", "interior")
    assert len(held) == 2
